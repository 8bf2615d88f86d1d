"""Conditional ("algo") orders: what the venue remembers of each, and when one is due.

They are a store of their own: no margin is locked and no book knows them until their price comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hft.records import Side
from hft.units import E8
from tools.venue.history import Origin

STOPS: Final = ("STOP", "STOP_MARKET")
TAKE_PROFITS: Final = ("TAKE_PROFIT", "TAKE_PROFIT_MARKET")
TRAILING: Final = "TRAILING_STOP_MARKET"
ALGO_TYPES: Final = (*STOPS, *TAKE_PROFITS, TRAILING)
LIMIT_TYPES: Final = ("STOP", "TAKE_PROFIT")
MARK_PRICE: Final = "MARK_PRICE"
LAST_PRICE: Final = "CONTRACT_PRICE"


@dataclass(slots=True, eq=False, kw_only=True)
class AlgoOrder:
    """One conditional order, from its placement to the end of the order it became."""

    algo_id: int
    account_id: int
    symbol: str
    side: Side
    type: str
    client_algo_id: str
    tif_text: str
    qty_e8: int
    """0 when it closes the position, whatever that is by then."""
    price_e8: int
    """Of the limit order it becomes; 0 for a market order or a matched price."""
    trigger_e8: int
    working_type: str
    price_match: str
    stp_text: str
    is_reduce_only: bool
    closes_position: bool
    is_price_protected: bool
    activate_e8: int
    """Of a trailing stop: the price from which on it may trigger; 0: from the beginning."""
    callback_e8: int
    """Of a trailing stop: how far the price turns back, as a fraction."""
    created_ms: int
    updated_ms: int
    origin: Origin
    cancel_origin: Origin | None = None
    status: str = "NEW"
    trigger_ms: int = 0
    order_id: int = 0
    """The order it became."""
    reason: str = ""
    """Why it was rejected."""
    is_activated: bool = False
    extreme_e8: int = 0
    """Of a trailing stop: the best price for the other side since its placement."""
    is_due: bool = False
    """Its price came by; the venue has not acted on it yet."""

    @property
    def is_limit(self) -> bool:
        """Whether it becomes a limit order."""
        return self.type in LIMIT_TYPES

    @property
    def is_open(self) -> bool:
        """Whether it has not become an order yet, and may."""
        return self.status in ("NEW", "TRIGGERING")

    @property
    def is_stop(self) -> bool:
        """Whether it follows a price that runs against the position; else it takes a profit."""
        return self.type not in TAKE_PROFITS

    def would_trigger(self, price_e8: int) -> bool:
        """Whether a price meets the condition of a stop or take-profit."""
        rises = self.side if self.is_stop else -self.side
        return (price_e8 - self.trigger_e8) * rises >= 0

    def see(self, price_e8: int) -> None:
        """A price of its working type came by."""
        if self.type == TRAILING:
            self._follow(price_e8)
        elif self.would_trigger(price_e8):
            self.is_due = True

    def _follow(self, price_e8: int) -> None:
        """A trailing stop to buy follows the price down, one to sell follows it up."""
        side = self.side
        if not self.extreme_e8 or (self.extreme_e8 - price_e8) * side > 0:
            self.extreme_e8 = price_e8
        if not self.is_activated:
            reached = (self.activate_e8 - self.extreme_e8) * side >= 0
            self.is_activated = not self.activate_e8 or reached
        turned_e16 = price_e8 * E8 - self.extreme_e8 * (E8 + side * self.callback_e8)
        if self.is_activated and turned_e16 * side >= 0:
            self.is_due = True
