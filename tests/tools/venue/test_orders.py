from __future__ import annotations

import pytest

from hft.records import Side
from tools.venue.errors import ApiError


def events_of(venue, name):
    return [event for _, kind, event in venue.events if kind == name]


def test_taker_hears_lite_then_new_then_account_and_trade_for_each_fill(venue):
    venue.level(Side.SELL, "64000.20", "1")
    venue.place(price="64000.20", quantity="1.500", timeInForce="IOC")
    assert venue.told() == [
        "TRADE_LITE",
        "TRADE_LITE",
        "NEW/NEW",
        "ACCOUNT_UPDATE",
        "TRADE/PARTIALLY_FILLED",
        "ACCOUNT_UPDATE",
        "TRADE/FILLED",
    ]
    assert {event["T"] for _, _, event in venue.events} == {venue.now_ms}
    first, second = events_of(venue, "ACCOUNT_UPDATE")
    assert [u["a"]["P"][0]["pa"] for u in (first, second)] == ["1", "1.5"]
    assert first["a"]["B"][0]["wb"] == "99967.99995"
    assert second["a"]["B"][0]["wb"] == "99951.9999"


def test_maker_hears_lite_then_account_then_trade(venue):
    venue.place(price="64000.00", quantity="0.010", newClientOrderId="m")
    venue.events.clear()
    venue.take(Side.SELL, "64000.00", "1.004")
    assert venue.told() == ["TRADE_LITE", "ACCOUNT_UPDATE", "TRADE/PARTIALLY_FILLED"]
    lite, account, update = (event for _, _, event in venue.events)
    assert list(lite) == ["e", "E", "T", "s", "q", "p", "m", "c", "S", "L", "l", "t", "i"]
    assert (lite["q"], lite["p"], lite["l"], lite["m"]) == ("0.010", "64000.00", "0.004", True)
    assert list(update["o"]) == [
        "s", "c", "S", "o", "f", "q", "p", "ap", "sp", "x", "X", "i", "l", "z", "L", "n", "N", "T",
        "t", "b", "a", "m", "R", "wt", "ot", "ps", "cp", "rp", "pP", "si", "ss", "V", "pm", "gtd",
        "er",
    ]  # fmt: skip
    assert list(account["a"]["P"][0]) == [
        "s", "pa", "ep", "cr", "up", "mt", "iw", "ps", "ma", "bep",
    ]  # fmt: skip
    assert update["o"]["q"] == "0.01"
    assert update["o"]["n"] == "0.0512"
    assert update["o"]["t"] == lite["t"]
    assert update["o"]["b"] == "384"


def test_immediate_remainder_and_market_remainder_expire_with_their_reasons(venue):
    venue.place(price="64000.10", quantity="1.500", timeInForce="IOC")
    assert venue.told()[-1] == "EXPIRED/EXPIRED"
    assert venue.events[-1][2]["o"]["er"] == "2"
    venue.level(Side.SELL, "64000.10", "0.5")
    venue.place(type="MARKET", quantity="0.600")
    assert venue.told()[-1] == "EXPIRED/EXPIRED"
    last = venue.events[-1][2]["o"]
    assert (last["er"], last["f"], last["p"], last["o"]) == ("9", "GTC", "0", "MARKET")


def test_self_trade_prevention_expires_the_maker_before_the_taker_goes_on(venue):
    venue.place(price="64000.00", newClientOrderId="maker", quantity="0.010")
    venue.level(Side.BUY, "64000.00", "0")
    venue.level(Side.BUY, "63999.90", "1")
    venue.events.clear()
    venue.place(side="SELL", price="63999.90", selfTradePreventionMode="EXPIRE_MAKER")
    assert venue.told() == [
        "TRADE_LITE",
        "NEW/NEW",
        "EXPIRED/EXPIRED_IN_MATCH",
        "ACCOUNT_UPDATE",
        "TRADE/FILLED",
    ]
    assert venue.events[2][2]["o"]["er"] == "1"


def test_two_accounts_trade_with_each_other(venue):
    venue.level(Side.BUY, "64000.00", "0")
    venue.place(price="64000.00", quantity="0.010")
    venue.place(account="other-key", side="SELL", price="64000.00", quantity="0.010")
    maker, taker = venue.account.fills[0], venue.other.fills[0]
    assert maker.trade_id == taker.trade_id
    assert (maker.is_maker, taker.is_maker) == (True, False)
    assert (maker.fee_e8, taker.fee_e8) == (12_800_000, 32_000_000)
    assert venue.told("other-key")[0] == "TRADE_LITE"


def test_acknowledgement_says_new_even_when_the_order_is_filled(venue):
    reply = venue.place(price="64000.10", newOrderRespType="ACK")
    assert (reply["status"], reply["executedQty"]) == ("NEW", "0.000")
    params = {"symbol": "BTCUSDT", "orderId": str(reply["orderId"])}
    told = venue.desk.query(venue.account, params)
    assert (told["status"], told["avgPrice"], told["cumQuote"]) == (
        "FILLED",
        "64000.10000",
        "640.00100",
    )


def test_cancel_of_what_is_not_open_is_unknown(venue):
    reply = venue.place(newClientOrderId="c")
    params = {"symbol": "BTCUSDT", "origClientOrderId": "c"}
    assert venue.desk.cancel(venue.account, params)["status"] == "CANCELED"
    assert venue.told()[-1] == "CANCELED/CANCELED"
    for again in (params, {"symbol": "BTCUSDT", "orderId": str(reply["orderId"])}):
        with pytest.raises(ApiError, match="-2011"):
            venue.desk.cancel(venue.account, again)


def test_amended_order_keeps_its_ids_and_loses_its_place(venue):
    venue.place(price="63999.00", newClientOrderId="a", quantity="0.010")
    venue.level(Side.BUY, "63999.00", "1")
    change = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "modifyId": "17"}
    reply = venue.desk.amend(venue.account, change | {"quantity": "0.020", "price": "63999.00"})
    assert (reply["clientOrderId"], reply["origQty"], reply["modifyId"]) == ("a", "0.020", 17)
    assert reply["pair"] == "BTCUSDT"
    update = venue.events[-1][2]["o"]
    assert (update["x"], update["X"], update["M"]) == ("AMENDMENT", "NEW", "17")
    order = venue.account.orders[reply["orderId"]]
    assert order.ahead_e8 == 100_000_000
    with pytest.raises(ApiError, match="-5027"):
        venue.desk.amend(venue.account, change | {"quantity": "0.020", "price": "63999.00"})
    with pytest.raises(ApiError, match="-1102"):
        venue.desk.amend(venue.account, change | {"quantity": "0.020"})
    with pytest.raises(ApiError, match="-5047"):
        venue.desk.amend(
            venue.account,
            change | {"quantity": "0.030", "price": "63999.00", "reduceOnly": "true"},
        )


def test_post_only_amended_to_a_crossing_price_is_cancelled(venue):
    venue.place(newClientOrderId="g", timeInForce="GTX")
    venue.desk.amend(
        venue.account,
        {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "origClientOrderId": "g",
            "quantity": "0.010",
            "price": "64000.10",
        },
    )
    assert venue.told()[-1] == "EXPIRED/EXPIRED"
    assert not venue.account.opened("BTCUSDT")


def test_amended_away_price_leaves_the_published_book(venue):
    venue.place(price="63999.50", newClientOrderId="a")
    venue.desk.amend(
        venue.account,
        {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "origClientOrderId": "a",
            "quantity": "0.010",
            "price": "63998.50",
        },
    )
    assert venue.market.public.qty_e8(Side.BUY, 63_999_50000000) == 0
    assert venue.market.public.qty_e8(Side.BUY, 63_998_50000000) == 1_000_000


def test_dated_order_expires(venue):
    date_ms = venue.now_ms + 601_500
    venue.place(timeInForce="GTD", goodTillDate=str(date_ms), newClientOrderId="d")
    venue.now_ms = date_ms // 1000 * 1000
    venue.exchange.on_timer()
    assert venue.told()[-1] == "EXPIRED/EXPIRED"


def test_unfilled_order_is_forgotten_after_three_days(venue):
    venue.place(newClientOrderId="old")
    params = {"symbol": "BTCUSDT", "origClientOrderId": "old"}
    venue.desk.cancel(venue.account, params)
    assert venue.desk.query(venue.account, params)["status"] == "CANCELED"
    venue.now_ms += 3 * 86_400_000 + 1
    with pytest.raises(ApiError, match="-2013"):
        venue.desk.query(venue.account, params)


def test_countdown_cancels_the_symbols_orders(venue):
    venue.place()
    venue.exchange.countdowns[venue.account.account_id, "BTCUSDT"] = venue.now_ms + 100
    venue.exchange.on_timer()
    assert len(venue.account.opened("BTCUSDT")) == 1
    venue.now_ms += 100
    venue.exchange.on_timer()
    assert venue.told()[-1] == "CANCELED/CANCELED"
    assert not venue.exchange.countdowns
