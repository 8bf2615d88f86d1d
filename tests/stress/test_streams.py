"""Two processes at full speed: order, loss and tearing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.stress
Scenario = Callable[[str, str], dict[str, Any]]


@pytest.mark.parametrize("name", ["lossless-singly", "lossless-in-batches"])
def test_a_lossless_ring_delivers_every_word_in_order(scenario: Scenario, name: str) -> None:
    facts = scenario("streams.py", name)
    assert facts["records"] >= 150_000
    assert facts["lost"] == facts["left"] == 0


def test_a_broadcast_ring_delivers_whole_records_or_counts_them_lost(scenario: Scenario) -> None:
    facts = scenario("streams.py", "broadcast")
    assert facts["got"] + facts["lost"] == facts["records"]
    assert facts["got"] > 0
    assert facts["laps"] > 0


def test_cells_are_read_whole_and_never_go_back(scenario: Scenario) -> None:
    facts = scenario("streams.py", "cells")
    assert facts["reads"] >= facts["changes"] > 0
