"""Signals against numbers worked out by hand, and against recorded markets."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from hft.strategy.signals import (
    OBSERVATIONS_MIN,
    Crossover,
    MicroPrice,
    TimeAverage,
    Volatility,
    imbalance,
)
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8

HUNDRED_E8 = 100 * E8


class Quote(NamedTuple):
    time_ns: int
    bid_e8: int
    ask_e8: int
    bid_qty_e8: int
    ask_qty_e8: int

    @property
    def mid_e8(self) -> int:
        return (self.bid_e8 + self.ask_e8) // 2

    @property
    def imbalance(self) -> float:
        return imbalance(self.bid_qty_e8, self.ask_qty_e8)

    @property
    def spread_bps(self) -> float:
        return (self.ask_e8 - self.bid_e8) / self.mid_e8 * 10_000


def recorded(path: Path, count: int) -> Iterator[Quote]:
    """The first best bids and asks of a recording."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            stamp, _, text = line.partition(" ")
            if "@bookTicker" not in text[:60]:
                continue
            data = msgspec.json.decode(text)["data"]
            yield Quote(int(stamp), *(parse_e8(data[key]) for key in ("b", "a", "B", "A")))
            count -= 1
            if not count:
                return


@pytest.fixture(scope="module")
def quotes(shared_data: Path) -> list[Quote]:
    return list(recorded(shared_data / "usdm_streams" / "btcusdt_20240719.gz", 20_000))


@pytest.mark.parametrize(
    ("bid", "ask", "expected"), [(3, 1, 0.5), (1, 3, -0.5), (2, 2, 0.0), (5, 0, 1.0), (0, 0, 0.0)]
)
def test_imbalance_is_the_share_by_which_one_queue_is_longer(
    bid: int, ask: int, expected: float
) -> None:
    assert imbalance(bid * E8, ask * E8) == expected


def test_an_average_forgets_half_in_its_half_life() -> None:
    average = TimeAverage(NS_PER_S)
    assert average.update(1, 100.0) == 100.0
    assert average.update(1 + NS_PER_S, 200.0) == pytest.approx(150.0)
    assert average.update(1 + 3 * NS_PER_S, 150.0) == pytest.approx(150.0)
    assert average.update(1 + 5 * NS_PER_S, 250.0) == pytest.approx(225.0)


def test_an_average_does_not_depend_on_how_often_it_is_told() -> None:
    seldom, often = TimeAverage(NS_PER_S), TimeAverage(NS_PER_S)
    for average in (seldom, often):
        average.update(1, 0.0)
    for step in range(1, 11):
        often.update(1 + step * NS_PER_S // 10, 8.0)
    assert often.value == pytest.approx(seldom.update(1 + NS_PER_S, 8.0))


def test_variance_of_a_price_that_moves_one_bps_each_second_is_one() -> None:
    volatility = Volatility(30 * NS_PER_S)
    for second in range(20):
        price_e8 = HUNDRED_E8 + (HUNDRED_E8 // 10_000) * (second % 2)
        assert volatility.update(1 + second * NS_PER_S, price_e8)
    assert volatility.variance == pytest.approx(1.0, rel=1e-3)
    assert volatility.bps == pytest.approx(1.0, rel=1e-3)


def test_variance_weighs_old_returns_by_their_age() -> None:
    volatility = Volatility(NS_PER_S)
    for second, price_e8 in enumerate((HUNDRED_E8, 10_002 * E8 // 100, 10_002 * E8 // 100)):
        volatility.update(1 + second * NS_PER_S, price_e8)
    # (2 bps)² half forgotten, over one second half forgotten and a new one.
    assert volatility.variance == pytest.approx(2.0 / 1.5)


def test_returns_are_measured_over_a_distance() -> None:
    volatility = Volatility(NS_PER_S)
    volatility.update(1, HUNDRED_E8)
    assert not volatility.update(1 + 99 * NS_PER_MS, 2 * HUNDRED_E8)
    assert volatility.variance == 0.0
    assert volatility.update(1 + 100 * NS_PER_MS, HUNDRED_E8)
    assert volatility.variance == 0.0


def test_a_jump_while_nobody_looked_is_no_volatility() -> None:
    volatility = Volatility(NS_PER_S)
    volatility.update(1, HUNDRED_E8)
    volatility.reset()
    volatility.update(1 + NS_PER_S, 2 * HUNDRED_E8)
    assert volatility.variance == 0.0


def test_crossover_is_silent_until_the_slow_average_has_seen_enough() -> None:
    crossover = Crossover(NS_PER_S, 4 * NS_PER_S)
    scores = []
    for step in range(50):
        crossover.update(1 + step * NS_PER_S // 10, HUNDRED_E8 + step * E8 // 100)
        scores.append(crossover.score)
    assert set(scores[:40]) == {0.0}
    assert scores[41] > 1.0


def test_crossover_has_the_sign_and_size_of_the_move() -> None:
    crossover = Crossover(NS_PER_S, 2 * NS_PER_S)
    crossover.update(1, HUNDRED_E8)
    crossover.update(1 + 2 * NS_PER_S, 101 * E8)
    # Fast: three quarters of the way; slow: half of it.
    assert crossover.bps == pytest.approx((100.75 / 100.5 - 1) * 10_000)
    # One return of 100 bps in 2 s: 5,000 bps² for each second.
    fast_s, slow_s = 1 / math.log(2), 2 / math.log(2)
    unit = math.sqrt(fast_s / 2 + slow_s / 2 - 2 * fast_s * slow_s / (fast_s + slow_s))
    assert crossover.score == pytest.approx(crossover.bps / (math.sqrt(5_000) * unit))


def test_score_of_a_market_without_a_trend_is_standard_normal(quotes: list[Quote]) -> None:
    """On a recorded market the score keeps its scale: neither always silent nor always loud."""
    crossover = Crossover(NS_PER_S, 10 * NS_PER_S)
    scores = []
    for quote in quotes:
        crossover.update(quote.time_ns, quote.mid_e8)
        if crossover.score:
            scores.append(crossover.score)
    assert len(scores) > len(quotes) / 2
    spread = math.sqrt(sum(score * score for score in scores) / len(scores))
    assert 0.3 < spread < 3.0
    assert min(scores) < 0 < max(scores)


def test_micro_price_begins_as_the_weighted_mid() -> None:
    micro = MicroPrice(100)
    # 3 on the bid, 1 on the ask, one bps apart: mid + 0.5 · 1 bps / 2.
    assert micro.offset_bps(imbalance(3 * E8, E8), 1.0) == 0.25
    assert micro.offset_bps(imbalance(E8, 3 * E8), 1.0) == -0.25
    assert micro.offset_bps(0.0, 1.0) == 0.0


def test_micro_price_learns_what_the_mid_does_after_an_imbalance() -> None:
    micro = MicroPrice(1_000_000)
    price_e8 = HUNDRED_E8
    for turn in range(40):
        side = 1 if turn % 2 else -1
        micro.update(price_e8, 0.5 * side)
        micro.update(price_e8, 0.5 * side)
        price_e8 += side * HUNDRED_E8 // 10_000
    micro.update(price_e8, 0.0)
    assert OBSERVATIONS_MIN < 80
    assert micro.offset_bps(0.5, 9.0) == pytest.approx(1.0, rel=1e-3)
    assert micro.offset_bps(-0.5, 9.0) == pytest.approx(-1.0, rel=1e-3)
    assert micro.offset_bps(0.9, 9.0) == pytest.approx(4.05)  # not seen yet: the weighted mid


def test_micro_price_forgets_what_waited_when_the_data_had_a_hole() -> None:
    micro = MicroPrice(1_000)
    for _ in range(100):
        micro.update(HUNDRED_E8, 0.5)
    micro.reset()
    micro.update(2 * HUNDRED_E8, 0.5)
    micro.update(3 * HUNDRED_E8, 0.5)
    assert micro.offset_bps(0.5, 1.0) == 0.25


def test_imbalance_foretells_the_next_change_of_a_recorded_mid(quotes: list[Quote]) -> None:
    right = total = 0
    side = 0.0
    mid_e8 = quotes[0].mid_e8
    micro = MicroPrice(500)
    for quote in quotes:
        micro.update(quote.mid_e8, quote.imbalance)
        if quote.mid_e8 != mid_e8:
            if abs(side) > 0.5:
                total += 1
                right += (quote.mid_e8 - mid_e8) * side > 0
            mid_e8 = quote.mid_e8
        side = quote.imbalance
    assert total > 100
    assert right / total > 0.55
    assert micro.offset_bps(0.9, 0.0) > 0 > micro.offset_bps(-0.9, 0.0)


def test_volatility_of_a_recorded_market_is_that_of_its_returns(quotes: list[Quote]) -> None:
    """With a memory longer than the recording it is the plain mean of squared returns."""
    volatility = Volatility(10**9 * NS_PER_S)
    samples = [quotes[0]]
    for quote in quotes:
        volatility.update(quote.time_ns, quote.mid_e8)
        if quote.time_ns - samples[-1].time_ns >= 100 * NS_PER_MS:
            samples.append(quote)
    squares = sum(((new.mid_e8 / old.mid_e8 - 1) * 10_000) ** 2 for old, new in pairwise(samples))
    seconds = (samples[-1].time_ns - samples[0].time_ns) / NS_PER_S
    assert volatility.variance == pytest.approx(squares / seconds, rel=1e-6)
    assert 0.01 < volatility.bps < 20
