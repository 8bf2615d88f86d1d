"""Declarations of ring.pyx: the C-level calls for compiled callers."""

from libc.stdint cimport uint64_t

from ipc.bell cimport BellState


cdef struct RingPosition:
    # Where a reader stands: all that is needed to look for work without the interpreter.
    char* slots
    uint64_t next_seq
    uint64_t mask
    size_t slot_bytes


cdef bint has_record(const RingPosition* position) noexcept nogil


cdef class RingWriter:
    cdef char* slots
    cdef const char* record
    cdef uint64_t* published
    cdef uint64_t seq
    cdef uint64_t staged
    cdef uint64_t gate
    cdef uint64_t capacity
    cdef uint64_t mask
    cdef uint64_t batch_max
    cdef size_t slot_bytes
    cdef uint64_t** gates
    cdef Py_ssize_t gate_count
    cdef BellState** bells
    cdef Py_ssize_t bell_count
    cdef Py_ssize_t prompt_count  # of the bells, the first so many ring for every record
    cdef Py_buffer source
    cdef object hold

    cdef bint offer_record(self, const char* record) noexcept nogil
    cdef bint offer_record_quietly(self, const char* record) noexcept nogil
    cdef bint put_record(self, const char* record) noexcept nogil
    cdef uint64_t publish_staged(self) noexcept nogil
    cdef uint64_t show_staged(self, Py_ssize_t bell_count) noexcept nogil
    cdef uint64_t offer_records(self, const char* records, uint64_t count) noexcept nogil
    cdef uint64_t left(self) noexcept nogil
    cdef uint64_t room(self, uint64_t wanted) noexcept nogil
    cdef uint64_t slowest_gate(self) noexcept nogil
    cdef void stage(self, uint64_t seq, const char* record) noexcept nogil
    cdef void show(self, uint64_t count, Py_ssize_t bell_count) noexcept nogil
    cdef void resume(self) noexcept nogil
    cdef void fetch_next(self) noexcept nogil


cdef class RingReader:
    cdef RingPosition position
    cdef char* record
    cdef uint64_t* published
    cdef uint64_t* cursor
    cdef uint64_t capacity
    cdef readonly uint64_t lost
    cdef readonly bint lapped
    cdef Py_buffer target
    cdef object hold

    cdef bint next_record(self, char* into) noexcept nogil
    cdef uint64_t next_records(self, char* into, uint64_t count_max) noexcept nogil
    cdef void skip_lapped(self) noexcept nogil
    cdef void commit_read(self) noexcept nogil
    cdef void fetch_next(self) noexcept nogil
