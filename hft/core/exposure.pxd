"""Exposure as C sees it: rows for instruments and open orders, no objects."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hft.core.generated.records cimport hft_execution


cdef extern from *:
    # A product of two int64 needs it, and a sum of many. Cython knows it as its widest integer, so
    # an operation with one operand of this type is carried out in 128 bits.
    ctypedef long long int128 "__int128"

cdef enum:
    BUY = 0  # indices of the sides in pairs of sums
    SELL = 1
    E8 = 100_000_000
    SOURCE_SHIFT = 56
    SOURCE_MAX = 127
    INSTRUMENTS_MAX = 128
    ORDERS_MAX = 8_192
    SLOT_BITS = 14  # twice as many slots as orders: a search ends after a step or two
    SLOTS = 1 << SLOT_BITS


cdef struct InstrumentExposure


cdef struct OpenOrder:
    # What risk knows of an order that may still execute.
    uint64_t order_id
    InstrumentExposure *instrument
    int64_t price_e8
    int64_t qty_e8
    int64_t approved_qty_e8  # greatest quantity of approved amends that are not answered; 0: none
    int64_t amends  # how many those are
    int64_t cum_qty_e8
    int64_t traded_qty_e8
    int64_t remaining_e8  # what stands in the instrument's exposure because of this order
    uint64_t executions_seq
    OpenOrder *next_free
    int side
    bint is_cancel_asked  # then a dropped decision may be the cancel, and not the amend
    bint is_closed
    bint is_unresolved
    int64_t unresolved_ns  # since when
    bint is_adopted  # found at the venue: the trades before are not its own to tell


cdef struct InstrumentExposure:
    # Rules, market and exposure of one instrument. All zero: nobody has heard of it.
    uint32_t instrument_id
    bint is_watched
    bint is_allowed
    bint has_rules
    int status
    int64_t tick_e8
    int64_t step_e8
    int64_t price_min_e8
    int64_t price_max_e8
    int64_t qty_min_e8
    int64_t qty_max_e8
    int64_t market_qty_max_e8
    int64_t notional_min_e8
    int64_t multiplier_up_e8
    int64_t multiplier_down_e8
    int64_t bid_e8
    int64_t ask_e8
    int64_t as_of_ns
    int feed_state
    int64_t mark_e8
    int64_t mark_ns
    int64_t funding_e8  # rate, of the notional
    uint64_t executions_seq
    int128 position_e8
    int128 open_e8[2]  # worst case of what is open, by side
    int128 gross_e8  # this instrument's part of the gross notional
    int128 net_e8[2]  # and of the net notional if all of one side executes; may be negative
    int64_t halted_until_ns  # the market moved too fast: nothing that grows before
    int64_t orders[2]
    OpenOrder *last_order[2]  # the newest place of each side while it counts, else NULL
    int64_t last_place_ns[2]
    int64_t drift_minute  # of the first of these; the second is of the minute before
    int64_t drift_low_e8[2]  # range of our own limit prices; 0: none
    int64_t drift_high_e8[2]


cdef inline int index_of(int side) noexcept nogil:
    return BUY if side > 0 else SELL


cdef inline int128 worst_long_e8(const InstrumentExposure *instrument) noexcept nogil:
    """Position if every open buy executes."""
    return instrument.position_e8 + instrument.open_e8[BUY]


cdef inline int128 worst_short_e8(const InstrumentExposure *instrument) noexcept nogil:
    """Position if every open sell executes."""
    return instrument.position_e8 - instrument.open_e8[SELL]


cdef inline int64_t capped(int128 value) noexcept nogil:
    """The value, or the greatest int64: a product of two such fits 128 bits."""
    cdef int64_t int64_max = 0x7FFFFFFFFFFFFFFF
    return <int64_t> value if value < int64_max else int64_max


cdef inline int64_t mid_e8(const InstrumentExposure *instrument) noexcept nogil:
    """Mid price, rounded down; 0 while a side is empty."""
    if instrument.bid_e8 <= 0 or instrument.ask_e8 <= 0:
        return 0
    return <int64_t> ((<int128> instrument.bid_e8 + instrument.ask_e8) >> 1)


cdef inline int64_t spread_bps(const InstrumentExposure *instrument) noexcept nogil:
    """Spread in 1/10,000 of the mid, rounded down; 0 while a side is empty."""
    cdef int128 middle_e8 = mid_e8(instrument)
    if not middle_e8:
        return 0
    return capped((<int128> instrument.ask_e8 - instrument.bid_e8) * 10_000 // middle_e8)


cdef inline int64_t value_price_e8(const InstrumentExposure *instrument) noexcept nogil:
    """Price at which a position is valued: mark, else mid, else nothing."""
    return instrument.mark_e8 if instrument.mark_e8 > 0 else mid_e8(instrument)


cdef inline int64_t clamped(int128 value) noexcept nogil:
    """The value as int64; what is beyond either end is that end."""
    cdef int64_t int64_min = -0x7FFFFFFFFFFFFFFF
    return capped(value) if value > int64_min else int64_min


cdef inline int128 size_of(int128 value) noexcept nogil:
    return value if value > 0 else -value


cdef inline int64_t minute_of(int64_t now_ns) noexcept nogil:
    return now_ns // <int64_t> 60_000_000_000


cdef inline int64_t drift_bps(
    const InstrumentExposure *instrument, int64_t price_e8, int64_t minute,
) noexcept nogil:
    """Range of our own limit prices of this minute and the one before, with one more, in 1/10,000
    of the lowest, rounded up. ``price_e8`` 0: without one more."""
    cdef int64_t low_e8 = price_e8
    cdef int64_t high_e8 = price_e8
    cdef int64_t age = minute - instrument.drift_minute
    cdef int index
    for index in range(2):
        if instrument.drift_low_e8[index] and 0 <= age + index <= 1:
            if not low_e8 or instrument.drift_low_e8[index] < low_e8:
                low_e8 = instrument.drift_low_e8[index]
            high_e8 = max(high_e8, instrument.drift_high_e8[index])
    if not low_e8:
        return 0
    return capped((<int128> (high_e8 - low_e8) * 10_000 + low_e8 - 1) // low_e8)


cdef class OrderTable:
    cdef OpenOrder *rows
    cdef OpenOrder *free_rows
    cdef OpenOrder **slots
    cdef readonly int count

    cdef uint64_t slot_of(self, uint64_t order_id) noexcept nogil
    cdef OpenOrder *find(self, uint64_t order_id) noexcept nogil
    cdef OpenOrder *enter(self, uint64_t order_id) noexcept nogil
    cdef void release(self, OpenOrder *order) noexcept nogil


cdef class Exposure:
    cdef InstrumentExposure *instruments
    cdef OrderTable orders
    cdef uint64_t last_ids[SOURCE_MAX + 1]
    cdef object trades
    cdef int128 gross_e8
    cdef int128 net_e8[2]
    cdef int64_t unresolved_count

    cdef InstrumentExposure *watched(self, uint32_t instrument_id) noexcept nogil
    cdef InstrumentExposure *watch(self, uint32_t instrument_id) except NULL
    cdef void set_top(
        self, uint32_t instrument_id, int64_t bid_e8, int64_t ask_e8, int64_t as_of_ns,
        int feed_state) noexcept nogil
    cdef void set_mark(
        self, uint32_t instrument_id, int64_t mark_e8, int64_t as_of_ns,
        int64_t funding_e8) noexcept nogil
    cdef int apply(self, const hft_execution *execution) except -1
    cdef int fill(self, const hft_execution *execution, OpenOrder *order) except -1
    cdef OpenOrder *enter(
        self, uint64_t order_id, InstrumentExposure *instrument, int side, int64_t price_e8,
        int64_t qty_e8) except NULL
    cdef void note_id(self, uint64_t order_id) noexcept nogil
    cdef int settle(self, OpenOrder *order) except -1
    cdef void set_unresolved(
        self, OpenOrder *order, bint is_unresolved, int64_t since_ns) noexcept nogil
    cdef void note_price(
        self, InstrumentExposure *instrument, int64_t price_e8, int64_t now_ns) noexcept nogil
    cdef void revalue(self, InstrumentExposure *instrument) noexcept nogil
