"""Handlers of conditional orders, for REST and the WebSocket API."""

from __future__ import annotations

from typing import Any

from tools.venue.accounts import Account
from tools.venue.algo_desk import AlgoDesk
from tools.venue.exchange import Exchange
from tools.venue.orders import required
from tools.venue.request import Endpoint, Request, Security, by_symbol
from tools.venue.rest_trade import CANCELED_ALL, rows_max, time_window


class AlgoHandlers:
    """Entry and queries of conditional orders."""

    def __init__(self, exchange: Exchange, desk: AlgoDesk) -> None:
        self._exchange = exchange
        self._desk = desk

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """Method and path to endpoint."""
        v1 = "/fapi/v1"
        trade, signed = Security.TRADE, Security.SIGNED
        return {
            ("POST", f"{v1}/algoOrder"): Endpoint(self.place, 0, trade, 1, 1),
            ("DELETE", f"{v1}/algoOrder"): Endpoint(self.cancel, 1, trade),
            ("DELETE", f"{v1}/algoOpenOrders"): Endpoint(self.cancel_all, 1, trade),
            ("GET", f"{v1}/algoOrder"): Endpoint(self.query, 1, signed),
            ("GET", f"{v1}/openAlgoOrders"): Endpoint(self.open_orders, by_symbol(1, 40), signed),
            ("GET", f"{v1}/allAlgoOrders"): Endpoint(self.all_orders, 5, signed),
        }

    def methods(self) -> dict[str, Endpoint]:
        """Method of the WebSocket API to endpoint."""
        return {
            "algoOrder.place": Endpoint(self._place_shortly, 0, Security.TRADE, 1, 1),
            "algoOrder.cancel": Endpoint(self.cancel, 1, Security.TRADE),
        }

    def place(self, request: Request) -> Any:
        """New conditional order."""
        return self._desk.place(request.owner, request.params, request.origin)

    def cancel(self, request: Request) -> Any:
        """Cancel one by its id or client id."""
        return self._desk.cancel(request.owner, request.params, request.origin)

    def cancel_all(self, request: Request) -> Any:
        """Cancel those of a symbol; orders that they became stay."""
        symbol = required(request.params, "symbol")
        self._desk.cancel_all(request.owner, symbol, request.origin)
        return CANCELED_ALL

    def query(self, request: Request) -> Any:
        """One conditional order."""
        return self._desk.query(request.owner, request.params)

    def open_orders(self, request: Request) -> Any:
        """Those that are not triggered, of one symbol or all."""
        account: Account = request.owner
        symbol = request.params.get("symbol")
        if symbol:
            self._exchange.market(symbol)
        return [
            self._desk.open_row(algo)
            for algo in account.open_algo_orders.values()
            if not symbol or algo.symbol == symbol
        ]

    def all_orders(self, request: Request) -> Any:
        """Those of a symbol, the newest of the window."""
        symbol = required(request.params, "symbol")
        self._exchange.market(symbol)
        start_ms, end_ms = time_window(request.params)
        found = [
            self._desk.history_row(algo)
            for algo in request.owner.algo_orders.values()
            if algo.symbol == symbol and start_ms <= algo.created_ms <= end_ms
        ]
        return found[-rows_max(request.params) :]

    def _place_shortly(self, request: Request) -> Any:
        """Over the WebSocket API the reply lacks what only trailing stops have."""
        reply = self._desk.place(request.owner, request.params, request.origin)
        del reply["activatePrice"], reply["callbackRate"]
        return reply
