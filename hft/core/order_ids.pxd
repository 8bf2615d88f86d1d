"""Fresh order ids as compiled callers see them."""
from libc.stdint cimport uint64_t


cdef class OrderIdMaker:
    cdef readonly int source
    cdef readonly uint64_t epoch
    cdef public uint64_t next_id
    cdef uint64_t last_id

    cdef uint64_t take(self) except 0
