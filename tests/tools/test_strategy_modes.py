"""What the README says of strategies is enough to write one: it runs in demo, paper and observe."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft import counters, graph
from hft.core.generated.views import Position
from hft.records import Mode
from hft.roles.context import cells_spec, load_plan
from tools.demo.ledger import Ledger
from tools.demo.venue import DemoVenue, running_venue
from tools.system.segments import attach_page
from tools.system.waiting import wait_until
from tools.venue.config import AccountConfig, VenueConfig

LINES_MAX = 40
WAIT_S = 100
SYMBOLS = ("BTCUSDT", "ETHUSDT")
SETTINGS = """\
symbols = ["BTCUSDT", "ETHUSDT"]

[system]
name = "{name}"
mode = "demo"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
rest_url = "{venue.rest_url}"
streams_url = "{venue.streams_url}"
api_url = "{venue.api_url}"
key_file = "key"
depth_stream = "0ms"

[risk]
policy = "demo"

[metrics]
enabled = false
"""
STRATEGY = """
[[strategies]]
name = "{name}_{mode}"
plugin = "{name}.py:{class_name}"
symbols = ["{symbol}"]
mode = "{mode}"
"""


@pytest.fixture
def plugins(tmp_path: Path, project_root: Path) -> dict[str, str]:
    """The README's own strategy, and one that a stranger wrote from its page: class by name."""
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    joiner = re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)[0]
    fader = (project_root / "tests" / "strategy" / "fader.py").read_text(encoding="utf-8")
    for name, source in (("joiner", joiner), ("fader", fader)):
        assert source.count("\n") < LINES_MAX
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    return {"joiner": "Joiner", "fader": "Fader"}


def begin(root: Path, project_root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hft.cli", *arguments],
        cwd=root,
        env={
            **os.environ,
            "HFT_RUN_DIR": str(root / "run"),
            "PYTHONPATH": str(project_root),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def hft(root: Path, project_root: Path, *arguments: str) -> str:
    return end(begin(root, project_root, *arguments))


def all_have_filled(run_dir: Path) -> bool:
    """Whether every strategy of a demo has had a fill."""
    if not (run_dir / "supervisor.json").exists():
        return False
    plan = load_plan(run_dir)
    ledger = Ledger(plan)
    try:
        ledger.poll()
        return all(
            one.fills for one in ledger.results({one.instrument_id: 0 for one in plan.instruments})
        )
    finally:
        ledger.close()


def test_both_trade_in_the_demo(
    tmp_path: Path, project_root: Path, plugins: dict[str, str]
) -> None:
    chosen = ",".join(f"{name}.py:{class_name}" for name, class_name in plugins.items())
    demo = begin(
        tmp_path, project_root, "demo", "--seconds", "600", "--json", "--strategies", chosen
    )
    run_dir = tmp_path / "run" / f"demo-{demo.pid}"
    has_filled = wait_until(lambda: all_have_filled(run_dir), pid=demo.pid, timeout_s=WAIT_S)
    demo.send_signal(signal.SIGINT)
    told = end(demo)
    assert has_filled, told
    rows: dict[str, Any] = {row["name"]: row for row in json.loads(told)["strategies"]}
    assert rows["joiner"]["symbols"] == ["BTCUSDT", "SOLUSDT"]
    for name in plugins:
        assert rows[name]["fills"] > 0, rows
        assert rows[name]["paused"] == {}


@pytest.fixture
def venue() -> Iterator[DemoVenue]:
    config = VenueConfig(
        symbols=SYMBOLS,
        accounts=(AccountConfig(api_key="mode-key", secret="mode-secret", wallet="10000"),),
        frames_per_s=100,
    )
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


@pytest.fixture
def up(
    tmp_path: Path, project_root: Path, system_name: str, venue: DemoVenue, plugins: dict[str, str]
) -> Iterator[Path]:
    """A system in which each runs on paper and, on the other instrument, observes."""
    text = SETTINGS.format(name=system_name, root=tmp_path, venue=venue)
    for index, (name, class_name) in enumerate(plugins.items()):
        for mode, symbol in (("paper", SYMBOLS[index]), ("observe", SYMBOLS[1 - index])):
            text += STRATEGY.format(name=name, class_name=class_name, mode=mode, symbol=symbol)
    (tmp_path / "hft.toml").write_text(text)
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("mode-key\nmode-secret\n")
    hft(tmp_path, project_root, "up", "--detach")
    yield tmp_path / "run" / system_name
    hft(tmp_path, project_root, "down")
    assert ipc.list_segments(system_name) == []


def test_both_fill_on_paper_and_observe_and_nothing_reaches_the_venue(
    tmp_path: Path, project_root: Path, plugins: dict[str, str], up: Path
) -> None:
    plan = load_plan(up)
    execution = attach_page(plan, "execution")
    segment = ipc.Segment.attach(plan.name, cells_spec("positions"))
    buffer = bytearray(cells_spec("positions").item_bytes)
    cells, position = ipc.CellReader(segment, buffer), Position(buffer)

    def until(is_so: Callable[[], bool]) -> None:
        assert wait_until(is_so, pid=execution.pid, timeout_s=WAIT_S), hft(
            tmp_path, project_root, "strategy", "status"
        )

    def paper_fills(symbol: str) -> int:
        cell = graph.position_cell(Mode.PAPER, plan.instrument_id(symbol))
        return position.fills if cells.read(cell) else 0

    def rows() -> dict[str, Any]:
        told = json.loads(hft(tmp_path, project_root, "strategy", "status", "--json"))
        return {one["name"]: one for one in told["strategies"]}

    try:
        until(lambda: all(paper_fills(symbol) >= 2 for symbol in SYMBOLS))
        until(lambda: execution.counter(counters.DROPPED.id) >= 2)
        for name, row in rows().items():
            assert row["mode"] == name.partition("_")[2]
            assert [desk["state"] for desk in row["desks"]] == ["running"]
        for name in plugins:
            told = hft(tmp_path, project_root, "strategy", "mode", f"{name}_observe", "paper")
            assert "changes to paper" in told
        until(lambda: all(row["desks"][0]["mode"] == "paper" for row in rows().values()))
        assert execution.counter(counters.SENT.id) == 0
    finally:
        execution.close()
        segment.close()
