"""`hft risk`, `hft risk set`, `hft audit` beside a role that obeys."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hft import config_file
from hft.config import PLAN_FILE
from hft.core.breakers import Layer
from hft.core.catalogue import LIMITS_BY_NAME
from hft.errors import CheckFailedError, ConfigError, UsageError
from hft.roles import audit_file, limits_file
from hft.roles.context import load_plan
from hft.roles.risk import Risk
from tools.risk import changes, table, trail


@pytest.fixture
def running(house) -> Iterator[Path]:
    """A system whose risk turns in a thread."""
    plan = house.plan
    (house.run_dir / PLAN_FILE).write_bytes(msgspec.json.encode(plan))
    for process in plan.processes:
        if not (fifo := house.run_dir / f"{process.name}.fifo").exists():
            os.mkfifo(fifo)
    context = house.context("risk")
    risk, is_over = Risk(context), threading.Event()
    risk.on_start(time.monotonic_ns())

    def turn() -> None:
        while not is_over.wait(0.002):
            now_ns = time.monotonic_ns()
            context.page.beat(now_ns)
            risk.do_work(now_ns)

    thread = threading.Thread(target=turn)
    thread.start()
    yield house.run_dir
    is_over.set()
    thread.join()


def never(what: str) -> bool:
    raise AssertionError(f"asked about {what}")


def test_a_safer_limit_is_not_asked_back_and_a_riskier_one_is(running: Path) -> None:
    told = changes.set_limits(running, ("open_orders_max=1",), "try", never)
    assert "open_orders_max: 2 -> 1 (safer)" in told
    with pytest.raises(CheckFailedError, match="nothing was changed"):
        changes.set_limits(running, ("open_orders_max=2",), "more", lambda what: False)
    asked: list[str] = []
    changes.set_limits(running, ("open_orders_max=2",), "more", lambda what: not asked.append(what))
    assert asked == ["open_orders_max: 1 -> 2 (riskier)"]
    assert limits_file.load(running).changes == 2
    found = audit_file.load(running)
    assert found.problem == ""
    events = [(entry.event, entry.reason) for entry in found.entries]
    assert events == [("risk_set", "try"), ("risk_set", "more")]
    assert "more  open_orders_max: 1 -> 2 (riskier)  version=0x502" in "\n".join(
        trail.render(trail.read(running, 0))
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("open_orders_max=5", "too great a step from 2"),
        ("duplicate_window_ms=9", "too great a step from 20"),
        ("open_orders_max", "sets no limit"),
        ("open_order_max=1", "no limit named"),
        ("open_orders_max=many", "is not a limit"),
        ("order_qty_max=-1", "is not a limit"),
        ("order_qty_max=x", "is not a decimal"),
    ],
)
def test_what_cannot_be_set_is_refused(running: Path, assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        changes.set_limits(running, (assignment,), "why", never)
    assert limits_file.load(running).changes == 0


def test_the_table_shows_every_limit_with_its_unit_and_scope(running: Path) -> None:
    changes.set_limits(running, ("price_collar_bps=15",), "why", never)
    found = table.read(running)
    assert found.changes == 1
    row = next(row for row in found.limits if row.name == "leverage_max")
    assert (row.unit, row.scope, row.limit) == ("x", "account", "0.3")
    text = "\n".join(table.render(found))
    assert all(row.name in text for row in found.limits)


def test_headroom_of_a_distance_is_what_is_above_it(running: Path) -> None:
    plan, spec = load_plan(running), LIMITS_BY_NAME["liquidation_bps_min"]
    row = table._row(plan, spec, 4_000, 1_000, Layer.FINE, 1)
    assert (row.use, row.limit, row.headroom, row.used_percent) == ("4000", "1000", "3000", 25.0)
    assert row.where == "BTCUSDT"
    row = table._row(plan, spec, 900, 1_000, Layer.HARD, 1)
    assert (row.headroom, row.used_percent) == ("0", 111.1)
    row = table._row(plan, spec, -1, 1_000, Layer.FINE, 0)
    assert (row.use, row.headroom, row.used_percent) == ("", "", None)


def test_the_table_fits_a_terminal_of_80_columns(running: Path) -> None:
    found = table.read(running)
    wide = msgspec.structs.replace(
        found.limits[0], use="0.00531085", limit="5000049999", headroom="5000049937.99468915"
    )
    lines = table.render(msgspec.structs.replace(found, limits=(wide, *found.limits)))
    assert lines[4].split()[2:] == ["0.00531085", "5000049999", "5000049938"]
    assert [line for line in lines[2:] if len(line) > 80] == []


def test_a_strategy_that_is_not_paused_is_not_resumed(running: Path) -> None:
    with pytest.raises(UsageError, match="has not paused maker"):
        changes.resume(running, "maker", "why")
    with pytest.raises(UsageError, match="no strategy named"):
        changes.resume(running, "none", "why")


def test_a_broken_trail_is_told_with_the_entries_that_are_whole(tmp_path: Path) -> None:
    for reason in ("first", "second"):
        audit_file.append(tmp_path, system="s", event="halt", by="me", reason=reason)
    path = tmp_path / audit_file.FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"second", b"others"))
    found = trail.read(tmp_path, 0)
    assert (found.verified, found.entries[0].reason) == (1, "first")
    assert "BROKEN: line 2" in trail.render(found)[-1]


SETTINGS = """
symbols = ["BTCUSDT"]
[venue]
key_file = "key"
[risk]
policy = "desk.toml"
"""


def test_settings_take_over_a_policy_file_and_tell_every_error_of_it(tmp_path: Path) -> None:
    policy = tmp_path / "desk.toml"
    policy.write_text('base = "mm_standard"\n[limits]\nopen_orders_max = 4\n')
    config = config_file.parse(SETTINGS, source="hft.toml", base=tmp_path)
    assert config.risk.policy == "mm_standard"
    assert config.risk.policy_limits == {"open_orders_max": 4}
    assert config.risk.policy_file == str(policy)
    again = config_file.parse(config_file.to_toml(config), source="hft.toml", base=tmp_path)
    assert again.risk == config.risk
    policy.write_text('base = "mm"\n[limits]\nopen_order_max = 4\n')
    with pytest.raises(ConfigError) as caught:
        config_file.parse(SETTINGS, source="hft.toml", base=tmp_path)
    assert len(caught.value.problems) == 2
    assert "Did you mean open_orders_max?" in str(caught.value)
    assert "?." not in str(caught.value)
    policy.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        config_file.parse(SETTINGS, source="hft.toml", base=tmp_path)
