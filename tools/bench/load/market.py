"""The markets of the load: as many symbols as wanted, each with a book that only sizes change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hft.records import Side
from hft.units import E8
from tools.bench.load.pacer import Pacer
from tools.bench.load.slots import QTY_E8, Levels
from tools.venue.market import SymbolMarket

DEPTH: Final = 25
"""Levels of each side."""
SPREAD_TICKS: Final = 2
LEVEL_E8: Final = QTY_E8
APART_TICKS: Final = 100
"""Between the prices of two symbols: an order's price names its instrument."""


def symbols_of(count: int) -> tuple[str, ...]:
    """Names of the instruments; the simulator gives such a name a contract around a price of 1."""
    return tuple(f"LOAD{number:03}USDT" for number in range(count))


class LoadMarket:
    """All symbols' books. A source for the simulator's driver that moves nothing by itself."""

    def __init__(self, markets: Mapping[str, SymbolMarket]) -> None:
        self._markets: Sequence[SymbolMarket] = tuple(markets.values())
        self._changes = 0

    def start(self, now_ms: int) -> None:
        """Put the books up."""
        for index, market in enumerate(self._markets):
            for side in (Side.BUY, Side.SELL):
                for price_e8, qty_e8 in self.levels(index, side, DEPTH):
                    market.set_level(side, price_e8, qty_e8, now_ms)
            market.commit(now_ms)

    def turn(self, now_s: float, now_ms: int) -> None:
        """Nothing moves by itself."""

    def levels(self, index: int, side: Side, count: int) -> Levels:
        """The best levels of a side as they were put up."""
        rules = self._markets[index].rules
        first_e8 = rules.start_price_e8 + index * APART_TICKS * rules.tick_e8
        if side is Side.SELL:
            first_e8 += SPREAD_TICKS * rules.tick_e8
        return [(first_e8 - side * level * rules.tick_e8, LEVEL_E8) for level in range(count)]

    def bid_e8(self, index: int) -> int:
        """An instrument's best bid: it never changes."""
        return self.levels(index, Side.BUY, 1)[0][0]

    def change(self, now_ms: int) -> None:
        """A ticker of the next symbol, and a trade: every stream has to be heard once."""
        index = self._changes % len(self._markets)
        self._changes += 1
        market = self._markets[index]
        rounds = self._changes // len(self._markets)
        qty_e8 = LEVEL_E8 + (1 + rounds % 2) * E8
        market.set_level(Side.BUY, self.bid_e8(index), qty_e8, now_ms)
        market.commit(now_ms)
        market.publish_trade(
            self._changes, self.bid_e8(index), market.rules.step_e8, Side.SELL, now_ms
        )

    def follow(self, pacer: Pacer, now_ms: int) -> None:
        """Bring the books to where the frames of the pacer are, for who asks for a snapshot."""
        for index, market in enumerate(self._markets):
            last_id, bid_units, ask_units = pacer.state(index)
            if last_id != market.last_id:
                ask_e8 = self.bid_e8(index) + SPREAD_TICKS * market.rules.tick_e8
                bid, ask = (self.bid_e8(index), bid_units * E8), (ask_e8, ask_units * E8)
                market.follow(last_id, bid, ask, now_ms)
