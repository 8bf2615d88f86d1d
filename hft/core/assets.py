"""Asset ids: the number that stands for an asset's name in records.

The numbers of the fixed table are never reused or changed, as they stand in journals. A name
outside it gets the next number from ``RUNTIME_FIRST`` in the order in which it is met: such a
number holds only as long as the process that gave it.
"""

from __future__ import annotations

from typing import Final

ASSET_IDS: Final = {
    "USDT": 1,
    "USDC": 2,
    "BNB": 3,
    "BTC": 4,
    "FDUSD": 5,
    "ETH": 6,
    "USDE": 7,
    "BFUSD": 8,
    "LDUSDT": 9,
    "RWUSD": 10,
}
RUNTIME_FIRST: Final = 64
RUNTIME_MAX: Final = 4_096
"""Names that one process may add; a venue that sends more sends garbage."""


class AssetTable:
    """Asset name ↔ id."""

    __slots__ = ("_ids", "_names")

    def __init__(self) -> None:
        self._ids = dict(ASSET_IDS)
        self._names = {asset_id: name for name, asset_id in ASSET_IDS.items()}

    def id_of(self, name: str) -> int:
        """Id of a name, a new one when it was never met; 0 for the empty name or a full table."""
        asset_id = self._ids.get(name)
        if asset_id is not None:
            return asset_id
        added = len(self._ids) - len(ASSET_IDS)
        if not name or added >= RUNTIME_MAX:
            return 0
        asset_id = RUNTIME_FIRST + added
        self._ids[name] = asset_id
        self._names[asset_id] = name
        return asset_id

    def name_of(self, asset_id: int) -> str:
        """Name of an id, empty when the id is unknown."""
        return self._names.get(asset_id, "")

    def __len__(self) -> int:
        return len(self._ids)
