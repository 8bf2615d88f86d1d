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
"""

from __future__ import annotations

from typing import Final

from hft.core.generated.views import Journal
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import is_foreign
from hft.core.trade_memory import TradeMemory
from hft.records import Action, ExecKind, Kind, OrderState, OrderType, Reason, Side, Tif

_RANK: Final = {
    OrderState.NEVER_ACCEPTED: 1,
    OrderState.REJECTED: 2,
    OrderState.EXPIRED: 3,
    OrderState.CANCELED: 4,
    OrderState.FILLED: 5,
}
_END_KIND: Final = {
    OrderState.NEVER_ACCEPTED: ExecKind.NEVER_ACCEPTED,
    OrderState.REJECTED: ExecKind.REJECTED,
    OrderState.EXPIRED: ExecKind.EXPIRED,
    OrderState.CANCELED: ExecKind.CANCELED,
}
_FIRST_TERMINAL: Final = OrderState.FILLED
_NEW: Final = OrderState.PENDING_NEW
_WORKING: Final = OrderState.WORKING
_UNRESOLVED: Final = OrderState.UNRESOLVED
_NOTHING: Final = ExecKind.UNKNOWN


class Order:
    """One order. Prices and quantities in 1e-8; times monotonic, ``terms_ns`` venue's."""

    __slots__ = (
        "ack_ns",
        "cancel_reason",
        "cum_qty_e8",
        "decision_seq",
        "executions_seq",
        "good_till_s",
        "heard_ns",
        "instrument_id",
        "is_acknowledged",
        "is_overfilled",
        "is_post_only",
        "is_reduce_only",
        "journal_seq",
        "leaves_qty_e8",
        "order_id",
        "order_type",
        "origin_ns",
        "pending",
        "pending_price_e8",
        "pending_qty_e8",
        "price_e8",
        "qty_e8",
        "reason",
        "request_ns",
        "row",
        "send_ns",
        "side",
        "state",
        "strategy_id",
        "terms_ns",
        "tif",
        "traded_qty_e8",
        "trades",
        "venue_order_id",
    )

    def __init__(
        self,
        *,
        order_id: int,
        instrument_id: int,
        strategy_id: int,
        side: Side,
        price_e8: int,
        qty_e8: int,
        order_type: OrderType = OrderType.LIMIT,
        tif: Tif = Tif.GTC,
        is_post_only: bool = False,
        is_reduce_only: bool = False,
        good_till_s: int = 0,
        decision_seq: int = 0,
        origin_ns: int = 0,
        reason: Reason = Reason.NONE,
        trades: TradeMemory | None = None,
    ) -> None:
        assert order_id > 0
        assert qty_e8 > 0
        assert side in (Side.BUY, Side.SELL)
        self.order_id = order_id
        self.venue_order_id = 0
        self.instrument_id = instrument_id
        self.strategy_id = strategy_id
        self.side = side
        self.price_e8 = price_e8
        self.qty_e8 = qty_e8
        self.cum_qty_e8 = 0
        self.leaves_qty_e8 = qty_e8
        self.traded_qty_e8 = 0
        """Sum of the trades seen; less than ``cum_qty_e8`` while trades are missing."""
        self.order_type = order_type
        self.tif = tif
        self.good_till_s = good_till_s
        self.is_post_only = is_post_only
        self.is_reduce_only = is_reduce_only
        self.is_acknowledged = False
        """The venue has shown in some way that it has the order."""
        self.is_overfilled = False
        """The venue executed more of our order than was asked for: an incident."""
        self.heard_ns = 0
        """When the user stream last spoke of the order, 0: never in this life."""
        self.state = _NEW
        self.pending = Action.PLACE
        """The unanswered request; a cancel hides an unanswered amend, whose terms stay counted."""
        self.pending_price_e8 = 0
        self.pending_qty_e8 = 0
        self.decision_seq = decision_seq
        self.executions_seq = 0
        self.journal_seq = 0
        self.send_ns = 0
        self.ack_ns = 0
        self.request_ns = 0
        self.terms_ns = 0
        """Venue time of the price and quantity in force, 0: as placed."""
        self.origin_ns = origin_ns
        self.reason = reason
        self.cancel_reason = Reason.NONE
        self.row = -1
        self.trades = TradeMemory(1_024) if trades is None else trades

    @classmethod
    def adopt(
        cls,
        *,
        order_id: int,
        venue_order_id: int,
        instrument_id: int,
        side: Side,
        price_e8: int,
        qty_e8: int,
        order_type: OrderType,
        tif: Tif,
        is_post_only: bool,
        is_reduce_only: bool,
        reason: Reason,
        cum_qty_e8: int = 0,
        venue_ns: int = 0,
        trades: TradeMemory | None = None,
    ) -> Order:
        """An order of the venue's that the books did not know; ``venue_ns`` is its terms' time."""
        order = cls(
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
        order._seen(venue_order_id)
        order._raise_cum(cum_qty_e8)
        return order

    # -- reading --------------------------------------------------------------------------------

    @property
    def is_ours(self) -> bool:
        """False: somebody else's order on the account; nothing but a halt cancels it."""
        return not is_foreign(self.order_id)

    @property
    def is_adopted(self) -> bool:
        """True when no strategy of this system asked for it: found at the venue."""
        return self.strategy_id == 0

    @property
    def is_amend_pending(self) -> bool:
        """True while an amend is unanswered, also when a cancel has overtaken it."""
        return self.pending_qty_e8 != 0

    @property
    def is_terminal(self) -> bool:
        """True once nothing is open any more."""
        return self.state >= _FIRST_TERMINAL

    @property
    def is_working(self) -> bool:
        """True while acknowledged with something open."""
        return self.state == _WORKING

    @property
    def is_pending(self) -> bool:
        """True while a request is unanswered."""
        return self.pending != Action.UNKNOWN

    @property
    def missing_qty_e8(self) -> int:
        """Executed according to the venue, but in trades not seen yet: ask for them."""
        return self.cum_qty_e8 - self.traded_qty_e8

    @property
    def worst_case_qty_e8(self) -> int:
        """What may still change the position: open or asked for, and executed but not seen."""
        if self.state >= _FIRST_TERMINAL:
            return self.cum_qty_e8 - self.traded_qty_e8
        return max(self.qty_e8, self.pending_qty_e8) - self.traded_qty_e8

    # -- requests -------------------------------------------------------------------------------

    def place_sent(self, now_ns: int) -> ExecKind:
        """The bytes of the new order left."""
        self.send_ns = self.request_ns = now_ns
        return ExecKind.SENT

    def dropped(self, reason: Reason) -> ExecKind:
        """The new order was journalled but its bytes never left."""
        if self.send_ns or self.is_acknowledged or self.state != _NEW:
            return _NOTHING
        self._end(OrderState.NEVER_ACCEPTED, reason)
        return ExecKind.DROPPED

    def amend_sent(self, price_e8: int, qty_e8: int, now_ns: int) -> ExecKind:
        """An amend left: until it is answered, the greater of both quantities counts."""
        if self.state >= _FIRST_TERMINAL:
            return _NOTHING
        assert qty_e8 > 0
        self.pending = Action.AMEND
        self.pending_price_e8, self.pending_qty_e8 = price_e8, qty_e8
        self.request_ns = now_ns
        return ExecKind.SENT

    def cancel_sent(self, now_ns: int, reason: Reason = Reason.NONE) -> ExecKind:
        """A cancel left; it may be repeated, and may overtake an unanswered place or amend."""
        if self.state >= _FIRST_TERMINAL:
            return _NOTHING
        self.pending = Action.CANCEL
        self.request_ns = now_ns
        if reason:
            self.cancel_reason = reason
        return ExecKind.SENT

    # -- what the venue says --------------------------------------------------------------------

    def acknowledge(self, venue_order_id: int, now_ns: int) -> ExecKind:
        """The venue has the order: answer to the request, or a NEW event."""
        is_news = self._seen(venue_order_id) and self.state < _FIRST_TERMINAL
        if not self.ack_ns:
            self.ack_ns = now_ns
        return ExecKind.ACK if is_news else _NOTHING

    def fill(
        self,
        trade_id: int,
        last_qty_e8: int,
        last_price_e8: int,
        cum_qty_e8: int = 0,
        *,
        is_final: bool = False,
    ) -> ExecKind:
        """One trade, counted once. ``cum_qty_e8`` is 0 where the message does not say.

        ``is_final``: the message itself calls the order filled.
        """
        assert last_qty_e8 > 0
        assert last_price_e8 > 0
        is_news = self.trades.add(self.instrument_id, trade_id, self.side)
        self._seen(0)
        if is_news:
            self.traded_qty_e8 += last_qty_e8
        self._raise_cum(cum_qty_e8)
        if is_final:
            self._end(OrderState.FILLED, Reason.NONE)
        return ExecKind.FILL if is_news else _NOTHING

    def apply_cum(self, cum_qty_e8: int) -> ExecKind:
        """The venue names a filled quantity without its trades: they are ``missing_qty_e8`` now.

        Publishes nothing: the records follow with the trades.
        """
        if cum_qty_e8 > 0:
            self._seen(0)
            self._raise_cum(cum_qty_e8)
        return _NOTHING

    def trades_complete(self, traded_qty_e8: int) -> bool:
        """All trades of the order were gone through, ``traded_qty_e8`` in all. True: it is news.

        Those that are not counted here were booked before the order was adopted, or are older
        than the books.
        """
        is_news = traded_qty_e8 > self.traded_qty_e8
        self.traded_qty_e8 = max(self.traded_qty_e8, traded_qty_e8)
        self._raise_cum(traded_qty_e8)
        return is_news

    def canceled(self, cum_qty_e8: int = 0, reason: Reason = Reason.NONE) -> ExecKind:
        """The venue took the order out on request, or after an amend that it could not keep."""
        return self._closed(OrderState.CANCELED, cum_qty_e8, reason)

    def expired(self, cum_qty_e8: int = 0, reason: Reason = Reason.NONE) -> ExecKind:
        """The venue took the order out on its own."""
        return self._closed(OrderState.EXPIRED, cum_qty_e8, reason)

    def rejected(self, reason: Reason) -> ExecKind:
        """A definite refusal of the new order; void once the venue has shown that it has it."""
        if self.is_acknowledged:
            return _NOTHING
        return self._closed(OrderState.REJECTED, 0, reason)

    def amended(
        self, price_e8: int, qty_e8: int, venue_ns: int = 0, *, is_event: bool = False
    ) -> ExecKind:
        """New terms are in force: answer to our amend, or what an event or a query says.

        ``venue_ns`` 0: the message has no time and can only be the answer to our request.
        ``is_event``: an AMENDMENT event, which of two messages with one time is the later one.
        """
        assert qty_e8 > 0
        self._seen(0)
        if not price_e8 and self.price_e8:
            price_e8 = self.price_e8  # of a market order the venue names none
        is_answer = self.is_amend_pending and (price_e8, qty_e8) == (
            self.pending_price_e8,
            self.pending_qty_e8,
        )
        is_newer = venue_ns > self.terms_ns or (is_event and venue_ns == self.terms_ns)
        if not (is_answer or is_newer):
            return _NOTHING
        if self.state >= _FIRST_TERMINAL:
            return _NOTHING
        is_news = is_answer or (price_e8, qty_e8) != (self.price_e8, self.qty_e8)
        self._set_terms(price_e8, qty_e8, venue_ns)
        if is_answer:
            self._amend_answered()
        self._evaluate()
        return ExecKind.AMENDED if is_news else _NOTHING

    def amend_rejected(self, reason: Reason) -> ExecKind:
        """The order stays as it was; gone, perhaps, when the venue does not know it."""
        if self.state >= _FIRST_TERMINAL or not self.is_amend_pending:
            return _NOTHING
        self._amend_answered()
        self._request_refused(reason)
        return ExecKind.AMEND_REJECTED

    def cancel_rejected(self, reason: Reason) -> ExecKind:
        """Not cancelled; "unknown order" may mean that it is filled: to be asked."""
        if self.state >= _FIRST_TERMINAL or self.pending != Action.CANCEL:
            return _NOTHING
        if self.is_amend_pending:
            self.pending = Action.AMEND
        else:
            self.pending = Action.UNKNOWN if self.is_acknowledged else Action.PLACE
        self._request_refused(reason)
        return ExecKind.CANCEL_REJECTED

    def unresolved(self, now_ns: int) -> ExecKind:
        """A request stayed unanswered past its deadline: counted at its worst until settled."""
        if self.state >= _UNRESOLVED or not (self.is_pending or self.state == _NEW):
            return _NOTHING
        self.state = _UNRESOLVED
        if not self.request_ns:
            self.request_ns = now_ns
        return ExecKind.UNRESOLVED

    def never_accepted(self) -> ExecKind:
        """Our own conclusion after the validity window: the venue never had the order."""
        if self.is_acknowledged or self.state not in (_NEW, _UNRESOLVED):
            return _NOTHING
        return self._closed(OrderState.NEVER_ACCEPTED, 0, Reason.NONE)

    def from_query(
        self,
        state: OrderState,
        cum_qty_e8: int,
        price_e8: int,
        qty_e8: int,
        venue_order_id: int,
        *,
        now_ns: int,
        venue_ns: int = 0,
    ) -> ExecKind:
        """The venue's answer about the order; settles an unresolved one.

        ``state`` is WORKING for NEW and PARTIALLY_FILLED. ``venue_ns`` is the update time of the
        answer. Before an amend's deadline the old terms prove nothing, so a pending request of an
        order that is not unresolved stays pending.
        """
        was_unresolved = self.state == _UNRESOLVED
        is_first = self._seen(venue_order_id)
        if not self.ack_ns:
            self.ack_ns = now_ns
        if state >= _FIRST_TERMINAL:
            if qty_e8 > 0:
                self.amended(price_e8, qty_e8, venue_ns)
            return self._closed(state, cum_qty_e8, self.cancel_reason)
        if self.state >= _FIRST_TERMINAL:
            return _NOTHING
        result = ExecKind.ACK if is_first else _NOTHING
        if was_unresolved:
            if (price_e8, qty_e8) != (self.price_e8, self.qty_e8) and venue_ns >= self.terms_ns:
                self._set_terms(price_e8, qty_e8, venue_ns)
                result = ExecKind.AMENDED
            elif self.is_amend_pending:
                result = ExecKind.AMEND_REJECTED
            elif self.pending == Action.CANCEL:
                result = ExecKind.CANCEL_REJECTED
            else:
                result = ExecKind.ACK
            self._clear_requests()
            self.state = _WORKING
        elif self.amended(price_e8, qty_e8, venue_ns) != _NOTHING:
            result = ExecKind.AMENDED
        self._raise_cum(cum_qty_e8)
        return result

    # -- rows and journal -----------------------------------------------------------------------

    def fill_row(self, view: OrderRow) -> None:
        """Write everything into a row of the ``orders`` table."""
        view.kind = Kind.ORDER
        view.instrument_id, view.origin_ns = self.instrument_id, self.origin_ns
        view.order_id, view.venue_order_id = self.order_id, self.venue_order_id
        view.price_e8, view.qty_e8, view.cum_qty_e8 = self.price_e8, self.qty_e8, self.cum_qty_e8
        view.decision_seq, view.executions_seq = self.decision_seq, self.executions_seq
        view.journal_seq = self.journal_seq
        view.send_ns, view.ack_ns, view.request_ns = self.send_ns, self.ack_ns, self.request_ns
        view.strategy_id, view.side = self.strategy_id, self.side
        view.action, view.order_type, view.tif = Action.PLACE, self.order_type, self.tif
        view.is_post_only, view.is_reduce_only = self.is_post_only, self.is_reduce_only
        view.order_state, view.pending = self.state, self.pending
        view.reason, view.cancel_reason = self.reason, self.cancel_reason
        view.pending_price_e8, view.pending_qty_e8 = self.pending_price_e8, self.pending_qty_e8
        view.traded_qty_e8 = self.traded_qty_e8

    @classmethod
    def from_row(cls, view: OrderRow, trades: TradeMemory | None = None) -> Order:
        """The order of a row."""
        order = cls(
            order_id=view.order_id,
            instrument_id=view.instrument_id,
            strategy_id=view.strategy_id,
            side=Side(view.side),
            price_e8=view.price_e8,
            qty_e8=view.qty_e8,
            order_type=OrderType(view.order_type),
            tif=Tif(view.tif),
            is_post_only=bool(view.is_post_only),
            is_reduce_only=bool(view.is_reduce_only),
            decision_seq=view.decision_seq,
            origin_ns=view.origin_ns,
            trades=trades,
        )
        order.venue_order_id = view.venue_order_id
        order.cum_qty_e8, order.traded_qty_e8 = view.cum_qty_e8, view.traded_qty_e8
        order.executions_seq, order.journal_seq = view.executions_seq, view.journal_seq
        order.send_ns, order.ack_ns, order.request_ns = view.send_ns, view.ack_ns, view.request_ns
        order.state, order.pending = OrderState(view.order_state), Action(view.pending)
        order.is_acknowledged = order.state == _WORKING or bool(
            view.venue_order_id or view.ack_ns or view.cum_qty_e8
        )
        order.reason, order.cancel_reason = Reason(view.reason), Reason(view.cancel_reason)
        order.is_overfilled = order.reason is Reason.OWN_OVERFILL
        order.pending_price_e8, order.pending_qty_e8 = view.pending_price_e8, view.pending_qty_e8
        order._evaluate()
        return order

    def restore(self, state: OrderState, entry: Journal) -> None:
        """Apply a journalled UPDATE again: the order is left as the entry says it was."""
        if entry.venue_order_id:
            self._seen(entry.venue_order_id)
        reason = Reason(entry.reason)
        if state >= _FIRST_TERMINAL:
            self._closed(state, entry.cum_qty_e8, reason)
        elif self.state < _FIRST_TERMINAL:
            self._set_terms(entry.price_e8, entry.qty_e8, self.terms_ns)
            self._clear_requests()
            self.is_acknowledged |= state == _WORKING
            self.state = state
            self._set_reason(reason)
            self._raise_cum(entry.cum_qty_e8)

    # -- inside ---------------------------------------------------------------------------------

    def _seen(self, venue_order_id: int) -> bool:
        """The venue has the order. True when that was not known yet."""
        if venue_order_id and not self.venue_order_id:
            self.venue_order_id = venue_order_id
        if self.is_acknowledged:
            return False
        self.is_acknowledged = True
        if self.pending == Action.PLACE:
            self.pending = Action.UNKNOWN
            self.request_ns = 0
        if self.state < _FIRST_TERMINAL:
            self.state = _WORKING
        return True

    def _set_terms(self, price_e8: int, qty_e8: int, venue_ns: int) -> None:
        self.price_e8, self.qty_e8 = price_e8, qty_e8
        self.terms_ns = max(self.terms_ns, venue_ns)

    def _amend_answered(self) -> None:
        """The unanswered amend is answered; a cancel that overtook it stays pending."""
        self.pending_price_e8 = self.pending_qty_e8 = 0
        if self.pending == Action.AMEND:
            self.pending = Action.UNKNOWN
            self.request_ns = 0
            if self.state == _UNRESOLVED:
                self.state = _WORKING

    def _clear_requests(self) -> None:
        self.pending = Action.UNKNOWN
        self.pending_price_e8 = self.pending_qty_e8 = 0
        self.request_ns = 0

    def _set_reason(self, reason: Reason) -> None:
        """Not for an order of somebody else's: there it says whose it is."""
        if self.is_ours and not self.is_overfilled:
            self.reason = reason

    def _request_refused(self, reason: Reason) -> None:
        self._set_reason(reason)
        if self.pending == Action.UNKNOWN:
            self.request_ns = 0
        if self.is_acknowledged:
            self.state = _UNRESOLVED if reason == Reason.VENUE_UNKNOWN_ORDER else _WORKING
        self._evaluate()

    def _closed(self, state: OrderState, cum_qty_e8: int, reason: Reason) -> ExecKind:
        was_terminal = self.state >= _FIRST_TERMINAL
        self._raise_cum(cum_qty_e8)  # first, while an unanswered amend may explain it
        self._end(state, reason)
        return _NOTHING if was_terminal else _END_KIND.get(state, _NOTHING)

    def _end(self, state: OrderState, reason: Reason) -> None:
        """Close the order, or keep the higher of two final states."""
        if self.state < _FIRST_TERMINAL:
            self._clear_requests()
            self._set_reason(reason)
            self.state = state
        elif _RANK[state] > _RANK[self.state]:
            self.state = state
        self._evaluate()

    def _raise_cum(self, cum_qty_e8: int) -> None:
        self.cum_qty_e8 = max(self.cum_qty_e8, cum_qty_e8, self.traded_qty_e8)
        self._evaluate()

    def _evaluate(self) -> None:
        """Derive what follows from quantities: leaves, filled, an amend proven by its fills."""
        cum_qty_e8 = self.cum_qty_e8
        if cum_qty_e8 > self.qty_e8:
            if cum_qty_e8 <= self.pending_qty_e8:
                # More is filled than was in force: the venue has applied our amend already.
                self.price_e8, self.qty_e8 = self.pending_price_e8, self.pending_qty_e8
            else:
                self.qty_e8 = cum_qty_e8
                if self.is_ours:  # of others' orders we may have missed an amend
                    self.is_overfilled, self.reason = True, Reason.OWN_OVERFILL
        # With a greater amend on its way, the old quantity filled is not the end yet.
        if cum_qty_e8 >= max(self.qty_e8, self.pending_qty_e8) and self.state != OrderState.FILLED:
            self.state = OrderState.FILLED
            self._clear_requests()
        self.leaves_qty_e8 = 0 if self.state >= _FIRST_TERMINAL else self.qty_e8 - cum_qty_e8
        assert 0 <= self.traded_qty_e8 <= cum_qty_e8 <= self.qty_e8
        assert self.state >= _FIRST_TERMINAL or cum_qty_e8 + self.leaves_qty_e8 == self.qty_e8
