"""Halt, arm and reduce, and the trail of who asked for what."""

from __future__ import annotations

import pytest

import ipc
from hft import counters
from hft.errors import CheckFailedError
from hft.graph import RoleId
from hft.records import TradingState
from hft.roles import audit_file
from tools.system import commands


@pytest.fixture
def system(made_system):
    return made_system


@pytest.fixture
def without_trail(system):
    """A system whose audit trail cannot be opened."""
    (system.state_dir / audit_file.FILE_NAME).mkdir()
    return system


def grant(system, state: TradingState) -> None:
    system.pages["risk"].set_gauge(counters.PERMIT_STATE.id, int(state))


def test_who_armed_is_in_the_trail_before_risk_is_asked(system) -> None:
    grant(system, TradingState.ACTIVE)
    assert commands.arm(system.run_dir, "mended", by="me").endswith("is ACTIVE: mended")
    (entry,) = audit_file.load(system.state_dir).entries
    assert (entry.event, entry.by, entry.reason) == ("arm", "me", "mended")


def test_nobody_arms_what_cannot_be_recorded(without_trail) -> None:
    grant(without_trail, TradingState.ACTIVE)
    with pytest.raises(CheckFailedError, match=r"was not armed: .*audit\.jsonl") as caught:
        commands.arm(without_trail.run_dir, "mended")
    assert "hft arm" in caught.value.remedy
    assert ipc.CommandQueue.attach(without_trail.run_dir).receive(RoleId.RISK) is None


def test_nobody_arms_after_a_line_that_is_not_of_the_trail(system) -> None:
    grant(system, TradingState.ACTIVE)
    (system.state_dir / audit_file.FILE_NAME).write_bytes(b"scribble\n")
    with pytest.raises(CheckFailedError, match="the last line of"):
        commands.arm(system.run_dir, "mended")


def test_what_makes_safer_needs_no_trail(without_trail) -> None:
    grant(without_trail, TradingState.REDUCING)
    assert "is REDUCING" in commands.reduce(without_trail.run_dir, "less")
    assert "halted" in commands.halt(without_trail.run_dir, "enough")
