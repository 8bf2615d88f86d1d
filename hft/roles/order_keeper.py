"""Execution's books: journal, ``executions`` ring and ``orders`` table, kept in step.

One change of an order is stored in this sequence, so that a successor can finish what a dead
process left half done: journal entry, execution record, row, and last the journal cursor in the
role page. A successor looks again at the entries beyond the cursor; whether their execution record
was already published it reads from the ring itself: every record names its entry.

A journal whose last entry is damaged lost it before anything followed from it: nothing was sent or
published. A successor drops it, and says so in the next entry; damage anywhere else is fatal.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hft import counters, graph
from hft.core.generated.views import Decision, Execution, Journal
from hft.core.order_entries import entry_crc, fill_entry
from hft.core.orders import Order
from hft.core.trade_memory import TradeMemory
from hft.records import (
    Action,
    ExecKind,
    Flag,
    JournalKind,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.context import Context
from hft.roles.order_stores import BooksError, OrderStores

CLOSED_ENTRIES_MAX: Final = 8_192
"""Newest journal entries in which a successor looks for closed orders to remember."""
RECENT_TRADES_MAX: Final = 512
"""Trades of an instrument among which a lost one is looked for."""


# An enumeration's member by its name costs 0.1 us: what happens often has its own names for them.
_NONE: Final = Reason.NONE
_SILENT: Final = ExecKind.UNKNOWN
_SENT: Final = ExecKind.SENT
_PLACE: Final = Action.PLACE
_NO_ACTION: Final = Action.UNKNOWN
_UPDATE: Final = JournalKind.UPDATE
_FILL: Final = JournalKind.FILL
_JOURNALLED: Final = counters.JOURNALLED.id
_LAST: Final = int(Flag.LAST)
_ORDER: Final = int(Kind.ORDER)
_LIVE: Final = int(Mode.LIVE)
_REQUESTS: Final = {
    Action.PLACE: JournalKind.PLACE,
    Action.AMEND: JournalKind.AMEND,
    Action.CANCEL: JournalKind.CANCEL,
}


class Fill:
    """One fill as the venue reported it, in our units."""

    __slots__ = ("fee_asset_id", "fee_e8", "is_maker", "price_e8", "qty_e8", "trade_id")

    def __init__(
        self,
        *,
        trade_id: int,
        price_e8: int,
        qty_e8: int,
        fee_e8: int,
        fee_asset_id: int,
        is_maker: bool,
    ) -> None:
        self.trade_id = trade_id
        self.price_e8 = price_e8
        self.qty_e8 = qty_e8
        self.fee_e8 = fee_e8
        self.fee_asset_id = fee_asset_id
        self.is_maker = is_maker


class OrderKeeper(OrderStores):
    """Sole writer of ``journal``, ``executions`` and ``orders``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._context = context
        self.symbols = {i.instrument_id: i.symbol for i in context.plan.instruments}
        self.newest_trades: dict[int, int] = {}
        """Newest trade in the journal, by instrument: what a gap hid came after it."""
        self._recent_trades: dict[int, deque[int]] = {}
        self.is_new = True
        """No life before this one has written into the journal."""

    # -- what happens to orders -----------------------------------------------------------------

    def adopt(self, order: Order, *, now_ns: int, venue_ns: int = 0) -> bool:
        """Take an order of the venue's into the books; False when there is no row for it."""
        if self.table.add(order) < 0:
            return False
        reason = order.reason
        self._note(JournalKind.ADOPT, ExecKind.ADOPTED, order, Action.UNKNOWN, reason=reason)
        self._publish(order, ExecKind.ADOPTED, now_ns=now_ns, venue_ns=venue_ns, reason=reason)
        self._store(order)
        self.settle()
        return True

    def change(
        self,
        order: Order,
        exec_kind: ExecKind,
        *,
        now_ns: int,
        fill: Fill | None = None,
        venue_ns: int = 0,
        reason: Reason = _NONE,
        flags: Flag | int = 0,
    ) -> None:
        """Journal, publish and store what was just applied to an order.

        Records of somebody else's order give as reason whose it is.
        """
        kind = _UPDATE if fill is None else _FILL
        reason = reason if order.is_ours else order.reason
        self._note(kind, exec_kind, order, _NO_ACTION, fill=fill, reason=reason)
        if exec_kind is not _SILENT:
            self._publish(
                order,
                exec_kind,
                now_ns=now_ns,
                fill=fill,
                venue_ns=venue_ns,
                reason=reason,
                flags=flags,
            )
        self._store(order)
        self.settle()

    def refuse(self, decision: Decision, order: Order | None, reason: Reason, now_ns: int) -> None:
        """Journal a decision that causes no send; publish it when somebody waits for an answer."""
        exec_kind = ExecKind.UNKNOWN
        if decision.reason == Reason.NONE:
            exec_kind = _DROPS[Action(decision.action)]
        self._note_consumed(decision, exec_kind, reason)
        if exec_kind != ExecKind.UNKNOWN:
            self._publish_drop(decision, order, exec_kind, reason, now_ns)
        self.settle()

    def pass_over(self, decision: Decision) -> None:
        """Journal a decision that somebody else answers: nothing is sent or published here."""
        self._note_consumed(decision, ExecKind.UNKNOWN, Reason.NOT_LIVE)
        self.settle()

    def _note_consumed(self, decision: Decision, exec_kind: ExecKind, reason: Reason) -> None:
        entry = self._entry
        entry.clear()
        entry.order_id, entry.cause_seq = decision.order_id, decision.seq
        entry.price_e8, entry.qty_e8 = decision.price_e8, decision.qty_e8
        entry.strategy_id, entry.action = decision.strategy_id, decision.action
        entry.side, entry.instrument_id = decision.side, decision.instrument_id
        self._append(JournalKind.CONSUMED, exec_kind, reason)

    # -- the journal ----------------------------------------------------------------------------

    def _note(
        self,
        kind: JournalKind,
        exec_kind: ExecKind,
        order: Order,
        action: Action,
        *,
        fill: Fill | None = None,
        reason: Reason = _NONE,
    ) -> None:
        entry = self._entry
        fill_entry(entry, order, action)
        if fill is not None:
            self._note_trade(order.instrument_id, fill.trade_id)
            entry.trade_id = fill.trade_id
            entry.price_e8, entry.qty_e8 = fill.price_e8, fill.qty_e8
            entry.fee_e8, entry.fee_asset_id = fill.fee_e8, fill.fee_asset_id
            entry.is_maker = fill.is_maker
        self._append(kind, exec_kind, reason)

    def _note_trade(self, instrument_id: int, trade_id: int) -> None:
        newest = self.newest_trades.get(instrument_id, 0)
        self.newest_trades[instrument_id] = max(newest, trade_id)
        recent = self._recent_trades.get(instrument_id)
        if recent is None:
            recent = self._recent_trades[instrument_id] = deque(maxlen=RECENT_TRADES_MAX)
        recent.append(trade_id)

    def recent_trade(self, instrument_id: int) -> int:
        """The trade from which on to look for one that was lost alone, 0: none is known."""
        return min(self._recent_trades.get(instrument_id, ()), default=0)

    def _publish_drop(
        self,
        decision: Decision,
        order: Order | None,
        exec_kind: ExecKind,
        reason: Reason,
        now_ns: int,
    ) -> None:
        record = self._execution
        self._head(record, Flag.NONE, now_ns)
        record.instrument_id, record.order_id = decision.instrument_id, decision.order_id
        record.price_e8, record.qty_e8 = decision.price_e8, decision.qty_e8
        record.exec_kind, record.side = int(exec_kind), decision.side
        record.reason, record.order_state = int(reason), int(OrderState.NONE)
        if order is not None:
            record.venue_order_id = order.venue_order_id
            record.price_e8, record.qty_e8 = order.price_e8, order.qty_e8
            record.cum_qty_e8, record.leaves_qty_e8 = order.cum_qty_e8, order.leaves_qty_e8
            record.order_state = int(order.state)
        self._send_record()

    # -- recovery -------------------------------------------------------------------------------

    def recover(self, now_ns: int) -> int:
        """Rebuild the table from rows and journal; publish what the predecessor had not.

        Returns the newest decision that the journal shows as consumed, 0 for none.

        Raises:
            BooksError: a journal entry is damaged, and not the last one.
        """
        for row in range(graph.ORDER_ROWS_MAX):
            if self._rows.read(row) and self._row.order_id:
                self.table.put(Order.from_row(self._row), row)
        newest_seq = self._journal.next_seq - 1
        self.is_new = newest_seq == 0
        settled_seq = min(self._journal_cursor.value, newest_seq)
        published, trades = self._published()
        consumed_seq = damaged_seq = 0
        closed: dict[int, bytes] = {}
        oldest_seq = max(1, newest_seq - graph.ring("journal").capacity + 1)
        reader, buffer = self._context.observer("journal", oldest_seq)
        entry = Journal(buffer)
        while reader.next():
            if entry.crc != entry_crc(buffer):
                damaged_seq = damaged_seq or entry.seq
                continue
            if damaged_seq and not _drops(entry, damaged_seq):
                break
            damaged_seq = 0
            consumed_seq = max(consumed_seq, entry.cause_seq)
            is_fill = entry.journal_kind == JournalKind.FILL
            if is_fill:
                self._note_trade(entry.instrument_id, entry.trade_id)
            if (
                entry.order_state >= OrderState.FILLED
                and newest_seq - entry.seq < CLOSED_ENTRIES_MAX
            ):
                closed[entry.order_id] = bytes(buffer)
            if entry.seq > settled_seq:
                self._journal_seq = entry.seq
                self._redo(entry, is_published=entry.seq in published, now_ns=now_ns)
            elif is_fill:
                self.table.trades.add(entry.instrument_id, entry.trade_id, entry.side)
        self._journal_seq = newest_seq
        if damaged_seq:
            if entry.crc == entry_crc(buffer) or damaged_seq <= settled_seq:
                raise BooksError(f"journal entry {damaged_seq} is damaged")
            self._drop_entry(damaged_seq)
        for trade in trades:
            self.table.trades.add(*trade)
        self._remember(closed)
        self.settle()
        return consumed_seq

    def _remember(self, closed: dict[int, bytes]) -> None:
        """Orders that ended in an earlier life: what comes late of them is nothing new."""
        for order_id, slot in closed.items():
            if self.table.find(order_id) is None:
                self.table.remember(_closed_order(Journal(bytearray(slot)), self.table.trades))

    def _published(self) -> tuple[set[int], list[tuple[int, int, int]]]:
        """Journal entries whose execution record is in the ring, and the trades in it."""
        oldest_seq = max(1, self._executions.next_seq - graph.ring("executions").capacity)
        reader, buffer = self._context.observer("executions", oldest_seq)
        record = Execution(buffer)
        found, trades = set(), []
        while reader.next():
            found.add(record.cause_seq)
            if record.exec_kind == ExecKind.FILL:
                trades.append((record.instrument_id, record.trade_id, record.side))
        return found, trades

    def _drop_entry(self, damaged_seq: int) -> None:
        """Note that the journal's end, from ``damaged_seq`` on, is void: nothing came of it."""
        self._entry.clear()
        self._entry.trade_id = damaged_seq
        self._append(JournalKind.CONSUMED, ExecKind.UNKNOWN, Reason.NONE)

    def _redo(self, entry: Journal, *, is_published: bool, now_ns: int) -> None:
        """Finish one journalled change whose effects may be missing."""
        order = self.table.get(entry.order_id)
        is_new = entry.journal_kind in (JournalKind.PLACE, JournalKind.ADOPT)
        if order is None and is_new:
            order = order_from_entry(entry)
            order = order if self.table.add(order) >= 0 else None
        is_fill = entry.journal_kind == JournalKind.FILL
        if order is None or entry.seq <= order.journal_seq:
            # Freed or never given, or the row shows it: a repeated trade must still be known.
            if is_fill:
                self.table.trades.add(entry.instrument_id, entry.trade_id, entry.side)
        elif is_fill:
            is_final = entry.order_state == OrderState.FILLED
            order.fill(
                entry.trade_id, entry.qty_e8, entry.price_e8, entry.cum_qty_e8, is_final=is_final
            )
        elif entry.journal_kind == JournalKind.UPDATE:
            order.restore(OrderState(entry.order_state), entry)
        if entry.exec_kind and not is_published:
            self._publish_entry(entry, order, now_ns)
        if order is not None:
            self.table.bind(order)
            self._store(order)

    def _publish_entry(self, entry: Journal, order: Order | None, now_ns: int) -> None:
        """The record that a predecessor owed; ``order`` is None when it has no row any more."""
        record = self._execution
        self._head(record, Flag.REPLAYED, now_ns)
        record.instrument_id, record.order_id = entry.instrument_id, entry.order_id
        record.venue_order_id, record.trade_id = entry.venue_order_id, entry.trade_id
        record.price_e8, record.qty_e8 = entry.price_e8, entry.qty_e8
        record.cum_qty_e8, record.side = entry.cum_qty_e8, entry.side
        record.exec_kind, record.reason = entry.exec_kind, entry.reason
        record.fee_e8, record.fee_asset_id = entry.fee_e8, entry.fee_asset_id
        record.is_maker, record.order_state = entry.is_maker, entry.order_state
        if order is not None:
            record.venue_order_id = order.venue_order_id
            record.cum_qty_e8, record.leaves_qty_e8 = order.cum_qty_e8, order.leaves_qty_e8
            record.order_state = int(order.state)
            if entry.journal_kind != JournalKind.FILL:
                record.price_e8, record.qty_e8 = order.price_e8, order.qty_e8
        self._send_record()


_DROPS: Final = {
    Action.UNKNOWN: ExecKind.DROPPED,
    Action.PLACE: ExecKind.DROPPED,
    Action.AMEND: ExecKind.AMEND_REJECTED,
    Action.CANCEL: ExecKind.CANCEL_REJECTED,
    Action.CANCEL_ALL: ExecKind.CANCEL_REJECTED,
}
"""What an approved decision that is not sent looks like to those who wait for it."""


def order_from_entry(entry: Journal) -> Order:
    """The order that a PLACE or ADOPT entry announces."""
    if entry.journal_kind == JournalKind.ADOPT:
        return Order.adopt(
            order_id=entry.order_id,
            venue_order_id=entry.venue_order_id,
            instrument_id=entry.instrument_id,
            side=Side(entry.side),
            price_e8=entry.price_e8,
            qty_e8=entry.qty_e8,
            order_type=OrderType(entry.order_type),
            tif=Tif(entry.tif),
            is_post_only=bool(entry.is_post_only),
            is_reduce_only=bool(entry.is_reduce_only),
            reason=Reason(entry.reason),
            cum_qty_e8=entry.cum_qty_e8,
        )
    return Order(
        order_id=entry.order_id,
        instrument_id=entry.instrument_id,
        strategy_id=entry.strategy_id,
        side=Side(entry.side),
        price_e8=entry.price_e8,
        qty_e8=entry.qty_e8,
        order_type=OrderType(entry.order_type),
        tif=Tif(entry.tif),
        is_post_only=bool(entry.is_post_only),
        is_reduce_only=bool(entry.is_reduce_only),
        good_till_s=entry.good_till_s,
        decision_seq=entry.cause_seq,
    )


def _closed_order(entry: Journal, trades: TradeMemory) -> Order:
    """An order that ended with this entry, and of which no trade is missing."""
    order = Order(
        order_id=entry.order_id,
        instrument_id=entry.instrument_id,
        strategy_id=entry.strategy_id,
        side=Side(entry.side),
        price_e8=entry.price_e8,
        qty_e8=max(entry.qty_e8, entry.cum_qty_e8),
        reason=Reason(entry.reason),
        trades=trades,
    )
    order.trades_complete(entry.cum_qty_e8)
    order.restore(OrderState(entry.order_state), entry)
    return order


def _drops(entry: Journal, damaged_seq: int) -> bool:
    """Whether the entry says that those from ``damaged_seq`` on were dropped."""
    is_note = entry.journal_kind == JournalKind.CONSUMED and not entry.order_id
    return is_note and entry.trade_id == damaged_seq
