"""Faults of requests: refused, lost, executed late, overtaken by a fill.

They stand behind authentication and limits, as the venue's own failures do. The gate of the
exchange is set only while one of them is at work.
"""

from __future__ import annotations

from typing import Any, Final

from hft.records import Side
from tools.venue.accounts import Account, ClientOrder
from tools.venue.auth import RECV_WINDOW_DEFAULT_MS
from tools.venue.errors import ApiError, refuse
from tools.venue.exchange import Exchange
from tools.venue.fault_kinds import SCOPES
from tools.venue.fault_ledger import Agenda, Fault, Ledger
from tools.venue.market import NS_PER_MS, SNAPSHOT_LEVELS_MAX, TRADING
from tools.venue.orders import OrderDesk
from tools.venue.request import Handler, NoReplyError, Request

FIXED_SCOPES: Final = {
    "overload": "new",
    "stale_snapshot": "depth",
    "fill_before_ack": "new",
    "fill_before_cancel": "cancel",
    "fill_before_amend": "amend",
}
REFUSALS: Final = {
    "unknown_error": (
        -1000,
        "Unknown error, please check your request or try again later.",
        503,
    ),
    "unavailable": (-1001, "Service Unavailable.", 503),
    "internal_error": (
        -1001,
        "Internal error; unable to process your request. Please try again.",
        503,
    ),
    "timeout": (
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status "
        "unknown.",
        408,
    ),
    "http_408": (-1007, "Request Timeout", 408),
    "overload": (
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
        503,
    ),
}
MAY_BE_EXECUTED: Final = ("unknown_error", "http_408", "lost_ack")


class RequestFaults:
    """All faults at work on requests."""

    def __init__(self, exchange: Exchange, desk: OrderDesk, agenda: Agenda, ledger: Ledger) -> None:
        self._exchange = exchange
        self._desk = desk
        self._agenda = agenda
        self._ledger = ledger
        self._faults: list[Fault] = []
        self._snapshots: dict[Fault, bytes] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no fault is at work on requests."""
        return not self._faults

    def begin(self, fault: Fault) -> None:
        """Put a fault to work."""
        self._faults.append(fault)
        if fault.kind == "stale_snapshot":
            market = self._exchange.markets[fault.choice.symbol]
            body = market.snapshot(SNAPSHOT_LEVELS_MAX, self._exchange.clock_ms())
            self._snapshots[fault] = body.encode()
        self._exchange.gate = self

    def turn(self) -> None:
        """Forget what is over, and open the way when nothing is left."""
        if not self._faults:
            return
        now_s = self._agenda.clock_s()
        self._faults = [fault for fault in self._faults if not fault.is_over(now_s)]
        self._snapshots = {f: body for f, body in self._snapshots.items() if f in self._faults}
        if not self._faults:
            self._exchange.gate = None

    def handle(self, handler: Handler, request: Request, name: str) -> Any:
        """The first fault that fits has its way with the request.

        Raises:
            ApiError: refused, executed or not.
            NoReplyError: no reply, executed or not.
        """
        now_s = self._agenda.clock_s()
        for fault in self._faults:
            if not fault.is_over(now_s) and self._fits(fault, request, name):
                return self._apply(fault, handler, request, name)
        return handler(request)

    def _fits(self, fault: Fault, request: Request, name: str) -> bool:
        names = SCOPES[FIXED_SCOPES.get(fault.kind, fault.choice.scope)].names
        if names and name.removeprefix("v1/") not in names:
            return False
        params = request.params
        symbol = fault.choice.symbol
        if symbol and "batchOrders" not in params and params.get("symbol", symbol) != symbol:
            return False
        match fault.kind:
            case "overload":
                return params.get("reduceOnly", "").lower() != "true"
            case "fill_before_cancel" | "fill_before_amend":
                order = self._named_order(request)
                return order is not None and self._exchange.market(order.symbol).status == TRADING
        return True

    def _apply(self, fault: Fault, handler: Handler, request: Request, name: str) -> Any:
        executes = fault.choice.executes
        detail = f"{name} {request.params.get('newClientOrderId', '')}".rstrip()
        match fault.kind:
            case "fill_before_ack":
                return self._fill_before_ack(fault, handler, request)
            case "fill_before_cancel" | "fill_before_amend":
                order = self._named_order(request)
                assert order is not None
                self._ledger.hit(fault, order.client_order_id)
                fill_resting(self._exchange, order, order.leaves_qty_e8)
                return handler(request)
            case "stale_snapshot":
                self._ledger.hit(fault)
                return self._snapshots[fault]
            case "bad_timestamp":
                self._ledger.hit(fault, detail)
                raise refuse(-1021)
            case kind if kind in MAY_BE_EXECUTED:
                self._ledger.hit(fault, f"{detail} {'executed' if executes else 'not executed'}")
                if executes:
                    self._execute(handler, request)
            case "timeout" if executes:
                delay_ms = fault.random.randint(1, max(1, self._window_left_ms(request)))
                self._ledger.hit(fault, f"{detail} executed {delay_ms} ms later")
                self._agenda.after(delay_ms / 1000, lambda: self._execute(handler, request))
            case _:
                self._ledger.hit(fault, detail)
        if fault.kind == "lost_ack":
            raise NoReplyError
        code, text, status = REFUSALS[fault.kind]
        raise ApiError(code, text, status=status, is_gateway=fault.kind == "http_408")

    def _fill_before_ack(self, fault: Fault, handler: Handler, request: Request) -> Any:
        reply = handler(request)
        # Of a batch the first that rests; refused ones have no order id.
        rows = reply if isinstance(reply, list) else [reply]
        account = request.owner
        for row in rows:
            order = account.orders.get(row.get("orderId", 0))
            if order is not None and order.is_resting:
                qty_e8 = order.leaves_qty_e8
                if not fault.choice.executes:
                    qty_e8 = part_of(self._exchange, order)
                self._ledger.hit(fault, order.client_order_id)
                fill_resting(self._exchange, order, qty_e8)
                break
        return reply

    def _execute(self, handler: Handler, request: Request) -> None:
        """Do what was asked; nobody hears of a refusal."""
        try:
            handler(request)
        except ApiError:
            return

    def _window_left_ms(self, request: Request) -> int:
        """Until the request's recvWindow ends: beyond it the engine would refuse."""
        params = request.params
        window_ms = int(params.get("recvWindow", RECV_WINDOW_DEFAULT_MS))
        # A logged-on session's request may come without a timestamp only where none is checked.
        sent_ms = int(params.get("timestamp", self._exchange.clock_ms()))
        return window_ms - max(0, self._exchange.clock_ms() - sent_ms)

    def _named_order(self, request: Request) -> ClientOrder | None:
        """The resting order a cancel or amendment names."""
        account: Account = request.owner
        order_id = request.params.get("orderId", "")
        if order_id.isdigit():
            order = account.orders.get(int(order_id))
        else:
            order = account.open_client_ids.get(request.params.get("origClientOrderId", ""))
        return order if order is not None and order.is_resting else None


def part_of(exchange: Exchange, order: ClientOrder) -> int:
    """About half of what is open of an order, in whole steps; all of it when it is one step."""
    step_e8 = exchange.markets[order.symbol].rules.step_e8
    return max(step_e8, order.leaves_qty_e8 // 2 // step_e8 * step_e8)


def fill_resting(exchange: Exchange, order: ClientOrder, qty_e8: int) -> None:
    """Somebody trades with this order; own orders at better prices have to be filled first."""
    market = exchange.markets[order.symbol]
    book = market.book
    before_e8 = order.ahead_e8
    for other in book.orders.values():
        is_better = (other.price_e8 - order.price_e8) * order.side > 0
        is_earlier = other.price_e8 == order.price_e8 and other.rank < order.rank
        if other.side is order.side and (is_better or is_earlier):
            before_e8 += other.leaves_qty_e8
    now_ms = exchange.clock_ms()
    side = Side(-order.side)
    market.apply(book.print_trade(side, order.price_e8, before_e8 + qty_e8, now_ms * NS_PER_MS))
    market.commit(now_ms)
