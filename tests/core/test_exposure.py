"""Exposure of what is not ours: adopted orders and adjusted positions, and rebuilding from both."""

from __future__ import annotations

import random

import pytest

from hft.core.exposure import Exposure
from hft.core.generated.views import Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import foreign_order_id, is_foreign, make_order_id
from hft.records import ExecKind, Kind, OrderState, Side
from hft.units import E8

BTC = 1
FOREIGN = foreign_order_id(BTC, 9_123_300_451)
LARGEST = foreign_order_id(127, 2**56 - 1)


class Ring:
    """Numbers the records that one exposure gets."""

    def __init__(self, exposure: Exposure) -> None:
        self.exposure = exposure
        self.seq = 0
        self.past: list[Execution] = []

    def tell(
        self, kind: ExecKind, order_id: int = FOREIGN, *, qty: int = 0, cum: int = 0,
        leaves: int = 0, trade_id: int = 0, side: int = Side.BUY,
        state: OrderState = OrderState.WORKING,
    ) -> None:  # fmt: skip
        record = Execution()
        self.seq += 1
        record.seq, record.kind, record.instrument_id = self.seq, int(Kind.EXECUTION), BTC
        record.order_id, record.exec_kind, record.side = order_id, int(kind), int(side)
        record.qty_e8, record.cum_qty_e8 = qty * E8, cum * E8
        record.leaves_qty_e8, record.trade_id = leaves * E8, trade_id
        record.order_state = int(state)
        self.past.append(record)
        self.exposure.on_execution(record)


@pytest.fixture
def exposure() -> Exposure:
    return Exposure([BTC])


@pytest.fixture
def ring(exposure: Exposure) -> Ring:
    return Ring(exposure)


@pytest.mark.parametrize("order_id", [FOREIGN, LARGEST, make_order_id(5, 77, 3)])
def test_adopted_order_counts_until_it_is_closed(exposure, ring, order_id):
    ring.tell(ExecKind.ADOPTED, order_id, qty=5, leaves=5)
    assert exposure.holds(order_id)
    assert exposure.worst_long_e8(BTC) == 5 * E8
    ring.tell(ExecKind.FILL, order_id, qty=2, cum=2, leaves=3, trade_id=1)
    assert exposure.position_e8(BTC) == 2 * E8
    assert exposure.worst_long_e8(BTC) == 5 * E8
    ring.tell(ExecKind.CANCELED, order_id, qty=5, cum=2, state=OrderState.CANCELED)
    assert exposure.worst_long_e8(BTC) == 2 * E8
    assert exposure.open_orders(BTC) == 0
    assert not exposure.holds(order_id)


def test_foreign_ids_collide_with_no_own_id():
    assert is_foreign(FOREIGN)
    assert is_foreign(LARGEST)
    assert LARGEST < 2**64
    assert not is_foreign(make_order_id(127, 2**32 - 1, 2**24 - 1))


def test_other_records_of_an_unknown_order_are_ignored_but_its_fills_move_the_position(
    exposure, ring
):
    ring.tell(ExecKind.ACK, qty=5, leaves=5)
    assert exposure.open_orders(BTC) == 0
    ring.tell(ExecKind.FILL, qty=2, cum=2, leaves=3, trade_id=1)
    assert exposure.open_orders(BTC) == 0
    assert exposure.position_e8(BTC) == 2 * E8


def test_order_that_was_over_when_it_was_adopted_never_counts(exposure, ring):
    ring.tell(ExecKind.ADOPTED, qty=5, cum=5, state=OrderState.FILLED)
    assert exposure.open_orders(BTC) == 0


def test_what_had_executed_before_the_adoption_is_not_open(exposure, ring):
    ring.tell(ExecKind.ADOPTED, qty=10, cum=4, leaves=6)
    assert exposure.worst_long_e8(BTC) == 6 * E8
    ring.tell(ExecKind.EXPIRED, qty=10, cum=4, state=OrderState.EXPIRED)
    assert exposure.worst_long_e8(BTC) == 0
    assert exposure.open_orders(BTC) == 0


def test_trade_from_before_the_adoption_may_still_be_told(exposure, ring):
    ring.tell(ExecKind.ADOPTED, qty=10, cum=4, leaves=6)
    ring.tell(ExecKind.FILL, qty=4, cum=4, leaves=6, trade_id=1)
    assert exposure.position_e8(BTC) == 4 * E8
    assert exposure.worst_long_e8(BTC) == 10 * E8, "the six are still open"
    ring.tell(ExecKind.FILL, qty=6, cum=10, trade_id=2, state=OrderState.FILLED)
    assert exposure.worst_long_e8(BTC) == 10 * E8
    assert exposure.open_orders(BTC) == 0


def test_adoption_of_a_known_order_changes_nothing(exposure, ring):
    ring.tell(ExecKind.ADOPTED, qty=5, leaves=5)
    ring.tell(ExecKind.ADOPTED, qty=5, leaves=5)
    assert exposure.open_orders(BTC) == 1
    assert exposure.worst_long_e8(BTC) == 5 * E8


def test_foreign_order_does_not_use_up_own_ids(exposure, ring):
    """Ids of one source only ever grow: a foreign one, far above them all, is none of them."""
    ring.tell(ExecKind.ADOPTED, LARGEST, qty=5, leaves=5)
    ring.tell(ExecKind.ADOPTED, make_order_id(1, 7, 1), qty=1, leaves=1)
    assert exposure.open_orders(BTC) == 2


def test_adjustment_moves_position_and_worst_case(exposure, ring):
    ring.tell(ExecKind.ADOPTED, qty=5, leaves=5)
    exposure.adjust_position(BTC, -7 * E8)
    assert exposure.position_e8(BTC) == -7 * E8
    assert exposure.worst_long_e8(BTC) == -2 * E8
    assert exposure.worst_short_e8(BTC) == -7 * E8


def test_row_of_a_foreign_order_counts_in_a_rebuild():
    exposure = Exposure([BTC])
    row = OrderRow()
    row.instrument_id, row.order_id, row.side = BTC, FOREIGN, int(Side.SELL)
    row.qty_e8, row.cum_qty_e8, row.traded_qty_e8 = 10 * E8, 4 * E8, 4 * E8
    row.order_state = int(OrderState.WORKING)
    exposure.add_open_order(row)
    assert exposure.worst_short_e8(BTC) == -6 * E8


def test_row_of_an_adopted_order_counts_what_is_open_whatever_of_its_trades_was_told():
    exposure = Exposure([BTC])
    row = OrderRow()
    row.instrument_id, row.order_id, row.side = BTC, FOREIGN, int(Side.BUY)
    row.qty_e8, row.cum_qty_e8 = 10 * E8, 4 * E8
    row.order_state = int(OrderState.WORKING)
    exposure.add_open_order(row)
    assert exposure.worst_long_e8(BTC) == 6 * E8
    ring = Ring(exposure)
    ring.tell(ExecKind.CANCELED, qty=10, cum=4, state=OrderState.CANCELED)
    assert exposure.open_orders(BTC) == 0


def test_thousands_of_ids_of_both_kinds_are_told_apart(exposure, ring):
    choose = random.Random(3)
    open_ids: set[int] = set()
    for number in range(1, 4_000):
        if open_ids and choose.random() < 0.45:
            order_id = choose.choice(sorted(open_ids))
            open_ids.discard(order_id)
            ring.tell(ExecKind.CANCELED, order_id, qty=1, state=OrderState.CANCELED)
        else:
            order_id = choose.choice(
                (foreign_order_id(BTC, number), make_order_id(1 + number % 3, 9, number))
            )
            open_ids.add(order_id)
            ring.tell(ExecKind.ADOPTED, order_id, qty=1, leaves=1)
    assert exposure.open_orders(BTC) == len(open_ids)
    assert exposure.worst_long_e8(BTC) == len(open_ids) * E8
    assert all(exposure.holds(order_id) for order_id in open_ids)


@pytest.mark.parametrize("seed", range(30))
def test_reading_records_again_after_any_of_them_ends_in_the_same_exposure(seed):
    """A successor whose predecessor died before its cursor: rows are newer than what it reads."""
    choose = random.Random(seed)
    ring = Ring(Exposure([BTC]))
    ids = [FOREIGN, make_order_id(1, 7, 1), foreign_order_id(BTC, 5)]
    cum = dict.fromkeys(ids, 0)
    for order_id in ids:
        ring.tell(ExecKind.ADOPTED, order_id, qty=9, leaves=9)
    for trade_id in range(1, choose.randrange(2, 12)):
        order_id = choose.choice(ids)
        if cum[order_id] < 9:
            cum[order_id] += 1
            leaves = 9 - cum[order_id]
            state = OrderState.WORKING if leaves else OrderState.FILLED
            ring.tell(
                ExecKind.FILL, order_id, qty=1, cum=cum[order_id], leaves=leaves,
                trade_id=trade_id, state=state,
            )  # fmt: skip
    live = ring.exposure
    successor = Exposure([BTC])
    as_of_seq = choose.randrange(ring.seq + 1)
    filled = sum(r.qty_e8 for r in ring.past[:as_of_seq] if r.exec_kind == ExecKind.FILL)
    successor.add_position(BTC, filled, as_of_seq)
    for order_id in ids:
        if cum[order_id] < 9:
            row = OrderRow()
            row.instrument_id, row.order_id, row.side = BTC, order_id, int(Side.BUY)
            row.qty_e8 = 9 * E8
            row.cum_qty_e8 = row.traded_qty_e8 = cum[order_id] * E8
            row.order_state, row.executions_seq = int(OrderState.WORKING), ring.seq
            successor.add_open_order(row)
    for record in ring.past:
        successor.on_execution(record)
    assert successor.position_e8(BTC) == live.position_e8(BTC)
    assert successor.worst_long_e8(BTC) == live.worst_long_e8(BTC)
    assert successor.open_orders(BTC) == live.open_orders(BTC)
