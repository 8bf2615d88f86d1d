"""Which trades were already counted: a bounded memory of (instrument, trade id, side).

The venue numbers trades by symbol, and repeats and reorders its messages about them. The side is
part of the key because both sides of a trade with oneself carry the same number.
"""

from __future__ import annotations

from typing import Final

TRADES_MAX: Final = 65_536


class TradeMemory:
    """Remembers the newest trades; the oldest are forgotten first."""

    __slots__ = ("_capacity", "_keys")

    def __init__(self, capacity: int = TRADES_MAX) -> None:
        assert capacity > 0
        self._capacity = capacity
        self._keys: dict[int, None] = {}

    def add(self, instrument_id: int, trade_id: int, side: int) -> bool:
        """Note a trade. False: it was already known and must not be counted again."""
        key = _key(instrument_id, trade_id, side)
        keys = self._keys
        if key in keys:
            return False
        keys[key] = None
        if len(keys) > self._capacity:
            del keys[next(iter(keys))]
        return True

    def knows(self, instrument_id: int, trade_id: int, side: int) -> bool:
        """Whether the trade was counted already."""
        return _key(instrument_id, trade_id, side) in self._keys

    def __len__(self) -> int:
        return len(self._keys)


def _key(instrument_id: int, trade_id: int, side: int) -> int:
    return instrument_id << 65 | trade_id << 1 | (side > 0)
