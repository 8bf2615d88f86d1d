from __future__ import annotations

from itertools import islice

import pytest

from hft.errors import ConfigError, UsageError
from tools.venue.config import FaultConfig, VenueConfig
from tools.venue.fault_kinds import KINDS
from tools.venue.faults import plan
from tools.venue.server import build
from tools.venue.truth import TruthHandlers


def test_schedule_follows_from_the_seed_alone():
    def first(seed, kind):
        config = FaultConfig(seed=seed, per_minute={kind: 30.0})
        return list(islice(plan(config, kind, symbols=("A", "B"), accounts=("x",)), 20))

    assert first(7, "lost_ack") == first(7, "lost_ack")
    assert first(7, "lost_ack") != first(8, "lost_ack")
    planned = first(7, "lost_ack")
    assert {p.choice.executes for p in planned} == {True, False}
    assert {p.choice.symbol for p in planned} == {"A", "B"}
    assert planned[0].at_s < planned[-1].at_s


def test_schedule_begins_faults_between_its_two_ends(make_venue):
    config = FaultConfig(per_minute={"funding": 600.0}, from_s=1.0, until_s=2.0)
    venue = make_venue(faults=config)
    venue.faults.start()
    venue.later(0.99)
    assert venue.faults.ledger.begun["funding"] == 0
    venue.later(1.01)
    begun = venue.faults.ledger.begun["funding"]
    assert begun > 0
    venue.later(10.0)
    assert venue.faults.ledger.begun["funding"] == begun


@pytest.mark.parametrize(
    ("rates", "words"),
    [({"earthquake": 1.0}, "no kind of fault"), ({"funding": -1.0}, "cannot be negative")],
)
def test_schedule_that_cannot_be_is_refused_at_the_start(rates, words):
    with pytest.raises(ConfigError, match=words):
        build(VenueConfig(faults=FaultConfig(per_minute=rates)))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("earthquake", {}, "no fault 'earthquake'"),
        ("halt", {"colour": "red"}, "no option 'colour'"),
        ("halt", {"seconds": "soon"}, "seconds cannot be 'soon'"),
        ("halt", {"symbol": "XUSDT"}, "no symbol 'XUSDT'"),
        ("lost_ack", {"executes": "maybe"}, "executes cannot be 'maybe'"),
        ("lost_ack", {"scope": "sea"}, "no scope 'sea'"),
        ("funding", {"account": "nobody"}, "no account 'nobody'"),
        ("drop_api", {"count": "-1"}, "count cannot be '-1'"),
    ],
)
def test_command_that_cannot_be_says_why(venue, kind, options, words):
    with pytest.raises(UsageError, match=words):
        venue.faults.begin(kind, options)
    assert not venue.faults.ledger.begun


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_leaves_nothing_in_the_way_when_it_is_over(venue, kind):
    fault = venue.fault(kind)
    assert venue.faults.ledger.begun[kind] == 1
    venue.later(fault.choice.seconds + 5.0)
    venue.later(5.0)
    exchange = venue.exchange
    assert exchange.outlet.frame_hook is None
    assert exchange.gate is None
    assert not exchange.is_down
    assert exchange.markets["BTCUSDT"].status == "TRADING"
    assert TruthHandlers(exchange).truth({})["faults"][kind]["begun"] == 1
