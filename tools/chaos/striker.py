"""Carries out strikes on the processes of a running system, and counts them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import ipc
from hft import counters
from hft.counters import RoleState
from hft.units import NS_PER_MS, NS_PER_S
from tools.chaos.observer import Observer
from tools.chaos.points import CANCEL_ALL, NAMES, STOP, Words
from tools.chaos.recovery import Recoveries
from tools.chaos.schedule import ANYWHERE, Strike
from tools.system.assembly import System
from tools.system.segments import Bells, attach_halt
from tools.system.supervisor import Child

POINT_NS_MAX: Final = NS_PER_S
"""So long a strike waits for its point; then it strikes wherever things stand."""
STEP_S: Final = 0.005
POINT_STEP_S: Final = 0.001
STARVED_S, FED_S = 0.045, 0.005
"""A starved process runs for one part in ten of the time."""


class Pause(NamedTuple):
    """A time in which a process could not run, or hardly."""

    roles: tuple[str, ...]
    since_ns: int
    until_ns: int


class Death(NamedTuple):
    """The end of one life of a role."""

    role: str
    died_ns: int


class Striker:
    """Kills, stops and starves; looks after the supervisor meanwhile, remembers what it did."""

    def __init__(
        self,
        system: System,
        observer: Observer,
        recoveries: Recoveries,
        words: Words,
        *,
        also: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._system = system
        self._observer = observer
        self._recoveries = recoveries
        self._words = words
        self._also = also
        self._children = {child.plan.name: child for child in system.supervisor.children}
        self._latch = attach_halt(system.plan, writable=True)
        self._bells = Bells(system.plan)
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.starved: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.killed = self.stopped = 0
        """Processes."""
        self.deaths: list[Death] = []
        self.pauses: list[Pause] = []

    def step(self, timeout_s: float = STEP_S) -> None:
        """Let the system run for a moment: supervisor, observer, clocks, whoever else."""
        self._system.supervisor.step(timeout_s)
        self._observer.poll()
        now_ns = time.monotonic_ns()
        self._recoveries.poll(now_ns)
        self._also(now_ns)

    def run_for(
        self, seconds: float, until: Callable[[], bool] = lambda: False, step_s: float = STEP_S
    ) -> bool:
        """Let the system run until the time is over, or a condition holds: then True."""
        deadline_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
        while not (is_met := until()) and time.monotonic_ns() < deadline_ns:
            self.step(step_s)
        return is_met

    def carry_out(self, strike: Strike) -> None:
        """Do it to those of the processes that run."""
        self.run_for(strike.pause_s)
        aims = [self._children[name] for name in strike.processes]
        aims = [child for child in aims if child.is_alive]
        if not aims:
            return
        self.kinds[strike.kind] += 1
        if strike.point in NAMES and aims[0].plan.name == strike.processes[0]:
            if self.kill_at(strike.point, aims[0]):
                self._kill(aims[1:])
                return
            self.points[ANYWHERE] += 1
        else:
            self.points[self._wait_for(strike.point)] += 1
        if strike.kind == "stop":
            self._stop(aims[0], strike.hold_ms)
        elif strike.kind == "starve":
            self._starve(aims[0], strike.hold_ms)
        else:
            self._kill(aims)

    # -- kills ------------------------------------------------------------------------------------

    def kill_at(self, point: str, child: Child, seconds: float = POINT_NS_MAX / NS_PER_S) -> bool:
        """Arm a point until the process has died there; False: it did not come by in time."""
        pid, roles = child.pid, child.plan.roles
        self._words.arm(point)
        if point == CANCEL_ALL:
            self._latch.set("chaos: cancel everything", "chaos")
            self._bells.ring()
        has_died = self.run_for(seconds, until=lambda: child.pid != pid, step_s=POINT_STEP_S)
        reached_ns = self._words.reached_ns(point)
        self._words.disarm(point)
        if not (has_died and reached_ns):
            return False
        self.points[point] += 1
        self._note_death(roles, pid, reached_ns)
        return True

    def _kill(self, aims: list[Child]) -> None:
        now_ns = time.monotonic_ns()
        for child in aims:
            if child.pidfd is None:
                continue
            pid = child.pid
            child.pidfd.kill(signal.SIGKILL)
            self._note_death(child.plan.roles, pid, now_ns)

    def kill(self, name: str) -> None:
        """Kill a process of the plan, wherever things stand."""
        self._kill([self._children[name]])

    def _note_death(self, roles: tuple[str, ...], pid: int, died_ns: int) -> None:
        self.killed += 1
        for role in roles:
            self.kills[role] += 1
            self._recoveries.killed(role, pid, died_ns)
            self.deaths.append(Death(role, died_ns))

    def _wait_for(self, point: str) -> str:
        """Until a fresh record stands in the ring of that name, at full speed."""
        if point == ANYWHERE or point in NAMES:
            return ANYWHERE
        self._observer.poll()
        deadline_ns = time.monotonic_ns() + POINT_NS_MAX
        while time.monotonic_ns() < deadline_ns:
            if self._observer.has_news(point):
                return point
        return ANYWHERE

    # -- stops ------------------------------------------------------------------------------------

    def _stop(self, child: Child, hold_ms: int) -> None:
        """Stop a process; the supervisor may find it hung and kill it meanwhile."""
        self.stopped += 1
        for role in child.plan.roles:
            self.stops[role] += 1
        pid = child.pid
        with self._held(child) as process:
            if process is not None:
                process.kill(signal.SIGSTOP)
                self.run_for(hold_ms / 1_000, until=lambda: child.pid != pid)

    def _starve(self, child: Child, hold_ms: int) -> None:
        """Let a process run for a tenth of the time, in small portions."""
        for role in child.plan.roles:
            self.starved[role] += 1
        pid = child.pid
        deadline_ns = time.monotonic_ns() + hold_ms * NS_PER_MS
        with self._held(child) as process:
            while process is not None and child.pid == pid and time.monotonic_ns() < deadline_ns:
                process.kill(signal.SIGSTOP)
                self.run_for(STARVED_S, until=lambda: child.pid != pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill(signal.SIGCONT)
                self.run_for(FED_S)

    def stop_at(self, point: str, name: str, hold_ms: int) -> Pause | None:
        """Let a process stop itself at a point; None: it did not come by, or was replaced."""
        child = self._children[name]
        pid = child.pid
        self._words.arm(point, how=STOP)
        is_there = self.run_for(
            POINT_NS_MAX / NS_PER_S, until=lambda: self._words.reached_ns(point) > 0
        )
        since_ns = self._words.reached_ns(point)
        self._words.disarm(point)
        if not is_there:
            return None
        with self._held(child) as process:
            self.run_for(hold_ms / 1_000, until=lambda: child.pid != pid)
            assert process is not None
        until_ns = self.pauses[-1].until_ns
        return Pause(child.plan.roles, since_ns, until_ns) if child.pid == pid else None

    @contextlib.contextmanager
    def _held(self, child: Child) -> Iterator[ipc.Pidfd | None]:
        """A process that is let go at the end, whatever became of it meanwhile."""
        pid, since_ns = child.pid, time.monotonic_ns()
        try:
            process = ipc.Pidfd(pid)
        except ProcessLookupError:
            yield None
            return
        roles = child.plan.roles
        try:
            yield process
        finally:
            now_ns = time.monotonic_ns()
            self.pauses.append(Pause(roles, since_ns, now_ns))
            if child.pid != pid:  # found hung, and replaced
                self._note_death(roles, pid, now_ns)
            else:
                with contextlib.suppress(ProcessLookupError):
                    process.kill(signal.SIGCONT)
                for role in roles:
                    self._recoveries.resumed(role, now_ns)
            process.close()

    # -- state ------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Whether execution has nothing open and nothing unknown, and paper nothing open."""
        page = self._recoveries.page("execution")
        if page.gauge(counters.OPEN_ORDERS.id) or page.gauge(counters.UNKNOWN_ORDERS.id):
            return False
        if not self._system.plan.has_role("paper"):
            return True
        paper = self._recoveries.page("paper")
        return paper.state == RoleState.READY and not paper.gauge(counters.OPEN_ORDERS.id)

    def close(self) -> None:
        """Detach."""
        self._bells.close()
