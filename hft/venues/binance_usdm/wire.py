"""The venue's words and numbers as ours: decimals, times, enumerations.

A word that is not in these tables becomes ``UNKNOWN``: it is never mapped to a guess.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import IntEnum
from typing import Final

from hft.core.decimals import parse_e8_bytes
from hft.errors import PrecisionError
from hft.records import OrderState, OrderType, Side, Tif
from hft.units import INT64_MAX, NS_PER_MS

E8_PLACES: Final = 8


class OrderStatus(IntEnum):
    """``status`` of an order at the venue."""

    UNKNOWN = 0
    NEW = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELED = 4
    REJECTED = 5
    EXPIRED = 6
    EXPIRED_IN_MATCH = 7
    """Ended by self-trade prevention."""


class ExecType(IntEnum):
    """What happened to an order (``x`` of an order update)."""

    UNKNOWN = 0
    NEW = 1
    TRADE = 2
    CANCELED = 3
    EXPIRED = 4
    AMENDMENT = 5
    CALCULATED = 6
    """A liquidation's fill, by the documentation; seen on the wire is TRADE."""


STATUSES: Final = {status.name: status for status in OrderStatus if status}
EXEC_TYPES: Final = {kind.name: kind for kind in ExecType if kind}
SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
ORDER_TYPES: Final = {"LIMIT": OrderType.LIMIT, "MARKET": OrderType.MARKET}
TIFS: Final = {
    "GTC": Tif.GTC,
    "IOC": Tif.IOC,
    "FOK": Tif.FOK,
    "GTD": Tif.GTD,
    "GTX": Tif.GTC,
}
"""GTX is post-only: good till cancelled, and never taking."""
POST_ONLY_TIF: Final = "GTX"

ORDER_STATES: Final = {
    OrderStatus.UNKNOWN: OrderState.UNRESOLVED,
    OrderStatus.NEW: OrderState.WORKING,
    OrderStatus.PARTIALLY_FILLED: OrderState.WORKING,
    OrderStatus.FILLED: OrderState.FILLED,
    OrderStatus.CANCELED: OrderState.CANCELED,
    OrderStatus.REJECTED: OrderState.REJECTED,
    OrderStatus.EXPIRED: OrderState.EXPIRED,
    OrderStatus.EXPIRED_IN_MATCH: OrderState.EXPIRED,
}
"""The venue's status as a state of our order; an unknown word leaves the order unresolved."""


def exact_e8(text: str) -> int:
    """Decimal text, padded or stripped, as an integer in 1e-8.

    Raises:
        PrecisionError: not a plain decimal, more than eight places, or outside int64.
    """
    return parse_e8_bytes(text.encode())


def rounded_e8(text: str) -> int:
    """Like ``exact_e8``, but more than eight places are rounded to the nearest.

    For figures that the venue computed (average prices, break-even, profit) and that no sum of
    ours is built on. An empty text is 0.

    Raises:
        PrecisionError: not a decimal, or outside int64.
    """
    if not text:
        return 0
    try:
        return exact_e8(text)
    except PrecisionError:
        pass
    try:
        value = Decimal(text).scaleb(E8_PLACES).to_integral_value(ROUND_HALF_EVEN)
        result = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise PrecisionError(text=text, why="is not a decimal number") from None
    if not -INT64_MAX <= result <= INT64_MAX:
        raise PrecisionError(text=text, why="does not fit 64 bits in units of 1e-8")
    return result


def ns_of_ms(milliseconds: int) -> int:
    """The venue's milliseconds as ns of the same clock."""
    return milliseconds * NS_PER_MS
