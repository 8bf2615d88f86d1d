"""One intent and its answer, with the market in cells."""

from __future__ import annotations

import pytest

from hft import graph
from hft.core.generated.views import Decision, Intent, MarkPrice, TopOfBook
from hft.core.instruments import InstrumentRules
from hft.core.order_id import make_order_id
from hft.core.policies import limits_for
from hft.core.risk import RiskBook
from hft.records import (
    Action,
    FeedState,
    Kind,
    Mode,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.roles.risk_judge import Judge
from hft.units import E8, NS_PER_S

BTC = 1
NOW = 100 * NS_PER_S
EPOCH = 2**40


class Bench:
    """A judge with three empty exposures, and a feed."""

    def __init__(self, house) -> None:
        feed, risk = house.context("feed"), house.context("risk")
        self._tops, buffer = feed.cell_writer("tops")
        self.top = TopOfBook(buffer)
        self._marks, buffer = feed.cell_writer("marks")
        self.mark = MarkPrice(buffer)
        tops, top_buffer = risk.cell_reader("tops")
        marks, mark_buffer = risk.cell_reader("marks")
        limits = limits_for("mm_conservative", 100_000 * E8)
        books = [RiskBook(limits, [BTC]) for _ in range(3)]
        for book in books:
            book.set_equity(100_000 * E8)
            book.set_instrument(
                InstrumentRules(instrument_id=BTC, symbol="BTCUSDT", tick_e8=E8, step_e8=E8)
            )
        self.live, self.paper, self.observed = books
        self.judge = Judge(
            tops, TopOfBook(top_buffer), marks, MarkPrice(mark_buffer), live=self.live,
            paper=self.paper, observed=self.observed, source=4, epoch=EPOCH,
        )  # fmt: skip
        self.judge.account_ns = NOW

    def market(self, price: int) -> None:
        self.top.bid_e8, self.top.ask_e8 = price * E8, price * E8
        self.top.as_of_ns, self.top.feed_state = NOW, int(FeedState.LIVE)
        self.mark.mark_e8, self.mark.as_of_ns = price * E8, NOW
        self._tops.write(BTC)
        self._marks.write(BTC)

    def verdict(self, intent: Intent) -> int:
        return self.judge.verdict(intent, NOW, TradingState.ACTIVE, False)


@pytest.fixture
def bench(house) -> Bench:
    return Bench(house)


def intent(seq: int = 1, mode: int = Mode.LIVE, instrument_id: int = BTC) -> Intent:
    view = Intent()
    view.order_id, view.instrument_id, view.mode = make_order_id(1, 1, seq), instrument_id, mode
    view.action, view.side, view.strategy_id = int(Action.PLACE), int(Side.BUY), 1
    view.price_e8, view.qty_e8, view.decide_ns = 100 * E8, E8, NOW
    view.order_type, view.tif, view.is_post_only = int(OrderType.LIMIT), int(Tif.GTC), 1
    return view


def test_the_newest_market_in_the_cells_is_judged_by(bench: Bench) -> None:
    assert bench.verdict(intent(1)) == Reason.STALE_DATA, "nobody has written a market"
    bench.market(100)
    assert bench.verdict(intent(2)) == Reason.NONE
    bench.market(110)
    assert bench.verdict(intent(3)) == Reason.PRICE_COLLAR


@pytest.mark.parametrize("mode", [0, *Mode])
def test_each_mode_has_an_exposure_of_its_own(bench: Bench, mode: int) -> None:
    bench.market(100)
    assert bench.verdict(intent(mode=mode)) == Reason.NONE
    counted = [book.open_orders(BTC) for book in (bench.live, bench.paper, bench.observed)]
    assert counted == [mode in (0, 1), mode == Mode.PAPER, mode == Mode.OBSERVE]


def test_an_exposure_that_is_put_in_anew_is_the_one(bench: Bench) -> None:
    bench.market(100)
    bench.judge.paper = bench.observed
    assert bench.verdict(intent(mode=Mode.PAPER)) == Reason.NONE
    assert (bench.paper.open_orders(BTC), bench.observed.open_orders(BTC)) == (0, 1)


def test_an_account_that_is_not_known_to_be_right_is_refused(bench: Bench) -> None:
    bench.market(100)
    bench.judge.account_ns = 0
    assert bench.verdict(intent()) == Reason.ACCOUNT_STALE


@pytest.mark.parametrize("number", [2, graph.INSTRUMENTS_MAX, 2**32 - 1])
def test_an_instrument_that_nobody_knows_is_refused(bench: Bench, number: int) -> None:
    asked, decision = intent(instrument_id=number), Decision()
    assert bench.verdict(asked) == Reason.INSTRUMENT_UNKNOWN
    bench.judge.answer(decision, asked, Reason.INSTRUMENT_UNKNOWN, NOW, graph.RingId.INTENTS)
    assert (decision.instrument_id, decision.position_e8) == (number, 0)


def test_a_decision_repeats_the_intent_and_says_when_and_why(bench: Bench) -> None:
    bench.live.add_position(BTC, -3 * E8)
    asked = intent(7)
    asked.seq, asked.flags, asked.origin_ns = 12, 2, 5
    asked.instrument_version, asked.is_reduce_only, asked.good_till_s = 4, 1, 700
    bench.market(100)
    bench.verdict(asked)
    decision = Decision(bytearray(b"x" * Decision.BYTES))
    bench.judge.answer(decision, asked, Reason.POSITION_MAX, NOW, graph.RingId.MANUAL)
    repeated = (
        "mode", "flags", "origin_ns", "instrument_id", "instrument_version", "order_id",
        "decide_ns", "price_e8", "qty_e8", "strategy_id", "action", "side", "order_type", "tif",
        "is_post_only", "is_reduce_only", "good_till_s",
    )  # fmt: skip
    for name in repeated:
        assert getattr(decision, name) == getattr(asked, name), name
    assert (decision.kind, decision.source) == (Kind.DECISION, 4)
    assert (decision.cause_ring, decision.cause_seq) == (graph.RingId.MANUAL, 12)
    assert (decision.judge_ns, decision.risk_epoch) == (NOW, EPOCH)
    assert (decision.reason, decision.position_e8) == (Reason.POSITION_MAX, -3 * E8)
    assert decision.policy_version == bench.live.limits.version
    assert decision.granted_state == TradingState.ACTIVE
    assert decision.seq == decision.publish_ns == 0
