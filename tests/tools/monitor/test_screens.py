"""Whole screens, compared with the pictures beside this file.

``HFT_WRITE_SCREENS=1 pytest tests/tools/monitor/test_screens.py`` draws the pictures anew.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tools.monitor.keys import COMMANDS, KEYS, markdown, written
from tools.monitor.screens import _confirm_box, _over, compose, hit, regions, render
from tools.monitor.state import Panel, State, press
from tools.monitor.style import (
    DARK,
    LIGHT,
    MONO,
    PLAIN,
    SIXTEEN,
    Line,
    Span,
    Style,
    Theme,
    flat,
    line_width,
    to_ascii,
)
from tools.monitor.text import width as width_of

HERE = Path(__file__).resolve().parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"monitor_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


worlds = _load("worlds")
SIZES = [(80, 24), (100, 30), (160, 50)]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def draw(state: State, width: int, height: int) -> str:
    rows = render(state, width, height, PLAIN)
    assert len(rows) == height
    assert {width_of(row) for row in rows} == {width}
    return "\n".join(row.rstrip() for row in rows) + "\n"


def lines(state: State, width: int, height: int) -> list[Line]:
    return [flat(row) for row in compose(state, width, height)]


def check(picture: str, name: str) -> None:
    path = HERE / "screens" / f"{name}.txt"
    if "HFT_WRITE_SCREENS" in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    assert picture == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("world", worlds.WORLDS)
def test_every_state_at_every_size(world: str, size: tuple[int, int]) -> None:
    state = State(worlds.WORLDS[world]())
    check(draw(state, *size), f"{world}-{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("roles", ["7"]),
        ("rings", ["Tab", "Tab"]),
        ("latency", ["9"]),
        ("help", ["?"]),
        ("orders-zoomed", ["2", "z"]),
        ("filter", ["2", "/", "!", "E", "T", "H"]),
        ("command", [":", "s", "y", "m", " "]),
    ],
)
def test_every_screen(name: str, keys: list[str]) -> None:
    state = State(worlds.healthy())
    for key in keys:
        press(state, key)
    check(draw(state, 80, 24), name)


def test_the_question_before_arming() -> None:
    state = State(worlds.halted(), may_trade=True)
    for key in [*":arm it is safe", "Enter"]:
        press(state, key)
    check(draw(state, 80, 24), "confirm")


def test_the_ticket_before_an_order_by_hand() -> None:
    state = State(worlds.healthy(), may_trade=True)
    for key in [*":buy BTCUSDT 0.004 63930", "Enter"]:
        press(state, key)
    check(draw(state, 80, 24), "ticket")
    assert {line_width(line) for line in lines(state, 80, 24)} == {80}
    for key in ["n", "2", "j", "x"]:
        press(state, key)
        draw(state, 100, 30)
    check(draw(state, 100, 30), "ticket-cancel")


def test_the_box_keeps_every_column_over_wide_characters() -> None:
    wide = [[Span("币" * 40)]] * 9
    for line in _over(wide, _confirm_box(("what", "where")), 80):
        assert line_width(line) == 80


def test_a_small_terminal_still_shows_the_first_line() -> None:
    rows = render(State(worlds.healthy()), 40, 10, PLAIN)
    assert len(rows) == 10
    assert rows[0].startswith(" PAPER  default  ACTIVE")
    assert "80×24" in rows[2]


@pytest.mark.parametrize("width", range(1, 200, 7))
@pytest.mark.parametrize("height", [1, 5, 23, 24, 31, 50, 90])
def test_any_size_is_filled_exactly(width: int, height: int) -> None:
    for world in worlds.WORLDS.values():
        rows = compose(State(world()), width, height)
        assert len(rows) == height
        assert {line_width(flat(row)) for row in rows} == {width}
        for row in rows:  # every piece starts where the one before it ends
            ends = [column + line_width(line) for column, line in row]
            assert [column for column, _ in row] == [0, *ends[:-1]]


def test_every_panel_is_under_the_mouse() -> None:
    state = State(worlds.healthy())
    for region in regions(state, 80, 22):
        found = hit(state, 80, 24, region.column + 2, region.row + 2)
        assert found is region.panel
    assert hit(state, 80, 24, 5, 0) is None
    assert hit(state, 80, 24, 5, 23) is None


def test_a_lost_system_is_said_first_and_the_rest_is_dim() -> None:
    found = lines(State(worlds.lost()), 80, 24)
    assert "LOST 19:11:40 taken down" in "".join(span.text for span in found[0])
    assert {span.style for line in found[1:-1] for span in line} == {Style.DIM}


def test_meaning_never_hangs_on_colour_alone() -> None:
    plain = render(State(worlds.healthy()), 160, 50, PLAIN)
    text = "\n".join(plain)
    for word in ("+0.0600", "-1.02", "buy", "sell", "ask", "bid", "UNKNOWN", "paused", "←2", "✗"):
        assert word in text, word


@pytest.mark.parametrize("theme", [DARK, LIGHT, SIXTEEN, MONO], ids=lambda theme: theme.name)
def test_themes_change_colours_and_not_one_character(theme: Theme) -> None:
    state = State(worlds.healthy())
    painted = render(state, 100, 30, theme)
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", row) for row in painted]
    assert bare == render(state, 100, 30, PLAIN)
    for row in painted:
        assert ["0", *re.findall(r"\x1b\[([0-9;]*)m", row)][-1] == "0"


def test_mono_uses_no_colour() -> None:
    painted = "".join(render(State(worlds.healthy()), 100, 30, MONO))
    groups = re.findall(r"\x1b\[([0-9;]*)m", painted)
    assert {code for group in groups for code in group.split(";")} <= {"0", "1", "2", "4", "7"}


def test_ascii_keeps_every_column() -> None:
    for row in render(State(worlds.healthy()), 160, 50, PLAIN):
        plain = to_ascii(row)
        assert plain.isascii()
        if width_of(row) == len(row):
            assert len(plain) == len(row)


def test_help_and_readme_come_from_the_tables() -> None:
    state = State(worlds.healthy(), may_trade=True, is_help=True)
    text = "\n".join(render(state, 160, 60, PLAIN))
    for key in KEYS:
        assert written(key) in text
        assert key.help in text
        assert key.help in markdown()
    for command in COMMANDS:
        assert f":{command.name}" in text
        assert f":{command.name}" in markdown()


def test_every_panel_has_its_number() -> None:
    text = "\n".join(render(State(worlds.healthy()), 160, 50, PLAIN))
    for panel in Panel:
        if panel <= Panel.ALERTS:
            assert f"─ {int(panel)} " in text
