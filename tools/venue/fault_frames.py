"""Faults of frames on their way out: late, lost, twice, in another order.

The hook of the outlet is set only while one of them is at work.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from tools.venue.fault_ledger import Agenda, Fault, Ledger
from tools.venue.outlet import Channel, Outlet, Sink

DEPTH_DIFF: Final = re.compile(r"(\w+)@depth(@\w+)?")
LAST_UPDATE: Final = re.compile(rb'"u":(\d+)')
HELD_S_MAX: Final = 1.0
"""A held frame whose successor does not come within this time is lost."""
FILLED: Final = b'"X":"FILLED"'
LATE_CHANNELS: Final = {
    "delay_market": Channel.MARKET,
    "delay_user": Channel.USER,
    "delay_api": Channel.API,
}
Write: TypeAlias = Callable[[Sink, Channel, str, bytes], None]


class Mangler(ABC):
    """One fault at work on frames."""

    def __init__(self, fault: Fault, agenda: Agenda, ledger: Ledger, write: Write) -> None:
        self.fault = fault
        self.agenda = agenda
        self.ledger = ledger
        self.write = write

    @property
    def is_past(self) -> bool:
        """Whether its time is over."""
        return self.agenda.clock_s() >= self.fault.until_s

    @property
    def is_done(self) -> bool:
        """Whether it holds nothing back and hits nothing more."""
        return self.is_past

    @abstractmethod
    def take(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> bool:
        """Handle a frame. False: it is none of its business."""


class Freeze(Mangler):
    """The streams of a symbol, or all, are silent."""

    def __init__(self, fault: Fault, agenda: Agenda, ledger: Ledger, write: Write) -> None:
        super().__init__(fault, agenda, ledger, write)
        self._prefix = f"{fault.choice.symbol.lower()}@" if fault.choice.symbol else ""

    def take(self, _sink: Sink, channel: Channel, name: str, _payload: bytes) -> bool:
        """Swallow a frame that it hits."""
        if channel is not Channel.MARKET or not name.startswith(self._prefix) or self.is_past:
            return False
        self.ledger.hit(self.fault)
        return True


class DepthMangler(Mangler):
    """One depth frame of one stream is skipped, doubled, or changes places with the next.

    The first one to come decides the stream; all who listen to it are hit alike.
    """

    def __init__(self, fault: Fault, agenda: Agenda, ledger: Ledger, write: Write) -> None:
        super().__init__(fault, agenda, ledger, write)
        self._name = ""
        self._update = b""
        self._held: dict[Sink, bytes] = {}

    @property
    def is_done(self) -> bool:
        """Whether it holds nothing back and hits nothing more."""
        now_s = self.agenda.clock_s()
        if now_s >= self.fault.until_s + HELD_S_MAX:
            return True
        return not self._update and self.fault.is_over(now_s)

    def take(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> bool:
        """Handle a frame that it hits."""
        if channel is not Channel.MARKET or (self._name and name != self._name):
            return False
        if not self._name and not self._is_wanted(name):
            return False
        found = LAST_UPDATE.search(payload)
        update = found[1] if found else b""
        if self._update and update != self._update and not self._held:
            # The frame after the chosen one: whoever listens has been hit.
            self._update = b""
        if not self._update:
            if self.fault.is_over(self.agenda.clock_s()):
                return False
            self._name, self._update = name, update
            self.ledger.hit(self.fault, f"{name} u={update.decode()}")
        if update == self._update:
            self._hit(sink, channel, name, payload)
        else:
            self.write(sink, channel, name, payload)
            held = self._held.pop(sink, None)
            if held is not None:
                self.write(sink, channel, name, held)
        return True

    def _is_wanted(self, name: str) -> bool:
        found = DEPTH_DIFF.fullmatch(name)
        return found is not None and found[1].upper() == self.fault.choice.symbol

    def _hit(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        match self.fault.kind:
            case "duplicate_depth":
                self.write(sink, channel, name, payload)
                self.write(sink, channel, name, payload)
            case "reorder_depth":
                self._held[sink] = payload


class CopiesOfUserEvents(Mangler):
    """The next user events of each connection come twice, or not at all."""

    def __init__(
        self, fault: Fault, agenda: Agenda, ledger: Ledger, write: Write, *, copies: int
    ) -> None:
        super().__init__(fault, agenda, ledger, write)
        self._copies = copies
        self._seen: dict[Sink, int] = {}

    def take(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> bool:
        """Handle a frame that it hits."""
        seen = self._seen.get(sink, 0)
        count = self.fault.choice.count
        if channel is not Channel.USER or self.is_past or (count and seen >= count):
            return False
        self._seen[sink] = seen + 1
        self.ledger.hit(self.fault, name)
        for _ in range(self._copies):
            self.write(sink, channel, name, payload)
        return True


class RepeatFilled(Mangler):
    """A FILLED is told again after later events, as has been seen on the wire."""

    def take(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> bool:
        """Handle a frame that it hits."""
        if channel is not Channel.USER or FILLED not in payload or self.is_past:
            return False
        self.ledger.hit(self.fault)
        self.write(sink, channel, name, payload)
        self.agenda.after(
            self.fault.choice.milliseconds / 1000,
            lambda: self.write(sink, channel, name, payload),
        )
        return True


class ReorderUserEvents(Mangler):
    """Events are held for a moment and leave in another order; within a type the order stays."""

    def __init__(self, fault: Fault, agenda: Agenda, ledger: Ledger, write: Write) -> None:
        super().__init__(fault, agenda, ledger, write)
        self._held: dict[Sink, dict[str, deque[bytes]]] = {}

    @property
    def is_done(self) -> bool:
        """Whether it holds nothing back and hits nothing more."""
        return not self._held and self.is_past

    def take(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> bool:
        """Handle a frame that it hits."""
        if channel is not Channel.USER:
            return False
        held = self._held.get(sink)
        if held is None:
            if self.is_past:
                return False
            held = self._held[sink] = {}
            self.agenda.after(self.fault.choice.milliseconds / 1000, lambda: self._release(sink))
        held.setdefault(name, deque()).append(payload)
        return True

    def _release(self, sink: Sink) -> None:
        held = self._held.pop(sink)
        if len(held) > 1:
            self.ledger.hit(self.fault, " ".join(held))
        while held:
            name = self.fault.random.choice(list(held))
            self.write(sink, Channel.USER, name, held[name].popleft())
            if not held[name]:
                del held[name]


class FrameFaults:
    """All faults at work on frames, and the queue of late ones."""

    def __init__(self, outlet: Outlet, agenda: Agenda, ledger: Ledger) -> None:
        self._outlet = outlet
        self._agenda = agenda
        self._ledger = ledger
        self._manglers: list[Mangler] = []
        self._delays: list[Fault] = []
        self._late: dict[Sink, deque[tuple[float, bytes]]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no fault is at work on frames."""
        return not (self._manglers or self._delays or self._late)

    def begin(self, fault: Fault) -> None:
        """Put a fault to work."""
        mangler = self._mangler(fault)
        if mangler is None:
            self._delays.append(fault)
        else:
            self._manglers.append(mangler)
        self._outlet.frame_hook = self._on_frame

    def turn(self) -> None:
        """Send what is late enough, forget what is over, and unhook when nothing is left."""
        if self._outlet.frame_hook is None:
            return
        now_s = self._agenda.clock_s()
        for sink, queue in list(self._late.items()):
            while queue and queue[0][0] <= now_s:
                sink.write(queue.popleft()[1])
            if not queue:
                del self._late[sink]
        self._delays = [fault for fault in self._delays if not fault.is_over(now_s)]
        self._manglers = [mangler for mangler in self._manglers if not mangler.is_done]
        if self.is_idle:
            self._outlet.frame_hook = None

    def _mangler(self, fault: Fault) -> Mangler | None:
        agenda, ledger, write = self._agenda, self._ledger, self._write
        match fault.kind:
            case "freeze_market":
                return Freeze(fault, agenda, ledger, write)
            case "skip_depth" | "duplicate_depth" | "reorder_depth":
                return DepthMangler(fault, agenda, ledger, write)
            case "lose_user":
                return CopiesOfUserEvents(fault, agenda, ledger, write, copies=0)
            case "duplicate_user":
                return CopiesOfUserEvents(fault, agenda, ledger, write, copies=2)
            case "repeat_filled":
                return RepeatFilled(fault, agenda, ledger, write)
            case "reorder_user":
                return ReorderUserEvents(fault, agenda, ledger, write)
            case _:
                return None

    def _on_frame(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        for mangler in self._manglers:
            if mangler.take(sink, channel, name, payload):
                return
        self._write(sink, channel, name, payload)

    def _write(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        """Write, or queue behind what is late: frames of one connection never overtake another."""
        now_s = self._agenda.clock_s()
        delay_s = 0.0
        for fault in self._delays:
            symbol = fault.choice.symbol.lower()
            is_hit = LATE_CHANNELS[fault.kind] is channel and name.startswith(symbol)
            if is_hit and not fault.is_over(now_s):
                self._ledger.hit(fault)
                delay_s = max(delay_s, fault.choice.milliseconds / 1000)
        queue = self._late.get(sink)
        if queue is None:
            if not delay_s:
                sink.write(payload)
                return
            queue = self._late[sink] = deque()
        due_s = now_s + delay_s
        queue.append((max(due_s, queue[-1][0]) if queue else due_s, payload))
