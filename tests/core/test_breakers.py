from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.breakers import (
    MINUTE_NS,
    RATIO_CANCELS_MIN,
    RATIO_WINDOW_NS,
    CancelRatio,
    EventRate,
    Layer,
    Losses,
    Peak,
    Range,
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
    ratio = CancelRatio()
    assert ratio.update(5, 5, 1) == 0
    assert ratio.update(6, 5 + RATIO_CANCELS_MIN - 1, 2) == 0
    assert ratio.update(7, 5 + RATIO_CANCELS_MIN, 3) == RATIO_CANCELS_MIN // 2
    assert ratio.update(5, 5 + RATIO_CANCELS_MIN, 4) == RATIO_CANCELS_MIN
    assert ratio.update(7, 500, 1 + RATIO_WINDOW_NS) == 0


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
