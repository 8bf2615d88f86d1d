"""The judge as C sees it."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_intent
from hft.core.generated.views cimport MarkPrice, TopOfBook
from hft.core.risk cimport RiskBook
from ipc.state_cell cimport CellReader


cdef class Judge:
    cdef public RiskBook live
    cdef public RiskBook paper
    cdef public RiskBook observed
    cdef public int64_t account_ns
    cdef CellReader tops
    cdef CellReader marks
    cdef TopOfBook top
    cdef MarkPrice mark
    cdef uint16_t source
    cdef uint64_t epoch

    cdef RiskBook book_of(self, int mode)
    cdef int take_market(self, RiskBook book, uint32_t instrument_id) except -1
    cdef int judge(
        self, const hft_intent *asked, int64_t now_ns, int trading_state,
        bint is_manual) except -1
    cdef int fill(
        self, hft_decision *decision, const hft_intent *asked, uint16_t reason, int64_t now_ns,
        uint16_t cause_ring) except -1
