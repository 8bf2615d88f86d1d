"""The text of orders: exact decimals, right signatures, nothing remembered."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.errors import PrecisionError, UsageError
from hft.records import OrderType, Reason, Side, Tif
from hft.units import parse_e8
from hft.venues.binance_usdm.order_text import (
    OrderTextEncoder,
    client_order_id,
    parse_client_order_id,
)
from hft.venues.binance_usdm.signing import Credentials, HmacSigner


class Places(NamedTuple):
    symbol: str = "ETHUSDT"
    price_places: int = 2
    qty_places: int = 3


class FixedSigner:
    def sign(self, payload: bytes) -> str:
        return payload.decode()


SIGNED = Credentials("SIMKEY-HMAC", "hmac", HmacSigner(b"sim-secret-0001"))
LOGGED_ON = Credentials("SIMKEY-ED25519", "ed25519", FixedSigner())
ORDER: dict[str, Any] = {
    "side": Side.SELL,
    "order_type": OrderType.LIMIT,
    "tif": Tif.GTC,
    "is_post_only": True,
    "is_reduce_only": False,
    "price_e8": parse_e8("3120.55"),
    "qty_e8": parse_e8("0.25"),
}


def covered_by(params: dict[str, Any]) -> str:
    """What a signature of the WebSocket API covers: everything else, sorted by name."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


def test_a_signed_order_holds_every_word_and_the_signature_of_them_all():
    encoder = OrderTextEncoder(Places(), SIGNED, 2_000)
    request = json.loads(encoder.place(12, 34, timestamp_ms=1_795_350_000_123, **ORDER))
    params = request["params"]
    assert (request["id"], request["method"]) == (12, "order.place")
    assert params["signature"] == SIGNED.signer.sign(covered_by(params).encode())
    del params["signature"]
    assert params == {
        "apiKey": "SIMKEY-HMAC",
        "symbol": "ETHUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTX",
        "newOrderRespType": "ACK",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "newClientOrderId": "h0000000000000022",
        "price": "3120.55",
        "quantity": "0.250",
        "recvWindow": 2_000,
        "timestamp": 1_795_350_000_123,
    }


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("is_reduce_only", [0, 1])
@pytest.mark.parametrize(
    ("order_type", "tif", "is_post_only", "word", "response"),
    [
        (OrderType.LIMIT, Tif.GTC, 0, "GTC", "ACK"),
        (OrderType.LIMIT, Tif.GTC, 1, "GTX", "ACK"),
        (OrderType.LIMIT, Tif.IOC, 0, "IOC", "RESULT"),
        (OrderType.LIMIT, Tif.FOK, 0, "FOK", "RESULT"),
        (OrderType.LIMIT, Tif.GTD, 0, "GTD", "ACK"),
        (OrderType.MARKET, Tif.UNKNOWN, 0, None, "RESULT"),
        (OrderType.MARKET, Tif.GTC, 0, None, "RESULT"),
    ],
)
def test_every_kind_of_order_is_signed_over_what_it_says(
    side, is_reduce_only, order_type, tif, is_post_only, word, response
):
    encoder = OrderTextEncoder(Places(), SIGNED, 1_000)
    kind = {
        **ORDER,
        "side": side,
        "order_type": order_type,
        "tif": tif,
        "is_post_only": is_post_only,
        "is_reduce_only": is_reduce_only,
        "good_till_s": 1_800_000_000 if tif is Tif.GTD else 0,
    }
    params = json.loads(encoder.place(1, 2, timestamp_ms=3, **kind))["params"]
    assert params["signature"] == SIGNED.signer.sign(covered_by(params).encode())
    assert params.get("timeInForce") == word
    assert ("price" in params) == (order_type is OrderType.LIMIT)
    assert params.get("reduceOnly") == ("true" if is_reduce_only else None)
    assert params["newOrderRespType"] == response
    assert params["selfTradePreventionMode"] == "EXPIRE_MAKER"
    assert params.get("goodTillDate") == ("1800000000000" if tif is Tif.GTD else None)
    by_rest = dict(encoder.place_parameters(2, **kind))
    said = {k: v for k, v in params.items() if isinstance(v, str) and k not in _ADDED}
    assert by_rest == said


_ADDED = ("apiKey", "signature")


@pytest.mark.parametrize("method", ["amend", "cancel", "query"])
def test_requests_about_an_order_name_it_by_its_client_id(method):
    encoder = OrderTextEncoder(Places(), SIGNED, 1_000)
    words = {k: ORDER[k] for k in ("side", "price_e8", "qty_e8")} if method == "amend" else {}
    request = json.loads(getattr(encoder, method)(5, 2**64 - 1, timestamp_ms=9, **words))
    params = request["params"]
    assert (
        request["method"]
        == {
            "amend": "order.modify",
            "cancel": "order.cancel",
            "query": "order.status",
        }[method]
    )
    assert params["origClientOrderId"] == "hffffffffffffffff"
    assert params["signature"] == SIGNED.signer.sign(covered_by(params).encode())
    assert ("quantity" in params) == (method == "amend")


def test_after_a_logon_requests_carry_neither_key_nor_signature():
    encoder = OrderTextEncoder(Places(), LOGGED_ON, 1_000)
    for text in (
        encoder.place(1, 2, timestamp_ms=3, **ORDER),
        encoder.cancel(1, 2, timestamp_ms=3),
    ):
        params = json.loads(text)["params"]
        assert "apiKey" not in params
        assert "signature" not in params
        assert params["timestamp"] == 3


def test_encoding_is_repeatable_and_remembers_nothing():
    encoder = OrderTextEncoder(Places(), SIGNED, 1_000)
    first = encoder.place(1, 2, timestamp_ms=3, **ORDER)
    encoder.place(9, 9, timestamp_ms=9, **{**ORDER, "price_e8": parse_e8("1")})
    assert encoder.place(1, 2, timestamp_ms=3, **ORDER) == first


@given(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_numbers_of_any_length_are_written_out(request_id, timestamp_ms):
    encoder = OrderTextEncoder(Places(), LOGGED_ON, 1_000)
    request = json.loads(encoder.place(request_id, 1, timestamp_ms=timestamp_ms, **ORDER))
    assert (int(request["id"]), request["params"]["timestamp"]) == (request_id, timestamp_ms)


@given(
    places=st.integers(0, 8),
    scaled=st.integers(1, 9 * 10**10),
)
def test_prices_are_written_exactly_with_the_instruments_places(places, scaled):
    encoder = OrderTextEncoder(Places("X", places, places), LOGGED_ON, 1_000)
    value_e8 = scaled * 10 ** (8 - places)
    text = encoder.place(
        1, 2, timestamp_ms=3, **{**ORDER, "price_e8": value_e8, "qty_e8": value_e8}
    )
    params = json.loads(text)["params"]
    assert params["price"] == params["quantity"]
    assert parse_e8(params["price"]) == value_e8
    assert len(params["price"].partition(".")[2]) == places


@pytest.mark.parametrize("price", ["3120.555", "-1", "0"])
def test_a_price_that_cannot_be_written_is_refused_not_rounded(price):
    encoder = OrderTextEncoder(Places(), LOGGED_ON, 1_000)
    with pytest.raises(PrecisionError):
        encoder.place(1, 2, timestamp_ms=3, **{**ORDER, "price_e8": parse_e8(price)})


def test_an_order_that_does_not_exist_is_refused():
    encoder = OrderTextEncoder(Places(), LOGGED_ON, 1_000)
    with pytest.raises(UsageError, match="no such order"):
        encoder.place(1, 2, timestamp_ms=3, **{**ORDER, "tif": Tif.IOC})
    with pytest.raises(UsageError, match="no such order"):
        encoder.place_parameters(2, **{**ORDER, "order_type": OrderType.UNKNOWN})
    with pytest.raises(UsageError, match="no such order"):
        encoder.amend(1, 2, side=Side.NONE, price_e8=1, qty_e8=1, timestamp_ms=3)
    with pytest.raises(UsageError, match="no such order"):
        encoder.amend_parameters(2, side=Side.NONE, price_e8=1, qty_e8=1)


def test_a_symbol_of_another_script_and_a_key_with_a_percent_sign_stay_as_they_are():
    credentials = Credentials("a%sb", "hmac", FixedSigner())
    encoder = OrderTextEncoder(Places("币安人生USDT"), credentials, 1_000)
    params = json.loads(encoder.cancel(1, 2, timestamp_ms=3))["params"]
    assert params["symbol"] == "币安人生USDT"
    assert params["signature"] == covered_by(params)
    assert params["apiKey"] == "a%sb"


@given(st.integers(0, 2**64 - 1))
def test_an_order_id_survives_the_wire(order_id):
    text = client_order_id(order_id)
    assert parse_client_order_id(text) == order_id
    assert len(text) <= 36
    assert text.isalnum()


@pytest.mark.parametrize(
    "text", ["", "h", "h12", "H0000000000000022", "x0000000000000022", "h00000000000000022",
             "h000000000000002G", "h000000000000002\n", "autoclose-1", "web_coin_4y4b8mofbf7d"]
)  # fmt: skip
def test_somebody_elses_client_id_is_none_of_ours(text):
    assert parse_client_order_id(text) is None


def test_a_good_till_date_order_without_its_date_is_refused():
    encoder = OrderTextEncoder(Places(), SIGNED, 1_000)
    order = {**ORDER, "tif": Tif.GTD, "is_post_only": False}
    for wrong in (order, {**ORDER, "good_till_s": 1_800_000_000}):
        with pytest.raises(UsageError, match="no such order"):
            encoder.place(1, 2, timestamp_ms=3, **wrong)
        with pytest.raises(UsageError, match="no such order"):
            encoder.place_parameters(2, **wrong)


@pytest.mark.parametrize(
    ("price", "qty", "reason"),
    [
        ("3120.555", "1", Reason.PRICE_OFF_TICK),
        ("0", "1", Reason.PRICE_OFF_TICK),
        ("3120.55", "1.0005", Reason.QTY_OFF_STEP),
        ("3120.55", "0", Reason.QTY_OFF_STEP),
        ("3120.55", "1", Reason.MALFORMED),
    ],
)
def test_what_cannot_be_written_has_a_reason(price, qty, reason):
    encoder = OrderTextEncoder(Places(), SIGNED, 1_000)
    assert encoder.objection(parse_e8(price), parse_e8(qty)) is reason
