"""What holds for every built-in strategy, whatever the market does and whatever fills.

A venue that answers late, fills what it likes and a market of any shape: the position never leaves
its bounds, prices are on the tick, and no quote crosses.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Execution, TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import Action, ExecKind, FeedState, OrderState, Side, Tif
from hft.strategy.change import Change
from hft.strategy.loader import load_strategy
from hft.strategy.targets import QuoteTargets
from hft.units import E8, NS_PER_MS, parse_e8

RULES = InstrumentRules(
    instrument_id=1,
    symbol="BTCUSDT",
    tick_e8=parse_e8("0.1"),
    step_e8=parse_e8("0.001"),
    qty_min_e8=parse_e8("0.001"),
    notional_min_e8=100 * E8,
)
FREE = {"maker_fee_bps": "0", "rest_ms_min": 0, "position_notional_max": "600"}
"""Fees that forbid nothing and no pause: as much trading as the signals allow."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "maker": ("hft.strategy.maker:Maker", {"fill_decay": "1000", "inside_ticks": 3}),
    "momentum": (
        "hft.strategy.momentum:Momentum",
        {"fast_s": "0.1", "slow_s": "0.3", "enter_sigmas": "0.3", "exit_sigmas": "0.1",
         "pause_ms": 0, "hold_s_max": "2", "edge_bps": "-10"},
    ),
    "scalper": (
        "hft.strategy.scalper:Scalper",
        {"smoothing_ms": 1, "enter_imbalance": "0.3", "exit_imbalance": "0.1",
         "patience_ms": 200, "edge_bps": "-100"},
    ),
}  # fmt: skip
START_TICK = 600_000


class Open:
    """An order as the venue has it."""

    def __init__(self, change: Change) -> None:
        self.side, self.price_e8, self.qty_e8 = change.side, change.price_e8, change.qty_e8
        self.cum_e8 = 0

    @property
    def leaves_e8(self) -> int:
        return self.qty_e8 - self.cum_e8


class World:
    """A plug-in, its targets, and a venue with a delay each way."""

    def __init__(self, name: str, **parameters: object) -> None:
        plugin, own = VARIANTS[name]
        self.plugin = load_strategy(plugin, {**FREE, **own, **parameters}, RULES)
        self.targets = QuoteTargets(RULES, self.plugin.quote_rules)  # type: ignore[attr-defined]
        self.targets.orders.bind(self._send)
        self.requests: deque[tuple[Action, int, Change]] = deque()
        self.answers: deque[tuple[int, bytes, int]] = deque()
        self.open: dict[int, Open] = {}
        self.top = TopOfBook()
        self.now_ns = 1
        self.tick = START_TICK
        self.last_id = self.seq = 0
        self.known_e8 = self.position_e8 = 0
        self.bound_e8 = 0
        self.fills = 0

    def see(self, move: int, spread: int, bid_qty: int, ask_qty: int, after_ms: int) -> None:
        """Show the plug-in a top of book and take what it offers."""
        self.now_ns += after_ms * NS_PER_MS
        self.tick += move
        top = self.top
        top.feed_state = FeedState.LIVE
        top.bid_e8, top.ask_e8 = self.tick * RULES.tick_e8, (self.tick + spread) * RULES.tick_e8
        top.bid_qty_e8, top.ask_qty_e8 = bid_qty * E8, ask_qty * E8
        top.as_of_ns = self.now_ns
        mid_e8 = (top.bid_e8 + top.ask_e8) // 2
        self.bound_e8 = max(self.bound_e8, 600 * E8 * E8 // mid_e8)
        self.plugin.on_top_of_book(self.now_ns, top, self.known_e8, self.targets)
        for change in self.targets.changes(self.now_ns):
            order_id = change.order_id
            if change.action is Action.PLACE:
                self.last_id += 1
                order_id = self.last_id
            if change.action is not Action.CANCEL:
                assert change.is_post_only
                assert change.price_e8 * change.side < (top.ask_e8, -top.bid_e8)[change.side < 0]
                self._check(change)
            self._request(change.action, order_id, change)
            self.targets.mark_offered(change, order_id, self.now_ns)

    def _send(self, change: Change) -> int:
        """An explicit order: the built-ins only use them to reduce."""
        assert (change.tif, change.is_reduce_only) == (Tif.IOC, True)
        self._check(change)
        self.last_id += 1
        self._request(change.action, self.last_id, change)
        return self.last_id

    def _check(self, change: Change) -> None:
        assert change.price_e8 > 0
        assert change.price_e8 % RULES.tick_e8 == 0
        assert change.qty_e8 % RULES.step_e8 == 0
        assert change.qty_e8 >= RULES.qty_min_e8

    def _request(self, action: Action, order_id: int, change: Change) -> None:
        copy = Change(change.side, action)
        copy.price_e8, copy.qty_e8, copy.tif = change.price_e8, change.qty_e8, change.tif
        self.requests.append((action, order_id, copy))

    def serve(self, count: int, share: int) -> None:
        """The venue works off requests; an immediate order gets so many tenths."""
        for _ in range(min(count, len(self.requests))):
            action, order_id, change = self.requests.popleft()
            if action is Action.PLACE:
                self.open[order_id] = Open(change)
                self._tell(order_id, ExecKind.ACK)
                if change.tif is Tif.IOC:
                    self._take(order_id, share)
            elif order_id not in self.open:
                continue
            elif action is Action.CANCEL:
                self._end(order_id, ExecKind.CANCELED, OrderState.CANCELED)
            else:
                order = self.open[order_id]
                order.price_e8, order.qty_e8 = change.price_e8, change.qty_e8
                if order.leaves_e8 <= 0:
                    order.qty_e8 = order.cum_e8
                    self._end(order_id, ExecKind.CANCELED, OrderState.CANCELED)
                else:
                    self._tell(order_id, ExecKind.AMENDED)

    def _take(self, order_id: int, share: int) -> None:
        order = self.open[order_id]
        reducible_e8 = max(0, -order.side * self.position_e8)
        qty_e8 = min(order.leaves_e8, reducible_e8) * share // 10
        self._fill(order_id, qty_e8 - qty_e8 % RULES.step_e8)
        if order_id in self.open:
            self._end(order_id, ExecKind.EXPIRED, OrderState.EXPIRED)

    def trade(self, index: int, share: int) -> None:
        """Somebody takes so many tenths of one of the open orders."""
        if self.open:
            order_id = list(self.open)[index % len(self.open)]
            qty_e8 = self.open[order_id].leaves_e8 * share // 10
            self._fill(order_id, max(RULES.step_e8, qty_e8 - qty_e8 % RULES.step_e8))

    def _fill(self, order_id: int, qty_e8: int) -> None:
        if not qty_e8:
            return
        order = self.open[order_id]
        order.cum_e8 += qty_e8
        self.position_e8 += order.side * qty_e8
        self.fills += 1
        state = OrderState.WORKING if order.leaves_e8 else OrderState.FILLED
        self._tell(order_id, ExecKind.FILL, state, order.side * qty_e8)
        if not order.leaves_e8:
            del self.open[order_id]

    def _end(self, order_id: int, kind: ExecKind, state: OrderState) -> None:
        self._tell(order_id, kind, state)
        del self.open[order_id]

    def _tell(
        self,
        order_id: int,
        kind: ExecKind,
        state: OrderState = OrderState.WORKING,
        change_e8: int = 0,
    ) -> None:
        order, record = self.open[order_id], Execution()
        self.seq += 1
        record.seq, record.order_id, record.exec_kind = self.seq, order_id, kind
        record.order_state, record.side, record.price_e8 = state, order.side, order.price_e8
        record.cum_qty_e8, record.leaves_qty_e8 = order.cum_e8, order.leaves_e8
        self.answers.append((order_id, record.tobytes(), change_e8))

    def hear(self, count: int) -> None:
        """The plug-in's side learns what happened."""
        for _ in range(min(count, len(self.answers))):
            _, data, change_e8 = self.answers.popleft()
            self.known_e8 += change_e8
            self.targets.on_execution(Execution(bytearray(data)), self.now_ns)

    def worst_e8(self, side: Side) -> int:
        """The position, in one direction, if everything open there were filled."""
        resting_e8 = sum(one.leaves_e8 for one in self.open.values() if one.side == side)
        return side * self.position_e8 + resting_e8


STEP = st.tuples(
    st.integers(-40, 40),  # move, ticks
    st.integers(1, 4),  # spread, ticks
    st.integers(0, 50),  # quantity on the bid
    st.integers(0, 50),  # and on the ask
    st.integers(1, 400),  # time passed, ms
    st.integers(0, 3),  # requests served
    st.integers(0, 3),  # trades
    st.integers(1, 10),  # how much of an order, in tenths
    st.integers(0, 5),  # answers heard
)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(
            (name, {"is_amending": is_amending})
            for name in VARIANTS
            for is_amending in (True, False)
        ),
        *((name, {"is_taking": True}) for name in ("momentum", "scalper")),
    ],
    ids=str,
)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=5, max_size=60))
def test_position_stays_in_its_bounds_and_prices_on_the_tick_whatever_fills(
    name: str, how: dict[str, bool], steps: list[tuple[int, ...]]
) -> None:
    world = World(name, **how)
    for move, spread, bid_qty, ask_qty, after_ms, served, trades, share, heard in steps:
        world.see(move, spread, bid_qty, ask_qty, after_ms)
        world.serve(served, share)
        for index in range(trades):
            world.trade(index, share)
        for side in (Side.BUY, Side.SELL):
            assert world.worst_e8(side) <= world.bound_e8
        world.hear(heard)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_built_in_trades_when_there_is_something_to_go_by(name: str) -> None:
    world = World(name)
    for step in range(400):
        up = step // 20 % 2 == 0
        world.see(2 if up else -2, 1, *((30, 5) if up else (5, 30)), 20)
        world.serve(5, 10)
        world.trade(0, 10)
        world.hear(10)
    assert world.fills > 10


@pytest.mark.parametrize("name", VARIANTS)
def test_every_built_in_shows_its_signals_as_plain_numbers(name: str) -> None:
    world = World(name)
    world.see(0, 1, 30, 5, 20)
    signals = world.plugin.signals  # type: ignore[attr-defined]
    assert signals
    assert all(type(value) in (int, float) for value in signals.values())
    assert all(key.isidentifier() for key in signals)


@pytest.mark.parametrize("name", VARIANTS)
def test_new_rules_of_the_venue_are_obeyed_from_then_on(name: str) -> None:
    world = World(name)
    coarse = msgspec.structs.replace(RULES, tick_e8=10 * E8, step_e8=E8 // 200, version=2)
    world.targets.set_instrument(coarse)
    world.plugin.on_instrument(1, coarse, 0, world.targets)  # type: ignore[attr-defined]
    top = TopOfBook()
    top.feed_state, top.as_of_ns = FeedState.LIVE, 2
    top.bid_e8, top.ask_e8 = 60_000 * E8, 60_010 * E8
    top.bid_qty_e8, top.ask_qty_e8 = 50 * E8, E8
    world.plugin.on_top_of_book(2, top, 0, world.targets)
    for side in (Side.BUY, Side.SELL):
        price_e8, qty_e8 = world.targets.wanted(side)
        assert price_e8 % coarse.tick_e8 == 0
        assert qty_e8 % coarse.step_e8 == 0


@pytest.mark.parametrize("name", VARIANTS)
def test_a_successor_goes_on_as_if_nothing_had_been_changed(name: str) -> None:
    world, twin = World(name), World(name)
    for step in range(100):
        for one in (world, twin):
            one.see(2 if step % 20 < 10 else -2, 1, 30 if step % 20 < 10 else 5, 10, 20)
    changed: Any = load_strategy(VARIANTS[name][0], {**FREE, **VARIANTS[name][1]}, RULES)
    state = twin.plugin.save()  # type: ignore[attr-defined]
    assert msgspec.json.decode(msgspec.json.encode(state)) == state
    changed.restore(state)
    twin.plugin = changed
    for step in range(100):
        for one in (world, twin):
            one.see(1 if step % 30 < 15 else -1, 1, 10, 30 if step % 30 < 15 else 5, 20)
        assert twin.plugin.signals == world.plugin.signals  # type: ignore[attr-defined]
        for side in (Side.BUY, Side.SELL):
            assert twin.targets.wanted(side) == world.targets.wanted(side)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_has_a_default_that_holds(name: str) -> None:
    load_strategy(VARIANTS[name][0], {}, RULES)
