"""A process tells what held it up, and collects its garbage only while idle."""

from __future__ import annotations

import gc

import pytest

from hft import counters
from hft.roles import upkeep as upkeep_module
from hft.roles.upkeep import (
    COLLECT_NS,
    PERIOD_NS,
    REHEARSE_ANSWER_NS,
    REHEARSE_NS,
    SWITCHES_NS,
    Upkeep,
)

START_NS = 10**12


@pytest.fixture
def page(house):
    return house.context("risk").page


def stalls(page) -> int:
    return int(page.histogram(counters.STALL_NS.id).sum())


def test_loop_that_comes_round_in_time_was_not_held_up(page):
    upkeep = Upkeep(page, START_NS, collects=False)
    for step in range(1, 5):
        upkeep.passed(START_NS + step * PERIOD_NS)
    assert stalls(page) == 4
    assert page.histogram_max(counters.STALL_NS.id) == 0


def test_worst_gap_of_a_period_counts(page):
    upkeep = Upkeep(page, START_NS, collects=False)
    upkeep.passed(START_NS + 5 * PERIOD_NS)
    upkeep.passed(START_NS + 5 * PERIOD_NS + 1)
    upkeep.passed(START_NS + 6 * PERIOD_NS)
    assert stalls(page) == 2
    assert page.histogram_max(counters.STALL_NS.id) == 4 * PERIOD_NS


def test_garbage_is_collected_while_idle_and_not_too_often(page):
    collected = []
    gc.callbacks.append(lambda phase, info: collected.append(phase))
    try:
        upkeep = Upkeep(page, START_NS, collects=True)
        upkeep.idle(START_NS + COLLECT_NS)
        assert not collected
        upkeep.idle(START_NS + COLLECT_NS + 1)
        upkeep.idle(START_NS + COLLECT_NS + 2)
        assert collected == ["start", "stop"]
    finally:
        gc.callbacks.pop()
    assert int(page.histogram(counters.GARBAGE_NS.id).sum()) == 1


def test_cold_process_leaves_garbage_to_python(page):
    upkeep = Upkeep(page, START_NS, collects=False)
    upkeep.idle(START_NS + 10 * COLLECT_NS)
    assert int(page.histogram(counters.GARBAGE_NS.id).sum()) == 0


def test_switches_are_counted_from_the_start_of_the_process_on(page, monkeypatch):
    told = iter((100, 103, 103))
    monkeypatch.setattr(upkeep_module, "_involuntary_switches", lambda: next(told))
    upkeep = Upkeep(page, START_NS, collects=False)
    upkeep.idle(START_NS + SWITCHES_NS + 1)
    upkeep.idle(START_NS + 2 * SWITCHES_NS + 2)
    assert page.counter(counters.SWITCHES.id) == 3


class Rehearser:
    """A role that notes when it was asked."""

    def __init__(self) -> None:
        self.asked_ns: list[int] = []

    def rehearse(self, now_ns: int) -> None:
        self.asked_ns.append(now_ns)


def test_roles_rehearse_while_idle_now_and_then(page):
    role = Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=(object(), role))
    times = [START_NS + REHEARSE_NS * quarter // 4 for quarter in range(10)]
    for now_ns in times:
        upkeep.idle(now_ns)
    assert role.asked_ns == [START_NS + REHEARSE_NS, START_NS + 2 * REHEARSE_NS]
    assert page.counter(counters.REHEARSALS.id) == 2


def test_roles_take_turns(page):
    one, other = Rehearser(), Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=(one, other))
    for half in range(1, 5):
        upkeep.idle(START_NS + REHEARSE_NS * half // 2)
    assert one.asked_ns == [START_NS + REHEARSE_NS // 2, START_NS + REHEARSE_NS * 3 // 2]
    assert other.asked_ns == [START_NS + REHEARSE_NS, START_NS + 2 * REHEARSE_NS]


class Answerer(Rehearser):
    """A role that practises what it is told afterwards as well."""

    def __init__(self) -> None:
        super().__init__()
        self.answered_ns: list[int] = []

    def rehearse_answer(self, now_ns: int) -> None:
        self.answered_ns.append(now_ns)


def test_answers_are_rehearsed_less_often_and_never_in_the_same_breath(page):
    role = Answerer()
    upkeep = Upkeep(page, START_NS, collects=False, roles=(role,))
    answers = 3
    asked = answers * REHEARSE_ANSWER_NS // REHEARSE_NS
    for step in range(1, 10 * asked + 10):
        upkeep.idle(START_NS + REHEARSE_NS * step // 10)
    assert len(role.asked_ns) == asked
    assert len(role.answered_ns) == answers
    assert not set(role.asked_ns) & set(role.answered_ns)


def test_who_sleeps_catches_up_with_each_once(page):
    roles = Rehearser(), Rehearser(), Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=roles, sleeps=True)
    upkeep.idle(START_NS + 9 * REHEARSE_NS)
    upkeep.idle(START_NS + 9 * REHEARSE_NS + 1)
    assert [len(role.asked_ns) for role in roles] == [1, 1, 1]


def test_who_sleeps_rehearses_after_work_one_at_a_time(page):
    roles = Rehearser(), Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=roles, sleeps=True)
    for half in range(1, 4):
        upkeep.worked(START_NS + REHEARSE_NS * half // 2)
    assert [len(role.asked_ns) for role in roles] == [2, 1]


def test_who_spins_rehearses_only_when_idle(page):
    role = Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=(role,))
    upkeep.worked(START_NS + 9 * REHEARSE_NS)
    assert role.asked_ns == []


class Stumbler:
    """A role whose rehearsal goes wrong."""

    asked = 0

    def rehearse(self, now_ns: int) -> None:
        self.asked += 1
        raise RuntimeError("out of step")


def test_a_rehearsal_that_fails_is_given_up_and_the_others_go_on(page):
    role, other = Stumbler(), Rehearser()
    upkeep = Upkeep(page, START_NS, collects=False, roles=(role, other))
    for step in range(1, 4):
        upkeep.idle(START_NS + REHEARSE_NS * step)
    assert role.asked == 1
    assert len(other.asked_ns) == 2
    assert "out of step" in page.error
