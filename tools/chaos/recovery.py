"""How long each role takes to be safe, and to trade again, after it was killed or stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

import ipc
from hft import counters
from hft.config import Plan
from hft.counters import RoleState
from hft.units import NS_PER_MS
from tools.system.segments import attach_page


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


def times(values_ns: Iterable[int]) -> Times:
    """Percentiles by nearest rank; zeros without values."""
    ordered = sorted(values_ns)
    if not ordered:
        return Times(count=0, p50=0.0, p99=0.0, max=0.0)

    def rank(share: float) -> float:
        index = max(0, math.ceil(share * len(ordered)) - 1)
        return round(ordered[index] / NS_PER_MS, 1)

    return Times(count=len(ordered), p50=rank(0.5), p99=rank(0.99), max=rank(1.0))


@dataclass(slots=True)
class _Pending:
    """A role on its way back."""

    since_ns: int
    dead_pid: int
    """0: it was stopped, not killed, and may go on as it is."""
    safe_ns: int = 0
    sent: int = 0
    """New orders sent when it was safe again."""


class Recoveries:
    """Watches the role pages for roles that come back."""

    def __init__(
        self, plan: Plan, *, is_cut_off: Callable[[int, int], bool] = lambda *_: False
    ) -> None:
        """``is_cut_off`` says whether the venue kept everybody from recovering meanwhile."""
        self._pages = {role: attach_page(plan, role) for role in plan.roles}
        self._is_cut_off = is_cut_off
        self._pending: dict[str, _Pending] = {}
        self.safe_ns: dict[str, list[int]] = {role: [] for role in plan.roles}
        self.trading_ns: dict[str, list[int]] = {role: [] for role in plan.roles}
        self.resumed_ns: dict[str, list[int]] = {role: [] for role in plan.roles}
        """After a stop: until it beats and is ready."""
        self.hindered_ns: dict[str, list[int]] = {role: [] for role in plan.roles}
        """Killed, until safe, while the venue kept it from that."""

    def page(self, role: str) -> ipc.RolePage:
        """A role's page."""
        return self._pages[role]

    def killed(self, role: str, pid: int, now_ns: int) -> None:
        """Process ``pid`` of the role was killed at ``now_ns``."""
        self._pending[role] = _Pending(now_ns, pid)

    def resumed(self, role: str, now_ns: int) -> None:
        """A stopped role may go on since ``now_ns``; one that was killed before stays so."""
        if role not in self._pending:
            self._pending[role] = _Pending(now_ns, 0)

    def poll(self, now_ns: int) -> None:
        """Look at everybody who is on the way back."""
        sent = self._pages["execution"].counter(counters.SENT.id)
        for role, pending in list(self._pending.items()):
            if not pending.safe_ns:
                if self._is_safe(role, pending):
                    pending.safe_ns, pending.sent = now_ns, sent
                    self._note_safe(role, pending, now_ns)
            elif sent > pending.sent:
                if pending.dead_pid and not self._is_cut_off(pending.since_ns, now_ns):
                    self.trading_ns[role].append(now_ns - pending.since_ns)
                del self._pending[role]

    def _note_safe(self, role: str, pending: _Pending, now_ns: int) -> None:
        into = self.safe_ns if pending.dead_pid else self.resumed_ns
        if self._is_cut_off(pending.since_ns, now_ns):
            into = self.hindered_ns
        into[role].append(now_ns - pending.since_ns)

    def _is_safe(self, role: str, pending: _Pending) -> bool:
        """Beating in a life of its own, and able to do its work; execution: able to cancel."""
        page = self._pages[role]
        if page.pid == pending.dead_pid or page.beat_ns <= pending.since_ns:
            return False
        if role == "execution":
            can_cancel = page.gauge(counters.SESSION_UP.id) == 1
            return can_cancel and page.state in (RoleState.READY, RoleState.RECOVERING)
        return page.state == RoleState.READY

    @property
    def is_complete(self) -> bool:
        """Whether everybody is back and orders leave."""
        return not self._pending

    def describe(self) -> str:
        """Who is missing, in words."""
        return ", ".join(
            f"{role} {'safe, no new order' if one.safe_ns else self._state(role)}"
            for role, one in self._pending.items()
        )

    def _state(self, role: str) -> str:
        page = self._pages[role]
        state = RoleState(page.state).name
        return f"{state}: {page.error.splitlines()[-1]}" if page.error else state

    def close(self) -> None:
        """Detach."""
        for page in self._pages.values():
            page.close()
