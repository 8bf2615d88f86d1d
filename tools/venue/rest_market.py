"""REST handlers of public market data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hft.units import format_e8
from tools.venue.encode import fixed
from tools.venue.errors import missing
from tools.venue.exchange import Exchange
from tools.venue.market import SymbolMarket
from tools.venue.orders import integer
from tools.venue.request import (
    Endpoint,
    Request,
    by_symbol,
    depth_limit,
    depth_weight,
)

TRADES_MAX = 1_000


class MarketHandlers:
    """Answers that need no key."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """Method and path to endpoint."""
        v1 = "/fapi/v1"
        return {
            ("GET", f"{v1}/ping"): Endpoint(self.ping, 1),
            ("GET", f"{v1}/time"): Endpoint(self.time, 1),
            ("GET", f"{v1}/exchangeInfo"): Endpoint(self.exchange_info, 1),
            ("GET", f"{v1}/depth"): Endpoint(self.depth, depth_weight),
            ("GET", f"{v1}/trades"): Endpoint(self.trades, 5),
            ("GET", f"{v1}/premiumIndex"): Endpoint(self.premium_index, by_symbol(1, 10)),
            ("GET", f"{v1}/fundingInfo"): Endpoint(self.funding_info, 0),
            ("GET", f"{v1}/ticker/bookTicker"): Endpoint(self.book_ticker, by_symbol(2, 5)),
            ("GET", f"{v1}/ticker/price"): Endpoint(self.price, by_symbol(1, 2)),
            ("GET", "/fapi/v2/ticker/price"): Endpoint(self.price, by_symbol(1, 2)),
        }

    def ping(self, _request: Request) -> Any:
        """Nothing."""
        return {}

    def time(self, _request: Request) -> Any:
        """The venue's clock."""
        return {"serverTime": self._exchange.clock_ms()}

    def exchange_info(self, _request: Request) -> Any:
        """Symbols, filters, limits."""
        return self._exchange.exchange_info()

    def depth(self, request: Request) -> Any:
        """The published book."""
        limit = depth_limit(request.params)
        market = self._market(request)
        return market.snapshot(limit, self._exchange.clock_ms()).encode()

    def trades(self, request: Request) -> Any:
        """Recent public trades, oldest first."""
        market = self._market(request)
        limit = min(integer(request.params, "limit") or 500, TRADES_MAX)
        rules = market.rules
        return [
            {
                "id": trade_id,
                "price": fixed(price_e8, rules.price_places),
                "qty": fixed(qty_e8, rules.qty_places),
                "quoteQty": format_e8(price_e8 * qty_e8 // 10**8),
                "time": time_ms,
                "isBuyerMaker": is_buyer_maker,
                "isRPITrade": False,
            }
            for trade_id, price_e8, qty_e8, time_ms, is_buyer_maker in market.recent_trades[-limit:]
        ]

    def premium_index(self, request: Request) -> Any:
        """Mark price and funding of one symbol or all."""
        return self._one_or_all(request, self._premium_index)

    def funding_info(self, _request: Request) -> Any:
        """Symbols with an adjusted funding interval: none."""
        return []

    def book_ticker(self, request: Request) -> Any:
        """Best bid and ask of one symbol or all."""
        return self._one_or_all(request, self.tell_book_ticker)

    def price(self, request: Request) -> Any:
        """Last price of one symbol or all."""
        return self._one_or_all(request, self.tell_price)

    def tell_book_ticker(self, market: SymbolMarket) -> dict[str, Any]:
        """One row of bookTicker."""
        top = market.public.top()
        return {
            "symbol": market.rules.symbol,
            "bidPrice": market.encoder.price(top.bid_e8),
            "bidQty": market.encoder.qty(top.bid_qty_e8),
            "askPrice": market.encoder.price(top.ask_e8),
            "askQty": market.encoder.qty(top.ask_qty_e8),
            "time": self._exchange.clock_ms(),
        }

    def tell_price(self, market: SymbolMarket) -> dict[str, Any]:
        """One row of the price ticker."""
        return {
            "symbol": market.rules.symbol,
            "price": market.encoder.price(market.last_price_e8),
            "time": self._exchange.clock_ms(),
        }

    def _premium_index(self, market: SymbolMarket) -> dict[str, Any]:
        mark = fixed(market.mark_e8, 8)
        return {
            "symbol": market.rules.symbol,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": fixed(self._exchange.funding_rate_e8, 8),
            "interestRate": "0.00010000",
            "nextFundingTime": self._exchange.next_funding_ms,
            "time": self._exchange.clock_ms(),
        }

    def _market(self, request: Request) -> SymbolMarket:
        symbol = request.params.get("symbol", "")
        if not symbol:
            raise missing("symbol")
        return self._exchange.market(symbol)

    def _one_or_all(self, request: Request, tell: Callable[[SymbolMarket], Any]) -> Any:
        symbol = request.params.get("symbol")
        if symbol:
            return tell(self._exchange.market(symbol))
        return [tell(market) for market in self._exchange.markets.values()]
