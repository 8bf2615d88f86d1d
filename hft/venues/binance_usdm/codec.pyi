from collections.abc import Mapping
from typing import Final, Self

from typing_extensions import Buffer, disjoint_base

from hft.core.depth import DepthUpdate

GARBAGE: Final = 0
TOP: Final = 1
DEPTH: Final = 2
TRADE: Final = 3
AGG_TRADE: Final = 4
MARK: Final = 5
REPLY: Final = 6
CONTRACT_INFO: Final = 7
OTHER: Final = 8

@disjoint_base
class MarketDecoder(DepthUpdate):
    def __new__(cls, symbols: Mapping[str, int], record: Buffer) -> Self: ...
    @property
    def symbol(self) -> bytes: ...
    @property
    def frames(self) -> int: ...
    @property
    def known_frames(self) -> int: ...
    @property
    def garbage(self) -> int: ...
    venue_ahead_ns: int
    def decode(self, frame: Buffer, recv_ns: int) -> int: ...
    def decode_snapshot(self, body: Buffer, instrument_id: int, recv_ns: int = 0) -> bool: ...
