"""One plug-in live and on paper beside it, against the simulated venue, with real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft import config_file, counters, graph
from hft.config import Config
from hft.core.generated.views import Position
from hft.records import Mode
from hft.roles.context import cells_spec, load_plan
from tools.demo.venue import DemoVenue, running_venue
from tools.system import status
from tools.system.segments import attach_page
from tools.venue.config import AccountConfig, VenueConfig

KEY, SECRET = "paper-key", "paper-secret"
WAIT_S = 90
KILLS = 4
SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
name = "{name}"
topology = "{topology}"
mode = "{mode}"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
rest_url = "{rest}"
streams_url = "{streams}"
api_url = "{api}"
key_file = "key"
depth_stream = "0ms"

[risk]
policy = "demo"

[metrics]
enabled = false

[supervisor]
crashes_max = 50

[[strategies]]
name = "live"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
parameters = {parameters}

[[strategies]]
name = "paper"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
mode = "paper"
parameters = {parameters}
"""
PARAMETERS = (
    '{ quote_notional = "120", edge_bps = "-2", risk_aversion = "0.01", fill_decay = "1000" }'
)


@pytest.fixture
def venue() -> Iterator[DemoVenue]:
    config = VenueConfig(
        symbols=("BTCUSDT",),
        accounts=(AccountConfig(api_key=KEY, secret=SECRET, wallet="10000"),),
        frames_per_s=100,
    )
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


class Running:
    """A system in the background."""

    def __init__(
        self, root: Path, name: str, venue: DemoVenue, project_root: Path, **settings: str
    ) -> None:
        self.root, self.name, self.venue = root, name, venue
        self.project_root = project_root
        self.path = root / "desk.toml"
        self.path.write_text(
            SETTINGS.format(
                name=name,
                root=root,
                rest=venue.rest_url,
                streams=venue.streams_url,
                api=venue.api_url,
                parameters=PARAMETERS,
                **settings,
            )
        )
        key = root / "key"
        key.write_text(f"{KEY}\n{SECRET}\n")
        key.chmod(0o600)
        self.said = self.hft("up", str(self.path), "--detach")
        self.plan = load_plan(self.run_dir)
        self._pages = {role: attach_page(self.plan, role) for role in self.plan.roles}
        self._segment = ipc.Segment.attach(name, cells_spec("positions"))
        buffer = bytearray(cells_spec("positions").item_bytes)
        self._cells, self.position = ipc.CellReader(self._segment, buffer), Position(buffer)

    @property
    def run_dir(self) -> Path:
        return self.root / "run" / self.name

    @property
    def config(self) -> Config:
        return config_file.load(self.path)

    def hft(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "hft.cli", *arguments],
            cwd=self.project_root,
            env={**os.environ, "HFT_RUN_DIR": str(self.root / "run")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def count(self, role: str, spec: counters.CounterSpec) -> int:
        return self._pages[role].counter(spec.id)

    def gauge(self, role: str, spec: counters.GaugeSpec) -> int:
        return self._pages[role].gauge(spec.id)

    def restarts(self) -> dict[str, int]:
        return {process.name: process.restarts for process in status.read(self.run_dir).processes}

    def pid(self, process: str) -> int:
        found = status.read(self.run_dir).processes
        return next(one.pid for one in found if one.name == process)

    def until(self, what: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not what():
            assert time.monotonic() < deadline, self.hft("status")
            time.sleep(0.02)

    def read(self, mode: Mode) -> Position:
        assert self._cells.read(graph.position_cell(mode, 1))
        return self.position

    def fills(self, mode: Mode) -> int:
        has_cell = self._cells.read(graph.position_cell(mode, 1))
        return self.position.fills if has_cell else 0

    def end(self) -> None:
        for page in self._pages.values():
            page.close()
        del self._cells
        self._segment.close()
        self.hft("down")
        assert ipc.list_segments(self.name) == []


@pytest.fixture
def start(
    tmp_path: Path, system_name: str, venue: DemoVenue, project_root: Path
) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(**settings: str) -> Running:
        made.append(Running(tmp_path, system_name, venue, project_root, **settings))
        return made[-1]

    yield make
    for running in made:
        running.end()


def assert_books_equal(running: Running) -> None:
    """Halt, let everything settle, and hold the live book against the venue's."""
    running.hft("halt", "--reason", "to compare")
    running.until(
        lambda: (
            not running.gauge("execution", counters.OPEN_ORDERS)
            and not running.gauge("paper", counters.OPEN_ORDERS)
        )
    )
    running.until(
        lambda: (
            running.venue.truth(running.config).position_e8.get("BTCUSDT", 0)
            == running.read(Mode.LIVE).position_e8
        )
    )
    truth = running.venue.truth(running.config)
    assert truth.violations == 0
    live = running.read(Mode.LIVE)
    assert (live.differs, live.position_e8) == (0, truth.position_e8.get("BTCUSDT", 0))
    assert running.gauge("account", counters.DIFFERS) == 0
    assert running.count("account", counters.ADJUSTMENTS) == 0
    running.until(
        lambda: (
            running.count("account", counters.PAPER_FILLS_APPLIED)
            == running.count("paper", counters.PAPER_FILLS)
        )
    )


def test_live_and_paper_fill_side_by_side_and_only_live_reaches_the_venue(
    start: Callable[..., Running],
) -> None:
    running = start(topology="compact", mode="demo")
    assert {role.name for role in status.read(running.run_dir).roles} == {*graph.ROLES, "paper"}
    running.until(lambda: running.fills(Mode.LIVE) >= 3 and running.fills(Mode.PAPER) >= 3)
    told = json.loads(running.hft("compare", "--json"))
    assert [(one["live_strategy"], one["paper_strategy"]) for one in told] == [("live", "paper")]
    assert told[0]["live"]["fills"]
    assert told[0]["paper"]["fills"]
    assert_books_equal(running)
    paper = running.read(Mode.PAPER)
    assert paper.fills == running.count("paper", counters.PAPER_FILLS)
    assert paper.position_e8 == paper.bought_qty_e8 - paper.sold_qty_e8
    assert running.count("execution", counters.FILLS) == running.fills(Mode.LIVE)


def test_paper_dies_again_and_again_and_live_does_not_notice(
    start: Callable[..., Running],
) -> None:
    running = start(topology="dedicated", mode="demo")
    before = running.restarts()
    for _ in range(KILLS):
        sent = running.count("execution", counters.SENT)
        orders = running.count("paper", counters.PAPER_ORDERS)
        running.until(lambda: running.count("paper", counters.PAPER_ORDERS) > orders)  # noqa: B023
        time.sleep(random.random() * 0.3)  # at any moment of its life
        os.kill(running.pid("paper"), signal.SIGKILL)
        running.until(lambda: running.count("execution", counters.SENT) > sent)  # noqa: B023
        running.until(lambda: running.pid("paper") and status.read(running.run_dir).problems == ())
    after = running.restarts()
    assert after.pop("paper") == before.pop("paper") + KILLS
    assert after == before
    fills = running.fills(Mode.PAPER)
    running.until(lambda: running.fills(Mode.PAPER) > fills)
    assert_books_equal(running)


def test_a_system_in_paper_mode_sends_nothing(start: Callable[..., Running]) -> None:
    running = start(topology="compact", mode="paper")
    (log_file,) = (running.root / "state").rglob("supervisor.log")
    log = log_file.read_text()
    assert "PAPER" in log
    assert "armed" in log
    running.until(lambda: running.fills(Mode.PAPER) >= 3)
    assert running.count("execution", counters.SENT) == 0
    assert running.count("execution", counters.DROPPED) == 0
    running.hft("halt", "--reason", "the end")
    running.until(lambda: not running.gauge("paper", counters.OPEN_ORDERS))
