"""The orders of execution by row, by id and by venue id, in bounded memory."""

from libc.stdint cimport uint64_t

from hft.core.exposure cimport SOURCE_SHIFT
from hft.core.orders cimport Order

from hft.core.trade_memory import TradeMemory
from hft.records import OrderState

CLOSED_MAX = 4_096
"""Closed orders that are remembered for late events."""
FOREIGN_MAX = 256
"""Rows that orders of others may take: a flood of them must not refuse our own."""
cdef Py_ssize_t OF_OTHERS_MAX = FOREIGN_MAX
cdef Py_ssize_t REMEMBERED_MAX = CLOSED_MAX
cdef object WORKING = OrderState.WORKING
cdef object UNRESOLVED = OrderState.UNRESOLVED


cdef class OrderTable:
    """The orders that are not closed, in a bounded number of rows, and a memory of closed ones."""

    def __init__(self, Py_ssize_t rows_max):
        assert rows_max > 0
        self._rows = [None] * rows_max
        self._free = list(range(rows_max - 1, -1, -1))
        self._by_id = {}
        self._by_venue = {}
        self._closed = {}
        self._foreign_rows = 0
        self.trades = TradeMemory()
        self.trades.reserve()

    cdef Order new_order(self, const hft_decision *decision):
        """What an approved PLACE asks for; it has no row yet."""
        cdef Order order = Order.__new__(Order) if self.spare is None else self.spare
        self.spare = None
        order.begin(decision, self.trades)
        return order

    cdef int look_ahead(self) except -1:
        """Have at hand what the next order of the same strategy's will need. No effect."""
        if self.spare is None:
            self.spare = Order.__new__(Order)
        if self._free:
            assert self._rows[self.next_row] is None
        return 0

    def add(self, Order order not None):
        """Give the order a row; returns its index, or -1: the table is full for such orders."""
        return self.take_row(order)

    cdef int row_for(self, Order order) except -2:
        """The row that ``take_row`` would give the order now, or -1."""
        if not self._free or (not order.is_own() and self._foreign_rows >= OF_OTHERS_MAX):
            return -1
        return self._free[len(self._free) - 1]

    cdef int take_row(self, Order order) except -2:
        cdef int row = self.row_for(order)
        if row >= 0:
            self._free.pop()
            self._enter(order, row)
        return row

    def put(self, Order order not None, Py_ssize_t row):
        """Enter an order into a certain free row: rebuilding from the shared table."""
        self._free.remove(row)
        self._enter(order, row)

    cdef int _enter(self, Order order, Py_ssize_t row) except -1:
        cdef Py_ssize_t count = len(self._by_id)
        cdef object order_id = order.order_id  # one number for all dictionaries
        self.note_id(order.order_id)
        assert self._rows[row] is None
        self._rows[row] = order
        self._by_id[order_id] = order
        assert len(self._by_id) > count, "the id is in the table"
        self._closed.pop(order_id, None)
        self._foreign_rows += 0 if order.is_own() else 1
        order.row = row
        order.trades = self.trades
        self.bind(order)
        return 0

    def bind(self, Order order not None):
        """Make the order findable by its venue order id, once that is known."""
        if order.venue_order_id:
            self._by_venue[order.instrument_id, order.venue_order_id] = order

    def remove(self, uint64_t order_id):
        """Free the order's row, remembering the order for late events; returns the row, or -1."""
        return self.free_row(order_id)

    cdef int free_row(self, uint64_t order_id) except -2:
        cdef Order order = self._by_id.pop(order_id, None)
        cdef int row
        if order is None:
            return -1
        row = order.row
        self._rows[row] = None
        self._free.append(row)
        self._foreign_rows -= 0 if order.is_own() else 1
        order.row = -1
        self.remember(order)
        return row

    def remember(self, Order order not None):
        """Note an order without a row: closed, for events of it that come late."""
        cdef dict closed = self._closed
        cdef Order oldest
        closed[order.order_id] = order
        self.note_id(order.order_id)
        self.bind(order)
        if len(closed) > REMEMBERED_MAX:
            oldest = closed.pop(next(iter(closed)))
            key = (oldest.instrument_id, oldest.venue_order_id)
            if self._by_venue.get(key) is oldest:
                del self._by_venue[key]

    def forget(self, uint64_t order_id):
        """As if there had never been such an order; for those that are closed."""
        cdef Order order = self._closed.pop(order_id, None)
        if order is not None:
            self._by_venue.pop((order.instrument_id, order.venue_order_id), None)

    def get(self, uint64_t order_id):
        """The order that is not closed, or None."""
        return self._by_id.get(order_id)

    def find(self, uint64_t order_id):
        """The order, closed or not, as far as it is remembered."""
        return self.known(order_id)

    cdef int note_id(self, uint64_t order_id) except -1:
        cdef uint64_t *newest = &self.newest_ids[order_id >> SOURCE_SHIFT]
        if order_id > newest[0]:
            newest[0] = order_id
        return 0

    cdef Order known(self, uint64_t order_id):
        if order_id > self.newest_ids[order_id >> SOURCE_SHIFT]:
            return None  # ids of one source rise, so that is what a new order mostly is
        cdef object key = order_id  # one number for both
        order = self._by_id.get(key)
        return self._closed.get(key) if order is None else order

    def find_venue(self, instrument_id, venue_order_id):
        """The bound order with that venue order id, closed or not."""
        return self._by_venue.get((instrument_id, venue_order_id))

    def was_closed(self, uint64_t order_id):
        """True when the order is remembered as closed."""
        return order_id in self._closed

    def row_of(self, uint64_t order_id):
        """Row of an order that is not closed, or -1."""
        cdef Order order = self._by_id.get(order_id)
        return -1 if order is None else order.row

    def at(self, row):
        """The order in a row, or None."""
        return self._rows[row]

    @property
    def next_row(self):
        """The row that the next order gets; there is one while ``free_rows`` is not 0."""
        return self._free[len(self._free) - 1]

    @property
    def free_rows(self):
        """Rows that a new order could take."""
        return len(self._free)

    @property
    def own_count(self):
        """Orders of ours that are not closed, or whose trades are missing."""
        return len(self._by_id) - self._foreign_rows

    def __len__(self):
        return len(self._by_id)

    def __contains__(self, uint64_t order_id):
        return order_id in self._by_id

    # Each of these walks a copy, so that the caller may remove what it meets.

    def __iter__(self):
        return iter(tuple(self._by_id.values()))

    def working(self):
        """Orders that are acknowledged and open."""
        return (order for order in self if order.state is WORKING)

    def pending(self):
        """Orders with an unanswered request."""
        return (order for order in self if order.is_pending)

    def unresolved(self):
        """Orders that only the venue can settle."""
        return (order for order in self if order.state is UNRESOLVED)

    def of_instrument(self, instrument_id):
        """Orders of one instrument."""
        return (order for order in self if order.instrument_id == instrument_id)

    def of_strategy(self, strategy_id):
        """Orders of one strategy."""
        return (order for order in self if order.strategy_id == strategy_id)
