"""The seeded synthetic market: a crowd that quotes, trades and moves the price of one symbol.

The crowd keeps a model of its own quotes and draws the same random numbers whatever clients do, so
its actions follow from the seed alone. What clients took from a level comes back when the
crowd next refreshes it. Time is the crowd's own: actions have exponential distances, bursts are
part of it, and the caller maps it to the clock.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from hft.records import Side
from tools.venue.exchange_info import SymbolRules
from tools.venue.market import HALTED, NS_PER_MS, SymbolMarket

NEAR_TICKS: Final = 20
"""Every tick of this distance from the best may hold a level."""
ZONES: Final = ((NEAR_TICKS, 1), (100, 5), (500, 25))
"""Distance up to which levels stand on multiples of so many ticks."""
MOVES_PER_S: Final = 20.0
REFRESHES_OF_TOP: Final = 0.55
FRAMES_PER_ACTION: Final = 0.76
"""Measured: frames over all streams of a symbol for each action, without depth@0ms."""
ACTIONS_PER_TURN_MAX: Final = 400
"""Beyond this the crowd falls behind the clock instead of blocking the venue."""


class Activity(NamedTuple):
    """Rates of one symbol's crowd, per second outside bursts."""

    refreshes_per_s: float
    trades_per_s: float
    moves_per_s: float
    volatility: float
    """Standard deviation of the price after one second, as a fraction of it."""
    burst_every_s: float
    burst_s: float
    burst_factor: float


def activity_for(
    *,
    frames_per_s: float,
    trades_per_s: float,
    volatility_bps: float,
    depth_interval_ms: int,
    burst_every_s: float,
    burst_s: float,
    burst_factor: float,
) -> Activity:
    """Rates that make about ``frames_per_s`` frames of all streams of a symbol."""
    depth_per_s = min(frames_per_s / 4, 1000 / depth_interval_ms)
    share = burst_s / burst_every_s if burst_every_s else 0.0
    mean_factor = 1 + share * (burst_factor - 1)
    actions_per_s = (frames_per_s - depth_per_s) / FRAMES_PER_ACTION / mean_factor
    others_per_s = trades_per_s + MOVES_PER_S
    return Activity(
        max(actions_per_s - others_per_s, actions_per_s / 2),
        min(trades_per_s, actions_per_s / 4),
        min(MOVES_PER_S, actions_per_s / 4),
        volatility_bps / 10_000,
        burst_every_s,
        burst_s,
        burst_factor,
    )


class SyntheticMarket:
    """The crowd of one symbol."""

    def __init__(self, market: SymbolMarket, activity: Activity, *, seed: int) -> None:
        rules = market.rules
        self._market = market
        self._activity = activity
        self._random = Random(f"{seed}:{rules.symbol}")
        self._tick_e8 = rules.tick_e8
        self._step_e8 = rules.step_e8
        self._level_steps = max(1, rules.level_qty_e8 // rules.step_e8)
        self._reference = rules.start_price_e8 / rules.tick_e8
        self._tick_min = _tick_min(rules)
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._time_s = 0.0
        self._next_s = 0.0
        self._burst_from_s = self._next_burst()
        self._rate_per_s = activity.refreshes_per_s + activity.trades_per_s + activity.moves_per_s
        market.on_tick_change = self._change_tick

    def start(self, now_ms: int) -> None:
        """Put the first book up."""
        self._requote(now_ms)
        self._market.commit(now_ms)

    def advance(self, elapsed_s: float, now_ms: int) -> bool:
        """Act up to this time of the crowd's clock. False: there was too much to do at once."""
        for _ in range(ACTIONS_PER_TURN_MAX):
            if self._next_s > elapsed_s:
                return True
            self._time_s = self._next_s
            self._act(now_ms)
            self._next_s += self._random.expovariate(self._rate_per_s * self._factor())
        return False

    @property
    def is_halted(self) -> bool:
        """Whether nobody may trade here now."""
        return self._market.status == HALTED

    @property
    def time_s(self) -> float:
        """The crowd's clock."""
        return self._time_s

    # Actions.

    def _act(self, now_ms: int) -> None:
        activity = self._activity
        draw = self._random.random() * self._rate_per_s
        if draw < activity.trades_per_s:
            self._trade(now_ms)
        elif draw < activity.trades_per_s + activity.moves_per_s:
            self._move(now_ms)
        else:
            self._refresh(now_ms)
        self._market.commit(now_ms)

    def _refresh(self, now_ms: int) -> None:
        """One quote changes its size, most often near the top."""
        side = Side.BUY if self._random.random() < 0.5 else Side.SELL
        levels = self._bids if side > 0 else self._asks
        if self._random.random() < REFRESHES_OF_TOP:
            index = 0
        else:
            index = min(len(levels) - 1, int(self._random.expovariate(0.15)))
        ticks = sorted(levels, reverse=side > 0)
        qty_e8 = self._draw_qty(index)
        self._set(side, ticks[index], qty_e8, now_ms)

    def _trade(self, now_ms: int) -> None:
        """Somebody takes from the top, usually less than stands there, sometimes through it."""
        side = Side.BUY if self._random.random() < 0.5 else Side.SELL
        steps = max(1, int(self._random.expovariate(1 / (0.35 * self._level_steps))))
        self._take(side, steps * self._step_e8, now_ms)

    def _take(self, side: Side, qty_e8: int, now_ms: int) -> None:
        levels = self._asks if side > 0 else self._bids
        best = min(levels) if side > 0 else max(levels)
        # One level beyond the best at most: the crowd does not chase its own price.
        limit_e8 = (best + side) * self._tick_e8
        market = self._market
        market.apply(market.book.take(side, qty_e8, limit_e8, now_ms * NS_PER_MS))
        # The model goes on as if no client had been there, and the book's level follows it.
        for tick in (best, best + side):
            eaten_e8 = min(qty_e8, levels.get(tick, 0))
            if eaten_e8 and (len(levels) > 1 or levels[tick] > eaten_e8):
                qty_e8 -= eaten_e8
                self._set(Side(-side), tick, levels[tick] - eaten_e8, now_ms)

    def _move(self, now_ms: int) -> None:
        """The price moves; what stands in its way trades first."""
        spread = self._activity.volatility * self._reference / self._activity.moves_per_s**0.5
        before = self._reference
        self._reference = max(float(self._tick_min), before + self._random.gauss(0.0, spread))
        side = Side.BUY if self._reference > before else Side.SELL
        sweeps = self._random.random() < 0.5
        best = self._best_ticks()[0 if side > 0 else 1]
        levels = self._asks if side > 0 else self._bids
        crossed = [t for t in levels if (best - t) * side >= 0]
        if sweeps and crossed:
            qty_e8 = sum(levels[t] for t in crossed)
            market = self._market
            market.apply(market.book.take(side, qty_e8, best * self._tick_e8, now_ms * NS_PER_MS))
        self._requote(now_ms)

    # Quotes.

    def _best_ticks(self) -> tuple[int, int]:
        """Best bid and ask of the crowd around its reference price."""
        bid = int(self._reference)
        return bid, bid + 1

    def _requote(self, now_ms: int) -> None:
        """Bring both sides to where they belong; first away what would cross, then the new."""
        bid, ask = self._best_ticks()
        bids, asks = _grid(bid, -1), _grid(ask, 1)
        for side, levels, wanted in (
            (Side.BUY, self._bids, bids),
            (Side.SELL, self._asks, asks),
        ):
            for tick in [t for t in levels if t not in wanted]:
                self._set(side, tick, 0, now_ms)
        for side, levels, wanted in (
            (Side.BUY, self._bids, bids),
            (Side.SELL, self._asks, asks),
        ):
            for tick, index in wanted.items():
                if tick not in levels:
                    self._set(side, tick, self._draw_qty(index), now_ms)

    def _set(self, side: Side, tick: int, qty_e8: int, now_ms: int) -> None:
        levels = self._bids if side > 0 else self._asks
        if qty_e8:
            levels[tick] = qty_e8
        else:
            levels.pop(tick, None)
        self._market.set_level(side, tick * self._tick_e8, qty_e8, now_ms)

    def _draw_qty(self, index: int) -> int:
        """Quantity of a level: larger away from the top, with a long tail."""
        scale = self._level_steps * (0.5 + min(index, 40) / 20)
        return max(1, int(self._random.lognormvariate(0.0, 0.9) * scale)) * self._step_e8

    def _change_tick(self, now_ms: int) -> None:
        """All quotes leave the old grid and come back on the new one."""
        for side, levels in ((Side.BUY, self._bids), (Side.SELL, self._asks)):
            for tick in list(levels):
                self._set(side, tick, 0, now_ms)
        rules = self._market.rules
        self._reference *= self._tick_e8 / rules.tick_e8
        self._tick_e8 = rules.tick_e8
        self._tick_min = _tick_min(rules)
        self._requote(now_ms)
        self._market.commit(now_ms)

    # Bursts.

    def _factor(self) -> float:
        activity = self._activity
        if self._time_s < self._burst_from_s:
            return 1.0
        if self._time_s < self._burst_from_s + activity.burst_s:
            return activity.burst_factor
        self._burst_from_s = self._next_burst()
        return 1.0

    def _next_burst(self) -> float:
        every_s = self._activity.burst_every_s
        if not every_s:
            return float("inf")
        return self._time_s + self._random.expovariate(1 / every_s)


def _tick_min(rules: SymbolRules) -> int:
    """The lowest reference price of the crowd, in ticks: all its levels stay above the minimum."""
    return rules.price_min_e8 // rules.tick_e8 + 2 * ZONES[-1][0]


def _grid(best: int, direction: int) -> dict[int, int]:
    """Ticks that hold a level, from the best outwards, with their index; fixed to the price."""
    ticks: dict[int, int] = {best: 0}
    distance = 1
    for reach, spacing in ZONES:
        while distance < reach:
            tick = best + direction * distance
            if tick % spacing == 0:
                ticks[tick] = len(ticks)
            distance += 1
    return ticks
