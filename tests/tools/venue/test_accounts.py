from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.records import Side
from hft.units import E8, parse_e8
from tools.venue import account_views as views
from tools.venue.accounts import Position, account_margin, liquidation_price_e8


def test_profit_and_fee_of_recorded_fills():
    position = Position()
    opened = position.apply(Side.BUY, parse_e8("0.002"), parse_e8("91739.90"), 0, 0)
    closed = position.apply(Side.SELL, parse_e8("0.002"), parse_e8("90853.20"), 0, 0)
    assert (opened, closed) == (0, parse_e8("-1.7734"))
    assert position.cost_e16 == 0


def test_commission_is_cut_not_rounded(make_venue):
    venue = make_venue(taker_fee_bps=4.0)
    venue.quote(bid="77290.60", ask="77290.70", qty="1")
    venue.market.mark_e8 = parse_e8("77290.70")
    venue.level(Side.SELL, "64000.10", "0")
    venue.place(price="77290.70", quantity="0.007")
    # 0.007 × 77290.7 × 0.0004 = 0.21641396: exact; a tenth of it would be 0.021641396.
    assert venue.account.fills[0].fee_e8 == 21_641_396


def test_flip_realises_the_closed_part_only_and_opens_at_the_fill_price():
    position = Position()
    position.apply(Side.BUY, 2 * E8, 100 * E8, 0, 0)
    realised = position.apply(Side.SELL, 5 * E8, 110 * E8, 0, 0)
    assert realised == 20 * E8
    assert position.qty_e8 == -3 * E8
    assert position.entry_e8(5) == 110 * E8


def test_entry_price_is_rounded_half_up_to_five_decimals():
    position = Position()
    position.apply(Side.BUY, parse_e8("0.14"), parse_e8("394.94"), 0, 0)
    position.apply(Side.BUY, parse_e8("0.14"), parse_e8("394.955715"), 0, 0)
    assert position.entry_e8(5) == parse_e8("394.94786")


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 5_000), st.integers(1, 900_000)),
        min_size=1,
        max_size=30,
    )
)
@settings(deadline=None)
def test_profit_equals_cash_flow_and_open_cost(fills):
    position, cash, realised = Position(), Fraction(0), 0
    for is_buy, lots, ticks in fills:
        side, qty_e8, price_e8 = Side.BUY if is_buy else Side.SELL, lots * 10**5, ticks * 10**6
        realised += position.apply(side, qty_e8, price_e8, 0, 0)
        cash -= side * Fraction(qty_e8, E8) * Fraction(price_e8, E8)
    open_cost = Fraction(position.cost_e16, E8 * E8)
    # Every fill may lose less than one unit of 1e-8 in the cut.
    assert abs(cash + open_cost - Fraction(realised, E8)) < Fraction(len(fills), E8)
    if not position.qty_e8:
        assert position.cost_e16 == 0


def test_long_pays_positive_funding(venue):
    venue.place(type="MARKET", quantity="1.000")
    venue.market.mark_e8 = parse_e8("64000.05")
    wallet_e8 = venue.account.wallet_e8
    venue.events.clear()
    venue.now_ms = venue.exchange.next_funding_ms
    venue.exchange.on_timer()
    assert venue.account.wallet_e8 - wallet_e8 == parse_e8("-6.400005")
    update = venue.events[0][2]["a"]
    assert update == {
        "B": [{"a": "USDT", "wb": "99961.599945", "cw": "99961.599945", "bc": "-6.400005"}],
        "P": [],
        "m": "FUNDING_FEE",
        "S": "BTCUSDT",
    }
    assert venue.account.incomes[-1].kind == "FUNDING_FEE"
    assert venue.exchange.next_funding_ms > venue.now_ms


def test_open_orders_lock_margin_on_the_worse_side_only(venue):
    venue.place(price="63000.00", quantity="1.000")
    venue.place(side="SELL", price="65000.00", quantity="1.000")
    status = views.account_status(venue.exchange, venue.account, version=3)
    assert status["totalOpenOrderInitialMargin"] == "3250.00000000"
    assert status["availableBalance"] == "96750.00000000"


def test_margin_that_an_order_would_need_is_checked(venue):
    assert venue.refusal(account="other-key", price="63000.00", quantity="1.580") == 0
    assert venue.refusal(account="other-key", price="63000.00", quantity="0.010") == -2019
    assert venue.refusal(account="other-key", side="SELL", price="64100.00", quantity="1.000") == 0


@pytest.mark.parametrize(("version", "rows"), [(2, 2), (3, 1)])
def test_positions_of_version_3_are_the_active_ones(make_venue, version, rows):
    venue = make_venue(symbols=("BTCUSDT", "ETHUSDT"))
    venue.place(type="MARKET", quantity="0.010")
    found = views.position_risk(venue.exchange, venue.account, version=version)
    assert len(found) == rows
    assert found[0]["positionAmt"] == "0.010"
    assert ("marginType" in found[0]) is (version == 2)


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_at_the_liquidation_price_the_margin_balance_is_the_maintenance_margin(venue, side):
    account, market, markets = venue.account, venue.market, venue.exchange.markets.values()
    assert liquidation_price_e8(account, market, markets) == 0
    venue.place(type="MARKET", side=side, quantity="1.000")
    account.wallet_e8 = 10_000 * E8
    away_e8 = liquidation_price_e8(account, market, markets)
    assert (away_e8 < market.mark_e8) == (side == "BUY")
    market.mark_e8 = away_e8
    margin = account_margin(account, markets)
    left_e8 = account.wallet_e8 + margin.unrealised_e8 - margin.maintenance_e8
    assert abs(left_e8) <= 10
    assert abs(liquidation_price_e8(account, market, markets) - away_e8) <= 10
    account.wallet_e8 = 10**6 * E8
    is_long = side == "BUY"
    assert (liquidation_price_e8(account, market, markets) == 0) == is_long  # it cannot fall so far
