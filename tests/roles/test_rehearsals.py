"""Strategy and risk rehearse their path while idle, and nothing of it is ever seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hft import counters
from hft.roles.context import segment_specs
from hft.roles.risk import Risk
from hft.roles.scratch import CAPACITY_MAX, ScratchSegment
from hft.roles.strategy import StrategyEngine
from ipc import Segment

BTC = 1
TURNS = 3 * CAPACITY_MAX


@pytest.fixture
def engine(house: Any) -> StrategyEngine:
    role = StrategyEngine(house.context("strategy"))
    role.on_start(time.monotonic_ns())
    return role


@pytest.fixture
def risk(house: Any) -> Risk:
    role = Risk(house.context("risk"))
    role.on_start(time.monotonic_ns())
    return role


def everything(house: Any) -> dict[str, bytes]:
    """Every byte that processes share, and every file."""
    found: dict[str, bytes] = {}
    for spec in segment_specs():
        segment = Segment.attach(house.plan.name, spec, writable=False)
        found[spec.name] = bytes(segment.buffer)
        segment.close()
    files = (path for path in Path(house.run_dir).rglob("*") if path.is_file())
    return found | {str(path): path.read_bytes() for path in files}


def test_a_tick_becomes_a_quote_and_an_explicit_order_each_time(engine):
    twin = engine._rehearsal._twin
    for count in range(1, TURNS + 1):
        engine.rehearse(time.monotonic_ns())
        assert twin._page.counter(counters.INTENTS.id) == 2 * count
    assert not twin.desks[0].pause_reason
    assert len(twin.desks[0].targets.orders) == 1
    assert twin.desks[0].inventory.position_e8 == 0


def test_an_intent_is_approved_each_time(risk):
    page = risk._rehearsal._twin._page
    for count in range(1, TURNS + 1):
        risk.rehearse(time.monotonic_ns())
        assert page.counter(counters.APPROVED.id) == count
    assert page.counter(counters.REFUSED.id) == 0
    assert risk._rehearsal.book.open_orders(BTC) == 1


def test_the_real_books_are_only_looked_at(risk):
    book = risk._book
    before = book.greatest_uses(0), book.messages_of(1), book.faults_of(1), book.open_orders(BTC)
    assert risk._asking == [(1, 1), (2, 1)]
    for _ in range(TURNS):
        risk.rehearse(time.monotonic_ns())
    risk._desk.look_ahead(100, 2)  # nobody watches that one
    after = book.greatest_uses(0), book.messages_of(1), book.faults_of(1), book.open_orders(BTC)
    assert before == after


@pytest.mark.parametrize("name", ["engine", "risk"])
def test_nobody_sees_a_rehearsal(house, request, name):
    role = request.getfixturevalue(name)
    before = everything(house)
    for _ in range(TURNS):
        role.rehearse(time.monotonic_ns())
    assert everything(house) == before


@pytest.mark.parametrize("name", ["engine", "risk"])
def test_a_twin_has_nothing_in_its_hands_that_leads_outside(request, name):
    """Whatever it does, and wherever it is killed: it has private memory, and no bell."""
    role = request.getfixturevalue(name)
    scratch = role._rehearsal._twin._context
    assert scratch is not role._context
    assert all(isinstance(one, ScratchSegment) for one in scratch._segments.values())
    assert not hasattr(scratch, "commands")
    assert not scratch.bells_of(("risk", "execution"))
