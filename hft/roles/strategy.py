"""Market data and executions in, intents out. Sole writer of the ``intents.strategy`` ring."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from hft import counters, graph
from hft.config import StrategyConfig
from hft.core.generated.views import (
    Book,
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
from hft.records import Action, ExecKind, FeedState, Kind, Mode, OrderState, Reason
from hft.roles.containment import CallbackWatch, IncidentBook, event_text
from hft.roles.context import Context, InstrumentWatch
from hft.roles.desk import Desk, IdlePlugin, rank
from hft.roles.strategy_control import StrategyControl
from hft.strategy.base import InstrumentView
from hft.strategy.errors import StrategyError, StrategyLoadError
from hft.strategy.orders import NO_ORDER, Change, Inventory
from hft.units import NS_PER_MS
from ipc import RingReader

EXECUTIONS_PER_CYCLE_MAX: Final = 64
DECISIONS_PER_CYCLE_MAX: Final = 64
MARKET_PER_CYCLE_MAX: Final = 256
TIMER_NS: Final = 10 * NS_PER_MS
CELLS_NS: Final = 100 * NS_PER_MS
"""How often the cells are read that change without a record: instruments, adjustments."""
FEED_SILENT_NS: Final = 1_000 * NS_PER_MS
"""A feed that has not beaten for so long cannot have said that its data are bad."""


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
        self._paper, paper_buffer = context.ring_reader("executions.paper")
        self._paper_execution = Execution(paper_buffer)
        self.has_paper = context.plan.has_role("paper")
        self._books, book_buffer = context.cell_reader("books")
        self._book = Book(book_buffer)
        self.desks: list[Desk] = []
        self._desks_of: dict[int, list[Desk]] = {}
        self._desk_of_strategy: dict[tuple[int, int], Desk] = {}
        self._inventories: dict[tuple[bool, int], Inventory] = {}
        self._watch = InstrumentWatch(context)
        self._positions, position_cell = context.cell_reader("positions")
        self._position = Position(position_cell)
        self._order_ids: dict[int, OrderIdMaker] = {}
        self.callback_watch = CallbackWatch()
        self.incidents = IncidentBook(context.state_dir)
        self._control = StrategyControl(self, context)
        self._timer_ns = self._cells_ns = self._now_ns = 0
        self._is_feed_alive = False
        self._lost = self._counted = 0
        self._is_stopping = False
        self._is_settled = False
        self._settled_seq = self._settled_paper_seq = 0
        """Newest execution records when the orders were adopted: what came before is replayed."""
        self._risk = context.page_of("risk")
        self._execution_page = context.page_of("execution")
        self._feed_page = context.page_of("feed")

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Load the plug-ins. What they have resting is looked up once the rings have settled."""
        self._page.state = int(RoleState.RECOVERING)
        self.callback_watch.arm()
        self._control.load()
        views = {view.instrument_id: view for view in self._watch.poll()}
        for strategy_id, config in enumerate(self._context.config.strategies, start=1):
            self._order_ids[strategy_id] = OrderIdMaker(strategy_id, self._context.epoch)
            for symbol in config.symbols:
                instrument_id = self._context.plan.instrument_id(symbol)
                instrument = InstrumentView.from_view(views[instrument_id])
                self._add_desk(config, instrument, strategy_id)
        for desks in self._desks_of.values():
            rank(desks)
        # Whoever has precedence says first what it wants.
        self.desks.sort(key=lambda desk: -desk.config.priority)

    def _add_desk(
        self, config: StrategyConfig, instrument: InstrumentView, strategy_id: int
    ) -> None:
        """Load one plug-in for one instrument.

        One that cannot be loaded ends the start of the system, as any wrong setting does. Later,
        in a successor, it is paused from the start: the others do not notice.
        """
        problem, plugin = "", None
        try:
            plugin = self._control.make(config, instrument)
        except StrategyLoadError as error:
            if self._context.is_first:
                raise
            problem, plugin = f"{error.message}. {error.remedy}", IdlePlugin()
            self._page.fail(error.message)
        mode = self._control.mode_of(config)
        inventory = self.inventory(mode, instrument.instrument_id)
        desk = Desk(config, plugin, instrument, inventory, strategy_id, mode)
        desk.pause_reason = problem or self._control.pause_of(desk)
        desk.targets.orders.bind(partial(self._send_explicit, desk))
        self.desks.append(desk)
        self._desks_of.setdefault(instrument.instrument_id, []).append(desk)
        self._desk_of_strategy[strategy_id, instrument.instrument_id] = desk

    def inventory(self, mode: Mode, instrument_id: int) -> Inventory:
        """The position that a desk in this mode sees: paper has a book of its own."""
        return self._inventories.setdefault((mode is Mode.PAPER, instrument_id), Inventory())

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
        self._settled_paper_seq = self._paper.newest_seq
        self._load_positions()
        for desk in self.desks:
            desk.targets.forget_orders()
        self._adopt_orders("orders", Mode.LIVE, now_ns)
        self._adopt_orders("orders.paper", Mode.PAPER, now_ns)
        for desk in self.desks:
            desk.targets.all_adopted()
        self._decisions.seek(self._decisions.newest_seq + 1)
        self._reload_tops()
        self._is_settled = True
        self._page.state = int(RoleState.READY)
        return 1

    def _load_positions(self) -> None:
        """Positions from the account's cells; later fills are added from the rings."""
        position = self._position
        oldest = [self._settled_seq, self._settled_paper_seq]
        for (is_paper, instrument_id), inventory in self._inventories.items():
            mode = Mode.PAPER if is_paper else Mode.LIVE
            if self._positions.read(graph.position_cell(mode, instrument_id)):
                inventory.position_e8 = position.position_e8
                inventory.adjusted_e8 = position.adjusted_e8
                inventory.executions_seq = position.executions_seq
                oldest[is_paper] = min(oldest[is_paper], position.executions_seq)
        self._executions.seek(oldest[False] + 1)
        self._paper.seek(oldest[True] + 1)

    def _adopt_orders(self, table: str, mode: Mode, now_ns: int) -> None:
        rows, buffer = self._context.cell_reader(table)
        row = OrderRow(buffer)
        for index in range(graph.ORDER_ROWS_MAX):
            if rows.read(index) and row.order_id and row.order_state < OrderState.FILLED:
                owner = self._desk_of_strategy.get((source_of(row.order_id), row.instrument_id))
                if owner is None:
                    continue
                owner.targets.adopt(row, now_ns)
                if owner.mode is not mode and owner.next_mode is None:
                    # A life that ended while it changed modes: first these orders go.
                    owner.next_mode = owner.mode
                    owner.set_mode(mode, self.inventory(mode, row.instrument_id))

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Executions first: one late quote costs less than quoting on a stale inventory."""
        self._now_ns = now_ns
        work_count = self._control.poll(now_ns)
        if not self._is_settled:
            return work_count + self._settle(now_ns)
        self._is_feed_alive = now_ns - self._feed_page.beat_ns < FEED_SILENT_NS
        work_count += self._poll_executions(self._executions, self._execution, now_ns)
        work_count += self._poll_executions(self._paper, self._paper_execution, now_ns)
        work_count += self._poll_decisions(now_ns)
        market_count = self._poll_market(now_ns)
        work_count += market_count
        if market_count == MARKET_PER_CYCLE_MAX:
            return work_count  # what still waits may say that the data are bad
        if work_count:
            for desk in self.desks:
                if desk.has_news:
                    self.run_plugin(desk, now_ns)
                elif desk.has_wishes:
                    self._offer_wishes(desk, now_ns)
        if now_ns - self._timer_ns >= TIMER_NS:
            self._timer_ns = now_ns
            self._run_timers(now_ns)
        return work_count

    def _poll_executions(self, executions: RingReader, record: Execution, now_ns: int) -> int:
        count = 0
        is_paper = executions is self._paper
        settled_seq = self._settled_paper_seq if is_paper else self._settled_seq
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            count += 1
            if record.exec_kind == ExecKind.FILL:
                self._add_fill(record, is_paper=is_paper)
            desk = self._desk_of_strategy.get((source_of(record.order_id), record.instrument_id))
            if desk is None or (
                # Execution says that it sent nothing: in paper mode somebody else has the order.
                record.reason == Reason.NOT_LIVE and desk.mode is Mode.PAPER and self.has_paper
            ):
                continue
            # Read again for the position's sake, a record says nothing of an order that has ended.
            if record.seq > settled_seq:
                desk.note_cause(graph.RingId.EXECUTIONS, record)
                desk.targets.on_execution(record, now_ns)
                if desk.on_execution is not None:
                    self.call(desk, desk.on_execution, record)
                desk.has_news = True
            elif desk.targets.holds(record.order_id):
                desk.targets.on_execution(record, now_ns)
        if executions.lapped:
            self._note_lapped()
            self._is_settled = False
        return count

    def _add_fill(self, fill: Execution, *, is_paper: bool) -> None:
        """Every fill moves the instrument's position: another desk's, and one that is not ours."""
        inventory = self._inventories.get((is_paper, fill.instrument_id))
        if inventory is None or fill.seq <= inventory.executions_seq:
            return
        inventory.executions_seq = fill.seq
        inventory.position_e8 += fill.side * fill.qty_e8
        for desk in self._desks_of[fill.instrument_id]:
            if desk.inventory is inventory:
                desk.note_cause(graph.RingId.EXECUTIONS, fill)
                desk.has_news = True

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
                if desk.on_refusal is not None:
                    self.call(desk, desk.on_refusal, decision)
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
                    desk.has_news = True
                elif kind == Kind.TRADE:
                    if desk.on_trade is not None:
                        desk.note_cause(graph.RingId.MARKET, header)
                        self.call(desk, desk.on_trade, self._trade)
                elif kind == Kind.MARK_PRICE:
                    if desk.on_mark is not None:
                        desk.note_cause(graph.RingId.MARKET, header)
                        self.call(desk, desk.on_mark, self._mark)
                elif kind == Kind.FEED_STATUS:
                    state = desk.top.feed_state = self._status.feed_state
                    desk.is_fed = state == FeedState.LIVE
                    desk.note_cause(graph.RingId.MARKET, header)
                    if desk.on_feed_status is not None:
                        self.call(desk, desk.on_feed_status, self._status)
                    desk.has_news = True
        if market.lapped:
            self._note_lapped()
            self._reload_tops()
        return count

    def _note_lapped(self) -> None:
        lost = self._market.lost + self._decisions.lost
        lost += self._executions.lost + self._paper.lost
        self._page.count(counters.LAPPED.id, lost - self._lost)
        self._lost = lost

    def _reload_tops(self) -> None:
        """At the start and after being lapped the cells have what the ring does not tell."""
        cell = TopOfBook(self._top_cell)
        for desk in self.desks:
            if self._tops.read(desk.instrument.instrument_id):
                desk.top.copy_from(cell)
                desk.is_fed = cell.feed_state == FeedState.LIVE
                desk.has_news = True

    # -- plug-ins -------------------------------------------------------------------------------

    def call(self, desk: Desk, handler: Callable[..., None], record: Any) -> None:
        """One of the callbacks that a plug-in may have or not."""
        if not desk.pause_reason:
            desk.has_wishes = True
            self._contain(
                desk, handler, self._now_ns, record, desk.inventory.position_e8, desk.targets
            )

    def _contain(self, desk: Desk, handler: Callable[..., None], *arguments: Any) -> None:
        """Run a callback. One that raises or stays pauses its desk; the others do not notice."""
        watch = self.callback_watch
        calls = watch.calls + 1
        watch.calls = watch.inside = calls
        try:
            handler(*arguments)
            watch.inside = 0
        except BaseException as error:
            watch.inside = 0
            name = getattr(handler, "__name__", "callback")
            self.contained(desk, error, f"{name} of\n{event_text(arguments[1])}")

    def contained(self, desk: Desk, error: BaseException, event: str) -> None:
        """Pause a desk whose plug-in failed, and keep what its author needs."""
        what = getattr(error, "message", None) or repr(error)
        desk.errors += 1
        desk.pause_reason = f"{event.partition(chr(10))[0]}: {what}"
        desk.targets.withdraw()
        desk.has_news = True
        self._page.count(counters.PLUGIN_ERRORS.id)
        self._page.fail(f"{desk.config.name} {desk.instrument.symbol}: {error!r}")
        self.incidents.note(desk.config.name, f"{desk.instrument.symbol}: {what}", error, event)
        self._control.note_pause(desk)
        traceback.print_exception(error)

    def _may_quote(self, desk: Desk) -> bool:
        return desk.is_quoting and self._is_feed_alive and not self._is_stopping

    def run_plugin(self, desk: Desk, now_ns: int) -> None:
        """The newest top to a plug-in, and what it wants then to risk."""
        desk.has_news = False
        if self._may_quote(desk) and desk.top.recv_ns:
            handler, position_e8 = desk.on_top_of_book, desk.inventory.position_e8
            self._contain(desk, handler, now_ns, desk.top, position_e8, desk.targets)
            if desk.on_book is not None:
                self._show_book(desk)
        self._offer_wishes(desk, now_ns)

    def _show_book(self, desk: Desk) -> None:
        """Call with the book if it is another one than last time."""
        book = self._book
        if (
            desk.on_book is not None
            and self._books.read(desk.instrument.instrument_id)
            and book.venue_seq != desk.book_seq
        ):
            desk.book_seq = book.venue_seq
            self.call(desk, desk.on_book, book)

    def _run_timers(self, now_ns: int) -> None:
        if now_ns - self._cells_ns >= CELLS_NS:
            self._cells_ns = now_ns
            self._read_cells()
            calls = self.callback_watch.calls
            self._page.count(counters.CALLBACKS.id, calls - self._counted)
            self._counted = calls
        for desk in self.desks:
            desk.forget_cause()
            if desk.targets.is_overdue(now_ns):
                self._is_settled = False
            if desk.next_mode is not None and desk.targets.is_empty:
                mode, desk.next_mode = desk.next_mode, None
                desk.set_mode(mode, self.inventory(mode, desk.instrument.instrument_id))
            if self._may_quote(desk):
                self._contain(desk, desk.on_timer, now_ns, desk.targets)
                if desk.on_book is not None:
                    self._show_book(desk)
            self._offer_wishes(desk, now_ns)

    def _read_cells(self) -> None:
        """Corrections of positions, and new versions of instruments."""
        for (is_paper, instrument_id), inventory in self._inventories.items():
            mode = Mode.PAPER if is_paper else Mode.LIVE
            if self._positions.read(graph.position_cell(mode, instrument_id)):
                adjusted_e8 = self._position.adjusted_e8
                inventory.position_e8 += adjusted_e8 - inventory.adjusted_e8
                inventory.adjusted_e8 = adjusted_e8
        for view in self._watch.poll():
            instrument = InstrumentView.from_view(view)
            for desk in self._desks_of.get(instrument.instrument_id, ()):
                desk.instrument = instrument
                desk.targets.set_instrument(instrument)
                if desk.on_instrument is not None:
                    self.call(desk, desk.on_instrument, instrument)

    # -- intents --------------------------------------------------------------------------------

    def _offer_wishes(self, desk: Desk, now_ns: int) -> None:
        """Offer what a desk wants, and what follows for those that keep clear of it."""
        desk.has_wishes = False
        if not self._may_quote(desk):
            desk.targets.withdraw()
        if len(desk.peers) == 1:
            self._offer_changes(desk, now_ns)
            return
        desk.keep_clear()
        self._offer_changes(desk, now_ns)
        for lower in desk.lower:
            lower.keep_clear()
            self._offer_changes(lower, now_ns)

    def _offer_changes(self, desk: Desk, now_ns: int) -> None:
        """Publish the smallest set of intents that leads from what rests to what is wanted."""
        targets = desk.targets
        for change in targets.changes(now_ns):
            if change.action is not Action.CANCEL:
                if (len(desk.peers) > 1 or len(targets.orders)) and desk.would_meet(
                    change.side, change.price_e8, is_quote=True
                ):
                    desk.held += 1
                    continue
                if not desk.budget.take(now_ns):
                    self.contained(desk, _flood(desk), "quote_rules of\n  targets")
                    break
            order_id = self._offer(desk, change)
            if not order_id:
                break  # risk is behind: what is wanted stays wanted, a later turn offers it again
            targets.mark_offered(change, order_id, now_ns)

    def _send_explicit(self, desk: Desk, change: Change) -> int:
        """What a plug-in's explicit order goes through, at once and inside its callback."""
        desk.targets.orders.at(self._now_ns)
        if change.action is not Action.CANCEL:
            if not self._may_quote(desk):
                return NO_ORDER
            if desk.would_meet(change.side, change.price_e8, is_quote=False):
                desk.held += 1
                return NO_ORDER
            if not desk.budget.take(self._now_ns):
                raise _flood(desk)
        return self._offer(desk, change)

    def _offer(self, desk: Desk, change: Change) -> int:
        """Publish one intent; ``NO_ORDER``: the ring is full."""
        intent = self._intent
        intent.clear()
        order_id = change.order_id
        if change.action is Action.PLACE:
            order_id = self._order_ids[desk.strategy_id].next()
        intent.kind, intent.mode = int(Kind.INTENT), int(desk.mode)
        intent.source = self._context.source
        intent.instrument_id = desk.instrument.instrument_id
        intent.instrument_version = desk.instrument.version
        intent.origin_ns = desk.origin_ns
        intent.cause_ring, intent.cause_seq = desk.cause_ring, desk.cause_seq
        intent.order_id, intent.decide_ns = order_id, self._now_ns
        intent.price_e8, intent.qty_e8 = change.price_e8, change.qty_e8
        intent.strategy_id, intent.action = desk.strategy_id, int(change.action)
        intent.side = int(change.side)
        intent.order_type, intent.tif = int(change.order_type), int(change.tif)
        intent.is_post_only = int(change.is_post_only)
        intent.is_reduce_only = int(change.is_reduce_only)
        intent.good_till_s = change.good_till_s
        if not self._intents.offer():
            self._page.count(counters.BACK_PRESSURE.id)
            return NO_ORDER
        self._page.count(counters.INTENTS.id)
        if desk.cause_ns:
            hop_ns = time.monotonic_ns() - desk.cause_ns
            self._page.record_ns(counters.STRATEGY_NS.id, hop_ns)
        return order_id

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Want nothing any more; execution cancels what rests."""
        if not self._is_stopping:
            self._is_stopping = True
            self._page.state = int(RoleState.STOPPING)
        return True

    def on_close(self) -> None:
        """The timer is the process's own; all else the context closes."""
        self.callback_watch.disarm()
        self.incidents.write()


def _flood(desk: Desk) -> StrategyError:
    return StrategyError(
        f"more than {desk.config.intents_per_s_max} intents a second on {desk.instrument.symbol}",
        remedy="Ask for less, or raise intents_per_s_max of the strategy.",
    )
