"""The demo as a person runs it: real processes, real sockets, nothing left behind."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

import ipc
from hft.counters import BOOK_CHECKS, HOPS, TICK_TO_TRADE_NS, CounterSpec, HistogramSpec
from hft.errors import UsageError
from hft.roles.context import load_plan
from tools.demo.ledger import Ledger
from tools.demo.venue import check_ports
from tools.system import commands, down, status
from tools.system.places import known_systems
from tools.system.segments import attach_page
from tools.system.waiting import wait_until
from tools.venue.config import VenueConfig

WAIT_S = 100
FOR_EVER = "600"
"""Seconds: such a demo is ended by the test, once what the test waits for has come."""
ON_A_TERMINAL = """\
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY)  # the terminal is ours: it ends, we are told by SIGHUP
from hft.cli import main
main()
"""


class Demo:
    """``hft demo`` in a child process, with a run directory of its own."""

    def __init__(self, project_root: Path, root: Path, *arguments: str) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hft.cli", "demo", *arguments],
            cwd=project_root,
            env={**os.environ, "HFT_RUN_DIR": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.name = f"demo-{self.process.pid}"
        self.family: set[int] = set()

    @property
    def run_dir(self) -> Path:
        return self.root / self.name

    def until(self, condition: Callable[[], object]) -> None:
        assert wait_until(lambda: bool(condition()), pid=self.process.pid, timeout_s=WAIT_S), (
            "the demo has ended" if self.process.poll() is not None else "it did not come to that"
        )

    def until_status(self, holds: Callable[[status.Status], bool]) -> status.Status:
        """Wait until its status is so; notes all processes that belong to the demo."""
        found: status.Status | None = None

        def is_so() -> bool:
            nonlocal found
            if not (self.run_dir / "supervisor.json").exists() or not ipc.list_segments(self.name):
                return False
            found = status.read(self.run_dir)
            return holds(found)

        self.until(is_so)
        assert found is not None
        parent = psutil.Process(self.process.pid)
        self.family = {child.pid for child in parent.children(recursive=True)}
        self.family |= {process.pid for process in found.processes}
        return found

    def until_trading(self) -> status.Status:
        """Wait until orders are out and nothing is amiss."""
        return self.until_status(
            lambda found: found.trading_state == "ACTIVE" and found.open_orders > 0
            and not found.problems
        )  # fmt: skip

    def until_counted(self, role: str, spec: CounterSpec) -> None:
        """Wait until a role has counted something of that kind."""
        page = attach_page(load_plan(self.run_dir), role)
        try:
            self.until(lambda: page.counter(spec.id))
        finally:
            page.close()

    def until_timed(self, role: str, spec: HistogramSpec) -> None:
        """Wait until a role has measured such a duration: a demo's first orders have no tick."""
        page = attach_page(load_plan(self.run_dir), role)
        try:
            self.until(lambda: page.histogram_max(spec.id))
        finally:
            page.close()

    def until_each_has_sent_an_order(self, *names: str) -> None:
        plan = load_plan(self.run_dir)
        ledger = Ledger(plan)
        no_marks = {one.instrument_id: 0 for one in plan.instruments}

        def have_sent() -> bool:
            ledger.poll()
            return {one.name for one in ledger.results(no_marks) if one.orders} >= set(names)

        try:
            self.until(have_sent)
        finally:
            ledger.close()

    def interrupt(self) -> None:
        """Ctrl-C reaches the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err

    def assert_nothing_left(self) -> None:
        assert ipc.list_segments(self.name) == []
        assert not self.run_dir.exists()
        assert known_systems(self.root) == []
        assert {pid for pid in self.family if ipc.process_start_time(pid) is not None} == set()


@pytest.fixture
def demo(project_root: Path, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(project_root, tmp_path / "run", *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.end()


@pytest.mark.parametrize("topology", ["compact", "dedicated"])
def test_demo_trades_and_agrees_with_the_venue(demo: Callable[..., Demo], topology: str) -> None:
    here = demo("--seconds", FOR_EVER, "--json", "--topology", topology)
    here.until_trading()
    here.until_counted("feed", BOOK_CHECKS)
    here.until_timed("execution", TICK_TO_TRADE_NS)
    here.interrupt()
    exit_code, out, err = here.end()
    report: dict[str, Any] = json.loads(out)
    assert (exit_code, report["failures"]) == (0, []), err
    assert report["topology"] == topology
    assert {"name", "roles", "cpu", "rss_mb", "restarts"} <= set(report["processes"][0])
    assert sum(process["restarts"] for process in report["processes"]) == 0
    market, orders, account = report["market"], report["orders"], report["account"]
    assert market["frames"] > market["book_checks"] > 0
    assert (market["gaps"], market["book_mismatches"]) == (0, 0)
    assert orders["sent"] > 0
    assert orders["unknown"] == 0
    assert orders["sent"] == sum(orders[end] for end in ("acked", "rejected", "never_accepted")), (
        orders
    )
    assert account["position"] == account["venue_position"]
    assert account["wallet"] == account["venue_wallet"]
    assert set(report["latency_ns"]) == {hop.name for hop in HOPS}
    whole = report["latency_ns"]["tick_to_trade"]
    assert 0 < whole["p50"] <= whole["p99"] <= whole["p999"] <= whole["max"]
    here.assert_nothing_left()


def test_three_strategies_trade_side_by_side_and_each_has_its_own_books(
    demo: Callable[..., Demo],
) -> None:
    here = demo("--seconds", FOR_EVER, "--json", "--strategies", "maker,momentum,scalper")
    here.until_trading()
    here.until_each_has_sent_an_order("maker", "scalper")
    here.interrupt()
    exit_code, out, err = here.end()
    report = json.loads(out)
    assert (exit_code, report["failures"]) == (0, []), err
    rows = {row["name"]: row for row in report["strategies"]}
    assert {name: row["symbols"] for name, row in rows.items()} == {
        "maker": ["BTCUSDT"], "momentum": ["ETHUSDT"], "scalper": ["SOLUSDT"],
    }  # fmt: skip
    assert rows["maker"]["orders"] > 0 < rows["scalper"]["orders"]
    orders, account = report["orders"], report["account"]
    assert sum(row["orders"] for row in rows.values()) == orders["sent"]
    assert sum(row["fills"] for row in rows.values()) == orders["fills"]
    for row in rows.values():
        (symbol,) = row["symbols"]
        ours = account["symbols"][symbol]
        assert row["position"] == {symbol: account["position"][symbol]}
        assert (row["realised"], row["fee"]) == (ours["realised"], ours["fee"])
        realised, unrealised, fee, net = (
            Decimal(row[field]) for field in ("realised", "unrealised", "fee", "net")
        )
        assert net == realised + unrealised - fee
        assert row["refused"] == sum(row["refusals"].values())
        assert Decimal(row["position_notional_max"]) <= 600
    here.assert_nothing_left()


def test_operator_commands_and_interrupt(demo: Callable[..., Demo]) -> None:
    here = demo("--seconds", FOR_EVER)
    found = here.until_trading()
    assert [process.name for process in found.processes] == ["hot", "cold"]
    assert any("healthy" in line for line in status.render(found))
    assert "REDUCING" in commands.reduce(here.run_dir, "test", by="tester")
    assert "halted; no order is open" in commands.halt(here.run_dir, "too hot", by="tester")
    halted = status.read(here.run_dir)
    assert (halted.trading_state, halted.open_orders) == ("HALTED", 0)
    assert halted.halt_reason.startswith("too hot (by tester, ")
    assert "halted: too hot" in status.render(halted)[-1]
    assert "ACTIVE" in commands.arm(here.run_dir, "mended", by="tester")
    here.interrupt()
    exit_code, out, err = here.end()
    assert exit_code == 0, err
    assert "venue agrees ✓" in out
    assert "\x1b" not in out
    here.assert_nothing_left()


def test_down_clears_away_what_a_killed_supervisor_left(demo: Callable[..., Demo]) -> None:
    here = demo("--seconds", FOR_EVER)
    here.until_trading()
    here.process.kill()
    here.process.wait()
    orphaned = status.read(here.run_dir)
    assert orphaned.problems[0].startswith("nobody supervises it")
    said: list[str] = []
    down.run(here.root, None, said.append)
    assert said[0] == f'"{here.name}" has no supervisor: clearing away what is left'
    here.end()
    here.assert_nothing_left()


def restarts_of(demo: Demo, name: str) -> int:
    processes = status.read(demo.run_dir).processes
    return next(process.restarts for process in processes if process.name == name)


def test_dead_role_is_started_again_and_the_account_still_agrees(
    demo: Callable[..., Demo],
) -> None:
    here = demo("--seconds", FOR_EVER, "--json", "--topology", "dedicated")
    found = here.until_trading()
    victim = next(process.pid for process in found.processes if process.name == "strategy")
    os.kill(victim, signal.SIGKILL)
    here.until(lambda: restarts_of(here, "strategy") == 1)
    here.until_trading()
    here.interrupt()
    exit_code, out, err = here.end()
    report = json.loads(out)
    assert (exit_code, report["failures"]) == (0, []), err
    restarts = {process["name"]: process["restarts"] for process in report["processes"]}
    assert restarts["strategy"] == 1
    assert "strategy was ended by SIGKILL; starting it again" in err
    here.assert_nothing_left()


def test_taken_port_is_told_with_its_holder(demo: Callable[..., Demo]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        here = demo("--rest-port", str(port))
        exit_code, out, err = here.end()
    assert (exit_code, out) == (2, "")
    assert err.startswith(f"hft: port {port} is taken by another process (pid {os.getpid()}, ")
    assert "--rest-port" in err
    here.assert_nothing_left()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--symbols", "NOPE"), "hft: the demo's market has no NOPE."),
        (("--strategies", "maker,taker"), "hft: there is no built-in strategy taker."),
        (("--strategies", "maker,maker"), "hft: --strategies maker,maker names maker twice."),
        (
            ("--strategies", "maker,scalper", "--symbols", "BTCUSDT"),
            "hft: 2 strategies need an instrument each, and there are 1.",
        ),
        (("--strategies", ","), "hft: --strategies names none."),
        (("--strategies", "no.py:Such"), "hft: there is no plug-in file "),
        (("--strategies", "hft.strategy.kit:Trial"), "hft: hft.strategy.kit:Trial has no Param"),
        (("--recording", "/no/such/file"), "hft: recording /no/such/file cannot be read"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(
    demo: Callable[..., Demo], arguments: tuple[str, ...], told: str
) -> None:
    here = demo(*arguments)
    exit_code, out, err = here.end()
    assert (exit_code, out) == (2, "")
    assert err.startswith(told)
    here.assert_nothing_left()


def test_recording_is_traded_at_a_higher_speed(
    demo: Callable[..., Demo], shared_data: Path
) -> None:
    recording = shared_data / "usdm_streams" / "bootstrap_5symbols_20210405.txt.gz"
    here = demo("--seconds", FOR_EVER, "--json", "--recording", str(recording), "--speed", "10")
    here.until_status(lambda found: found.trading_state == "ACTIVE")
    here.until_counted("feed", BOOK_CHECKS)
    here.interrupt()
    exit_code, out, err = here.end()
    report = json.loads(out)
    assert (exit_code, report["failures"]) == (0, []), err
    assert len(report["account"]["position"]) == 5
    assert report["market"]["book_checks"] > 0
    here.assert_nothing_left()


def test_demo_ends_by_itself_when_its_time_is_over(demo: Callable[..., Demo]) -> None:
    here = demo("--seconds", "1", "--json")
    exit_code, out, err = here.end()
    report = json.loads(out)
    assert (exit_code, report["failures"]) == (0, []), err
    assert report["seconds"] >= 1
    here.assert_nothing_left()


def test_address_of_another_host_is_refused_in_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1 port"):
        check_ports(VenueConfig(host="192.0.2.1", rest_port=port))


def test_run_directory_that_cannot_be_made_is_told(tmp_path: Path, project_root: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "hft.cli", "demo", "--seconds", "1"],
        env={**os.environ, "HFT_RUN_DIR": str(tmp_path / "file" / "below")},
        cwd=project_root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hft: cannot make ")
    assert "HFT_RUN_DIR" in done.stderr


def test_closed_terminal_leaves_nothing(project_root: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, "demo", "--seconds", FOR_EVER],
        env={**os.environ, "HFT_RUN_DIR": str(tmp_path)},
        cwd=project_root, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b" fills" not in shown:
        shown += os.read(ours, 4096)
    family = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    os.close(ours)  # the kernel hangs up on whoever has it as its terminal
    process.wait(WAIT_S)
    assert {pid for pid in family if ipc.process_start_time(pid) is not None} == set()
    assert ipc.list_segments(f"demo-{process.pid}") == []
    assert list(tmp_path.iterdir()) == []
