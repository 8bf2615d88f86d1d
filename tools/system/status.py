"""`hft status`: what runs, how it is, and what to do about it."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path
from typing import Final

import msgspec
import psutil

import ipc
from hft import counters
from hft.config import Plan, ProcessPlan
from hft.counters import RoleState
from hft.graph import RINGS, cursor_index
from hft.records import TradingState
from hft.roles.context import load_plan
from hft.roles.strategy_status import PRIORITY_RULE, Kept, read_overrides
from hft.units import NS_PER_MS, NS_PER_S
from tools.system import endpoint
from tools.system.notes import Notes, load_notes
from tools.system.places import supervisor_pid
from tools.system.ring_files import RingFiles
from tools.system.segments import attach_halt, attach_page
from tools.system.waiting import pause
from tools.terminal import paint

SAMPLE_S: Final = 0.2
"""Work is counted over this time."""
NOT_COUNTED: Final = -1
BEAT_MS_MAX: Final = 1_000.0
"""An older beat is worth a word."""


class RoleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One role, from its page."""

    name: str
    process: str
    pid: int
    cpu: int
    state: str
    detail: str
    beat_ms: float
    """Age of the last heartbeat."""
    work_per_s: float
    behind: int
    """Records that wait for it: in its gating rings; recorder: journal entries not on disk."""
    epoch: int
    error: str


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process."""

    name: str
    roles: tuple[str, ...]
    pid: int
    cpu: int
    wait: str
    rss_mb: float
    restarts: int
    """-1: nobody here counts them (systemd does)."""


class VenueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The venue as execution and feed see it."""

    round_trip_ms: float
    feed_age_ms: float
    weight: int
    weight_limit: int
    orders_10s: int
    orders_10s_limit: int
    clock_offset_ms: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer; ``problems`` is empty when all is well."""

    name: str
    mode: str
    topology: str
    trading_state: str
    halt_reason: str
    problems: tuple[str, ...]
    supervisor_pid: int
    started_wall_ns: int
    open_orders: int
    unknown_orders: int
    roles: tuple[RoleStatus, ...]
    processes: tuple[ProcessStatus, ...]
    venue: VenueStatus
    metrics_url: str = ""
    sharing_rule: str = ""
    """How strategies that share an instrument get along; empty: none do."""
    """Where Prometheus reads it; empty: nowhere."""
    last_event: str
    last_event_wall_ns: int


class Looker:
    """Attached, read-only, to one life of a system; every look is a ``Status``."""

    def __init__(self, run_dir: Path) -> None:
        """Attach.

        Raises:
            UsageError, IpcError: nothing runs from there, or it is of another build.
        """
        self._run_dir = run_dir
        self._plan = load_plan(run_dir)
        self._rings = RingFiles(self._plan.name)
        self._pages = {role: attach_page(self._plan, role) for role in self._plan.roles}
        self._halt = attach_halt(self._plan)
        self._looked_ns = time.monotonic_ns()
        self._work = self._count_work()

    def _count_work(self) -> dict[str, int]:
        return {role: page.counter(counters.WORK.id) for role, page in self._pages.items()}

    @property
    def is_current(self) -> bool:
        """Whether the system is still the one that was attached to."""
        return all(page.segment.inode_is_current() for page in self._pages.values())

    @property
    def watcher(self) -> int:
        """Process id of the supervisor; 0: there is none."""
        return supervisor_pid(self._run_dir) or 0

    def look(self) -> Status:
        """How it is now; work is counted since the last look."""
        plan, pages, watcher = self._plan, self._pages, self.watcher
        notes = load_notes(self._run_dir)
        now_ns = time.monotonic_ns()
        passed_s = max(1, now_ns - self._looked_ns) / NS_PER_S
        before, self._work, self._looked_ns = self._work, self._count_work(), now_ns
        per_s = {role: (self._work[role] - before[role]) / passed_s for role in plan.roles}
        roles = tuple(
            _role_status(plan, role, pages, per_s[role], self._backlog(role), now_ns)
            for role in plan.roles
        )
        execution = pages["execution"]
        event = notes.events[-1] if notes and notes.events else None
        return Status(
            name=plan.name,
            mode=plan.config.system.mode,
            topology=plan.config.system.topology,
            trading_state=self._trading_state().name,
            halt_reason=self._halt.reason(),
            problems=tuple(_problems(plan, roles, execution, watcher)),
            supervisor_pid=watcher,
            started_wall_ns=plan.started_wall_ns,
            open_orders=execution.gauge(counters.OPEN_ORDERS.id),
            unknown_orders=execution.gauge(counters.UNKNOWN_ORDERS.id),
            roles=roles,
            processes=process_statuses(plan, notes),
            venue=_venue_status(plan, execution, pages["feed"], now_ns),
            metrics_url=endpoint.url_of(self._run_dir),
            sharing_rule=PRIORITY_RULE if _shares_instruments(plan) else "",
            last_event=event.text if event else "",
            last_event_wall_ns=event.wall_ns if event else 0,
        )

    def _trading_state(self) -> TradingState:
        """What risk grants; a latched halt is above it."""
        granted = TradingState(self._pages["risk"].gauge(counters.PERMIT_STATE.id))
        return TradingState.HALTED if self._halt.is_set else granted

    def _backlog(self, role: str) -> int:
        """Records published in the rings that the role answers for, and that it has not taken."""
        return sum(
            max(0, self._rings.newest_seq(ring.name) - self._taken_seq(role, ring.name))
            for ring in RINGS
            if role in (*ring.gating, *ring.pollers)
        )

    def _taken_seq(self, role: str, ring: str) -> int:
        return self._pages[role].cursor(cursor_index(ring)).value

    def close(self) -> None:
        """Detach."""
        self._rings.close()
        for page in self._pages.values():
            page.close()


def read(run_dir: Path) -> Status:
    """Attach read-only and look.

    Raises:
        UsageError, IpcError: nothing runs from there, or it is of another build.
    """
    looker = Looker(run_dir)
    try:
        pause(SAMPLE_S, pid=looker.watcher or os.getpid())
        return looker.look()
    finally:
        looker.close()


def process_statuses(plan: Plan, notes: Notes | None) -> tuple[ProcessStatus, ...]:
    """Every process of the plan with what the supervisor and the kernel say of it."""
    noted = {note.name: note for note in notes.processes} if notes else {}
    found = []
    for process in plan.processes:
        note = noted.get(process.name)
        pid = note.pid if note else _living(plan, process)
        found.append(
            ProcessStatus(
                name=process.name,
                roles=process.roles,
                pid=pid,
                cpu=process.cpu,
                wait=process.wait,
                rss_mb=_resident_mb(pid),
                restarts=note.restarts if note else NOT_COUNTED,
            )
        )
    return tuple(found)


def _living(plan: Plan, process: ProcessPlan) -> int:
    """The process that holds the lock of one of these roles, where no supervisor notes it."""
    holders = (ipc.lock_holder(Path(plan.run_dir), role) for role in process.roles)
    return next((pid for pid in holders if pid is not None), 0)


def _resident_mb(pid: int) -> float:
    try:
        return round(psutil.Process(pid).memory_info().rss / 2**20, 1) if pid else 0.0
    except psutil.Error:
        return 0.0


def _role_status(
    plan: Plan,
    role: str,
    pages: dict[str, ipc.RolePage],
    work_per_s: float,
    behind: int,
    now_ns: int,
) -> RoleStatus:
    page, process = pages[role], plan.process_of(role)
    return RoleStatus(
        name=role,
        process=process.name,
        pid=page.pid,
        cpu=process.cpu,
        state=RoleState(page.state).name.lower(),
        detail=_detail(plan, role, page, now_ns),
        beat_ms=_age_ms(page.beat_ns, now_ns),
        work_per_s=round(work_per_s, 1),
        behind=behind,
        epoch=page.epoch,
        error=page.error,
    )


def _detail(plan: Plan, role: str, page: ipc.RolePage, now_ns: int) -> str:
    """The state in words of the role's own trade."""
    match role:
        case "feed":
            live = page.gauge(counters.LIVE_INSTRUMENTS.id)
            return f"{live} of {len(plan.instruments)} live"
        case "strategy":
            kept = _kept(plan)
            modes = [kept[one.name].mode or one.mode for one in plan.config.strategies]
            words = [f"{modes.count(mode)} {mode}" for mode in dict.fromkeys(modes)]
            if paused := sum(bool(one.pauses) for one in kept.values()):
                words.append(f"{paused} PAUSED")
            return ", ".join(words)
        case "risk":
            return TradingState(page.gauge(counters.PERMIT_STATE.id)).name.lower()
        case "execution":
            unknown = page.gauge(counters.UNKNOWN_ORDERS.id)
            return f"{page.gauge(counters.OPEN_ORDERS.id)} open, {unknown} unknown"
        case "paper":
            fills = page.counter(counters.PAPER_FILLS.id)
            return f"{page.gauge(counters.OPEN_ORDERS.id)} open, {fills:,} fills"
        case "recorder":
            lost = page.counter(counters.GAPS_COPIED.id)
            copied = f"{page.gauge(counters.COPIED_SEQ.id):,} on disk"
            return copied + (f", {lost:,} LOST" if lost else "")
        case _:
            reconciled_ns = page.gauge(counters.RECONCILED_NS.id)
            if not reconciled_ns:
                return "not yet compared"
            verdict = "agrees" if page.gauge(counters.AGREES.id) else "DIFFERS"
            return f"venue {verdict}, {(now_ns - reconciled_ns) / NS_PER_S:.1f} s ago"


def _kept(plan: Plan) -> dict[str, Kept]:
    """What was changed about each configured strategy since the start."""
    found = read_overrides(Path(plan.state_dir), plan.started_wall_ns).strategies
    return {one.name: found.get(one.name, Kept()) for one in plan.config.strategies}


def _pauses(plan: Plan) -> list[str]:
    return [
        f"{name} is paused on {symbol}: {reason}"
        for name, kept in _kept(plan).items()
        for symbol, reason in kept.pauses.items()
    ]


def _shares_instruments(plan: Plan) -> bool:
    symbols = [symbol for one in plan.config.strategies for symbol in one.symbols]
    return len(set(symbols)) < len(symbols)


def _venue_status(
    plan: Plan, execution: ipc.RolePage, feed: ipc.RolePage, now_ns: int
) -> VenueStatus:
    return VenueStatus(
        round_trip_ms=round(execution.gauge(counters.ROUND_TRIP_NS.id) / NS_PER_MS, 2),
        feed_age_ms=_age_ms(feed.gauge(counters.LAST_FRAME_NS.id), now_ns),
        weight=execution.gauge(counters.USED_WEIGHT.id),
        weight_limit=plan.limits.weight_1m,
        orders_10s=execution.gauge(counters.ORDERS_10S.id),
        orders_10s_limit=plan.limits.orders_10s,
        clock_offset_ms=round(execution.gauge(counters.CLOCK_OFFSET_NS.id) / NS_PER_MS, 2),
    )


def _age_ms(then_ns: int, now_ns: int) -> float:
    """How long ago it was; 0 when it happened since we looked at the clock, -1: it never did."""
    return round(max(0, now_ns - then_ns) / NS_PER_MS, 1) if then_ns else -1.0


def _problems(
    plan: Plan, roles: tuple[RoleStatus, ...], execution: ipc.RolePage, watcher: int
) -> list[str]:
    problems = []
    if not watcher and plan.is_supervised:
        problems.append("nobody supervises it: `hft down` clears it away")
    for role in roles:
        if role.state != "ready":
            problems.append(
                f"{role.name} is {role.state}"
                + (f": {_last_line(role.error)}" if role.error else "")
            )
        elif role.beat_ms > BEAT_MS_MAX:
            problems.append(f"{role.name} has not beaten for {role.beat_ms:,.0f} ms")
    if unknown := execution.gauge(counters.UNKNOWN_ORDERS.id):
        problems.append(f"{unknown} orders are unknown")
    return problems + _pauses(plan)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _duration(milliseconds: float, otherwise: str) -> str:
    if milliseconds < 0:
        return otherwise
    return f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"


def _venue_lines(venue: VenueStatus) -> list[str]:
    round_trip = f"{venue.round_trip_ms:.1f} ms" if venue.round_trip_ms else "not measured yet"
    return [
        f"  venue     feed age {_duration(venue.feed_age_ms, '―')}"
        f" · order round trip {round_trip} · clock {venue.clock_offset_ms:+.1f} ms",
        f"            weight {venue.weight:,}/{venue.weight_limit:,} per minute"
        f" · orders {venue.orders_10s:,}/{venue.orders_10s_limit:,} per 10 s",
    ]


def render(status: Status) -> list[str]:
    """The answer for a person: what matters first, what can be done last."""
    health = paint("healthy", "green")
    if status.problems:
        health = paint(status.problems[0], "red")
    since = time.strftime("%H:%M:%S", time.localtime(status.started_wall_ns / NS_PER_S))
    lines = [
        f'hft "{status.name}" · {status.mode.upper()} · {status.trading_state} · up since {since}'
        f" · {status.topology} · {health}"
    ]
    lines += [f"  {problem}" for problem in status.problems[1:]]
    lines.append(f"  {'role':<9} {'cpu':>3} {'beat':>7}  {'state':<24} {'work/s':>7} {'behind':>6}"
                 f" {'restarts':>8} {'memory':>6}")  # fmt: skip
    processes = {process.name: process for process in status.processes}
    shown: set[str] = set()
    for role in status.roles:
        process = processes[role.process]
        memory = "―" if role.process in shown else f"{process.rss_mb:.0f} MB"
        shown.add(role.process)
        state = role.detail if role.state == "ready" else role.state
        restarts = "―" if process.restarts == NOT_COUNTED else process.restarts
        lines.append(f"  {role.name:<9} {role.cpu:>3} {_duration(role.beat_ms, 'never'):>7}"
                     f"  {state:<24} {role.work_per_s:>7,.0f} {role.behind:>6,}"
                     f" {restarts:>8} {memory:>6}")  # fmt: skip
    lines += _venue_lines(status.venue)
    if status.sharing_rule:
        lines += textwrap.wrap(f"shared    {status.sharing_rule}", 78, initial_indent="  ",
                               subsequent_indent=" " * 12)  # fmt: skip
    if status.metrics_url:
        lines.append(f"  metrics   {status.metrics_url}")
    if status.last_event:
        at = time.strftime("%H:%M:%S", time.localtime(status.last_event_wall_ns / NS_PER_S))
        lines.append(f"  last event {at}  {status.last_event}")
    if status.halt_reason:
        lines.append(
            f"halted: {status.halt_reason} · {status.open_orders} open orders"
            f' · hft arm --name {status.name} --reason "…"'
        )
    elif status.trading_state == "HALTED":
        lines.append(f'not armed · hft arm --name {status.name} --reason "…"')
    return lines
