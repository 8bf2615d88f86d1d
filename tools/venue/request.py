"""A request as both interfaces see it: who asks, with which parameters, at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from tools.venue.accounts import Account
from tools.venue.errors import ApiError, refuse
from tools.venue.history import Moment, Origin

if TYPE_CHECKING:
    from tools.venue.exchange import Exchange


class Security(IntEnum):
    """What a request must bring."""

    NONE = 0
    KEY = 1
    """The API key only."""
    SIGNED = 2
    """Key, timestamp and signature."""
    TRADE = 3
    """As SIGNED, and the key may trade."""


NOBODY: Final = Origin(Moment(0, 0), "venue")
"""Where the venue's own acts come from."""


class Request(NamedTuple):
    """An authenticated request; ``account`` is set where security asks for it."""

    params: Mapping[str, str]
    account: Account | None
    origin: Origin = NOBODY

    @property
    def owner(self) -> Account:
        """The account that asks."""
        assert self.account is not None
        return self.account


Handler: TypeAlias = Callable[[Request], Any]
"""Returns what becomes JSON; bytes are sent as they are."""
Weight: TypeAlias = int | Callable[[Mapping[str, str]], int]


class NoReplyError(Exception):
    """A fault: the request gets no reply."""


class Gate(Protocol):
    """What stands between the checks of a request and its handler while faults are at work."""

    def handle(self, handler: Handler, request: Request, name: str) -> Any:
        """Handle the request, or do something else to it.

        Raises:
            ApiError: it is refused.
            NoReplyError: it gets no reply.
        """


class Endpoint(NamedTuple):
    """How to answer one method and path."""

    handler: Handler
    weight: Weight
    security: Security = Security.NONE
    orders_per_10_s: int = 0
    orders_per_minute: int = 0


def weight_of(endpoint: Endpoint, params: Mapping[str, str]) -> int:
    """Request weight, which for some endpoints depends on the parameters."""
    return endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(params)


def answer(exchange: Exchange, endpoint: Endpoint, request: Request, name: str) -> Any:
    """The result of a request that passed all checks; ``name`` is its method, and path if any.

    Raises:
        ApiError: refused.
        NoReplyError: a fault swallowed the reply.
    """
    gate = exchange.gate
    if gate is None:
        return endpoint.handler(request)
    return gate.handle(endpoint.handler, request, name)


def spend_weight(exchange: Exchange, address: str, weight: int, origin: Origin) -> None:
    """Count the weight of a request.

    Raises:
        ApiError: -1003.
    """
    try:
        exchange.address_limit(address).spend(exchange.clock_ms(), weight)
    except ApiError as error:
        note_refusal(exchange, error, origin)
        raise


def note_refusal(exchange: Exchange, error: ApiError, origin: Origin) -> None:
    """Complain of a request over the limits, if its client should have known better."""
    if error.is_violation:
        kind = "banned" if error.status == 418 else "weight limit"
        exchange.note_violation(kind, error.text, origin)


def spend_orders(exchange: Exchange, account: Account, endpoint: Endpoint, origin: Origin) -> None:
    """Count the orders of a request.

    Raises:
        ApiError: -1015.
    """
    if not endpoint.orders_per_minute:
        return
    try:
        account.order_limit.spend(
            exchange.clock_ms(),
            ten_seconds=endpoint.orders_per_10_s,
            minute=endpoint.orders_per_minute,
        )
    except ApiError as error:
        exchange.note_violation("order limit", error.text, origin)
        raise


def origin_of(exchange: Exchange, source: str, endpoint: str, client: str, api_key: str) -> Origin:
    """The origin of a request that arrives now."""
    arrived = Moment(exchange.clock_ms(), time.monotonic_ns())
    return Origin(arrived, source, endpoint, client, api_key)


def by_symbol(one: int, many: int) -> Callable[[Mapping[str, str]], int]:
    """Weight with and without a symbol."""
    return lambda params: one if params.get("symbol") else many


def depth_weight(params: Mapping[str, str]) -> int:
    """Weight of the depth query by its limit."""
    limit = params.get("limit", "500")
    return {"5": 2, "10": 2, "20": 2, "50": 2, "100": 5, "1000": 20}.get(limit, 10)


def depth_limit(params: Mapping[str, str]) -> int:
    """The limit of a depth query.

    Raises:
        ApiError: -4021.
    """
    limit = params.get("limit", "500")
    if limit not in ("5", "10", "20", "50", "100", "500", "1000"):
        raise refuse(-4021)
    return int(limit)


def rate_limits(
    exchange: Exchange, address: str, account: Account | None
) -> list[dict[str, object]]:
    """The ``rateLimits`` member of WebSocket API replies."""
    now_ms = exchange.clock_ms()
    rows: list[dict[str, object]] = []
    if account is not None:
        for window, interval, interval_num in (
            (account.order_limit.ten_seconds, "SECOND", 10),
            (account.order_limit.minute, "MINUTE", 1),
        ):
            rows.append(
                {
                    "rateLimitType": "ORDERS",
                    "interval": interval,
                    "intervalNum": interval_num,
                    "limit": window.limit,
                    "count": window.used(now_ms),
                }
            )
    weight = exchange.address_limit(address).weight
    rows.append(
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": weight.limit,
            "count": weight.used(now_ms),
        }
    )
    return rows
