"""What did not change is not made again, and what is drawn is still the whole truth."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyte
import pytest

import ipc
from hft.records import BALANCE
from hft.roles.context import cells_spec
from tools.monitor.cells import Cells
from tools.monitor.histograms import NOTHING, OCTAVE, octave_of
from tools.monitor.latest import latest
from tools.monitor.panels import FILLS
from tools.monitor.screen import Display
from tools.monitor.screens import compose, render
from tools.monitor.state import Panel, State
from tools.monitor.style import DARK, PLAIN
from tools.monitor.table import View, table

_spec = importlib.util.spec_from_file_location(
    "monitor_worlds_of_remembering", Path(__file__).resolve().parent / "worlds.py"
)
assert _spec is not None
assert _spec.loader is not None
worlds = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = worlds
_spec.loader.exec_module(worlds)


def test_the_latest_call_is_remembered_and_no_other() -> None:
    calls: list[tuple[int, ...]] = []

    @latest
    def total(values: tuple[int, ...]) -> list[int]:
        calls.append(values)
        return [sum(values)]

    assert total((1, 2)) is total((1, 2))
    assert total((3,)) == [3]
    assert total((1, 2)) == [3]
    assert calls == [(1, 2), (3,), (1, 2)]


def test_a_cell_is_made_again_only_when_it_was_written(stage: Any) -> None:
    segment = ipc.Segment.attach(stage.name, cells_spec("balances"), writable=True)
    value, seen = bytearray(BALANCE.dtype.itemsize), bytearray(BALANCE.dtype.itemsize)
    writer = ipc.CellWriter(segment, value)
    made: list[int] = []

    def make(index: int) -> bytes:
        made.append(index)
        return bytes(seen)

    cells = Cells(ipc.CellReader(segment, seen), make)
    assert cells.at(5) is None
    value[-1] = 1
    writer.write(5)
    assert cells.at(5) is cells.at(5)
    value[-1] = 2
    writer.write(5)
    assert cells.at(5) == bytes(value)
    cells.replace(5, b"older")
    assert cells.at(5) == b"older"
    cells.forget()
    assert cells.at(5) == bytes(value)
    assert made == [5, 5, 5]


def test_octaves_end_where_buckets_do() -> None:
    for bucket in (0, 1, 127, 128, 255, 256, 1_000, ipc.layout.HISTOGRAM_BUCKETS - 1):
        assert octave_of(ipc.bucket_value_max(bucket)) == bucket // OCTAVE


def test_octaves_that_are_left_out_stay_as_they_were() -> None:
    first = NOTHING.after((7).to_bytes(8, sys.byteorder) * OCTAVE * 2)
    second = first.after((9).to_bytes(8, sys.byteorder) * OCTAVE)
    assert second.totals[:3] == (9 * OCTAVE, 7 * OCTAVE, 0)
    assert second.octaves[1:] == first.octaves[1:]


def test_rows_that_stay_are_the_same_lines_when_another_comes() -> None:
    view, fills = View(), tuple(worlds.fill(number) for number in range(5))

    def lines(rows: tuple[Any, ...]) -> list[Any]:
        return table(FILLS, rows, view, (90, 10), has_focus=False, nothing="")

    before, after = lines(fills[1:]), lines(fills)
    assert lines(fills) is after
    assert after[0] is before[0]
    for old, new in zip(before[1:], after[2:], strict=True):
        assert new is old


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (40, 10)], ids=str)
def test_changes_drawn_one_after_the_other_make_the_whole_picture(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = pyte.Screen(*size)
    stream = pyte.ByteStream(screen)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=lambda: writer))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: reader))
    display = Display(SimpleNamespace(clear="\x1b[H\x1b[2J"))
    state = State(worlds.healthy())
    for world in (*worlds.WORLDS.values(), worlds.healthy):
        for snapshot in (world(), replace(world(), fills=())):
            state.snapshot = snapshot
            state.focus = Panel.ORDERS if state.focus is Panel.BOOK else Panel.BOOK
            display.draw(compose(state, *size), DARK)
            with contextlib.suppress(BlockingIOError):  # nothing has changed
                stream.feed(os.read(reader, 1 << 16))
            shown = [row.rstrip() for row in screen.display]
            assert shown == [row.rstrip() for row in render(state, *size, PLAIN)]
    os.close(reader)
    os.close(writer)
