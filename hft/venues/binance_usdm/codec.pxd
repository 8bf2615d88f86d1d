"""Market frames to records: C-level access for callers that hold a pointer to the frame."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hft.core.depth cimport DepthUpdate
from hft.venues.binance_usdm.frame_shape cimport Shape
from hft.venues.binance_usdm.json_scan cimport Fields

cdef enum:
    SYMBOL_BYTES_MAX = 40


cdef struct Symbol:
    char text[SYMBOL_BYTES_MAX]
    uint32_t length
    uint32_t instrument_id


cdef class MarketDecoder(DepthUpdate):
    cdef Py_buffer record
    cdef Symbol *symbols
    cdef uint32_t symbol_mask
    cdef Shape *shapes
    cdef uint32_t shape_mask
    cdef char symbol_text[SYMBOL_BYTES_MAX]
    cdef Py_ssize_t symbol_length
    cdef bint is_out_of_memory
    cdef readonly uint64_t frames
    cdef readonly uint64_t known_frames
    cdef readonly uint64_t garbage
    cdef public int64_t venue_ahead_ns

    cdef int decode_text(self, const char *text, Py_ssize_t size, int64_t recv_ns) except -1
    cdef int raise_if_out_of_memory(self) except -1
    cdef int decode_frame(self, const char *at, const char *end) noexcept
    cdef int decode_known(self, const Shape *shape, const char *at, const char *end) noexcept nogil
    cdef const char *scan_known_levels(
        self, const char *at, const char *end, int key) noexcept nogil
    cdef void learn(self, int message, const Fields *payload, const uint8_t *values,
                    const char *text, const char *end) noexcept nogil
    cdef int decode_payload(self, const Fields *fields, const Fields *envelope) noexcept
    cdef bint take_symbol(self, const Fields *fields) noexcept
    cdef Symbol *place_of(self, const char *text, Py_ssize_t length) noexcept nogil
    cdef int take_top(self, const Fields *fields) noexcept nogil
    cdef void fill_top(self, int64_t bid_e8, int64_t bid_qty_e8, int64_t ask_e8,
                       int64_t ask_qty_e8) noexcept nogil
    cdef int take_trade(self, const Fields *fields, int message) noexcept nogil
    cdef void fill_trade(self, int64_t price_e8, int64_t qty_e8, int64_t trade_id, int maker,
                         bint is_aggregate) noexcept nogil
    cdef int take_mark(self, const Fields *fields) noexcept nogil
    cdef int take_depth(self, const Fields *fields) noexcept nogil
    cdef bint take_snapshot(self, const char *at, Py_ssize_t size) noexcept nogil
    cdef bint take_side(self, const Fields *fields, int key, Py_ssize_t *start,
                        Py_ssize_t *count) noexcept nogil
    cdef void date(self) noexcept nogil
    cdef void fill_header(self, int kind) noexcept nogil
    cdef const char *scan_object(
        self, const char *at, const char *end, Fields *fields, Fields *payload) noexcept nogil
    cdef const char *scan_levels(self, const char *at, const char *end) noexcept nogil
