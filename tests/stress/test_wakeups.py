"""No wake-up is lost between two processes. All interleavings: tests/ipc/test_doorbell_model.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("name", ["futex", "fifo", "commands"])
def test_nobody_sleeps_on_news(scenario: Callable[[str, str], dict[str, Any]], name: str) -> None:
    facts = scenario("wakeups.py", name)
    assert facts["sleeps"] > 0
    assert facts["lost"] == 0
