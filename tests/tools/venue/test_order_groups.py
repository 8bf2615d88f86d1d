"""Batches, the dead man's switch of a symbol, and dated orders."""

from __future__ import annotations

import json

import pytest

from tools.venue.errors import ApiError
from tools.venue.request import Request
from tools.venue.rest_trade import TradeHandlers

ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "63999.00",
}


@pytest.fixture
def ask(venue):
    """Call a handler by its name; the code when it is refused as a whole."""
    handlers = TradeHandlers(venue.exchange, venue.desk)

    def call(name, **params):
        texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in params.items()}
        try:
            return getattr(handlers, name)(Request(texts, venue.account))
        except ApiError as error:
            return error.code

    return call


def test_batch_of_orders_answers_each_in_its_place(venue, ask):
    orders = [
        ORDER | {"newClientOrderId": "a"},
        ORDER | {"newClientOrderId": "b", "price": "63999.05"},
        ORDER | {"newClientOrderId": "c", "timeInForce": "GTX", "price": "64000.10"},
        ORDER | {"newClientOrderId": "a"},
        ORDER | {"newClientOrderId": "e"},
    ]
    replies = ask("place_batch", batchOrders=orders)
    assert [r.get("clientOrderId", r.get("code")) for r in replies] == [
        "a", -4014, -5022, -4116, "e",
    ]  # fmt: skip
    assert replies[0]["selfTradePreventionMode"] == "NONE"
    assert {o.client_order_id for o in venue.account.opened("BTCUSDT").values()} == {"a", "e"}


@pytest.mark.parametrize(
    ("orders", "code"), [([], -4082), ([ORDER] * 6, -4082), ("[", -1102), ({}, -1102)]
)
@pytest.mark.parametrize("name", ["place_batch", "amend_batch"])
def test_batches_of_no_or_too_many_orders_are_refused_as_a_whole(venue, ask, name, orders, code):
    assert ask(name, batchOrders=orders) == code
    assert not venue.account.orders


def test_batch_of_amendments_answers_each_in_its_place(venue, ask):
    venue.place(newClientOrderId="a")
    change = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.020", "price": "63998.00"}
    replies = ask(
        "amend_batch",
        batchOrders=[
            change | {"origClientOrderId": "a"},
            change | {"origClientOrderId": "a"},
            change | {"origClientOrderId": "none"},
        ],
    )
    assert [r.get("origQty", r.get("code")) for r in replies] == ["0.020", -5027, -2013]


@pytest.mark.parametrize("by", ["orderIdList", "origClientOrderIdList"])
def test_batch_of_cancels_answers_each_in_its_place(venue, ask, by):
    replies = [venue.place(newClientOrderId=name) for name in ("a", "b")]
    ids = [r["orderId"] for r in replies] if by == "orderIdList" else ["a", "b"]
    unknown = 1 if by == "orderIdList" else "none"
    canceled = ask("cancel_batch", symbol="BTCUSDT", **{by: [ids[0], unknown, ids[1]]})
    assert [r.get("status", r.get("code")) for r in canceled] == ["CANCELED", -2011, "CANCELED"]
    assert not venue.account.opened("BTCUSDT")


def test_ten_cancels_are_enough(venue, ask):
    names = [f"o{number}" for number in range(10)]
    for name in names:
        venue.place(newClientOrderId=name)
    over = [*names, "more"]
    assert ask("cancel_batch", symbol="BTCUSDT", origClientOrderIdList=over) == -4032
    assert len(venue.account.opened("BTCUSDT")) == 10
    assert ask("cancel_batch", symbol="BTCUSDT", origClientOrderIdList=[]) == -1102
    assert ask("cancel_batch", origClientOrderIdList=names) == -1102
    assert ask("cancel_batch", symbol="NOSUCH", origClientOrderIdList=names) == -1121
    assert len(ask("cancel_batch", symbol="BTCUSDT", origClientOrderIdList=names)) == 10
    assert not venue.account.opened("BTCUSDT")


def test_batch_costs_five_orders_and_one_and_five_weight(shared_venue):
    rest = shared_venue.rest
    before = int(rest.call("GET", "/fapi/v1/time", signed=False)[2]["X-MBX-USED-WEIGHT-1M"])
    orders = json.dumps([ORDER | {"price": "1.05"}] * 2)
    status, replies, headers = rest.call("POST", "/fapi/v1/batchOrders", batchOrders=orders)
    assert (status, [r["code"] for r in replies]) == (200, [-4013, -4013])
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) in (before + 5, 5)
    assert int(headers["X-MBX-ORDER-COUNT-10S"]) % 5 == 0
    assert int(headers["X-MBX-ORDER-COUNT-1M"]) == 1


def test_countdown_cancels_when_nobody_renews_it(venue, ask):
    venue.place()
    venue.place(newClientOrderId="b")
    assert ask("countdown", symbol="BTCUSDT", countdownTime="5000") == {
        "symbol": "BTCUSDT",
        "countdownTime": "5000",
    }
    for _ in range(4):
        venue.now_ms += 4_999
        venue.exchange.on_timer()
        ask("countdown", symbol="BTCUSDT", countdownTime="5000")
    assert len(venue.account.opened("BTCUSDT")) == 2
    venue.now_ms += 5_000
    venue.exchange.on_timer()
    assert not venue.account.opened("BTCUSDT")
    assert venue.told()[-2:] == ["CANCELED/CANCELED"] * 2
    venue.place()
    venue.now_ms += 60_000
    venue.exchange.on_timer()
    assert len(venue.account.opened("BTCUSDT")) == 1


def test_countdown_of_zero_is_off_and_others_orders_stay(venue, ask):
    venue.place()
    venue.place(account="other-key")
    ask("countdown", symbol="BTCUSDT", countdownTime="1000")
    ask("countdown", symbol="BTCUSDT", countdownTime="0")
    venue.now_ms += 5_000
    venue.exchange.on_timer()
    assert len(venue.account.opened("BTCUSDT")) == 1
    ask("countdown", symbol="BTCUSDT", countdownTime="1000")
    venue.exchange.step_clock(-30_000)
    venue.now_ms += 1_000
    venue.exchange.on_timer()
    assert not venue.account.opened("BTCUSDT")
    assert len(venue.other.opened("BTCUSDT")) == 1
    assert ask("countdown", symbol="BTCUSDT", countdownTime="-1") == -1102
    assert ask("countdown", symbol="NOSUCH", countdownTime="1000") == -1121


def test_dated_order_ends_at_its_whole_second_with_its_fills_kept(venue):
    date_ms = venue.now_ms + 601_999
    reply = venue.place(timeInForce="GTD", goodTillDate=str(date_ms), price="64000.00")
    whole_ms = date_ms // 1000 * 1000
    assert reply["goodTillDate"] == whole_ms
    venue.take(-1, "64000.00", "1.004")
    venue.now_ms = whole_ms - 1
    venue.exchange.on_timer()
    assert venue.told()[-1] == "TRADE/PARTIALLY_FILLED"
    venue.now_ms += 1
    venue.exchange.on_timer()
    last = venue.events[-1][2]["o"]
    assert (last["x"], last["X"], last["z"], last["gtd"]) == ("EXPIRED", "EXPIRED", "0.004",
                                                              whole_ms)  # fmt: skip
    told = venue.desk.query(venue.account, {"symbol": "BTCUSDT", "orderId": str(reply["orderId"])})
    assert (told["status"], told["executedQty"], told["timeInForce"]) == ("EXPIRED", "0.004", "GTD")


@pytest.mark.parametrize(
    ("ahead_ms", "code"),
    [(600_000, -5040), (600_001, 0), (1_000, -5040), (-1, -5040), (10**15, -5040)],
)
def test_date_is_more_than_ten_minutes_ahead(venue, ahead_ms, code):
    date = str(venue.now_ms + ahead_ms)
    assert venue.refusal(timeInForce="GTD", goodTillDate=date) == code


def test_dated_order_needs_a_date(venue):
    assert venue.refusal(timeInForce="GTD") == -1102


def test_date_is_of_the_venues_clock(venue):
    venue.place(timeInForce="GTD", goodTillDate=str(venue.now_ms + 700_000))
    venue.exchange.step_clock(-5_000)
    venue.now_ms += 700_000
    venue.exchange.on_timer()
    assert len(venue.account.opened("BTCUSDT")) == 1
    venue.exchange.step_clock(5_000)
    venue.exchange.on_timer()
    assert not venue.account.opened("BTCUSDT")


def test_amended_dated_order_keeps_its_date(venue):
    date_ms = (venue.now_ms + 700_000) // 1000 * 1000
    venue.place(timeInForce="GTD", goodTillDate=str(date_ms), newClientOrderId="d")
    venue.desk.amend(
        venue.account,
        {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "origClientOrderId": "d",
            "quantity": "0.020",
            "price": "63998.00",
        },
    )
    venue.now_ms = date_ms
    venue.exchange.on_timer()
    assert venue.told()[-1] == "EXPIRED/EXPIRED"
