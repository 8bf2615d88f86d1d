"""Death at any instruction: nothing torn, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.stress
Scenario = Callable[[str, str], dict[str, Any]]


def test_a_lossless_rings_writers_die_and_no_record_is_torn_lost_or_doubled(
    scenario: Scenario,
) -> None:
    facts = scenario("kills.py", "lossless-writer")
    assert facts["lost"] == 0
    assert facts["got"] == facts["records"] > facts["kills"]
    assert facts["inside_a_batch"] > 0  # otherwise the test has not tested it


def test_a_broadcast_rings_writers_die_and_every_record_is_whole_or_counted(
    scenario: Scenario,
) -> None:
    facts = scenario("kills.py", "broadcast-writer")
    assert facts["got"] + facts["lost"] == facts["records"]
    assert facts["inside_a_batch"] > 0


def test_cells_keep_a_whole_value_when_their_writer_dies_inside_a_write(
    scenario: Scenario,
) -> None:
    facts = scenario("kills.py", "cell-writer")
    assert facts["half_written"] > 0
    assert facts["newest"] > facts["kills"]


def test_a_stage_answers_every_input_exactly_once_however_often_it_dies(
    scenario: Scenario,
) -> None:
    facts = scenario("kills.py", "stage")
    assert facts["outputs"] > facts["kills"]
    assert facts["pending"] > 0


def test_a_dead_gating_readers_successor_adopts_its_cursor(scenario: Scenario) -> None:
    facts = scenario("kills.py", "gating-reader")
    assert facts["committed"] > facts["kills"]
    assert facts["refused"] > 0
