"""Trading rules of the simulated symbols, and the ``exchangeInfo`` body made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Any, Final

import msgspec

from hft.errors import UsageError
from hft.units import E8, format_e8, format_places, parse_e8

PERPETUAL_DELIVERY_MS: Final = 4_133_404_800_000
QUOTE_ASSETS: Final = ("USDT", "USDC", "FDUSD", "BUSD", "BTC")
LIQUIDATION_FEE_E8: Final = 1_250_000
"""Of the notional, taken from the wallet for the insurance fund."""
ONBOARD_MS: Final = 1_569_398_400_000
STANDARD_LIMITS: Final[Mapping[str, int]] = {
    "weight_per_minute": 2_400,
    "orders_per_minute": 1_200,
    "orders_per_10_s": 300,
    "open_orders_per_symbol": 200,
}


class SymbolRules(msgspec.Struct, frozen=True, kw_only=True):
    """Filters and precision of one symbol, all numbers in 1e-8."""

    symbol: str
    base_asset: str
    quote_asset: str
    price_places: int
    qty_places: int
    tick_e8: int
    step_e8: int
    price_min_e8: int
    price_max_e8: int
    qty_max_e8: int
    market_qty_max_e8: int
    notional_min_e8: int
    multiplier_up_e8: int = 105_000_000
    multiplier_down_e8: int = 95_000_000
    market_take_bound_e8: int = 5_000_000
    leverage_max: int = 125
    start_price_e8: int
    """Where the synthetic market begins."""
    level_qty_e8: int
    """Usual quantity of a level of the synthetic market."""


def _rules(
    symbol: str,
    *,
    places: tuple[int, int],
    tick: str,
    step: str,
    prices: tuple[str, str],
    quantities: tuple[str, str],
    notional: str,
    start: str,
    level: str,
) -> SymbolRules:
    base_asset, quote_asset = split_symbol(symbol)
    return SymbolRules(
        symbol=symbol,
        base_asset=base_asset,
        quote_asset=quote_asset,
        price_places=places[0],
        qty_places=places[1],
        tick_e8=parse_e8(tick),
        step_e8=parse_e8(step),
        price_min_e8=parse_e8(prices[0]),
        price_max_e8=parse_e8(prices[1]),
        qty_max_e8=parse_e8(quantities[0]),
        market_qty_max_e8=parse_e8(quantities[1]),
        notional_min_e8=parse_e8(notional),
        start_price_e8=parse_e8(start),
        level_qty_e8=parse_e8(level),
    )


def split_symbol(symbol: str) -> tuple[str, str]:
    """Base and quote asset of a symbol; quote USDT where the name does not tell."""
    for quote in QUOTE_ASSETS:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, "USDT"


_KNOWN: Final = {
    rules.symbol: rules
    for rules in (
        _rules(
            "BTCUSDT",
            places=(2, 3),
            tick="0.10",
            step="0.001",
            prices=("556.80", "4529764"),
            quantities=("1000", "120"),
            notional="100",
            start="64000",
            level="0.9",
        ),
        _rules(
            "ETHUSDT",
            places=(2, 3),
            tick="0.01",
            step="0.001",
            prices=("39.86", "306177"),
            quantities=("10000", "2000"),
            notional="20",
            start="3100",
            level="9",
        ),
        _rules(
            "SOLUSDT",
            places=(4, 2),
            tick="0.01",
            step="0.01",
            prices=("0.42", "6857"),
            quantities=("1000000", "80000"),
            notional="5",
            start="155",
            level="150",
        ),
    )
}


def synthetic_rules(symbol: str) -> SymbolRules:
    """Rules of a symbol for the synthetic market; names not in the table get a generic contract.

    Raises:
        UsageError: the name cannot be a symbol.
    """
    known = _KNOWN.get(symbol)
    if known is not None:
        return known
    if not symbol.isalnum() or symbol != symbol.upper():
        raise UsageError(f"symbol {symbol!r} is not a venue symbol", remedy="write it like BTCUSDT")
    return _rules(
        symbol,
        places=(4, 1),
        tick="0.0001",
        step="0.1",
        prices=("0.0010", "1000"),
        quantities=("5000000", "1000000"),
        notional="5",
        start="1",
        level="20000",
    )


def inferred_rules(symbol: str, prices: Iterable[str], quantities: Iterable[str]) -> SymbolRules:
    """Rules of a recorded symbol: from the table, or from the numbers that were seen."""
    known = _KNOWN.get(symbol)
    if known is not None:
        return known
    price_texts, qty_texts = list(prices), list(quantities)
    tick_e8 = gcd(*(parse_e8(text) for text in price_texts))
    step_e8 = gcd(*(parse_e8(text) for text in qty_texts))
    last_e8 = parse_e8(price_texts[-1])
    base_asset, quote_asset = split_symbol(symbol)
    return SymbolRules(
        symbol=symbol,
        base_asset=base_asset,
        quote_asset=quote_asset,
        price_places=max(map(_places, price_texts)),
        qty_places=max(map(_places, qty_texts)),
        tick_e8=tick_e8,
        step_e8=step_e8,
        price_min_e8=tick_e8,
        price_max_e8=last_e8 * 100 // tick_e8 * tick_e8,
        qty_max_e8=step_e8 * 10_000_000,
        market_qty_max_e8=step_e8 * 1_000_000,
        notional_min_e8=5 * E8,
        start_price_e8=last_e8,
        level_qty_e8=step_e8 * 100,
    )


def _places(text: str) -> int:
    return len(text.partition(".")[2])


def exchange_info(
    rules: Iterable[SymbolRules], *, limits: Mapping[str, int] = STANDARD_LIMITS, now_ms: int
) -> dict[str, Any]:
    """The ``exchangeInfo`` body of these symbols; ``limits`` as in ``STANDARD_LIMITS``."""
    all_rules = list(rules)
    quotes = sorted({r.quote_asset for r in all_rules} | {"USDT", "BNB"})
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, limits["weight_per_minute"]),
            _limit("ORDERS", "MINUTE", 1, limits["orders_per_minute"]),
            _limit("ORDERS", "SECOND", 10, limits["orders_per_10_s"]),
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in quotes
        ],
        "symbols": [_symbol(r, limits["open_orders_per_symbol"]) for r in all_rules],
    }


def _limit(kind: str, interval: str, interval_num: int, limit: int) -> dict[str, Any]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": interval_num,
        "limit": limit,
    }


def _symbol(rules: SymbolRules, open_orders_max: int) -> dict[str, Any]:
    step = format_e8(rules.step_e8)
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_DELIVERY_MS,
        "onboardDate": ONBOARD_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base_asset,
        "quoteAsset": rules.quote_asset,
        "marginAsset": rules.quote_asset,
        "pricePrecision": rules.price_places,
        "quantityPrecision": rules.qty_places,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": format_places(LIQUIDATION_FEE_E8, 6),
        "marketTakeBound": format_e8(rules.market_take_bound_e8),
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": format_places(rules.price_min_e8, rules.price_places),
                "maxPrice": format_e8(rules.price_max_e8),
                "tickSize": format_places(rules.tick_e8, rules.price_places),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": format_e8(rules.qty_max_e8),
                "stepSize": step,
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": step,
                "maxQty": format_e8(rules.market_qty_max_e8),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": open_orders_max},
            {"filterType": "MIN_NOTIONAL", "notional": format_e8(rules.notional_min_e8)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": f"{rules.multiplier_up_e8 / E8:.4f}",
                "multiplierDown": f"{rules.multiplier_down_e8 / E8:.4f}",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }
