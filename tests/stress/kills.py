"""``kill -9`` at random points, again and again; the successor goes on exactly where it has to."""

from __future__ import annotations

import mmap
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from rig import RECORD_BYTES, RECORD_WORDS, Rig, Words, fork, kill, pattern, run, spin_ns

from ipc import (
    CellReader,
    CellWriter,
    Cursor,
    RingReader,
    RingWriter,
    RolePage,
    Segment,
    SegmentKind,
    SegmentSpec,
    layout,
)

RING: Final = SegmentSpec("ring", SegmentKind.RING, RECORD_BYTES, 64)
INPUTS: Final = SegmentSpec("inputs", SegmentKind.RING, RECORD_BYTES, 1024)
OUTPUTS: Final = SegmentSpec("outputs", SegmentKind.RING, RECORD_BYTES, 2048)
"""Large enough that a stage is killed at work, even where it shares its only core with who kills
it, and not while it waits for more."""
CELLS: Final = SegmentSpec("cells", SegmentKind.CELLS, 32_768, 2)
BATCH_MAX: Final = 12
KILLS: Final = 300
PATIENCE: Final = 20
ALIVE_NS_MAX: Final = 1_000_000
"""A writer is killed within this time of its first sign of life."""
START_NS_MAX: Final = 30_000_000_000
BATCH_FIRST, BATCH_COUNT, LIFE = 2, 3, 4
"""Words of a record: first sequence and size of its batch, which of the writers wrote it."""
BODY: Final = 5


class Bound:
    """A record buffer and its words."""

    def __init__(self) -> None:
        self.raw: Final = bytearray(RECORD_BYTES)
        self.words: Final[Words] = np.frombuffer(self.raw, np.uint64)


class Lives:
    """The lives to be ended: as many as planned, and more until one has ended at the point that is
    looked for (the scenario counts them as ``met``). Where processes share a core, chance needs
    longer.
    """

    def __init__(self, rig: Rig) -> None:
        self.planned: Final = KILLS * rig.scale
        self.ended = 0
        self.met = 0

    def __iter__(self) -> Iterator[int]:
        while self.ended < self.planned or (not self.met and self.ended < PATIENCE * self.planned):
            self.ended += 1
            yield self.ended


def wait_for_life(is_alive: Callable[[], bool]) -> None:
    """Until the new process has done something visible."""
    limit_ns = time.monotonic_ns() + START_NS_MAX
    while not is_alive():
        assert time.monotonic_ns() < limit_ns, "the writer does not start"


def write_batches(segment: Segment, gates: list[Cursor], life: int) -> None:
    """Batches of random size for ever, some of one record through ``offer``."""
    bound = Bound()
    writer = RingWriter(segment, bound.raw, gates=gates)
    choose = random.Random(life)
    bodies = pattern(np.arange(4096, dtype=np.uint64), RECORD_WORDS)
    while True:
        first, count = writer.next_seq, choose.randint(1, BATCH_MAX)
        if gates and writer.free < count:
            continue
        for seq in range(first, first + count):
            bound.words[:] = bodies[seq % 4096]
            bound.words[BATCH_FIRST], bound.words[BATCH_COUNT] = first, count
            bound.words[LIFE] = life
            if count == 1:
                assert writer.offer()
            else:
                assert writer.put()
        writer.publish()


class Watcher:
    """The reader beside the dying writers: checks each word, and that batches are whole."""

    def __init__(self, segment: Segment, cursor: Cursor | None) -> None:
        self.bound: Final = Bound()
        self.reader: Final = RingReader(
            segment, self.bound.raw, cursor=cursor, start_seq=None if cursor else 1
        )
        self.bodies: Final = pattern(np.arange(4096, dtype=np.uint64), RECORD_WORDS)
        self.got = 0
        self.last_of_batch = 0

    def drain(self, limit: int) -> None:
        """Read what there is; bounded, as a broadcast writer outruns this check."""
        reader, words = self.reader, self.bound.words
        for _ in range(limit):
            if not reader.next() and not reader.lapped:
                break
            if reader.lapped:
                self.last_of_batch = 0  # landed somewhere inside a batch
                continue
            self.got += 1
            seq = int(words[0])
            assert seq == reader.seq
            assert (words[BODY:] == self.bodies[seq % 4096, BODY:]).all(), words
            first, last = int(words[BATCH_FIRST]), int(words[BATCH_FIRST] + words[BATCH_COUNT]) - 1
            assert first <= seq <= last, words
            if seq <= self.last_of_batch:
                assert last == self.last_of_batch, words
            elif self.last_of_batch:
                assert seq == first == self.last_of_batch + 1, words
            self.last_of_batch = last
        reader.commit()

    def check_whole(self) -> None:
        """With the writer dead, what is visible ends with a batch."""
        assert self.last_of_batch in (0, self.reader.seq), (self.last_of_batch, self.reader.seq)


def unfinished_slots(segment: Segment, newest: int) -> int:
    """Slots that a dead writer left in the middle of a batch."""
    stamps = np.frombuffer(segment.buffer, np.uint64, offset=layout.ITEMS_OFFSET)[::RECORD_WORDS]
    unmarked = stamps & np.uint64(layout.BUSY - 1)
    return int((unmarked > newest).sum())


def _kill_ring_writers(rig: Rig, *, gated: bool) -> dict[str, Any]:
    # Large enough that a gated writer is killed at work and not while it waits for its reader.
    ring = RING._replace(capacity=2048) if gated else RING
    rig.create(ring)
    cursor = rig.page("page").cursor(0) if gated else None
    segment = rig.attach(ring, writable=True)
    watcher = Watcher(rig.attach(ring), cursor)
    lives = Lives(rig)
    for life in lives:
        before = segment.epoch, watcher.reader.newest_seq
        pid = fork(lambda life=life: write_batches(segment, [cursor] if cursor else [], life))
        wait_for_life(lambda before=before: watcher.reader.newest_seq > before[1])
        until_ns = time.monotonic_ns() + rig.random.randrange(ALIVE_NS_MAX)
        while time.monotonic_ns() < until_ns:
            watcher.drain(BATCH_MAX)
        assert kill(pid), "the writer failed by itself"
        assert segment.epoch == before[0] + 1
        watcher.drain(2 * ring.capacity)
        watcher.check_whole()
        lives.met += unfinished_slots(segment, watcher.reader.seq) > 0
    reader = watcher.reader
    assert watcher.got + reader.lost == reader.seq
    return {
        "kills": lives.ended,
        "inside_a_batch": lives.met,
        "records": reader.seq,
        "got": watcher.got,
        "lost": reader.lost,
    }


def lossless_writer(rig: Rig) -> dict[str, Any]:
    """Writers of a lossless ring."""
    return _kill_ring_writers(rig, gated=True)


def broadcast_writer(rig: Rig) -> dict[str, Any]:
    """Writers of a broadcast ring."""
    return _kill_ring_writers(rig, gated=False)


def cell_writer(rig: Rig) -> dict[str, Any]:
    """Writers of large cells, so that most die while they copy."""
    rig.create(CELLS)
    segment = rig.attach(CELLS, writable=True)
    into = bytearray(CELLS.item_bytes)
    words: Words = np.frombuffer(into, np.uint64)
    reader = CellReader(rig.attach(CELLS), into)
    newest = [0] * CELLS.capacity

    def write(start: int) -> None:
        out = bytearray(CELLS.item_bytes)
        filled: Words = np.frombuffer(out, np.uint64)
        writer = CellWriter(segment, out)
        value = start
        while True:
            value += 1
            filled.fill(value)
            writer.write(value % CELLS.capacity)

    def check() -> None:
        for index in range(CELLS.capacity):
            if reader.read(index):
                assert (words == words[0]).all(), f"half a value in cell {index}"
                assert newest[index] <= int(words[0])
                newest[index] = int(words[0])

    lives = Lives(rig)
    for _ in lives:
        before = sum(reader.version(index) for index in range(CELLS.capacity))
        start = max(newest)
        pid = fork(lambda start=start: write(start))
        wait_for_life(lambda before=before: sum(map(reader.version, (0, 1))) > before)
        until_ns = time.monotonic_ns() + rig.random.randrange(ALIVE_NS_MAX)
        while time.monotonic_ns() < until_ns:
            check()
        assert kill(pid), "the writer failed by itself"
        check()
        lives.met += any(_is_half_written(segment, index) for index in range(CELLS.capacity))
    return {"kills": lives.ended, "half_written": lives.met, "newest": max(newest)}


def _is_half_written(segment: Segment, index: int) -> bool:
    """Whether the copy that is not current holds two values."""
    start = layout.ITEMS_OFFSET + index * layout.cell_stride(CELLS.item_bytes)
    version = int.from_bytes(segment.buffer[start : start + 8], "little")
    copy = start + layout.LINE_BYTES + (version + 1) % 2 * layout.copy_stride(CELLS.item_bytes)
    words = np.frombuffer(segment.buffer, np.uint64, CELLS.item_bytes // 8, copy)
    return bool((words != words[0]).any())


def outputs_of(input_seq: int) -> Iterator[tuple[int, int]]:
    """None to three outputs for each input."""
    return ((input_seq, number) for number in range(input_seq % 4))


def stage(inputs: Segment, outputs: Segment, page: RolePage, gate: Cursor) -> None:
    """A role as DESIGN 5 has it: begin, publish, commit the cursor, commit the note."""
    page.adopt()
    got, out = Bound(), Bound()
    reader = RingReader(inputs, got.raw, cursor=page.cursor(0))
    writer = RingWriter(outputs, out.raw, gates=[gate])
    pending = page.pending(0)
    if pending is not None:
        input_seq, output_seq = pending
        if writer.next_seq > output_seq:  # the batch is visible: the input is done with
            while reader.seq < input_seq:
                assert reader.next()
            reader.commit()
        page.commit(0, input_seq)
    while True:
        if writer.free < 3 or not reader.next():
            continue
        input_seq, output_seq = reader.seq, writer.next_seq
        for value in outputs_of(input_seq):
            out.words[2:4] = value
            assert writer.put()
        if writer.next_seq > output_seq:
            page.begin(0, input_seq, output_seq)
            writer.publish()
        reader.commit()
        page.commit(0, input_seq)


def stage_between_rings(rig: Rig) -> dict[str, Any]:
    """Every input has its outputs exactly once and in order, however often the stage dies."""
    rig.create(INPUTS, OUTPUTS)
    page, sink = rig.page("stage"), rig.page("sink")
    inputs, outputs = rig.attach(INPUTS, writable=True), rig.attach(OUTPUTS, writable=True)
    bound = Bound()
    writer = RingWriter(inputs, bytearray(RECORD_BYTES), gates=[page.cursor(0)])
    reader = RingReader(outputs, bound.raw, cursor=sink.cursor(0))
    expected = (pair for seq in range(1, 1 << 40) for pair in outputs_of(seq))
    lives, published = Lives(rig), 0

    def turn() -> None:
        nonlocal published
        while writer.offer():
            pass
        while reader.next():
            assert tuple(map(int, bound.words[2:4])) == next(expected), reader.seq
            published += 1
        reader.commit()

    for _ in lives:
        before = page.cursor(0).value
        pid = fork(lambda: stage(inputs, outputs, page, sink.cursor(0)))
        limit_ns = time.monotonic_ns() + START_NS_MAX
        while page.cursor(0).value == before:
            turn()
            assert time.monotonic_ns() < limit_ns, "the stage does not start"
        until_ns = time.monotonic_ns() + rig.random.randrange(ALIVE_NS_MAX)
        while time.monotonic_ns() < until_ns:
            turn()
        assert kill(pid), "the stage failed by itself"
        turn()
        lives.met += page.pending(0) is not None
    return {"kills": lives.ended, "outputs": published, "pending": lives.met}


def gating_reader(rig: Rig) -> dict[str, Any]:
    """Readers killed while they hold the writer up; each successor takes the cursor over."""
    rig.create(RING)
    page = rig.page("reader")
    segment = rig.attach(RING)
    bound = Bound()
    writer = RingWriter(rig.attach(RING, writable=True), bound.raw, gates=[page.cursor(0)])
    seen_max = 1 << 20
    # Shared with the children, and written by nobody else: how often each record was read.
    seen = np.frombuffer(mmap.mmap(-1, seen_max), np.uint8)
    lives = Lives(rig)

    def read() -> None:
        page.adopt()
        into = Bound()
        reader = RingReader(segment, into.raw, cursor=page.cursor(0))
        assert reader.seq == page.cursor(0).value
        while True:
            for _ in range(5):
                if reader.next():
                    assert int(into.words[2]) == reader.seq
                    seen[reader.seq] += 1
            assert reader.lost == 0
            reader.commit()

    def turn() -> int:
        full = 0
        for _ in range(100):
            if writer.next_seq >= seen_max:
                return 1
            bound.words[2] = writer.next_seq
            full += not writer.offer()
        return full

    for _ in lives:
        before = page.cursor(0).value
        pid = fork(read)
        limit_ns = time.monotonic_ns() + START_NS_MAX
        while page.cursor(0).value == before and writer.next_seq < seen_max:
            turn()
            assert time.monotonic_ns() < limit_ns, "the reader does not start"
        spin_ns(rig.random.randrange(100_000))
        turn()
        assert kill(pid), "the reader failed by itself"
        lives.met += turn() > 0
        assert writer.backlog <= RING.capacity
        assert int(page.cursor(0).value) <= writer.next_seq - 1
    committed = page.cursor(0).value
    assert (seen[1 : committed + 1] >= 1).all(), "a record was skipped"
    again = int((seen[1 : committed + 1] > 1).sum())
    assert again <= 5 * lives.ended, "more than the uncommitted records were read again"
    return {"kills": lives.ended, "committed": committed, "again": again, "refused": lives.met}


if __name__ == "__main__":
    run(
        {
            "lossless-writer": lossless_writer,
            "broadcast-writer": broadcast_writer,
            "cell-writer": cell_writer,
            "stage": stage_between_rings,
            "gating-reader": gating_reader,
        }
    )
