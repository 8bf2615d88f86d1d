from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hft.core.instruments import InstrumentRules
from hft.strategy.errors import StrategyLoadError
from hft.strategy.loader import load_class, load_strategy
from hft.strategy.maker import Maker
from hft.units import E8

INSTRUMENT = InstrumentRules(
    instrument_id=1, symbol="BTCUSDT", tick_e8=E8 // 10, step_e8=E8 // 1_000
)
MAKER = "hft.strategy.maker:Maker"
PLUGIN = '''
from hft.strategy.base import DecimalText, StrategyParameters

class Quiet:
    """Wants nothing."""

    class Parameters(StrategyParameters, frozen=True):
        qty: DecimalText
        levels: int = 1

    def __init__(self, parameters, instrument):
        self.parameters = parameters
        self.symbol = instrument.symbol

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        pass

    def on_timer(self, now_ns, targets):
        targets.pull_all()
'''


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "quiet.py"
    path.write_text(text)
    return f"{path}:Quiet"


def error_of(plugin: str, **parameters: object) -> tuple[str, str]:
    with pytest.raises(StrategyLoadError) as caught:
        load_strategy(plugin, parameters, INSTRUMENT)
    return caught.value.message, caught.value.remedy


def test_the_built_in_maker_is_loaded_by_module() -> None:
    strategy = load_strategy(MAKER, {"quote_notional": "60", "rest_ms_min": 20}, INSTRUMENT)
    assert isinstance(strategy, Maker)
    assert strategy.quote_rules.rest_ns_min == 20_000_000


def test_a_plug_in_is_loaded_from_its_file(tmp_path: Path) -> None:
    strategy = load_strategy(write(tmp_path, PLUGIN), {"qty": "0.5"}, INSTRUMENT)
    assert strategy.symbol == "BTCUSDT"  # type: ignore[attr-defined]
    assert strategy.parameters.qty == "0.5"  # type: ignore[attr-defined]


@pytest.mark.parametrize("plugin", ["maker", ":Maker", "hft.strategy.maker:", "a:b-c", ""])
def test_a_setting_that_names_no_class_is_refused(plugin: str) -> None:
    message, remedy = error_of(plugin)
    assert "names no class" in message
    assert "module:Class" in remedy


def test_a_missing_module_file_or_class_is_named(tmp_path: Path) -> None:
    assert "there is no module nowhere.at_all" in error_of("nowhere.at_all:X")[0]
    assert "there is no module hft.strategy.nothing" in error_of("hft.strategy.nothing:X")[0]
    assert "no plug-in file" in error_of(f"{tmp_path}/absent.py:X")[0]
    message, remedy = error_of("hft.strategy.maker:Taker")
    assert "no class Taker" in message
    assert "Maker" in remedy


def test_an_error_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    message, _ = error_of(write(tmp_path, "x = 1\ny = = 2\n"))
    assert "quiet.py, line 2" in message
    message, _ = error_of(write(tmp_path, "x = 1\n\ny = 1 / 0\n"))
    assert "ZeroDivisionError" in message
    assert "quiet.py, line 3" in message
    message, _ = error_of(write(tmp_path, "import not_installed_anywhere\n"))
    assert "quiet.py, line 1" in message
    assert "not_installed_anywhere" in message


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("on_timer", "on_tick", "no method on_timer"),
        ("now_ns, top, position_e8, targets", "now_ns, top", "does not take 4 arguments"),
        ("class Parameters(StrategyParameters, frozen=True)", "class Settings", "no Parameters"),
        ("self.symbol = instrument.symbol", "self.symbol = None.x", "AttributeError"),
        ("levels: int = 1", "levels = 1", "levels = 1 without a type"),
    ],
)
def test_a_class_that_is_no_plug_in_is_refused(
    tmp_path: Path, old: str, new: str, part: str
) -> None:
    assert old in PLUGIN
    message, _ = error_of(write(tmp_path, PLUGIN.replace(old, new)), qty="1")
    assert part in message


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({}, "qty"),
        ({"qty": "-1"}, "qty is '-1': negative"),
        ({"qty": 0.5}, "qty is 0.5: written without quotes"),
        ({"qty": 1}, "qty is 1: written without quotes"),
        ({"qty": "1e5"}, "qty is"),
        ({"qty": "1", "size": 3}, "size"),
        ({"qty": "1", "levels": "two"}, "levels is"),
    ],
)
def test_parameters_that_do_not_hold_are_named(
    tmp_path: Path, parameters: dict[str, object], part: str
) -> None:
    message, remedy = error_of(write(tmp_path, PLUGIN), **parameters)
    assert part in message
    assert "levels = 1" in remedy
    assert "qty (required)" in remedy


def test_a_plug_in_s_own_refusal_keeps_its_remedy() -> None:
    message, remedy = error_of(MAKER, quote_notional="900", position_notional_max="10")
    assert "BTCUSDT" in message
    assert "greatest position" in remedy


def test_loading_a_class_checks_it_without_making_one() -> None:
    assert load_class(MAKER) is Maker


def test_an_installed_package_offers_its_plug_ins_as_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "house_strategies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-strategies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hft.strategies]\nhouse_maker = {MAKER}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_class("house_maker") is Maker
    assert "house_maker" in error_of("house_taker")[1]


def test_a_class_is_executed_anew_and_the_old_one_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(tmp_path, PLUGIN)
    old = load_class(name)
    write(tmp_path, PLUGIN.replace("levels: int = 1", "levels: int = 2"))
    fresh = load_class(name, is_anew=True)
    assert fresh is not old
    assert (old.Parameters(qty="1").levels, fresh.Parameters(qty="1").levels) == (1, 2)
    monkeypatch.setitem(sys.modules, Maker.__module__, sys.modules[Maker.__module__])
    maker = load_class(MAKER, is_anew=True)
    assert maker is not Maker
    assert maker.__module__ == Maker.__module__


def test_a_file_that_fails_to_load_anew_leaves_the_module_that_is_in_use(tmp_path: Path) -> None:
    name = write(tmp_path, PLUGIN)
    old = load_class(name)
    module = sys.modules[old.__module__]
    write(tmp_path, "raise RuntimeError")
    with pytest.raises(StrategyLoadError):
        load_class(name, is_anew=True)
    assert sys.modules[old.__module__] is module
