"""A role's surroundings made of private memory: what is rehearsed there nobody sees.

A twin of a role that is given this context runs the same code on the same kinds of objects, and has
nothing in its hands that leads outside: no shared segment, no bell, no command queue.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

import msgspec

from hft.config import RateLimits
from hft.graph import cursor_index, ring
from hft.records import SLOT_BYTES
from hft.roles.context import HALT_SPEC, Context, cells_spec, page_spec, ring_spec
from ipc import (
    Bell,
    CellWriter,
    RingReader,
    RingWriter,
    RolePage,
    SegmentKind,
    SegmentSpec,
    segment_bytes,
)
from ipc.layout import EPOCH_OFFSET
from ipc.memory import address_of, load_u64
from ipc.words import Latch

CAPACITY_MAX: Final = 64
"""Slots of a ring: they come round again before they push others out of the caches."""
UNLIMITED: Final = RateLimits(weight_1m=10**9, orders_10s=10**9, orders_1m=10**9)


class ScratchSegment:
    """Private memory with the face of a segment."""

    def __init__(self, spec: SegmentSpec) -> None:
        if spec.kind is SegmentKind.RING:
            spec = spec._replace(capacity=min(spec.capacity, CAPACITY_MAX))
        self.spec = spec
        self.name = spec.name
        self.writable = True
        self.buffer = memoryview(mmap.mmap(-1, segment_bytes(spec)))
        self.address = address_of(self.buffer)

    @property
    def epoch(self) -> int:
        """Never anybody's."""
        return load_u64(self.buffer, EPOCH_OFFSET)

    def acquire_writer(self, epoch_min: int = 0) -> int:
        """Whoever has it may write it."""
        return epoch_min

    def require_writable(self) -> None:
        """It always is."""


class ScratchContext(Context):
    """The context of a role's twin; gates and bells are left out."""

    def __init__(self, real: Context) -> None:
        self.plan = msgspec.structs.replace(real.plan, limits=UNLIMITED)
        self.config = real.config
        self.role = real.role
        self.process = real.process
        self.run_dir, self.state_dir = real.run_dir, real.state_dir
        self.source = real.source
        self.epoch = real.epoch
        self.is_first = False
        self._system = real.plan.name
        self._segments: dict[str, Any] = {}
        self._pages = {}
        self.readers = []
        self.page = self.page_of(real.role)
        self.halt: Any = Latch(self._attach(HALT_SPEC, writable=True))

    def _attach(self, spec: SegmentSpec, *, writable: bool) -> Any:
        segment = self._segments.get(spec.name)
        if segment is None:
            segment = self._segments[spec.name] = ScratchSegment(spec)
        return segment

    def page_of(self, role: str) -> RolePage:
        """A role's page, of which nothing is known."""
        page = self._pages.get(role)
        if page is None:
            page = self._pages[role] = RolePage(self._attach(page_spec(role), writable=True))
        return page

    def ring_writer(self, name: str) -> tuple[RingWriter, bytearray]:
        """Writer of any ring: nobody reads it, so nobody is waited for."""
        buffer = bytearray(SLOT_BYTES)
        return RingWriter(self._attach(ring_spec(name), writable=True), buffer), buffer

    def cell_writer(self, name: str) -> tuple[CellWriter, bytearray]:
        """Writer of any cells."""
        spec = cells_spec(name)
        buffer = bytearray(spec.item_bytes)
        return CellWriter(self._attach(spec, writable=True), buffer), buffer

    def ring_reader(
        self, name: str, *, start_seq: int | None = None, wakes: bool = True
    ) -> tuple[RingReader, bytearray]:
        """Reader of a ring that only this context writes."""
        buffer = bytearray(SLOT_BYTES)
        gating = self.role in ring(name).gating
        cursor = self.page.cursor(cursor_index(name)) if gating else None
        segment = self._attach(ring_spec(name), writable=True)
        return RingReader(segment, buffer, cursor=cursor, start_seq=start_seq), buffer

    def bells_of(self, roles: Any) -> dict[int, Bell]:
        """Nobody is woken."""
        return {}
