"""Message budgets: exact sliding windows, with a part kept back for cancels. Time is an argument.

The venue counts requests in windows that begin at full seconds or minutes. A sliding window of the
same length is never looser than those, wherever they begin. What others did on the same address or
account shows in the venue's answers and is taken over with ``observe``.
"""

from __future__ import annotations

from typing import Final

from hft.records import Reason
from hft.units import NS_PER_S

_TEN_SECONDS_NS: Final = 10 * NS_PER_S
_MINUTE_NS: Final = 60 * NS_PER_S
SLOTS_MAX: Final = 4_096


class WindowLimit:
    """At most ``limit`` in any ``window_ns``; ``reserve`` of it is for cancels only.

    Memory: one slot for each message that may still count, allocated once; beyond ``SLOTS_MAX``
    messages share slots, which makes the window a little longer, never shorter.
    """

    __slots__ = (
        "_counts",
        "_head",
        "_size",
        "_stamps",
        "_tail",
        "_used",
        "limit",
        "reserve",
        "window_ns",
    )

    def __init__(self, limit: int, window_ns: int, reserve: int = 0) -> None:
        assert 0 <= reserve <= limit
        assert window_ns > 0
        self.limit = limit
        self.window_ns = window_ns
        self.reserve = reserve
        # One slot more for what the venue observed, one that always stays empty.
        self._size = min(limit, SLOTS_MAX) + 2
        self._stamps = [0] * self._size
        self._counts = [0] * self._size
        self._head = 0
        self._tail = 0
        self._used = 0

    def used(self, now_ns: int) -> int:
        """Messages that count at ``now_ns``."""
        head, tail = self._head, self._tail
        since_ns = now_ns - self.window_ns
        stamps = self._stamps
        while head != tail and stamps[head] <= since_ns:
            self._used -= self._counts[head]
            head = head + 1 if head + 1 < self._size else 0
        self._head = head
        return self._used

    def room(self, now_ns: int, *, is_cancel: bool = False) -> int:
        """How many more may be sent now; never negative."""
        allowed = self.limit if is_cancel else self.limit - self.reserve
        return max(0, allowed - self.used(now_ns))

    def try_take(self, now_ns: int, n: int = 1, *, is_cancel: bool = False) -> bool:
        """Count ``n`` messages, if they fit."""
        allowed = self.limit if is_cancel else self.limit - self.reserve
        if self.used(now_ns) + n > allowed:
            return False
        self._push(now_ns, n)
        return True

    def take(self, now_ns: int, n: int = 1) -> None:
        """Count ``n`` messages that are sent in any case."""
        self.used(now_ns)
        self._push(now_ns, n)

    def set_observed(self, now_ns: int, count: int) -> None:
        """The venue has counted ``count`` in its window: what we did not know of was others'."""
        missing = count - self.used(now_ns)
        if missing > 0:
            self._push(now_ns, missing)

    def _push(self, now_ns: int, n: int) -> None:
        if n <= 0:
            return
        tail = self._tail
        newest = tail - 1 if tail else self._size - 1
        after = tail + 1 if tail + 1 < self._size else 0
        self._used += n
        if self._head != tail and (self._stamps[newest] >= now_ns or after == self._head):
            # Same instant, or no slot left: the newest slot takes it, with the later time.
            self._counts[newest] += n
            self._stamps[newest] = max(now_ns, self._stamps[newest])
            return
        self._stamps[tail] = now_ns
        self._counts[tail] = n
        self._tail = after


class VenueBudget:
    """Execution's part of the venue's limits: orders of the account, weight of the address.

    A place or an amend costs one order in both order windows and no weight; a cancel costs weight
    only (Binance USD-M API, limits of the order endpoints). Of each limit the share ``limit_use``
    is used at all, of the weight moreover only ``weight_share``, as other roles ask too;
    ``cancel_reserve`` of what remains is kept for cancels.
    """

    __slots__ = ("blocked_until_ns", "orders_1m", "orders_10s", "weight_1m")

    def __init__(
        self,
        *,
        orders_10s: int,
        orders_1m: int,
        weight_1m: int,
        limit_use: float = 0.9,
        weight_share: float = 0.5,
        cancel_reserve: float = 0.2,
    ) -> None:
        assert 0 <= limit_use <= 1
        assert 0 <= weight_share <= 1
        assert 0 <= cancel_reserve <= 1
        weight = int(weight_1m * limit_use * weight_share)
        self.orders_10s = WindowLimit(int(orders_10s * limit_use), _TEN_SECONDS_NS)
        self.orders_1m = WindowLimit(int(orders_1m * limit_use), _MINUTE_NS)
        self.weight_1m = WindowLimit(weight, _MINUTE_NS, reserve=int(weight * cancel_reserve))
        self.blocked_until_ns = 0
        """After a 429 or 418 nothing is sent before this monotonic time."""

    def block(self, until_ns: int) -> None:
        """The venue asked for silence; a later end replaces an earlier one."""
        self.blocked_until_ns = max(self.blocked_until_ns, until_ns)

    def place_refusal(self, now_ns: int) -> Reason:
        """Why a place or amend may not be sent now; NONE: it may."""
        if now_ns < self.blocked_until_ns:
            return Reason.VENUE_BANNED
        if self.orders_10s.room(now_ns) and self.orders_1m.room(now_ns):
            return Reason.NONE
        return Reason.VENUE_LIMIT

    def cancel_refusal(self, now_ns: int) -> Reason:
        """Why a cancel may not be sent now; NONE: it may."""
        if now_ns < self.blocked_until_ns:
            return Reason.VENUE_BANNED
        return (
            Reason.NONE if self.weight_1m.room(now_ns, is_cancel=True) > 0 else Reason.VENUE_LIMIT
        )

    def may_place(self, now_ns: int) -> bool:
        """May a place or amend be sent now?"""
        return self.place_refusal(now_ns) is Reason.NONE

    def may_cancel(self, now_ns: int) -> bool:
        """May a cancel be sent now?"""
        return self.cancel_refusal(now_ns) is Reason.NONE

    def may_query(self, now_ns: int, weight: int = 1) -> bool:
        """May a request of this weight be sent without touching the reserve for cancels?"""
        return now_ns >= self.blocked_until_ns and self.weight_1m.room(now_ns) >= weight

    def took_place(self, now_ns: int) -> None:
        """A place or amend left."""
        self.orders_10s.take(now_ns)
        self.orders_1m.take(now_ns)

    def took_cancel(self, now_ns: int) -> None:
        """A cancel left."""
        self.weight_1m.take(now_ns)

    def took_weight(self, now_ns: int, weight: int) -> None:
        """Another request left."""
        self.weight_1m.take(now_ns, weight)

    def observe_orders(self, now_ns: int, orders_10s: int, orders_1m: int) -> None:
        """The venue's own order counts, from a header or ``rateLimits``; -1: not said."""
        self.orders_10s.set_observed(now_ns, orders_10s)
        self.orders_1m.set_observed(now_ns, orders_1m)

    def observe_weight(self, now_ns: int, weight_1m: int, others: int = 0) -> None:
        """The venue's own weight count, without what other roles say they ``others`` used."""
        self.weight_1m.set_observed(now_ns, weight_1m - others)
