"""Units of the whole system, and the only door between decimal text and integers.

Price, quantity and money are int64 in units of 1e-8 (suffix ``_e8``): this holds the venue's eight
decimals exactly. Times are int nanoseconds; the name says which clock.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from hft.errors import PrecisionError

E8: Final = 100_000_000
NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
INT64_MAX: Final = 2**63 - 1

NO_PRICE_E8: Final = -(2**63)
"""Absence of a price in a record: never 0, which is a price."""


def parse_e8(text: str) -> int:
    """Decimal text to an integer in 1e-8.

    Raises:
        PrecisionError: not a finite decimal, more than eight places, or outside int64.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise PrecisionError(text=text, why="is not a decimal number") from None
    if not value.is_finite():
        raise PrecisionError(text=text, why="is not finite")
    scaled = value.scaleb(8)
    if scaled != scaled.to_integral_value():
        raise PrecisionError(text=text, why="has more than 8 decimal places")
    result = int(scaled)
    if not -INT64_MAX <= result <= INT64_MAX:
        raise PrecisionError(text=text, why="does not fit 64 bits in units of 1e-8")
    return result


def format_e8(value_e8: int) -> str:
    """An integer in 1e-8 as the shortest exact decimal text: no exponent, no trailing zeros."""
    sign = "-" if value_e8 < 0 else ""
    whole, fraction = divmod(abs(value_e8), E8)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:08d}".rstrip("0")


def format_places(value_e8: int, places: int) -> str:
    """An integer in 1e-8 with exactly ``places`` decimals (0 to 8), as the venue pads its numbers.

    Raises:
        PrecisionError: the value has more decimals than ``places``.
    """
    unit = 10 ** (8 - places)
    scaled, rest = divmod(abs(value_e8), unit)
    if rest:
        raise PrecisionError(text=format_e8(value_e8), why=f"has more than {places} decimal places")
    sign = "-" if value_e8 < 0 else ""
    if places == 0:
        return f"{sign}{scaled}"
    whole, fraction = divmod(scaled, 10**places)
    return f"{sign}{whole}.{fraction:0{places}d}"


def floor_to(value_e8: int, step_e8: int) -> int:
    """Greatest multiple of ``step_e8`` not above ``value_e8``."""
    return value_e8 - value_e8 % step_e8


def ceil_to(value_e8: int, step_e8: int) -> int:
    """Least multiple of ``step_e8`` not below ``value_e8``."""
    return value_e8 + -value_e8 % step_e8
