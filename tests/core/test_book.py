"""The book follows the documented procedure, keeps its top right, and knows when it does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hft.core.book import Book, BookEvent, TopCheck
from hft.core.depth import DepthUpdate
from hft.core.generated.views import Book as BookView
from hft.core.generated.views import TopOfBook
from hft.records import BOOK, FeedState, Kind, Mode, Side
from hft.units import E8, NO_PRICE_E8

ID = 5
Levels = Sequence[tuple[int, int]]


def diff(
    first: int, last: int, previous: int, bids: Levels = (), asks: Levels = (), venue_ns: int = 0
) -> DepthUpdate:
    update = DepthUpdate()
    update.assign(
        ID, first_seq=first, last_seq=last, previous_seq=previous, bids=bids, asks=asks,
        recv_ns=last * 10, venue_ns=venue_ns or last,
    )  # fmt: skip
    return update


def snapshot(last: int, bids: Levels = ((99, 1),), asks: Levels = ((101, 1),)) -> DepthUpdate:
    update = DepthUpdate()
    update.assign(
        ID, first_seq=last, last_seq=last, previous_seq=last, bids=bids, asks=asks,
        is_snapshot=True,
    )  # fmt: skip
    return update


def ticker(seq: int, book: Book | None = None, **fields: int) -> TopOfBook:
    """A ticker as the book stands, but for ``fields``."""
    top = TopOfBook()
    if book is not None:
        book.fill_top(top)
        top.is_book = 0
    top.kind, top.instrument_id, top.venue_seq = int(Kind.TOP_OF_BOOK), ID, seq
    for name, value in fields.items():
        setattr(top, name, value)
    return top


def live_book(**options: int) -> Book:
    """In step at 100: bids 99, 98, asks 101, 102."""
    book = Book(ID, **options)
    assert book.on_depth(diff(90, 100, 80)) == BookEvent.NEED_SNAPSHOT
    event = book.on_snapshot(snapshot(95, [(99, 1), (98, 2)], [(101, 3), (102, 4)]))
    assert event == BookEvent.APPLIED
    return book


# -- coming in step ---------------------------------------------------------------------------


def test_the_first_frame_asks_for_one_snapshot() -> None:
    book = Book(ID)
    assert book.on_depth(diff(1, 2, 0)) == BookEvent.NEED_SNAPSHOT
    assert book.on_depth(diff(3, 4, 2)) == BookEvent.BUFFERED
    assert not book.is_live


def test_buffered_frames_are_replayed_on_the_snapshot() -> None:
    book = Book(ID)
    book.on_depth(diff(1, 10, 0, bids=[(99, 7)]))
    book.on_depth(diff(12, 20, 10, bids=[(98, 5)], asks=[(101, 0), (103, 2)]))
    book.on_depth(diff(23, 30, 20, bids=[(98, 0)]))
    event = book.on_snapshot(snapshot(15, [(99, 1), (98, 1)], [(101, 1), (102, 1)]))
    assert event == BookEvent.APPLIED
    assert book.is_live
    assert book.last_seq == 30
    assert book.levels(Side.BUY, 9) == [(99, 1)]
    assert book.levels(Side.SELL, 9) == [(102, 1), (103, 2)]
    assert book.resyncs == 0


@pytest.mark.parametrize("snapshot_seq", [11, 15, 20])
def test_the_frame_that_spans_the_snapshot_is_the_first_applied(snapshot_seq: int) -> None:
    """Its own predecessor is not compared; a snapshot in a hole before its first id is valid."""
    book = Book(ID)
    book.on_depth(diff(1, 10, 0))
    book.on_depth(diff(12, 20, 10, bids=[(99, 9)]))
    assert book.on_snapshot(snapshot(snapshot_seq)) == BookEvent.APPLIED
    assert (book.bid_qty_e8, book.last_seq) == (9, 20)


@pytest.mark.parametrize("snapshot_seq", [5, 10])
def test_a_snapshot_older_than_the_stream_is_fetched_again(snapshot_seq: int) -> None:
    book = Book(ID)
    book.on_depth(diff(12, 20, 10))
    assert book.on_snapshot(snapshot(snapshot_seq)) == BookEvent.STALE_SNAPSHOT
    assert book.on_depth(diff(21, 30, 20, bids=[(99, 9)])) == BookEvent.BUFFERED
    assert book.on_snapshot(snapshot(15)) == BookEvent.APPLIED
    assert (book.last_seq, book.bid_qty_e8) == (30, 9)


def test_a_snapshot_ahead_of_the_stream_waits_for_the_frame_that_spans_it() -> None:
    book = Book(ID)
    book.on_depth(diff(1, 10, 0))
    assert book.on_snapshot(snapshot(25)) == BookEvent.WAITING
    assert book.on_depth(diff(11, 20, 10, bids=[(99, 9)])) == BookEvent.BUFFERED
    assert not book.is_live
    assert book.on_depth(diff(21, 30, 20, asks=[(101, 9)])) == BookEvent.APPLIED
    assert book.is_live
    assert (book.bid_qty_e8, book.ask_qty_e8) == (1, 9)


def test_a_snapshot_before_any_frame_waits() -> None:
    book = Book(ID)
    assert book.on_snapshot(snapshot(5)) == BookEvent.WAITING
    assert book.on_depth(diff(4, 6, 3)) == BookEvent.APPLIED


def test_a_waiting_snapshot_that_proves_stale_is_asked_for_again() -> None:
    book = Book(ID)
    assert book.on_snapshot(snapshot(5)) == BookEvent.WAITING
    assert book.on_depth(diff(8, 9, 7)) == BookEvent.NEED_SNAPSHOT
    assert book.on_depth(diff(10, 11, 9)) == BookEvent.BUFFERED


def test_a_break_in_the_buffer_starts_it_over() -> None:
    book = Book(ID)
    book.on_depth(diff(1, 10, 0))
    book.on_depth(diff(31, 40, 30))
    assert book.on_snapshot(snapshot(5)) == BookEvent.STALE_SNAPSHOT
    assert book.on_snapshot(snapshot(35)) == BookEvent.APPLIED
    assert book.gaps == 0


# -- staying in step --------------------------------------------------------------------------


def test_holes_between_frames_are_no_gap() -> None:
    book = live_book()
    assert book.on_depth(diff(150, 160, 100)) == BookEvent.APPLIED
    assert book.gaps == 0


def test_a_frame_with_another_predecessor_is_a_gap() -> None:
    book = live_book()
    assert book.on_depth(diff(121, 130, 120)) == BookEvent.GAP
    assert not book.is_live
    assert (book.gaps, book.expected_seq, book.received_seq) == (1, 100, 120)
    assert book.on_depth(diff(131, 140, 130, bids=[(99, 9)])) == BookEvent.BUFFERED
    assert book.on_snapshot(snapshot(135)) == BookEvent.APPLIED
    assert book.is_live
    assert (book.gaps, book.resyncs, book.last_seq, book.bid_qty_e8) == (1, 1, 140, 9)


def test_repeated_and_late_frames_are_discarded() -> None:
    book = live_book()
    book.on_depth(diff(101, 110, 100, bids=[(99, 5)]))
    assert book.on_depth(diff(101, 110, 100, bids=[(99, 5)])) == BookEvent.DISCARDED
    assert book.on_depth(diff(91, 95, 90, bids=[(99, 1)])) == BookEvent.DISCARDED
    assert book.on_depth(diff(111, 120, 110)) == BookEvent.APPLIED
    assert (book.bid_qty_e8, book.gaps) == (5, 0)


def test_repeated_frames_are_discarded_from_the_buffer() -> None:
    book = Book(ID)
    book.on_depth(diff(1, 10, 0))
    assert book.on_depth(diff(1, 10, 0)) == BookEvent.DISCARDED
    assert book.on_depth(diff(11, 20, 10)) == BookEvent.BUFFERED
    assert book.on_snapshot(snapshot(5)) == BookEvent.APPLIED


def test_two_frames_in_the_wrong_order_are_a_gap_and_heal() -> None:
    book = live_book()
    assert book.on_depth(diff(111, 120, 110)) == BookEvent.GAP
    assert book.on_depth(diff(101, 110, 100)) == BookEvent.DISCARDED
    assert book.on_depth(diff(121, 130, 120)) == BookEvent.BUFFERED
    assert book.on_snapshot(snapshot(115)) == BookEvent.APPLIED


def test_ids_that_start_over_are_a_gap_not_old_frames() -> None:
    book = live_book()
    assert book.on_depth(diff(2, 3, 1, venue_ns=1_000)) == BookEvent.GAP
    assert book.on_snapshot(snapshot(2)) == BookEvent.APPLIED
    assert book.on_depth(diff(4, 5, 3, venue_ns=1_001)) == BookEvent.APPLIED
    assert book.last_seq == 5


def test_ids_that_start_over_while_waiting_do_not_block_the_buffer() -> None:
    book = Book(ID)
    book.on_depth(diff(1_000, 1_010, 999, venue_ns=1))
    book.on_depth(diff(2, 3, 1, venue_ns=2))
    assert book.on_snapshot(snapshot(2)) == BookEvent.APPLIED


def test_a_reset_starts_over() -> None:
    book = live_book()
    book.on_reset()
    assert not book.is_live
    assert book.on_depth(diff(901, 910, 900)) == BookEvent.NEED_SNAPSHOT
    assert book.on_snapshot(snapshot(905)) == BookEvent.APPLIED
    assert (book.gaps, book.resyncs) == (0, 1)


def test_a_snapshot_that_nobody_waits_for_is_discarded() -> None:
    book = live_book()
    assert book.on_snapshot(snapshot(500)) == BookEvent.DISCARDED
    assert book.levels(Side.BUY, 1) == [(99, 1)]


def test_the_other_instruments_events_are_refused() -> None:
    book, update = Book(ID + 1), diff(1, 2, 0)
    for call in (book.on_depth, book.on_snapshot):
        with pytest.raises(ValueError, match="instrument"):
            call(update)
    with pytest.raises(ValueError, match="instrument"):
        book.check_top(ticker(5))


def test_a_long_wait_forgets_the_oldest_frames_and_still_comes_in_step() -> None:
    book = Book(ID)
    levels = [(price, 1) for price in range(1, 200)]
    for seq in range(1, 10_001):
        book.on_depth(diff(seq, seq, seq - 1, bids=levels if seq % 10 == 0 else [(1, seq)]))
    assert book.on_snapshot(snapshot(1)) == BookEvent.STALE_SNAPSHOT
    assert book.on_snapshot(snapshot(9_990, asks=[(999, 1)])) == BookEvent.APPLIED
    assert book.last_seq == 10_000
    assert book.levels(Side.BUY, 500) == [(price, 1) for price in range(199, 0, -1)]


# -- what it holds ----------------------------------------------------------------------------


def test_an_empty_book_has_no_price() -> None:
    book = Book(ID)
    assert (book.bid_e8, book.ask_e8) == (NO_PRICE_E8, NO_PRICE_E8)
    assert (book.bid_qty_e8, book.ask_qty_e8, book.is_crossed) == (0, 0, False)
    top = TopOfBook()
    book.fill_top(top)
    assert (top.bid_e8, top.ask_e8, top.feed_state) == (NO_PRICE_E8, NO_PRICE_E8, 1)


def test_a_crossed_book_is_seen() -> None:
    book = live_book()
    book.on_depth(diff(101, 110, 100, bids=[(101, 1)]))
    assert book.is_crossed


def test_records_are_filled_completely() -> None:
    book = live_book()
    book.on_depth(diff(101, 110, 100, bids=[(97, 7)], venue_ns=77))
    cell = bytearray(b"\xff" * BOOK.dtype.itemsize)
    book.fill_book(cell)
    view = BookView(cell)
    assert (view.kind, view.mode, view.instrument_id) == (Kind.BOOK, Mode.LIVE, ID)
    assert (view.bid_count, view.ask_count, view.feed_state) == (3, 2, FeedState.LIVE)
    assert (view.venue_seq, view.venue_ns, view.as_of_ns, view.origin_ns) == (110, 77, 1100, 1100)
    words = memoryview(cell).cast("q")[10:]
    assert list(words[:4]) == [99, 98, 97, 0]
    assert list(words[20:24]) == [1, 2, 7, 0]
    assert list(words[40:43]) == [101, 102, 0]
    assert list(words[60:63]) == [3, 4, 0]
    top = TopOfBook(bytearray(b"\xff" * 128))
    book.fill_top(top)
    assert (top.bid_e8, top.bid_qty_e8, top.ask_e8, top.ask_qty_e8) == (99, 1, 101, 3)
    assert (top.kind, top.venue_seq, top.is_book, top.seq) == (Kind.TOP_OF_BOOK, 110, 1, 0)
    book.on_depth(diff(131, 140, 130))
    book.fill_book(view)
    assert view.feed_state == FeedState.GAPPED


def test_a_buffer_that_is_too_small_is_refused() -> None:
    book = live_book()
    for fill in (book.fill_top, book.fill_book):
        with pytest.raises(ValueError, match="needed"):
            fill(bytearray(100))
    with pytest.raises(ValueError, match="needed"):
        book.fill_book(TopOfBook())


class BookAgainstDict(RuleBasedStateMachine):
    """Random events on a bounded book and on dictionaries: near the top they stay equal."""

    LEVELS_MAX = 80

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bids = {500 - i: i + 1 for i in range(30)}
        self.asks = {501 + i: i + 1 for i in range(30)}
        self.book = Book(ID, levels_max=self.LEVELS_MAX)
        self.book.on_depth(diff(1, 2, 0))
        self.book.on_snapshot(snapshot(2, list(self.bids.items()), list(self.asks.items())))
        self.seq = 2

    def apply(self, bids: Levels, asks: Levels) -> None:
        self.seq += 1
        event = self.book.on_depth(diff(self.seq, self.seq, self.seq - 1, bids, asks))
        assert event == BookEvent.APPLIED
        for held, levels in ((self.bids, bids), (self.asks, asks)):
            for price, qty in levels:
                if qty:
                    held[price] = qty
                else:
                    held.pop(price, None)

    @rule(count=st.integers(1, 60), span=st.sampled_from([5, 40, 400]), keep=st.floats(0.2, 1))
    def change(self, count: int, span: int, keep: float) -> None:
        levels = []
        for top, sign in ((max(self.bids, default=1), -1), (min(self.asks, default=999), 1)):
            prices = [top + sign * self.random.randint(0, span) for _ in range(count)]
            levels.append(
                [(p, self.random.randint(1, 99) if self.random.random() < keep else 0)
                 for p in prices if p > 0]
            )  # fmt: skip
        self.apply(*levels)

    @rule(count=st.integers(1, 10), sign=st.sampled_from([-1, 1]))
    def travel(self, count: int, sign: int) -> None:
        """The market takes levels of one side and leaves new ones on the other."""
        taken = sorted(self.asks if sign > 0 else self.bids, reverse=sign < 0)[:count]
        left = [(price, 7) for price in taken]
        gone = [(price, 0) for price in taken]
        self.apply(*((left, gone) if sign > 0 else (gone, left)))

    @precondition(lambda self: self.book.is_thin)
    @rule()
    def refresh(self) -> None:
        self.book.begin_refresh()
        self.apply([], [])
        levels = sorted(self.bids.items(), reverse=True)[:60], sorted(self.asks.items())[:60]
        assert self.book.on_snapshot(snapshot(self.seq, *levels), levels_limit=60) == 1
        assert self.book.is_live

    @invariant()
    def the_levels_near_the_top_are_right(self) -> None:
        if self.book.is_thin:
            return
        assert self.book.levels(Side.BUY, 20) == sorted(self.bids.items(), reverse=True)[:20]
        assert self.book.levels(Side.SELL, 20) == sorted(self.asks.items())[:20]

    @invariant()
    def the_sides_are_sorted_and_bounded(self) -> None:
        for side, count in (Side.BUY, self.book.bid_count), (Side.SELL, self.book.ask_count):
            levels = self.book.levels(side, 1_000)
            prices = [price for price, _ in levels]
            assert prices == sorted(set(prices), reverse=side == Side.BUY)
            assert len(prices) == count <= self.LEVELS_MAX
            assert all(qty > 0 for _, qty in levels)

    @invariant()
    def the_record_holds_the_first_twenty_and_nothing_else(self) -> None:
        book = BookView()
        self.book.fill_book(book)
        bids = [(book.bid_e8_at(i), book.bid_qty_e8_at(i)) for i in range(20)]
        asks = [(book.ask_e8_at(i), book.ask_qty_e8_at(i)) for i in range(20)]
        for side, found, count in (
            (Side.BUY, bids, book.bid_count),
            (Side.SELL, asks, book.ask_count),
        ):
            levels = self.book.levels(side, 20)
            assert (count, found) == (len(levels), levels + [(0, 0)] * (20 - len(levels)))


TestBookAgainstDict = BookAgainstDict.TestCase
TestBookAgainstDict.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 3)), max_size=400))
def test_any_order_of_levels_gives_the_same_sorted_side(levels: list[tuple[int, int]]) -> None:
    book = live_book()
    book.on_depth(diff(101, 110, 100, asks=[(101, 0), (102, 0), *levels]))
    held = {price: qty for price, qty in dict(levels).items() if qty}
    assert book.levels(Side.SELL, 1_000) == sorted(held.items())
    assert book.ask_count == len(held)


@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_levels_that_come_and_go_stay_sorted(seed: int) -> None:
    """Events in the venue's order, near the top and far from it, most prices more than once."""
    source = random.Random(seed)
    book = live_book()
    held: dict[int, int] = {}
    book.on_depth(diff(101, 101, 100, asks=[(101, 0), (102, 0)]))
    for seq in range(102, 700):
        start, spread = source.choice([(200, 20), (200, 3_000), (2_500, 60), (150, 6_000)])
        prices = sorted({start + source.randrange(spread) for _ in range(source.randint(1, 40))})
        levels = [(price, source.choice((0, 0, 1, 2, 3))) for price in prices]
        book.on_depth(diff(seq, seq, seq - 1, asks=levels))
        held.update(levels)
        if seq % 20 == 0:
            held = {price: qty for price, qty in held.items() if qty}
            assert book.levels(Side.SELL, 10_000) == sorted(held.items())
    assert book.ask_count > 1_000


# -- far from the snapshot --------------------------------------------------------------------


def thin_book() -> Book:
    """A snapshot of 30 bids that was cut off there, and a market that has fallen 15 levels."""
    book = Book(ID)
    book.on_depth(diff(1, 2, 0))
    asks = [(1000 + i, 1) for i in range(30)]
    book.on_snapshot(snapshot(2, [(999 - i, 1) for i in range(30)], asks), levels_limit=30)
    assert not book.is_thin
    fallen = [(999 - i, 0) for i in range(15)]
    book.on_depth(diff(3, 4, 2, bids=fallen, asks=[(999 - i, 1) for i in range(15)]))
    return book


def test_a_market_that_nears_the_end_of_the_snapshot_is_noticed() -> None:
    assert thin_book().is_thin


def test_a_side_smaller_than_the_limit_is_complete() -> None:
    assert not live_book().is_thin


def test_a_refresh_replaces_the_book_in_one_step_and_it_stays_live() -> None:
    book = thin_book()
    book.begin_refresh()
    assert book.on_depth(diff(5, 6, 4, bids=[(984, 9)])) == BookEvent.APPLIED
    bids = [(984 - i, 5) for i in range(40)]
    assert book.on_snapshot(snapshot(8, bids), levels_limit=40) == BookEvent.WAITING
    assert (book.is_live, book.bid_qty_e8) == (True, 9)
    assert book.on_depth(diff(7, 9, 6, bids=[(983, 4)])) == BookEvent.APPLIED
    assert (book.is_live, book.is_thin, book.resyncs) == (True, False, 0)
    assert book.levels(Side.BUY, 3) == [(984, 5), (983, 4), (982, 5)]


def test_a_refresh_with_an_old_snapshot_is_stale_and_the_book_stays_live() -> None:
    book = thin_book()
    book.begin_refresh()
    assert book.on_snapshot(snapshot(4)) == BookEvent.STALE_SNAPSHOT
    assert book.on_depth(diff(5, 6, 4)) == BookEvent.APPLIED
    assert book.on_snapshot(snapshot(3)) == BookEvent.STALE_SNAPSHOT
    assert book.is_live


def test_a_gap_during_a_refresh_is_a_gap() -> None:
    book = thin_book()
    book.begin_refresh()
    assert book.on_depth(diff(15, 16, 14)) == BookEvent.GAP
    assert book.on_snapshot(snapshot(16)) == BookEvent.APPLIED


def test_a_side_needs_room() -> None:
    with pytest.raises(ValueError, match="levels_max"):
        Book(ID, levels_max=10)


# -- the ticker -------------------------------------------------------------------------------


def test_a_ticker_with_the_books_number_is_compared_at_once() -> None:
    book = live_book()
    assert book.check_top(ticker(100, book)) == TopCheck.MATCH
    assert (book.comparisons, book.mismatches) == (1, 0)
    book.on_depth(diff(101, 110, 100, bids=[(99, 5)]))
    assert book.check_top(ticker(110, book, bid_qty_e8=4)) == TopCheck.MISMATCH
    assert (book.comparisons, book.mismatches) == (2, 1)


@pytest.mark.parametrize("name", ["bid_e8", "ask_e8", "bid_qty_e8", "ask_qty_e8"])
def test_every_price_and_size_counts(name: str) -> None:
    book = live_book()
    assert book.check_top(ticker(100, book, **{name: 50})) == TopCheck.MISMATCH


def test_the_last_ticker_inside_a_frame_is_compared_when_the_next_one_comes() -> None:
    book = live_book()
    early = ticker(103, book, bid_qty_e8=77)
    book.on_depth(diff(101, 110, 100, bids=[(99, 5)]))
    assert book.check_top(early) == TopCheck.NOT_COMPARABLE
    assert book.check_top(ticker(107, book)) == TopCheck.NOT_COMPARABLE
    assert book.check_top(ticker(115, book, bid_qty_e8=8)) == TopCheck.MATCH
    assert (book.comparisons, book.mismatches) == (1, 0)


def test_tickers_that_run_ahead_are_kept_for_the_frame() -> None:
    book = live_book()
    after = live_book()
    after.on_depth(diff(101, 110, 100, bids=[(99, 5)]))
    assert book.check_top(ticker(105, after)) == TopCheck.NOT_COMPARABLE
    assert book.check_top(ticker(112, after, bid_qty_e8=1)) == TopCheck.NOT_COMPARABLE
    book.on_depth(diff(101, 110, 100, bids=[(99, 6)]))
    assert (book.comparisons, book.mismatches) == (1, 1)
    assert book.check_top(ticker(113, after)) == TopCheck.MISMATCH, "told with the next ticker"


def test_a_frame_without_a_ticker_of_its_own_is_not_compared() -> None:
    book = live_book()
    book.check_top(ticker(100, book))
    book.on_depth(diff(101, 110, 100, bids=[(98, 5)]))
    assert book.check_top(ticker(120, book, bid_e8=1)) == TopCheck.NOT_COMPARABLE
    assert book.comparisons == 1


def test_repeated_and_numberless_tickers_say_nothing() -> None:
    book = live_book()
    book.check_top(ticker(100, book))
    assert book.check_top(ticker(100, book, bid_e8=1)) == TopCheck.NOT_COMPARABLE
    assert book.check_top(ticker(99, book, bid_e8=1)) == TopCheck.NOT_COMPARABLE
    assert book.check_top(ticker(0, book, bid_e8=1)) == TopCheck.NOT_COMPARABLE
    assert book.mismatches == 0


def test_a_gap_and_a_reset_forget_what_was_to_be_compared() -> None:
    for forget in (lambda b: b.on_reset(), lambda b: b.on_depth(diff(140, 150, 139))):
        book = live_book()
        book.check_top(ticker(95, book))
        forget(book)
        assert book.check_top(ticker(200, book, bid_e8=1)) == TopCheck.NOT_COMPARABLE
        assert book.comparisons == 0


def test_at_the_end_only_a_match_is_certain() -> None:
    for qty, outcome in ((1, TopCheck.MATCH), (2, TopCheck.NOT_COMPARABLE)):
        book = live_book()
        book.check_top(ticker(95, book, bid_qty_e8=qty))
        assert book.finish_checks() == outcome
        assert (book.comparisons, book.mismatches) == (int(qty == 1), 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40))
def test_however_the_streams_overtake_each_other_a_right_book_never_mismatches(
    seed: int, lag_max: int
) -> None:
    """A synthetic venue: each change has a number, frames fold several, either may be late."""
    source = random.Random(seed)
    truth = live_book()
    book = live_book()
    frames: list[tuple[int, DepthUpdate]] = []
    tickers: list[tuple[int, TopOfBook]] = []
    seq = previous = 100
    for _ in range(200):
        first, bids = seq + 1, {}
        for _ in range(source.randint(1, 5)):
            seq += source.randint(1, 3)
            price, qty = source.choice([99, 98, 97, 90]), source.randint(1, 9)
            before = truth.levels(Side.BUY, 1)
            truth.on_depth(diff(seq, seq, truth.last_seq, bids=[(price, qty)]))
            bids[price] = qty
            if truth.levels(Side.BUY, 1) != before:
                tickers.append((seq + source.randint(0, lag_max), ticker(seq, truth)))
        frames.append(
            (seq + source.randint(0, lag_max), diff(first, seq, previous, [*bids.items()]))
        )
        previous = seq
    arrivals: list[tuple[int, DepthUpdate | TopOfBook]] = []
    for stream in frames, tickers:
        latest = 0
        for time, event in stream:  # within a stream the order holds
            latest = max(latest, time)
            arrivals.append((latest, event))
    for _, event in sorted(arrivals, key=lambda arrival: arrival[0]):
        if isinstance(event, DepthUpdate):
            assert book.on_depth(event) == BookEvent.APPLIED
        else:
            assert book.check_top(event) != TopCheck.MISMATCH
    book.finish_checks()
    assert book.mismatches == 0
    assert book.comparisons > 50
    assert book.levels(Side.BUY, 9) == truth.levels(Side.BUY, 9)


def test_prices_are_in_units_of_1e_8() -> None:
    book = live_book()
    book.on_depth(diff(101, 110, 100, bids=[(63_943 * E8, E8)], asks=[(2**62, 1)]))
    assert book.bid_e8 == 6_394_300_000_000
    assert book.levels(Side.SELL, 9)[-1] == (2**62, 1)
