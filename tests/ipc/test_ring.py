"""Rings: order, gates, batches, laps, and what a successor finds. Death by signal: tests/stress."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ipc
from ipc import RingReader, RingWriter, RolePage, Segment, SegmentKind, SegmentSpec, layout

CAPACITY = 8
RING = SegmentSpec("decisions", SegmentKind.RING, 128, CAPACITY)
Attach = Callable[..., Segment]


class Ends:
    """Both ends of a ring in one process, with typed access to the bound buffers."""

    def __init__(
        self,
        attach: Attach,
        *,
        cursor: ipc.Cursor | None = None,
        start_seq: int | None = None,
        spec: SegmentSpec = RING,
    ) -> None:
        self.out = bytearray(spec.item_bytes)
        self.into = bytearray(spec.item_bytes)
        self.segment = attach(spec, writable=True)
        gates = [] if cursor is None else [cursor]
        self.writer = RingWriter(self.segment, self.out, gates=gates)
        self.reader = RingReader(attach(spec), self.into, cursor=cursor, start_seq=start_seq)

    def fill(self, value: int) -> None:
        words = len(self.out) // 8
        struct.pack_into(f"<{words}Q", self.out, 0, *(value * 1000 + word for word in range(words)))

    def offer(self, value: int) -> bool:
        self.fill(value)
        return self.writer.offer()

    def put(self, value: int) -> bool:
        self.fill(value)
        return self.writer.put()

    def values(self) -> list[int]:
        """Everything there is to read, each word of it checked."""
        found = []
        while self.reader.next() or self.reader.lapped:
            if not self.reader.lapped:
                found.append(self.value())
        return found

    def value(self) -> int:
        seq, publish_ns, *body = struct.unpack(f"<{len(self.into) // 8}Q", self.into)
        value = body[0] // 1000
        assert seq == self.reader.seq
        assert 0 < publish_ns <= time.monotonic_ns()
        assert body == [value * 1000 + word for word in range(2, len(body) + 2)]
        return value


def test_records_arrive_in_order_with_sequence_and_time(attach: Attach) -> None:
    ends = Ends(attach)
    assert ends.values() == []
    assert ends.writer.next_seq == 1
    for value in (7, 8, 9):
        assert ends.offer(value)
    assert ends.reader.backlog == 3
    assert ends.values() == [7, 8, 9]
    assert (ends.reader.seq, ends.reader.backlog, ends.writer.next_seq) == (3, 0, 4)


def test_the_bound_buffer_stays_as_the_caller_filled_it(attach: Attach) -> None:
    ends = Ends(attach)
    ends.fill(5)
    before = bytes(ends.out)
    ends.writer.offer()
    assert ends.out == before


@pytest.mark.parametrize("item_bytes", [64, 128, 192, 256])
def test_slots_of_any_whole_lines_work(attach: Attach, item_bytes: int) -> None:
    ends = Ends(attach, spec=SegmentSpec("wide", SegmentKind.RING, item_bytes, 16))
    for value in range(40):
        assert ends.offer(value)
        assert ends.values() == [value]


def test_a_full_lossless_ring_refuses_and_changes_nothing(attach: Attach, page: RolePage) -> None:
    ends = Ends(attach, cursor=page.cursor(0))
    assert [ends.offer(value) for value in range(CAPACITY + 2)] == [True] * CAPACITY + [False] * 2
    assert (ends.writer.free, ends.writer.backlog) == (0, CAPACITY)
    assert ends.writer.next_seq == CAPACITY + 1
    assert ends.values() == list(range(CAPACITY))
    assert not ends.offer(99)  # read, but not committed
    ends.reader.commit()
    assert ends.writer.free == CAPACITY
    assert ends.offer(100)
    assert ends.values() == [100]


def test_the_slowest_of_several_gates_counts(attach: Attach, page: RolePage) -> None:
    out = bytearray(128)
    gates = [page.cursor(0), page.cursor(1)]
    writer = RingWriter(attach(RING, writable=True), out, gates=gates)
    fast = RingReader(attach(RING), bytearray(128), cursor=gates[0])
    slow = RingReader(attach(RING), bytearray(128), cursor=gates[1])
    while writer.offer():
        pass
    while fast.next():
        pass
    fast.commit()
    assert not writer.offer()
    assert slow.next()
    slow.commit()
    assert writer.offer()
    assert not writer.offer()
    assert writer.backlog == CAPACITY


def test_a_gating_reader_that_never_started_counts_as_zero(attach: Attach, page: RolePage) -> None:
    writer = RingWriter(attach(RING, writable=True), bytearray(128), gates=[page.cursor(5)])
    assert sum(writer.offer() for _ in range(20)) == CAPACITY


def test_a_batch_is_invisible_until_published_and_then_there_at_once(
    attach: Attach, page: RolePage
) -> None:
    ends = Ends(attach, cursor=page.cursor(0))
    assert all(ends.put(value) for value in (1, 2, 3))
    assert ends.writer.next_seq == 4
    assert ends.writer.free == CAPACITY - 3
    assert ends.values() == []
    assert ends.reader.backlog == 0
    assert ends.writer.publish() == 3
    assert ends.values() == [1, 2, 3]


def test_publishing_nothing_is_harmless(attach: Attach) -> None:
    ends = Ends(attach)
    assert ends.writer.publish() == 0
    ends.offer(1)
    assert ends.writer.publish() == 1
    assert ends.values() == [1]


def test_a_discarded_batch_leaves_no_trace(attach: Attach, page: RolePage) -> None:
    ends = Ends(attach, cursor=page.cursor(0))
    ends.put(1)
    ends.put(2)
    ends.writer.discard()
    assert ends.writer.next_seq == 1
    assert ends.values() == []
    ends.offer(3)
    assert ends.values() == [3]


def test_offer_shows_what_was_staged_before_it(attach: Attach) -> None:
    ends = Ends(attach)
    ends.put(1)
    ends.offer(2)
    assert ends.values() == [1, 2]


def test_a_batch_that_does_not_fit_is_refused_record_by_record(
    attach: Attach, page: RolePage
) -> None:
    ends = Ends(attach, cursor=page.cursor(0))
    assert [ends.put(value) for value in range(CAPACITY + 1)] == [True] * CAPACITY + [False]
    ends.writer.publish()
    assert ends.values() == list(range(CAPACITY))


def test_a_broadcast_batch_holds_half_the_ring(attach: Attach) -> None:
    ends = Ends(attach)
    assert [ends.put(value) for value in range(5)] == [True] * (CAPACITY // 2) + [False]
    assert ends.writer.publish() == 4


def test_all_records_of_a_batch_carry_one_time(attach: Attach) -> None:
    ends = Ends(attach)
    for value in (1, 2, 3):
        ends.put(value)
    ends.writer.publish()
    times = set()
    while ends.reader.next():
        times.add(struct.unpack_from("<q", ends.into, 8)[0])
    assert len(times) == 1


def test_many_records_go_through_in_one_call(attach: Attach, page: RolePage) -> None:
    spec = SegmentSpec("long", SegmentKind.RING, 128, 256)
    ends = Ends(attach, cursor=page.cursor(0), spec=spec)
    records = b"".join(
        struct.pack("<16Q", *(value * 1000 + word for word in range(16))) for value in range(300)
    )
    assert ends.writer.offer_many(records) == 256
    assert ends.writer.offer_many(records) == 0
    assert ends.writer.offer_many(b"") == 0
    into = bytearray(128 * 300)
    assert ends.reader.next_many(into) == 256
    assert struct.unpack_from("<Q", into, 255 * 128)[0] == 256
    ends.reader.commit()
    assert ends.writer.offer_many(records[256 * 128 :]) == 44
    assert ends.values() == list(range(256, 300))


def test_buffers_of_another_size_are_refused(attach: Attach) -> None:
    with pytest.raises(ValueError, match="records of 128 bytes, the buffer 64"):
        RingWriter(attach(RING, writable=True), bytearray(64))
    with pytest.raises(ValueError, match="records of 128 bytes, the buffer 256"):
        RingReader(attach(RING), bytearray(256))
    ends = Ends(attach)
    with pytest.raises(ValueError, match="not whole records"):
        ends.writer.offer_many(bytes(130))
    with pytest.raises(ValueError, match="not whole records"):
        ends.reader.next_many(bytearray(130))
    with pytest.raises(BufferError):
        RingReader(attach(RING), bytes(128))


def test_a_lapped_reader_is_told_exactly_what_it_lost(attach: Attach) -> None:
    ends = Ends(attach)
    for value in range(1, 21):
        ends.offer(value)
    assert not ends.reader.next()
    assert ends.reader.lapped
    assert ends.reader.lost == 20 - CAPACITY // 2 - 1
    assert ends.values() == [16, 17, 18, 19, 20]
    assert not ends.reader.lapped
    assert ends.reader.lost + 5 == 20


def test_an_observer_of_a_lossless_ring_is_lapped_too_and_holds_nobody_up(
    attach: Attach, page: RolePage
) -> None:
    ends = Ends(attach, cursor=page.cursor(0))
    observer = RingReader(attach(RING), bytearray(128), start_seq=1)
    for value in range(1, 14):
        assert ends.offer(value)
        assert ends.values() == [value]
        ends.reader.commit()
    assert not observer.next()
    assert observer.lapped
    assert observer.lost == observer.seq == 13 - CAPACITY // 2 - 1


def test_a_record_overwritten_under_the_reader_is_not_handed_out(attach: Attach) -> None:
    ends = Ends(attach)
    for value in range(1, 4):
        ends.offer(value)
    # A writer is at this moment in slot 1, on its way to record 9.
    stamp = layout.ITEMS_OFFSET
    struct.pack_into("<Q", ends.segment.buffer, stamp, 9 | layout.BUSY)
    assert not ends.reader.next()
    assert ends.reader.lapped
    assert ends.values() == [2, 3]


def test_a_slot_that_is_being_written_for_the_first_time_is_waited_for(attach: Attach) -> None:
    ends = Ends(attach)
    struct.pack_into("<Q", ends.segment.buffer, layout.ITEMS_OFFSET, 1 | layout.BUSY)
    assert not ends.reader.next()
    assert not ends.reader.lapped
    assert not ends.reader.has_work


def test_observers_start_at_the_next_record_or_where_they_ask(attach: Attach) -> None:
    ends = Ends(attach)
    for value in (1, 2, 3):
        ends.offer(value)
    late = RingReader(attach(RING), bytearray(128))
    early = RingReader(attach(RING), bytearray(128), start_seq=2)
    assert not late.next()
    assert early.next()
    assert (early.seq, early.newest_seq) == (2, 3)
    ends.offer(4)
    assert late.next()
    assert late.seq == 4
    late.seek(1)
    assert late.next()
    assert late.seq == 1
    late.commit()  # without a cursor there is nothing to store
    with pytest.raises(ValueError, match="start at 1"):
        late.seek(0)


def test_the_successor_of_a_reader_goes_on_behind_the_cursor(
    attach: Attach, page: RolePage
) -> None:
    ends = Ends(attach, cursor=page.cursor(3))
    for value in range(6):
        ends.offer(value)
    for _ in range(4):
        ends.reader.next()
    ends.reader.commit()
    ends.reader.next()  # read, but not committed: its successor reads it again
    into = bytearray(128)
    successor = RingReader(attach(RING), into, cursor=page.cursor(3))
    assert successor.seq == 4
    assert successor.next()
    assert struct.unpack_from("<Q", into, 16)[0] == 4002


def test_a_cursor_beyond_its_ring_is_refused(attach: Attach, page: RolePage) -> None:
    ends = Ends(attach)
    ends.offer(1)
    page.cursor(0).store(2)
    with pytest.raises(ipc.CursorError, match="stands at 2, the newest record is 1"):
        RingReader(attach(RING), bytearray(128), cursor=page.cursor(0))


def test_a_reader_may_not_commit_in_another_roles_page(
    attach: Attach, page: RolePage, system_name: str
) -> None:
    foreign = RolePage.attach(system_name, page.name)
    with pytest.raises(ipc.ReadOnlyError):
        RingReader(attach(RING), bytearray(128), cursor=foreign.cursor(0))


def test_a_segment_of_another_kind_is_refused(attach: Attach) -> None:
    cells = attach(SegmentSpec("tops", SegmentKind.CELLS, 128, 4), writable=True)
    with pytest.raises(ipc.SegmentKindError, match="kind is cells, expected ring"):
        RingWriter(cells, bytearray(128))
    with pytest.raises(ipc.SegmentKindError):
        RingReader(cells, bytearray(128))


def test_a_successor_finds_records_shown_but_not_announced(attach: Attach) -> None:
    """The writer died between the stamp and ``published``."""
    ends = Ends(attach)
    for value in (1, 2, 3):
        ends.offer(value)
    struct.pack_into("<Q", ends.segment.buffer, layout.PUBLISHED_OFFSET, 1)
    assert RingWriter(ends.segment, bytearray(128)).next_seq == 4
    assert ends.values() == [1, 2, 3]


@pytest.mark.parametrize("stamped", [0, 1, 2])
def test_a_batch_whose_writer_died_never_shows(
    attach: Attach, page: RolePage, stamped: int
) -> None:
    """Three records were staged; the last ``stamped`` of them had their stamps already."""
    ends = Ends(attach, cursor=page.cursor(0))
    ends.offer(1)
    for value in (2, 3, 4):
        ends.put(value)
    for seq in range(4, 4 - stamped, -1):
        struct.pack_into("<Q", ends.segment.buffer, layout.ITEMS_OFFSET + (seq - 1) * 128, seq)
    successor = Ends(attach, cursor=page.cursor(0))
    assert successor.writer.next_seq == 2
    assert ends.values() == [1]
    successor.offer(20)
    assert ends.values() == [20]
    assert not ends.reader.next()
    successor.offer(30)
    successor.offer(40)
    assert ends.values() == [30, 40]


def test_observers_of_slots_a_dead_batch_took_learn_that_they_were_lapped(attach: Attach) -> None:
    ends = Ends(attach)
    for value in range(1, CAPACITY + 1):
        ends.offer(value)
    for value in (9, 10, 11):
        ends.put(value)
    RingWriter(ends.segment, bytearray(128))
    ends.reader.seek(3)
    assert not ends.reader.next()
    assert ends.reader.lapped
    assert ends.values() == [4, 5, 6, 7, 8]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["offer", "put", "publish", "discard", "read", "commit", "restart"]),
            st.integers(1, 6),
        ),
        max_size=60,
    )
)
def test_a_lossless_ring_is_a_queue_whatever_happens(
    attach: Attach, page: RolePage, steps: list[tuple[str, int]]
) -> None:
    """Against a list: nothing lost, nothing twice, never more than the capacity in flight."""
    ends = Ends(attach, cursor=page.cursor(0))
    shown: list[int] = []
    staged: list[int] = []
    base = ends.writer.next_seq - 1
    read = committed = 0
    value = 0
    for step, count in steps:
        for _ in range(count):
            value += 1
            has_room = len(shown) + len(staged) - committed < CAPACITY
            if step == "offer":
                assert ends.offer(value) == has_room
                if has_room:
                    shown, staged = [*shown, *staged, value], []
            elif step == "put":
                assert ends.put(value) == has_room
                staged += [value] if has_room else []
            elif step == "read":
                assert ends.reader.next() == (read < len(shown))
                if read < len(shown):
                    assert ends.value() == shown[read]
                    read += 1
        if step == "publish":
            shown, staged = shown + staged, []
            assert ends.writer.publish() == base + len(shown)
        elif step == "discard":
            ends.writer.discard()
            staged = []
        elif step == "commit":
            ends.reader.commit()
            committed = read
        elif step == "restart":
            ends = Ends(attach, cursor=page.cursor(0))
            staged, read = [], committed
        assert ends.writer.next_seq == base + len(shown) + len(staged) + 1
        assert ends.writer.free == CAPACITY - (len(shown) + len(staged) - committed)
    ends.writer.discard()
    while ends.reader.next():
        pass
    ends.reader.commit()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(bursts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=20))
def test_a_broadcast_reader_gets_or_loses_every_record(
    attach: Attach, bursts: list[tuple[int, int]]
) -> None:
    ends = Ends(attach)
    first = ends.writer.next_seq
    got = value = 0
    for written, polled in bursts:
        for _ in range(written):
            value += 1
            assert ends.offer(value)
        for _ in range(polled):
            if ends.reader.next():
                assert ends.value() == ends.reader.seq - first + 1
                got += 1
        assert ends.reader.seq - (first - 1) == got + ends.reader.lost
    got += len(ends.values())
    assert got + ends.reader.lost == value
