"""A writer is stopped after every single machine instruction: what if it had died there?

Random kills hit where the time is spent. Here the other process runs under ``ptrace``, one
instruction at a time; each time that changed the shared memory, the memory is copied, as the death
would have left it, and readers and a successor work on the copy.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from kills import Bound, outputs_of
from rig import RECORD_BYTES, Rig, child, fork, kill, run

from ipc import (
    CellReader,
    CellWriter,
    RingReader,
    RingWriter,
    RolePage,
    Segment,
    SegmentKind,
    SegmentSpec,
    layout,
)

INPUTS: Final = SegmentSpec("inputs", SegmentKind.RING, RECORD_BYTES, 8)
OUTPUTS: Final = SegmentSpec("outputs", SegmentKind.RING, RECORD_BYTES, 8)
CELLS: Final = SegmentSpec("cells", SegmentKind.CELLS, 256, 2)
PTRACE_TRACEME, PTRACE_SINGLESTEP = 0, 9
STEPS_MAX: Final = 200_000
COPIED_BYTES: Final = 4 * layout.HEADER_BYTES
"""Whole rings and cells, and of a role page all but the histograms."""
NOT_ALLOWED: Final = 77
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def steps_of(prepare: Callable[[], Callable[[], object]]) -> Iterator[None]:
    """Run what ``prepare`` returns in a child, and yield after each of its instructions."""

    def traced() -> None:
        work = prepare()
        if _libc.ptrace(PTRACE_TRACEME, 0, None, None) != 0:
            os._exit(NOT_ALLOWED)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        os.kill(os.getpid(), signal.SIGSTOP)

    pid = fork(traced)
    try:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            raise SystemExit(NOT_ALLOWED)
        for _ in range(STEPS_MAX):
            assert _libc.ptrace(PTRACE_SINGLESTEP, pid, None, None) == 0, ctypes.get_errno()
            _, status = os.waitpid(pid, 0)
            assert os.WIFSTOPPED(status), f"the writer failed by itself: {status}"
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                return
            yield
        raise AssertionError("the writer does not come to an end")
    finally:
        kill(pid)


class Twin:
    """A second system that takes copies of the first one's memory, without its living writer."""

    def __init__(self, rig: Rig, specs: list[SegmentSpec]) -> None:
        self.rig: Final = Rig(f"{rig.system}-x", rig.run_dir, rig.scale)
        self.rig.create(*specs)
        self._pairs = [(rig.attach(spec), self.rig.attach(spec, writable=True)) for spec in specs]
        self._last = [b""] * len(specs)

    def take(self) -> bool:
        """Copy if something changed since the last copy."""
        now = [bytes(source.buffer[:COPIED_BYTES]) for source, _ in self._pairs]
        if now == self._last:
            return False
        self._last = now
        for raw, (_, copy) in zip(now, self._pairs, strict=True):
            copy.buffer[: len(raw)] = raw
            writer = layout.WRITER_OFFSET
            copy.buffer[writer : writer + 8] = bytes(8)
        return True


def visible(segment: Segment, first_seq: int) -> list[int]:
    """The values of all records from ``first_seq``, each word checked."""
    bound = Bound()
    reader = RingReader(segment, bound.raw, start_seq=first_seq)
    values = []
    while reader.next():
        assert (bound.words[2:] == bound.words[2]).all(), bound.words
        values.append(int(bound.words[2]))
    assert not reader.lapped
    return values


def ring(rig: Rig) -> dict[str, Any]:
    """A batch of three and a single record, in a ring that is full of old ones."""
    rig.create(OUTPUTS)
    bound = Bound()
    segment = rig.attach(OUTPUTS, writable=True)

    def fill() -> None:
        writer = RingWriter(segment, bound.raw)
        for value in range(1, 14):
            bound.words.fill(value)
            writer.offer()

    def prepare() -> Callable[[], object]:
        writer = RingWriter(segment, bound.raw)

        def write() -> None:
            for value in (14, 15, 16):
                bound.words[:] = value
                writer.put()
            writer.publish()
            bound.words[:] = 17
            writer.offer()

        return write

    with child(fill):
        pass
    twin = Twin(rig, [OUTPUTS])
    copy = twin.rig.attach(OUTPUTS, writable=True)
    states: list[list[int]] = [[]]
    steps = deaths = 0
    try:
        for _ in steps_of(prepare):
            steps += 1
            if not twin.take():
                continue
            deaths += 1
            seen = visible(copy, 14)
            assert seen in ([], [14, 15, 16], [14, 15, 16, 17]), seen
            if seen != states[-1]:
                states.append(seen)
            successor = RingWriter(copy, bound.raw)
            assert successor.next_seq == 14 + len(seen)
            for value in (90, 91, 92, 93):
                bound.words.fill(value)
                assert successor.offer()
                assert visible(copy, 14) == [*seen, *range(90, value + 1)]
    finally:
        twin.rig.remove()
    return {"steps": steps, "deaths": deaths, "states": states}


def cell(rig: Rig) -> dict[str, Any]:
    """Two writes into one cell."""
    rig.create(CELLS)
    out, into = bytearray(CELLS.item_bytes), bytearray(CELLS.item_bytes)
    filled, words = np.frombuffer(out, np.uint64), np.frombuffer(into, np.uint64)
    segment = rig.attach(CELLS, writable=True)
    filled.fill(1)

    def prepare() -> Callable[[], object]:
        writer = CellWriter(segment, out)
        writer.write(1)

        def write() -> None:
            for value in (2, 3):
                filled[:] = value
                writer.write(1)

        return write

    twin = Twin(rig, [CELLS])
    copy = twin.rig.attach(CELLS, writable=True)
    states = [1]
    steps = deaths = 0
    try:
        for _ in steps_of(prepare):
            steps += 1
            if not twin.take():
                continue
            deaths += 1
            reader = CellReader(copy, into)
            assert reader.read(1)
            assert (words == words[0]).all(), words
            if int(words[0]) != states[-1]:
                states.append(int(words[0]))
            filled.fill(9)
            CellWriter(copy, out).write(1)
            assert reader.read(1)
            assert (words == 9).all(), words
    finally:
        twin.rig.remove()
    return {"steps": steps, "deaths": deaths, "states": states}


class Stage:
    """One life of a role between two rings, as DESIGN 5 has it."""

    def __init__(self, inputs: Segment, outputs: Segment, page: RolePage, sink: RolePage) -> None:
        page.adopt()
        got = Bound()
        self.out: Final = Bound()
        self.page: Final = page
        self.reader: Final = RingReader(inputs, got.raw, cursor=page.cursor(0))
        self.writer: Final = RingWriter(outputs, self.out.raw, gates=[sink.cursor(0)])
        pending = page.pending(0)
        if pending is None:
            return
        input_seq, output_seq = pending
        if self.writer.next_seq > output_seq:  # the batch is visible: the input is done with
            while self.reader.seq < input_seq:
                assert self.reader.next()
            self.reader.commit()
        page.commit(0, input_seq)

    def turn(self) -> None:
        """Handle all inputs there are."""
        while self.reader.next():
            input_seq, output_seq = self.reader.seq, self.writer.next_seq
            for value in outputs_of(input_seq):
                self.out.words[2:4] = value
                assert self.writer.put()
            if self.writer.next_seq > output_seq:
                self.page.begin(0, input_seq, output_seq)
                self.writer.publish()
            self.reader.commit()
            self.page.commit(0, input_seq)


def stage(rig: Rig) -> dict[str, Any]:
    """Inputs with none to three outputs: exactly once, wherever the stage dies."""
    specs = [INPUTS, OUTPUTS, RolePage.spec("stage"), RolePage.spec("sink")]
    page, sink = rig.page("stage"), rig.page("sink")
    rig.create(INPUTS, OUTPUTS)
    inputs, outputs = rig.attach(INPUTS, writable=True), rig.attach(OUTPUTS, writable=True)
    writer = RingWriter(inputs, bytearray(RECORD_BYTES), gates=[page.cursor(0)])
    for _ in range(4):
        writer.offer()
    expected = [pair for seq in range(1, 5) for pair in outputs_of(seq)]
    twin = Twin(rig, specs)
    ends = [
        twin.rig.attach(INPUTS),
        twin.rig.attach(OUTPUTS, writable=True),
        *(RolePage.attach(twin.rig.system, name, writable=True) for name in ("stage", "sink")),
    ]
    steps = deaths = pending = 0
    try:
        for _ in steps_of(lambda: Stage(inputs, outputs, page, sink).turn):
            steps += 1
            if not twin.take():
                continue
            deaths += 1
            pending += ends[2].pending(0) is not None
            Stage(*ends).turn()
            bound = Bound()
            reader = RingReader(ends[1], bound.raw, start_seq=1)
            found = []
            while reader.next():
                found.append(tuple(map(int, bound.words[2:4])))
            assert found == expected, found
            assert ends[2].cursor(0).value == 4
            assert ends[2].pending(0) is None
    finally:
        twin.rig.remove()
    return {"steps": steps, "deaths": deaths, "pending": pending}


if __name__ == "__main__":
    if platform.machine() not in ("x86_64", "aarch64"):
        raise SystemExit(NOT_ALLOWED)
    run({"ring": ring, "cell": cell, "stage": stage})
