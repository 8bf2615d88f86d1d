"""Carries out strikes on the processes of a running system, and counts them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import ipc
from hft import counters
from hft.units import NS_PER_MS, NS_PER_S
from tools.chaos.observer import Observer
from tools.chaos.recovery import Recoveries
from tools.chaos.schedule import ANYWHERE, Strike
from tools.system.assembly import System
from tools.system.supervisor import Child

POINT_NS_MAX: Final = NS_PER_S
"""So long a strike waits for its point; then it strikes wherever things stand."""
STEP_S: Final = 0.005


class Striker:
    """Kills and stops, looks after the supervisor meanwhile, and remembers what it did."""

    def __init__(self, system: System, observer: Observer, recoveries: Recoveries) -> None:
        self._system = system
        self._observer = observer
        self._recoveries = recoveries
        self._children = {child.plan.name: child for child in system.supervisor.children}
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.risk_deaths_ns: list[int] = []

    def step(self, timeout_s: float = STEP_S) -> None:
        """Let the system run for a moment: supervisor, observer and clocks."""
        self._system.supervisor.step(timeout_s)
        self._observer.poll()
        self._recoveries.poll(time.monotonic_ns())

    def run_for(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let the system run until the time is over, or a condition holds: then True."""
        deadline_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
        while not (is_met := until()) and time.monotonic_ns() < deadline_ns:
            self.step()
        return is_met

    def carry_out(self, strike: Strike) -> None:
        """Do it to those of the processes that run."""
        self.run_for(strike.pause_s)
        aims = [self._children[name] for name in strike.processes]
        aims = [child for child in aims if child.is_alive]
        if not aims:
            return
        reached = self._wait_for(strike.point)
        self.points[reached] += 1
        self.kinds[strike.kind] += 1
        if strike.stop_ms:
            self._stop(aims[0], strike.stop_ms)
        else:
            self._kill(aims)

    def _wait_for(self, point: str) -> str:
        """Until a fresh record stands in the ring of that name, at full speed."""
        if point == ANYWHERE:
            return ANYWHERE
        self._observer.poll()
        deadline_ns = time.monotonic_ns() + POINT_NS_MAX
        while time.monotonic_ns() < deadline_ns:
            if self._observer.has_news(point):
                return point
        return ANYWHERE

    def _kill(self, aims: list[Child]) -> None:
        now_ns = time.monotonic_ns()
        for child in aims:
            assert child.pidfd is not None
            self._note_kill(child, now_ns)
            child.pidfd.kill(signal.SIGKILL)

    def _note_kill(self, child: Child, now_ns: int) -> None:
        for role in child.plan.roles:
            self.kills[role] += 1
            self._recoveries.killed(role, child.pid, now_ns)
            if role == "risk":
                self.risk_deaths_ns.append(now_ns)

    def _stop(self, child: Child, stop_ms: int) -> None:
        """Stop a process; the supervisor may find it hung and kill it meanwhile."""
        pid = child.pid
        try:
            process = ipc.Pidfd(pid)
        except ProcessLookupError:
            return
        for role in child.plan.roles:
            self.stops[role] += 1
        process.kill(signal.SIGSTOP)
        was_replaced = self.run_for(stop_ms / 1_000, until=lambda: child.pid != pid)
        if was_replaced:
            for role in child.plan.roles:
                self._recoveries.killed(role, pid, time.monotonic_ns())
                self.kills[role] += 1
        else:
            with contextlib.suppress(ProcessLookupError):
                process.kill(signal.SIGCONT)
            for role in child.plan.roles:
                self._recoveries.resumed(role, time.monotonic_ns())
        process.close()

    def is_quiet(self) -> bool:
        """Whether execution has nothing open and nothing unknown."""
        page = self._recoveries.page("execution")
        return not (page.gauge(counters.OPEN_ORDERS.id) or page.gauge(counters.UNKNOWN_ORDERS.id))


def permit_over_ns(died_ns: int, permit_ms: int, recv_window_ms: int) -> int:
    """When an order approved by a risk that died may no longer be journalled, at the latest.

    A process may be kept from running between its last look at the permit and the journal; the
    venue refuses what comes later than the receive window.
    """
    return died_ns + (permit_ms + recv_window_ms) * NS_PER_MS
