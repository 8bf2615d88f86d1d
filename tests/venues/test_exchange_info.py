"""The venue's rules, read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hft.errors import UsageError, VenueError
from hft.records import InstrumentStatus
from hft.units import E8, parse_e8
from hft.venues.binance_usdm.exchange_info import parse_exchange_info

LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]


def symbol(name: str = "ETHUSDT", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": name,
        "pair": name,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "status": "TRADING",
        "baseAsset": "ETH",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "triggerProtect": "0.0500",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "39.86",
                "maxPrice": "306177",
                "tickSize": "0.01",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "10000", "stepSize": "0.001"},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.001",
                "maxQty": "2000",
                "stepSize": "0.001",
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "20"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
            {"filterType": "SOMETHING_NEW", "limit": "text"},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        **changes,
    }


def body(*symbols: dict[str, Any], limits: list[dict[str, Any]] | None = None) -> bytes:
    info = {"rateLimits": LIMITS if limits is None else limits, "symbols": list(symbols)}
    return json.dumps(info).encode()


def with_filter(name: str, **values: Any) -> dict[str, Any]:
    row = symbol()
    others = [one for one in row["filters"] if one["filterType"] != name]
    row["filters"] = [*others, {"filterType": name, **values}] if values else others
    return row


def test_every_filter_becomes_an_integer():
    row = symbol()
    row["filters"] = row["filters"][:-1]
    info = parse_exchange_info(body(row), ["ETHUSDT"]).symbols["ETHUSDT"]
    assert (info.tick_e8, info.price_min_e8, info.price_max_e8) == (
        parse_e8("0.01"),
        parse_e8("39.86"),
        parse_e8("306177"),
    )
    assert (info.step_e8, info.qty_min_e8, info.qty_max_e8) == (
        parse_e8("0.001"),
        parse_e8("0.001"),
        parse_e8("10000"),
    )
    assert info.market_qty_max_e8 == parse_e8("2000")
    assert (info.orders_max, info.notional_min_e8) == (200, 20 * E8)
    assert (info.multiplier_up_e8, info.multiplier_down_e8) == (105_000_000, 95_000_000)
    assert (info.price_places, info.qty_places) == (2, 3)
    assert info.status is InstrumentStatus.TRADING
    assert info.is_perpetual
    assert info.unknown_filters == ()


def test_limits_are_read_not_assumed():
    limits = parse_exchange_info(body(symbol()), []).limits
    assert (limits.weight_1m, limits.orders_10s, limits.orders_1m) == (2400, 300, 1200)
    with pytest.raises(VenueError, match="lacks a rate limit"):
        parse_exchange_info(body(symbol(), limits=LIMITS[:2]), [])


def test_an_unknown_filter_is_kept_by_name():
    row = symbol()
    row["filters"][-1] = {"filterType": "SOMETHING_NEW", "threshold": 12}
    info = parse_exchange_info(body(row)).symbols["ETHUSDT"]
    assert info.unknown_filters == ("SOMETHING_NEW",)


def test_an_unknown_filter_may_reuse_a_known_key_with_another_type():
    info = parse_exchange_info(body(symbol())).symbols["ETHUSDT"]
    assert info.unknown_filters == ("SOMETHING_NEW",)
    assert info.orders_max == 200


def test_an_unknown_symbol_names_its_neighbours():
    with pytest.raises(UsageError, match=r"'ETHUSD' does not exist .*did you mean ETHUSDT"):
        parse_exchange_info(body(symbol(), symbol("SOLUSDT")), ["ETHUSD"])
    with pytest.raises(UsageError, match=r"'ethusdt' does not exist.*ETHUSDT"):
        parse_exchange_info(body(symbol()), ["ethusdt"])


def test_places_are_those_of_the_tick_not_the_precision():
    row = with_filter("PRICE_FILTER", minPrice="556.80", maxPrice="4529764", tickSize="0.10")
    row["pricePrecision"] = 2
    info = parse_exchange_info(body(row)).symbols["ETHUSDT"]
    assert info.price_places == 1
    row = with_filter("LOT_SIZE", minQty="1", maxQty="10000000", stepSize="1")
    row["quantityPrecision"] = 0
    assert parse_exchange_info(body(row)).symbols["ETHUSDT"].qty_places == 0
    row = with_filter("PRICE_FILTER", minPrice="0.05", maxPrice="1000", tickSize="0.10")
    assert parse_exchange_info(body(row)).symbols["ETHUSDT"].price_places == 2


def test_a_missing_filter_is_no_rule():
    info = parse_exchange_info(body(with_filter("PRICE_FILTER"))).symbols["ETHUSDT"]
    assert (info.tick_e8, info.price_places) == (0, 2)
    info = parse_exchange_info(body(with_filter("MIN_NOTIONAL"))).symbols["ETHUSDT"]
    assert info.notional_min_e8 == 0


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("TRADING_CANCEL_ONLY", InstrumentStatus.CANCEL_ONLY),
        ("TRADING_HALT", InstrumentStatus.HALTED),
        ("PENDING_TRADING", InstrumentStatus.HALTED),
        ("SETTLING", InstrumentStatus.DELISTED),
        ("SOMETHING_NEW", InstrumentStatus.UNKNOWN),
    ],
)
def test_statuses_map_and_an_unknown_one_stays_unknown(text, status):
    info = parse_exchange_info(body(symbol(status=text))).symbols["ETHUSDT"]
    assert (info.status, info.status_text) == (status, text)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"<!doctype html>", b'{"symbols":[]}', b'{"code":-1}']
)
def test_a_body_that_is_no_exchange_info_is_the_venues_error(content):
    with pytest.raises(VenueError) as caught:
        parse_exchange_info(content)
    assert "venue" in caught.value.remedy


def test_the_recorded_body_is_read_whole(shared_data):
    content = (shared_data / "usdm_rest" / "exchangeInfo_25symbols_202508.json").read_bytes()
    info = parse_exchange_info(content)
    assert len(info.symbols) == 25
    for row in info.symbols.values():
        assert row.unknown_filters == ()
        assert row.tick_e8 > 0
        assert row.step_e8 > 0
        assert row.tick_e8 % 10 ** (8 - row.price_places) == 0
