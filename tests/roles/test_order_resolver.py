"""The slow half of execution: what a gap hid comes before what came after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import orjson
import pytest

from hft import counters
from hft.core.generated.views import Execution
from hft.core.order_id import foreign_order_id
from hft.core.order_table import FOREIGN_MAX
from hft.core.orders import Order
from hft.errors import HftError, UnreachableError, VenueError
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif
from hft.roles.order_countdown import COUNTDOWN_ROLES, OrderCountdown
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_ladder import FORGOTTEN_NS
from hft.roles.order_resolver import OrderResolver
from hft.units import E8, NS_PER_S
from hft.venues.binance_usdm.order_session import Reply
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
        position_side="BOTH", venue_ns=time.time_ns(),
    )  # fmt: skip


class FakeRest:
    """A venue whose answers a test writes down."""

    def __init__(self) -> None:
        self.trades: list[TradeReport] = []
        self.open: list[OrderReport] = []
        self.order: OrderReport | None = None
        self.cancelled: list[str] = []
        self.cancelled_all: list[str] = []
        self.countdowns: list[tuple[str, int]] = []
        self.countdown_error: HftError | None = None
        self.asked: list[tuple[str, int | None]] = []
        self.algo: list[str] = []
        self.measured = self.queries = 0
        self.queried: list[int | None] = []
        self.cancel_error: HftError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def venue_ns(self) -> int:
        return time.time_ns()

    async def measure_clock_offset(self) -> tuple[int, int]:
        self.measured += 1
        return 0, 0

    async def user_trades(
        self, symbol: str, from_id: int | None = None, *, venue_order_id: int | None = None
    ) -> list[TradeReport]:
        await self.gate.wait()
        self.asked.append((symbol, from_id))
        return [
            one
            for one in self.trades
            if symbol == one.symbol
            and one.trade_id >= (from_id or 0)
            and venue_order_id in (None, one.venue_order_id)
        ]

    async def open_orders(self, symbol: str) -> list[OrderReport]:
        return [one for one in self.open if one.symbol == symbol]

    async def query_order(
        self, symbol: str, client_id: str = "", *, venue_order_id: int | None = None
    ) -> OrderReport:
        self.queries += 1
        self.queried.append(venue_order_id)
        if self.order is None:
            raise VenueError(code=-2013, text="Order does not exist.", status=400)
        return self.order

    async def cancel_order(self, symbol: str, client_id: str) -> OrderReport:
        self.cancelled.append(client_id)
        if self.cancel_error is not None:
            raise self.cancel_error
        self.open = [one for one in self.open if one.client_order_id != client_id]
        return report(OrderStatus.CANCELED, 0, order_id=int(client_id[1:], 16))

    async def cancel_all(self, symbol: str) -> None:
        self.cancelled_all.append(symbol)
        self.open = [one for one in self.open if one.symbol != symbol]

    async def cancel_all_algo(self, symbol: str) -> None:
        self.cancelled_all.append(f"algo {symbol}")
        self.algo = [one for one in self.algo if one != symbol]

    async def open_algo_orders(self, symbol: str) -> list[str]:
        return [one for one in self.algo if one == symbol]

    async def countdown_cancel_all(self, symbol: str, milliseconds: int) -> None:
        self.countdowns.append((symbol, milliseconds))
        if self.countdown_error is not None:
            raise self.countdown_error


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
        self.resolver._desk.open(asyncio.get_running_loop())

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

    def records(self) -> list[tuple[ExecKind, int, Reason]]:
        reader, buffer = self.context.observer("executions", 1)
        record, found = Execution(buffer), []
        while reader.next():
            found.append((ExecKind(record.exec_kind), record.order_id, Reason(record.reason)))
        return found

    def fills(self) -> list[int]:
        reader, buffer = self.context.observer("executions", 1)
        record, found = Execution(buffer), []
        while reader.next():
            if record.exec_kind == ExecKind.FILL:
                found.append(record.trade_id)
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60.0
        while time.monotonic() < deadline_s:
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
        await asyncio.sleep(0.02)  # for what must not come
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
        bench.resolver._recovery.is_holding = False
        bench.resolver.on_update(bench.fill_event(10, 1), 1)
        first = msgspec.structs.replace(trade(11), venue_order_id=78)
        bench.rest.trades = [trade(10), first, trade(12)]
        bench.rest.order = report(OrderStatus.CANCELED, 2)
        bench.keeper.change(order, order.canceled(2 * E8), now_ns=1)
        assert order.missing_qty_e8
        await bench.until(lambda: not order.missing_qty_e8)
        assert bench.fills() == [10, 11, 12]

    in_loop(house, scenario)


def test_order_of_ours_that_nobody_knows_is_adopted_and_cancelled(house):
    async def scenario(bench: Bench) -> None:
        stranger = 1 << 56 | 999
        bench.rest.open = [report(OrderStatus.NEW, 0, order_id=stranger)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bool(bench.records()) and not len(bench.keeper.table))
        assert bench.rest.cancelled == [client_order_id(stranger)]
        assert bench.records() == [
            (ExecKind.ADOPTED, stranger, Reason.OWN_RECOVERY),
            (ExecKind.CANCELED, stranger, Reason.OWN_RECOVERY),
        ]

    in_loop(house, scenario)


def foreign_report(status: OrderStatus, cum: int, venue_order_id: int = 500) -> OrderReport:
    return msgspec.structs.replace(
        report(status, cum), order_id=0, client_order_id="web_1", venue_order_id=venue_order_id
    )


def test_order_of_others_is_counted_and_left_alone(house):
    async def scenario(bench: Bench) -> None:
        bench.rest.open = [foreign_report(OrderStatus.NEW, 0)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: len(bench.keeper.table) == 1)
        (order,) = bench.keeper.table
        assert not order.is_ours
        assert order.order_id == foreign_order_id(BTC, 500)
        assert order.leaves_qty_e8 == 3 * E8
        bench.resolver.cancel_by_rest(order, Reason.OWN_HALT)
        await asyncio.sleep(0.02)  # for what must not come
        assert bench.rest.cancelled == []
        # Its end was not told: the next comparison finds it, and it is asked for by venue id.
        bench.rest.open, bench.rest.order = [], foreign_report(OrderStatus.CANCELED, 0)
        bench.resolver._recovery._compared_ns = -60 * NS_PER_S
        await bench.until(lambda: not len(bench.keeper.table))
        assert bench.rest.queried[-1] == 500
        assert [kind for kind, _, _ in bench.records()] == [ExecKind.ADOPTED, ExecKind.CANCELED]
        assert {reason for _, _, reason in bench.records()} == {Reason.FOREIGN_ORDER}

    in_loop(house, scenario)


@pytest.mark.parametrize("is_known_to_venue", [True, False])
def test_trades_of_others_that_a_gap_hid_are_booked(house, is_known_to_venue):
    async def scenario(bench: Bench) -> None:
        bench.place()
        bench.rest.open = [report(OrderStatus.NEW, 0)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        bench.resolver.on_update(bench.fill_event(11, 1), 1)
        bench.resolver.on_user_stream(is_up=False)
        other = msgspec.structs.replace(trade(12), venue_order_id=500)
        bench.rest.trades = [trade(11), other, trade(13)]
        bench.rest.open = [report(OrderStatus.PARTIALLY_FILLED, 2)]
        if is_known_to_venue:
            bench.rest.order = foreign_report(OrderStatus.CANCELED, 1)
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        assert bench.fills() == [11, 12, 13]
        assert len(bench.keeper.table) == 1
        bench.resolver.on_user_stream(is_up=False)
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        assert bench.fills() == [11, 12, 13]

    in_loop(house, scenario)


def test_trades_from_before_the_books_are_not_booked(house):
    async def scenario(bench: Bench) -> None:
        bench.rest.open = [foreign_report(OrderStatus.PARTIALLY_FILLED, 2)]
        old = msgspec.structs.replace(trade(3), venue_order_id=500, venue_ns=1)
        fresh = msgspec.structs.replace(trade(4), venue_order_id=500)
        bench.rest.trades = [old, fresh]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: len(bench.keeper.table) == 1)
        (order,) = bench.keeper.table
        await bench.until(lambda: order.missing_qty_e8 == 0)
        assert bench.fills() == [4]

    in_loop(house, scenario)


def test_a_flood_of_others_orders_leaves_room_for_ours(house):
    async def scenario(bench: Bench) -> None:
        many = range(500, 500 + FOREIGN_MAX + 50)
        bench.rest.open = [foreign_report(OrderStatus.NEW, 0, number) for number in many]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        assert len(bench.keeper.table) == FOREIGN_MAX
        bench.place()
        event = msgspec.structs.replace(
            bench.fill_event(11, 1), order_id=0, client_order_id="web_2", venue_order_id=9_000
        )
        bench.resolver.on_update(event, 1)
        bench.resolver.on_update(event, 1)
        assert bench.fills() == [11]
        assert bench.keeper.table.own_count == 1

    in_loop(house, scenario)


def test_more_executed_than_asked_for_is_an_incident(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        for number in range(1, 5):
            bench.resolver.on_update(bench.fill_event(10 + number, number), 1)
        assert order.is_overfilled
        assert order.leaves_qty_e8 == 0
        assert bench.context.page.counter(counters.OVERFILLS.id) == 1
        assert bench.records()[-1] == (ExecKind.FILL, ORDER_ID, Reason.OWN_OVERFILL)
        asked = bench.rest.queries
        await bench.until(lambda: bench.rest.queries > asked)

    in_loop(house, scenario)


def test_unanswered_cancel_is_repeated_and_unanswered_amend_cancelled(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.rest.open = [report(OrderStatus.NEW, 0)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        order.amend_sent(101 * E8, 3 * E8, time.monotonic_ns())
        bench.events.overdue(order, time.monotonic_ns())
        await bench.until(lambda: order.is_terminal)
        assert bench.rest.cancelled == [client_order_id(ORDER_ID)]
        assert order.state is OrderState.CANCELED

    in_loop(house, scenario)


def test_cancel_of_a_filled_order_ends_in_a_query(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.rest.open = [report(OrderStatus.NEW, 0)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        bench.rest.cancel_error = VenueError(code=-2011, text="Unknown order sent.", status=400)
        bench.rest.order = report(OrderStatus.FILLED, 3)
        bench.rest.trades = [trade(21), trade(22), trade(23)]
        order.cancel_sent(time.monotonic_ns())
        bench.events.overdue(order, time.monotonic_ns())
        await bench.until(lambda: not len(bench.keeper.table))
        assert order.state is OrderState.FILLED
        assert bench.fills() == [21, 22, 23]

    in_loop(house, scenario)


def test_a_halt_cancels_both_stores_until_nothing_is_open(house):
    async def scenario(bench: Bench) -> None:
        bench.rest.open = [foreign_report(OrderStatus.NEW, 0)]
        bench.rest.algo = ["ETHUSDT"]
        bench.resolver.cancel_everything()
        bench.resolver.cancel_everything()
        await bench.until(lambda: not bench.resolver._is_cancelling_all)
        assert sorted(bench.rest.cancelled_all) == [
            "BTCUSDT", "ETHUSDT", "algo BTCUSDT", "algo ETHUSDT",
        ]  # fmt: skip
        assert not bench.rest.open
        assert not bench.rest.algo

    in_loop(house, scenario)


def test_a_difference_makes_it_look_for_the_trade_that_was_lost_alone(house):
    async def scenario(bench: Bench) -> None:
        bench.place()
        bench.rest.open = [report(OrderStatus.PARTIALLY_FILLED, 2)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        bench.resolver.on_update(bench.fill_event(11, 1), 1)
        bench.resolver.on_update(bench.fill_event(13, 2), 1)
        lost = msgspec.structs.replace(trade(12), venue_order_id=500)
        bench.rest.trades = [trade(11), lost, trade(13)]
        account = house.context("account")
        account.page.set_gauge(counters.DIFFERS.id, 1)
        await bench.until(lambda: 12 in bench.fills())
        asked = len(bench.rest.asked)
        now_ns = time.monotonic_ns()
        for _ in range(20):
            bench.resolver.tend(now_ns)  # at one moment: after a while it may look again
            await asyncio.sleep(0.001)
        assert len(bench.rest.asked) == asked, "looked for once"

    in_loop(house, scenario)


def test_a_refused_timestamp_has_the_clock_measured(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.resolver._desk.spawn(bench.resolver._watch_clock())
        await bench.until(lambda: bench.rest.measured == 1)
        now_ns = time.monotonic_ns()
        order.cancel_sent(now_ns)
        bench.events.refused(order, Action.CANCEL, -1021, 400, "Timestamp", now_ns)
        await bench.until(lambda: bench.rest.measured == 2)

    in_loop(house, scenario)


def test_countdown_is_armed_while_everybody_watches(house):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        roles = [house.context(role) for role in COUNTDOWN_ROLES]
        countdown = OrderCountdown(
            bench.resolver._desk, bench.context.page, [role.page for role in roles], 60
        )
        task = asyncio.create_task(countdown.run())

        async def beat_until(holds: Callable[[], bool], silent: str = "") -> None:
            while not holds():
                for role in roles:
                    if role.role != silent:
                        role.page.beat(time.monotonic_ns())
                await asyncio.sleep(0.001)

        await beat_until(lambda: len(bench.rest.countdowns) >= 3)
        assert set(bench.rest.countdowns) == {("BTCUSDT", 60)}
        bench.keeper.change(order, order.canceled(), now_ns=1)
        await beat_until(lambda: ("BTCUSDT", 0) in bench.rest.countdowns)
        task.cancel()

    in_loop(house, scenario)


def test_missed_renewals_of_the_countdown_are_counted_until_the_venue_answers(house):
    async def scenario(bench: Bench) -> None:
        bench.place()
        roles = [house.context(role) for role in COUNTDOWN_ROLES]
        desk, page = bench.resolver._desk, bench.context.page
        countdown = OrderCountdown(desk, page, [role.page for role in roles], 60)

        async def renew() -> int:
            await countdown._renew(time.monotonic_ns() + NS_PER_S)
            return page.gauge(counters.COUNTDOWN_MISSED.id)

        assert await renew() == 0
        bench.rest.countdown_error = UnreachableError("no answer")
        assert await renew() == 1
        await asyncio.sleep(0.045)  # of a countdown of 60 ms two renewals were due meanwhile
        assert await renew() >= 2
        bench.rest.countdown_error = None
        assert await renew() == 0

    in_loop(house, scenario)


@pytest.mark.parametrize("silent", COUNTDOWN_ROLES)
def test_countdown_runs_out_when_a_role_is_silent(house, silent):
    async def scenario(bench: Bench) -> None:
        bench.place()
        roles = [house.context(role) for role in COUNTDOWN_ROLES]
        for role in roles:
            stale_ns = 2 * NS_PER_S if role.role == silent else 0
            role.page.beat(time.monotonic_ns() - stale_ns)
        countdown = OrderCountdown(
            bench.resolver._desk, bench.context.page, [role.page for role in roles], 60
        )
        task = asyncio.create_task(countdown.run())
        await asyncio.sleep(0.02)  # for what must not come
        assert bench.rest.countdowns == []
        task.cancel()

    in_loop(house, scenario)


class FakeKeys:
    """The keeper of the listen key."""

    def __init__(self) -> None:
        self.suspicions = 0

    def suspect(self, why: str) -> None:
        self.suspicions += 1

    def check(self) -> None:
        pass


@pytest.mark.parametrize("speaks", ["nobody", "another", "the order"])
def test_a_silent_user_stream_is_suspected(house, speaks):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        bench.rest.open = [report(OrderStatus.NEW, 0)]
        bench.resolver.on_user_stream(is_up=True)
        await bench.until(lambda: bench.resolver.is_recovered)
        keys = bench.resolver._keys = FakeKeys()
        sent_ns = time.monotonic_ns()
        order.cancel_sent(sent_ns)
        bench.events.expect(1, order, Action.CANCEL, sent_ns)
        answer = Reply(request_id=1, status=200, result=report(OrderStatus.NEW, 0))
        bench.events.on_reply(answer, sent_ns + 1)
        if speaks != "nobody":
            event = bench.fill_event(11, 1)
            if speaks == "another":
                event = msgspec.structs.replace(
                    event, order_id=0, client_order_id="web", venue_order_id=9
                )
            bench.resolver.on_update(event, sent_ns + 2)
        asked = len(bench.rest.asked)
        for _ in range(3):
            bench.resolver.tend(sent_ns + 2 * NS_PER_S)
        async with asyncio.timeout(60):
            while speaks != "the order" and len(bench.rest.asked) == asked:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)  # for what must not come
        assert keys.suspicions == (1 if speaks == "nobody" else 0)
        assert (len(bench.rest.asked) > asked) == (speaks != "the order")

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


@pytest.mark.parametrize("is_long", [False, True])
def test_acknowledged_order_that_the_venue_denies_is_given_up_after_a_minute(house, is_long):
    async def scenario(bench: Bench) -> None:
        order = bench.place()
        now_ns = time.monotonic_ns()
        order.send_ns = now_ns - 120 * NS_PER_S
        order.cancel_sent(now_ns)
        bench.events.overdue(order, now_ns)
        ladder = bench.resolver._ladder
        ladder.ask(order, now_ns)
        question = ladder._questions[order.order_id]
        ladder._on_missing(question)
        if is_long:
            question.missed_ns -= FORGOTTEN_NS
        ladder._on_missing(question)
        expected = OrderState.EXPIRED if is_long else OrderState.UNRESOLVED
        assert order.state is expected

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
            await bench.until(lambda: bench.rest.queries >= 2)
            assert order.state is OrderState.UNRESOLVED

    in_loop(house, scenario)
