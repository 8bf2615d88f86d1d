"""Venue streams in, normalised records out.

Sole writer of ``market``, ``depth``, ``tops``, ``marks``, ``books`` and ``instruments``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hft import counters
from hft.config import VenueConfig
from hft.core.book import BookEvent
from hft.core.generated.views import Book as BookCell
from hft.core.generated.views import FeedStatus, TopOfBook
from hft.counters import RoleState
from hft.errors import HftError, VenueError
from hft.records import FeedState, Flag, Kind, Mode
from hft.roles.context import Context
from hft.roles.feed_instrument import FeedInstrument
from hft.roles.feed_intake import FeedIntake
from hft.roles.instrument_table import InstrumentKeeper, InstrumentTable
from hft.roles.snapshots import Snapshots, Tasks
from hft.roles.venue_access import VenueLimits, make_rest
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm import codec
from hft.venues.binance_usdm.endpoints import Endpoints, Route
from hft.venues.binance_usdm.exchange_info import CONTRACT_STREAM, parse_contract_change
from hft.venues.binance_usdm.market_session import MarketSession, SessionState
from hft.venues.binance_usdm.rest import RestClient

STALE_CHECK_NS: Final = 50 * NS_PER_MS
REFRESH_NS: Final = 10 * NS_PER_S
"""A living book that has become thin is refreshed at most this often."""
SNAPSHOT_WAIT_NS: Final = 2 * NS_PER_S
"""Frames that still end before a snapshot after so long are of another numbering than it is."""
RECONNECT_NS: Final = 10 * NS_PER_S
"""A connection on which one stream is missing is renewed at most this often."""


class Feed:
    """One market-data session for all instruments; keeps the books, publishes what changed."""

    name = "feed"
    period_ns = STALE_CHECK_NS
    """Frames come from sockets; beside them there is only the clock."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.feed
        self._venue: VenueConfig = context.config.venue
        self._limits = VenueLimits(context)
        market, record = context.ring_writer("market")
        depth, _ = context.ring_writer("depth")
        self._tops, top_cell = context.cell_writer("tops")
        self._marks, self._mark_cell = context.cell_writer("marks")
        self._books, book_cell = context.cell_writer("books")
        self._record = record
        self._stale_ns = self._config.stale_ms * NS_PER_MS
        self._top_cell = top_cell
        self._top_view = TopOfBook(top_cell)
        self._book_cell = BookCell(book_cell)
        self._status = FeedStatus(record)
        self._table = InstrumentTable(context)
        symbols = {i.symbol: i.instrument_id for i in context.plan.instruments}
        self._decoder = codec.MarketDecoder(symbols, record)
        self._instruments = {
            i.instrument_id: FeedInstrument(i.instrument_id, i.symbol)
            for i in context.plan.instruments
        }
        self.intake = FeedIntake(
            self,
            self._decoder,
            record,
            market,
            depth,
            self._tops,
            self._books,
            self._page,
            self._instruments,
            self._stale_ns,
        )
        self._sessions: list[MarketSession] = []
        self._rest: RestClient | None = None
        self._keeper: InstrumentKeeper | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard: Callable[[Callable[..., None]], Callable[..., None]] = lambda handler: handler
        self._execution = context.page_of("execution")
        self._offset_ns = 0
        self._counted: dict[int, int] = {}
        self._reconnected_ns = 0
        self._tasks: Tasks | None = None
        self._snapshots: Snapshots | None = None

    def on_start(self, now_ns: int) -> None:
        """Tell everybody that nothing known of the market holds any more."""
        self._page.state = int(RoleState.RECOVERING)
        for instrument in self._instruments.values():
            instrument.is_trading = self._table.is_trading(instrument.instrument_id)
            self._judge(instrument, now_ns)

    def start_sessions(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        """Open the market connections: high-frequency streams and the regular ones apart."""
        self._loop = loop
        self._guard = self._breaking(guard)
        self.intake.call_after_batch(turn)
        self._rest = make_rest(self._context, self._config.weight_share, limits=self._limits)
        self._tasks = Tasks(loop)
        self._snapshots = Snapshots(self._rest, self._guard(self._on_snapshot), self._tasks)
        lower = [instrument.symbol.lower() for instrument in self._instruments.values()]
        fast = [f"{symbol}@bookTicker" for symbol in lower]
        fast += [f"{symbol}@depth@{self._venue.depth_stream}" for symbol in lower]
        if self._config.trades:
            fast += [f"{symbol}@trade" for symbol in lower]
        self._open("public", fast)
        if self._config.mark_price:
            marks = [f"{symbol}@markPrice@1s" for symbol in lower]
            self._open("market", marks, quiet=(CONTRACT_STREAM,))
        self._keeper = InstrumentKeeper(
            self._rest,
            on_body=self._guard(self._on_exchange_info),
            is_doubtful=lambda: self._table.is_doubtful,
            refresh_s=self._config.refresh_s,
        )
        self._tasks.start(self._keeper.run())

    @property
    def hot_reads(self) -> list[Callable[[], None]]:
        """Who spins calls these over and over: each reads a socket that ticks come by."""
        return [session.read for session in self._sessions if session.route == "public"]

    def _open(self, route: Route, streams: list[str], quiet: Sequence[str] = ()) -> None:
        assert self._loop is not None
        on_state = self._on_public_state if route == "public" else self._on_market_state
        session = MarketSession(
            route,
            streams,
            endpoints=Endpoints.from_config(self._venue),
            sink=self.intake,
            on_error=self._guard(_raise),
            on_state=self._limits.watched(route, self._guard(on_state)),
            first_data_s=self._venue.first_data_s,
            silence_s=self._venue.silence_s,
            rotate_s=self._venue.rotate_s,
            quiet=quiet,
            may_connect=self._limits.may_connect(route),
            on_refused=self._limits.on_refused,
        )
        self._sessions.append(session)
        session.start(self._loop)

    def _breaking(
        self, guard: Callable[[Callable[..., None]], Callable[..., None]]
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """A guard after which no frame is taken any more: our state may be torn."""

        def guarding(handler: Callable[..., None]) -> Callable[..., None]:
            def breaking(*arguments: object) -> None:
                try:
                    handler(*arguments)
                except Exception:
                    self.intake.is_broken = True
                    raise

            return guard(breaking)

        return guarding

    # -- what the intake does not do itself -----------------------------------------------------

    def on_other(self, kind: int, frame: memoryview, recv_ns: int) -> None:
        """A frame that is neither top, depth nor trade."""
        if kind == codec.MARK:
            self._mark_cell[:] = self._record
            self._marks.write(self._decoder.instrument_id)
            self.intake.put_frame(recv_ns)
        elif kind == codec.CONTRACT_INFO:
            self._on_contract(frame, recv_ns)
        elif kind == codec.GARBAGE:
            self._page.count(counters.GARBAGE.id)

    def on_mismatch(self, instrument: FeedInstrument, now_ns: int) -> None:
        """The ticker says that the book is wrong."""
        self._resync(instrument, FeedState.GAPPED, now_ns)

    def on_doubtful_top(self, instrument: FeedInstrument, now_ns: int) -> None:
        """A top ends the silence, or comes too late to be trusted; it is published next."""
        self._judge(instrument, now_ns, has_top=True)

    def on_wrong_book(self, instrument: FeedInstrument, now_ns: int) -> None:
        """After a depth event the book is crossed, or differs from the ticker."""
        self._page.count(counters.CROSSED.id, instrument.book.is_crossed)
        self._resync(instrument, FeedState.GAPPED, now_ns)

    def on_in_step(self, instrument: FeedInstrument, now_ns: int) -> None:
        """The book follows the stream, and its data were not trusted before."""
        self._judge(instrument, now_ns)

    def on_out_of_step(self, instrument: FeedInstrument, is_gap: bool, now_ns: int) -> None:
        """The book needs a snapshot: frames are missing, or it begins."""
        if is_gap:
            self._page.count(counters.GAPS.id)
            instrument.unsynced_state = FeedState.GAPPED
            self._judge(instrument, now_ns)
        self._fetch_snapshot(instrument)

    def _on_contract(self, frame: memoryview, recv_ns: int) -> None:
        """A symbol's status is known at once; what else changed is in exchangeInfo."""
        change = parse_contract_change(frame)
        if change is not None:
            self._on_rows_changed(self._table.on_contract_change(change, recv_ns), recv_ns)
            if self._decoder.instrument_id and self._keeper is not None:
                self._keeper.hint()

    # -- quality of the data --------------------------------------------------------------------

    def _judge(self, instrument: FeedInstrument, now_ns: int, *, has_top: bool = False) -> None:
        """Publish how far the data may be trusted, when that has changed.

        ``has_top``: the newest top is about to be published; else the book has to provide it, as
        no ticker comes for what changed while nobody could hear it.
        """
        before, state = instrument.state, instrument.judge(now_ns, self._stale_ns)
        if state is before:
            return
        instrument.state = state
        if state is FeedState.STALE:
            self._page.count(counters.STALE.id)
        elif state is FeedState.LIVE and before in (FeedState.SYNCING, FeedState.GAPPED):
            self._page.count(counters.RESYNCS.id)
        decoded = bytes(self._record)  # the buffer may hold a frame that is still to be published
        self._publish_status(instrument, now_ns)
        if state is FeedState.LIVE and not has_top:
            self._publish_top_of(instrument)
        self._record[:] = decoded

    def _publish_status(self, instrument: FeedInstrument, now_ns: int) -> None:
        """Announce a change of quality, and mark the latest values with it."""
        status, book, state = self._status, instrument.book, instrument.state
        instrument_id = instrument.instrument_id
        status.clear()
        status.kind, status.mode = int(Kind.FEED_STATUS), int(Mode.LIVE)
        status.flags = int(Flag.LAST)
        status.instrument_id, status.feed_state = instrument_id, int(state)
        status.recv_ns = status.origin_ns = now_ns
        status.gaps = book.gaps
        if state is FeedState.GAPPED:
            status.expected_seq, status.received_seq = book.expected_seq, book.received_seq
        self.intake.put()
        if self._tops.read(instrument_id):
            self._top_view.feed_state = int(state)
            self._tops.write(instrument_id)
        if self._books.read(instrument_id):
            self._book_cell.feed_state = int(state)
            self._books.write(instrument_id)
        states = [other.state for other in self._instruments.values()]
        self._page.set_gauge(counters.LIVE_INSTRUMENTS.id, states.count(FeedState.LIVE))
        if self._page.state == RoleState.RECOVERING and all(
            state in (FeedState.LIVE, FeedState.HALTED) for state in states
        ):
            self._page.state = int(RoleState.READY)

    def _publish_top_of(self, instrument: FeedInstrument) -> None:
        """The book's best levels as the newest top, unless the ticker is further."""
        book = instrument.book
        if book.last_seq <= instrument.top_seq:
            return
        instrument.top_seq = book.last_seq
        book.fill_top(self._record)
        self._top_cell[:] = self._record
        self._tops.write(instrument.instrument_id)
        self.intake.put()

    def _resync(
        self,
        instrument: FeedInstrument,
        state: FeedState,
        now_ns: int,
        *,
        is_new_connection: bool = False,
    ) -> None:
        instrument.restart(state, is_new_connection=is_new_connection)
        self._judge(instrument, now_ns)

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
            for instrument in self._instruments.values():
                self._resync(instrument, FeedState.SYNCING, now_ns, is_new_connection=True)
            self.intake.on_batch_end()

    def _on_market_state(self, state: SessionState, detail: str) -> None:
        """What the stream told of contracts is old once it was interrupted."""
        if state is SessionState.DOWN:
            self._page.count(counters.RECONNECTS.id)
        if state in (SessionState.OPEN, SessionState.ROTATED):
            self._table.forget_told()
            if self._keeper is not None:
                self._keeper.hint()

    # -- instrument table -----------------------------------------------------------------------

    def _on_exchange_info(self, body: bytes) -> None:
        """The venue's rules as they are now; a body that is none changes nothing."""
        now_ns = time.monotonic_ns()
        try:
            changed = self._table.on_exchange_info(body, now_ns)
        except VenueError:
            self._page.count(counters.GARBAGE.id)
            return
        if changed:
            self._on_rows_changed(changed, now_ns)
            self.intake.on_batch_end()

    def _on_rows_changed(self, changed: Iterable[int], now_ns: int) -> None:
        for instrument_id in changed:
            instrument = self._instruments[instrument_id]
            instrument.is_trading = self._table.is_trading(instrument_id)
            self._judge(instrument, now_ns)

    # -- snapshots ------------------------------------------------------------------------------

    def _fetch_snapshot(self, instrument: FeedInstrument) -> None:
        assert self._snapshots is not None
        self._snapshots.fetch(instrument)

    def _on_snapshot(self, instrument: FeedInstrument, body: bytes) -> None:
        now_ns = time.monotonic_ns()
        if not self._decoder.decode_snapshot(body, instrument.instrument_id, now_ns):
            self._page.count(counters.GARBAGE.id)
            return
        event = instrument.snapshot_event = instrument.book.on_snapshot(self._decoder)
        instrument.waiting_ns = now_ns if event == BookEvent.WAITING else 0
        if event == BookEvent.APPLIED:
            self.intake.publish_book(instrument)
            self._judge(instrument, now_ns)
            self.intake.on_batch_end()

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Silence is judged by the clock: a silent feed calls nobody."""
        offset_ns = self._execution.gauge(counters.CLOCK_OFFSET_NS.id)
        if offset_ns != self._offset_ns:  # our wall clock may step between two measurements
            self._offset_ns = offset_ns
            self._decoder.venue_ahead_ns = time.time_ns() - time.monotonic_ns() + offset_ns
        self._count(counters.FRAMES, self._decoder.frames)
        books = [instrument.book for instrument in self._instruments.values()]
        self._count(counters.BOOK_CHECKS, sum(book.comparisons for book in books))
        self._count(counters.BOOK_MISMATCHES, sum(book.mismatches for book in books))
        for instrument in self._instruments.values():
            self._check(instrument, now_ns)
        return min(self.intake.publish(), 1)

    def _check(self, instrument: FeedInstrument, now_ns: int) -> None:
        """What no frame tells: silence, a stream that is missing, a snapshot nobody reaches."""
        book = instrument.book
        if book.is_live:
            if self._tops.read(instrument.instrument_id):
                instrument.note_apart(self._top_view.bid_e8, self._top_view.ask_e8, now_ns)
            if book.is_thin and now_ns - instrument.refreshed_ns > REFRESH_NS:
                # The price has left what the snapshot showed: a new one, beside the living book.
                instrument.refreshed_ns = now_ns
                book.begin_refresh()
                self._fetch_snapshot(instrument)
        elif instrument.is_out_of_reach(SNAPSHOT_WAIT_NS):
            instrument.waiting_ns = 0
            self._fetch_snapshot(instrument)
        self._judge(instrument, now_ns)
        missing = instrument.silent_stream(now_ns, self._stale_ns)
        if missing and now_ns - self._reconnected_ns > RECONNECT_NS:
            self._reconnected_ns = now_ns
            for session in self._sessions:
                if session.route == "public":
                    session.reconnect(f"{missing} of {instrument.symbol} is missing")

    def _count(self, spec: counters.CounterSpec, total: int) -> None:
        """Bring a counter of the page up to what this life has counted elsewhere."""
        self._page.count(spec.id, total - self._counted.get(spec.id, 0))
        self._counted[spec.id] = total

    def on_stop(self, now_ns: int) -> bool:
        """Market data has nothing to bring to an end."""
        return True

    def on_close(self) -> None:
        """Close the sockets."""
        for session in self._sessions:
            session.stop()
        if self._tasks is not None:
            self._tasks.cancel()
        if self._rest is not None and self._loop is not None:
            with contextlib.suppress(HftError, RuntimeError, OSError):  # the process ends anyway
                self._loop.run_until_complete(self._rest.close())


def _raise(error: Exception) -> None:
    """What a guard is given to hear of an error that was caught already."""
    raise error
