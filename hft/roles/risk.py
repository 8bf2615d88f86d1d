"""Intents in, decisions out; the permit. Sole writer of ``decisions`` and of the permit word."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from hft import counters, graph
from hft.core.generated.views import Decision, Execution, MarkPrice, Position, TopOfBook
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MAX
from hft.core.permit import pack_permit, permit_state
from hft.core.policies import Limits, changes_between, manual_limits_for
from hft.core.risk import RiskBook
from hft.counters import RoleState
from hft.errors import UsageError
from hft.records import AlertCode, ExecKind, Mode, Reason, TradingState
from hft.roles import limits_file
from hft.roles.alerts import Severity
from hft.roles.context import Context, InstrumentWatch
from hft.roles.risk_intake import PART_EVERY_NS, RiskIntake
from hft.roles.risk_judge import Judge
from hft.roles.risk_rehearsal import RiskRehearsal
from hft.roles.risk_watch import RiskWatch
from hft.units import INT64_MAX, NS_PER_MS, NS_PER_S
from ipc import Command, RingReader

EXECUTIONS_PER_CYCLE_MAX: Final = 64
_AGREES: Final = counters.AGREES.id
_DIFFERS: Final = counters.DIFFERS.id
WATCHED_KINDS: Final = (int(ExecKind.FILL), int(ExecKind.REJECTED))
"""What breakers count."""
STATE_SLOT: Final = 1
"""Place in the role page that keeps the trading state: the permit may grant less for a while."""
STATE_PLAIN: Final = 1
STATE_CLOSING: Final = 2
"""How the state there is meant: for everybody, or for the one who closes the positions."""
CLOSING_NS_MAX: Final = 150 * NS_PER_S
"""So long positions of a halted system may be closed: then the halt is latched in any case."""
FOREIGN_KINDS: Final = (ExecKind.ADOPTED, ExecKind.FILL)
FORCED_CLOSES: Final = {
    Reason.LIQUIDATION: "the venue liquidates a position",
    Reason.AUTO_DELEVERAGING: "the venue closes a position by auto-deleveraging",
    Reason.SETTLEMENT: "the venue settles an instrument",
}
"""Whoever does these knows better than our books: nothing more is sent before a person looked."""


class Risk(RiskIntake):
    """Judges every intent and grants the permit that execution checks before each send."""

    name = "risk"

    def __init__(self, context: Context) -> None:
        executions, execution_buffer = context.ring_reader("executions")
        paper_executions, paper_buffer = context.ring_reader("executions.paper")
        super().__init__(context, executions, paper_executions)
        self._context = context
        self._config = context.config.risk
        self._executions, self._paper_executions = executions, paper_executions
        self._tops, top_buffer = context.cell_reader("tops")
        self._marks, mark_buffer = context.cell_reader("marks")
        self._execution = Execution(execution_buffer)
        self._paper_execution = Execution(paper_buffer)
        self._top, self._mark = TopOfBook(top_buffer), MarkPrice(mark_buffer)
        self._permit = context.permit()
        self._execution_page = context.page_of("execution")
        self._positions, position_buffer = context.cell_reader("positions")
        self._position = Position(position_buffer)
        self._adjusted_e8: dict[int, int] = {}
        self._instruments = InstrumentWatch(context)
        self._limits: Limits
        self._dropped = 0
        self._cause = "risk began"
        self._book: RiskBook
        self._paper: RiskBook
        self._observed: RiskBook
        self._watch: RiskWatch
        self._rehearsal: RiskRehearsal
        self._part = 0
        """Of a look, the one that is next."""
        self._asking: list[tuple[int, int]]
        """Instruments and strategies that ask for orders."""

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Inherit the trading state, rebuild every exposure from what is committed."""
        self._page.state = int(RoleState.RECOVERING)
        noted = self._page.pending(STATE_SLOT)
        self._state = permit_state(self._permit.load() if noted is None else noted[1])
        if noted is not None and noted[0] == STATE_CLOSING:
            self._halt.set("risk died while positions were being closed", self.name)
        self._limits, problem = limits_file.in_force_or_configured(self._context.plan)
        self._book, self._paper = self._new_book(), self._new_book()
        self._observed = self._new_book()
        self._watch = RiskWatch(self._context, self._book)
        text = f"{self._limits.policy}, version {self._limits.version:#x} {problem}"
        self._watch.tell(AlertCode.LIMITS_CHANGED, Severity.INFORMATION, text)
        self._page.set_gauge(counters.LIMITS_VERSION.id, self._limits.version)
        self._rebuild()
        self._paper = self._new_paper()
        self._desk = self.make_judge(self._book, self._paper, self._observed)
        self._read_instruments()
        self._resume()
        self._rehearsal = RiskRehearsal(self, self._context)
        self._asking = [
            (self._context.plan.instrument_id(symbol), strategy_id)
            for strategy_id, strategy in enumerate(self._context.config.strategies, start=1)
            for symbol in strategy.symbols
        ]
        self._page.state = int(RoleState.READY)

    def make_judge(self, live: RiskBook, paper: RiskBook, observed: RiskBook) -> Judge:
        """Who judges by these exposures and the market as it is then."""
        context = self._context
        return Judge(
            self._tops, self._top, self._marks, self._mark, live=live, paper=paper,
            observed=observed, source=context.source, epoch=context.epoch,
        )  # fmt: skip

    def _new_book(self) -> RiskBook:
        plan = self._context.plan
        book = RiskBook(self._limits, [i.instrument_id for i in plan.instruments])
        book.set_manual_limits(self._manual_limits())
        book.set_equity(plan.equity_e8)
        return book

    def _manual_limits(self, *, is_closing: bool = False) -> Limits | None:
        manual = msgspec.structs.asdict(self._config.manual)
        # Who closes after a halt may do so where hands are otherwise kept off.
        manual["enabled"] = manual["enabled"] or is_closing
        return manual_limits_for(self._limits, manual)

    def _rebuild(self) -> None:
        """Positions ⊕ executions after their as-of ⊕ open rows ⊕ approved decisions not consumed.

        Execution goes on meanwhile. Its decisions cursor is read first: a decision consumed
        after that is seen twice, as a decision and as a row, and counted once by its order id.
        """
        consumed_seq = (
            self._context.page_of("execution").cursor(graph.cursor_index("decisions")).value
        )
        self._fill_book(self._book, Mode.LIVE, self._executions, consumed_seq)

    def _new_paper(self) -> RiskBook:
        """The same for orders that our own matching fills: they are counted for themselves."""
        paper = self._new_book()
        for view in InstrumentWatch(self._context).poll():
            paper.set_instrument(InstrumentRules.from_view(view))
        newest_seq = self._decisions.next_seq - 1
        self._fill_book(paper, Mode.PAPER, self._paper_executions, newest_seq)
        return paper

    def _fill_book(
        self, book: RiskBook, mode: Mode, executions: RingReader, consumed_seq: int
    ) -> None:
        name = "executions" if mode is Mode.LIVE else "executions.paper"
        read_seq = oldest_seq = executions.seq
        position = self._position
        for instrument in self._context.plan.instruments:
            number, as_of_seq = instrument.instrument_id, 0
            if self._positions.read(graph.position_cell(mode, number)):
                as_of_seq = position.executions_seq
                book.add_position(number, position.position_e8, as_of_seq)
                if mode is Mode.LIVE:
                    self._adjusted_e8[number] = position.adjusted_e8
            oldest_seq = min(oldest_seq, as_of_seq)
        rows, row_buffer = self._context.cell_reader(name.replace("executions", "orders"))
        row = OrderRow(row_buffer)
        for index in range(graph.ORDER_ROWS_MAX):
            if rows.read(index) and row.order_id:
                book.add_open_order(row)
        past, past_buffer = self._context.observer(name, oldest_seq + 1)
        execution = Execution(past_buffer)
        while past.seq < read_seq and past.next():
            book.on_execution(execution)
        approved, approved_buffer = self._context.observer("decisions", consumed_seq + 1)
        decision = Decision(approved_buffer)
        while approved.next():
            is_real = decision.mode not in (Mode.PAPER, Mode.OBSERVE)
            if is_real if mode is Mode.LIVE else decision.mode == mode:
                book.add_approved(decision)

    def _resume(self) -> None:
        """Finish what a predecessor began: commit a batch if it is visible, else redo it."""
        for intake in (self._by_strategies, self._by_hand):
            pending = self._page.pending(intake.slot)
            if pending is None:
                continue
            input_seq, output_seq = pending
            if self._decisions.next_seq > output_seq:
                self._page.cursor(int(intake.ring)).store(input_seq)
                intake.intents.seek(input_seq + 1)
            self._page.commit(intake.slot, input_seq)

    # -- cycle ----------------------------------------------------------------------------------

    def _look(self, now_ns: int) -> None:
        """What no single intent asks for, when those that waited have their answer: what is due.

        Each tick that comes meanwhile waits, so it is done in parts; all of them after a long time
        without any.
        """
        parts = (self._look_at_cells, *self._watch.parts)
        due = min((now_ns - self._cells_ns) // PART_EVERY_NS, len(parts))
        self._cells_ns = now_ns
        for _ in range(due):
            parts[self._part](now_ns)
            self._part = (self._part + 1) % len(parts)
        if self._halt.is_set:
            self._renew(now_ns)

    def _look_at_cells(self, now_ns: int) -> None:
        self._watch.waited_ns, self._waited_ns = self._waited_ns, 0
        self._watch.profit_e8 = self._read_positions()
        self._read_instruments()
        self._measure_venue_clock()

    def _poll_executions(self, now_ns: int) -> int:
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            self._book.on_execution(record)
            if record.exec_kind in WATCHED_KINDS:
                self._watch.on_execution(record, now_ns)
            if record.reason:
                self._react(record, now_ns)
            count += 1
        if count:
            executions.commit()
        return count

    def _poll_paper(self) -> int:
        count = 0
        executions, record = self._paper_executions, self._paper_execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            self._paper.on_execution(record)
            count += 1
        if executions.lapped:
            self._paper = self._desk.paper = self._new_paper()
        return count

    def _react(self, record: Execution, now_ns: int) -> None:
        """What nobody here asked for ends normal trading, before the record counts as read."""
        reason = record.reason
        if reason == Reason.NOT_LIVE:
            self._observed.on_execution(record)  # nobody fills what is only observed
        elif reason == Reason.OWN_OVERFILL or (
            reason == Reason.FOREIGN_ORDER and record.exec_kind in FOREIGN_KINDS
        ):
            if self._state == TradingState.ACTIVE:
                self._set_state(TradingState.REDUCING, Reason(reason).name)
                self._renew(now_ns)
        elif reason >= Reason.LIQUIDATION and record.exec_kind in FOREIGN_KINDS:
            self._halt.set(FORCED_CLOSES[Reason(reason)], self.name)
            self._renew(now_ns)

    def _read_positions(self) -> int | None:
        """Take over what the account adjusted: no execution tells of it.

        Returns the account's profit, realised and open; None: nobody knows it yet.
        """
        position = self._position
        profit_e8 = 0
        for instrument in self._context.plan.instruments:
            number = instrument.instrument_id
            if self._positions.read(graph.position_cell(Mode.LIVE, number)):
                change_e8 = position.adjusted_e8 - self._adjusted_e8.get(number, 0)
                if change_e8:
                    self._adjusted_e8[number] = position.adjusted_e8
                    self._book.adjust_position(number, change_e8)
                if position.liquidation_e8:
                    self._watch.on_liquidation(position)
                profit_e8 += position.realised_pnl_e8 + position.unrealised_pnl_e8
                profit_e8 += position.funding_e8 - position.fee_e8
        if self._account.gauge(_AGREES) or self._account.gauge(_DIFFERS):
            self._book.on_account(self._account.beat_ns)
        if not self._account.gauge(counters.RECONCILED_NS.id):
            return None
        for book in (self._book, self._paper, self._observed):
            book.set_equity(self._context.plan.equity_e8 + profit_e8)
        return profit_e8

    def _read_instruments(self) -> None:
        for view in self._instruments.poll():
            for book in (self._book, self._paper, self._observed):
                book.set_instrument(InstrumentRules.from_view(view))
            self._watch.on_instrument(view.instrument_id, view.quote_asset_id)

    def _measure_venue_clock(self) -> None:
        """Execution compares its wall clock with the venue's; orders with a date need both."""
        page = self._execution_page
        if page.state == RoleState.READY:
            ours_ns = time.time_ns() - time.monotonic_ns()
            offset_ns = ours_ns + page.gauge(counters.CLOCK_OFFSET_NS.id)
            for book in (self._book, self._paper, self._observed):
                book.venue_offset_ns = offset_ns

    def _set_state(self, state: TradingState, cause: str, how: int = STATE_PLAIN) -> None:
        """Change the state that a successor inherits; the permit follows it."""
        self._state, self._cause = state, cause
        self._page.begin(STATE_SLOT, how, int(state))

    def _begin_closing(self, cause: str, now_ns: int) -> None:
        """Let the one who asks close the positions of a halted system, by hand and only that.

        The latch is lifted for as long as it takes: execution sends nothing under it. Strategies
        are still told that trading is halted.
        """
        if not self._halt.is_set:
            return
        self._set_state(TradingState.REDUCING, cause, STATE_CLOSING)
        self._closing_until_ns = now_ns + CLOSING_NS_MAX
        self._set_hands(is_closing=True)
        self._halt.clear()

    def _watch_closing(self, now_ns: int) -> None:
        """The latch falls when whoever closes is done, or has not been heard of for too long."""
        if now_ns >= self._closing_until_ns:
            self._halt.set("the time to close positions is over", self.name)
        if self._halt.is_set:
            self._end_closing()

    def _end_closing(self) -> None:
        self._closing_until_ns = 0
        self._set_hands(is_closing=False)

    def _set_hands(self, *, is_closing: bool) -> None:
        self._watch.is_closing = is_closing
        limits = self._manual_limits(is_closing=is_closing)
        for book in (self._book, self._paper, self._observed):
            book.set_manual_limits(limits)

    def rehearse(self, now_ns: int) -> None:
        """Nothing happens: keep the way of an intent in the caches."""
        self._rehearsal.run(now_ns)
        for instrument_id, strategy_id in self._asking:
            self._desk.look_ahead(instrument_id, strategy_id)
        self.look_ahead()

    # -- permit and trading state ---------------------------------------------------------------

    def _renew(self, now_ns: int) -> None:
        """Store a fresh lease, or at once an empty one when trading is halted."""
        granted = TradingState(self._granted())
        self._allowed = granted
        is_new = granted != self._told_state
        if is_new:
            self._told_state = granted
            text = f"{granted.name}: {self._cause}"
            self._watch.tell(AlertCode.TRADING_STATE, Severity.WARNING, text, int(granted))
        if granted is TradingState.HALTED:
            self._due_ns = INT64_MAX
            if self._permit.load() or self._state != TradingState.HALTED:
                self._permit.store(0)
                self._set_state(TradingState.HALTED, "the halt is latched")
                self._page.set_gauge(counters.PERMIT_STATE.id, 0)
        elif is_new or now_ns >= self._due_ns:
            self._due_ns = now_ns + self._config.permit_renew_ms * NS_PER_MS
            self._permit.store(pack_permit(granted, now_ns + self._config.permit_ms * NS_PER_MS))
            self._page.set_gauge(counters.PERMIT_STATE.id, int(granted))
            self._page.count(counters.PERMITS.id)

    def _obey(self, now_ns: int) -> int:
        """Carry out what operators asked: arm, reduce, close positions, judge by other limits."""
        count = 0
        queue, context = self._context.commands, self._context
        while (command := queue.receive(context.source, epoch=context.epoch)) is not None:
            self._page.count(counters.COMMANDS.id)
            self._carry_out(command, now_ns)
            self._renew(now_ns)
            count += 1
        if queue.dropped > self._dropped:
            self._page.count(counters.COMMANDS_DROPPED.id, queue.dropped - self._dropped)
            self._dropped = queue.dropped
        return count

    def _carry_out(self, command: Command, now_ns: int) -> None:
        cause = f"{command.args.get('reason', command.name)} ({command.sender})"
        if command.name in ("arm", "reduce") and self._closing_until_ns:
            self._end_closing()
        if command.name == "arm":
            self._halt.clear()
            self._watch.on_armed()
            self._set_state(TradingState.ACTIVE, cause)
        elif command.name == "reduce":
            self._set_state(TradingState.REDUCING, cause)
        elif command.name == "flatten":
            self._begin_closing(cause, now_ns)
        elif command.name == "limits":
            self._take_limits()
        elif command.name == "resume":
            strategy_id = command.args.get("strategy_id")
            if isinstance(strategy_id, int) and 0 < strategy_id <= SOURCE_MAX:
                self._watch.resume(strategy_id, cause)

    def _take_limits(self) -> None:
        """Judge by the limits that a person saved, unless a step is too great."""
        try:
            limits = limits_file.in_force(self._context.plan)
            changes = changes_between(self._limits, limits)
            for change in changes:
                change.check()
        except UsageError as error:
            self._page.count(counters.CHANGES_REFUSED.id)
            self._watch.tell(AlertCode.LIMITS_REFUSED, Severity.WARNING, error.message)
            return
        self._limits = limits
        for book in (self._book, self._paper, self._observed):
            book.set_limits(limits)
        self._set_hands(is_closing=self._closing_until_ns > 0)
        self._page.set_gauge(counters.LIMITS_VERSION.id, limits.version)
        self._page.count(counters.LIMIT_CHANGES.id)
        text = f"version {limits.version:#x}: {', '.join(change.name for change in changes)}"
        self._watch.tell(AlertCode.LIMITS_CHANGED, Severity.WARNING, text)

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Risk stops when execution has: its permit is what lets cancels-only be seen early."""
        return True

    def on_close(self) -> None:
        """Leave no permit behind that nobody renews."""
        if self._page.state == RoleState.READY:
            self._page.state = int(RoleState.STOPPING)
