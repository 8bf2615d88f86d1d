"""Comparing live and paper fills: which belong together, what is told of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from hft.core.generated.views import Execution
from hft.core.order_id import make_order_id
from hft.errors import UsageError
from hft.graph import ROLES
from hft.records import SLOT_BYTES, ExecKind, Kind, Mode
from hft.roles.context import ring_spec
from hft.units import E8, NS_PER_MS
from tools.compare.command import comparisons, table
from tools.compare.matching import Fill, Tolerance, compare, match


def fill(
    at_ms: float, price: float = 100.0, *, side: int = 1, qty: float = 1.0, number: int = 1
) -> Fill:
    return Fill(number, side, round(price * E8), round(qty * E8), round(at_ms * NS_PER_MS), True)


def test_the_nearest_in_time_belongs_to_a_fill() -> None:
    live, paper = [fill(1_000), fill(1_100)], [fill(1_090), fill(1_010), fill(5_000)]
    assert match(live, paper, Tolerance()) == [(live[0], paper[1]), (live[1], paper[0])]


def test_a_fill_that_paper_missed_does_not_take_its_neighbours_partner() -> None:
    live, paper = [fill(0), fill(100), fill(200)], [fill(101), fill(202)]
    assert match(live, paper, Tolerance()) == [(live[1], paper[0]), (live[2], paper[1])]


@pytest.mark.parametrize(
    "other",
    [fill(2_001), fill(0, 100.06), fill(0, side=-1), fill(0, number=2)],
    ids=["late", "dear", "other side", "other instrument"],
)
def test_what_is_too_far_apart_does_not_belong_together(other: Fill) -> None:
    assert match([fill(0)], [other], Tolerance()) == []


FILLS = st.lists(
    st.builds(fill, st.integers(0, 5_000), st.sampled_from([100.0, 100.01, 101.0]),
              side=st.sampled_from([-1, 1])),
    max_size=20,
)  # fmt: skip


@given(FILLS, FILLS)
def test_no_fill_is_used_twice(live: list[Fill], paper: list[Fill]) -> None:
    pairs = match(live, paper, Tolerance())
    for index, given_fills in enumerate((live, paper)):
        for one in {pair[index] for pair in pairs}:
            assert [pair[index] for pair in pairs].count(one) <= given_fills.count(one)
    told = compare(
        live, paper, Tolerance(), live_strategy="a", paper_strategy="b", symbol="BTCUSDT"
    )
    assert told.matched + told.only_live == len(live)
    assert told.matched + told.only_paper == len(paper)


def test_a_better_paper_price_flatters_on_either_side() -> None:
    live = [fill(0, 100.0), fill(10, 100.0, side=-1)]
    paper = [fill(2, 99.99), fill(14, 100.01, side=-1)]
    told = compare(
        live, paper, Tolerance(), live_strategy="a", paper_strategy="b", symbol="BTCUSDT"
    )
    assert told.paper_better_bps == pytest.approx(1.0)
    assert told.paper_later_ms == pytest.approx(3.0)


# -- from the rings -----------------------------------------------------------------------------


class Rings:
    """The two execution rings of a system that is otherwise not there."""

    def __init__(self, name: str, *modes: str) -> None:
        strategies = tuple(
            StrategyConfig(name=f"maker_{mode}", plugin="a:B", symbols=("BTCUSDT",), mode=mode)  # type: ignore[arg-type]
            for mode in modes
        )
        self.plan = Plan(
            config=Config(
                symbols=("BTCUSDT",), system=SystemConfig(name=name), strategies=strategies
            ),
            run_dir="", state_dir="",
            processes=(ProcessPlan(name="all", roles=ROLES, bell=0),),
            instruments=(InstrumentPlan(instrument_id=1, symbol="BTCUSDT"),),
            limits=RateLimits(weight_1m=1, orders_10s=1, orders_1m=1),
            started_wall_ns=time.time_ns(),
        )  # fmt: skip
        self._writers = {}
        self._segments = []
        for mode, ring in ((Mode.LIVE, "executions"), (Mode.PAPER, "executions.paper")):
            ipc.create_segment(name, ring_spec(ring))
            segment = ipc.Segment.attach(name, ring_spec(ring), writable=True)
            buffer = bytearray(SLOT_BYTES)
            self._segments.append(segment)
            self._writers[mode] = (ipc.RingWriter(segment, buffer), Execution(buffer))

    def put(self, mode: Mode, strategy: int, price: float, kind: ExecKind = ExecKind.FILL) -> None:
        writer, record = self._writers[mode]
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), int(mode), 1
        record.order_id = make_order_id(strategy, 1, 1)
        record.exec_kind, record.side, record.is_maker = int(kind), 1, 1
        record.price_e8, record.qty_e8 = round(price * E8), E8
        writer.offer()

    def close(self) -> None:
        self._writers.clear()
        for segment in self._segments:
            segment.close()
        for ring in ("executions", "executions.paper"):
            ipc.unlink_segment(self.plan.name, ring)


@pytest.fixture
def rings(system_name: str) -> Iterator[Rings]:
    made = Rings(system_name, "live", "paper")
    yield made
    made.close()


def test_the_same_plugin_in_both_modes_is_compared_without_being_named(rings: Rings) -> None:
    rings.put(Mode.LIVE, 1, 100.0, ExecKind.ACK)
    rings.put(Mode.LIVE, 1, 100.0)
    rings.put(Mode.PAPER, 2, 100.0)
    rings.put(Mode.PAPER, 2, 100.0)
    (told,) = comparisons(rings.plan, None, None, Tolerance())
    assert (told.live_strategy, told.paper_strategy) == ("maker_live", "maker_paper")
    assert (told.matched, told.only_live, told.only_paper) == (1, 0, 1)
    head, line = table([told])
    assert head.startswith("live")
    assert line.startswith("maker_live  maker_paper  BTCUSDT")


def test_a_strategy_that_was_switched_is_compared_with_itself(rings: Rings) -> None:
    rings.put(Mode.LIVE, 1, 100.0)
    rings.put(Mode.PAPER, 1, 100.0)
    (told,) = comparisons(rings.plan, None, None, Tolerance())
    assert (told.live_strategy, told.paper_strategy) == ("maker_live", "maker_live")


def test_nothing_to_compare_is_said(rings: Rings) -> None:
    rings.put(Mode.LIVE, 1, 100.0)
    with pytest.raises(UsageError, match="no strategy has fills in both modes"):
        comparisons(rings.plan, None, None, Tolerance())
    with pytest.raises(UsageError, match="no strategy nobody"):
        comparisons(rings.plan, "nobody", None, Tolerance())
    (told,) = comparisons(rings.plan, "maker_live", "maker_paper", Tolerance())
    assert (told.only_live, told.only_paper) == (1, 0)


def test_fills_that_the_ring_no_longer_holds_are_no_matter(rings: Rings, tmp_path: Path) -> None:
    for _ in range(5_000):
        rings.put(Mode.LIVE, 1, 100.0, ExecKind.ACK)
    rings.put(Mode.LIVE, 1, 100.0)
    rings.put(Mode.PAPER, 2, 100.0)
    (told,) = comparisons(rings.plan, None, None, Tolerance())
    assert told.live.fills == 1
