"""Pre-trade risk: one judgement for each intent.

The judgement holds an intent against the limits of a policy and the exposure that it would add to.
It costs the same whatever the number of open orders, and allocates nothing. Nothing here reads a
clock; times are monotonic ns and arguments.

Comparisons of products, and of differences with a number from a record, are made in 128 bits: no
intent, however absurd, passes by an overflow.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from hft.core.exposure cimport (
    E8, ORDERS_MAX, SOURCE_MAX, SOURCE_SHIFT, InstrumentExposure, OpenOrder, capped,
    clamped, drift_bps, index_of, int128, mid_e8, minute_of, size_of, value_price_e8,
    worst_long_e8, worst_short_e8)
from hft.core.generated.reasons cimport *
from hft.core.generated.records cimport hft_decision, hft_intent
from hft.core.generated.views cimport Intent
from hft.core.throttle cimport WindowLimit

from hft import graph, records
from hft.core import order_id as order_ids
from hft.core.instruments import InstrumentRules
from hft.units import INT64_MAX, NS_PER_S

__all__ = ["InstrumentRules", "RiskBook"]

cdef enum:
    BPS = 10_000
    KIND_DECISION = 11
    RING_INTENTS = 3
    SOURCE_MANUAL = 127

    ACTION_PLACE = 1
    ACTION_AMEND = 2
    ACTION_CANCEL = 3
    ACTION_CANCEL_ALL = 4

    TYPE_LIMIT = 1
    TYPE_MARKET = 2
    TIF_UNKNOWN = 0
    TIF_GTC = 1
    TIF_GTD = 4

    TRADING_HALTED = 0
    TRADING_ACTIVE = 2
    FEED_LIVE = 2
    STATUS_TRADING = 1

    APPROVED = REASON_NONE

assert (ACTION_PLACE, ACTION_AMEND, ACTION_CANCEL, ACTION_CANCEL_ALL) == (
    records.Action.PLACE, records.Action.AMEND, records.Action.CANCEL, records.Action.CANCEL_ALL)
assert (KIND_DECISION, RING_INTENTS, SOURCE_MANUAL) == (
    records.Kind.DECISION, graph.RingId.INTENTS, order_ids.SOURCE_MANUAL)
assert (TYPE_LIMIT, TYPE_MARKET) == (records.OrderType.LIMIT, records.OrderType.MARKET)
assert (TIF_UNKNOWN, TIF_GTC, TIF_GTD) == (
    records.Tif.UNKNOWN, records.Tif.GTC, records.Tif.GTD)
assert (TRADING_HALTED, TRADING_ACTIVE) == (
    records.TradingState.HALTED, records.TradingState.ACTIVE)
assert (FEED_LIVE, STATUS_TRADING) == (
    records.FeedState.LIVE, records.InstrumentStatus.TRADING)

cdef dict REASONS = {int(reason): reason for reason in records.Reason}


cdef int64_t SECOND_NS = NS_PER_S
cdef int64_t UNLIMITED = INT64_MAX
cdef int64_t GOOD_TILL_S_MIN = 601
"""The venue wants more than 600 s (Binance USD-M API, goodTillDate); one is for the way there."""


cdef int64_t limit_value(object value):
    """An integer as int64; what is beyond it counts as the greatest."""
    return min(value, INT64_MAX)


cdef inline bint is_older(int64_t then_ns, int64_t age_ns_max, int64_t now_ns) noexcept nogil:
    return <int128> now_ns - then_ns > age_ns_max


cdef inline int64_t worst_price_e8(
    const InstrumentExposure *instrument, int side, int64_t collar_bps,
) noexcept nogil:
    """The dearest price that a market order may meet; 0 while there is no market.

    A buy walks up the asks: as far as a limit order might be priced from the mid, and never beyond
    the venue's own band. A sell meets no price above the market.
    """
    cdef int128 price_e8 = mid_e8(instrument)
    cdef int128 band_e8
    if not price_e8 or side < 0:
        return max(<int64_t> price_e8, value_price_e8(instrument)) if price_e8 else 0
    price_e8 += price_e8 * collar_bps // BPS
    if instrument.mark_e8 and instrument.multiplier_up_e8:
        band_e8 = <int128> instrument.mark_e8 * instrument.multiplier_up_e8 // E8
        price_e8 = min(price_e8, band_e8)
    return capped(max(price_e8, <int128> instrument.ask_e8))


cdef inline bint beyond_other_side(
    const InstrumentExposure *instrument, int side, int128 price_e8, int64_t cross_bps,
) noexcept nogil:
    """Would the order take more than ``cross_bps`` beyond the best price of the other side?"""
    if side > 0:
        return (price_e8 - instrument.ask_e8) * BPS > <int128> instrument.ask_e8 * cross_bps
    return (instrument.bid_e8 - price_e8) * BPS > <int128> instrument.bid_e8 * cross_bps


cdef class RiskBook(Exposure):
    """An exposure that judges what would add to it.

    ``account_ns``: when the account was last known to be right (``on_account``).
    ``venue_offset_ns``: the venue's wall clock minus our monotonic one; 0: not known, and no
    good-till-date order can be judged.
    """

    def __init__(self, limits, instruments):
        """``instruments``: ids that may be traded; others are only watched."""
        super().__init__(instruments)
        self.messages_1s = WindowLimit(0, NS_PER_S)
        self.messages_10s = WindowLimit(0, 10 * NS_PER_S)
        self.messages_1m = WindowLimit(0, 60 * NS_PER_S)
        self.manual_1s = WindowLimit(0, NS_PER_S)
        self.manual_1m = WindowLimit(0, 60 * NS_PER_S)
        self.bounds = &self.bounds_of[BY_STRATEGY]
        self.set_limits(limits)

    def set_limits(self, limits):
        """Judge by other limits from now on. A message limit that changes begins to count anew."""
        cdef int64_t messages_1s_max = limit_value(limits.messages_per_s_max)
        cdef int64_t messages_10s_max = limit_value(limits.messages_per_10s_max)
        cdef int64_t messages_1m_max = limit_value(limits.messages_per_minute_max)
        self.policy_limits = limits
        self.policy_version = limits.version
        self.take_bounds(&self.bounds_of[BY_STRATEGY], limits)
        if messages_1s_max != self.messages_1s.limit:
            self.messages_1s = WindowLimit(messages_1s_max, NS_PER_S)
        if messages_10s_max != self.messages_10s.limit:
            self.messages_10s = WindowLimit(messages_10s_max, 10 * NS_PER_S)
        if messages_1m_max != self.messages_1m.limit:
            self.messages_1m = WindowLimit(messages_1m_max, 60 * NS_PER_S)
        self.set_equity(self.equity_e8)

    def set_manual_limits(self, limits):
        """What a person may ask for by hand; None: nothing but cancels."""
        self.hand_limits = limits
        if limits is None:
            return
        self.take_bounds(&self.bounds_of[BY_HAND], limits)
        self.manual_1s = WindowLimit(limit_value(limits.messages_per_s_max), NS_PER_S)
        self.manual_1m = WindowLimit(limit_value(limits.messages_per_minute_max), 60 * NS_PER_S)

    cdef int take_bounds(self, LimitValues *bounds, object limits) except -1:
        bounds.order_qty_max_e8 = limit_value(limits.order_qty_max_e8)
        bounds.order_notional_max_e8 = limit_value(limits.order_notional_max_e8)
        bounds.position_notional_max_e8 = limit_value(limits.position_notional_max_e8)
        bounds.gross_notional_max_e8 = limit_value(limits.gross_notional_max_e8)
        bounds.price_collar_bps = limit_value(limits.price_collar_bps)
        bounds.mark_collar_bps = limit_value(limits.mark_collar_bps)
        bounds.open_orders_max = limit_value(limits.open_orders_max)
        bounds.unresolved_max = limit_value(limits.unresolved_max)
        bounds.feed_age_ns_max = limit_value(limits.feed_age_ns_max)
        bounds.mark_age_ns_max = limit_value(limits.mark_age_ns_max)
        bounds.account_age_ns_max = limit_value(limits.account_age_ns_max)
        bounds.intent_age_ns_max = limit_value(limits.intent_age_ns_max)
        bounds.duplicate_window_ns = limit_value(limits.duplicate_window_ns)
        bounds.cross_bps_max = limit_value(limits.cross_bps_max)
        bounds.net_notional_max_e8 = limit_value(limits.net_notional_max_e8)
        bounds.leverage_max_e8 = limit_value(limits.leverage_max_e8)
        bounds.open_notional_max_e8 = limit_value(limits.open_notional_max_e8)
        bounds.unresolved_age_ns_max = limit_value(limits.unresolved_age_ns_max)
        bounds.spread_bps_max = limit_value(limits.spread_bps_max)
        bounds.drift_1m_bps_max = limit_value(limits.drift_1m_bps_max)
        bounds.funding_bps_max = limit_value(limits.funding_bps_max)
        bounds.is_post_only = limits.is_post_only
        bounds.is_limit_only = limits.is_limit_only
        bounds.is_reducing_only = limits.is_reducing_only
        return 0

    @property
    def limits(self):
        """The limits in force."""
        return self.policy_limits

    @property
    def manual_limits(self):
        """Those of orders by hand; None: there may be none."""
        return self.hand_limits

    def on_account(self, int64_t now_ns):
        """The account role is alive and its sums are known to be right at ``now_ns``."""
        self.account_ns = now_ns

    def set_equity(self, int64_t equity_e8):
        """Wallet and open profit: leverage is gross notional over this. 0: nobody knows yet."""
        self.equity_e8 = max(<int64_t> 0, equity_e8)
        if self.bounds.leverage_max_e8 == UNLIMITED:
            self.leverage_gross_max_e8 = <int128> UNLIMITED * E8
        else:
            self.leverage_gross_max_e8 = (
                <int128> self.bounds.leverage_max_e8 * self.equity_e8 // E8)

    def halt_instrument(self, uint32_t instrument_id, int64_t until_ns):
        """Approve nothing that grows this position before ``until_ns``."""
        self.watch(instrument_id).halted_until_ns = until_ns

    def refuse_growth(self, int reason):
        """Refuse with this ``Reason`` whatever grows a position; NONE: no more."""
        assert reason in REASONS
        self.growth_refusal = reason

    @property
    def growth_reason(self):
        """Why nothing may grow; NONE: it may."""
        return REASONS[self.growth_refusal]

    def pause_strategy(self, int strategy_id, bint is_paused):
        """Refuse whatever this strategy places or amends, or let it go on."""
        assert 0 <= strategy_id <= SOURCE_MAX
        self.strategies[strategy_id].is_paused = is_paused

    def is_paused(self, int strategy_id):
        """Whether a strategy is stopped here."""
        return self.strategies[strategy_id].is_paused

    def messages_of(self, int strategy_id):
        """Approved places and cancels of a strategy since the start."""
        return self.strategies[strategy_id].places, self.strategies[strategy_id].cancels

    def faults_of(self, int strategy_id):
        """Orders of a strategy that were refused for their form or size, since the start."""
        return self.strategies[strategy_id].faults

    def message_uses(self, int64_t now_ns):
        """Messages that count now, in one second, ten seconds and a minute."""
        return (self.messages_1s.used(now_ns), self.messages_10s.used(now_ns),
                self.messages_1m.used(now_ns))

    # -- judgement ------------------------------------------------------------------------------

    def judge(self, Intent intent not None, int64_t now_ns, int trading_state):
        """Approve (``Reason.NONE``) or refuse what a strategy asks for; approved counts at once."""
        return REASONS[
            self.judge_asked(<const hft_intent *> intent.data, now_ns, trading_state, False)]

    def judge_manual(self, Intent intent not None, int64_t now_ns, int trading_state):
        """The same for what a person asks for by hand, with limits and a message rate of its own.

        Exposure is one: what hands and strategies have open adds up. What is taken out again
        needs no permission.
        """
        return REASONS[
            self.judge_asked(<const hft_intent *> intent.data, now_ns, trading_state, True)]

    cdef int judge_asked(
        self, const hft_intent *asked, int64_t now_ns, int trading_state, bint is_manual,
    ) except -1:
        cdef bint is_of_hand = asked.order_id >> SOURCE_SHIFT == SOURCE_MANUAL
        cdef bint is_cancel = asked.action == ACTION_CANCEL
        if not is_manual:
            if is_of_hand and not is_cancel:
                self.judged_state = trading_state
                return REASON_MALFORMED
            return self.judge_record(asked, now_ns, trading_state)
        if not (is_cancel or asked.action == ACTION_CANCEL_ALL):
            self.judged_state = trading_state
            if self.hand_limits is None:
                return REASON_MANUAL_NOT_ALLOWED
            if not is_of_hand:
                return REASON_MALFORMED
        self.bounds = &self.bounds_of[BY_HAND]
        try:
            return self.judge_record(asked, now_ns, trading_state)
        finally:
            self.bounds = &self.bounds_of[BY_STRATEGY]

    cdef void fill_decision(
        self, hft_decision *answer, const hft_intent *asked, uint16_t reason, int64_t now_ns,
        uint16_t source, uint64_t risk_epoch, uint16_t cause_ring,
    ) noexcept nogil:
        """The record that answers an intent: what it asked for, when and why it was decided so."""
        cdef InstrumentExposure *instrument = self.watched(asked.instrument_id)
        memset(answer, 0, sizeof(hft_decision))
        answer.kind = KIND_DECISION
        answer.mode = asked.mode
        answer.source = source
        answer.flags = asked.flags
        answer.origin_ns = asked.origin_ns
        answer.instrument_id = asked.instrument_id
        answer.instrument_version = asked.instrument_version
        answer.cause_ring = cause_ring
        answer.cause_seq = asked.seq
        answer.order_id = asked.order_id
        answer.decide_ns = asked.decide_ns
        answer.price_e8 = asked.price_e8
        answer.qty_e8 = asked.qty_e8
        answer.strategy_id = asked.strategy_id
        answer.action = asked.action
        answer.side = asked.side
        answer.order_type = asked.order_type
        answer.tif = asked.tif
        answer.is_post_only = asked.is_post_only
        answer.is_reduce_only = asked.is_reduce_only
        answer.good_till_s = asked.good_till_s
        answer.judge_ns = now_ns
        answer.risk_epoch = risk_epoch
        if instrument != NULL:
            answer.position_e8 = capped(instrument.position_e8)
        answer.reason = reason
        answer.policy_version = self.policy_version
        answer.granted_state = self.judged_state

    cdef int judge_record(
        self, const hft_intent *intent, int64_t now_ns, int trading_state,
    ) except -1:
        cdef int action = intent.action
        cdef int reason
        self.judged_state = trading_state
        if action == ACTION_CANCEL:
            return self.judge_cancel(intent.order_id, now_ns)
        if action == ACTION_PLACE:
            reason = self.judge_place(intent, now_ns, trading_state)
        elif action == ACTION_AMEND:
            reason = self.judge_amend(intent, now_ns, trading_state)
        elif action == ACTION_CANCEL_ALL:
            self.count_message(now_ns)
            return APPROVED
        else:
            reason = REASON_MALFORMED
        if reason:
            self.count_fault(intent.order_id >> SOURCE_SHIFT, reason)
        return reason

    cdef void count_fault(self, uint64_t source, int reason) noexcept nogil:
        """Some refusals tell of the market or of bad luck; these tell of a program's mistake."""
        cdef bint is_oversized = (
            reason == REASON_ORDER_QTY_MAX or reason == REASON_ORDER_NOTIONAL_MAX)
        if self.bounds == &self.bounds_of[BY_HAND]:
            return
        if is_oversized:
            self.oversized += 1
        elif reason == REASON_DUPLICATE:
            self.doubled += 1
        elif not (
            reason == REASON_MALFORMED or reason == REASON_ORDER_ID_REUSED
            or REASON_PRICE_OFF_TICK <= reason <= REASON_NOTIONAL_MIN
            or reason == REASON_ORDER_KIND_NOT_ALLOWED
            or reason == REASON_INSTRUMENT_NOT_ALLOWED
        ):
            return
        if 0 < source <= SOURCE_MAX:
            self.strategies[source].faults += 1

    cdef int judge_cancel(self, uint64_t order_id, int64_t now_ns) noexcept:
        # What risk does not know may still be ours: after a restart, or closed a moment ago.
        cdef OpenOrder *order = self.orders.find(order_id)
        if order != NULL:
            order.is_cancel_asked = True
        elif not 0 < order_id >> SOURCE_SHIFT <= SOURCE_MAX:
            return REASON_UNKNOWN_ORDER
        if order_id >> SOURCE_SHIFT <= SOURCE_MAX:
            self.strategies[order_id >> SOURCE_SHIFT].cancels += 1
        self.count_message(now_ns)
        return APPROVED

    cdef int judge_place(
        self, const hft_intent *intent, int64_t now_ns, int trading_state,
    ) except -1:
        cdef uint64_t source = intent.order_id >> SOURCE_SHIFT
        cdef bint is_market = intent.order_type == TYPE_MARKET
        cdef int64_t price_e8 = intent.price_e8
        cdef int index = index_of(intent.side)
        cdef InstrumentExposure *instrument
        cdef OpenOrder *order
        cdef Terms terms
        cdef int reason
        if not 0 < source <= SOURCE_MAX or source != intent.strategy_id:
            return REASON_MALFORMED
        if intent.side != 1 and intent.side != -1:
            return REASON_MALFORMED
        if intent.order_id <= self.last_ids[source]:
            return REASON_ORDER_ID_REUSED
        self.last_ids[source] = intent.order_id
        if self.strategies[source].is_paused:
            return REASON_STRATEGY_PAUSED
        reason = self.judge_kind(intent, now_ns)
        if reason:
            return reason
        instrument = self.watched(intent.instrument_id)
        if instrument == NULL or not instrument.has_rules:
            return REASON_INSTRUMENT_UNKNOWN
        if not instrument.is_allowed:
            return REASON_INSTRUMENT_NOT_ALLOWED
        if is_market:
            price_e8 = worst_price_e8(instrument, intent.side, self.bounds.price_collar_bps)
        terms = Terms(
            price_e8=price_e8, qty_e8=intent.qty_e8, decide_ns=intent.decide_ns, side=intent.side,
            is_market=is_market, is_reduce_only=intent.is_reduce_only != 0)
        reason = self.judge_state(instrument, terms.decide_ns, now_ns, trading_state)
        if not reason:
            reason = self.judge_form(instrument, &terms)
        if not reason:
            reason = self.judge_duplicate(instrument, &terms, now_ns)
        if not reason and (
            instrument.orders[index] >= self.bounds.open_orders_max
            or self.orders.count >= ORDERS_MAX
        ):
            reason = REASON_OPEN_ORDERS_MAX
        if not reason:
            reason = self.judge_exposure(
                instrument, &terms, terms.qty_e8, now_ns, trading_state)
        if reason:
            return reason
        order = self.enter(
            intent.order_id, instrument, terms.side, terms.price_e8, terms.qty_e8)
        instrument.last_order[index] = order
        instrument.last_place_ns[index] = now_ns
        if not is_market:
            self.note_price(instrument, terms.price_e8, now_ns)
        self.strategies[source].places += 1
        self.settle(order)
        return APPROVED

    cdef int judge_kind(self, const hft_intent *intent, int64_t now_ns) noexcept nogil:
        """Does the venue have such a kind of order, and does the policy allow it?"""
        cdef bint is_market = intent.order_type == TYPE_MARKET
        if is_market:
            if intent.tif != TIF_UNKNOWN and intent.tif != TIF_GTC:
                return REASON_MALFORMED
        elif intent.order_type != TYPE_LIMIT or not TIF_GTC <= intent.tif <= TIF_GTD:
            return REASON_MALFORMED
        if intent.is_post_only and (intent.tif != TIF_GTC or is_market):
            return REASON_MALFORMED
        if intent.tif == TIF_GTD:
            if not self.venue_offset_ns or (
                <int128> intent.good_till_s * SECOND_NS
                < <int128> now_ns + self.venue_offset_ns + GOOD_TILL_S_MIN * SECOND_NS
            ):
                return REASON_MALFORMED
        elif intent.good_till_s:
            return REASON_MALFORMED
        if self.bounds.is_post_only and not intent.is_post_only:
            return REASON_ORDER_KIND_NOT_ALLOWED
        if self.bounds.is_limit_only and is_market:
            return REASON_ORDER_KIND_NOT_ALLOWED
        return APPROVED

    cdef int judge_amend(
        self, const hft_intent *intent, int64_t now_ns, int trading_state,
    ) except -1:
        cdef OpenOrder *order = self.orders.find(intent.order_id)
        cdef InstrumentExposure *instrument
        cdef Terms terms
        cdef int64_t approved_e8, remaining_e8, more_e8
        cdef int reason
        if order == NULL or order.is_closed:
            return REASON_UNKNOWN_ORDER
        if not order.is_adopted and self.strategies[order.order_id >> SOURCE_SHIFT].is_paused:
            return REASON_STRATEGY_PAUSED
        instrument = order.instrument
        if intent.instrument_id != instrument.instrument_id or intent.side != order.side:
            return REASON_MALFORMED
        if not instrument.has_rules:
            return REASON_INSTRUMENT_UNKNOWN
        if intent.qty_e8 <= order.cum_qty_e8:
            return REASON_QTY_RANGE  # the venue would cancel it: then a cancel is meant
        terms = Terms(
            price_e8=intent.price_e8, qty_e8=intent.qty_e8, decide_ns=intent.decide_ns,
            side=order.side, is_market=False, is_reduce_only=intent.is_reduce_only != 0)
        reason = self.judge_state(instrument, terms.decide_ns, now_ns, trading_state)
        if not reason:
            reason = self.judge_form(instrument, &terms)
        if reason:
            return reason
        approved_e8 = max(order.approved_qty_e8, terms.qty_e8)
        remaining_e8 = max(order.qty_e8, approved_e8) - order.traded_qty_e8
        more_e8 = max(<int64_t> 0, remaining_e8 - order.remaining_e8)
        reason = self.judge_exposure(instrument, &terms, more_e8, now_ns, trading_state)
        if reason:
            return reason
        self.note_price(instrument, terms.price_e8, now_ns)
        order.amends += 1
        order.approved_qty_e8 = approved_e8
        self.settle(order)
        return APPROVED

    cdef int judge_state(
        self, const InstrumentExposure *instrument, int64_t decide_ns, int64_t now_ns,
        int trading_state,
    ) noexcept nogil:
        """May anything new be asked for at this moment?"""
        cdef const LimitValues *bounds = self.bounds
        if trading_state == TRADING_HALTED:
            return REASON_TRADING_HALTED
        if is_older(decide_ns, bounds.intent_age_ns_max, now_ns):
            return REASON_INTENT_EXPIRED
        if instrument.status != STATUS_TRADING:
            return REASON_INSTRUMENT_NOT_TRADING
        if instrument.feed_state != FEED_LIVE:
            return REASON_STALE_DATA
        if is_older(instrument.as_of_ns, bounds.feed_age_ns_max, now_ns):
            return REASON_STALE_DATA
        if instrument.mark_e8 and is_older(instrument.mark_ns, bounds.mark_age_ns_max, now_ns):
            return REASON_STALE_DATA
        if is_older(self.account_ns, bounds.account_age_ns_max, now_ns):
            return REASON_ACCOUNT_STALE
        return APPROVED

    cdef int judge_form(
        self, const InstrumentExposure *instrument, const Terms *terms,
    ) noexcept nogil:
        """Would the venue take it, and is it the order that somebody meant to send?"""
        cdef const LimitValues *bounds = self.bounds
        cdef int128 notional_e16 = <int128> terms.price_e8 * terms.qty_e8
        cdef int128 least_e16 = notional_e16
        cdef int64_t qty_max_e8 = instrument.qty_max_e8
        cdef int reason
        if terms.is_market:
            qty_max_e8 = instrument.market_qty_max_e8
            least_e16 = <int128> mid_e8(instrument) * terms.qty_e8
        if terms.price_e8 <= 0 or terms.qty_e8 <= 0:
            return REASON_MALFORMED
        if terms.qty_e8 % instrument.step_e8:
            return REASON_QTY_OFF_STEP
        if not instrument.qty_min_e8 <= terms.qty_e8 <= qty_max_e8:
            return REASON_QTY_RANGE
        if not terms.is_market:
            reason = self.judge_price(instrument, terms)
            if reason:
                return reason
        if least_e16 < <int128> instrument.notional_min_e8 * E8 and not terms.is_reduce_only:
            return REASON_NOTIONAL_MIN
        if terms.qty_e8 > bounds.order_qty_max_e8:
            return REASON_ORDER_QTY_MAX
        if notional_e16 > <int128> bounds.order_notional_max_e8 * E8:
            return REASON_ORDER_NOTIONAL_MAX
        return APPROVED

    cdef int judge_price(
        self, const InstrumentExposure *instrument, const Terms *terms,
    ) noexcept nogil:
        """Is a limit price on the grid, and near enough to the market?"""
        cdef const LimitValues *bounds = self.bounds
        cdef int128 price_e8 = terms.price_e8
        cdef int128 twice_mid_e8 = <int128> instrument.bid_e8 + instrument.ask_e8
        cdef int128 mark_e8 = instrument.mark_e8
        cdef int64_t up_e8 = instrument.multiplier_up_e8
        cdef int64_t down_e8 = instrument.multiplier_down_e8
        cdef int128 from_mid_e8 = 2 * price_e8 - twice_mid_e8
        cdef int128 from_mark_e8 = price_e8 - mark_e8
        if terms.price_e8 % instrument.tick_e8:
            return REASON_PRICE_OFF_TICK
        if not instrument.price_min_e8 <= terms.price_e8 <= instrument.price_max_e8:
            return REASON_PRICE_COLLAR
        if max(from_mid_e8, -from_mid_e8) * BPS > twice_mid_e8 * bounds.price_collar_bps:
            return REASON_PRICE_COLLAR
        if bounds.cross_bps_max < BPS and beyond_other_side(
            instrument, terms.side, price_e8, bounds.cross_bps_max
        ):
            return REASON_AGGRESSIVE_CROSS
        if not mark_e8:
            return APPROVED
        if max(from_mark_e8, -from_mark_e8) * BPS > mark_e8 * bounds.mark_collar_bps:
            return REASON_MARK_COLLAR
        # The venue's own band: PERCENT_PRICE. 0: no rule.
        if terms.side > 0 and up_e8 and price_e8 * E8 > mark_e8 * up_e8:
            return REASON_MARK_COLLAR
        if terms.side < 0 and down_e8 and price_e8 * E8 < mark_e8 * down_e8:
            return REASON_MARK_COLLAR
        return APPROVED

    cdef int judge_duplicate(
        self, const InstrumentExposure *instrument, const Terms *terms, int64_t now_ns,
    ) noexcept nogil:
        """The same order again, while the first is still open."""
        cdef int index = index_of(terms.side)
        cdef const OpenOrder *last = instrument.last_order[index]
        if last == NULL or last.is_closed:
            return APPROVED
        if last.price_e8 != terms.price_e8 or last.qty_e8 != terms.qty_e8:
            return APPROVED
        if now_ns - instrument.last_place_ns[index] >= self.bounds.duplicate_window_ns:
            return APPROVED
        return REASON_DUPLICATE

    cdef int judge_exposure(
        self, const InstrumentExposure *instrument, const Terms *terms, int64_t more_e8,
        int64_t now_ns, int trading_state,
    ) noexcept:
        """What if everything open executes, and ``more_e8`` on this side as well?"""
        cdef const LimitValues *bounds = self.bounds
        # Seen from this side: a positive worst case is a position that grows this way.
        cdef int128 worst_e8 = worst_long_e8(instrument)
        cdef int128 other_e8 = -worst_short_e8(instrument)
        cdef int reason
        if terms.side < 0:
            worst_e8, other_e8 = other_e8, worst_e8
        worst_e8 += more_e8
        if worst_e8 <= 0:
            return self.take_message(now_ns)
        # It may grow the position: the checks that a shrinking order need not pass.
        if bounds.is_reducing_only or trading_state != TRADING_ACTIVE:
            return REASON_REDUCING_ONLY
        reason = self.judge_growth(instrument, terms, now_ns)
        if reason:
            return reason
        if not more_e8:
            return self.take_message(now_ns)
        if worst_e8 != capped(worst_e8):
            return REASON_POSITION_MAX  # no record could hold such a position
        reason = self.judge_account(
            instrument, index_of(terms.side), worst_e8, other_e8, more_e8)
        return reason if reason else self.take_message(now_ns)

    cdef int judge_growth(
        self, const InstrumentExposure *instrument, const Terms *terms, int64_t now_ns,
    ) noexcept nogil:
        """Is this a moment at which any position may grow, and this one at this price?"""
        cdef const LimitValues *bounds = self.bounds
        cdef int128 spread_e8 = <int128> instrument.ask_e8 - instrument.bid_e8
        if self.unresolved_count >= bounds.unresolved_max:
            return REASON_UNRESOLVED_MAX
        if self.unresolved_since_ns and self.unresolved_count and is_older(
            self.unresolved_since_ns, bounds.unresolved_age_ns_max, now_ns
        ):
            return REASON_UNRESOLVED_AGE
        if self.growth_refusal:
            return self.growth_refusal
        if now_ns < instrument.halted_until_ns:
            return REASON_VOLATILITY_HALT
        if spread_e8 * BPS > <int128> mid_e8(instrument) * bounds.spread_bps_max:
            return REASON_SPREAD_HALT
        if bounds.funding_bps_max < UNLIMITED and (
            size_of(instrument.funding_e8) * BPS > <int128> E8 * bounds.funding_bps_max
        ):
            return REASON_FUNDING_MAX
        if bounds.drift_1m_bps_max < UNLIMITED and not terms.is_market and (
            drift_bps(instrument, terms.price_e8, minute_of(now_ns)) > bounds.drift_1m_bps_max
        ):
            return REASON_PRICE_DRIFT
        return APPROVED

    cdef int judge_account(
        self, const InstrumentExposure *instrument, int index, int128 worst_e8, int128 other_e8,
        int64_t more_e8,
    ) noexcept nogil:
        """Money: of this side's open orders, this position, and of the account."""
        cdef const LimitValues *bounds = self.bounds
        cdef int128 price_e8 = value_price_e8(instrument)
        cdef int128 open_e8 = capped(instrument.open_e8[index] + more_e8)
        cdef int128 value_e8, gross_e8
        if open_e8 * price_e8 > <int128> bounds.open_notional_max_e8 * E8:
            return REASON_OPEN_NOTIONAL_MAX
        if worst_e8 * price_e8 > <int128> bounds.position_notional_max_e8 * E8:
            return REASON_POSITION_MAX
        value_e8 = worst_e8 * price_e8 // E8
        if self.net_e8[index] - instrument.net_e8[index] + value_e8 > bounds.net_notional_max_e8:
            return REASON_NET_NOTIONAL_MAX
        gross_e8 = max(value_e8, clamped(other_e8) * price_e8 // E8)
        if gross_e8 > instrument.gross_e8:
            gross_e8 += self.gross_e8 - instrument.gross_e8
            if gross_e8 > bounds.gross_notional_max_e8:
                return REASON_GROSS_NOTIONAL_MAX
            if gross_e8 > self.leverage_gross_max_e8:
                return REASON_LEVERAGE_MAX
        return APPROVED

    cdef int take_message(self, int64_t now_ns) noexcept:
        """The last check, as it counts: whatever passes here is approved."""
        if self.bounds == &self.bounds_of[BY_HAND]:
            if not (
                self.manual_1s.take_if_room(now_ns, 1, self.manual_1s.limit)
                and self.manual_1m.take_if_room(now_ns, 1, self.manual_1m.limit)
            ):
                return REASON_MESSAGE_RATE
            self.count_message(now_ns)  # strategies have so much less
            return APPROVED
        if (
            self.messages_1s.take_if_room(now_ns, 1, self.messages_1s.limit)
            and self.messages_10s.take_if_room(now_ns, 1, self.messages_10s.limit)
            and self.messages_1m.take_if_room(now_ns, 1, self.messages_1m.limit)
        ):
            return APPROVED
        return REASON_MESSAGE_RATE

    cdef void count_message(self, int64_t now_ns) noexcept:
        """A cancel counts, but is never refused."""
        self.messages_1s.count(now_ns)
        self.messages_1s.push(now_ns, 1)
        self.messages_10s.count(now_ns)
        self.messages_10s.push(now_ns, 1)
        self.messages_1m.count(now_ns)
        self.messages_1m.push(now_ns, 1)
