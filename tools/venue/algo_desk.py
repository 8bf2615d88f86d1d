"""Entry and life of conditional orders: checks, triggers, and what becomes of them.

The order that a triggered one becomes has the same client id and goes the way of every order; it
is then that margin, filters and reduce-only are looked at. A refusal there ends the conditional
order as REJECTED. One that closes the position and finds none ends as EXPIRED.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from hft.core.matching import StpMode
from hft.units import E8, format_e8
from tools.venue.accounts import Account
from tools.venue.algo_orders import (
    ALGO_TYPES,
    LAST_PRICE,
    LIMIT_TYPES,
    MARK_PRICE,
    TRAILING,
    AlgoOrder,
)
from tools.venue.encode import average_price, fixed
from tools.venue.errors import ApiError, missing, not_required, refuse
from tools.venue.exchange import Exchange
from tools.venue.filters import check_client_id, check_price, check_qty, decimal_e8
from tools.venue.history import Origin
from tools.venue.market import TRADING, SymbolMarket
from tools.venue.orders import PRICE_MATCHES, OrderDesk, Params, flag, integer, required, side_of
from tools.venue.request import NOBODY

FIRST_ALGO_ID: Final = 4_000_001_910_000_000
OPEN_MAX: Final = 200
"""Of an account, over all symbols."""
TIFS: Final = ("GTC", "IOC", "FOK", "GTX", "GTE_GTC")
CALLBACK_LEAST_E8: Final = E8 // 10
CALLBACK_MOST_E8: Final = 20 * E8
"""Callback rates in percent."""
TRIGGER_PROTECT_E8: Final = E8 // 20
"""A protected order waits while mark and last price are further apart than one part in twenty."""


class AlgoDesk:
    """Takes conditional orders in, watches prices for them and turns them into orders."""

    def __init__(self, exchange: Exchange, desk: OrderDesk) -> None:
        self._exchange = exchange
        self._desk = desk
        self._last_algo_id = FIRST_ALGO_ID
        self._waiting: dict[str, dict[int, AlgoOrder]] = {}
        self._triggered: list[AlgoOrder] = []

    # Entry.

    def place(self, account: Account, params: Params, origin: Origin = NOBODY) -> dict[str, Any]:
        """A new conditional order.

        Raises:
            ApiError: refused, by the first check that fails.
        """
        self._exchange.orders_received += 1
        if required(params, "algoType") != "CONDITIONAL":
            raise missing("algoType")
        market = self._exchange.market(required(params, "symbol"))
        algo = self._build(account, market, params, origin)
        if market.status != TRADING:
            raise refuse(-4140)
        self._check(account, market, algo)
        self._last_algo_id += 1
        algo.algo_id = self._last_algo_id
        account.algo_orders[algo.algo_id] = algo
        account.open_algo_orders[algo.algo_id] = algo
        self._waiting.setdefault(algo.symbol, {})[algo.algo_id] = algo
        market.on_price = partial(self._see_price, market, LAST_PRICE)
        if algo.type == TRAILING:
            algo.see(self._price(market, algo))
        self._tell(algo)
        return self.row(algo)

    def cancel(self, account: Account, params: Params, origin: Origin = NOBODY) -> dict[str, Any]:
        """Cancel a conditional order that has not been triggered.

        Raises:
            ApiError: -2011 when there is none.
        """
        algo = self._find(account, params)
        if algo is None or algo.status != "NEW":
            raise refuse(-2011)
        self._cancel(algo, origin)
        return {
            "algoId": algo.algo_id,
            "clientAlgoId": algo.client_algo_id,
            "code": "200",
            "msg": "success",
        }

    def cancel_all(self, account: Account, symbol: str, origin: Origin = NOBODY) -> None:
        """Cancel the account's conditional orders of a symbol.

        Raises:
            ApiError: -1121.
        """
        self._exchange.market(symbol)
        for algo in list(account.open_algo_orders.values()):
            if algo.symbol == symbol and algo.status == "NEW":
                self._cancel(algo, origin)

    def query(self, account: Account, params: Params) -> dict[str, Any]:
        """A conditional order, open or not.

        Raises:
            ApiError: -2013 when there is none.
        """
        algo = self._find(account, params)
        if algo is None:
            raise refuse(-2013)
        return self.row(algo) | self._outcome(algo)

    def row(self, algo: AlgoOrder) -> dict[str, Any]:
        """A conditional order as replies show it."""
        rules = self._exchange.markets[algo.symbol].rules
        places = rules.price_places
        is_trailing = algo.type == TRAILING
        return {
            "algoId": algo.algo_id,
            "clientAlgoId": algo.client_algo_id,
            "algoType": "CONDITIONAL",
            "orderType": algo.type,
            "symbol": algo.symbol,
            "side": algo.side.name,
            "positionSide": "BOTH",
            "timeInForce": algo.tif_text,
            "quantity": fixed(algo.qty_e8, rules.qty_places),
            "algoStatus": algo.status,
            "triggerPrice": fixed(algo.trigger_e8, places),
            "price": fixed(algo.price_e8, places),
            "icebergQuantity": None,
            "selfTradePreventionMode": algo.stp_text,
            "workingType": algo.working_type,
            "priceMatch": algo.price_match,
            "closePosition": algo.closes_position,
            "priceProtect": algo.is_price_protected,
            "reduceOnly": algo.is_reduce_only,
            "activatePrice": fixed(algo.activate_e8, places) if algo.activate_e8 else "",
            "callbackRate": format_e8(100 * algo.callback_e8) if is_trailing else "",
            "createTime": algo.created_ms,
            "updateTime": algo.updated_ms,
            "triggerTime": algo.trigger_ms,
            "goodTillDate": 0,
        }

    def open_row(self, algo: AlgoOrder) -> dict[str, Any]:
        """As ``openAlgoOrders`` lists it."""
        outcome = self._outcome(algo)
        chosen = {name: outcome[name] for name in ("actualOrderId", "actualQty")}
        return self.row(algo) | chosen | {"isActivated": algo.is_activated}

    def history_row(self, algo: AlgoOrder) -> dict[str, Any]:
        """As ``allAlgoOrders`` lists it."""
        outcome = self._outcome(algo)
        chosen = {name: outcome[name] for name in ("actualOrderId", "actualPrice")}
        return self.row(algo) | chosen | {"tpOrderType": ""}

    # Time and prices.

    def turn(self) -> None:
        """Act on prices that came by: one step of each conditional order per turn."""
        if not self._waiting and not self._triggered:
            return
        for algo in self._triggered:
            if algo.status == "TRIGGERING":
                self._become_order(algo)
            elif self._is_child_final(algo):
                self._end(algo, "FINISHED")
        self._triggered = [a for a in self._triggered if a.status in ("TRIGGERING", "TRIGGERED")]
        for symbol, waiting in list(self._waiting.items()):
            market = self._exchange.markets[symbol]
            self._see_price(market, MARK_PRICE)
            if market.status != TRADING:
                continue
            for algo in [a for a in waiting.values() if a.is_due]:
                self._trigger(market, algo)

    def _see_price(self, market: SymbolMarket, working_type: str) -> None:
        """A price of that type; trailing orders that it activated are told again."""
        for algo in self._waiting.get(market.rules.symbol, {}).values():
            if algo.working_type == working_type and not algo.is_due:
                was_activated = algo.is_activated
                algo.see(self._price(market, algo))
                if algo.is_activated and not was_activated:
                    self._tell(algo)

    def _trigger(self, market: SymbolMarket, algo: AlgoOrder) -> None:
        apart_e8 = abs(market.mark_e8 - market.last_price_e8)
        if algo.is_price_protected and apart_e8 * E8 > market.mark_e8 * TRIGGER_PROTECT_E8:
            algo.is_due = False
            return
        self._stop_waiting(algo)
        algo.trigger_ms = self._exchange.clock_ms()
        algo.status = "TRIGGERING"
        self._triggered.append(algo)
        self._tell(algo)

    def _become_order(self, algo: AlgoOrder) -> None:
        account = self._exchange.books.by_id(algo.account_id)
        rules = self._exchange.markets[algo.symbol].rules
        qty_e8 = algo.qty_e8
        if algo.closes_position:
            qty_e8 = max(0, -algo.side * account.position(algo.symbol).qty_e8)
            if not qty_e8:
                self._end(algo, "EXPIRED")
                return
        params = {
            "symbol": algo.symbol,
            "side": algo.side.name,
            "type": "LIMIT" if algo.is_limit else "MARKET",
            "quantity": fixed(qty_e8, rules.qty_places),
            "reduceOnly": "true" if algo.is_reduce_only else "false",
            "newClientOrderId": algo.client_algo_id,
            "selfTradePreventionMode": algo.stp_text,
        }
        if algo.is_limit:
            params["timeInForce"] = "GTC" if algo.tif_text == "GTE_GTC" else algo.tif_text
            if algo.price_match == "NONE":
                params["price"] = fixed(algo.price_e8, rules.price_places)
            else:
                params["priceMatch"] = algo.price_match
        try:
            reply = self._desk.place(account, params, algo.origin, stp_default="NONE")
        except ApiError as error:
            algo.reason = error.text
            self._end(algo, "REJECTED")
            return
        algo.order_id = reply["orderId"]
        algo.status = "TRIGGERED"
        algo.updated_ms = self._exchange.clock_ms()
        account.open_algo_orders.pop(algo.algo_id, None)
        self._tell(algo)

    # Helpers.

    def _build(
        self, account: Account, market: SymbolMarket, params: Params, origin: Origin
    ) -> AlgoOrder:
        """Parameters to a conditional order: syntax and filters, but no prices."""
        side = side_of(params)
        kind = required(params, "type")
        if kind not in ALGO_TYPES:
            raise refuse(-1116)
        if (params.get("positionSide", "BOTH") == "BOTH") == account.is_hedged:
            raise refuse(-4061)
        if account.is_hedged:
            raise refuse(-4084)
        stp_text = params.get("selfTradePreventionMode", "NONE")
        if stp_text not in StpMode.__members__:
            raise refuse(-5039)
        working_type = params.get("workingType", LAST_PRICE)
        if working_type not in (LAST_PRICE, MARK_PRICE):
            raise refuse(-4031)
        closes_position = _closes_position(kind, params)
        tif_text = "GTE_GTC" if closes_position else params.get("timeInForce", "GTC")
        if tif_text not in TIFS:
            raise refuse(-1115)
        client_id = params.get("clientAlgoId", "")
        if client_id:
            check_client_id(client_id, "clientAlgoId")
        price_match = params.get("priceMatch") or "NONE"
        qty_e8 = 0 if closes_position else _qty_e8(market, kind, params)
        now_ms = self._exchange.clock_ms()
        is_trailing = kind == TRAILING
        return AlgoOrder(
            algo_id=0,
            account_id=account.account_id,
            symbol=market.rules.symbol,
            side=side,
            type=kind,
            client_algo_id=client_id or f"venue-{now_ms:x}-{self._exchange.orders_received}",
            tif_text=tif_text,
            qty_e8=qty_e8,
            price_e8=_limit_price_e8(market, kind, price_match, params),
            trigger_e8=0 if is_trailing else _price_e8(market, params, "triggerPrice"),
            working_type=working_type,
            price_match=price_match,
            stp_text=stp_text,
            is_reduce_only=closes_position or flag(params, "reduceOnly"),
            closes_position=closes_position,
            is_price_protected=flag(params, "priceProtect"),
            activate_e8=_price_e8(market, params, "activatePrice")
            if is_trailing and params.get("activatePrice")
            else 0,
            callback_e8=_callback_e8(params) if is_trailing else 0,
            created_ms=now_ms,
            updated_ms=now_ms,
            origin=origin,
        )

    def _check(self, account: Account, market: SymbolMarket, algo: AlgoOrder) -> None:
        """Against prices and what is open.

        Raises:
            ApiError: -2021, -4135, -4116, -4130, -4045.
        """
        price_e8 = self._price(market, algo)
        if algo.type == TRAILING:
            if algo.activate_e8 and (algo.activate_e8 - price_e8) * algo.side > 0:
                raise refuse(-4135)
        elif algo.would_trigger(price_e8):
            raise refuse(-2021)
        for other in account.open_algo_orders.values():
            if other.client_algo_id == algo.client_algo_id:
                raise refuse(-4116)
            is_alike = (other.symbol, other.side) == (algo.symbol, algo.side)
            is_alike = is_alike and other.is_stop is algo.is_stop
            if algo.closes_position and other.closes_position and is_alike:
                raise refuse(-4130)
        if len(account.open_algo_orders) >= OPEN_MAX:
            raise refuse(-4045)

    def _find(self, account: Account, params: Params) -> AlgoOrder | None:
        algo_id, client_id = integer(params, "algoId"), params.get("clientAlgoId")
        if algo_id is not None:
            return account.algo_orders.get(algo_id)
        if not client_id:
            raise missing("algoId")
        named = [a for a in account.algo_orders.values() if a.client_algo_id == client_id]
        return named[-1] if named else None

    def _price(self, market: SymbolMarket, algo: AlgoOrder) -> int:
        return market.mark_e8 if algo.working_type == MARK_PRICE else market.last_price_e8

    def _cancel(self, algo: AlgoOrder, origin: Origin) -> None:
        algo.cancel_origin = origin
        self._stop_waiting(algo)
        self._end(algo, "CANCELED")

    def _stop_waiting(self, algo: AlgoOrder) -> None:
        waiting = self._waiting[algo.symbol]
        del waiting[algo.algo_id]
        if not waiting:
            del self._waiting[algo.symbol]
            self._exchange.markets[algo.symbol].on_price = None

    def _end(self, algo: AlgoOrder, status: str) -> None:
        algo.status = status
        algo.updated_ms = self._exchange.clock_ms()
        account = self._exchange.books.by_id(algo.account_id)
        account.open_algo_orders.pop(algo.algo_id, None)
        self._tell(algo)

    def _is_child_final(self, algo: AlgoOrder) -> bool:
        account = self._exchange.books.by_id(algo.account_id)
        return algo.order_id not in account.opened(algo.symbol)

    def _outcome(self, algo: AlgoOrder) -> dict[str, str]:
        """What became of the order it became."""
        rules = self._exchange.markets[algo.symbol].rules
        account = self._exchange.books.by_id(algo.account_id)
        order = account.orders.get(algo.order_id)
        filled_e8, quote_e8 = (order.filled_e8, order.quote_e8) if order else (0, 0)
        return {
            "actualOrderId": str(order.order_id) if order else "",
            "actualPrice": average_price(quote_e8, filled_e8, min(8, rules.price_places + 3)),
            "actualQty": fixed(filled_e8, rules.qty_places),
            "actualType": order.type if order else "",
        }

    def _tell(self, algo: AlgoOrder) -> None:
        account = self._exchange.books.by_id(algo.account_id)
        order = account.orders.get(algo.order_id)
        self._exchange.events.algo_update(account, algo, order, self._exchange.clock_ms())


def _closes_position(kind: str, params: Params) -> bool:
    """Whether it closes the position.

    Raises:
        ApiError: -4136 not a market type, -4137 with a quantity, -4138 with reduceOnly.
    """
    if not flag(params, "closePosition"):
        return False
    if kind in LIMIT_TYPES or kind == TRAILING:
        raise refuse(-4136)
    if params.get("quantity"):
        raise refuse(-4137)
    if flag(params, "reduceOnly"):
        raise refuse(-4138)
    return True


def _qty_e8(market: SymbolMarket, kind: str, params: Params) -> int:
    rules = market.rules
    qty_e8 = decimal_e8(required(params, "quantity"), "quantity", rules.qty_places)
    check_qty(rules, qty_e8, is_market=kind not in LIMIT_TYPES)
    return qty_e8


def _price_e8(market: SymbolMarket, params: Params, name: str) -> int:
    """A trigger or activation price: above 0, on no grid."""
    price_e8 = decimal_e8(required(params, name), name, market.rules.price_places)
    if price_e8 <= 0:
        raise refuse(-4006)
    return price_e8


def _limit_price_e8(market: SymbolMarket, kind: str, price_match: str, params: Params) -> int:
    """The limit price of STOP and TAKE_PROFIT; 0 when it is taken from the book on trigger."""
    if kind not in LIMIT_TYPES:
        for name in ("price", "priceMatch"):
            if params.get(name):
                raise not_required(name)
        return 0
    if price_match != "NONE":
        if params.get("price"):
            raise not_required("price")
        if price_match not in PRICE_MATCHES:
            raise refuse(-5037)
        return 0
    price_e8 = decimal_e8(required(params, "price"), "price", market.rules.price_places)
    check_price(market.rules, price_e8)
    return price_e8


def _callback_e8(params: Params) -> int:
    """The callback rate as a fraction; it is given in percent, 0.1 to 20.

    Raises:
        ApiError: -1102, -1100, -1111.
    """
    percent_e8 = decimal_e8(required(params, "callbackRate"), "callbackRate", 2)
    if not CALLBACK_LEAST_E8 <= percent_e8 <= CALLBACK_MOST_E8:
        raise missing("callbackRate")
    return percent_e8 // 100
