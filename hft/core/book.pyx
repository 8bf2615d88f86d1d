"""The order book replica of one instrument: pure, no I/O, no clock.

``Book`` keeps the levels and is at the same time the state machine of the documented procedure
(Binance USD-M API, "How to manage a local order book correctly"): buffer the diffs, fetch a
snapshot, drop what it contains, start at the diff that spans it, and from then on accept only diffs
that name their predecessor. ``TopChecker`` holds the book against the ticker stream, whose update
ids are of the same space.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from hft.core.depth cimport DepthUpdate, Frame, FrameBuffer, is_repeated, open_record
from hft.core.generated.records cimport hft_book, hft_header, hft_top_of_book
from hft.core.ladder cimport (
    BOOK_LEVELS, Ladder, ladder_copy, ladder_free, ladder_is_thin, ladder_level_count, ladder_load,
    ladder_set)

from enum import IntEnum

from hft import records


class BookEvent(IntEnum):
    """What an event did to the book. Methods return plain ints that equal these."""

    APPLIED = 1
    """The book is in step with the stream. It may have become so by this very event."""
    BUFFERED = 2
    """Kept until the snapshot comes."""
    NEED_SNAPSHOT = 3
    """Kept, and a snapshot should be fetched now."""
    GAP = 4
    """Frames are missing: no longer valid for trading; fetch a snapshot."""
    DISCARDED = 5
    """A repeated or late frame, or a snapshot that nobody waits for."""
    STALE_SNAPSHOT = 6
    """Older than the stream: fetch again; the buffered frames are kept."""
    WAITING = 7
    """Newer than the stream: kept until the diff that spans it comes. Do not fetch again."""


class TopCheck(IntEnum):
    """Outcome of holding the book against a ticker. Methods return plain ints that equal these."""

    NOT_COMPARABLE = 0
    MATCH = 1
    MISMATCH = 2


cdef enum:
    TICKERS = 1024  # a power of two; more than a busy instrument has between two depth events
    PENDING = 256  # a power of two: what a quiet ticker lets pile up

    KIND_TOP_OF_BOOK = 1
    KIND_BOOK = 20
    MODE_LIVE = 1
    STATE_SYNCING = 1
    STATE_LIVE = 2
    STATE_GAPPED = 3

assert (BOOK_LEVELS, MODE_LIVE) == (records.BOOK_LEVELS, records.Mode.LIVE)
assert (KIND_TOP_OF_BOOK, KIND_BOOK) == (records.Kind.TOP_OF_BOOK, records.Kind.BOOK)
assert (STATE_SYNCING, STATE_LIVE, STATE_GAPPED) == (
    records.FeedState.SYNCING, records.FeedState.LIVE, records.FeedState.GAPPED)

LEVELS_MAX = 8192
SNAPSHOT_LEVELS = 1000


# -- the check against the ticker -------------------------------------------------------------


cdef class TopChecker:
    """Holds the book's best levels against the ticker stream of the same connection.

    Both streams number book updates from one space. A depth event covers the ids U to u, and each
    change of the best levels has a ticker of its own. So the book's best after the event must equal
    the last ticker with an id of at most u, provided that this id is at least U; and a ticker is
    known to be the last one when its id is u, or as soon as one beyond u arrives. The streams
    overtake each other, so tickers and undecided events are both kept, in rings: what has been
    overwritten is not compared.
    """

    def __cinit__(self):
        self.tickers = <Top *> malloc(TICKERS * sizeof(Top))
        self.pending = <Top *> malloc(PENDING * sizeof(Top))
        if self.tickers == NULL or self.pending == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.tickers)
        free(self.pending)

    cdef void clear_pending(self) noexcept nogil:
        self.pending_head = self.pending_tail

    cdef void clear(self) noexcept nogil:
        self.clear_pending()
        self.ticker_head = self.ticker_tail

    cdef int on_ticker(self, const Top *ticker) noexcept nogil:
        """Take a ticker in; its id is not below those before it. Outcome of what it decides."""
        if self.ticker_tail != self.ticker_head:
            # Repeats and late copies, as two overlapping connections bring them, say nothing new.
            if ticker.last_seq <= self.tickers[(self.ticker_tail - 1) % TICKERS].last_seq:
                return NOT_COMPARABLE
        if self.ticker_tail - self.ticker_head == TICKERS:
            self.ticker_head += 1
        self.tickers[self.ticker_tail % TICKERS] = ticker[0]
        self.ticker_tail += 1
        return self.resolve()

    cdef int on_book(self, const Top *top) noexcept nogil:
        """Take in the best levels after one depth event. Outcome of what it decides."""
        if self.pending_tail - self.pending_head == PENDING:
            self.pending_head += 1
        self.pending[self.pending_tail % PENDING] = top[0]
        self.pending_tail += 1
        return self.resolve()

    cdef int resolve(self) noexcept nogil:
        """Compare every event that the newest ticker decides: its id is the event's or beyond."""
        cdef int outcome = NOT_COMPARABLE
        cdef uint64_t newest_seq
        if self.ticker_head == self.ticker_tail:
            return outcome
        newest_seq = self.tickers[(self.ticker_tail - 1) % TICKERS].last_seq
        while (self.pending_head != self.pending_tail
               and self.pending[self.pending_head % PENDING].last_seq <= newest_seq):
            outcome = max(outcome, self.compare_oldest(False))
        return outcome

    cdef int finish(self) noexcept nogil:
        """The streams have ended: compare what the last ticker matches, drop what it does not."""
        cdef int outcome = NOT_COMPARABLE
        while self.ticker_head != self.ticker_tail and self.pending_head != self.pending_tail:
            outcome = max(outcome, self.compare_oldest(True))
        return outcome

    cdef int compare_oldest(self, bint is_end) noexcept nogil:
        """Compare the oldest undecided event with the last ticker that it covers."""
        cdef const Top *top = &self.pending[self.pending_head % PENDING]
        cdef const Top *ticker
        self.pending_head += 1
        while (self.ticker_head + 1 != self.ticker_tail
               and self.tickers[(self.ticker_head + 1) % TICKERS].last_seq <= top.last_seq):
            self.ticker_head += 1
        ticker = &self.tickers[self.ticker_head % TICKERS]
        if not top.first_seq <= ticker.last_seq <= top.last_seq:
            return NOT_COMPARABLE
        if (top.bid_e8 == ticker.bid_e8 and top.bid_qty_e8 == ticker.bid_qty_e8
                and top.ask_e8 == ticker.ask_e8 and top.ask_qty_e8 == ticker.ask_qty_e8):
            self.comparisons += 1
            return MATCH
        if is_end and ticker.last_seq < top.last_seq:
            return NOT_COMPARABLE  # the ticker that would have matched may be cut off
        self.comparisons += 1
        self.mismatches += 1
        return MISMATCH


# -- the book ---------------------------------------------------------------------------------


cdef class Book:
    """L2 replica of one instrument and the synchronisation procedure as a state machine.

    Start: ``on_depth`` buffers and answers ``NEED_SNAPSHOT`` once; ``on_snapshot`` brings the book
    in step, or says that the snapshot is too old (fetch again) or ahead (wait). A frame that does
    not name its predecessor is a ``GAP``: ``is_live`` is False until the next snapshot.

    What is known: a snapshot ends somewhere, and levels behind its end are known only once they
    change. A side has room for ``levels_max`` levels, among them those removed a while ago; when it
    is full these are forgotten, and of the others the worst, down to three quarters. Neither
    touches the top until the market has travelled that far, and ``is_thin`` says when it has come
    near: then call ``begin_refresh`` and fetch a snapshot. The old book stays live until the new
    one takes its place in one step.
    """

    def __cinit__(self, instrument_id, *, levels_max=LEVELS_MAX):
        if levels_max < 4 * BOOK_LEVELS:
            raise ValueError(f"levels_max is {levels_max}, a side needs {4 * BOOK_LEVELS}")
        self.instrument_id = instrument_id
        self.levels_max = levels_max
        self.buffer = FrameBuffer()
        self.checker = TopChecker()
        self.bids.floor = self.asks.floor = INT64_MIN
        self.is_buffering = True

    def __dealloc__(self):
        ladder_free(&self.bids)
        ladder_free(&self.asks)
        ladder_free(&self.snapshot_bids)
        ladder_free(&self.snapshot_asks)

    # -- events -------------------------------------------------------------------------------

    def on_depth(self, DepthUpdate update not None):
        """Take in one diff event. Returns a ``BookEvent``.

        ``APPLIED`` may be the answer that brings the book in step, when a snapshot was waiting.
        """
        return self.take_depth(update)

    cdef int take_depth(self, DepthUpdate update) except -1:
        cdef int event
        if update.instrument_id != self.instrument_id:
            raise ValueError(f"event of instrument {update.instrument_id} in the book "
                             f"of instrument {self.instrument_id}")
        if self.is_live:
            if update.frame.previous_seq != self.last_seq:
                if is_repeated(&update.frame, self.last_seq, self.venue_ns):
                    return DISCARDED
                self.note_gap(update.frame.previous_seq)
                self.keep(update)
                self.is_requested = True
                return GAP
            self.apply(&update.frame, update.prices, update.qtys)
            if not self.is_buffering:
                return APPLIED
        event = self.keep(update)
        if event == BUFFERED and self.has_snapshot:
            event = self.synchronise()
        if self.is_live:
            return APPLIED
        if event == DISCARDED:
            return DISCARDED
        if event == STALE_SNAPSHOT or not self.is_requested:
            self.is_requested = True
            return NEED_SNAPSHOT
        return BUFFERED

    def on_snapshot(self, DepthUpdate update not None, *, Py_ssize_t levels_limit=SNAPSHOT_LEVELS):
        """Take in a REST depth reply that was asked for with ``levels_limit`` levels a side.

        Returns ``APPLIED`` (in step; buffered frames replayed), ``STALE_SNAPSHOT`` (fetch again),
        ``WAITING`` (the next frames decide) or ``DISCARDED`` (the book is live and no refresh was
        begun, so that the frames since the snapshot are not there).
        """
        if update.instrument_id != self.instrument_id:
            raise ValueError(f"snapshot of instrument {update.instrument_id} in the book "
                             f"of instrument {self.instrument_id}")
        if not self.is_buffering:
            return DISCARDED
        self.load(update, levels_limit)
        return self.synchronise()

    def on_reset(self):
        """The connection is lost, or the book has proved wrong: start over with the next frame."""
        self.is_live = False
        self.is_gapped = False
        self.is_buffering = True
        self.is_requested = False
        self.has_snapshot = False
        self.unreported_check = NOT_COMPARABLE
        self.buffer.clear()
        self.checker.clear()

    def begin_refresh(self):
        """From now on keep the frames beside applying them, so that a new snapshot can be taken."""
        self.is_buffering = True

    def check_top(self, record):
        """Hold the book against a ticker: a ``TopOfBook`` view or a buffer with such a record.

        The two streams overtake each other, so a ticker may decide several events, or none yet.
        Returns the outcome of everything decided since the last call as a ``TopCheck``: one
        mismatch makes it ``MISMATCH``. ``comparisons`` and ``mismatches`` count them all. A ticker
        that is crossed itself is a mismatch whatever the book says.
        """
        cdef Py_buffer view
        cdef const hft_top_of_book *top = <const hft_top_of_book *> open_record(
            record, sizeof(hft_top_of_book), PyBUF_SIMPLE, &view)
        cdef bint is_ours = (
            top.kind == KIND_TOP_OF_BOOK and top.instrument_id == self.instrument_id)
        cdef int outcome = self.check_ticker(top) if is_ours else NOT_COMPARABLE
        PyBuffer_Release(&view)
        if not is_ours:
            raise ValueError(f"not a top of book of instrument {self.instrument_id}")
        return outcome

    cdef int check_ticker(self, const hft_top_of_book *top) noexcept nogil:
        """``check_top`` for a caller that holds a record of this instrument."""
        cdef Top ticker
        cdef int outcome
        ticker.first_seq = ticker.last_seq = top.venue_seq
        ticker.bid_e8 = top.bid_e8
        ticker.ask_e8 = top.ask_e8
        ticker.bid_qty_e8 = top.bid_qty_e8
        ticker.ask_qty_e8 = top.ask_qty_e8
        if not ticker.last_seq:
            return NOT_COMPARABLE
        outcome = max(self.checker.on_ticker(&ticker), self.unreported_check)
        if ticker.bid_e8 >= ticker.ask_e8 and ticker.ask_e8 != INT64_MIN:
            outcome = MISMATCH
        self.unreported_check = NOT_COMPARABLE
        return outcome

    def finish_checks(self):
        """The streams have ended: decide the events that only a later ticker would have decided.

        Equal to the last ticker is a match; unequal decides nothing, because the ticker that would
        have matched may be the one that is missing.
        """
        return self.checker.finish()

    # -- what it knows ------------------------------------------------------------------------

    @property
    def comparisons(self):
        """Comparisons with tickers so far."""
        return self.checker.comparisons

    @property
    def mismatches(self):
        """Comparisons that failed."""
        return self.checker.mismatches

    @property
    def is_contradicted(self):
        """Has a depth event decided that a ticker differs? ``check_top`` will report it too."""
        return self.unreported_check == MISMATCH

    @property
    def is_crossed(self):
        """Is the best bid at or above the best ask? Then the book is wrong."""
        return self.crosses()

    cdef bint crosses(self) noexcept nogil:
        return (self.bids.count > 0 and self.asks.count > 0
                and self.bids.keys[self.bids.count - 1] >= -self.asks.keys[self.asks.count - 1])

    @property
    def is_thin(self):
        """Has the market travelled to where fewer than twenty levels a side are certain?"""
        return ladder_is_thin(&self.bids) or ladder_is_thin(&self.asks)

    @property
    def bid_count(self):
        """Bid levels held."""
        return ladder_level_count(&self.bids)

    @property
    def ask_count(self):
        """Ask levels held."""
        return ladder_level_count(&self.asks)

    @property
    def bid_e8(self):
        """Best bid price, ``NO_PRICE_E8`` when there is none."""
        return self.bids.keys[self.bids.count - 1] if self.bids.count else INT64_MIN

    @property
    def ask_e8(self):
        """Best ask price, ``NO_PRICE_E8`` when there is none."""
        return -self.asks.keys[self.asks.count - 1] if self.asks.count else INT64_MIN

    @property
    def bid_qty_e8(self):
        """Quantity at the best bid, 0 when there is none."""
        return self.bids.qtys[self.bids.count - 1] if self.bids.count else 0

    @property
    def ask_qty_e8(self):
        """Quantity at the best ask, 0 when there is none."""
        return self.asks.qtys[self.asks.count - 1] if self.asks.count else 0

    def levels(self, side, Py_ssize_t level_count):
        """Pairs of price and quantity, best first: ``Side.BUY`` bids, ``Side.SELL`` asks."""
        cdef int sign = side
        cdef Ladder *ladder = &self.bids if sign > 0 else &self.asks
        found = []
        cdef Py_ssize_t i
        for i in range(ladder.count - 1, -1, -1):
            if len(found) >= level_count:
                break
            if ladder.qtys[i]:
                found.append((sign * ladder.keys[i], ladder.qtys[i]))
        return found

    def fill_top(self, record):
        """Write a ``TOP_OF_BOOK`` record of the book into a view or a writable buffer."""
        cdef Py_buffer view
        cdef Top best
        cdef hft_top_of_book *top = <hft_top_of_book *> open_record(
            record, sizeof(hft_top_of_book), PyBUF_WRITABLE, &view)
        memset(top, 0, sizeof(hft_top_of_book))
        self.fill_header(<hft_header *> top, KIND_TOP_OF_BOOK)
        self.read_top(&best)
        top.bid_e8 = best.bid_e8
        top.ask_e8 = best.ask_e8
        top.bid_qty_e8 = best.bid_qty_e8
        top.ask_qty_e8 = best.ask_qty_e8
        top.as_of_ns = self.as_of_ns
        top.venue_ns = self.venue_ns
        top.venue_seq = self.last_seq
        top.feed_state = self.feed_state()
        top.is_book = 1
        PyBuffer_Release(&view)

    def fill_book(self, record):
        """Write a ``BOOK`` record, twenty levels a side, into a view or a writable buffer."""
        cdef Py_buffer view
        cdef hft_book *book = <hft_book *> open_record(
            record, sizeof(hft_book), PyBUF_WRITABLE, &view)
        self.write_book(book)
        PyBuffer_Release(&view)

    cdef void write_book(self, hft_book *book) noexcept nogil:
        """``fill_book`` for a caller that holds the record."""
        memset(book, 0, sizeof(hft_book))
        self.fill_header(<hft_header *> book, KIND_BOOK)
        book.as_of_ns = self.as_of_ns
        book.venue_ns = self.venue_ns
        book.venue_seq = self.last_seq
        book.feed_state = self.feed_state()
        book.bid_count = ladder_copy(&self.bids, 1, book.bid_e8, book.bid_qty_e8)
        book.ask_count = ladder_copy(&self.asks, -1, book.ask_e8, book.ask_qty_e8)

    # -- inside -------------------------------------------------------------------------------

    cdef int apply(self, const Frame *frame, const int64_t *prices, const int64_t *qtys) except -1:
        """Set every level of one event and hand the new top to the checker."""
        cdef Py_ssize_t i
        cdef Top top
        for i in range(frame.bid_start, frame.bid_start + frame.bid_count):
            if not ladder_set(&self.bids, prices[i], qtys[i], self.levels_max):
                raise MemoryError
        for i in range(frame.ask_start, frame.ask_start + frame.ask_count):
            if not ladder_set(&self.asks, -prices[i], qtys[i], self.levels_max):
                raise MemoryError
        self.last_seq = frame.last_seq
        self.recv_ns = frame.recv_ns
        self.as_of_ns = frame.as_of_ns
        self.venue_ns = frame.venue_ns
        self.read_top(&top)
        top.first_seq = frame.first_seq
        top.last_seq = frame.last_seq
        self.unreported_check = max(self.unreported_check, self.checker.on_book(&top))
        return 0

    cdef void note_gap(self, uint64_t received_seq) noexcept nogil:
        self.expected_seq = self.last_seq
        self.received_seq = received_seq
        self.gaps += 1
        self.is_live = False
        self.is_gapped = True
        self.is_buffering = True
        self.has_snapshot = False
        self.buffer.clear()
        self.checker.clear()

    cdef int keep(self, DepthUpdate update) except -1:
        """Buffer a frame. Those before a break are useless: nothing can be chained to them."""
        cdef const Frame *newest
        if self.buffer.count:
            newest = self.buffer.at(-1)
            if update.frame.previous_seq != newest.last_seq:
                if is_repeated(&update.frame, newest.last_seq, newest.venue_ns):
                    return DISCARDED
                self.buffer.clear()
        self.buffer.append(update)
        return BUFFERED

    cdef int load(self, DepthUpdate update, Py_ssize_t levels_limit) except -1:
        """Set the snapshot aside. Sides with fewer levels than asked for are complete."""
        cdef Frame *frame = &update.frame
        ladder_load(&self.snapshot_bids, update, frame.bid_start, frame.bid_count, 1,
                    levels_limit, self.levels_max)
        ladder_load(&self.snapshot_asks, update, frame.ask_start, frame.ask_count, -1,
                    levels_limit, self.levels_max)
        self.snapshot_seq = frame.last_seq
        self.has_snapshot = True
        return 0

    cdef int synchronise(self) except -1:
        """Steps 3 to 5 of the procedure, as far as the buffered frames allow."""
        cdef Py_ssize_t covered = 0
        while (covered < self.buffer.count
               and self.buffer.at(covered).last_seq < self.snapshot_seq):
            covered += 1
        self.buffer.drop(covered)
        if not self.buffer.count:
            if not self.is_live or self.snapshot_seq > self.last_seq:
                return WAITING
        elif self.buffer.at(0).previous_seq < self.snapshot_seq:
            return self.replay()
        self.has_snapshot = False
        return STALE_SNAPSHOT

    cdef int replay(self) except -1:
        """Put the snapshot in the book's place and apply the frames that follow it.

        The first frame may begin before the snapshot: quantities are absolute, so what it repeats
        does no harm, and its own predecessor is not compared. The others are chained (``keep``).
        """
        cdef Py_ssize_t i
        self.bids, self.snapshot_bids = self.snapshot_bids, self.bids
        self.asks, self.snapshot_asks = self.snapshot_asks, self.asks
        self.checker.clear_pending()
        for i in range(self.buffer.count):
            self.apply(self.buffer.at(i), self.buffer.prices, self.buffer.qtys)
        self.buffer.clear()
        self.resyncs += self.has_synced and not self.is_live
        self.has_synced = True
        self.is_live = True
        self.is_gapped = False
        self.is_buffering = False
        self.is_requested = False
        self.has_snapshot = False
        return APPLIED

    cdef void read_top(self, Top *top) noexcept nogil:
        cdef Py_ssize_t bid = self.bids.count - 1
        cdef Py_ssize_t ask = self.asks.count - 1
        top.bid_e8 = self.bids.keys[bid] if bid >= 0 else INT64_MIN
        top.bid_qty_e8 = self.bids.qtys[bid] if bid >= 0 else 0
        top.ask_e8 = -self.asks.keys[ask] if ask >= 0 else INT64_MIN
        top.ask_qty_e8 = self.asks.qtys[ask] if ask >= 0 else 0

    cdef uint8_t feed_state(self) noexcept nogil:
        if self.is_live:
            return STATE_LIVE
        return STATE_GAPPED if self.is_gapped else STATE_SYNCING

    cdef void fill_header(self, hft_header *header, uint16_t kind) noexcept nogil:
        header.origin_ns = self.recv_ns
        header.instrument_id = self.instrument_id
        header.kind = kind
        header.mode = MODE_LIVE
