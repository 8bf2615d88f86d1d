"""Where a buffer lies, locking it into memory, and the two stores that Python cannot order."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t, uintptr_t

from ipc.atomics cimport compare_and_swap, load_acquire, store_release


cdef extern from "<sys/mman.h>" nogil:
    int mlock(const void* address, size_t length)


def address_of(buffer) -> int:
    """Address of the first byte. The caller keeps the buffer alive as long as it uses it."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    cdef uintptr_t address = <uintptr_t> view.buf
    PyBuffer_Release(&view)
    return address


def lock_memory(uintptr_t address, size_t count) -> bool:
    """Keep the pages from being swapped out. False: the limit (``ulimit -l``) does not allow it."""
    return mlock(<const void*> address, count) == 0


def store_u64(buffer, Py_ssize_t offset, uint64_t value) -> None:
    """Store with release order: everything stored before is visible to who loads this value."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    store_release(<uint64_t*> (<char*> view.buf + offset), value)
    PyBuffer_Release(&view)


def load_u64(buffer, Py_ssize_t offset) -> int:
    """Load with acquire order."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    cdef uint64_t value = load_acquire(<uint64_t*> (<char*> view.buf + offset))
    PyBuffer_Release(&view)
    return value


def swap_u64(buffer, Py_ssize_t offset, uint64_t expected, uint64_t value) -> bool:
    """Replace ``expected`` by ``value`` in one step. False: another value stood there."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    cdef bint swapped = compare_and_swap(<uint64_t*> (<char*> view.buf + offset), expected, value)
    PyBuffer_Release(&view)
    return swapped
