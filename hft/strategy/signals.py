"""Signals of the built-in strategies: pure arithmetic on what the market shows.

Floats are allowed here and nowhere after: a signal decides, prices and quantities that are sent
are integers. Times are monotonic ns, prices in 1e-8, relative prices in basis points (bps).

All averages are exponential in *time*, as updates do not come at even distances: after a pause of
one half-life what was known weighs half (Eckner, "Algorithms for unevenly spaced time series:
moving averages and other rolling operators", 2012).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from hft.units import NS_PER_MS, NS_PER_S

BPS: Final = 10_000.0
_LN2: Final = math.log(2.0)
SAMPLE_NS: Final = 100 * NS_PER_MS
"""Distance of the returns that volatility is measured from: shorter ones are mostly the mid
bouncing between two ticks."""
BUCKETS: Final = 5
"""Classes of |imbalance| which the micro-price tells apart."""
OBSERVATIONS_MIN: Final = 50.0
"""With fewer observations of a class the weighted mid stands in for what is not learned yet."""


def imbalance(bid_qty_e8: int, ask_qty_e8: int) -> float:
    """Queue imbalance: (bid − ask) / (bid + ask) of the quantities at the touch, −1 to 1.

    It predicts the direction of the next change of the mid (Gould and Bonart, "Queue imbalance as
    a one-tick-ahead price predictor in a limit order book", Market Microstructure and Liquidity
    2, 2016). 0 where nothing stands.
    """
    total_e8 = bid_qty_e8 + ask_qty_e8
    return (bid_qty_e8 - ask_qty_e8) / total_e8 if total_e8 > 0 else 0.0


class Kept:
    """What a successor takes over when code or parameters are changed while it runs."""

    __slots__ = ()
    KEPT: ClassVar[tuple[str, ...]] = ()
    """Attributes that are what was seen, not how it is weighed."""

    def save(self) -> dict[str, Any]:
        """The state as plain values, nothing of which changes any more."""
        found: dict[str, Any] = {}
        for name in self.KEPT:
            value = getattr(self, name)
            if isinstance(value, Kept):
                value = value.save()
            found[name] = list(value) if isinstance(value, list) else value
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take a state over; what it does not have stays as it is."""
        for name in self.KEPT:
            if name not in state:
                continue
            own = getattr(self, name)
            if isinstance(own, Kept):
                own.restore(state[name])
            else:
                value = state[name]
                setattr(self, name, list(value) if isinstance(value, list) else value)


class TimeAverage(Kept):
    """Exponential average of a value that changes at any time."""

    __slots__ = ("_half_life_ns", "_updated_ns", "value")
    KEPT = ("_updated_ns", "value")

    def __init__(self, half_life_ns: int) -> None:
        self._half_life_ns = half_life_ns
        self._updated_ns = 0
        self.value = 0.0

    def update(self, now_ns: int, value: float) -> float:
        """Take a new value in; the first one is the average."""
        if not self._updated_ns:
            self.value = value
        else:
            passed_ns = max(0, now_ns - self._updated_ns)
            self.value += (value - self.value) * -math.expm1(-_LN2 * passed_ns / self._half_life_ns)
        self._updated_ns = now_ns
        return self.value

    def reset(self) -> None:
        """Forget: the next value is the first."""
        self._updated_ns = 0


class Volatility(Kept):
    """Exponentially weighted variance of the mid's returns, for each second.

    The estimator of RiskMetrics ("Technical Document", J.P. Morgan/Reuters, 1996) with time for
    weight: Σ w·r² / Σ w·Δt, where r is the return in bps over Δt seconds. As both sums decay alike
    there is no bias at the start.
    """

    __slots__ = ("_half_life_ns", "_mid_e8", "_sampled_ns", "_squares", "_time_s", "variance")
    KEPT = ("_mid_e8", "_sampled_ns", "_squares", "_time_s", "variance")

    def __init__(self, half_life_ns: int) -> None:
        self._half_life_ns = half_life_ns
        self._mid_e8 = 0
        self._sampled_ns = 0
        self._squares = self._time_s = 0.0
        self.variance = 0.0
        """bps² for each second; 0 before the second sample."""

    @property
    def bps(self) -> float:
        """Standard deviation of the mid after one second, bps."""
        return math.sqrt(self.variance)

    def update(self, now_ns: int, mid_e8: int) -> bool:
        """Look at the mid, which is sampled once in ``SAMPLE_NS``; True when it was."""
        passed_ns = now_ns - self._sampled_ns
        if self._mid_e8 and passed_ns < SAMPLE_NS:
            return False
        if self._mid_e8:
            move_bps = (mid_e8 / self._mid_e8 - 1.0) * BPS
            keep = math.exp(-_LN2 * passed_ns / self._half_life_ns)
            self._squares = self._squares * keep + move_bps * move_bps
            self._time_s = self._time_s * keep + passed_ns / NS_PER_S
            self.variance = self._squares / self._time_s
        self._mid_e8, self._sampled_ns = mid_e8, now_ns
        return True

    def reset(self) -> None:
        """The price may have jumped while nobody looked: keep the variance, take a new start."""
        self._mid_e8 = 0


class Crossover(Kept):
    """Distance of a fast from a slow average of the mid, and how unusual it is.

    Averages with time constants f < s over a Brownian motion of variance σ² for each second differ
    with variance σ²·(f/2 + s/2 − 2·f·s/(f + s)). The score is the difference over the root of
    that: standard normal where there is no trend, whatever the instrument and its volatility.
    Normalised crossovers as a momentum signal: Baz et al., "Dissecting investment strategies in
    the cross section and time series", 2015.
    """

    __slots__ = ("_fast", "_first_ns", "_slow", "_unit", "_volatility", "_warm_ns", "bps", "score")
    KEPT = ("_fast", "_first_ns", "_slow", "_volatility", "bps", "score")

    def __init__(self, fast_half_life_ns: int, slow_half_life_ns: int) -> None:
        self._fast = TimeAverage(fast_half_life_ns)
        self._slow = TimeAverage(slow_half_life_ns)
        self._volatility = Volatility(slow_half_life_ns)
        fast_s = fast_half_life_ns / _LN2 / NS_PER_S
        slow_s = slow_half_life_ns / _LN2 / NS_PER_S
        self._unit = math.sqrt((fast_s + slow_s) / 2 - 2 * fast_s * slow_s / (fast_s + slow_s))
        self._warm_ns = slow_half_life_ns
        self._first_ns = 0
        self.bps = 0.0
        """(fast / slow − 1), bps."""
        self.score = 0.0
        """``bps`` in standard deviations of a market without a trend; 0 while it warms up."""

    @property
    def volatility_bps(self) -> float:
        """Standard deviation of the mid after one second, bps."""
        return self._volatility.bps

    def update(self, now_ns: int, mid_e8: int) -> None:
        """Take the newest mid in."""
        self._volatility.update(now_ns, mid_e8)
        fast, slow = self._fast.update(now_ns, mid_e8), self._slow.update(now_ns, mid_e8)
        self.bps = (fast / slow - 1.0) * BPS
        self._first_ns = self._first_ns or now_ns
        usual_bps = self._volatility.bps * self._unit
        is_warm = now_ns - self._first_ns >= self._warm_ns
        self.score = self.bps / usual_bps if is_warm and usual_bps > 0 else 0.0

    def reset(self) -> None:
        """After a hole in the data: warm up again."""
        self._fast.reset()
        self._slow.reset()
        self._volatility.reset()
        self._first_ns = 0
        self.bps = self.score = 0.0


class MicroPrice(Kept):
    """Expected next mid given the imbalance, learned while looking.

    Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance
    18 (2018): the micro-price is the mid plus the expected sum of its next changes given imbalance
    and spread. Here the first term of that sum, G¹(I) = E[next change of the mid | imbalance], is
    estimated from the market itself: each update adds one observation to the class of its
    |imbalance|, which is worth what the mid does at its next change, in bps and with the sign of
    the imbalance (buys and sells mirror one another, as in the paper). The spread is not told
    apart: contracts with a spread of mostly one tick are what it is for. Old observations fade
    with every change. A class with too few is judged by the weighted mid, which the paper starts
    from: (bid·ask quantity + ask·bid quantity) / both, that is mid + imbalance · spread / 2.
    """

    __slots__ = ("_counts", "_fade", "_mid_e8", "_sums", "_waiting")
    KEPT = ("_counts", "_mid_e8", "_sums", "_waiting")

    def __init__(self, memory_changes: int) -> None:
        self._fade = math.exp(-1.0 / memory_changes)
        self._mid_e8 = 0
        self._sums = [0.0] * BUCKETS
        self._counts = [0.0] * BUCKETS
        self._waiting = [0] * (2 * BUCKETS)
        """Observations since the last change of the mid: first those with more bids than asks."""

    def update(self, mid_e8: int, skew: float) -> None:
        """Take one update in: its mid, and its imbalance as ``skew``."""
        if mid_e8 != self._mid_e8:
            if self._mid_e8:
                self._learn((mid_e8 / self._mid_e8 - 1.0) * BPS)
            self._mid_e8 = mid_e8
        if skew:
            self._waiting[_bucket(skew) + (BUCKETS if skew < 0 else 0)] += 1

    def _learn(self, change_bps: float) -> None:
        waiting, sums, counts, fade = self._waiting, self._sums, self._counts, self._fade
        for index in range(BUCKETS):
            ups, downs = waiting[index], waiting[index + BUCKETS]
            sums[index] = sums[index] * fade + (ups - downs) * change_bps
            counts[index] = counts[index] * fade + ups + downs
            waiting[index] = waiting[index + BUCKETS] = 0

    def offset_bps(self, skew: float, spread_bps: float) -> float:
        """How far the micro-price is from the mid, bps; positive: above."""
        if not skew:
            return 0.0
        index = _bucket(skew)
        if self._counts[index] < OBSERVATIONS_MIN:
            return skew * spread_bps / 2
        return math.copysign(1.0, skew) * self._sums[index] / self._counts[index]

    def reset(self) -> None:
        """After a hole in the data: what was waiting will never know what came."""
        self._mid_e8 = 0
        self._waiting = [0] * (2 * BUCKETS)


def _bucket(skew: float) -> int:
    return min(BUCKETS - 1, int(abs(skew) * BUCKETS))
