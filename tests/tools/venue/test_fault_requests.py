from __future__ import annotations

import json

import pytest

from hft.records import Side
from tools.venue.errors import ApiError
from tools.venue.request import Endpoint, NoReplyError, Request, answer
from tools.venue.rest_market import MarketHandlers

ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "63999.00",
    "newClientOrderId": "a",
}


def hits(venue, kind):
    return venue.faults.ledger.hits[kind]


def refused(venue, name, **params):
    with pytest.raises(ApiError) as caught:
        venue.request(name, **params)
    return caught.value.status, caught.value.code, caught.value.text


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("unavailable", (503, "Service Unavailable.")),
        ("internal_error",
         (503, "Internal error; unable to process your request. Please try again.")),
        ("overload", (503, "overloaded")),
        ("bad_timestamp", (400, "recvWindow")),
    ],
)  # fmt: skip
def test_definite_refusals_execute_nothing(venue, kind, reply):
    venue.fault(kind)
    status, _, text = refused(venue, "order.place", **ORDER)
    assert (status, reply[1] in text) == (reply[0], True)
    assert not venue.account.orders
    assert hits(venue, kind) == 1


@pytest.mark.parametrize("executes", [True, False])
@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("unknown_error", (503, -1000,
                           "Unknown error, please check your request or try again later.")),
        ("http_408", (408, -1007, "Request Timeout")),
    ],
)  # fmt: skip
def test_uncertain_refusals_execute_or_not(venue, kind, reply, executes):
    venue.fault(kind, executes=str(executes))
    assert refused(venue, "order.place", **ORDER) == reply
    assert ("a" in venue.account.open_client_ids) is executes
    assert venue.request("order.place", **ORDER | {"newClientOrderId": "b"})["status"] == "NEW"


@pytest.mark.parametrize("executes", [True, False])
def test_lost_ack_executes_or_not_and_says_nothing(venue, executes):
    venue.fault("lost_ack", executes=str(executes))
    with pytest.raises(NoReplyError):
        venue.request("order.place", **ORDER)
    assert bool(venue.events) is executes


def test_refused_by_the_engine_behind_a_lost_ack_is_just_not_there(venue):
    venue.fault("lost_ack", executes="true")
    with pytest.raises(NoReplyError):
        venue.request("order.place", **ORDER | {"quantity": "0"})
    assert not venue.account.orders


def test_timed_out_request_is_executed_before_its_window_ends(venue):
    venue.fault("timeout", executes="true")
    sent = ORDER | {"timestamp": str(venue.now_ms - 200), "recvWindow": "1000"}
    assert refused(venue, "order.place", **sent)[:2] == (408, -1007)
    assert not venue.account.orders
    venue.later(0.8)
    assert "a" in venue.account.open_client_ids


def test_timed_out_request_may_never_be_executed(venue):
    venue.fault("timeout", executes="false")
    assert refused(venue, "order.place", **ORDER)[:2] == (408, -1007)
    venue.later(60.0)
    assert not venue.account.orders


def test_overload_lets_cancels_amendments_and_reducing_orders_pass(venue):
    venue.request("order.place", **ORDER)
    venue.place(type="MARKET")
    venue.fault("overload", seconds="1")
    assert refused(venue, "order.place", **ORDER | {"newClientOrderId": "b"})[1] == -1008
    reducing = {"side": "SELL", "price": "64010.00", "reduceOnly": "true", "newClientOrderId": "c"}
    venue.request("order.place", **ORDER | reducing)
    amended = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a"}
    venue.request("order.modify", **amended, quantity="0.011", price="63999.00")
    venue.request("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    assert hits(venue, "overload") == 1


def test_scope_and_symbol_choose_the_requests(venue):
    venue.fault("unavailable", scope="cancel")
    venue.request("order.place", **ORDER)
    assert refused(venue, "order.cancel", symbol="BTCUSDT", origClientOrderId="a")[0] == 503
    venue.fault("unavailable", scope="all")
    assert refused(venue, "order.status", symbol="BTCUSDT", origClientOrderId="a")[0] == 503


@pytest.mark.parametrize(("executes", "status"), [(True, "FILLED"), (False, "PARTIALLY_FILLED")])
def test_fill_overtakes_the_ack(venue, executes, status):
    venue.fault("fill_before_ack", executes=str(executes))
    reply = venue.request("order.place", **ORDER)
    assert reply["status"] == "NEW"
    assert venue.told() == ["NEW/NEW", "TRADE_LITE", "ACCOUNT_UPDATE", f"TRADE/{status}"]


def test_fill_overtakes_the_cancel_and_the_amendment(venue):
    venue.request("order.place", **ORDER)
    venue.fault("fill_before_cancel")
    assert refused(venue, "order.cancel", symbol="BTCUSDT", origClientOrderId="a")[1] == -2011
    assert venue.told()[-1] == "TRADE/FILLED"
    venue.request("order.place", **ORDER | {"newClientOrderId": "b"})
    venue.fault("fill_before_amend")
    changed = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.02", "price": "63998.00"}
    assert refused(venue, "order.modify", **changed, origClientOrderId="b")[1] == -2013
    assert len(venue.account.fills) == 2


def test_race_waits_for_an_order_that_can_fill(venue):
    venue.fault("fill_before_cancel")
    assert refused(venue, "order.cancel", symbol="BTCUSDT", origClientOrderId="x")[1] == -2011
    assert hits(venue, "fill_before_cancel") == 0


def test_requests_during_a_ban_are_violations_once_it_was_told(venue):
    limit = venue.exchange.address_limit("a")
    venue.fault("ban", seconds="2")

    def ask():
        with pytest.raises(ApiError) as caught:
            limit.spend(venue.now_ms, 1)
        assert (caught.value.status, caught.value.retry_after_s > 0) == (418, True)
        return caught.value.is_violation

    venue.later(0.5)
    assert not ask()
    venue.later(0.05)
    assert not ask()
    venue.later(0.001)
    assert ask()
    venue.exchange.step_clock(-60_000)
    assert limit.is_banned(venue.exchange.clock_ms())
    venue.exchange.step_clock(60_000)
    venue.later(1.449)
    limit.spend(venue.now_ms, 1)


def test_rate_limit_tells_when_to_come_back(venue):
    limit = venue.exchange.address_limit("a")
    venue.fault("rate_limit", seconds="2")
    with pytest.raises(ApiError) as caught:
        limit.spend(venue.now_ms, 0)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, -1003, 2)
    venue.later(2.0)
    limit.spend(venue.now_ms, 0)


def test_snapshot_is_the_book_of_before(venue):
    handlers = MarketHandlers(venue.exchange)
    endpoint = Endpoint(handlers.depth, 1)
    request = Request({"symbol": "BTCUSDT", "limit": "5"}, None)

    def ask():
        return json.loads(answer(venue.exchange, endpoint, request, "GET /fapi/v1/depth"))

    venue.fault("stale_snapshot", seconds="1")
    before = venue.market.last_id
    venue.level(Side.BUY, "63990.00", "7")
    assert ask()["lastUpdateId"] == before < venue.market.last_id
    venue.later(1.0)
    assert ask()["lastUpdateId"] == venue.market.last_id
