"""A house without a venue: real segments, real pages, roles turned by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipc
from hft.config import (
    Config,
    InstrumentPlan,
    Plan,
    ProcessPlan,
    RateLimits,
    StrategyConfig,
    SystemConfig,
)
from hft.core.generated.views import Instrument
from hft.graph import ROLES
from hft.records import InstrumentStatus, Kind
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
