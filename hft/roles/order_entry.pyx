"""A decision on its way through execution to the socket without the interpreter.

What happens rarely is the role's own, whose base ``OrderEntry`` is: ``_consume_other``, ``_drop``
and ``_guard_orders``. Sessions and books are called by name: each of their steps can be replaced.
"""
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.records cimport hft_decision
from hft.core.generated.views cimport Decision
from hft.core.orders cimport Order
from hft.core.throttle cimport VenueBudget
from hft.roles.order_stores cimport OrderStores
from ipc.atomics cimport load_acquire
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingReader
from ipc.words cimport Latch, Word

import time

from hft import counters, records, units
from hft.core.orders import Order as NewOrder
from hft.core.permit import permit_grants, permit_is_reducing
from hft.errors import UsageError
from hft.records import Action, Reason
from hft.venues.binance_usdm.errors import SessionDownError

cdef enum:
    ACTION_PLACE = 1
    MODE_LIVE = 1
    STATE_REDUCING = 1
    TAKEN_MAX = 64

assert (ACTION_PLACE, MODE_LIVE, STATE_REDUCING) == (
    Action.PLACE, records.Mode.LIVE, records.TradingState.REDUCING)

DECISIONS_PER_CYCLE_MAX = TAKEN_MAX
GUARD_EVERY_NS = 10 * units.NS_PER_MS
HELD_UP_NS = 100 * units.NS_PER_MS

cdef int64_t MS = units.NS_PER_MS
cdef int64_t GUARD_EVERY = GUARD_EVERY_NS
cdef int64_t HELD_UP = HELD_UP_NS
cdef uint64_t SENT = counters.SENT.id
cdef uint64_t EXECUTION_NS = counters.EXECUTION_NS.id
cdef uint64_t TICK_TO_TRADE_NS = counters.TICK_TO_TRADE_NS.id
cdef object PLACE = Action.PLACE
cdef object NONE = Reason.NONE
cdef object ORDER_ID_REUSED = Reason.ORDER_ID_REUSED
cdef object SESSION_DOWN = Reason.SESSION_DOWN
cdef object UNRESOLVED_MAX = Reason.UNRESOLVED_MAX
cdef object TABLE_FULL = Reason.TABLE_FULL
cdef object HALT_LATCHED = Reason.HALT_LATCHED
cdef object PERMIT_EXPIRED = Reason.PERMIT_EXPIRED
cdef object EPOCH_FENCED = Reason.EPOCH_FENCED
cdef object REDUCING_ONLY = Reason.REDUCING_ONLY
cdef object DECISION_EXPIRED = Reason.DECISION_EXPIRED


cdef class OrderEntry:
    """What execution has in its hands while it sends a new order."""

    cdef public PageStores _page
    cdef public RingReader _decisions
    cdef public Decision _decision
    cdef public Word _permit
    cdef public Latch _halt
    cdef public Word _risk_epoch
    cdef public OrderStores _keeper
    cdef public VenueBudget _budget
    cdef public object _throttle
    cdef public object _events
    cdef public object _session
    cdef public object _rest
    cdef public object _by_rest
    cdef public object _resolver
    cdef public dict _encoders
    cdef public uint64_t _request_id
    cdef public int64_t _age_ns_max
    cdef public int64_t _rehearsed_ns
    cdef public int64_t _guarded_ns
    cdef public int64_t _stop_ns
    cdef public bint _was_halted
    cdef public bint _has_users

    def do_work(self, int64_t now_ns):
        """Publish what waited, take new decisions, guard what rests.

        A decision does not wait for a round that is done once in a while anyway, unless there is a
        halt, or a round is long overdue. Each decision passes the fence, whichever comes first.
        """
        cdef int64_t work_count = self._keeper.flush()
        cdef bint is_halted = load_acquire(self._halt.word) != 0
        cdef bint is_fresh = is_halted and not self._was_halted
        cdef int64_t waited_ns = now_ns - self._guarded_ns
        cdef bint is_first = is_fresh or waited_ns >= HELD_UP
        if is_first:
            self._was_halted = is_halted
            work_count += self._guard_orders(now_ns)
        if is_fresh:
            self._resolver.cancel_everything()
        if self._decisions.has_work and not self._keeper.is_congested:
            work_count += self._take_decisions(now_ns)
        if waited_ns >= GUARD_EVERY and not is_first:
            self._was_halted = is_halted
            work_count += self._guard_orders(now_ns)
        if self._by_rest.due:
            work_count += self._by_rest.flush(now_ns)
        return work_count

    def _take_decisions(self, int64_t now_ns):
        cdef int count = 0
        while count < TAKEN_MAX and self._decisions.next():
            count += 1
            self._consume(self._decision, now_ns)
            self._decisions.commit()
        return count

    def _consume(self, Decision view not None, int64_t now_ns):
        """Journal a decision, and act on it if it may be acted on."""
        cdef const hft_decision *decision = <const hft_decision *> view.data
        if decision.action != ACTION_PLACE or decision.mode != MODE_LIVE or decision.reason:
            self._consume_other(view, now_ns)
            return
        reason = self.place(view, now_ns)
        if reason is ORDER_ID_REUSED:
            self._drop(view, self._keeper.table.get(decision.order_id), reason, now_ns)
        elif reason is not NONE:
            self._drop(view, None, reason, now_ns)

    cdef object refusal(self, const hft_decision *decision, int64_t now_ns):
        """Why no new order may leave now, as far as limits and unknown orders are concerned."""
        reason = self._budget.place_refusal(now_ns)
        if reason is NONE and now_ns < <int64_t> self._throttle.until_ns:
            reason = self._throttle.refusal(decision.strategy_id, decision.is_reduce_only, now_ns)
        if reason is NONE and not self._resolver.is_settled(decision.instrument_id):
            reason = UNRESOLVED_MAX  # what became of an earlier order is not known
        return reason

    cdef object place(self, Decision view, int64_t now_ns):
        cdef const hft_decision *decision = <const hft_decision *> view.data
        cdef OrderStores keeper = self._keeper
        cdef Order order
        cdef uint64_t request_id
        cdef int64_t sent_ns, origin_ns = decision.origin_ns
        cdef bint is_ready
        if keeper.table.find(decision.order_id) is not None:
            return ORDER_ID_REUSED
        is_ready = self._session.is_ready
        if not self._is_open or not (is_ready or self._by_rest.is_able(now_ns)):
            return SESSION_DOWN
        reason = self.refusal(decision, now_ns)
        if reason is not NONE:
            return reason
        order = NewOrder.of_decision(view, keeper.table.trades)
        if keeper.table.add(order) < 0:
            return TABLE_FULL
        encoder = self._encoders[order.instrument_id]
        if not is_ready:
            return self._by_rest.place(order, encoder, view)
        self._request_id += 1
        request_id = self._request_id
        try:
            text = encoder.place_order(request_id, order, <int64_t> self._rest.venue_ns // MS)
        except UsageError:  # the instrument's decimals have changed since risk judged
            keeper.table.remove(order.order_id)
            return encoder.objection(order.price_e8, order.qty_e8)
        reason, send_ns = self._fence(view)
        if reason is not NONE:
            keeper.table.remove(order.order_id)
            return reason
        keeper.begin(order, PLACE, order.price_e8, order.qty_e8)
        self._events.expect(request_id, order, PLACE, send_ns)
        try:
            self._session.send(text)
        except SessionDownError:
            self._events.forget(request_id)
            self._events.not_sent(order, SESSION_DOWN, send_ns)
            return NONE
        sent_ns = self._rehearsed_ns = send_ns
        order.place_sent(sent_ns)
        self._budget.took_place(sent_ns)
        keeper.sent(order, now_ns=send_ns, origin_ns=origin_ns)
        self._page.add(SENT, 1)
        self._page.add_ns(EXECUTION_NS, sent_ns - decision.publish_ns)
        if origin_ns:
            self._page.add_ns(TICK_TO_TRADE_NS, sent_ns - origin_ns)
        return NONE

    def _fence(self, decision):
        """The last look before bytes leave, with a clock of its own: a ``Reason``, and the time.

        Everything before this line may have taken any time: the process can have been stopped.
        What is stopped after it is refused by the venue, once the receive window is over.
        """
        now = time.monotonic_ns()
        word = self._permit.load()
        if load_acquire(self._halt.word):
            return HALT_LATCHED, now
        if not permit_grants(word, now):
            return PERMIT_EXPIRED, now
        if <uint64_t> decision.risk_epoch != load_acquire(self._risk_epoch.word):
            return EPOCH_FENCED, now
        if permit_is_reducing(word) and <int> decision.granted_state != STATE_REDUCING:
            return REDUCING_ONLY, now  # judged when positions might still grow
        if <int64_t> now - <int64_t> decision.judge_ns > self._age_ns_max:
            return DECISION_EXPIRED, now
        return NONE, now

    @property
    def _is_open(self):
        """New orders need books that are right, and the stream that tells of fills."""
        return self._has_users and self._resolver.is_recovered and not self._stop_ns
