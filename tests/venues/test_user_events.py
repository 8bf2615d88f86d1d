"""User events: exact in both number styles, tolerant of the new, never an exception."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.records import OrderType, Reason, Side, Tif
from hft.units import E8, NS_PER_MS, parse_e8
from hft.venues.binance_usdm.user_events import (
    AccountConfigUpdate,
    AccountUpdate,
    AlgoUpdate,
    ListenKeyExpired,
    MalformedEvent,
    MarginCall,
    OrderUpdate,
    TradeLite,
    UnknownEvent,
    decode_user_event,
)
from hft.venues.binance_usdm.wire import ExecType, OrderStatus

ORDER: dict[str, Any] = {
    "s": "ETHUSDT",
    "c": "h0000000000000022",
    "S": "SELL",
    "o": "LIMIT",
    "f": "GTX",
    "q": "0.25",
    "p": "3120.55",
    "ap": "3120.55",
    "sp": "0",
    "x": "TRADE",
    "X": "FILLED",
    "i": 8389765739703625592,
    "l": "0.25",
    "z": "0.25",
    "L": "3120.55",
    "n": "0.1560275",
    "N": "USDT",
    "T": 1795350003371,
    "t": 6022119001,
    "m": True,
    "R": False,
    "ps": "BOTH",
    "rp": "-0.07689999",
    "er": "0",
}


def order(**changes: Any) -> OrderUpdate:
    event = decode(
        {"e": "ORDER_TRADE_UPDATE", "T": 1, "E": 1795350003378, "o": {**ORDER, **changes}}
    )
    assert isinstance(event, OrderUpdate), event
    return event


def decode(event: object) -> Any:
    return decode_user_event(json.dumps(event).encode())


def test_a_fill_is_read_exactly():
    fill = order()
    assert (fill.order_id, fill.venue_order_id) == (0x22, 8389765739703625592)
    assert (fill.side, fill.order_type, fill.tif) == (Side.SELL, OrderType.LIMIT, Tif.GTC)
    assert fill.is_post_only
    assert (fill.exec_type, fill.status) == (ExecType.TRADE, OrderStatus.FILLED)
    assert fill.last_price_e8 == fill.price_e8 == parse_e8("3120.55")
    assert fill.last_qty_e8 == fill.cum_qty_e8 == parse_e8("0.25")
    assert (fill.trade_id, fill.is_maker) == (6022119001, True)
    assert (fill.fee_e8, fill.fee_asset) == (parse_e8("0.1560275"), "USDT")
    assert fill.realised_pnl_e8 == -7_689_999
    assert fill.transaction_ns == 1795350003371 * NS_PER_MS
    assert fill.event_ns == 1795350003378 * NS_PER_MS


def test_padded_and_stripped_numbers_are_the_same():
    padded = order(
        q="0.250", p="3120.5500", ap="3120.55000", l="0.25000000", z="0.2500", n="0.15602750"
    )
    assert padded == order()


def test_a_commission_may_be_absent():
    event = {**ORDER}
    del event["n"], event["N"]
    update = decode({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": event})
    assert isinstance(update, OrderUpdate)
    assert (update.fee_e8, update.fee_asset) == (0, "")
    assert order(n="-0.001").fee_e8 == -100_000


def test_unknown_words_stay_unknown():
    update = order(x="SOMETHING", X="NEW_STATUS", o="LIQUIDATION", f="GTE_GTC", S="NEITHER")
    assert update.exec_type is ExecType.UNKNOWN
    assert update.status is OrderStatus.UNKNOWN
    assert update.order_type is OrderType.UNKNOWN
    assert update.tif is Tif.UNKNOWN
    assert update.side is Side.NONE


def test_a_foreign_client_id_is_kept_as_text():
    update = order(c="autoclose-1795350003371")
    assert (update.order_id, update.client_order_id) == (0, "autoclose-1795350003371")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"x": "EXPIRED", "er": "1"}, Reason.VENUE_SELF_TRADE),
        ({"x": "EXPIRED", "er": "4"}, Reason.VENUE_REDUCE_ONLY),
        ({"x": "EXPIRED", "er": "5"}, Reason.VENUE_MARGIN),
        ({"x": "EXPIRED", "er": "7"}, Reason.INSTRUMENT_NOT_TRADING),
        ({"x": "EXPIRED", "er": "2", "f": "IOC"}, Reason.NONE),
        ({"x": "EXPIRED", "er": "0", "f": "GTX", "z": "0"}, Reason.VENUE_POST_ONLY),
        ({"x": "EXPIRED", "er": 1}, Reason.VENUE_SELF_TRADE),
        ({"x": "CANCELED", "er": "0"}, Reason.NONE),
    ],
)
def test_an_expiry_has_its_reason(words, reason):
    assert order(**words).reason is reason


def test_unknown_keys_and_any_key_order_are_tolerated():
    fields = {**ORDER, "new": {"deep": [1, 2]}, "M": "17"}
    backwards = dict(reversed(fields.items()))
    event = decode({"o": backwards, "E": 1795350003378, "zz": 1, "T": 1, "e": "ORDER_TRADE_UPDATE"})
    assert event == order()


def test_the_combined_envelope_is_opened():
    inner = {"e": "ORDER_TRADE_UPDATE", "T": 1, "E": 1795350003378, "o": ORDER}
    assert decode({"stream": "the-listen-key", "data": inner}) == order()
    assert decode({"stream": "k", "data": {"e": "GRID_UPDATE"}}) == UnknownEvent(name="GRID_UPDATE")
    assert isinstance(decode({"stream": "k", "data": {"e": "TRADE_LITE"}}), MalformedEvent)


def test_trade_lite_is_read():
    event = decode(
        {
            "e": "TRADE_LITE",
            "E": 1795350003376,
            "T": 1795350003371,
            "s": "ETHUSDT",
            "q": "0.250",
            "p": "3120.55",
            "m": True,
            "c": "h0000000000000022",
            "S": "SELL",
            "L": "3120.55",
            "l": "0.250",
            "t": 6022119001,
            "i": 9123300451,
        }
    )
    assert isinstance(event, TradeLite)
    assert (event.trade_id, event.order_id, event.last_qty_e8) == (6022119001, 0x22, E8 // 4)


def test_an_account_update_is_read():
    event = decode(
        {
            "e": "ACCOUNT_UPDATE",
            "T": 1795350003371,
            "E": 1795350003377,
            "a": {
                "B": [{"a": "USDT", "wb": "9999.8439725", "cw": "9999.8439725", "bc": "0"}],
                "P": [
                    {
                        "s": "ETHUSDT",
                        "pa": "-0.25",
                        "ep": "3120.5512345678912",
                        "cr": "0",
                        "up": "0.03449164",
                        "mt": "isolated",
                        "iw": "0",
                        "ps": "BOTH",
                        "ma": "USDT",
                    }
                ],
                "m": "ORDER",
            },
        }
    )
    assert isinstance(event, AccountUpdate)
    assert (event.cause, event.symbol) == ("ORDER", "")
    assert event.balances[0].wallet_e8 == parse_e8("9999.8439725")
    position = event.positions[0]
    assert (position.position_e8, position.is_isolated) == (-E8 // 4, True)
    assert position.entry_price_e8 == parse_e8("3120.55123457")  # more places than we keep: rounded


def test_funding_names_its_symbol_and_amount():
    body = {
        "B": [{"a": "USDT", "wb": "1", "cw": "1", "bc": "-0.00085067"}],
        "P": [],
        "m": "FUNDING_FEE",
        "S": "ETHUSDT",
    }
    event = decode({"e": "ACCOUNT_UPDATE", "T": 1, "E": 1, "a": body})
    assert isinstance(event, AccountUpdate)
    assert (event.cause, event.symbol, event.positions) == ("FUNDING_FEE", "ETHUSDT", ())
    assert event.balances[0].change_e8 == -85_067


def test_the_other_events_are_read():
    leverage = decode({"e": "ACCOUNT_CONFIG_UPDATE", "E": 2, "T": 1, "ac": {"s": "X", "l": 20}})
    assert isinstance(leverage, AccountConfigUpdate)
    assert (leverage.symbol, leverage.leverage, leverage.is_multi_assets) == ("X", 20, None)
    mode = decode({"e": "ACCOUNT_CONFIG_UPDATE", "E": 2, "T": 1, "ai": {"j": True}})
    assert isinstance(mode, AccountConfigUpdate)
    assert mode.is_multi_assets is True
    call = decode({"e": "MARGIN_CALL", "E": 2, "cw": "31.2", "p": [{"s": "X", "mm": "1"}]})
    assert call == MarginCall(symbols=("X",), event_ns=2 * NS_PER_MS)
    algo = {
        "caid": "h0000000000000022",
        "aid": 4,
        "o": "STOP",
        "s": "X",
        "X": "TRIGGERED",
        "ai": "77",
    }
    update = decode({"e": "ALGO_UPDATE", "T": 1, "E": 2, "o": algo})
    assert isinstance(update, AlgoUpdate)
    assert (update.venue_order_id, update.status_text) == (77, "TRIGGERED")
    expired = {"e": "listenKeyExpired", "E": "1795353600000"}
    assert decode(expired) == ListenKeyExpired(listen_key="")
    assert decode({**expired, "E": 1, "listenKey": "k"}) == ListenKeyExpired(listen_key="k")
    assert decode({"e": "STRATEGY_UPDATE", "su": {}}) == UnknownEvent(name="STRATEGY_UPDATE")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'{"e":5}',
        b'{"e":"ORDER_TRADE_UPDATE"}',
        b'{"e":"ORDER_TRADE_UPDATE","o":{"s":"X","i":1,"q":"abc"}}',
        b'{"e":"ORDER_TRADE_UPDATE","o":{"s":"X","i":1,"q":"0.123456789"}}',
        b'{"e":"ACCOUNT_UPDATE","a":{"B":[{"a":"USDT"}]}}',
        b'{"result":null,"id":1}',
        b"\xff\xfe",
    ],
)
def test_garbage_is_an_object_to_be_counted(payload):
    event = decode_user_event(payload)
    assert isinstance(event, MalformedEvent)
    assert event.why


@given(st.binary(max_size=200))
def test_no_bytes_raise(payload):
    assert decode_user_event(payload) is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.sampled_from([*ORDER, "e", "a", "B", "P", "data"]), children)
        ),
        max_leaves=12,
    ),
    st.sampled_from(["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ALGO_UPDATE"]),
)
def test_no_shape_raises(value, name):
    assert decode({"e": name, "o": value, "a": value, "s": value}) is not None


@given(st.integers(1, 10**15), st.integers(0, 8))
def test_any_quantity_survives_in_both_styles(value_e8, places):
    text = f"{Decimal(value_e8).scaleb(-8):f}"
    assert order(z=text).cum_qty_e8 == value_e8
    stripped = text.rstrip("0").rstrip(".") if "." in text else text
    assert order(z=stripped).cum_qty_e8 == value_e8


def test_every_recorded_event_is_understood(shared_data):
    seen: Counter[str] = Counter()
    path = shared_data / "usdm_user_data" / "events.jsonl"
    for line in path.read_text().splitlines():
        row = json.loads(line)
        raw = json.loads(row["raw"])
        event = decode_user_event(row["raw"].encode())
        assert not isinstance(event, MalformedEvent), (row["scenario"], event)
        seen[type(event).__name__] += 1
        body = raw.get("data", raw)
        if isinstance(event, OrderUpdate):
            assert event.exec_type is not ExecType.UNKNOWN
            assert event.status is not OrderStatus.UNKNOWN
            assert event.cum_qty_e8 == parse_e8(body["o"]["z"])
            assert event.fee_e8 == parse_e8(body["o"].get("n", "0"))
    assert seen["OrderUpdate"] > 5
    assert seen["AccountUpdate"] > 5
