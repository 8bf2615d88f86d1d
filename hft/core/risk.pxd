"""The judgement as C sees it. Every ``judge_...`` returns the number of a ``Reason``."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from hft.core.exposure cimport SOURCE_MAX, Exposure, InstrumentExposure, int128
from hft.core.generated.records cimport hft_decision, hft_intent
from hft.core.throttle cimport WindowLimit


cdef struct LimitValues:
    # ``hft.core.policies.Limits`` in numbers; what exceeds int64 is as good as unlimited.
    int64_t order_qty_max_e8
    int64_t order_notional_max_e8
    int64_t position_notional_max_e8
    int64_t gross_notional_max_e8
    int64_t price_collar_bps
    int64_t mark_collar_bps
    int64_t open_orders_max
    int64_t unresolved_max
    int64_t feed_age_ns_max
    int64_t mark_age_ns_max
    int64_t account_age_ns_max
    int64_t intent_age_ns_max
    int64_t duplicate_window_ns
    int64_t cross_bps_max
    int64_t net_notional_max_e8
    int64_t leverage_max_e8
    int64_t open_notional_max_e8
    int64_t unresolved_age_ns_max
    int64_t spread_bps_max
    int64_t drift_1m_bps_max
    int64_t funding_bps_max
    bint is_post_only
    bint is_limit_only
    bint is_reducing_only


cdef enum:
    BY_STRATEGY = 0
    BY_HAND = 1


cdef struct StrategyUse:
    # What one strategy has asked for, and whether a breaker has stopped it.
    int64_t places
    int64_t cancels
    int64_t faults  # refused for their form or size
    bint is_paused


cdef struct Terms:
    # What is asked for, from a place or an amend.
    int64_t price_e8
    int64_t qty_e8
    int64_t decide_ns
    int side
    bint is_market
    bint is_reduce_only


cdef class RiskBook(Exposure):
    cdef public int64_t account_ns
    cdef public int64_t venue_offset_ns
    cdef public int64_t unresolved_since_ns
    cdef readonly int64_t equity_e8
    cdef int128 leverage_gross_max_e8
    cdef int growth_refusal
    cdef StrategyUse strategies[SOURCE_MAX + 1]
    cdef object policy_limits
    cdef object hand_limits
    cdef LimitValues bounds_of[2]
    cdef LimitValues *bounds
    cdef readonly int64_t oversized  # orders refused as too large, since the start
    cdef readonly int64_t doubled
    cdef uint16_t policy_version
    cdef uint8_t judged_state
    cdef WindowLimit messages_1s
    cdef WindowLimit messages_10s
    cdef WindowLimit messages_1m
    cdef WindowLimit manual_1s
    cdef WindowLimit manual_1m

    cdef int take_bounds(self, LimitValues *bounds, object limits) except -1
    cdef int judge_asked(
        self, const hft_intent *asked, int64_t now_ns, int trading_state,
        bint is_manual) except -1
    cdef void fill_decision(
        self, hft_decision *answer, const hft_intent *asked, uint16_t reason, int64_t now_ns,
        uint16_t source, uint64_t risk_epoch, uint16_t cause_ring) noexcept nogil
    cdef int judge_record(
        self, const hft_intent *intent, int64_t now_ns, int trading_state) except -1
    cdef void count_fault(self, uint64_t source, int reason) noexcept nogil
    cdef int judge_cancel(self, uint64_t order_id, int64_t now_ns) noexcept
    cdef int judge_place(
        self, const hft_intent *intent, int64_t now_ns, int trading_state) except -1
    cdef int judge_kind(self, const hft_intent *intent, int64_t now_ns) noexcept nogil
    cdef int judge_amend(
        self, const hft_intent *intent, int64_t now_ns, int trading_state) except -1
    cdef int judge_state(
        self, const InstrumentExposure *instrument, int64_t decide_ns, int64_t now_ns,
        int trading_state) noexcept nogil
    cdef int judge_form(
        self, const InstrumentExposure *instrument, const Terms *terms) noexcept nogil
    cdef int judge_price(
        self, const InstrumentExposure *instrument, const Terms *terms) noexcept nogil
    cdef int judge_growth(
        self, const InstrumentExposure *instrument, const Terms *terms,
        int64_t now_ns) noexcept nogil
    cdef int judge_account(
        self, const InstrumentExposure *instrument, int index, int128 worst_e8, int128 other_e8,
        int64_t more_e8) noexcept nogil
    cdef int judge_duplicate(
        self, const InstrumentExposure *instrument, const Terms *terms,
        int64_t now_ns) noexcept nogil
    cdef int judge_exposure(
        self, const InstrumentExposure *instrument, const Terms *terms, int64_t more_e8,
        int64_t now_ns, int trading_state) noexcept
    cdef int take_message(self, int64_t now_ns) noexcept
    cdef void count_message(self, int64_t now_ns) noexcept
