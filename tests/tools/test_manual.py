"""Orders by hand in a system that runs, at the simulator: command line, risk, execution, venue."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ipc
from hft.core.order_id import SOURCE_MANUAL, source_of
from hft.errors import CheckFailedError, UnreachableError, UsageError
from hft.records import Reason, Side
from hft.units import E8, floor_to
from tools.demo.venue import DemoVenue, running_venue
from tools.system.journal import parse_order
from tools.system.manual import ManualDesk
from tools.system.manual_order import Ticket
from tools.system.waiting import wait_until
from tools.venue.config import AccountConfig, VenueConfig

SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
name = "{name}"
mode = "demo"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
rest_url = "{rest}"
streams_url = "{streams}"
api_url = "{api}"
key_file = "key"

[metrics]
enabled = false

[risk]
policy = "demo"

[risk.limits]
intent_age_ms_max = 2_000

[execution]
decision_age_ms_max = 2_000

[risk.manual]
enabled = true
messages_per_s_max = 20
"""
QTY_E8 = E8 // 500


class System:
    """A system without a strategy, and what a person types."""

    def __init__(
        self, root: Path, name: str, venue: DemoVenue, run_hft: Callable[..., tuple[int, str, str]]
    ) -> None:
        self.name, self.run_dir = name, root / "run" / name
        self._run_hft = run_hft
        self.environment = {**os.environ, "HFT_RUN_DIR": str(root / "run")}
        self.settings = root / "hft.toml"
        self.settings.write_text(
            SETTINGS.format(
                name=name,
                root=root,
                rest=venue.rest_url,
                streams=venue.streams_url,
                api=venue.api_url,
            )
        )
        (root / "key").write_text("key\nsecret\n")
        (root / "key").chmod(0o600)

    def hft(self, *arguments: str) -> tuple[int, str, str]:
        return self._run_hft(*arguments, environment=self.environment)

    def bid(self, bps: int = 25) -> str:
        """A price that rests, so far below the mid: half the collar, as the market goes on."""
        with ManualDesk(self.run_dir) as desk:
            mid_e8 = desk.mid_e8("BTCUSDT")
        return f"{floor_to(mid_e8 - mid_e8 * bps // 10_000, E8 // 10) / E8:.1f}"


@pytest.fixture(scope="module")
def venue() -> Iterator[DemoVenue]:
    accounts = (AccountConfig(api_key="key", secret="secret", wallet="10000"),)
    config = VenueConfig(symbols=("BTCUSDT",), accounts=accounts, frames_per_s=50)
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    venue: DemoVenue,
    run_hft: Callable[..., tuple[int, str, str]],
) -> Iterator[System]:
    one = System(tmp_path_factory.mktemp("manual"), f"manual-{os.getpid()}", venue, run_hft)
    try:
        exit_code, _, err = one.hft("up", str(one.settings), "--detach")
        assert exit_code == 0, err
        with ManualDesk(one.run_dir) as desk:
            assert wait_until(lambda: _is_live(desk), pid=os.getpid(), timeout_s=60)
        yield one
    finally:
        if one.run_dir.exists():
            one.hft("down")
    assert ipc.list_segments(one.name) == []


def _is_live(desk: ManualDesk) -> bool:
    try:
        desk.mid_e8("BTCUSDT")
    except UnreachableError:
        return False
    return True


def test_a_resting_order_is_seen_and_cancelled(system: System) -> None:
    exit_code, out, err = system.hft(
        "order", "buy", "BTCUSDT", "0.002", "--price", system.bid(), "--post-only", "--yes"
    )
    assert (exit_code, err) == (0, "")
    assert f"DEMO {system.name}: buy 0.002 BTCUSDT at " in out
    assert "bps below the mid (post-only): 12" in out
    (name,) = re.findall(r"rests at .*, (h[0-9a-f]{16})\.", out)
    assert source_of(parse_order(name)) == SOURCE_MANUAL
    status = json.loads(system.hft("status", "--json")[1])
    assert status["open_orders"] == 1
    assert wait_until(
        lambda: name in system.hft("journal", "show")[1], pid=os.getpid(), timeout_s=60
    )
    exit_code, out, err = system.hft("order", "cancel", name, "--yes")
    assert (exit_code, err) == (0, "")
    assert f"{name} is canceled" in out
    exit_code, _, err = system.hft("order", "cancel", name, "--yes")
    assert exit_code == 2
    assert f"no order of ours with the id {name} is open" in err


def test_a_position_is_opened_and_flattened(system: System) -> None:
    exit_code, out, err = system.hft("order", "sell", "BTCUSDT", "0.002", "--market", "--yes")
    assert (exit_code, err) == (0, "")
    assert "sold 0.002 BTCUSDT at 6" in out
    with ManualDesk(system.run_dir) as desk:
        held = wait_until(
            lambda: desk.position_e8("BTCUSDT") == -QTY_E8, pid=os.getpid(), timeout_s=60
        )
        assert held
    exit_code, out, err = system.hft("order", "flatten", "BTCUSDT", "--yes")
    assert (exit_code, err) == (0, "")
    assert "close -0.002 BTCUSDT" in out
    assert "-0.002 BTCUSDT closed; the position is 0 now." in out
    exit_code, _, err = system.hft("order", "flatten", "BTCUSDT", "--yes")
    assert exit_code == 2
    assert "there is no position in BTCUSDT" in err


def test_a_position_larger_than_one_order_is_closed_in_several(system: System) -> None:
    with ManualDesk(system.run_dir) as desk:
        largest_e8 = 3 * E8 // 1_000
        for _ in range(2):
            desk.place(Ticket("BTCUSDT", Side.BUY, largest_e8)).require()
        assert wait_until(
            lambda: desk.position_e8("BTCUSDT") == 2 * largest_e8, pid=os.getpid(), timeout_s=60
        )
        assert desk._closing_ticket("BTCUSDT", 2 * largest_e8).qty_e8 < 2 * largest_e8
        assert desk.flatten("BTCUSDT").require().text.endswith("the position is 0 now.")


def test_all_orders_of_a_symbol_are_cancelled_together(system: System) -> None:
    for bps in (20, 25):
        words = ("order", "buy", "BTCUSDT", "0.002", "--price", system.bid(bps), "--yes")
        exit_code, _, err = system.hft(*words)
        assert exit_code == 0, err
    exit_code, out, err = system.hft("order", "cancel", "--symbol", "btcusdt", "--yes")
    assert (exit_code, err) == (0, "")
    assert "2 orders cancelled in BTCUSDT" in out
    exit_code, out, _ = system.hft("order", "cancel", "--all", "--yes")
    assert (exit_code, out) == (0, "no order is open.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("BTCUSDT", "0.002"), "one of the two"),
        (("BTCUSDT", "0.002", "--price", "64000", "--market"), "one of the two"),
        (("BTCUSDT", "0.0021", "--market"), "Nearest are 0.002 and 0.003"),
        (("BTCUSDT", "0.002", "--price", "64000.05"), "in ticks of 0.1"),
        (("BTCUSDT", "0.002", "--price", "6400"), "Is a digit missing?"),
        (("BTCUSDT", "20", "--market"), "more than one order by hand may be worth"),
        (("BTCUSDT", "0", "--market"), "no quantity that the venue takes"),
        (("BTCUSDT", "much", "--market"), "is not a decimal number"),
        (("BTCUSDT", "0.002", "--market", "--post-only"), "cannot be post-only"),
        (("NOTHING", "0.002", "--market"), "It is: BTCUSDT"),
    ],
)
def test_what_cannot_be_sent_is_told_before(
    system: System, arguments: tuple[str, ...], says: str
) -> None:
    exit_code, out, err = system.hft("order", "buy", *arguments, "--yes")
    assert (exit_code, out) == (2, "")
    assert says in err


def test_without_a_terminal_nobody_is_asked_and_nothing_done(system: System) -> None:
    exit_code, out, err = system.hft("order", "buy", "BTCUSDT", "0.002", "--market")
    assert (exit_code, out) == (2, "")
    assert "nobody can be asked here" in err


@pytest.mark.parametrize("answer", [b"\n", b"n\n"])
def test_no_is_what_it_takes_for_an_answer(system: System, answer: bytes) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hft.cli", "order", "buy", "BTCUSDT", "0.002", "--market"],
        stdin=slave, stdout=slave, stderr=slave, env=system.environment,
    )  # fmt: skip
    os.close(slave)
    shown = _read_until(master, b"[y/N]")
    assert b"buy 0.002 BTCUSDT at the market" in shown
    os.write(master, answer)
    assert b"not done" in _read_until(master, b"not done")
    assert process.wait(30) == 0
    os.close(master)


def _read_until(descriptor: int, words: bytes) -> bytes:
    shown = b""
    deadline = time.monotonic() + 30
    while words not in shown and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 1)[0]:
            shown += os.read(descriptor, 4_096)
    return shown


def test_one_person_trades_at_a_time(system: System) -> None:
    lock = ipc.RoleLock(system.run_dir, "control")
    lock.acquire()
    try:
        exit_code, _, err = system.hft("order", "buy", "BTCUSDT", "0.002", "--market", "--yes")
    finally:
        lock.release()
    assert exit_code == 2
    assert f"somebody else trades by hand at this moment (process {os.getpid()})" in err


def test_the_next_one_may_trade_while_the_last_one_lives(system: System) -> None:
    price_e8 = floor_to(round(float(system.bid()) * E8), E8 // 10)
    with ManualDesk(system.run_dir) as desk:
        desk.place(Ticket("BTCUSDT", Side.BUY, QTY_E8, price_e8)).require()
    exit_code, out, err = system.hft("order", "cancel", "--all", "--yes")
    assert (exit_code, err) == (0, "")
    assert "1 order cancelled" in out


def test_risk_has_the_last_word_and_it_is_told(system: System) -> None:
    """What the desk lets pass is judged all the same: here trading is halted."""
    assert system.hft("halt", "--reason", "a test")[0] == 0
    exit_code, _, err = system.hft("order", "buy", "BTCUSDT", "0.002", "--market", "--yes")
    assert exit_code == 1
    assert "risk refused it: trading halted" in err
    assert "hft arm" in err
    with ManualDesk(system.run_dir) as desk, pytest.raises(CheckFailedError):
        desk.place(Ticket("BTCUSDT", Side.BUY, QTY_E8)).require()
    assert system.hft("arm", "--reason", "a test")[0] == 0


def test_a_halt_can_close_every_position_and_stays(system: System) -> None:
    with ManualDesk(system.run_dir) as desk:
        for _ in range(2):
            desk.place(Ticket("BTCUSDT", Side.BUY, QTY_E8)).require()
        desk.await_account()
        assert desk.positions() == {"BTCUSDT": 2 * QTY_E8}
    exit_code, _, err = system.hft("order", "buy", "BTCUSDT", "0.002", "--price", system.bid(),
                                   "--yes")  # fmt: skip
    assert (exit_code, err) == (0, "")
    exit_code, out, err = system.hft("halt", "--flatten", "--reason", "enough")
    assert (exit_code, err) == (0, "")
    assert "halted; no order is open. Closed: +0.004 BTCUSDT. Next: hft arm" in out
    with ManualDesk(system.run_dir) as desk:
        assert (desk.positions(), desk.open_orders()) == ({}, [])
        refusal = desk.place(Ticket("BTCUSDT", Side.BUY, QTY_E8)).refusal
        assert refusal is Reason.TRADING_HALTED
    exit_code, out, _ = system.hft("halt", "--flatten")
    assert exit_code == 0
    assert "was halted already: enough" in out
    assert "no order is open. No position was open. Next: hft arm" in out
    assert system.hft("arm", "--reason", "a test")[0] == 0


def test_by_default_it_is_switched_off(system: System) -> None:
    """The switch stands in the plan that the running system has."""
    plan = system.run_dir / "plan.json"
    before = plan.read_bytes()
    off = json.loads(before)
    off["config"]["risk"]["manual"]["enabled"] = False
    try:
        plan.write_bytes(json.dumps(off).encode())
        with ManualDesk(system.run_dir) as desk, pytest.raises(UsageError, match="switched off"):
            desk.place(Ticket("BTCUSDT", Side.BUY, QTY_E8))
    finally:
        plan.write_bytes(before)
