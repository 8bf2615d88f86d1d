"""The turn of a process in an event loop, with roles that count."""

from __future__ import annotations

import asyncio
import gc
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hft import counters
from hft.counters import RoleState
from hft.roles.context import BELLS_SPEC
from hft.roles.runner import EXIT_FATAL, EXIT_OK, LoopRunner, Stopper
from hft.roles.turning import READS_PER_TURN, Cycle
from ipc import Bell, Parker, histogram_percentile


class Counting:
    """A role that does what it is told, and counts."""

    name = "risk"
    period_ns = 0

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.works: Callable[[], int] = lambda: 0
        self.hot_reads: list[Callable[[], None]] = []

    def on_start(self, now_ns: int) -> None:
        """Nothing to start."""

    def do_work(self, now_ns: int) -> int:
        """Count."""
        self.passes.append(now_ns)
        return self.works()

    def on_stop(self, now_ns: int) -> bool:
        """At once."""
        return True

    def on_close(self) -> None:
        """Nothing to close."""


class Process:
    """A runner with one role."""

    def __init__(self, house: Any, wait: str) -> None:
        self.context = house.context("risk")
        self.role = Counting()
        self.stopper = Stopper([self.role])
        bells = self.context._attach(BELLS_SPEC, writable=True)
        parker = Parker(bells, 3, (), fifo_path=house.run_dir / "turning.fifo")
        self.runner = LoopRunner([self.role], [self.context], parker, wait, self.stopper)

    def run(self, seconds: float) -> int:
        loop = asyncio.new_event_loop()
        try:
            loop.call_later(seconds, self.stopper.request)
            return self.runner.run(loop)
        finally:
            loop.close()
            gc.unfreeze()
            gc.enable()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.mark.parametrize("wait", ["busy_spin", "spin_then_park", "park"])
def test_every_role_beats_and_has_its_passes_however_it_waits(house, wait):
    process = Process(house, wait)
    assert process.run(0.1) == EXIT_OK
    assert len(process.role.passes) >= 3
    assert process.context.page.beat_ns >= process.role.passes[-1]
    assert process.context.page.state == RoleState.STOPPED


class Late:
    """A timer that has seen many periods end."""

    def take(self) -> int:
        return 10_000


def test_a_stalled_loop_notes_how_long_and_the_lost_time_is_over(house, loop):
    process = Process(house, "park")
    runner = process.runner
    runner.turn_in(loop)
    runner._timer = Late()
    runner._due_ns = time.monotonic_ns() - 100_000_000
    runner._on_timer()
    runner._on_timer()
    stalls = process.context.page.histogram(counters.STALL_NS.id)
    assert stalls.sum() == 2
    assert histogram_percentile(stalls, 1.0) >= 100_000_000
    assert histogram_percentile(stalls, 0.0) == 0, "what was lost is not told again"


class Asked:
    """A loop that is only asked for turns."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None], *, context: object = None) -> None:
        self.waiting.append(callback)


def test_a_spinning_process_looks_far_more_often_than_it_passes(house):
    process, asked = Process(house, "busy_spin"), Asked()
    process.runner.turn_in(asked)
    process.runner.turn()
    for _ in range(1_000):
        (callback,) = asked.waiting
        asked.waiting.clear()
        callback()
    assert len(process.role.passes) < 500


def turned(process: Process, asked: Asked, seconds: float) -> int:
    """Give the process the turns of the loop that it asks for; returns how many."""
    count, until_s = 0, time.monotonic() + seconds
    while asked.waiting and time.monotonic() < until_s:
        (callback,) = asked.waiting
        asked.waiting.clear()
        callback()
        count += 1
    return count


def test_who_spins_reads_its_sockets_several_times_in_each_turn_of_the_loop(house):
    process, asked = Process(house, "busy_spin"), Asked()
    reads: list[int] = []
    process.runner.turn_in(asked)
    process.runner.read_between_turns([lambda: reads.append(1)])
    process.runner.turn()
    turns = turned(process, asked, 0.05)
    assert turns > 10
    assert turns < len(reads) <= turns * READS_PER_TURN


def test_who_sleeps_is_told_by_the_loop_what_there_is_to_read(house):
    process, asked = Process(house, "park"), Asked()
    reads: list[int] = []
    process.runner.turn_in(asked)
    process.runner.read_between_turns([lambda: reads.append(1)])
    for _ in range(3):
        process.runner.turn()
        turned(process, asked, 0.01)
    assert not reads


def test_what_a_read_brings_turns_the_process_and_is_followed_by_one_turn_of_the_loop(house):
    process, asked = Process(house, "busy_spin"), Asked()
    work = [1]
    process.role.works = lambda: work.pop() if work else 0
    brought: list[int] = []

    def read() -> None:
        if not brought:
            brought.append(len(process.role.passes))
            work.append(1)
            process.runner.turn()

    process.runner.turn_in(asked)
    process.runner.turn()
    process.runner.read_between_turns([read])
    assert len(asked.waiting) == 1
    asked.waiting.pop()()
    assert brought
    assert not work, "what came was worked on before the read was over"
    assert len(asked.waiting) == 1, "asked for once, not twice"


def test_after_a_read_that_turned_the_process_nothing_is_read_before_the_loop_had_its_turn(house):
    """The turn may have armed the wake-up: what is looked at after that is for the loop to find."""
    process, asked = Process(house, "busy_spin"), Asked()
    reads: list[int] = []

    def read() -> None:
        reads.append(1)
        process.runner.turn()

    process.runner.turn_in(asked)
    process.runner.read_between_turns([read])
    process.runner.turn()
    turns = turned(process, asked, 0.05)
    assert 10 < len(reads) <= turns


def test_an_error_in_a_read_ends_the_process(house):
    process = Process(house, "busy_spin")

    def read() -> None:
        raise ZeroDivisionError("torn")

    process.role.hot_reads = [read]
    assert process.run(5.0) == EXIT_FATAL
    assert process.context.page.state == RoleState.FAILED


def test_a_turn_asked_for_inside_a_turn_makes_one_more_pass(house, loop):
    process = Process(house, "park")
    asked: list[int] = []

    def works() -> int:
        if not asked:
            asked.append(time.monotonic_ns())
            process.runner.turn()
        return 0

    process.role.works = works
    process.runner.turn_in(loop)
    process.runner.turn()
    assert len(process.role.passes) == 2


def test_a_process_that_sleeps_first_makes_sure_that_nobody_has_work(house, loop):
    process = Process(house, "park")
    left = [3, 2, 1]
    process.role.works = lambda: left.pop() if left else 0
    process.runner.turn_in(loop)
    process.runner.turn()
    assert not left
    assert len(process.role.passes) == 4


def test_a_wake_up_is_answered_by_work_and_its_fifo_is_empty_before_the_next_sleep(house, loop):
    process = Process(house, "park")
    bells = process.context._attach(BELLS_SPEC, writable=True)
    bell = Bell(bells, 3, house.run_dir / "turning.fifo")
    fifo = process.runner._parker.fifo_fd
    found: list[int] = []

    def works() -> int:
        found.extend(select.select([fifo], [], [], 0)[0])
        return 0

    process.runner.turn_in(loop)
    for _ in range(2):  # what was posted so far is found once more before the first sleep
        process.runner.turn()
    assert bell.is_parked
    bell.ring()
    process.role.works = works
    process.runner.on_fifo()
    assert found == [fifo]  # the work came first
    assert not select.select([fifo], [], [], 0)[0]
    process.runner.turn()
    assert bell.is_parked
    bell.ring()
    assert select.select([fifo], [], [], 0)[0] == [fifo]  # this one ends the next sleep


def test_a_role_with_a_period_beats_in_every_pass_and_works_once_in_a_period(house):
    context, role = house.context("risk"), Counting()
    role.period_ns = 100
    cycle = Cycle([role], [context.page])
    for now_ns in (1_000, 1_050, 1_099, 1_100, 1_150):
        cycle.pass_once(now_ns)
        assert context.page.beat_ns == now_ns
    assert role.passes == [1_000, 1_100]


def test_an_error_in_a_role_ends_the_process(house):
    process = Process(house, "busy_spin")

    def fail() -> int:
        raise ZeroDivisionError("torn")

    process.role.works = fail
    assert process.run(5.0) == EXIT_FATAL
    assert process.context.page.state == RoleState.FAILED
    assert len(process.role.passes) == 1, "nothing turns after it"
