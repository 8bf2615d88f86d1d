"""What keys and commands change, without a terminal."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.monitor.deal import Deal
from tools.monitor.keys import BY_KEY, KEYS
from tools.monitor.screens import compose, render
from tools.monitor.state import Effect, Panel, Screen, State, completions, press
from tools.monitor.style import PLAIN

_spec = importlib.util.spec_from_file_location(
    "monitor_worlds_of_state", Path(__file__).resolve().parent / "worlds.py"
)
assert _spec is not None
assert _spec.loader is not None
worlds = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = worlds
_spec.loader.exec_module(worlds)


def state(*, may_trade: bool = False) -> State:
    return State(worlds.healthy(), may_trade=may_trade)


def type_in(one: State, text: str) -> Effect | None:
    effect = None
    for key in [*text, "Enter"]:
        effect = press(one, key) or effect
    return effect


def show(one: State) -> str:
    return "\n".join(render(one, 100, 30, PLAIN))


def test_numbers_and_tab_go_where_they_say() -> None:
    one = state()
    press(one, "4")
    assert one.focus is Panel.FILLS
    press(one, "8")
    assert (one.focus, one.screen) == (Panel.RINGS, Screen.RINGS)
    press(one, "Tab")
    assert one.screen is Screen.LATENCY
    press(one, "Tab")
    assert (one.focus, one.screen) == (Panel.POSITIONS, Screen.TRADING)
    press(one, "Shift-Tab")
    assert one.screen is Screen.LATENCY
    press(one, "l")
    assert one.focus is Panel.POSITIONS
    press(one, "h")
    assert one.focus is Panel.LATENCY


def test_the_cursor_stays_on_the_rows() -> None:
    one = state()
    press(one, "4")
    for key, row in [("G", 39), ("j", 39), ("Ctrl-U", 29), ("g", 0), ("k", 0), ("Ctrl-D", 10)]:
        press(one, key)
        show(one)
        assert one.view.cursor == row


def test_a_filter_leaves_what_matches_or_does_not() -> None:
    one = state()
    press(one, "2")
    type_in(one, "/btc")
    assert "2 Orders 3/4 /btc" in show(one)
    press(one, "Esc")
    assert "2 Orders 4 " in show(one)
    type_in(one, "/!btc")
    assert "2 Orders 1/4 /!btc" in show(one)
    type_in(one, "/zzz")
    assert "nothing matches" in show(one)


def test_sorting_goes_through_the_columns_and_back() -> None:
    one = state()
    press(one, "4")
    show(one)
    press(one, "s")
    press(one, "S")
    assert "time▼" in show(one)
    for _ in range(one.column_counts[Panel.FILLS]):
        press(one, "s")
    assert one.view.sort == -1


def test_the_book_follows_row_key_and_command() -> None:
    one = state()
    press(one, "j")
    show(one)
    press(one, "Enter")
    assert one.symbol == "ETHUSDT"
    press(one, "]")
    assert one.symbol == worlds.COIN.symbol
    press(one, "]")
    assert one.symbol == "BTCUSDT"
    type_in(one, ":sym ethusdt")
    assert one.symbol == "ETHUSDT"
    type_in(one, ":sym NOTHING")
    assert one.symbol == "ETHUSDT"
    assert "NOTHING is not traded here" in show(one)


def test_tab_completes_names_and_arguments() -> None:
    one = state(may_trade=True)
    for key in [*":sy", "Tab"]:
        press(one, key)
    assert one.prompt is not None
    assert one.prompt.text == "sym "
    for expected in ("sym BTCUSDT", "sym ETHUSDT"):
        press(one, "Tab")
        assert one.prompt.text == expected
    press(one, "Shift-Tab")
    assert one.prompt.text == "sym BTCUSDT"


def test_who_may_only_look_is_not_offered_what_trades() -> None:
    assert not {"halt", "arm", "reduce"} & set(completions(state(), ""))
    assert {"halt", "arm", "reduce"} <= set(completions(state(may_trade=True), ""))


@pytest.mark.parametrize("command", [":halt", ":arm why", ":reduce why"])
def test_without_trade_nothing_is_done_and_the_way_is_told(command: str) -> None:
    one = state()
    assert type_in(one, command) is None
    assert one.confirm is None
    assert f"hft {command[1:].split()[0]} --name default" in show(one)


def test_typing_halt_never_asks() -> None:
    assert type_in(state(may_trade=True), ":halt") == Effect("halt", "by hand, in the monitor")
    assert type_in(state(may_trade=True), ":halt fire") == Effect("halt", "fire")


@pytest.mark.parametrize(
    ("keys", "effect"),
    [
        (["H"], Effect("halt", "by hand, in the monitor")),
        ([*":arm safe again", "Enter"], Effect("arm", "safe again")),
        ([*":reduce too wide", "Enter"], Effect("reduce", "too wide")),
    ],
)
def test_the_rest_asks_and_only_y_is_yes(keys: list[str], effect: Effect) -> None:
    for answer in ("Enter", "n", "Esc", "Y", " ", "\x1b[2;12R", "Mouse-1-1"):
        one = state(may_trade=True)
        assert not any(press(one, key) for key in keys)
        assert one.confirm is not None
        assert "PAPER default" in show(one)
        assert "4 orders, positions" in one.confirm.question
        assert press(one, answer) is None
        assert "not done" in show(one)
    one = state(may_trade=True)
    for key in keys:
        press(one, key)
    assert press(one, "y") == effect
    assert press(one, "y") is None


BUY = [*":buy btcusdt 0.004 63930", "Enter"]


@pytest.mark.parametrize(
    ("keys", "deal", "says"),
    [
        (BUY, Deal("buy", "BTCUSDT", 400_000, 6_393_000_000_000),
         ("BUY 0.004 BTCUSDT at 63,930.0", "notional 255.72", "1.6 bps below the mid")),
        ([*":sell ETHUSDT 1.5", "Enter"], Deal("sell", "ETHUSDT", 150_000_000),
         ("SELL 1.5 ETHUSDT at the market", "notional 5,126.72", "mark 3,417.81")),
        ([*":cancel all", "Enter"], Deal("cancel"),
         ("Cancel 3 orders in every symbol", "a strategy that runs may place new ones")),
        ([*":cancel BTCUSDT", "Enter"], Deal("cancel", "BTCUSDT"), ("Cancel 2 orders in BTCUSDT",)),
        ([*":cancel h0100000000000001", "Enter"], Deal("cancel", order_id=(1 << 56) | 1),
         ("Cancel buy 0.004 BTCUSDT at 63,939.9", "placed by maker")),
        ([*":flatten ETHUSDT", "Enter"], Deal("flatten", "ETHUSDT"),
         ("BUY 0.15 ETHUSDT: close the position", "notional 512.67")),
        (["2", "x"], Deal("cancel", order_id=(1 << 56) | 1), ("placed by maker",)),
    ],
)  # fmt: skip
def test_orders_by_hand_ask_and_only_y_is_yes(
    keys: list[str], deal: Deal, says: tuple[str, ...]
) -> None:
    def asked() -> State:
        one = state(may_trade=True)
        for key in keys:
            assert press(one, key) is None
            show(one)
        assert one.confirm is not None
        return one

    one = asked()
    assert "PAPER default" in show(one)
    for words in says:
        assert words in show(one)
    for answer in ("Enter", "n", "Esc", "Y", " ", "x", "\x1b[2;12R", "Mouse-1-1"):
        one = asked()
        assert press(one, answer) is None
        assert one.confirm is None
        assert "not done" in show(one)
    one = asked()
    assert press(one, "y") == Effect(deal.what, "", deal)
    assert press(one, "y") is None


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (":buy BTCUSDT", "write :buy SYMBOL QTY [PRICE]"),
        (":buy BTCUSDT 1 2 3", "write :buy SYMBOL QTY [PRICE]"),
        (":buy BTCUSDT much", "is not a decimal number"),
        (":buy BTCUSDT -1", "-1 is no quantity"),
        (":sell NOTHING 1", "NOTHING is not traded here"),
        (":cancel 17", "no order 17 is open"),
        (":cancel some of them", "write :cancel ID, SYMBOL or all"),
        (":flatten 币安USDT", "there is no position in 币安USDT"),
        (":cancel 币安USDT", "no order of ours is open in 币安USDT"),
    ],
)
def test_what_cannot_be_asked_for_is_told_and_nothing_is_asked(command: str, says: str) -> None:
    one = state(may_trade=True)
    assert type_in(one, command) is None
    assert one.confirm is None
    assert says in show(one)


def test_an_order_that_is_not_ours_is_left_to_its_owner() -> None:
    one = state(may_trade=True)
    foreign = next(o for o in one.snapshot.orders if o.owner == "not ours")
    assert type_in(one, f":cancel {foreign.order_id:#x}") is None
    assert "that order is not ours" in show(one)


@pytest.mark.parametrize("keys", [BUY, [*":flatten ETHUSDT", "Enter"], ["2", "x"]])
def test_without_trade_no_order_is_asked_for(keys: list[str]) -> None:
    one = state()
    for key in keys:
        assert press(one, key) is None
        show(one)
    assert one.confirm is None
    assert "hft order" in show(one)


def test_a_reason_has_to_be_written() -> None:
    one = state(may_trade=True)
    assert type_in(one, ":arm") is None
    assert one.confirm is None
    assert "write :arm REASON" in show(one)


def test_a_name_cut_short_does_nothing() -> None:
    one = state(may_trade=True)
    assert type_in(one, ":hal") is None
    assert "there is no :hal" in show(one)


def test_nothing_is_asked_of_a_lost_system() -> None:
    one = State(worlds.lost(), may_trade=True)
    assert type_in(one, ":halt") is None
    assert "default is not there" in show(one)


def test_an_answer_goes_away_by_itself() -> None:
    one = state()
    one.tell("it is done")
    assert "it is done" in show(one)
    one.snapshot = replace(one.snapshot, wall_ns=one.snapshot.wall_ns + 10 * 10**9)
    assert "it is done" not in show(one)


def test_quit_leaves() -> None:
    for keys in (["q"], ["Ctrl-C"], [*":q", "Enter"], [*":quit", "Enter"]):
        one = state()
        for key in keys:
            press(one, key)
        assert one.is_over


def test_no_key_stands_twice_in_the_table() -> None:
    assert len(BY_KEY) == sum(len(row.keys) for row in KEYS)


@given(st.lists(st.one_of(st.sampled_from(sorted(BY_KEY)), st.characters(), st.text())))
def test_without_trade_no_keys_whatever_act(keys: list[str]) -> None:
    one = state()
    for key in keys:
        assert press(one, key) is None
        assert len(compose(one, 80, 24)) == 24
