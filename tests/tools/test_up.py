"""Up, a second up, down; and what the preflight finds at the venue."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ipc
from hft import config_file
from hft.config import Config
from hft.errors import UnreachableError
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import load_credentials
from tools.demo.venue import DemoVenue, running_venue
from tools.system import preflight, status
from tools.system.waiting import wait_until
from tools.venue.config import AccountConfig, VenueConfig

KEY, SECRET = "test-key", "test-secret"
SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
name = "{name}"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
rest_url = "{rest}"
streams_url = "{streams}"
api_url = "{api}"
key_file = "key"

[risk]
policy = "demo"

[[strategies]]
name = "maker"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
"""
BROKEN_PLUGIN = """\
from hft.strategy.base import StrategyParameters

class Broken:
    class Parameters(StrategyParameters, frozen=True):
        pass

    def __init__(self, parameters, instrument):
        raise RuntimeError("no model file")

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        pass

    def on_timer(self, now_ns, targets):
        pass
"""


class Page(BaseHTTPRequestHandler):
    """What a hotel's network answers to everything."""

    def do_GET(self) -> None:
        body = b"<html>please log in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def page_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody listens, held so that nobody can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def venue() -> Iterator[DemoVenue]:
    accounts = (
        AccountConfig(api_key=KEY, secret=SECRET, wallet="10000"),
        AccountConfig(api_key="live-key", secret=SECRET, account="live"),
        AccountConfig(api_key="reading-key", secret=SECRET, account="reader", can_trade=False),
        AccountConfig(api_key="poor-key", secret=SECRET, account="poor", wallet="0"),
        AccountConfig(api_key="odd-key", secret=SECRET, account="odd"),
        AccountConfig(api_key="hedge-key", secret=SECRET, account="hedge"),
    )
    config = VenueConfig(symbols=("BTCUSDT",), accounts=accounts, frames_per_s=100)
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


class Desk:
    """Settings in a directory of their own, and the command that uses them."""

    def __init__(self, root: Path, name: str, venue: DemoVenue, project_root: Path) -> None:
        self.root = root
        self.name = name
        self.path = root / "desk.toml"
        self._project_root = project_root
        self.path.write_text(
            SETTINGS.format(
                name=name,
                root=root,
                rest=venue.rest_url,
                streams=venue.streams_url,
                api=venue.api_url,
            )
        )
        self.use_key(KEY)

    def use_key(self, key: str, secret: str = SECRET) -> None:
        (self.root / "key").write_text(f"{key}\n{secret}\n")
        (self.root / "key").chmod(0o600)

    def change(self, old: str, new: str) -> None:
        self.path.write_text(self.path.read_text().replace(old, new))

    @property
    def config(self) -> Config:
        return config_file.load(self.path)

    @property
    def run_dir(self) -> Path:
        return self.root / "run" / self.name

    def hft(self, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "hft.cli", *arguments],
            cwd=self._project_root,
            env={**os.environ, "HFT_RUN_DIR": str(self.root / "run")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def assert_nothing_left(self) -> None:
        assert ipc.list_segments(self.name) == []
        assert not self.run_dir.exists()


@pytest.fixture
def desk(tmp_path: Path, system_name: str, venue: DemoVenue, project_root: Path) -> Iterator[Desk]:
    one = Desk(tmp_path, system_name, venue, project_root)
    yield one
    if one.run_dir.exists():
        one.hft("down")


def problems_at(desk: Desk) -> list[str]:
    with pytest.raises(preflight.PreflightError) as raised:
        preflight.check(desk.config)
    return raised.value.problems


def waits_with_all_on_disk(desk: Desk) -> bool:
    """Whether nothing is amiss, nothing may be traded, and the recorder has copied everything."""
    found = status.read(desk.run_dir)
    recorder = found.roles[-1]
    return (
        (found.trading_state, found.problems) == ("HALTED", ())
        and (recorder.name, recorder.behind) == ("recorder", 0)
        and recorder.detail.endswith(" on disk")
    )


def test_live_system_waits_to_be_armed_and_a_second_one_is_refused(desk: Desk) -> None:
    desk.use_key("live-key")
    exit_code, out, err = desk.hft("up", str(desk.path), "--detach")
    assert exit_code == 0, err
    assert "runs in the background" in out
    found = status.read(desk.run_dir)
    assert wait_until(lambda: waits_with_all_on_disk(desk), pid=found.supervisor_pid, timeout_s=60)
    exit_code, out, _ = desk.hft("journal", "verify", "--json")
    assert exit_code == 0
    assert json.loads(out)["files"] == 1
    exit_code, out, err = desk.hft("up", str(desk.path))
    assert (exit_code, out) == (2, "")
    assert err.startswith(f'hft: "{desk.name}" runs already (pid {found.supervisor_pid}, since ')
    exit_code, out, _ = desk.hft("arm", "--reason", "ready")
    assert (exit_code, out) == (0, f'"{desk.name}" is ACTIVE: ready\n')
    exit_code, _, err = desk.hft("run", "feed")
    assert exit_code == 2
    assert "its lock is held by process" in err
    exit_code, out, err = desk.hft("down")
    assert exit_code == 0, err
    assert ipc.process_start_time(found.supervisor_pid) is None
    assert {ipc.process_start_time(process.pid) for process in found.processes} == {None}
    desk.assert_nothing_left()


@pytest.mark.parametrize(
    ("old", "new", "exit_code", "told"),
    [
        ('["BTCUSDT"]', '["BTCUSTD"]', 2, "hft: symbol 'BTCUSTD' does not exist at the venue"),
        ('"hft.strategy.maker:Maker"', '"hft.strategy.maker:Taker"', 2,
         "hft: hft.strategy.maker has no class Taker"),
        ('key_file = "key"', 'key_file = "none"', 2, "none: no such file"),
        ("policy", "polcy", 2, "Did you mean policy?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_nothing_is_left(
    desk: Desk, old: str, new: str, exit_code: int, told: str
) -> None:
    desk.change(old, new)
    code, out, err = desk.hft("up", str(desk.path))
    assert (code, out) == (exit_code, ""), err
    assert told in err
    assert "Traceback" not in err
    desk.assert_nothing_left()
    assert not (desk.root / "state").exists()


@pytest.mark.parametrize(
    ("key", "secret", "told"),
    [
        (KEY, "wrong", 'the venue refused the key: -1022 "'),
        ("wrong", SECRET, 'the venue refused the key: -2015 "'),
        ("reading-key", SECRET, 'the venue refused the key: -2015 "'),
    ],
)
def test_keys_that_are_refused(desk: Desk, key: str, secret: str, told: str) -> None:
    desk.use_key(key, secret)
    assert any(problem.startswith(told) for problem in problems_at(desk))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("streams_url", "not with a WebSocket"),
        ("api_url", "not with a WebSocket"),
        ("rest_url", "does not answer as the venue does"),
    ],
)
def test_page_in_place_of_the_venue_is_told_before_anything_starts(
    desk: Desk, page_port: int, setting: str, told: str
) -> None:
    old = getattr(desk.config.venue, setting)
    desk.change(old, f"{old.partition('://')[0]}://127.0.0.1:{page_port}")
    with pytest.raises(UnreachableError, match=told) as raised:
        preflight.check(desk.config)
    assert f"venue.{setting}" in raised.value.message + raised.value.remedy


@pytest.mark.parametrize("setting", ["streams_url", "api_url"])
def test_address_that_nobody_answers_is_told_with_its_setting(
    desk: Desk, free_port: int, setting: str
) -> None:
    old = getattr(desk.config.venue, setting)
    desk.change(old, f"ws://127.0.0.1:{free_port}")
    exit_code, out, err = desk.hft("up", str(desk.path))
    assert (exit_code, out) == (3, "")
    assert f"venue.{setting}: 127.0.0.1:{free_port} cannot be reached" in err
    desk.assert_nothing_left()


def test_key_file_that_others_may_read_is_a_notice(desk: Desk) -> None:
    (desk.root / "key").chmod(0o644)
    notices = preflight.check(desk.config).notices
    assert [notice for notice in notices if str(desk.root / "key") in notice]


def test_background_start_that_fails_tells_what_was_said(desk: Desk) -> None:
    desk.use_key(KEY, "wrong")
    exit_code, out, err = desk.hft("up", str(desk.path), "--detach")
    assert (exit_code, out) == (2, "")
    assert err.startswith(f'hft: "{desk.name}" did not start. It said:\n     the venue refused')
    desk.assert_nothing_left()


def test_state_directory_that_cannot_be_made_is_told(desk: Desk) -> None:
    (desk.root / "state").write_text("a file is in its place")
    for option in ((), ("--detach",)):
        exit_code, out, err = desk.hft("up", str(desk.path), *option)
        assert (exit_code, out) == (2, "")
        assert f"{desk.root / 'state' / desk.name}" in err
        assert "Set system.state_dir to a directory" in err
        desk.assert_nothing_left()


def test_plugin_that_fails_when_it_is_made_is_told_in_words(desk: Desk) -> None:
    plugin = desk.root / "broken.py"
    plugin.write_text(BROKEN_PLUGIN)
    desk.change("hft.strategy.maker:Maker", f"{plugin}:Broken")
    exit_code, _, err = desk.hft("up", str(desk.path))
    assert exit_code == 2
    assert "on BTCUSDT: RuntimeError in " in err
    assert "no model file" in err
    assert "Traceback" not in err
    desk.assert_nothing_left()


def test_good_account_gives_limits_rules_and_equity(desk: Desk) -> None:
    facts = preflight.check(desk.config)
    assert (facts.limits.orders_10s, facts.limits.orders_1m) == (300, 1_200)
    assert list(facts.symbols) == ["BTCUSDT"]
    assert facts.equity_e8 == 10_000 * 10**8
    assert facts.notices == ()


def test_empty_wallet_is_told(desk: Desk) -> None:
    desk.use_key("poor-key")
    assert problems_at(desk)[0].startswith("the account holds no USDT.")


def test_everything_odd_about_an_account_is_told_at_once(desk: Desk) -> None:
    desk.use_key("odd-key")
    asyncio.run(ask(desk.config, "leverage", symbol="BTCUSDT", leverage="50"))
    asyncio.run(ask(desk.config, "multiAssetsMargin", multiAssetsMargin="true"))
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
             "quantity": "0.010", "price": "62000", "newClientOrderId": "by-hand"}  # fmt: skip
    asyncio.run(ask(desk.config, "order", **order))
    found = "\n".join(problems_at(desk))
    for told in (
        "the account is in multi-assets mode",
        "BTCUSDT: the leverage is 50, allowed are 20",
        'BTCUSDT: 1 open orders are not ours, the first is "by-hand"',
    ):
        assert told in found
    assert preflight.emergency_cancel(desk.config) == "0 open orders of ours cancelled by REST"


async def ask(config: Config, path: str, **parameters: str) -> None:
    client = RestClient(Endpoints.from_config(config.venue), load_credentials(config.venue))
    try:
        await client.request("POST", f"/fapi/v1/{path}", list(parameters.items()), signed=True)
    finally:
        await client.close()


def test_hedge_mode_is_told(desk: Desk) -> None:
    desk.use_key("hedge-key")
    asyncio.run(ask(desk.config, "positionSide/dual", dualSidePosition="true"))
    assert problems_at(desk)[0].startswith("the account is in hedge mode")


def test_venue_that_does_not_answer_is_unreachable(desk: Desk, venue: DemoVenue) -> None:
    desk.change(venue.rest_url, "http://127.0.0.1:1")
    code, out, err = desk.hft("up", str(desk.path))
    assert (code, out) == (3, "")
    assert err.startswith("hft: 127.0.0.1:1 cannot be reached")
    desk.assert_nothing_left()
    assert preflight.emergency_cancel(desk.config).startswith("our orders could NOT all be")
