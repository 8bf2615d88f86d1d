"""The strategy engine: newest state once a turn, wishes become intents, recovery adopts."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import msgspec
import pytest

from hft import counters, graph
from hft.config import StrategyConfig
from hft.core.generated.views import (
    Decision,
    Execution,
    FeedStatus,
    Instrument,
    Intent,
    Position,
    TopOfBook,
)
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import foreign_order_id, make_order_id, source_of
from hft.counters import RoleState
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Kind,
    Mode,
    OrderState,
    Reason,
    Side,
)
from hft.roles.strategy import EXECUTIONS_PER_CYCLE_MAX, StrategyEngine
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
        risk = self.risk = house.context("risk")
        self._intents, intent_buffer = risk.ring_reader("intents.strategy")
        self.intent = Intent(intent_buffer)
        self._decisions, decision_buffer = risk.ring_writer("decisions")
        self.decision = Decision(decision_buffer)
        self.execution = house.context("execution")
        self._executions, execution_buffer = self.execution.ring_writer("executions")
        self.record = Execution(execution_buffer)
        self._rows, row_buffer = self.execution.cell_writer("orders")
        self.row = OrderRow(row_buffer)
        self.feed = feed
        self._instruments, instrument_buffer = feed.cell_writer("instruments")
        self.instrument = Instrument(instrument_buffer)
        self._positions, position_buffer = house.context("account").cell_writer("positions")
        self.position = Position(position_buffer)

    def change(self, instrument_id: int = BTC, **fields: int) -> None:
        """The venue changes its rules."""
        assert self._instruments.read(instrument_id)
        for name, value in fields.items():
            setattr(self.instrument, name, value)
        self.instrument.instrument_version += 1
        self._instruments.write(instrument_id)

    def hold(self, position: int, adjusted: int, executions_seq: int) -> None:
        """The account's cell of BTC."""
        cell = self.position
        cell.clear()
        cell.kind, cell.instrument_id, cell.mode = int(Kind.POSITION), BTC, int(Mode.LIVE)
        cell.position_e8, cell.adjusted_e8 = position * E8, adjusted * E8
        cell.executions_seq = executions_seq
        self._positions.write(graph.position_cell(Mode.LIVE, BTC))

    def tick(
        self,
        bid: int,
        ask: int,
        instrument_id: int = BTC,
        state: FeedState = FeedState.LIVE,
    ) -> None:
        self.feed.page.beat(time.monotonic_ns())
        top = self.top
        top.clear()
        top.kind, top.mode, top.instrument_id = int(Kind.TOP_OF_BOOK), 1, instrument_id
        top.bid_e8, top.ask_e8 = bid * E8, ask * E8
        top.recv_ns = top.origin_ns = time.monotonic_ns()
        top.feed_state = int(state)
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

    def answer_all(self, choose: Random) -> list[Action]:
        """Whatever is asked for is done, or the order fills instead."""
        actions = []
        while self._intents.next():
            intent = self.intent
            actions.append(Action(intent.action))
            done = {Action.PLACE: ExecKind.ACK, Action.AMEND: ExecKind.AMENDED}
            kind = choose.choice((ExecKind.FILL, done.get(actions[-1], ExecKind.CANCELED)))
            self.report(intent.order_id, kind, side=Side(intent.side))
        self._intents.commit()
        return actions

    def report(self, order_id: int, kind: ExecKind, *, qty: int = 1, side: Side = Side.BUY) -> None:
        record = self.record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), 1, BTC
        record.order_id, record.exec_kind, record.side = order_id, int(kind), int(side)
        record.price_e8, record.qty_e8 = 100 * E8, qty * E8
        is_fill, is_over = kind is ExecKind.FILL, kind in (ExecKind.FILL, ExecKind.CANCELED)
        record.cum_qty_e8 = qty * E8 if is_fill else 0
        record.leaves_qty_e8 = 0 if is_over else qty * E8
        over = OrderState.FILLED if is_fill else OrderState.CANCELED
        record.order_state = int(over if is_over else OrderState.WORKING)
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


def test_records_read_again_for_the_position_revive_no_order(house, market):
    """The account's cells may be old: what they lack is read again, and some of it is long over."""
    engine, context = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    (_, _, _, _), *_ = market.intents()
    closed = market.intent.order_id
    for _ in range(EXECUTIONS_PER_CYCLE_MAX):
        market.report(closed, ExecKind.ACK)
    market.report(closed, ExecKind.CANCELED)
    market.risk.page.cursor(graph.cursor_index("intents.strategy")).store(market.intent.seq)
    market.hold(position=0, adjusted=0, executions_seq=0)
    house.end(context)

    successor, _ = start(house)
    for _ in range(3):
        market.announce(FeedState.STALE)
        successor.do_work(time.monotonic_ns())
    assert market.intents() == []


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


def test_position_moves_with_every_fill_of_the_instrument_whoever_traded(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(foreign_order_id(BTC, 77), ExecKind.FILL)
    engine.do_work(time.monotonic_ns())
    assert (Action.PLACE, Side.SELL, 102, BTC) in market.intents()
    assert [desk.inventory.position_e8 for desk in engine._desks] == [E8, 0]


def test_desks_on_one_instrument_see_one_position(house, market):
    (one,) = house.plan.config.strategies
    other = msgspec.structs.replace(one, name="other", symbols=("BTCUSDT",))
    config = msgspec.structs.replace(house.plan.config, strategies=(one, other))
    house.plan = msgspec.structs.replace(house.plan, config=config)
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(make_order_id(1, 1, 1), ExecKind.FILL)
    market.report(make_order_id(2, 1, 1), ExecKind.FILL)
    engine.do_work(time.monotonic_ns())
    btc = [desk for desk in engine._desks if desk.instrument.instrument_id == BTC]
    assert [desk.inventory.position_e8 for desk in btc] == [2 * E8, 2 * E8]


def test_position_starts_from_the_cell_and_is_corrected_by_it(house, market):
    market.report(1, ExecKind.FILL)
    market.report(2, ExecKind.FILL)
    market.hold(position=5, adjusted=4, executions_seq=1)
    engine, _ = start(house)
    engine.do_work(time.monotonic_ns())
    inventory = engine._inventories[BTC]
    assert inventory.position_e8 == 6 * E8, "the second fill came after the cell"
    market.hold(position=9, adjusted=7, executions_seq=2)
    for _ in range(2):
        engine.do_work(time.monotonic_ns() + 200 * NS_PER_MS)
    assert inventory.position_e8 == 9 * E8


def test_new_tick_rounds_what_is_wanted_anew(house, market):
    engine, _ = start(house)
    market.tick(100, 103)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(market.intent.order_id, ExecKind.ACK)
    market.change(tick_e8=7 * E8)
    later_ns = time.monotonic_ns() + 200 * NS_PER_MS
    engine.do_work(later_ns)
    assert engine._desks[0].targets.wanted(Side.BUY)[0] == 98 * E8
    assert market.intents() == [], "what rests may stay"
    market.tick(129, 133)
    engine.do_work(later_ns)
    assert market.intents() == [(Action.AMEND, Side.BUY, 126, BTC)]
    assert market.intent.instrument_version == 2


def test_instrument_that_does_not_trade_is_left(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    market.intents()
    market.report(market.intent.order_id, ExecKind.ACK)
    market.change(status=int(InstrumentStatus.HALTED))
    later_ns = time.monotonic_ns() + 200 * NS_PER_MS
    engine.do_work(later_ns)
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]
    market.report(market.intent.order_id, ExecKind.FILL)
    market.tick(100, 102)
    engine.do_work(later_ns)
    assert market.intents() == []
    market.change(status=int(InstrumentStatus.TRADING))
    for _ in range(2):
        market.tick(100, 102)
        engine.do_work(later_ns + 200 * NS_PER_MS)
    assert (Action.PLACE, Side.SELL, 102, BTC) in market.intents()


def test_feed_that_is_dead_cannot_say_so_and_is_believed_no_longer(house, market):
    engine, _ = start(house)
    market.tick(100, 102)
    now_ns = time.monotonic_ns()
    engine.do_work(now_ns)
    market.intents()
    market.report(market.intent.order_id, ExecKind.ACK)
    engine.do_work(now_ns)
    engine.do_work(now_ns + 1_500 * NS_PER_MS)
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]


def test_status_counts_for_the_newest_top_too(house, market):
    engine, _ = start(house)
    market.tick(100, 102, state=FeedState.SYNCING)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == []
    market.announce(FeedState.LIVE)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    assert engine._desks[0].top.feed_state == FeedState.LIVE


def test_nothing_is_placed_or_moved_after_the_feed_has_said_that_it_is_bad(house, market):
    """Random feeds and answers: whatever came last in the ring decides."""
    engine, _ = start(house)
    choose = Random(11)
    now_ns = time.monotonic_ns()
    placed = bad_turns = 0
    last = FeedState.UNKNOWN
    for _ in range(600):
        now_ns += 11 * NS_PER_MS
        for _ in range(choose.choice((0, 1, 1, 2, 5, 300))):
            last = choose.choice((*[FeedState.LIVE] * 4, *FeedState))
            if choose.random() < 0.5:
                bid = choose.randrange(100, 110)
                market.tick(bid, bid + 2, state=last)
            else:
                market.announce(last)
        market.feed.page.beat(now_ns)
        while engine.do_work(now_ns):
            pass
        actions = market.answer_all(choose)
        placed += Action.PLACE in actions
        if last is not FeedState.LIVE:
            bad_turns += 1
            assert set(actions) <= {Action.CANCEL}
    assert placed > 20
    assert bad_turns > 100
