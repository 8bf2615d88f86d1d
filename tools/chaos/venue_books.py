"""The simulator's own books, as ``GET /sim/truth`` shows them."""

from __future__ import annotations

import urllib.request
from typing import Final

import msgspec

HTTP_S_MAX: Final = 60.0
"""The books of an hour are large."""
OPEN: Final = frozenset({"NEW", "PARTIALLY_FILLED"})


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order the venue accepted."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    price: str
    qty: str
    filled: str
    status: str
    amends: int
    created: int = 0
    """When the venue took it, ms of its wall clock; 0: not told."""

    @property
    def is_open(self) -> bool:
        """Whether it still rests."""
        return self.status in OPEN


class VenueFill(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a trade."""

    symbol: str
    trade_id: int
    order_id: int
    client_order_id: str
    side: str
    price: str
    qty: str
    fee: str


class VenuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """What the account holds of a symbol."""

    qty: str


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the venue that a request of ours broke."""

    kind: str
    detail: str
    time_ns: int = 0
    """Monotonic time of this host."""
    endpoint: str = ""
    client: str = ""
    """Who it was, as far as the venue can tell: address, port, user agent."""


class Ban(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nothing of ours was answered."""

    from_ns: int
    to_ns: int | None
    told_ns: int | None
    """When the first of us heard of it; None: nobody asked."""


class VenueBooks(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that really happened at the venue."""

    wallet: str
    positions: dict[str, VenuePosition]
    orders: tuple[VenueOrder, ...]
    fills: tuple[VenueFill, ...]
    complaints: tuple[Complaint, ...] = msgspec.field(name="violations")
    bans: tuple[Ban, ...] = ()


class _Stats(msgspec.Struct, frozen=True, kw_only=True):
    open_orders: int


def read_books(rest_url: str) -> VenueBooks:
    """Ask the simulator."""
    return msgspec.json.decode(_get(rest_url, "/sim/truth"), type=VenueBooks)


def open_orders(rest_url: str) -> int:
    """How many orders rest at the venue at this moment."""
    return msgspec.json.decode(_get(rest_url, "/sim/stats"), type=_Stats).open_orders


def _get(rest_url: str, path: str) -> bytes:
    with urllib.request.urlopen(rest_url + path, timeout=HTTP_S_MAX) as response:
        body: bytes = response.read()
    return body
