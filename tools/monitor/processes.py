"""Roles, processes and rings: how they do, a look a second; states and beats at every look."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import psutil

from hft import counters, graph
from hft.counters import RoleState
from hft.units import NS_PER_S
from tools.monitor.attached import Attached
from tools.monitor.model import RingReader, Role

NOTES_FILE: Final = "supervisor.json"
BEAT_NS_MAX: Final = NS_PER_S
"""An older beat is worth a word."""
BAD_WORDS: Final = ("hangs", "ended", "given up", "cannot", "does not end")
"""What the supervisor says when something went wrong."""


class _ProcessNote(msgspec.Struct, frozen=True):
    """What the monitor needs of a process's note."""

    name: str
    pid: int
    restarts: int


class _EventNote(msgspec.Struct, frozen=True):
    wall_ns: int
    text: str


class _Notes(msgspec.Struct, frozen=True):
    """What the monitor needs of the supervisor's notes, without the supervisor's own imports."""

    processes: tuple[_ProcessNote, ...] = ()
    events: tuple[_EventNote, ...] = ()


class Event(NamedTuple):
    """Something the supervisor saw."""

    wall_ns: int
    text: str
    is_bad: bool


class _Usage(NamedTuple):
    """What a process costs."""

    cpu_percent: float
    memory_mb: float


class Processes:
    """Looks after roles, their processes and their rings."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        self._plan = attached.plan
        self._known: dict[int, psutil.Process] = {}
        self._usage: dict[str, _Usage] = {}
        self._restarts: dict[str, int] = {}
        self._work: dict[str, int] = {}
        self._work_per_s: dict[str, float] = {}
        self._newest: dict[str, int] = {}
        self._work_ns = self._rings_ns = 0
        self.events: tuple[Event, ...] = ()

    def look(self, now_ns: int) -> None:
        """Once a second: notes, processor time, memory, work."""
        notes = self._notes()
        self._restarts = {note.name: note.restarts for note in notes.processes}
        self._usage = {note.name: self._measure(note.pid) for note in notes.processes}
        living = {note.pid for note in notes.processes}
        self._known = {pid: process for pid, process in self._known.items() if pid in living}
        self.events = tuple(
            Event(event.wall_ns, event.text, any(word in event.text for word in BAD_WORDS))
            for event in notes.events
        )
        span_s = (now_ns - self._work_ns) / NS_PER_S
        for role, page in self._attached.pages.items():
            work = page.counter(counters.WORK.id)
            self._work_per_s[role] = (work - self._work.get(role, work)) / span_s
            self._work[role] = work
        self._work_ns = now_ns

    def _notes(self) -> _Notes:
        try:
            raw = (self._attached.run_dir / NOTES_FILE).read_bytes()
            return msgspec.json.decode(raw, type=_Notes)
        except (OSError, msgspec.DecodeError):
            return _Notes()

    def _measure(self, pid: int) -> _Usage:
        if not pid:
            return _Usage(0.0, 0.0)
        try:
            process = self._known.get(pid) or psutil.Process(pid)
            self._known[pid] = process
            return _Usage(process.cpu_percent(), process.memory_info().rss / 2**20)
        except psutil.Error:
            return _Usage(0.0, 0.0)

    def roles(self, now_ns: int) -> tuple[Role, ...]:
        """Every role as its page shows it."""
        found = []
        for name, page in self._attached.pages.items():
            process = self._plan.process_of(name)
            usage = self._usage.get(process.name, _Usage(0.0, 0.0))
            state = RoleState(page.state)
            beat_ns = max(0, now_ns - page.beat_ns) if page.beat_ns else -1
            is_beating = 0 <= beat_ns < BEAT_NS_MAX
            detail = self._detail(name, now_ns)
            if state is not RoleState.READY and page.error:
                detail = page.error.strip().rpartition("\n")[2]
            found.append(
                Role(
                    name=name,
                    process=process.name,
                    pid=page.pid,
                    cpu=process.cpu,
                    state=state.name.lower().replace("_", " ") if is_beating else "silent",
                    detail=detail,
                    beat_ns=beat_ns,
                    work_per_s=self._work_per_s.get(name, 0.0),
                    restarts=self._restarts.get(process.name, 0),
                    cpu_percent=usage.cpu_percent,
                    memory_mb=usage.memory_mb,
                    is_well=state is RoleState.READY and is_beating,
                )
            )
        return tuple(found)

    def _detail(self, role: str, now_ns: int) -> str:
        """The state in words of the role's own trade."""
        page = self._attached.pages[role]
        match role:
            case "feed":
                live = page.gauge(counters.LIVE_INSTRUMENTS.id)
                gaps = page.counter(counters.GAPS.id)
                return f"{live} of {len(self._plan.instruments)} live, {gaps:,} gaps"
            case "strategy":
                errors = page.counter(counters.PLUGIN_ERRORS.id)
                return f"{page.counter(counters.INTENTS.id):,} intents, {errors:,} errors"
            case "risk":
                refused = page.counter(counters.REFUSED.id)
                return f"{page.counter(counters.APPROVED.id):,} approved, {refused:,} refused"
            case "execution":
                unknown = page.gauge(counters.UNKNOWN_ORDERS.id)
                return f"{page.gauge(counters.OPEN_ORDERS.id):,} open, {unknown:,} unknown"
            case "recorder":
                lost = page.counter(counters.GAPS_COPIED.id)
                copied = f"{page.gauge(counters.COPIED_SEQ.id):,} on disk"
                return copied + (f", {lost:,} LOST" if lost else "")
            case _:
                reconciled_ns = page.gauge(counters.RECONCILED_NS.id)
                if not reconciled_ns:
                    return "not yet compared"
                verdict = "agrees" if page.gauge(counters.AGREES.id) else "DIFFERS"
                return f"venue {verdict}, {max(0, now_ns - reconciled_ns) / NS_PER_S:.0f} s ago"

    def rings(self, now_ns: int) -> tuple[RingReader, ...]:
        """Every ring with everybody who reads it; once a second."""
        span_s = (now_ns - self._rings_ns) / NS_PER_S if self._rings_ns else 0.0
        self._rings_ns = now_ns
        found = []
        for ring in graph.RINGS:
            newest = self._attached.newest_seq(ring.name)
            grown = newest - self._newest.get(ring.name, newest)
            self._newest[ring.name] = newest
            readers = [(role, "gates") for role in ring.gating]
            readers += [(role, "polls") for role in ring.pollers if role in self._attached.pages]
            readers += [(role, "observes") for role in ring.observers]
            for role, kind in readers or [("", "")]:
                found.append(
                    RingReader(
                        ring=ring.name,
                        writer=ring.writer,
                        reader=role,
                        kind=kind,
                        behind=self._behind(ring, role, kind),
                        capacity=ring.capacity,
                        records_per_s=grown / span_s if span_s else 0.0,
                        lost=self._attached.pages[role].counter(counters.LAPPED.id) if role else 0,
                        when_full=ring.when_full.name.lower().replace("_", " "),
                    )
                )
        return tuple(found)

    def _behind(self, ring: graph.RingSpec, role: str, kind: str) -> int:
        if kind not in ("gates", "polls"):
            return -1
        cursor = self._attached.pages[role].cursor(graph.cursor_index(ring.name))
        # Afresh and after the cursor: what was published meanwhile is not a backlog of a second.
        committed = cursor.value
        return max(0, self._attached.newest_seq(ring.name) - committed)
