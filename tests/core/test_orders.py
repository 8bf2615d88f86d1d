from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import foreign_order_id
from hft.core.order_table import CLOSED_MAX, FOREIGN_MAX, OrderTable
from hft.core.orders import Order
from hft.core.trade_memory import TradeMemory
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif
from hft.units import E8

PRICE = 100 * E8
QTY = 10 * E8
Event = Callable[[Order], ExecKind]


def make_order(order_id: int = 1, qty_e8: int = QTY) -> Order:
    order = Order(
        order_id=order_id,
        instrument_id=5,
        strategy_id=1,
        side=Side.BUY,
        price_e8=PRICE,
        qty_e8=qty_e8,
    )
    order.place_sent(1_000)
    return order


def ack(order: Order) -> ExecKind:
    return order.acknowledge(77, 2_000)


def fill(trade_id: int, qty: int, cum: int = 0) -> Event:
    return lambda order: order.fill(trade_id, qty * E8, PRICE, cum * E8)


def canceled(cum: int) -> Event:
    return lambda order: order.canceled(cum * E8)


def expired(cum: int) -> Event:
    return lambda order: order.expired(cum * E8)


def queried(state: OrderState, cum: int) -> Event:
    return lambda order: order.from_query(state, cum * E8, PRICE, QTY, 77, now_ns=3_000)


def final(order: Order) -> tuple[OrderState, int, int, int, int]:
    return (
        order.state,
        order.cum_qty_e8,
        order.leaves_qty_e8,
        order.traded_qty_e8,
        order.worst_case_qty_e8,
    )


def run(events: Sequence[Event], prepare: Callable[[Order], object] | None = None) -> Order:
    order = make_order()
    if prepare is not None:
        prepare(order)
    fills = 0
    was_terminal = False
    for event in events:
        fills += event(order) is ExecKind.FILL
        assert order.is_terminal or not was_terminal, "terminal is final"
        was_terminal = order.is_terminal
        if not order.is_terminal:
            assert order.cum_qty_e8 + order.leaves_qty_e8 == order.qty_e8
    known = (order.trades.knows(order.instrument_id, number, order.side) for number in (1, 2, 3))
    assert fills == sum(known)
    return order


PATHS = {
    "filled in two": [ack, fill(1, 4, 4), fill(2, 6, 10), queried(OrderState.FILLED, 10)],
    "trade notice before everything": [fill(1, 4), ack, fill(1, 4, 4), fill(2, 6, 10)],
    "partly filled, then cancelled": [ack, fill(1, 4, 4), canceled(4)],
    "queried while a fill is on its way": [
        ack,
        queried(OrderState.WORKING, 4),
        fill(1, 4, 4),
        canceled(4),
    ],
    "late fill of a cancelled order": [ack, canceled(4), fill(1, 1, 1), fill(2, 3, 4)],
    "rest of an immediate order expires": [ack, fill(1, 3, 3), expired(3)],
    "post-only refused in the reply and expired on the stream": [
        lambda order: order.rejected(Reason.VENUE_POST_ONLY),
        expired(0),
    ],
    "three trades and a query": [
        ack,
        fill(1, 3, 3),
        fill(2, 3, 6),
        fill(3, 4, 10),
        queried(OrderState.FILLED, 10),
    ],
}


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_every_order_of_the_same_events_ends_in_the_same_state(path: str) -> None:
    events = PATHS[path]
    expected = final(run(events))
    for permutation in itertools.permutations(events):
        assert final(run(permutation)) == expected


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_duplicated_and_reordered_events_change_nothing(path: str) -> None:
    events = PATHS[path][:3]
    expected = final(run(events))
    for permutation in itertools.permutations(events * 2):
        assert final(run(permutation)) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_venue_history_seen_in_any_order_with_repeats_ends_where_the_venue_ended(
    data: st.DataObject,
) -> None:
    trades = data.draw(st.lists(st.integers(1, 4), max_size=3))
    cum = sum(trades)
    events: list[Event] = [ack]
    for trade_id, _qty in enumerate(trades, start=1):
        events.append(fill(trade_id, trades[trade_id - 1], sum(trades[:trade_id])))
    is_filled = cum >= 10
    if not is_filled and data.draw(st.booleans()):
        events.append(canceled(cum))
    trades_total = min(cum, 12)
    order_qty = max(10, trades_total) * E8
    sequence = data.draw(st.permutations(events)) + data.draw(
        st.lists(st.sampled_from(events), max_size=3)
    )
    order = make_order(qty_e8=order_qty)
    fills = [event(order) for event in sequence].count(ExecKind.FILL)
    assert fills == len(trades)
    assert order.cum_qty_e8 == order.traded_qty_e8 == cum * E8
    if cum * E8 == order_qty:
        assert order.state is OrderState.FILLED
    else:
        assert order.state is (
            OrderState.CANCELED if len(events) > len(trades) + 1 else OrderState.WORKING
        )


def test_each_fact_is_reported_once() -> None:
    order = make_order()
    kinds = [event(order) for event in (ack, ack, fill(1, 4, 4), fill(1, 4, 4), canceled(4))]
    assert kinds == [ExecKind.ACK, ExecKind.UNKNOWN, ExecKind.FILL, ExecKind.UNKNOWN,
                     ExecKind.CANCELED]  # fmt: skip
    assert canceled(4)(order) is ExecKind.UNKNOWN
    assert expired(4)(order) is ExecKind.UNKNOWN


def test_a_fill_acknowledges_the_order() -> None:
    order = make_order()
    assert fill(1, 4, 4)(order) is ExecKind.FILL
    assert order.is_working
    assert not order.is_pending
    assert ack(order) is ExecKind.UNKNOWN
    assert order.venue_order_id == 77


def test_a_quantity_without_its_trades_is_missing_and_still_counts() -> None:
    order = make_order()
    ack(order)
    order.apply_cum(4 * E8)
    assert order.leaves_qty_e8 == 6 * E8
    assert order.missing_qty_e8 == 4 * E8
    assert order.worst_case_qty_e8 == 10 * E8
    assert fill(1, 4, 4)(order) is ExecKind.FILL
    assert order.missing_qty_e8 == 0
    assert order.worst_case_qty_e8 == 6 * E8


def test_closed_by_a_query_the_missing_trades_stay_counted_until_they_are_seen() -> None:
    order = make_order()
    assert queried(OrderState.FILLED, 10)(order) is ExecKind.UNKNOWN
    assert order.is_terminal
    assert order.worst_case_qty_e8 == 10 * E8
    assert fill(9, 10, 10)(order) is ExecKind.FILL
    assert order.worst_case_qty_e8 == 0


def test_a_late_fill_of_a_cancelled_order_counts_and_leaves_it_closed() -> None:
    order = make_order()
    ack(order)
    canceled(0)(order)
    assert fill(1, 4, 4)(order) is ExecKind.FILL
    assert final(order)[:3] == (OrderState.CANCELED, 4 * E8, 0)


def test_more_filled_than_asked_for_is_taken_over_and_shown() -> None:
    order = make_order()
    fill(1, 12, 12)(order)
    assert order.state is OrderState.FILLED
    assert order.is_overfilled
    assert order.cum_qty_e8 == 12 * E8


# -- amends and cancels ---------------------------------------------------------------------------


def working() -> Order:
    order = make_order()
    ack(order)
    return order


def test_an_unanswered_amend_counts_at_the_greater_quantity() -> None:
    order = working()
    assert order.amend_sent(99 * E8, 15 * E8, 3_000) is ExecKind.SENT
    assert order.leaves_qty_e8 == 10 * E8
    assert order.worst_case_qty_e8 == 15 * E8
    assert order.amended(99 * E8, 15 * E8, 50) is ExecKind.AMENDED
    assert order.amended(99 * E8, 15 * E8, 50) is ExecKind.UNKNOWN
    assert (order.price_e8, order.leaves_qty_e8, order.pending) == (99 * E8, 15 * E8, 0)


def test_a_rejected_amend_leaves_the_order_as_it_was() -> None:
    order = working()
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    assert order.amend_rejected(Reason.VENUE_FILTER) is ExecKind.AMEND_REJECTED
    assert order.amend_rejected(Reason.VENUE_FILTER) is ExecKind.UNKNOWN
    assert (order.price_e8, order.worst_case_qty_e8) == (PRICE, QTY)
    assert order.is_working


def test_an_older_amendment_that_comes_late_does_not_bring_its_terms_back() -> None:
    order = working()
    order.amend_sent(99 * E8, QTY, 3_000)
    order.amended(99 * E8, QTY, 50)
    order.amend_sent(98 * E8, QTY, 4_000)
    order.amended(98 * E8, QTY, 50)  # both within one millisecond of the venue's clock
    assert order.amended(99 * E8, QTY, 50) is ExecKind.UNKNOWN
    assert order.price_e8 == 98 * E8


def test_an_amendment_made_elsewhere_is_taken_over_when_it_is_newer() -> None:
    order = working()
    assert order.amended(97 * E8, 8 * E8, 60) is ExecKind.AMENDED
    assert order.amended(90 * E8, 9 * E8, 55) is ExecKind.UNKNOWN
    assert (order.price_e8, order.leaves_qty_e8) == (97 * E8, 8 * E8)


def test_fills_beyond_the_old_quantity_prove_the_unanswered_amend() -> None:
    order = working()
    order.amend_sent(101 * E8, 15 * E8, 3_000)
    assert fill(1, 12, 12)(order) is ExecKind.FILL
    assert (order.qty_e8, order.leaves_qty_e8, order.is_overfilled) == (15 * E8, 3 * E8, False)
    assert order.amended(101 * E8, 15 * E8, 60) is ExecKind.AMENDED
    assert order.pending is Action.UNKNOWN


def test_the_old_quantity_filled_is_no_end_while_a_greater_one_may_be_in_force() -> None:
    order = working()
    order.amend_sent(101 * E8, 15 * E8, 3_000)
    fill(1, 10, 10)(order)
    assert order.is_working
    assert order.worst_case_qty_e8 == 5 * E8
    order.amend_rejected(Reason.VENUE_REJECTED)
    assert order.state is OrderState.FILLED


def test_the_venue_s_word_filled_closes_in_spite_of_an_amend_on_its_way() -> None:
    order = working()
    order.amend_sent(101 * E8, 15 * E8, 3_000)
    order.fill(1, 10 * E8, PRICE, 10 * E8, is_final=True)
    assert order.state is OrderState.FILLED
    assert order.worst_case_qty_e8 == 0


def test_an_amend_and_a_fill_end_the_same_in_either_order() -> None:
    def amend(order: Order) -> ExecKind:
        return order.amended(99 * E8, 15 * E8, 60)

    def ready(order: Order) -> None:
        order.acknowledge(77, 2_000)
        order.amend_sent(99 * E8, 15 * E8, 2_500)

    events = [amend, fill(1, 12, 12), amend, fill(2, 3, 15), fill(1, 12, 12)]
    ends = {final(run(order, ready)) for order in itertools.permutations(events)}
    assert ends == {(OrderState.FILLED, 15 * E8, 0, 15 * E8, 0)}


def test_a_cancel_hides_the_amend_it_overtook_but_not_its_exposure() -> None:
    order = working()
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    order.cancel_sent(3_100, Reason.OWN_HALT)
    assert order.pending is Action.CANCEL
    assert order.worst_case_qty_e8 == 15 * E8
    assert order.amended(99 * E8, 15 * E8, 60) is ExecKind.AMENDED
    assert order.pending is Action.CANCEL
    assert order.canceled(0, order.cancel_reason) is ExecKind.CANCELED
    assert order.reason is Reason.OWN_HALT


def test_a_rejected_cancel_of_an_unknown_order_must_be_asked_about() -> None:
    order = working()
    order.cancel_sent(3_000)
    assert order.cancel_rejected(Reason.VENUE_UNKNOWN_ORDER) is ExecKind.CANCEL_REJECTED
    assert order.state is OrderState.UNRESOLVED
    assert queried(OrderState.CANCELED, 0)(order) is ExecKind.CANCELED


def test_a_cancel_that_overtook_its_place_leaves_the_place_unanswered() -> None:
    order = make_order()
    order.cancel_sent(1_100)
    assert order.cancel_rejected(Reason.VENUE_UNKNOWN_ORDER) is ExecKind.CANCEL_REJECTED
    assert (order.state, order.pending) == (OrderState.PENDING_NEW, Action.PLACE)
    assert ack(order) is ExecKind.ACK


# -- unknown is a state ---------------------------------------------------------------------------


def test_an_unanswered_place_counts_in_full_until_the_venue_settles_it() -> None:
    order = make_order()
    assert order.unresolved(9_000) is ExecKind.UNRESOLVED
    assert order.unresolved(9_500) is ExecKind.UNKNOWN
    assert order.worst_case_qty_e8 == QTY
    assert order.never_accepted() is ExecKind.NEVER_ACCEPTED
    assert order.worst_case_qty_e8 == 0


def test_an_event_settles_an_unresolved_place() -> None:
    order = make_order()
    order.unresolved(9_000)
    assert ack(order) is ExecKind.ACK
    assert order.is_working
    assert order.never_accepted() is ExecKind.UNKNOWN


def test_a_repeated_acknowledgement_does_not_settle_an_unresolved_amend() -> None:
    order = working()
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    assert order.unresolved(9_000) is ExecKind.UNRESOLVED
    ack(order)
    fill(1, 1, 1)(order)
    assert order.state is OrderState.UNRESOLVED
    assert order.worst_case_qty_e8 == 14 * E8


@pytest.mark.parametrize(
    ("price", "qty", "kind"),
    [(99, 15, ExecKind.AMENDED), (100, 10, ExecKind.AMEND_REJECTED)],
)
def test_a_query_settles_an_unresolved_amend(price: int, qty: int, kind: ExecKind) -> None:
    order = working()
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    order.unresolved(9_000)
    result = order.from_query(
        OrderState.WORKING, 0, price * E8, qty * E8, 77, now_ns=9_100, venue_ns=70
    )
    assert result is kind
    assert (order.price_e8, order.qty_e8) == (price * E8, qty * E8)
    assert order.is_working
    assert not order.is_pending


def test_a_query_before_the_deadline_does_not_answer_the_amend() -> None:
    order = working()
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    queried(OrderState.WORKING, 0)(order)
    assert order.pending is Action.AMEND


def test_nothing_is_unresolved_without_a_request() -> None:
    assert working().unresolved(9_000) is ExecKind.UNKNOWN


def test_an_acknowledged_order_cannot_be_rejected_or_dropped() -> None:
    order = working()
    assert order.rejected(Reason.VENUE_MARGIN) is ExecKind.UNKNOWN
    assert order.dropped(Reason.SESSION_DOWN) is ExecKind.UNKNOWN
    assert order.is_working


def test_an_order_whose_bytes_never_left_is_dropped() -> None:
    order = Order(
        order_id=1, instrument_id=5, strategy_id=1, side=Side.SELL, price_e8=PRICE, qty_e8=QTY
    )
    assert order.dropped(Reason.SESSION_DOWN) is ExecKind.DROPPED
    assert order.is_terminal


# -- table ----------------------------------------------------------------------------------------


def test_a_full_table_says_so() -> None:
    table = OrderTable(2)
    assert [table.add(make_order(order_id)) for order_id in (1, 2, 3)] == [0, 1, -1]
    assert table.remove(1) == 0
    assert table.add(make_order(3)) == 0
    assert table.free_rows == 0


def test_orders_are_found_by_either_id_also_when_closed() -> None:
    table = OrderTable(4)
    order = make_order(7)
    table.add(order)
    ack(order)
    table.bind(order)
    assert table.get(7) is table.find_venue(5, 77) is order
    table.remove(7)
    assert table.get(7) is None
    assert table.find(7) is table.find_venue(5, 77) is order
    assert table.was_closed(7)
    assert table.remove(7) == -1


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 127, 128, 255]), st.integers(1, 6), st.booleans()),
        max_size=40,
    )
)
def test_whatever_the_order_of_ids_those_that_came_are_known(
    steps: list[tuple[int, int, bool]],
) -> None:
    table = OrderTable(64)
    known: dict[int, Order] = {}
    for source, number, is_closed in steps:
        order_id = source << 56 | number
        assert table.find(order_id) is known.get(order_id)
        if order_id not in known:
            known[order_id] = make_order(order_id)
            table.add(known[order_id])
        if is_closed:
            table.remove(order_id)
    for source in range(256):
        for number in range(8):
            order_id = source << 56 | number
            assert table.find(order_id) is known.get(order_id)


def test_orders_of_one_table_share_the_memory_of_trades() -> None:
    table = OrderTable(4)
    first, second = make_order(1), make_order(2)
    table.add(first)
    table.add(second)
    assert fill(1, 4, 4)(first) is ExecKind.FILL
    assert fill(1, 4, 4)(second) is ExecKind.UNKNOWN


def test_the_table_can_be_walked_by_state_and_owner_while_orders_leave() -> None:
    table = OrderTable(8)
    for order_id in range(1, 6):
        table.add(make_order(order_id))
    for order_id in (1, 2):
        order = table.get(order_id)
        assert order is not None
        ack(order)
    assert [order.order_id for order in table.working()] == [1, 2]
    assert [order.order_id for order in table.pending()] == [3, 4, 5]
    third = table.get(3)
    assert third is not None
    third.unresolved(9_000)
    assert [order.order_id for order in table.unresolved()] == [3]
    assert len(list(table.of_instrument(5))) == len(list(table.of_strategy(1))) == 5
    assert not list(table.of_instrument(6))
    for order in table:
        table.remove(order.order_id)
    assert len(table) == 0


def test_closed_orders_are_forgotten_oldest_first() -> None:
    table = OrderTable(1)
    for order_id in range(1, CLOSED_MAX + 2):
        table.add(make_order(order_id))
        table.remove(order_id)
    assert not table.was_closed(1)
    assert table.was_closed(2)


def test_a_row_gives_the_order_back() -> None:
    order = working()
    fill(1, 4, 4)(order)
    order.amend_sent(99 * E8, 15 * E8, 3_000)
    order.unresolved(9_000)
    row, again = OrderRow(), OrderRow()
    order.fill_row(row)
    restored = Order.from_row(row)
    restored.fill_row(again)
    assert row.tobytes() == again.tobytes()
    assert final(restored) == final(order)
    assert restored.amended(99 * E8, 15 * E8, 50) is ExecKind.AMENDED


def test_a_restored_order_takes_the_same_row_and_rejects_known_trades() -> None:
    table = OrderTable(4)
    order = working()
    fill(1, 4, 4)(order)
    row = OrderRow()
    order.fill_row(row)
    restored = Order.from_row(row)
    table.put(restored, 3)
    assert table.at(3) is restored
    assert table.row_of(restored.order_id) == 3
    table.trades.add(5, 1, 1)
    assert fill(1, 4, 4)(restored) is ExecKind.UNKNOWN
    assert restored.cum_qty_e8 == 4 * E8


def foreign(venue_order_id: int, reason: Reason = Reason.FOREIGN_ORDER) -> Order:
    return Order.adopt(
        order_id=foreign_order_id(5, venue_order_id),
        venue_order_id=venue_order_id,
        instrument_id=5,
        side=Side.BUY,
        price_e8=PRICE,
        qty_e8=QTY,
        order_type=OrderType.LIMIT,
        tif=Tif.GTC,
        is_post_only=False,
        is_reduce_only=False,
        reason=reason,
        cum_qty_e8=2 * E8,
        venue_ns=7,
    )


def test_an_adopted_order_is_open_and_keeps_saying_whose_it_is() -> None:
    order = foreign(77, Reason.LIQUIDATION)
    assert order.is_working
    assert not order.is_ours
    assert order.is_adopted
    assert not order.is_pending
    assert (order.cum_qty_e8, order.leaves_qty_e8, order.missing_qty_e8) == (
        2 * E8, 8 * E8, 2 * E8,
    )  # fmt: skip
    order.trades_complete(2 * E8)
    assert order.missing_qty_e8 == 0
    assert order.canceled(2 * E8, Reason.OWN_HALT) is ExecKind.CANCELED
    assert order.reason is Reason.LIQUIDATION
    row = OrderRow()
    order.fill_row(row)
    assert Order.from_row(row).reason is Reason.LIQUIDATION


def test_what_others_make_of_their_order_is_no_overfill() -> None:
    order = foreign(77)
    order.fill(1, 12 * E8, PRICE, 12 * E8)
    assert not order.is_overfilled
    assert (order.state, order.leaves_qty_e8) == (OrderState.FILLED, 0)


def test_overfill_of_ours_outlives_the_row() -> None:
    order = working()
    order.fill(1, 12 * E8, PRICE, 12 * E8)
    assert order.is_overfilled
    assert (order.state, order.leaves_qty_e8) == (OrderState.FILLED, 0)
    row = OrderRow()
    order.fill_row(row)
    restored = Order.from_row(row)
    assert restored.is_overfilled
    assert restored.reason is Reason.OWN_OVERFILL


def test_the_end_of_an_order_whose_amend_is_unanswered_is_no_overfill() -> None:
    order = working()
    order.amend_sent(PRICE, 15 * E8, 2_000)
    assert order.canceled(12 * E8) is ExecKind.CANCELED
    assert not order.is_overfilled
    assert (order.state, order.qty_e8) == (OrderState.CANCELED, 15 * E8)


def test_of_two_messages_with_one_time_the_amendment_is_the_later() -> None:
    order = foreign(77)
    assert order.amended(PRICE + E8, QTY, 7) is ExecKind.UNKNOWN
    assert order.amended(PRICE + E8, QTY, 7, is_event=True) is ExecKind.AMENDED
    assert order.amended(PRICE, QTY, 7) is ExecKind.UNKNOWN
    assert order.price_e8 == PRICE + E8


def test_others_orders_cannot_fill_the_table() -> None:
    table = OrderTable(FOREIGN_MAX + 10)
    rows = [table.add(foreign(number)) for number in range(1, FOREIGN_MAX + 2)]
    assert rows[-1] == -1
    assert min(rows[:-1]) == 0
    assert table.own_count == 0
    assert table.add(make_order(1)) >= 0
    assert table.own_count == 1
    table.remove(foreign(1).order_id)
    assert table.add(foreign(FOREIGN_MAX + 1)) >= 0


def test_a_forgotten_order_takes_only_its_own_venue_id_with_it() -> None:
    table = OrderTable(4)
    for number in range(1, CLOSED_MAX + 2):
        table.remember(foreign(number))
    assert table.find_venue(5, 1) is None
    assert table.find_venue(5, 2) is not None


def test_the_trade_memory_is_bounded_and_tells_sides_and_instruments_apart() -> None:
    trades = TradeMemory(2)
    assert not trades.knows(1, 10, 1)
    assert trades.add(1, 10, 1)
    assert trades.knows(1, 10, 1)
    assert not trades.add(1, 10, 1)
    assert trades.add(1, 10, -1)
    assert trades.add(2, 10, 1)
    assert len(trades) == 2
    assert trades.add(1, 10, 1)
