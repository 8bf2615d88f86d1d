"""Tools for authors: a new plug-in that passes its test, parameters drawn from the declaration."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from hft.cli import cli
from hft.errors import CheckFailedError, UsageError
from hft.roles.strategy_status import (
    PRIORITY_RULE,
    DeskStatus,
    EngineStatus,
    Refusal,
    StrategyStatus,
)
from hft.strategy.loader import load_class
from hft.strategy.parameters import describe_parameters
from hft.units import NS_PER_S
from tools.strategy import commands, new, show

PLUGIN = '''
from typing import Annotated, Literal
from msgspec import Meta
from hft.strategy.base import Count, DecimalText, StrategyParameters
from hft.strategy.sizing import SignedDecimalText

class Documented:
    """Does nothing, and says so."""

    class Parameters(StrategyParameters, frozen=True):
        qty: DecimalText
        """Size of
        a quote."""
        levels: Annotated[int, Meta(ge=1, le=20, description="how deep it looks")] = 5
        kind: Literal["calm", "wild"] = "calm"
        is_loud: bool = False
        wait_ms: Count = 10
        fee_bps: SignedDecimalText = "-1"

    def __init__(self, parameters, instrument):
        pass

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        pass

    def on_timer(self, now_ns, targets):
        pass

    def save(self):
        return {}
'''


def test_a_new_strategy_passes_its_own_test(tmp_path, project_root) -> None:
    told = new.create("buy_low", tmp_path / "mine")
    assert "BuyLow" in told
    load_class(f"{tmp_path}/mine/buy_low.py:BuyLow")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "mine")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(project_root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_new_strategy_overwrites_nothing_and_needs_a_name(tmp_path) -> None:
    new.create("mine", tmp_path)
    with pytest.raises(UsageError, match="there already"):
        new.create("mine", tmp_path)
    for name in ("Mine", "my-own", "class", "", "9lives", "../x", "test_mine"):
        with pytest.raises(UsageError, match="no name"):
            new.create(name, tmp_path)
    with pytest.raises(UsageError, match="that others import"):
        new.create("numpy", tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write .*file/mine: Not a directory"):
        new.create("mine", tmp_path / "file" / "mine")
    with pytest.raises(UsageError, match=r"cannot write /proc/mine\.py"):
        new.create("mine", Path("/proc"))


def test_what_it_says_to_do_next_can_be_done(tmp_path) -> None:
    told = new.create("mine", tmp_path / "a place")
    settings = tomllib.loads(told[told.index("[[strategies]]") :])
    (strategy,) = settings["strategies"]
    assert load_class(strategy["plugin"]).__name__ == "Mine"
    command = next(line for line in told.splitlines() if "test it:" in line).split(":", 1)[1]
    assert shlex.split(command)[1:] == ["-m", "pytest", str(tmp_path / "a place" / "test_mine.py")]


def test_parameters_are_documented_from_their_declaration(tmp_path) -> None:
    path = tmp_path / "documented.py"
    path.write_text(PLUGIN)
    found = describe_parameters(load_class(f"{path}:Documented"))
    assert [(one.name, one.type, one.default, one.range, one.meaning) for one in found] == [
        ("qty", "decimal", "", "", "Size of a quote."),
        ("levels", "integer", "5", "≥ 1, ≤ 20", "how deep it looks"),
        ("kind", 'one of "calm", "wild"', '"calm"', "", ""),
        ("is_loud", "true or false", "false", "", ""),
        ("wait_ms", "integer", "10", "≥ 0", ""),
        ("fee_bps", "decimal, with sign", '"-1"', "", ""),
    ]
    text = "\n".join(show.render(show.read(f"{path}:Documented")))
    assert "Does nothing, and says so." in text
    assert "qty (required)  [decimal]" in text
    assert "called: on_top_of_book, on_timer, save" in text


def test_show_prints_json_for_programs(tmp_path) -> None:
    path = tmp_path / "documented.py"
    path.write_text(PLUGIN)
    done = CliRunner().invoke(cli, ["strategy", "show", f"{path}:Documented", "--json"])
    assert json.loads(done.output)["parameters"][0]["name"] == "qty"


def desk(symbol: str, reason: str = "") -> DeskStatus:
    return DeskStatus(
        symbol=symbol,
        state="paused" if reason else "running",
        reason=reason,
        mode="live",
        position="0.5",
        exposure="1",
        wanted={"buy": ("100", "1")},
        resting={},
        explicit_orders=1,
        held=2,
        errors=1 if reason else 0,
        refusals=3,
        last_refusal=Refusal(
            wall_ns=3_600 * NS_PER_S,
            action="place",
            side="buy",
            price="100",
            qty="2",
            code=13,
            reason="PRICE_COLLAR",
            text="price collar",
        ),
    )


def status(*names: str, error_file: str = "") -> EngineStatus:
    strategies = tuple(
        StrategyStatus(
            name=name,
            plugin="a:B",
            mode="live",
            priority=1,
            parameters={"qty": "1"},
            loaded="",
            error_file=error_file,
            desks=(desk("BTCUSDT", "on_timer: ouch"),),
        )
        for name in names
    )
    return EngineStatus(wall_ns=0, rule=PRIORITY_RULE, strategies=strategies, answers=())


def test_the_status_says_why_and_tells_the_rule_where_it_matters() -> None:
    alone = "\n".join(commands.render(status("one")))
    assert "on_timer: ouch" in alone
    assert "wants buy 1 @ 100" in alone
    assert "3 refused, last at 01:00:00 UTC, place buy 2 @ 100: code 13, price collar" in alone
    assert PRIORITY_RULE not in alone
    assert PRIORITY_RULE in "\n".join(commands.render(status("one", "two")))


def test_the_last_error_is_read_from_its_file(tmp_path) -> None:
    path = tmp_path / "last_error.txt"
    path.write_text("Traceback of one")
    assert commands.last_error(status("one", error_file=str(path)), "one") == "Traceback of one"
    with pytest.raises(CheckFailedError, match="no error of two"):
        commands.last_error(status("one", error_file=str(path)), "two")
