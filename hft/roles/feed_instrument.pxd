"""What the feed knows of one instrument, as C sees it."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from hft.core.book cimport Book


cdef class FeedInstrument:
    cdef readonly uint32_t instrument_id
    cdef readonly str symbol
    cdef readonly Book book
    cdef object named_state
    cdef int state_code
    cdef public object unsynced_state
    cdef public bint is_trading
    cdef public bint is_fetching
    cdef readonly int64_t as_of_ns
    cdef public int64_t depth_ns
    cdef public int64_t ahead_ns
    cdef public int64_t apart_ns
    cdef public int64_t waiting_ns
    cdef public int64_t refreshed_ns
    cdef public uint64_t top_seq
    cdef public uint64_t connections
    cdef public int snapshot_event

    cdef bint take_time(self, int64_t as_of_ns, int64_t recv_ns, int64_t stale_ns) noexcept nogil
