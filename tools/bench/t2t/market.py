"""The trigger market: a book whose best bid moves when a trigger is due, and only then."""

from __future__ import annotations

from typing import Final

from hft.records import Side
from hft.units import E8
from tools.bench.t2t.course import PRICES
from tools.venue.market import SymbolMarket

DEPTH: Final = 25
"""Levels of each side that never change."""
SPREAD_TICKS: Final = 100
LEVEL_E8: Final = 9 * E8 // 10
FRAMES_PER_TRADE: Final = 50
"""Who listens to trades as well hears some: a stream that stays silent counts as a failed one."""


class TriggerMarket:
    """Moves one symbol's best bid. Its source of frames is the simulator's own book."""

    def __init__(self, market: SymbolMarket) -> None:
        self._market = market
        self._tick_e8 = market.rules.tick_e8
        self._foot_e8 = market.rules.start_price_e8 // self._tick_e8 * self._tick_e8
        self._step_e8 = market.rules.step_e8
        self._number = 0
        self._frames = 0
        self._trades = 0

    def start(self, now_ms: int) -> None:
        """Put the book up."""
        ask_e8 = self._foot_e8 + (PRICES + SPREAD_TICKS) * self._tick_e8
        for level in range(DEPTH):
            away_e8 = (level + 1) * self._tick_e8
            self._market.set_level(Side.BUY, self._foot_e8 - away_e8, LEVEL_E8, now_ms)
            self._market.set_level(Side.SELL, ask_e8 + away_e8, LEVEL_E8, now_ms)
        self._market.set_level(Side.BUY, self.bid_e8, LEVEL_E8, now_ms)
        self._market.commit(now_ms)

    def turn(self, now_s: float, now_ms: int) -> None:
        """Nothing moves by itself: the pacer asks for each frame."""

    @property
    def bid_e8(self) -> int:
        """The best bid as the frames tell it, 1e-8."""
        return self._foot_e8 + self._number % PRICES * self._tick_e8

    def change(self, now_ms: int, *, is_trigger: bool) -> None:
        """One change of the best level, which publishes one bookTicker frame."""
        market = self._market
        if is_trigger:
            old_e8 = self.bid_e8
            self._number += 1
            market.set_level(Side.BUY, old_e8, 0, now_ms)
        self._frames += 1
        qty_e8 = LEVEL_E8 + self._frames % 100 * self._step_e8
        market.set_level(Side.BUY, self.bid_e8, qty_e8, now_ms)
        market.commit(now_ms)
        if not self._frames % FRAMES_PER_TRADE:
            self._trades += 1
            market.publish_trade(self._trades, self.bid_e8, self._step_e8, Side.SELL, now_ms)
