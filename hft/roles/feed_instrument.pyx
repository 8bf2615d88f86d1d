"""What the feed knows of one instrument, and how far its market data may be trusted."""

cimport cython
from libc.stdint cimport int64_t

from hft.core.book cimport Book

from hft.records import FeedState

cdef int STALE = FeedState.STALE
cdef int LIVE = FeedState.LIVE


@cython.final
cdef class FeedInstrument:
    """An instrument's book and the facts by which its data are judged. Times are monotonic ns.

    Silence alone is judged by the clock. That one stream is silent while the other goes on is
    known sooner and for certain: each change of the best levels has a ticker and stands in a depth
    event, so that one of them that does not follow is missing.

    ``unsynced_state``: while the book is not in step with the stream, SYNCING or GAPPED.
    ``as_of_ns``: as of when the newest data held at the venue, at most when they were read: what
    was held back on its way is no sign of life. ``depth_ns``: when the last depth event came;
    ``ahead_ns``: since when the ticker has been ahead of the book; ``apart_ns``: since when it has
    not told what the book's best levels are; ``waiting_ns``: since when a snapshot has waited for
    the frames that reach it; 0 each: it is not so. ``top_seq``: the venue's number of the newest
    top that was published on this connection. ``connections``: how often the numbering began anew;
    what was asked for before is worth nothing. ``snapshot_event``: the last snapshot's.
    """

    def __init__(self, instrument_id, str symbol not None):
        self.instrument_id = instrument_id
        self.symbol = symbol
        self.book = Book(instrument_id)
        self.state = FeedState.UNKNOWN
        self.unsynced_state = FeedState.SYNCING
        self.is_trading = True

    @property
    def state(self):
        """How far the data may be trusted, as it was published last."""
        return self.named_state

    @state.setter
    def state(self, state):
        self.named_state = state
        self.state_code = int(state)

    def restart(self, state, *, bint is_new_connection):
        """Begin the book anew; on a new connection the numbers may begin anew as well."""
        self.book.on_reset()
        self.unsynced_state = state
        self.ahead_ns = self.apart_ns = self.waiting_ns = 0
        if is_new_connection:
            self.top_seq = 0
            self.connections += 1

    cdef bint take_time(self, int64_t as_of_ns, int64_t recv_ns, int64_t stale_ns) noexcept nogil:
        """A frame came. True: what was published of the age of the data may have changed by it."""
        self.as_of_ns = max(self.as_of_ns, as_of_ns)
        return self.state_code == STALE or (
            self.state_code == LIVE and recv_ns - self.as_of_ns > stale_ns)

    def note_apart(self, int64_t bid_e8, int64_t ask_e8, int64_t now_ns):
        """Hold the book's best prices against those of the newest top that was published."""
        cdef Book book = self.book
        if book.last_seq <= self.top_seq or (bid_e8 == book.bid_e8 and ask_e8 == book.ask_e8):
            self.apart_ns = 0
        elif not self.apart_ns:
            self.apart_ns = now_ns

    def is_out_of_reach(self, int64_t wait_ns) -> bool:
        """Have frames come for so long without reaching the snapshot? It numbers otherwise."""
        return 0 < self.waiting_ns < self.depth_ns - wait_ns

    def silent_stream(self, int64_t now_ns, int64_t stale_ns) -> str:
        """The stream that is missing though the other one goes on; empty: none is."""
        if self.ahead_ns and now_ns - self.ahead_ns > stale_ns:
            return "depth"
        if self.apart_ns and now_ns - self.apart_ns > stale_ns:
            return "bookTicker"
        return ""

    def judge(self, int64_t now_ns, int64_t stale_ns):
        """How far the data may be trusted now. ``LIVE``: every known fault is absent."""
        if not self.is_trading:
            return FeedState.HALTED
        if not self.book.is_live:
            return self.unsynced_state
        if now_ns - self.as_of_ns > stale_ns or self.silent_stream(now_ns, stale_ns):
            return FeedState.STALE
        return FeedState.LIVE
