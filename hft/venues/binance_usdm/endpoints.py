"""The venue's addresses: base URLs from the settings, routes, stream names.

Since 2026-04-23 market streams live on two routes, ``/public`` and ``/market``, and user data on
``/private``. A stream that is asked for on the wrong route is acknowledged and stays silent, so
the route of every stream is decided here and nowhere else (Binance USD-M API, WebSocket change
notice of 2026-03-05).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from hft.config import VenueConfig
from hft.errors import ConfigError, UnreachableError, UsageError

Route = Literal["public", "market", "private"]

URL_STREAMS_MAX: Final = 100
"""More streams than this are subscribed in batches: URLs of many kilobytes meet gateway limits."""
STREAMS_PER_CONNECTION_MAX: Final = 1_024
USER_EVENTS: Final = (
    "ORDER_TRADE_UPDATE",
    "TRADE_LITE",
    "ACCOUNT_UPDATE",
    "ACCOUNT_CONFIG_UPDATE",
    "ALGO_UPDATE",
    "MARGIN_CALL",
    "CONDITIONAL_ORDER_TRIGGER_REJECT",
    "STRATEGY_UPDATE",
    "GRID_UPDATE",
    "listenKeyExpired",
)
"""The ``events`` parameter is an allow list: what is not named here never arrives."""

_PUBLIC_KINDS: Final = ("depth", "bookTicker", "rpiDepth", "trade")


class Endpoints(msgspec.Struct, frozen=True):
    """Base URLs without a trailing slash."""

    rest: str
    streams: str
    api: str

    @classmethod
    def from_config(cls, venue: VenueConfig) -> Endpoints:
        """Check and take the three URLs of ``[venue]``.

        Raises:
            ConfigError: one sentence for each URL that cannot be one.
        """
        problems = [
            *_problems_of("venue.rest_url", venue.rest_url, ("http", "https")),
            *_problems_of("venue.streams_url", venue.streams_url, ("ws", "wss")),
            *_problems_of("venue.api_url", venue.api_url, ("ws", "wss")),
        ]
        if problems:
            raise ConfigError(problems, remedy="give full base URLs, as in wss://host:port/path")
        return cls(
            rest=venue.rest_url.rstrip("/"),
            streams=venue.streams_url.rstrip("/"),
            api=venue.api_url.rstrip("/"),
        )

    def stream_url(self, route: Route) -> str:
        """Base URL of a stream route."""
        return f"{self.streams}/{route}"

    def combined_url(self, route: Route, streams: Sequence[str] = ()) -> str:
        """URL that wraps each payload as ``{"stream": …, "data": …}``; without streams: empty."""
        base = f"{self.stream_url(route)}/stream"
        if not streams:
            return base
        return f"{base}?streams={'/'.join(quote(name, safe='@!_') for name in streams)}"

    def user_url(self, listen_key: str) -> str:
        """User data by listen key, in the one URL form that nobody reports as silent."""
        key = quote(listen_key, safe="")
        return f"{self.stream_url('private')}/ws?listenKey={key}&events={'/'.join(USER_EVENTS)}"


def route_of(stream: str) -> Route:
    """Route on which the venue serves a market stream, from the stream's name."""
    kind = stream.rpartition("!")[2] if stream.startswith("!") else stream.partition("@")[2]
    kind = kind.partition("@")[0]
    # Partial depth carries its level count in the name: depth5, depth10, depth20.
    kind = kind.rstrip("0123456789")
    return "public" if kind in _PUBLIC_KINDS else "market"


def check_routes(route: Route, streams: Sequence[str]) -> None:
    """Refuse streams that would be acknowledged on ``route`` and then stay silent.

    Raises:
        UsageError: a stream belongs to another route, or there are too many of them.
    """
    if not streams or len(streams) > STREAMS_PER_CONNECTION_MAX:
        raise UsageError(
            f"{len(streams)} streams on one connection",
            remedy=f"give 1 to {STREAMS_PER_CONNECTION_MAX} streams",
        )
    wrong = [name for name in streams if route_of(name) != route]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)}: not served on /{route}",
            remedy=f"subscribe on /{route_of(wrong[0])}",
        )


def stream_name(symbol: str, kind: str) -> str:
    """Stream of a symbol, as in ``btcusdt@depth@100ms``."""
    return f"{symbol.lower()}@{kind}"


def host_port(url: str) -> str:
    """``host:port`` of a URL, with the scheme's port when it names none."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    return f"{parts.hostname}:{port}"


def unreachable(url: str, cause: BaseException | str) -> UnreachableError:
    """The error for a venue that does not answer: where it was looked for, why, what to do."""
    text = cause if isinstance(cause, str) else str(cause) or type(cause).__name__
    lowered = text.lower()
    # The client's "ssl:default" stands in every refusal, whatever was wrong.
    if any(word in lowered for word in ("certificate", "[ssl", "sslv", "tls")):
        remedy = "check the certificate and this host's clock; TLS is always verified"
    elif "name" in lowered or "getaddrinfo" in lowered or "nodename" in lowered:
        remedy = "check the host name in [venue] and this host's DNS"
    else:
        remedy = "check the URLs in [venue], the network, and that the venue is up"
    return UnreachableError(f"{host_port(url)} cannot be reached: {text}", remedy=remedy)


def _problems_of(key: str, url: str, schemes: tuple[str, ...]) -> list[str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return [f"{key} = {url!r}: {error}"]
    if parts.scheme not in schemes:
        return [f"{key} = {url!r}: has to start with {' or '.join(f'{s}://' for s in schemes)}"]
    if not parts.hostname or port == 0:
        return [f"{key} = {url!r}: names no host or no usable port"]
    if parts.query or parts.fragment or parts.username or parts.password:
        return [f"{key} = {url!r}: may hold host, port and path only"]
    return []
