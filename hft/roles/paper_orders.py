"""Paper's books: the ``executions.paper`` ring and the ``orders.paper`` table, kept in step.

A row is written before the record that announces the order and after every other record of it, so
a successor finds every order that was announced, and completes the rows from its own ring.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from hft import graph
from hft.core.generated.views import Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.paper_fills import PaperEvent, PaperOrder
from hft.records import (
    Action,
    ExecKind,
    Flag,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.context import Context
from hft.units import E8

LOOK_BACK: Final = 64
"""Newest records in which a successor looks for the last decision that was answered."""
BPS_E8: Final = 10_000 * E8


class PaperFees(NamedTuple):
    """Commission in 1e-8 of a basis point of the notional."""

    maker_bps_e8: int
    taker_bps_e8: int

    def fee_e8(self, price_e8: int, qty_e8: int, *, is_maker: bool) -> int:
        """Cost of a fill in the quote asset, cut to 1e-8."""
        bps_e8 = self.maker_bps_e8 if is_maker else self.taker_bps_e8
        return price_e8 * qty_e8 // E8 * bps_e8 // BPS_E8


class PaperOrders:
    """Sole writer of ``executions.paper`` and ``orders.paper``."""

    def __init__(self, context: Context, fees: PaperFees) -> None:
        self._context = context
        self._fees = fees
        self._ring, buffer = context.ring_writer("executions.paper")
        self._record = Execution(buffer)
        self._rows, row_buffer = context.cell_writer("orders.paper")
        self._row = OrderRow(row_buffer)
        self._free: list[int] = []
        self.quote_ids: dict[int, int] = {}
        """Asset of the fees, by instrument."""

    @property
    def has_room(self) -> bool:
        """Whether a new order would find a row."""
        return bool(self._free)

    # -- what happens to orders -----------------------------------------------------------------

    def announce(self, order: PaperOrder) -> None:
        """Give a new order its row, then publish that it is on its way."""
        order.row = self._free.pop()
        self._store(order)
        self.publish(
            PaperEvent(
                ExecKind.SENT, order, order.state, 0, order.qty_e8, order.price_e8, order.qty_e8
            ),
            order.send_ns,
        )

    def publish(self, event: PaperEvent, now_ns: int, *, venue_ns: int = 0) -> None:
        """Publish an event, then bring the order's row up to it."""
        record, order = self._record, event.order
        record.clear()
        if event.kind is ExecKind.ACK:
            order.venue_order_id = self._ring.next_seq
        record.kind, record.mode = int(Kind.EXECUTION), int(Mode.PAPER)
        record.source, record.flags = self._context.source, int(Flag.LAST)
        record.origin_ns = order.origin_ns if event.kind is ExecKind.SENT else now_ns
        record.cause_ring, record.cause_seq = int(graph.RingId.DECISIONS), order.decision_seq
        record.instrument_id, record.order_id = order.instrument_id, order.order_id
        record.venue_order_id, record.venue_ns = order.venue_order_id, venue_ns
        record.price_e8, record.qty_e8 = event.price_e8, event.qty_e8
        record.cum_qty_e8, record.leaves_qty_e8 = event.cum_qty_e8, event.leaves_qty_e8
        record.exec_kind, record.side = int(event.kind), int(order.side)
        record.order_state, record.reason = int(event.state), int(event.reason)
        if event.kind is ExecKind.FILL:
            record.trade_id, record.is_maker = self._ring.next_seq, event.is_maker
            record.fee_asset_id = self.quote_ids.get(order.instrument_id, 0)
            record.fee_e8 = self._fees.fee_e8(event.price_e8, event.qty_e8, is_maker=event.is_maker)
        self._ring.offer()
        if order.row >= 0:
            self._store(order)

    def _store(self, order: PaperOrder) -> None:
        """Write the order's row; the row of one that has ended is free."""
        row, view = order.row, self._row
        view.clear()
        view.kind, view.mode, view.source = int(Kind.ORDER), int(Mode.PAPER), self._context.source
        view.executions_seq = self._ring.next_seq - 1
        if order.state >= OrderState.FILLED:
            order.row = -1
            self._free.append(row)
        else:
            view.order_id, view.venue_order_id = order.order_id, order.venue_order_id
            view.instrument_id, view.strategy_id = order.instrument_id, order.strategy_id
            view.price_e8, view.qty_e8 = order.price_e8, order.qty_e8
            view.cum_qty_e8 = view.traded_qty_e8 = order.cum_qty_e8
            view.decision_seq, view.order_state = order.decision_seq, int(order.state)
            view.send_ns, view.ack_ns = order.send_ns, order.ack_ns
            view.action, view.side = int(Action.PLACE), int(order.side)
            view.order_type, view.tif = int(order.order_type), int(order.tif)
            view.is_post_only, view.is_reduce_only = order.is_post_only, order.is_reduce_only
            if order.state is OrderState.PENDING_NEW:
                view.pending, view.request_ns = int(Action.PLACE), order.send_ns
        self._rows.write(row)

    # -- a successor ----------------------------------------------------------------------------

    def recover(self, now_ns: int) -> tuple[int, int]:
        """Cancel what a predecessor left; returns how many, and the last decision it answered."""
        left = self._read_rows()
        oldest_seq = min((seq for _, seq in left.values()), default=self._ring.next_seq - 1)
        look_back_seq = self._ring.next_seq - LOOK_BACK
        past, buffer = self._context.observer(
            "executions.paper", max(1, min(oldest_seq + 1, look_back_seq))
        )
        record = Execution(buffer)
        answered_seq = max((order.decision_seq for order, _ in left.values()), default=0)
        while past.next():
            answered_seq = max(answered_seq, record.cause_seq)
            found = left.get(record.order_id)
            if found is not None and record.seq > found[1] and record.order_state:
                found[0].cum_qty_e8 = max(found[0].cum_qty_e8, record.cum_qty_e8)
                found[0].state = OrderState(record.order_state)
        count = 0
        for order, _ in left.values():
            if order.state >= OrderState.FILLED:
                self._store(order)  # it had ended, only its row did not say so yet
                continue
            order.state = OrderState.CANCELED
            self.publish(
                PaperEvent(
                    ExecKind.CANCELED, order, order.state, order.cum_qty_e8, 0, order.price_e8,
                    order.qty_e8, reason=Reason.OWN_RECOVERY,
                ),
                now_ns,
            )  # fmt: skip
            count += 1
        return count, answered_seq

    def _read_rows(self) -> dict[int, tuple[PaperOrder, int]]:
        """Orders in the table by id, each with the last record that its row includes."""
        left: dict[int, tuple[PaperOrder, int]] = {}
        self._free = []
        view = self._row
        for index in range(graph.ORDER_ROWS_MAX - 1, -1, -1):
            if not (self._rows.read(index) and view.order_id):
                self._free.append(index)
                continue
            order = PaperOrder(
                order_id=view.order_id, instrument_id=view.instrument_id, side=Side(view.side),
                price_e8=view.price_e8, qty_e8=view.qty_e8, strategy_id=view.strategy_id,
                order_type=OrderType(view.order_type), tif=Tif(view.tif),
                decision_seq=view.decision_seq, state=OrderState(view.order_state),
                cum_qty_e8=view.cum_qty_e8, venue_order_id=view.venue_order_id, row=index,
            )  # fmt: skip
            left[order.order_id] = (order, view.executions_seq)
        return left
