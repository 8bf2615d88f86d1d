"""One order as C sees it."""
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_order


cdef class Order:
    cdef public uint64_t order_id
    cdef public int64_t venue_order_id
    cdef public uint32_t instrument_id
    cdef public uint16_t strategy_id
    cdef public uint32_t good_till_s
    cdef public int64_t price_e8
    cdef public int64_t qty_e8
    cdef public int64_t cum_qty_e8
    cdef public int64_t leaves_qty_e8
    cdef public int64_t traded_qty_e8
    cdef public int64_t pending_price_e8
    cdef public int64_t pending_qty_e8
    cdef public uint64_t decision_seq
    cdef public uint64_t executions_seq
    cdef public uint64_t journal_seq
    cdef public int64_t send_ns
    cdef public int64_t ack_ns
    cdef public int64_t request_ns
    cdef public int64_t heard_ns
    cdef public int64_t terms_ns
    cdef public int64_t origin_ns
    cdef public int row
    cdef public bint is_post_only
    cdef public bint is_reduce_only
    cdef public bint is_acknowledged
    cdef public bint is_overfilled
    cdef public object trades
    # The numbers of the enumerations' members that the properties of these names return.
    cdef int8_t side_code
    cdef uint8_t order_type_code
    cdef uint8_t tif_code
    cdef uint8_t state_code
    cdef uint8_t pending_code
    cdef uint16_t reason_code
    cdef uint16_t cancel_reason_code

    cdef int begin(self, const hft_decision *decision, object trades) except -1
    cdef bint is_own(self) noexcept
    cdef int number_of_kind(self) noexcept
    cdef void write_row(self, hft_order *row) noexcept
    cdef bint seen(self, int64_t venue_order_id) except -1
    cdef void set_terms(self, int64_t price_e8, int64_t qty_e8, int64_t venue_ns) noexcept
    cdef void amend_answered(self) noexcept
    cdef void clear_requests(self) noexcept
    cdef void set_reason(self, int reason) noexcept
    cdef int request_refused(self, int reason) except -1
    cdef object closed(self, int state, int64_t cum_qty_e8, int reason)
    cdef int end(self, int state, int reason) except -1
    cdef int raise_cum(self, int64_t cum_qty_e8) except -1
    cdef int evaluate(self) except -1

