"""Aligned 64-bit words in a segment."""

from libc.stdint cimport uint64_t


cdef class Word:
    cdef uint64_t* word
    cdef readonly bint writable
    cdef object owner
    cdef object hold

    cdef bind(self, object segment, size_t offset)


cdef class Cursor(Word):
    pass


cdef class Latch(Word):
    pass
