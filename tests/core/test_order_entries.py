"""Orders as records: every field, and the checksum that zlib computes."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.generated.views import Decision, Execution, Journal
from hft.core.order_entries import entry_crc, fill_entry, fill_record, head_entry, head_record
from hft.core.orders import Order, kind_of
from hft.core.trade_memory import TradeMemory
from hft.graph import RingId
from hft.records import (
    Action,
    ExecKind,
    Flag,
    JournalKind,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.units import E8


def decision() -> Decision:
    view = Decision()
    view.order_id, view.instrument_id, view.strategy_id = 1 << 56 | 9, 3, 1
    view.side, view.order_type, view.tif = int(Side.SELL), int(OrderType.LIMIT), int(Tif.GTD)
    view.price_e8, view.qty_e8, view.good_till_s = 100 * E8, 4 * E8, 1_900_000_000
    view.is_reduce_only, view.seq, view.origin_ns = 1, 77, 5
    return view


def make_order() -> Order:
    order = Order.of_decision(decision(), TradeMemory(8))
    order.acknowledge(55, 1)
    order.fill(11, E8, 100 * E8, E8)
    return order


@given(st.binary(min_size=128, max_size=128))
def test_checksum_is_that_of_zlib_over_all_but_stamp_time_and_itself(slot):
    expected = zlib.crc32(slot[120:], zlib.crc32(slot[16:116]))
    assert entry_crc(slot) == entry_crc(slot, by_table=True) == expected


@pytest.mark.parametrize("size", [0, 127, 129])
def test_only_whole_slots_have_a_checksum(size):
    with pytest.raises(ValueError, match="128 bytes"):
        entry_crc(bytes(size))


def test_an_order_of_a_decision_is_the_one_that_its_fields_make():
    view, trades = decision(), TradeMemory(8)
    order = Order.of_decision(view, trades)
    plain = Order(
        order_id=view.order_id, instrument_id=3, strategy_id=1, side=Side.SELL,
        price_e8=100 * E8, qty_e8=4 * E8, order_type=OrderType.LIMIT, tif=Tif.GTD,
        is_post_only=False, is_reduce_only=True, good_till_s=1_900_000_000, decision_seq=77,
        origin_ns=5, trades=trades,
    )  # fmt: skip
    names = [name for name in dir(Order) if not name.startswith("_")]
    facts = [name for name in names if not callable(getattr(Order, name))]
    assert len(facts) > 30
    assert {n: getattr(order, n) for n in facts} == {n: getattr(plain, n) for n in facts}
    assert order.kind == kind_of(Side.SELL, OrderType.LIMIT, Tif.GTD, False, True, True)


def test_a_journal_entry_says_everything_of_an_order_and_nothing_of_before():
    entry, order = Journal(bytearray(b"\xff" * 128)), make_order()
    fill_entry(entry, order, Action.AMEND)
    head_entry(entry, 9, JournalKind.UPDATE, ExecKind.AMENDED, Reason.OWN_HALT)
    assert (entry.kind, entry.mode, entry.source) == (Kind.JOURNAL, Mode.LIVE, 9)
    assert (entry.cause_ring, entry.cause_seq) == (RingId.DECISIONS, 77)
    assert (entry.order_id, entry.venue_order_id) == (order.order_id, 55)
    assert (entry.price_e8, entry.qty_e8, entry.cum_qty_e8) == (100 * E8, 4 * E8, E8)
    assert (entry.order_state, entry.side) == (OrderState.WORKING, Side.SELL)
    assert (entry.order_type, entry.tif) == (OrderType.LIMIT, Tif.GTD)
    assert (entry.is_post_only, entry.is_reduce_only) == (0, 1)
    assert (entry.action, entry.good_till_s) == (Action.AMEND, 1_900_000_000)
    assert (entry.journal_kind, entry.exec_kind) == (JournalKind.UPDATE, ExecKind.AMENDED)
    assert (entry.reason, entry.strategy_id, entry.instrument_id) == (Reason.OWN_HALT, 1, 3)
    assert (entry.trade_id, entry.fee_e8, entry.crc, entry.seq, entry.is_maker) == (0,) * 5


def test_an_execution_record_says_how_the_order_stands():
    record, order = Execution(bytearray(b"\xff" * 128)), make_order()
    head_record(record, 9, Flag.LAST | Flag.REPLAYED, 1_234, 42)
    fill_record(record, order, ExecKind.FILL, 99, Reason.OWN_OVERFILL)
    assert (record.kind, record.mode, record.source) == (Kind.EXECUTION, Mode.LIVE, 9)
    assert record.flags == Flag.LAST | Flag.REPLAYED
    assert (record.origin_ns, record.cause_ring, record.cause_seq) == (1_234, RingId.JOURNAL, 42)
    assert (record.order_id, record.venue_order_id) == (order.order_id, 55)
    assert (record.price_e8, record.qty_e8) == (100 * E8, 4 * E8)
    assert (record.cum_qty_e8, record.leaves_qty_e8) == (E8, 3 * E8)
    assert (record.exec_kind, record.side, record.venue_ns) == (ExecKind.FILL, Side.SELL, 99)
    assert (record.order_state, record.reason) == (OrderState.WORKING, Reason.OWN_OVERFILL)
    assert (record.trade_id, record.fee_e8, record.is_maker, record.instrument_id) == (0, 0, 0, 3)


def test_every_kind_of_order_has_a_number_of_its_own():
    kinds = list(itertools.product(Side, OrderType, Tif, *[(False, True)] * 3))
    assert len({kind_of(*kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("odd", [{"side": 3}, {"side": -2}, {"order_type": 200}, {"tif": 16}])
def test_what_is_no_kind_has_no_number(odd):
    words = {"side": 1, "order_type": 1, "tif": 1, **odd}
    assert kind_of(**words, is_post_only=False, is_reduce_only=False, is_dated=False) == -1
