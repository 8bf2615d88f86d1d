"""The way of a request to the socket, for compiled callers."""
from libc.stdint cimport int64_t

from picows.picows cimport WSTransport

cdef enum:
    # What a text that is carried leaves free in front of itself for the frame's header, and behind.
    HEADER_BYTES = 16
    TAIL_BYTES = 64


cdef class Debts:
    cdef public int64_t in_flight
    cdef public int64_t due
    cdef public int64_t waiting_ns


cdef class OrderLine:
    cdef public WSTransport _transport
    cdef public Debts _debts
    cdef public bint _is_swallowing
    cdef object own_clock_ns

    cdef bint can_carry(self) noexcept
    cdef bint carry(self, char *text, Py_ssize_t length) except -1
    cdef int note_sent(self) except -1
