"""What a role gets from the house, and what it does not get."""

from __future__ import annotations

import pytest

import ipc
from hft import counters
from hft.counters import RoleState


def test_successor_goes_on_counting_and_forgets_what_was_true_then(house):
    context = house.context("account")
    context.page.count(counters.FILLS_APPLIED.id, 3)
    context.page.set_gauge(counters.AGREES.id, 1)
    first_epoch = context.epoch
    house.end(context)
    successor = house.context("account")
    assert successor.page.counter(counters.FILLS_APPLIED.id) == 3
    assert successor.page.gauge(counters.AGREES.id) == 0
    assert successor.page.state == RoleState.STARTING
    assert successor.epoch > first_epoch


def test_role_maps_the_rings_of_others_read_only(house):
    context = house.context("strategy")
    with pytest.raises(AssertionError, match="does not write decisions"):
        context.ring_writer("decisions")
    reader, _ = context.ring_reader("decisions")
    segment = context._segments["decisions"]
    with pytest.raises(ipc.IpcError):
        segment.require_writable()
    assert not reader.next()


def test_only_risk_may_write_the_permit(house):
    with pytest.raises(ipc.IpcError):
        house.context("execution").permit().store(1)
    house.context("risk").permit().store(1)


def test_own_process_is_never_rung(house):
    context = house.context("feed")
    assert len(context.bells_of(("feed",))) == 0
    assert len(context.bells_of(("risk", "risk", "account"))) == 2
