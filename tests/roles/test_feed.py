"""The feed as a role: frames in, records and cells out, and never a bad book that looks good."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from hft import counters
from hft.core.book import BookEvent
from hft.core.generated.views import Book, FeedStatus, Header, MarkPrice, TopOfBook
from hft.counters import RoleState
from hft.records import FeedState, Kind
from hft.roles.feed import Feed
from hft.units import E8, NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.link import SessionState

BTC, ETH = 1, 2


def top(u: int, bid: str = "100.0", ask: str = "100.1", symbol: str = "BTCUSDT") -> bytes:
    data = {"e": "bookTicker", "u": u, "s": symbol, "b": bid, "B": "1.000", "a": ask, "A": "2.000",
            "T": 1_700_000_000_000, "E": 1_700_000_000_001}  # fmt: skip
    return orjson.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


def depth(
    first: int, last: int, previous: int, *, bids: Any = (), asks: Any = (), symbol: str = "BTCUSDT"
) -> bytes:
    data = {"e": "depthUpdate", "E": 1_700_000_000_001, "T": 1_700_000_000_000, "s": symbol,
            "U": first, "u": last, "pu": previous, "b": list(bids), "a": list(asks)}  # fmt: skip
    return orjson.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def snapshot(last: int) -> bytes:
    bids, asks = [["100.0", "1.000"], ["99.9", "5.000"]], [["100.1", "2.000"], ["100.2", "5.000"]]
    return orjson.dumps({"lastUpdateId": last, "E": 1, "T": 1, "bids": bids, "asks": asks})


class Watcher:
    """Reads what the feed publishes, as a strategy would."""

    def __init__(self, house) -> None:
        context = house.context("strategy")
        self._market, self._buffer = context.ring_reader("market")
        self._tops, self._top_cell = context.cell_reader("tops")
        self._books, self._book_cell = context.cell_reader("books")
        self._marks, self._mark_cell = context.cell_reader("marks")

    def records(self) -> list[tuple[Kind, int]]:
        header = Header(self._buffer)
        found = []
        while self._market.next():
            found.append((Kind(header.kind), header.instrument_id))
        return found

    def states(self) -> list[FeedState]:
        header, status = Header(self._buffer), FeedStatus(self._buffer)
        found = []
        while self._market.next():
            if header.kind == Kind.FEED_STATUS and header.instrument_id == BTC:
                found.append(FeedState(status.feed_state))
        return found

    def top(self) -> TopOfBook:
        assert self._tops.read(BTC)
        return TopOfBook(self._top_cell)

    def book(self) -> Book:
        assert self._books.read(BTC)
        return Book(self._book_cell)

    def mark(self) -> MarkPrice:
        assert self._marks.read(BTC)
        return MarkPrice(self._mark_cell)


class Line:
    """The feed with its socket replaced by a hand."""

    def __init__(self, house) -> None:
        self.context = house.context("feed")
        self.feed = Feed(self.context)
        self.asked: list[int] = []
        self.feed._fetch_snapshot = lambda one: self.asked.append(one.instrument_id)  # type: ignore[method-assign]
        self.feed.on_start(time.monotonic_ns())
        self.feed._on_public_state(SessionState.OPEN, "")

    def read(self, *frames: bytes) -> None:
        recv_ns = time.monotonic_ns()
        for frame in frames:
            self.feed.intake.on_frame(frame, recv_ns)
        self.feed.intake.on_batch_end()

    def answer(self, body: bytes) -> None:
        self.feed._on_snapshot(self.feed._instruments[BTC], body)

    def sync(self) -> None:
        self.read(depth(8, 12, 7), depth(13, 15, 12))
        self.answer(snapshot(12))
        assert self.feed._instruments[BTC].state is FeedState.LIVE


@pytest.fixture
def watcher(house) -> Watcher:
    return Watcher(house)


@pytest.fixture
def line(house, watcher) -> Line:
    return Line(house)


def test_book_goes_live_by_the_documented_procedure(line, watcher):
    line.read(depth(8, 12, 7), depth(13, 15, 12))
    assert line.asked[:1] == [BTC]
    line.answer(snapshot(12))
    assert watcher.states()[-1] is FeedState.LIVE
    book = watcher.book()
    assert (book.bid_e8_at(0), book.ask_e8_at(0)) == (100 * E8, 1001 * E8 // 10)
    assert book.feed_state == FeedState.LIVE


def test_feed_is_ready_when_every_instrument_is_live(line):
    line.sync()
    assert line.context.page.state == RoleState.RECOVERING
    eth = line.feed._instruments[ETH]
    line.read(depth(8, 12, 7, symbol="ETHUSDT"))
    line.feed._on_snapshot(eth, snapshot(12))
    assert line.context.page.state == RoleState.READY


def test_tops_are_marked_with_the_quality_of_the_feed(line, watcher):
    line.read(top(9))
    assert watcher.top().feed_state == FeedState.SYNCING
    line.sync()
    assert watcher.top().feed_state == FeedState.LIVE, "the cell follows without a new ticker"
    line.read(top(15))
    assert watcher.top().feed_state == FeedState.LIVE


def test_frames_of_one_read_become_visible_together(line, watcher):
    watcher.records()
    recv_ns = time.monotonic_ns()
    line.feed.intake.on_frame(top(20), recv_ns)
    line.feed.intake.on_frame(top(21), recv_ns)
    assert watcher.records() == []
    line.feed.intake.on_batch_end()
    assert watcher.records() == [(Kind.TOP_OF_BOOK, BTC)] * 2


def test_gap_makes_the_book_bad_at_once_and_asks_for_a_snapshot(line, watcher):
    line.sync()
    line.asked.clear()
    line.read(depth(20, 22, 19))
    assert watcher.states()[-1] is FeedState.GAPPED
    assert line.asked == [BTC]
    assert watcher.book().feed_state == FeedState.GAPPED
    assert line.context.page.counter(counters.GAPS.id) == 1
    line.answer(snapshot(21))
    assert watcher.states()[-1] is FeedState.LIVE


def test_ticker_that_contradicts_the_book_makes_it_bad(line, watcher):
    line.sync()
    line.read(top(15, bid="99.0", ask="99.5"), depth(16, 17, 15), top(18), depth(18, 19, 17))
    assert FeedState.GAPPED in watcher.states()
    line.feed.do_work(time.monotonic_ns() + 100 * NS_PER_MS)
    assert line.context.page.counter(counters.BOOK_MISMATCHES.id) >= 1


def test_silence_is_judged_by_the_clock_and_ends_with_data(line, watcher):
    line.sync()
    line.read(top(15))
    watcher.records()
    late_ns = time.monotonic_ns() + line.context.config.feed.stale_ms * NS_PER_MS + NS_PER_MS
    line.feed.do_work(late_ns)
    assert watcher.states() == [FeedState.STALE]
    assert watcher.top().feed_state == FeedState.STALE
    line.read(top(15))
    assert watcher.states() == [FeedState.LIVE]


OFFSET_NS = 3 * NS_PER_S
"""The venue's clock is ahead of ours by so much."""


class OldLine(Line):
    """The feed of a system that knows the venue's clock, and frames as old as a test wants."""

    def __init__(self, house) -> None:
        super().__init__(house)
        self.passed_ns = 0  # time that a test lets pass
        house.context("execution").page.set_gauge(counters.CLOCK_OFFSET_NS.id, OFFSET_NS)
        self.pass_ms(0)

    def pass_ms(self, milliseconds: int) -> None:
        self.passed_ns += milliseconds * NS_PER_MS
        self.feed.do_work(time.monotonic_ns() + self.passed_ns)

    def read_aged(self, age_ms: int, *frames: bytes) -> None:
        """Read frames that the venue sent so long ago."""
        event_ns = time.time_ns() + OFFSET_NS + self.passed_ns - age_ms * NS_PER_MS
        for frame in frames:
            message = orjson.loads(frame)
            message["data"]["T"] = message["data"]["E"] = event_ns // NS_PER_MS
            recv_ns = time.monotonic_ns() + self.passed_ns
            self.feed.intake.on_frame(orjson.dumps(message), recv_ns)
        self.feed.intake.on_batch_end()

    def sync(self) -> None:
        self.read_aged(1, depth(8, 12, 7), depth(13, 15, 12))
        self.answer(snapshot(12))
        assert self.feed._instruments[BTC].state is FeedState.LIVE


@pytest.fixture
def old_line(house, watcher) -> OldLine:
    return OldLine(house)


def test_what_was_held_back_on_its_way_is_as_old_as_the_venue_says(old_line, watcher):
    old_line.sync()
    old_line.read_aged(700, top(16))
    newest = watcher.top()
    assert 699 * NS_PER_MS < newest.origin_ns - newest.as_of_ns < 702 * NS_PER_MS
    old_line.read_aged(-500, top(17))
    newest = watcher.top()
    assert newest.as_of_ns == newest.origin_ns, "nothing is younger than its reading"


def test_late_frames_are_no_sign_of_life(old_line, watcher):
    old_line.sync()
    stale_ms = old_line.context.config.feed.stale_ms
    instrument = old_line.feed._instruments[BTC]
    alive_ns = instrument.as_of_ns
    old_line.pass_ms(stale_ms // 2)
    old_line.read_aged(stale_ms, top(16), depth(16, 17, 15))
    assert instrument.as_of_ns == alive_ns
    assert watcher.top().feed_state == FeedState.LIVE
    old_line.pass_ms(stale_ms)
    assert watcher.top().feed_state == FeedState.STALE
    old_line.read_aged(stale_ms + 10, top(18), depth(18, 19, 17))
    assert watcher.top().feed_state == FeedState.STALE, "an old frame does not end the silence"
    old_line.read_aged(1, top(20))
    assert watcher.top().feed_state == FeedState.LIVE


@pytest.mark.parametrize("frame", [top(16), depth(16, 17, 15)])
def test_backlog_after_a_pause_is_not_traded_upon(old_line, watcher, frame):
    """A process that stood still finds what came meanwhile: old, though only just read."""
    old_line.sync()
    watcher.records()
    stale_ms = old_line.context.config.feed.stale_ms
    old_line.passed_ns += 2 * stale_ms * NS_PER_MS
    old_line.read_aged(2 * stale_ms, frame)
    assert watcher.states() == [FeedState.STALE]
    assert watcher.book().feed_state == FeedState.STALE


def test_step_of_our_own_clock_ages_nothing(old_line, monkeypatch):
    """Only a new measurement of the venue's clock changes by which it is judged."""
    known_ns = old_line.feed._decoder.venue_ahead_ns
    wall_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + 60 * NS_PER_S)
    old_line.feed.do_work(time.monotonic_ns())
    assert old_line.feed._decoder.venue_ahead_ns == known_ns


def test_reading_counts_while_the_venues_clock_is_not_known(line, watcher):
    line.sync()
    line.read(top(16))
    assert watcher.top().as_of_ns == watcher.top().origin_ns


def test_lost_connection_starts_every_book_over(line, watcher):
    line.sync()
    line.feed._on_public_state(SessionState.DOWN, "gone")
    assert watcher.states()[-1] is FeedState.SYNCING
    line.read(depth(100, 110, 99))
    assert line.feed._instruments[BTC].state is FeedState.SYNCING
    line.answer(snapshot(105))
    assert watcher.states()[-1] is FeedState.LIVE


def test_mark_price_stands_in_its_cell(line, watcher):
    data = {"e": "markPriceUpdate", "E": 1, "s": "BTCUSDT", "p": "100.05000000", "i": "100.1",
            "P": "1", "r": "0.0001", "T": 2}  # fmt: skip
    line.read(orjson.dumps({"stream": "btcusdt@markPrice@1s", "data": data}))
    assert watcher.mark().mark_e8 == 10_005_000_000


def test_garbage_is_counted_and_changes_nothing(line, watcher):
    line.sync()
    watcher.records()
    line.read(
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"x"'
    )
    assert watcher.records() == []
    assert line.context.page.counter(counters.GARBAGE.id) == 1


def contract(status: str, symbol: str = "BTCUSDT") -> bytes:
    data = {"e": "contractInfo", "E": 1, "s": symbol, "cs": status, "st": 1}
    return orjson.dumps({"stream": "!contractInfo", "data": data})


def test_halt_is_announced_with_the_event_and_ends_with_the_next_one(line, watcher):
    line.sync()
    line.read(top(15))
    watcher.states()
    line.read(contract("TRADING_HALT"))
    assert watcher.states() == [FeedState.HALTED]
    assert watcher.top().feed_state == watcher.book().feed_state == FeedState.HALTED
    line.read(top(16), depth(16, 16, 15))
    assert watcher.states() == [], "what still comes does not make it live"
    assert watcher.top().feed_state == FeedState.HALTED
    line.read(contract("TRADING"))
    assert watcher.states() == [FeedState.LIVE]


def test_role_that_starts_during_a_halt_knows_and_is_ready_without_the_halted(line, house, watcher):
    line.read(contract("TRADING_HALT", "ETHUSDT"))
    house.end(line.context)
    successor = Line(house)
    assert successor.feed._instruments[ETH].state is FeedState.HALTED
    successor.sync()
    assert successor.context.page.state == RoleState.READY


def test_top_is_taken_from_the_book_when_no_ticker_tells_it(line, watcher):
    line.read(top(5, bid="90.0", ask="90.1"))
    line.sync()
    newest = watcher.top()
    assert (newest.bid_e8, newest.venue_seq, newest.is_book) == (100 * E8, 15, 1)
    assert newest.feed_state == FeedState.LIVE


def test_ticker_that_is_older_than_the_published_top_is_dropped(line, watcher):
    line.sync()
    watcher.records()
    line.read(top(14, bid="90.0", ask="90.1"))
    assert watcher.records() == []
    assert watcher.top().bid_e8 == 100 * E8


def test_crossed_ticker_is_never_believed(line, watcher):
    line.sync()
    line.read(top(16, bid="100.2", ask="100.1"))
    assert watcher.states()[-1] is FeedState.GAPPED
    assert watcher.top().bid_e8 == 100 * E8


def test_depth_event_that_contradicts_the_ticker_counts_without_waiting_for_another(line, watcher):
    line.sync()
    line.read(top(17, bid="99.0", ask="99.5"))
    line.read(depth(16, 17, 15))
    assert watcher.states()[-1] is FeedState.GAPPED


def test_snapshot_that_the_frames_never_reach_is_replaced(line):
    line.read(depth(8, 12, 7))
    line.answer(snapshot(9_999))
    line.asked.clear()
    instrument = line.feed._instruments[BTC]
    instrument.depth_ns = instrument.waiting_ns + 3_000 * NS_PER_MS
    line.feed.do_work(time.monotonic_ns() + 100 * NS_PER_MS)
    assert line.asked == [BTC]


def test_garbage_for_a_snapshot_is_asked_for_again(line):
    instrument = line.feed._instruments[BTC]
    line.read(depth(8, 12, 7))
    instrument.snapshot_event = BookEvent.STALE_SNAPSHOT
    line.answer(b'{"code":-1000}')
    assert instrument.snapshot_event == BookEvent.STALE_SNAPSHOT
