"""A timer with a descriptor, for event loops."""

from __future__ import annotations

import os
import select
import time

import pytest

from ipc import PeriodicTimer


def is_due(timer: PeriodicTimer, seconds: float) -> bool:
    return bool(select.select([timer.fd], [], [], seconds)[0])


def test_it_is_due_after_its_period_and_again_after_the_next_one() -> None:
    before_ns = time.monotonic_ns()
    timer = PeriodicTimer(20_000_000)
    for periods in (1, 2):
        assert is_due(timer, 5.0)
        assert time.monotonic_ns() - before_ns >= periods * 20_000_000
        assert timer.take() >= 1


def test_who_comes_late_is_told_how_many_periods_are_gone() -> None:
    before_ns = time.monotonic_ns()
    timer = PeriodicTimer(1_000_000)
    time.sleep(0.02)
    taken = timer.take()
    assert taken >= 20
    taken += timer.take()  # what was told once is not told again
    assert taken <= (time.monotonic_ns() - before_ns) // 1_000_000


def test_before_its_first_period_has_ended_nothing_is_due() -> None:
    timer = PeriodicTimer(3_600_000_000_000)
    assert timer.take() == 0
    assert not is_due(timer, 0)


@pytest.mark.parametrize("period_ns", [0, -1])
def test_a_period_is_positive(period_ns: int) -> None:
    with pytest.raises(ValueError, match=f"positive period, not {period_ns} ns"):
        PeriodicTimer(period_ns)


def test_its_descriptor_is_closed_with_it_and_not_inherited() -> None:
    timer = PeriodicTimer(1_000_000_000)
    fd = timer.fd
    assert not os.get_inheritable(fd)
    del timer
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
