"""What the feed knows of one instrument, and how far its market data may be trusted."""

from __future__ import annotations

from hft.core.book import Book
from hft.records import FeedState


class FeedInstrument:
    """An instrument's book and the facts by which its data are judged. Times are monotonic ns.

    Silence alone is judged by the clock. That one stream is silent while the other goes on is
    known sooner and for certain: each change of the best levels has a ticker and stands in a depth
    event, so that one of them that does not follow is missing.
    """

    __slots__ = (
        "ahead_ns",
        "apart_ns",
        "book",
        "connections",
        "depth_ns",
        "instrument_id",
        "is_fetching",
        "is_trading",
        "recv_ns",
        "refreshed_ns",
        "snapshot_event",
        "state",
        "symbol",
        "top_seq",
        "unsynced_state",
        "waiting_ns",
    )  # fmt: skip

    def __init__(self, instrument_id: int, symbol: str) -> None:
        self.instrument_id = instrument_id
        self.symbol = symbol
        self.book = Book(instrument_id)
        self.state = FeedState.UNKNOWN
        self.unsynced_state = FeedState.SYNCING
        """State while the book is not in step with the stream: SYNCING or GAPPED."""
        self.is_trading = True
        self.recv_ns = 0
        """When the last frame came."""
        self.depth_ns = 0
        """When the last depth event came."""
        self.ahead_ns = 0
        """Since when the ticker has been ahead of the book; 0: it is not."""
        self.apart_ns = 0
        """Since when the ticker has not told what the book's best levels are; 0: it has."""
        self.top_seq = 0
        """The venue's number of the newest top that was published on this connection."""
        self.connections = 0
        """How often the numbering began anew: what was asked for before is worth nothing."""
        self.is_fetching = False
        self.snapshot_event = 0
        """``BookEvent`` of the last snapshot."""
        self.waiting_ns = 0
        """Since when a snapshot has waited for the frames that reach it; 0: none waits."""
        self.refreshed_ns = 0

    def restart(self, state: FeedState, *, is_new_connection: bool) -> None:
        """Begin the book anew; on a new connection the numbers may begin anew as well."""
        self.book.on_reset()
        self.unsynced_state = state
        self.ahead_ns = self.apart_ns = self.waiting_ns = 0
        if is_new_connection:
            self.top_seq = 0
            self.connections += 1

    def note_apart(self, bid_e8: int, ask_e8: int, now_ns: int) -> None:
        """Hold the book's best prices against those of the newest top that was published."""
        book = self.book
        if book.last_seq <= self.top_seq or (bid_e8, ask_e8) == (book.bid_e8, book.ask_e8):
            self.apart_ns = 0
        elif not self.apart_ns:
            self.apart_ns = now_ns

    def is_out_of_reach(self, wait_ns: int) -> bool:
        """Have frames come for so long without reaching the snapshot? It numbers otherwise."""
        return 0 < self.waiting_ns < self.depth_ns - wait_ns

    def silent_stream(self, now_ns: int, stale_ns: int) -> str:
        """The stream that is missing though the other one goes on; empty: none is."""
        if self.ahead_ns and now_ns - self.ahead_ns > stale_ns:
            return "depth"
        if self.apart_ns and now_ns - self.apart_ns > stale_ns:
            return "bookTicker"
        return ""

    def judge(self, now_ns: int, stale_ns: int) -> FeedState:
        """How far the data may be trusted now. ``LIVE``: every known fault is absent."""
        if not self.is_trading:
            return FeedState.HALTED
        if not self.book.is_live:
            return self.unsynced_state
        if now_ns - self.recv_ns > stale_ns or self.silent_stream(now_ns, stale_ns):
            return FeedState.STALE
        return FeedState.LIVE
