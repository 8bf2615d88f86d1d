"""The feed's way from a frame to what everybody sees: decode, check, publish, without a detour.

What happens with every frame is here and compiled; what happens once in a while, a gap or a change
of quality, is the feed's own (``hft/roles/feed.py``).
"""
cimport cython
from cpython.buffer cimport (
    PyBUF_READ, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint64_t

from hft.core.book cimport APPLIED, GAP, MISMATCH, NEED_SNAPSHOT, Book
from hft.core.generated.records cimport hft_book, hft_depth, hft_top_of_book
from hft.roles.feed_instrument cimport FeedInstrument
from hft.venues.binance_usdm.codec cimport MarketDecoder
from hft.venues.binance_usdm.frames cimport FrameSink
from ipc.atomics cimport monotonic_ns
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingWriter
from ipc.state_cell cimport CellWriter

from hft import counters, records
from hft.venues.binance_usdm import codec

cdef int TOP = codec.TOP
cdef int DEPTH = codec.DEPTH
cdef int TRADE = codec.TRADE
cdef int AGGREGATE_TRADE = codec.AGG_TRADE
cdef int LIVE = records.FeedState.LIVE
cdef uint64_t RECORDS = counters.RECORDS.id
cdef uint64_t WORK = counters.WORK.id
cdef uint64_t LAST_FRAME_NS = counters.LAST_FRAME_NS.id
cdef uint64_t FEED_NS = counters.FEED_NS.id
cdef uint64_t FEED_AGE_NS = counters.FEED_AGE_NS.id


@cython.final
@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class FeedIntake(FrameSink):
    """Takes every frame of the market connections; stages records, shows them as a batch.

    Args:
        feed: Its slow half: what happens once in a while is told to it.
        decoder: Decodes into ``record``.
        record: The bytes of one market record, bound to ``market``.
        market: Writer of the ``market`` ring.
        depth: Writer of the ``depth`` ring.
        tops: Writer of the tops' cells.
        books: Writer of the books' cells.
        page: The feed's page.
        instruments: By their ids.
        stale_ns: Data older than this are not to be trusted.
    """

    cdef object feed
    cdef MarketDecoder decoder
    cdef object market
    cdef RingWriter market_ring
    cdef RingWriter depth
    cdef CellWriter tops
    cdef CellWriter books
    cdef PageStores page
    cdef Py_buffer record_view
    cdef hft_top_of_book *top
    cdef hft_depth depth_record
    cdef hft_book book_record
    cdef list instruments
    cdef object turn
    cdef int64_t recv_ns
    cdef readonly uint64_t staged
    cdef int64_t stale_ns

    def __init__(self, feed, MarketDecoder decoder not None, record, market,
                 RingWriter depth not None, CellWriter tops not None, CellWriter books not None,
                 PageStores page not None, instruments, stale_ns):
        PyObject_GetBuffer(record, &self.record_view, PyBUF_WRITABLE)
        self.top = <hft_top_of_book *> self.record_view.buf
        self.feed = feed
        self.decoder = decoder
        self.market = market
        # A writer that is watched from outside is no RingWriter, and is called by name.
        self.market_ring = market if isinstance(market, RingWriter) else None
        self.depth = depth
        self.tops = tops
        self.books = books
        self.page = page
        self.stale_ns = stale_ns
        self.instruments = [None] * (max(instruments) + 1)
        for number, instrument in instruments.items():
            self.instruments[number] = instrument

    def __dealloc__(self):
        if self.record_view.obj is not None:
            PyBuffer_Release(&self.record_view)

    def call_after_batch(self, turn):
        """From now on ``turn()`` is called at the end of every batch: a tick runs through."""
        self.turn = turn

    # -- frames -------------------------------------------------------------------------------

    cdef int take(self, const char *payload, Py_ssize_t size, int64_t recv_ns) except -1:
        cdef int kind = self.decoder.decode_text(payload, size, recv_ns)
        self.recv_ns = recv_ns
        if kind == TOP:
            return self.take_top(recv_ns)
        if kind == DEPTH:
            return self.take_depth(recv_ns)
        if kind == TRADE or kind == AGGREGATE_TRADE:
            return self.stage_frame(recv_ns)
        self.feed.on_other(
            kind, PyMemoryView_FromMemory(<char *> payload, size, PyBUF_READ), recv_ns)
        return 0

    cdef int take_top(self, int64_t recv_ns) except -1:
        cdef hft_top_of_book *top = self.top
        cdef FeedInstrument instrument = <FeedInstrument> self.instruments[top.instrument_id]
        cdef Book book = instrument.book
        cdef bint is_doubtful = instrument.take_time(top.as_of_ns, recv_ns, self.stale_ns)
        if book.check_ticker(top) == MISMATCH:
            self.feed.on_mismatch(instrument, recv_ns)
            return 0
        if top.venue_seq < instrument.top_seq:
            return 0  # a newer top was published already
        instrument.top_seq = top.venue_seq
        instrument.apart_ns = 0
        if not instrument.ahead_ns and top.venue_seq > book.last_seq:
            instrument.ahead_ns = recv_ns
        if is_doubtful:
            self.feed.on_doubtful_top(instrument, recv_ns)
        top.feed_state = <unsigned char> instrument.state_code
        self.tops.write_value(top.instrument_id, <const char *> top)
        if self.decoder.venue_ahead_ns:
            self.page.note_ns(FEED_AGE_NS, recv_ns + self.decoder.venue_ahead_ns - top.venue_ns)
        return self.stage_frame(recv_ns)

    cdef int take_depth(self, int64_t recv_ns) except -1:
        cdef MarketDecoder decoder = self.decoder
        cdef FeedInstrument instrument = <FeedInstrument> self.instruments[decoder.instrument_id]
        cdef Book book = instrument.book
        cdef bint is_doubtful
        cdef int event
        instrument.depth_ns = recv_ns
        is_doubtful = instrument.take_time(decoder.frame.as_of_ns, recv_ns, self.stale_ns)
        instrument.ahead_ns = 0
        event = book.take_depth(decoder)
        if event == APPLIED:
            if book.crosses() or book.unreported_check == MISMATCH:
                self.feed.on_wrong_book(instrument, recv_ns)
                return 0
            self.show_depth()
            self.show_book(instrument)
            if is_doubtful or instrument.state_code != LIVE:
                self.feed.on_in_step(instrument, recv_ns)
        elif event == GAP or event == NEED_SNAPSHOT:
            self.feed.on_out_of_step(instrument, event == GAP, recv_ns)
        return 0

    # -- what becomes visible -----------------------------------------------------------------

    cdef int stage(self) except -1:
        """The record in the buffer belongs to the batch."""
        if self.market_ring is not None:
            self.market_ring.put_record(<const char *> self.top)
        else:
            self.market.put()
        self.staged += 1
        return 0

    cdef int stage_frame(self, int64_t recv_ns) except -1:
        self.stage()
        self.page.note_ns(FEED_NS, monotonic_ns() - recv_ns)
        return 0

    def put(self):
        """Stage the record in the buffer: what no frame has brought."""
        self.stage()

    def put_frame(self, int64_t recv_ns):
        """Stage the record that a frame has brought."""
        self.stage_frame(recv_ns)

    cdef void show_depth(self) noexcept nogil:
        """The event's levels as one batch; a huge event as several."""
        cdef Py_ssize_t index
        for index in range(self.decoder.record_count()):
            self.decoder.write_depth(&self.depth_record, index)
            if not self.depth.put_record(<const char *> &self.depth_record):
                self.depth.publish_staged()
                self.depth.put_record(<const char *> &self.depth_record)
        self.depth.publish_staged()

    cdef void show_book(self, FeedInstrument instrument) noexcept:
        instrument.book.write_book(&self.book_record)
        self.book_record.feed_state = <unsigned char> instrument.state_code
        self.books.write_value(instrument.instrument_id, <const char *> &self.book_record)

    def publish_book(self, FeedInstrument instrument not None):
        """The book as it is, into its cell."""
        self.show_book(instrument)

    def publish(self):
        """Show what is staged; returns how many records."""
        return self.show_staged()

    cdef int show_staged(self) except -1:
        cdef uint64_t count = self.staged
        if count:
            self.staged = 0
            if self.market_ring is not None:
                self.market_ring.publish_staged()
            else:
                self.market.publish()
            self.page.add(RECORDS, count)
        return <int> count

    cdef int end_batch(self) except -1:
        """All frames of one read are in: publish them together and run the tick through."""
        cdef int count = self.show_staged()
        if count:
            self.page.add(WORK, count)
            self.page.store_gauge(LAST_FRAME_NS, self.recv_ns)
        if self.turn is not None:
            self.turn()
        return 0
