"""The orders of execution by row, by id and by venue id, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hft.core.orders import Order
from hft.core.trade_memory import TradeMemory
from hft.records import OrderState

CLOSED_MAX: Final = 4_096
"""Closed orders that are remembered for late events."""
FOREIGN_MAX: Final = 256
"""Rows that orders of others may take: a flood of them must not refuse our own."""


class OrderTable:
    """The orders that are not closed, in a bounded number of rows, and a memory of closed ones."""

    __slots__ = ("_by_id", "_by_venue", "_closed", "_foreign_rows", "_free", "_rows", "trades")

    def __init__(self, rows_max: int) -> None:
        assert rows_max > 0
        self._rows: list[Order | None] = [None] * rows_max
        self._free = list(range(rows_max - 1, -1, -1))
        self._by_id: dict[int, Order] = {}
        self._by_venue: dict[tuple[int, int], Order] = {}
        self._closed: dict[int, Order] = {}
        self._foreign_rows = 0
        self.trades = TradeMemory()
        self.trades.reserve()

    def add(self, order: Order) -> int:
        """Give the order a row; returns its index, or -1: the table is full for such orders."""
        if not self._free or (not order.is_ours and self._foreign_rows >= FOREIGN_MAX):
            return -1
        row = self._free.pop()
        self._enter(order, row)
        return row

    def put(self, order: Order, row: int) -> None:
        """Enter an order into a certain free row: rebuilding from the shared table."""
        self._free.remove(row)
        self._enter(order, row)

    def _enter(self, order: Order, row: int) -> None:
        assert order.order_id not in self._by_id
        assert self._rows[row] is None
        self._rows[row] = order
        self._by_id[order.order_id] = order
        self._closed.pop(order.order_id, None)
        self._foreign_rows += not order.is_ours
        order.row = row
        order.trades = self.trades
        self.bind(order)

    def bind(self, order: Order) -> None:
        """Make the order findable by its venue order id, once that is known."""
        if order.venue_order_id:
            self._by_venue[order.instrument_id, order.venue_order_id] = order

    def remove(self, order_id: int) -> int:
        """Free the order's row, remembering the order for late events; returns the row, or -1."""
        order = self._by_id.pop(order_id, None)
        if order is None:
            return -1
        row = order.row
        self._rows[row] = None
        self._free.append(row)
        self._foreign_rows -= not order.is_ours
        order.row = -1
        self.remember(order)
        return row

    def remember(self, order: Order) -> None:
        """Note an order without a row: closed, for events of it that come late."""
        closed = self._closed
        closed[order.order_id] = order
        self.bind(order)
        if len(closed) > CLOSED_MAX:
            oldest = closed.pop(next(iter(closed)))
            key = (oldest.instrument_id, oldest.venue_order_id)
            if self._by_venue.get(key) is oldest:
                del self._by_venue[key]

    def get(self, order_id: int) -> Order | None:
        """The order that is not closed, or None."""
        return self._by_id.get(order_id)

    def find(self, order_id: int) -> Order | None:
        """The order, closed or not, as far as it is remembered."""
        return self._by_id.get(order_id) or self._closed.get(order_id)

    def find_venue(self, instrument_id: int, venue_order_id: int) -> Order | None:
        """The bound order with that venue order id, closed or not."""
        return self._by_venue.get((instrument_id, venue_order_id))

    def was_closed(self, order_id: int) -> bool:
        """True when the order is remembered as closed."""
        return order_id in self._closed

    def row_of(self, order_id: int) -> int:
        """Row of an order that is not closed, or -1."""
        order = self._by_id.get(order_id)
        return -1 if order is None else order.row

    def at(self, row: int) -> Order | None:
        """The order in a row, or None."""
        return self._rows[row]

    @property
    def free_rows(self) -> int:
        """Rows that a new order could take."""
        return len(self._free)

    @property
    def own_count(self) -> int:
        """Orders of ours that are not closed, or whose trades are missing."""
        return len(self._by_id) - self._foreign_rows

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._by_id

    # Each of these walks a copy, so that the caller may remove what it meets.

    def __iter__(self) -> Iterator[Order]:
        return iter(tuple(self._by_id.values()))

    def working(self) -> Iterator[Order]:
        """Orders that are acknowledged and open."""
        return (order for order in self if order.state == OrderState.WORKING)

    def pending(self) -> Iterator[Order]:
        """Orders with an unanswered request."""
        return (order for order in self if order.is_pending)

    def unresolved(self) -> Iterator[Order]:
        """Orders that only the venue can settle."""
        return (order for order in self if order.state == OrderState.UNRESOLVED)

    def of_instrument(self, instrument_id: int) -> Iterator[Order]:
        """Orders of one instrument."""
        return (order for order in self if order.instrument_id == instrument_id)

    def of_strategy(self, strategy_id: int) -> Iterator[Order]:
        """Orders of one strategy."""
        return (order for order in self if order.strategy_id == strategy_id)
