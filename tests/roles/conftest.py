"""A house without a venue: real segments, real pages, roles turned by hand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

import ipc
from hft import graph
from hft.config import (
    Config,
    InstrumentPlan,
    Plan,
    ProcessPlan,
    RateLimits,
    StrategyConfig,
    SystemConfig,
)
from hft.core.generated.views import (
    Decision,
    Execution,
    FeedStatus,
    Instrument,
    Intent,
    Position,
    TopOfBook,
)
from hft.core.generated.views import Order as OrderRow
from hft.graph import ROLES
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Kind,
    Mode,
    OrderState,
    Reason,
    Side,
)
from hft.roles.context import Context, cells_spec, segment_specs
from hft.units import E8

BTC, ETH = 1, 2


class House:
    """A system whose roles a test makes and turns itself."""

    def __init__(self, name: str, run_dir: Path) -> None:
        self.run_dir = run_dir
        strategies = (
            StrategyConfig(
                name="maker", plugin="hft.strategy.maker:Maker", symbols=("BTCUSDT", "ETHUSDT")
            ),
        )
        self.plan = Plan(
            config=Config(
                symbols=("BTCUSDT", "ETHUSDT"),
                system=SystemConfig(name=name, mode="demo"),
                strategies=strategies,
            ),
            run_dir=str(run_dir),
            state_dir=str(run_dir),
            processes=tuple(
                ProcessPlan(name=role, roles=(role,), bell=bell) for bell, role in enumerate(ROLES)
            ),
            instruments=(
                InstrumentPlan(instrument_id=BTC, symbol="BTCUSDT"),
                InstrumentPlan(instrument_id=ETH, symbol="ETHUSDT"),
            ),
            limits=RateLimits(weight_1m=2_400, orders_10s=300, orders_1m=1_200),
            equity_e8=100_000 * E8,
            started_wall_ns=time.time_ns(),
        )
        self._contexts: list[Context] = []
        self._names = [spec.name for spec in segment_specs()]
        for spec in segment_specs():
            ipc.create_segment(name, spec)
        ipc.CommandQueue.create(run_dir)
        self._write_instruments()

    def _write_instruments(self) -> None:
        spec = cells_spec("instruments")
        row = Instrument()
        buffer = bytearray(spec.item_bytes)
        segment = ipc.Segment.attach(self.plan.name, spec, writable=True)
        view = Instrument(buffer)
        writer = ipc.CellWriter(segment, buffer)
        for instrument in self.plan.instruments:
            row.clear()
            row.kind, row.instrument_id = int(Kind.INSTRUMENT), instrument.instrument_id
            row.instrument_version = 1
            row.symbol, row.quote_asset = instrument.symbol.encode(), b"USDT"
            row.tick_e8, row.step_e8 = E8 // 10, E8 // 1_000
            row.qty_min_e8, row.qty_max_e8 = E8 // 1_000, 1_000 * E8
            row.notional_min_e8, row.quote_asset_id = 5 * E8, 1
            row.status = int(InstrumentStatus.TRADING)
            row.price_places, row.qty_places = 1, 3
            view.copy_from(row)
            writer.write(instrument.instrument_id)
        del view, writer
        segment.close()

    def context(self, role: str) -> Context:
        """A life of a role: adopts its page, as the process would."""
        alone = ProcessPlan(name=role, roles=(role,), bell=-1)
        context = Context(self.plan, role, self.plan.process_of(role) if role in ROLES else alone)
        context.adopt(time.monotonic_ns())
        self._contexts.append(context)
        return context

    def end(self, context: Context) -> None:
        """That life is over; its segments stay."""
        self._contexts.remove(context)
        context.close()

    def close(self) -> None:
        """Remove everything."""
        for context in self._contexts:
            context.close()
        for name in self._names:
            ipc.unlink_segment(self.plan.name, name)
        ipc.CommandQueue.remove(self.run_dir)


@pytest.fixture
def house(system_name: str, run_dir: Path) -> Iterator[House]:
    assert os.path.isdir(run_dir)
    house = House(system_name, run_dir)
    yield house
    house.close()


class Market:
    """Feed, risk and execution around the engine."""

    def __init__(self, house: House, *strategies: StrategyConfig) -> None:
        config = msgspec.structs.replace(house.plan.config, strategies=strategies)
        house.plan = msgspec.structs.replace(house.plan, config=config)
        feed = house.context("feed")
        self._market, buffer = feed.ring_writer("market")
        self.buffer = buffer
        self.top, self.status = TopOfBook(buffer), FeedStatus(buffer)
        risk = self.risk = house.context("risk")
        self._intents, intent_buffer = risk.ring_reader("intents.strategy")
        self.intent = Intent(intent_buffer)
        self._decisions, decision_buffer = risk.ring_writer("decisions")
        self.decision = Decision(decision_buffer)
        self.execution = house.context("execution")
        self._executions, execution_buffer = self.execution.ring_writer("executions")
        self.record = Execution(execution_buffer)
        self._rows, row_buffer = self.execution.cell_writer("orders")
        self.row = OrderRow(row_buffer)
        self.feed = feed
        self._instruments, instrument_buffer = feed.cell_writer("instruments")
        self.instrument = Instrument(instrument_buffer)
        self._positions, position_buffer = house.context("account").cell_writer("positions")
        self.position = Position(position_buffer)

    def change(self, instrument_id: int = BTC, **fields: int) -> None:
        """The venue changes its rules."""
        assert self._instruments.read(instrument_id)
        for name, value in fields.items():
            setattr(self.instrument, name, value)
        self.instrument.instrument_version += 1
        self._instruments.write(instrument_id)

    def hold(self, position: int, adjusted: int, executions_seq: int) -> None:
        """The account's cell of BTC."""
        cell = self.position
        cell.clear()
        cell.kind, cell.instrument_id, cell.mode = int(Kind.POSITION), BTC, int(Mode.LIVE)
        cell.position_e8, cell.adjusted_e8 = position * E8, adjusted * E8
        cell.executions_seq = executions_seq
        self._positions.write(graph.position_cell(Mode.LIVE, BTC))

    def tick(
        self,
        bid: int,
        ask: int,
        instrument_id: int = BTC,
        state: FeedState = FeedState.LIVE,
    ) -> None:
        self.feed.page.beat(time.monotonic_ns())
        top = self.top
        top.clear()
        top.kind, top.mode, top.instrument_id = int(Kind.TOP_OF_BOOK), 1, instrument_id
        top.bid_e8, top.ask_e8 = bid * E8, ask * E8
        top.as_of_ns = top.origin_ns = time.monotonic_ns()
        top.feed_state = int(state)
        self._market.offer()

    def announce(self, state: FeedState) -> None:
        self.status.clear()
        self.status.kind, self.status.instrument_id = int(Kind.FEED_STATUS), BTC
        self.status.feed_state = int(state)
        self._market.offer()

    def intents(self) -> list[tuple[Action, Side, int, int]]:
        found = []
        while self._intents.next():
            one = self.intent
            found.append(
                (Action(one.action), Side(one.side), one.price_e8 // E8, one.instrument_id)
            )
        self._intents.commit()
        return found

    def answer_all(self, choose: Random) -> list[Action]:
        """Whatever is asked for is done, or the order fills instead."""
        actions = []
        while self._intents.next():
            intent = self.intent
            actions.append(Action(intent.action))
            done = {Action.PLACE: ExecKind.ACK, Action.AMEND: ExecKind.AMENDED}
            kind = choose.choice((ExecKind.FILL, done.get(actions[-1], ExecKind.CANCELED)))
            self.report(intent.order_id, kind, side=Side(intent.side))
        self._intents.commit()
        return actions

    def report(self, order_id: int, kind: ExecKind, *, qty: int = 1, side: Side = Side.BUY) -> None:
        record = self.record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), 1, BTC
        record.order_id, record.exec_kind, record.side = order_id, int(kind), int(side)
        record.price_e8, record.qty_e8 = 100 * E8, qty * E8
        is_fill, is_over = kind is ExecKind.FILL, kind in (ExecKind.FILL, ExecKind.CANCELED)
        record.cum_qty_e8 = qty * E8 if is_fill else 0
        record.leaves_qty_e8 = 0 if is_over else qty * E8
        over = OrderState.FILLED if is_fill else OrderState.CANCELED
        record.order_state = int(over if is_over else OrderState.WORKING)
        self._executions.offer()

    def refuse(self, reason: Reason) -> None:
        decision, intent = self.decision, self.intent
        decision.clear()
        decision.kind, decision.instrument_id = int(Kind.DECISION), intent.instrument_id
        decision.order_id, decision.action = intent.order_id, intent.action
        decision.side, decision.reason = intent.side, int(reason)
        self._decisions.offer()


@pytest.fixture
def make_market(house: House) -> Callable[..., Market]:
    """A market for plug-ins: a file with a class Joiner for both symbols, or strategies."""

    def make(plugin: Path | None = None, *strategies: StrategyConfig) -> Market:
        if plugin is not None:
            joiner = StrategyConfig(
                name="joiner", plugin=f"{plugin}:Joiner", symbols=("BTCUSDT", "ETHUSDT")
            )
            strategies = (joiner, *strategies)
        return Market(house, *strategies)

    return make


@pytest.fixture
def alarm() -> Iterator[None]:
    """The process's timer, which the test runner uses otherwise."""
    handler = signal.getsignal(signal.SIGALRM)
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left_s, interval_s)
