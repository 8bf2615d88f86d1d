"""Order entry, shared by REST and WebSocket API: parameters, checks in the venue's order, reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hft.core.matching import Reject, StpMode
from hft.records import Side, Tif
from hft.units import E8, INT64_MAX
from tools.venue.accounts import (
    Account,
    ClientOrder,
    account_margin,
    available_e8,
    symbol_margin,
)
from tools.venue.algo_orders import ALGO_TYPES
from tools.venue.encode import average_price, fixed
from tools.venue.errors import ApiError, missing, not_required, refuse
from tools.venue.exchange import Exchange
from tools.venue.filters import (
    check_client_id,
    check_notional,
    check_percent_price,
    check_price,
    check_qty,
    decimal_e8,
    market_bound_e8,
)
from tools.venue.history import Amendment, Origin
from tools.venue.market import NS_PER_MS, TRADING, SymbolMarket
from tools.venue.request import NOBODY

SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
TIFS: Final = {"GTC": Tif.GTC, "GTX": Tif.GTC, "GTD": Tif.GTC, "IOC": Tif.IOC, "FOK": Tif.FOK}
PRICE_MATCHES: Final = {
    "OPPONENT": (True, 1),
    "OPPONENT_5": (True, 5),
    "QUEUE": (False, 1),
    "QUEUE_5": (False, 5),
    "QUEUE_10": (False, 10),
    "QUEUE_20": (False, 20),
}
"""Whether it looks at the other side of the book, and at which level."""
AMENDS_MAX: Final = 10_000
GOOD_TILL_LEAST_MS: Final = 600_000
GOOD_TILL_MOST_MS: Final = 253_402_300_799_000
UNFILLED_KEPT_MS: Final = 3 * 86_400_000
REJECT_CODES: Final = {
    Reject.POST_ONLY_WOULD_TAKE: -5022,
    Reject.FILL_OR_KILL: -5021,
    Reject.REDUCE_ONLY: -2022,
}
Params = Mapping[str, str]


def integer(params: Params, name: str) -> int | None:
    """An optional integer parameter.

    Raises:
        ApiError: -1102 when it is not one.
    """
    text = params.get(name)
    if text is None:
        return None
    if not text.lstrip("-").isdigit() or abs(int(text)) > INT64_MAX:
        raise missing(name)
    return int(text)


def flag(params: Params, name: str) -> bool:
    """An optional boolean parameter, false when absent.

    Raises:
        ApiError: -1102 when it is neither true nor false.
    """
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise missing(name)
    return text == "true"


class OrderDesk:
    """Places, amends, cancels and tells orders of any account."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    # Entry.

    def place(
        self,
        account: Account,
        params: Params,
        origin: Origin = NOBODY,
        *,
        stp_default: str,
        is_test: bool = False,
    ) -> dict[str, Any]:
        """A new order; the reply has neither average price nor quote quantity.

        Raises:
            ApiError: refused, by the first check that fails.
        """
        self._exchange.orders_received += 1
        market = self._exchange.market(required(params, "symbol"))
        order = self._build(account, market, params, stp_default)
        if market.status != TRADING:
            raise refuse(-4140)
        self._check_filters(market, order)
        if order.client_order_id in account.open_client_ids:
            raise refuse(-4116)
        if order.client_order_id in account.last_by_client_id:
            self._exchange.note_violation("client order id reused", order.client_order_id, origin)
        if len(account.opened(order.symbol)) >= self._exchange.config.open_orders_per_symbol:
            raise refuse(-2025)
        if not order.is_reduce_only:
            self._check_margin(account, market, order)
        if is_test:
            return self.tell(order, with_prices=True)
        now_ms = self._exchange.clock_ms()
        order.order_id = self._exchange.next_order_id()
        order.origin = origin
        placement = market.book.place(order, now_ms * NS_PER_MS)
        if placement.reject is not Reject.NONE:
            raise refuse(REJECT_CODES[placement.reject])
        market.apply(placement.events)
        market.commit(now_ms)
        reply = self.tell(order)
        if params.get("newOrderRespType", "ACK") == "ACK":
            # The acknowledgement says that the order was taken in, not what became of it.
            zero = fixed(0, market.rules.qty_places)
            reply |= {"status": "NEW", "executedQty": zero, "cumQty": zero}
        return reply

    def amend(self, account: Account, params: Params, origin: Origin = NOBODY) -> dict[str, Any]:
        """Change price and quantity of a resting limit order.

        Raises:
            ApiError: refused, the order stays as it was.
        """
        self._exchange.orders_received += 1
        market = self._exchange.market(required(params, "symbol"))
        rules = market.rules
        order = self.find_open(account, params)
        if order.side is not side_of(params):
            raise refuse(-1117)
        if market.status != TRADING:
            raise ApiError(-5024, "Modify order is not supported in this symbol status.")
        if order.is_market:
            raise refuse(-5025)
        qty_e8 = decimal_e8(required(params, "quantity"), "quantity", rules.qty_places)
        price_e8 = self._limit_price(market, order.side, params)
        if flag(params, "reduceOnly") and not order.is_reduce_only:
            raise refuse(-5047)
        check_qty(rules, qty_e8, is_market=False)
        check_price(rules, price_e8)
        check_percent_price(rules, order.side, price_e8, market.mark_e8)
        if not order.is_reduce_only:
            check_notional(rules, price_e8, qty_e8, code=-5029)
        if price_e8 == order.price_e8 and qty_e8 == order.qty_e8:
            raise refuse(-5027)
        if order.amend_count >= AMENDS_MAX:
            raise refuse(-5026)
        if not order.is_reduce_only:
            before_e16 = order.open_qty_e8 * order.limit_price_e8
            after_e16 = max(0, qty_e8 - order.filled_e8) * price_e8
            self._check_more_margin(account, market, order.side, (after_e16 - before_e16) // E8)
        order.amend_count += 1
        order.modify_id = params.get("modifyId", "")
        order.amendments.append(Amendment(origin, price_e8, qty_e8, order.modify_id))
        self._amend_in_book(market, order, price_e8, qty_e8)
        reply = self.tell(order)
        reply["pair"] = order.symbol
        if order.modify_id:
            reply["modifyId"] = int(order.modify_id)
        return reply

    def cancel(self, account: Account, params: Params, origin: Origin = NOBODY) -> dict[str, Any]:
        """Cancel an open order.

        Raises:
            ApiError: -2011 when it is not open.
        """
        market = self._exchange.market(required(params, "symbol"))
        order = self._find(account, params)
        if order is None or order.order_id not in account.opened(order.symbol):
            raise refuse(-2011)
        order.cancel_origin = origin
        now_ms = self._exchange.clock_ms()
        market.apply(market.book.cancel(order, now_ms * NS_PER_MS))
        market.commit(now_ms)
        return self.tell(order)

    # Queries.

    def find_open(self, account: Account, params: Params) -> ClientOrder:
        """The open order that the parameters name.

        Raises:
            ApiError: -2013.
        """
        order = self._find(account, params)
        if order is None or order.order_id not in account.opened(order.symbol):
            raise refuse(-2013)
        return order

    def query(self, account: Account, params: Params) -> dict[str, Any]:
        """An order, open or final.

        Raises:
            ApiError: -2013 unknown, or ended without a fill more than three days ago.
        """
        self._exchange.market(required(params, "symbol"))
        order = self._find(account, params)
        if order is None:
            raise refuse(-2013)
        is_old = self._exchange.clock_ms() - order.updated_ms > UNFILLED_KEPT_MS
        is_open = order.order_id in account.opened(order.symbol)
        if is_old and not is_open and not order.filled_e8:
            raise refuse(-2013)
        return self.tell(order, with_prices=True)

    def tell(self, order: ClientOrder, *, with_prices: bool = False) -> dict[str, Any]:
        """An order as replies show it; queries add average price, quote quantity and time."""
        rules = self._exchange.markets[order.symbol].rules
        executed = fixed(order.filled_e8, rules.qty_places)
        body: dict[str, Any] = {
            "orderId": order.order_id,
            "symbol": order.symbol,
            "status": order.status,
            "clientOrderId": order.client_order_id,
            "price": fixed(order.limit_price_e8, rules.price_places),
            "origQty": fixed(order.qty_e8, rules.qty_places),
            "executedQty": executed,
            "cumQty": executed,
            "timeInForce": order.tif_text,
            "type": order.type,
            "reduceOnly": order.is_reduce_only,
            "closePosition": False,
            "side": order.side.name,
            "positionSide": "BOTH",
            "stopPrice": fixed(0, rules.price_places),
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
            "origType": order.type,
            "priceMatch": order.price_match,
            "selfTradePreventionMode": order.stp_text,
            "goodTillDate": order.good_till_ms,
            "updateTime": order.updated_ms,
        }
        if with_prices:
            places = min(8, rules.price_places + 3)
            body["avgPrice"] = average_price(order.quote_e8, order.filled_e8, places)
            body["cumQuote"] = fixed(order.quote_e8, places)
            body["time"] = order.created_ms
        return body

    # Helpers.

    def _find(self, account: Account, params: Params) -> ClientOrder | None:
        order_id = integer(params, "orderId")
        client_id = params.get("origClientOrderId")
        if order_id is not None:
            order = account.orders.get(order_id)
        elif client_id:
            order = account.last_by_client_id.get(client_id)
        else:
            raise refuse(
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        return order if order is not None and order.symbol == params.get("symbol") else None

    def _build(
        self, account: Account, market: SymbolMarket, params: Params, stp_default: str
    ) -> ClientOrder:
        """Parameters to an order: syntax, but neither filters nor money."""
        rules = market.rules
        side = side_of(params)
        order_type = required(params, "type")
        if order_type in ALGO_TYPES:
            raise refuse(-4120)
        if order_type not in ("LIMIT", "MARKET"):
            raise refuse(-1116)
        is_market = order_type == "MARKET"
        tif_text = self._tif(params, is_market=is_market)
        position_side = params.get("positionSide", "BOTH")
        if (position_side == "BOTH") == account.is_hedged:
            raise refuse(-4061)
        if account.is_hedged:
            # Hedge mode can be set, so that clients can be tested against it, but not traded in.
            raise refuse(-4084)
        stp_text = params.get("selfTradePreventionMode", stp_default)
        if stp_text not in StpMode.__members__:
            raise refuse(-5039)
        if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
            raise refuse(-1136)
        qty_e8 = decimal_e8(required(params, "quantity"), "quantity", rules.qty_places)
        if is_market:
            for name in ("price", "priceMatch", "goodTillDate"):
                if params.get(name):
                    raise not_required(name)
        limit_price_e8 = 0 if is_market else self._limit_price(market, side, params)
        good_till_ms = self._good_till(params, tif_text)
        client_id = params.get("newClientOrderId", "")
        if client_id:
            check_client_id(client_id)
        order_number = self._exchange.orders_received
        now_ms = self._exchange.clock_ms()
        return ClientOrder(
            order_id=0,
            account_id=account.account_id,
            side=side,
            price_e8=market_bound_e8(rules, side, market.mark_e8) if is_market else limit_price_e8,
            qty_e8=qty_e8,
            tif=TIFS[tif_text],
            is_market=is_market,
            is_post_only=tif_text == "GTX",
            is_reduce_only=flag(params, "reduceOnly"),
            stp=StpMode[stp_text],
            good_till_ns=good_till_ms * NS_PER_MS,
            symbol=rules.symbol,
            client_order_id=client_id or f"venue-{now_ms:x}-{order_number}",
            type=order_type,
            tif_text=tif_text,
            stp_text=stp_text,
            price_match=params.get("priceMatch") or "NONE",
            good_till_ms=good_till_ms,
            created_ms=now_ms,
            updated_ms=now_ms,
            limit_price_e8=limit_price_e8,
        )

    def _tif(self, params: Params, *, is_market: bool) -> str:
        tif_text = params.get("timeInForce", "")
        if is_market:
            return "GTC"
        if not tif_text:
            raise missing("timeInForce")
        if tif_text not in TIFS:
            raise refuse(-1115)
        return tif_text

    def _good_till(self, params: Params, tif_text: str) -> int:
        if tif_text != "GTD":
            return 0
        good_till_ms = integer(params, "goodTillDate")
        if good_till_ms is None:
            raise missing("goodTillDate")
        least_ms = self._exchange.clock_ms() + GOOD_TILL_LEAST_MS
        if not least_ms < good_till_ms < GOOD_TILL_MOST_MS:
            raise refuse(-5040)
        return good_till_ms // 1000 * 1000

    def _limit_price(self, market: SymbolMarket, side: Side, params: Params) -> int:
        """The price that was sent, or the one that priceMatch takes from the book."""
        match_text = params.get("priceMatch") or "NONE"
        price_text = params.get("price", "")
        if match_text == "NONE":
            return decimal_e8(price_text or required(params, "price"), "price",
                              market.rules.price_places)  # fmt: skip
        if price_text:
            raise not_required("price")
        if match_text not in PRICE_MATCHES:
            raise refuse(-5037)
        is_opposite, level = PRICE_MATCHES[match_text]
        book_side = Side(-side) if is_opposite else side
        levels = market.public.levels(book_side, level)
        if len(levels) < level:
            raise refuse(-5041)
        return levels[-1][0]

    def _check_filters(self, market: SymbolMarket, order: ClientOrder) -> None:
        rules = market.rules
        check_qty(rules, order.qty_e8, is_market=order.is_market)
        if order.is_market:
            best = market.book.levels(Side(-order.side), 1)
            if not best or (order.price_e8 - best[0][0]) * order.side < 0:
                raise refuse(-4131)
        else:
            check_price(rules, order.price_e8)
            check_percent_price(rules, order.side, order.price_e8, market.mark_e8)
        if not order.is_reduce_only:
            price_e8 = market.mark_e8 if order.is_market else order.price_e8
            check_notional(rules, price_e8, order.qty_e8)

    def _check_margin(self, account: Account, market: SymbolMarket, order: ClientOrder) -> None:
        price_e8 = market.mark_e8 if order.is_market else order.price_e8
        self._check_more_margin(account, market, order.side, order.qty_e8 * price_e8 // E8)

    def _check_more_margin(
        self, account: Account, market: SymbolMarket, side: Side, notional_e8: int
    ) -> None:
        """-2019 when further orders of that notional need more margin than is available."""
        if notional_e8 <= 0:
            return
        before = symbol_margin(account, market)
        after = symbol_margin(
            account,
            market,
            more_bids_e8=notional_e8 if side > 0 else 0,
            more_asks_e8=notional_e8 if side < 0 else 0,
        )
        margin = account_margin(account, self._exchange.markets.values())
        if after.initial_e8 - before.initial_e8 > available_e8(account, margin):
            raise refuse(-2019)

    def _amend_in_book(
        self, market: SymbolMarket, order: ClientOrder, price_e8: int, qty_e8: int
    ) -> None:
        now_ms = self._exchange.clock_ms()
        old_price_e8 = order.price_e8
        events = market.book.amend(
            order, price_e8=price_e8, qty_e8=qty_e8, now_ns=now_ms * NS_PER_MS
        )
        order.limit_price_e8 = order.price_e8
        market.touch(order.side, old_price_e8)
        market.apply(events)
        market.commit(now_ms)


def required(params: Params, name: str) -> str:
    """A mandatory parameter.

    Raises:
        ApiError: -1102 when it is absent or empty.
    """
    text = params.get(name, "")
    if not text:
        raise missing(name)
    return text


def side_of(params: Params) -> Side:
    """The mandatory side.

    Raises:
        ApiError: -1102 absent, -1117 neither BUY nor SELL.
    """
    side = SIDES.get(required(params, "side"))
    if side is None:
        raise refuse(-1117)
    return side
