from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.breakers import (
    COSTED_FILLS_MIN,
    MINUTE_NS,
    RATIO_COUNT_MIN,
    RATIO_WINDOW_NS,
    CountRatio,
    EventRate,
    Layer,
    Losses,
    Peak,
    Range,
    Rise,
    TradeCosts,
    Volatility,
    layer_of,
)
from hft.core.catalogue import LIMITS_BY_NAME, UNLIMITED
from hft.units import E8, NS_PER_S


def test_events_count_for_the_length_of_the_window() -> None:
    rate = EventRate(10 * NS_PER_S)
    assert [rate.add(second * NS_PER_S) for second in range(4)] == [1, 2, 3, 4]
    assert rate.count(10 * NS_PER_S) == 3
    assert rate.count(13 * NS_PER_S) == 0
    rate.add(14 * NS_PER_S)
    rate.clear()
    assert rate.count(14 * NS_PER_S) == 0


def test_a_ratio_needs_many_cancels_and_begins_anew_after_ten_minutes() -> None:
    ratio = CountRatio()
    assert ratio.update(5, 5, 1) == 0
    assert ratio.update(5 + RATIO_COUNT_MIN - 1, 6, 2) == 0
    assert ratio.update(5 + RATIO_COUNT_MIN, 7, 3) == RATIO_COUNT_MIN // 2
    assert ratio.update(5 + RATIO_COUNT_MIN, 5, 4) == RATIO_COUNT_MIN
    assert ratio.update(500, 7, 1 + RATIO_WINDOW_NS) == 0


def test_what_fills_cost_is_weighed_by_money_and_forgotten_after_a_minute() -> None:
    costs = TradeCosts()
    for number in range(COSTED_FILLS_MIN):
        assert costs.bps(number) == (0, 0), "a few fills say nothing"
        costs.add(side=1, price_e8=101 * E8, qty_e8=E8, mid_e8=100 * E8, fee_e8=E8 // 10,
                  now_ns=number)  # fmt: skip
    assert costs.bps(20) == (99, 9)
    big = COSTED_FILLS_MIN * 100 * E8
    costs.add(side=-1, price_e8=100 * E8, qty_e8=big, mid_e8=100 * E8, fee_e8=0, now_ns=30)
    assert costs.bps(30) == (0, 0), "one large fill without costs outweighs them"
    costs.add(side=-1, price_e8=100 * E8, qty_e8=big, mid_e8=0, fee_e8=0, now_ns=31)
    assert costs.bps(MINUTE_NS + 31) == (0, 0)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 40)), min_size=10, max_size=40))
def test_costs_are_those_of_the_fills_in_the_window(fills: list[tuple[int, int]]) -> None:
    costs, now_s, inside = TradeCosts(), 0, []
    for beyond, pause_s in fills:
        now_s += pause_s
        inside.append((now_s, beyond))
        costs.add(side=1, price_e8=(100 + beyond) * E8, qty_e8=E8, mid_e8=100 * E8, fee_e8=0,
                  now_ns=now_s * NS_PER_S)  # fmt: skip
    paid = [beyond for then_s, beyond in inside if now_s - then_s < 60]
    notional = sum(100 + beyond for beyond in paid)
    expected = max(0, sum(paid) * 10_000 // notional) if len(paid) >= COSTED_FILLS_MIN else 0
    assert costs.bps(now_s * NS_PER_S) == (expected, 0)


def test_a_rise_is_that_of_the_window() -> None:
    rise = Rise(10)
    assert [rise.update(total, now) for now, total in ((0, 5), (4, 7), (9, 8), (12, 8))] == [
        0, 2, 3, 1,
    ]  # fmt: skip
    assert rise.update(8, 30) == 0


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 5)), min_size=1, max_size=60))
def test_a_range_is_that_of_the_samples_in_the_window(steps: list[tuple[int, int]]) -> None:
    window, now, samples = Range(10), 0, []
    for value, pause in steps:
        now += pause
        samples.append((value, now))
        window.add(value, now)
        inside = [sample for sample, then in samples if now - then < 10]
        assert (window.low, window.high) == (min(inside), max(inside))


def test_a_market_that_jumps_shows_in_the_second_and_stays_for_a_minute() -> None:
    volatility = Volatility()
    assert volatility.update(100 * E8, 0) == (0, 0)
    assert volatility.update(101 * E8, NS_PER_S // 2) == (100, 100)
    assert volatility.update(101 * E8, 2 * NS_PER_S) == (0, 100)
    assert volatility.update(101 * E8, MINUTE_NS + NS_PER_S) == (0, 0)


def test_losses_are_measured_from_a_minute_ago_the_start_and_the_peak() -> None:
    losses = Losses()
    assert losses.update(10, 0) == (0, 0, 0)
    assert losses.update(50, NS_PER_S) == (0, 0, 0)
    assert losses.update(5, 2 * NS_PER_S) == (45, 5, 45)
    assert losses.update(5, 3 * MINUTE_NS) == (0, 5, 45)


def test_a_successor_goes_on_from_what_its_predecessor_measured_from() -> None:
    losses = Losses()
    losses.begin(10, 50)
    assert losses.update(0, 0) == (0, 10, 50)


def test_a_peak_fades() -> None:
    peak = Peak()
    assert peak.update(9, 0) == 9
    assert peak.update(2, NS_PER_S - 1) == 9
    assert peak.update(2, NS_PER_S) == 2


@pytest.mark.parametrize(
    ("use", "limit", "layer"),
    [
        (0, 0, Layer.FINE),
        (1, 0, Layer.HARD),
        (69, 100, Layer.FINE),
        (70, 100, Layer.SOFT),
        (100, 100, Layer.SOFT),
        (101, 100, Layer.HARD),
        (101, UNLIMITED, Layer.FINE),
    ],
)
def test_a_use_is_soft_from_its_threshold_and_hard_beyond_the_limit(
    use: int, limit: int, layer: Layer
) -> None:
    assert layer_of(LIMITS_BY_NAME["gross_notional_max"], use, limit) is layer


@pytest.mark.parametrize(
    ("use", "limit", "layer"),
    [
        (-1, 1_000, Layer.FINE), (0, 1_000, Layer.HARD), (999, 1_000, Layer.HARD),
        (1_000, 1_000, Layer.SOFT), (2_000, 1_000, Layer.SOFT), (2_001, 1_000, Layer.FINE),
        (0, 0, Layer.FINE), (1, 0, Layer.FINE),
    ],
)  # fmt: skip
def test_of_a_distance_less_is_worse(use: int, limit: int, layer: Layer) -> None:
    assert layer_of(LIMITS_BY_NAME["liquidation_bps_min"], use, limit) is layer
