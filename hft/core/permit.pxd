"""The permit's word as C reads it."""
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    STATE_BITS = 2
    STATE_MASK = 3
    REDUCING = 1
    NS_PER_US = 1_000


cdef inline bint is_reducing(uint64_t word) noexcept nogil:
    return word & STATE_MASK == REDUCING


cdef inline bint grants(uint64_t word, int64_t now_ns) noexcept nogil:
    return word & STATE_MASK != 0 and now_ns < <int64_t> (word >> STATE_BITS) * NS_PER_US
