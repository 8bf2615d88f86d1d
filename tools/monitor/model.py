"""What the monitor knows at one instant: plain values, no shared memory, no terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Instrument(NamedTuple):
    """A symbol and how its numbers are written."""

    instrument_id: int
    symbol: str
    price_places: int
    qty_places: int


class Role(NamedTuple):
    """One role, from its page; process figures from the supervisor's notes and the kernel."""

    name: str
    process: str
    pid: int
    cpu: int
    """Core it is pinned to, -1: none."""
    state: str
    detail: str
    beat_ns: int
    """Age of the last heartbeat, -1: never."""
    work_per_s: float
    restarts: int
    cpu_percent: float
    memory_mb: float
    is_well: bool


class RingReader(NamedTuple):
    """One reader of a ring, or the ring alone when nobody gates it."""

    ring: str
    writer: str
    reader: str
    kind: str
    """How it reads: gates, observes, polls."""
    behind: int
    """Records it has not taken yet, -1: not known, as nothing waits for it."""
    capacity: int
    records_per_s: float
    lost: int
    """Records this reader's role was lapped over, all its rings together."""
    when_full: str


class Position(NamedTuple):
    """Inventory and profit of one instrument."""

    instrument: Instrument
    mode: str
    qty_e8: int
    entry_e8: int
    mark_e8: int
    unrealised_e8: int
    realised_e8: int
    fee_e8: int
    funding_e8: int
    fills: int
    differs: bool

    @property
    def net_e8(self) -> int:
        """All profit together: realised and open, less fees, with funding."""
        return self.unrealised_e8 + self.realised_e8 - self.fee_e8 + self.funding_e8

    @property
    def notional_e8(self) -> int:
        """Size at the mark price, quote asset."""
        return abs(self.qty_e8) * self.mark_e8 // 10**8


class Order(NamedTuple):
    """One order that is not terminal."""

    order_id: int
    venue_order_id: int
    instrument: Instrument
    owner: str
    side: int
    price_e8: int
    qty_e8: int
    filled_e8: int
    state: str
    pending: str
    """Request that the venue has not answered, empty: none."""
    age_ns: int


class Level(NamedTuple):
    """One price of the book, and how many orders of ours rest there."""

    price_e8: int
    qty_e8: int
    ours: int


class Book(NamedTuple):
    """The ladder of one instrument, best prices first."""

    instrument: Instrument
    feed_state: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Fill(NamedTuple):
    """One trade of ours."""

    wall_ns: int
    instrument: Instrument
    owner: str
    side: int
    qty_e8: int
    price_e8: int
    fee_e8: int
    is_maker: bool


class Desk(NamedTuple):
    """One strategy on one instrument."""

    strategy: str
    mode: str
    instrument: Instrument
    state: str
    is_well: bool
    bid_e8: int
    """Its best resting bid, 0: none."""
    ask_e8: int
    orders: int
    last_intent: str
    intent_age_ns: int
    """-1: it has asked for nothing yet."""
    detail: str


class Alert(NamedTuple):
    """Something a person should know."""

    wall_ns: int
    severity: int
    """1 information, 2 warning, 3 incident."""
    source: str
    text: str


class Hop(NamedTuple):
    """One latency histogram; ``recent`` is the last half to whole minute."""

    name: str
    meaning: str
    total: int
    """How many were counted since the system was made."""
    p50_ns: int
    p99_ns: int
    max_ns: int
    recent_total: int
    recent_p50_ns: int
    recent_p99_ns: int
    p50_history_ns: tuple[int, ...]
    """One value a second, oldest first; 0: nothing happened."""
    p99_history_ns: tuple[int, ...]


class Lost(NamedTuple):
    """The system is gone."""

    since_wall_ns: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one instant."""

    name: str
    mode: str
    """live, paper or demo."""
    trading_state: str
    halt_reason: str
    wall_ns: int
    feed_age_ns: int
    """-1: no frame yet."""
    tick_to_trade: Hop | None
    wallet_e8: int
    wallet_asset: str
    instruments: tuple[Instrument, ...] = ()
    roles: tuple[Role, ...] = ()
    rings: tuple[RingReader, ...] = ()
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    book: Book | None = None
    fills: tuple[Fill, ...] = ()
    """Newest first."""
    desks: tuple[Desk, ...] = ()
    alerts: tuple[Alert, ...] = ()
    """Newest first."""
    hops: tuple[Hop, ...] = ()
    lost: Lost | None = None
    life: int = 1
    """How many lives of the system were seen so far."""
