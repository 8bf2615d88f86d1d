"""Depth events as C sees them: one event, and the buffer of those that wait for a snapshot."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport realloc

from hft.core.generated.records cimport hft_depth


cdef inline bint grow(void **array, size_t byte_count) noexcept nogil:
    """Make an array so many bytes long. False: out of memory, and the array is as it was."""
    cdef void *grown = realloc(array[0], byte_count)
    if grown == NULL:
        return False
    array[0] = grown
    return True


cdef struct Frame:
    # One depth event. Its levels lie in arrays of the owner, from ``bid_start`` and ``ask_start``.
    uint64_t first_seq
    uint64_t last_seq
    uint64_t previous_seq
    int64_t recv_ns
    int64_t as_of_ns
    int64_t venue_ns
    Py_ssize_t bid_start
    Py_ssize_t bid_count
    Py_ssize_t ask_start
    Py_ssize_t ask_count


cdef class DepthUpdate:
    cdef Frame frame
    cdef int64_t *prices
    cdef int64_t *qtys
    cdef Py_ssize_t level_fill
    cdef Py_ssize_t level_capacity
    cdef readonly uint32_t instrument_id
    cdef readonly int64_t event_ns
    cdef readonly bint is_snapshot

    cdef void forget(self) noexcept nogil
    cdef bint reserve(self, Py_ssize_t level_count) noexcept nogil
    cdef Py_ssize_t record_count(self) noexcept nogil
    cdef void write_depth(self, hft_depth *depth, Py_ssize_t index) noexcept nogil


cdef class FrameBuffer:
    cdef Frame *frames
    cdef Py_ssize_t head
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int64_t *prices
    cdef int64_t *qtys
    cdef Py_ssize_t level_fill
    cdef Py_ssize_t level_capacity

    cdef Frame *at(self, Py_ssize_t index) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef void drop(self, Py_ssize_t frame_count) noexcept nogil
    cdef int append(self, DepthUpdate update) except -1
    cdef void compact(self) noexcept nogil
    cdef int make_room(self, Py_ssize_t levels) except -1
    cdef Py_ssize_t copy_levels(
        self, DepthUpdate update, Py_ssize_t start, Py_ssize_t count) noexcept nogil


cdef void *open_record(object record, Py_ssize_t size, int flags, Py_buffer *view) except NULL
cdef bint is_repeated(const Frame *frame, uint64_t last_seq, int64_t venue_ns) noexcept nogil
