"""One intent to offer, and the position it answers to."""
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef class Change:
    cdef public object side
    cdef public object action
    cdef public object order_type
    cdef public object tif
    cdef public int64_t price_e8
    cdef public int64_t qty_e8
    cdef public uint64_t order_id
    cdef public uint32_t good_till_s
    cdef public bint is_post_only
    cdef public bint is_reduce_only


cdef class Inventory:
    cdef public object position_e8
    cdef public uint64_t executions_seq
    cdef public object adjusted_e8
