"""Exposure: what every order of ours may still do to every position.

An order counts at its worst from its approval until the venue has closed it: exposure of a side is
the position plus everything on that side that may still execute, including unanswered, unresolved
and reported-but-unseen quantity. All sums are kept as orders live; reading them costs nothing.
They are 128 bits wide: no quantity or price in a record makes one overflow.

An order that the venue has and nobody here had asked for (``ADOPTED``: somebody else's, or ours
from an earlier life) counts from the record on that tells of it. Its id may have the top bit set.
What had executed of it by then is not open any more, whether or not its trades are still to come.

A successor rebuilds it from positions, rows of the ``orders`` table and approved decisions, then
feeds it the executions after their as-of: what a row or a position already includes is skipped by
sequence.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from hft.core.generated.records cimport (
    hft_decision, hft_execution, hft_mark_price, hft_order, hft_top_of_book)
from hft.core.generated.views cimport Decision, Execution, MarkPrice, TopOfBook
from hft.core.generated.views cimport Order as OrderRow

from hft import graph, records, units
from hft.core import order_id as order_ids
from hft.core.trade_memory import TradeMemory

cdef enum:
    ACTION_PLACE = 1
    ACTION_AMEND = 2

    KIND_FILL = 3
    KIND_AMENDED = 7
    KIND_CANCEL_REJECTED = 8
    KIND_AMEND_REJECTED = 9
    KIND_DROPPED = 12
    KIND_ADOPTED = 13

    STATE_NONE = 0
    STATE_UNRESOLVED = 3
    STATE_FIRST_TERMINAL = 10

assert (ACTION_PLACE, ACTION_AMEND) == (records.Action.PLACE, records.Action.AMEND)
assert (
    KIND_FILL, KIND_AMENDED, KIND_CANCEL_REJECTED, KIND_AMEND_REJECTED, KIND_DROPPED, KIND_ADOPTED
) == (
    records.ExecKind.FILL, records.ExecKind.AMENDED, records.ExecKind.CANCEL_REJECTED,
    records.ExecKind.AMEND_REJECTED, records.ExecKind.DROPPED, records.ExecKind.ADOPTED)
assert (STATE_NONE, STATE_UNRESOLVED, STATE_FIRST_TERMINAL) == (
    records.OrderState.NONE, records.OrderState.UNRESOLVED, records.OrderState.FILLED)
assert (SOURCE_MAX, INSTRUMENTS_MAX, E8) == (
    order_ids.SOURCE_MAX, graph.INSTRUMENTS_MAX, units.E8)
assert order_ids.make_order_id(5, 1, 1) >> SOURCE_SHIFT == 5
assert sizeof(int128) == 16

OPEN_ORDERS_MAX = ORDERS_MAX
"""Orders that can count at a time. A place beyond it is refused."""

# So a successor always finds room: what it rebuilds from are rows and unconsumed decisions.
assert OPEN_ORDERS_MAX >= graph.ORDER_ROWS_MAX + graph.ring("decisions").capacity


cdef class OrderTable:
    """The open orders, found by id: rows that are used again, and open addressing over them.

    All memory is taken, and touched, at the start.
    """

    def __cinit__(self):
        cdef Py_ssize_t row
        self.rows = <OpenOrder *> calloc(ORDERS_MAX, sizeof(OpenOrder))
        self.slots = <OpenOrder **> calloc(SLOTS, sizeof(OpenOrder *))
        if self.rows == NULL or self.slots == NULL:
            raise MemoryError
        for row in range(ORDERS_MAX - 1, -1, -1):
            self.rows[row].next_free = self.free_rows
            self.free_rows = &self.rows[row]

    def __dealloc__(self):
        free(self.rows)
        free(self.slots)

    cdef uint64_t slot_of(self, uint64_t order_id) noexcept nogil:
        """Where the order stands, or the empty slot where it would."""
        cdef uint64_t slot = home_of(order_id)
        while self.slots[slot] != NULL and self.slots[slot].order_id != order_id:
            slot = (slot + 1) & (SLOTS - 1)
        return slot

    cdef OpenOrder *find(self, uint64_t order_id) noexcept nogil:
        """The order, or NULL."""
        return self.slots[self.slot_of(order_id)]

    cdef OpenOrder *enter(self, uint64_t order_id) noexcept nogil:
        """A zeroed row for an id that is not in the table. NULL: no row is free."""
        cdef OpenOrder *order = self.free_rows
        if order == NULL:
            return NULL
        self.free_rows = order.next_free
        memset(order, 0, sizeof(OpenOrder))
        order.order_id = order_id
        self.slots[self.slot_of(order_id)] = order
        self.count += 1
        return order

    cdef void release(self, OpenOrder *order) noexcept nogil:
        """Forget an order; whatever its slot kept from standing nearer to home moves up."""
        cdef uint64_t hole = self.slot_of(order.order_id)
        cdef uint64_t slot = hole
        cdef uint64_t from_home
        while True:
            slot = (slot + 1) & (SLOTS - 1)
            if self.slots[slot] == NULL:
                break
            from_home = (slot - home_of(self.slots[slot].order_id)) & (SLOTS - 1)
            if from_home >= ((slot - hole) & (SLOTS - 1)):
                self.slots[hole] = self.slots[slot]
                hole = slot
        self.slots[hole] = NULL
        order.next_free = self.free_rows
        self.free_rows = order
        self.count -= 1


cdef inline uint64_t home_of(uint64_t order_id) noexcept nogil:
    """Multiplied by 2**64 / golden ratio, ids that follow one another lie far apart."""
    return (order_id * <uint64_t> 0x9E3779B97F4A7C15) >> (64 - SLOT_BITS)


cdef inline int64_t worst_case_e8(const OpenOrder *order) noexcept nogil:
    """What may still execute, or has executed in trades not seen."""
    if order.is_closed:
        return max(<int64_t> 0, order.cum_qty_e8 - order.traded_qty_e8)
    return max(<int64_t> 0, max(order.qty_e8, order.approved_qty_e8) - order.traded_qty_e8)


cdef class Exposure:
    """Positions and open orders of all instruments, at their worst."""

    def __cinit__(self):
        self.instruments = <InstrumentExposure *> calloc(
            INSTRUMENTS_MAX, sizeof(InstrumentExposure))
        if self.instruments == NULL:
            raise MemoryError
        self.orders = OrderTable()
        self.trades = TradeMemory()
        self.trades.reserve()

    def __init__(self, instruments):
        """``instruments``: ids that may be traded; others are only watched."""
        for instrument_id in instruments:
            self.watch(instrument_id).is_allowed = True

    def __dealloc__(self):
        free(self.instruments)

    # -- what is observed -----------------------------------------------------------------------

    def set_instrument(self, rules):
        """New or changed rules of an instrument. Without a tick and a step they are none."""
        cdef InstrumentExposure *instrument = self.watch(rules.instrument_id)
        instrument.status = rules.status
        instrument.tick_e8 = rules.tick_e8
        instrument.step_e8 = rules.step_e8
        instrument.price_min_e8 = rules.price_min_e8
        instrument.price_max_e8 = rules.price_max_e8
        instrument.qty_min_e8 = rules.qty_min_e8
        instrument.qty_max_e8 = rules.qty_max_e8
        instrument.market_qty_max_e8 = rules.market_qty_max_e8
        instrument.notional_min_e8 = rules.notional_min_e8
        instrument.multiplier_up_e8 = rules.multiplier_up_e8
        instrument.multiplier_down_e8 = rules.multiplier_down_e8
        instrument.has_rules = instrument.tick_e8 > 0 and instrument.step_e8 > 0

    def on_top(self, uint32_t instrument_id, int64_t bid_e8, int64_t ask_e8, int64_t as_of_ns,
               int feed_state):
        """The newest top of book."""
        self.set_top(instrument_id, bid_e8, ask_e8, as_of_ns, feed_state)

    def on_feed_state(self, uint32_t instrument_id, int feed_state):
        """The feed's own judgement of an instrument changed."""
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        if instrument != NULL:
            instrument.feed_state = feed_state

    def on_mark(
        self, uint32_t instrument_id, int64_t mark_e8, int64_t as_of_ns, int64_t funding_e8=0,
    ):
        """The newest mark price, by which positions are valued, and the funding rate."""
        self.set_mark(instrument_id, mark_e8, as_of_ns, funding_e8)

    def take_top(self, uint32_t instrument_id, TopOfBook top not None):
        """``on_top`` from a record."""
        cdef const hft_top_of_book *record = <const hft_top_of_book *> top.data
        self.set_top(
            instrument_id, record.bid_e8, record.ask_e8, record.as_of_ns, record.feed_state)

    def take_mark(self, uint32_t instrument_id, MarkPrice mark not None):
        """``on_mark`` from a record."""
        cdef const hft_mark_price *record = <const hft_mark_price *> mark.data
        self.set_mark(instrument_id, record.mark_e8, record.as_of_ns, record.funding_rate_e8)

    def on_execution(self, Execution execution not None):
        """What happened to an order, or to the position without one of ours."""
        self.apply(<const hft_execution *> execution.data)

    cdef void set_top(
        self, uint32_t instrument_id, int64_t bid_e8, int64_t ask_e8, int64_t as_of_ns,
        int feed_state,
    ) noexcept nogil:
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        if instrument == NULL:
            return
        instrument.bid_e8 = bid_e8
        instrument.ask_e8 = ask_e8
        instrument.as_of_ns = as_of_ns
        instrument.feed_state = feed_state
        if not instrument.mark_e8 and not instrument.gross_e8:
            self.revalue(instrument)  # the first price at which it can be valued

    cdef void set_mark(
        self, uint32_t instrument_id, int64_t mark_e8, int64_t as_of_ns, int64_t funding_e8,
    ) noexcept nogil:
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        if instrument != NULL:
            instrument.mark_e8 = mark_e8
            instrument.mark_ns = as_of_ns
            instrument.funding_e8 = funding_e8
            self.revalue(instrument)

    cdef int apply(self, const hft_execution *execution) except -1:
        cdef OpenOrder *order = self.orders.find(execution.order_id)
        cdef uint64_t seq = execution.seq
        cdef int kind = execution.exec_kind
        cdef int state = execution.order_state
        if kind == KIND_FILL:
            self.fill(execution, order)
        elif kind == KIND_ADOPTED and order == NULL and execution.leaves_qty_e8 > 0:
            order = self.enter(
                execution.order_id, self.watch(execution.instrument_id), execution.side,
                execution.price_e8, execution.cum_qty_e8 + execution.leaves_qty_e8)
            order.is_adopted = True
            order.traded_qty_e8 = execution.cum_qty_e8
        if order == NULL or (seq and seq <= order.executions_seq):
            return 0
        order.executions_seq = seq
        if order.is_adopted and kind == KIND_FILL:
            # A trade from before the adoption: it was not open any more.
            order.traded_qty_e8 = min(order.traded_qty_e8, execution.cum_qty_e8)
        order.cum_qty_e8 = max(order.cum_qty_e8, execution.cum_qty_e8, order.traded_qty_e8)
        if order.amends and (
            kind == KIND_AMENDED or kind == KIND_AMEND_REJECTED
            or (kind == KIND_DROPPED and not order.is_cancel_asked)
        ):
            order.amends -= 1
            if not order.amends:
                order.approved_qty_e8 = 0
        if kind == KIND_CANCEL_REJECTED:
            order.is_cancel_asked = False
        if kind == KIND_AMENDED:
            order.price_e8 = execution.price_e8
        if state >= STATE_FIRST_TERMINAL or (state == STATE_NONE and is_refusal(kind)):
            order.is_closed = True
        elif state != STATE_NONE:
            # While working, filled and open quantity make up the quantity in force.
            order.qty_e8 = execution.cum_qty_e8 + execution.leaves_qty_e8
        self.set_unresolved(order, state == STATE_UNRESOLVED, execution.publish_ns)
        self.settle(order)
        return 0

    cdef int fill(self, const hft_execution *execution, OpenOrder *order) except -1:
        cdef InstrumentExposure *instrument = self.watch(execution.instrument_id)
        cdef uint64_t seq = execution.seq
        if execution.trade_id and not self.trades.add(
            execution.instrument_id, execution.trade_id, execution.side
        ):
            return 0
        if not (seq and seq <= instrument.executions_seq):
            instrument.position_e8 += <int128> execution.side * execution.qty_e8
            instrument.executions_seq = seq
        if order != NULL and not (seq and seq <= order.executions_seq):
            order.traded_qty_e8 += execution.qty_e8
        self.revalue(instrument)
        return 0

    # -- rebuilding -----------------------------------------------------------------------------

    def add_position(self, uint32_t instrument_id, int64_t position_e8, uint64_t executions_seq=0):
        """The position after that execution record; earlier records no longer move it."""
        cdef InstrumentExposure *instrument = self.watch(instrument_id)
        instrument.position_e8 = position_e8
        instrument.executions_seq = executions_seq
        self.revalue(instrument)

    def adjust_position(self, uint32_t instrument_id, int64_t change_e8):
        """The account moved a position by what no execution explains."""
        cdef InstrumentExposure *instrument = self.watch(instrument_id)
        instrument.position_e8 += change_e8
        self.revalue(instrument)

    def add_open_order(self, OrderRow row not None):
        """A row of the ``orders`` table; execution records it includes no longer change it.

        A closed order still has a row while trades of it are missing: they still count.
        """
        cdef const hft_order *record = <const hft_order *> row.data
        cdef OpenOrder *order
        if self.orders.find(record.order_id) != NULL:
            return  # counted already
        order = self.enter(
            record.order_id, self.watch(record.instrument_id), record.side, record.price_e8,
            record.qty_e8)
        order.cum_qty_e8 = record.cum_qty_e8
        order.is_adopted = not record.strategy_id
        order.traded_qty_e8 = record.cum_qty_e8 if order.is_adopted else record.traded_qty_e8
        order.is_closed = record.order_state >= STATE_FIRST_TERMINAL
        order.executions_seq = record.executions_seq
        if record.pending_qty_e8:
            order.amends = 1
            order.approved_qty_e8 = record.pending_qty_e8
        self.set_unresolved(order, record.order_state == STATE_UNRESOLVED, record.request_ns)
        self.settle(order)

    def add_approved(self, Decision decision not None):
        """An approved decision that no row shows yet: counted as if just approved."""
        cdef const hft_decision *record = <const hft_decision *> decision.data
        cdef OpenOrder *order = self.orders.find(record.order_id)
        cdef InstrumentExposure *instrument
        cdef int64_t price_e8 = record.price_e8
        if record.reason:
            return
        if record.action == ACTION_PLACE and order == NULL:
            instrument = self.watch(record.instrument_id)
            if not price_e8:
                price_e8 = value_price_e8(instrument)
            order = self.enter(
                record.order_id, instrument, record.side, price_e8, record.qty_e8)
            self.settle(order)
        elif record.action == ACTION_AMEND and order != NULL:
            order.amends += 1
            order.approved_qty_e8 = max(order.approved_qty_e8, record.qty_e8)
            self.settle(order)

    def note_order_id(self, uint64_t order_id):
        """An id that was used, whatever became of it: refused when it comes again."""
        self.note_id(order_id)

    # -- exposure -------------------------------------------------------------------------------

    def position_e8(self, uint32_t instrument_id):
        """Signed position."""
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        return 0 if instrument == NULL else instrument.position_e8

    def worst_long_e8(self, uint32_t instrument_id):
        """Position if every open buy executes."""
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        return 0 if instrument == NULL else worst_long_e8(instrument)

    def worst_short_e8(self, uint32_t instrument_id):
        """Position if every open sell executes."""
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        return 0 if instrument == NULL else worst_short_e8(instrument)

    def open_orders(self, uint32_t instrument_id):
        """Orders that may still execute, both sides."""
        cdef InstrumentExposure *instrument = self.watched(instrument_id)
        return 0 if instrument == NULL else instrument.orders[BUY] + instrument.orders[SELL]

    def gross_notional_e8(self):
        """Sum over the instruments of the greater worst case, at mark (else mid) prices."""
        return self.gross_e8

    def net_notional_e8(self):
        """The greater of the two net notionals: everything bought that is open, or sold."""
        return max(self.net_e8[BUY], self.net_e8[SELL])

    def oldest_unresolved_ns(self):
        """Since when the oldest unresolved order is so; 0: none is. Looks at every row."""
        cdef int64_t oldest_ns = 0
        cdef Py_ssize_t row
        if self.unresolved_count:
            for row in range(ORDERS_MAX):
                if self.orders.rows[row].is_unresolved and (
                    not oldest_ns or self.orders.rows[row].unresolved_ns < oldest_ns
                ):
                    oldest_ns = self.orders.rows[row].unresolved_ns
        return oldest_ns

    def greatest_uses(self, int64_t now_ns):
        """The instrument that uses most of each limit: ``[(id, use)]`` of position notional,
        open notional of one side, open orders of one side, spread (bps), range of our own prices
        (bps), size of the funding rate (bps)."""
        cdef InstrumentExposure *instrument
        cdef int128 uses[6]
        cdef int128 greatest[6]
        cdef int found[6]
        cdef int64_t minute = minute_of(now_ns)
        cdef int number, kind
        memset(greatest, 0, sizeof(greatest))
        memset(found, 0, sizeof(found))
        for number in range(INSTRUMENTS_MAX):
            instrument = &self.instruments[number]
            if not instrument.is_watched:
                continue
            uses[0] = instrument.gross_e8
            uses[1] = <int128> value_price_e8(instrument) * capped(
                max(instrument.open_e8[BUY], instrument.open_e8[SELL])) // E8
            uses[2] = max(instrument.orders[BUY], instrument.orders[SELL])
            uses[3] = spread_bps(instrument)
            uses[4] = drift_bps(instrument, 0, minute)
            uses[5] = size_of(instrument.funding_e8) * 10_000 // E8
            for kind in range(6):
                if uses[kind] > greatest[kind]:
                    greatest[kind] = uses[kind]
                    found[kind] = number
        return [(found[kind], capped(greatest[kind])) for kind in range(6)]

    @property
    def unresolved(self):
        """Orders whose fate only the venue knows."""
        return self.unresolved_count

    def holds(self, uint64_t order_id):
        """True while the order counts."""
        return self.orders.find(order_id) != NULL

    # -- inside ---------------------------------------------------------------------------------

    cdef InstrumentExposure *watched(self, uint32_t instrument_id) noexcept nogil:
        """The instrument, or NULL when nobody has heard of it."""
        if instrument_id >= INSTRUMENTS_MAX or not self.instruments[instrument_id].is_watched:
            return NULL
        return &self.instruments[instrument_id]

    cdef InstrumentExposure *watch(self, uint32_t instrument_id) except NULL:
        """The instrument, from now on at least watched."""
        cdef InstrumentExposure *instrument
        if instrument_id >= INSTRUMENTS_MAX:
            raise ValueError(f"instrument {instrument_id} is outside the table of "
                             f"{INSTRUMENTS_MAX}")
        instrument = &self.instruments[instrument_id]
        instrument.instrument_id = instrument_id
        instrument.is_watched = True
        return instrument

    cdef OpenOrder *enter(
        self, uint64_t order_id, InstrumentExposure *instrument, int side, int64_t price_e8,
        int64_t qty_e8,
    ) except NULL:
        """A new order. It counts once it is settled."""
        cdef OpenOrder *order = self.orders.enter(order_id)
        assert order != NULL, f"more than {ORDERS_MAX} open orders"
        order.instrument = instrument
        order.side = side
        order.price_e8 = price_e8
        order.qty_e8 = qty_e8
        instrument.orders[index_of(side)] += 1
        self.note_id(order_id)
        return order

    cdef void note_id(self, uint64_t order_id) noexcept nogil:
        cdef uint64_t source = order_id >> SOURCE_SHIFT
        if source <= SOURCE_MAX and order_id > self.last_ids[source]:
            self.last_ids[source] = order_id

    cdef int settle(self, OpenOrder *order) except -1:
        """Bring the instrument's exposure in line with the order; forget it when it is over."""
        cdef InstrumentExposure *instrument = order.instrument
        cdef int index = index_of(order.side)
        cdef int64_t remaining_e8 = worst_case_e8(order)
        instrument.open_e8[index] += <int128> remaining_e8 - order.remaining_e8
        order.remaining_e8 = remaining_e8
        assert instrument.open_e8[index] >= 0
        if order.is_closed and not remaining_e8:
            self.set_unresolved(order, False, 0)
            instrument.orders[index] -= 1
            assert instrument.orders[index] >= 0
            if instrument.last_order[index] == order:
                instrument.last_order[index] = NULL
            self.orders.release(order)
        self.revalue(instrument)
        return 0

    cdef void set_unresolved(
        self, OpenOrder *order, bint is_unresolved, int64_t since_ns,
    ) noexcept nogil:
        if order.is_unresolved != is_unresolved:
            order.is_unresolved = is_unresolved
            order.unresolved_ns = since_ns
            self.unresolved_count += 1 if is_unresolved else -1

    cdef void note_price(
        self, InstrumentExposure *instrument, int64_t price_e8, int64_t now_ns,
    ) noexcept nogil:
        """A limit price of ours was approved."""
        cdef int64_t minute = minute_of(now_ns)
        cdef bint is_next
        if minute != instrument.drift_minute:
            is_next = minute == instrument.drift_minute + 1
            instrument.drift_low_e8[1] = instrument.drift_low_e8[0] if is_next else 0
            instrument.drift_high_e8[1] = instrument.drift_high_e8[0] if is_next else 0
            instrument.drift_low_e8[0] = instrument.drift_high_e8[0] = price_e8
            instrument.drift_minute = minute
            return
        instrument.drift_low_e8[0] = min(instrument.drift_low_e8[0], price_e8)
        instrument.drift_high_e8[0] = max(instrument.drift_high_e8[0], price_e8)

    cdef void revalue(self, InstrumentExposure *instrument) noexcept nogil:
        """The instrument's part of gross and net notional, at today's worst case and price."""
        cdef int128 price_e8 = value_price_e8(instrument)
        cdef int128 long_e8 = price_e8 * clamped(worst_long_e8(instrument)) // E8
        cdef int128 short_e8 = price_e8 * clamped(-worst_short_e8(instrument)) // E8
        cdef int128 gross_e8 = max(long_e8, short_e8)
        self.gross_e8 += gross_e8 - instrument.gross_e8
        self.net_e8[BUY] += long_e8 - instrument.net_e8[BUY]
        self.net_e8[SELL] += short_e8 - instrument.net_e8[SELL]
        instrument.gross_e8 = gross_e8
        instrument.net_e8[BUY] = long_e8
        instrument.net_e8[SELL] = short_e8


cdef inline bint is_refusal(int kind) noexcept nogil:
    """With order state NONE these say that execution holds no such order."""
    return kind == KIND_DROPPED or kind == KIND_CANCEL_REJECTED or kind == KIND_AMEND_REJECTED
