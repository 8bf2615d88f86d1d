"""Roles, processes and rings: how they do, a look a second; states and beats at every look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from hft import counters, graph
from hft.counters import RoleState
from hft.units import NS_PER_S
from tools.monitor.attached import Attached
from tools.monitor.model import RingReader, Role
from tools.system.notes import Notes, ProcessNote, load_notes

BEAT_NS_MAX: Final = NS_PER_S
"""An older beat is worth a word."""
BAD_WORDS: Final = ("hangs", "ended", "given up", "cannot", "does not end")
"""What the supervisor says when something went wrong."""
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
MB_PER_PAGE: Final = os.sysconf("SC_PAGE_SIZE") / 2**20


class Event(NamedTuple):
    """Something the supervisor saw."""

    wall_ns: int
    text: str
    is_bad: bool


class _Usage(NamedTuple):
    """What a process costs."""

    cpu_percent: float = 0.0
    memory_mb: float = 0.0


class _Clock(NamedTuple):
    """Processor time of a process at some instant."""

    pid: int
    ticks: int
    now_ns: int


class Processes:
    """Looks after roles, their processes and their rings."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        self._plan = attached.plan
        self._notes: Notes | None = None
        self._clocks: dict[str, _Clock] = {}
        self._usage: dict[str, _Usage] = {}
        self._restarts: dict[str, int] = {}
        self._work: dict[str, int] = {}
        self._work_per_s: dict[str, float] = {}
        self._newest: dict[str, int] = {}
        self._work_ns = self._rings_ns = 0
        self.events: tuple[Event, ...] = ()

    def look(self, now_ns: int) -> None:
        """Once a second: notes, processor time, memory, work."""
        self._read_notes(now_ns)
        span_s = (now_ns - self._work_ns) / NS_PER_S
        for role, page in self._attached.pages.items():
            work = page.counter(counters.WORK.id)
            self._work_per_s[role] = (work - self._work.get(role, work)) / span_s
            self._work[role] = work
        self._work_ns = now_ns

    def _read_notes(self, now_ns: int) -> None:
        notes = self._load_notes()
        if notes != self._notes:
            self._notes = notes
            self.events = tuple(
                Event(event.wall_ns, event.text, any(word in event.text for word in BAD_WORDS))
                for event in (notes.events if notes else ())
            )
        processes = notes.processes if notes else ()
        self._restarts = {note.name: note.restarts for note in processes}
        self._usage = {note.name: self._measure(note, now_ns) for note in processes}

    def _load_notes(self) -> Notes | None:
        try:
            return load_notes(self._attached.run_dir)
        except OSError:
            return None

    def _measure(self, note: ProcessNote, now_ns: int) -> _Usage:
        """What the kernel says of a process; its processor time since the last look."""
        try:
            fields = Path(f"/proc/{note.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return _Usage()
        ticks, started, pages = int(fields[11]) + int(fields[12]), int(fields[19]), int(fields[21])
        if started != note.pid_started:
            return _Usage()  # it has ended, and another has its number
        before = self._clocks.get(note.name)
        self._clocks[note.name] = _Clock(note.pid, ticks, now_ns)
        percent = 0.0
        if before is not None and before.pid == note.pid:
            span_s = (now_ns - before.now_ns) / NS_PER_S
            percent = 100 * (ticks - before.ticks) / TICKS_PER_S / span_s
        return _Usage(percent, pages * MB_PER_PAGE)

    def roles(self, now_ns: int) -> tuple[Role, ...]:
        """Every role as its page shows it."""
        found = []
        for name, page in self._attached.pages.items():
            process = self._plan.process_of(name)
            usage = self._usage.get(process.name, _Usage())
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
