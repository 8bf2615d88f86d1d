"""What the venue says of orders, applied to the books: replies, user events, queries, trades.

An order that the books do not know is adopted when it is open or moved the position: ours from an
earlier life (its client order id is one of ours), or somebody else's. Somebody else's orders get
an id from the venue's, and never more rows than ``FOREIGN_MAX``: beyond that their trades are
booked without the order.
"""

from __future__ import annotations

from typing import Final

from hft import counters
from hft.core.assets import AssetTable
from hft.core.order_id import foreign_order_id, is_foreign
from hft.core.orders import Order
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif
from hft.roles.order_keeper import Fill, OrderKeeper
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.order_session import Reply
from hft.venues.binance_usdm.reports import OrderReport, TradeReport
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.wire import ORDER_STATES, ExecType, OrderStatus
from ipc import RolePage

REQUESTS_MAX: Final = 4_096
"""Unanswered requests that are remembered; an older one's answer finds nobody."""
AWAITED_MAX: Final = 1_024
"""Orders whose user event is waited for."""
FOREIGN_REASONS: Final = (
    ("autoclose-", Reason.LIQUIDATION),
    ("adl_autoclose", Reason.AUTO_DELEVERAGING),
    ("settlement_autoclose-", Reason.SETTLEMENT),
)
"""Client order ids of the venue's own orders (Binance USD-M API, order update event)."""

_COUNTED: Final = {
    ExecKind.ACK: counters.ACKED.id,
    ExecKind.FILL: counters.FILLS.id,
    ExecKind.CANCELED: counters.CANCELED.id,
    ExecKind.REJECTED: counters.REJECTED.id,
    ExecKind.EXPIRED: counters.EXPIRED.id,
    ExecKind.CANCEL_REJECTED: counters.CANCEL_REJECTS.id,
    ExecKind.AMEND_REJECTED: counters.CANCEL_REJECTS.id,
    ExecKind.UNRESOLVED: counters.UNRESOLVED.id,
    ExecKind.NEVER_ACCEPTED: counters.NEVER_ACCEPTED.id,
}


Request = tuple[int, Action, int]
"""A request on its way: the order's id, what for, monotonic ns since when."""


# An enumeration's member by its name costs 0.1 us: what happens often has its own names for them.
_NONE: Final = Reason.NONE
_SILENT: Final = ExecKind.UNKNOWN
_IS_FILL: Final = ExecKind.FILL
_CANCEL: Final = Action.CANCEL
_FILLED: Final = int(OrderState.FILLED)
_NEW: Final = ExecType.NEW
_AMENDMENT: Final = ExecType.AMENDMENT
_ROUND_TRIP_NS: Final = counters.ROUND_TRIP_NS.id
_CANCEL_NS: Final = counters.CANCEL_NS.id
_ACK_NS: Final = counters.ACK_NS.id


class OrderEvents:
    """Applies every message to its order and keeps the books in step; decides nothing."""

    def __init__(self, page: RolePage, keeper: OrderKeeper) -> None:
        self._page = page
        self._keeper = keeper
        self._assets = AssetTable()
        self._requests: dict[int, Request] = {}
        self._instruments = {symbol: number for number, symbol in keeper.symbols.items()}
        self.doubtful: list[Order] = []
        """Overfilled orders: the venue has to be asked about them at once."""
        self.awaited: dict[int, int] = {}
        """Orders of ours that changed at the venue, and since when their user event is due."""
        self.heard_ns = 0
        """When the user stream last spoke of any order."""
        self.listening_ns = 0
        """Venue time from which on the user stream tells of everything."""
        self.is_clock_doubted = False
        """The venue refused a request for its timestamp."""

    # -- requests and their answers -------------------------------------------------------------

    def expect(self, request_id: int, order: Order, action: Action, send_ns: int) -> None:
        """Remember a request that is about to leave."""
        requests = self._requests
        requests[request_id] = order.order_id, action, send_ns
        if len(requests) > REQUESTS_MAX:
            del requests[next(iter(requests))]

    def forget(self, request_id: int) -> None:
        """The request did not leave after all."""
        self._requests.pop(request_id, None)

    def on_reply(self, reply: Reply, recv_ns: int) -> None:
        """An answer on the order session."""
        request = self._requests.pop(reply.request_id, None)
        if request is None:
            return
        order_id, action, send_ns = request
        self._page.set_gauge(_ROUND_TRIP_NS, recv_ns - send_ns)
        self._page.record_ns(_CANCEL_NS if action is _CANCEL else _ACK_NS, recv_ns - send_ns)
        order = self._keeper.table.get(order_id)
        if order is None:
            self._page.count(counters.DUPLICATE_EVENTS.id)
        elif reply.code or reply.status != 200:
            self.refused(order, action, reply.code, reply.status, reply.message, recv_ns)
        else:
            self._done(order, action, reply.result, recv_ns)
            if order.heard_ns < send_ns:
                self._await_event(order, recv_ns)

    def _done(self, order: Order, action: Action, report: OrderReport | None, now_ns: int) -> None:
        """The venue did what was asked for."""
        venue_order_id = report.venue_order_id if report is not None else 0
        self._apply(order, order.acknowledge(venue_order_id, now_ns), now_ns)
        if report is None or order.is_terminal:
            return
        if report.qty_e8:
            kind = order.amended(report.price_e8, report.qty_e8, report.update_ns)
            self._apply(order, kind, now_ns)
        state = ORDER_STATES[report.status]
        if state >= _FILLED:
            self._close(order, state, report.cum_qty_e8, order.cancel_reason, now_ns)
        elif report.cum_qty_e8 > order.cum_qty_e8:
            self._apply(order, order.apply_cum(report.cum_qty_e8), now_ns)

    def refused(
        self, order: Order, action: Action, code: int, status: int, text: str, now_ns: int
    ) -> None:
        """The venue answered with an error: definite, or not."""
        fault = classify(code, status, text)
        self.is_clock_doubted |= fault.reason is Reason.VENUE_TIMESTAMP
        if fault.is_satisfied and action is Action.AMEND:
            kind = order.amended(order.pending_price_e8, order.pending_qty_e8)
        elif not fault.is_definite:
            kind = order.unresolved(now_ns)
        elif action is Action.PLACE:
            kind = order.rejected(fault.reason)
        elif action is Action.AMEND:
            kind = order.amend_rejected(fault.reason)
        else:
            kind = order.cancel_rejected(fault.reason)
        self._apply(order, kind, now_ns, reason=fault.reason)

    # -- user stream ----------------------------------------------------------------------------

    def on_update(self, update: OrderUpdate, recv_ns: int) -> None:
        """An ORDER_TRADE_UPDATE of the user stream."""
        self.heard_ns = recv_ns
        instrument_id = self._instruments.get(update.symbol)
        if instrument_id is None or not is_whole(update):
            self._page.count(counters.FOREIGN_EVENTS.id)
            return
        order = self.find(instrument_id, update.order_id, update.venue_order_id)
        if order is None:
            order = self._adopt_update(instrument_id, update, recv_ns)
        if not order.is_ours:
            self._page.count(counters.FOREIGN_EVENTS.id)
        order.heard_ns = recv_ns
        self.awaited.pop(order.order_id, None)
        kind = order.acknowledge(update.venue_order_id, recv_ns)
        self._keeper.table.bind(order)
        news = self._apply(order, kind, recv_ns, venue_ns=update.transaction_ns)
        if update.exec_type is not _AMENDMENT:
            terms = order.amended(update.price_e8, update.qty_e8, update.transaction_ns)
            news |= self._apply(order, terms, recv_ns, venue_ns=update.transaction_ns)
        news |= self._apply_update(order, update, recv_ns)
        if not news:
            self._page.count(counters.DUPLICATE_EVENTS.id)

    def _apply_update(self, order: Order, update: OrderUpdate, recv_ns: int) -> bool:
        venue_ns = update.transaction_ns
        match update.exec_type:
            case ExecType.NEW:
                return False
            case ExecType.TRADE | ExecType.CALCULATED:
                if update.last_qty_e8 <= 0 or update.last_price_e8 <= 0:
                    # No trade that could be booked: what is missing is asked for.
                    return self._apply(order, order.apply_cum(update.cum_qty_e8), recv_ns)
                fill = Fill(
                    trade_id=update.trade_id,
                    price_e8=update.last_price_e8,
                    qty_e8=update.last_qty_e8,
                    fee_e8=update.fee_e8,
                    fee_asset_id=self._assets.id_of(update.fee_asset or "USDT"),
                    is_maker=update.is_maker,
                )
                is_final = update.status is OrderStatus.FILLED
                return self.fill(order, fill, update.cum_qty_e8, recv_ns, venue_ns, is_final)
            case ExecType.AMENDMENT:
                kind = order.amended(update.price_e8, update.qty_e8, venue_ns, is_event=True)
                return self._apply(order, kind, recv_ns, venue_ns=venue_ns)
            case ExecType.CANCELED:
                state = OrderState.CANCELED
            case ExecType.EXPIRED:
                state = OrderState.EXPIRED
            case ExecType.UNKNOWN:
                # A word we never met: the order itself says how it stands.
                state = ORDER_STATES[update.status]
                if state < OrderState.FILLED:
                    return self._apply(order, order.unresolved(recv_ns), recv_ns)
        reason = order.cancel_reason
        return self._close(order, state, update.cum_qty_e8, reason, recv_ns, venue_ns)

    # -- queries --------------------------------------------------------------------------------

    def on_report(self, order: Order, report: OrderReport, now_ns: int) -> None:
        """The answer to a query about an order, or its line in a list."""
        was_unresolved, was_overfilled = order.state is OrderState.UNRESOLVED, order.is_overfilled
        kind = order.from_query(
            ORDER_STATES[report.status],
            report.cum_qty_e8,
            report.price_e8,
            report.qty_e8,
            report.venue_order_id,
            now_ns=now_ns,
            venue_ns=report.update_ns,
        )
        self._keeper.table.bind(order)
        reason = order.cancel_reason if kind is ExecKind.CANCELED else Reason.NONE
        news = self._apply(order, kind, now_ns, reason=reason)
        if was_unresolved and order.state is not OrderState.UNRESOLVED:
            self._page.count(counters.RESOLVED.id)
        elif news and report.update_ns > self.listening_ns:
            self._await_event(order, now_ns)
        self._note_overfill(order, was_overfilled)
        if not news and order.is_terminal and order.row >= 0:
            # Closed without a record of its own: filled, and the trades are still to be asked for.
            self._keeper.change(order, ExecKind.UNKNOWN, now_ns=now_ns)

    def on_trade(self, order: Order, trade: TradeReport, now_ns: int) -> None:
        """A trade from the account's history."""
        fill = Fill(
            trade_id=trade.trade_id,
            price_e8=trade.price_e8,
            qty_e8=trade.qty_e8,
            fee_e8=trade.fee_e8,
            fee_asset_id=self._assets.id_of(trade.fee_asset or "USDT"),
            is_maker=trade.is_maker,
        )
        self.fill(order, fill, 0, now_ns, trade.venue_ns, False)

    def trades_complete(self, order: Order, traded_qty_e8: int, now_ns: int) -> None:
        """The venue's whole list of an order's trades was gone through; their sum is given."""
        if order.trades_complete(traded_qty_e8):
            self._keeper.change(order, ExecKind.UNKNOWN, now_ns=now_ns)

    # -- orders that the books do not know ------------------------------------------------------

    def find(self, instrument_id: int, order_id: int, venue_order_id: int) -> Order | None:
        """The order that a message means, closed or not; ``order_id`` 0: not one of ours."""
        table = self._keeper.table
        own_id = own_order_id(order_id)
        found = table.find(own_id or foreign_order_id(instrument_id, venue_order_id))
        return found or (None if own_id else table.find_venue(instrument_id, venue_order_id))

    def adopt_report(self, report: OrderReport, now_ns: int, cum_qty_e8: int = 0) -> Order | None:
        """Take in an order from a query or a list; None: of no instrument of ours, or malformed.

        ``cum_qty_e8``: filled before anything that is still to be booked.
        """
        instrument_id = self._instruments.get(report.symbol)
        if instrument_id is None or not is_whole(report):
            self._page.count(counters.FOREIGN_EVENTS.id)
            return None
        order = self._new_order(instrument_id, report, cum_qty_e8, report.update_ns)
        self._adopt(order, now_ns, report.update_ns)
        return order

    def adopt_trade(self, instrument_id: int, trade: TradeReport) -> Order:
        """An order of which nothing is known but a trade; it is not entered into the table."""
        return Order.adopt(
            order_id=foreign_order_id(instrument_id, trade.venue_order_id),
            venue_order_id=trade.venue_order_id,
            instrument_id=instrument_id,
            side=trade.side,
            price_e8=trade.price_e8,
            qty_e8=trade.qty_e8,
            order_type=OrderType.UNKNOWN,
            tif=Tif.UNKNOWN,
            is_post_only=False,
            is_reduce_only=False,
            reason=Reason.FOREIGN_ORDER,
            trades=self._keeper.table.trades,
        )

    def _adopt_update(self, instrument_id: int, update: OrderUpdate, now_ns: int) -> Order:
        """Take in the order of an event, as it stood before the event."""
        is_trade = update.exec_type in (ExecType.TRADE, ExecType.CALCULATED)
        trades = self._keeper.table.trades
        is_repeated = is_trade and trades.knows(instrument_id, update.trade_id, update.side)
        before_e8 = max(0, update.cum_qty_e8 - update.last_qty_e8 * is_trade)
        order = self._new_order(instrument_id, update, before_e8, update.transaction_ns)
        is_open = ORDER_STATES[update.status] < OrderState.FILLED
        if is_open or (update.cum_qty_e8 and not is_repeated):
            self._adopt(order, now_ns, update.transaction_ns)
        else:
            # It ended and was forgotten, or nothing of it was ever filled: not worth a row.
            order.trades_complete(update.cum_qty_e8)
            order.from_query(
                ORDER_STATES[update.status],
                update.cum_qty_e8,
                update.price_e8,
                update.qty_e8,
                update.venue_order_id,
                now_ns=now_ns,
            )
            self._keeper.table.remember(order)
        return order

    def _new_order(
        self,
        instrument_id: int,
        source: OrderUpdate | OrderReport,
        cum_qty_e8: int,
        venue_ns: int,
    ) -> Order:
        own_id = own_order_id(source.order_id)
        reason = Reason.OWN_RECOVERY if own_id else foreign_reason(source.client_order_id)
        return Order.adopt(
            order_id=own_id or foreign_order_id(instrument_id, source.venue_order_id),
            venue_order_id=source.venue_order_id,
            instrument_id=instrument_id,
            side=source.side,
            price_e8=source.price_e8,
            qty_e8=max(source.qty_e8, cum_qty_e8),
            order_type=source.order_type,
            tif=source.tif,
            is_post_only=source.is_post_only,
            is_reduce_only=source.is_reduce_only,
            reason=reason,
            cum_qty_e8=cum_qty_e8,
            venue_ns=venue_ns,
            trades=self._keeper.table.trades,
        )

    def _adopt(self, order: Order, now_ns: int, venue_ns: int) -> None:
        if self._keeper.adopt(order, now_ns=now_ns, venue_ns=venue_ns):
            self._page.count(counters.ADOPTED.id)

    def never_accepted(self, order: Order, now_ns: int) -> None:
        """The venue cannot have the order any more."""
        if self._apply(order, order.never_accepted(), now_ns):
            self._page.count(counters.RESOLVED.id)

    def forgotten(self, order: Order, now_ns: int) -> None:
        """The venue had the order and does not know it any more; its trades are booked as ever."""
        if self._close(order, OrderState.EXPIRED, 0, Reason.VENUE_UNKNOWN_ORDER, now_ns):
            self._page.count(counters.RESOLVED.id)

    def not_sent(self, order: Order, reason: Reason, now_ns: int) -> None:
        """The order was journalled, but its bytes never left."""
        self._apply(order, order.dropped(reason), now_ns, reason=reason)

    def refused_unsent(self, order: Order, action: Action, now_ns: int) -> None:
        """A journalled amend or cancel never left: the order stands as it stood."""
        reason = Reason.SESSION_DOWN
        if action is Action.AMEND:
            kind = order.amend_rejected(reason)
        else:
            kind = order.cancel_rejected(reason)
        self._apply(order, kind, now_ns, reason=reason)

    def overdue(self, order: Order, now_ns: int) -> None:
        """A request stayed unanswered for too long."""
        self._apply(order, order.unresolved(now_ns), now_ns)

    # -- inside ---------------------------------------------------------------------------------

    def fill(
        self,
        order: Order,
        fill: Fill,
        cum_qty_e8: int,
        now_ns: int,
        venue_ns: int,
        is_final: bool,
    ) -> bool:
        """Apply one trade, once."""
        was_terminal, was_overfilled = order.is_terminal, order.is_overfilled
        kind = order.fill(fill.trade_id, fill.qty_e8, fill.price_e8, cum_qty_e8, is_final=is_final)
        self._note_overfill(order, was_overfilled)
        reason = Reason.OWN_OVERFILL if order.is_overfilled else _NONE
        is_end = order.is_terminal and not was_terminal and order.row >= 0
        if kind is _SILENT and is_end:
            # The trade was known, but not that it was the last one: the row has to go.
            self._keeper.change(order, ExecKind.UNKNOWN, now_ns=now_ns)
        return self._apply(order, kind, now_ns, fill=fill, venue_ns=venue_ns, reason=reason)

    def _note_overfill(self, order: Order, was_overfilled: bool) -> None:
        if order.is_overfilled and not was_overfilled:
            self._page.count(counters.OVERFILLS.id)
            self.doubtful.append(order)

    def _await_event(self, order: Order, now_ns: int) -> None:
        """The user stream has to speak of this as well, or it is silent."""
        if order.is_ours and len(self.awaited) < AWAITED_MAX:
            self.awaited.setdefault(order.order_id, now_ns)

    def _close(
        self,
        order: Order,
        state: OrderState,
        cum_qty_e8: int,
        reason: Reason,
        now_ns: int,
        venue_ns: int = 0,
    ) -> bool:
        if state is OrderState.FILLED:
            # No record of its own: the fills are its records, and missing ones are asked for.
            order.from_query(
                state, cum_qty_e8, order.price_e8, order.qty_e8, order.venue_order_id, now_ns=now_ns
            )
            self._keeper.change(order, ExecKind.UNKNOWN, now_ns=now_ns)
            return True
        if state is OrderState.EXPIRED:
            kind = order.expired(cum_qty_e8, reason)
        elif state is OrderState.REJECTED:
            kind = order.rejected(reason or Reason.VENUE_REJECTED)
        else:
            kind = order.canceled(cum_qty_e8, reason)
        return self._apply(order, kind, now_ns, venue_ns=venue_ns, reason=reason)

    def _apply(
        self,
        order: Order,
        kind: ExecKind,
        now_ns: int,
        *,
        fill: Fill | None = None,
        venue_ns: int = 0,
        reason: Reason = _NONE,
    ) -> bool:
        """Store what was learned; False when it was nothing new.

        Of an order without a row, closed or one too many, only trades matter.
        """
        if kind is _SILENT or (order.row < 0 and kind is not _IS_FILL):
            return False
        counter = _COUNTED.get(kind)
        if counter is not None:
            self._page.count(counter)
        is_fill = kind is _IS_FILL
        self._keeper.change(
            order,
            kind,
            now_ns=now_ns,
            fill=fill if is_fill else None,
            venue_ns=venue_ns,
            reason=reason,
        )
        return True


def is_whole(source: OrderUpdate | OrderReport) -> bool:
    """Whether a message about an order has what an order must have."""
    return source.venue_order_id > 0 and source.qty_e8 > 0 and source.side is not Side.NONE


def own_order_id(order_id: int) -> int:
    """The id if it can be one of ours, else 0."""
    return 0 if is_foreign(order_id) else order_id


def foreign_reason(client_order_id: str) -> Reason:
    """Whose an order is that is not ours."""
    for prefix, reason in FOREIGN_REASONS:
        if client_order_id.startswith(prefix):
            return reason
    return Reason.FOREIGN_ORDER
