"""The WebSocket API: sessions, order entry, account and market queries in one envelope."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson
from picows import WSUpgradeRequest

from tools.venue import account_views as views
from tools.venue.accounts import Account
from tools.venue.auth import Key, check_time, sorted_payload
from tools.venue.connection import Connection, agent_of
from tools.venue.errors import ApiError, missing, refuse
from tools.venue.exchange import Exchange
from tools.venue.history import Origin
from tools.venue.orders import OrderDesk
from tools.venue.outlet import Channel
from tools.venue.request import (
    Endpoint,
    NoReplyError,
    Request,
    Security,
    answer,
    by_symbol,
    depth_weight,
    origin_of,
    rate_limits,
    spend_orders,
    spend_weight,
    weight_of,
)
from tools.venue.rest_algo import AlgoHandlers
from tools.venue.rest_market import MarketHandlers

HANDSHAKE_WEIGHT = 5
PATH = "/ws-fapi/v1"


class ApiServer:
    """All connections of the WebSocket API and the methods they offer."""

    def __init__(self, exchange: Exchange, desk: OrderDesk, algo: AlgoHandlers) -> None:
        self.exchange = exchange
        self._desk = desk
        self._algo = algo
        self._market = MarketHandlers(exchange)
        self.endpoints = self._methods()
        self.connections: dict[ApiConnection, None] = {}

    def accept(self, request: WSUpgradeRequest) -> Connection | None:
        """A listener for the URL; None answers 404."""
        path, _, query = request.path.decode().partition("?")
        if path.rstrip("/") != PATH:
            return None
        tells_limits = parse_qs(query).get("returnRateLimits", ["true"])[0] != "false"
        return ApiConnection(self, tells_limits=tells_limits, agent=agent_of(request))

    def _methods(self) -> dict[str, Endpoint]:
        trade, signed, key = Security.TRADE, Security.SIGNED, Security.KEY
        market = self._market
        methods = {
            "ping": Endpoint(market.ping, 1),
            "time": Endpoint(market.time, 1),
            "depth": Endpoint(market.depth, depth_weight),
            "ticker.price": Endpoint(market.price, by_symbol(1, 2)),
            "ticker.book": Endpoint(self._ticker_book, by_symbol(2, 5)),
            "order.place": Endpoint(self._place, 0, trade, 1, 1),
            "order.modify": Endpoint(self._modify, 0, trade, 1, 1),
            "order.cancel": Endpoint(self._cancel, 1, trade),
            "order.status": Endpoint(self._status, 1, signed),
            "account.balance": Endpoint(self._balance, 5, signed),
            "account.position": Endpoint(lambda r: self._position(r, 2), 5, signed),
            "account.status": Endpoint(lambda r: self._account(r, 2), 5, signed),
            "v2/account.balance": Endpoint(self._balance, 5, signed),
            "v2/account.position": Endpoint(lambda r: self._position(r, 3), 5, signed),
            "v2/account.status": Endpoint(lambda r: self._account(r, 3), 5, signed),
            **self._algo.methods(),
            "userDataStream.start": Endpoint(self._start_stream, 1, key),
            "userDataStream.ping": Endpoint(self._keep_stream, 1, key),
            "userDataStream.stop": Endpoint(self._end_stream, 1, key),
        }
        return methods | {f"v1/{name}": methods[name] for name in methods if "/" not in name}

    def _ticker_book(self, request: Request) -> Any:
        result = self._market.book_ticker(request)
        rows = result if isinstance(result, list) else [result]
        for row in rows:
            row["lastUpdateId"] = self.exchange.markets[row["symbol"]].last_id
        return result

    def _place(self, request: Request) -> Any:
        return self._desk.place(request.owner, request.params, request.origin, stp_default="NONE")

    def _modify(self, request: Request) -> Any:
        reply = self._desk.amend(request.owner, request.params, request.origin)
        del reply["pair"]
        return reply

    def _cancel(self, request: Request) -> Any:
        return self._desk.cancel(request.owner, request.params, request.origin)

    def _status(self, request: Request) -> Any:
        return self._desk.query(request.owner, request.params)

    def _balance(self, request: Request) -> Any:
        return views.balances(self.exchange, request.owner)

    def _position(self, request: Request, version: int) -> Any:
        symbol = request.params.get("symbol", "")
        return views.position_risk(self.exchange, request.owner, version=version, symbol=symbol)

    def _account(self, request: Request, version: int) -> Any:
        return views.account_status(self.exchange, request.owner, version=version)

    def _start_stream(self, request: Request) -> Any:
        return {"listenKey": self.exchange.start_listen_key(request.owner)}

    def _keep_stream(self, request: Request) -> Any:
        return {"listenKey": self.exchange.keep_listen_key(request.owner)}

    def _end_stream(self, request: Request) -> Any:
        self.exchange.end_listen_key(request.owner)
        return {}


class ApiConnection(Connection):
    """One client of the WebSocket API."""

    def __init__(self, server: ApiServer, *, tells_limits: bool, agent: str) -> None:
        super().__init__(server.exchange, agent)
        self._server = server
        self._tells_limits = tells_limits
        self._session: Key | None = None
        self._authorized_ms = 0

    @property
    def messages_per_s_max(self) -> int:
        """Requests are governed by weight and order limits only."""
        return 0

    def on_open(self) -> None:
        """The handshake has its own weight."""
        self._server.connections[self] = None
        try:
            spend_weight(
                self.exchange, self.address, HANDSHAKE_WEIGHT, self._origin("handshake", "")
            )
        except ApiError as error:
            self._reply(None, error.status, error=error)

    def on_end(self) -> None:
        """The server forgets it."""
        self._server.connections.pop(self, None)

    def on_text(self, text: bytes) -> None:
        """One request."""
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            self._reply(None, 400, error=ApiError(-1135, "Invalid JSON Request"))
            return
        params = message.get("params") or {}
        request_id = message.get("id")
        account: Account | None = None
        method = message["method"]
        try:
            if not isinstance(params, dict):
                raise missing("params")
            texts = {name: _text(value) for name, value in params.items()}
            if method.startswith("session."):
                result = self._on_session(method, texts)
            else:
                endpoint = self._server.endpoints.get(method)
                if endpoint is None:
                    raise ApiError(-1020, "This operation is not supported.")
                origin = self._origin(method, texts.get("apiKey", ""))
                spend_weight(self.exchange, self.address, weight_of(endpoint, texts), origin)
                account = self._authenticate(endpoint.security, texts, origin)
                if account is not None:
                    spend_orders(self.exchange, account, endpoint, origin)
                result = answer(self.exchange, endpoint, Request(texts, account, origin), method)
            tells = texts.get("returnRateLimits", "").lower() != "false"
            self._reply(request_id, 200, result=result, account=account, tells=tells, name=method)
        except NoReplyError:
            return
        except ApiError as error:
            self._reply(request_id, error.status, error=error, account=account, name=method)

    def _on_session(self, method: str, params: dict[str, str]) -> Any:
        origin = self._origin(method, params.get("apiKey", ""))
        spend_weight(self.exchange, self.address, 2, origin)
        match method:
            case "session.logon":
                key = self.exchange.key(origin.api_key, origin)
                if not key.is_ed25519:
                    raise ApiError(-4056, "HMAC_SHA256 API key is not supported.")
                self._check_signature(key, params, origin)
                check_time(params, self.exchange.clock_ms())
                self._session = key
                self._authorized_ms = self.exchange.clock_ms()
            case "session.logout":
                self._session = None
            case "session.status":
                pass
            case _:
                raise ApiError(-1020, "This operation is not supported.")
        session = self._session
        return {
            "apiKey": session.api_key if session else None,
            "authorizedSince": self._authorized_ms if session else None,
            "connectedSince": self.connected_ms,
            "returnRateLimits": self._tells_limits,
            "serverTime": self.exchange.clock_ms(),
        }

    def _origin(self, method: str, api_key: str) -> Origin:
        if not api_key and self._session is not None:
            api_key = self._session.api_key
        return origin_of(self.exchange, "ws", method, self.client, api_key)

    def _authenticate(
        self, security: Security, params: dict[str, str], origin: Origin
    ) -> Account | None:
        if security is Security.NONE:
            return None
        api_key = params.get("apiKey", "")
        if not api_key and self._session is not None:
            key = self._session
        elif not api_key:
            raise missing("apiKey")
        else:
            key = self.exchange.key(api_key, origin)
            if security >= Security.SIGNED:
                self._check_signature(key, params, origin)
        if security >= Security.SIGNED:
            check_time(params, self.exchange.clock_ms())
        if security is Security.TRADE and not key.can_trade:
            raise refuse(-2015)
        return self.exchange.account_of(key)

    def _check_signature(self, key: Key, params: dict[str, str], origin: Origin) -> None:
        signature = params.get("signature", "")
        if not signature:
            raise missing("signature")
        try:
            key.check(sorted_payload(params), signature)
        except ApiError:
            self.exchange.note_violation("signature", key.api_key, origin)
            raise

    def _reply(
        self,
        request_id: object,
        status: int,
        *,
        result: Any = None,
        error: ApiError | None = None,
        account: Account | None = None,
        tells: bool = True,
        name: str = "",
    ) -> None:
        reply: dict[str, Any] = {"id": request_id, "status": status}
        if error is None:
            reply["result"] = orjson.Fragment(result) if isinstance(result, bytes) else result
        else:
            reply["error"] = {"code": error.code, "msg": error.text}
            if error.retry_after_s:
                reply["error"]["data"] = {
                    "serverTime": self.exchange.clock_ms(),
                    "retryAfter": self.exchange.clock_ms() + error.retry_after_s * 1000,
                }
        if self._tells_limits and tells:
            reply["rateLimits"] = rate_limits(self.exchange, self.address, account)
        self.exchange.outlet.send(self, Channel.API, name, orjson.dumps(reply))


def _text(value: object) -> str:
    """A parameter as it was sent; a native boolean in JSON's spelling."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
