"""Declarations of parker.pyx."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ipc.ring cimport RingPosition


cdef extern from "wake.h" nogil:
    void futex_wait(uint32_t* word, uint32_t expected, int64_t timeout_ns)


cdef class Parker:
    cdef uint32_t* word
    cdef uint64_t* posted
    cdef uint64_t posted_seen
    cdef RingPosition** positions
    cdef Py_ssize_t position_count
    cdef uint64_t** words
    cdef uint64_t* words_seen
    cdef Py_ssize_t word_count
    cdef readonly int fifo_fd
    cdef object hold

    cdef bint look(self) noexcept nogil
    cdef bint raise_word(self, uint32_t state) noexcept nogil
    cdef void empty_fifo(self) noexcept nogil
