"""Market data and executions in, intents out. Sole writer of the ``intents.strategy`` ring."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from hft import counters, graph
from hft.config import StrategyConfig
from hft.core.generated.views import (
    Decision,
    Execution,
    FeedStatus,
    Header,
    Intent,
    MarkPrice,
    Position,
    TopOfBook,
    Trade,
)
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import OrderIdMaker, source_of
from hft.counters import RoleState
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Tif,
)
from hft.roles.context import Context, InstrumentWatch
from hft.strategy.base import InstrumentView
from hft.strategy.loader import load_strategy
from hft.strategy.targets import QuoteTargets
from hft.units import NS_PER_MS

EXECUTIONS_PER_CYCLE_MAX: Final = 64
DECISIONS_PER_CYCLE_MAX: Final = 64
MARKET_PER_CYCLE_MAX: Final = 256
TIMER_NS: Final = 10 * NS_PER_MS
CELLS_NS: Final = 100 * NS_PER_MS
"""How often the cells are read that change without a record: instruments, adjustments."""
FEED_SILENT_NS: Final = 1_000 * NS_PER_MS
"""A feed that has not beaten for so long cannot have said that its data are bad."""
MODES: Final = {"live": Mode.LIVE, "paper": Mode.PAPER, "observe": Mode.OBSERVE}


class _Inventory:
    """The position of an instrument, whoever traded: all desks on it see the same."""

    __slots__ = ("adjusted_e8", "executions_seq", "position_e8")

    def __init__(self) -> None:
        self.position_e8 = 0
        self.executions_seq = 0
        """Fills up to here are in it."""
        self.adjusted_e8 = 0
        """What it has of corrections that no execution explains."""


class _Desk:
    """One plug-in on one instrument: what it wants, what it has, what it saw last."""

    __slots__ = (
        "cause_ns", "cause_ring", "cause_seq", "has_news", "instrument", "inventory", "is_fed",
        "is_paused", "mode", "origin_ns", "plugin", "strategy_id", "targets", "top",
    )  # fmt: skip

    def __init__(
        self,
        plugin: Any,
        instrument: InstrumentView,
        inventory: _Inventory,
        strategy_id: int,
        mode: Mode,
    ) -> None:
        self.plugin = plugin
        self.instrument = instrument
        self.inventory = inventory
        self.strategy_id = strategy_id
        self.mode = mode
        self.targets = QuoteTargets(instrument, getattr(plugin, "quote_rules", None))
        self.is_paused = False
        self.top = TopOfBook()
        self.origin_ns = self.cause_ring = self.cause_seq = self.cause_ns = 0
        self.has_news = False
        self.is_fed = False

    def note_cause(self, ring: graph.RingId, record: Header | Execution) -> None:
        """Remember which network event the next intents will answer."""
        self.origin_ns, self.cause_ns = record.origin_ns, record.publish_ns
        self.cause_ring, self.cause_seq = int(ring), record.seq
        self.has_news = True

    @property
    def is_quoting(self) -> bool:
        """May the plug-in want anything: it works, the data is live, the instrument trades."""
        is_trading = self.instrument.status == InstrumentStatus.TRADING
        return self.is_fed and is_trading and not self.is_paused

    def forget_cause(self) -> None:
        """The next intents answer the clock, not an event."""
        self.origin_ns = self.cause_ring = self.cause_seq = self.cause_ns = 0


class StrategyEngine:
    """Runs the plug-ins: newest state of each instrument once a turn, executions before that."""

    name = "strategy"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._market, market_buffer = context.ring_reader("market")
        self._decisions, decision_buffer = context.ring_reader("decisions")
        self._executions, execution_buffer = context.ring_reader("executions")
        self._intents, intent_buffer = context.ring_writer("intents.strategy")
        self._tops, self._top_cell = context.cell_reader("tops")
        self._header = Header(market_buffer)
        self._trade, self._mark = Trade(market_buffer), MarkPrice(market_buffer)
        self._status = FeedStatus(market_buffer)
        self._market_top = TopOfBook(market_buffer)
        self._decision = Decision(decision_buffer)
        self._execution = Execution(execution_buffer)
        self._intent = Intent(intent_buffer)
        self._desks: list[_Desk] = []
        self._desks_of: dict[int, list[_Desk]] = {}
        self._desk_of_strategy: dict[tuple[int, int], _Desk] = {}
        self._inventories: dict[int, _Inventory] = {}
        self._watch = InstrumentWatch(context)
        self._positions, position_cell = context.cell_reader("positions")
        self._position = Position(position_cell)
        self._order_ids: dict[int, OrderIdMaker] = {}
        self._timer_ns = self._cells_ns = 0
        self._is_feed_alive = False
        self._lost = 0
        self._is_stopping = False
        self._is_settled = False
        self._settled_seq = 0
        """Newest execution record when the orders were adopted: what came before is replayed."""
        self._risk = context.page_of("risk")
        self._execution_page = context.page_of("execution")
        self._feed_page = context.page_of("feed")

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Load the plug-ins. What they have resting is looked up once the rings have settled."""
        self._page.state = int(RoleState.RECOVERING)
        views = {view.instrument_id: view for view in self._watch.poll()}
        for strategy_id, config in enumerate(self._context.config.strategies, start=1):
            self._order_ids[strategy_id] = OrderIdMaker(strategy_id, self._context.epoch)
            for symbol in config.symbols:
                instrument_id = self._context.plan.instrument_id(symbol)
                instrument = InstrumentView.from_view(views[instrument_id])
                self._add_desk(config, instrument, strategy_id)

    def _add_desk(
        self, config: StrategyConfig, instrument: InstrumentView, strategy_id: int
    ) -> None:
        plugin = load_strategy(config.plugin, config.parameters, instrument)
        inventory = self._inventories.setdefault(instrument.instrument_id, _Inventory())
        desk = _Desk(plugin, instrument, inventory, strategy_id, MODES[config.mode])
        self._desks.append(desk)
        self._desks_of.setdefault(instrument.instrument_id, []).append(desk)
        self._desk_of_strategy[strategy_id, instrument.instrument_id] = desk

    def _settle(self, now_ns: int) -> int:
        """Adopt what rests, once nothing of a predecessor's is on its way any more.

        Intents that risk has not judged and decisions that execution has not consumed would still
        become orders; their own cursors say when there are none.
        """
        judged_seq = self._risk.cursor(graph.cursor_index("intents.strategy")).value
        consumed_seq = self._execution_page.cursor(graph.cursor_index("decisions")).value
        if judged_seq < self._intents.next_seq - 1 or consumed_seq < self._decisions.newest_seq:
            return 0
        self._settled_seq = self._executions.newest_seq
        self._load_positions()
        self._adopt_orders(now_ns)
        self._decisions.seek(self._decisions.newest_seq + 1)
        self._reload_tops()
        self._is_settled = True
        self._page.state = int(RoleState.READY)
        return 1

    def _load_positions(self) -> None:
        """Positions from the account's cells; later fills are added from the ring."""
        position = self._position
        oldest_seq = self._settled_seq
        for instrument_id, inventory in self._inventories.items():
            if self._positions.read(graph.position_cell(Mode.LIVE, instrument_id)):
                inventory.position_e8 = position.position_e8
                inventory.adjusted_e8 = position.adjusted_e8
                inventory.executions_seq = position.executions_seq
                oldest_seq = min(oldest_seq, position.executions_seq)
        self._executions.seek(oldest_seq + 1)

    def _adopt_orders(self, now_ns: int) -> None:
        rows, buffer = self._context.cell_reader("orders")
        row = OrderRow(buffer)
        for desk in self._desks:
            desk.targets.forget_orders()
        for index in range(graph.ORDER_ROWS_MAX):
            if rows.read(index) and row.order_id and row.order_state < OrderState.FILLED:
                owner = self._desk_of_strategy.get((source_of(row.order_id), row.instrument_id))
                if owner is not None:
                    owner.targets.adopt(row, now_ns)

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Executions first: one late quote costs less than quoting on a stale inventory."""
        if not self._is_settled:
            return self._settle(now_ns)
        self._is_feed_alive = now_ns - self._feed_page.beat_ns < FEED_SILENT_NS
        work_count = self._poll_executions(now_ns)
        work_count += self._poll_decisions(now_ns)
        market_count = self._poll_market(now_ns)
        work_count += market_count
        if market_count == MARKET_PER_CYCLE_MAX:
            return work_count  # what still waits may say that the data are bad
        if work_count:
            for desk in self._desks:
                if desk.has_news:
                    self._run_plugin(desk, now_ns)
        if now_ns - self._timer_ns >= TIMER_NS:
            self._timer_ns = now_ns
            self._run_timers(now_ns)
        return work_count

    def _poll_executions(self, now_ns: int) -> int:
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            count += 1
            if record.exec_kind == ExecKind.FILL:
                self._add_fill(record)
            desk = self._desk_of_strategy.get((source_of(record.order_id), record.instrument_id))
            if desk is None:
                continue
            # Read again for the position's sake, a record says nothing of an order that has ended.
            if record.seq > self._settled_seq:
                desk.targets.on_execution(record, now_ns)
                self._call(desk, "on_execution", now_ns, record)
                desk.note_cause(graph.RingId.EXECUTIONS, record)
            elif desk.targets.holds(record.order_id):
                desk.targets.on_execution(record, now_ns)
        if executions.lapped:
            self._note_lapped()
            self._is_settled = False
        return count

    def _add_fill(self, fill: Execution) -> None:
        """Every fill moves the instrument's position: another desk's, and one that is not ours."""
        inventory = self._inventories.get(fill.instrument_id)
        if inventory is None or fill.seq <= inventory.executions_seq:
            return
        inventory.executions_seq = fill.seq
        inventory.position_e8 += fill.side * fill.qty_e8
        for desk in self._desks_of[fill.instrument_id]:
            desk.note_cause(graph.RingId.EXECUTIONS, fill)

    def _poll_decisions(self, now_ns: int) -> int:
        count = 0
        decisions, decision = self._decisions, self._decision
        while count < DECISIONS_PER_CYCLE_MAX and decisions.next():
            count += 1
            if decision.reason == Reason.NONE:
                continue
            desk = self._desk_of_strategy.get(
                (source_of(decision.order_id), decision.instrument_id)
            )
            if desk is not None:
                self._page.count(counters.REFUSALS_SEEN.id)
                desk.targets.on_refusal(decision, now_ns)
                self._call(desk, "on_refusal", now_ns, decision)
        if decisions.lapped:
            self._note_lapped()
            self._is_settled = False
        return count

    def _poll_market(self, now_ns: int) -> int:
        """Fold what is waiting: every plug-in will see only the newest top of its instrument."""
        count = 0
        market, header = self._market, self._header
        while count < MARKET_PER_CYCLE_MAX and market.next():
            count += 1
            desks = self._desks_of.get(header.instrument_id)
            if desks is None:
                continue
            kind = header.kind
            for desk in desks:
                if kind == Kind.TOP_OF_BOOK:
                    desk.top.copy_from(self._market_top)
                    desk.is_fed = self._market_top.feed_state == FeedState.LIVE
                    desk.note_cause(graph.RingId.MARKET, header)
                elif kind == Kind.TRADE:
                    self._call(desk, "on_trade", now_ns, self._trade)
                elif kind == Kind.MARK_PRICE:
                    self._call(desk, "on_mark", now_ns, self._mark)
                elif kind == Kind.FEED_STATUS:
                    state = desk.top.feed_state = self._status.feed_state
                    desk.is_fed = state == FeedState.LIVE
                    self._call(desk, "on_feed_status", now_ns, self._status)
                    desk.note_cause(graph.RingId.MARKET, header)
        if market.lapped:
            self._note_lapped()
            self._reload_tops()
        return count

    def _note_lapped(self) -> None:
        lost = self._market.lost + self._decisions.lost + self._executions.lost
        self._page.count(counters.LAPPED.id, lost - self._lost)
        self._lost = lost

    def _reload_tops(self) -> None:
        """At the start and after being lapped the cells have what the ring does not tell."""
        cell = TopOfBook(self._top_cell)
        for desk in self._desks:
            if self._tops.read(desk.instrument.instrument_id):
                desk.top.copy_from(cell)
                desk.is_fed = cell.feed_state == FeedState.LIVE
                desk.has_news = True

    # -- plug-ins -------------------------------------------------------------------------------

    def _call(self, desk: _Desk, method: str, now_ns: int, record: Any) -> None:
        """One of the callbacks that a plug-in may have or not."""
        handler = getattr(desk.plugin, method, None)
        if handler is not None and not desk.is_paused:
            self._contain(desk, handler, now_ns, record, desk.inventory.position_e8, desk.targets)

    def _contain(self, desk: _Desk, handler: Callable[..., None], *arguments: Any) -> None:
        """Run a callback. One that raises pauses its desk; the others do not notice."""
        self._page.count(counters.CALLBACKS.id)
        try:
            handler(*arguments)
        except Exception as error:
            desk.is_paused = True
            self._page.count(counters.PLUGIN_ERRORS.id)
            self._page.fail(f"{desk.instrument.symbol}: {error!r}")
            traceback.print_exception(error)

    def _may_quote(self, desk: _Desk) -> bool:
        return desk.is_quoting and self._is_feed_alive and not self._is_stopping

    def _run_plugin(self, desk: _Desk, now_ns: int) -> None:
        desk.has_news = False
        if self._may_quote(desk) and desk.top.recv_ns:
            handler, position_e8 = desk.plugin.on_top_of_book, desk.inventory.position_e8
            self._contain(desk, handler, now_ns, desk.top, position_e8, desk.targets)
        if not self._may_quote(desk):
            desk.targets.pull_all()
        self._offer_changes(desk, now_ns)

    def _run_timers(self, now_ns: int) -> None:
        if now_ns - self._cells_ns >= CELLS_NS:
            self._cells_ns = now_ns
            self._read_cells(now_ns)
        for desk in self._desks:
            desk.forget_cause()
            if desk.targets.is_overdue(now_ns):
                self._is_settled = False
            if self._may_quote(desk):
                self._contain(desk, desk.plugin.on_timer, now_ns, desk.targets)
            if not self._may_quote(desk):
                desk.targets.pull_all()
            self._offer_changes(desk, now_ns)

    def _read_cells(self, now_ns: int) -> None:
        """Corrections of positions, and new versions of instruments."""
        for instrument_id, inventory in self._inventories.items():
            if self._positions.read(graph.position_cell(Mode.LIVE, instrument_id)):
                adjusted_e8 = self._position.adjusted_e8
                inventory.position_e8 += adjusted_e8 - inventory.adjusted_e8
                inventory.adjusted_e8 = adjusted_e8
        for view in self._watch.poll():
            instrument = InstrumentView.from_view(view)
            for desk in self._desks_of.get(instrument.instrument_id, ()):
                desk.instrument = instrument
                desk.targets.set_instrument(instrument)
                self._call(desk, "on_instrument", now_ns, instrument)

    def _offer_changes(self, desk: _Desk, now_ns: int) -> None:
        """Publish the smallest set of intents that leads from what rests to what is wanted."""
        for change in desk.targets.changes(now_ns):
            intent = self._intent
            intent.clear()
            order_id = change.order_id
            if change.action == Action.PLACE:
                order_id = self._order_ids[desk.strategy_id].next()
            intent.kind, intent.mode = int(Kind.INTENT), int(desk.mode)
            intent.source = self._context.source
            intent.instrument_id = desk.instrument.instrument_id
            intent.instrument_version = desk.instrument.version
            intent.origin_ns = desk.origin_ns
            intent.cause_ring, intent.cause_seq = desk.cause_ring, desk.cause_seq
            intent.order_id, intent.decide_ns = order_id, now_ns
            intent.price_e8, intent.qty_e8 = change.price_e8, change.qty_e8
            intent.strategy_id, intent.action = desk.strategy_id, int(change.action)
            intent.side = int(change.side)
            intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)
            intent.is_post_only = 1
            if not self._intents.offer():
                self._page.count(counters.BACK_PRESSURE.id)
                break  # risk is behind: what is wanted stays wanted, a later turn offers it again
            desk.targets.mark_offered(change, order_id, now_ns)
            self._page.count(counters.INTENTS.id)
            if desk.cause_ns:
                hop_ns = time.monotonic_ns() - desk.cause_ns
                self._page.record_ns(counters.STRATEGY_NS.id, hop_ns)

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Want nothing any more; execution cancels what rests."""
        if not self._is_stopping:
            self._is_stopping = True
            self._page.state = int(RoleState.STOPPING)
        return True

    def on_close(self) -> None:
        """Nothing is held that the context does not close."""
