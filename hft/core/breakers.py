"""Circuit breakers: what is normal once and a warning when it repeats. Time is an argument.

Each class watches one thing and answers with its use, as the catalogue counts it. ``Layer`` says
in which of the three layers a use lies; what follows from it, the risk role does.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final, NamedTuple

from hft.core.catalogue import UNLIMITED, LimitSpec
from hft.units import E8, NS_PER_S

BPS: Final = 10_000
MINUTE_NS: Final = 60 * NS_PER_S
RATIO_WINDOW_NS: Final = 600 * NS_PER_S
RATIO_COUNT_MIN: Final = 100
"""Fewer cancels, or places, than this say nothing about a ratio."""
COSTED_FILLS_MIN: Final = 10
"""Nor do fewer fills about what fills cost."""
EVENTS_MAX: Final = 4_096
SAMPLES_MAX: Final = 4_096


class Layer(IntEnum):
    """How far a use has gone."""

    FINE = 0
    SOFT = 1
    HARD = 2


def layer_of(spec: LimitSpec, use: int, limit: int) -> Layer:
    """The layer of a use. At the limit is still allowed; beyond it is hard."""
    if limit >= UNLIMITED or not spec.soft_percent or use < 0:
        return Layer.FINE
    if spec.is_floor:
        if use < limit:
            return Layer.HARD
        return Layer.SOFT if limit and use * spec.soft_percent <= limit * 100 else Layer.FINE
    if use > limit:
        return Layer.HARD
    return Layer.SOFT if use and use * 100 >= limit * spec.soft_percent else Layer.FINE


class EventRate:
    """Events of a sliding window: rejections by the venue, or executions (repeated-execution
    throttle). Beyond ``EVENTS_MAX`` the oldest are forgotten: any limit is far below."""

    def __init__(self, window_ns: int) -> None:
        assert window_ns > 0
        self._window_ns = window_ns
        self._stamps: deque[int] = deque(maxlen=EVENTS_MAX)

    def add(self, now_ns: int) -> int:
        """One more; returns how many count now."""
        self._stamps.append(now_ns)
        return self.count(now_ns)

    def count(self, now_ns: int) -> int:
        """How many count now."""
        stamps = self._stamps
        while stamps and now_ns - stamps[0] >= self._window_ns:
            stamps.popleft()
        return len(stamps)

    def clear(self) -> None:
        """Forget all: a person has looked and lets it go on."""
        self._stamps.clear()


class CountRatio:
    """Cancels for each place, or places for each trade, of one strategy, in windows of ten minutes
    one after the other."""

    def __init__(self) -> None:
        self._begin_ns = 0
        self._count = self._base = 0

    def update(self, count: int, base: int, now_ns: int) -> int:
        """``count`` for each of ``base`` so far, rounded down, from the totals since the start."""
        if not self._begin_ns or now_ns - self._begin_ns >= RATIO_WINDOW_NS:
            self._begin_ns, self._count, self._base = now_ns, count, base
        count -= self._count
        return count // max(1, base - self._base) if count >= RATIO_COUNT_MIN else 0


class _Cost(NamedTuple):
    fill_ns: int
    notional_e8: int
    slippage_e8: int
    fee_e8: int


class TradeCosts:
    """What the fills of one strategy cost within a minute, beyond the mid and in fees."""

    def __init__(self) -> None:
        self._fills: deque[_Cost] = deque(maxlen=EVENTS_MAX)
        self._notional_e8 = self._slippage_e8 = self._fee_e8 = 0

    def add(
        self, *, side: int, price_e8: int, qty_e8: int, mid_e8: int, fee_e8: int, now_ns: int
    ) -> None:
        """One more fill. ``mid_e8`` 0: no market is known, and it counts as dealt at the mid."""
        beyond_e8 = side * (price_e8 - mid_e8) if mid_e8 else 0
        if len(self._fills) == EVENTS_MAX:
            self._forget()
        cost = _Cost(now_ns, price_e8 * qty_e8 // E8, beyond_e8 * qty_e8 // E8, fee_e8)
        self._fills.append(cost)
        self._notional_e8 += cost.notional_e8
        self._slippage_e8 += cost.slippage_e8
        self._fee_e8 += cost.fee_e8

    def _forget(self) -> None:
        cost = self._fills.popleft()
        self._notional_e8 -= cost.notional_e8
        self._slippage_e8 -= cost.slippage_e8
        self._fee_e8 -= cost.fee_e8

    def bps(self, now_ns: int) -> tuple[int, int]:
        """Slippage and fees in basis points of the notional, rounded down; gains are 0."""
        while self._fills and now_ns - self._fills[0].fill_ns >= MINUTE_NS:
            self._forget()
        if len(self._fills) < COSTED_FILLS_MIN or not self._notional_e8:
            return 0, 0
        return (
            max(0, self._slippage_e8 * BPS // self._notional_e8),
            max(0, self._fee_e8 * BPS // self._notional_e8),
        )


class Range:
    """Greatest less smallest value of a sliding window, exact, in amortised constant time."""

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._high: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)
        self._low: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)

    def add(self, value: int, now_ns: int) -> None:
        """One more sample."""
        high, low = self._high, self._low
        while high and high[-1][0] <= value:
            high.pop()
        while low and low[-1][0] >= value:
            low.pop()
        high.append((value, now_ns))
        low.append((value, now_ns))
        for samples in (high, low):
            while now_ns - samples[0][1] >= self._window_ns:
                samples.popleft()

    @property
    def high(self) -> int:
        """The greatest of the window; 0 before the first."""
        return self._high[0][0] if self._high else 0

    @property
    def low(self) -> int:
        """The smallest of the window; 0 before the first."""
        return self._low[0][0] if self._low else 0


class Rise:
    """By how much a total since the start has grown within a sliding window."""

    def __init__(self, window_ns: int) -> None:
        self._range = Range(window_ns)

    def update(self, total: int, now_ns: int) -> int:
        """The growth, from the totals that were told."""
        self._range.add(total, now_ns)
        return self._range.high - self._range.low


class Volatility:
    """How far the mid of one instrument ranged within one second and within one minute."""

    def __init__(self) -> None:
        self._second = Range(NS_PER_S)
        self._minute = Range(MINUTE_NS)

    def update(self, mid_e8: int, now_ns: int) -> tuple[int, int]:
        """Both ranges in basis points of their low, rounded down."""
        for window in (self._second, self._minute):
            window.add(mid_e8, now_ns)
        return _bps(self._second), _bps(self._minute)


def _bps(window: Range) -> int:
    return (window.high - window.low) * BPS // window.low if window.low > 0 else 0


class Losses:
    """Loss of equity within a minute, since the start, and from the peak.

    Equity here is profit, realised and open, after fees and funding: deposits are no profit.
    Everything is measured from the first value, which is what a successor is told its
    predecessor began with.
    """

    def __init__(self) -> None:
        self._minute = Range(MINUTE_NS)
        self.start_e8: int | None = None
        self.peak_e8 = 0

    def begin(self, start_e8: int, peak_e8: int) -> None:
        """Go on with what a predecessor measured from."""
        self.start_e8, self.peak_e8 = start_e8, peak_e8

    def update(self, profit_e8: int, now_ns: int) -> tuple[int, int, int]:
        """Losses of the minute, the session, and from the peak; never negative."""
        if self.start_e8 is None:
            self.begin(profit_e8, profit_e8)
        assert self.start_e8 is not None
        self.peak_e8 = max(self.peak_e8, profit_e8)
        self._minute.add(profit_e8, now_ns)
        return (
            self._minute.high - profit_e8,
            max(0, self.start_e8 - profit_e8),
            self.peak_e8 - profit_e8,
        )


class Peak:
    """The greatest value of about the last second: latency, loop lag. Old ones fade."""

    def __init__(self, window_ns: int = NS_PER_S) -> None:
        self._range = Range(window_ns)

    def update(self, value: int, now_ns: int) -> int:
        """One more value; the greatest of the window."""
        self._range.add(value, now_ns)
        return self._range.high
