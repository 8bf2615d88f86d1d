"""Which callback runs, as C sees it."""
from libc.stdint cimport int64_t


cdef class CallbackMark:
    cdef public int64_t calls
    cdef public int64_t inside
    cdef public int64_t ticks_max
    cdef readonly int64_t overran
    cdef int64_t seen
    cdef int64_t ticks
