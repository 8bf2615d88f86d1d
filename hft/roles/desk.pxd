"""A desk as compiled callers see it."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_header
from hft.core.generated.views cimport Decision, TopOfBook
from hft.core.order_ids cimport OrderIdMaker
from hft.strategy.change cimport Inventory
from hft.strategy.targets cimport QuoteTargets


cdef class IntentBudget:
    cdef int64_t token_ns
    cdef int64_t next_ns  # the bucket is full again then; more than a second ahead, it is empty

    cdef bint take_one(self, int64_t now_ns) noexcept nogil


cdef class Desk:
    cdef readonly object config
    cdef object rules
    cdef uint32_t instrument_id
    cdef uint16_t instrument_version
    cdef bint is_trading
    cdef readonly OrderIdMaker order_ids
    cdef readonly uint16_t strategy_id
    cdef int64_t place  # strategy and instrument, as hft/roles/callback_note.py notes them
    cdef readonly QuoteTargets targets
    cdef public IntentBudget budget
    cdef readonly object mode
    cdef uint16_t mode_code
    cdef readonly Inventory inventory
    cdef public object next_mode
    cdef public str pause_reason
    cdef public object errors
    cdef public object held
    cdef public tuple peers
    cdef public tuple higher
    cdef public tuple lower
    cdef readonly TopOfBook top
    cdef readonly Decision refusal
    cdef readonly uint64_t refusals
    cdef public uint64_t book_seq
    cdef int64_t origin_ns
    cdef int64_t cause_ns
    cdef uint16_t cause_ring
    cdef uint64_t cause_seq
    cdef public bint has_news
    cdef public bint has_wishes
    cdef public bint is_fed
    cdef readonly object plugin
    cdef readonly object on_book
    cdef readonly object on_execution
    cdef readonly object on_feed_status
    cdef readonly object on_instrument
    cdef readonly object on_mark
    cdef readonly object on_refusal
    cdef readonly object on_trade
    cdef readonly object on_timer
    cdef readonly object on_top_of_book

    cdef bint may_quote(self) noexcept
    cdef bint would_meet(self, int sign, int64_t price_e8, bint is_quote) except -1
    cdef void note_refusal(self, const hft_decision *decision) noexcept nogil
    cdef void note_header(self, uint16_t ring, const hft_header *header) noexcept nogil
    cdef void forget_event(self) noexcept nogil
