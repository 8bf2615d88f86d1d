"""Message budgets: exact sliding windows, with a part kept back for cancels. Time is an argument.

The venue counts requests in windows that begin at full seconds or minutes. A sliding window of the
same length is never looser than those, wherever they begin. What others did on the same address or
account shows in the venue's answers and is taken over with ``observe``.
"""
from cpython.array cimport array, clone
from libc.stdint cimport int64_t

from hft import units
from hft.records import Reason

cdef int64_t TEN_SECONDS_NS = 10 * units.NS_PER_S
cdef int64_t MINUTE_NS = 60 * units.NS_PER_S
cdef array INT64S = array("q")

cdef object NONE = Reason.NONE
cdef object VENUE_BANNED = Reason.VENUE_BANNED
cdef object VENUE_LIMIT = Reason.VENUE_LIMIT

SLOTS_MAX = 4_096


cdef class WindowLimit:
    """At most ``limit`` in any ``window_ns``; ``reserve`` of it is for cancels only.

    Memory: one slot for each message that may still count, allocated once; beyond ``SLOTS_MAX``
    messages share slots, which makes the window a little longer, never shorter.
    """

    def __cinit__(self, int64_t limit, int64_t window_ns, int64_t reserve=0):
        assert 0 <= reserve <= limit
        assert window_ns > 0
        self.limit = limit
        self.window_ns = window_ns
        self.reserve = reserve
        # One slot more for what the venue observed, one that always stays empty.
        self.size = min(limit, <int64_t> SLOTS_MAX) + 2
        self._stamps = clone(INT64S, self.size, True)
        self.counts = clone(INT64S, self.size, True)
        self.head = 0
        self.tail = 0
        self.in_window = 0

    def used(self, int64_t now_ns):
        """Messages that count at ``now_ns``."""
        return self.count(now_ns)

    def room(self, int64_t now_ns, *, bint is_cancel=False):
        """How many more may be sent now; never negative."""
        cdef int64_t allowed = self.limit if is_cancel else self.limit - self.reserve
        return max(<int64_t> 0, allowed - self.count(now_ns))

    def try_take(self, int64_t now_ns, int64_t n=1, *, bint is_cancel=False):
        """Count ``n`` messages, if they fit."""
        return self.take_if_room(
            now_ns, n, self.limit if is_cancel else self.limit - self.reserve)

    def take(self, int64_t now_ns, int64_t n=1):
        """Count ``n`` messages that are sent in any case."""
        self.charge(now_ns, n)

    def set_observed(self, int64_t now_ns, int64_t count):
        """The venue has counted ``count`` in its window: what we did not know of was others'."""
        self.push(now_ns, count - self.count(now_ns))

    # -- as C calls it --------------------------------------------------------------------------

    cdef int64_t count(self, int64_t now_ns) noexcept:
        """Forget what has left the window; messages that still count."""
        cdef const int64_t *stamps = <int64_t *> self._stamps.data.as_longlongs
        cdef const int64_t *counts = <int64_t *> self.counts.data.as_longlongs
        cdef int64_t since_ns = now_ns - self.window_ns
        while self.head != self.tail and stamps[self.head] <= since_ns:
            self.in_window -= counts[self.head]
            self.head = self.head + 1 if self.head + 1 < self.size else 0
        return self.in_window

    cdef bint take_if_room(self, int64_t now_ns, int64_t n, int64_t allowed) noexcept:
        """Count ``n`` messages, if no more than ``allowed`` count then."""
        if self.count(now_ns) + n > allowed:
            return False
        self.push(now_ns, n)
        return True

    cdef void charge(self, int64_t now_ns, int64_t n) noexcept:
        """Count ``n`` messages that are sent in any case."""
        self.count(now_ns)
        self.push(now_ns, n)

    cdef void push(self, int64_t now_ns, int64_t n) noexcept:
        cdef int64_t *stamps = <int64_t *> self._stamps.data.as_longlongs
        cdef int64_t *counts = <int64_t *> self.counts.data.as_longlongs
        cdef Py_ssize_t tail = self.tail
        cdef Py_ssize_t newest = tail - 1 if tail else self.size - 1
        cdef Py_ssize_t after = tail + 1 if tail + 1 < self.size else 0
        if n <= 0:
            return
        self.in_window += n
        if self.head != tail and (stamps[newest] >= now_ns or after == self.head):
            # Same instant, or no slot left: the newest slot takes it, with the later time.
            counts[newest] += n
            stamps[newest] = max(now_ns, stamps[newest])
            return
        stamps[tail] = now_ns
        counts[tail] = n
        self.tail = after


cdef class VenueBudget:
    """Execution's part of the venue's limits: orders of the account, weight of the address.

    A place or an amend costs one order in both order windows and no weight; a cancel costs weight
    only (Binance USD-M API, limits of the order endpoints). Of each limit the share ``limit_use``
    is used at all, of the weight moreover only ``weight_share``, as other roles ask too;
    ``cancel_reserve`` of what remains is kept for cancels.

    After a 418 nothing at all is sent before ``blocked_until_ns``; after a 429 only cancels before
    ``paused_until_ns``. Both monotonic.
    """

    def __cinit__(self, *, int64_t orders_10s, int64_t orders_1m, int64_t weight_1m,
                  double limit_use=0.9, double weight_share=0.5, double cancel_reserve=0.2):
        assert 0 <= limit_use <= 1
        assert 0 <= weight_share <= 1
        assert 0 <= cancel_reserve <= 1
        cdef int64_t weight = <int64_t> (weight_1m * limit_use * weight_share)
        self.orders_10s = WindowLimit(<int64_t> (orders_10s * limit_use), TEN_SECONDS_NS)
        self.orders_1m = WindowLimit(<int64_t> (orders_1m * limit_use), MINUTE_NS)
        self.weight_1m = WindowLimit(
            weight, MINUTE_NS, reserve=<int64_t> (weight * cancel_reserve))
        self.blocked_until_ns = 0
        self.paused_until_ns = 0

    def block(self, int64_t until_ns):
        """The venue has banned the address; a later end replaces an earlier one."""
        self.blocked_until_ns = max(self.blocked_until_ns, until_ns)

    def pause(self, int64_t until_ns):
        """The venue asked for fewer requests; a later end replaces an earlier one."""
        self.paused_until_ns = max(self.paused_until_ns, until_ns)

    cpdef object place_refusal(self, int64_t now_ns):
        """Why a place or amend may not be sent now; NONE: it may."""
        if now_ns < self.blocked_until_ns:
            return VENUE_BANNED
        if now_ns < self.paused_until_ns:
            return VENUE_LIMIT
        if (
            self.orders_10s.count(now_ns) < self.orders_10s.limit
            and self.orders_1m.count(now_ns) < self.orders_1m.limit
        ):
            return NONE
        return VENUE_LIMIT

    def cancel_refusal(self, int64_t now_ns):
        """Why a cancel may not be sent now; NONE: it may."""
        if now_ns < self.blocked_until_ns:
            return VENUE_BANNED
        return NONE if self.weight_1m.count(now_ns) < self.weight_1m.limit else VENUE_LIMIT

    def may_place(self, int64_t now_ns):
        """May a place or amend be sent now?"""
        return self.place_refusal(now_ns) is NONE

    def may_cancel(self, int64_t now_ns):
        """May a cancel be sent now?"""
        return self.cancel_refusal(now_ns) is NONE

    def may_query(self, int64_t now_ns, int64_t weight=1):
        """May a request of this weight be sent without touching the reserve for cancels?"""
        return (
            now_ns >= self.blocked_until_ns
            and now_ns >= self.paused_until_ns
            and self.weight_1m.room(now_ns) >= weight
        )

    cpdef object took_place(self, int64_t now_ns):
        """A place or amend left."""
        self.orders_10s.charge(now_ns, 1)
        self.orders_1m.charge(now_ns, 1)

    def took_cancel(self, int64_t now_ns):
        """A cancel left."""
        self.weight_1m.take(now_ns)

    def took_weight(self, int64_t now_ns, int64_t weight):
        """Another request left."""
        self.weight_1m.take(now_ns, weight)

    def observe_orders(self, int64_t now_ns, int64_t orders_10s, int64_t orders_1m):
        """The venue's own order counts, from a header or ``rateLimits``; -1: not said."""
        self.orders_10s.set_observed(now_ns, orders_10s)
        self.orders_1m.set_observed(now_ns, orders_1m)

    def observe_weight(self, int64_t now_ns, int64_t weight_1m, int64_t others=0):
        """The venue's own weight count, without what other roles say they ``others`` used."""
        self.weight_1m.set_observed(now_ns, weight_1m - others)


cdef class PauseEnd:
    """Until when somebody has to be asked before a new order is sent, monotonic."""
