"""A process may die after any prefix of its stores: the successor's books are right all the same.

One change is stored three times, one after the other: journal entry, execution record, row. A run
of random events is ended before each of these stores in turn, and after a journal entry that was
torn while it was written.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hft import graph
from hft.core.generated.views import Decision, Execution, Journal
from hft.core.generated.views import Order as OrderRow
from hft.core.orders import Order
from hft.records import (
    JOURNAL,
    SLOT_BYTES,
    Action,
    ExecKind,
    JournalKind,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper, entry_crc
from hft.roles.order_stores import BooksError
from hft.units import E8
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.user_events import OrderUpdate
from hft.venues.binance_usdm.wire import ExecType, OrderStatus
from ipc.layout import HEADER_BYTES

BTC = 1
PRICE = 100 * E8
QTY = 4
STORES = ("_append", "_send_record", "_store", "settle")
Step = Callable[[OrderKeeper, OrderEvents], None]


class Died(Exception):
    """The process ended here."""


def message(
    number: int,
    kind: str,
    cum: int,
    *,
    is_foreign: bool = False,
    last: int = 0,
    trade: int = 0,
) -> Step:
    """The venue's event about order ``number``; repeating it must do no harm."""
    status = kind if kind in ("NEW", "CANCELED", "EXPIRED") else "PARTIALLY_FILLED"
    order_id = 0 if is_foreign else 1 << 56 | number
    update = OrderUpdate(
        symbol="BTCUSDT", order_id=order_id, venue_order_id=1_000 + number,
        client_order_id="web_x" if is_foreign else client_order_id(order_id),
        side=Side.BUY if number % 2 else Side.SELL, order_type=OrderType.LIMIT, tif=Tif.GTC,
        is_post_only=False, is_reduce_only=False, exec_type=ExecType[kind],
        status=OrderStatus.FILLED if cum == QTY else OrderStatus[status],
        price_e8=PRICE, qty_e8=QTY * E8, cum_qty_e8=cum * E8, average_price_e8=0,
        last_price_e8=PRICE if last else 0, last_qty_e8=last * E8, trade_id=trade, is_maker=True,
        fee_e8=1, fee_asset="USDT", realised_pnl_e8=0, position_side="BOTH", reason=Reason.NONE,
        expiry_code="0", transaction_ns=number, event_ns=number,
    )  # fmt: skip
    return lambda _keeper, events: events.on_update(update, 5)


def place(number: int) -> Step:
    def step(keeper: OrderKeeper, _events: OrderEvents) -> None:
        order = Order(
            order_id=1 << 56 | number, instrument_id=BTC, strategy_id=1,
            side=Side.BUY if number % 2 else Side.SELL, price_e8=PRICE, qty_e8=QTY * E8,
            decision_seq=number,
        )  # fmt: skip
        keeper.table.add(order)
        keeper.begin(order, Action.PLACE, price_e8=PRICE, qty_e8=order.qty_e8)
        order.place_sent(1)
        keeper.sent(order, now_ns=1, origin_ns=1)

    return step


def cancel(number: int) -> Step:
    def step(keeper: OrderKeeper, _events: OrderEvents) -> None:
        order = keeper.table.get(1 << 56 | number)
        if order is not None and not order.is_terminal:
            order.cancel_sent(2)
            keeper.begin(order, Action.CANCEL, price_e8=PRICE, qty_e8=order.qty_e8)
            keeper.settle()

    return step


def refuse(number: int) -> Step:
    def step(keeper: OrderKeeper, _events: OrderEvents) -> None:
        decision = Decision()
        decision.seq, decision.order_id, decision.instrument_id = number, 1 << 56 | number, BTC
        decision.strategy_id, decision.side, decision.action = 1, 1, int(Action.PLACE)
        decision.price_e8, decision.qty_e8 = PRICE, E8
        keeper.refuse(decision, None, Reason.PERMIT_EXPIRED, 3)

    return step


def random_run(seed: int) -> tuple[list[Step], list[Step], set[int]]:
    """Everything in its sequence, the venue's messages alone, and all trades there are."""
    chance = random.Random(seed)
    lives, trades = [], set()
    for number in range(1, 6):
        is_foreign = number in (2, 5)
        own = {"is_foreign": is_foreign}
        life: list[tuple[bool, Step]] = [] if is_foreign else [(False, place(number))]
        life.append((True, message(number, "NEW", 0, **own)))
        cum = 0
        while cum < QTY and chance.random() < 0.8:
            last = chance.randint(1, QTY - cum)
            cum += last
            trade = 100 * number + cum
            trades.add(trade)
            life.append((True, message(number, "TRADE", cum, last=last, trade=trade, **own)))
        if cum < QTY and chance.random() < 0.8:
            if not is_foreign:
                life.append((False, cancel(number)))
            life.append((True, message(number, "CANCELED", cum, **own)))
        lives.append(life)
    lives.append([(False, refuse(50))])
    steps = []
    while any(lives):
        life = chance.choice([one for one in lives if one])
        steps.append(life.pop(0))
    return [step for _, step in steps], [step for is_venue, step in steps if is_venue], trades


class Killer:
    """Ends the process before its ``death``-th store, or right after a torn journal entry."""

    def __init__(self, keeper: OrderKeeper, patch: pytest.MonkeyPatch, death: int) -> None:
        self._left = death
        patch.setattr(keeper, "_calls_by_name", True)
        for name in STORES:
            patch.setattr(keeper, name, self._wrapped(getattr(keeper, name)))

    def _wrapped(self, store: Callable[..., Any]) -> Callable[..., Any]:
        def stored(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left <= 0:
                raise Died
            return store(*arguments, **named)

        return stored


def tear_last_entry(context: Any) -> int:
    """Write an entry whose bytes are not all there; returns its number."""
    writer, buffer = context.ring_writer("journal")
    entry = Journal(buffer)
    entry.order_id, entry.journal_kind = 1 << 56 | 77, int(JournalKind.PLACE)
    entry.side, entry.qty_e8, entry.exec_kind = 1, E8, int(ExecKind.SENT)
    entry.crc = entry_crc(buffer) ^ 1
    writer.offer()
    return int(writer.next_seq - 1)


def damage_entry(context: Any, seq: int) -> None:
    """Another checksum than that of the entry."""
    memory, capacity = context._segments["journal"].buffer, graph.ring("journal").capacity
    fields = JOURNAL.dtype.fields
    assert fields is not None
    crc = HEADER_BYTES + ((seq - 1) & (capacity - 1)) * SLOT_BYTES + fields["crc"][1]
    memory[crc] ^= 1


def records(context: Any) -> list[tuple[int, ...]]:
    reader, buffer = context.observer("executions", 1)
    record, found = Execution(buffer), []
    while reader.next():
        found.append(
            (record.cause_seq, record.order_id, record.exec_kind, record.trade_id, record.qty_e8)
        )
    return found


def entries(context: Any) -> list[tuple[int, int, int]]:
    """Number, exec kind and trade of every good entry."""
    reader, buffer = context.observer("journal", 1)
    entry, found = Journal(buffer), []
    while reader.next():
        if entry.crc == entry_crc(buffer):
            found.append((entry.seq, entry.exec_kind, entry.trade_id))
    return found


def rows(context: Any) -> list[bytes]:
    reader, buffer = context.cell_reader("orders")
    row, found = OrderRow(buffer), []
    for index in range(graph.ORDER_ROWS_MAX):
        if reader.read(index) and row.order_id:
            found.append(bytes(buffer))
    return found


def table(keeper: OrderKeeper) -> dict[int, tuple[Any, ...]]:
    return {
        order.order_id: (order.state, order.cum_qty_e8, order.traded_qty_e8, order.reason)
        for order in keeper.table
    }


def check(context: Any, keeper: OrderKeeper) -> None:
    owed = [seq for seq, exec_kind, _ in entries(context) if exec_kind]
    published = [record[0] for record in records(context)]
    assert sorted(published) == owed, "one record for each entry that announces one"
    fills = Counter(record[3] for record in records(context) if record[2] == ExecKind.FILL)
    assert set(fills.values()) <= {1}, "each fill at most once"
    booked = Counter[int]()
    for _, order_id, exec_kind, _, qty_e8 in records(context):
        if exec_kind == ExecKind.FILL:
            booked[order_id] += qty_e8
    for order in keeper.table:
        assert order.traded_qty_e8 == booked[order.order_id]
        assert order.traded_qty_e8 <= order.cum_qty_e8 <= order.qty_e8


@pytest.fixture
def new_house(house: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A house of one's own, again and again; the one before is removed."""
    built: list[Any] = []

    def build() -> Any:
        while built:
            built.pop().close()
        run_dir = tmp_path / "again"
        run_dir.mkdir(exist_ok=True)
        built.append(type(house)(f"{house.plan.name}x", run_dir))
        return built[0]

    yield build
    while built:
        built.pop().close()


def die_and_recover(
    house: Any, steps: list[Step], death: int, patch: pytest.MonkeyPatch, *, is_torn: bool
) -> tuple[Any, OrderKeeper, bool]:
    """Run until the death; returns the successor's context and keeper, and whether it died."""
    context = house.context("execution")
    keeper = OrderKeeper(context)
    keeper.recover(0)
    events = OrderEvents(context.page, keeper)
    Killer(keeper, patch, death)
    has_died = False
    try:
        for step in steps:
            step(keeper, events)
    except Died:
        has_died = True
    if is_torn:
        tear_last_entry(context)
    house.end(context)
    context = house.context("execution")
    successor = OrderKeeper(context)
    successor.recover(9)
    return context, successor, has_died


@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_prefix_recovers(new_house, monkeypatch, seed, is_torn):
    steps, said, trades = random_run(seed)
    death, has_died = 0, True
    while has_died:
        death += 1
        house = new_house()
        context, keeper, has_died = die_and_recover(
            house, steps, death, monkeypatch, is_torn=is_torn
        )
        check(context, keeper)
        before = records(context), rows(context), table(keeper)
        house.end(context)

        context = house.context("execution")
        again = OrderKeeper(context)
        again.recover(10)
        assert (records(context), rows(context), table(again)) == before, "twice is once"

        # The venue tells everything once more, as the lists and trades after a gap do.
        events = OrderEvents(context.page, again)
        for step in said:
            step(again, events)
        check(context, again)
        fills = [record[3] for record in records(context) if record[2] == ExecKind.FILL]
        assert sorted(fills) == sorted(trades), "each trade exactly once"
        for order in again.table:
            assert order.missing_qty_e8 == 0
            assert order.state in (OrderState.WORKING, OrderState.PENDING_NEW)
    assert death > 40


def test_torn_entry_is_void_for_every_later_life(new_house):
    house = new_house()
    context = house.context("execution")
    keeper = OrderKeeper(context)
    place(1)(keeper, OrderEvents(context.page, keeper))
    tear_last_entry(context)
    tear_last_entry(context)
    house.end(context)
    for number in range(2, 5):
        context = house.context("execution")
        keeper = OrderKeeper(context)
        keeper.recover(1)
        assert len(keeper.table) == number - 1
        place(number)(keeper, OrderEvents(context.page, keeper))
        house.end(context)


@pytest.mark.parametrize("is_settled", [False, True])
def test_damage_that_others_built_upon_ends_the_process(new_house, is_settled):
    """A bad entry in the middle, or one that its writer has reported as settled."""
    house = new_house()
    context = house.context("execution")
    keeper = OrderKeeper(context)
    events = OrderEvents(context.page, keeper)
    place(1)(keeper, events)
    place(2)(keeper, events)
    damage_entry(context, keeper._journal_seq)
    if not is_settled:
        place(3)(keeper, events)
    house.end(context)
    with pytest.raises(BooksError, match="damaged"):
        OrderKeeper(house.context("execution")).recover(1)


def test_outbox_of_a_dead_process_is_published_once(new_house):
    """Readers stood still, records waited, some of them went out, and then the keeper died."""
    house = new_house()
    context = house.context("execution")
    keeper = OrderKeeper(context)
    events = OrderEvents(context.page, keeper)
    capacity = graph.ring("executions").capacity
    count = capacity + 900
    for number in range(1, count):
        message(1, "TRADE", 1, last=1, trade=number, is_foreign=True)(keeper, events)
    readers = [house.context(role).ring_reader("executions") for role in ("account", "risk")]
    seen: list[list[int]] = [[], []]

    def drain(records_max: int) -> None:
        for (reader, buffer), trades in zip(readers, seen, strict=True):
            record = Execution(buffer)
            for _ in range(records_max):
                if not reader.next():
                    break
                if record.exec_kind == ExecKind.FILL:
                    trades.append(record.trade_id)
            reader.commit()

    drain(600)
    assert keeper.flush() == 600
    house.end(context)
    successor = OrderKeeper(house.context("execution"))
    successor.recover(1)
    drain(2 * capacity)
    successor.flush()
    drain(2 * capacity)
    assert seen[0] == seen[1] == list(range(1, count))
