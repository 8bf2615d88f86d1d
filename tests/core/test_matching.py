from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hft.core.matching import (
    Accepted,
    Amended,
    Ended,
    EndReason,
    MatchingBook,
    Order,
    Reject,
    StpMode,
    Trade,
)
from hft.records import Side, Tif

BUY, SELL = Side.BUY, Side.SELL


def order(order_id: int, side: Side, price: int, qty: int, **more: object) -> Order:
    settings_ = {"account_id": 1, **more}
    return Order(order_id=order_id, side=side, price_e8=price, qty_e8=qty, **settings_)


def book_of(
    bids: dict[int, int], asks: dict[int, int], *, is_replica: bool = False
) -> MatchingBook:
    book = MatchingBook(is_replica=is_replica)
    for price, qty in bids.items():
        book.set_level(BUY, price, qty, 0)
    for price, qty in asks.items():
        book.set_level(SELL, price, qty, 0)
    return book


def trades(events: object) -> list[tuple[int, int]]:
    return [(e.price_e8, e.qty_e8) for e in events if isinstance(e, Trade)]


def reasons(events: object) -> list[EndReason]:
    return [e.reason for e in events if isinstance(e, Ended)]


def test_limit_order_takes_best_prices_first_and_rests_with_the_rest():
    book = book_of({99: 5}, {101: 3, 102: 4, 103: 9})
    taker = order(1, BUY, 102, 10)
    reject, events = book.place(taker, 7)
    assert reject is Reject.NONE
    assert isinstance(events[0], Accepted)
    assert events[0].time_ns == 7
    assert trades(events) == [(101, 3), (102, 4)]
    assert book.top() == (102, 3, 103, 9)
    assert taker.is_resting
    assert taker.leaves_qty_e8 == 3


def test_immediate_or_cancel_never_rests():
    book = book_of({}, {101: 3})
    taker = order(1, BUY, 101, 10, tif=Tif.IOC)
    _, events = book.place(taker, 0)
    assert trades(events) == [(101, 3)]
    assert reasons(events) == [EndReason.IMMEDIATE_REMAINDER]
    assert not book.orders


def test_fill_or_kill_fills_whole_or_leaves_no_trace():
    book = book_of({}, {101: 3, 102: 3})
    assert book.place(order(1, BUY, 102, 7, tif=Tif.FOK), 0) == (Reject.FILL_OR_KILL, [])
    assert book.top() == (0, 0, 101, 3)
    _, events = book.place(order(2, BUY, 102, 6, tif=Tif.FOK), 0)
    assert trades(events) == [(101, 3), (102, 3)]


def test_post_only_is_refused_when_it_would_take_also_an_own_order():
    book = book_of({}, {101: 3})
    assert book.place(order(1, BUY, 101, 1, is_post_only=True), 0).reject is (
        Reject.POST_ONLY_WOULD_TAKE
    )
    book.place(order(2, BUY, 100, 1, is_post_only=True), 0)
    assert book.place(order(3, SELL, 100, 1, is_post_only=True), 0).reject is (
        Reject.POST_ONLY_WOULD_TAKE
    )


def test_market_order_stops_at_its_worst_price():
    book = book_of({}, {101: 3, 110: 3})
    _, events = book.place(order(1, BUY, 105, 9, is_market=True), 0)
    assert trades(events) == [(101, 3)]
    assert reasons(events) == [EndReason.MARKET_REMAINDER]


def test_queue_before_an_order_is_eaten_first():
    book = book_of({100: 5}, {})
    mine = order(1, BUY, 100, 2)
    book.place(mine, 0)
    book.set_level(BUY, 100, 8, 0)  # three more behind us
    assert trades(book.take(SELL, 4, 100, 0)) == [(100, 4)]
    assert mine.cum_qty_e8 == 0
    assert trades(book.take(SELL, 2, 100, 0)) == [(100, 1), (100, 1)]
    assert mine.cum_qty_e8 == 1
    assert trades(book.take(SELL, 9, 100, 0)) == [(100, 1), (100, 3)]
    assert mine.cum_qty_e8 == 2
    assert book.top().bid_e8 == 0


def test_market_quantity_that_vanishes_stood_behind_us():
    book = book_of({100: 5}, {})
    mine = order(1, BUY, 100, 2)
    book.place(mine, 0)
    book.set_level(BUY, 100, 9, 0)
    book.set_level(BUY, 100, 6, 0)
    assert mine.ahead_e8 == 5
    book.set_level(BUY, 100, 3, 0)
    assert mine.ahead_e8 == 3


def test_level_that_moves_through_our_price_fills_us_at_our_price():
    book = book_of({100: 5}, {102: 5})
    mine = order(1, BUY, 101, 2)
    book.place(mine, 0)
    events = book.set_level(SELL, 99, 3, 0)
    assert trades(events) == [(101, 2)]
    assert events[0].aggressor_side is SELL
    assert book.qty_e8(SELL, 99) == 1


def test_printed_trade_fills_better_prices_then_the_queue_at_its_price():
    book = book_of({100: 5, 99: 5}, {}, is_replica=True)
    better, behind = order(1, BUY, 101, 1), order(2, BUY, 100, 2)
    book.place(better, 0)
    book.place(behind, 0)
    assert trades(book.print_trade(SELL, 100, 4, 0)) == [(101, 1)]
    assert behind.ahead_e8 == 2
    assert trades(book.print_trade(SELL, 100, 3, 0)) == [(100, 1)]
    assert behind.leaves_qty_e8 == 1


def test_replicated_liquidity_is_taken_once():
    book = book_of({}, {101: 3}, is_replica=True)
    book.place(order(1, BUY, 101, 2, tif=Tif.IOC), 0)
    book.set_level(SELL, 101, 4, 0)  # the market does not know of our trade
    assert book.qty_e8(SELL, 101) == 2
    book.set_level(SELL, 101, 0, 0)
    book.set_level(SELL, 101, 4, 0)
    assert book.qty_e8(SELL, 101) == 4


def test_replicated_level_through_our_price_fills_its_growth_only():
    book = book_of({}, {}, is_replica=True)
    mine = order(1, BUY, 100, 5)
    book.place(mine, 0)
    assert trades(book.set_level(SELL, 100, 2, 0)) == [(100, 2)]
    assert trades(book.set_level(SELL, 100, 3, 0)) == [(100, 1)]
    assert mine.leaves_qty_e8 == 2


@pytest.mark.parametrize(
    ("mode", "maker_ends", "taker_ends"),
    [
        (StpMode.NONE, False, False),
        (StpMode.EXPIRE_MAKER, True, False),
        (StpMode.EXPIRE_TAKER, False, True),
        (StpMode.EXPIRE_BOTH, True, True),
    ],
)
def test_self_trade_prevention_follows_the_takers_mode(mode, maker_ends, taker_ends):
    book = book_of({}, {})
    maker = order(1, SELL, 100, 2)
    book.place(maker, 0)
    taker = order(2, BUY, 100, 3, stp=mode)
    _, events = book.place(taker, 0)
    ended = [e.order for e in events if isinstance(e, Ended)]
    assert (maker in ended) is maker_ends
    assert (taker in ended) is taker_ends
    assert bool(trades(events)) is (mode is StpMode.NONE)


def test_self_trade_prevention_lets_the_queue_before_us_trade():
    book = book_of({}, {100: 4})
    mine = order(1, SELL, 100, 2)
    book.place(mine, 0)
    _, events = book.place(order(2, BUY, 100, 5, stp=StpMode.EXPIRE_TAKER, tif=Tif.IOC), 0)
    assert trades(events) == [(100, 4)]
    assert reasons(events) == [EndReason.SELF_TRADE_REMAINDER]
    assert mine.is_resting


def test_reduce_only_needs_a_position_and_stops_at_flat():
    book = book_of({99: 9}, {101: 9})
    assert book.place(order(1, SELL, 99, 1, is_reduce_only=True), 0).reject is Reject.REDUCE_ONLY
    book.set_position(1, 2, 0)
    _, events = book.place(order(2, SELL, 99, 5, is_reduce_only=True), 0)
    assert trades(events) == [(99, 2)]
    assert reasons(events) == [EndReason.REDUCE_ONLY]
    assert book.positions_e8[1] == 0


def test_better_reduce_only_order_displaces_the_one_behind_before_it_is_accepted():
    book = book_of({90: 9}, {110: 9})
    book.set_position(1, 2, 0)
    first = order(1, SELL, 105, 2, is_reduce_only=True)
    book.place(first, 0)
    assert book.place(order(2, SELL, 106, 2, is_reduce_only=True), 0).reject is Reject.REDUCE_ONLY
    _, events = book.place(order(3, SELL, 104, 2, is_reduce_only=True), 0)
    assert isinstance(events[0], Ended)
    assert events[0].order is first
    assert isinstance(events[1], Accepted)


def test_resting_reduce_only_order_ends_when_the_position_is_gone():
    book = book_of({99: 9}, {101: 9})
    book.set_position(1, 2, 0)
    resting = order(1, SELL, 105, 2, is_reduce_only=True)
    book.place(resting, 0)
    _, events = book.place(order(2, SELL, 99, 2), 0)
    assert (resting, EndReason.REDUCE_ONLY) in [
        (e.order, e.reason) for e in events if isinstance(e, Ended)
    ]


def test_amended_order_goes_to_the_back_of_its_queue():
    book = book_of({100: 1}, {})
    first, second = order(1, BUY, 100, 2), order(2, BUY, 100, 2, account_id=2)
    book.place(first, 0)
    book.place(second, 0)
    events = book.amend(first, price_e8=100, qty_e8=1, now_ns=3)
    assert isinstance(events[0], Amended)
    book.take(SELL, 3, 100, 0)
    assert (first.cum_qty_e8, second.cum_qty_e8) == (0, 2)


def test_amendment_ends_an_order_that_is_filled_enough_or_would_take():
    book = book_of({}, {105: 1})
    partly = order(1, BUY, 100, 4)
    book.place(partly, 0)
    book.take(SELL, 2, 100, 0)
    assert reasons(book.amend(partly, price_e8=100, qty_e8=2, now_ns=0)) == [
        EndReason.AMEND_BELOW_FILLED
    ]
    passive = order(2, BUY, 100, 4, is_post_only=True)
    book.place(passive, 0)
    assert reasons(book.amend(passive, price_e8=105, qty_e8=4, now_ns=0)) == [
        EndReason.AMEND_WOULD_TAKE
    ]


def test_amended_price_may_trade():
    book = book_of({}, {105: 1})
    mine = order(1, BUY, 100, 4)
    book.place(mine, 0)
    assert trades(book.amend(mine, price_e8=105, qty_e8=4, now_ns=0)) == [(105, 1)]
    assert book.top() == (105, 3, 0, 0)


def test_dated_order_ends_when_its_time_comes():
    book = book_of({}, {})
    book.place(order(1, BUY, 100, 4, good_till_ns=50), 0)
    assert reasons(book.expire_due(49)) == []
    assert reasons(book.expire_due(50)) == [EndReason.GOOD_TILL_DATE]
    assert book.top().bid_e8 == 0


class BookMachine(RuleBasedStateMachine):
    """Random markets and accounts; every event is checked against a slow, obvious model."""

    is_replica = False

    @initialize()
    def begin(self) -> None:
        self.book = MatchingBook(is_replica=self.is_replica)
        self.next_id = 1
        self.all: dict[int, Order] = {}
        self.position = {1: 0, 2: 0}
        self.cum: dict[int, int] = {}

    prices = st.integers(95, 105)
    quantities = st.integers(1, 9)
    sides = st.sampled_from([BUY, SELL])

    def check(self, events: object, aggressor: Order | None = None) -> None:
        ended = set()
        for event in events:
            if isinstance(event, Trade):
                assert event.qty_e8 > 0
                if event.maker is not None:
                    assert event.maker.side is Side(-event.aggressor_side)
                    assert event.maker.price_e8 == event.price_e8
                if event.taker is not None:
                    assert event.taker is aggressor
                    assert (event.taker.price_e8 - event.price_e8) * event.taker.side >= 0
                for member, cum in (
                    (event.maker, event.maker_cum_e8),
                    (event.taker, event.taker_cum_e8),
                ):
                    if member is None:
                        continue
                    assert member.order_id not in ended
                    self.cum[member.order_id] += event.qty_e8
                    assert cum == self.cum[member.order_id] <= member.qty_e8
                    before = self.position[member.account_id]
                    self.position[member.account_id] += member.side * event.qty_e8
                    if member.is_reduce_only and not (
                        event.maker and event.taker
                        and event.maker.account_id == event.taker.account_id
                    ):  # fmt: skip
                        assert abs(self.position[member.account_id]) < abs(before)
            elif isinstance(event, Ended):
                ended.add(event.order.order_id)
                assert not event.order.is_resting

    def is_market_crossed(self) -> bool:
        top = self.book.top()
        return bool(top.bid_e8 and top.ask_e8 and top.bid_e8 >= top.ask_e8)

    @rule(side=sides, price=prices, qty=st.integers(0, 9))
    def market_quotes(self, side: Side, price: int, qty: int) -> None:
        other = Side(-side)
        if qty:  # the crowd takes its own crossing quotes away first, as every source does
            for level_price, _ in self.book.levels(other, 100):
                if (price - level_price) * side >= 0:
                    self.check(self.book.set_level(other, level_price, 0, 0))
        self.check(self.book.set_level(side, price, qty, 0))

    @rule(side=sides, price=prices, qty=quantities)
    def market_trades(self, side: Side, price: int, qty: int) -> None:
        if self.is_replica:
            events = self.book.print_trade(side, price, qty, 0)
            assert all(e.maker is not None for e in events if isinstance(e, Trade))
        else:
            events = self.book.take(side, qty, price, 0)
        assert sum(e.qty_e8 for e in events if isinstance(e, Trade)) <= qty
        self.check(events)

    @rule(
        side=sides,
        price=prices,
        qty=quantities,
        account=st.sampled_from([1, 2]),
        tif=st.sampled_from([Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK]),
        post_only=st.booleans(),
        reduce_only=st.booleans(),
        stp=st.sampled_from(list(StpMode)),
    )
    def place(self, side, price, qty, account, tif, post_only, reduce_only, stp) -> None:
        placed = Order(
            order_id=self.next_id,
            account_id=account,
            side=side,
            price_e8=price,
            qty_e8=qty,
            tif=tif,
            is_post_only=post_only and tif is Tif.GTC,
            is_reduce_only=reduce_only,
            stp=stp,
        )
        self.next_id += 1
        before = {side_: self.book.levels(side_, 100) for side_ in (BUY, SELL)}
        would_take = self.book.would_take(side, price)
        reject, events = self.book.place(placed, 0)
        if reject is not Reject.NONE:
            assert not events
            assert not placed.is_resting
            assert before == {side_: self.book.levels(side_, 100) for side_ in (BUY, SELL)}
            assert reject is not Reject.POST_ONLY_WOULD_TAKE or would_take
            return
        self.all[placed.order_id] = placed
        self.cum[placed.order_id] = 0
        self.check(events, placed)
        taken = [e.price_e8 * side for e in events if isinstance(e, Trade)]
        assert taken == sorted(taken)
        if placed.is_post_only:
            assert not taken
        if tif is Tif.FOK:
            assert placed.cum_qty_e8 == qty
        if tif is not Tif.GTC:
            assert not placed.is_resting

    @precondition(lambda self: self.book.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(list(self.book.orders.values())))
        self.check(self.book.cancel(chosen, 0))
        assert not chosen.is_resting

    @precondition(lambda self: self.book.orders)
    @rule(data=st.data(), price=prices, qty=quantities)
    def amend(self, data: st.DataObject, price: int, qty: int) -> None:
        chosen = data.draw(st.sampled_from(list(self.book.orders.values())))
        self.check(self.book.amend(chosen, price_e8=price, qty_e8=qty, now_ns=0), chosen)

    @invariant()
    def never_crossed(self) -> None:
        assert not self.is_market_crossed()

    @invariant()
    def books_agree(self) -> None:
        for account, position in self.position.items():
            assert self.book.positions_e8.get(account, 0) == position
        for placed in self.all.values():
            assert placed.cum_qty_e8 == self.cum[placed.order_id]
            assert placed.is_resting is (placed.order_id in self.book.orders)

    @invariant()
    def queues_are_in_order(self) -> None:
        for side in (BUY, SELL):
            book_side = self.book._side(side)
            assert sorted(book_side.levels) == sorted(k * book_side.sign for k in book_side.keys)
            for price, level in book_side.levels.items():
                assert level.market_e8 >= 0
                assert level.market_e8 or level.orders
                assert level.own_e8 == sum(o.leaves_qty_e8 for o in level.orders)
                for one, next_one in pairwise(level.orders):
                    assert one.rank < next_one.rank
                    assert one.ahead_e8 <= next_one.ahead_e8
                for resting in level.orders:
                    assert resting.price_e8 == price
                    assert 0 <= resting.ahead_e8 <= level.market_e8
                    assert resting.leaves_qty_e8 > 0


class ReplicaMachine(BookMachine):
    is_replica = True


BookMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
ReplicaMachine.TestCase.settings = BookMachine.TestCase.settings
TestSimulatedBook = BookMachine.TestCase
TestReplicatedBook = ReplicaMachine.TestCase


@given(
    makers=st.lists(st.tuples(st.integers(95, 99), st.integers(1, 5)), min_size=1, max_size=8),
    qty=st.integers(1, 30),
)
@settings(deadline=None)
def test_makers_are_filled_by_price_then_time(makers, qty):
    book = MatchingBook()
    placed = [order(i, BUY, price, size) for i, (price, size) in enumerate(makers, start=1)]
    for maker in placed:
        book.place(maker, 0)
    events = book.take(SELL, qty, 1, 0)
    expected, left = [], qty
    for maker in sorted(placed, key=lambda o: (-o.price_e8, o.order_id)):
        size = min(left, maker.qty_e8)
        if size:
            expected.append((maker.order_id, size))
            left -= size
    assert [(e.maker.order_id, e.qty_e8) for e in events if isinstance(e, Trade)] == expected
