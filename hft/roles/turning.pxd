"""The turn of a process, as C sees it."""
from libc.stdint cimport int64_t, uint64_t

from ipc.parker cimport Parker


cdef enum:
    ROLES = 16  # of one process, at most


cdef class Cycle:
    cdef readonly tuple roles
    cdef readonly tuple pages
    cdef list steps
    cdef int64_t[ROLES] periods_ns
    cdef int64_t[ROLES] due_ns

    cdef int64_t pass_all(self, int64_t now_ns) except -1


cdef class Turning:
    cdef Cycle cycle
    cdef Parker parker
    cdef object soon
    cdef object loop
    cdef object context
    cdef tuple reads
    cdef bint spins_always
    cdef int64_t spin_ns
    cdef int64_t passed_ns  # when all roles had their last pass
    cdef int64_t worked_ns  # when one of them had work
    cdef bint is_turning
    cdef bint again
    cdef bint is_scheduled
    cdef bint is_rung  # a wake-up is in the FIFO
    cdef public bint is_finished

    cdef int turn_once(self) except -1
    cdef int pass_while_work(self, int64_t *now_ns) except -1
    cdef int schedule(self) except -1
    cdef bint may_wait(self) except -1
