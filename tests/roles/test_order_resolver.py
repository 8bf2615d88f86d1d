"""The slow half of execution: what a gap hid comes before what came after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import orjson
import pytest

from hft.core.generated.views import Execution
from hft.core.orders import Order
from hft.errors import VenueError
from hft.records import Action, ExecKind, OrderState, OrderType, Side, Tif
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_resolver import OrderResolver
from hft.units import E8, NS_PER_S
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.reports import OrderReport, TradeReport
from hft.venues.binance_usdm.user_events import OrderUpdate, decode_user_event
from hft.venues.binance_usdm.wire import OrderStatus

BTC = 1
ORDER_ID = 1 << 56 | 7


def report(status: OrderStatus, cum: int, *, order_id: int = ORDER_ID) -> OrderReport:
    return OrderReport(
        symbol="BTCUSDT", client_order_id=client_order_id(order_id), order_id=order_id,
        venue_order_id=77, status=status, side=Side.BUY, order_type=OrderType.LIMIT, tif=Tif.GTC,
        is_post_only=True, is_reduce_only=False, price_e8=100 * E8, qty_e8=3 * E8,
        cum_qty_e8=cum * E8,
    )  # fmt: skip


def trade(trade_id: int) -> TradeReport:
    return TradeReport(
        symbol="BTCUSDT", trade_id=trade_id, venue_order_id=77, side=Side.BUY, price_e8=100 * E8,
        qty_e8=E8, realised_pnl_e8=0, fee_e8=2, fee_asset="USDT", is_maker=True,
        position_side="BOTH", venue_ns=1,
    )  # fmt: skip


class FakeRest:
    """A venue whose answers a test writes down."""

    def __init__(self) -> None:
        self.trades: list[TradeReport] = []
        self.open: list[OrderReport] = []
        self.order: OrderReport | None = None
        self.cancelled: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def measure_clock_offset(self) -> tuple[int, int]:
        return 0, 0

    async def user_trades(
        self, symbol: str, from_id: int | None = None, *, venue_order_id: int | None = None
    ) -> list[TradeReport]:
        await self.gate.wait()
        return [
            one for one in self.trades if symbol == one.symbol and one.trade_id >= (from_id or 0)
        ]

    async def open_orders(self, symbol: str) -> list[OrderReport]:
        return [one for one in self.open if one.symbol == symbol]

    async def query_order(
        self, symbol: str, client_id: str = "", *, venue_order_id: int | None = None
    ) -> OrderReport:
        if self.order is None:
            raise VenueError(code=-2013, text="Order does not exist.", status=400)
        return self.order

    async def cancel_order(self, symbol: str, client_id: str) -> OrderReport:
        self.cancelled.append(client_id)
        return report(OrderStatus.CANCELED, 0)


class Bench:
    """Resolver, books and events on real segments, with a fake venue."""

    def __init__(self, house) -> None:
        self.context = house.context("execution")
        self.keeper = OrderKeeper(self.context)
        self.events = OrderEvents(self.context.page, self.keeper)
        self.rest = FakeRest()
        self.errors: list[BaseException] = []
        self.resolver = OrderResolver(
            self.context, self.rest, self.keeper, self.events, self._guard, lambda: None
        )
        self.resolver._loop = asyncio.get_running_loop()

    def _guard(self, handler: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except Exception as error:
                self.errors.append(error)

        return guarded

    def place(self) -> Order:
        order = Order(
            order_id=ORDER_ID, instrument_id=BTC, strategy_id=1, side=Side.BUY,
            price_e8=100 * E8, qty_e8=3 * E8,
        )  # fmt: skip
        self.keeper.table.add(order)
        self.keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
        order.place_sent(time.monotonic_ns())
        self.keeper.sent(order, now_ns=1, origin_ns=1)
        self.keeper.change(order, order.acknowledge(77, 1), now_ns=1)
        self.keeper.table.bind(order)
        return order

    def fill_event(self, trade_id: int, cum: int) -> OrderUpdate:
        order = {"s": "BTCUSDT", "c": client_order_id(ORDER_ID), "S": "BUY", "o": "LIMIT",
                 "f": "GTX", "q": "3", "p": "100", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 77,
                 "l": "1", "z": str(cum), "L": "100", "n": "0", "N": "USDT", "T": 1, "t": trade_id,
                 "m": True, "R": False, "ps": "BOTH", "rp": "0", "er": "0"}  # fmt: skip
        body = orjson.dumps({"e": "ORDER_TRADE_UPDATE", "T": 1, "E": 1, "o": order})
        event = decode_user_event(body)
        assert isinstance(event, OrderUpdate)
        return event

    def fills(self) -> list[int]:
        reader, buffer = self.context.observer("executions", 1)
        record, found = Execution(buffer), []
        while reader.next():
            if record.exec_kind == ExecKind.FILL:
                found.append(record.trade_id)
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(2_000):
            if holds():
                return
            self.resolver.tend(time.monotonic_ns())
            await asyncio.sleep(0.001)
        raise AssertionError("it did not come to that")


def in_loop(house, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        bench = Bench(house)
        await scenario(bench)
        bench.resolver.stop()
        await asyncio.sleep(0)
        assert bench.errors == []

    asyncio.run(run())


def test_events_wait_for_the_trades_that_a_gap_hid(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        bench.resolver.on_update(bench.fill_event(11, 1), 1)
        assert bench.fills() == [11]

        bench.resolver.on_user_stream(is_up=False)
        bench.rest.trades = [trade(11), trade(12)]
        bench.rest.open = [report(OrderStatus.PARTIALLY_FILLED, 2)]
        bench.rest.order = bench.rest.open[0]
        bench.rest.gate.clear()
        bench.resolver.on_user_stream(is_up=True)
        bench.resolver.on_update(bench.fill_event(13, 3), 2)
        await asyncio.sleep(0.02)
        assert bench.fills() == [11], "the live fill waits"
        bench.rest.gate.set()
        await bench.until(lambda: bench.resolver.is_recovered)
        assert bench.fills() == [11, 12, 13]
        assert order.state is OrderState.FILLED

    in_loop(house, scenario)


def test_live_events_do_not_wait_for_ever(house):
    async def scenario(bench: Bench) -> None:
        bench.place()
        bench.rest.gate.clear()
        bench.resolver.on_user_stream(is_up=True)
        bench.resolver.on_update(bench.fill_event(13, 1), 2)
        assert bench.fills() == []
        bench.resolver.tend(time.monotonic_ns() + 3 * NS_PER_S)
        assert bench.fills() == [13]

    in_loop(house, scenario)


def test_trades_of_a_silent_stream_come_in_their_sequence(house):
    """Two orders of one symbol are filled in turns; only one shows that something is missing."""

    async def scenario(bench: Bench) -> None:
        order = bench.place()
        other = Order(
            order_id=ORDER_ID + 1, instrument_id=BTC, strategy_id=1, side=Side.BUY,
            price_e8=100 * E8, qty_e8=3 * E8,
        )  # fmt: skip
        bench.keeper.table.add(other)
        bench.keeper.change(other, other.acknowledge(78, 1), now_ns=1)
        bench.keeper.table.bind(other)
        bench.resolver._is_holding = False
        bench.resolver.on_update(bench.fill_event(10, 1), 1)
        first = msgspec.structs.replace(trade(11), venue_order_id=78)
        bench.rest.trades = [trade(10), first, trade(12)]
        bench.rest.order = report(OrderStatus.CANCELED, 2)
        bench.keeper.change(order, order.canceled(2 * E8), now_ns=1)
        assert order.missing_qty_e8
        await bench.until(lambda: not order.missing_qty_e8)
        assert bench.fills() == [10, 11, 12]

    in_loop(house, scenario)


def test_order_of_ours_that_nobody_knows_is_cancelled(house):
    async def scenario(bench: Bench) -> None:
        stranger = 1 << 56 | 999
        bench.rest.open = [report(OrderStatus.NEW, 0, order_id=stranger)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bool(bench.rest.cancelled))
        assert bench.rest.cancelled == [client_order_id(stranger)]

    in_loop(house, scenario)


def test_unknown_order_is_settled_by_what_the_venue_says(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        order.cancel_sent(time.monotonic_ns())
        bench.events.overdue(order, time.monotonic_ns())
        assert order.state is OrderState.UNRESOLVED
        bench.rest.order = report(OrderStatus.CANCELED, 1)
        bench.rest.trades = [trade(11)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.keeper.table.get(ORDER_ID) is None)
        assert order.state is OrderState.CANCELED
        assert bench.fills() == [11]

    in_loop(house, scenario)


@pytest.mark.parametrize("is_late", [True, False])
def test_never_accepted_needs_the_deadline(house, is_late):
    async def scenario(bench: Bench) -> None:
        order = Order(
            order_id=ORDER_ID, instrument_id=BTC, strategy_id=1, side=Side.BUY,
            price_e8=100 * E8, qty_e8=3 * E8,
        )  # fmt: skip
        bench.keeper.table.add(order)
        bench.keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
        now_ns = time.monotonic_ns()
        order.place_sent(now_ns - (10 * NS_PER_S if is_late else 0))
        bench.events.overdue(order, now_ns)
        bench.resolver.on_user_stream(is_up=True)
        if is_late:
            await bench.until(lambda: order.is_terminal)
            assert order.state is OrderState.NEVER_ACCEPTED
        else:
            questions = bench.resolver._questions
            await bench.until(lambda: ORDER_ID in questions and questions[ORDER_ID].misses >= 2)
            assert order.state is OrderState.UNRESOLVED

    in_loop(house, scenario)
