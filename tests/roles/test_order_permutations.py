"""Whatever the sequence in which the venue's messages come, and however often: one end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Execution
from hft.core.orders import Order
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.units import E8
from hft.venues.binance_usdm.order_session import Reply
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.reports import OrderReport
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.wire import ExecType, OrderStatus

BTC = 1
PRICE, NEW_PRICE = 100 * E8, 101 * E8
QTY, NEW_QTY = 10, 12
OWN, ADOPTED, FOREIGN = "own", "adopted", "foreign"
Event = Callable[["Books", "Case"], None]


class Case:
    """One order, as the venue and we call it."""

    def __init__(self, number: int, kind: str) -> None:
        self.kind = kind
        self.number = number
        self.order_id = 0 if kind == FOREIGN else 1 << 56 | number
        self.venue_order_id = 1_000 + number
        self.client_order_id = "web_x" if kind == FOREIGN else client_order_id(self.order_id)


class Books:
    """Keeper and events on real segments; the readers keep up, so that nothing waits."""

    def __init__(self, house: Any) -> None:
        self.context = house.context("execution")
        self.keeper = OrderKeeper(self.context)
        self.events = OrderEvents(self.context.page, self.keeper)
        self._readers = [
            house.context(role).ring_reader("executions") for role in ("account", "risk")
        ]
        self._number = 0

    def new_case(self, kind: str) -> Case:
        self._number += 1
        case = Case(self._number, kind)
        if kind == OWN:
            self._send(case)
        return case

    def _send(self, case: Case) -> None:
        order = Order(
            order_id=case.order_id, instrument_id=BTC, strategy_id=1, side=Side.BUY,
            price_e8=PRICE, qty_e8=QTY * E8,
        )  # fmt: skip
        self.keeper.table.add(order)
        self.keeper.begin(order, Action.PLACE, price_e8=PRICE, qty_e8=QTY * E8)
        self.events.expect(10 * case.number, order, Action.PLACE, 1)
        order.place_sent(1)
        self.keeper.sent(order, now_ns=1, origin_ns=1)

    def send_amend(self, case: Case) -> None:
        order = self.keeper.table.get(case.order_id)
        assert order is not None
        order.amend_sent(NEW_PRICE, NEW_QTY * E8, 2)
        self.keeper.begin(order, Action.AMEND, price_e8=NEW_PRICE, qty_e8=NEW_QTY * E8)
        self.events.expect(10 * case.number + 1, order, Action.AMEND, 2)

    def order(self, case: Case) -> Order:
        found = self.events.find(BTC, case.order_id, case.venue_order_id)
        assert found is not None
        return found

    def records(self) -> list[tuple[int, ExecKind, int, OrderState, int, int]]:
        found = []
        for reader, buffer in self._readers:
            record = Execution(buffer)
            found = []
            while reader.next():
                found.append(
                    (
                        record.order_id, ExecKind(record.exec_kind), record.trade_id,
                        OrderState(record.order_state), record.cum_qty_e8, record.reason,
                    )
                )  # fmt: skip
            reader.commit()
        self.keeper.flush()
        return found


def update(
    exec_type: ExecType,
    status: OrderStatus,
    cum: int,
    at_ms: int,
    *,
    last: int = 0,
    trade: int = 0,
    is_amended: bool = False,
) -> Event:
    def apply(books: Books, case: Case) -> None:
        books.events.on_update(
            OrderUpdate(
                symbol="BTCUSDT", client_order_id=case.client_order_id, order_id=case.order_id,
                venue_order_id=case.venue_order_id, side=Side.BUY, order_type=OrderType.LIMIT,
                tif=Tif.GTC, is_post_only=False, is_reduce_only=False, exec_type=exec_type,
                status=status, price_e8=NEW_PRICE if is_amended else PRICE,
                qty_e8=(NEW_QTY if is_amended else QTY) * E8, cum_qty_e8=cum * E8,
                average_price_e8=0, last_price_e8=PRICE if last else 0, last_qty_e8=last * E8,
                trade_id=10 * case.number + trade if trade else 0, is_maker=True, fee_e8=1,
                fee_asset="USDT", realised_pnl_e8=0, position_side="BOTH", reason=Reason.NONE,
                expiry_code="0", transaction_ns=at_ms * 1_000_000, event_ns=at_ms * 1_000_000,
            ),
            5,
        )  # fmt: skip

    return apply


def new(at_ms: int = 1) -> Event:
    return update(ExecType.NEW, OrderStatus.NEW, 0, at_ms)


def fill(trade: int, last: int, cum: int, at_ms: int, *, is_amended: bool = False) -> Event:
    is_final = cum == (NEW_QTY if is_amended else QTY)
    status = OrderStatus.FILLED if is_final else OrderStatus.PARTIALLY_FILLED
    return update(ExecType.TRADE, status, cum, at_ms, last=last, trade=trade, is_amended=is_amended)


def ended(kind: str, cum: int, at_ms: int, *, is_amended: bool = False) -> Event:
    return update(ExecType[kind], OrderStatus[kind], cum, at_ms, is_amended=is_amended)


def amendment(cum: int, at_ms: int) -> Event:
    return update(
        ExecType.AMENDMENT,
        OrderStatus.PARTIALLY_FILLED if cum else OrderStatus.NEW,
        cum,
        at_ms,
        is_amended=True,
    )


def report_of(
    case: Case, status: OrderStatus, cum: int, at_ms: int, *, is_amended: bool
) -> OrderReport:
    return OrderReport(
        symbol="BTCUSDT", client_order_id=case.client_order_id, order_id=case.order_id,
        venue_order_id=case.venue_order_id, status=status, side=Side.BUY,
        order_type=OrderType.LIMIT, tif=Tif.GTC, is_post_only=False, is_reduce_only=False,
        price_e8=NEW_PRICE if is_amended else PRICE,
        qty_e8=(NEW_QTY if is_amended else QTY) * E8, cum_qty_e8=cum * E8,
        update_ns=at_ms * 1_000_000,
    )  # fmt: skip


def query(status: OrderStatus, cum: int, at_ms: int, *, is_amended: bool = False) -> Event:
    def apply(books: Books, case: Case) -> None:
        order = books.events.find(BTC, case.order_id, case.venue_order_id)
        report = report_of(case, status, cum, at_ms, is_amended=is_amended)
        if order is not None:
            books.events.on_report(order, report, 5)
        elif status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED):
            books.events.adopt_report(report, 5, report.cum_qty_e8)

    return apply


def reply(request: int, *, is_amended: bool = False, at_ms: int = 1) -> Event:
    def apply(books: Books, case: Case) -> None:
        result = report_of(case, OrderStatus.NEW, 0, at_ms, is_amended=is_amended)
        books.events.on_reply(
            Reply(request_id=10 * case.number + request, status=200, result=result), 5
        )

    return apply


def overdue(books: Books, case: Case) -> None:
    order = books.keeper.table.get(case.order_id)
    if order is not None:
        books.events.overdue(order, 5)


VENUE: dict[str, list[Event]] = {
    "filled in three": [new(), fill(1, 3, 3, 2), fill(2, 3, 6, 3), fill(3, 4, 10, 4)],
    "filled, queried before and after": [
        new(),
        fill(1, 4, 4, 2),
        query(OrderStatus.PARTIALLY_FILLED, 4, 2),
        fill(2, 6, 10, 3),
        query(OrderStatus.FILLED, 10, 3),
    ],
    "partly filled, then cancelled": [
        new(),
        fill(1, 4, 4, 2),
        fill(2, 1, 5, 3),
        ended("CANCELED", 5, 4),
    ],
    "cancelled without a fill": [new(), ended("CANCELED", 0, 2), query(OrderStatus.CANCELED, 0, 2)],
    "expired without a fill": [new(), ended("EXPIRED", 0, 2)],
    "expired after a fill": [new(), fill(1, 4, 4, 1), ended("EXPIRED", 4, 1)],
    "amended between fills of one millisecond": [
        new(),
        fill(1, 4, 4, 2),
        amendment(4, 2),
        fill(2, 8, 12, 3, is_amended=True),
    ],
    "amended upwards, then cancelled at the old quantity": [
        fill(1, 4, 4, 2),
        amendment(4, 3),
        fill(2, 6, 10, 4, is_amended=True),
        ended("CANCELED", 10, 5, is_amended=True),
    ],
    "amended in the millisecond of a fill, still open": [
        new(),
        fill(1, 4, 4, 2),
        amendment(4, 2),
        query(OrderStatus.PARTIALLY_FILLED, 4, 2, is_amended=True),
    ],
    "still open": [new(), fill(1, 4, 4, 2), fill(2, 1, 5, 3), query(OrderStatus.NEW, 0, 1)],
}
OURS: dict[str, list[Event]] = {
    "answered, overdue and filled": [
        reply(0), overdue, new(), fill(1, 4, 4, 2), fill(2, 6, 10, 3),
    ],
    "answered, overdue and cancelled": [
        reply(0), overdue, new(), fill(1, 4, 4, 2), ended("CANCELED", 4, 3),
    ],
}  # fmt: skip
AMENDED: dict[str, list[Event]] = {
    "amend answered and filled": [
        reply(1, is_amended=True, at_ms=3), fill(1, 4, 4, 2), amendment(4, 3),
        fill(2, 8, 12, 4, is_amended=True),
    ],
    "amend unanswered, then cancelled at the old quantity": [
        fill(1, 4, 4, 2), amendment(4, 3), fill(2, 6, 10, 4, is_amended=True),
        ended("CANCELED", 10, 5, is_amended=True), overdue,
    ],
}  # fmt: skip


def outcome(order: Order) -> tuple[Any, ...]:
    terms = (0, 0) if order.is_terminal else (order.price_e8, order.qty_e8)
    return (
        order.state,
        order.cum_qty_e8,
        order.traded_qty_e8,
        order.leaves_qty_e8,
        order.worst_case_qty_e8,
        order.is_overfilled,
        *terms,
    )


def run(books: Books, kind: str, events: Sequence[Event], *, is_amended: bool = False) -> Any:
    case = books.new_case(kind)
    if is_amended:
        reply(0)(books, case)
        books.send_amend(case)
    for event in events:
        event(books, case)
    order = books.order(case)
    check_records(books, case, order)
    return outcome(order)


def check_records(books: Books, case: Case, order: Order) -> None:
    rank = 0
    fills, cum_qty_e8 = [], 0
    for order_id, kind, trade_id, state, cum_e8, reason in books.records():
        assert order_id == order.order_id
        assert state.value >= rank or {state.value, rank} <= {2, 3}, "states only move up"
        rank = max(rank, state.value if state >= OrderState.FILLED else 1)
        assert cum_e8 >= cum_qty_e8
        cum_qty_e8 = cum_e8
        if kind is ExecKind.FILL:
            fills.append(trade_id)
        if case.kind == FOREIGN:
            assert reason == Reason.FOREIGN_ORDER
    assert len(fills) == len(set(fills)), "each fill once"
    assert order.order_id in books.keeper.table or order.is_terminal
    if order.is_terminal:
        assert (order.order_id in books.keeper.table) == bool(order.missing_qty_e8)


@pytest.mark.parametrize("kind", [OWN, ADOPTED, FOREIGN])
@pytest.mark.parametrize("path", VENUE, ids=str)
def test_every_permutation_ends_in_the_same_state(house, kind, path):
    books = Books(house)
    events = VENUE[path]
    expected = run(books, kind, events)
    assert expected[1] == expected[2], "every trade was seen"
    for permutation in permutations(events):
        assert run(books, kind, permutation) == expected


@pytest.mark.parametrize("path", OURS, ids=str)
def test_answers_and_deadlines_change_nothing_in_the_end(house, path):
    books = Books(house)
    expected = run(books, OWN, OURS[path])
    for permutation in permutations(OURS[path]):
        assert run(books, OWN, permutation) == expected


@pytest.mark.parametrize("path", AMENDED, ids=str)
def test_an_amend_on_its_way_makes_no_overfill(house, path):
    books = Books(house)
    expected = run(books, OWN, AMENDED[path], is_amended=True)
    assert not expected[5]
    for permutation in permutations(AMENDED[path]):
        assert run(books, OWN, permutation, is_amended=True) == expected


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_repeated_and_reordered_messages_end_in_the_same_state(shared_books, data):
    kind = data.draw(st.sampled_from([OWN, ADOPTED, FOREIGN]))
    events = VENUE[data.draw(st.sampled_from(sorted(VENUE)))]
    expected = run(shared_books, kind, events)
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=5))
    assert run(shared_books, kind, data.draw(st.permutations(repeated))) == expected


@pytest.fixture
def shared_books(house) -> Books:
    return Books(house)
