"""What a role gets from the house: its page, its segments, its clock-free view of the wiring.

A role asks for rings and cells by name; whether it may write them follows from ``hft/graph.py``,
so a role cannot map another's output writable even by mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import msgspec

import ipc
from hft import counters, graph
from hft.config import PLAN_FILE, Plan, ProcessPlan
from hft.core.generated.views import Instrument
from hft.counters import RoleState
from hft.errors import UsageError
from hft.records import SLOT_BYTES
from ipc import Bell, CellReader, CellWriter, RingReader, RingWriter, RolePage, Segment, Word
from ipc.layout import WRITER_OFFSET
from ipc.memory import store_u64

LASTING_GAUGES: Final = (
    counters.BANNED_UNTIL_MS, counters.PAUSED_UNTIL_MS,
    counters.IN_CALLBACK, counters.DIED_IN, counters.DIED_IN_NS,
)  # fmt: skip
"""Gauges that outlive the role which set them: a successor is banned like its predecessor, and has
to know in whose callback it died."""


class Role(Protocol):
    """One duty cycle. The runner owns the clock read, the heartbeat and the wait."""

    name: str

    def on_start(self, now_ns: int) -> None:
        """Attach, rebuild, allocate: everything that is not done again in the cycle."""

    def do_work(self, now_ns: int) -> int:
        """One bounded turn; returns the amount of work done, 0 when idle."""

    def on_stop(self, now_ns: int) -> bool:
        """Asked again and again once a stop was requested; True when the role may be closed."""

    def on_close(self) -> None:
        """Release everything. Called once, also after a failed ``on_start``; must not raise."""


def load_plan(run_dir: Path) -> Plan:
    """The plan that the system's creator wrote into the run directory.

    The users that it names may own segments from then on.
    """
    path = run_dir / PLAN_FILE
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
        if plan.owners and path.stat().st_uid in (0, os.geteuid()):
            ipc.trust_owners(plan.owners.values())
        return plan
    except FileNotFoundError:
        raise UsageError(
            f"no system runs from {run_dir}: {PLAN_FILE} is not there",
            remedy="Start one with `hft up`, or give its name with --name.",
        ) from None


def segment_specs() -> tuple[ipc.SegmentSpec, ...]:
    """Every segment of a system, as the one creator makes them."""
    rings = [ring_spec(ring.name) for ring in graph.RINGS]
    cells = [cells_spec(cell.name) for cell in graph.CELLS]
    pages = [page_spec(role) for role in graph.ROLE_IDS]
    return (*rings, *cells, *pages, PERMIT_SPEC, HALT_SPEC, BELLS_SPEC)


@cache
def ring_spec(name: str) -> ipc.SegmentSpec:
    """Segment of a ring."""
    ring = graph.ring(name)
    return ipc.SegmentSpec(
        name, ipc.SegmentKind.RING, SLOT_BYTES, ring.capacity, graph.ring_layout_hash(ring)
    )


@cache
def cells_spec(name: str) -> ipc.SegmentSpec:
    """Segment of an array of cells."""
    cells = graph.cells(name)
    return ipc.SegmentSpec(
        name,
        ipc.SegmentKind.CELLS,
        cells.record.size_bytes,
        cells.capacity,
        cells.record.layout_hash,
    )


def page_spec(role: str) -> ipc.SegmentSpec:
    """Segment of a role's page."""
    return RolePage.spec(graph.page_name(role))


PERMIT_SPEC = ipc.SegmentSpec(graph.PERMIT, ipc.SegmentKind.WORDS, 8, 8)
HALT_SPEC = ipc.SegmentSpec(graph.HALT, ipc.SegmentKind.WORDS, 8, 8, shared=True)
BELLS_SPEC = ipc.SegmentSpec(graph.BELLS, ipc.SegmentKind.BELLS, 128, graph.BELLS_MAX, shared=True)


class Context:
    """Everything one role may touch, attached on demand and closed together."""

    def __init__(self, plan: Plan, role: str, process: ProcessPlan) -> None:
        self.plan = plan
        self.config = plan.config
        self.role = role
        self.process = process
        self.run_dir = Path(plan.run_dir)
        self.state_dir = Path(plan.state_dir)
        self.source = int(graph.ROLE_IDS[role])
        self.epoch = 0
        self.is_first = True
        """Whether nobody has had this role in this system before."""
        self._system = plan.name
        self._segments: dict[str, Segment] = {}
        self._pages: dict[str, RolePage] = {}
        self.readers: list[RingReader] = []
        """Rings whose news wake the process."""
        self.page = RolePage.attach(self._system, graph.page_name(role), writable=True)
        self.halt = ipc.HaltLatch(self._attach(HALT_SPEC, writable=True), self.run_dir)
        self.commands = ipc.CommandQueue.attach(self.run_dir)

    def adopt(self, now_ns: int) -> None:
        """Take over the page: a new epoch, the first beat, state STARTING, no gauge of before.

        Counters go on; a gauge says how things are now, and that nobody knows yet. What the venue
        has forbidden this address holds whoever is told of it.
        """
        self.is_first = not self.page.epoch
        self.epoch = self.page.adopt()
        for gauge in counters.GAUGES:
            if gauge not in LASTING_GAUGES:
                self.page.set_gauge(gauge.id, 0)
        self.page.state = int(RoleState.STARTING)
        self.page.beat(now_ns)

    def _attach(self, spec: ipc.SegmentSpec, *, writable: bool) -> Segment:
        segment = self._segments.get(spec.name)
        if segment is None:
            segment = Segment.attach(self._system, spec, writable=writable)
            self._segments[spec.name] = segment
        return segment

    def page_of(self, role: str) -> RolePage:
        """Another role's page, read-only."""
        if role == self.role:
            return self.page
        page = self._pages.get(role)
        if page is None:
            page = RolePage.attach(self._system, graph.page_name(role), writable=False)
            self._pages[role] = page
        return page

    def bells_of(self, roles: Iterable[str]) -> dict[int, Bell]:
        """Bells of the other processes that host these roles, by their numbers."""
        bells = self._attach(BELLS_SPEC, writable=True)
        found: dict[int, Bell] = {}
        for role in roles:
            if role in graph.OPTIONAL_ROLES and not self.plan.has_role(role):
                continue
            process = self.plan.process_of(role)
            if process.bell != self.process.bell and process.bell not in found:
                fifo = self.run_dir / f"{process.name}.fifo"
                found[process.bell] = Bell(bells, process.bell, fifo)
        return found

    def ring_writer(self, name: str) -> tuple[RingWriter, bytearray]:
        """Writer of one of the role's own rings, and the record buffer bound to it."""
        ring = graph.ring(name)
        assert ring.writer == self.role, f"{self.role} does not write {name}"
        buffer = bytearray(SLOT_BYTES)
        gates = [self.page_of(role).cursor(graph.cursor_index(name)) for role in ring.gating]
        woken = (*ring.gating, *ring.observers)
        bells = self.bells_of(role for role in woken if role not in graph.COLD_ROLES)
        late_bells = self.bells_of(role for role in woken if role in graph.COLD_ROLES)
        writer = RingWriter(
            self._attach(ring_spec(name), writable=True),
            buffer,
            gates=gates,
            bells=list(bells.values()),
            late_bells=[bell for number, bell in late_bells.items() if number not in bells],
        )
        return writer, buffer

    def ring_reader(
        self, name: str, *, start_seq: int | None = None, wakes: bool = True
    ) -> tuple[RingReader, bytearray]:
        """Reader of a ring, gating when the graph says so, and the buffer that ``next`` fills.

        An observer starts at ``start_seq``, by default after the newest record.
        """
        ring = graph.ring(name)
        buffer = bytearray(SLOT_BYTES)
        gating = self.role in ring.gating
        cursor = self.page.cursor(graph.cursor_index(name)) if gating else None
        writable = ring.writer == self.role
        segment = self._attach(ring_spec(name), writable=writable)
        reader = RingReader(segment, buffer, cursor=cursor, start_seq=start_seq)
        if wakes:
            self.readers.append(reader)
        return reader, buffer

    def observer(self, name: str, start_seq: int) -> tuple[RingReader, bytearray]:
        """A second, never gating look at a ring from ``start_seq``: for rebuilding."""
        buffer = bytearray(SLOT_BYTES)
        segment = self._attach(ring_spec(name), writable=graph.ring(name).writer == self.role)
        return RingReader(segment, buffer, cursor=None, start_seq=start_seq), buffer

    def cell_writer(self, name: str) -> tuple[CellWriter, bytearray]:
        """Writer of one of the role's own cell arrays, and its bound buffer."""
        cells = graph.cells(name)
        assert cells.writer == self.role, f"{self.role} does not write {name}"
        buffer = bytearray(cells.record.size_bytes)
        return CellWriter(self._attach(cells_spec(name), writable=True), buffer), buffer

    def cell_reader(self, name: str) -> tuple[CellReader, bytearray]:
        """Reader of a cell array, and the buffer that ``read`` fills."""
        cells = graph.cells(name)
        buffer = bytearray(cells.record.size_bytes)
        writable = cells.writer == self.role
        return CellReader(self._attach(cells_spec(name), writable=writable), buffer), buffer

    def permit(self) -> Word:
        """The permit word; only risk maps it writable."""
        return Word(self._attach(PERMIT_SPEC, writable=self.role == "risk"), 0)

    def bells_segment(self) -> Segment:
        """The shared bells, for the process's own parking place."""
        return self._attach(BELLS_SPEC, writable=True)

    def release(self) -> None:
        """Give the page and the rings back while this process lives on: its lock says who is next.

        Only for who holds the lock; nothing may be written afterwards.
        """
        for segment in (self.page.segment, *self._segments.values()):
            if segment.writable and not segment.spec.shared:
                store_u64(segment.buffer, WRITER_OFFSET, 0)

    def close(self) -> None:
        """Detach everything; segments stay for the successor."""
        for page in (*self._pages.values(), self.page):
            page.close()
        for segment in self._segments.values():
            segment.close()


class InstrumentWatch:
    """The configured instruments' rows, and which of them have changed since the last look."""

    def __init__(self, context: Context) -> None:
        self._reader, self._row = context.cell_reader("instruments")
        self._view = Instrument(self._row)
        self._symbols = {i.instrument_id: i.symbol for i in context.plan.instruments}
        self._versions: dict[int, int] = {}

    def poll(self) -> list[Instrument]:
        """Views of the rows whose version differs from the one last returned; at first all.

        Each view owns its bytes. A few hundred nanoseconds an instrument when nothing changed.

        Raises:
            UsageError: an instrument has no row.
        """
        changed = []
        for instrument_id, symbol in self._symbols.items():
            if not self._reader.read(instrument_id):
                raise UsageError(
                    f"instrument {symbol} has no row in the instrument table",
                    remedy="Run `hft down` and `hft up` again.",
                )
            version = self._view.instrument_version
            if self._versions.get(instrument_id) != version:
                self._versions[instrument_id] = version
                changed.append(Instrument(bytearray(self._row)))
        return changed


def instrument_views(context: Context) -> dict[int, Instrument]:
    """The configured instruments' rows, read once: id to a view that owns its bytes."""
    return {view.instrument_id: view for view in InstrumentWatch(context).poll()}
