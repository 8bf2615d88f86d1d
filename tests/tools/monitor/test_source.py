"""Reading a system from its segments, and living through its end and its return."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft.counters import RoleState
from hft.errors import UnreachableError, UsageError
from hft.records import ORDER
from hft.roles.context import HALT_SPEC
from hft.units import NS_PER_S
from tools.monitor.source import RETRY_NS, Source


def test_everything_that_stands_in_memory_is_shown(stage: Any) -> None:
    source = Source(stage.run_dir)
    found = source.poll()
    assert (found.name, found.mode, found.trading_state) == (stage.name, "paper", "ACTIVE")
    assert found.lost is None
    assert [role.name for role in found.roles if role.is_well] == [
        "feed", "strategy", "risk", "execution", "account", "recorder",
    ]  # fmt: skip
    assert [(p.instrument.symbol, p.qty_e8, p.net_e8) for p in found.positions] == [
        ("BTCUSDT", 400_000, 300_000_000)
    ]
    assert [(order.owner, order.state, order.side) for order in found.orders] == [
        ("maker", "working", 1)
    ]
    assert found.book is not None
    assert [level.ours for level in found.book.bids] == [1, 0]
    assert [(fill.side, fill.qty_e8, fill.owner) for fill in found.fills] == [(1, 400_000, "maker")]
    assert [(desk.state, desk.orders) for desk in found.desks] == [("quoting", 1)]
    assert [(alert.severity, alert.text) for alert in found.alerts] == [(3, "wallet 1: 5, venue 6")]
    assert {(r.ring, r.reader, r.behind) for r in found.rings if r.behind > 0} == {
        ("executions", "account", 1),
        ("executions", "risk", 1),
    }
    assert found.tick_to_trade is not None
    assert found.tick_to_trade.total == 1
    source.close()


def test_new_fills_come_first_and_are_told_once(stage: Any) -> None:
    source = Source(stage.run_dir)
    source.poll()
    stage.trade()
    assert len(source.poll().fills) == 2
    assert len(source.poll().fills) == 2
    source.close()


def test_a_halt_is_shown_with_its_reason(stage: Any) -> None:
    source = Source(stage.run_dir)
    segment = ipc.Segment.attach(stage.name, HALT_SPEC, writable=True)
    ipc.HaltLatch(segment, stage.run_dir).set("too hot", "somebody")
    found = source.poll()
    assert found.trading_state == "HALTED"
    assert found.halt_reason.startswith("too hot (by somebody")
    source.close()


def test_a_paused_desk_says_why(stage: Any) -> None:
    stage.page("strategy").fail("BTCUSDT: ZeroDivisionError('division by zero')")
    stage.write_cell("orders", 0, bytearray(ORDER.dtype.itemsize))
    source = Source(stage.run_dir)
    desk = source.poll().desks[0]
    assert (desk.state, desk.is_well) == ("paused", False)
    assert "ZeroDivisionError" in desk.detail
    source.close()


def test_a_role_that_failed_is_not_well(stage: Any) -> None:
    page = stage.page("risk")
    page.state = int(RoleState.FAILED)
    page.fail("Traceback\nValueError: no")
    source = Source(stage.run_dir)
    role = next(role for role in source.poll().roles if role.name == "risk")
    assert (role.state, role.detail, role.is_well) == ("failed", "ValueError: no", False)
    source.close()


def test_it_outlives_the_system_and_finds_the_next_one(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(stage.run_dir)
    now_ns = [time.monotonic_ns()]
    monkeypatch.setattr("tools.monitor.source.time.monotonic_ns", lambda: now_ns[0])
    before = source.poll()
    stage.down()
    assert source.poll().lost is None  # mapped memory stays; it is not asked each time
    now_ns[0] += RETRY_NS
    lost = source.poll()
    assert lost.lost is not None
    assert lost.lost.why == "taken down"
    assert lost.positions == before.positions  # what was true last
    assert source.poll().lost == lost.lost
    stage.up()
    now_ns[0] += RETRY_NS
    found = source.poll()
    assert found.lost is None
    assert (found.life, found.fills) == (2, ())
    source.close()


def test_segments_without_a_heart_are_a_lost_system(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(stage.run_dir)
    later_ns = time.monotonic_ns() + 4_000 * NS_PER_S
    monkeypatch.setattr("tools.monitor.source.time.monotonic_ns", lambda: later_ns)
    found = source.poll()
    assert found.lost is not None
    assert "no heartbeat" in found.lost.why
    source.close()


def test_without_a_system_the_way_is_told(stage: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Source(tmp_path)
    ipc.unlink_segment(stage.name, "alerts")
    with pytest.raises(UnreachableError, match="shared memory is gone"):
        Source(stage.run_dir)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hft.cli", "monitor", *arguments],
        env={**environment, "COLUMNS": "100", "LINES": "30"},
        capture_output=True,
        text=True,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )


def test_once_prints_a_frame_without_escapes(stage: Any, environment: dict[str, str]) -> None:
    done = run(environment, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 29
    assert lines[0].startswith(f" PAPER  {stage.name[:10]}")
    assert "\x1b" not in done.stdout
    assert run(environment).stdout.splitlines()[1:3] == lines[1:3]  # a pipe is enough


def test_once_fails_when_a_role_does(stage: Any, environment: dict[str, str]) -> None:
    stage.page("risk").state = int(RoleState.FAILED)
    done = run(environment, "--once")
    assert done.returncode == 1
    assert "5/6 roles ✗" in done.stdout


def test_keys_are_printed_without_any_system(environment: dict[str, str]) -> None:
    nowhere = {**environment, "HFT_RUN_DIR": os.devnull}
    assert "| `Ctrl-D PageDown` | half a page down |" in run(nowhere, "--keys").stdout
    assert run(nowhere, "--once").returncode == 3
