"""Hostile plug-ins: each is paused, its orders go, the others do not notice, the author is told."""

from __future__ import annotations

import gc
import signal
import sys
import time

import pytest

from hft import counters
from hft.config import StrategyConfig
from hft.records import Action, ExecKind, Side
from hft.roles.callback_note import Callback, Note, culprit
from hft.roles.containment import CallbackWatch, held_bytes
from hft.roles.desk import IntentBudget
from hft.roles.strategy import StrategyEngine
from hft.strategy.errors import CallbackOverrunError
from hft.units import NS_PER_MS, NS_PER_S

BTC, ETH = 1, 2
HOSTILE = '''
import sys, time
from hft.records import OrderType, Side
from hft.strategy.base import QuoteRules, StrategyParameters

class Joiner:
    """Bids at the touch; on an ask of 666 it does what its file was made for."""

    class Parameters(StrategyParameters, frozen=True):
        pass

    quote_rules = QuoteRules(rest_ns_min=0, is_amending=True)

    def __init__(self, parameters, instrument):
        self.calls = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        self.calls += 1
        if top.ask_e8 == 666 * 10**8:
            self.misbehave(top, targets)
        targets.set(Side.BUY, top.bid_e8, 10**8)

    def on_timer(self, now_ns, targets):
        pass

    def misbehave(self, top, targets):
        MISDEED
'''
MISDEEDS = {
    "raises": "raise RuntimeError('the beast')",
    "exits": "sys.exit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "recurses": "self.misbehave(top, targets)",
    "exhausts": "[0] * 2**60",
    "asserts": "assert False",
    "wants NaN": "targets.set(Side.BUY, float('nan'), 10**8)",
    "wants a float": "targets.set(Side.BUY, top.bid_e8 * 1.0, 10**8)",
    "wants nothing known": "targets.set(Side.BUY, None, 10**8)",
    "wants text": "targets.set(Side.BUY, '100', 10**8)",
    "wants a negative price": "targets.set(Side.BUY, -top.bid_e8, 10**8)",
    "wants a negative quantity": "targets.set(Side.BUY, top.bid_e8, -1)",
    "wants the moon": "targets.set(Side.BUY, 2**70, 10**8)",
    "wants no side": "targets.set(7, top.bid_e8, 10**8)",
    "orders off the tick": "targets.orders.place(Side.BUY, top.bid_e8 + 1, 10**8)",
    "orders off the step": "targets.orders.place(Side.BUY, top.bid_e8, 10**8 + 1)",
    "orders the unknown": "targets.orders.place(Side.BUY, top.bid_e8, 10**8, tif=99)",
    "orders NaN": "targets.orders.place(Side.BUY, float('nan'), 10**8)",
    "orders for ever": "targets.orders.place(Side.BUY, top.bid_e8, 10**8, good_till_s=2**40)",
    "floods": "[targets.orders.cancel(targets.orders.place(Side.BUY, top.bid_e8, 10**8)) "
    "or targets.orders._open.clear() for _ in range(1000)]",
}
ENDLESS = {
    "loops": "while True: pass",
    "loops and catches": "while True:\n            try:\n                while True: pass\n"
    "            except Exception: pass",
    "sleeps": "time.sleep(60)",
}


def hostile(tmp_path, misdeed: str):
    path = tmp_path / "hostile.py"
    path.write_text(HOSTILE.replace("MISDEED", misdeed))
    return path


def start(house):
    context = house.context("strategy")
    engine = StrategyEngine(context)
    engine.on_start(time.monotonic_ns())
    engine.do_work(time.monotonic_ns())
    return engine, context


def rest_a_bid(engine, market) -> int:
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    order_id = market.intent.order_id
    market.report(order_id, ExecKind.ACK)
    engine.do_work(time.monotonic_ns())
    return order_id


def check_contained(house, market, engine, context, tmp_path) -> None:
    """The bid is cancelled, the other instrument is quoted, the author finds out."""
    market.tick(100, 666)
    market.tick(50, 52, ETH)
    now_ns = time.monotonic_ns()
    engine.do_work(now_ns)
    engine.do_work(now_ns + 30 * NS_PER_MS)
    intents = market.intents()
    assert (Action.CANCEL, Side.BUY, 100, BTC) in intents
    assert (Action.PLACE, Side.BUY, 50, ETH) in intents
    desk, neighbour = engine.desks
    calls = desk.plugin.calls
    assert desk.pause_reason
    assert not neighbour.pause_reason
    market.tick(101, 103)
    market.tick(51, 53, ETH)
    engine.do_work(time.monotonic_ns())
    assert desk.plugin.calls == calls, "it is not called again"
    assert neighbour.plugin.calls == 2
    assert context.page.counter(counters.PLUGIN_ERRORS.id) == 1
    told = (house.run_dir / "strategies" / "joiner" / "last_error.txt").read_text()
    assert "Traceback" in told
    assert "66600000000" in told, "the event that it happened at"


@pytest.mark.parametrize("misdeed", MISDEEDS.values(), ids=MISDEEDS)
def test_a_misdeed_is_contained(house, make_market, tmp_path, misdeed: str, capsys) -> None:
    market = make_market(hostile(tmp_path, misdeed))
    engine, context = start(house)
    rest_a_bid(engine, market)
    check_contained(house, market, engine, context, tmp_path)


@pytest.mark.parametrize("misdeed", ENDLESS.values(), ids=ENDLESS)
def test_a_callback_that_does_not_return_is_interrupted(
    house, make_market, tmp_path, misdeed: str, alarm, capsys
) -> None:
    market = make_market(hostile(tmp_path, misdeed))
    engine, context = start(house)
    assert engine.callback_watch.is_armed
    try:
        rest_a_bid(engine, market)
        check_contained(house, market, engine, context, tmp_path)
    finally:
        engine.on_close()
    assert "did not return" in engine.desks[0].pause_reason
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_watch_leaves_alone_what_returns_and_who_is_outside(alarm) -> None:
    watch = CallbackWatch()
    watch.arm()
    try:
        until_ns = time.monotonic_ns() + 200 * NS_PER_MS
        while time.monotonic_ns() < until_ns:
            watch.calls += 1
            watch.inside = watch.calls
            watch.inside = 0
        with pytest.raises(CallbackOverrunError):
            watch.call(lambda: time.sleep(5))
        assert watch.call(lambda: 7) == 7
    finally:
        watch.disarm()


def test_the_watch_does_not_take_a_timer_that_is_in_use() -> None:
    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        watch = CallbackWatch()
        watch.arm()
        assert not watch.is_armed
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_budget_allows_a_second_s_worth_at_once_and_then_the_rate() -> None:
    budget = IntentBudget(10)
    assert [budget.take(0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.take(99 * NS_PER_MS)
    assert budget.take(100 * NS_PER_MS)
    assert [budget.take(5 * NS_PER_S) for _ in range(11)] == [True] * 10 + [False]


def test_quotes_that_flood_pause_their_plugin(house, make_market, tmp_path, capsys) -> None:
    path = hostile(tmp_path, "pass")
    config = StrategyConfig(
        name="slow", plugin=f"{path}:Joiner", symbols=("BTCUSDT",), intents_per_s_max=3
    )
    market = make_market(None, config)
    engine, _ = start(house)
    now_ns = time.monotonic_ns()
    for turn in range(6):
        market.tick(100 + turn, 103 + turn)
        engine.do_work(now_ns)
        for action, *_ in market.intents():
            done = {Action.PLACE: ExecKind.ACK, Action.AMEND: ExecKind.AMENDED}
            market.report(market.intent.order_id, done.get(action, ExecKind.CANCELED))
    assert "intents a second" in engine.desks[0].pause_reason
    engine.do_work(now_ns + 30 * NS_PER_MS)
    assert engine.desks[0].targets.is_empty or market.intents()


def test_a_plugin_that_no_longer_loads_after_a_crash_stops_no_other(
    house, make_market, tmp_path
) -> None:
    good, bad = hostile(tmp_path, "pass"), tmp_path / "bad.py"
    bad.write_text("x = = 1")
    both = [
        StrategyConfig(name="bad", plugin=f"{bad}:Bad", symbols=("BTCUSDT",)),
        StrategyConfig(name="good", plugin=f"{good}:Joiner", symbols=("ETHUSDT",)),
    ]
    market = make_market(None, *both)
    house.context("strategy")  # the life that loaded both, and crashed
    engine, _ = start(house)
    market.tick(50, 52, ETH)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 50, ETH)]
    assert "bad.py, line 1" in engine.desks[0].pause_reason
    assert engine.desks[0].targets.wanted(Side.BUY) == (0, 0)


def test_a_plugin_that_leaks_is_paused_and_let_go(house, make_market, tmp_path, capsys) -> None:
    gc.collect()  # what earlier tests have left would be freed just while the process is weighed
    market = make_market(hostile(tmp_path, "self.hoard = bytearray(b'x') * 100_000_000"))
    engine, _ = start(house)
    now_ns = time.monotonic_ns() + 2 * NS_PER_S
    engine.do_work(now_ns)
    engine._control.growth_bytes_max = 20_000_000
    market.tick(50, 666, ETH)
    engine.do_work(time.monotonic_ns())
    engine.do_work(now_ns + 2 * NS_PER_S)
    neighbour, desk = engine.desks
    assert "it holds" in desk.pause_reason
    assert not hasattr(desk.plugin, "hoard")
    assert not neighbour.pause_reason


def test_a_second_death_in_a_callback_pauses_its_strategy_and_the_first_does_not(
    house, make_market, tmp_path
) -> None:
    path = hostile(tmp_path, "pass")
    both = [
        StrategyConfig(name=name, plugin=f"{path}:Joiner", symbols=(symbol,))
        for name, symbol in (("killer", "BTCUSDT"), ("good", "ETHUSDT"))
    ]
    market = make_market(None, *both)
    note = Note(1, BTC, Callback.ON_TOP_OF_BOOK)
    engine, context = start(house)
    context.page.set_gauge(counters.IN_CALLBACK.id, note.word)  # killed at random, for once
    house.end(context)
    engine, context = start(house)
    assert [desk.pause_reason for desk in engine.desks] == ["", ""]
    context.page.set_gauge(counters.IN_CALLBACK.id, note.word)
    house.end(context)
    engine, context = start(house)
    killer, good = engine.desks
    assert killer.pause_reason == "the process died or hung in its on_top_of_book on BTCUSDT"
    assert not good.pause_reason
    market.tick(50, 52, ETH)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 50, ETH)]
    assert context.page.gauge(counters.IN_CALLBACK.id) == 0
    assert (
        "on_top_of_book" in (house.run_dir / "strategies" / "killer" / "last_error.txt").read_text()
    )


def test_deaths_in_callbacks_of_different_strategies_or_long_apart_pause_nobody(house) -> None:
    page = house.context("strategy").page
    first, second = Note(1, BTC, Callback.ON_TIMER), Note(2, ETH, Callback.ON_TIMER)
    for now_s, note in ((0, first), (1, second), (2, first), (70, first)):
        page.set_gauge(counters.IN_CALLBACK.id, note.word)
        assert culprit(page, now_s * NS_PER_S, window_s=60, crashes_max=3) is None
    page.set_gauge(counters.IN_CALLBACK.id, first.word)
    assert culprit(page, 71 * NS_PER_S, window_s=60, crashes_max=3) == first


class Keeper:
    """Holds what it is given."""

    def __init__(self, kept: object) -> None:
        self.kept = kept


def test_many_small_objects_are_counted_and_the_same_one_again_is_not() -> None:
    many = [{"price": float(number)} for number in range(100_000)]
    by_key = {number: (float(number),) for number in range(100_000)}
    real_bytes = sum(sys.getsizeof(one) + 24 for one in many)
    without = held_bytes(Keeper(None))
    assert 0.5 < (held_bytes(Keeper(many)) - without) / real_bytes < 2
    assert held_bytes(Keeper(by_key)) - without > 100_000 * 64
    assert held_bytes(Keeper([many[0]] * 100_000)) - without < 2_000_000
