"""The benchmark of the order path, at a size that only shows that it measures what it says."""

from __future__ import annotations

import os

import pytest

from ipc.segment import SHM_DIRECTORY
from tools.bench import stages_order
from tools.bench.stages_order import STAGES, cold_rows, rows


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages_order, "WARM_UP", 2)
    monkeypatch.setattr(stages_order, "COUNTED", 2)
    monkeypatch.setattr(stages_order, "SILENT_TURNS", 1)
    monkeypatch.setattr(stages_order, "TURN_S", 0.001)


def names() -> set[str]:
    return {name for name in os.listdir(SHM_DIRECTORY) if "bench-order" in name}


def test_every_stage_has_its_row_and_nothing_is_left_behind() -> None:
    before = names()
    found = rows(8)
    assert [stage.name for stage in found] == list(STAGES)
    assert all(stage.n == 8 and 0 < stage.min <= stage.p50 <= stage.p99 for stage in found)
    whole = found[0]
    assert whole.name == "place"
    parts = [stage for stage in found[1:7] if stage.name != "text_hmac"]  # another kind of session
    assert whole.allocations > max(stage.allocations for stage in parts)
    assert names() == before


def test_the_first_order_after_a_silence_is_measured_with_and_without_rehearsal() -> None:
    found = {stage.name: stage.n for stage in cold_rows(2)}
    assert found == {"place_cold": 2, "place_rehearsed": 2, "place_warm": 4}
