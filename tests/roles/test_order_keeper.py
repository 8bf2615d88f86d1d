"""Execution's books survive the death of their keeper between any two of their stores."""

from __future__ import annotations

from typing import Any

import pytest

from hft import graph
from hft.core.generated.views import Decision, Execution
from hft.core.orders import Order
from hft.records import Action, ExecKind, Flag, OrderState, Reason, Side
from hft.roles.order_keeper import Fill, OrderKeeper, entry_crc
from hft.roles.order_stores import BooksError
from hft.units import E8

NOW_NS = 1_000


class Died(Exception):
    """The process ended here."""


def make_order(order_id: int = 1 << 56 | 7, decision_seq: int = 3) -> Order:
    return Order(
        order_id=order_id,
        instrument_id=1,
        strategy_id=1,
        side=Side.BUY,
        price_e8=100 * E8,
        qty_e8=2 * E8,
        decision_seq=decision_seq,
    )


def fill(trade_id: int, qty_e8: int) -> Fill:
    return Fill(
        trade_id=trade_id, price_e8=100 * E8, qty_e8=qty_e8, fee_e8=5, fee_asset_id=1, is_maker=True
    )


def executions(context: Any, start_seq: int = 1) -> list[tuple[ExecKind, int, int]]:
    reader, buffer = context.observer("executions", start_seq)
    record = Execution(buffer)
    found = []
    while reader.next():
        found.append((ExecKind(record.exec_kind), record.order_id, record.trade_id))
    return found


def place(keeper: OrderKeeper, order: Order) -> None:
    keeper.table.add(order)
    keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
    order.place_sent(NOW_NS)
    keeper.sent(order, now_ns=NOW_NS, origin_ns=NOW_NS)


def apply_fill(keeper: OrderKeeper, order: Order, one: Fill) -> None:
    kind = order.fill(one.trade_id, one.qty_e8, one.price_e8)
    keeper.change(order, kind, now_ns=NOW_NS, fill=one)


def test_successor_finds_the_open_order_and_its_fills(house):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    order = make_order()
    place(keeper, order)
    keeper.change(order, order.acknowledge(99, NOW_NS), now_ns=NOW_NS)
    apply_fill(keeper, order, fill(11, E8))
    house.end(context)

    successor = OrderKeeper(house.context("execution"))
    assert successor.recover(NOW_NS) == 3
    found = successor.table.get(order.order_id)
    assert found is not None
    assert (found.state, found.cum_qty_e8, found.leaves_qty_e8) == (OrderState.WORKING, E8, E8)
    assert found.fill(11, E8, 100 * E8) is ExecKind.UNKNOWN, "the trade was counted before"


def test_closed_orders_leave_the_table(house):
    keeper = OrderKeeper(house.context("execution"))
    order = make_order()
    place(keeper, order)
    apply_fill(keeper, order, fill(11, 2 * E8))
    assert len(keeper.table) == 0
    assert keeper.table.was_closed(order.order_id)


def test_closed_order_with_missing_trades_keeps_its_row(house):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    order = make_order()
    place(keeper, order)
    keeper.change(order, order.canceled(cum_qty_e8=E8), now_ns=NOW_NS)
    house.end(context)
    successor = OrderKeeper(house.context("execution"))
    successor.recover(NOW_NS)
    found = successor.table.get(order.order_id)
    assert found is not None
    assert found.is_terminal
    # A row cannot say which trades are missing, so the successor has to ask the venue.
    assert found.cum_qty_e8 == E8


@pytest.mark.parametrize("step", ["_publish", "_store", "settle"])
@pytest.mark.parametrize("what", ["sent", "fill", "canceled"])
def test_death_between_two_stores_loses_and_doubles_nothing(house, monkeypatch, step, what):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    order = make_order()
    if what != "sent":
        place(keeper, order)

    def die(*_arguments: object, **_named: object) -> None:
        raise Died

    work = {
        "sent": lambda: place(keeper, order),
        "fill": lambda: apply_fill(keeper, order, fill(11, E8)),
        "canceled": lambda: keeper.change(order, order.canceled(), now_ns=NOW_NS),
    }[what]
    with monkeypatch.context() as patch:
        patch.setattr(keeper, step, die)
        patch.setattr(keeper, "_calls_by_name", True)
        with pytest.raises(Died):
            work()
    house.end(context)

    after = house.context("execution")
    successor = OrderKeeper(after)
    assert successor.recover(NOW_NS) == 3
    records = executions(after)
    expected = {
        "sent": [ExecKind.SENT],
        "fill": [ExecKind.SENT, ExecKind.FILL],
        "canceled": [ExecKind.SENT, ExecKind.CANCELED],
    }[what]
    assert [kind for kind, _, _ in records] == expected
    found = successor.table.get(order.order_id)
    if what == "canceled":
        assert found is None
    else:
        assert found is not None
        assert found.cum_qty_e8 == (E8 if what == "fill" else 0)
    # A second recovery changes nothing.
    house.end(after)
    again = house.context("execution")
    OrderKeeper(again).recover(NOW_NS)
    assert executions(again) == records


def test_journalled_but_unsent_order_is_found_as_unanswered(house, monkeypatch):
    """Death between journal and socket: the order may have left, so it is not forgotten."""
    context = house.context("execution")
    keeper = OrderKeeper(context)
    order = make_order()
    keeper.table.add(order)
    keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
    house.end(context)
    successor = OrderKeeper(house.context("execution"))
    successor.recover(NOW_NS)
    found = successor.table.get(order.order_id)
    assert found is not None
    assert found.pending is Action.PLACE
    assert found.unresolved(NOW_NS) is ExecKind.UNRESOLVED


def make_decision(reason: Reason = Reason.NONE, action: Action = Action.PLACE) -> Decision:
    decision = Decision()
    decision.seq, decision.order_id, decision.instrument_id = 9, 1 << 56 | 8, 1
    decision.strategy_id, decision.side, decision.action = 1, 1, int(action)
    decision.price_e8, decision.qty_e8, decision.reason = 100 * E8, E8, int(reason)
    return decision


def test_refused_decision_is_journalled_but_not_published(house):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    keeper.refuse(make_decision(Reason.POSITION_MAX), None, Reason.POSITION_MAX, NOW_NS)
    assert executions(context) == []
    house.end(context)
    assert OrderKeeper(house.context("execution")).recover(NOW_NS) == 9


def test_dropped_decision_is_published_once_although_its_keeper_died(house, monkeypatch):
    context = house.context("execution")
    keeper = OrderKeeper(context)

    def die(*_arguments: object) -> None:
        raise Died

    monkeypatch.setattr(keeper, "_publish_drop", die)
    with pytest.raises(Died):
        keeper.refuse(make_decision(), None, Reason.PERMIT_EXPIRED, NOW_NS)
    house.end(context)
    after = house.context("execution")
    OrderKeeper(after).recover(NOW_NS)
    assert [kind for kind, _, _ in executions(after)] == [ExecKind.DROPPED]
    reader, buffer = after.observer("executions", 1)
    record = Execution(buffer)
    assert reader.next()
    assert record.flags & Flag.REPLAYED
    assert record.reason == Reason.PERMIT_EXPIRED


def test_damaged_journal_is_refused(house):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    place(keeper, make_order())
    writer, buffer = context.ring_writer("journal")
    from hft.core.generated.views import Journal

    entry = Journal(buffer)
    entry.order_id, entry.crc = 5, entry_crc(buffer) ^ 1
    writer.offer()
    entry.crc = entry_crc(buffer)
    writer.offer()
    house.end(context)
    with pytest.raises(BooksError, match="damaged"):
        OrderKeeper(house.context("execution")).recover(NOW_NS)


def test_slow_reader_fills_the_outbox_and_nothing_is_lost(house):
    context = house.context("execution")
    keeper = OrderKeeper(context)
    capacity = graph.ring("executions").capacity
    order = make_order()
    place(keeper, order)
    for trade_id in range(1, capacity + 50):
        order.fill(trade_id, 1, 100 * E8)
        keeper.change(order, ExecKind.FILL, now_ns=NOW_NS, fill=fill(trade_id, 1))
    assert keeper.is_congested
    assert keeper.flush() == 0
    for role in ("account", "risk"):
        reader, buffer = house.context(role).ring_reader("executions")
        record = Execution(buffer)
        seen = []
        while reader.next():
            seen.append(record.trade_id)
        reader.commit()
    assert keeper.flush() > 0
    assert not keeper._outbox
    total = [trade_id for _, _, trade_id in executions(context, capacity)]
    assert total[-1] == capacity + 49
