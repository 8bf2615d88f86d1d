"""The order book replica as C sees it."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from hft.core.depth cimport DepthUpdate, Frame, FrameBuffer
from hft.core.generated.records cimport hft_book, hft_header, hft_top_of_book
from hft.core.ladder cimport Ladder


cdef enum:
    # BookEvent
    APPLIED = 1
    BUFFERED = 2
    NEED_SNAPSHOT = 3
    GAP = 4
    DISCARDED = 5
    STALE_SNAPSHOT = 6
    WAITING = 7

    # TopCheck
    NOT_COMPARABLE = 0
    MATCH = 1
    MISMATCH = 2


cdef struct Top:
    # Best prices and sizes as they stood after the book update ``last_seq``.
    uint64_t first_seq
    uint64_t last_seq
    int64_t bid_e8
    int64_t ask_e8
    int64_t bid_qty_e8
    int64_t ask_qty_e8


cdef class TopChecker:
    cdef Top *tickers
    cdef Top *pending
    cdef uint64_t ticker_head
    cdef uint64_t ticker_tail
    cdef uint64_t pending_head
    cdef uint64_t pending_tail
    cdef uint64_t comparisons
    cdef uint64_t mismatches

    cdef void clear_pending(self) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef int on_ticker(self, const Top *ticker) noexcept nogil
    cdef int on_book(self, const Top *top) noexcept nogil
    cdef int resolve(self) noexcept nogil
    cdef int finish(self) noexcept nogil
    cdef int compare_oldest(self, bint is_end) noexcept nogil


cdef class Book:
    cdef Ladder bids
    cdef Ladder asks
    cdef Ladder snapshot_bids
    cdef Ladder snapshot_asks
    cdef FrameBuffer buffer
    cdef TopChecker checker
    cdef Py_ssize_t levels_max
    cdef uint64_t snapshot_seq
    cdef bint has_snapshot
    cdef bint has_synced
    cdef bint is_buffering
    cdef bint is_requested
    cdef bint is_gapped
    cdef int unreported_check
    cdef readonly uint32_t instrument_id
    cdef readonly bint is_live
    cdef readonly uint64_t last_seq
    cdef readonly int64_t recv_ns
    cdef readonly int64_t as_of_ns
    cdef readonly int64_t venue_ns
    cdef readonly uint64_t expected_seq
    cdef readonly uint64_t received_seq
    cdef readonly uint64_t gaps
    cdef readonly uint64_t resyncs

    cdef int take_depth(self, DepthUpdate update) except -1
    cdef int check_ticker(self, const hft_top_of_book *top) noexcept nogil
    cdef bint crosses(self) noexcept nogil
    cdef void write_book(self, hft_book *book) noexcept nogil
    cdef int apply(self, const Frame *frame, const int64_t *prices, const int64_t *qtys) except -1
    cdef void note_gap(self, uint64_t received_seq) noexcept nogil
    cdef int keep(self, DepthUpdate update) except -1
    cdef int synchronise(self) except -1
    cdef int replay(self) except -1
    cdef int load(self, DepthUpdate update, Py_ssize_t levels_limit) except -1
    cdef void read_top(self, Top *top) noexcept nogil
    cdef uint8_t feed_state(self) noexcept nogil
    cdef void fill_header(self, hft_header *header, uint16_t kind) noexcept nogil
