"""Order state: what is known of each order, joined from everything that speaks of it.

An order's fate reaches us three times, in any order and repeatedly: as the answer to the request,
on the user stream, and as the result of a query. ``Order`` is a *join* over them. Every method only
moves upward in a fixed ranking, so duplicates and reordering end in the same state:

- filled quantity: the greatest the venue has named, or the sum of the trades seen if it is more;
- state: ``PENDING_NEW`` → ``WORKING`` (↔ ``UNRESOLVED``) → terminal, and terminal is final. When
  the venue says two final things of one order, the one that stands higher in ``_RANK`` holds;
- price and quantity: those with the latest venue time.

Each method returns the ``ExecKind`` to publish, or ``ExecKind.UNKNOWN`` when it learned nothing
new, so the caller publishes every fact exactly once. A fill of an order that is already closed is
still a fill: the venue wins. Any method may have closed the order: ask ``is_terminal`` after each.

``leaves_qty_e8`` is what is open; ``worst_case_qty_e8`` is what may still change the position:
open, or asked for by an unanswered amend, or executed in trades that we have not seen yet.

An order that the venue has and the books had not is *adopted* (``Order.adopt``): ours from an
earlier life, or somebody else's, which moves our position all the same. Its ``reason`` says whose
it is, and stays so while the order is not ours. Others may amend it, so every message about an
adopted order may bring new terms.

Numbers are kept as C keeps them: an order is one block of memory, and making, changing and writing
one costs no further objects.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from hft.core.generated.reasons cimport *
from hft.core.generated.records cimport hft_decision, hft_journal, hft_order
from hft.core.generated.views cimport Decision, Journal
from hft.core.generated.views cimport Order as OrderRow
from hft.core.order_numbers cimport *

from hft.core import order_id as order_ids
from hft.core.trade_memory import TradeMemory
from hft.records import Action, ExecKind, Kind, OrderState, OrderType, Reason, Side, Tif

cdef uint64_t FOREIGN = <uint64_t> 1 << 63
cdef int TRADES_ALONE = 1_024  # of an order that is in no table: its own memory of trades

assert (ACTION_UNKNOWN, ACTION_PLACE, ACTION_AMEND, ACTION_CANCEL) == (
    Action.UNKNOWN, Action.PLACE, Action.AMEND, Action.CANCEL)
assert (STATE_PENDING_NEW, STATE_WORKING, STATE_UNRESOLVED) == (
    OrderState.PENDING_NEW, OrderState.WORKING, OrderState.UNRESOLVED)
assert (
    STATE_FILLED, STATE_CANCELED, STATE_REJECTED, STATE_EXPIRED, STATE_NEVER_ACCEPTED
) == (
    OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED,
    OrderState.NEVER_ACCEPTED)
assert (KIND_ORDER, TYPE_LIMIT, TIF_GTC) == (Kind.ORDER, OrderType.LIMIT, Tif.GTC)
assert order_ids.is_foreign(FOREIGN) and not order_ids.is_foreign(FOREIGN - 1)


cdef list SIDES = members_of(Side)
cdef list TYPES = members_of(OrderType)
cdef list TIFS = members_of(Tif)
cdef list STATES = members_of(OrderState)
cdef list ACTIONS = members_of(Action)
cdef list REASONS = members_of(Reason)

cdef object NOTHING = ExecKind.UNKNOWN
cdef object SENT = ExecKind.SENT
cdef object ACK = ExecKind.ACK
cdef object FILL = ExecKind.FILL
cdef object AMENDED = ExecKind.AMENDED
cdef object DROPPED = ExecKind.DROPPED
cdef object UNRESOLVED = ExecKind.UNRESOLVED
cdef object AMEND_REJECTED = ExecKind.AMEND_REJECTED
cdef object CANCEL_REJECTED = ExecKind.CANCEL_REJECTED


def kind_of(
    int side, int order_type, int tif, bint is_post_only, bint is_reduce_only, bint is_dated
) -> int:
    """One number for side, type, time in force, the two flags, and whether there is an end date."""
    return kind_code(side, order_type, tif, is_post_only, is_reduce_only, is_dated)


cdef object end_kind(int state):
    if state == STATE_NEVER_ACCEPTED:
        return ExecKind.NEVER_ACCEPTED
    if state == STATE_REJECTED:
        return ExecKind.REJECTED
    if state == STATE_EXPIRED:
        return ExecKind.EXPIRED
    return ExecKind.CANCELED if state == STATE_CANCELED else NOTHING


cdef class Order:
    """One order. Prices and quantities in 1e-8; times monotonic, ``terms_ns`` venue's.

    ``traded_qty_e8`` is the sum of the trades seen, less than ``cum_qty_e8`` while trades are
    missing. ``is_acknowledged``: the venue has shown in some way that it has the order.
    ``is_overfilled``: it executed more of our order than was asked for, an incident. ``heard_ns``:
    when the user stream last spoke of the order, 0: never in this life. ``pending`` is the
    unanswered request; a cancel hides an unanswered amend, whose terms stay counted. ``terms_ns``:
    venue time of the price and quantity in force, 0: as placed.
    """

    def __init__(
        self,
        uint64_t order_id, *, uint32_t instrument_id, uint16_t strategy_id, int side,
        int64_t price_e8, int64_t qty_e8, int order_type=TYPE_LIMIT, int tif=TIF_GTC,
        bint is_post_only=False, bint is_reduce_only=False, uint32_t good_till_s=0,
        uint64_t decision_seq=0, int64_t origin_ns=0, int reason=REASON_NONE, trades=None,
    ):
        assert order_id > 0
        assert qty_e8 > 0
        assert side == 1 or side == -1
        self.order_id = order_id
        self.instrument_id = instrument_id
        self.strategy_id = strategy_id
        self.side_code = side
        self.price_e8 = price_e8
        self.qty_e8 = self.leaves_qty_e8 = qty_e8
        self.order_type_code = order_type
        self.tif_code = tif
        self.good_till_s = good_till_s
        self.is_post_only = is_post_only
        self.is_reduce_only = is_reduce_only
        self.state_code = STATE_PENDING_NEW
        self.pending_code = ACTION_PLACE
        self.decision_seq = decision_seq
        self.origin_ns = origin_ns
        self.reason_code = reason
        self.row = -1
        self.trades = TradeMemory(TRADES_ALONE) if trades is None else trades

    @staticmethod
    def of_decision(Decision view not None, trades):
        """The order that an approved PLACE asks for; ``trades`` are those of its table."""
        cdef Order order = Order.__new__(Order)
        order.begin(<const hft_decision *> view.data, trades)
        return order

    cdef int begin(self, const hft_decision *decision, object trades) except -1:
        """``of_decision``, of an order that is nothing yet."""
        assert decision.order_id > 0
        assert decision.qty_e8 > 0
        assert decision.side == 1 or decision.side == -1
        self.order_id = decision.order_id
        self.instrument_id = decision.instrument_id
        self.strategy_id = decision.strategy_id
        self.side_code = decision.side
        self.price_e8 = decision.price_e8
        self.qty_e8 = self.leaves_qty_e8 = decision.qty_e8
        self.order_type_code = decision.order_type
        self.tif_code = decision.tif
        self.good_till_s = decision.good_till_s
        self.is_post_only = decision.is_post_only != 0
        self.is_reduce_only = decision.is_reduce_only != 0
        self.state_code = STATE_PENDING_NEW
        self.pending_code = ACTION_PLACE
        self.decision_seq = decision.seq
        self.origin_ns = decision.origin_ns
        self.row = -1
        self.trades = trades

    @classmethod
    def adopt(
        cls,
        *, uint64_t order_id, int64_t venue_order_id, uint32_t instrument_id, int side,
        int64_t price_e8, int64_t qty_e8, int order_type, int tif, bint is_post_only,
        bint is_reduce_only, int reason, int64_t cum_qty_e8=0, int64_t venue_ns=0, trades=None,
    ):
        """An order of the venue's that the books did not know; ``venue_ns`` is its terms' time."""
        cdef Order order = cls(
            order_id=order_id,
            instrument_id=instrument_id,
            strategy_id=0,
            side=side,
            price_e8=price_e8,
            qty_e8=qty_e8,
            order_type=order_type,
            tif=tif,
            is_post_only=is_post_only,
            is_reduce_only=is_reduce_only,
            reason=reason,
            trades=trades,
        )
        order.terms_ns = venue_ns
        order.seen(venue_order_id)
        order.raise_cum(cum_qty_e8)
        return order

    # -- reading --------------------------------------------------------------------------------

    @property
    def side(self):
        return SIDES[self.side_code + 1]

    @property
    def order_type(self):
        return TYPES[self.order_type_code + 1]

    @property
    def tif(self):
        return TIFS[self.tif_code + 1]

    @property
    def state(self):
        return STATES[self.state_code + 1]

    @property
    def pending(self):
        return ACTIONS[self.pending_code + 1]

    @property
    def reason(self):
        return REASONS[self.reason_code + 1]

    @property
    def cancel_reason(self):
        return REASONS[self.cancel_reason_code + 1]

    @cancel_reason.setter
    def cancel_reason(self, uint16_t reason):
        self.cancel_reason_code = reason

    @property
    def kind(self):
        """Number of what its request looks like, as ``kind_of`` gives it."""
        return self.number_of_kind()

    cdef int number_of_kind(self) noexcept:
        return kind_code(
            self.side_code, self.order_type_code, self.tif_code, self.is_post_only,
            self.is_reduce_only, self.good_till_s != 0)

    @property
    def is_ours(self):
        """False: somebody else's order on the account; nothing but a halt cancels it."""
        return self.is_own()

    @property
    def is_adopted(self):
        """True when no strategy of this system asked for it: found at the venue."""
        return self.strategy_id == 0

    @property
    def is_amend_pending(self):
        """True while an amend is unanswered, also when a cancel has overtaken it."""
        return self.pending_qty_e8 != 0

    @property
    def is_terminal(self):
        """True once nothing is open any more."""
        return self.state_code >= FIRST_TERMINAL

    @property
    def is_working(self):
        """True while acknowledged with something open."""
        return self.state_code == STATE_WORKING

    @property
    def is_pending(self):
        """True while a request is unanswered."""
        return self.pending_code != ACTION_UNKNOWN

    @property
    def missing_qty_e8(self):
        """Executed according to the venue, but in trades not seen yet: ask for them."""
        return self.cum_qty_e8 - self.traded_qty_e8

    @property
    def worst_case_qty_e8(self):
        """What may still change the position: open or asked for, and executed but not seen."""
        if self.state_code >= FIRST_TERMINAL:
            return self.cum_qty_e8 - self.traded_qty_e8
        return max(self.qty_e8, self.pending_qty_e8) - self.traded_qty_e8

    # -- requests -------------------------------------------------------------------------------

    def place_sent(self, int64_t now_ns):
        """The bytes of the new order left."""
        self.send_ns = self.request_ns = now_ns
        return SENT

    def dropped(self, int reason):
        """The new order was journalled but its bytes never left."""
        if self.send_ns or self.is_acknowledged or self.state_code != STATE_PENDING_NEW:
            return NOTHING
        self.end(STATE_NEVER_ACCEPTED, reason)
        return DROPPED

    def amend_sent(self, int64_t price_e8, int64_t qty_e8, int64_t now_ns):
        """An amend left: until it is answered, the greater of both quantities counts."""
        if self.state_code >= FIRST_TERMINAL:
            return NOTHING
        assert qty_e8 > 0
        self.pending_code = ACTION_AMEND
        self.pending_price_e8, self.pending_qty_e8 = price_e8, qty_e8
        self.request_ns = now_ns
        return SENT

    def cancel_sent(self, int64_t now_ns, int reason=REASON_NONE):
        """A cancel left; it may be repeated, and may overtake an unanswered place or amend."""
        if self.state_code >= FIRST_TERMINAL:
            return NOTHING
        self.pending_code = ACTION_CANCEL
        self.request_ns = now_ns
        if reason:
            self.cancel_reason_code = reason
        return SENT

    # -- what the venue says --------------------------------------------------------------------

    def acknowledge(self, int64_t venue_order_id, int64_t now_ns):
        """The venue has the order: answer to the request, or a NEW event."""
        cdef bint is_news = self.seen(venue_order_id) and self.state_code < FIRST_TERMINAL
        if not self.ack_ns:
            self.ack_ns = now_ns
        return ACK if is_news else NOTHING

    def fill(
        self,
        int64_t trade_id, int64_t last_qty_e8, int64_t last_price_e8, int64_t cum_qty_e8=0,
        *, bint is_final=False,
    ):
        """One trade, counted once. ``cum_qty_e8`` is 0 where the message does not say.

        ``is_final``: the message itself calls the order filled.
        """
        assert last_qty_e8 > 0
        assert last_price_e8 > 0
        cdef bint is_news = self.trades.add(self.instrument_id, trade_id, self.side_code)
        self.seen(0)
        if is_news:
            self.traded_qty_e8 += last_qty_e8
        self.raise_cum(cum_qty_e8)
        if is_final:
            self.end(STATE_FILLED, REASON_NONE)
        return FILL if is_news else NOTHING

    def apply_cum(self, int64_t cum_qty_e8):
        """The venue names a filled quantity without its trades: they are ``missing_qty_e8`` now.

        Publishes nothing: the records follow with the trades.
        """
        if cum_qty_e8 > 0:
            self.seen(0)
            self.raise_cum(cum_qty_e8)
        return NOTHING

    def trades_complete(self, int64_t traded_qty_e8):
        """All trades of the order were gone through, ``traded_qty_e8`` in all. True: it is news.

        Those that are not counted here were booked before the order was adopted, or are older
        than the books.
        """
        cdef bint is_news = traded_qty_e8 > self.traded_qty_e8
        self.traded_qty_e8 = max(self.traded_qty_e8, traded_qty_e8)
        self.raise_cum(traded_qty_e8)
        return is_news

    def canceled(self, int64_t cum_qty_e8=0, int reason=REASON_NONE):
        """The venue took the order out on request, or after an amend that it could not keep."""
        return self.closed(STATE_CANCELED, cum_qty_e8, reason)

    def expired(self, int64_t cum_qty_e8=0, int reason=REASON_NONE):
        """The venue took the order out on its own."""
        return self.closed(STATE_EXPIRED, cum_qty_e8, reason)

    def rejected(self, int reason):
        """A definite refusal of the new order; void once the venue has shown that it has it."""
        if self.is_acknowledged:
            return NOTHING
        return self.closed(STATE_REJECTED, 0, reason)

    def amended(
        self, int64_t price_e8, int64_t qty_e8, int64_t venue_ns=0, *, bint is_event=False
    ):
        """New terms are in force: answer to our amend, or what an event or a query says.

        ``venue_ns`` 0: the message has no time and can only be the answer to our request.
        ``is_event``: an AMENDMENT event, which of two messages with one time is the later one.
        """
        cdef bint is_answer, is_newer, is_news
        assert qty_e8 > 0
        self.seen(0)
        if not price_e8 and self.price_e8:
            price_e8 = self.price_e8  # of a market order the venue names none
        is_answer = (
            self.pending_qty_e8 != 0
            and price_e8 == self.pending_price_e8
            and qty_e8 == self.pending_qty_e8
        )
        is_newer = venue_ns > self.terms_ns or (is_event and venue_ns == self.terms_ns)
        if not (is_answer or is_newer):
            return NOTHING
        if self.state_code >= FIRST_TERMINAL:
            return NOTHING
        is_news = is_answer or price_e8 != self.price_e8 or qty_e8 != self.qty_e8
        self.set_terms(price_e8, qty_e8, venue_ns)
        if is_answer:
            self.amend_answered()
        self.evaluate()
        return AMENDED if is_news else NOTHING

    def amend_rejected(self, int reason):
        """The order stays as it was; gone, perhaps, when the venue does not know it."""
        if self.state_code >= FIRST_TERMINAL or not self.pending_qty_e8:
            return NOTHING
        self.amend_answered()
        self.request_refused(reason)
        return AMEND_REJECTED

    def cancel_rejected(self, int reason):
        """Not cancelled; "unknown order" may mean that it is filled: to be asked."""
        if self.state_code >= FIRST_TERMINAL or self.pending_code != ACTION_CANCEL:
            return NOTHING
        if self.pending_qty_e8:
            self.pending_code = ACTION_AMEND
        else:
            self.pending_code = ACTION_UNKNOWN if self.is_acknowledged else ACTION_PLACE
        self.request_refused(reason)
        return CANCEL_REJECTED

    def unresolved(self, int64_t now_ns):
        """A request stayed unanswered past its deadline: counted at its worst until settled."""
        cdef bint is_open = self.pending_code != ACTION_UNKNOWN
        if self.state_code >= STATE_UNRESOLVED or not (
            is_open or self.state_code == STATE_PENDING_NEW
        ):
            return NOTHING
        self.state_code = STATE_UNRESOLVED
        if not self.request_ns:
            self.request_ns = now_ns
        return UNRESOLVED

    def never_accepted(self):
        """Our own conclusion after the validity window: the venue never had the order."""
        if self.is_acknowledged or not (
            self.state_code == STATE_PENDING_NEW or self.state_code == STATE_UNRESOLVED
        ):
            return NOTHING
        return self.closed(STATE_NEVER_ACCEPTED, 0, REASON_NONE)

    def from_query(
        self,
        int state, int64_t cum_qty_e8, int64_t price_e8, int64_t qty_e8, int64_t venue_order_id,
        *, int64_t now_ns, int64_t venue_ns=0,
    ):
        """The venue's answer about the order; settles an unresolved one.

        ``state`` is WORKING for NEW and PARTIALLY_FILLED. ``venue_ns`` is the update time of the
        answer. Before an amend's deadline the old terms prove nothing, so a pending request of an
        order that is not unresolved stays pending.
        """
        cdef bint was_unresolved = self.state_code == STATE_UNRESOLVED
        cdef bint is_first = self.seen(venue_order_id)
        cdef bint is_other
        if not self.ack_ns:
            self.ack_ns = now_ns
        if state >= FIRST_TERMINAL:
            if qty_e8 > 0:
                self.amended(price_e8, qty_e8, venue_ns)
            return self.closed(state, cum_qty_e8, self.cancel_reason_code)
        if self.state_code >= FIRST_TERMINAL:
            return NOTHING
        result = ACK if is_first else NOTHING
        if was_unresolved:
            is_other = price_e8 != self.price_e8 or qty_e8 != self.qty_e8
            if is_other and venue_ns >= self.terms_ns:
                self.set_terms(price_e8, qty_e8, venue_ns)
                result = AMENDED
            elif self.pending_qty_e8:
                result = AMEND_REJECTED
            elif self.pending_code == ACTION_CANCEL:
                result = CANCEL_REJECTED
            else:
                result = ACK
            self.clear_requests()
            self.state_code = STATE_WORKING
        elif self.amended(price_e8, qty_e8, venue_ns) is not NOTHING:
            result = AMENDED
        self.raise_cum(cum_qty_e8)
        return result

    # -- rows and journal -----------------------------------------------------------------------

    def fill_row(self, OrderRow view not None):
        """Write everything into a row of the ``orders`` table."""
        self.write_row(<hft_order *> view.data)

    cdef void write_row(self, hft_order *row) noexcept:
        row.kind = KIND_ORDER
        row.instrument_id, row.origin_ns = self.instrument_id, self.origin_ns
        row.order_id, row.venue_order_id = self.order_id, self.venue_order_id
        row.price_e8, row.qty_e8, row.cum_qty_e8 = self.price_e8, self.qty_e8, self.cum_qty_e8
        row.decision_seq, row.executions_seq = self.decision_seq, self.executions_seq
        row.journal_seq = self.journal_seq
        row.send_ns, row.ack_ns, row.request_ns = self.send_ns, self.ack_ns, self.request_ns
        row.strategy_id, row.side = self.strategy_id, self.side_code
        row.action, row.order_type, row.tif = ACTION_PLACE, self.order_type_code, self.tif_code
        row.is_post_only, row.is_reduce_only = self.is_post_only, self.is_reduce_only
        row.order_state, row.pending = self.state_code, self.pending_code
        row.reason, row.cancel_reason = self.reason_code, self.cancel_reason_code
        row.pending_price_e8, row.pending_qty_e8 = self.pending_price_e8, self.pending_qty_e8
        row.traded_qty_e8 = self.traded_qty_e8

    @classmethod
    def from_row(cls, OrderRow view not None, trades=None):
        """The order of a row."""
        cdef const hft_order *row = <const hft_order *> view.data
        cdef Order order = cls(
            order_id=row.order_id,
            instrument_id=row.instrument_id,
            strategy_id=row.strategy_id,
            side=Side(row.side),
            price_e8=row.price_e8,
            qty_e8=row.qty_e8,
            order_type=OrderType(row.order_type),
            tif=Tif(row.tif),
            is_post_only=row.is_post_only,
            is_reduce_only=row.is_reduce_only,
            decision_seq=row.decision_seq,
            origin_ns=row.origin_ns,
            trades=trades,
        )
        order.venue_order_id = row.venue_order_id
        order.cum_qty_e8, order.traded_qty_e8 = row.cum_qty_e8, row.traded_qty_e8
        order.executions_seq, order.journal_seq = row.executions_seq, row.journal_seq
        order.send_ns, order.ack_ns, order.request_ns = row.send_ns, row.ack_ns, row.request_ns
        order.state_code, order.pending_code = OrderState(row.order_state), Action(row.pending)
        order.is_acknowledged = order.state_code == STATE_WORKING or bool(
            row.venue_order_id or row.ack_ns or row.cum_qty_e8
        )
        order.reason_code = Reason(row.reason)
        order.cancel_reason_code = Reason(row.cancel_reason)
        order.is_overfilled = order.reason_code == REASON_OWN_OVERFILL
        order.pending_price_e8, order.pending_qty_e8 = row.pending_price_e8, row.pending_qty_e8
        order.evaluate()
        return order

    def restore(self, int state, Journal view not None):
        """Apply a journalled UPDATE again: the order is left as the entry says it was."""
        cdef const hft_journal *entry = <const hft_journal *> view.data
        cdef int reason = Reason(entry.reason)
        if entry.venue_order_id:
            self.seen(entry.venue_order_id)
        if state >= FIRST_TERMINAL:
            self.closed(state, entry.cum_qty_e8, reason)
        elif self.state_code < FIRST_TERMINAL:
            self.set_terms(entry.price_e8, entry.qty_e8, self.terms_ns)
            self.clear_requests()
            self.is_acknowledged = self.is_acknowledged or state == STATE_WORKING
            self.state_code = state
            self.set_reason(reason)
            self.raise_cum(entry.cum_qty_e8)

    # -- inside ---------------------------------------------------------------------------------

    cdef bint is_own(self) noexcept:
        return not self.order_id & FOREIGN

    cdef bint seen(self, int64_t venue_order_id) except -1:
        """The venue has the order. True when that was not known yet."""
        if venue_order_id and not self.venue_order_id:
            self.venue_order_id = venue_order_id
        if self.is_acknowledged:
            return False
        self.is_acknowledged = True
        if self.pending_code == ACTION_PLACE:
            self.pending_code = ACTION_UNKNOWN
            self.request_ns = 0
        if self.state_code < FIRST_TERMINAL:
            self.state_code = STATE_WORKING
        return True

    cdef void set_terms(self, int64_t price_e8, int64_t qty_e8, int64_t venue_ns) noexcept:
        self.price_e8, self.qty_e8 = price_e8, qty_e8
        self.terms_ns = max(self.terms_ns, venue_ns)

    cdef void amend_answered(self) noexcept:
        """The unanswered amend is answered; a cancel that overtook it stays pending."""
        self.pending_price_e8 = self.pending_qty_e8 = 0
        if self.pending_code == ACTION_AMEND:
            self.pending_code = ACTION_UNKNOWN
            self.request_ns = 0
            if self.state_code == STATE_UNRESOLVED:
                self.state_code = STATE_WORKING

    cdef void clear_requests(self) noexcept:
        self.pending_code = ACTION_UNKNOWN
        self.pending_price_e8 = self.pending_qty_e8 = 0
        self.request_ns = 0

    cdef void set_reason(self, int reason) noexcept:
        """Not for an order of somebody else's: there it says whose it is."""
        if self.is_own() and not self.is_overfilled:
            self.reason_code = reason

    cdef int request_refused(self, int reason) except -1:
        self.set_reason(reason)
        if self.pending_code == ACTION_UNKNOWN:
            self.request_ns = 0
        if self.is_acknowledged:
            if reason == REASON_VENUE_UNKNOWN_ORDER:
                self.state_code = STATE_UNRESOLVED
            else:
                self.state_code = STATE_WORKING
        return self.evaluate()

    cdef object closed(self, int state, int64_t cum_qty_e8, int reason):
        cdef bint was_terminal = self.state_code >= FIRST_TERMINAL
        self.raise_cum(cum_qty_e8)  # first, while an unanswered amend may explain it
        self.end(state, reason)
        return NOTHING if was_terminal else end_kind(state)

    cdef int end(self, int state, int reason) except -1:
        """Close the order, or keep the higher of two final states."""
        if self.state_code < FIRST_TERMINAL:
            self.clear_requests()
            self.set_reason(reason)
            self.state_code = state
        elif rank_of(state) > rank_of(self.state_code):
            self.state_code = state
        return self.evaluate()

    cdef int raise_cum(self, int64_t cum_qty_e8) except -1:
        self.cum_qty_e8 = max(self.cum_qty_e8, cum_qty_e8, self.traded_qty_e8)
        return self.evaluate()

    cdef int evaluate(self) except -1:
        """Derive what follows from quantities: leaves, filled, an amend proven by its fills."""
        cdef int64_t cum_qty_e8 = self.cum_qty_e8
        if cum_qty_e8 > self.qty_e8:
            if cum_qty_e8 <= self.pending_qty_e8:
                # More is filled than was in force: the venue has applied our amend already.
                self.price_e8, self.qty_e8 = self.pending_price_e8, self.pending_qty_e8
            else:
                self.qty_e8 = cum_qty_e8
                if self.is_own():  # of others' orders we may have missed an amend
                    self.is_overfilled, self.reason_code = True, REASON_OWN_OVERFILL
        # With a greater amend on its way, the old quantity filled is not the end yet.
        if (
            cum_qty_e8 >= max(self.qty_e8, self.pending_qty_e8)
            and self.state_code != STATE_FILLED
        ):
            self.state_code = STATE_FILLED
            self.clear_requests()
        if self.state_code >= FIRST_TERMINAL:
            self.leaves_qty_e8 = 0
        else:
            self.leaves_qty_e8 = self.qty_e8 - cum_qty_e8
        assert 0 <= self.traded_qty_e8 <= cum_qty_e8 <= self.qty_e8
        assert self.state_code >= FIRST_TERMINAL or cum_qty_e8 + self.leaves_qty_e8 == self.qty_e8
        return 0
