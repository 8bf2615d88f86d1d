"""Taps: the role classes of a child process, wrapped so that they can be struck at named points.

The code that runs in production knows nothing of it: methods are replaced in the one process, and
an idle tap costs one load from memory.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from hft import graph
from hft.records import POSITION, SLOT_BYTES
from hft.roles import journal_copy
from hft.roles.account import Account
from hft.roles.context import Context
from hft.roles.execution import Execution
from hft.roles.order_events import OrderEvents
from hft.roles.order_guard import OrderGuard
from hft.roles.order_keeper import OrderKeeper
from hft.roles.risk import Risk
from hft.roles.scratch import ScratchContext
from hft.roles.strategy import StrategyEngine
from hft.venues.binance_usdm.order_session import OrderSession
from hft.venues.binance_usdm.silent_line import SilentLine
from ipc.layout import BUSY, HEADER_BYTES, LINE_BYTES, cell_stride, copy_stride
from tools.chaos.points import KILL, NAMES, Words

TIME_AND_STAMP_BYTES: Final = 16
NEW_ORDER: Final = b'"order.place"'
Hook = Callable[[Any], object]


def replace(owner: Any, name: str, function: Any) -> Any:
    """Put a function in the place of another; returns the one that was there."""
    before = getattr(owner, name)
    setattr(owner, name, function)
    return before


def wrap(owner: type, name: str, *, before: Hook | None = None, after: Hook | None = None) -> None:
    """Replace a method by one that calls hooks with its object first and last."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def tapped(self: Any, *arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(self)
        result = original(self, *arguments, **named)
        if after is not None:
            after(self)
        return result

    setattr(owner, name, tapped)


class Tapped:
    """A ring or cell writer with hooks around what makes its record visible."""

    def __init__(
        self,
        writer: Any,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        before_put: Hook | None = None,
        before_publish: Hook | None = None,
    ) -> None:
        self._writer, self._before, self._after = writer, before, after
        self._before_put, self._before_publish = before_put, before_publish

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def offer(self) -> bool:
        """Publish the record in the buffer."""
        if self._before is not None:
            self._before(self)
        done: bool = self._writer.offer()
        if self._after is not None:
            self._after(self)
        return done

    def put(self) -> bool:
        """Stage the record in the buffer."""
        if self._before_put is not None:
            self._before_put(self)
        done: bool = self._writer.put()
        return done

    def publish(self) -> int:
        """Show what is staged."""
        if self._before_publish is not None:
            self._before_publish(self)
        seq: int = self._writer.publish()
        return seq

    def write(self, index: int, *, is_written: bool = False) -> None:
        """Make the buffer the value of a cell; ``is_written``: somebody else did, hooks only."""
        if self._before is not None:
            self._before(index)
        if not is_written:
            self._writer.write(index)


class Taps:
    """Installs the taps of one process."""

    def __init__(self, words: Words) -> None:
        self._words = words.words
        self._applying = False

    def point(self, name: str, half_done: Hook | None = None) -> Hook:
        """A hook that strikes the process when the point is armed.

        ``half_done`` leaves behind what a process that dies in the middle of it leaves.
        """
        words, index = self._words, NAMES.index(name)

        def tap(subject: Any) -> None:
            if words[index] and not _is_rehearsal(subject):
                how = words[index]
                if half_done is not None:
                    half_done(subject)
                words[index] = time.monotonic_ns()
                os.kill(os.getpid(), signal.SIGKILL if how == KILL else signal.SIGSTOP)

        return tap

    def install(self) -> None:
        """Wrap the classes of every role."""
        point = self.point
        self._tap_writers()
        wrap(Risk, "_fill_decision", after=point("risk.after_decide"))
        torn_entry = _tear("journal", "_journal", "_entry_buffer")
        wrap(OrderKeeper, "begin", before=point("execution.before_journal"),
             after=point("execution.after_journal"))  # fmt: skip
        wrap(OrderKeeper, "_append", before=point("execution.mid_journal_record", torn_entry))
        wrap(OrderKeeper, "_publish", before=point("execution.between_journal_and_record"),
             after=point("execution.between_record_and_row"))  # fmt: skip
        self._tap_send()
        wrap(OrderEvents, "on_reply", before=point("execution.after_ack"))
        wrap(Execution, "_fence", before=point("execution.before_fence"))
        self._tap_own_cancels()
        self._tap_account()
        self._tap_recorder()

    def _tap_writers(self) -> None:
        """Writers are compiled and cannot be wrapped as classes: roles get tapped ones."""
        ring_writer, cell_writer = Context.ring_writer, Context.cell_writer
        rings: dict[str, dict[str, Hook]] = {
            "intents.strategy": {"before": self.point("strategy.before_offer")},
            "decisions": {"after": self.point("risk.after_publish")},
            "executions.paper": {
                "before": self.point("paper.before_record"),
                "after": self.point("paper.between_record_and_row"),
            },
        }
        assert StrategyEngine.name == graph.ring("intents.strategy").writer

        def tapped_ring(context: Context, name: str) -> Any:
            writer, buffer = ring_writer(context, name)
            hooks = rings.get(name)
            if name == "market":
                torn = _torn_record(context, name, writer, buffer)
                hooks = {"before_put": self.point("feed.mid_record", torn),
                         "before_publish": self.point("feed.before_publish")}  # fmt: skip
            return (writer if hooks is None else Tapped(writer, **hooks)), buffer

        def tapped_cells(context: Context, name: str) -> Any:
            writer, buffer = cell_writer(context, name)
            if name != "positions":
                return writer, buffer
            between = self.point("account.between_cells")
            half = self.point("account.mid_cell", _half_cell(context, writer, buffer))
            is_armed = self._is_armed("account.mid_cell")

            def before(index: int) -> None:
                if self._applying:
                    between(index)
                    if is_armed() and _has_new_fills(context, writer, buffer, index):
                        half(index)

            return Tapped(writer, before=before), buffer

        replace(Context, "ring_writer", tapped_ring)
        replace(Context, "cell_writer", tapped_cells)

    def _tap_send(self) -> None:
        """Struck when the bytes of a new order have left."""
        tap, send = self.point("execution.after_send"), OrderSession.send

        def tapped(session: OrderSession, text: bytes) -> None:
            send(session, text)
            if NEW_ORDER in text and not isinstance(session._active, SilentLine):
                tap(session)

        replace(OrderSession, "send", tapped)

    def _tap_own_cancels(self) -> None:
        """Struck after the first cancel of a round in which more are due."""
        tap = self.point("execution.in_cancel_all")
        is_inside = False

        def enter(_: Any) -> None:
            nonlocal is_inside
            is_inside = True

        def leave(_: Any) -> None:
            nonlocal is_inside
            is_inside = False

        wrap(OrderGuard, "_cancel_causes", before=enter, after=leave)
        wrap(OrderGuard, "cancel", after=lambda guard: is_inside and tap(guard))

    def _tap_account(self) -> None:
        before, after = self.point("account.before_cells"), self.point("account.before_commit")

        def enter(_: Any) -> None:
            self._applying = True

        def leave(_: Any) -> None:
            self._applying = False

        wrap(Account, "_apply_executions", before=enter, after=leave)
        wrap(Account, "_publish", before=lambda role: self._applying and before(role),
             after=lambda role: self._applying and after(role))  # fmt: skip

    def _tap_recorder(self) -> None:
        """Struck when entries were read from the ring and are not yet all in the file."""
        write = journal_copy._write_whole
        armed, tap = self._is_armed("recorder.mid_copy"), self.point("recorder.mid_copy")

        def tapped(file: int, data: memoryview, offset: int) -> None:
            if armed():
                write(file, data[: len(data) // 2 + 1], offset)
                tap(None)
            write(file, data, offset)

        replace(journal_copy, "_write_whole", tapped)

    def _is_armed(self, name: str) -> Callable[[], bool]:
        words, index = self._words, NAMES.index(name)
        return lambda: bool(words[index])


def _is_rehearsal(subject: Any) -> bool:
    """Whether it is done by a twin that only rehearses: nobody is struck for that."""
    context = getattr(getattr(subject, "_keeper", subject), "_context", None)
    return isinstance(context, ScratchContext)


def _tear(ring_name: str, writer: str, buffer: str) -> Hook:
    """``_torn_record`` of whoever has the writer and its buffer under these names."""

    def half_done(owner: Any) -> None:
        tear = _torn_record(
            owner._context, ring_name, getattr(owner, writer), getattr(owner, buffer)
        )
        tear(owner)

    return half_done


def _torn_record(context: Context, ring_name: str, writer: Any, buffer: bytearray) -> Hook:
    """What a writer leaves that dies in the middle of a record: busy, and half of the bytes."""
    capacity = graph.ring(ring_name).capacity

    def half_done(_: Any) -> None:
        memory = context._segments[ring_name].buffer
        seq = writer.next_seq
        offset = HEADER_BYTES + ((seq - 1) & (capacity - 1)) * SLOT_BYTES
        memory[offset : offset + 8] = (seq | BUSY).to_bytes(8, "little")
        half = slice(TIME_AND_STAMP_BYTES, LINE_BYTES)
        memory[offset + half.start : offset + half.stop] = buffer[half]

    return half_done


def _half_cell(context: Context, writer: Any, buffer: bytearray) -> Hook:
    """What a writer leaves that dies in the middle of a cell: half of the copy not in use."""

    def half_done(index: Any) -> None:
        offset = cell_offset(len(buffer), index, writer.version(index) + 1)
        half = len(buffer) // 2
        context._segments["positions"].buffer[offset : offset + half] = buffer[:half]

    return half_done


def _has_new_fills(context: Context, writer: Any, buffer: bytearray, index: int) -> bool:
    """Whether a write says more than that nothing has changed."""
    fields = POSITION.dtype.fields
    assert fields is not None
    begin = fields["fills"][1]
    offset = cell_offset(len(buffer), index, writer.version(index)) + begin
    memory = context._segments["positions"].buffer
    return bytes(memory[offset : offset + 8]) != bytes(buffer[begin : begin + 8])


def cell_offset(item_bytes: int, index: int, version: int) -> int:
    """Where in its segment the copy of a cell lies that belongs to a version."""
    first = HEADER_BYTES + index * cell_stride(item_bytes) + LINE_BYTES
    return first + (version & 1) * copy_stride(item_bytes)
