"""Conditional orders: a second store beside the open orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.records import Side
from hft.units import E8, parse_e8
from tools.venue.algo_orders import TRAILING, AlgoOrder
from tools.venue.errors import ApiError
from tools.venue.request import NOBODY
from tools.venue.truth import TruthHandlers

STOP_BUY = {
    "algoType": "CONDITIONAL",
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "STOP_MARKET",
    "quantity": "0.010",
    "triggerPrice": "64100.00",
    "clientAlgoId": "stop",
}


@pytest.fixture
def venue(make_venue):
    venue = make_venue()
    last(venue, "64000.00")
    venue.market.mark_e8 = parse_e8("64000")
    venue.events.clear()
    return venue


def last(venue, price):
    """A public trade at this price."""
    venue.market.publish_trade(1, parse_e8(price), E8, Side.BUY, venue.now_ms)


def place(venue, **changes):
    params = {name: value for name, value in (STOP_BUY | changes).items() if value}
    return venue.algo_desk.place(venue.account, params)


def refusal(venue, **changes):
    with pytest.raises(ApiError) as caught:
        place(venue, **changes)
    return caught.value.code


def turn(venue, times=1):
    for _ in range(times):
        venue.now_ms += 10
        venue.algo_desk.turn()


def told(venue):
    """Statuses of the ALGO_UPDATEs, and what else was told."""
    return [event["o"]["X"] if name == "ALGO_UPDATE" else name for _, name, event in venue.events]


def test_placement_is_told_and_locks_nothing(venue):
    reply = place(venue)
    assert list(reply) == [
        "algoId", "clientAlgoId", "algoType", "orderType", "symbol", "side", "positionSide",
        "timeInForce", "quantity", "algoStatus", "triggerPrice", "price", "icebergQuantity",
        "selfTradePreventionMode", "workingType", "priceMatch", "closePosition", "priceProtect",
        "reduceOnly", "activatePrice", "callbackRate", "createTime", "updateTime", "triggerTime",
        "goodTillDate",
    ]  # fmt: skip
    assert (reply["algoStatus"], reply["triggerPrice"], reply["price"]) == ("NEW", "64100.00",
                                                                           "0.00")  # fmt: skip
    ((_, name, event),) = venue.events
    assert name == "ALGO_UPDATE"
    assert list(event["o"]) == [
        "caid", "aid", "at", "o", "s", "S", "ps", "f", "q", "X", "ai", "tp", "p", "V", "wt", "pm",
        "cp", "pP", "R", "tt", "gtd", "ia",
    ]  # fmt: skip
    assert not venue.account.orders
    assert not any(venue.account.open_orders.values())


def test_trigger_becomes_an_order_of_the_same_client_id_and_finishes_with_it(venue):
    place(venue)
    last(venue, "64099.90")
    turn(venue)
    assert told(venue) == ["NEW"]
    last(venue, "64100.00")
    last(venue, "64050.00")
    turn(venue, 3)
    assert told(venue) == [
        "NEW", "TRIGGERING", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE", "TRIGGERED", "FINISHED",
    ]  # fmt: skip
    order = venue.account.last_by_client_id["stop"]
    updates = [event["o"] for _, name, event in venue.events if name == "ALGO_UPDATE"]
    assert [u["ai"] for u in updates] == ["", "", str(order.order_id), str(order.order_id)]
    assert [(u["ap"], u["aq"], u["act"]) for u in updates[2:]] == [
        ("0", "0", "MARKET"),
        ("64000.1", "0.01", "MARKET"),
    ]
    assert updates[1]["tt"] > 0
    row = venue.algo_desk.query(venue.account, {"clientAlgoId": "stop"})
    assert (row["algoStatus"], row["actualOrderId"], row["actualQty"]) == (
        "FINISHED", str(order.order_id), "0.010",
    )  # fmt: skip
    with pytest.raises(ApiError, match="-2011"):
        venue.algo_desk.cancel(venue.account, {"clientAlgoId": "stop"})
    assert not venue.account.open_algo_orders


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "price"),
    [
        ("STOP", "BUY", "64010.00", "64010.00"),
        ("STOP", "SELL", "63990.00", "63990.00"),
        ("TAKE_PROFIT", "BUY", "63990.00", "63989.90"),
        ("TAKE_PROFIT", "SELL", "64010.00", "64011.00"),
    ],
)
def test_limit_orders_rest_after_their_trigger_until_somebody_cancels(
    venue, kind, side, trigger, price
):
    limit_price = "63900.00" if side == "BUY" else "64100.00"
    place(venue, type=kind, side=side, triggerPrice=trigger, price=limit_price, timeInForce="GTX")
    last(venue, price)
    turn(venue, 3)
    assert told(venue)[-1] == "TRIGGERED"
    (order,) = venue.account.opened("BTCUSDT").values()
    assert (order.tif_text, order.limit_price_e8) == ("GTX", parse_e8(limit_price))
    venue.desk.cancel(venue.account, {"symbol": "BTCUSDT", "origClientOrderId": "stop"})
    turn(venue)
    assert told(venue)[-1] == "FINISHED"
    assert venue.events[-1][2]["o"]["aq"] == "0"


def test_mark_price_triggers_only_what_works_on_it(venue):
    place(venue, workingType="MARK_PRICE", clientAlgoId="mark")
    place(venue, clientAlgoId="last")
    venue.market.mark_e8 = parse_e8("64100")
    turn(venue)
    assert [a.client_algo_id for a in venue.account.algo_orders.values() if a.trigger_ms] == [
        "mark"
    ]


def test_protected_order_waits_while_mark_and_last_price_are_apart(venue):
    place(venue, priceProtect="true")
    last(venue, "70000.00")
    turn(venue, 2)
    assert told(venue) == ["NEW"]
    last(venue, "64100.00")
    turn(venue)
    assert told(venue)[-1] == "TRIGGERING"


def test_halted_symbol_triggers_nothing_and_takes_nothing(venue):
    place(venue)
    venue.exchange.set_status("BTCUSDT", "TRADING_HALT")
    last(venue, "64100.00")
    turn(venue, 2)
    assert told(venue) == ["NEW"]
    assert refusal(venue, clientAlgoId="other") == -4140
    venue.exchange.set_status("BTCUSDT", "TRADING")
    turn(venue)
    assert told(venue)[-1] == "TRIGGERING"


def test_trailing_stop_follows_is_told_when_active_and_triggers_when_the_price_turns(venue):
    place(venue, type=TRAILING, triggerPrice="", activatePrice="63500.00", callbackRate="1")
    for price in ("63600.00", "64400.00"):
        last(venue, price)
    assert told(venue) == ["NEW"]
    last(venue, "63000.00")
    assert told(venue) == ["NEW", "NEW"]
    assert [event["o"]["ia"] for _, _, event in venue.events] == [False, True]
    last(venue, "63629.00")
    turn(venue)
    assert told(venue)[-1] == "NEW"
    last(venue, "63630.00")
    turn(venue)
    assert told(venue)[-1] == "TRIGGERING"


def trailing(side, activate_e8, callback_e8):
    return AlgoOrder(
        algo_id=1, account_id=1, symbol="BTCUSDT", side=side, type=TRAILING, client_algo_id="t",
        tif_text="GTC", qty_e8=E8, price_e8=0, trigger_e8=0, working_type="CONTRACT_PRICE",
        price_match="NONE", stp_text="NONE", is_reduce_only=False, closes_position=False,
        is_price_protected=False, activate_e8=activate_e8, callback_e8=callback_e8, created_ms=0,
        updated_ms=0, origin=NOBODY,
    )  # fmt: skip


@given(
    prices=st.lists(st.integers(1, 2_000), min_size=1, max_size=30),
    activate=st.sampled_from([0, 500, 1_000]),
    percent=st.integers(1, 20),
    side=st.sampled_from([Side.BUY, Side.SELL]),
)
def test_trailing_stop_is_due_once_a_price_turned_far_enough(prices, activate, percent, side):
    algo = trailing(side, activate * E8, percent * E8 // 100)
    is_due = False
    for index, price in enumerate(prices):
        algo.see(price * E8)
        seen = prices[: index + 1]
        best = min(seen) if side > 0 else max(seen)
        is_active = not activate or (activate - best) * side >= 0
        is_due |= is_active and (100 * price - best * (100 + side * percent)) * side >= 0
        assert algo.is_due == is_due


def test_order_that_cannot_be_placed_ends_rejected_with_the_reason(venue):
    place(venue, reduceOnly="true")
    last(venue, "64100.00")
    turn(venue, 2)
    assert told(venue) == ["NEW", "TRIGGERING", "REJECTED"]
    assert venue.events[-1][2]["o"]["rm"] == "ReduceOnly Order is rejected."
    assert not venue.account.open_algo_orders


def test_closing_order_takes_the_position_of_the_moment_or_expires(venue):
    venue.place(side="SELL", type="MARKET", quantity="0.030")
    close = {"quantity": "", "closePosition": "true"}
    reply = place(venue, **close)
    assert (reply["timeInForce"], reply["quantity"], reply["reduceOnly"]) == ("GTE_GTC", "0.000",
                                                                             True)  # fmt: skip
    assert refusal(venue, **close, clientAlgoId="second") == -4130
    place(venue, **close, clientAlgoId="take", type="TAKE_PROFIT_MARKET", triggerPrice="63900.00")
    last(venue, "64100.00")
    turn(venue, 3)
    assert venue.account.position("BTCUSDT").qty_e8 == 0
    last(venue, "63900.00")
    turn(venue, 2)
    assert told(venue)[-1] == "EXPIRED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"triggerPrice": "63999.00"}, -2021),
        ({"side": "SELL", "triggerPrice": "64001.00"}, -2021),
        ({"algoType": "VP"}, -1102),
        ({"type": "LIMIT"}, -1116),
        ({"side": "HOLD"}, -1117),
        ({"symbol": "NOSUCH"}, -1121),
        ({"triggerPrice": ""}, -1102),
        ({"triggerPrice": "64100.001"}, -1111),
        ({"workingType": "INDEX"}, -4031),
        ({"timeInForce": "GTD"}, -1115),
        ({"quantity": ""}, -1102),
        ({"quantity": "0.0001"}, -1111),
        ({"price": "64000"}, -1106),
        ({"type": "STOP"}, -1102),
        ({"type": "STOP", "price": "64000.05"}, -4014),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": "", "reduceOnly": "true"}, -4138),
        ({"closePosition": "true", "quantity": "", "type": "STOP", "price": "64000"}, -4136),
        ({"type": TRAILING}, -1102),
        ({"type": TRAILING, "callbackRate": "0.09"}, -1102),
        ({"type": TRAILING, "callbackRate": "1", "activatePrice": "64001.00"}, -4135),
        ({"clientAlgoId": "x" * 37}, -4015),
        ({"clientAlgoId": "a b"}, -1100),
        ({"positionSide": "LONG"}, -4061),
        ({"selfTradePreventionMode": "SOME"}, -5039),
    ],
)  # fmt: skip
def test_refusals(venue, changes, code):
    assert refusal(venue, **changes) == code
    assert not venue.account.algo_orders


def test_trigger_price_needs_no_tick(venue):
    assert place(venue, triggerPrice="64100.05")["triggerPrice"] == "64100.05"


def test_client_id_is_taken_while_open_and_two_hundred_are_enough(venue):
    place(venue)
    assert refusal(venue) == -4116
    for number in range(199):
        place(venue, clientAlgoId=f"s{number}")
    assert refusal(venue, clientAlgoId="more") == -4045
    venue.algo_desk.cancel_all(venue.account, "BTCUSDT")
    assert told(venue)[-1] == "CANCELED"
    assert not venue.account.open_algo_orders
    place(venue)


def test_the_two_stores_are_cancelled_apart(venue):
    place(venue)
    venue.place(newClientOrderId="plain")
    venue.exchange.cancel_all(venue.account, "BTCUSDT")
    assert not venue.account.opened("BTCUSDT")
    assert len(venue.account.open_algo_orders) == 1
    venue.place(newClientOrderId="plain-2")
    venue.exchange.countdowns[venue.account.account_id, "BTCUSDT"] = venue.now_ms
    venue.exchange.on_timer()
    assert (len(venue.account.opened("BTCUSDT")), len(venue.account.open_algo_orders)) == (0, 1)
    venue.place(newClientOrderId="plain-3")
    reply = venue.algo_desk.cancel(venue.account, {"clientAlgoId": "stop"})
    assert (reply["code"], reply["msg"]) == ("200", "success")
    assert len(venue.account.opened("BTCUSDT")) == 1
    truth = TruthHandlers(venue.exchange)
    assert [a["status"] for a in truth.truth({})["algo_orders"]] == ["CANCELED"]
    assert (truth.stats({})["algo_orders"], truth.stats({})["open_algo_orders"]) == (1, 0)


def test_somebody_elses_conditional_order_ends_by_itself(venue):
    fault = venue.fault("foreign_algo_order")
    (algo,) = venue.account.open_algo_orders.values()
    assert algo.client_algo_id.startswith("web_")
    venue.later(fault.choice.seconds)
    assert algo.status == "CANCELED"


def test_conditional_orders_over_rest(shared_venue):
    rest = shared_venue.rest
    price = float(rest.get("/fapi/v1/ticker/price", signed=False, symbol="BTCUSDT")["price"])
    params = STOP_BUY | {"triggerPrice": f"{price * 1.5:.2f}"}
    placed = rest.post("/fapi/v1/algoOrder", **params)
    (listed,) = rest.get("/fapi/v1/openAlgoOrders")
    assert {"actualOrderId", "actualQty", "isActivated"} == listed.keys() - placed.keys()
    assert not rest.get("/fapi/v1/openOrders")
    assert rest.get("/fapi/v1/algoOrder", algoId=placed["algoId"])["algoStatus"] == "NEW"
    status, body, _ = rest.call("DELETE", "/fapi/v1/algoOrder", algoId=placed["algoId"])
    assert (status, body["code"]) == (200, "200")
    rest.post("/fapi/v1/algoOrder", **params)
    status, body, _ = rest.call("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    assert (status, body["code"]) == (200, 200)
    assert not rest.get("/fapi/v1/openAlgoOrders", symbol="BTCUSDT")
    rows = rest.get("/fapi/v1/allAlgoOrders", symbol="BTCUSDT")
    assert [row["algoStatus"] for row in rows] == ["CANCELED", "CANCELED"]
    assert {"actualOrderId", "actualPrice", "tpOrderType"} == rows[0].keys() - placed.keys()
    assert rest.call("GET", "/fapi/v1/algoOrder", clientAlgoId="none")[1]["code"] == -2013
    assert rest.call("POST", "/fapi/v1/order", **params)[1]["code"] == -4120
