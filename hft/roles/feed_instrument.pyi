from typing import final

from hft.core.book import Book
from hft.records import FeedState

@final
class FeedInstrument:
    state: FeedState
    unsynced_state: FeedState
    is_trading: bool
    is_fetching: bool
    recv_ns: int
    depth_ns: int
    ahead_ns: int
    apart_ns: int
    waiting_ns: int
    refreshed_ns: int
    top_seq: int
    connections: int
    snapshot_event: int
    def __init__(self, instrument_id: int, symbol: str) -> None: ...
    @property
    def instrument_id(self) -> int: ...
    @property
    def symbol(self) -> str: ...
    @property
    def book(self) -> Book: ...
    def restart(self, state: FeedState, *, is_new_connection: bool) -> None: ...
    def note_apart(self, bid_e8: int, ask_e8: int, now_ns: int) -> None: ...
    def is_out_of_reach(self, wait_ns: int) -> bool: ...
    def silent_stream(self, now_ns: int, stale_ns: int) -> str: ...
    def judge(self, now_ns: int, stale_ns: int) -> FeedState: ...
