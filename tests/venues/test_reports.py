"""REST bodies in our units."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.errors import PrecisionError, VenueError
from hft.records import OrderState, OrderType, Side, Tif
from hft.units import E8, INT64_MAX, NO_PRICE_E8, NS_PER_MS, format_e8, parse_e8
from hft.venues.binance_usdm import reports
from hft.venues.binance_usdm.wire import ORDER_STATES, OrderStatus, exact_e8, rounded_e8

ORDER: dict[str, Any] = {
    "clientOrderId": "h0000000000000022",
    "executedQty": "0.100",
    "orderId": 9123300451,
    "origQty": "0.250",
    "price": "3120.55",
    "reduceOnly": True,
    "side": "SELL",
    "status": "PARTIALLY_FILLED",
    "symbol": "ETHUSDT",
    "timeInForce": "GTX",
    "type": "LIMIT",
    "updateTime": 1795350003377,
}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_an_order_reply_has_no_price_of_fills_and_says_so():
    order = reports.parse_order(encoded(ORDER))
    assert order.average_price_e8 == NO_PRICE_E8
    assert (order.order_id, order.venue_order_id) == (0x22, 9123300451)
    assert (order.price_e8, order.qty_e8) == (parse_e8("3120.55"), E8 // 4)
    assert order.cum_qty_e8 == E8 // 10
    assert (order.side, order.order_type, order.tif) == (Side.SELL, OrderType.LIMIT, Tif.GTC)
    assert order.is_post_only
    assert order.is_reduce_only
    assert order.update_ns == 1795350003377 * NS_PER_MS
    assert ORDER_STATES[order.status] is OrderState.WORKING


def test_a_query_has_the_average_price():
    order = reports.parse_order(encoded({**ORDER, "avgPrice": "3120.55000", "time": 5}))
    assert order.average_price_e8 == parse_e8("3120.55")
    assert order.created_ns == 5 * NS_PER_MS


def test_an_unknown_status_leaves_the_order_unresolved():
    order = reports.parse_order(encoded({**ORDER, "status": "SOMETHING"}))
    assert order.status is OrderStatus.UNKNOWN
    assert ORDER_STATES[order.status] is OrderState.UNRESOLVED


def test_both_spellings_of_the_unrealised_profit_are_read():
    row = {"symbol": "X", "positionAmt": "-0.250", "updateTime": 1}
    for name in ("unRealizedProfit", "unrealizedProfit"):
        position = reports.parse_positions(encoded([{**row, name: "0.03449164"}]))[0]
        assert position.unrealised_pnl_e8 == 3_449_164
        assert position.position_e8 == -E8 // 4


def test_a_trade_has_side_fee_and_id():
    row = {
        "symbol": "ETHUSDT",
        "id": 6022119001,
        "orderId": 9123300451,
        "side": "SELL",
        "price": "3120.55",
        "qty": "0.250",
        "realizedPnl": "0",
        "commission": "0.15602750",
        "commissionAsset": "USDT",
        "time": 1795350003371,
        "positionSide": "BOTH",
        "buyer": False,
        "maker": True,
    }
    trade = reports.parse_trades(encoded([row]))[0]
    assert (trade.trade_id, trade.side, trade.is_maker) == (6022119001, Side.SELL, True)
    assert trade.fee_e8 == parse_e8("0.1560275")
    del row["side"]
    assert reports.parse_trades(encoded([{**row, "buyer": True}]))[0].side is Side.BUY


def test_account_balances_configurations_rates_and_income_are_read():
    asset = {"asset": "USDT", "walletBalance": "9999.84397250", "availableBalance": "1"}
    account = reports.parse_account(
        encoded({"totalWalletBalance": "9999.84397250", "assets": [asset], "positions": []})
    )
    assert account.wallet_e8 == account.balances[0].wallet_e8 == parse_e8("9999.8439725")
    balance = reports.parse_balances(encoded([{"asset": "USDT", "balance": "5"}]))[0]
    assert balance.wallet_e8 == 5 * E8
    config = reports.parse_account_config(
        encoded({"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": True})
    )
    assert (config.can_trade, config.is_hedge_mode, config.is_multi_assets) == (True, False, True)
    row = {"symbol": "X", "marginType": "ISOLATED", "leverage": 21, "maxNotionalValue": "1000"}
    assert reports.parse_symbol_configs(encoded([row]))[0].is_isolated
    row["marginType"] = "CROSSED"
    assert not reports.parse_symbol_configs(encoded([row]))[0].is_isolated
    rate = reports.parse_commission_rate(
        encoded({"symbol": "X", "makerCommissionRate": "-0.00005", "takerCommissionRate": "0.0005"})
    )
    assert (rate.maker_rate_e8, rate.taker_rate_e8) == (-5_000, 50_000)
    income = reports.parse_incomes(
        encoded(
            [
                {
                    "incomeType": "FUNDING_FEE",
                    "income": "-0.1",
                    "asset": "USDT",
                    "tranId": 7,
                    "tradeId": "",
                }
            ]
        )
    )[0]
    assert (income.kind, income.income_e8, income.transaction_id) == ("FUNDING_FEE", -E8 // 10, 7)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", encoded({**ORDER, "price": "x"})])
def test_a_body_of_another_shape_is_the_venues_error(body):
    with pytest.raises(VenueError) as caught:
        reports.parse_order(body)
    assert caught.value.remedy


@given(st.integers(-INT64_MAX, INT64_MAX))
def test_exact_numbers_survive(value_e8):
    assert exact_e8(format_e8(value_e8)) == value_e8
    assert rounded_e8(format_e8(value_e8)) == value_e8


def test_computed_figures_are_rounded_and_others_are_not():
    assert rounded_e8("0.123456785000001") == 12_345_679
    assert rounded_e8("") == 0
    with pytest.raises(PrecisionError):
        exact_e8("0.123456785")
    for text in ("abc", "NaN", "Infinity", "1e30", "9" * 30):
        with pytest.raises(PrecisionError):
            rounded_e8(text)


def test_a_batch_is_answered_element_by_element():
    body = json.dumps([ORDER, {"code": -5022, "msg": "Post Only"}, {"code": "-2011", "msg": ""}])
    placed, refused, gone = reports.parse_batch(body.encode())
    assert placed == reports.parse_order(json.dumps(ORDER).encode())
    assert refused == reports.Refusal(code=-5022, text="Post Only")
    assert gone == reports.Refusal(code=-2011, text="")


def test_open_conditional_orders():
    row = {"algoId": 4000001910058351, "clientAlgoId": "sl-01", "orderType": "STOP_MARKET",
           "symbol": "ETHUSDT", "side": "BUY", "quantity": "0.250", "algoStatus": "NEW",
           "triggerPrice": "3188.00", "reduceOnly": True, "closePosition": False,
           "icebergQuantity": None, "activatePrice": "", "isActivated": False}  # fmt: skip
    (report,) = reports.parse_algo_orders(json.dumps([row]).encode())
    assert (report.symbol, report.algo_id, report.client_algo_id) == (
        "ETHUSDT", 4000001910058351, "sl-01",
    )  # fmt: skip
    assert (report.kind, report.status, report.side) == ("STOP_MARKET", "NEW", Side.BUY)
    assert (report.qty_e8, report.trigger_price_e8) == (parse_e8("0.25"), parse_e8("3188"))
    assert report.is_reduce_only
    assert not report.is_close_position


@pytest.mark.parametrize("body", [b"{}", b'[{"code":"x"}]', b"<html>"])
def test_a_batch_that_is_none_is_an_error_in_words(body):
    with pytest.raises(VenueError):
        reports.parse_batch(body)
