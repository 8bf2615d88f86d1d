from __future__ import annotations

import math

import msgspec
import pytest

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import FeedState, Side
from hft.strategy.errors import StrategyLoadError
from hft.strategy.maker import Maker, MakerParameters
from hft.strategy.targets import QuoteTargets
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8

BTCUSDT = InstrumentRules(
    instrument_id=1,
    symbol="BTCUSDT",
    tick_e8=parse_e8("0.1"),
    step_e8=parse_e8("0.001"),
    qty_min_e8=parse_e8("0.001"),
    notional_min_e8=100 * E8,
)
SOLUSDT = InstrumentRules(
    instrument_id=3,
    symbol="SOLUSDT",
    tick_e8=parse_e8("0.01"),
    step_e8=E8,
    qty_min_e8=E8,
    notional_min_e8=5 * E8,
)
BASE = {
    "quote_notional": "200", "position_notional_max": "1000",
    "maker_fee_bps": "0", "risk_aversion": "0", "fill_decay": "1000000",
}  # fmt: skip
"""A maker that no fee, no risk and no hope for better fills keeps from the touch."""


def make_top(bid: str, ask: str, recv_ns: int = 0, state: FeedState = FeedState.LIVE) -> TopOfBook:
    top = TopOfBook()
    top.bid_e8, top.ask_e8 = parse_e8(bid), parse_e8(ask)
    top.as_of_ns, top.feed_state = recv_ns, state
    return top


def decide(
    *,
    bid: str = "100000.0",
    ask: str = "100000.1",
    position: str = "0",
    now_ns: int = 0,
    timer_ns: int | None = None,
    state: FeedState = FeedState.LIVE,
    instrument: InstrumentRules = BTCUSDT,
    **parameters: object,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the maker wants: (price, quantity) of its bid and its ask."""
    maker = Maker(msgspec.convert({**BASE, **parameters}, MakerParameters), instrument)
    targets = QuoteTargets(instrument, maker.quote_rules)
    maker.on_top_of_book(now_ns, make_top(bid, ask, state=state), parse_e8(position), targets)
    if timer_ns is not None:
        maker.on_timer(timer_ns, targets)
    (bid_e8, bid_qty_e8), (ask_e8, ask_qty_e8) = map(targets.wanted, (Side.BUY, Side.SELL))
    return (bid_e8 / E8, bid_qty_e8 / E8), (ask_e8 / E8, ask_qty_e8 / E8)


def test_flat_it_joins_the_touch() -> None:
    assert decide() == ((100_000, 0.002), (100_000.1, 0.002))


def test_a_wide_market_is_joined_and_not_led() -> None:
    assert decide(bid="99990", ask="100010") == ((99_990, 0.002), (100_010, 0.002))
    assert decide(bid="99990", ask="100010", inside_ticks=3) == (
        (99_990.3, 0.002),
        (100_009.7, 0.002),
    )


def test_it_never_crosses_however_far_it_may_improve() -> None:
    (bid, _), (ask, _) = decide(inside_ticks=50)
    assert (bid, ask) == (100_000, 100_000.1)


def test_a_half_spread_holds_it_back() -> None:
    (bid, _), (ask, _) = decide(half_spread_bps="1")
    assert (bid, ask) == (99_990, 100_010.1)


def test_the_fee_and_what_a_fill_has_to_earn_hold_it_back() -> None:
    (bid, _), (ask, _) = decide(maker_fee_bps="2", edge_bps="0.5")
    assert (bid, ask) == (99_975.0, 100_025.1)
    assert decide(maker_fee_bps="2", edge_bps="-2") == decide()
    assert decide(maker_fee_bps="-1") == decide()  # a rebate leads it to the touch, not across


def test_distance_is_the_optimum_of_the_model_without_risk() -> None:
    # γ = 0: 1/κ = 1 bps.
    (bid, _), (ask, _) = decide(fill_decay="1")
    assert (bid, ask) == (99_990.0, 100_010.1)


def test_volatility_widens_the_spread_and_steepens_the_skew() -> None:
    parameters = {**BASE, "risk_aversion": "0.5", "horizon_s": "4", "fill_decay": "1",
                  "skew_bps": "1"}  # fmt: skip
    maker = Maker(msgspec.convert(parameters, MakerParameters), BTCUSDT)
    targets = QuoteTargets(BTCUSDT, maker.quote_rules)
    calm_bps = math.log(1 + 0.5 / 1) / 0.5
    assert maker.signals["half_spread_bps"] == pytest.approx(calm_bps)
    for second in range(20):  # 1 bps up, 1 bps down: a variance of 1 bps² for each second
        bid = "100010.0" if second % 2 else "100000.0"
        ask = "100010.1" if second % 2 else "100000.1"
        now_ns = 1 + second * NS_PER_S
        maker.on_top_of_book(now_ns, make_top(bid, ask, now_ns), parse_e8("0.009"), targets)
    signals = maker.signals
    assert signals["volatility_bps"] == pytest.approx(1.0, rel=1e-3)
    # γ·σ²·τ = 0.5 · 1 · 4 = 2 bps: half of it beside the calm half spread, all of it as skew.
    assert signals["half_spread_bps"] == pytest.approx(calm_bps + 1.0, rel=1e-3)
    assert signals["reservation_bps"] == pytest.approx(-(1 + 2) * 0.9, rel=2e-3)


@pytest.mark.parametrize("name", ["horizon_s", "fill_decay", "volatility_half_life_s"])
def test_a_parameter_that_cannot_be_zero_is_refused(name: str) -> None:
    with pytest.raises(StrategyLoadError, match=name):
        Maker(msgspec.convert({**BASE, name: "0"}, MakerParameters), BTCUSDT)


def test_long_inventory_leans_down_and_short_inventory_up() -> None:
    (bid, _), (ask, _) = decide(position="0.005", skew_bps="2")
    assert ask == 100_000.1
    assert bid == 99_990.0
    (bid, _), (ask, _) = decide(position="-0.005", skew_bps="2")
    assert bid == 100_000
    assert ask == 100_010.1


def test_the_side_that_would_take_the_position_too_far_is_not_quoted() -> None:
    assert decide(position="0.007")[0][1] == 0.002
    assert decide(position="0.009")[0][1] == 0
    assert decide(position="0.009")[1][1] == 0.002
    assert decide(position="-0.009")[1][1] == 0
    assert decide(position="0.05")[0][1] == 0


def test_a_quote_is_at_least_what_the_venue_takes() -> None:
    (_, qty), _ = decide(quote_notional="60")
    assert qty == 0.002  # 0.001 would be worth 100.00005, but prices move
    (_, qty), _ = decide(bid="150.00", ask="150.01", instrument=SOLUSDT, quote_notional="60")
    assert qty == 1
    (_, qty), _ = decide(bid="20.00", ask="20.01", instrument=SOLUSDT, quote_notional="60")
    assert qty == 2


def test_the_size_does_not_flicker_with_small_moves_of_the_price() -> None:
    maker = Maker(msgspec.convert(BASE, MakerParameters), BTCUSDT)
    targets = QuoteTargets(BTCUSDT)
    sizes = set()
    for bid in ("66666.6", "66700.0", "66000.0", "67500.0"):
        maker.on_top_of_book(0, make_top(bid, "68000.0"), 0, targets)
        sizes.add(targets.wanted(Side.BUY)[1])
    assert len(sizes) == 1


def test_silent_feed_pulls_both_sides() -> None:
    late_ns = 1_000 * NS_PER_MS + 1
    assert decide(timer_ns=late_ns - 1)[0][1] > 0
    assert decide(timer_ns=late_ns) == ((0, 0), (0, 0))
    assert decide(now_ns=late_ns) == ((0, 0), (0, 0))


@pytest.mark.parametrize("state", [FeedState.GAPPED, FeedState.STALE, FeedState.SYNCING])
def test_data_that_is_not_live_is_not_quoted_on(state: FeedState) -> None:
    assert decide(state=state) == ((0, 0), (0, 0))


@pytest.mark.parametrize(("bid", "ask"), [("100", "100"), ("101", "100"), ("0", "100")])
def test_a_market_that_cannot_be_is_not_quoted_on(bid: str, ask: str) -> None:
    assert decide(bid=bid, ask=ask) == ((0, 0), (0, 0))


def test_a_quote_greater_than_the_greatest_position_is_refused() -> None:
    with pytest.raises(StrategyLoadError, match="2000"):
        Maker(MakerParameters(quote_notional="2000", position_notional_max="100"), BTCUSDT)


def test_new_rules_of_the_venue_are_obeyed_from_then_on() -> None:
    maker = Maker(msgspec.convert(BASE, MakerParameters), BTCUSDT)
    targets = QuoteTargets(BTCUSDT, maker.quote_rules)
    maker.on_top_of_book(0, make_top("100000.0", "100000.1"), 0, targets)
    coarse = msgspec.structs.replace(BTCUSDT, tick_e8=10 * E8, step_e8=E8 // 200, version=2)
    targets.set_instrument(coarse)
    maker.on_instrument(0, coarse, 0, targets)
    maker.on_top_of_book(0, make_top("100000.0", "100010.0"), 0, targets)
    for side in (Side.BUY, Side.SELL):
        price_e8, qty_e8 = targets.wanted(side)
        assert price_e8 % coarse.tick_e8 == 0
        assert qty_e8 == E8 // 200
