"""`hft latency` and `hft trace` against a system that trades."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from hft import counters
from hft.errors import CheckFailedError, UsageError
from hft.graph import RingId
from hft.records import Action
from hft.roles.context import load_plan
from tools.latency import command, hdr, trace
from tools.latency.hops import Hops
from tools.system.places import known_systems

WAIT_S = 100


@pytest.fixture(scope="module")
def run_dir(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo that has traded for a moment."""
    root = tmp_path_factory.mktemp("latency")
    demo = subprocess.Popen(
        [sys.executable, "-m", "hft.cli", "demo", "--seconds", "600", "--json"],
        cwd=project_root,
        env={**os.environ, "HFT_RUN_DIR": str(root)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _until_trading(root, demo)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(WAIT_S)


def _until_trading(root: Path, demo: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        assert demo.poll() is None
        for name in known_systems(root):
            try:
                hops = Hops(load_plan(root / name))
            except Exception:  # not all of it is there yet
                continue
            counts = {hop.name: hop.total for hop in hops.read()}
            hops.close()
            if counts[counters.ACK_NS.name] > 20:
                return root / name
        time.sleep(0.1)
    raise AssertionError("the demo does not trade")


def test_every_hop_of_an_order_is_shown(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.show(run_dir, plot=True, as_json=False) == 0
    text = capsys.readouterr().out
    for hop in counters.HOPS:
        assert hop.name in text
    assert "p99.9" in text
    assert "█" in text


def test_json_has_whole_nanoseconds_in_order(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.show(run_dir, plot=False, as_json=True)
    rows = msgspec.json.decode(capsys.readouterr().out, type=list[command.Row])
    assert {row.name for row in rows} >= {hop.name for hop in counters.HOPS}
    for row in rows:
        assert row.p50 <= row.p90 <= row.p99 <= row.p999 <= row.max
        assert row.count > 0


def test_dump_is_read_back_by_the_hdrhistogram_package(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.dump(run_dir, tmp_path / "out", seconds=1.0, interval_s=0.25)
    log, *percentiles = map(Path, capsys.readouterr().out.split())
    reader = HistogramLogReader(str(log), HdrHistogram(hdr.VALUE_MIN, hdr.VALUE_MAX, hdr.DIGITS))
    totals: dict[str, int] = {}
    intervals = 0
    while (one := reader.get_next_interval_histogram()) is not None:
        totals[one.get_tag()] = totals.get(one.get_tag(), 0) + one.get_total_count()
        intervals += 1
    reader.close()
    assert intervals > len(totals), "more than one interval"
    assert {path.stem for path in percentiles} == set(totals)
    for path in percentiles:
        assert f"Total count    = {totals[path.stem]:12d}]" in path.read_text()

    drawing = tmp_path / "plot.svg"
    assert command.report([log], drawing) == 0
    ElementTree.parse(drawing)
    assert counters.FEED_NS.name in drawing.read_text()


def test_order_is_traced_back_to_its_tick(run_dir: Path) -> None:
    plan = load_plan(run_dir)
    *_, order_id = (
        row.order_id
        for row in trace._rows(plan, "intents.strategy")
        if row.cause_ring == RingId.MARKET and row.action == Action.PLACE
    )
    found = trace.trace(plan, order_id)
    rings = [step.ring for step in found.steps]
    assert "market" in rings
    assert rings.index("intents.strategy") < rings.index("decisions")
    times = [step.at_ns for step in found.steps]
    assert times == sorted(times)
    first = next(step for step in found.steps if step.ring == "intents.strategy")
    assert first.since_origin_ns > 0
    lines = trace.render(found)
    assert found.client_order_id in lines[0]
    assert len(lines) == 3 + len(found.steps) + len(found.missing)


def test_order_that_never_was_is_told(run_dir: Path) -> None:
    with pytest.raises(CheckFailedError, match="holds a record"):
        trace.trace(load_plan(run_dir), 12_345)


@pytest.mark.parametrize("text", ["", "x", "h12", "-3", "0"])
def test_what_is_no_order_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no order id"):
        trace.parse_order(text)


def test_order_ids_come_as_the_venue_shows_them_and_as_numbers() -> None:
    assert trace.parse_order("h016b033b6c00005a") == 0x016B033B6C00005A
    assert trace.parse_order("77") == 77
