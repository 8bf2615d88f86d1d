"""Commands to the strategy engine: changes while it runs, with orders and position in place."""

from __future__ import annotations

import os
import time

import msgspec
import pytest

import ipc
from hft.config import ProcessPlan, StrategyConfig
from hft.graph import RoleId
from hft.records import Action, ExecKind, Mode, OrderState, Reason, Side
from hft.roles.strategy import StrategyEngine
from hft.roles.strategy_status import EngineStatus, reason_text
from hft.units import E8, NS_PER_MS, NS_PER_S

BTC, ETH = 1, 2
PLUGIN = '''
from typing import Annotated
from msgspec import Meta
from hft.records import Side
from hft.strategy.base import DecimalText, QuoteRules, StrategyParameters
from hft.units import parse_e8

class Joiner:
    """Bids below the touch."""

    class Parameters(StrategyParameters, frozen=True):
        qty: DecimalText = "1"
        away: Annotated[int, Meta(ge=0)] = 0

    quote_rules = QuoteRules(rest_ns_min=0)

    def __init__(self, parameters, instrument):
        self.parameters = parameters
        self.seen = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        self.seen += 1
        self.position_e8 = position_e8
        away = self.parameters.away * 10**8
        targets.set(Side.BUY, top.bid_e8 - away, parse_e8(self.parameters.qty))

    def on_timer(self, now_ns, targets):
        pass

    def save(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]
'''


class Person:
    """Sends commands, turns the engine with a clock and a feed of its own, reads the answers."""

    def __init__(self, house, engine, market) -> None:
        self._house, self._engine, self._market = house, engine, market
        self._queue = ipc.CommandQueue.attach(house.run_dir)
        self._count = 0
        self.now_ns = time.monotonic_ns()

    def turn(self, duration_ms: int = 25) -> None:
        """Let time pass, with a feed that lives."""
        self.now_ns += duration_ms * NS_PER_MS
        self._market.feed.page.beat(self.now_ns)
        self._engine.do_work(self.now_ns)

    def ask(self, name: str, **args: str):
        self._count += 1
        nonce = str(self._count)
        self._queue.send(
            RoleId.STRATEGY, ipc.Command.make(name, sender="somebody", nonce=nonce, **args)
        )
        self.turn()
        return next(answer for answer in self.status().answers if answer.nonce == nonce)

    def status(self) -> EngineStatus:
        raw = (self._house.run_dir / "strategies" / "status.json").read_bytes()
        return msgspec.json.decode(raw, type=EngineStatus)


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "joiner.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def market(make_market, plugin):
    return make_market(plugin)


def start(house) -> StrategyEngine:
    engine = StrategyEngine(house.context("strategy"))
    engine.on_start(time.monotonic_ns())
    engine.do_work(time.monotonic_ns())
    return engine


def rest_a_bid(engine, market) -> int:
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    order_id = market.intent.order_id
    market.report(order_id, ExecKind.ACK)
    engine.do_work(time.monotonic_ns())
    return order_id


def test_code_is_loaded_anew_and_orders_position_and_state_stay(house, market, plugin) -> None:
    engine = start(house)
    rest_a_bid(engine, market)
    plugin.write_text(PLUGIN.replace("top.bid_e8 - away", "top.bid_e8 - away - 10**8"))
    before = engine.desks[0].plugin
    answer = Person(house, engine, market).ask("reload", strategy="joiner")
    assert (answer.problem, answer.text) == ("", "joiner is loaded anew")
    after = engine.desks[0].plugin
    assert after is not before
    assert after.seen == before.seen > 0
    assert market.intents() == [], "what rests stays"
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.AMEND, Side.BUY, 99, BTC)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("self.seen = 0", "self.seen = = 0", "SyntaxError"),
        ("self.seen = 0", "self.seen = 1 / 0", "ZeroDivisionError"),
        ("def on_timer", "def on_time", "no method on_timer"),
        ('qty: DecimalText = "1"', "qty: DecimalText", "qty"),
        ('self.seen = state["seen"]', 'self.seen = state["nothing"]', "restore raised"),
        ("from typing import Annotated", "raise SystemExit", "SystemExit"),
        ("quote_rules = QuoteRules(rest_ns_min=0)", "quote_rules = 5", "quote_rules"),
        ("rest_ns_min=0", "rest_ns_min=-5", "quote_rules"),
    ],
)
def test_what_does_not_hold_leaves_the_old_one_running(
    house, market, plugin, old: str, new: str, why: str
) -> None:
    engine = start(house)
    before = engine.desks[0].plugin
    assert old in PLUGIN
    plugin.write_text(PLUGIN.replace(old, new))
    person = Person(house, engine, market)
    answer = person.ask("reload", strategy="joiner")
    assert why in answer.problem
    assert engine.desks[0].plugin is before
    assert "the old one runs" in person.status().strategies[0].loaded
    rest_a_bid(engine, market)


def test_a_changed_file_is_loaded_when_the_settings_say_so(house, make_market, plugin) -> None:
    config = StrategyConfig(
        name="joiner", plugin=f"{plugin}:Joiner", symbols=("BTCUSDT",), reload_on_change=True
    )
    make_market(None, config)
    engine = start(house)
    before = engine.desks[0].plugin
    later_ns = time.monotonic_ns() + 2 * NS_PER_S
    engine.do_work(later_ns)
    assert engine.desks[0].plugin is before
    os.utime(plugin, ns=(0, 12345))
    engine.do_work(later_ns + 2 * NS_PER_S)
    assert engine.desks[0].plugin is not before


def test_a_parameter_is_changed_checked_and_kept_over_a_restart(house, market) -> None:
    engine = start(house)
    person = Person(house, engine, market)
    before = engine.desks[0].plugin
    for key, value, why in [("awa", "1", "no parameter awa"), ("away", "-1", "away is"),
                            ("away", "x", "away is"), ("qty", "much", "qty is")]:  # fmt: skip
        assert why in person.ask("set", strategy="joiner", key=key, value=value).problem
        assert engine.desks[0].plugin is before
    assert person.ask("set", strategy="joiner", key="away", value="3").problem == ""
    assert person.status().strategies[0].parameters == {"qty": "1", "away": 3}
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 97, BTC)]
    assert start_again(house, engine).desks[0].plugin.parameters.away == 3


def start_again(house, engine) -> StrategyEngine:
    house.end(engine._context)
    return start(house)


def test_paused_by_a_person_it_stays_paused_until_resumed(house, market) -> None:
    engine = start(house)
    person = Person(house, engine, market)
    rest_a_bid(engine, market)
    assert person.ask("pause", strategy="joiner", reason="lunch").problem == ""
    person.turn(500)
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]
    assert "lunch" in person.status().strategies[0].desks[0].reason
    assert person.ask("reload", strategy="joiner").problem == ""
    assert engine.desks[0].pause_reason, "loading anew is no permission"
    market.report(market.intent.order_id, ExecKind.CANCELED)
    engine.do_work(time.monotonic_ns())
    assert person.ask("resume", strategy="joiner").problem == ""
    market.tick(100, 102)
    person.turn(500)
    assert (Action.PLACE, Side.BUY, 100, BTC) in market.intents()


def test_a_failed_plugin_runs_again_once_it_is_mended(house, market, plugin, capsys) -> None:
    engine = start(house)
    plugin.write_text(PLUGIN.replace("self.seen += 1", "self.seen += None"))
    person = Person(house, engine, market)
    person.ask("reload", strategy="joiner")
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert "TypeError" in engine.desks[0].pause_reason
    person.turn(100)
    desk = person.status().strategies[0].desks[0]
    assert (desk.state, desk.errors) == ("paused", 1)
    plugin.write_text(PLUGIN)
    assert person.ask("reload", strategy="joiner").problem == ""
    rest_a_bid(engine, market)


def test_a_failed_plugin_stays_paused_over_a_restart(house, market, plugin, capsys) -> None:
    plugin.write_text(PLUGIN.replace("self.seen += 1", "self.seen += None"))
    engine = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    Person(house, engine, market).turn(100)
    after = start_again(house, engine)
    assert "TypeError" in after.desks[0].pause_reason
    assert not after.desks[1].pause_reason
    plugin.write_text(PLUGIN)
    assert Person(house, after, market).ask("reload", strategy="joiner").problem == ""
    rest_a_bid(after, market)


def test_leaving_live_cancels_the_live_order_first(house, market) -> None:
    engine = start(house)
    order_id = rest_a_bid(engine, market)
    person = Person(house, engine, market)
    assert person.ask("mode", strategy="joiner", mode="observe").problem == ""
    market.tick(101, 103)
    person.turn()
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]
    assert market.intent.mode == Mode.LIVE
    assert engine.desks[0].mode is Mode.LIVE
    market.report(order_id, ExecKind.CANCELED)
    person.turn()
    assert engine.desks[0].mode is Mode.OBSERVE
    market.tick(101, 103)
    person.turn()
    assert market.intents() == [(Action.PLACE, Side.BUY, 101, BTC)]
    assert market.intent.mode == Mode.OBSERVE


def test_a_successor_finishes_leaving_live(house, market) -> None:
    engine = start(house)
    order_id = rest_a_bid(engine, market)
    Person(house, engine, market).ask("mode", strategy="joiner", mode="observe")
    row = market.row
    row.clear()
    row.order_id, row.side, row.instrument_id = order_id, 1, BTC
    row.price_e8, row.qty_e8, row.order_state = 100 * E8, E8, int(OrderState.WORKING)
    market._rows.write(0)
    market.intents()
    after = start_again(house, engine)
    market.tick(100, 102)
    after.do_work(time.monotonic_ns())
    assert [action for action, *_ in market.intents()] == [Action.CANCEL]
    assert market.intent.mode == Mode.LIVE
    market.report(order_id, ExecKind.CANCELED)
    after.do_work(time.monotonic_ns() + 20 * NS_PER_MS)
    assert after.desks[0].mode is Mode.OBSERVE


def test_paper_needs_the_role_that_fills(house, market) -> None:
    engine = start(house)
    person = Person(house, engine, market)
    assert "no paper role" in person.ask("mode", strategy="joiner", mode="paper").problem
    assert "no mode" in person.ask("mode", strategy="joiner", mode="dream").problem


def test_in_paper_mode_the_paper_role_s_word_counts(house, make_market, plugin) -> None:
    config = StrategyConfig(
        name="joiner", plugin=f"{plugin}:Joiner", symbols=("BTCUSDT",), mode="paper"
    )
    market = make_market(None, config)
    processes = (*house.plan.processes, ProcessPlan(name="paper", roles=("paper",), bell=9))
    house.plan = msgspec.structs.replace(house.plan, processes=processes)
    writer, buffer = house.context("paper").ring_writer("executions.paper")
    engine = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    assert market.intent.mode == Mode.PAPER
    record = market.record
    record.clear()
    record.order_id, record.instrument_id, record.side = market.intent.order_id, BTC, 1
    record.exec_kind, record.reason = int(ExecKind.DROPPED), int(Reason.NOT_LIVE)
    market._executions.offer()
    engine.do_work(time.monotonic_ns())
    desk = engine.desks[0]
    assert desk.targets.pending(Side.BUY) is Action.PLACE, "execution's drop ends no paper order"
    record.exec_kind, record.reason = int(ExecKind.FILL), 0
    record.price_e8, record.qty_e8, record.cum_qty_e8 = 100 * E8, E8, E8
    record.order_state, record.mode = int(OrderState.FILLED), int(Mode.PAPER)
    buffer[:] = record.tobytes()
    writer.offer()
    engine.do_work(time.monotonic_ns())
    assert desk.inventory.position_e8 == desk.plugin.position_e8 == E8
    assert engine.inventory(Mode.LIVE, BTC).position_e8 == 0


def test_unknown_commands_and_strategies_are_told(house, market) -> None:
    person = Person(house, start(house), market)
    assert "no strategy 'else'" in person.ask("pause", strategy="else").problem
    assert "no command dance" in person.ask("dance", strategy="joiner").problem
    assert person.ask("report").problem == ""


# -- several strategies on one instrument ----------------------------------------------------------

CROWD = '''
from hft.records import Side
from hft.strategy.base import DecimalText, QuoteRules, StrategyParameters
from hft.units import parse_e8

class Wanting:
    """Wants what its parameters say."""

    class Parameters(StrategyParameters, frozen=True):
        side: int
        price: DecimalText

    quote_rules = QuoteRules(rest_ns_min=0)

    def __init__(self, parameters, instrument):
        self.parameters = parameters

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        targets.set(Side(self.parameters.side), parse_e8(self.parameters.price), 10**8)

    def on_timer(self, now_ns, targets):
        pass
'''


def crowd(make_market, tmp_path, *wants: tuple[str, int, int, str], mode: str = "live"):
    path = tmp_path / "crowd.py"
    path.write_text(CROWD)
    return make_market(
        None,
        *(
            StrategyConfig(
                name=name,
                plugin=f"{path}:Wanting",
                symbols=("BTCUSDT",),
                priority=priority,
                mode=mode if name == "low" else "live",
                parameters={"side": side, "price": price},
            )
            for name, priority, side, price in wants
        ),
    )


def test_the_lower_priority_keeps_a_tick_away_from_what_the_higher_wants(
    house, make_market, tmp_path
) -> None:
    market = crowd(make_market, tmp_path, ("low", 0, 1, "105"), ("high", 5, -1, "101"))
    engine = start(house)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    intents = market.intents()
    assert (Action.PLACE, Side.SELL, 101, BTC) in intents
    low = next(desk for desk in engine.desks if desk.config.name == "low")
    assert low.targets.resting(Side.BUY)[0] == 101 * E8 - E8 // 10
    assert len(intents) == 2


def test_an_absurd_wish_of_the_higher_pushes_nobody_out_of_the_market(
    house, make_market, tmp_path
) -> None:
    market = crowd(make_market, tmp_path, ("low", 0, -1, "111"), ("high", 5, 1, "220"))
    engine = start(house)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    high, low = engine.desks
    number = high.targets.order_id(Side.BUY)
    report(market, number, ExecKind.REJECTED, 220 * E8, Side.BUY, OrderState.REJECTED)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    assert low.targets.resting(Side.SELL)[0] == 111 * E8


def test_an_order_in_the_way_of_the_higher_moves_first(house, make_market, tmp_path) -> None:
    market = crowd(make_market, tmp_path, ("low", 0, 1, "105"), ("high", 5, -1, "120"))
    engine = start(house)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    assert len(market.intents()) == 2
    for desk in engine.desks:
        side = Side.BUY if desk.config.name == "low" else Side.SELL
        price_e8, _ = desk.targets.resting(side)
        market.record.clear()
        report(market, desk.targets.order_id(side), ExecKind.ACK, price_e8, side)
    engine.do_work(time.monotonic_ns())
    person = Person(house, engine, market)
    person.ask("set", strategy="high", key="price", value="103")
    market.tick(100, 110)
    person.turn(150)
    assert market.intents() == [(Action.AMEND, Side.BUY, 102, BTC)], "the higher waits for it"
    person.ask("report")
    held = {one.name: one.desks[0].held for one in person.status().strategies}
    assert held["high"] >= 1
    low = next(desk for desk in engine.desks if desk.config.name == "low")
    price_e8 = 103 * E8 - E8 // 10
    report(market, low.targets.order_id(Side.BUY), ExecKind.AMENDED, price_e8, Side.BUY)
    market.tick(100, 110)
    person.turn(300)
    assert (Action.AMEND, Side.SELL, 103, BTC) in market.intents()


def report(
    market,
    order_id: int,
    kind: ExecKind,
    price_e8: int,
    side: Side,
    state: OrderState = OrderState.WORKING,
) -> None:
    record = market.record
    record.clear()
    record.order_id, record.instrument_id, record.side = order_id, BTC, int(side)
    record.exec_kind, record.price_e8, record.qty_e8 = int(kind), price_e8, E8
    record.leaves_qty_e8, record.order_state = E8, int(state)
    market._executions.offer()


def test_strategies_in_different_modes_do_not_see_each_other(house, make_market, tmp_path) -> None:
    wants = ("low", 0, 1, "105"), ("high", 5, -1, "101")
    market = crowd(make_market, tmp_path, *wants, mode="observe")
    engine = start(house)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    assert (Action.PLACE, Side.BUY, 105, BTC) in market.intents()


def test_an_explicit_order_that_would_meet_one_of_ours_does_not_go(
    house, make_market, tmp_path
) -> None:
    market = crowd(make_market, tmp_path, ("one", 0, 1, "100"), ("other", 0, 1, "99"))
    engine = start(house)
    market.tick(100, 110)
    engine.do_work(time.monotonic_ns())
    assert len(market.intents()) == 2
    orders = engine.desks[1].targets.orders
    assert orders.place(Side.SELL, 100 * E8, E8) == 0
    assert orders.place(Side.SELL, 101 * E8, E8) != 0
    assert market.intents() == [(Action.PLACE, Side.SELL, 101, BTC)]
    assert not market.intent.is_post_only
    assert engine.desks[1].targets.view.exposure_e8 == E8


def test_code_whose_error_no_file_takes_leaves_the_old_one_and_is_told(
    house, market, plugin
) -> None:
    engine = start(house)
    before = engine.desks[0].plugin
    plugin.write_text("raise RuntimeError('\\udc80')")
    answer = Person(house, engine, market).ask("reload", strategy="joiner")
    assert "RuntimeError" in answer.problem
    assert engine.desks[0].plugin is before


def test_a_mode_without_its_role_says_which_setting_gives_it_one(house, market) -> None:
    answer = Person(house, start(house), market).ask("mode", strategy="joiner", mode="paper")
    assert "no paper role" in answer.problem
    assert '[paper] start = "always"' in answer.remedy


def test_the_status_tells_the_last_refusal_with_its_code_its_text_and_when(house, market) -> None:
    engine = start(house)
    market.tick(100, 102)
    engine.do_work(time.monotonic_ns())
    assert market.intents() == [(Action.PLACE, Side.BUY, 100, BTC)]
    market.refuse(Reason.TRADING_HALTED)
    market.refuse(Reason.PRICE_COLLAR)
    person = Person(house, engine, market)
    person.turn()
    person.ask("report")
    refused, other = person.status().strategies[0].desks
    assert (other.refusals, other.last_refusal) == (0, None)
    last = refused.last_refusal
    assert refused.refusals == 2
    assert last is not None
    assert (last.action, last.side, last.code) == ("place", "buy", 13)
    assert last.reason == "PRICE_COLLAR"
    assert last.text == "price collar: distance of a price from the mid (price_collar_bps)"
    assert abs(time.time_ns() - last.wall_ns) < 60 * NS_PER_S


def test_every_reason_is_told_in_words() -> None:
    for reason in Reason:
        assert reason_text(reason).startswith(reason.name.lower().replace("_", " "))
