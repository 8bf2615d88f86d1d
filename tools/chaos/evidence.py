"""What both sides say at the end, when nothing moves any more, and how it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft.core.order_id import foreign_order_id
from hft.graph import ring
from hft.records import JournalKind, Mode, OrderState, Side
from hft.venues.binance_usdm.order_text import parse_client_order_id
from tools.chaos.striker import Death, Pause
from tools.chaos.venue_books import VenueBooks
from tools.chaos.venue_faults import Begun

Records = NDArray[Any]
TERMINAL: Final = OrderState.FILLED
FillKey = tuple[str, int, int]
"""Symbol, trade id, side: both sides of a trade with oneself carry the same number."""


@dataclass(frozen=True, slots=True)
class OurPosition:
    """A position cell of the account."""

    position_e8: int
    fills: int
    adjusted_e8: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """What happened when, on the monotonic clock of the host, and what is allowed."""

    wall_offset_ns: int = 0
    """Wall clock minus monotonic clock."""
    deaths: tuple[Death, ...] = ()
    pauses: tuple[Pause, ...] = ()
    frozen_at_fence: tuple[Pause, ...] = ()
    """Times in which execution stood still just before its last look at permit and age."""
    faults: tuple[Begun, ...] = ()
    permit_ns: int = 0
    stale_ns: int = 0
    """Without market data for so long nothing may be placed."""
    pull_ns: int = 0
    """Without market data for so long nothing may rest."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the invariants are held against."""

    books: VenueBooks
    symbols: Mapping[int, str]
    positions: Mapping[str, OurPosition]
    wallet_e8: int
    open_rows: tuple[int, ...]
    """Order ids in the orders table."""
    intents: Records
    decisions: Records
    journal: Records
    executions: Records
    lost: Mapping[str, int] = field(default_factory=dict)
    """Records of a ring that were overwritten before they were collected."""
    adjustments: int = 0
    """Lasting differences that the account repaired."""
    position_notional_max_e8: int = 0
    """Hard limit of the worst case of one instrument and direction; 0: not known."""
    timing: Timing = Timing()
    manual: Records = field(default_factory=lambda: _none("intents.manual"))
    """Intents by hand."""
    paper: Records = field(default_factory=lambda: _none("executions.paper"))
    paper_positions: Mapping[str, OurPosition] = field(default_factory=dict)

    @property
    def live_decisions(self) -> Records:
        """Decisions that execution may act on."""
        found: Records = self.decisions[self.decisions["mode"] != Mode.PAPER]
        return found

    @property
    def paper_decisions(self) -> Records:
        """Decisions of strategies on paper."""
        found: Records = self.decisions[self.decisions["mode"] == Mode.PAPER]
        return found

    @property
    def instruments(self) -> dict[str, int]:
        """Symbol to our number."""
        return {symbol: number for number, symbol in self.symbols.items()}

    @property
    def places(self) -> Records:
        """Journal entries of new orders."""
        return entries(self.journal, JournalKind.PLACE)

    def our_id(self, symbol: str, client_order_id: str, venue_order_id: int) -> int:
        """The id under which the books keep an order of the venue."""
        number = parse_client_order_id(client_order_id)
        if number is not None:
            return number
        return foreign_order_id(self.instruments.get(symbol, 0), venue_order_id)

    def fill_key(self, row: Any) -> FillKey:
        """The key of a record of a fill."""
        symbol = self.symbols.get(int(row["instrument_id"]), "?")
        return symbol, int(row["trade_id"]), int(row["side"])


def _none(ring_name: str) -> Records:
    return np.zeros(0, dtype=ring(ring_name).records[0].dtype)


def entries(journal: Records, *kinds: JournalKind) -> Records:
    """Journal entries of these kinds."""
    found: Records = journal[np.isin(journal["journal_kind"], kinds)]
    return found


def side_of(name: str) -> int:
    """The venue's word for a side as our number."""
    return int(Side[name])


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant that does not hold."""

    invariant: str
    count: int
    evidence: tuple[str, ...]
    """The first ones."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and what does not hold."""

    checked: dict[str, int]
    """How many things were looked at for each invariant."""
    findings: tuple[Finding, ...]


Check = Callable[[Evidence], tuple[int, Iterator[str]]]
"""Number of things looked at, and what is wrong with them in words."""
