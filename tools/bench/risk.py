"""``hft bench risk``: what one judgement costs, in the core and through the whole role.

The core: one place on one of the instruments, judged with every check on, and one execution record
taken in. The role: its own turn over real shared memory, from the intent in its ring to the
decision in the next, with the market, the account and the permit as in a running system; only the
clock is made up. From record to record is until the stamp of the decision's publication; the whole
turn has what comes after it as well: cursors, counters, and every fiftieth time the look at all
limits. Every sixteenth intent lies outside the price collar and has to be refused.

A figure is the median over the rounds; one reading of the clock is part of each. The checksum is
over all decisions and exposures, and the same for the same arguments.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np

from hft import counters, graph
from hft.config import (
    Config,
    InstrumentPlan,
    Plan,
    ProcessPlan,
    RateLimits,
    RiskConfig,
    RiskLimits,
    StrategyConfig,
    SystemConfig,
)
from hft.core.generated.views import Decision, Execution, Instrument, Intent, MarkPrice, TopOfBook
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MAX, make_order_id, sequence_of
from hft.core.policies import Limits
from hft.core.risk import RiskBook
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailedError, UsageError
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
    TradingState,
)
from hft.roles.context import Context
from hft.roles.risk import Risk
from hft.units import E8, NS_PER_MS, NS_PER_S
from ipc import Command
from tools.bench import machine
from tools.bench.result import QUANTILES, Latency, Target, combined, target_lines
from tools.system.segments import create_all, remove_all

REPETITIONS: Final = 5
JUDGEMENTS: Final = 10_000
STEP_NS: Final = NS_PER_MS
"""Between two intents, on the clock that is made up."""
BURST: Final = 900
"""Intents before the clock moves on by more than a minute: below every message limit."""
PAUSE_NS: Final = 61 * NS_PER_S
EPOCH: Final = 1
PRICE_E8: Final = 100 * E8
COLLARED_EVERY: Final = 16
CORE_P50_NS_MAX: Final = 500
CORE_P99_NS_MAX: Final = 1_000
ROLE_P50_NS_MAX: Final = 2_000


class Size(NamedTuple):
    """How much of everything."""

    instruments: int
    strategies: int
    judgements: int


class Samples:
    """Nanoseconds of one round of a row, and what it computed."""

    def __init__(self) -> None:
        self.ns: list[int] = []
        self.checksum = 0

    def add(self, ns: int, *values: int) -> None:
        """One measurement and what came of it."""
        self.ns.append(ns)
        for value in values:
            self.checksum = (self.checksum * 1_000_003 + value) % 2**64

    def latency(self) -> Latency:
        """Percentiles of the round."""
        p50, p99, p999 = np.quantile(self.ns, QUANTILES, method="inverted_cdf").tolist()
        return Latency(p50, p99, p999, float(max(self.ns)), len(self.ns))


class Steps:
    """The same intents and executions for the core and for the role, one after the other."""

    def __init__(self, size: Size, start_ns: int) -> None:
        self.now_ns = start_ns
        self._size = size
        self._count = 0
        self._seqs = [0] * (size.strategies + 1)

    def next(self, intent: Intent) -> Reason:
        """Write the next intent and return what has to become of it; time moves on."""
        number = self._count
        self._count += 1
        self.now_ns += STEP_NS if number % BURST else PAUSE_NS
        strategy_id = 1 + number % self._size.strategies
        self._seqs[strategy_id] += 1
        is_collared = number % COLLARED_EVERY == COLLARED_EVERY - 1
        intent.clear()
        intent.kind, intent.mode = int(Kind.INTENT), int(Mode.LIVE)
        intent.instrument_id = 1 + number * 7 % self._size.instruments
        intent.order_id = make_order_id(strategy_id, EPOCH, self._seqs[strategy_id])
        intent.strategy_id, intent.action = strategy_id, int(Action.PLACE)
        intent.side = 1 if number % 2 else -1
        intent.price_e8 = PRICE_E8 * 2 if is_collared else PRICE_E8
        intent.qty_e8 = E8
        intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)
        intent.is_post_only = 1
        intent.decide_ns = intent.origin_ns = self.now_ns
        return Reason.PRICE_COLLAR if is_collared else Reason.NONE


def fill_execution(execution: Execution, intent: Intent, kind: ExecKind, state: OrderState) -> None:
    """An execution record about an intent's order."""
    execution.clear()
    execution.kind, execution.mode = int(Kind.EXECUTION), int(Mode.LIVE)
    execution.order_id, execution.instrument_id = intent.order_id, intent.instrument_id
    execution.side, execution.price_e8, execution.qty_e8 = intent.side, PRICE_E8, intent.qty_e8
    execution.exec_kind, execution.order_state = int(kind), int(state)
    execution.leaves_qty_e8 = intent.qty_e8 if state == OrderState.WORKING else 0


# -- the core -------------------------------------------------------------------------------------


def make_book(size: Size) -> RiskBook:
    """A risk book whose every check has something to compare with."""
    limits = Limits(
        policy="bench",
        order_qty_max_e8=1_000 * E8,
        order_notional_max_e8=10_000 * E8,
        position_notional_max_e8=50_000 * E8,
        gross_notional_max_e8=200_000 * E8,
        price_collar_bps=50,
        mark_collar_bps=100,
        open_orders_max=5,
        messages_per_s_max=1_000,
        messages_per_minute_max=1_000,
        unresolved_max=3,
        feed_age_ns_max=NS_PER_S,
        account_age_ns_max=NS_PER_S,
        intent_age_ns_max=20 * NS_PER_MS,
        duplicate_window_ns=20 * NS_PER_MS,
        cross_bps_max=10,
        net_notional_max_e8=200_000 * E8,
        leverage_max_e8=2 * E8,
        open_notional_max_e8=50_000 * E8,
        unresolved_age_ns_max=NS_PER_S,
        messages_per_10s_max=4_000,
        spread_bps_max=100,
        drift_1m_bps_max=100,
        funding_bps_max=30,
    )
    book = RiskBook(limits, range(1, size.instruments + 1))
    book.set_equity(100_000 * E8)
    for instrument_id in range(1, size.instruments + 1):
        book.set_instrument(
            InstrumentRules(
                instrument_id=instrument_id,
                symbol=f"S{instrument_id}USDT",
                tick_e8=E8 // 10,
                step_e8=E8 // 1_000,
                qty_min_e8=E8 // 1_000,
                notional_min_e8=5 * E8,
                multiplier_up_e8=2 * E8,
                multiplier_down_e8=E8 // 2,
            )
        )
    return book


def measure_core(size: Size) -> tuple[Samples, Samples]:
    """One round of judgements, and of executions taken in."""
    book, steps = make_book(size), Steps(size, NS_PER_S)
    intent, execution = Intent(), Execution()
    judgements, executions = Samples(), Samples()
    clock, active = time.perf_counter_ns, TradingState.ACTIVE
    for _ in range(size.judgements):
        expected = steps.next(intent)
        now_ns, instrument_id = steps.now_ns, intent.instrument_id
        book.on_top(instrument_id, PRICE_E8 - E8 // 10, PRICE_E8 + E8 // 10, now_ns, FeedState.LIVE)
        book.on_mark(instrument_id, PRICE_E8, now_ns)
        book.on_account(now_ns)
        begin_ns = clock()
        reason = book.judge(intent, now_ns, active)
        end_ns = clock()
        _expect(reason, expected)
        worst_e8 = book.worst_long_e8(instrument_id)
        judgements.add(end_ns - begin_ns, instrument_id, reason, worst_e8)
        fill_execution(execution, intent, ExecKind.ACK, OrderState.WORKING)
        begin_ns = clock()
        book.on_execution(execution)
        end_ns = clock()
        executions.add(end_ns - begin_ns, book.gross_notional_e8())
        fill_execution(execution, intent, ExecKind.CANCELED, OrderState.CANCELED)
        book.on_execution(execution)
    return judgements, executions


def _expect(reason: int, expected: Reason) -> None:
    if reason != expected:
        raise CheckFailedError(
            f"risk answered {Reason(reason).name} where {expected.name} was due",
            remedy="A judgement is wrong: run the tests of hft/core/risk.",
        )


# -- the role -------------------------------------------------------------------------------------


def make_plan(size: Size, run_dir: Path) -> Plan:
    """A system of which only risk is turned."""
    symbols = tuple(f"S{number}USDT" for number in range(1, size.instruments + 1))
    config = Config(
        symbols=symbols,
        system=SystemConfig(name=f"bench-risk-{os.getpid()}", mode="demo"),
        strategies=(StrategyConfig(name="bench", plugin="none:None", symbols=symbols),),
        risk=RiskConfig(policy="demo", limits=RiskLimits(messages_per_s_max=1_000)),
    )
    return Plan(
        config=config,
        run_dir=str(run_dir),
        state_dir=str(run_dir),
        processes=tuple(
            ProcessPlan(name=role, roles=(role,), bell=bell)
            for bell, role in enumerate(graph.ROLES)
        ),
        instruments=tuple(
            InstrumentPlan(instrument_id=number, symbol=symbol)
            for number, symbol in enumerate(symbols, 1)
        ),
        limits=RateLimits(weight_1m=2_400, orders_10s=300, orders_1m=1_200),
        started_wall_ns=0,
        equity_e8=100_000 * E8,
    )


class Desk:
    """Risk and everybody around it, in this process, each with its own segments."""

    def __init__(self, plan: Plan, now_ns: int) -> None:
        self._contexts = {role: Context(plan, role, plan.process_of(role)) for role in graph.ROLES}
        for context in self._contexts.values():
            context.adopt(now_ns)
        feed, account = self._contexts["feed"], self._contexts["account"]
        execution, strategy = self._contexts["execution"], self._contexts["strategy"]
        self._account_page = account.page
        self._account_page.set_gauge(counters.AGREES.id, 1)
        self._tops, top_buffer = feed.cell_writer("tops")
        self._marks, mark_buffer = feed.cell_writer("marks")
        self._top, self._mark = TopOfBook(top_buffer), MarkPrice(mark_buffer)
        self._intents, intent_buffer = strategy.ring_writer("intents.strategy")
        self.intent = Intent(intent_buffer)
        self._executions, execution_buffer = execution.ring_writer("executions")
        self._execution = Execution(execution_buffer)
        self._decisions, decision_buffer = execution.ring_reader("decisions")
        self.decision = Decision(decision_buffer)
        self._account_reader, _ = account.ring_reader("executions")
        self._list_instruments(plan)
        risk = self._contexts["risk"]
        self.risk = Risk(risk)
        self.risk.on_start(now_ns)
        risk.commands.send(risk.source, Command.make("arm", sender="bench"))
        self.risk.do_work(now_ns)

    def _list_instruments(self, plan: Plan) -> None:
        writer, buffer = self._contexts["feed"].cell_writer("instruments")
        row = Instrument(buffer)
        for instrument in plan.instruments:
            row.kind, row.instrument_id = int(Kind.INSTRUMENT), instrument.instrument_id
            row.instrument_version, row.symbol = 1, instrument.symbol.encode()
            row.tick_e8, row.step_e8 = E8 // 10, E8 // 1_000
            row.qty_min_e8, row.notional_min_e8 = E8 // 1_000, 5 * E8
            row.multiplier_up_e8, row.multiplier_down_e8 = 2 * E8, E8 // 2
            row.status = int(InstrumentStatus.TRADING)
            writer.write(instrument.instrument_id)

    def prepare(self, now_ns: int) -> None:
        """News of the intent's instrument and of the account; the intent goes into its ring."""
        instrument_id = self.intent.instrument_id
        self._account_page.beat(now_ns)
        self._top.instrument_id = instrument_id
        self._top.bid_e8, self._top.ask_e8 = PRICE_E8 - E8 // 10, PRICE_E8 + E8 // 10
        self._top.as_of_ns, self._top.feed_state = now_ns, int(FeedState.LIVE)
        self._tops.write(instrument_id)
        self._mark.instrument_id = instrument_id
        self._mark.mark_e8, self._mark.as_of_ns = PRICE_E8, now_ns
        self._marks.write(instrument_id)
        self._intents.offer()

    def close_order(self, now_ns: int) -> None:
        """The decision is consumed, its order cancelled, and everybody has read of it."""
        self._decisions.commit()
        fill_execution(self._execution, self.intent, ExecKind.CANCELED, OrderState.CANCELED)
        self._executions.offer()
        while self._account_reader.next():
            self._account_reader.commit()
        self.risk.do_work(now_ns)

    def next_decision(self) -> bool:
        """Whether risk has answered; ``decision`` then holds it."""
        return self._decisions.next()

    def close(self) -> None:
        """Detach everything."""
        self.risk.on_close()
        for context in self._contexts.values():
            context.close()


def measure_role(size: Size) -> tuple[Samples, Samples]:
    """One round of turns, each with one intent to judge: until the decision, and to the end."""
    answers, turns = Samples(), Samples()
    clock = time.monotonic_ns  # the clock of the stamp in the decision
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root:
        run_dir = Path(root)
        plan = make_plan(size, run_dir)
        create_all(plan.name, run_dir)
        try:
            steps = Steps(size, time.monotonic_ns())
            desk = Desk(plan, steps.now_ns)
            try:
                for _ in range(size.judgements):
                    expected = steps.next(desk.intent)
                    now_ns = steps.now_ns
                    desk.prepare(now_ns)
                    begin_ns = clock()
                    desk.risk.do_work(now_ns)
                    end_ns = clock()
                    if not desk.next_decision():
                        raise CheckFailedError(
                            "an intent was not answered",
                            remedy="The role is wrong: run the tests of hft/roles/risk.",
                        )
                    decision = desk.decision
                    _expect(decision.reason, expected)
                    answers.add(decision.publish_ns - begin_ns)
                    turns.add(end_ns - begin_ns, decision.reason, sequence_of(decision.order_id))
                    desk.close_order(now_ns)
            finally:
                desk.close()
        finally:
            remove_all(plan.name, run_dir)
    return answers, turns


def measure_clock(size: Size) -> Samples:
    """What one reading of the clock adds to every figure."""
    samples, clock = Samples(), time.perf_counter_ns
    for _ in range(size.judgements):
        begin_ns = clock()
        samples.add(clock() - begin_ns)
    return samples


# -- the table ------------------------------------------------------------------------------------

ROWS: Final = (
    ("judge", "a place judged, all checks on (core)"),
    ("on_execution", "an execution taken in (core)"),
    ("answer", "intent in to decision out (role)"),
    ("turn", "the role's whole turn, with its books"),
    ("clock", "one reading of the clock"),
)


def run(
    *,
    as_json: bool,
    instruments: int = 100,
    strategies: int = 20,
    check: bool = False,
    judgements: int = JUDGEMENTS,
    repetitions: int = REPETITIONS,
) -> int:
    """Measure, print one table or one JSON object, and return the exit code.

    Args:
        as_json: One JSON object instead of the table.
        instruments: Instruments that the intents take turns with.
        strategies: Strategies that the intents come from, in turns.
        check: Exit 1 when a budget is exceeded.
        judgements: Of one round and row.
        repetitions: Rounds.

    Raises:
        UsageError: a number outside its range.
        CheckFailedError: a judgement was not the one that was due.
    """
    _check_range("instruments", instruments, graph.INSTRUMENTS_MAX - 1)
    _check_range("strategies", strategies, SOURCE_MAX)
    size = Size(instruments, strategies, judgements)
    rounds = [_without_collector(lambda: _round(size)) for _ in range(repetitions)]
    latencies = {name: combined([one[name].latency() for one in rounds]) for name, _ in ROWS}
    checksums = {name: {one[name].checksum for one in rounds} for name, _ in ROWS}
    if any(len(found) > 1 for found in checksums.values()):
        raise CheckFailedError(
            "two rounds of the same intents ended differently", remedy="Report it as a bug."
        )
    checksum = sum(found.pop() for found in checksums.values()) % 2**64
    reached = _targets(latencies)
    facts = _facts(size, repetitions, checksum)
    if as_json:
        rows = {name: latency._asdict() for name, latency in latencies.items()}
        verdicts = [{**target._asdict(), "reached": target.is_reached} for target in reached]
        click.echo(json.dumps({**facts, "latency_ns": rows, "targets": verdicts}, indent=2))
    else:
        click.echo("\n".join(_text(facts, latencies, reached)))
    missed = any(target.is_reached is False for target in reached)
    return EXIT_CHECK_FAILED if check and missed else EXIT_OK


def _check_range(name: str, value: int, value_max: int) -> None:
    if not 1 <= value <= value_max:
        raise UsageError(
            f"{value} {name} cannot be measured", remedy=f"Choose from 1 to {value_max}."
        )


def _round(size: Size) -> dict[str, Samples]:
    judge, on_execution = measure_core(size)
    answer, turn = measure_role(size)
    return {
        "judge": judge, "on_execution": on_execution, "answer": answer, "turn": turn,
        "clock": measure_clock(size),
    }  # fmt: skip


def _without_collector(measure: Callable[[], dict[str, Samples]]) -> dict[str, Samples]:
    gc.collect()
    gc.disable()
    try:
        return measure()
    finally:
        gc.enable()


def _targets(latencies: dict[str, Latency]) -> list[Target]:
    judge, answer, turn = latencies["judge"], latencies["answer"], latencies["turn"]
    return [
        Target("judgement in the core, p50", judge.p50, CORE_P50_NS_MAX, True, " ns"),
        Target("judgement in the core, p99", judge.p99, CORE_P99_NS_MAX, True, " ns"),
        Target("record in to its publication, p50", answer.p50, ROLE_P50_NS_MAX, True, " ns"),
        Target("record in to end of the turn, p50", turn.p50, ROLE_P50_NS_MAX, True, " ns"),
    ]


def _facts(size: Size, repetitions: int, checksum: int) -> dict[str, Any]:
    return {
        "command": f"hft bench risk --instruments {size.instruments} "
        f"--strategies {size.strategies}",
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        **size._asdict(),
        "repetitions": repetitions,
        "checksum": f"{checksum:016x}",
    }


def _text(facts: dict[str, Any], latencies: dict[str, Latency], reached: list[Target]) -> list[str]:
    head = f"{'ns':42}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>10}{'n':>9}"
    lines = [
        f"{facts['instruments']} instruments, {facts['strategies']} strategies; medians of "
        f"{facts['repetitions']} rounds; checksum {facts['checksum']}",
        "",
        head,
        "-" * len(head),
    ]
    for name, text in ROWS:
        row = latencies[name]
        lines.append(
            f"{text:42}{row.p50:>9.0f}{row.p99:>9.0f}{row.p999:>9.0f}{row.max:>10.0f}{row.n:>9}"
        )
    return [
        *lines,
        "",
        *target_lines(reached),
        "",
        f"machine  {facts['cpu']}, Linux {facts['kernel']}, Python {facts['python']}, "
        f"load {facts['load_before']} before",
        f"command  {facts['command']}",
        *([f"commit   {facts['commit']}"] if facts["commit"] else []),
    ]
