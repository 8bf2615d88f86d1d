"""A decision on its way through execution to the socket without the interpreter.

What happens rarely is the role's own, whose base ``OrderEntry`` is: ``_consume_other``, ``_drop``,
``_guard_orders`` and ``_tend``. A new order goes from C to C, unless what it goes through was
replaced: a step of the books, the ``send`` of the session or ``_fence``, which are called by name
then.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.records cimport hft_decision
from hft.core.generated.views cimport Decision
from hft.core.orders cimport Order
from hft.core.permit cimport grants, is_reducing
from hft.core.throttle cimport PauseEnd, VenueBudget
from hft.roles.order_gate cimport OrderGate
from hft.roles.order_stores cimport OrderStores
from hft.venues.binance_usdm.order_line cimport HEADER_BYTES, TAIL_BYTES, Debts, OrderLine
from hft.venues.binance_usdm.order_template cimport TEXT_BYTES_MAX, PlaceTexts, Template
from hft.venues.binance_usdm.venue_clock cimport VenueClock
from ipc.atomics cimport load_acquire, monotonic_ns, prefetch_bytes
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingReader, has_record
from ipc.words cimport Latch, Word
from picows.picows cimport WSTransport

from hft import counters, records, units
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
TEND_EVERY_NS = 20 * units.NS_PER_MS
HELD_UP_NS = 100 * units.NS_PER_MS

cdef int64_t MS = units.NS_PER_MS
cdef int64_t GUARD_EVERY = GUARD_EVERY_NS
cdef int64_t TEND_EVERY = TEND_EVERY_NS
cdef int64_t HELD_UP = HELD_UP_NS
cdef uint64_t SENT = counters.SENT.id
cdef uint64_t JOURNALLED = counters.JOURNALLED.id
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
    cdef public PauseEnd _throttle
    cdef public object _events
    cdef public object _by_rest
    cdef public dict _encoders
    cdef public uint64_t _request_id
    cdef public int64_t _age_ns_max
    cdef public int64_t _guarded_ns
    cdef public int64_t _tended_ns
    cdef public int64_t _stop_ns
    cdef public bint _was_halted
    cdef public bint _has_users
    cdef object session
    cdef OrderLine line
    cdef object rest
    cdef VenueClock clock
    cdef object resolver
    cdef OrderGate gate
    cdef PlaceTexts newest_texts
    cdef Template newest_text
    cdef int newest_kind
    cdef bint fences_by_name

    def __cinit__(self, *_arguments, **_named):
        self.clock, self.gate = VenueClock(), OrderGate({})
        self.fences_by_name = type(self)._fence is not OUR_FENCE

    # What each of these has for C is looked at when it is put in.

    @property
    def _session(self):
        return self.session

    @_session.setter
    def _session(self, session):
        is_line = isinstance(session, OrderLine) and type(session).send is OUR_SEND
        self.session, self.line = session, session if is_line else None

    @property
    def _rest(self):
        return self.rest

    @_rest.setter
    def _rest(self, rest):
        self.rest, self.clock = rest, rest.clock

    @property
    def _resolver(self):
        return self.resolver

    @_resolver.setter
    def _resolver(self, resolver):
        self.resolver, self.gate = resolver, resolver.gate

    def do_work(self, int64_t now_ns):
        """Publish what waited, take new decisions, guard what rests.

        A decision does not wait for a round that is done once in a while anyway, unless there is a
        halt, or a round is long overdue. Each decision passes the fence, whichever comes first.
        The other things that are done once in a while have their own turn, to keep each one short.
        """
        cdef OrderStores keeper = self._keeper
        cdef int64_t work_count = keeper.flush() if keeper._outbox else 0
        cdef bint is_halted = load_acquire(self._halt.word) != 0
        cdef bint is_fresh = is_halted and not self._was_halted
        cdef int64_t waited_ns = now_ns - self._guarded_ns
        cdef bint is_first = is_fresh or waited_ns >= HELD_UP
        cdef int patience = 1
        if is_first:
            self._was_halted = is_halted
            work_count += self._guard_orders(now_ns)
            patience = 2
        if is_fresh:
            self.resolver.cancel_everything()
        if has_record(&self._decisions.position) and not keeper.is_crowded():
            work_count += self.take_decisions(now_ns)
            patience = 2
        if waited_ns >= GUARD_EVERY and not is_first:
            self._was_halted = is_halted
            work_count += self._guard_orders(now_ns)
            patience = 2
        if now_ns - self._tended_ns >= patience * TEND_EVERY:
            self._tended_ns = now_ns
            self._tend(now_ns)
        if self._by_rest.due:
            work_count += self._by_rest.flush(now_ns)
        return work_count

    def _take_decisions(self, int64_t now_ns):
        return self.take_decisions(now_ns)

    cdef int take_decisions(self, int64_t now_ns) except -1:
        cdef RingReader decisions = self._decisions
        cdef int count = 0
        while count < TAKEN_MAX and decisions.next_record(decisions.record):
            count += 1
            self.consume(self._decision, now_ns)
            decisions.commit_read()
        return count

    def _consume(self, Decision view not None, int64_t now_ns):
        """Journal a decision, and act on it if it may be acted on."""
        self.consume(view, now_ns)

    cdef int consume(self, Decision view, int64_t now_ns) except -1:
        cdef const hft_decision *decision = <const hft_decision *> view.data
        if decision.action != ACTION_PLACE or decision.mode != MODE_LIVE or decision.reason:
            self._consume_other(view, now_ns)
            return 0
        reason = self.place(view, now_ns)
        if reason is ORDER_ID_REUSED:
            self._drop(view, self._keeper.table.get(decision.order_id), reason, now_ns)
        elif reason is not NONE:
            self._drop(view, None, reason, now_ns)
        return 0

    cdef object refusal(self, const hft_decision *decision, int64_t now_ns):
        """Why no new order may leave now, as far as limits and unknown orders are concerned."""
        reason = self._budget.place_refusal(now_ns)
        if reason is NONE and now_ns < self._throttle.until_ns:
            reason = self._throttle.refusal(decision.strategy_id, decision.is_reduce_only, now_ns)
        if reason is NONE and self.gate.questions:
            if not self.resolver.is_settled(decision.instrument_id):
                reason = UNRESOLVED_MAX  # what became of an earlier order is not known
        return reason

    cdef object place(self, Decision view, int64_t now_ns):
        cdef const hft_decision *decision = <const hft_decision *> view.data
        cdef OrderStores keeper = self._keeper
        cdef Order order
        cdef char frame[HEADER_BYTES + TEXT_BYTES_MAX + TAIL_BYTES]
        cdef Py_ssize_t length
        cdef int64_t send_ns
        cdef int row
        cdef bint is_ready, is_sent
        if keeper.table.known(decision.order_id) is not None:
            return ORDER_ID_REUSED
        is_ready = self.is_ready()
        if not self.is_open() or not (is_ready or self._by_rest.is_able(now_ns)):
            return SESSION_DOWN
        reason = self.refusal(decision, now_ns)
        if reason is not NONE:
            return reason
        order = keeper.table.new_order(decision)
        row = keeper.table.row_for(order)
        if row < 0:
            return TABLE_FULL
        if not is_ready:
            keeper.table.take_row(order)
            return self._by_rest.place(order, self._encoders[order.instrument_id], view)
        self._request_id += 1
        try:
            length = self.text_for(order).write_order(
                frame + HEADER_BYTES, self._request_id, order, self.clock.now_ns() // MS)
        except UsageError:  # the instrument's decimals have changed since risk judged
            return self._encoders[order.instrument_id].objection(order.price_e8, order.qty_e8)
        if self.fences_by_name:
            reason, send_ns = self._fence(view)
        else:
            send_ns = monotonic_ns()
            reason = self.objection(
                decision.risk_epoch, decision.judge_ns, decision.granted_state, send_ns)
        if reason is not NONE:
            return reason
        order.row = row  # journal and shared table come before the bytes, what only we know after
        keeper.begin_place(order)
        is_sent = self.carry(frame + HEADER_BYTES, length)
        keeper.table.take_row(order)
        if is_sent:
            self.note_sent(decision, order, send_ns)
        else:
            self._events.not_sent(order, SESSION_DOWN, send_ns)
        return NONE

    cdef Template text_for(self, Order order):
        """The text that the order is written into: mostly the one before it was of the same kind.

        Raises:
            UsageError: there is none for this kind of order.
        """
        cdef PlaceTexts texts = self._encoders[order.instrument_id]
        cdef int kind = order.number_of_kind()
        if texts is not self.newest_texts or kind != self.newest_kind:
            self.newest_text = texts.text_of(order)
            self.newest_texts, self.newest_kind = texts, kind
        return self.newest_text

    cdef bint is_ready(self) except -1:
        """A request handed over now leaves now, over the session."""
        return self.session.is_ready if self.line is None else self.line.can_carry()

    cdef bint carry(self, char *text, Py_ssize_t length) except -1:
        """Bytes to the socket. False: nothing was sent, the session is down."""
        if self.line is not None:
            return self.line.carry(text, length)
        try:
            self.session.send(PyBytes_FromStringAndSize(text, length))
        except SessionDownError:
            return False
        return True

    cdef int note_sent(
        self, const hft_decision *decision, Order order, int64_t send_ns
    ) except -1:
        """The bytes have left; no answer is read before the turn is over."""
        cdef int64_t origin_ns = decision.origin_ns
        self._events.expect(self._request_id, order, PLACE, send_ns)
        order.send_ns = order.request_ns = send_ns
        self._budget.took_place(send_ns)
        self._keeper.note_sent(order, send_ns, origin_ns)
        self._page.add(SENT, 1)
        self._page.add_ns(EXECUTION_NS, send_ns - decision.publish_ns)
        if origin_ns:
            self._page.add_ns(TICK_TO_TRADE_NS, send_ns - origin_ns)
        return 0

    def look_ahead(self, int64_t now_ns):
        """Bring into the caches what the next order will read and write, and no rehearsal touches.
        """
        cdef PageStores page = self._page
        self._keeper.look_ahead()
        self._decisions.fetch_next()
        self._budget.place_refusal(now_ns)
        self.objection(0, 0, 0, now_ns)
        self.is_open()
        self.is_ready()
        if self.newest_text is not None:
            self.newest_text.look_ahead()
        prefetch_bytes(page.counters + SENT, sizeof(uint64_t))
        prefetch_bytes(page.counters + JOURNALLED, sizeof(uint64_t))
        prefetch_bytes(page.maxima + EXECUTION_NS, sizeof(uint64_t))
        prefetch_bytes(page.maxima + TICK_TO_TRADE_NS, sizeof(uint64_t))
        if self.line is not None and self.line._transport is not None:
            prefetch_bytes(<const void *> self.line._debts, sizeof(Debts))
            prefetch_bytes(<const void *> self.line._transport, sizeof(WSTransport))
            self.line._transport.underlying_transport.get_write_buffer_size()

    # -- the last look --------------------------------------------------------------------------

    def _fence(self, decision):
        """The last look before bytes leave, with a clock of its own: a ``Reason``, and the time.

        Everything before this line may have taken any time: the process can have been stopped.
        What is stopped after it is refused by the venue, once the receive window is over.
        """
        now_ns = monotonic_ns()
        return self._objection(decision, now_ns), now_ns

    def _objection(self, decision, int64_t now_ns):
        """What the last look finds at a time."""
        return self.objection(
            decision.risk_epoch, decision.judge_ns, decision.granted_state, now_ns)

    cdef object objection(
        self, uint64_t risk_epoch, int64_t judge_ns, int granted_state, int64_t now_ns
    ):
        cdef uint64_t word = load_acquire(self._permit.word)
        if load_acquire(self._halt.word):
            return HALT_LATCHED
        if not grants(word, now_ns):
            return PERMIT_EXPIRED
        if risk_epoch != load_acquire(self._risk_epoch.word):
            return EPOCH_FENCED
        if is_reducing(word) and granted_state != STATE_REDUCING:
            return REDUCING_ONLY  # judged when positions might still grow
        if now_ns - judge_ns > self._age_ns_max:
            return DECISION_EXPIRED
        return NONE

    @property
    def _is_open(self):
        """New orders need books that are right, and the stream that tells of fills."""
        return self.is_open()

    cdef bint is_open(self) noexcept:
        return self._has_users and self.gate.is_recovered and not self._stop_ns


cdef object OUR_FENCE = OrderEntry._fence
cdef object OUR_SEND = OrderLine.send
