"""Market data and executions in, intents out. Sole writer of the ``intents.strategy`` ring."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Final

from hft import counters, graph
from hft.config import StrategyConfig
from hft.core.generated.views import (
    Book,
    Position,
    TopOfBook,
)
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import source_of
from hft.core.order_ids import OrderIdMaker
from hft.counters import RoleState
from hft.records import FeedState, Mode, OrderState
from hft.roles.callback_note import Callback
from hft.roles.containment import CallbackWatch, IncidentBook, event_text, told
from hft.roles.context import Context, InstrumentWatch
from hft.roles.desk import Desk, IdlePlugin, rank
from hft.roles.strategy_control import DIED, StrategyControl
from hft.roles.strategy_core import StrategyCore, flood
from hft.roles.strategy_rehearsal import StrategyRehearsal
from hft.strategy.base import InstrumentView
from hft.strategy.change import Inventory
from hft.strategy.errors import StrategyLoadError
from hft.units import NS_PER_MS

CELLS_NS: Final = 100 * NS_PER_MS
"""How often the cells are read that change without a record: instruments, adjustments."""


class StrategyEngine(StrategyCore):
    """Runs the plug-ins: newest state of each instrument once a turn, executions before that."""

    name = "strategy"

    def __init__(self, context: Context) -> None:
        self.callback_watch = CallbackWatch()
        super().__init__(context, self.callback_watch)
        self._context = context
        self._page = context.page
        rings = self.rings
        self._market, self._decisions, self._executions, self._paper, self._intents = rings
        self._tops, self._top_cell = context.cell_reader("tops")
        self._books, book_buffer = context.cell_reader("books")
        self._book = Book(book_buffer)
        self._watch = InstrumentWatch(context)
        self._positions, position_cell = context.cell_reader("positions")
        self._position = Position(position_cell)
        self.incidents = IncidentBook(context.state_dir)
        self._control = StrategyControl(self, context)
        self._cells_ns = 0
        self._lost = self._counted = 0
        self._risk = context.page_of("risk")
        self._execution_page = context.page_of("execution")
        self._rehearsal: StrategyRehearsal | None = None

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Load the plug-ins. What they have resting is looked up once the rings have settled."""
        self._page.state = int(RoleState.RECOVERING)
        self.callback_watch.arm()
        self._control.load()
        self._control.blame(now_ns)
        views = {view.instrument_id: view for view in self._watch.poll()}
        for strategy_id, config in enumerate(self._context.config.strategies, start=1):
            order_ids = OrderIdMaker(strategy_id, self._context.epoch)
            for symbol in config.symbols:
                instrument_id = self._context.plan.instrument_id(symbol)
                instrument = InstrumentView.from_view(views[instrument_id])
                self._add_desk(config, instrument, order_ids)
        for desks in self._desks_of.values():
            rank(desks)
        # Whoever has precedence says first what it wants.
        self.desks.sort(key=lambda desk: -desk.config.priority)
        if self.desks:
            self._rehearsal = StrategyRehearsal(self, self._context)

    def _add_desk(
        self, config: StrategyConfig, instrument: InstrumentView, order_ids: OrderIdMaker
    ) -> None:
        """Load one plug-in for one instrument.

        One that cannot be loaded ends the start of the system, as any wrong setting does. Later,
        in a successor, it is paused from the start: the others do not notice.
        """
        problem = self._control.pause_of(config, instrument.symbol)
        plugin: object = IdlePlugin()
        try:
            if not problem.startswith(DIED):
                plugin = self._control.make(config, instrument)
        except StrategyLoadError as error:
            if self._context.is_first:
                raise
            problem = problem or f"{error.message}. {error.remedy}"
            self._page.fail(error.message)
        mode = self._control.mode_of(config)
        self.seat(config, plugin, instrument, order_ids, mode).pause_reason = problem

    def seat(
        self,
        config: StrategyConfig,
        plugin: object,
        instrument: InstrumentView,
        order_ids: OrderIdMaker,
        mode: Mode,
    ) -> Desk:
        """Give a plug-in its place in the engine. All desks of a strategy share its ids."""
        inventory = self.inventory(mode, instrument.instrument_id)
        desk = Desk(config, plugin, instrument, inventory, order_ids, mode)
        desk.targets.orders.bind(self.sender_of(desk))
        self.desks.append(desk)
        self._desks_of.setdefault(instrument.instrument_id, []).append(desk)
        self._desk_of_strategy[desk.strategy_id, instrument.instrument_id] = desk
        return desk

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

    def _poll_control(self, now_ns: int) -> int:
        return self._control.poll(now_ns)

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

    def _failed(
        self, desk: Desk, handler: Callable[..., None], error: BaseException, record: object
    ) -> None:
        """A callback raised, or stayed and was interrupted."""
        name = getattr(handler, "__name__", "callback")
        self.contained(desk, error, name, event_text(record))

    def _flooded(self, desk: Desk) -> None:
        self.contained(desk, flood(desk), "quote_rules", "  targets")

    def contained(self, desk: Desk, error: BaseException, where: str, event: str) -> None:
        """Pause a desk whose plug-in failed, and keep what its author needs."""
        what, trace = told(error, self.callback_watch)
        desk.errors += 1
        desk.pause_reason = f"{where}: {what}"
        desk.targets.withdraw()
        desk.has_news = True
        self._page.count(counters.PLUGIN_ERRORS.id)
        self._page.fail(f"{desk.config.name} {desk.instrument.symbol}: {what}")
        place = f"{desk.instrument.symbol}, {where}: {what}"
        self.incidents.note(desk.config.name, place, trace, event)
        self._control.note_pause(desk)
        with contextlib.suppress(OSError):  # a log that nobody takes any more
            sys.stderr.write(f"{trace}\n")

    def _show_book(self, desk: Desk) -> None:
        """Call with the book if it is another one than last time."""
        book = self._book
        if (
            desk.on_book is not None
            and self._books.read(desk.instrument.instrument_id)
            and book.venue_seq != desk.book_seq
        ):
            desk.book_seq = book.venue_seq
            self.call(desk, Callback.ON_BOOK, desk.on_book, book)

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
            if self.may_trade(desk):
                self.run_timer(desk, now_ns)
                if desk.on_book is not None:
                    self._show_book(desk)
            self.offer_what_is_wanted(desk, now_ns)

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
                    self.call(desk, Callback.ON_INSTRUMENT, desk.on_instrument, instrument)

    # -- while nothing happens ------------------------------------------------------------------

    def rehearse(self, now_ns: int) -> None:
        """Nothing happens: keep the way from a tick to an intent in the caches."""
        if self._rehearsal is not None:
            self._rehearsal.run(now_ns)
            self.look_ahead()

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
