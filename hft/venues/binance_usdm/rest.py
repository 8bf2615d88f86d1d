"""The venue's REST calls that the roles need, one coroutine each, with parsed answers.

Weights are those of the Binance USD-M API's documentation. What may be raised is described at
``RestTransport.request``. Calls that withdraw risk (cancels) are *essential*: they are also sent
while the venue asks for a pause; only a ban stops them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hft.errors import VenueError
from hft.venues.binance_usdm.errors import NO_CODE
from hft.venues.binance_usdm.exchange_info import ExchangeInfo, parse_exchange_info
from hft.venues.binance_usdm.order_text import Parameters
from hft.venues.binance_usdm.reports import (
    AccountConfig,
    AccountReport,
    AlgoOrderReport,
    BalanceReport,
    CommissionRate,
    IncomeReport,
    OrderReport,
    PositionReport,
    Refusal,
    SymbolConfig,
    TradeReport,
    malformed,
    parse_account,
    parse_account_config,
    parse_algo_orders,
    parse_balances,
    parse_batch,
    parse_commission_rate,
    parse_incomes,
    parse_order,
    parse_orders,
    parse_positions,
    parse_symbol_configs,
    parse_trades,
)
from hft.venues.binance_usdm.rest_transport import RestTransport, server_time_ms

__all__ = ["RestClient"]

TRADES_PER_PAGE: Final = 1_000
PLACES_MAX: Final = 5
CANCELS_MAX: Final = 10
"""Orders in one batch, as the venue takes them."""
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


class _WireListenKey(msgspec.Struct, rename="camel"):
    listen_key: str = ""


class _WireModes(msgspec.Struct, rename="camel"):
    dual_side_position: bool | None = None
    multi_assets_margin: bool | None = None


class RestClient(RestTransport):
    """All calls. See ``RestTransport`` for construction, limits, bans, clock and errors.

    A ``fence`` is called when a request is signed, right before it leaves: what it raises is raised
    by the call, and nothing has left. A process that was stopped before its fence learns there that
    its time is over; one that was stopped after it sends a timestamp that the venue refuses.
    """

    _fence: Callable[[], None] | None = None

    def _query(self, params: Sequence[tuple[str, str]], *, signed: bool) -> str:
        query = super()._query(params, signed=signed)
        fence, self._fence = self._fence, None
        if fence is not None:
            fence()
        return query

    async def _send_order(
        self, method: str, parameters: Parameters, fence: Callable[[], None] | None
    ) -> OrderReport:
        # Nothing is awaited between here and ``_query``: the fence meets this very request.
        self._fence = fence
        try:
            body = await self.request(method, "/fapi/v1/order", parameters, signed=True, weight=0)
        finally:
            self._fence = None
        return parse_order(body)

    # -- public ---------------------------------------------------------------------------------

    async def server_time_ms(self) -> int:
        """The venue's wall clock, ms. Weight 1."""
        return server_time_ms(await self.request("GET", "/fapi/v1/time"))

    async def exchange_info(self, symbols: Sequence[str] | None = None) -> ExchangeInfo:
        """Limits and symbols (None: all). Weight 1, about a megabyte.

        Raises:
            UsageError: a symbol does not exist, besides what ``request`` raises.
        """
        body = await self.request("GET", "/fapi/v1/exchangeInfo", timeout_s=10.0)
        return parse_exchange_info(body, symbols)

    async def depth(self, symbol: str, limit: int = 1_000) -> bytes:
        """Book snapshot as sent: the codec reads it. Weight 20 for 1,000 levels."""
        parameters = (("symbol", symbol), ("limit", str(limit)))
        weight = DEPTH_WEIGHTS.get(limit, 20)
        return await self.request("GET", "/fapi/v1/depth", parameters, weight=weight)

    # -- listen key -------------------------------------------------------------------------------

    async def new_listen_key(self) -> str:
        """Create the account's listen key; an active one is returned and prolonged. Weight 1."""
        return self._listen_key(await self.request("POST", "/fapi/v1/listenKey", keyed=True))

    async def keep_listen_key(self) -> str:
        """Prolong the key by 60 minutes; VenueError -1125 when it is gone. Weight 1."""
        return self._listen_key(await self.request("PUT", "/fapi/v1/listenKey", keyed=True))

    def _listen_key(self, body: bytes) -> str:
        try:
            return msgspec.json.decode(body, type=_WireListenKey).listen_key
        except msgspec.DecodeError as error:
            raise malformed(body, error) from None

    # -- orders -----------------------------------------------------------------------------------

    async def place_order(
        self, parameters: Parameters, fence: Callable[[], None] | None = None
    ) -> OrderReport:
        """Place what ``OrderTextEncoder.place_parameters`` wrote. One order, weight 0."""
        return await self._send_order("POST", parameters, fence)

    async def amend_order(
        self, parameters: Parameters, fence: Callable[[], None] | None = None
    ) -> OrderReport:
        """Amend as ``OrderTextEncoder.amend_parameters`` wrote. Counts as one order, weight 0."""
        return await self._send_order("PUT", parameters, fence)

    async def cancel_order(self, symbol: str, client_id: str) -> OrderReport:
        """Cancel one order by its client order id. Weight 1.

        VenueError -2011 may mean *filled*: ask before concluding anything.
        """
        parameters = (("symbol", symbol), ("origClientOrderId", client_id))
        body = await self.request(
            "DELETE", "/fapi/v1/order", parameters, signed=True, essential=True
        )
        return parse_order(body)

    async def place_orders(self, orders: Sequence[Parameters]) -> list[OrderReport | Refusal]:
        """Place up to five orders in one request: weight 5, each counts as an order.

        The answers stand in the sequence of the orders; the venue carries them out in any.
        """
        assert 0 < len(orders) <= PLACES_MAX
        batch = msgspec.json.encode([dict(order) for order in orders]).decode()
        parameters = (("batchOrders", batch),)
        body = await self.request(
            "POST", "/fapi/v1/batchOrders", parameters, signed=True, weight=len(orders)
        )
        return parse_batch(body)

    async def cancel_orders(
        self, symbol: str, client_ids: Sequence[str]
    ) -> list[OrderReport | Refusal]:
        """Cancel up to ten orders of one symbol in one request. Weight 1.

        The answers stand in the sequence of the ids; each means what that of ``cancel_order`` does.
        """
        assert 0 < len(client_ids) <= CANCELS_MAX
        ids = msgspec.json.encode(list(client_ids)).decode()
        body = await self.request(
            "DELETE",
            "/fapi/v1/batchOrders",
            (("symbol", symbol), ("origClientOrderIdList", ids)),
            signed=True,
            essential=True,
        )
        return parse_batch(body)

    async def cancel_all(self, symbol: str) -> None:
        """Cancel every open order of the symbol, whoever placed it. Weight 1.

        An acknowledgement only: the cancellations come as user events. Conditional orders stay:
        ``cancel_all_algo``.
        """
        await self.request(
            "DELETE",
            "/fapi/v1/allOpenOrders",
            (("symbol", symbol),),
            signed=True,
            essential=True,
        )

    async def countdown_cancel_all(self, symbol: str, milliseconds: int) -> None:
        """Have the venue cancel everything of the symbol unless renewed in time. Weight 10.

        0 switches the countdown off.
        """
        await self.request(
            "POST",
            "/fapi/v1/countdownCancelAll",
            (("symbol", symbol), ("countdownTime", str(milliseconds))),
            signed=True,
            essential=True,
            weight=10,
        )

    async def query_order(
        self, symbol: str, client_id: str = "", *, venue_order_id: int | None = None
    ) -> OrderReport:
        """State of one order by its client order id, or the venue's. Weight 1.

        VenueError -2013 when the venue does not know it; within two seconds of the order's sending
        this proves nothing.
        """
        key = ("origClientOrderId", client_id)
        if venue_order_id is not None:
            key = ("orderId", str(venue_order_id))
        body = await self.request(
            "GET",
            "/fapi/v1/order",
            (("symbol", symbol), key),
            signed=True,
            essential=True,
        )
        return parse_order(body)

    async def open_orders(self, symbol: str | None = None) -> list[OrderReport]:
        """Open orders of a symbol (weight 1) or of all (weight 40), foreign ones too."""
        parameters = (("symbol", symbol),) if symbol is not None else ()
        body = await self.request(
            "GET",
            "/fapi/v1/openOrders",
            parameters,
            signed=True,
            weight=1 if symbol is not None else 40,
        )
        return parse_orders(body)

    # -- conditional orders: a store of their own until they trigger -------------------------------

    async def open_algo_orders(self, symbol: str | None = None) -> list[AlgoOrderReport]:
        """Open conditional orders of a symbol (weight 1) or of all (weight 40)."""
        body = await self.request(
            "GET",
            "/fapi/v1/openAlgoOrders",
            (("symbol", symbol),) if symbol is not None else (),
            signed=True,
            weight=1 if symbol is not None else 40,
        )
        return parse_algo_orders(body)

    async def cancel_algo_order(self, symbol: str, algo_id: int) -> None:
        """Cancel one conditional order. Weight 1. VenueError -2011: gone, or triggered."""
        await self.request(
            "DELETE",
            "/fapi/v1/algoOrder",
            (("symbol", symbol), ("algoId", str(algo_id))),
            signed=True,
            essential=True,
        )

    async def cancel_all_algo(self, symbol: str) -> None:
        """Cancel every conditional order of the symbol, whoever placed it. Weight 1."""
        await self.request(
            "DELETE",
            "/fapi/v1/algoOpenOrders",
            (("symbol", symbol),),
            signed=True,
            essential=True,
        )

    # -- account ----------------------------------------------------------------------------------

    async def position_risk(self, symbol: str | None = None) -> list[PositionReport]:
        """Symbols with a position or an order; quantity 0 is flat. Weight 5."""
        parameters = (("symbol", symbol),) if symbol is not None else ()
        body = await self.request("GET", "/fapi/v3/positionRisk", parameters, signed=True, weight=5)
        return parse_positions(body)

    async def balances(self) -> list[BalanceReport]:
        """Wallets. Weight 5."""
        return parse_balances(await self.request("GET", "/fapi/v3/balance", signed=True, weight=5))

    async def account(self) -> AccountReport:
        """Sums, wallets and active positions in one answer. Weight 5."""
        return parse_account(await self.request("GET", "/fapi/v3/account", signed=True, weight=5))

    async def user_trades(
        self,
        symbol: str,
        from_id: int | None = None,
        limit: int = TRADES_PER_PAGE,
        *,
        venue_order_id: int | None = None,
    ) -> list[TradeReport]:
        """Fills, oldest first: of one order, from a trade id on, or the last week's. Weight 5."""
        parameters = [("symbol", symbol), ("limit", str(limit))]
        if venue_order_id is not None:
            parameters.append(("orderId", str(venue_order_id)))
        if from_id is not None:
            parameters.append(("fromId", str(from_id)))
        body = await self.request("GET", "/fapi/v1/userTrades", parameters, signed=True, weight=5)
        return parse_trades(body)

    async def position_mode(self) -> bool:
        """True: hedge mode, positions LONG and SHORT apart. Weight 30."""
        body = await self.request("GET", "/fapi/v1/positionSide/dual", signed=True, weight=30)
        return _flag(body, _modes(body).dual_side_position)

    async def multi_assets_mode(self) -> bool:
        """True: all assets are one margin. Weight 30."""
        body = await self.request("GET", "/fapi/v1/multiAssetsMargin", signed=True, weight=30)
        return _flag(body, _modes(body).multi_assets_margin)

    async def account_config(self) -> AccountConfig:
        """Rights and modes of the account. Weight 5."""
        body = await self.request("GET", "/fapi/v1/accountConfig", signed=True, weight=5)
        return parse_account_config(body)

    async def symbol_config(self, symbol: str | None = None) -> list[SymbolConfig]:
        """Leverage and margin type of a symbol, or of all. Weight 5."""
        parameters = (("symbol", symbol),) if symbol is not None else ()
        body = await self.request("GET", "/fapi/v1/symbolConfig", parameters, signed=True, weight=5)
        return parse_symbol_configs(body)

    async def commission_rate(self, symbol: str) -> CommissionRate:
        """Maker and taker rate. Weight 20."""
        body = await self.request(
            "GET", "/fapi/v1/commissionRate", (("symbol", symbol),), signed=True, weight=20
        )
        return parse_commission_rate(body)

    async def income(
        self, *, kind: str = "", start_ms: int = 0, limit: int = 1_000
    ) -> list[IncomeReport]:
        """Income history, oldest first, moved through by time. Weight 30."""
        parameters = [("limit", str(limit))]
        if kind:
            parameters.append(("incomeType", kind))
        if start_ms:
            parameters.append(("startTime", str(start_ms)))
        body = await self.request("GET", "/fapi/v1/income", parameters, signed=True, weight=30)
        return parse_incomes(body)


def _modes(body: bytes) -> _WireModes:
    try:
        return msgspec.json.decode(body, type=_WireModes)
    except msgspec.DecodeError as error:
        raise malformed(body, error) from None


def _flag(body: bytes, value: bool | None) -> bool:
    """A flag that has to be in the answer: a missing one is no "no"."""
    if value is None:
        raise VenueError(code=NO_CODE, text=f"flag missing in {body[:80].decode(errors='replace')}")
    return value
