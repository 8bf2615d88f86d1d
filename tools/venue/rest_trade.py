"""REST handlers of orders, accounts and listen keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from tools.venue import account_views as views
from tools.venue.accounts import ClientOrder
from tools.venue.errors import ApiError, missing, refuse
from tools.venue.exchange import Exchange
from tools.venue.orders import OrderDesk, Params, flag, integer
from tools.venue.request import Endpoint, Request, Security, by_symbol

BATCH_PLACE_MAX: Final = 5
BATCH_CANCEL_MAX: Final = 10
ROWS_DEFAULT: Final = 500
ROWS_MAX: Final = 1_000
WINDOW_MAX_MS: Final = 7 * 86_400_000
CANCELED_ALL: Final = {"code": 200, "msg": "The operation of cancel all open order is done."}
SUCCESS: Final = {"code": 200, "msg": "success"}


class TradeHandlers:
    """Order entry and order queries."""

    def __init__(self, exchange: Exchange, desk: OrderDesk) -> None:
        self._exchange = exchange
        self._desk = desk

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """Method and path to endpoint."""
        v1 = "/fapi/v1"
        trade, signed = Security.TRADE, Security.SIGNED
        return {
            ("POST", f"{v1}/order"): Endpoint(self.place, 0, trade, 1, 1),
            ("POST", f"{v1}/order/test"): Endpoint(self.test, 0, trade, 1, 1),
            ("PUT", f"{v1}/order"): Endpoint(self.amend, 0, trade, 1, 1),
            ("DELETE", f"{v1}/order"): Endpoint(self.cancel, 1, trade),
            ("GET", f"{v1}/order"): Endpoint(self.query, 1, signed),
            ("POST", f"{v1}/batchOrders"): Endpoint(self.place_batch, 5, trade, 5, 1),
            ("PUT", f"{v1}/batchOrders"): Endpoint(self.amend_batch, 5, trade, 5, 1),
            ("DELETE", f"{v1}/batchOrders"): Endpoint(self.cancel_batch, 1, trade),
            ("DELETE", f"{v1}/allOpenOrders"): Endpoint(self.cancel_all, 1, trade),
            ("POST", f"{v1}/countdownCancelAll"): Endpoint(self.countdown, 10, trade),
            ("GET", f"{v1}/openOrder"): Endpoint(self.open_order, 1, signed),
            ("GET", f"{v1}/openOrders"): Endpoint(self.open_orders, by_symbol(1, 40), signed),
            ("GET", f"{v1}/allOrders"): Endpoint(self.all_orders, 5, signed),
            ("GET", f"{v1}/userTrades"): Endpoint(self.user_trades, 5, signed),
            ("GET", f"{v1}/rateLimit/order"): Endpoint(self.order_limits, 1, signed),
        }

    def place(self, request: Request) -> Any:
        """New order."""
        return self._desk.place(
            request.owner, request.params, request.origin, stp_default="EXPIRE_MAKER"
        )

    def test(self, request: Request) -> Any:
        """All checks of a new order, and no order."""
        return self._desk.place(
            request.owner, request.params, stp_default="EXPIRE_MAKER", is_test=True
        )

    def amend(self, request: Request) -> Any:
        """Amend an order."""
        return self._desk.amend(request.owner, request.params, request.origin)

    def cancel(self, request: Request) -> Any:
        """Cancel an order."""
        return self._desk.cancel(request.owner, request.params, request.origin)

    def query(self, request: Request) -> Any:
        """One order."""
        return self._desk.query(request.owner, request.params)

    def place_batch(self, request: Request) -> Any:
        """Up to five new orders."""
        return self._batch(
            request,
            lambda p: self._desk.place(request.owner, p, request.origin, stp_default="NONE"),
        )

    def amend_batch(self, request: Request) -> Any:
        """Up to five amendments."""
        return self._batch(request, lambda p: self._desk.amend(request.owner, p, request.origin))

    def cancel_batch(self, request: Request) -> Any:
        """Up to ten cancels of one symbol."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        names = {"orderIdList": "orderId", "origClientOrderIdList": "origClientOrderId"}
        for list_name, name in names.items():
            text = request.params.get(list_name)
            if text:
                values = _json_list(text, list_name)
                if not values:
                    raise missing(list_name)
                if len(values) > BATCH_CANCEL_MAX:
                    raise refuse(-4032)
                return [
                    _attempt(self._desk.cancel, request, {"symbol": symbol, name: str(value)})
                    for value in values
                ]
        raise missing("orderIdList")

    def cancel_all(self, request: Request) -> Any:
        """Cancel the open orders of a symbol; algo orders stay."""
        self._exchange.cancel_all(request.owner, _symbol(request), request.origin)
        return CANCELED_ALL

    def countdown(self, request: Request) -> Any:
        """Dead man's switch of a symbol."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        countdown_ms = integer(request.params, "countdownTime")
        if countdown_ms is None or countdown_ms < 0:
            raise missing("countdownTime")
        key = (request.owner.account_id, symbol)
        self._exchange.countdowns.pop(key, None)
        if countdown_ms:
            self._exchange.countdowns[key] = self._exchange.clock_ms() + countdown_ms
        return {"symbol": symbol, "countdownTime": str(countdown_ms)}

    def open_order(self, request: Request) -> Any:
        """One open order."""
        self._exchange.market(_symbol(request))
        order = self._desk.find_open(request.owner, request.params)
        return self._desk.tell(order, with_prices=True)

    def open_orders(self, request: Request) -> Any:
        """Open orders of one symbol or all."""
        symbol = request.params.get("symbol")
        if symbol:
            self._exchange.market(symbol)
        return [
            self._desk.tell(order, with_prices=True)
            for name, orders in request.owner.open_orders.items()
            if not symbol or name == symbol
            for order in orders.values()
        ]

    def all_orders(self, request: Request) -> Any:
        """Orders of a symbol: from an id or time on, or the newest."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        start_ms, end_ms = time_window(request.params)
        first_id = integer(request.params, "orderId")
        orders: list[ClientOrder] = [
            order
            for order in request.owner.orders.values()
            if order.symbol == symbol
            and start_ms <= order.created_ms <= end_ms
            and (first_id is None or order.order_id >= first_id)
        ]
        limit = rows_max(request.params)
        chosen = orders[-limit:] if first_id is None else orders[:limit]
        return [
            self._desk.tell(order, with_prices=True) | {"pair": symbol, "cumBase": "0"}
            for order in chosen
        ]

    def user_trades(self, request: Request) -> Any:
        """Fills of a symbol: the oldest of the window, or from an id on; else the newest."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        params = request.params
        start_ms, end_ms = time_window(params)
        first_id, order_id = integer(params, "fromId"), integer(params, "orderId")
        if first_id is not None and (params.get("startTime") or params.get("endTime")):
            raise refuse(-1128, "Combination of optional parameters invalid.")
        fills = [
            fill
            for fill in request.owner.fills
            if fill.symbol == symbol
            and start_ms <= fill.time_ms <= end_ms
            and (first_id is None or fill.trade_id >= first_id)
            and (order_id is None or fill.order_id == order_id)
        ]
        limit = rows_max(params)
        is_oldest = first_id is not None or bool(params.get("startTime"))
        chosen = fills[:limit] if is_oldest else fills[-limit:]
        return [views.trade_row(self._exchange, fill) for fill in chosen]

    def order_limits(self, request: Request) -> Any:
        """The account's order limits."""
        limits = request.owner.order_limit
        return [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
             "limit": limits.ten_seconds.limit},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1,
             "limit": limits.minute.limit},
        ]  # fmt: skip

    def _batch(self, request: Request, act: Callable[[Params], dict[str, Any]]) -> Any:
        entries = _json_list(request.params.get("batchOrders", ""), "batchOrders")
        if not 0 < len(entries) <= BATCH_PLACE_MAX:
            raise refuse(-4082)
        replies: list[Any] = []
        for entry in entries:
            if not isinstance(entry, dict):
                raise missing("batchOrders")
            try:
                replies.append(act({k: _text(v) for k, v in entry.items()}))
            except ApiError as error:
                replies.append({"code": error.code, "msg": error.text})
        return replies


class AccountHandlers:
    """Settings, balances, histories and listen keys."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """Method and path to endpoint."""
        v1 = "/fapi/v1"
        trade, signed, key = Security.TRADE, Security.SIGNED, Security.KEY
        found = {
            ("POST", f"{v1}/listenKey"): Endpoint(self.start_listen_key, 1, key),
            ("PUT", f"{v1}/listenKey"): Endpoint(self.keep_listen_key, 1, key),
            ("DELETE", f"{v1}/listenKey"): Endpoint(self.end_listen_key, 1, key),
            ("POST", f"{v1}/leverage"): Endpoint(self.set_leverage, 1, trade),
            ("POST", f"{v1}/marginType"): Endpoint(self.set_margin_type, 1, trade),
            ("GET", f"{v1}/positionSide/dual"): Endpoint(self.position_mode, 30, signed),
            ("POST", f"{v1}/positionSide/dual"): Endpoint(self.set_position_mode, 1, trade),
            ("GET", f"{v1}/multiAssetsMargin"): Endpoint(self.multi_assets, 30, signed),
            ("POST", f"{v1}/multiAssetsMargin"): Endpoint(self.set_multi_assets, 1, trade),
            ("GET", f"{v1}/commissionRate"): Endpoint(self.commission_rate, 20, signed),
            ("GET", f"{v1}/leverageBracket"): Endpoint(self.leverage_bracket, 1, signed),
            ("GET", f"{v1}/income"): Endpoint(self.income, 30, signed),
            ("GET", f"{v1}/accountConfig"): Endpoint(self.account_config, 5, signed),
            ("GET", f"{v1}/symbolConfig"): Endpoint(self.symbol_config, 5, signed),
        }
        for version in (2, 3):
            base = f"/fapi/v{version}"
            found |= {
                ("GET", f"{base}/balance"): Endpoint(self.balance, 5, signed),
                ("GET", f"{base}/account"): Endpoint(self._versioned(self.account, version), 5,
                                                     signed),
                ("GET", f"{base}/positionRisk"): Endpoint(
                    self._versioned(self.position_risk, version), 5, signed),
            }  # fmt: skip
        return found

    def _versioned(
        self, handler: Callable[[Request, int], Any], version: int
    ) -> Callable[[Request], Any]:
        return lambda request: handler(request, version)

    def start_listen_key(self, request: Request) -> Any:
        """Create or prolong the account's listen key."""
        return {"listenKey": self._exchange.start_listen_key(request.owner)}

    def keep_listen_key(self, request: Request) -> Any:
        """Prolong the account's listen key."""
        return {"listenKey": self._exchange.keep_listen_key(request.owner)}

    def end_listen_key(self, request: Request) -> Any:
        """Close the account's listen key."""
        self._exchange.end_listen_key(request.owner)
        return {}

    def balance(self, request: Request) -> Any:
        """Balances by asset."""
        return views.balances(self._exchange, request.owner)

    def account(self, request: Request, version: int) -> Any:
        """Account information."""
        return views.account_status(self._exchange, request.owner, version=version)

    def position_risk(self, request: Request, version: int) -> Any:
        """Positions."""
        symbol = request.params.get("symbol", "")
        if symbol:
            self._exchange.market(symbol)
        return views.position_risk(self._exchange, request.owner, version=version, symbol=symbol)

    def set_leverage(self, request: Request) -> Any:
        """Change a symbol's leverage."""
        symbol = _symbol(request)
        market = self._exchange.market(symbol)
        leverage = integer(request.params, "leverage")
        if leverage is None:
            raise missing("leverage")
        if not 1 <= leverage <= market.rules.leverage_max:
            raise refuse(-4028, f"Leverage {leverage} is not valid")
        request.owner.leverages[symbol] = leverage
        self._exchange.events.leverage_update(request.owner, symbol, self._exchange.clock_ms())
        return {
            "leverage": leverage,
            "maxNotionalValue": str(views.BRACKET_CAP),
            "symbol": symbol,
        }

    def set_margin_type(self, request: Request) -> Any:
        """Change a symbol's margin type. It is told everywhere, but the wallet backs all alike."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        kind = request.params.get("marginType", "")
        if kind not in ("ISOLATED", "CROSSED"):
            raise missing("marginType")
        account = request.owner
        if (kind == "ISOLATED") == (symbol in account.isolated):
            raise refuse(-4046)
        if account.opened(symbol):
            raise refuse(-4047)
        if account.position(symbol).qty_e8:
            raise refuse(-4048)
        if kind == "ISOLATED":
            account.isolated.add(symbol)
        else:
            account.isolated.discard(symbol)
        return SUCCESS

    def position_mode(self, request: Request) -> Any:
        """One-way or hedge mode."""
        return {"dualSidePosition": request.owner.is_hedged}

    def set_position_mode(self, request: Request) -> Any:
        """Change the position mode. Orders are taken in one-way mode only."""
        wanted = flag(request.params, "dualSidePosition")
        account = request.owner
        if wanted == account.is_hedged:
            raise refuse(-4059)
        if any(account.open_orders.values()):
            raise refuse(-4067)
        if any(position.qty_e8 for position in account.positions.values()):
            raise refuse(-4068)
        account.is_hedged = wanted
        return SUCCESS

    def multi_assets(self, request: Request) -> Any:
        """Margin mode."""
        return {"multiAssetsMargin": request.owner.is_multi_assets}

    def set_multi_assets(self, request: Request) -> Any:
        """Change the margin mode; with one margin asset it makes no other difference."""
        wanted = flag(request.params, "multiAssetsMargin")
        account = request.owner
        if wanted == account.is_multi_assets:
            raise refuse(-4171)
        account.is_multi_assets = wanted
        self._exchange.events.multi_assets_update(account, self._exchange.clock_ms())
        return SUCCESS

    def commission_rate(self, request: Request) -> Any:
        """The account's fees."""
        symbol = _symbol(request)
        self._exchange.market(symbol)
        return views.commission_rate(request.owner, symbol)

    def leverage_bracket(self, request: Request) -> Any:
        """Brackets of one symbol or all."""
        symbol = request.params.get("symbol")
        markets = [self._exchange.market(symbol)] if symbol else self._exchange.markets.values()
        return [views.leverage_bracket(market) for market in markets]

    def income(self, request: Request) -> Any:
        """Income history, oldest first."""
        params = request.params
        start_ms, end_ms = time_window(params)
        symbol, kind = params.get("symbol"), params.get("incomeType")
        rows = [
            views.income_row(income)
            for income in request.owner.incomes
            if start_ms <= income.time_ms <= end_ms
            and (not symbol or income.symbol == symbol)
            and (not kind or income.kind == kind)
        ]
        limit = min(integer(params, "limit") or 100, ROWS_MAX)
        return rows[:limit] if params.get("startTime") else rows[-limit:]

    def account_config(self, request: Request) -> Any:
        """Settings of the account."""
        return views.account_config(request.owner)

    def symbol_config(self, request: Request) -> Any:
        """Settings of one symbol or all."""
        symbol = request.params.get("symbol")
        markets = [self._exchange.market(symbol)] if symbol else self._exchange.markets.values()
        return [views.symbol_config(request.owner, market) for market in markets]


def _symbol(request: Request) -> str:
    symbol = request.params.get("symbol", "")
    if not symbol:
        raise missing("symbol")
    return symbol


def rows_max(params: Params) -> int:
    """How many rows a history query may return."""
    return min(integer(params, "limit") or ROWS_DEFAULT, ROWS_MAX)


def time_window(params: Params) -> tuple[int, int]:
    """The time window of a history query, everything when not given."""
    start_ms, end_ms = integer(params, "startTime"), integer(params, "endTime")
    if start_ms is not None and end_ms is not None:
        if start_ms > end_ms:
            raise refuse(-1023, "Start time is greater than end time.")
        if end_ms - start_ms > WINDOW_MAX_MS:
            raise refuse(-4165, "Invalid time interval. The maximum time interval is 7 days")
    first_ms = start_ms or 0
    return first_ms, end_ms if end_ms is not None else 2**62


def _json_list(text: str, name: str) -> list[Any]:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise missing(name) from None
    if not isinstance(values, list):
        raise missing(name)
    return values


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _attempt(
    act: Callable[..., dict[str, Any]], request: Request, params: Params
) -> dict[str, Any]:
    """An element of a batch: its reply or its error."""
    try:
        return act(request.owner, params, request.origin)
    except ApiError as error:
        return {"code": error.code, "msg": error.text}
