"""Explicit orders as compiled callers see them."""
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_execution, hft_order
from hft.strategy.change cimport Change


cdef bint answers(int pending, int kind) noexcept nogil
cdef int64_t better_e8(int sign, int64_t one_e8, int64_t other_e8) noexcept nogil


cdef class Sender:
    cdef uint64_t send(self, Change change) except? 0


cdef class CallbackSender(Sender):
    cdef object handler


cdef class OpenOrder:
    cdef Change placed
    cdef uint64_t order_id
    cdef int64_t price_e8
    cdef int64_t qty_e8
    cdef int64_t cum_qty_e8
    cdef int64_t leaves_qty_e8
    cdef int64_t pending_price_e8
    cdef int64_t offered_ns
    cdef int64_t cancel_after_ns
    cdef uint64_t executions_seq
    cdef int sign
    cdef int pending
    cdef bint is_seen
    cdef bint is_unresolved
    cdef bint wants_cancel


cdef class Orders:
    cdef readonly dict _open
    cdef Sender sender
    cdef int64_t now_ns
    cdef int64_t tick_e8
    cdef int64_t step_e8

    cdef int check_terms(self, Change change, price_e8, qty_e8) except -1
    cdef OpenOrder find(self, uint64_t order_id)
    cdef int withdraw(self) except -1
    cdef int add_due_cancels(self, list changes, int64_t now_ns) except -1
    cdef int mark_cancel(self, uint64_t order_id, int64_t now_ns) except -1
    cdef bint note_execution(self, const hft_execution *record, int64_t now_ns) except -1
    cdef bint note_refusal(self, const hft_decision *record, int64_t now_ns) except -1
    cdef bint is_overdue(self, int64_t now_ns, int64_t overdue_ns) except -1
    cdef int begin_adoption(self) except -1
    cdef bint adopt(self, const hft_order *row, int64_t now_ns) except -1
    cdef int end_adoption(self) except -1
    cdef int64_t best_e8(self, int sign) except? -1
