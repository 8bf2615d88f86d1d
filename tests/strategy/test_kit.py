"""The authors' testing kit: what it shows is what the engine's own targets and orders do."""

from __future__ import annotations

from typing import ClassVar

import pytest

from hft.records import Action, FeedState, OrderType, Reason, Side, Tif
from hft.strategy.base import DecimalText, QuoteRules, StrategyParameters
from hft.strategy.errors import StrategyError, StrategyLoadError
from hft.strategy.kit import Trial
from hft.strategy.orders import NO_ORDER
from hft.units import E8, parse_e8


class Follower:
    """Bids at the touch, and leaves its position by a market order when it is told to."""

    class Parameters(StrategyParameters, frozen=True):
        qty: DecimalText = "0.01"

    quote_rules = QuoteRules(rest_ns_min=0)
    seen: ClassVar[list[str]] = []

    def __init__(self, parameters, instrument):
        self.qty_e8 = parse_e8(parameters.qty)
        self.trades = 0
        self.answers: list[int] = []
        self.levels = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        targets.set(Side.BUY, top.bid_e8, self.qty_e8 if position_e8 <= 0 else 0)

    def on_book(self, now_ns, book, position_e8, targets):
        self.levels = book.bid_count

    def on_trade(self, now_ns, trade, position_e8, targets):
        self.trades += 1
        if position_e8 > 0:
            targets.orders.place(
                Side.SELL, 0, position_e8, order_type=OrderType.MARKET, reduce_only=True
            )

    def on_execution(self, now_ns, execution, position_e8, targets):
        self.answers.append(execution.exec_kind)

    def on_timer(self, now_ns, targets):
        pass

    def save(self):
        return {"trades": self.trades}

    def restore(self, state):
        self.trades = state["trades"]


def test_a_top_becomes_an_order_and_a_fill_a_position() -> None:
    trial = Trial(Follower, qty="0.02")
    trial.top("1000", "1000.1")
    assert trial.wanted(Side.BUY) == ("1000", "0.02")
    assert [(s.action, s.side, s.price, s.qty) for s in trial.sent] == [
        (Action.PLACE, Side.BUY, "1000", "0.02")
    ]
    assert trial.targets.view.exposure_e8 == parse_e8("0.02")
    trial.fill(Side.BUY, "0.005")
    assert trial.position == "0.005"
    assert trial.orders[0].leaves_qty_e8 == parse_e8("0.015")
    trial.top("1000.1", "1000.2")
    assert trial.orders == []
    assert trial.sent[-1].action is Action.CANCEL


def test_an_order_is_amended_when_the_touch_moves() -> None:
    trial = Trial(Follower)
    trial.top("1000", "1000.1")
    trial.top("1000.1", "1000.2")
    assert [sent.action for sent in trial.sent] == [Action.PLACE, Action.AMEND]
    assert trial.orders[0].price_e8 == parse_e8("1000.1")


def test_a_market_order_fills_at_the_touch() -> None:
    trial = Trial(Follower)
    trial.position = "0.5"
    trial.top("1000", "1000.1")
    trial.trade("1000", "3")
    assert trial.position == "0"
    assert trial.sent[-1].order_type is OrderType.MARKET
    assert trial.orders == []


def test_explicit_orders_are_placed_amended_and_cancelled() -> None:
    trial = Trial(Follower)
    orders = trial.targets.orders
    trial.feed(FeedState.LIVE)
    first = orders.place(Side.SELL, 1_001 * E8, E8)
    assert orders.get(first).is_pending
    assert not orders.amend(first, 1_002 * E8, E8), "the place is unanswered"
    trial.advance(10)
    assert orders.amend(first, 1_002 * E8, 2 * E8)
    trial.advance(10)
    assert trial.orders == [(first, Side.SELL, 1_002 * E8, 2 * E8, 2 * E8, False, False)]
    assert orders.cancel_all() == 1
    trial.advance(10)
    assert trial.orders == []
    assert not orders.cancel(first)


def test_an_immediate_order_that_meets_nobody_expires() -> None:
    trial = Trial(Follower)
    trial.position = "1"
    trial.top("1000", "1000.1")
    trial.targets.orders.place(Side.BUY, 999 * E8, E8, tif=Tif.IOC)
    trial.advance(10)
    assert trial.orders == []
    assert trial.position == "1"


@pytest.mark.parametrize(
    ("price_e8", "qty_e8"),
    [
        (float("nan"), E8),
        (-E8, E8),
        (E8, -E8),
        (10**30, E8),
        (E8 + 1, E8),
        (E8, 1),
        (0, E8),
        (E8, 0),
    ],
)
def test_an_explicit_order_that_cannot_be_is_an_error(price_e8: int, qty_e8: int) -> None:
    with pytest.raises(StrategyError):
        Trial(Follower).targets.orders.place(Side.BUY, price_e8, qty_e8)


def test_a_quote_that_cannot_be_is_an_error() -> None:
    targets = Trial(Follower).targets
    for side, price_e8, qty_e8 in [
        (Side.BUY, -E8, E8),
        (Side.BUY, E8, -E8),
        (Side.BUY, 10**19, E8),
        (Side.NONE, E8, E8),
        (2, E8, E8),
        (Side.BUY, True, E8),
    ]:
        with pytest.raises(StrategyError):
            targets.set(side, price_e8, qty_e8)


def test_nothing_goes_out_while_the_feed_is_bad() -> None:
    trial = Trial(Follower)
    trial.top("1000", "1000.1")
    trial.feed(FeedState.GAPPED)
    assert trial.orders == []
    assert trial.targets.orders.place(Side.BUY, 900 * E8, E8) == NO_ORDER


def test_a_refused_explicit_order_is_over() -> None:
    trial = Trial(Follower)
    trial.is_answering = False
    order_id = trial.targets.orders.place(Side.BUY, 900 * E8, E8)
    assert order_id
    trial.refuse(Reason.POSITION_MAX)
    assert trial.targets.orders.get(order_id) is None


def test_state_goes_over_to_the_new_object_and_orders_stay() -> None:
    trial = Trial(Follower)
    trial.top("1000", "1000.1")
    trial.trade("1000", "1")
    trial.book([("1000", "1"), ("999", "2")], [("1000.1", "1")])
    assert trial.plugin.levels == 2
    trial.reload(Follower, qty="0.03")
    assert trial.plugin.trades == 1
    assert len(trial.orders) == 1


def test_parameters_are_checked_as_in_the_engine() -> None:
    with pytest.raises(StrategyLoadError, match="qtty"):
        Trial(Follower, qtty="1")
