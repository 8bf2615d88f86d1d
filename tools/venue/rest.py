"""The REST server: authentication, limits and headers around the handlers."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hft.errors import UsageError
from tools.venue.accounts import Account
from tools.venue.auth import check_time, signed_part
from tools.venue.errors import ApiError, refuse, wrong_path
from tools.venue.exchange import Exchange
from tools.venue.faults import Faults
from tools.venue.history import Origin
from tools.venue.orders import OrderDesk
from tools.venue.request import (
    Endpoint,
    NoReplyError,
    Request,
    Security,
    answer,
    origin_of,
    spend_orders,
    spend_weight,
    weight_of,
)
from tools.venue.rest_algo import AlgoHandlers
from tools.venue.rest_market import MarketHandlers
from tools.venue.rest_trade import AccountHandlers, TradeHandlers
from tools.venue.truth import OwnHandler, TruthHandlers


class _NoClientMistakes(logging.Filter):
    """Keeps off the terminal what clients write that is no HTTP: they are answered with 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the venue itself is at fault."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


LOGGER: Final = logging.getLogger("tools.venue.rest")
"""Of the HTTP server: hears of the venue's own errors only."""
LOGGER.addFilter(_NoClientMistakes())
DOWN: Final = orjson.dumps({"code": -1001, "msg": "Service Unavailable."})


class RestServer:
    """Answers every path; those of the venue and, outside its name space, the simulator's own."""

    def __init__(
        self, exchange: Exchange, desk: OrderDesk, algo: AlgoHandlers, faults: Faults
    ) -> None:
        self._exchange = exchange
        self._endpoints: dict[tuple[str, str], Endpoint] = {
            **MarketHandlers(exchange).endpoints(),
            **TradeHandlers(exchange, desk).endpoints(),
            **algo.endpoints(),
            **AccountHandlers(exchange).endpoints(),
        }
        self._own = TruthHandlers(exchange).endpoints() | faults.endpoints()

    def application(self) -> web.Application:
        """The aiohttp application with its one route."""
        application = web.Application(client_max_size=1_048_576)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, http: web.Request) -> web.Response:
        own = self._own.get((http.method, http.path))
        if own is not None:
            return _own_response(own, dict(http.query))
        if self._exchange.is_down:
            return _response(503, DOWN, {})
        try:
            body = (await http.read()).decode(errors="replace")
        except (ConnectionError, RuntimeError):
            return web.Response(status=400)  # it vanished in the middle of its request
        headers: dict[str, str] = {}
        try:
            status, payload = 200, self._handle(http, body, headers)
        except ApiError as error:
            status = error.status
            payload = orjson.dumps({"code": error.code, "msg": error.text})
            if error.is_gateway:
                payload = f"<html><body>{status} {error.text}</body></html>".encode()
            if error.retry_after_s:
                headers["Retry-After"] = str(error.retry_after_s)
        except NoReplyError:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=500)
        status, payload = await self._exchange.outlet.reply(http.path, status, payload)
        return _response(status, payload, headers)

    def _handle(self, http: web.Request, body: str, headers: dict[str, str]) -> bytes:
        exchange = self._exchange
        endpoint = self._endpoints.get((http.method, http.path))
        if endpoint is None:
            raise wrong_path(http.path, http.method)
        query = http.rel_url.raw_query_string
        api_key = http.headers.get("X-MBX-APIKEY", "")
        name = f"{http.method} {http.path}"
        origin = origin_of(exchange, "rest", name, _client(http), api_key)
        # The query wins when both name a parameter.
        params = dict(parse_qsl(body, keep_blank_values=True))
        params.update(parse_qsl(query, keep_blank_values=True))
        address = http.remote or "local"
        try:
            spend_weight(exchange, address, weight_of(endpoint, params), origin)
        finally:
            used = exchange.address_limit(address).weight.used(exchange.clock_ms())
            headers["X-MBX-USED-WEIGHT-1M"] = str(used)
        account: Account | None = None
        if endpoint.security is not Security.NONE:
            account = self._authenticate(endpoint.security, origin, query, body, params)
            if endpoint.orders_per_minute:
                try:
                    spend_orders(exchange, account, endpoint, origin)
                finally:
                    now_ms = exchange.clock_ms()
                    limit = account.order_limit
                    headers["X-MBX-ORDER-COUNT-10S"] = str(limit.ten_seconds.used(now_ms))
                    headers["X-MBX-ORDER-COUNT-1M"] = str(limit.minute.used(now_ms))
        result: Any = answer(exchange, endpoint, Request(params, account, origin), name)
        return result if isinstance(result, bytes) else orjson.dumps(result)

    def _authenticate(
        self, security: Security, origin: Origin, query: str, body: str, params: dict[str, str]
    ) -> Account:
        key = self._exchange.key(origin.api_key, origin)
        if security >= Security.SIGNED:
            payload, signature = signed_part(query, body)
            try:
                key.check(payload, signature)
            except ApiError:
                self._exchange.note_violation("signature", origin.api_key, origin)
                raise
            check_time(params, self._exchange.clock_ms())
        if security is Security.TRADE and not key.can_trade:
            raise refuse(-2015)
        return self._exchange.account_of(key)


def _client(http: web.Request) -> str:
    """Who asks: address, port and user agent."""
    peer = http.transport.get_extra_info("peername") if http.transport is not None else None
    place = f"{peer[0]}:{peer[1]}" if peer else "local"
    return f"{place} {http.headers.get('User-Agent', '')}".rstrip()


def _own_response(own: OwnHandler, params: dict[str, str]) -> web.Response:
    """The simulator's own answer, or what was wrong with the question."""
    try:
        return _response(200, orjson.dumps(own(params)), {})
    except UsageError as error:
        body = {"error": error.message, "remedy": error.remedy}
        return _response(400, orjson.dumps(body), {})


def _response(status: int, payload: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=payload, status=status, headers=headers, content_type="application/json"
    )
