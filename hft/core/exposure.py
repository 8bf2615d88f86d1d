"""Exposure: what every order of ours may still do to every position.

An order counts at its worst from its approval until the venue has closed it: exposure of a side is
the position plus everything on that side that may still execute, including unanswered, unresolved
and reported-but-unseen quantity. All sums are kept as orders live; reading them costs nothing.

A successor rebuilds it from positions, rows of the ``orders`` table and approved decisions, then
feeds it the executions after their as-of: what a row or a position already includes is skipped by
sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hft.core.generated.views import Decision, Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MAX, source_of
from hft.core.trade_memory import TradeMemory
from hft.records import Action, ExecKind, FeedState, OrderState
from hft.units import E8

BUY: Final = 0
SELL: Final = 1
"""Indices of the sides in pairs of sums."""
_FIRST_TERMINAL: Final = int(OrderState.FILLED)
_UNRESOLVED: Final = int(OrderState.UNRESOLVED)
_PLACE: Final = int(Action.PLACE)
_AMEND: Final = int(Action.AMEND)
_FILL: Final = int(ExecKind.FILL)
_DROPPED: Final = int(ExecKind.DROPPED)
_CANCEL_REJECTED: Final = int(ExecKind.CANCEL_REJECTED)
_AMENDED: Final = int(ExecKind.AMENDED)
_REFUSALS: Final = frozenset((_DROPPED, _CANCEL_REJECTED, int(ExecKind.AMEND_REJECTED)))
"""With order state NONE they say that execution holds no such order."""
_AMEND_ANSWERS: Final = frozenset((_AMENDED, int(ExecKind.AMEND_REJECTED)))


class OpenOrder:
    """What risk knows of an order that may still execute."""

    __slots__ = (
        "amends",
        "approved_qty_e8",
        "cum_qty_e8",
        "executions_seq",
        "instrument",
        "is_cancel_asked",
        "is_closed",
        "is_unresolved",
        "order_id",
        "price_e8",
        "qty_e8",
        "remaining_e8",
        "side",
        "traded_qty_e8",
    )

    def __init__(
        self, order_id: int, instrument: InstrumentExposure, side: int, price_e8: int, qty_e8: int
    ) -> None:
        self.order_id = order_id
        self.instrument = instrument
        self.side = side
        self.price_e8 = price_e8
        self.qty_e8 = qty_e8
        self.approved_qty_e8 = 0
        """Greatest quantity of approved amends that are not answered; 0: none."""
        self.amends = 0
        self.cum_qty_e8 = 0
        self.traded_qty_e8 = 0
        self.remaining_e8 = 0
        """What stands in the instrument's exposure because of this order."""
        self.executions_seq = 0
        self.is_cancel_asked = False
        """A cancel was approved: a dropped decision may be that, and not the amend."""
        self.is_closed = False
        self.is_unresolved = False

    def worst_case_e8(self) -> int:
        """What may still execute, or has executed in trades not seen."""
        if self.is_closed:
            return max(0, self.cum_qty_e8 - self.traded_qty_e8)
        return max(0, max(self.qty_e8, self.approved_qty_e8) - self.traded_qty_e8)


class InstrumentExposure:
    """Rules, market and exposure of one instrument."""

    __slots__ = (
        "ask_e8",
        "bid_e8",
        "executions_seq",
        "feed_state",
        "gross_e8",
        "instrument_id",
        "is_allowed",
        "last_order",
        "last_place_ns",
        "mark_e8",
        "mark_ns",
        "open_e8",
        "orders",
        "position_e8",
        "recv_ns",
        "rules",
    )

    def __init__(self, instrument_id: int, *, is_allowed: bool) -> None:
        self.instrument_id = instrument_id
        self.is_allowed = is_allowed
        self.rules: InstrumentRules | None = None
        self.bid_e8 = 0
        self.ask_e8 = 0
        self.recv_ns = 0
        self.feed_state = int(FeedState.UNKNOWN)
        self.mark_e8 = 0
        self.mark_ns = 0
        self.position_e8 = 0
        self.executions_seq = 0
        self.open_e8 = [0, 0]
        """Worst case of what is open, by side."""
        self.orders = [0, 0]
        self.gross_e8 = 0
        """This instrument's part of the gross notional."""
        self.last_order: list[OpenOrder | None] = [None, None]
        """The newest place of each side, for the duplicate check."""
        self.last_place_ns = [0, 0]

    def worst_long_e8(self) -> int:
        """Position if every open buy executes."""
        return self.position_e8 + self.open_e8[BUY]

    def worst_short_e8(self) -> int:
        """Position if every open sell executes."""
        return self.position_e8 - self.open_e8[SELL]

    def value_price_e8(self) -> int:
        """Price at which a position is valued: mark, else mid, else nothing."""
        return self.mark_e8 or (self.bid_e8 + self.ask_e8) // 2


class Exposure:
    """Positions and open orders of all instruments, at their worst."""

    __slots__ = ("_gross_e8", "_instruments", "_last_ids", "_orders", "_trades", "_unresolved")

    def __init__(self, instruments: Iterable[int]) -> None:
        """``instruments``: ids that may be traded; others are only watched."""
        self._instruments = {i: InstrumentExposure(i, is_allowed=True) for i in instruments}
        self._orders: dict[int, OpenOrder] = {}
        self._last_ids = [0] * (SOURCE_MAX + 1)
        self._trades = TradeMemory()
        self._gross_e8 = 0
        self._unresolved = 0

    # -- what is observed -----------------------------------------------------------------------

    def set_instrument(self, rules: InstrumentRules) -> None:
        """New or changed rules of an instrument."""
        self._instrument(rules.instrument_id).rules = rules

    def on_top(
        self, instrument_id: int, bid_e8: int, ask_e8: int, recv_ns: int, feed_state: int
    ) -> None:
        """The newest top of book."""
        instrument = self._instruments.get(instrument_id)
        if instrument is not None:
            instrument.bid_e8 = bid_e8
            instrument.ask_e8 = ask_e8
            instrument.recv_ns = recv_ns
            instrument.feed_state = feed_state
            if not instrument.mark_e8 and not instrument.gross_e8:
                self._revalue(instrument)  # the first price at which it can be valued

    def on_feed_state(self, instrument_id: int, feed_state: int) -> None:
        """The feed's own judgement of an instrument changed."""
        instrument = self._instruments.get(instrument_id)
        if instrument is not None:
            instrument.feed_state = feed_state

    def on_mark(self, instrument_id: int, mark_e8: int, recv_ns: int) -> None:
        """The newest mark price: positions are valued by it."""
        instrument = self._instruments.get(instrument_id)
        if instrument is not None:
            instrument.mark_e8 = mark_e8
            instrument.mark_ns = recv_ns
            self._revalue(instrument)

    def on_execution(self, execution: Execution) -> None:
        """What happened to an order, or to the position without one of ours."""
        order = self._orders.get(execution.order_id)
        seq = execution.seq
        if execution.exec_kind == _FILL:
            self._fill(execution, order, seq)
        if order is None or (seq and seq <= order.executions_seq):
            return
        order.executions_seq = seq
        state = execution.order_state
        cum_qty_e8 = execution.cum_qty_e8
        order.cum_qty_e8 = max(order.cum_qty_e8, cum_qty_e8, order.traded_qty_e8)
        kind = execution.exec_kind
        if order.amends and (
            kind in _AMEND_ANSWERS or (kind == _DROPPED and not order.is_cancel_asked)
        ):
            order.amends -= 1
            if not order.amends:
                order.approved_qty_e8 = 0
        if kind == _CANCEL_REJECTED:
            order.is_cancel_asked = False
        if kind == _AMENDED:
            order.price_e8 = execution.price_e8
        if state >= _FIRST_TERMINAL or (not state and kind in _REFUSALS):
            order.is_closed = True
        elif state:
            # While working, filled and open quantity make up the quantity in force.
            order.qty_e8 = cum_qty_e8 + execution.leaves_qty_e8
        self._set_unresolved(order, is_unresolved=state == _UNRESOLVED)
        self._settle(order)

    def _fill(self, execution: Execution, order: OpenOrder | None, seq: int) -> None:
        instrument = self._instrument(execution.instrument_id)
        side, qty_e8 = execution.side, execution.qty_e8
        trade_id = execution.trade_id
        if trade_id and not self._trades.add(instrument.instrument_id, trade_id, side):
            return
        if not (seq and seq <= instrument.executions_seq):
            instrument.position_e8 += side * qty_e8
            instrument.executions_seq = seq
        if order is not None and not (seq and seq <= order.executions_seq):
            order.traded_qty_e8 += qty_e8
        self._revalue(instrument)

    # -- rebuilding -----------------------------------------------------------------------------

    def add_position(self, instrument_id: int, position_e8: int, executions_seq: int = 0) -> None:
        """The position after that execution record; earlier records no longer move it."""
        instrument = self._instrument(instrument_id)
        instrument.position_e8 = position_e8
        instrument.executions_seq = executions_seq
        self._revalue(instrument)

    def add_open_order(self, row: OrderRow) -> None:
        """A row of the ``orders`` table; execution records it includes no longer change it.

        A closed order still has a row while trades of it are missing: they still count.
        """
        order = OpenOrder(
            row.order_id, self._instrument(row.instrument_id), row.side, row.price_e8, row.qty_e8
        )
        order.cum_qty_e8, order.traded_qty_e8 = row.cum_qty_e8, row.traded_qty_e8
        order.is_closed = row.order_state >= _FIRST_TERMINAL
        order.executions_seq = row.executions_seq
        if row.pending_qty_e8:
            order.amends = 1
            order.approved_qty_e8 = row.pending_qty_e8
        self._enter(order)
        self._set_unresolved(order, is_unresolved=row.order_state == _UNRESOLVED)

    def add_approved(self, decision: Decision) -> None:
        """An approved decision that no row shows yet: counted as if just approved."""
        if decision.reason:
            return
        order = self._orders.get(decision.order_id)
        if decision.action == _PLACE and order is None:
            instrument = self._instrument(decision.instrument_id)
            price_e8 = decision.price_e8 or instrument.value_price_e8()
            self._enter(
                OpenOrder(decision.order_id, instrument, decision.side, price_e8, decision.qty_e8)
            )
        elif decision.action == _AMEND and order is not None:
            order.amends += 1
            order.approved_qty_e8 = max(order.approved_qty_e8, decision.qty_e8)
            self._settle(order)

    def note_order_id(self, order_id: int) -> None:
        """An id that was used, whatever became of it: refused when it comes again."""
        source = source_of(order_id)
        if source <= SOURCE_MAX and order_id > self._last_ids[source]:
            self._last_ids[source] = order_id

    # -- exposure -------------------------------------------------------------------------------

    def position_e8(self, instrument_id: int) -> int:
        """Signed position."""
        instrument = self._instruments.get(instrument_id)
        return 0 if instrument is None else instrument.position_e8

    def worst_long_e8(self, instrument_id: int) -> int:
        """Position if every open buy executes."""
        instrument = self._instruments.get(instrument_id)
        return 0 if instrument is None else instrument.worst_long_e8()

    def worst_short_e8(self, instrument_id: int) -> int:
        """Position if every open sell executes."""
        instrument = self._instruments.get(instrument_id)
        return 0 if instrument is None else instrument.worst_short_e8()

    def open_orders(self, instrument_id: int) -> int:
        """Orders that may still execute, both sides."""
        instrument = self._instruments.get(instrument_id)
        return 0 if instrument is None else sum(instrument.orders)

    def gross_notional_e8(self) -> int:
        """Sum over the instruments of the greater worst case, at mark (else mid) prices."""
        return self._gross_e8

    @property
    def unresolved(self) -> int:
        """Orders whose fate only the venue knows."""
        return self._unresolved

    def holds(self, order_id: int) -> bool:
        """True while the order counts."""
        return order_id in self._orders

    # -- inside ---------------------------------------------------------------------------------

    def _instrument(self, instrument_id: int) -> InstrumentExposure:
        instrument = self._instruments.get(instrument_id)
        if instrument is None:
            instrument = InstrumentExposure(instrument_id, is_allowed=False)
            self._instruments[instrument_id] = instrument
        return instrument

    def _enter(self, order: OpenOrder) -> None:
        self._orders[order.order_id] = order
        self.note_order_id(order.order_id)
        order.instrument.orders[BUY if order.side > 0 else SELL] += 1
        self._settle(order)

    def _settle(self, order: OpenOrder) -> None:
        """Bring the instrument's exposure in line with the order; forget it when it is over."""
        instrument = order.instrument
        index = BUY if order.side > 0 else SELL
        remaining_e8 = order.worst_case_e8()
        instrument.open_e8[index] += remaining_e8 - order.remaining_e8
        order.remaining_e8 = remaining_e8
        assert instrument.open_e8[index] >= 0
        if order.is_closed and not remaining_e8 and order.order_id in self._orders:
            del self._orders[order.order_id]
            instrument.orders[index] -= 1
            assert instrument.orders[index] >= 0
        self._revalue(instrument)

    def _set_unresolved(self, order: OpenOrder, *, is_unresolved: bool) -> None:
        if order.is_unresolved != is_unresolved:
            order.is_unresolved = is_unresolved
            self._unresolved += 1 if is_unresolved else -1

    def _revalue(self, instrument: InstrumentExposure) -> None:
        buys_e8, sells_e8 = instrument.open_e8
        position_e8 = instrument.position_e8
        worst_e8 = max(position_e8 + buys_e8, sells_e8 - position_e8)
        gross_e8 = worst_e8 * instrument.value_price_e8() // E8
        self._gross_e8 += gross_e8 - instrument.gross_e8
        instrument.gross_e8 = gross_e8
