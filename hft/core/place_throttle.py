"""When new orders have to wait although every limit has room: refusals, and an overloaded venue.

A strategy whose orders the venue keeps refusing for one and the same reason is doing something
wrong: it would only use up the order count of everybody. An overloaded venue takes cancels and
reduce-only orders, nothing else (Binance USD-M API, error -1008 and HTTP 503): opening orders
pause, longer each time. Time is an argument, monotonic ns.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hft.core.throttle import PauseEnd
from hft.records import Reason
from hft.units import INT64_MAX, NS_PER_MS, NS_PER_S

REJECTS_MAX: Final = 5
REJECTS_WINDOW_NS: Final = 10 * NS_PER_S
"""So many refusals for one reason within so long pause a strategy's new orders."""
POST_ONLY_REJECTS_MAX: Final = 50
"""A maker's order that would have taken is part of its trade, as long as it is not all it does."""
REJECTS_PAUSE_NS: Final = 5 * NS_PER_S
OVERLOAD_PAUSES_NS: Final = (200 * NS_PER_MS, 400 * NS_PER_MS, 800 * NS_PER_MS)
"""Pauses of opening orders while the venue is overloaded; the last one repeats."""
OVERLOAD_OVER_NS: Final = 2 * NS_PER_S
"""So long after a pause without another one, the next overload begins with the shortest again."""
_LIMITS: Final = (Reason.NONE, Reason.VENUE_OVERLOAD, Reason.VENUE_RATE_LIMIT)
"""Not the strategy's doing: these have pauses of their own."""


class PlaceThrottle(PauseEnd):
    """Says whether a new order of a strategy may be sent now.

    ``until_ns``: nothing has to be asked from then on.
    """

    __slots__ = ("_overload_until_ns", "_overloads", "_pauses", "_rejects", "_standing")

    def __init__(self) -> None:
        self._rejects: dict[tuple[int, Reason], deque[int]] = {}
        self._pauses: dict[int, tuple[int, Reason]] = {}
        self._overloads = 0
        self._overload_until_ns = 0
        self._standing = Reason.NONE
        self.until_ns = 0

    def stand(self, reason: Reason) -> None:
        """Refuse every new order for this reason until another one, or NONE, is given."""
        if reason is not self._standing:
            self._standing = reason
            self._renew()

    def rejected(self, strategy_id: int, reason: Reason, now_ns: int) -> None:
        """The venue refused a new order."""
        if reason in _LIMITS:
            return
        most = POST_ONLY_REJECTS_MAX if reason is Reason.VENUE_POST_ONLY else REJECTS_MAX
        times = self._rejects.setdefault((strategy_id, reason), deque(maxlen=most))
        times.append(now_ns)
        if len(times) == most and now_ns - times[0] <= REJECTS_WINDOW_NS:
            times.clear()
            self._pauses[strategy_id] = now_ns + REJECTS_PAUSE_NS, reason
            self._renew()

    def overloaded(self, now_ns: int) -> None:
        """The venue is overloaded; what comes back during a pause says nothing new."""
        if now_ns < self._overload_until_ns:
            return
        if now_ns - self._overload_until_ns > OVERLOAD_OVER_NS:
            self._overloads = 0
        pause_ns = OVERLOAD_PAUSES_NS[min(self._overloads, len(OVERLOAD_PAUSES_NS) - 1)]
        self._overloads += 1
        self._overload_until_ns = now_ns + pause_ns
        self._renew()

    def refusal(self, strategy_id: int, is_reduce_only: int, now_ns: int) -> Reason:
        """Why a new order may not be sent now; NONE: it may."""
        if self._standing is not Reason.NONE:
            return self._standing
        if now_ns < self._overload_until_ns and not is_reduce_only:
            return Reason.VENUE_OVERLOAD
        until_ns, reason = self._pauses.get(strategy_id, (0, Reason.NONE))
        return reason if now_ns < until_ns else Reason.NONE

    def _renew(self) -> None:
        pauses = (until_ns for until_ns, _ in self._pauses.values())
        self.until_ns = max(self._overload_until_ns, *pauses, 0)
        if self._standing is not Reason.NONE:
            self.until_ns = INT64_MAX
