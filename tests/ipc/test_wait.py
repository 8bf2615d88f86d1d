"""Wait strategies: what each does when there is nothing to do."""

from __future__ import annotations

import time

import pytest

import ipc
from ipc import WAIT_STRATEGIES, Bell, BusySpin, Park, Parker, Segment, SpinThenPark


@pytest.fixture
def parker(bells: Segment) -> Parker:
    parker = Parker(bells, 0)
    assert parker.has_work()
    return parker


def elapsed_ns(strategy: ipc.WaitStrategy, work_count: int) -> int:
    before_ns = time.monotonic_ns()
    strategy.idle(work_count)
    return time.monotonic_ns() - before_ns


@pytest.mark.parametrize("name", WAIT_STRATEGIES)
def test_every_strategy_is_made_from_a_parker_and_skips_the_wait_after_work(
    parker: Parker, bells: Segment, name: str
) -> None:
    strategy = WAIT_STRATEGIES[name](parker)
    Bell(bells, 0).ring()
    strategy.idle(1)
    assert parker.has_work()  # with work done it did not even look


def test_busy_spin_looks_for_its_time_only(parker: Parker) -> None:
    assert elapsed_ns(BusySpin(parker, spin_ns=200_000), 0) >= 200_000


def test_spin_then_park_does_one_after_the_other(parker: Parker) -> None:
    strategy = SpinThenPark(parker, spin_ns=1_000_000, park_ns=2_000_000)
    assert elapsed_ns(strategy, 0) >= 3_000_000


def test_park_sleeps_for_its_time_only(parker: Parker) -> None:
    assert elapsed_ns(Park(parker, park_ns=3_000_000), 0) >= 3_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda parker: BusySpin(parker, spin_ns=60_000_000_000),
        lambda parker: SpinThenPark(parker, spin_ns=60_000_000_000),
        lambda parker: SpinThenPark(parker, spin_ns=0),
        Park,
    ],
)
def test_work_ends_the_wait(parker: Parker, bells: Segment, make: type[Park]) -> None:
    strategy = make(parker)
    Bell(bells, 0).ring()
    strategy.idle(0)  # the test's own limit would end it otherwise
    assert not parker.has_work()
