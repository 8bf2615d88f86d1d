"""Order texts for compiled callers: written into memory of the caller's."""
from libc.stdint cimport int64_t, uint64_t

from hft.core.orders cimport Order

cdef enum:
    PIECES_MAX = 8
    TEXT_BYTES_MAX = 2_048
    VALUE_BYTES_MAX = 24


cdef struct Values:
    uint64_t request_id
    uint64_t order_id
    int64_t timestamp_ms
    int64_t date_ms
    const char *signature
    Py_ssize_t signature_length
    Py_ssize_t price_length
    Py_ssize_t qty_length
    char price[VALUE_BYTES_MAX]
    char qty[VALUE_BYTES_MAX]


cdef class _Pieces:
    cdef bytes text
    cdef int count
    cdef const char *starts[PIECES_MAX]
    cdef Py_ssize_t lengths[PIECES_MAX]
    cdef int values[PIECES_MAX]

    cdef Py_ssize_t write(self, char *into, const Values *values) noexcept nogil


cdef class Template:
    cdef readonly bytes json
    cdef readonly bytes signed
    cdef _Pieces json_pieces
    cdef _Pieces signed_pieces
    cdef int price_places
    cdef int qty_places
    cdef object sign

    cdef Py_ssize_t write(
        self, char *into, uint64_t request_id, uint64_t order_id, int64_t price_e8, int64_t qty_e8,
        int64_t timestamp_ms, int64_t date_ms) except -1
    cdef Py_ssize_t write_order(
        self, char *into, uint64_t request_id, Order order, int64_t timestamp_ms) except -1
    cdef int look_ahead(self) except -1


cdef class PlaceTexts:
    cdef readonly dict _places

    cdef Template text_of(self, Order order)
