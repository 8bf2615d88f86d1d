"""Death after every single instruction of a write, a batch, a role's turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.stress
Scenario = Callable[[str, str], dict[str, Any]]


def test_a_batch_is_all_or_nothing_at_every_instruction(scenario: Scenario) -> None:
    facts = scenario("single_step.py", "ring")
    assert facts["states"] == [[], [14, 15, 16], [14, 15, 16, 17]]
    assert facts["steps"] > 1_000
    assert facts["deaths"] > 30


def test_a_cell_holds_a_whole_value_at_every_instruction(scenario: Scenario) -> None:
    facts = scenario("single_step.py", "cell")
    assert facts["states"] == [1, 2, 3]
    assert facts["deaths"] > 4


def test_a_role_answers_exactly_once_wherever_it_dies(scenario: Scenario) -> None:
    facts = scenario("single_step.py", "stage")
    assert facts["deaths"] > 20
    assert facts["pending"] > 0
