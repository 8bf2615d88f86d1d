"""A system without processes: its segments and its plan, with pages and cells that a test fills."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ipc
from hft import graph
from hft.config import (
    Config,
    InstrumentPlan,
    MetricsConfig,
    Plan,
    ProcessPlan,
    RateLimits,
    StrategyConfig,
    SystemConfig,
)
from hft.counters import RoleState
from hft.records import SLOT_BYTES
from hft.roles.context import cells_spec, ring_spec
from tools.system.planner import write_plan
from tools.system.segments import attach_halt, create_all, remove_all

BTC, ETH = 3, 7


class MadeSystem:
    """What a running system leaves in shared memory and on disk, without one that runs."""

    def __init__(self, name: str, root: Path, *, started_wall_ns: int, metrics: MetricsConfig,
                 roles: tuple[str, ...] = graph.ROLES) -> None:  # fmt: skip
        self.run_dir = root / "run" / name
        self.state_dir = root / "state" / name
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        maker = StrategyConfig(name="maker", plugin="a:B", symbols=("BTCUSDT",))
        twin = StrategyConfig(name="twin", plugin="a:B", symbols=("BTCUSDT",), mode="paper")
        self.plan = Plan(
            config=Config(
                symbols=("BTCUSDT", "ETHUSDT"),
                system=SystemConfig(name=name, mode="paper"),
                metrics=metrics,
                strategies=(maker, twin) if "paper" in roles else (maker,),
            ),
            run_dir=str(self.run_dir),
            state_dir=str(self.state_dir),
            processes=(ProcessPlan(name="hot", roles=roles, bell=0),),
            instruments=(
                InstrumentPlan(instrument_id=BTC, symbol="BTCUSDT"),
                InstrumentPlan(instrument_id=ETH, symbol="ETHUSDT"),
            ),
            limits=RateLimits(weight_1m=2_400, orders_10s=300, orders_1m=1_200),
            started_wall_ns=started_wall_ns,
            is_supervised=False,
        )
        create_all(name, self.run_dir)
        write_plan(self.plan)
        self.pages: dict[str, ipc.RolePage] = {}
        for role in roles:
            page = ipc.RolePage.attach(name, graph.page_name(role), writable=True)
            page.adopt()
            page.state = int(RoleState.READY)
            self.pages[role] = page
        self._rings: dict[str, tuple[ipc.RingWriter, bytearray]] = {}
        self._cells: dict[str, tuple[ipc.CellWriter, bytearray]] = {}
        self._segments: list[ipc.Segment] = []

    def beat(self) -> None:
        """A heartbeat of every role, now."""
        for page in self.pages.values():
            page.beat(time.monotonic_ns())

    def write_cell(self, name: str, index: int, **fields: int) -> None:
        """Write one cell of zeros but for these fields."""
        if name not in self._cells:
            buffer = bytearray(cells_spec(name).item_bytes)
            segment = self._attach(cells_spec(name))
            self._cells[name] = ipc.CellWriter(segment, buffer), buffer
        writer, buffer = self._cells[name]
        buffer[:] = record(graph.cells(name).record.dtype, fields)
        writer.write(index)

    def publish(self, name: str, **fields: int | bytes) -> None:
        """Publish one record of zeros but for these fields."""
        if name not in self._rings:
            buffer = bytearray(SLOT_BYTES)
            segment = self._attach(ring_spec(name))
            cursors = [
                self.pages[role].cursor(graph.cursor_index(name))
                for role in graph.ring(name).gating
            ]
            self._rings[name] = ipc.RingWriter(segment, buffer, gates=cursors), buffer
        writer, buffer = self._rings[name]
        buffer[:] = record(graph.ring(name).records[0].dtype, fields)
        assert writer.offer()

    def halt(self, reason: str) -> None:
        """Latch the halt."""
        attach_halt(self.plan, writable=True).set(reason, "a test")

    def arm(self) -> None:
        """Take the halt back."""
        attach_halt(self.plan, writable=True).clear()

    def _attach(self, spec: ipc.SegmentSpec) -> ipc.Segment:
        segment = ipc.Segment.attach(self.plan.name, spec, writable=True)
        self._segments.append(segment)
        return segment

    def remove(self) -> None:
        """Take it all away, as `hft down` does."""
        for page in self.pages.values():
            page.close()
        self._rings.clear()
        self._cells.clear()
        for segment in self._segments:
            segment.close()
        remove_all(self.plan.name, self.run_dir)
        for path in self.run_dir.iterdir():
            path.unlink()
        self.run_dir.rmdir()


def record(dtype: np.dtype[np.void], fields: dict[str, int] | dict[str, int | bytes]) -> bytes:
    row = np.zeros(1, dtype)
    for name, value in fields.items():
        if isinstance(value, tuple | list):
            row[name][0, : len(value)] = value
        else:
            row[name] = value
    return row.tobytes()


MakeSystem = Callable[..., MadeSystem]


@pytest.fixture
def make_system(system_name: str, tmp_path: Path) -> Iterator[MakeSystem]:
    """Make a system, and another one of the same name after its removal."""
    made: list[MadeSystem] = []

    def make(
        metrics: MetricsConfig | None = None, roles: tuple[str, ...] = graph.ROLES
    ) -> MadeSystem:
        started_wall_ns = 1_000_000_000_000 + len(made)
        system = MadeSystem(
            system_name, tmp_path, started_wall_ns=started_wall_ns,
            metrics=metrics or MetricsConfig(port=0), roles=roles,
        )  # fmt: skip
        made.append(system)
        system.beat()
        return system

    yield make
    for system in made:
        if system.run_dir.exists():
            system.remove()


@pytest.fixture
def made_system(make_system: MakeSystem) -> MadeSystem:
    """One system whose roles are ready."""
    return make_system()
