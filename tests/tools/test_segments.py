"""Segments and queue of a system: all made or none, all removed; instruments before any role."""

from pathlib import Path

import orjson
import pytest

import ipc
from hft.config import Config, InstrumentPlan, Plan, ProcessPlan, RateLimits, SystemConfig
from hft.core.generated.views import Instrument
from hft.roles.context import cells_spec, segment_specs
from hft.venues.binance_usdm.exchange_info import parse_exchange_info
from tools.system.segments import create_all, remove_all, write_instruments
from tools.venue.config import VenueConfig
from tools.venue.server import build


def plan_of(name: str, run_dir: Path) -> Plan:
    return Plan(
        config=Config(symbols=("ETHUSDT",), system=SystemConfig(name=name)),
        run_dir=str(run_dir),
        state_dir=str(run_dir),
        processes=(ProcessPlan(name="hot", roles=("feed",), bell=0),),
        instruments=(InstrumentPlan(instrument_id=5, symbol="ETHUSDT"),),
        limits=RateLimits(weight_1m=1, orders_10s=1, orders_1m=1),
        started_wall_ns=1,
    )


def test_all_segments_of_the_graph_are_made_and_removed(system_name: str, run_dir: Path) -> None:
    footprint = create_all(system_name, run_dir)
    specs = segment_specs()
    assert footprint.segment_count == len(specs)
    assert ipc.list_segments(system_name) == sorted(spec.name for spec in specs)
    ipc.CommandQueue.attach(run_dir)
    assert remove_all(system_name, run_dir) == len(specs) + 1
    assert ipc.list_segments(system_name) == []
    assert list(run_dir.iterdir()) == []
    assert remove_all(system_name, run_dir) == 0


def test_a_name_that_is_taken_leaves_nothing_new_behind(system_name: str, run_dir: Path) -> None:
    taken = segment_specs()[-1]
    ipc.create_segment(system_name, taken)
    with pytest.raises(ipc.SegmentExistsError):
        create_all(system_name, run_dir)
    assert ipc.list_segments(system_name) == [taken.name]
    remove_all(system_name, run_dir)


def test_instruments_are_there_before_any_role(system_name: str, run_dir: Path) -> None:
    exchange, _ = build(VenueConfig(symbols=("ETHUSDT",)))
    body = orjson.dumps(exchange.exchange_info())
    info = parse_exchange_info(body, ["ETHUSDT"])
    create_all(system_name, run_dir)
    try:
        write_instruments(plan_of(system_name, run_dir), info.symbols)
        spec = cells_spec("instruments")
        buffer = bytearray(spec.item_bytes)
        reader = ipc.CellReader(ipc.Segment.attach(system_name, spec), buffer)
        assert reader.read(5)
        row = Instrument(buffer)
        assert (row.symbol, row.instrument_id, row.instrument_version) == (b"ETHUSDT", 5, 1)
        assert (row.tick_e8, row.quote_asset_id) == (1_000_000, 1)
        assert not reader.read(1)
    finally:
        remove_all(system_name, run_dir)
