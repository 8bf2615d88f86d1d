from __future__ import annotations

import msgspec
import pytest

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import Action, FeedState, Side, Tif
from hft.strategy.change import Change
from hft.strategy.errors import StrategyLoadError
from hft.strategy.momentum import Momentum, MomentumParameters
from hft.strategy.targets import QuoteTargets
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8

ETHUSDT = InstrumentRules(
    instrument_id=2,
    symbol="ETHUSDT",
    tick_e8=parse_e8("0.01"),
    step_e8=parse_e8("0.001"),
    qty_min_e8=parse_e8("0.001"),
    notional_min_e8=20 * E8,
)
QUICK = {
    "fast_s": "0.5", "slow_s": "2", "enter_sigmas": "1", "exit_sigmas": "0.25", "pause_ms": 0,
    "maker_fee_bps": "0", "quote_notional": "250", "position_notional_max": "600",
}  # fmt: skip
STEP_NS = 100 * NS_PER_MS
WARM = 25


class Course:
    """A plug-in and a market of one tick's spread that goes where the test wants."""

    def __init__(self, **parameters: object) -> None:
        self.plugin = Momentum(
            msgspec.convert({**QUICK, **parameters}, MomentumParameters), ETHUSDT
        )
        self.targets = QuoteTargets(ETHUSDT, self.plugin.quote_rules)
        self.sent: list[Change] = []
        self.targets.orders.bind(self._send)
        self.now_ns = 1
        self.bid_e8 = 2_500 * E8

    def _send(self, change: Change) -> int:
        self.sent.append(change)
        return len(self.sent)

    def go(self, ticks: int, steps: int = 1, position: str = "0") -> Course:
        top = TopOfBook()
        top.feed_state = FeedState.LIVE
        for _ in range(steps):
            self.now_ns += STEP_NS
            self.bid_e8 += ticks * ETHUSDT.tick_e8
            top.bid_e8, top.ask_e8 = self.bid_e8, self.bid_e8 + ETHUSDT.tick_e8
            top.as_of_ns = self.now_ns
            self.plugin.on_top_of_book(self.now_ns, top, parse_e8(position), self.targets)
        return self

    def wiggle(self) -> Course:
        """A market that goes nowhere, for as long as the warm-up takes."""
        for step in range(WARM):
            self.go(4 if step % 2 else -4)
        return self

    def wanted(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """Bid and ask as (ticks from the touch, quantity)."""
        bid_e8, bid_qty_e8 = self.targets.wanted(Side.BUY)
        ask_e8, ask_qty_e8 = self.targets.wanted(Side.SELL)
        ask_touch_e8 = self.bid_e8 + ETHUSDT.tick_e8
        return (
            ((bid_e8 - self.bid_e8) // ETHUSDT.tick_e8 if bid_qty_e8 else 0, bid_qty_e8 / E8),
            ((ask_e8 - ask_touch_e8) // ETHUSDT.tick_e8 if ask_qty_e8 else 0, ask_qty_e8 / E8),
        )


Wanted = tuple[tuple[int, float], tuple[int, float]]
NOTHING: Wanted = ((0, 0), (0, 0))
BID: Wanted = ((0, 0.1), (0, 0))
ASK: Wanted = ((0, 0), (0, 0.1))


def test_nothing_is_wanted_while_it_warms_up() -> None:
    course = Course()
    for _ in range(19):
        assert course.go(5).wanted() == NOTHING


def test_a_rise_is_bid_for_and_a_fall_is_offered_into_at_the_touch() -> None:
    assert Course().wiggle().go(8, 12).wanted() == BID
    assert Course().wiggle().go(-8, 12).wanted() == ASK


def test_a_market_that_goes_nowhere_is_left_alone() -> None:
    course = Course(enter_sigmas="2").wiggle()
    for step in range(50):
        assert course.go(4 if step % 2 else -4).wanted() == NOTHING


def test_fees_are_counted_before_it_enters() -> None:
    assert Course(maker_fee_bps="20").wiggle().go(8, 12).wanted() == NOTHING
    assert Course(maker_fee_bps="20", edge_bps="-40").wiggle().go(8, 12).wanted() == BID
    assert Course(edge_bps="40").wiggle().go(8, 12).wanted() == NOTHING


def test_taking_the_exit_costs_more_and_demands_more() -> None:
    assert Course(is_taking=True, taker_fee_bps="40").wiggle().go(8, 12).wanted() == NOTHING
    assert Course(is_taking=False, taker_fee_bps="40").wiggle().go(8, 12).wanted() == BID


def test_between_the_thresholds_it_stays_with_what_it_decided() -> None:
    course = Course(enter_sigmas="1", exit_sigmas="0.25").wiggle().go(8, 12)
    while course.plugin.signals["score"] > 1:
        course.go(0)
    assert course.plugin.signals["score"] > 0.25
    assert course.wanted()[0][1] == 0.1
    course.go(0, 100)
    assert course.plugin.signals["score"] < 0.25
    assert course.wanted() == NOTHING


def test_what_is_missing_of_an_entry_is_bid_for_while_the_move_lasts() -> None:
    course = Course().wiggle().go(8, 12).go(8, 1, position="0.06")
    assert course.wanted() == ((0, 0.04), (0, 0))
    assert course.go(8, 1, position="0.1").wanted() == NOTHING


def test_a_move_that_ends_is_left_at_the_other_touch() -> None:
    course = Course(pause_ms=1_000).wiggle().go(8, 12).go(8, 1, position="0.1")
    course.go(-8, 20, position="0.1")
    assert course.wanted() == ((0, 0), (0, 0.1))
    assert course.go(0, 1, position="0").wanted() == NOTHING


def test_a_trip_ends_at_its_stop_and_at_its_time() -> None:
    stopped = Course(stop_bps="1", exit_sigmas="0").wiggle().go(20, 15).go(20, 1, position="0.1")
    assert stopped.go(0, 1, position="0.1").wanted() == NOTHING
    assert stopped.go(-30, 1, position="0.1").plugin.signals["score"] > 0
    assert stopped.wanted() == ((0, 0), (0, 0.1))
    timed = Course(hold_s_max="1", exit_sigmas="0").wiggle().go(8, 12)
    assert timed.go(8, 10, position="0.1").wanted() == NOTHING
    assert timed.go(8, 1, position="0.1").wanted() == ((0, 0), (0, 0.1))


def test_an_ended_trip_is_followed_by_a_pause() -> None:
    course = Course(pause_ms=500, hold_s_max="1").wiggle().go(8, 12)
    course.go(8, 15, position="0.1")
    assert course.go(8, 5, position="0").wanted() == NOTHING
    assert course.go(8, 2, position="0").wanted() == BID


def test_a_position_that_was_there_before_the_start_is_worked_off() -> None:
    assert Course().go(0, 1, position="0.5").wanted() == ((0, 0), (0, 0.5))
    assert Course().go(0, 1, position="-0.5").wanted() == ((0, 0.5), (0, 0))
    # Less than the venue takes as an order: it becomes part of the next trip.
    assert Course().go(0, 1, position="0.005").wanted() == NOTHING
    assert Course().wiggle().go(8, 12, position="0.005").wanted() == ((0, 0.095), (0, 0))
    assert Course().wiggle().go(-8, 12, position="0.005").wanted() == ((0, 0), (0, 0.105))


def test_told_to_take_it_leaves_by_an_immediate_order_at_bounded_cost() -> None:
    course = Course(is_taking=True, take_bps="1", taker_fee_bps="0")
    course.wiggle().go(8, 12).go(8, 1, position="0.1")
    assert not course.sent
    course.go(-8, 20, position="0.1")
    assert course.wanted() == NOTHING
    (change,) = course.sent[:1]
    assert (change.action, change.side, change.tif) == (Action.PLACE, Side.SELL, Tif.IOC)
    assert change.is_reduce_only
    assert not change.is_post_only
    assert change.qty_e8 == parse_e8("0.1")
    assert change.price_e8 % ETHUSDT.tick_e8 == 0
    assert len(course.sent) == 1  # unanswered: not repeated


def test_a_taken_exit_is_not_worse_than_it_was_told() -> None:
    course = Course(is_taking=True, take_bps="1").go(0, 1, position="0.5")
    (change,) = course.sent
    assert change.price_e8 == parse_e8("2499.75")  # 1 bps below 2,500
    course = Course(is_taking=True, take_bps="1").go(0, 1, position="-0.5")
    (change,) = course.sent
    assert (change.side, change.price_e8) == (Side.BUY, parse_e8("2500.26"))


def test_silence_and_bad_data_pull_everything_and_begin_anew() -> None:
    course = Course().wiggle().go(8, 12)
    course.plugin.on_timer(course.now_ns + NS_PER_S, course.targets)
    assert course.wanted() == BID
    course.plugin.on_timer(course.now_ns + NS_PER_S + 1, course.targets)
    assert course.wanted() == NOTHING
    top = TopOfBook()
    top.bid_e8, top.ask_e8, top.as_of_ns = 99 * E8, 100 * E8, course.now_ns
    top.feed_state = FeedState.GAPPED
    course.plugin.on_top_of_book(course.now_ns, top, 0, course.targets)
    assert course.plugin.signals["score"] == 0
    assert course.go(8, 5).wanted() == NOTHING


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"fast_s": "2"}, "fast_s 2 is not below slow_s 2"),
        ({"enter_sigmas": "0.25"}, "exit_sigmas 0.25 is not below"),
        ({"slow_s": "0"}, "slow_s is 0"),
        ({"quote_notional": "700"}, "quote_notional 700"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, str], told: str) -> None:
    with pytest.raises(StrategyLoadError, match=told):
        Course(**parameters)
