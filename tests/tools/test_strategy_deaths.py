"""A plug-in that takes its process along: restarted, found out and paused; the others go on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK
from tools.demo.venue import DemoVenue, running_venue
from tools.system import status
from tools.venue.config import AccountConfig, VenueConfig

WAIT_S = 120
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SETTINGS = """\
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]

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

[[strategies]]
name = "killer"
plugin = "killer.py:Hostile"
symbols = ["BTCUSDT"]

[[strategies]]
name = "joiner"
plugin = "joiner.py:Joiner"
symbols = ["ETHUSDT"]

[[strategies]]
name = "greedy"
plugin = "greedy.py:Hostile"
symbols = ["SOLUSDT"]
"""
HOSTILE = '''
import os, signal
from hft.records import Side
from hft.strategy.base import StrategyParameters

class Hostile:
    class Parameters(StrategyParameters, frozen=True):
        pass

    def __init__(self, parameters, instrument):
        self.calls = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        self.calls += 1
        MISDEED

    def on_timer(self, now_ns, targets):
        """Nothing."""
'''
GREEDY = "targets.set(Side.BUY, 90 * top.bid_e8, 10**18)"
BIDDING = "targets.set(Side.BUY, top.bid_e8 * 999 // 1000, 10**7)"
DEATHS = {
    "exits": "os._exit(0)",
    "kills itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "blocks in one C call": "sum(range(10**12))",
}


class System:
    """A system in the background."""

    def __init__(self, root: Path, name: str, project_root: Path) -> None:
        self.root, self.run_dir = root, root / "run" / name
        self._project_root = project_root

    def hft(self, *arguments: str, exit_codes: tuple[int, ...] = (EXIT_OK,)) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "hft.cli", *arguments],
            cwd=self.root,
            env={
                **os.environ,
                "HFT_RUN_DIR": str(self.root / "run"),
                "PYTHONPATH": str(self._project_root),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in exit_codes, done.stdout + done.stderr
        return done.stdout

    def until(self, is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < deadline, self.hft("status", exit_codes=(0, 1, 2, 3))
            time.sleep(0.05)

    def restarts(self) -> int:
        return sum(process.restarts for process in status.read(self.run_dir).processes)

    def is_well(self) -> bool:
        return all(role.state == "ready" for role in status.read(self.run_dir).roles)

    def desk(self, name: str) -> dict[str, Any]:
        told = json.loads(
            self.hft("strategy", "status", "--json", exit_codes=(EXIT_OK, EXIT_CHECK_FAILED))
        )
        (desk,) = next(one for one in told["strategies"] if one["name"] == name)["desks"]
        return dict(desk)


@pytest.fixture
def venue() -> Iterator[DemoVenue]:
    config = VenueConfig(
        symbols=SYMBOLS,
        accounts=(AccountConfig(api_key="death-key", secret="death-secret", wallet="10000"),),
        frames_per_s=100,
    )
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


@pytest.fixture
def up(
    tmp_path: Path, project_root: Path, system_name: str, venue: DemoVenue
) -> Iterator[Callable[[str], System]]:
    system = System(tmp_path, system_name, project_root)

    def start(misdeed: str) -> System:
        """The killer bids far from the market for a while, and then does it."""
        killing = f"{BIDDING}\n        if self.calls > 100: {misdeed}"
        readme = (project_root / "README.md").read_text(encoding="utf-8")
        joiner = re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)[0]
        (tmp_path / "joiner.py").write_text(joiner, encoding="utf-8")
        (tmp_path / "killer.py").write_text(HOSTILE.replace("MISDEED", killing))
        (tmp_path / "greedy.py").write_text(HOSTILE.replace("MISDEED", GREEDY))
        settings = SETTINGS.format(name=system_name, root=tmp_path, venue=venue)
        (tmp_path / "hft.toml").write_text(settings)
        key = tmp_path / "key"
        key.touch(mode=0o600)
        key.write_text("death-key\ndeath-secret\n")
        system.hft("up", "--detach")
        return system

    yield start
    if system.run_dir.exists():
        system.hft("down", exit_codes=(0, 1, 2, 3))
    assert ipc.list_segments(system_name) == []


@pytest.mark.parametrize("misdeed", DEATHS.values(), ids=DEATHS)
def test_a_plugin_that_kills_its_process_is_paused_and_the_others_go_on(
    up: Callable[[str], System], misdeed: str
) -> None:
    system = up(misdeed)
    system.until(lambda: system.restarts() == 2 and system.is_well())
    killer = system.desk("killer")
    assert killer["state"] == "paused"
    assert killer["reason"] == "the process died or hung in its on_top_of_book on BTCUSDT"
    told = system.hft("strategy", "status", "--error", "killer", exit_codes=(EXIT_CHECK_FAILED,))
    assert "on_top_of_book on BTCUSDT" in told
    assert "hft strategy resume" in told
    system.until(lambda: system.desk("killer")["resting"] == {})
    before = system.desk("joiner")
    system.until(lambda: system.desk("joiner")["position"] != before["position"])
    assert system.desk("joiner")["state"] == "running"
    assert system.restarts() == 2, "nobody died after that"
    system.until(lambda: system.desk("greedy")["last_refusal"] is not None)
    greedy = system.desk("greedy")
    assert greedy["position"] == "0", "what is absurd does not pass risk"
    assert greedy["last_refusal"]["code"] > 0
    assert f"code {greedy['last_refusal']['code']}, " in system.hft(
        "strategy", "status", exit_codes=(EXIT_CHECK_FAILED,)
    )
