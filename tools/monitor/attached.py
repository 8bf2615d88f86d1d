"""One life of a system: its segments, mapped for reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import ipc
from hft import graph
from hft.config import Plan
from hft.core.generated.views import (
    Alert,
    Balance,
    Book,
    Execution,
    Instrument,
    Intent,
    Order,
    Position,
)
from hft.records import SLOT_BYTES
from hft.roles.context import HALT_SPEC, cells_spec, load_plan, ring_spec
from ipc.layout import PUBLISHED_OFFSET
from ipc.segment import SHM_DIRECTORY, object_name

BACKLOG_MAX: Final = 2_000
"""So many records of the past are shown when the monitor starts."""


class Attached:
    """Everything the monitor reads, as long as the system lives."""

    def __init__(self, run_dir: Path) -> None:
        """Attach.

        Raises:
            UsageError: nothing runs from there.
            IpcError: a segment is not there, or is of another build.
        """
        self.run_dir = run_dir
        self.plan: Final[Plan] = load_plan(run_dir)
        self._segments: list[ipc.Segment] = []
        self._descriptors: dict[str, int] = {}
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        self.pages = {}
        for role in self.plan.roles:
            page = ipc.RolePage.attach(self.plan.name, graph.page_name(role), resident=False)
            self._segments.append(page.segment)
            self.pages[role] = page
        self.halt = ipc.HaltLatch(self._segment(HALT_SPEC), self.run_dir)
        for ring in graph.RINGS:
            path = SHM_DIRECTORY + object_name(self.plan.name, ring.name)
            try:
                self._descriptors[ring.name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise ipc.SegmentMissingError(ring.name, "it is not there") from None
        self.executions, buffer = self._observer("executions")
        self.execution = Execution(buffer)
        self.intents, buffer = self._observer("intents.strategy")
        self.intent = Intent(buffer)
        self.alerts, buffer = self._observer("alerts")
        self.alert = Alert(buffer)
        self.orders, buffer = self._cells("orders")
        self.order = Order(buffer)
        self.books, buffer = self._cells("books")
        self.book = Book(buffer)
        self.positions, buffer = self._cells("positions")
        self.position = Position(buffer)
        self.balances, buffer = self._cells("balances")
        self.balance = Balance(buffer)
        self.instruments, buffer = self._cells("instruments")
        self.instrument = Instrument(buffer)

    def _segment(self, spec: ipc.SegmentSpec) -> ipc.Segment:
        segment = ipc.Segment.attach(self.plan.name, spec, resident=False)
        self._segments.append(segment)
        return segment

    def _cells(self, name: str) -> tuple[ipc.CellReader, bytearray]:
        spec = cells_spec(name)
        buffer = bytearray(spec.item_bytes)
        return ipc.CellReader(self._segment(spec), buffer), buffer

    def _observer(self, name: str) -> tuple[ipc.RingReader, bytearray]:
        """A reader that nobody waits for, a little in the past."""
        buffer = bytearray(SLOT_BYTES)
        capacity = graph.ring(name).capacity
        start_seq = max(1, self.newest_seq(name) - min(BACKLOG_MAX, capacity // 2))
        reader = ipc.RingReader(self._segment(ring_spec(name)), buffer, start_seq=start_seq)
        return reader, buffer

    def newest_seq(self, ring: str) -> int:
        """Records published in a ring so far: read from its file, so that no ring is mapped."""
        return int.from_bytes(os.pread(self._descriptors[ring], 8, PUBLISHED_OFFSET), "little")

    @property
    def is_current(self) -> bool:
        """Whether the names still lead to this memory: a system that was taken down has none."""
        return self._segments[0].inode_is_current()

    def close(self) -> None:
        """Detach."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        for segment in self._segments:
            segment.close()
