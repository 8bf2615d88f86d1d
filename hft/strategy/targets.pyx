"""Quote targets: what a strategy wants resting, turned into the fewest intents that get there.

Wanted is a price and an open quantity for each side. What rests is known from executions. The
difference becomes at most one intent for each side, and none while an earlier one is unanswered.
Repeating a wish costs nothing, an intent that could not be offered is worked out again, and an
order that should not exist (a late answer, a second one found at a restart) is cancelled.

Amending an order puts it at the end of its queue at the venue, whatever changes (Binance USD-M
API, modify order). So a resting order is left alone while it is near enough to what is wanted:
``QuoteRules`` says how near, and how often at most it is changed.
"""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_execution, hft_order
from hft.core.generated.views cimport Decision, Execution
from hft.core.generated.views cimport Order as OrderRow
from hft.strategy.change cimport Change
from hft.strategy.orders cimport Orders, answers, better_e8

from hft import units
from hft.records import Action, ExecKind, OrderState, Reason, Side
from hft.strategy import orders as explicit
from hft.strategy.orders import check_values
from hft.strategy.rules import QuoteRules
from hft.strategy.view import OwnOrder, View

STRAYS_MAX = 64
BACKOFF_DOUBLINGS_MAX = 4

cdef int NONE = Action.UNKNOWN
cdef int PLACE = Action.PLACE
cdef int AMEND = Action.AMEND
cdef int CANCEL = Action.CANCEL
cdef int FIRST_TERMINAL = OrderState.FILLED
cdef int UNRESOLVED = OrderState.UNRESOLVED
cdef int CANCELED = OrderState.CANCELED
cdef int SENT = ExecKind.SENT
cdef int FILL = ExecKind.FILL
cdef int DROPPED = ExecKind.DROPPED
cdef int AMEND_REJECTED = ExecKind.AMEND_REJECTED
cdef int CANCEL_REJECTED = ExecKind.CANCEL_REJECTED
cdef int NO_REASON = Reason.NONE
cdef int64_t E8_FACTOR = units.E8
cdef int64_t SECOND_NS = units.NS_PER_S
cdef int64_t VALUE_MAX = explicit.VALUE_E8_MAX
cdef Py_ssize_t STRAYS = STRAYS_MAX  # orders to cancel that belong to no side; others are left
cdef int DOUBLINGS = BACKOFF_DOUBLINGS_MAX
cdef object PLACING = Action.PLACE
cdef object AMENDING = Action.AMEND
cdef object CANCELLING = Action.CANCEL
cdef object NO_SIDE = Side.NONE


cdef bint is_refused(int kind) noexcept nogil:
    return kind == DROPPED or kind == AMEND_REJECTED or kind == CANCEL_REJECTED


@cython.final
cdef class Quote:
    """One side: what is wanted, what rests, what is unanswered."""

    def __init__(self, side):
        self.side = side
        self.sign = side
        self.change = Change(side)
        self.changed_ns = -SECOND_NS
        self.clear()

    cdef void clear(self) noexcept:
        """No order on this side."""
        self.order_id = 0
        self.price_e8 = self.qty_e8 = self.cum_qty_e8 = self.leaves_qty_e8 = 0
        self.executions_seq = 0
        self.pending_price_e8 = 0
        self.pending = NONE
        self.is_unresolved = False
        self.must_cancel = False
        self.cancel_after_ns = 0


@cython.final
cdef class QuoteTargets:
    """Desired state of one instrument's two sides, and the way there.

    ``orders`` takes explicit orders, ``view`` shows position, exposure and own open orders.
    """

    def __init__(self, instrument, rules=None):
        self.buy, self.sell = Quote(Side.BUY), Quote(Side.SELL)
        self.strays = {}
        self.change_list = []
        self.stray_changes = []
        self.rules = QuoteRules() if rules is None else rules
        self.orders = Orders(instrument)
        self.view = View(self.orders, self._own_quotes)
        self.take_instrument(instrument)

    @property
    def rules(self):
        """How near is near enough."""
        return self.named_rules

    @rules.setter
    def rules(self, rules):
        self.named_rules = rules
        self.reprice_ticks = rules.reprice_ticks
        self.resize_percent = rules.resize_percent
        self.rest_ns_min = rules.rest_ns_min
        self.refusal_backoff_ns = rules.refusal_backoff_ns
        self.overdue_ns = rules.overdue_ns
        self.is_amending = rules.is_amending

    cdef int take_instrument(self, instrument) except -1:
        self.tick_e8, self.step_e8 = instrument.tick_e8, instrument.step_e8
        self.qty_min_e8, self.qty_max_e8 = instrument.qty_min_e8, instrument.qty_max_e8
        self.notional_min_e8 = instrument.notional_min_e8
        return 0

    cdef Quote quote_on(self, int sign):
        return self.buy if sign > 0 else self.sell

    # -- what is wanted -------------------------------------------------------------------------

    def set_instrument(self, instrument):
        """The venue changed its rules: what is wanted is rounded anew, what rests may stay."""
        cdef Quote quote
        self.take_instrument(instrument)
        self.orders.set_instrument(instrument)
        for quote in (self.buy, self.sell):
            self.want(quote, quote.wanted_price_e8, quote.wanted_qty_e8)

    def set(self, side, price_e8, qty_e8):
        """Want ``qty_e8`` open at ``price_e8``; quantity 0: nothing.

        The price is rounded away from the market to the tick, the quantity down to the step. What
        would be smaller than the venue takes is not wanted at all.

        Raises:
            StrategyError: a price or quantity that is no integer, negative or beyond reason.
        """
        cdef int overflow = 0, also = 0
        cdef int64_t price = 0, qty = 0
        if type(price_e8) is int and type(qty_e8) is int and (side == 1 or side == -1):
            price = PyLong_AsLongLongAndOverflow(price_e8, &overflow)
            qty = PyLong_AsLongLongAndOverflow(qty_e8, &also)
        else:
            check_values(side, price_e8, qty_e8)
        if overflow or also or not (0 <= price <= VALUE_MAX and 0 <= qty <= VALUE_MAX):
            check_values(side, price_e8, qty_e8)
        self.want(self.quote_on(side), price, qty)

    cdef void want(self, Quote quote, int64_t price_e8, int64_t qty_e8) noexcept:
        cdef int64_t beyond_e8
        quote.wanted_qty_e8 = 0
        if qty_e8 <= 0 or price_e8 <= 0:
            return
        beyond_e8 = price_e8 % self.tick_e8
        if quote.sign > 0:
            price_e8 -= beyond_e8
        elif beyond_e8:
            price_e8 += self.tick_e8 - beyond_e8
        qty_e8 = min(qty_e8, self.qty_max_e8)
        qty_e8 -= qty_e8 % self.step_e8
        if qty_e8 < self.qty_min_e8 or (
                <int128> price_e8 * qty_e8 < <int128> self.notional_min_e8 * E8_FACTOR):
            return
        quote.wanted_price_e8 = price_e8
        quote.wanted_qty_e8 = qty_e8

    def pull(self, side):
        """Want nothing on one side."""
        self.quote_on(side).wanted_qty_e8 = 0

    def pull_all(self):
        """Want no quote; explicit orders stay."""
        self.buy.wanted_qty_e8 = self.sell.wanted_qty_e8 = 0

    def withdraw(self):
        """Want nothing at all: no quote and no explicit order."""
        self.buy.wanted_qty_e8 = self.sell.wanted_qty_e8 = 0
        if len(self.orders._open):
            self.orders.withdraw()

    def bound(self, int64_t bid_max_e8, int64_t ask_min_e8):
        """Quote no better than this, whatever is wanted; 0: no bound. For the engine."""
        self.buy.bound_e8, self.sell.bound_e8 = bid_max_e8, ask_min_e8

    # -- what to offer --------------------------------------------------------------------------

    def changes(self, int64_t now_ns):
        """The intents that lead from what rests to what is wanted, as far as they may be sent now.

        Call ``mark_offered`` for each one that was offered; the others come again.
        """
        return self.collect(now_ns)

    cdef list collect(self, int64_t now_ns):
        cdef list changes = self.change_list
        if changes:
            changes.clear()
        if self.strays:
            self._add_strays(now_ns)
        if len(self.orders._open):
            self.orders.add_due_cancels(changes, now_ns)
        if self.is_due(self.buy, now_ns):
            changes.append(self.buy.change)
        if self.is_due(self.sell, now_ns):
            changes.append(self.sell.change)
        return changes

    cdef bint is_due(self, Quote quote, int64_t now_ns) noexcept:
        """Fill the side's change; False when there is nothing to do, or not yet."""
        cdef Change change = quote.change
        cdef int64_t wanted_e8 = quote.wanted_qty_e8
        cdef int64_t price_e8
        if quote.pending != NONE or quote.is_unresolved:
            return False
        change.order_id = quote.order_id
        if quote.order_id and (not wanted_e8 or quote.must_cancel):
            self.fill_cancel(quote)
            return now_ns >= quote.cancel_after_ns
        if (not wanted_e8 or now_ns < quote.backoff_until_ns
                or now_ns - quote.changed_ns < self.rest_ns_min):
            return False
        price_e8 = quote.wanted_price_e8
        if quote.bound_e8:
            price_e8 = (min(price_e8, quote.bound_e8) if quote.sign > 0
                        else max(price_e8, quote.bound_e8))
        change.price_e8 = price_e8
        if not quote.order_id:
            change.action = PLACING
            change.qty_e8 = wanted_e8
            return True
        if self.is_near(quote, price_e8):
            return False
        if self.is_amending:
            change.action = AMENDING
            change.qty_e8 = quote.cum_qty_e8 + wanted_e8
            return change.price_e8 != quote.price_e8 or change.qty_e8 != quote.qty_e8
        self.fill_cancel(quote)
        return True

    cdef bint is_near(self, Quote quote, int64_t price_e8) noexcept nogil:
        """Is what rests near enough to what is wanted?"""
        cdef int64_t off_e8 = price_e8 - quote.price_e8
        cdef int64_t missing_e8 = quote.wanted_qty_e8 - quote.leaves_qty_e8
        if quote.bound_e8 and (quote.price_e8 - quote.bound_e8) * quote.sign > 0:
            return False  # in the way of who has precedence
        if off_e8 < 0:
            off_e8 = -off_e8
        if missing_e8 < 0:
            missing_e8 = -missing_e8
        return off_e8 < <int128> self.reprice_ticks * self.tick_e8 and (
            <int128> missing_e8 * 100 <= <int128> self.resize_percent * quote.wanted_qty_e8)

    cdef void fill_cancel(self, Quote quote) noexcept:
        cdef Change change = quote.change
        change.action = CANCELLING
        change.price_e8, change.qty_e8 = quote.price_e8, 0

    cdef int _add_strays(self, int64_t now_ns) except -1:
        cdef Change change
        cdef Py_ssize_t index = 0
        for order_id, due_ns in self.strays.items():
            if now_ns < due_ns:
                continue
            if index == len(self.stray_changes):
                self.stray_changes.append(Change(NO_SIDE))
            change = self.stray_changes[index]
            index += 1
            change.action, change.order_id = CANCELLING, order_id
            self.change_list.append(change)
        return 0

    def mark_offered(self, Change change not None, uint64_t order_id, int64_t now_ns):
        """The change is on its way to risk; ``order_id`` is the new order's for a place."""
        self.note_offered(change, order_id, now_ns)

    cdef int note_offered(self, Change change, uint64_t order_id, int64_t now_ns) except -1:
        cdef Quote quote
        if change.side is NO_SIDE:
            self.strays[order_id] = now_ns + self.overdue_ns
            return 0
        quote = self.quote_on(change.side)
        if order_id != quote.order_id and change.action is CANCELLING:
            self.orders.mark_cancel(order_id, now_ns)
            return 0
        assert quote.pending == NONE
        quote.pending = change.action
        quote.offered_ns = now_ns
        if change.action is PLACING:
            assert not quote.order_id
            quote.order_id = order_id
            quote.price_e8, quote.qty_e8 = change.price_e8, change.qty_e8
            quote.cum_qty_e8, quote.leaves_qty_e8 = 0, change.qty_e8
        elif change.action is AMENDING:
            quote.pending_price_e8 = change.price_e8
        if change.action is not CANCELLING:
            quote.changed_ns = now_ns
        return 0

    # -- what happened --------------------------------------------------------------------------

    def on_execution(self, Execution execution not None, int64_t now_ns):
        """What the venue, or execution, says of an order."""
        cdef const hft_execution *record = <const hft_execution *> execution.data
        cdef Quote quote = self.quote_of(record.order_id)
        cdef int state = record.order_state, kind = record.exec_kind, pending
        cdef bint is_open = 0 < state < FIRST_TERMINAL, was_unresolved
        if quote is None:
            if not self.orders.note_execution(record, now_ns):
                self._on_stray(record.order_id, now_ns, is_open, is_refused(kind))
            return
        if record.seq and record.seq <= quote.executions_seq:
            return
        if not is_open:
            self._closed(quote, state, record.reason, now_ns)
            return
        quote.executions_seq = record.seq
        quote.cum_qty_e8 = record.cum_qty_e8
        quote.leaves_qty_e8 = record.leaves_qty_e8
        quote.qty_e8 = record.cum_qty_e8 + record.leaves_qty_e8
        if kind != FILL:
            quote.price_e8 = record.price_e8
        pending = quote.pending
        was_unresolved = quote.is_unresolved
        quote.is_unresolved = state == UNRESOLVED
        if pending == PLACE:
            if kind != SENT:
                quote.pending = NONE
        elif pending != NONE and (
                answers(pending, kind) or (was_unresolved and state != UNRESOLVED)):
            quote.pending = NONE
        if quote.pending == NONE:
            quote.pending_price_e8 = 0
        if is_refused(kind):
            self._refused(quote, pending, now_ns)
        elif kind != SENT:
            quote.refusals = 0

    def on_refusal(self, Decision decision not None, int64_t now_ns):
        """Risk refused an intent."""
        cdef const hft_decision *record = <const hft_decision *> decision.data
        cdef Quote quote = self.quote_of(record.order_id)
        cdef int action = record.action
        if quote is None:
            if not self.orders.note_refusal(record, now_ns) and record.order_id in self.strays:
                self.strays[record.order_id] = now_ns + self.refusal_backoff_ns
            return
        if quote.pending != action:
            return
        quote.pending = NONE
        quote.pending_price_e8 = 0
        if action == PLACE:
            quote.clear()
        self._refused(quote, action, now_ns)

    cdef void _refused(self, Quote quote, int action, int64_t now_ns) noexcept:
        cdef int doublings = min(quote.refusals, DOUBLINGS)
        quote.refusals += 1
        quote.backoff_until_ns = now_ns + (self.refusal_backoff_ns << doublings)
        if action == CANCEL:
            quote.cancel_after_ns = quote.backoff_until_ns
        elif action == AMEND:
            # What may not be moved to where it belongs must not stay where it is.
            quote.must_cancel = True

    cdef void _closed(self, Quote quote, int state, int reason, int64_t now_ns) noexcept:
        """The side is free again; what ended unasked is not repeated at once."""
        cdef bint is_expected = state == FIRST_TERMINAL or (
            state == CANCELED and quote.pending == CANCEL and reason == NO_REASON)
        quote.clear()
        if is_expected:
            quote.refusals = 0
        else:
            self._refused(quote, NONE, now_ns)

    cdef int _on_stray(
            self, uint64_t order_id, int64_t now_ns, bint is_open, bint refused) except -1:
        if not is_open:
            self.strays.pop(order_id, None)
        elif order_id not in self.strays:
            if len(self.strays) < STRAYS:
                self.strays[order_id] = now_ns
        elif refused:
            self.strays[order_id] = now_ns + self.refusal_backoff_ns
        return 0

    cdef Quote quote_of(self, uint64_t order_id):
        """The side whose order it is. Number 0 is that of a side without one, as it always was."""
        if order_id == self.buy.order_id:
            return self.buy
        if order_id == self.sell.order_id:
            return self.sell
        return None

    # -- recovery -------------------------------------------------------------------------------

    def forget_orders(self):
        """Before adopting anew: nothing is resting or on its way, what is wanted stays wanted."""
        self.buy.clear()
        self.sell.clear()
        self.strays.clear()
        self.orders.begin_adoption()

    def all_adopted(self):
        """Every row was shown: what is in none is over."""
        self.orders.end_adoption()

    def adopt(self, OrderRow row not None, int64_t now_ns):
        """Take over an open order; a second one on a side is cancelled.

        An answer that is due counts as waited for from ``now_ns`` on: only execution can get it.
        """
        cdef const hft_order *record = <const hft_order *> row.data
        cdef int state = record.order_state
        cdef Quote quote
        if not 0 < state < FIRST_TERMINAL:
            return
        if self.orders.adopt(record, now_ns):
            return
        quote = self.quote_on(record.side)
        if quote.order_id:
            self._on_stray(record.order_id, 0, True, False)
            return
        quote.clear()
        quote.order_id = record.order_id
        quote.price_e8, quote.qty_e8 = record.price_e8, record.qty_e8
        quote.cum_qty_e8 = record.cum_qty_e8
        quote.leaves_qty_e8 = max(<int64_t> 0, record.qty_e8 - record.cum_qty_e8)
        quote.executions_seq = record.executions_seq
        quote.pending = record.pending
        quote.offered_ns = now_ns
        quote.is_unresolved = state == UNRESOLVED

    def is_overdue(self, int64_t now_ns):
        """True when an answer must have been lost: forget the orders and adopt them anew."""
        return self.waits_too_long(now_ns)

    cdef bint waits_too_long(self, int64_t now_ns) except -1:
        if self.buy.pending != NONE and now_ns - self.buy.offered_ns > self.overdue_ns:
            return True
        if self.sell.pending != NONE and now_ns - self.sell.offered_ns > self.overdue_ns:
            return True
        return len(self.orders._open) and self.orders.is_overdue(now_ns, self.overdue_ns)

    # -- reading ------------------------------------------------------------------------------

    def holds(self, uint64_t order_id):
        """True for an order that rests, or is on its way: a side's, or an explicit one."""
        return self.quote_of(order_id) is not None or self.orders.find(order_id) is not None

    @property
    def is_empty(self):
        """No order rests or is on its way, as far as is known."""
        return not (self.buy.order_id or self.sell.order_id or self.strays
                    or len(self.orders._open))

    def best_e8(self, side):
        """The price at which one of the orders could trade first; 0: none on that side."""
        return self.best_open_e8(side)

    cdef int64_t best_open_e8(self, int sign) except? -1:
        cdef Quote quote = self.quote_on(sign)
        cdef int64_t best_e8 = self.orders.best_e8(sign) if len(self.orders._open) else 0
        if quote.order_id:
            best_e8 = better_e8(sign, best_e8, quote.price_e8)
            best_e8 = better_e8(sign, best_e8, quote.pending_price_e8)
        return best_e8

    def claim_e8(self, side):
        """As ``best_e8``, with what is wanted: others of lower priority keep clear of it."""
        cdef Quote quote = self.quote_on(side)
        cdef int64_t best_e8 = self.best_open_e8(side)
        return better_e8(side, best_e8, quote.wanted_price_e8) if quote.wanted_qty_e8 else best_e8

    def _own_quotes(self):
        cdef Quote quote
        return [
            OwnOrder(
                quote.order_id,
                quote.side,
                quote.price_e8,
                quote.qty_e8,
                quote.leaves_qty_e8,
                is_quote=True,
                is_pending=quote.pending != NONE,
            )
            for quote in (self.buy, self.sell)
            if quote.order_id
        ]

    def wanted(self, side):
        """Price and open quantity that are wanted, rounded; (0, 0): nothing."""
        cdef Quote quote = self.quote_on(side)
        if not quote.wanted_qty_e8:
            return 0, 0
        return quote.wanted_price_e8, quote.wanted_qty_e8

    def resting(self, side):
        """Price and open quantity of the side's order, also while unanswered; (0, 0): none."""
        cdef Quote quote = self.quote_on(side)
        if not quote.order_id:
            return 0, 0
        return quote.price_e8, quote.leaves_qty_e8

    def order_id(self, side):
        """The side's order, 0: none."""
        return self.quote_on(side).order_id

    def pending(self, side):
        """The side's unanswered request."""
        return Action(self.quote_on(side).pending)
