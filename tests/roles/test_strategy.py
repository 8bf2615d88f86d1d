"""The strategy engine: newest state once a turn, wishes become intents, recovery adopts."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from hft import counters, graph
from hft.config import StrategyConfig
from hft.core.generated.views import Decision, Execution, FeedStatus, Intent, TopOfBook
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import make_order_id, source_of
from hft.counters import RoleState
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    Kind,
    Mode,
    OrderState,
    Reason,
    Side,
)
from hft.roles.strategy import StrategyEngine
from hft.units import E8, NS_PER_MS

BTC, ETH = 1, 2
PLUGIN = '''
from hft.records import Side
from hft.strategy.base import QuoteRules, StrategyParameters

class Joiner:
    """Wants one unit at each touch; raises when the ask is 666."""

    class Parameters(StrategyParameters, frozen=True):
        pass

    quote_rules = QuoteRules(rest_ns_min=0)

    def __init__(self, parameters, instrument):
        self.calls = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        self.calls += 1
        if top.ask_e8 == 666 * 10**8:
            raise RuntimeError("the beast")
        targets.set(Side.BUY, top.bid_e8, 10**8)
        targets.set(Side.SELL, top.ask_e8, 0 if position_e8 <= 0 else 10**8)

    def on_timer(self, now_ns, targets):
        pass
'''


class Market:
    """Feed, risk and execution around the engine."""

    def __init__(self, house, plugin: Path) -> None:
        strategy = StrategyConfig(
            name="joiner", plugin=f"{plugin}:Joiner", symbols=("BTCUSDT", "ETHUSDT")
        )
        config = msgspec.structs.replace(house.plan.config, strategies=(strategy,))
        house.plan = msgspec.structs.replace(house.plan, config=config)
        feed = house.context("feed")
        self._market, buffer = feed.ring_writer("market")
        self.top, self.status = TopOfBook(buffer), FeedStatus(buffer)
        risk = house.context("risk")
        self._intents, intent_buffer = risk.ring_reader("intents.strategy")
        self.intent = Intent(intent_buffer)
        self._decisions, decision_buffer = risk.ring_writer("decisions")
        self.decision = Decision(decision_buffer)
        self.execution = house.context("execution")
        self._executions, execution_buffer = self.execution.ring_writer("executions")
        self.record = Execution(execution_buffer)
        self._rows, row_buffer = self.execution.cell_writer("orders")
        self.row = OrderRow(row_buffer)

    def tick(self, bid: int, ask: int, instrument_id: int = BTC) -> None:
        top = self.top
        top.clear()
        top.kind, top.mode, top.instrument_id = int(Kind.TOP_OF_BOOK), 1, instrument_id
        top.bid_e8, top.ask_e8 = bid * E8, ask * E8
        top.recv_ns = top.origin_ns = time.monotonic_ns()
        top.feed_state = int(FeedState.LIVE)
        self._market.offer()

    def announce(self, state: FeedState) -> None:
        self.status.clear()
        self.status.kind, self.status.instrument_id = int(Kind.FEED_STATUS), BTC
        self.status.feed_state = int(state)
        self._market.offer()

    def intents(self) -> list[tuple[Action, Side, int, int]]:
        found = []
        while self._intents.next():
            one = self.intent
            found.append(
                (Action(one.action), Side(one.side), one.price_e8 // E8, one.instrument_id)
            )
        self._intents.commit()
        return found

    def report(self, order_id: int, kind: ExecKind, *, qty: int = 1, side: Side = Side.BUY) -> None:
        record = self.record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), 1, BTC
        record.order_id, record.exec_kind, record.side = order_id, int(kind), int(side)
        record.price_e8, record.qty_e8 = 100 * E8, qty * E8
        is_fill = kind is ExecKind.FILL
        record.cum_qty_e8 = qty * E8 if is_fill else 0
        record.leaves_qty_e8 = 0 if is_fill else qty * E8
        record.order_state = int(OrderState.FILLED if is_fill else OrderState.WORKING)
        self._executions.offer()

    def refuse(self, reason: Reason) -> None:
        decision, intent = self.decision, self.intent
        decision.clear()
        decision.kind, decision.instrument_id = int(Kind.DECISION), intent.instrument_id
        decision.order_id, decision.action = intent.order_id, intent.action
        decision.side, decision.reason = intent.side, int(reason)
        self._decisions.offer()


@pytest.fixture
def market(house, tmp_path) -> Market:
    plugin = tmp_path / "joiner.py"
    plugin.write_text(PLUGIN)
    return Market(house, plugin)


def start(house) -> tuple[StrategyEngine, object]:
    context = house.context("strategy")
    engine = StrategyEngine(context)
    engine.on_start(time.monotonic_ns())
    engine.do_work(time.monotonic_ns())
    return engine, context


def test_tick_becomes_an_intent_that_names_its_tick(house, market):
    engine, context = start(house)
    assert context.page.state == RoleState.READY
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    intent = market.intent
    assert (intent.cause_ring, intent.cause_seq) == (graph.RingId.MARKET, 1)
    assert intent.origin_ns == market.top.origin_ns
    assert source_of(intent.order_id) == intent.strategy_id == 1


def test_waiting_ticks_are_folded_into_one_call_with_the_newest(house, market):
    engine, _ = start(house)
    for bid in range(90, 100):
        market.tick(bid, bid + 2)
    market.tick(50, 52, ETH)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [
        (Action.PLACE, Side.BUY, 99, BTC),
        (Action.PLACE, Side.BUY, 50, ETH),
    ]
    assert [desk.plugin.calls for desk in engine._desks] == [1, 1]


def test_unanswered_intent_is_not_repeated(house, market):
    engine, _ = start(house)
    for bid in (100, 101, 102):
        market.tick(bid, bid + 2)
        engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]


def test_feed_that_is_not_live_pulls_the_quotes(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(market.intent.order_id, ExecKind.ACK)
    engine.do_work(time.monotonic_ns())
    market.announce(FeedState.GAPPED)
    engine.do_work(time.monotonic_ns())
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]


def test_fill_moves_the_position_before_the_next_call(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(market.intent.order_id, ExecKind.FILL)
    engine.do_work(time.monotonic_ns())
    assert (Action.PLACE, Side.SELL, 102, BTC) in market.intents()


def test_refusal_backs_off_instead_of_repeating_at_once(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    now_ns = time.monotonic_ns()
    engine.do_work(now_ns)
    market.intents()
    market.refuse(Reason.POSITION_MAX)
    market.tick(101, 103)
    engine.do_work(now_ns)
    assert market.intents() == []
    market.tick(101, 103)
    engine.do_work(now_ns + 150 * NS_PER_MS)
    assert market.intents() == [(Action.PLACE, Side.BUY, 101, BTC)]


def test_raising_plugin_is_paused_and_its_neighbour_goes_on(house, market):
    engine, context = start(house)
    market.tick(100, 666)
    market.tick(50, 52, ETH)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 50, ETH)]
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == []
    assert context.page.counter(counters.PLUGIN_ERRORS.id) == 1
    assert "the beast" in context.page.error


def test_successor_waits_for_what_is_on_its_way_and_then_adopts(house, market):
    engine, context = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    house.end(context)

    successor, after = start(house)
    market.tick(100, 102)
    successor.do_work(time.monotonic_ns())
    assert after.page.state == RoleState.RECOVERING, "an intent is still unjudged"
    assert len(market.intents()) == 1

    row = market.row
    row.clear()
    row.kind, row.mode, row.instrument_id = int(Kind.ORDER), int(Mode.LIVE), BTC
    row.order_id, row.side = market.intent.order_id, 1
    row.price_e8, row.qty_e8 = 100 * E8, E8
    row.order_state, row.strategy_id = int(OrderState.WORKING), 1
    market._rows.write(0)
    for _ in range(2):
        market.tick(100, 102)
        successor.do_work(time.monotonic_ns())
    assert after.page.state == RoleState.READY
    assert market.intents() == [], "what is wanted rests already"


def test_order_ids_of_two_lives_differ(house, market):
    _, context = start(house)
    first = make_order_id(1, context.epoch, 1)
    house.end(context)
    second = make_order_id(1, house.context("strategy").epoch, 1)
    assert first < second


def test_stop_pulls_every_quote(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(market.intent.order_id, ExecKind.ACK)
    engine.do_work(time.monotonic_ns())
    assert engine.on_stop(time.monotonic_ns())
    engine.do_work(time.monotonic_ns() + 20 * NS_PER_MS)
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]
