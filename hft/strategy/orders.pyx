"""Explicit orders of a plug-in.

``orders`` is for what is no standing quote: one that takes, an exit, an order with a date. Each
call sends at once and says whether it went; nothing is repeated unasked, except a cancel that
could not leave.
"""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_execution, hft_order
from hft.strategy.change cimport Change

from hft import units
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif
from hft.strategy.errors import StrategyError
from hft.strategy.view import OwnOrder

NO_ORDER = 0
"""Instead of an order id: nothing was sent."""
ORDERS_MAX = 64
"""Explicit orders that one plug-in may have open on one instrument."""
VALUE_E8_MAX = 10**18
"""Ten billion units: no price and no quantity is greater, so it is a mistake."""
CANCEL_RETRY_NS = 250 * units.NS_PER_MS
"""A cancel that was refused, or could not leave, is tried again after so long."""

cdef int NONE = Action.UNKNOWN
cdef int PLACE = Action.PLACE
cdef int AMEND = Action.AMEND
cdef int CANCEL = Action.CANCEL
cdef int FIRST_TERMINAL = OrderState.FILLED
cdef int UNRESOLVED = OrderState.UNRESOLVED
cdef int SENT = ExecKind.SENT
cdef int FILL = ExecKind.FILL
cdef int DROPPED = ExecKind.DROPPED
cdef int AMENDED = ExecKind.AMENDED
cdef int AMEND_REJECTED = ExecKind.AMEND_REJECTED
cdef int CANCEL_REJECTED = ExecKind.CANCEL_REJECTED
cdef int UNKNOWN_ORDER = Reason.UNKNOWN_ORDER
cdef int64_t VALUE_MAX = VALUE_E8_MAX
cdef int64_t RETRY_NS = CANCEL_RETRY_NS
cdef object SECONDS_MAX = 2**32 - 1
cdef Py_ssize_t OPEN_MAX = ORDERS_MAX
cdef object BUY = Side.BUY
cdef object SELL = Side.SELL
cdef object LIMIT = OrderType.LIMIT
cdef object MARKET = OrderType.MARKET
cdef object GTC = Tif.GTC
cdef object PLACING = Action.PLACE
cdef object AMENDING = Action.AMEND
cdef object CANCELLING = Action.CANCEL


cdef class Sender:
    """Takes what a plug-in wants; before the engine has bound the orders nothing goes."""

    cdef uint64_t send(self, Change change) except? 0:
        """The id of the order that the change is about, ``NO_ORDER``: it did not go."""
        return 0


@cython.final
cdef class CallbackSender(Sender):
    """Hands changes to a function that answers as ``Sender.send``."""

    def __init__(self, handler):
        self.handler = handler

    cdef uint64_t send(self, Change change) except? 0:
        return self.handler(change)


cdef bint answers(int pending, int kind) noexcept nogil:
    """Does this kind answer a request of an order that stays open? Any but SENT answers a place."""
    if kind == DROPPED:
        return True
    if pending == AMEND:
        return kind == AMENDED or kind == AMEND_REJECTED
    return kind == CANCEL_REJECTED


cdef int64_t better_e8(int sign, int64_t one_e8, int64_t other_e8) noexcept nogil:
    """The price that trades first on a side; 0 is none."""
    if not one_e8 or not other_e8:
        return one_e8 or other_e8
    return max(one_e8, other_e8) if sign > 0 else min(one_e8, other_e8)


def check_values(side, price_e8, qty_e8):
    """Refuse what is no side, price or quantity.

    Raises:
        StrategyError: not integers, negative, beyond reason, or no side.
    """
    if type(price_e8) is not int or type(qty_e8) is not int:
        raise StrategyError(
            f"a quote of {price_e8!r} for {qty_e8!r} is not made of integers",
            remedy="Prices and quantities are int in units of 1e-8 (hft.units).",
        )
    if not (0 <= price_e8 <= VALUE_E8_MAX and 0 <= qty_e8 <= VALUE_E8_MAX):
        raise StrategyError(
            f"a quote of {price_e8} for {qty_e8} is negative or beyond all reason",
            remedy="Units are 1e-8; a side that shall have nothing has quantity 0.",
        )
    if side != 1 and side != -1:
        raise StrategyError(f"{side!r} is no side", remedy="Say Side.BUY or Side.SELL.")


cdef Change new_change(side, action):
    """An empty one, without the way through the interpreter that its name would take."""
    cdef Change change = Change.__new__(Change)
    change.side, change.action = side, action
    change.order_type, change.tif = LIMIT, GTC
    change.is_post_only = True
    return change


@cython.final
@cython.freelist(16)
cdef class OpenOrder:
    """An explicit order that is not terminal."""


cdef OpenOrder opened(uint64_t order_id, Change placed, int64_t now_ns):
    cdef OpenOrder order = OpenOrder.__new__(OpenOrder)
    order.order_id, order.placed, order.offered_ns = order_id, placed, now_ns
    order.sign = 1 if placed.side is BUY else -1
    order.price_e8 = placed.price_e8
    order.qty_e8 = order.leaves_qty_e8 = placed.qty_e8
    order.pending = PLACE
    order.is_seen = True
    return order


cdef Change cancel_of(OpenOrder order):
    cdef Change change = new_change(order.placed.side, CANCELLING)
    change.order_id, change.price_e8 = order.order_id, order.price_e8
    return change


cdef object shown(OpenOrder order):
    return OwnOrder(
        order.order_id,
        order.placed.side,
        order.price_e8,
        order.qty_e8,
        order.leaves_qty_e8,
        is_quote=False,
        is_pending=order.pending != NONE,
    )


@cython.final
cdef class Orders:
    """A plug-in's explicit orders on its instrument."""

    def __init__(self, instrument):
        self.sender = Sender()
        self._open = {}
        self.set_instrument(instrument)

    def bind(self, send):
        """Send through ``send`` from now on, a ``Sender`` or a function. For the engine, and tests.
        """
        self.sender = send if isinstance(send, Sender) else CallbackSender(send)

    def set_instrument(self, instrument):
        """New rules of the venue's. For the engine."""
        self.tick_e8, self.step_e8 = instrument.tick_e8, instrument.step_e8

    def at(self, int64_t now_ns):
        """The time of what is sent from now on. For the engine, and for tests."""
        self.now_ns = now_ns

    # -- what a plug-in calls -------------------------------------------------------------------

    def place(
        self,
        side,
        price_e8,
        qty_e8,
        *,
        order_type=LIMIT,
        tif=GTC,
        bint post_only=False,
        bint reduce_only=False,
        good_till_s=0,
    ):
        """Send a new order; returns its id, or ``NO_ORDER`` when it did not go.

        It does not go while the plug-in may not trade (feed bad, instrument not trading, stop),
        while it would cross an order of ours, with ``ORDERS_MAX`` open, or when risk is behind.
        A market order has price 0. ``good_till_s``: for ``Tif.GTD``, the venue's wall clock.

        Raises:
            StrategyError: a value that no order can have: the plug-in is paused.
        """
        cdef Change change = new_change(side, PLACING)
        cdef uint64_t sent_id
        cdef object order_id
        change.order_type = order_type if type(order_type) is OrderType else OrderType(order_type)
        change.tif = tif if type(tif) is Tif else Tif(tif)
        change.is_post_only, change.is_reduce_only = post_only, reduce_only
        if type(good_till_s) is not int or not 0 <= good_till_s <= SECONDS_MAX:
            raise StrategyError(f"good_till_s is {good_till_s!r}: no time in seconds since 1970")
        change.good_till_s = good_till_s
        self.check_terms(change, price_e8, qty_e8)
        if len(self._open) >= OPEN_MAX:
            return NO_ORDER
        sent_id = self.sender.send(change)
        if not sent_id:
            return NO_ORDER
        order_id = sent_id
        self._open[order_id] = opened(sent_id, change, self.now_ns)
        return order_id

    def amend(self, order_id, price_e8, qty_e8):
        """Change price and total quantity of an own order; False: it did not go.

        It does not go when the order is over, or while an earlier request is unanswered.

        Raises:
            StrategyError: a value that no order can have: the plug-in is paused.
        """
        cdef OpenOrder order = self._open.get(order_id)
        cdef Change change, placed
        if order is None or order.pending != NONE or order.is_unresolved or order.wants_cancel:
            return False
        placed = order.placed
        change = new_change(placed.side, AMENDING)
        change.order_id, change.order_type, change.tif = (
            order.order_id, placed.order_type, placed.tif)
        change.is_post_only, change.is_reduce_only = placed.is_post_only, placed.is_reduce_only
        change.good_till_s = placed.good_till_s
        self.check_terms(change, price_e8, qty_e8)
        if not self.sender.send(change):
            return False
        order.pending, order.pending_price_e8 = AMEND, change.price_e8
        order.offered_ns = self.now_ns
        return True

    def cancel(self, order_id):
        """Take an own order out; False: it is over. What cannot leave now is tried again."""
        cdef OpenOrder order = self._open.get(order_id)
        if order is None:
            return False
        order.wants_cancel = True
        if order.pending != NONE or order.is_unresolved:
            return True  # as soon as the earlier request is answered
        if self.sender.send(cancel_of(order)):
            order.pending, order.offered_ns = CANCEL, self.now_ns
        return True

    def cancel_all(self):
        """Take every explicit order out; returns how many there are."""
        for order_id in self._open:
            self.cancel(order_id)
        return len(self._open)

    def get(self, order_id):
        """An own explicit order, None: it is over."""
        cdef OpenOrder order = self._open.get(order_id)
        return None if order is None else shown(order)

    def __len__(self):
        return len(self._open)

    def __iter__(self):
        return iter([shown(order) for order in self._open.values()])

    cdef int check_terms(self, Change change, price_e8, qty_e8) except -1:
        """Take what the plug-in says into the change, if an order can have it."""
        cdef int overflow = 0, also = 0
        cdef int64_t price = 0, qty = 0
        if type(price_e8) is int and type(qty_e8) is int:
            price = PyLong_AsLongLongAndOverflow(price_e8, &overflow)
            qty = PyLong_AsLongLongAndOverflow(qty_e8, &also)
        else:
            overflow = 1
        if (overflow or also or not (0 <= price <= VALUE_MAX and 0 <= qty <= VALUE_MAX)
                or not (change.side is BUY or change.side is SELL)):
            check_values(change.side, price_e8, qty_e8)
            change.side = BUY if change.side == 1 else SELL
        if qty <= 0 or (price <= 0) != (change.order_type is MARKET):
            raise StrategyError(
                f"an order of {qty_e8 / units.E8:g} at {price_e8 / units.E8:g} cannot be",
                remedy="A limit order has a positive price, a market order has price 0.",
            )
        if price % self.tick_e8 or qty % self.step_e8:
            raise StrategyError(
                f"an order of {qty_e8 / units.E8:g} at {price_e8 / units.E8:g} "
                "is off tick or step",
                remedy=f"Round to tick {self.tick_e8 / units.E8:g} and step "
                f"{self.step_e8 / units.E8:g} (hft.units.floor_to, ceil_to).",
            )
        change.price_e8, change.qty_e8 = price, qty
        return 0

    # -- what the engine calls ------------------------------------------------------------------

    cdef OpenOrder find(self, uint64_t order_id):
        """An open explicit order, None: it is none."""
        return self._open.get(order_id) if len(self._open) else None

    cdef int withdraw(self) except -1:
        """Want none of them any more."""
        cdef OpenOrder order
        for order in self._open.values():
            order.wants_cancel = True
        return 0

    cdef int add_due_cancels(self, list changes, int64_t now_ns) except -1:
        """Cancels that are wanted and may leave now."""
        cdef OpenOrder order
        for order in self._open.values():
            if order.wants_cancel and order.pending == NONE and not order.is_unresolved:
                if now_ns >= order.cancel_after_ns:
                    changes.append(cancel_of(order))
        return 0

    cdef int mark_cancel(self, uint64_t order_id, int64_t now_ns) except -1:
        """A due cancel was offered."""
        cdef OpenOrder order = self._open[order_id]
        order.pending, order.offered_ns = CANCEL, now_ns
        return 0

    cdef bint note_execution(self, const hft_execution *record, int64_t now_ns) except -1:
        """What the venue, or execution, says of an order; False: it is none of these."""
        cdef OpenOrder order = self.find(record.order_id)
        cdef int state = record.order_state, kind = record.exec_kind, pending
        cdef bint was_unresolved, is_answer
        if order is None:
            return False
        if record.seq and record.seq <= order.executions_seq:
            return True
        if not 0 < state < FIRST_TERMINAL:
            del self._open[order.order_id]
            return True
        order.executions_seq = record.seq
        order.cum_qty_e8, order.leaves_qty_e8 = record.cum_qty_e8, record.leaves_qty_e8
        order.qty_e8 = record.cum_qty_e8 + record.leaves_qty_e8
        if kind != FILL:
            order.price_e8 = record.price_e8
        was_unresolved = order.is_unresolved
        order.is_unresolved = state == UNRESOLVED
        pending = order.pending
        if pending == PLACE:
            is_answer = kind != SENT
        else:
            is_answer = pending != NONE and answers(pending, kind)
        if is_answer or (was_unresolved and not order.is_unresolved):
            order.pending = NONE
            order.pending_price_e8 = 0
            if pending == CANCEL:
                order.cancel_after_ns = now_ns + RETRY_NS
        return True

    cdef bint note_refusal(self, const hft_decision *record, int64_t now_ns) except -1:
        """Risk refused an intent about an order; False: it is none of these."""
        cdef OpenOrder order = self.find(record.order_id)
        if order is None:
            return False
        if order.pending != record.action:
            return True
        if record.action == PLACE:
            del self._open[order.order_id]
            return True
        order.pending = NONE
        order.pending_price_e8 = 0
        if record.action == CANCEL:
            order.cancel_after_ns = now_ns + RETRY_NS
            if record.reason == UNKNOWN_ORDER:
                order.wants_cancel = True
        return True

    cdef bint is_overdue(self, int64_t now_ns, int64_t overdue_ns) except -1:
        """True when an answer must have been lost."""
        cdef OpenOrder order
        for order in self._open.values():
            if order.pending != NONE and now_ns - order.offered_ns > overdue_ns:
                return True
        return False

    cdef int begin_adoption(self) except -1:
        """Rows of the orders table follow; what is in none of them is over."""
        cdef OpenOrder order
        for order in self._open.values():
            order.is_seen = False
        return 0

    cdef bint adopt(self, const hft_order *row, int64_t now_ns) except -1:
        """Take over what a row says of an order; False: it is none of these."""
        cdef OpenOrder order = self.find(row.order_id)
        if order is None:
            return False
        order.is_seen = True
        order.price_e8, order.qty_e8 = row.price_e8, row.qty_e8
        order.cum_qty_e8 = row.cum_qty_e8
        order.leaves_qty_e8 = max(<int64_t> 0, row.qty_e8 - row.cum_qty_e8)
        order.executions_seq, order.pending = row.executions_seq, row.pending
        order.offered_ns, order.is_unresolved = now_ns, row.order_state == UNRESOLVED
        return True

    cdef int end_adoption(self) except -1:
        """All rows were shown."""
        cdef OpenOrder order
        cdef dict seen = {}
        for order_id, order in self._open.items():
            if order.is_seen:
                seen[order_id] = order
        self._open = seen
        return 0

    cdef int64_t best_e8(self, int sign) except? -1:
        """The price at which one of them could trade first; 0: none is open on that side."""
        cdef int64_t best_e8 = 0
        cdef OpenOrder order
        for order in self._open.values():
            if order.sign == sign:
                best_e8 = better_e8(sign, best_e8, order.price_e8)
                best_e8 = better_e8(sign, best_e8, order.pending_price_e8)
        return best_e8
