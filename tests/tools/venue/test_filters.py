from __future__ import annotations

import pytest

from hft.records import Side

REFUSALS = [
    ({"price": "63999.05"}, -4014, "off tick"),
    ({"price": "63999.055"}, -1111, "too many decimals"),
    ({"price": "63999.000"}, -1111, "too many decimals although on tick"),
    ({"price": "500.00"}, -4013, "below the lowest price"),
    ({"price": "5000000"}, -4002, "above the highest price"),
    ({"price": "0"}, -4001, "no price"),
    ({"price": "-1"}, -4001, "negative price"),
    ({"price": "6e4"}, -1100, "exponent"),
    ({"price": ""}, -1102, "price missing"),
    ({"price": "70000.00"}, -4016, "buy far above the mark"),
    ({"side": "SELL", "price": "60000.00"}, -4024, "sell far below the mark"),
    ({"quantity": "0.0105"}, -1111, "quantity decimals"),
    ({"quantity": "0"}, -4003, "no quantity"),
    ({"quantity": "1000.001"}, -4005, "too much"),
    ({"type": "MARKET", "quantity": "120.001"}, -4005, "too much for a market order"),
    ({"quantity": "0.001"}, -4164, "too small a notional"),
    ({"quantity": ""}, -1102, "quantity missing"),
    ({"symbol": "NOPE"}, -1121, "unknown symbol"),
    ({"symbol": ""}, -1102, "symbol missing"),
    ({"side": "LONG"}, -1117, "no such side"),
    ({"type": "LIMIT_MAKER"}, -1116, "no such type"),
    ({"type": "STOP_MARKET"}, -4120, "conditional orders have their own endpoint"),
    ({"type": "TRAILING_STOP_MARKET"}, -4120, "conditional orders have their own endpoint"),
    ({"timeInForce": "DAY"}, -1115, "no such time in force"),
    ({"timeInForce": ""}, -1102, "time in force missing"),
    ({"type": "MARKET", "price": "64000"}, -1106, "price of a market order"),
    ({"positionSide": "LONG"}, -4061, "hedge mode"),
    ({"selfTradePreventionMode": "MAYBE"}, -5039, "no such mode"),
    ({"newOrderRespType": "FULL"}, -1136, "no such reply"),
    ({"newClientOrderId": "x" * 37}, -4015, "id too long"),
    ({"newClientOrderId": "no blanks"}, -1100, "id characters"),
    ({"reduceOnly": "true"}, -2022, "nothing to reduce"),
    ({"reduceOnly": "perhaps"}, -1102, "not a boolean"),
    ({"timeInForce": "GTX", "price": "64000.10"}, -5022, "would take"),
    ({"timeInForce": "FOK", "price": "64000.10", "quantity": "1.001"}, -5021, "cannot be filled"),
    ({"timeInForce": "GTD"}, -1102, "date missing"),
    ({"timeInForce": "GTD", "goodTillDate": "1800000600000"}, -5040, "date too near"),
    ({"priceMatch": "QUEUE"}, -1106, "price and price match"),
    ({"priceMatch": "OPPONENT_10", "price": ""}, -5037, "disabled price match"),
    ({"priceMatch": "QUEUE_20", "price": ""}, -5041, "no such level"),
    ({"quantity": "100"}, -2019, "margin"),
]


@pytest.mark.parametrize(
    ("params", "code"),
    [(params, code) for params, code, _ in REFUSALS],
    ids=[name for *_, name in REFUSALS],
)
def test_order_is_refused_with_the_venues_code(venue, params, code):
    assert venue.refusal(**params) == code
    assert not venue.account.orders
    assert venue.events == []


def test_good_order_passes_all_of_them(venue):
    reply = venue.place(newClientOrderId="A.b:c/d_e-f" + "0" * 25)
    assert reply["status"] == "NEW"
    assert "avgPrice" not in reply
    assert "cumQuote" not in reply


def test_duplicate_id_is_refused_only_while_the_first_is_open(venue):
    venue.place(newClientOrderId="one")
    assert venue.refusal(newClientOrderId="one") == -4116
    venue.desk.cancel(venue.account, {"symbol": "BTCUSDT", "origClientOrderId": "one"})
    assert venue.refusal(newClientOrderId="one") == 0
    assert [v.kind for v in venue.exchange.history.violations] == ["client order id reused"]


def test_open_orders_of_a_symbol_are_limited(make_venue):
    venue = make_venue(open_orders_per_symbol=2)
    assert [venue.refusal() for _ in range(3)] == [0, 0, -2025]


def test_reduce_only_order_may_be_small(venue):
    venue.place(type="MARKET", quantity="0.010")
    assert venue.refusal(side="SELL", price="64100.00", quantity="0.001", reduceOnly="true") == 0


def test_market_order_without_anybody_near_is_refused(venue):
    venue.level(Side.SELL, "64000.10", "0")
    venue.level(Side.SELL, "69000.00", "5")
    assert venue.refusal(type="MARKET") == -4131


def test_symbol_that_does_not_trade_takes_no_orders(venue):
    venue.exchange.set_status("BTCUSDT", "TRADING_HALT")
    assert venue.refusal() == -4140


def test_price_match_takes_the_price_from_the_book(venue):
    venue.level(Side.BUY, "63990.00", "1")
    reply = venue.place(price="", priceMatch="QUEUE", timeInForce="GTX")
    assert (reply["price"], reply["priceMatch"]) == ("64000.00", "QUEUE")
