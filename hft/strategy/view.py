"""What a plug-in may see of itself: position, exposure, own open orders. Read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from hft.records import Mode, Side
from hft.strategy.change import Inventory


class OwnOrder(NamedTuple):
    """An open order of the plug-in's, as it is now."""

    order_id: int
    side: Side
    price_e8: int
    qty_e8: int
    """Order quantity, filled part included."""
    leaves_qty_e8: int
    is_quote: bool
    """True: it belongs to the targets; False: the plug-in placed it itself."""
    is_pending: bool
    """A request about it is unanswered."""


class View:
    """What a plug-in may see of itself, without keeping books. Read-only."""

    __slots__ = ("_inventory", "_mode", "_orders", "_quotes")

    def __init__(self, orders: Iterable[OwnOrder], quotes: Callable[[], list[OwnOrder]]) -> None:
        self._orders = orders
        self._quotes = quotes
        self._inventory = Inventory()
        self._mode = Mode.LIVE

    def bind(self, inventory: Inventory, mode: Mode) -> None:
        """Show this book from now on. For the engine, and for tests."""
        self._inventory, self._mode = inventory, mode

    @property
    def mode(self) -> Mode:
        """Live, paper or observe."""
        return self._mode

    @property
    def position_e8(self) -> int:
        """Signed position of the instrument, whoever traded."""
        return self._inventory.position_e8

    @property
    def orders(self) -> list[OwnOrder]:
        """Every own order that is not over: quotes and explicit ones."""
        return [*self._quotes(), *self._orders]

    @property
    def buying_e8(self) -> int:
        """What own open orders may still buy."""
        return sum(order.leaves_qty_e8 for order in self.orders if order.side > 0)

    @property
    def selling_e8(self) -> int:
        """What own open orders may still sell."""
        return sum(order.leaves_qty_e8 for order in self.orders if order.side < 0)

    @property
    def exposure_e8(self) -> int:
        """The greatest position, either way, that own open orders can lead to."""
        position_e8 = self.position_e8
        return max(abs(position_e8 + self.buying_e8), abs(position_e8 - self.selling_e8))
