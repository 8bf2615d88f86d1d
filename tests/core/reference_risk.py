"""A plain model of the risk core, written from the catalogue: lists, loops and big integers.

Nothing is kept that could be computed: each question walks over every order. It knows no more
than one may say in a sentence for each limit, and is slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hft.core.catalogue import UNLIMITED, Limits
from hft.records import Reason, Side
from hft.units import E8, NS_PER_S

MINUTE_NS = 60 * NS_PER_S


@dataclass
class Order:
    instrument_id: int
    side: int
    qty_e8: int
    """The greatest that it may have: the quantity in force, or one of an unanswered amend."""
    in_force_e8: int
    traded_e8: int = 0
    is_open: bool = True
    is_unresolved: bool = False

    @property
    def open_e8(self) -> int:
        return max(0, max(self.qty_e8, self.in_force_e8) - self.traded_e8) if self.is_open else 0


@dataclass
class ReferenceRisk:
    limits: Limits
    marks_e8: dict[int, int]
    equity_e8: int
    positions_e8: dict[int, int] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    fundings_e8: dict[int, int] = field(default_factory=dict)
    prices: list[tuple[int, int, int]] = field(default_factory=list)
    """Instrument, minute and price of everything approved."""
    faults: int = 0
    messages_ns: tuple[list[int], list[int], list[int]] = field(
        default_factory=lambda: ([], [], [])
    )

    # -- what everything open may come to -------------------------------------------------------

    def position_e8(self, instrument_id: int) -> int:
        return self.positions_e8.get(instrument_id, 0)

    def open_e8(self, instrument_id: int, side: int) -> int:
        return sum(
            order.open_e8
            for order in self.orders.values()
            if (order.instrument_id, order.side) == (instrument_id, side)
        )

    def open_orders(self, instrument_id: int, side: int) -> int:
        return sum(
            order.is_open
            for order in self.orders.values()
            if (order.instrument_id, order.side) == (instrument_id, side)
        )

    def worst_e8(self, instrument_id: int, side: int, more_e8: int = 0) -> int:
        """Seen from the side: positive is a position that has grown that way."""
        position_e8 = side * self.position_e8(instrument_id)
        return position_e8 + self.open_e8(instrument_id, side) + more_e8

    def value_e8(self, instrument_id: int, qty_e8: int) -> int:
        value_e16 = qty_e8 * self.marks_e8[instrument_id]
        assert value_e16 % E8 == 0, "cases are chosen so that nothing is rounded"
        return value_e16 // E8

    def gross_e8(self, asked: tuple[int, int, int] | None = None) -> int:
        total_e8 = 0
        for instrument_id in self.marks_e8:
            worst = []
            for side in (Side.BUY, Side.SELL):
                more_e8 = asked[2] if asked and asked[:2] == (instrument_id, side) else 0
                worst.append(self.worst_e8(instrument_id, side, more_e8))
            total_e8 += self.value_e8(instrument_id, max(worst))
        return total_e8

    def net_e8(self, side: int, instrument_id: int = 0, more_e8: int = 0) -> int:
        return sum(
            self.value_e8(number, self.worst_e8(number, side, more_e8 * (number == instrument_id)))
            for number in self.marks_e8
        )

    @property
    def unresolved(self) -> int:
        return sum(order.is_open and order.is_unresolved for order in self.orders.values())

    # -- judgement ------------------------------------------------------------------------------

    def place(
        self, order_id: int, instrument_id: int, side: int, price_e8: int, qty_e8: int, now_ns: int
    ) -> Reason:
        reason = self._form(instrument_id, side, price_e8, qty_e8)
        self._count_fault(reason)
        if reason is Reason.NONE and (
            self.open_orders(instrument_id, side) >= self.limits.open_orders_max
        ):
            reason = Reason.OPEN_ORDERS_MAX
        if reason is Reason.NONE:
            reason = self._exposure(instrument_id, side, qty_e8, now_ns, price_e8)
        if reason is Reason.NONE:
            self.prices.append((instrument_id, now_ns // MINUTE_NS, price_e8))
            self.orders[order_id] = Order(instrument_id, side, qty_e8, qty_e8)
        return reason

    def amend(self, order_id: int, price_e8: int, qty_e8: int, now_ns: int) -> Reason:
        order = self.orders.get(order_id)
        if order is None or not order.is_open:
            return Reason.UNKNOWN_ORDER
        if qty_e8 <= order.traded_e8:
            self._count_fault(Reason.QTY_RANGE)
            return Reason.QTY_RANGE
        reason = self._form(order.instrument_id, order.side, price_e8, qty_e8)
        self._count_fault(reason)
        if reason is not Reason.NONE:
            return reason
        greatest_e8 = max(order.qty_e8, qty_e8)
        more_e8 = max(0, max(greatest_e8, order.in_force_e8) - order.traded_e8 - order.open_e8)
        reason = self._exposure(order.instrument_id, order.side, more_e8, now_ns, price_e8)
        if reason is Reason.NONE:
            self.prices.append((order.instrument_id, now_ns // MINUTE_NS, price_e8))
            order.qty_e8 = greatest_e8
        return reason

    def cancel(self, now_ns: int) -> None:
        for times in self.messages_ns:
            times.append(now_ns)

    def _form(self, instrument_id: int, side: int, price_e8: int, qty_e8: int) -> Reason:
        limits, mark_e8 = self.limits, self.marks_e8[instrument_id]
        if abs(price_e8 - mark_e8) * 10_000 > mark_e8 * limits.price_collar_bps:
            return Reason.PRICE_COLLAR  # the mid is the mark here
        if side * (price_e8 - mark_e8) * 10_000 > mark_e8 * limits.cross_bps_max:
            return Reason.AGGRESSIVE_CROSS  # and so are bid and ask
        if qty_e8 > limits.order_qty_max_e8:
            return Reason.ORDER_QTY_MAX
        if price_e8 * qty_e8 > limits.order_notional_max_e8 * E8:
            return Reason.ORDER_NOTIONAL_MAX
        return Reason.NONE

    def _count_fault(self, reason: Reason) -> None:
        self.faults += reason in (
            Reason.QTY_RANGE,
            Reason.ORDER_QTY_MAX,
            Reason.ORDER_NOTIONAL_MAX,
        )

    def _drifts(self, instrument_id: int, price_e8: int, now_ns: int) -> bool:
        minute = now_ns // MINUTE_NS
        prices = [
            price
            for number, then, price in self.prices
            if number == instrument_id and then in (minute, minute - 1)
        ] + [price_e8]
        return (max(prices) - min(prices)) * 10_000 > self.limits.drift_1m_bps_max * min(prices)

    def _exposure(
        self, instrument_id: int, side: int, more_e8: int, now_ns: int, price_e8: int
    ) -> Reason:
        limits = self.limits
        worst_e8 = self.worst_e8(instrument_id, side, more_e8)
        if worst_e8 > 0 and self.unresolved >= limits.unresolved_max:
            return Reason.UNRESOLVED_MAX
        if worst_e8 > 0:
            rate_e8 = abs(self.fundings_e8.get(instrument_id, 0))
            if rate_e8 * 10_000 > limits.funding_bps_max * E8:
                return Reason.FUNDING_MAX
            if self._drifts(instrument_id, price_e8, now_ns):
                return Reason.PRICE_DRIFT
        if worst_e8 > 0 and more_e8:
            open_e8 = self.value_e8(instrument_id, self.open_e8(instrument_id, side) + more_e8)
            gross_e8 = self.gross_e8((instrument_id, side, more_e8))
            grows = gross_e8 > self.gross_e8()
            if open_e8 > limits.open_notional_max_e8:
                return Reason.OPEN_NOTIONAL_MAX
            if self.value_e8(instrument_id, worst_e8) > limits.position_notional_max_e8:
                return Reason.POSITION_MAX
            if self.net_e8(side, instrument_id, more_e8) > limits.net_notional_max_e8:
                return Reason.NET_NOTIONAL_MAX
            if grows and gross_e8 > limits.gross_notional_max_e8:
                return Reason.GROSS_NOTIONAL_MAX
            if (
                grows
                and limits.leverage_max_e8 < UNLIMITED
                and (gross_e8 * E8 > limits.leverage_max_e8 * self.equity_e8)
            ):
                return Reason.LEVERAGE_MAX
        return self._message(now_ns)

    def _message(self, now_ns: int) -> Reason:
        limits = self.limits
        bounds = (limits.messages_per_s_max, limits.messages_per_10s_max,
                  limits.messages_per_minute_max)  # fmt: skip
        for times, seconds, bound in zip(self.messages_ns, (1, 10, 60), bounds, strict=True):
            if sum(then > now_ns - seconds * NS_PER_S for then in times) >= bound:
                return Reason.MESSAGE_RATE
            times.append(now_ns)
        return Reason.NONE

    # -- what the venue says --------------------------------------------------------------------

    def fill(self, order_id: int, qty_e8: int) -> None:
        order = self.orders[order_id]
        order.traded_e8 += qty_e8
        order.is_unresolved = False
        self.positions_e8[order.instrument_id] = (
            self.position_e8(order.instrument_id) + order.side * qty_e8
        )
        if order.traded_e8 >= order.in_force_e8:
            order.is_open = False

    def answer_amend(self, order_id: int, qty_e8: int) -> None:
        order = self.orders[order_id]
        order.qty_e8 = order.in_force_e8 = qty_e8
        order.is_unresolved = False

    def close(self, order_id: int) -> None:
        self.orders[order_id].is_open = False

    def lose(self, order_id: int) -> None:
        self.orders[order_id].is_unresolved = True

    # -- the promise ----------------------------------------------------------------------------

    def check(self) -> None:
        """No hard limit is exceeded, whatever happened."""
        limits = self.limits
        assert self.gross_e8() <= limits.gross_notional_max_e8
        assert self.gross_e8() * E8 <= limits.leverage_max_e8 * self.equity_e8
        for side in (Side.BUY, Side.SELL):
            assert self.net_e8(side) <= limits.net_notional_max_e8
            for number in self.marks_e8:
                worst_e8 = self.value_e8(number, self.worst_e8(number, side))
                opened_e8 = self.value_e8(number, self.open_e8(number, side))
                assert worst_e8 <= limits.position_notional_max_e8
                assert self.open_orders(number, side) <= limits.open_orders_max
                # A shrinking order may rest beside others: it is no more than the position.
                held_e8 = self.value_e8(number, abs(self.position_e8(number)))
                assert opened_e8 <= limits.open_notional_max_e8 + held_e8
