"""Our rings, called from Python, with each wait strategy: a lossless ring in each direction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from ipc import (
    BELL_BYTES,
    WAIT_STRATEGIES,
    Bell,
    Parker,
    RingReader,
    RingWriter,
    RolePage,
    Segment,
    SegmentKind,
    SegmentSpec,
    create_segment,
    unlink_segment,
)
from tools.bench.floor import RECORD_BYTES
from tools.bench.row import Place, Row
from tools.bench.side import BatchSide, RecordSide, Side

CAPACITY: Final = 4096
"""Slots, as the order rings have."""
BATCH_COUNT: Final = 64
BATCH_COUNT_MAX: Final = 256
"""Records a streaming reader takes in one call."""
NAMES: Final = ("near", "far")
RINGS: Final = tuple(
    SegmentSpec(name, SegmentKind.RING, RECORD_BYTES, CAPACITY) for name in ("there", "back")
)
BELLS: Final = SegmentSpec("bells", SegmentKind.BELLS, BELL_BYTES, len(NAMES), shared=True)


@contextmanager
def _system(place: Place) -> Iterator[str]:
    """Create what a system of two roles needs; its name is the link."""
    specs = [*RINGS, BELLS, *(RolePage.spec(name) for name in NAMES)]
    try:
        for spec in specs:
            create_segment(place.name, spec, mode=0o600)
        yield place.name
    finally:
        for spec in specs:
            unlink_segment(place.name, spec.name)


class _Ends:
    """One role's ends of the two rings, its cursor and its bell."""

    def __init__(self, system: str, near: bool, *, bell: bool) -> None:
        own, other = (0, 1) if near else (1, 0)
        self._segments = [
            Segment.attach(system, RINGS[own], writable=True),
            Segment.attach(system, RINGS[other]),
            Segment.attach(system, BELLS, writable=True),
        ]
        outgoing, incoming, bells = self._segments
        self.inbox = bytearray(RECORD_BYTES)
        self.outbox = bytearray(RECORD_BYTES) if near else self.inbox
        own_page = RolePage.attach(system, NAMES[own], writable=True)
        other_page = RolePage.attach(system, NAMES[other])
        self._pages = own_page, other_page
        self.writer = RingWriter(
            outgoing,
            self.outbox,
            gates=[other_page.cursor(0)],
            bells=[Bell(bells, other)] if bell else (),
        )
        self.reader = RingReader(incoming, self.inbox, cursor=own_page.cursor(0))
        self.parker = Parker(bells, own, [self.reader])


def _side(wait: str, system: str, near: bool) -> Side:
    """Spinning is a loop around ``next``, as in the rows it is compared with; the others wait."""
    spins = wait == "busy_spin"
    ends = _Ends(system, near, bell=not spins)
    return RecordSide(
        outbox=ends.outbox,
        inbox=ends.inbox,
        send=ends.writer.offer,
        poll=ends.reader.next,
        done=ends.reader.commit,
        idle=None if spins else WAIT_STRATEGIES[wait](ends.parker).idle,
        keep=ends,
    )


def _batch_side(system: str, near: bool) -> Side:
    ends = _Ends(system, near, bell=False)
    inbox = bytearray(BATCH_COUNT_MAX * RECORD_BYTES)
    batch_bytes = BATCH_COUNT * RECORD_BYTES
    return BatchSide(
        outbox=bytearray(batch_bytes) if near else memoryview(inbox)[:batch_bytes],
        inbox=inbox,
        send_many=ends.writer.offer_many,
        receive_many=ends.reader.next_many,
        done=ends.reader.commit,
        keep=ends,
    )


SPIN = Row(
    name="spin",
    path="hft ring",
    wait="spin",
    tight_count=100_000,
    stream_count=1_000_000,
    link=_system,
    connect=partial(_side, "busy_spin"),
)
SPIN_THEN_PARK = Row(
    name="spin-then-park",
    path="hft ring",
    wait="spin, then park",
    tight_count=60_000,
    stream_count=1_000_000,
    link=_system,
    connect=partial(_side, "spin_then_park"),
)
PARK = Row(
    name="park",
    path="hft ring",
    wait="park",
    tight_count=6_000,
    stream_count=1_000_000,
    link=_system,
    connect=partial(_side, "park"),
)
BATCH = Row(
    name="batch",
    path=f"hft ring, batches of {BATCH_COUNT}",
    wait="spin",
    tight_count=20_000,
    stream_count=6_400_000,
    link=_system,
    connect=_batch_side,
    batch_count=BATCH_COUNT,
)
