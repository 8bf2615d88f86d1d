"""Pre-trade risk: one judgement for each intent.

The judgement holds an intent against the limits of a policy and the exposure that it would add to.
It costs the same whatever the number of open orders. Nothing here reads a clock; times are
monotonic ns and arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hft.core.exposure import BUY, SELL, Exposure, InstrumentExposure, OpenOrder
from hft.core.generated.views import Intent
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MAX, source_of
from hft.core.policies import Limits
from hft.core.throttle import WindowLimit
from hft.records import (
    Action,
    FeedState,
    InstrumentStatus,
    OrderType,
    Reason,
    Tif,
    TradingState,
)
from hft.units import E8, NS_PER_S

__all__ = ["InstrumentRules", "RiskBook"]

_BPS: Final = 10_000
_HALTED: Final = int(TradingState.HALTED)
_ACTIVE: Final = int(TradingState.ACTIVE)
_LIVE: Final = int(FeedState.LIVE)
_TRADING: Final = int(InstrumentStatus.TRADING)
_PLACE, _AMEND = int(Action.PLACE), int(Action.AMEND)
_CANCEL, _CANCEL_ALL = int(Action.CANCEL), int(Action.CANCEL_ALL)
_LIMIT, _MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
_GTC, _FOK = int(Tif.GTC), int(Tif.FOK)


class RiskBook(Exposure):
    """An exposure that judges what would add to it."""

    __slots__ = ("_limits", "_messages_1m", "_messages_1s", "account_ns")

    def __init__(self, limits: Limits, instruments: Iterable[int]) -> None:
        """``instruments``: ids that may be traded; others are only watched."""
        super().__init__(instruments)
        self.account_ns = 0
        """When the account was last known to be right (``on_account``)."""
        self._messages_1s = WindowLimit(0, NS_PER_S)
        self._messages_1m = WindowLimit(0, 60 * NS_PER_S)
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Judge by other limits from now on. A message limit that changes begins to count anew."""
        self._limits = limits
        if limits.messages_per_s_max != self._messages_1s.limit:
            self._messages_1s = WindowLimit(limits.messages_per_s_max, NS_PER_S)
        if limits.messages_per_minute_max != self._messages_1m.limit:
            self._messages_1m = WindowLimit(limits.messages_per_minute_max, 60 * NS_PER_S)

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    def on_account(self, now_ns: int) -> None:
        """The account role is alive and its sums are known to be right at ``now_ns``."""
        self.account_ns = now_ns

    # -- judgement ------------------------------------------------------------------------------

    def judge(self, intent: Intent, now_ns: int, trading_state: int) -> Reason:
        """Approve (``Reason.NONE``) or refuse an intent. What is approved counts at once."""
        action = intent.action
        if action == _CANCEL:
            return self._judge_cancel(intent.order_id, now_ns)
        if action == _PLACE:
            return self._judge_place(intent, now_ns, trading_state)
        if action == _AMEND:
            return self._judge_amend(intent, now_ns, trading_state)
        if action == _CANCEL_ALL:
            self._count_message(now_ns)
            return Reason.NONE
        return Reason.MALFORMED

    def _judge_cancel(self, order_id: int, now_ns: int) -> Reason:
        # What risk does not know may still be ours: after a restart, or closed a moment ago.
        order = self._orders.get(order_id)
        if order is not None:
            order.is_cancel_asked = True
        elif not 0 < source_of(order_id) <= SOURCE_MAX:
            return Reason.UNKNOWN_ORDER
        self._count_message(now_ns)
        return Reason.NONE

    def _judge_place(self, intent: Intent, now_ns: int, trading_state: int) -> Reason:
        order_id = intent.order_id
        source = source_of(order_id)
        side = intent.side
        if not 0 < source <= SOURCE_MAX or source != intent.strategy_id or side not in (1, -1):
            return Reason.MALFORMED
        if order_id <= self._last_ids[source]:
            return Reason.ORDER_ID_REUSED
        self._last_ids[source] = order_id
        limits = self._limits
        order_type = intent.order_type
        tif = intent.tif
        is_post_only = intent.is_post_only
        if (
            order_type not in (_LIMIT, _MARKET)
            or not _GTC <= tif <= _FOK
            or (is_post_only and (tif != _GTC or order_type == _MARKET))
        ):
            return Reason.MALFORMED
        if limits.is_post_only and not is_post_only:
            return Reason.ORDER_KIND_NOT_ALLOWED
        instrument = self._instruments.get(intent.instrument_id)
        if instrument is None or instrument.rules is None:
            return Reason.INSTRUMENT_UNKNOWN
        if not instrument.is_allowed:
            return Reason.INSTRUMENT_NOT_ALLOWED
        price_e8, qty_e8 = intent.price_e8, intent.qty_e8
        is_market = order_type == _MARKET
        if is_market:
            price_e8 = (instrument.bid_e8 + instrument.ask_e8) // 2
        reason = self._judge_state(intent.decide_ns, instrument, now_ns, trading_state)
        if not reason:
            reason = self._judge_form(
                instrument, instrument.rules, side, price_e8, qty_e8,
                is_market=is_market, is_reduce_only=intent.is_reduce_only != 0,
            )  # fmt: skip
        if not reason:
            reason = self._judge_duplicate(instrument, side, price_e8, qty_e8, now_ns)
        if not reason:
            index = BUY if side > 0 else SELL
            if instrument.orders[index] >= limits.open_orders_max:
                reason = Reason.OPEN_ORDERS_MAX
            else:
                reason = self._judge_exposure(instrument, side, qty_e8, now_ns, trading_state)
        if reason:
            return reason
        self._approve(OpenOrder(order_id, instrument, side, price_e8, qty_e8), now_ns)
        return Reason.NONE

    def _judge_amend(self, intent: Intent, now_ns: int, trading_state: int) -> Reason:
        order = self._orders.get(intent.order_id)
        if order is None or order.is_closed:
            return Reason.UNKNOWN_ORDER
        instrument = order.instrument
        side = order.side
        price_e8, qty_e8 = intent.price_e8, intent.qty_e8
        if intent.instrument_id != instrument.instrument_id or intent.side != side:
            return Reason.MALFORMED
        if instrument.rules is None:
            return Reason.INSTRUMENT_UNKNOWN
        if qty_e8 <= order.cum_qty_e8:
            return Reason.QTY_RANGE  # the venue would cancel it: then a cancel is meant
        reason = self._judge_state(intent.decide_ns, instrument, now_ns, trading_state)
        if not reason:
            reason = self._judge_form(
                instrument, instrument.rules, side, price_e8, qty_e8,
                is_market=False, is_reduce_only=intent.is_reduce_only != 0,
            )  # fmt: skip
        approved_e8 = max(order.approved_qty_e8, qty_e8)
        if not reason:
            remaining_e8 = max(order.qty_e8, approved_e8) - order.traded_qty_e8
            more_e8 = max(0, remaining_e8 - order.remaining_e8)
            reason = self._judge_exposure(instrument, side, more_e8, now_ns, trading_state)
        if reason:
            return reason
        order.amends += 1
        order.approved_qty_e8 = approved_e8
        self._settle(order)
        return Reason.NONE

    def _judge_state(
        self, decide_ns: int, instrument: InstrumentExposure, now_ns: int, trading_state: int
    ) -> Reason:
        """May anything new be asked for at this moment?"""
        limits = self._limits
        if trading_state == _HALTED:
            return Reason.TRADING_HALTED
        if now_ns - decide_ns > limits.intent_age_ns_max:
            return Reason.INTENT_EXPIRED
        rules = instrument.rules
        if rules is None or rules.status != _TRADING:
            return Reason.INSTRUMENT_NOT_TRADING
        if (
            instrument.feed_state != _LIVE
            or now_ns - instrument.recv_ns > limits.feed_age_ns_max
            or (instrument.mark_e8 and now_ns - instrument.mark_ns > limits.mark_age_ns_max)
        ):
            return Reason.STALE_DATA
        if now_ns - self.account_ns > limits.account_age_ns_max:
            return Reason.ACCOUNT_STALE
        return Reason.NONE

    def _judge_form(
        self,
        instrument: InstrumentExposure,
        rules: InstrumentRules,
        side: int,
        price_e8: int,
        qty_e8: int,
        *,
        is_market: bool,
        is_reduce_only: bool,
    ) -> Reason:
        """Would the venue take it, and is it the order that somebody meant to send?"""
        limits = self._limits
        if price_e8 <= 0 or qty_e8 <= 0:
            return Reason.MALFORMED
        if qty_e8 % rules.step_e8:
            return Reason.QTY_OFF_STEP
        qty_max_e8 = rules.market_qty_max_e8 if is_market else rules.qty_max_e8
        if not rules.qty_min_e8 <= qty_e8 <= qty_max_e8:
            return Reason.QTY_RANGE
        if not is_market:
            if price_e8 % rules.tick_e8:
                return Reason.PRICE_OFF_TICK
            if not rules.price_min_e8 <= price_e8 <= rules.price_max_e8:
                return Reason.PRICE_COLLAR
            reason = self._judge_price(instrument, rules, side, price_e8)
            if reason:
                return reason
        notional_e16 = price_e8 * qty_e8
        if notional_e16 < rules.notional_min_e8 * E8 and not is_reduce_only:
            return Reason.NOTIONAL_MIN
        if qty_e8 > limits.order_qty_max_e8:
            return Reason.ORDER_QTY_MAX
        if notional_e16 > limits.order_notional_max_e8 * E8:
            return Reason.ORDER_NOTIONAL_MAX
        return Reason.NONE

    def _judge_price(
        self, instrument: InstrumentExposure, rules: InstrumentRules, side: int, price_e8: int
    ) -> Reason:
        limits = self._limits
        twice_mid_e8 = instrument.bid_e8 + instrument.ask_e8
        if abs(2 * price_e8 - twice_mid_e8) * _BPS > limits.price_collar_bps * twice_mid_e8:
            return Reason.PRICE_COLLAR
        mark_e8 = instrument.mark_e8
        if not mark_e8:
            return Reason.NONE
        if abs(price_e8 - mark_e8) * _BPS > limits.mark_collar_bps * mark_e8:
            return Reason.MARK_COLLAR
        # The venue's own band: PERCENT_PRICE.
        if side > 0:
            up_e8 = rules.multiplier_up_e8
            is_outside = up_e8 != 0 and price_e8 * E8 > mark_e8 * up_e8
        else:
            down_e8 = rules.multiplier_down_e8
            is_outside = down_e8 != 0 and price_e8 * E8 < mark_e8 * down_e8
        return Reason.MARK_COLLAR if is_outside else Reason.NONE

    def _judge_duplicate(
        self, instrument: InstrumentExposure, side: int, price_e8: int, qty_e8: int, now_ns: int
    ) -> Reason:
        """The same order again, while the first is still open."""
        index = BUY if side > 0 else SELL
        last = instrument.last_order[index]
        if (
            last is not None
            and now_ns - instrument.last_place_ns[index] < self._limits.duplicate_window_ns
            and not last.is_closed
            and (last.price_e8, last.qty_e8) == (price_e8, qty_e8)
        ):
            return Reason.DUPLICATE
        return Reason.NONE

    def _judge_exposure(
        self,
        instrument: InstrumentExposure,
        side: int,
        more_e8: int,
        now_ns: int,
        trading_state: int,
    ) -> Reason:
        """What if everything open executes, and ``more_e8`` on this side as well?"""
        limits = self._limits
        # Seen from this side: a positive worst case is a position that grows this way.
        if side > 0:
            worst_e8 = instrument.worst_long_e8() + more_e8
            other_e8 = -instrument.worst_short_e8()
        else:
            worst_e8 = more_e8 - instrument.worst_short_e8()
            other_e8 = instrument.worst_long_e8()
        if worst_e8 > 0:
            # It may grow the position: the checks that a shrinking order need not pass.
            if limits.is_reducing_only or trading_state != _ACTIVE:
                return Reason.REDUCING_ONLY
            if self._unresolved >= limits.unresolved_max:
                return Reason.UNRESOLVED_MAX
            if more_e8:
                price_e8 = instrument.value_price_e8()
                value_e16 = worst_e8 * price_e8
                if value_e16 > limits.position_notional_max_e8 * E8:
                    return Reason.POSITION_MAX
                gross_e8 = max(worst_e8, other_e8) * price_e8 // E8
                total_e8 = self._gross_e8 - instrument.gross_e8 + gross_e8
                if gross_e8 > instrument.gross_e8 and total_e8 > limits.gross_notional_max_e8:
                    return Reason.GROSS_NOTIONAL_MAX
        # Last, as it counts: whatever passes here is approved.
        if self._messages_1s.try_take(now_ns) and self._messages_1m.try_take(now_ns):
            return Reason.NONE
        return Reason.MESSAGE_RATE

    # -- inside ---------------------------------------------------------------------------------

    def _approve(self, order: OpenOrder, now_ns: int) -> None:
        index = BUY if order.side > 0 else SELL
        order.instrument.last_order[index] = order
        order.instrument.last_place_ns[index] = now_ns
        self._enter(order)

    def _count_message(self, now_ns: int) -> None:
        self._messages_1s.take(now_ns)
        self._messages_1m.take(now_ns)
