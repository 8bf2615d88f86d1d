"""The venue's clock for compiled callers."""
from libc.stdint cimport int64_t


cdef class VenueClock:
    cdef public int64_t offset_ns
    cdef object wall_ns

    cdef int64_t now_ns(self) except? -1
