from __future__ import annotations

import hashlib
import hmac
import json
import time
from http.client import HTTPConnection
from urllib.request import Request, urlopen

import pytest


def test_surface_answers_and_counts_weight(start_venue):
    venue = start_venue()
    assert venue.rest.get("/fapi/v1/ping", signed=False) == {}
    info = venue.rest.get("/fapi/v1/exchangeInfo", signed=False)
    assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT"]
    assert info["symbols"][0]["filters"][0]["tickSize"] == "0.10"
    status, body, headers = venue.rest.call(
        "GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT", limit=5
    )
    assert status == 200
    assert [len(body[side]) for side in ("bids", "asks")] == [5, 5]
    assert headers["X-MBX-USED-WEIGHT-1M"] == "4"


@pytest.mark.parametrize(
    "path",
    [
        "/fapi/v3/account",
        "/fapi/v2/account",
        "/fapi/v3/balance",
        "/fapi/v2/balance",
        "/fapi/v3/positionRisk",
        "/fapi/v2/positionRisk",
        "/fapi/v1/openOrders",
        "/fapi/v1/openAlgoOrders",
        "/fapi/v1/positionSide/dual",
        "/fapi/v1/multiAssetsMargin",
        "/fapi/v1/leverageBracket",
        "/fapi/v1/income",
        "/fapi/v1/rateLimit/order",
        "/fapi/v1/accountConfig",
        "/fapi/v1/symbolConfig",
        "/fapi/v1/allOrders?symbol=BTCUSDT",
        "/fapi/v1/userTrades?symbol=BTCUSDT",
        "/fapi/v1/commissionRate?symbol=BTCUSDT",
        "/fapi/v1/premiumIndex?symbol=BTCUSDT",
        "/fapi/v1/ticker/price?symbol=BTCUSDT",
        "/fapi/v1/trades?symbol=BTCUSDT",
    ],
)
def test_queries_answer_with_json(shared_venue, path):
    name, _, query = path.partition("?")
    params = dict([query.split("=")]) if query else {}
    assert isinstance(shared_venue.rest.get(name, **params), (dict, list))


def test_order_life_over_rest(shared_venue):
    rest = shared_venue.rest
    bid = rest.get("/fapi/v1/ticker/bookTicker", signed=False, symbol="BTCUSDT")["bidPrice"]
    price = f"{float(bid) * 0.97:.1f}"
    status, order, headers = rest.call(
        "POST",
        "/fapi/v1/order",
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        timeInForce="GTX",
        quantity="0.010",
        price=price,
        newClientOrderId="life",
    )
    assert (status, order["status"], order["selfTradePreventionMode"]) == (
        200,
        "NEW",
        "EXPIRE_MAKER",
    )
    assert int(headers["X-MBX-ORDER-COUNT-10S"]) >= 1
    named = {"symbol": "BTCUSDT", "origClientOrderId": "life"}
    assert rest.get("/fapi/v1/openOrder", **named)["avgPrice"] == "0.00000"
    status, changed, _ = rest.call(
        "PUT", "/fapi/v1/order", side="BUY", quantity="0.020", price=price, **named
    )
    assert (status, changed["origQty"]) == (200, "0.020")
    assert [o["clientOrderId"] for o in rest.get("/fapi/v1/openOrders")] == ["life"]
    status, gone, _ = rest.call("DELETE", "/fapi/v1/order", **named)
    assert (status, gone["status"]) == (200, "CANCELED")
    status, body, _ = rest.call("DELETE", "/fapi/v1/order", **named)
    assert (status, body) == (400, {"code": -2011, "msg": "Unknown order sent."})


def test_batches_answer_for_each_element(shared_venue):
    rest = shared_venue.rest
    good = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.010",
        "price": "61500.0",
    }
    orders = json.dumps([good, good | {"quantity": "0.0001"}])
    replies = rest.post("/fapi/v1/batchOrders", batchOrders=orders)
    assert replies[0]["selfTradePreventionMode"] == "NONE"
    assert replies[1]["code"] == -1111
    status, body, _ = rest.call(
        "DELETE",
        "/fapi/v1/batchOrders",
        symbol="BTCUSDT",
        orderIdList=json.dumps([replies[0]["orderId"], 1]),
    )
    assert status == 200
    assert [body[0].get("status"), body[1].get("code")] == ["CANCELED", -2011]
    status, body, _ = rest.call(
        "DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", orderIdList=json.dumps(list(range(11)))
    )
    assert (status, body["code"]) == (400, -4032)


def test_cancel_all_and_countdown_say_what_the_venue_says(shared_venue):
    rest = shared_venue.rest
    _, body, _ = rest.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert body == {"code": 200, "msg": "The operation of cancel all open order is done."}
    body = rest.post("/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=15000)
    assert body == {"symbol": "BTCUSDT", "countdownTime": "15000"}
    assert rest.post("/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=0)


def test_settings_that_do_not_change_are_refused(shared_venue):
    rest = shared_venue.rest
    for path, params, code in (
        ("/fapi/v1/marginType", {"symbol": "BTCUSDT", "marginType": "CROSSED"}, -4046),
        ("/fapi/v1/positionSide/dual", {"dualSidePosition": "false"}, -4059),
        ("/fapi/v1/multiAssetsMargin", {"multiAssetsMargin": "false"}, -4171),
        ("/fapi/v1/leverage", {"symbol": "BTCUSDT", "leverage": 126}, -4028),
    ):
        status, body, _ = rest.call("POST", path, **params)
        assert (status, body["code"]) == (400, code)
    assert rest.post("/fapi/v1/leverage", symbol="BTCUSDT", leverage=10)["leverage"] == 10


def test_modes_that_a_preflight_looks_for_can_be_set(start_venue):
    rest = start_venue().rest
    rest.post("/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    assert rest.get("/fapi/v1/symbolConfig", symbol="BTCUSDT")[0]["marginType"] == "ISOLATED"
    rest.post("/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    assert rest.get("/fapi/v1/multiAssetsMargin") == {"multiAssetsMargin": True}
    rest.post("/fapi/v1/positionSide/dual", dualSidePosition="true")
    assert rest.get("/fapi/v1/accountConfig")["dualSidePosition"]
    status, body, _ = rest.call(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010"
    )
    assert (status, body["code"]) == (400, -4061)
    rest.post("/fapi/v1/positionSide/dual", dualSidePosition="false")
    rest.post("/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
    status, body, _ = rest.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    assert (status, body["code"]) == (400, -4068)


def test_refused_requests_have_their_status_and_body(shared_venue, rest_client):
    port = shared_venue.ports.rest
    status, body, _ = rest_client(port, secret="wrong").call("GET", "/fapi/v3/account")
    assert (status, body["code"]) == (400, -1022)
    status, body, _ = rest_client(port, key="nobody").call("GET", "/fapi/v3/account")
    assert (status, body["code"]) == (401, -2015)
    status, body, _ = rest_client(port, key="").call("POST", "/fapi/v1/listenKey", signed=False)
    assert (status, body["code"]) == (401, -2014)
    status, body, _ = shared_venue.rest.call("GET", "/fapi/v3/account", signed=False)
    assert (status, body["code"]) == (400, -1102)
    status, body, _ = shared_venue.rest.call("GET", "/fapi/v1/listenKey")
    assert (status, body) == (
        404,
        {"code": -5000, "msg": "Path /fapi/v1/listenKey, Method GET is invalid"},
    )
    status, body, _ = shared_venue.rest.call(
        "GET", "/fapi/v1/depth", signed=False, symbol="BTCUSDT", limit=7
    )
    assert (status, body["code"]) == (400, -4021)


def test_signature_may_stand_in_the_body(shared_venue):
    query = "symbol=BTCUSDT"
    body = f"leverage=10&timestamp={time.time_ns() // 1_000_000}"
    digest = hmac.new(b"test-secret", (query + body).encode(), hashlib.sha256).hexdigest()
    request = Request(
        f"http://127.0.0.1:{shared_venue.ports.rest}/fapi/v1/leverage?{query}",
        data=f"{body}&signature={digest}".encode(),
        headers={"X-MBX-APIKEY": "test-key"},
    )
    with urlopen(request, timeout=60) as response:
        assert json.loads(response.read())["leverage"] == 10


@pytest.mark.parametrize("written", ["a:b/c", "a%3Ab%2Fc", "a%3ab%2fc"])
def test_signature_covers_the_query_exactly_as_it_was_written(shared_venue, written):
    query = f"symbol=BTCUSDT&origClientOrderId={written}&timestamp={time.time_ns() // 1_000_000}"
    digest = hmac.new(b"test-secret", query.encode(), hashlib.sha256).hexdigest()
    connection = HTTPConnection("127.0.0.1", shared_venue.ports.rest, timeout=60)
    connection.request(
        "GET",
        f"/fapi/v1/order?{query}&signature={digest}",
        headers={"X-MBX-APIKEY": "test-key"},
    )
    body = json.loads(connection.getresponse().read())
    connection.close()
    assert body["code"] == -2013


def test_order_limit_is_told_with_429_and_retry_after(start_venue):
    rest = start_venue(orders_per_10_s=1, orders_per_minute=1).rest
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
    for _ in range(5):
        status, body, headers = rest.call("POST", "/fapi/v1/order", **params)
        if status == 429:
            break
    assert (status, body["code"]) == (429, -1015)
    assert int(headers["Retry-After"]) > 0
    assert rest.get("/sim/truth", signed=False)["violations"][0]["kind"] == "order limit"


def test_weight_limit_is_told_with_429_then_418(start_venue):
    rest = start_venue(weight_per_minute=3, refusals_before_ban=1).rest
    statuses = [rest.call("GET", "/fapi/v1/time", signed=False)[0] for _ in range(12)]
    assert list(dict.fromkeys(statuses[:3])) == [200]
    assert {429, 418} <= set(statuses)


def test_truth_adds_up(shared_venue):
    rest = shared_venue.rest
    for side in ("BUY", "SELL"):
        rest.post("/fapi/v1/order", symbol="BTCUSDT", side=side, type="MARKET", quantity="0.010")
    truth = rest.get("/sim/truth", signed=False)
    assert truth["wallet_adds_up"]
    account = rest.get("/fapi/v3/account")
    assert float(account["totalWalletBalance"]) == float(truth["wallet"])
    assert len(truth["fills"]) == len(rest.get("/fapi/v1/userTrades", symbol="BTCUSDT"))
    assert rest.get("/sim/stats", signed=False)["orders_received"] >= 2
