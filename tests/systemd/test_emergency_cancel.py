"""The last resort, against the simulator: everything of ours is dead, and the orders go."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import ipc
from hft.config import Config
from hft.config import VenueConfig as VenueSettings
from hft.credentials import with_credentials
from hft.graph import ROLES
from hft.roles.context import HALT_SPEC, load_plan
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import load_credentials
from ipc import layout
from tools.demo.venue import DemoVenue, running_venue
from tools.system import status
from tools.system.segments import attach_halt
from tools.system.waiting import wait_until
from tools.venue.config import AccountConfig, VenueConfig

SYMBOLS = ("BTCUSDT", "ETHUSDT")
KEY, SECRET = "emergency-key", "emergency-secret"
Cancel = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cancel(project_root: Path) -> Cancel:
    """Run the script as a stranger to this project: without site-packages, from elsewhere."""

    def run(config: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", str(project_root / "systemd" / "emergency_cancel.py"),
             str(config), *options],
            env={"PATH": os.environ["PATH"], **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip

    return run


def fault(venue: DemoVenue, kind: str, **options: object) -> None:
    query = "&".join(f"{key}={value}" for key, value in {"kind": kind, **options}.items())
    request = urllib.request.Request(f"{venue.rest_url}/sim/fault?{query}", method="POST")
    with urllib.request.urlopen(request) as answer:
        answer.read()


def truth(venue: DemoVenue) -> Any:
    with urllib.request.urlopen(f"{venue.rest_url}/sim/truth") as answer:
        return json.loads(answer.read())


def open_at(settings: VenueSettings) -> tuple[set[str], set[str]]:
    """Symbols with open orders: regular and conditional ones."""

    async def ask() -> tuple[set[str], set[str]]:
        client = RestClient(Endpoints.from_config(settings), load_credentials(settings))
        try:
            await client.measure_clock_offset(1)
            regular = {order.symbol for order in await client.open_orders()}
            return regular, {order.symbol for order in await client.open_algo_orders()}
        finally:
            await client.close()

    return asyncio.run(ask())


class Desk:
    """Settings that name keys, and orders of a stranger on the account."""

    def __init__(self, root: Path, venue: DemoVenue, keys: str) -> None:
        self.venue = venue
        self.path = root / "hft.toml"
        self.path.write_text(
            f'symbols = ["BTCUSDT"]\n[system]\nname = "nothing-runs"\nrun_dir = "run"\n'
            f'[venue]\nrest_url = "{venue.rest_url}"\n{keys}'
        )
        self.settings = VenueSettings(rest_url=venue.rest_url)

    def place(self) -> None:
        for symbol in SYMBOLS:
            fault(self.venue, "foreign_order", symbol=symbol, seconds=600)
            fault(self.venue, "foreign_algo_order", symbol=symbol, seconds=600)
        assert wait_until(
            lambda: open_at(self.settings) == (set(SYMBOLS), set(SYMBOLS)),
            pid=self.venue.pid,
            timeout_s=60,
        )


@pytest.fixture(params=["hmac", "ed25519"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    account = AccountConfig(api_key=KEY, secret=SECRET)
    keys = {"key_type": "hmac", "key_file": "key"}
    if request.param == "ed25519":
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "private.pem").write_bytes(pem)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        account = AccountConfig(api_key=KEY, public_key_pem=public.decode())
        keys = {"key_type": "ed25519", "key_file": "key", "private_key_file": "private.pem"}
    (tmp_path / "key").write_text(KEY if request.param == "ed25519" else f"{KEY}\n{SECRET}\n")
    config = VenueConfig(symbols=SYMBOLS, accounts=(account,), frames_per_s=20)
    with running_venue(config, os.sched_getaffinity(0)) as venue:
        text = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        one = Desk(tmp_path, venue, text)
        paths = {key: str(tmp_path / value) for key, value in keys.items() if "file" in key}
        one.settings = VenueSettings(rest_url=venue.rest_url, key_type=request.param, **paths)
        yield one


def test_both_stores_are_emptied_of_every_symbol(desk: Desk, cancel: Cancel) -> None:
    desk.place()
    done = cancel(desk.path)
    assert (done.returncode, done.stdout) == (0, "no order is open any more\n"), done.stderr
    assert open_at(desk.settings) == (set(), set())
    assert cancel(desk.path).returncode == 0  # nothing to cancel is no mistake


@pytest.mark.parametrize("desk", ["hmac"], indirect=True)
def test_a_ban_that_ends_in_time_is_waited_for(desk: Desk, cancel: Cancel) -> None:
    desk.place()
    fault(desk.venue, "ban", seconds=2)
    done = cancel(desk.path)
    assert done.returncode == 0, done.stderr
    assert truth(desk.venue)["violations"] == []


@pytest.mark.parametrize("desk", ["hmac"], indirect=True)
def test_a_longer_ban_is_not_made_longer(desk: Desk, cancel: Cancel) -> None:
    desk.place()
    fault(desk.venue, "ban", seconds=600)
    begun = time.monotonic()
    done = cancel(desk.path, "--deadline", "200")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody is let in for" in done.stderr
    assert time.monotonic() - begun < 200  # it has not waited for the deadline
    assert truth(desk.venue)["violations"] == []


@pytest.mark.parametrize("desk", ["hmac"], indirect=True)
def test_a_venue_that_fails_at_first_is_asked_again(desk: Desk, cancel: Cancel) -> None:
    desk.place()
    fault(desk.venue, "internal_error", count=3, seconds=30, scope="cancel")
    done = cancel(desk.path)
    assert done.returncode == 0, done.stderr
    assert open_at(desk.settings) == (set(), set())


def test_nobody_answers(tmp_path: Path, free_port: int, cancel: Cancel) -> None:
    path = tmp_path / "hft.toml"
    path.write_text(f'[venue]\nrest_url = "http://127.0.0.1:{free_port}"\nkey_file = "key"\n')
    (tmp_path / "key").write_text("key\nsecret\n")
    done = cancel(path, "--deadline", "1", "--run-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "this is not TOML", '[venue]\nkey_file = "none"\n', "[venue]\n"]
)
def test_settings_that_do_not_hold_are_told(tmp_path: Path, text: str, cancel: Cancel) -> None:
    path = tmp_path / "hft.toml"
    path.write_text(text)
    done = cancel(path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot use {path}")
    assert "Traceback" not in done.stderr


def test_every_role_killed_with_orders_resting(host: Any, cancel: Cancel) -> None:
    host.make()
    host.start_all()
    assert host.hft("arm", "--reason", "test")[0] == 0
    pid = host.roles["execution"].pid
    assert wait_until(lambda: status.read(host.run_dir).open_orders > 0, pid=pid, timeout_s=60)
    host.kill_all()
    os.environ["CREDENTIALS_DIRECTORY"] = str(host.credentials)
    try:
        config: Config = with_credentials(host.config)
    finally:
        del os.environ["CREDENTIALS_DIRECTORY"]
    assert open_at(config.venue)[0] == {"BTCUSDT"}
    done = cancel(host.path, CREDENTIALS_DIRECTORY=str(host.credentials))
    assert done.returncode == 0, done.stderr
    assert open_at(config.venue) == (set(), set())
    latch = attach_halt(load_plan(host.run_dir))
    assert latch.is_set
    assert "emergency cancel" in latch.reason()
    for role in ROLES:  # and who starts again does not trade
        host.start(role)
    for role in ROLES:
        host.hear(role, "READY=1")
    assert status.read(host.run_dir).trading_state == "HALTED"
    assert host.hft("arm", "--reason", "looked at")[0] == 0
    assert not latch.is_set


def test_the_script_knows_where_the_halt_word_is(project_root: Path) -> None:
    text = (project_root / "systemd" / "emergency_cancel.py").read_text()
    assert f"HALT_OFFSET = {layout.ITEMS_OFFSET} " in text
    assert f"{ipc.segment.SHM_DIRECTORY}/hft." in text
    assert f'.{HALT_SPEC.name}"' in text
