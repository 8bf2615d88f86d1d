"""One symbol's market: matching book, update ids, and everything that is published about it.

All public numbers come from one id counter: depth ``U`` and ``u``, bookTicker ``u`` and the
snapshot's ``lastUpdateId``. Every operation on the book ends with ``commit``, which numbers it;
frames are made between operations only, so two frames of equal id show the same book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import structs

from hft.core.matching import Accepted, Amended, Ended, EndReason, Event, MatchingBook, Trade
from hft.records import Side
from tools.venue.encode import FrameEncoder
from tools.venue.exchange_info import SymbolRules
from tools.venue.hub import Hub, Topic

NS_PER_MS: Final = 1_000_000
TRADING: Final = "TRADING"
HALTED: Final = "TRADING_HALT"
AGGREGATION_MS: Final = 100
SNAPSHOT_LEVELS_MAX: Final = 1_000
PARTIAL_LEVELS: Final = (5, 10, 20)
NEVER_RESTED: Final = (
    EndReason.IMMEDIATE_REMAINDER,
    EndReason.MARKET_REMAINDER,
    EndReason.SELF_TRADE_REMAINDER,
)
DEPTH_SUFFIXES: Final = (("", 250), ("@100ms", 100), ("@500ms", 500))


class IdSource:
    """The venue's update ids: one counter for all symbols, so a symbol's own ids have holes."""

    def __init__(self, last_id: int) -> None:
        self._last_id = last_id

    def reset(self, last_id: int) -> None:
        """Begin again after that id."""
        self._last_id = last_id

    def next(self) -> int:
        """The next id."""
        self._last_id += 1
        return self._last_id


class NumberedTrade(NamedTuple):
    """A trade with the id under which everybody hears of it."""

    trade_id: int
    trade: Trade


MarketEvent: TypeAlias = Accepted | Amended | Ended | NumberedTrade
EventSink: TypeAlias = Callable[["SymbolMarket", Sequence[MarketEvent]], None]


class DepthChain:
    """One cadence of depth with its own ``pu`` chain; ``levels`` 0: changes, else the best."""

    __slots__ = ("_asks", "_bids", "_first_id", "_previous_id", "due_ms", "interval_ms", "levels",
                 "topic")  # fmt: skip

    def __init__(self, topic: Topic, interval_ms: int, levels: int) -> None:
        self.topic = topic
        self.interval_ms = interval_ms
        self.levels = levels
        self.due_ms = 0
        self._bids: set[int] = set()
        self._asks: set[int] = set()
        self._first_id = 0
        self._previous_id = 0

    def note(self, first_id: int, last_id: int, bids: Iterable[int], asks: Iterable[int]) -> None:
        """The book changed at these prices."""
        if not self.topic.is_wanted:
            # Nobody hears it: the next frame of this chain continues from here.
            self._previous_id = last_id
            self._first_id = 0
            self._bids.clear()
            self._asks.clear()
            return
        if not self._first_id:
            self._first_id = first_id
        if not self.levels:
            self._bids.update(bids)
            self._asks.update(asks)

    def flush(self, book: MatchingBook, encoder: FrameEncoder, *, last_id: int, trade_ms: int,
              now_ms: int) -> None:  # fmt: skip
        """Publish what changed since the last frame, if anything did."""
        self.due_ms = now_ms + self.interval_ms
        if not self._first_id:
            return
        if self.levels:
            bids = book.levels(Side.BUY, self.levels)
            asks = book.levels(Side.SELL, self.levels)
        else:
            bids = [(p, book.qty_e8(Side.BUY, p)) for p in sorted(self._bids)]
            asks = [(p, book.qty_e8(Side.SELL, p)) for p in sorted(self._asks)]
        self.topic.publish(
            encoder.depth(
                first_id=self._first_id,
                last_id=last_id,
                previous_id=self._previous_id,
                bids=bids,
                asks=asks,
                trade_ms=trade_ms,
                now_ms=now_ms,
            )
        )
        self._previous_id = last_id
        self._first_id = 0
        self._bids.clear()
        self._asks.clear()


class _Aggregate:
    """Trades of one price and aggressor within 100 ms, as the aggregate stream tells them."""

    __slots__ = ("first_id", "last_id", "price_e8", "qty_e8", "side", "since_ms", "trade_ms")

    def __init__(self, trade_id: int, price_e8: int, qty_e8: int, side: Side, now_ms: int) -> None:
        self.first_id = self.last_id = trade_id
        self.price_e8 = price_e8
        self.qty_e8 = qty_e8
        self.side = side
        self.since_ms = self.trade_ms = now_ms


class SymbolMarket:
    """Matching and publication of one symbol."""

    def __init__(
        self,
        rules: SymbolRules,
        hub: Hub,
        ids: IdSource,
        *,
        is_recorded: bool,
        depth_interval_ms: int,
        first_trade_id: int,
        on_events: EventSink,
    ) -> None:
        self.rules = rules
        self.encoder = FrameEncoder(rules)
        self.book = MatchingBook(is_replica=is_recorded)
        self.public = MatchingBook() if is_recorded else self.book
        """The book that is published: of a recording it is the recorded one, without our orders,
        as only that stays in step with the recorded bookTickers."""
        self.is_recorded = is_recorded
        self.status = TRADING
        self.on_tick_change: Callable[[int], None] | None = None
        """Told when the tick size changed: whoever quotes here."""
        self.on_price: Callable[[], None] | None = None
        """Told at every public trade: whoever waits for a price."""
        self.last_id = ids.next()
        self.mark_e8 = rules.start_price_e8
        self.last_price_e8 = rules.start_price_e8
        self.recent_trades: list[tuple[int, int, int, int, bool]] = []
        self._ids = ids
        self._next_trade_id = first_trade_id
        self._next_aggregate_id = first_trade_id // 3
        self._on_events = on_events
        self._trade_ms = 0
        self._top = self.public.top()
        self._bids: set[int] = set()
        self._asks: set[int] = set()
        self._events: list[MarketEvent] = []
        self._aggregate: _Aggregate | None = None
        name = rules.symbol.lower()
        self._trades = hub.topic(f"{name}@trade")
        self._aggregates = hub.topic(f"{name}@aggTrade")
        self._book_ticker = hub.topic(f"{name}@bookTicker")
        self._chains = [DepthChain(hub.topic(f"{name}@depth@0ms"), depth_interval_ms, 0)]
        for suffix, interval_ms in DEPTH_SUFFIXES:
            for levels in (0, *PARTIAL_LEVELS):
                topic = hub.topic(f"{name}@depth{levels or ''}{suffix}")
                self._chains.append(DepthChain(topic, interval_ms, levels))

    # Changes. Each is one or more operations and then one commit.

    def apply(self, events: Sequence[Event]) -> None:
        """Take the events of an operation on ``book``: number its trades, note what it touched."""
        for event in events:
            if isinstance(event, Trade):
                self.touch(Side(-event.aggressor_side), event.price_e8)
                self._events.append(NumberedTrade(self._next_trade_id, event))
                self._next_trade_id += 1
                continue
            self._events.append(event)
            has_rested = isinstance(event, Ended) and event.reason not in NEVER_RESTED
            if has_rested or event.order.is_resting:
                self.touch(event.order.side, event.order.price_e8)

    def set_level(self, side: Side, price_e8: int, qty_e8: int, now_ms: int) -> None:
        """The synthetic crowd's own quantity at a price."""
        (self._bids if side > 0 else self._asks).add(price_e8)
        events = self.book.set_level(side, price_e8, qty_e8, now_ms * NS_PER_MS)
        if events:
            self.apply(events)

    def touch(self, side: Side, price_e8: int) -> None:
        """Our orders changed a level: it is part of the next frames, unless they are not shown."""
        if not self.is_recorded:
            (self._bids if side > 0 else self._asks).add(price_e8)

    def commit(self, now_ms: int) -> None:
        """End an operation: give it its id, publish it, report the own orders' events."""
        events, self._events = self._events, []
        if not self.is_recorded:
            if self._bids or self._asks:
                self.last_id = self._ids.next()
                self._note(self.last_id, now_ms)
            for event in events:
                if isinstance(event, NumberedTrade):
                    trade = event.trade
                    self.publish_trade(
                        event.trade_id, trade.price_e8, trade.qty_e8, trade.aggressor_side, now_ms
                    )
            self._publish_top(now_ms)
        if events:
            self._on_events(self, events)

    def commit_recorded(self, first_id: int, last_id: int, now_ms: int) -> None:
        """End of a recorded depth frame, under its own ids; published at once at ``@0ms``."""
        self.last_id = last_id
        self._note(first_id, now_ms)
        self._chains[0].flush(
            self.public, self.encoder, last_id=last_id, trade_ms=now_ms, now_ms=now_ms
        )
        self.commit(now_ms)

    def set_public_level(self, side: Side, price_e8: int, qty_e8: int, now_ms: int) -> None:
        """A level of the recorded book: shown as it is, and matched with our orders."""
        self.public.set_level(side, price_e8, qty_e8, 0)
        (self._bids if side > 0 else self._asks).add(price_e8)
        self.apply(self.book.set_level(side, price_e8, qty_e8, now_ms * NS_PER_MS))

    def follow(self, last_id: int, bid: tuple[int, int], ask: tuple[int, int], now_ms: int) -> None:
        """Take in price and quantity of the best levels that somebody else has published."""
        self.last_id = last_id
        for side, (price_e8, qty_e8) in ((Side.BUY, bid), (Side.SELL, ask)):
            self.book.set_level(side, price_e8, qty_e8, now_ms * NS_PER_MS)
        self._top = self.public.top()

    def change_tick(self, tick_e8: int, now_ms: int) -> None:
        """Prices of new orders stand on another grid from now on."""
        old = self.rules
        lowest_e8 = -(-old.price_min_e8 // tick_e8) * tick_e8
        self.rules = structs.replace(old, tick_e8=tick_e8, price_min_e8=lowest_e8)
        if self.on_tick_change is not None:
            self.on_tick_change(now_ms)

    def shift_clock(self, milliseconds: int) -> None:
        """The clock jumps; what is due keeps its distance."""
        for chain in self._chains:
            chain.due_ms += milliseconds
        if self._aggregate is not None:
            self._aggregate.since_ms += milliseconds

    # Publication.

    def publish_trade(
        self, trade_id: int, price_e8: int, qty_e8: int, side: Side, now_ms: int
    ) -> None:
        """Tell a public trade on the trade and aggregate streams."""
        self.last_price_e8 = price_e8
        if self.on_price is not None:
            self.on_price()
        self.recent_trades.append((trade_id, price_e8, qty_e8, now_ms, side < 0))
        if len(self.recent_trades) > 2 * SNAPSHOT_LEVELS_MAX:
            del self.recent_trades[:SNAPSHOT_LEVELS_MAX]
        if self._trades.is_wanted:
            self._trades.publish(
                self.encoder.trade(
                    trade_id=trade_id, price_e8=price_e8, qty_e8=qty_e8, side=side, now_ms=now_ms
                )
            )
        aggregate = self._aggregate
        if aggregate is not None and aggregate.price_e8 == price_e8 and aggregate.side == side:
            aggregate.qty_e8 += qty_e8
            aggregate.last_id = trade_id
            aggregate.trade_ms = now_ms
            return
        self._publish_aggregate(now_ms)
        self._aggregate = _Aggregate(trade_id, price_e8, qty_e8, side, now_ms)

    def publish_recorded_top(self, payload: str) -> None:
        """Forward a recorded bookTicker."""
        self._book_ticker.publish(payload)

    def on_timer(self, now_ms: int) -> None:
        """Publish the depth and aggregate frames that are due."""
        for chain in self._chains:
            if chain.due_ms <= now_ms:
                chain.flush(
                    self.public,
                    self.encoder,
                    last_id=self.last_id,
                    trade_ms=self._trade_ms,
                    now_ms=now_ms,
                )
        aggregate = self._aggregate
        if aggregate is not None and now_ms - aggregate.since_ms >= AGGREGATION_MS:
            self._publish_aggregate(now_ms)

    def snapshot(self, limit: int, now_ms: int) -> str:
        """Body of the depth query."""
        return self.encoder.snapshot(
            last_id=self.last_id,
            bids=self.public.levels(Side.BUY, limit),
            asks=self.public.levels(Side.SELL, limit),
            trade_ms=self._trade_ms or now_ms,
            now_ms=now_ms,
        )

    def book_ticker(self, now_ms: int) -> str:
        """The bookTicker frame of the book as it is now."""
        top = self.public.top()
        return self.encoder.book_ticker(
            update_id=self.last_id,
            bid=(top.bid_e8, top.bid_qty_e8),
            ask=(top.ask_e8, top.ask_qty_e8),
            now_ms=now_ms,
        )

    def update_mark(self) -> None:
        """Move the mark price toward the middle of the book."""
        top = self.public.top()
        if top.bid_e8 and top.ask_e8:
            self.mark_e8 += ((top.bid_e8 + top.ask_e8) // 2 - self.mark_e8) // 4

    # Helpers.

    def _note(self, first_id: int, now_ms: int) -> None:
        self._trade_ms = now_ms
        for chain in self._chains:
            chain.note(first_id, self.last_id, self._bids, self._asks)
        self._bids.clear()
        self._asks.clear()

    def _publish_top(self, now_ms: int) -> None:
        if not self._book_ticker.is_wanted:
            return
        top = self.public.top()
        if top != self._top and top.bid_e8 and top.ask_e8:
            self._top = top
            self._book_ticker.publish(self.book_ticker(now_ms))

    def _publish_aggregate(self, now_ms: int) -> None:
        aggregate, self._aggregate = self._aggregate, None
        if aggregate is None or not self._aggregates.is_wanted:
            return
        self._aggregates.publish(
            self.encoder.aggregate_trade(
                aggregate_id=self._next_aggregate_id,
                price_e8=aggregate.price_e8,
                qty_e8=aggregate.qty_e8,
                first_id=aggregate.first_id,
                last_id=aggregate.last_id,
                side=aggregate.side,
                trade_ms=aggregate.trade_ms,
                now_ms=now_ms,
            )
        )
        self._next_aggregate_id += 1
