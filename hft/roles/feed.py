"""Venue streams in, normalised records out.

Sole writer of ``market``, ``depth``, ``tops``, ``marks``, ``books`` and ``instruments``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from hft import counters
from hft.config import VenueConfig
from hft.core.book import Book, BookEvent, TopCheck
from hft.core.generated.views import Book as BookCell
from hft.core.generated.views import FeedStatus, TopOfBook
from hft.counters import RoleState
from hft.errors import HftError
from hft.records import FeedState, Flag, Kind, Mode
from hft.roles.context import Context
from hft.roles.venue_access import make_rest
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm import codec
from hft.venues.binance_usdm.endpoints import Endpoints, Route
from hft.venues.binance_usdm.market_session import MarketSession, SessionState
from hft.venues.binance_usdm.rest import RestClient

STALE_CHECK_NS: Final = 50 * NS_PER_MS
SNAPSHOTS_AT_ONCE_MAX: Final = 2
"""A snapshot costs 20 of the address's 2,400 weight a minute: many at once would starve orders."""
REFRESH_NS: Final = 10 * NS_PER_S
"""A living book that has become thin is refreshed at most this often."""
SNAPSHOT_RETRY_S: Final = 0.5


class _Instrument:
    """What the feed keeps of one instrument."""

    __slots__ = ("book", "is_fetching", "recv_ns", "refreshed_ns", "state", "symbol")

    def __init__(self, instrument_id: int, symbol: str) -> None:
        self.symbol = symbol
        self.book = Book(instrument_id)
        self.recv_ns = 0
        self.refreshed_ns = 0
        self.state = FeedState.SYNCING
        self.is_fetching = False


class Feed:
    """One market-data session for all instruments; keeps the books, publishes what changed."""

    name = "feed"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.feed
        self._venue: VenueConfig = context.config.venue
        self._market, record = context.ring_writer("market")
        self._depth, depth_record = context.ring_writer("depth")
        self._tops, top_cell = context.cell_writer("tops")
        self._marks, self._mark_cell = context.cell_writer("marks")
        self._books, book_cell = context.cell_writer("books")
        self._record = record
        self._depth_record = depth_record
        self._top = TopOfBook(record)
        self._top_cell = top_cell
        self._top_view = TopOfBook(top_cell)
        self._book_cell = BookCell(book_cell)
        self._status = FeedStatus(record)
        symbols = {i.symbol: i.instrument_id for i in context.plan.instruments}
        self._decoder = codec.MarketDecoder(symbols, record)
        self._instruments = {
            i.instrument_id: _Instrument(i.instrument_id, i.symbol)
            for i in context.plan.instruments
        }
        self._sessions: list[MarketSession] = []
        self._rest: RestClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: Callable[[], None] = lambda: None
        self._guard: Callable[[Callable[..., None]], Callable[..., None]] = lambda handler: handler
        self._checked_ns = 0
        self._counted: dict[int, int] = {}
        self._staged = 0
        self._recv_ns = 0
        self._stopping = False
        self._is_snapshot_stale = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._snapshot_slots = asyncio.Semaphore(SNAPSHOTS_AT_ONCE_MAX)

    def on_start(self, now_ns: int) -> None:
        """Tell everybody that nothing known of the market holds any more."""
        self._page.state = int(RoleState.RECOVERING)
        for instrument_id in self._instruments:
            self._publish_status(instrument_id, FeedState.SYNCING, now_ns)

    def start_sessions(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        """Open the market connections: high-frequency streams and the regular ones apart."""
        self._loop = loop
        self._turn = turn
        self._guard = guard
        self._rest = make_rest(self._context, self._config.weight_share)
        lower = [instrument.symbol.lower() for instrument in self._instruments.values()]
        fast = [f"{symbol}@bookTicker" for symbol in lower]
        fast += [f"{symbol}@depth@{self._venue.depth_stream}" for symbol in lower]
        if self._config.trades:
            fast += [f"{symbol}@trade" for symbol in lower]
        self._open("public", fast)
        if self._config.mark_price:
            self._open("market", [f"{symbol}@markPrice@1s" for symbol in lower])

    def _open(self, route: Route, streams: list[str]) -> None:
        assert self._loop is not None
        carries_books = route == "public"
        session = MarketSession(
            route,
            streams,
            endpoints=Endpoints.from_config(self._venue),
            on_frame=self._guard(self._on_frame),
            on_state=self._guard(self._on_public_state if carries_books else self._on_market_state),
            on_batch_end=self._guard(self._on_batch_end),
            first_data_s=self._venue.first_data_s,
            silence_s=self._venue.silence_s,
            rotate_s=self._venue.rotate_s,
        )
        self._sessions.append(session)
        session.start(self._loop)

    # -- frames ---------------------------------------------------------------------------------

    def _on_frame(self, frame: memoryview, recv_ns: int) -> None:
        decoder = self._decoder
        self._recv_ns = recv_ns
        kind = decoder.decode(frame, recv_ns)
        if kind == codec.TOP:
            self._on_top(recv_ns)
        elif kind == codec.DEPTH:
            self._on_depth(recv_ns)
        elif kind in (codec.TRADE, codec.AGG_TRADE):
            self._put(recv_ns)
        elif kind == codec.MARK:
            self._mark_cell[:] = self._record
            self._marks.write(decoder.instrument_id)
            self._put(recv_ns)
        elif kind == codec.GARBAGE:
            self._page.count(counters.GARBAGE.id)

    def _on_top(self, recv_ns: int) -> None:
        instrument_id = self._decoder.instrument_id
        instrument = self._instruments[instrument_id]
        instrument.recv_ns = recv_ns
        if instrument.state == FeedState.STALE:
            self._restore(instrument_id, instrument, recv_ns)
        if instrument.book.check_top(self._record) == TopCheck.MISMATCH:
            self._resync(instrument_id, instrument, FeedState.GAPPED, recv_ns)
            return
        self._top.feed_state = int(instrument.state)
        self._top_cell[:] = self._record
        self._tops.write(instrument_id)
        self._put(recv_ns)

    def _on_depth(self, recv_ns: int) -> None:
        decoder = self._decoder
        instrument_id = decoder.instrument_id
        instrument = self._instruments[instrument_id]
        instrument.recv_ns = recv_ns
        book = instrument.book
        event = book.on_depth(decoder)
        if event == BookEvent.APPLIED:
            if book.is_crossed:
                self._page.count(counters.CROSSED.id)
                self._resync(instrument_id, instrument, FeedState.GAPPED, recv_ns)
                return
            self._publish_depth()
            self._publish_book(instrument_id, instrument)
            if book.is_live and instrument.state is not FeedState.LIVE:
                self._go_live(instrument_id, instrument, recv_ns)
        elif event == BookEvent.GAP:
            self._page.count(counters.GAPS.id)
            self._set_state(instrument_id, instrument, FeedState.GAPPED, recv_ns)
            self._fetch_snapshot(instrument_id, instrument)
        elif event == BookEvent.NEED_SNAPSHOT:
            self._fetch_snapshot(instrument_id, instrument)

    def _put(self, recv_ns: int) -> None:
        self._market.put()
        self._staged += 1
        self._page.record_ns(counters.FEED_NS.id, time.monotonic_ns() - recv_ns)

    def _publish_depth(self) -> None:
        """The event's levels as one batch; a huge event as several."""
        decoder, depth = self._decoder, self._depth
        for index in range(decoder.depth_records):
            decoder.fill_depth(self._depth_record, index)
            if not depth.put():
                depth.publish()
                depth.put()
        depth.publish()

    def _publish_book(self, instrument_id: int, instrument: _Instrument) -> None:
        instrument.book.fill_book(self._book_cell)
        self._book_cell.feed_state = int(instrument.state)
        self._books.write(instrument_id)

    def _on_batch_end(self) -> None:
        """All frames of one read are in: publish them together and run the tick through."""
        if self._staged:
            self._market.publish()
            self._page.count(counters.RECORDS.id, self._staged)
            self._page.count(counters.WORK.id, self._staged)
            self._page.set_gauge(counters.LAST_FRAME_NS.id, self._recv_ns)
            self._staged = 0
        self._turn()

    # -- quality of the data --------------------------------------------------------------------

    def _set_state(
        self, instrument_id: int, instrument: _Instrument, state: FeedState, now_ns: int
    ) -> None:
        if instrument.state == state:
            return
        instrument.state = state
        self._publish_status(instrument_id, state, now_ns)

    def _publish_status(self, instrument_id: int, state: FeedState, now_ns: int) -> None:
        """Announce a change of quality, and mark the latest values with it."""
        status, book = self._status, self._instruments[instrument_id].book
        decoded = bytes(self._record)  # the buffer may hold a frame that is still to be published
        status.clear()
        status.kind, status.mode = int(Kind.FEED_STATUS), int(Mode.LIVE)
        status.flags = int(Flag.LAST)
        status.instrument_id, status.feed_state = instrument_id, int(state)
        status.recv_ns = status.origin_ns = now_ns
        status.gaps = book.gaps
        if state == FeedState.GAPPED:
            status.expected_seq, status.received_seq = book.expected_seq, book.received_seq
        self._market.put()
        self._record[:] = decoded
        self._staged += 1
        if self._tops.read(instrument_id):
            self._top_view.feed_state = int(state)
            self._tops.write(instrument_id)
        if self._books.read(instrument_id):
            self._book_cell.feed_state = int(state)
            self._books.write(instrument_id)
        live = sum(i.state == FeedState.LIVE for i in self._instruments.values())
        self._page.set_gauge(counters.LIVE_INSTRUMENTS.id, live)
        if live == len(self._instruments) and self._page.state != RoleState.STOPPING:
            self._page.state = int(RoleState.READY)

    def _go_live(self, instrument_id: int, instrument: _Instrument, now_ns: int) -> None:
        if instrument.state is not FeedState.STALE:
            self._page.count(counters.RESYNCS.id)
        self._set_state(instrument_id, instrument, FeedState.LIVE, now_ns)

    def _restore(self, instrument_id: int, instrument: _Instrument, now_ns: int) -> None:
        """Data came again after silence: live if the book never lost its chain."""
        state = FeedState.LIVE if instrument.book.is_live else FeedState.SYNCING
        self._set_state(instrument_id, instrument, state, now_ns)

    def _resync(
        self, instrument_id: int, instrument: _Instrument, state: FeedState, now_ns: int
    ) -> None:
        instrument.book.on_reset()
        self._set_state(instrument_id, instrument, state, now_ns)

    def _on_public_state(self, state: SessionState, detail: str) -> None:
        """A new connection is a new chain of depth numbers: every book starts over."""
        if state is SessionState.UP:
            self._page.set_gauge(counters.SESSION_UP.id, 1)
            return
        if state is SessionState.DOWN:
            self._page.set_gauge(counters.SESSION_UP.id, 0)
            self._page.count(counters.RECONNECTS.id)
        if state in (SessionState.OPEN, SessionState.DOWN, SessionState.ROTATED):
            now_ns = time.monotonic_ns()
            for instrument_id, instrument in self._instruments.items():
                self._resync(instrument_id, instrument, FeedState.SYNCING, now_ns)
            self._on_batch_end()

    def _on_market_state(self, state: SessionState, detail: str) -> None:
        if state == SessionState.DOWN:
            self._page.count(counters.RECONNECTS.id)

    # -- snapshots ------------------------------------------------------------------------------

    def _fetch_snapshot(self, instrument_id: int, instrument: _Instrument) -> None:
        if instrument.is_fetching or self._stopping:
            return
        instrument.is_fetching = True
        assert self._loop is not None
        task = self._loop.create_task(self._snapshot(instrument_id, instrument))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _snapshot(self, instrument_id: int, instrument: _Instrument) -> None:
        """Fetch until a snapshot is newer than the stream's beginning; frames wait meanwhile.

        A snapshot that is newer than every frame waits in the book for the next ones.
        """
        assert self._rest is not None
        apply = self._guard(self._on_snapshot)
        try:
            is_wanted = True
            while is_wanted and not self._stopping:
                async with self._snapshot_slots:
                    try:
                        body = await self._rest.depth(instrument.symbol, 1000)
                    except HftError:
                        body = b""
                if body:
                    apply(instrument_id, instrument, body)
                is_wanted = not body or self._is_snapshot_stale
                if is_wanted:
                    await asyncio.sleep(SNAPSHOT_RETRY_S)
        finally:
            instrument.is_fetching = False

    def _on_snapshot(self, instrument_id: int, instrument: _Instrument, body: bytes) -> None:
        if not self._decoder.decode_snapshot(body, instrument_id, time.monotonic_ns()):
            self._page.count(counters.GARBAGE.id)
            return
        event = instrument.book.on_snapshot(self._decoder)
        self._is_snapshot_stale = event == BookEvent.STALE_SNAPSHOT
        if event == BookEvent.APPLIED:
            self._publish_book(instrument_id, instrument)
            self._go_live(instrument_id, instrument, time.monotonic_ns())
            self._on_batch_end()

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Staleness by the clock: a silent feed calls nobody."""
        if now_ns - self._checked_ns < STALE_CHECK_NS:
            return 0
        self._checked_ns = now_ns
        self._count(counters.FRAMES, self._decoder.frames)
        books = [instrument.book for instrument in self._instruments.values()]
        self._count(counters.BOOK_CHECKS, sum(book.comparisons for book in books))
        self._count(counters.BOOK_MISMATCHES, sum(book.mismatches for book in books))
        stale_ns = self._config.stale_ms * NS_PER_MS
        for instrument_id, instrument in self._instruments.items():
            if instrument.state == FeedState.LIVE and now_ns - instrument.recv_ns > stale_ns:
                self._page.count(counters.STALE.id)
                self._set_state(instrument_id, instrument, FeedState.STALE, now_ns)
            elif instrument.book.is_thin and now_ns - instrument.refreshed_ns > REFRESH_NS:
                # The price has left what the snapshot showed: a new one, beside the living book.
                instrument.refreshed_ns = now_ns
                instrument.book.begin_refresh()
                self._fetch_snapshot(instrument_id, instrument)
        if self._staged:
            self._market.publish()
            self._page.count(counters.RECORDS.id, self._staged)
            self._staged = 0
            return 1
        return 0

    def _count(self, spec: counters.CounterSpec, total: int) -> None:
        """Bring a counter of the page up to what this life has counted elsewhere."""
        self._page.count(spec.id, total - self._counted.get(spec.id, 0))
        self._counted[spec.id] = total

    def on_stop(self, now_ns: int) -> bool:
        """Market data has nothing to bring to an end."""
        return True

    def on_close(self) -> None:
        """Close the sockets."""
        self._stopping = True
        for session in self._sessions:
            session.stop()
        for task in self._tasks:
            task.cancel()
        if self._rest is not None and self._loop is not None:
            with contextlib.suppress(HftError, RuntimeError, OSError):  # the process ends anyway
                self._loop.run_until_complete(self._rest.close())
