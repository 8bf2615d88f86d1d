"""The paper model: queue, time, and what must never happen whatever the market does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.paper_exchange import PaperExchange, PaperRequest
from hft.core.paper_fills import AHEAD_UNKNOWN, PaperBook, PaperEvent, PaperOrder
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif

BUY, SELL = Side.BUY, Side.SELL
BIDS = [(100, 10), (99, 20), (97, 30)]
ASKS = [(102, 10), (103, 20), (105, 30)]


def book(bids: list[tuple[int, int]] = BIDS, asks: list[tuple[int, int]] = ASKS) -> PaperBook:
    one = PaperBook(1)
    one.on_book(bids, asks, 1, 1)
    return one


def order(number: int = 1, side: Side = BUY, price: int = 100, qty: int = 5, **more: object):  # type: ignore[no-untyped-def]
    return PaperOrder(
        order_id=number, instrument_id=1, side=side, price_e8=price, qty_e8=qty, **more
    )


def fills(events: list[PaperEvent]) -> list[tuple[int, int, int]]:
    return [
        (event.order.order_id, event.price_e8, event.qty_e8)
        for event in events
        if event.kind is ExecKind.FILL
    ]


def kinds(events: list[PaperEvent]) -> list[ExecKind]:
    return [event.kind for event in events]


# -- the queue ----------------------------------------------------------------------------------


def test_an_order_waits_for_the_quantity_that_was_shown_before_it() -> None:
    one, mine = book(), order()
    assert kinds(one.place(mine)) == [ExecKind.ACK]
    assert fills(one.on_trade(SELL, 100, 9, 2)) == []
    assert fills(one.on_trade(SELL, 100, 3, 3)) == [(1, 100, 2)]
    assert fills(one.on_trade(SELL, 100, 3, 4)) == [(1, 100, 3)]
    assert mine.state is OrderState.FILLED
    assert not one.orders


def test_a_trade_through_the_price_fills_without_the_queue() -> None:
    one = book()
    one.place(order())
    assert fills(one.on_trade(SELL, 99, 4, 2)) == [(1, 100, 4)]


def test_earlier_orders_and_better_prices_come_first() -> None:
    one = book()
    for number, price in ((1, 99), (2, 101), (3, 101)):
        one.place(order(number, price=price))
    assert fills(one.on_trade(SELL, 101, 7, 2)) == [(2, 101, 5), (3, 101, 2)]
    assert fills(one.on_trade(SELL, 98, 10, 3)) == [(3, 101, 3), (1, 99, 5)]


def test_cancels_shrink_the_queue_ahead_in_proportion() -> None:
    one, mine = book(), order()
    one.place(mine)
    one.on_top((100, 30), (102, 10), 2, 2)  # 20 more came behind
    assert mine.ahead_e8 == 10
    one.on_top((100, 15), (102, 10), 3, 3)  # half of everything left
    assert mine.ahead_e8 == 5
    one.on_top((100, 3), (102, 10), 4, 4)
    assert mine.ahead_e8 == 1


def test_a_shrinking_that_was_a_trade_is_no_cancel() -> None:
    """The trade is told first: the smaller quantity that follows is what it left."""
    one, mine = book(), order()
    one.on_top((100, 20), (102, 10), 2, 2)
    one.place(mine)
    one.on_trade(SELL, 100, 8, 3)
    one.on_top((100, 12), (102, 10), 3, 3)
    assert mine.ahead_e8 == 12


def test_a_trade_that_the_book_showed_before_it_was_told_counts_once() -> None:
    one, mine = book(), order()
    one.place(mine)
    one.on_top((100, 30), (102, 10), 2, 2)
    one.on_top((100, 24), (102, 10), 3, 3)
    assert mine.ahead_e8 == 8  # as if cancelled evenly
    one.on_trade(SELL, 100, 6, 3)
    assert mine.ahead_e8 == 4  # but it was a trade, and ate from the front


def test_an_order_deeper_than_the_book_stands_behind_what_appears_first() -> None:
    one, mine = book(), order(price=90)
    one.place(mine)
    assert mine.ahead_e8 == AHEAD_UNKNOWN
    assert fills(one.on_trade(SELL, 90, 50, 2)) == []
    one.on_book([(91, 4), (90, 7)], ASKS, 3, 3)
    assert mine.ahead_e8 == 7


def test_the_other_side_at_our_price_must_have_met_us() -> None:
    one = book()
    one.place(order(price=101))
    assert fills(one.on_top((100, 10), (101, 3), 2, 2)) == [(1, 101, 3)]
    assert fills(one.on_top((100, 10), (101, 3), 3, 3)) == []  # taken once
    assert fills(one.on_top((100, 10), (101, 4), 4, 4)) == [(1, 101, 1)]


# -- kinds of orders ----------------------------------------------------------------------------


@pytest.mark.parametrize("price", [102, 104])
def test_post_only_that_would_take_is_refused(price: int) -> None:
    one, mine = book(), order(price=price, is_post_only=True)
    events = one.place(mine)
    assert [(event.kind, event.reason) for event in events] == [
        (ExecKind.REJECTED, Reason.VENUE_POST_ONLY)
    ]
    assert not one.orders


def test_a_market_order_walks_the_book_and_its_rest_expires() -> None:
    one, mine = book(), order(price=0, qty=70, order_type=OrderType.MARKET)
    events = one.place(mine)
    assert fills(events) == [(1, 102, 10), (1, 103, 20), (1, 105, 30)]
    assert kinds(events)[-1] is ExecKind.EXPIRED
    assert (mine.cum_qty_e8, mine.leaves_qty_e8) == (60, 0)
    assert not any(event.is_maker for event in events)


def test_ioc_takes_to_its_limit_and_never_rests() -> None:
    one = book()
    events = one.place(order(price=103, qty=40, tif=Tif.IOC))
    assert fills(events) == [(1, 102, 10), (1, 103, 20)]
    assert kinds(events)[-1] is ExecKind.EXPIRED
    assert not one.orders


def test_fok_is_all_or_nothing() -> None:
    one = book()
    assert kinds(one.place(order(1, price=103, qty=31, tif=Tif.FOK))) == [
        ExecKind.ACK, ExecKind.EXPIRED,
    ]  # fmt: skip
    assert fills(one.place(order(2, price=103, qty=30, tif=Tif.FOK))) == [
        (2, 102, 10), (2, 103, 20),
    ]  # fmt: skip


def test_what_was_taken_is_not_there_for_the_next_one() -> None:
    one = book()
    one.place(order(1, price=102, qty=10, tif=Tif.IOC))
    assert fills(one.place(order(2, price=102, qty=10, tif=Tif.IOC))) == []
    one.on_top((100, 10), (103, 5), 2, 2)
    one.on_top((100, 10), (102, 8), 3, 3)  # the level had gone and came back
    assert fills(one.place(order(3, price=102, qty=10, tif=Tif.IOC))) == [(3, 102, 8)]


def test_a_crossing_limit_order_takes_and_rests() -> None:
    one, mine = book(), order(price=102, qty=15)
    assert fills(one.place(mine)) == [(1, 102, 10)]
    assert mine.leaves_qty_e8 == 5
    assert one.orders == {1: mine}


def test_a_dated_order_expires() -> None:
    one = book()
    one.place(order(tif=Tif.GTD, good_till_s=700))
    assert one.expire_due(699.9) == []
    assert kinds(one.expire_due(700)) == [ExecKind.EXPIRED]


def test_reduce_only_never_turns_the_position() -> None:
    one = PaperBook(1, position_e8=4)
    one.on_book(BIDS, ASKS, 1, 1)
    refused = one.place(order(1, BUY, 99, is_reduce_only=True))
    assert refused[0].reason is Reason.VENUE_REDUCE_ONLY
    events = one.place(order(2, SELL, 99, 10, is_reduce_only=True))
    assert fills(events) == [(2, 100, 4)]
    assert one.position_e8 == 0
    assert not one.orders


def test_amending_to_less_keeps_the_place_and_to_more_loses_it() -> None:
    one, mine = book(), order(qty=8)
    one.place(mine)
    one.on_trade(SELL, 100, 7, 2)
    assert mine.ahead_e8 == 3
    assert kinds(one.amend(1, 100, 4)) == [ExecKind.AMENDED]
    assert mine.ahead_e8 == 3
    one.on_top((100, 9), (102, 10), 3, 3)
    assert kinds(one.amend(1, 100, 5)) == [ExecKind.AMENDED]
    assert mine.ahead_e8 == 9


def test_amending_below_what_is_filled_ends_the_order() -> None:
    one = book()
    one.place(order(qty=8))
    one.on_trade(SELL, 99, 3, 2)
    events = one.amend(1, 100, 3)
    assert [(event.kind, event.cum_qty_e8) for event in events] == [(ExecKind.CANCELED, 3)]


def test_amending_a_post_only_order_into_the_other_side_ends_it() -> None:
    one = book()
    one.place(order(is_post_only=True))
    assert kinds(one.amend(1, 102, 5)) == [ExecKind.EXPIRED]


def test_without_a_book_nothing_can_be_taken() -> None:
    one = book()
    one.on_blind()
    assert kinds(one.place(order(price=110, tif=Tif.IOC))) == [ExecKind.ACK, ExecKind.EXPIRED]


# -- on the way ---------------------------------------------------------------------------------


def test_requests_arrive_in_order_even_when_a_later_one_drew_less_latency() -> None:
    exchange = PaperExchange({1: 0})
    exchange.submit(PaperRequest(Action.PLACE, order(1), 50))
    exchange.submit(PaperRequest(Action.CANCEL, order(1), 20))
    assert list(exchange.due(49)) == []
    arrived = list(exchange.due(50))
    assert [request.action for request in arrived] == [Action.PLACE, Action.CANCEL]
    events = [event for request in arrived for event in exchange.execute(request)]
    assert kinds(events) == [ExecKind.ACK, ExecKind.CANCELED]
    assert not exchange.orders


def test_cancelling_everything_takes_what_is_on_its_way_as_well() -> None:
    exchange = PaperExchange({1: 0})
    exchange.books[1].on_book(BIDS, ASKS, 1, 1)
    exchange.submit(PaperRequest(Action.PLACE, order(1), 1))
    for request in exchange.due(1):
        exchange.execute(request)
    exchange.submit(PaperRequest(Action.PLACE, order(2), 9))
    events = exchange.cancel_all(Reason.OWN_HALT)
    assert [(event.order.order_id, event.reason) for event in events] == [
        (1, Reason.OWN_HALT), (2, Reason.OWN_HALT),
    ]  # fmt: skip
    assert list(exchange.due(10**9)) == []
    assert not exchange.orders


def test_what_does_not_rest_cannot_be_cancelled_or_amended() -> None:
    exchange = PaperExchange({1: 0})
    for action, kind in (
        (Action.CANCEL, ExecKind.CANCEL_REJECTED),
        (Action.AMEND, ExecKind.AMEND_REJECTED),
    ):
        events = exchange.execute(PaperRequest(action, order(7)))
        assert [(event.kind, event.reason) for event in events] == [
            (kind, Reason.VENUE_UNKNOWN_ORDER)
        ]


# -- whatever happens ---------------------------------------------------------------------------

PRICES = st.integers(95, 106)
QUANTITIES = st.integers(1, 30)
SIDES = st.sampled_from([BUY, SELL])
STEPS = st.one_of(
    st.tuples(st.just("trade"), SIDES, PRICES, QUANTITIES),
    st.tuples(st.just("place"), SIDES, PRICES, QUANTITIES),
    st.tuples(st.just("cancel"), st.integers(1, 20)),
    st.tuples(st.just("amend"), st.integers(1, 20), PRICES, QUANTITIES),
    st.tuples(st.just("top"), st.integers(95, 104), QUANTITIES, st.integers(1, 3), QUANTITIES),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_fills_are_never_more_than_what_was_traded_or_shown(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    one = book()
    number = 0
    placed: list[PaperOrder] = []
    position = 0
    for at, step in enumerate(steps, start=2):
        allowed = 0
        if step[0] == "trade":
            _, side, price, qty = step
            events, allowed = one.on_trade(side, price, qty, at), qty
            for _, fill_price, _ in fills(events):
                assert (fill_price - price) * side <= 0  # no worse for the taker than the print
        elif step[0] == "place":
            number += 1
            placed.append(order(number, step[1], step[2], step[3]))
            events = one.place(placed[-1])
            allowed = step[3]
        elif step[0] == "cancel":
            events = one.cancel(step[1])
        elif step[0] == "amend":
            events = one.amend(*step[1:])
            allowed = step[3]
        else:
            _, bid, bid_qty, spread, ask_qty = step
            events = one.on_top((bid, bid_qty), (bid + spread, ask_qty), at, at)
            allowed = 200  # of each side no more than the levels of it show: checked below
        assert sum(qty for _, _, qty in fills(events)) <= allowed
        for event in events:
            if event.kind is ExecKind.FILL:
                position += event.order.side * event.qty_e8
                assert (event.price_e8 - event.order.price_e8) * event.order.side <= 0
        for mine in placed:
            assert 0 <= mine.cum_qty_e8 <= mine.qty_e8
            assert (mine.order_id in one.orders) == (mine.state is OrderState.WORKING)
            assert mine.ahead_e8 >= AHEAD_UNKNOWN
        assert position == one.position_e8


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(QUANTITIES, QUANTITIES), min_size=1, max_size=30),
    st.integers(2, 4),
)
def test_at_one_price_nobody_overtakes(steps: list[tuple[int, int]], count: int) -> None:
    """Whatever trades and is cancelled: a later order fills only once the earlier ones are full."""
    one = book()
    mine = [order(number, qty=7) for number in range(count)]
    at = 1
    for number, (traded, shown) in enumerate(steps):
        at += 1
        if number < count:
            one.place(mine[number])
        filled = sum(qty for _, _, qty in fills(one.on_trade(SELL, 100, traded, at)))
        assert filled <= traded
        at += 1
        assert fills(one.on_top((100, shown), (102, 10), at, at)) == []
        for earlier, later in pairwise(mine):
            assert not later.cum_qty_e8 or earlier.state is OrderState.FILLED


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=20),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_nothing_takes_effect_before_it_arrives(
    sent: list[tuple[int, int]], looks: list[int]
) -> None:
    exchange = PaperExchange({1: 0})
    now = 0
    arrived: list[int] = []
    for number, (pause, latency) in enumerate(sent, start=1):
        now += pause
        exchange.submit(PaperRequest(Action.PLACE, order(number), now + latency))
    for until in sorted(looks):
        for request in exchange.due(until):
            assert request.arrival_ns <= until
            arrived.append(request.order.order_id)
    assert arrived == sorted(arrived)
