"""Where the changing digits of a market frame stand: found in a frame of the simulator's own."""

from __future__ import annotations

from typing import Final, NamedTuple

from hft.units import E8
from tools.bench.load.pacer import QTY_FIRST_UNITS
from tools.bench.t2t.frames import frame_of
from tools.venue.encode import FrameEncoder

ANY_ID: Final = 8_000_000_000_000
"""Ids and times have as many digits as these for the life of a run."""
ANY_MS: Final = 1_000_000_000_000
QTY_E8: Final = QTY_FIRST_UNITS * E8

Levels = list[tuple[int, int]]
"""Price and quantity, 1e-8."""


class Slots(NamedTuple):
    """A frame as it goes over the wire, and the offsets of the digits that change."""

    frame: bytes
    id_at: int
    bid_qty_at: int
    ask_qty_at: int
    time_at: tuple[int, int]
    first_at: int = 0
    previous_at: int = 0


def ticker_slots(encoder: FrameEncoder, envelope: str, bid_e8: int, ask_e8: int) -> Slots:
    """Of a bookTicker; ``envelope`` is what stands around it, with ``%s`` for the payload."""
    payload = encoder.book_ticker(
        update_id=ANY_ID, bid=(bid_e8, QTY_E8), ask=(ask_e8, QTY_E8), now_ms=ANY_MS
    )
    frame = frame_of((envelope % payload).encode())
    return Slots(
        frame,
        id_at=_after(frame, '"u":'),
        bid_qty_at=_after(frame, '"B":"'),
        ask_qty_at=_after(frame, '"A":"'),
        time_at=(_after(frame, '"T":'), _after(frame, '"E":')),
    )


def depth_slots(encoder: FrameEncoder, envelope: str, bids: Levels, asks: Levels) -> Slots:
    """Of a depth event whose first level of each side is the best one."""
    payload = encoder.depth(
        first_id=ANY_ID,
        last_id=ANY_ID,
        previous_id=ANY_ID,
        bids=bids,
        asks=asks,
        trade_ms=ANY_MS,
        now_ms=ANY_MS,
    )
    frame = frame_of((envelope % payload).encode())
    return Slots(
        frame,
        id_at=_after(frame, '"u":'),
        bid_qty_at=_after(frame, f'"b":[["{encoder.price(bids[0][0])}","'),
        ask_qty_at=_after(frame, f'"a":[["{encoder.price(asks[0][0])}","'),
        time_at=(_after(frame, '"T":'), _after(frame, '"E":')),
        first_at=_after(frame, '"U":'),
        previous_at=_after(frame, '"pu":'),
    )


def _after(frame: bytes, text: str) -> int:
    return frame.index(text.encode()) + len(text)
