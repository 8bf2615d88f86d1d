"""A system without processes: its segments and its plan, to be filled by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import ipc
from hft import graph
from hft.config import (
    PLAN_FILE,
    Config,
    InstrumentPlan,
    Plan,
    ProcessPlan,
    RateLimits,
    StrategyConfig,
    SystemConfig,
)
from hft.core.generated.views import Alert, Book, Execution, Order, Position
from hft.core.order_id import make_order_id
from hft.counters import LAST_FRAME_NS, PERMIT_STATE, TICK_TO_TRADE_NS, RoleState
from hft.records import SLOT_BYTES, ExecKind, FeedState, Mode, OrderState, RecordSpec, TradingState
from hft.roles.context import cells_spec, ring_spec
from tools.system.segments import create_all, remove_all

E8 = 10**8
PRICE_E8 = 64_000 * E8
QTY_E8 = E8 // 250


class Stage:
    """A system whose writers the test is."""

    def __init__(self, name: str, run_dir: Path) -> None:
        self.name, self.run_dir = name, run_dir
        self.is_up = False

    def up(self) -> None:
        create_all(self.name, self.run_dir)
        plan = Plan(
            config=Config(
                symbols=("BTCUSDT",),
                system=SystemConfig(name=self.name, mode="paper"),
                strategies=(
                    StrategyConfig(name="maker", plugin="maker:Maker", symbols=("BTCUSDT",)),
                ),
            ),
            run_dir=str(self.run_dir),
            state_dir=str(self.run_dir),
            processes=(ProcessPlan(name="hot", roles=graph.ROLES, bell=0),),
            instruments=(InstrumentPlan(instrument_id=1, symbol="BTCUSDT"),),
            limits=RateLimits(weight_1m=1, orders_10s=1, orders_1m=1),
            started_wall_ns=1,
        )
        (self.run_dir / PLAN_FILE).write_bytes(msgspec.json.encode(plan))
        self.is_up = True
        for role in graph.ROLES:
            page = self.page(role)
            page.adopt()
            page.state = int(RoleState.READY)
            page.close()
        self.beat()
        self.page("risk").set_gauge(PERMIT_STATE.id, int(TradingState.ACTIVE))

    def down(self) -> None:
        if self.is_up:
            remove_all(self.name, self.run_dir)
            (self.run_dir / PLAN_FILE).unlink()
            self.is_up = False

    def page(self, role: str) -> ipc.RolePage:
        return ipc.RolePage.attach(self.name, graph.page_name(role), writable=True)

    def beat(self, ahead_s: int = 3_600) -> None:
        """Beats that stay young while the test runs: nobody lives here."""
        now_ns = time.monotonic_ns()
        for role in graph.ROLES:
            self.page(role).beat(now_ns + ahead_s * 10**9)
        self.page("feed").set_gauge(LAST_FRAME_NS.id, now_ns + ahead_s * 10**9)
        self.page("execution").record_ns(TICK_TO_TRADE_NS.id, 14_000)

    def write_cell(self, name: str, index: int, buffer: bytearray) -> None:
        segment = ipc.Segment.attach(self.name, cells_spec(name), writable=True)
        ipc.CellWriter(segment, buffer).write(index)

    def publish(self, ring: str, buffer: bytearray) -> None:
        segment = ipc.Segment.attach(self.name, ring_spec(ring), writable=True)
        assert ipc.RingWriter(segment, buffer).offer()

    def trade(self) -> None:
        """A book, a position, an open order, a fill and an alert."""
        buffer = _cell("books")
        book = Book(buffer)
        book.feed_state, book.bid_count, book.ask_count = int(FeedState.LIVE), 2, 2
        for level in range(2):
            book.set_bid_e8_at(level, PRICE_E8 - level * E8)
            book.set_bid_qty_e8_at(level, E8)
            book.set_ask_e8_at(level, PRICE_E8 + (level + 1) * E8)
            book.set_ask_qty_e8_at(level, 2 * E8)
        self.write_cell("books", 1, buffer)
        buffer = _cell("positions")
        position = Position(buffer)
        position.position_e8, position.average_price_e8 = QTY_E8, PRICE_E8
        position.mark_e8, position.unrealised_pnl_e8, position.fills = PRICE_E8, 3 * E8, 1
        self.write_cell("positions", graph.position_cell(Mode.LIVE, 1), buffer)
        buffer = _cell("orders")
        row = Order(buffer)
        row.order_id, row.instrument_id, row.side = make_order_id(1, 7, 1), 1, 1
        row.price_e8, row.qty_e8 = PRICE_E8, QTY_E8
        row.order_state, row.send_ns = int(OrderState.WORKING), time.monotonic_ns()
        self.write_cell("orders", 0, buffer)
        buffer = bytearray(SLOT_BYTES)
        fill = Execution(buffer)
        fill.order_id, fill.instrument_id, fill.side = make_order_id(1, 7, 2), 1, 1
        fill.exec_kind, fill.qty_e8, fill.price_e8 = int(ExecKind.FILL), QTY_E8, PRICE_E8
        fill.publish_ns = time.monotonic_ns()
        self.publish("executions", buffer)
        buffer = bytearray(SLOT_BYTES)
        alert = Alert(buffer)
        alert.severity, alert.text = 3, b"wallet 1: 5, venue 6"
        self.publish("alerts", buffer)


def _cell(name: str) -> bytearray:
    record: RecordSpec = graph.cells(name).record
    return bytearray(record.dtype.itemsize)


@pytest.fixture
def stage(system_name: str, tmp_path: Path) -> Iterator[Stage]:
    """A system that trades, in this process alone; ``find_running`` finds it below ``runs``."""
    run_dir = tmp_path / "runs" / system_name
    run_dir.mkdir(parents=True)
    one = Stage(system_name, run_dir)
    one.up()
    one.trade()
    yield one
    one.down()


@pytest.fixture
def environment(stage: Stage) -> dict[str, str]:
    """For a monitor in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "LANG")}
    return {**kept, "HFT_RUN_DIR": str(stage.run_dir.parent), "TERM": "xterm-256color"}
