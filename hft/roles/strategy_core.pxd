"""The strategy engine's fast half as C sees it."""
from libc.stdint cimport int64_t, uint16_t, uint64_t

from hft.core.generated.records cimport hft_intent, hft_top_of_book
from hft.core.generated.views cimport Decision, Execution, FeedStatus, MarkPrice, Trade
from hft.roles.callback_mark cimport CallbackMark
from hft.roles.desk cimport Desk
from hft.strategy.change cimport Change
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingReader, RingWriter


cdef class StrategyCore:
    cdef PageStores page
    cdef PageStores feed_page
    cdef RingReader market
    cdef hft_top_of_book arrived  # a record of any kind, as it came: plug-ins see a copy of it
    cdef RingReader decisions
    cdef RingReader executions
    cdef RingReader paper
    cdef object intents
    cdef RingWriter intent_ring
    cdef object intent_buffer
    cdef hft_intent *intent
    cdef Trade trade
    cdef MarkPrice mark
    cdef FeedStatus status
    cdef Decision decision
    cdef Execution execution
    cdef Execution paper_execution
    cdef uint16_t source
    cdef CallbackMark watch
    cdef int64_t commands_ns
    cdef bint is_feed_alive
    cdef bint has_offered  # in this turn
    cdef public list desks
    cdef public dict _desks_of
    cdef public dict _desk_of_strategy
    cdef public dict _inventories
    cdef public bint has_paper
    cdef public bint _is_settled
    cdef public bint _is_stopping
    cdef public int64_t _timer_ns
    cdef public int64_t _now_ns
    cdef public uint64_t _settled_seq
    cdef public uint64_t _settled_paper_seq

    cdef int poll_executions(
        self, RingReader executions, Execution record, bint is_paper, int64_t now_ns) except -1
    cdef int add_fill(self, Execution fill, bint is_paper) except -1
    cdef int poll_decisions(self, int64_t now_ns) except -1
    cdef int poll_market(self) except -1
    cdef int show_market(self, Desk desk) except -1
    cdef bint may_quote(self, Desk desk) noexcept
    cdef void enter(self, Desk desk, int64_t callback) noexcept nogil
    cdef void leave(self) noexcept nogil
    cdef int show_top(self, Desk desk, int64_t now_ns) except -1
    cdef int notify(self, Desk desk, int64_t callback, handler, record) except -1
    cdef int offer_wishes(self, Desk desk, int64_t now_ns) except -1
    cdef int offer_changes(self, Desk desk, int64_t now_ns) except -1
    cdef uint64_t send_explicit(self, Desk desk, Change change) except? 0
    cdef uint64_t offer(self, Desk desk, Change change) except? 0
