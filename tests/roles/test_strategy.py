"""The strategy engine: newest state once a turn, wishes become intents, recovery adopts."""

from __future__ import annotations

import time
from random import Random

import msgspec
import pytest

from hft import counters, graph
from hft.core.generated.views import Book, MarkPrice, Trade
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
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.strategy import StrategyEngine
from hft.roles.strategy_core import EXECUTIONS_PER_CYCLE_MAX, TIMER_NS
from hft.units import E8, NS_PER_MS, NS_PER_S

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


@pytest.fixture
def market(make_market, tmp_path):
    plugin = tmp_path / "joiner.py"
    plugin.write_text(PLUGIN)
    return make_market(plugin)


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
    assert [desk.plugin.calls for desk in engine.desks] == [1, 1]


def test_unanswered_intent_is_not_repeated(house, market):
    engine, _ = start(house)
    for bid in (100, 101, 102):
        market.tick(bid, bid + 2)
        engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]


def test_the_timer_waits_for_who_has_an_intent_to_judge_but_not_for_ever(house, market):
    engine, _ = start(house)
    engine.do_work(time.monotonic_ns())
    due_ns = engine._timer_ns + TIMER_NS
    market.tick(100, 102)
    engine.do_work(due_ns)
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    assert engine._timer_ns == due_ns - TIMER_NS
    engine.do_work(due_ns)
    assert engine._timer_ns == due_ns
    market.tick(50, 52, ETH)
    engine.do_work(due_ns + 2 * TIMER_NS)
    assert market.intents() == [(Action.PLACE, Side.BUY, 50, ETH)]
    assert engine._timer_ns == due_ns + 2 * TIMER_NS


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
    assert [desk.inventory.position_e8 for desk in engine.desks] == [E8, 0]


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
    btc = [desk for desk in engine.desks if desk.instrument.instrument_id == BTC]
    assert [desk.inventory.position_e8 for desk in btc] == [2 * E8, 2 * E8]


def test_position_starts_from_the_cell_and_is_corrected_by_it(house, market):
    market.report(1, ExecKind.FILL)
    market.report(2, ExecKind.FILL)
    market.hold(position=5, adjusted=4, executions_seq=1)
    engine, _ = start(house)
    engine.do_work(time.monotonic_ns())
    inventory = engine.inventory(Mode.LIVE, BTC)
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
    assert engine.desks[0].targets.wanted(Side.BUY)[0] == 98 * E8
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
    assert engine.desks[0].top.feed_state == FeedState.LIVE


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


EAGER = '''
from hft.records import OrderType, Side, Tif
from hft.strategy.base import QuoteRules, StrategyParameters

class Joiner:
    """Bids where a trade was, takes on a mark price, and looks at the book."""

    class Parameters(StrategyParameters, frozen=True):
        pass

    quote_rules = QuoteRules(rest_ns_min=0)

    def __init__(self, parameters, instrument):
        self.levels, self.bids, self.taken = [], 0, 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        pass

    def on_book(self, now_ns, book, position_e8, targets):
        self.levels.append(book.bid_e8_at(0))

    def on_trade(self, now_ns, trade, position_e8, targets):
        targets.set(Side.BUY, trade.price_e8, 10**8)

    def on_mark(self, now_ns, mark, position_e8, targets):
        self.taken = targets.orders.place(
            Side.BUY, 0, 10**8, order_type=OrderType.MARKET, tif=Tif.GTC, reduce_only=True
        )

    def on_timer(self, now_ns, targets):
        pass
'''


@pytest.fixture
def eager(make_market, tmp_path):
    plugin = tmp_path / "eager.py"
    plugin.write_text(EAGER)
    return make_market(plugin)


def test_what_a_trade_makes_a_plugin_want_is_offered_in_the_same_turn(house, eager):
    engine, _ = start(house)
    eager.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    trade = Trade(eager.buffer)
    trade.clear()
    trade.kind, trade.instrument_id, trade.price_e8 = int(Kind.TRADE), BTC, 99 * E8
    trade.qty_e8 = E8
    eager._market.offer()
    engine.do_work(engine._timer_ns + NS_PER_MS)
    assert eager.intents() == [(Action.PLACE, Side.BUY, 99, BTC)]
    assert (eager.intent.cause_ring, eager.intent.cause_seq) == (graph.RingId.MARKET, 2)


def test_an_explicit_order_leaves_inside_the_callback_with_its_own_terms(house, eager):
    engine, _ = start(house)
    eager.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    mark = MarkPrice(eager.buffer)
    mark.clear()
    mark.kind, mark.instrument_id, mark.mark_e8 = int(Kind.MARK_PRICE), BTC, 101 * E8
    eager._market.offer()
    engine.do_work(time.monotonic_ns())
    assert eager.intents() == [(Action.PLACE, Side.BUY, 0, BTC)]
    intent, desk = eager.intent, engine.desks[0]
    assert (intent.order_type, intent.tif) == (OrderType.MARKET, Tif.GTC)
    assert (intent.is_post_only, intent.is_reduce_only) == (0, 1)
    assert intent.order_id == desk.plugin.taken
    assert [order.order_id for order in desk.targets.orders] == [desk.plugin.taken]
    eager.report(intent.order_id, ExecKind.FILL)
    engine.do_work(time.monotonic_ns())
    assert desk.targets.is_empty
    assert desk.targets.view.position_e8 == E8


def test_explicit_orders_survive_being_adopted_anew_and_the_lost_are_dropped(house, eager):
    engine, _ = start(house)
    eager.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    orders = engine.desks[0].targets.orders
    kept, lost = (orders.place(Side.BUY, price * E8, E8) for price in (90, 91))
    eager.intents()
    eager.risk.page.cursor(graph.cursor_index("intents.strategy")).store(eager.intent.seq)
    row = eager.row
    row.clear()
    row.order_id, row.side, row.instrument_id = kept, 1, BTC
    row.price_e8, row.qty_e8, row.order_state = 90 * E8, E8, int(OrderState.WORKING)
    eager._rows.write(0)
    engine.do_work(time.monotonic_ns() + 6 * NS_PER_S)
    engine.do_work(time.monotonic_ns())
    assert [order.order_id for order in orders] == [kept]
    assert orders.get(lost) is None
    assert not orders.get(kept).is_pending


def test_the_book_is_shown_once_for_each_change(house, eager):
    engine, _ = start(house)
    writer, buffer = eager.feed.cell_writer("books")
    book = Book(buffer)
    for seq in (7, 7, 8):
        book.venue_seq, book.bid_count = seq, 1
        book.set_bid_e8_at(0, (100 + seq) * E8)
        writer.write(BTC)
        eager.tick(100, 102)
        engine.do_work(time.monotonic_ns())
    assert engine.desks[0].plugin.levels == [107 * E8, 108 * E8]
