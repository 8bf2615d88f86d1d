"""Market and user streams: routes, URL forms, the subscribe protocol, delivery of user events.

Routes (Binance USD-M API, WebSocket base URL split of 2026): ``/public`` high-frequency streams,
``/market`` the others, ``/private`` user data. A connection without a route accepts everything and
gets the public streams only; a stream on the wrong route is acknowledged and silent.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
from picows import WSUpgradeRequest

from tools.venue.accounts import Account
from tools.venue.connection import Connection, agent_of
from tools.venue.exchange import Exchange
from tools.venue.outlet import Channel

_PUBLIC_STREAM: Final = re.compile(
    r".+@(bookTicker|trade|depth(5|10|20)?(@\w+)?|rpiDepth@500ms)|!bookTicker"
)
_METHODS: Final = (
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST_SUBSCRIPTIONS",
    "SET_PROPERTY",
    "GET_PROPERTY",
)


class Route(Enum):
    """What kind of streams a connection delivers."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    NONE = ""


class BadRequestError(Exception):
    """A control message refused with a code of the stream protocol."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class ListenKeyFilter:
    """One listen key on one connection and the events it may deliver (None: all)."""

    __slots__ = ("events", "listen_key")

    def __init__(self, listen_key: str, events: frozenset[str] | None) -> None:
        self.listen_key = listen_key
        self.events = events


class StreamServer:
    """All stream connections; hands user events to those who listen to the account's key."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.connections: dict[StreamConnection, None] = {}
        exchange.deliver = self._deliver

    def accept(self, request: WSUpgradeRequest) -> Connection | None:
        """A listener for the URL; None answers 404."""
        path, _, query = request.path.decode().partition("?")
        parts = [unquote(part) for part in path.split("/") if part]
        route = Route.NONE
        if parts and parts[0] in ("public", "market", "private"):
            route = Route(parts.pop(0))
        if not parts or parts[0] not in ("ws", "stream"):
            return None
        connection = StreamConnection(
            self, route, is_combined=parts[0] == "stream", agent=agent_of(request)
        )
        params = parse_qsl(query)
        if route is Route.PRIVATE:
            connection.keys = self._listen_keys(parts[1:], params)
        else:
            names = parts[1:]
            for name, value in params:
                if name == "streams":
                    names += value.split("/")
            connection.initial_names = [name for name in names if name]
        return connection

    def by_purpose(self) -> tuple[list[Connection], list[Connection]]:
        """Connections for the market and connections for user data."""
        market: list[Connection] = [c for c in self.connections if not c.keys]
        user: list[Connection] = [c for c in self.connections if c.keys]
        return market, user

    def _listen_keys(
        self, path_keys: list[str], params: list[tuple[str, str]]
    ) -> list[ListenKeyFilter]:
        config = self.exchange.config
        found = []
        if config.private_path_delivers:
            found += [ListenKeyFilter(key, None) for key in path_keys]
        nothing: frozenset[str] = frozenset()
        unnamed = None if config.private_without_events_delivers else nothing
        for name, value in params:
            if name == "listenKey":
                found.append(ListenKeyFilter(value, unnamed))
            elif name == "events" and found:
                found[-1].events = frozenset(value.split("/"))
        return found

    def _deliver(self, account: Account, name: str, payload: bytes) -> None:
        listen_key = account.listen_key
        if not listen_key:
            return
        outlet = self.exchange.outlet
        for connection in tuple(self.connections):
            for key in connection.keys:
                is_named = key.events is None or name in key.events
                if key.listen_key != listen_key or not is_named:
                    continue
                frame = payload
                if connection.is_combined:
                    frame = b'{"stream":"%b","data":%b}' % (listen_key.encode(), payload)
                outlet.send(connection, Channel.USER, name, frame)
                break


class StreamConnection(Connection):
    """One client of the streams."""

    def __init__(
        self, server: StreamServer, route: Route, *, is_combined: bool, agent: str
    ) -> None:
        super().__init__(server.exchange, agent)
        self.is_combined = is_combined
        self.keys: list[ListenKeyFilter] = []
        self.initial_names: list[str] = []
        self._server = server
        self._route = route
        self._names: dict[str, None] = {}

    def on_open(self) -> None:
        """Begin with the streams of the URL."""
        self._server.connections[self] = None
        self._subscribe(self.initial_names)

    def on_end(self) -> None:
        """Leave all streams."""
        self._server.connections.pop(self, None)
        for name in self._names:
            self.exchange.hub.leave(self, name)

    def on_text(self, text: bytes) -> None:
        """One message of the subscribe protocol."""
        try:
            request = _parse(text)
            reply: dict[str, Any] = {"result": self._handle(request), "id": request.get("id")}
        except BadRequestError as error:
            reply = {"code": error.code, "msg": error.text}
        self.exchange.outlet.send(self, Channel.CONTROL, "", orjson.dumps(reply))

    def _handle(self, request: dict[str, Any]) -> Any:
        params = request.get("params", [])
        if not isinstance(params, list):
            raise BadRequestError(2, "Invalid request: params must be an array")
        match request["method"]:
            case "SUBSCRIBE":
                self._subscribe(_names(params))
            case "UNSUBSCRIBE":
                self._unsubscribe(_names(params))
            case "LIST_SUBSCRIPTIONS":
                return list(self._names)
            case "SET_PROPERTY":
                self._set_combined(params)
            case _:
                _check_property(params[:1])
                return self.is_combined
        return None

    def _subscribe(self, names: list[str]) -> None:
        if len(self._names | dict.fromkeys(names)) > self.exchange.config.streams_per_connection:
            raise BadRequestError(2, "Invalid request: too many parameters")
        for name in names:
            self._names[name] = None
            if self._route is Route.PRIVATE:
                self.keys.append(ListenKeyFilter(name, None))
            elif self._delivers(name):
                self.exchange.hub.listen(self, name, is_combined=self.is_combined)

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self._names.pop(name, None)
            self.exchange.hub.leave(self, name)
            self.keys = [key for key in self.keys if key.listen_key != name]

    def _set_combined(self, params: list[Any]) -> None:
        _check_property(params[:1])
        if len(params) > 2:
            raise BadRequestError(2, "Invalid request: too many parameters")
        if len(params) < 2 or not isinstance(params[1], bool):
            raise BadRequestError(1, "Invalid value type: expected Boolean")
        self.is_combined = params[1]
        for name in self._names:
            if self._delivers(name):
                self.exchange.hub.listen(self, name, is_combined=self.is_combined)

    def _delivers(self, name: str) -> bool:
        is_public = _PUBLIC_STREAM.fullmatch(name) is not None
        match self._route:
            case Route.PUBLIC | Route.NONE:
                return is_public
            case Route.MARKET:
                return not is_public
            case Route.PRIVATE:
                return False


def _parse(text: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise BadRequestError(3, f"Invalid JSON: expected value at {place}") from None
    if not isinstance(request, dict) or "method" not in request:
        column = len(text)
        raise BadRequestError(
            2, f"Invalid request: missing field `method` at line 1 column {column}"
        )
    method = request["method"]
    if method not in _METHODS:
        expected = ", ".join(f"`{m}`" for m in _METHODS)
        raise BadRequestError(
            2,
            f"Invalid request: unknown variant `{method}`, expected one of {expected} "
            f"at line 1 column {len(text)}",
        )
    request_id = request.get("id", 0)
    if not isinstance(request_id, int) or isinstance(request_id, bool) or request_id < 0:
        raise BadRequestError(2, "Invalid request: request ID must be an unsigned integer")
    return request


def _names(params: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in params):
        raise BadRequestError(2, "Invalid request: stream name must be a string")
    return params


def _check_property(params: list[Any]) -> None:
    if not params or not isinstance(params[0], str):
        raise BadRequestError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise BadRequestError(0, "Unknown property")
