from __future__ import annotations

import pytest

from hft.records import Side
from hft.units import parse_e8
from tools.venue.config import VenueConfig
from tools.venue.errors import ApiError
from tools.venue.server import build
from tools.venue.truth import TruthHandlers


def hits(venue, kind):
    return venue.faults.ledger.hits[kind]


def refused(venue, name, **params):
    with pytest.raises(ApiError) as caught:
        venue.request(name, **params)
    return caught.value.status, caught.value.code, caught.value.text


@pytest.mark.parametrize("is_told", [True, False])
def test_listen_key_expires_with_and_without_a_word(venue, is_told):
    key = venue.exchange.start_listen_key(venue.account)
    venue.fault("expire_listen_key" if is_told else "expire_listen_key_silently")
    assert venue.told() == ["listenKeyExpired"] * is_told
    with pytest.raises(ApiError) as caught:
        venue.exchange.keep_listen_key(venue.account)
    assert caught.value.code == -1125
    assert venue.exchange.start_listen_key(venue.account) != key


def test_halted_symbol_takes_no_orders_but_cancels_until_it_trades_again(venue):
    venue.place(newClientOrderId="a")
    venue.fault("halt", seconds="1")
    assert venue.exchange.exchange_info()["symbols"][0]["status"] == "TRADING_HALT"
    assert venue.refusal() == -4140
    venue.request("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    venue.later(1.0)
    venue.place()


@pytest.mark.parametrize("kind", ["halt", "tick_size"])
def test_change_of_a_contract_is_pushed_as_the_venue_pushes_it(venue, recorder, kind):
    venue.exchange.hub.listen(recorder, "!contractInfo", is_combined=False)
    venue.fault(kind)
    (event,) = recorder.take()
    assert list(event) == ["e", "E", "s", "ps", "ct", "dt", "ot", "cs", "st"]
    status = "TRADING_HALT" if kind == "halt" else "TRADING"
    assert (event["e"], event["s"], event["cs"], event["st"]) == (
        "contractInfo", "BTCUSDT", status, 1,
    )  # fmt: skip


def test_halted_symbol_fills_and_liquidates_nothing(venue):
    venue.place(type="MARKET", quantity="0.100")
    venue.place(newClientOrderId="a")
    fills = len(venue.account.fills)
    venue.fault("halt", seconds="1")
    for kind in ("partial_fill", "liquidation", "auto_deleveraging", "foreign_trade"):
        venue.fault(kind)
    venue.fault("fill_before_cancel")
    venue.request("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    venue.later(0.9)
    assert len(venue.account.fills) == fills
    venue.later(0.2)
    venue.later(0.1)
    assert {hits(venue, kind) for kind in ("liquidation", "foreign_trade")} == {1}


def test_somebody_elses_orders_end_by_themselves(venue):
    faults = [venue.fault("foreign_order") for _ in range(20)]
    assert len(venue.account.opened("BTCUSDT")) == 20
    assert all(5 <= fault.choice.seconds <= 30 for fault in faults)
    assert len({fault.choice.seconds for fault in faults}) == 20
    venue.later(5.0)
    venue.later(25.0)
    assert not venue.account.opened("BTCUSDT")
    assert venue.told()[-1] == "CANCELED/CANCELED"


def test_tick_change_is_told_kept_and_taken_back(venue, recorder):
    sink = recorder
    venue.exchange.hub.listen(sink, "!contractInfo", is_combined=False)
    venue.place(price="63999.10", newClientOrderId="old")
    venue.fault("tick_size")
    assert sink.take()[0]["s"] == "BTCUSDT"
    filters = venue.exchange.exchange_info()["symbols"][0]["filters"]
    assert parse_e8(filters[0]["tickSize"]) == parse_e8("1")
    assert venue.refusal(price="63999.10") == -4014
    venue.place(price="63999")
    assert "old" in venue.account.open_client_ids
    venue.fault("tick_size")
    venue.place(price="63999.10")


def test_crowd_quotes_on_the_new_tick():
    exchange, source = build(VenueConfig(symbols=("BTCUSDT",)))
    source.start(1_000)
    exchange.set_tick("BTCUSDT", parse_e8("1"))
    source.turn(1.0, 1_001)
    source.turn(3.0, 3_001)
    market = exchange.markets["BTCUSDT"]
    for side in (Side.BUY, Side.SELL):
        levels = market.book.levels(side, 50)
        assert len(levels) == 50
        assert all(price_e8 % parse_e8("1") == 0 for price_e8, _ in levels)
    top = market.book.top()
    assert abs(top.bid_e8 - parse_e8("64000")) < parse_e8("200")


def test_clock_steps_and_steps_back_without_a_pause_of_the_market(venue, depth):
    venue.fault("clock_offset", milliseconds="-5000", seconds="1")
    assert venue.exchange.clock_ms() == venue.now_ms - 5_000
    venue.level(Side.BUY, "63980.00", "3")
    venue.market.on_timer(venue.exchange.clock_ms() + 20)
    assert len(depth.sink.take()) == 1
    venue.later(1.0)
    assert venue.exchange.clock_ms() == venue.now_ms


def test_partial_fill_waits_for_an_order_and_fills_half_of_the_best(venue):
    venue.fault("partial_fill", seconds="5")
    venue.place(price="63990.00", newClientOrderId="deep")
    venue.place(price="63995.00", newClientOrderId="best")
    venue.later(0.05)
    assert [(f.client_order_id, f.qty_e8) for f in venue.account.fills] == [
        ("best", parse_e8("0.005"))
    ]
    assert venue.told()[-3:] == ["TRADE_LITE", "ACCOUNT_UPDATE", "TRADE/PARTIALLY_FILLED"]


def test_liquidation_is_told_as_the_venue_tells_it(venue):
    venue.place(type="MARKET", quantity="0.100")
    venue.place()
    venue.events.clear()
    venue.fault("liquidation")
    assert venue.told() == [
        "MARGIN_CALL",
        "EXPIRED/EXPIRED",
        "TRADE_LITE",
        "NEW/NEW",
        "ACCOUNT_UPDATE",
        "TRADE/FILLED",
        "ACCOUNT_UPDATE",
    ]
    expired, new = venue.events[1][2]["o"], venue.events[3][2]["o"]
    assert expired["er"] == "5"
    assert (new["o"], new["f"], new["c"][:10]) == ("LIQUIDATION", "IOC", "autoclose-")
    assert venue.events[5][2]["o"]["n"] == "0"
    insurance = venue.events[-1][2]["a"]
    assert (insurance["m"], insurance["B"][0]["bc"]) == ("INSURANCE_CLEAR", "-80")
    truth = TruthHandlers(venue.exchange).truth({})
    assert (truth["wallet_adds_up"], truth["insurance"]) == (True, "-80")
    assert venue.account.position("BTCUSDT").qty_e8 == 0


def test_auto_deleveraging_leaves_orders_and_wallet_alone(venue):
    venue.place(type="MARKET", quantity="0.100")
    venue.place()
    venue.fault("auto_deleveraging")
    assert venue.account.position("BTCUSDT").qty_e8 == 0
    assert venue.account.fills[-1].client_order_id == "adl_autoclose"
    assert len(venue.account.opened("BTCUSDT")) == 1


def test_foreign_orders_and_trades_are_nobodys_of_ours(venue):
    fault = venue.fault("foreign_order")
    (order,) = venue.account.opened("BTCUSDT").values()
    assert order.client_order_id == fault.details[0]
    assert order.client_order_id.startswith("web_")
    venue.fault("foreign_trade")
    assert venue.account.position("BTCUSDT").qty_e8 != 0


def test_funding_is_paid_at_once(venue):
    venue.place(type="MARKET")
    venue.fault("funding")
    update = venue.events[-1][2]["a"]
    assert (update["m"], update["S"], update["P"]) == ("FUNDING_FEE", "BTCUSDT", [])
    assert TruthHandlers(venue.exchange).truth({})["wallet_adds_up"]


@pytest.mark.parametrize("loses", [True, False])
def test_restarted_venue_kept_or_lost_the_orders(venue, loses):
    venue.place()
    venue.fault("restart_losing_orders" if loses else "restart", seconds="1")
    assert venue.exchange.is_down
    assert bool(venue.account.opened("BTCUSDT")) is not loses
    venue.later(1.0)
    assert not venue.exchange.is_down


def test_update_ids_may_begin_again_with_a_restart(venue):
    for quantity in ("2", "3", "4"):
        venue.level(Side.BUY, "63990.00", quantity)
    before = venue.market.last_id
    venue.fault("restart_resetting_ids")
    assert venue.market.last_id < before
