"""What the truth tells audits: arrivals, amendments, halts, bans, clock steps, complaints."""

from __future__ import annotations

import time

import pytest

from hft.records import Side
from hft.units import parse_e8
from tools.venue.errors import ApiError
from tools.venue.history import ENTRIES_MAX, History, Moment, Origin
from tools.venue.request import origin_of, spend_weight
from tools.venue.truth import TruthHandlers

NEW = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "64000.00",
    "newClientOrderId": "a",
}


def truth(venue):
    return TruthHandlers(venue.exchange).truth({})


def origin(venue, source="ws"):
    return origin_of(venue.exchange, source, "order.place", "127.0.0.1:5000 maker/1", "test-key")


def test_order_tells_when_and_how_its_requests_came(venue):
    before_ns = time.monotonic_ns()
    venue.desk.place(venue.account, NEW, origin(venue), stp_default="NONE")
    venue.now_ms += 5
    change = {"symbol": "BTCUSDT", "side": "BUY", "origClientOrderId": "a", "price": "63999.00"}
    venue.desk.amend(
        venue.account, change | {"quantity": "0.020", "modifyId": "7"}, origin(venue, "rest")
    )
    venue.now_ms += 5
    venue.desk.cancel(venue.account, {"symbol": "BTCUSDT", "origClientOrderId": "a"}, origin(venue))
    (order,) = truth(venue)["orders"]
    (amendment,) = order["amendments"]
    times_ns = [order["arrived_ns"], amendment["arrived_ns"], order["cancel"]["arrived_ns"],
                order["ended_ns"]]  # fmt: skip
    assert before_ns < times_ns[0]
    assert times_ns == sorted(times_ns)
    assert times_ns[-1] < time.monotonic_ns()
    assert [order["arrived"], amendment["arrived"], order["cancel"]["arrived"]] == [
        venue.now_ms - 10, venue.now_ms - 5, venue.now_ms,
    ]  # fmt: skip
    assert (order["source"], amendment["source"]) == ("ws", "rest")
    assert (amendment["price"], amendment["qty"], amendment["modify_id"]) == ("63999", "0.02", "7")
    assert order["client_order_id"] == "a"


def test_fill_tells_its_time_on_both_clocks_and_the_order_its_end(venue):
    venue.desk.place(venue.account, NEW, origin(venue), stp_default="NONE")
    venue.take(Side.SELL, "64000.00", "1.010")
    told = truth(venue)
    (order,), (fill,) = told["orders"], told["fills"]
    assert (fill["time"], fill["trade_id"] > 0) == (venue.now_ms, True)
    assert fill["time_ns"] == order["ended_ns"] > order["arrived_ns"]
    assert order["cancel"] is None


def test_orders_of_the_venue_itself_came_from_nobody(venue):
    venue.place(type="MARKET", quantity="0.100")
    venue.fault("liquidation")
    assert [order["source"] for order in truth(venue)["orders"]] == ["venue", "venue"]


def test_halts_are_told_from_to_and_while_they_last(venue):
    start_ms = venue.now_ms
    venue.fault("halt", seconds="1")
    (halt,) = truth(venue)["halts"]
    assert (halt["symbol"], halt["status"], halt["from"], halt["to"]) == (
        "BTCUSDT", "TRADING_HALT", start_ms, None,
    )  # fmt: skip
    venue.later(1.0)
    TruthHandlers(venue.exchange).set_status({"symbol": "BTCUSDT", "status": "SETTLING"})
    first, second = truth(venue)["halts"]
    assert first["to"] == start_ms + 1_000
    assert first["from_ns"] < first["to_ns"] <= second["from_ns"]
    assert (second["status"], second["to_ns"]) == ("SETTLING", None)


def test_ban_tells_when_it_began_was_told_and_ends_and_who_went_on(venue):
    exchange, start_ms = venue.exchange, venue.now_ms
    exchange.address_limit("10.0.0.1")
    venue.fault("ban", seconds="2")
    (ban,) = truth(venue)["bans"]
    assert (ban["address"], ban["from"], ban["to"], ban["told"]) == (
        "10.0.0.1", start_ms, start_ms + 2_000, None,
    )  # fmt: skip
    venue.later(0.5)
    for delay_s in (0.05, 0.001, 0.0):
        with pytest.raises(ApiError):
            spend_weight(exchange, "10.0.0.1", 1, origin(venue))
        venue.later(delay_s)
    told = truth(venue)
    assert told["bans"][0]["told"] == start_ms + 500
    (complaint,) = told["violations"]
    assert (
        complaint.items()
        >= {
            "kind": "banned",
            "endpoint": "order.place",
            "client": "127.0.0.1:5000 maker/1",
            "api_key": "test-key",
            "time": start_ms + 551,
        }.items()
    )


def test_steps_of_the_clock_are_told(venue):
    start_ms = venue.now_ms
    venue.fault("clock_offset", milliseconds="700", seconds="1")
    venue.later(1.0)
    first, second = truth(venue)["clock_steps"]
    assert (first["time"], first["milliseconds"]) == (start_ms, 700)
    assert (second["time"], second["milliseconds"]) == (start_ms + 1_700, -700)


def test_transfers_are_income_and_told_as_deposit_and_withdrawal(venue):
    venue.events.clear()
    venue.fault("transfer", amount="12.5")
    venue.fault("transfer", amount="-2.00000001")
    updates = [event["a"] for _, name, event in venue.events if name == "ACCOUNT_UPDATE"]
    assert [(u["m"], u["B"][0]["bc"], u["P"]) for u in updates] == [
        ("DEPOSIT", "12.5", []), ("WITHDRAW", "-2.00000001", []),
    ]  # fmt: skip
    assert updates[-1]["B"][0]["wb"] == "100010.49999999"
    rows = [(i.kind, i.amount_e8) for i in venue.account.incomes]
    assert rows == [("TRANSFER", parse_e8("12.5")), ("TRANSFER", -200_000_001)]
    told = truth(venue)
    assert (told["transfers"], told["initial"]) == ("10.49999999", "100000")
    assert told["wallet_adds_up"]


def test_no_more_leaves_the_wallet_than_is_free(venue):
    venue.place()
    venue.fault("transfer", amount="-1000000")
    assert venue.account.wallet_e8 == parse_e8("31.9995")  # the margin of the resting order
    assert truth(venue)["wallet_adds_up"]


def test_only_the_first_complaints_are_kept():
    history = History()
    for number in range(ENTRIES_MAX + 5):
        history.note_violation("kind", str(number), 0, Origin(Moment(0, 0), "rest"))
    assert len(history.violations) == ENTRIES_MAX
