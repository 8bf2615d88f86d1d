"""What the venue says of our orders, applied to the books: replies, user events, queries."""

from __future__ import annotations

from typing import Final, NamedTuple

from hft import counters
from hft.core.assets import AssetTable
from hft.core.orders import Order
from hft.records import Action, ExecKind, OrderState, Reason
from hft.roles.order_keeper import Fill, OrderKeeper
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.order_session import Reply
from hft.venues.binance_usdm.reports import OrderReport, TradeReport
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.wire import ORDER_STATES, ExecType, OrderStatus
from ipc import RolePage

REQUESTS_MAX: Final = 4_096
"""Unanswered requests that are remembered; an older one's answer finds nobody."""

_COUNTED: Final = {
    ExecKind.ACK: counters.ACKED,
    ExecKind.FILL: counters.FILLS,
    ExecKind.CANCELED: counters.CANCELED,
    ExecKind.REJECTED: counters.REJECTED,
    ExecKind.EXPIRED: counters.EXPIRED,
    ExecKind.CANCEL_REJECTED: counters.CANCEL_REJECTS,
    ExecKind.AMEND_REJECTED: counters.CANCEL_REJECTS,
    ExecKind.UNRESOLVED: counters.UNRESOLVED,
    ExecKind.NEVER_ACCEPTED: counters.NEVER_ACCEPTED,
}


class Request(NamedTuple):
    """A request on its way: whose, what for, since when."""

    order_id: int
    action: Action
    send_ns: int


class OrderEvents:
    """Applies every message to its order and keeps the books in step; decides nothing."""

    def __init__(self, page: RolePage, keeper: OrderKeeper) -> None:
        self._page = page
        self._keeper = keeper
        self._assets = AssetTable()
        self._requests: dict[int, Request] = {}
        self.orphans: list[OrderUpdate] = []
        """Open orders under our ids that the books do not know; execution cancels them."""

    # -- requests and their answers -------------------------------------------------------------

    def expect(self, request_id: int, order: Order, action: Action, send_ns: int) -> None:
        """Remember a request that is about to leave."""
        requests = self._requests
        requests[request_id] = Request(order.order_id, action, send_ns)
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
        self._page.set_gauge(counters.ROUND_TRIP_NS.id, recv_ns - request.send_ns)
        histogram = counters.CANCEL_NS if request.action is Action.CANCEL else counters.ACK_NS
        self._page.record_ns(histogram.id, recv_ns - request.send_ns)
        order = self._keeper.table.get(request.order_id)
        if order is None:
            self._page.count(counters.DUPLICATE_EVENTS.id)
        elif reply.code or reply.status != 200:
            self.refused(order, request.action, reply.code, reply.status, reply.message, recv_ns)
        else:
            self._done(order, request.action, reply.result, recv_ns)

    def _done(self, order: Order, action: Action, report: OrderReport | None, now_ns: int) -> None:
        """The venue did what was asked for."""
        venue_order_id = report.venue_order_id if report is not None else 0
        self._apply(order, order.acknowledge(venue_order_id, now_ns), now_ns)
        if report is None or order.is_terminal:
            return
        if action is Action.AMEND and report.qty_e8:
            kind = order.amended(report.price_e8, report.qty_e8, report.update_ns)
            self._apply(order, kind, now_ns)
        state = ORDER_STATES[report.status]
        if state >= OrderState.FILLED:
            self._close(order, state, report.cum_qty_e8, order.cancel_reason, now_ns)
        elif report.cum_qty_e8 > order.cum_qty_e8:
            self._apply(order, order.apply_cum(report.cum_qty_e8), now_ns)

    def refused(
        self, order: Order, action: Action, code: int, status: int, text: str, now_ns: int
    ) -> None:
        """The venue answered with an error: definite, or not."""
        fault = classify(code, status, text)
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
        if not update.order_id:
            self._page.count(counters.FOREIGN_EVENTS.id)
            return
        order = self._keeper.table.find(update.order_id)
        if order is None:
            self._page.count(counters.FOREIGN_EVENTS.id)
            self.orphans.append(update)
            return
        kind = order.acknowledge(update.venue_order_id, recv_ns)
        self._keeper.table.bind(order)
        news = self._apply(order, kind, recv_ns, venue_ns=update.transaction_ns)
        news |= self._apply_update(order, update, recv_ns)
        if not news:
            self._page.count(counters.DUPLICATE_EVENTS.id)

    def _apply_update(self, order: Order, update: OrderUpdate, recv_ns: int) -> bool:
        venue_ns = update.transaction_ns
        match update.exec_type:
            case ExecType.NEW:
                return False
            case ExecType.TRADE | ExecType.CALCULATED:
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
                kind = order.amended(update.price_e8, update.qty_e8, venue_ns)
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
        """The answer to a query about one of our orders."""
        was_unresolved = order.state is OrderState.UNRESOLVED
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
        news = self._apply(order, kind, now_ns)
        if was_unresolved and order.state is not OrderState.UNRESOLVED:
            self._page.count(counters.RESOLVED.id)
        if not news and order.is_terminal:
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

    def never_accepted(self, order: Order, now_ns: int) -> None:
        """The venue cannot have the order any more."""
        if self._apply(order, order.never_accepted(), now_ns):
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
        was_terminal = order.is_terminal
        kind = order.fill(fill.trade_id, fill.qty_e8, fill.price_e8, cum_qty_e8, is_final=is_final)
        if kind is ExecKind.UNKNOWN and order.is_terminal and not was_terminal:
            # The trade was known, but not that it was the last one: the row has to go.
            self._keeper.change(order, ExecKind.UNKNOWN, now_ns=now_ns)
        return self._apply(order, kind, now_ns, fill=fill, venue_ns=venue_ns)

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
        reason: Reason = Reason.NONE,
    ) -> bool:
        """Store what was learned; False when it was nothing new."""
        if kind is ExecKind.UNKNOWN:
            return False
        counter = _COUNTED.get(kind)
        if counter is not None:
            self._page.count(counter.id)
        is_fill = kind is ExecKind.FILL
        self._keeper.change(
            order,
            kind,
            now_ns=now_ns,
            fill=fill if is_fill else None,
            venue_ns=venue_ns,
            reason=reason,
        )
        return True
