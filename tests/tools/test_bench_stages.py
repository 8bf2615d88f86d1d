"""The bench of the stages, at its smallest."""

from __future__ import annotations

import json

import pytest

from hft.errors import UsageError
from tools.bench import stages


def test_every_stage_is_measured_and_told(capsys) -> None:
    # Few: the first order after a silence comes after 0.2 s of it, each time, in two ways.
    assert stages.run(as_json=True, check=False, items=5) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)["stages"]}
    assert {"decode_top", "feed_top", "feed_depth", "ring", "strategy", "loop"} <= set(found)
    assert all(row["p99"] >= row["p50"] > 0 for row in found.values())
    assert found["tick"]["p50"] > found["decode_top"]["p50"]


def test_a_folder_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="no folder"):
        stages.run(as_json=True, check=False, items=20, data="/nowhere")


def test_recorded_frames_go_through_codec_and_book(shared_data) -> None:
    found = stages.recordings(shared_data / "usdm_streams", "bootstrap_*.gz")
    assert found["holds"]
