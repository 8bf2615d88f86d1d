"""The table of orders as C sees it."""
from libc.stdint cimport uint64_t

from hft.core.generated.records cimport hft_decision
from hft.core.orders cimport Order


cdef enum:
    SOURCES = 256


cdef class OrderTable:
    cdef list _rows
    cdef list _free
    cdef dict _by_id
    cdef dict _by_venue
    cdef dict _closed
    cdef Py_ssize_t _foreign_rows
    cdef readonly object trades
    cdef Order spare
    cdef uint64_t newest_ids[SOURCES]  # by the source that an id begins with

    cdef Order new_order(self, const hft_decision *decision)
    cdef int look_ahead(self) except -1
    cdef int row_for(self, Order order) except -2
    cdef int take_row(self, Order order) except -2
    cdef Order known(self, uint64_t order_id)
    cdef int note_id(self, uint64_t order_id) except -1
    cdef int free_row(self, uint64_t order_id) except -2
    cdef int _enter(self, Order order, Py_ssize_t row) except -1
