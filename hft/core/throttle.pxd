"""Message budgets as C sees them."""
from cpython.array cimport array
from libc.stdint cimport int64_t


cdef class WindowLimit:
    cdef readonly int64_t limit
    cdef readonly int64_t window_ns
    cdef readonly int64_t reserve
    cdef readonly array _stamps
    cdef array counts
    cdef Py_ssize_t size
    cdef Py_ssize_t head
    cdef Py_ssize_t tail
    cdef int64_t in_window

    cdef int64_t count(self, int64_t now_ns) noexcept
    cdef bint take_if_room(self, int64_t now_ns, int64_t n, int64_t allowed) noexcept
    cdef void push(self, int64_t now_ns, int64_t n) noexcept
    cdef void charge(self, int64_t now_ns, int64_t n) noexcept


cdef class VenueBudget:
    cdef readonly WindowLimit orders_10s
    cdef readonly WindowLimit orders_1m
    cdef readonly WindowLimit weight_1m
    cdef readonly int64_t blocked_until_ns
    cdef readonly int64_t paused_until_ns

    cpdef object place_refusal(self, int64_t now_ns)
    cpdef object took_place(self, int64_t now_ns)


cdef class PauseEnd:
    cdef public int64_t until_ns
