from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import FeedState, Side, Tif
from hft.strategy.change import Change
from hft.strategy.errors import StrategyLoadError
from hft.strategy.scalper import Scalper, ScalperParameters
from hft.strategy.targets import QuoteTargets
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8

SOLUSDT = InstrumentRules(
    instrument_id=3,
    symbol="SOLUSDT",
    tick_e8=parse_e8("0.01"),
    step_e8=parse_e8("0.01"),
    qty_min_e8=parse_e8("0.01"),
    notional_min_e8=5 * E8,
)
BASE = {
    "quote_notional": "250", "position_notional_max": "600", "maker_fee_bps": "0",
    "enter_imbalance": "0.6", "exit_imbalance": "0.2", "smoothing_ms": 1, "target_bps": "5",
}  # fmt: skip
NOTHING: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))


class Course:
    """A plug-in on a market whose queues the test fills."""

    def __init__(self, **parameters: object) -> None:
        self.plugin = Scalper(msgspec.convert({**BASE, **parameters}, ScalperParameters), SOLUSDT)
        self.targets = QuoteTargets(SOLUSDT, self.plugin.quote_rules)
        self.sent: list[Change] = []
        self.targets.orders.bind(self._send)
        self.now_ns = 1

    def _send(self, change: Change) -> int:
        self.sent.append(change)
        return len(self.sent)

    def see(
        self,
        bid_qty: float,
        ask_qty: float,
        *,
        bid: str = "100.00",
        ask: str = "100.01",
        position: str = "0",
        after_ms: int = 100,
        state: FeedState = FeedState.LIVE,
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Show a top of book; returns what is wanted: (price, quantity) of bid and ask."""
        self.now_ns += after_ms * NS_PER_MS
        top = TopOfBook()
        top.bid_e8, top.ask_e8 = parse_e8(bid), parse_e8(ask)
        top.bid_qty_e8, top.ask_qty_e8 = round(bid_qty * E8), round(ask_qty * E8)
        top.as_of_ns, top.feed_state = self.now_ns, state
        self.plugin.on_top_of_book(self.now_ns, top, parse_e8(position), self.targets)
        return self.wanted()

    def wanted(self) -> tuple[tuple[float, float], tuple[float, float]]:
        (bid, bid_qty), (ask, ask_qty) = map(self.targets.wanted, (Side.BUY, Side.SELL))
        return (bid / E8, bid_qty / E8), (ask / E8, ask_qty / E8)


def test_the_stronger_side_is_joined() -> None:
    assert Course().see(9, 1) == ((100.0, 2.49), (0, 0))
    assert Course().see(1, 9) == ((0, 0), (100.01, 2.49))


def test_a_balanced_book_is_left_alone() -> None:
    assert Course().see(6, 4) == NOTHING
    assert Course().see(0, 0) == NOTHING


def test_it_stays_in_the_queue_until_the_imbalance_is_gone() -> None:
    course = Course()
    course.see(9, 1)
    assert course.see(7, 4)[0][1] == 2.49  # 0.27: not enough to enter, enough to stay
    assert course.see(5, 4) == NOTHING  # 0.11
    assert course.see(7, 4) == NOTHING


def test_a_flicker_of_the_queue_is_averaged_away() -> None:
    course = Course(smoothing_ms=200)
    course.see(5, 5)
    assert course.see(9, 1, after_ms=10) == NOTHING
    assert course.see(9, 1, after_ms=2_000)[0][1] == 2.49


def test_a_trip_that_does_not_pay_its_two_fees_is_not_begun() -> None:
    # Spread 1 bps and micro-price 0.4 bps above the mid: 1.4 bps for two fees.
    assert Course(maker_fee_bps="0.6").see(9, 1) != NOTHING
    assert Course(maker_fee_bps="0.8").see(9, 1) == NOTHING
    assert Course(maker_fee_bps="0.8", edge_bps="-1").see(9, 1) != NOTHING
    assert Course(maker_fee_bps="-0.5", edge_bps="2").see(9, 1) != NOTHING
    assert Course(maker_fee_bps="2").see(9, 1, ask="100.05") != NOTHING


def test_what_is_held_is_offered_at_once_and_nothing_more_is_bought() -> None:
    course = Course(target_bps="0")
    course.see(9, 1)
    assert course.see(9, 1, position="2.49") == ((0, 0), (100.01, 2.49))
    assert course.see(1, 9, position="-2.49") == ((100.0, 2.49), (0, 0))


def test_it_insists_on_its_target_while_it_is_patient() -> None:
    course = Course(patience_ms=500)
    course.see(9, 1)
    # 5 bps above the mid of the entry, 100.005, rounded up to the tick.
    assert course.see(9, 1, position="2.49") == ((0, 0), (100.06, 2.49))
    assert course.see(9, 1, position="2.49", after_ms=400) == ((0, 0), (100.06, 2.49))
    assert course.see(9, 1, position="2.49", after_ms=100) == ((0, 0), (100.01, 2.49))


def test_a_book_that_turns_ends_its_patience() -> None:
    course = Course(patience_ms=500)
    course.see(9, 1)
    course.see(9, 1, position="2.49")
    assert course.see(1, 9, position="2.49") == ((0, 0), (100.01, 2.49))


def test_told_to_take_it_does_so_only_when_the_trip_went_wrong() -> None:
    course = Course(is_taking=True, take_bps="1", patience_ms=500)
    course.see(9, 1)
    assert course.see(9, 1, position="2.49") == ((0, 0), (100.06, 2.49))
    assert not course.sent
    assert course.see(1, 9, position="2.49") == NOTHING
    (change,) = course.sent
    assert (change.side, change.tif, change.is_reduce_only) == (Side.SELL, Tif.IOC, True)
    assert (change.price_e8, change.qty_e8) == (parse_e8("99.99"), parse_e8("2.49"))


def test_nothing_is_taken_while_a_quote_may_still_fill() -> None:
    course = Course(is_taking=True, patience_ms=500)
    course.see(9, 1)
    course.see(9, 1, position="2.49")
    (change,) = course.targets.changes(course.now_ns + NS_PER_S)
    course.targets.mark_offered(change, 7, course.now_ns)
    course.see(1, 9, position="2.49")
    assert not course.sent


def test_silence_and_bad_data_pull_everything() -> None:
    course = Course()
    course.see(9, 1)
    course.plugin.on_timer(course.now_ns + NS_PER_S + 1, course.targets)
    assert course.wanted() == NOTHING
    assert course.see(9, 1) != NOTHING
    assert course.see(9, 1, state=FeedState.GAPPED) == NOTHING
    assert course.plugin.signals["direction"] == 0


def test_its_signals_can_be_read() -> None:
    course = Course()
    course.see(9, 1)
    assert course.plugin.signals == {
        "imbalance": 0.8,
        "micro_price_bps": pytest.approx(0.4, rel=1e-3),
        "direction": 1,
    }


@pytest.mark.parametrize(
    "parameters",
    [{"enter_imbalance": "1.1"}, {"exit_imbalance": "0.6"}, {"quote_notional": "700"}],
)
def test_parameters_that_cannot_be_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(StrategyLoadError):
        Course(**parameters)


def test_on_a_recorded_market_it_trades_only_where_fees_allow(shared_data: Path) -> None:
    """BTCUSDT, whose spread is one tick: at 2 bps a fill no trip pays, with a rebate many do."""
    wishes = {"2": 0, "-0.5": 0}
    rules = msgspec.structs.replace(SOLUSDT, tick_e8=parse_e8("0.1"), step_e8=parse_e8("0.001"))
    for fee in wishes:
        parameters = {**BASE, "maker_fee_bps": fee, "smoothing_ms": 200}
        plugin = Scalper(msgspec.convert(parameters, ScalperParameters), rules)
        targets = QuoteTargets(rules, plugin.quote_rules)
        top = TopOfBook()
        top.feed_state = FeedState.LIVE
        count = 0
        with gzip.open(shared_data / "usdm_streams" / "btcusdt_20240719.gz", "rt") as lines:
            for line in lines:
                if "@bookTicker" not in line[:90]:
                    continue
                stamp, _, text = line.partition(" ")
                data = msgspec.json.decode(text)["data"]
                top.bid_e8, top.bid_qty_e8 = parse_e8(data["b"]), parse_e8(data["B"])
                top.ask_e8, top.ask_qty_e8 = parse_e8(data["a"]), parse_e8(data["A"])
                top.as_of_ns = int(stamp)
                plugin.on_top_of_book(int(stamp), top, 0, targets)
                for side, limit_e8 in ((Side.BUY, top.bid_e8), (Side.SELL, -top.ask_e8)):
                    price_e8, qty_e8 = targets.wanted(side)
                    wishes[fee] += qty_e8 > 0
                    assert not qty_e8 or price_e8 * side <= limit_e8
                count += 1
                if count == 5_000:
                    break
    assert wishes["2"] == 0
    assert wishes["-0.5"] > 500
