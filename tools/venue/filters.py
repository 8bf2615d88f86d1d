"""Symbol filters: decimals, ticks, steps, ranges, notional, distance from the mark price."""

from __future__ import annotations

import re
from typing import Final

from hft.records import Side
from hft.units import E8, floor_to, format_e8, parse_e8
from tools.venue.encode import fixed
from tools.venue.errors import illegal, missing, refuse
from tools.venue.exchange_info import SymbolRules

_DECIMAL: Final = re.compile(r"-?\d{1,10}(\.\d{0,30})?|-?\.\d{1,30}")
CLIENT_ID: Final = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
CLIENT_ID_LENGTH_MAX: Final = 36


def decimal_e8(text: str, name: str, places: int) -> int:
    """A decimal parameter in 1e-8.

    Raises:
        ApiError: -1102 empty, -1100 not plain decimal text, -1111 more decimals than ``places``.
    """
    if not text:
        raise missing(name)
    if _DECIMAL.fullmatch(text) is None:
        raise illegal(name)
    decimals = text.partition(".")[2]
    if len(decimals) > places:
        raise refuse(-1111, "Precision is over the maximum defined for this asset.")
    return parse_e8(text)


def check_price(rules: SymbolRules, price_e8: int) -> None:
    """PRICE_FILTER.

    Raises:
        ApiError: -4001, -4002, -4013, -4014.
    """
    if price_e8 <= 0:
        raise refuse(-4001, "Price less than 0.")
    if rules.price_max_e8 and price_e8 > rules.price_max_e8:
        raise refuse(-4002, f"Price greater than max price {format_e8(rules.price_max_e8)}.")
    if price_e8 < rules.price_min_e8:
        raise refuse(-4013, f"Price less than min price {format_e8(rules.price_min_e8)}.")
    if (price_e8 - rules.price_min_e8) % rules.tick_e8:
        raise refuse(-4014)


def check_qty(rules: SymbolRules, qty_e8: int, *, is_market: bool) -> None:
    """LOT_SIZE, or MARKET_LOT_SIZE.

    Raises:
        ApiError: -4003, -4004, -4005, -4023.
    """
    if qty_e8 <= 0:
        raise refuse(-4003, "Quantity less than or equal to zero.")
    if qty_e8 < rules.step_e8:
        raise refuse(-4004, "Quantity less than min quantity.")
    if qty_e8 > (rules.market_qty_max_e8 if is_market else rules.qty_max_e8):
        raise refuse(-4005, "Quantity greater than max quantity.")
    if qty_e8 % rules.step_e8:
        raise refuse(-4023)


def check_notional(rules: SymbolRules, price_e8: int, qty_e8: int, *, code: int = -4164) -> None:
    """MIN_NOTIONAL; not to be called for reduce-only orders.

    Raises:
        ApiError: -4164, or -5029 for an amendment.
    """
    if price_e8 * qty_e8 < rules.notional_min_e8 * E8:
        least = format_e8(rules.notional_min_e8)
        raise refuse(
            code,
            f"Order's notional must be no smaller than {least} (unless you choose reduce only)",
        )


def check_percent_price(rules: SymbolRules, side: Side, price_e8: int, mark_e8: int) -> None:
    """PERCENT_PRICE: a buy not far above the mark, a sell not far below.

    Raises:
        ApiError: -4016, -4024.
    """
    highest_e8 = floor_to(mark_e8 * rules.multiplier_up_e8 // E8, rules.tick_e8)
    lowest_e8 = -floor_to(-(mark_e8 * rules.multiplier_down_e8 // E8), rules.tick_e8)
    if side > 0 and price_e8 > highest_e8:
        limit = fixed(highest_e8, rules.price_places)
        raise refuse(-4016, f"Limit price can't be higher than {limit}.")
    if side < 0 and price_e8 < lowest_e8:
        limit = fixed(lowest_e8, rules.price_places)
        raise refuse(-4024, f"Limit price can't be lower than {limit}.")


def market_bound_e8(rules: SymbolRules, side: Side, mark_e8: int) -> int:
    """The worst price a market order may take: marketTakeBound away from the mark."""
    bound_e8 = mark_e8 + side * (mark_e8 * rules.market_take_bound_e8 // E8)
    return max(rules.tick_e8, floor_to(bound_e8, rules.tick_e8))


def check_client_id(text: str, name: str = "newClientOrderId") -> None:
    """Characters and length of a client id, the parameter ``name``.

    Raises:
        ApiError: -4015, -1100.
    """
    if len(text) > CLIENT_ID_LENGTH_MAX:
        raise refuse(-4015)
    if CLIENT_ID.fullmatch(text) is None:
        raise illegal(name)
