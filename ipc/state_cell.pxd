"""Declarations of state_cell.pyx: the C-level calls for compiled callers."""

from libc.stdint cimport uint64_t

from ipc.bell cimport BellState


cdef struct CellArray:
    # Cells of one segment: version line, copy 0, copy 1 each.
    char* first
    size_t cell_stride
    size_t copy_stride
    size_t value_bytes


cdef class CellWriter:
    cdef CellArray cells
    cdef Py_ssize_t capacity
    cdef BellState** bells
    cdef Py_ssize_t bell_count
    cdef Py_buffer source
    cdef object hold
    cdef str name

    cdef void write_value(self, size_t index, const char* value) noexcept nogil
    cdef void fetch(self, size_t index) noexcept nogil


cdef class CellReader:
    cdef CellArray cells
    cdef Py_ssize_t capacity
    cdef Py_buffer target
    cdef object segment
    cdef object hold
    cdef str name

    cdef int read_value(self, size_t index, char* into) noexcept nogil
