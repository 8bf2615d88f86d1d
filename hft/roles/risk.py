"""Intents in, decisions out; the permit. Sole writer of ``decisions`` and of the permit word."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import msgspec

from hft import counters, graph
from hft.core.generated.views import Decision, Execution, Intent, MarkPrice, Position, TopOfBook
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.permit import pack_permit, permit_state
from hft.core.policies import limits_for, manual_limits_for
from hft.core.risk import RiskBook
from hft.counters import RoleState
from hft.graph import RingId
from hft.records import ExecKind, Mode, Reason, TradingState
from hft.roles.context import Context, InstrumentWatch
from hft.units import NS_PER_MS
from ipc import Command, RingReader

EXECUTIONS_PER_CYCLE_MAX: Final = 64
INTENTS_PER_CYCLE_MAX: Final = 64
MANUAL_PER_CYCLE_MAX: Final = 4
"""By hand nobody asks for more; strategies do not wait for it."""
COMMANDS_EVERY_NS: Final = 20 * NS_PER_MS
CELLS_EVERY_NS: Final = 50 * NS_PER_MS
PENDING_SLOT: Final = 0
"""Place in the role page where the batch in the making is noted."""
STATE_SLOT: Final = 1
"""Place in the role page that keeps the trading state: the permit may grant less for a while."""
MANUAL_SLOT: Final = 2
"""As ``PENDING_SLOT``, for what is asked for by hand."""
FOREIGN_KINDS: Final = (ExecKind.ADOPTED, ExecKind.FILL)
FORCED_CLOSES: Final = {
    Reason.LIQUIDATION: "the venue liquidates a position",
    Reason.AUTO_DELEVERAGING: "the venue closes a position by auto-deleveraging",
    Reason.SETTLEMENT: "the venue settles an instrument",
}
"""Whoever does these knows better than our books: nothing more is sent before a person looked."""


class _Intake(NamedTuple):
    """A ring of intents, and where the one in the making is noted."""

    intents: RingReader
    intent: Intent
    slot: int
    ring: RingId
    """Its id, and with that its cursor in the page."""
    most: int
    """So many in one turn."""


class Risk:
    """Judges every intent and grants the permit that execution checks before each send."""

    name = "risk"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.risk
        self._decisions, decision_buffer = context.ring_writer("decisions")
        self._intents, intent_buffer = context.ring_reader("intents.strategy")
        self._manual, manual_buffer = context.ring_reader("intents.manual")
        self._executions, execution_buffer = context.ring_reader("executions")
        self._tops, top_buffer = context.cell_reader("tops")
        self._marks, mark_buffer = context.cell_reader("marks")
        self._decision, self._intent = Decision(decision_buffer), Intent(intent_buffer)
        self._by_strategies = _Intake(
            self._intents, self._intent, PENDING_SLOT, RingId.INTENTS, INTENTS_PER_CYCLE_MAX
        )
        self._by_hand = _Intake(
            self._manual, Intent(manual_buffer), MANUAL_SLOT, RingId.MANUAL, MANUAL_PER_CYCLE_MAX
        )
        self._execution = Execution(execution_buffer)
        self._top, self._mark = TopOfBook(top_buffer), MarkPrice(mark_buffer)
        self._permit = context.permit()
        self._halt = context.halt
        self._account = context.page_of("account")
        self._execution_page = context.page_of("execution")
        self._positions, position_buffer = context.cell_reader("positions")
        self._position = Position(position_buffer)
        self._adjusted_e8: dict[int, int] = {}
        self._instruments = InstrumentWatch(context)
        self._state = TradingState.HALTED
        self._cells_ns = 0
        self._renewed_ns = 0
        self._renewed_state = TradingState.HALTED
        self._commanded_ns = 0
        self._dropped = 0
        self._book: RiskBook

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Inherit the trading state, rebuild every exposure from what is committed."""
        self._page.state = int(RoleState.RECOVERING)
        noted = self._page.pending(STATE_SLOT)
        self._state = permit_state(self._permit.load() if noted is None else noted[1])
        overrides = msgspec.structs.asdict(self._config.limits)
        limits = limits_for(self._config.policy, self._context.plan.equity_e8, overrides)
        self._book = RiskBook(limits, [i.instrument_id for i in self._context.plan.instruments])
        manual = msgspec.structs.asdict(self._config.manual)
        self._book.set_manual_limits(manual_limits_for(limits, manual))
        self._read_instruments()
        self._rebuild(now_ns)
        self._resume()
        self._page.state = int(RoleState.READY)

    def _rebuild(self, now_ns: int) -> None:
        """Positions ⊕ executions after their as-of ⊕ open rows ⊕ approved decisions not consumed.

        Execution goes on meanwhile. Its decisions cursor is read first: a decision consumed
        after that is seen twice, as a decision and as a row, and counted once by its order id.
        """
        consumed_seq = (
            self._context.page_of("execution").cursor(graph.cursor_index("decisions")).value
        )
        read_seq = self._executions.seq
        oldest_seq = read_seq
        position = self._position
        for instrument in self._context.plan.instruments:
            index = graph.position_cell(Mode.LIVE, instrument.instrument_id)
            as_of_seq = 0
            if self._positions.read(index):
                as_of_seq = position.executions_seq
                self._book.add_position(instrument.instrument_id, position.position_e8, as_of_seq)
                self._adjusted_e8[instrument.instrument_id] = position.adjusted_e8
            oldest_seq = min(oldest_seq, as_of_seq)
        rows, row_buffer = self._context.cell_reader("orders")
        row = OrderRow(row_buffer)
        for index in range(graph.ORDER_ROWS_MAX):
            if rows.read(index) and row.order_id:
                self._book.add_open_order(row)
        past, past_buffer = self._context.observer("executions", oldest_seq + 1)
        execution = Execution(past_buffer)
        while past.seq < read_seq and past.next():
            self._book.on_execution(execution)
        approved, approved_buffer = self._context.observer("decisions", consumed_seq + 1)
        decision = Decision(approved_buffer)
        while approved.next():
            self._book.add_approved(decision)

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

    def do_work(self, now_ns: int) -> int:
        """Executions first: a fill changes what may be approved."""
        work_count = self._poll_executions(now_ns)
        if now_ns - self._cells_ns >= CELLS_EVERY_NS:
            self._cells_ns = now_ns
            self._read_positions()
            self._read_instruments()
            self._measure_venue_clock()
        work_count += self._judge(now_ns)
        self._renew(now_ns)
        if now_ns - self._commanded_ns >= COMMANDS_EVERY_NS:
            self._commanded_ns = now_ns
            work_count += self._obey(now_ns)
        return work_count

    def _poll_executions(self, now_ns: int) -> int:
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            self._book.on_execution(record)
            if record.reason:
                self._react(record, now_ns)
            count += 1
        if count:
            executions.commit()
        return count

    def _react(self, record: Execution, now_ns: int) -> None:
        """What nobody here asked for ends normal trading, before the record counts as read."""
        reason = record.reason
        if reason == Reason.OWN_OVERFILL or (
            reason == Reason.FOREIGN_ORDER and record.exec_kind in FOREIGN_KINDS
        ):
            if self._state == TradingState.ACTIVE:
                self._set_state(TradingState.REDUCING)
                self._renew(now_ns)
        elif reason >= Reason.LIQUIDATION and record.exec_kind in FOREIGN_KINDS:
            self._halt.set(FORCED_CLOSES[Reason(reason)], self.name)
            self._renew(now_ns)

    def _read_positions(self) -> None:
        """Take over what the account adjusted: no execution tells of it."""
        position = self._position
        for instrument in self._context.plan.instruments:
            number = instrument.instrument_id
            if self._positions.read(graph.position_cell(Mode.LIVE, number)):
                change_e8 = position.adjusted_e8 - self._adjusted_e8.get(number, 0)
                if change_e8:
                    self._adjusted_e8[number] = position.adjusted_e8
                    self._book.adjust_position(number, change_e8)

    def _read_instruments(self) -> None:
        for view in self._instruments.poll():
            self._book.set_instrument(InstrumentRules.from_view(view))

    def _measure_venue_clock(self) -> None:
        """Execution compares its wall clock with the venue's; orders with a date need both."""
        page = self._execution_page
        if page.state == RoleState.READY:
            ours_ns = time.time_ns() - time.monotonic_ns()
            self._book.venue_offset_ns = ours_ns + page.gauge(counters.CLOCK_OFFSET_NS.id)

    def _judge(self, now_ns: int) -> int:
        """The person first: who trades by hand wants out of something."""
        count = self._take(self._by_hand, now_ns) if self._manual.has_work else 0
        return count + self._take(self._by_strategies, now_ns)

    def _take(self, intake: _Intake, now_ns: int) -> int:
        """Judge what waits in one ring: each intent becomes one decision, whatever dies."""
        count = 0
        intents, intent, slot, ring, most = intake
        is_manual = ring is RingId.MANUAL
        while count < most and self._decisions.free and intents.next():
            reason = self._verdict(intent, now_ns, is_manual)
            self._fill_decision(intent, reason, now_ns, ring)
            self._page.begin(slot, intent.seq, self._decisions.next_seq)
            self._decisions.offer()
            intents.commit()
            self._page.commit(slot, intent.seq)
            self._page.count(counters.JUDGED.id)
            self._page.count(counters.APPROVED.id if reason == Reason.NONE else counters.REFUSED.id)
            # A second look at the clock, for the measurement only: the turn's may be older than
            # the intent, when strategy and risk share a process.
            self._page.record_ns(counters.RISK_NS.id, time.monotonic_ns() - intent.publish_ns)
            count += 1
        return count

    def _verdict(self, intent: Intent, now_ns: int, is_manual: bool = False) -> Reason:
        instrument_id = intent.instrument_id
        book = self._book
        if instrument_id >= graph.INSTRUMENTS_MAX:
            return Reason.INSTRUMENT_UNKNOWN
        if self._tops.read(instrument_id):
            book.take_top(instrument_id, self._top)
        if self._marks.read(instrument_id):
            book.take_mark(instrument_id, self._mark)
        if self._account.gauge(counters.AGREES.id) or self._account.gauge(counters.DIFFERS.id):
            book.on_account(self._account.beat_ns)
        if is_manual:
            return book.judge_manual(intent, now_ns, self._granted())
        return book.judge(intent, now_ns, self._granted())

    def _granted(self) -> TradingState:
        if self._halt.is_set:
            return TradingState.HALTED
        if self._account.gauge(counters.DIFFERS.id):
            return min(self._state, TradingState.REDUCING)
        return self._state

    def _set_state(self, state: TradingState) -> None:
        """Change the state that a successor inherits; the permit follows it."""
        self._state = state
        self._page.begin(STATE_SLOT, 1, int(state))

    def _fill_decision(
        self, intent: Intent, reason: Reason, now_ns: int, ring: RingId = RingId.INTENTS
    ) -> None:
        context = self._context
        self._book.fill_decision(
            self._decision,
            intent,
            reason,
            now_ns=now_ns,
            source=context.source,
            risk_epoch=context.epoch,
            cause_ring=ring,
        )

    # -- permit and trading state ---------------------------------------------------------------

    def _renew(self, now_ns: int) -> None:
        """Store a fresh lease, or at once an empty one when trading is halted."""
        granted = self._granted()
        if granted == TradingState.HALTED:
            if self._permit.load():
                self._permit.store(0)
                self._renewed_state = TradingState.HALTED
                self._set_state(TradingState.HALTED)
                self._page.set_gauge(counters.PERMIT_STATE.id, 0)
            return
        is_due = now_ns - self._renewed_ns >= self._config.permit_renew_ms * NS_PER_MS
        if is_due or granted != self._renewed_state:
            self._renewed_ns, self._renewed_state = now_ns, granted
            self._permit.store(pack_permit(granted, now_ns + self._config.permit_ms * NS_PER_MS))
            self._page.set_gauge(counters.PERMIT_STATE.id, int(granted))
            self._page.count(counters.PERMITS.id)

    def _obey(self, now_ns: int) -> int:
        """Carry out what operators asked: arm, reduce."""
        count = 0
        queue, context = self._context.commands, self._context
        while (command := queue.receive(context.source, epoch=context.epoch)) is not None:
            self._page.count(counters.COMMANDS.id)
            self._carry_out(command)
            self._renew(now_ns)
            count += 1
        if queue.dropped > self._dropped:
            self._page.count(counters.COMMANDS_DROPPED.id, queue.dropped - self._dropped)
            self._dropped = queue.dropped
        return count

    def _carry_out(self, command: Command) -> None:
        if command.name == "arm":
            self._halt.clear()
            self._set_state(TradingState.ACTIVE)
        elif command.name == "reduce":
            self._set_state(TradingState.REDUCING)

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Risk stops when execution has: its permit is what lets cancels-only be seen early."""
        return True

    def on_close(self) -> None:
        """Leave no permit behind that nobody renews."""
        if self._page.state == RoleState.READY:
            self._page.state = int(RoleState.STOPPING)
