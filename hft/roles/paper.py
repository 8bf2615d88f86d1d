"""Decisions of paper mode in, their fills out. Sole writer of ``executions.paper``.

Paper observes: nobody waits for it, and it wakes nobody's hot path. It looks at ``decisions`` and
``market`` by a timer of its own and goes through both in order of time, so that looking late
changes nothing in what is filled. Who dies or loses decisions knows no longer what the strategies
want: all paper orders are cancelled, and the records say so.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

from hft import counters, graph
from hft.core.generated.views import (
    Book,
    Decision,
    Execution,
    FeedStatus,
    Header,
    Position,
    TopOfBook,
    Trade,
)
from hft.core.paper_exchange import PaperExchange, PaperRequest
from hft.core.paper_fills import PaperBook, PaperEvent, PaperOrder
from hft.counters import RoleState
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.context import Context, instrument_views
from hft.roles.order_guard import FEED_GRACE_NS
from hft.roles.paper_latency import PaperLatency
from hft.roles.paper_orders import PaperFees, PaperOrders
from hft.units import NS_PER_MS, NS_PER_S, parse_e8

POLL_S: Final = 0.002
"""Pause between two looks at the rings."""
DECISIONS_PER_CYCLE_MAX: Final = 256
MARKET_PER_CYCLE_MAX: Final = 1_024
GUARD_EVERY_NS: Final = 50 * NS_PER_MS
DECISION_AGE_NS_MAX: Final = NS_PER_S
"""What a successor finds older than this nobody waits for any more."""
_DROPS: Final = {Action.PLACE: ExecKind.DROPPED, Action.AMEND: ExecKind.AMEND_REJECTED}


class Paper:
    """Runs the paper venue against the live market."""

    name = "paper"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        config = context.config.paper
        self._cursor = self._page.cursor(graph.cursor_index("decisions"))
        self._market_cursor = self._page.cursor(graph.cursor_index("market"))
        self._decisions, decision_buffer = context.ring_reader("decisions", wakes=False)
        self._decision = Decision(decision_buffer)
        self._market, market_buffer = context.ring_reader("market", wakes=False)
        self._header, self._trade = Header(market_buffer), Trade(market_buffer)
        self._market_top, self._status = TopOfBook(market_buffer), FeedStatus(market_buffer)
        self._tops, top_buffer = context.cell_reader("tops")
        self._top = TopOfBook(top_buffer)
        self._books, book_buffer = context.cell_reader("books")
        self._book = Book(book_buffer)
        self._book_versions: dict[int, int] = {}
        fees = PaperFees(parse_e8(config.maker_fee_bps), parse_e8(config.taker_fee_bps))
        self._orders = PaperOrders(context, fees)
        self._latency = PaperLatency(context.page_of("execution"), config, context.epoch)
        self._strategy = context.page_of("strategy")
        self._silence_ns = context.config.execution.strategy_silence_ms * NS_PER_MS
        self._stale_ns = context.config.feed.stale_ms * NS_PER_MS + FEED_GRACE_NS
        self._exchange: PaperExchange
        self._guarded_ns = 0
        self._lost = self._market_lost = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poll: Callable[..., None] = self._turn
        self._is_closed = False

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Cancel what a predecessor left, and go on after the last decision that it answered."""
        self._page.state = int(RoleState.RECOVERING)
        for number, view in instrument_views(self._context).items():
            self._orders.quote_ids[number] = view.quote_asset_id
        self._exchange = PaperExchange(self._read_positions())
        count, answered_seq = self._orders.recover(now_ns)
        self._page.count(counters.PAPER_LOST.id, count)
        self._cursor.store(max(self._cursor.value, answered_seq))
        self._decisions.seek(self._cursor.value + 1)
        self._page.state = int(RoleState.READY)

    def _read_positions(self) -> dict[int, int]:
        """What the account has booked, and the fills that it has not booked yet."""
        cells, buffer = self._context.cell_reader("positions")
        position = Position(buffer)
        positions_e8: dict[int, int] = {}
        as_of: dict[int, int] = {}
        for number in self._orders.quote_ids:
            has_cell = cells.read(graph.position_cell(Mode.PAPER, number))
            positions_e8[number] = position.position_e8 if has_cell else 0
            as_of[number] = position.executions_seq if has_cell else 0
        past, past_buffer = self._context.observer("executions.paper", min(as_of.values()) + 1)
        fill = Execution(past_buffer)
        while past.next():
            number = fill.instrument_id
            if fill.exec_kind == ExecKind.FILL and fill.seq > as_of.get(number, fill.seq):
                positions_e8[number] += fill.side * fill.qty_e8
        return positions_e8

    def start_sessions(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        """No sockets, but a timer: nobody wakes paper, and paper turns nobody else."""
        self._loop, self._poll = loop, guard(self._turn)
        self._poll()

    def _turn(self) -> None:
        if self._is_closed or self._loop is None:
            return
        self._loop.call_later(POLL_S, self._poll)
        count = self.do_work(time.monotonic_ns())
        if count:
            self._page.count(counters.WORK.id, count)

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Decisions first: what arrives later than a market event must not be missed before it."""
        if now_ns - self._guarded_ns >= GUARD_EVERY_NS:
            self._guarded_ns = now_ns
            self._guard(now_ns)
        count = self._take_decisions(now_ns)
        count += self._follow_market(now_ns)
        return count

    def _guard(self, now_ns: int) -> None:
        """What execution does with live orders on its own authority, paper does with its own."""
        if self._context.halt.is_set:
            self._cancel_all(Reason.OWN_HALT, now_ns)
        elif now_ns - self._strategy.beat_ns > self._silence_ns:
            self._cancel_all(Reason.OWN_STRATEGY_SILENT, now_ns)
        venue_s = time.time()
        for number, book in self._exchange.books.items():
            if book.orders:
                if self._is_feed_stale(number, now_ns):
                    self._emit(self._exchange.cancel_all(Reason.OWN_FEED_STALE, number), now_ns)
                self._emit(self._exchange.noted(book.expire_due(venue_s)), now_ns)
        self._page.set_gauge(counters.OPEN_ORDERS.id, len(self._exchange.orders))

    def _is_feed_stale(self, instrument_id: int, now_ns: int) -> bool:
        if not self._tops.read(instrument_id):
            return True
        is_live = self._top.feed_state == FeedState.LIVE
        return not is_live or now_ns - self._top.as_of_ns > self._stale_ns

    def _cancel_all(self, reason: Reason, now_ns: int) -> int:
        if not self._exchange.orders:
            return 0
        events = self._exchange.cancel_all(reason)
        self._emit(events, now_ns)
        return len(events)

    # -- decisions ------------------------------------------------------------------------------

    def _take_decisions(self, now_ns: int) -> int:
        count = 0
        decisions, decision = self._decisions, self._decision
        while count < DECISIONS_PER_CYCLE_MAX and decisions.next():
            count += 1
            if decision.mode == Mode.PAPER and decision.reason == Reason.NONE:
                self._take(decision, now_ns)
            self._cursor.store(decision.seq)
        if decisions.lapped:
            self._note_lapped(now_ns)
        return count

    def _note_lapped(self, now_ns: int) -> None:
        """Decisions are lost, cancels among them: what rests may not be wanted any more."""
        lost = self._decisions.lost - self._lost
        self._lost = self._decisions.lost
        count = self._cancel_all(Reason.OWN_RECOVERY, now_ns)
        self._page.count(counters.LAPPED.id, lost)
        self._page.count(counters.PAPER_LOST.id, count)
        text = f"paper: {lost} decisions lost by reading too slowly, {count} orders cancelled"
        self._page.fail(text)
        sys.stderr.write(text + "\n")

    def _take(self, decision: Decision, now_ns: int) -> None:
        order, action = _order_of(decision), Action(decision.action)
        refusal = self._refusal(decision, action, now_ns)
        if refusal is not Reason.NONE:
            state = OrderState.NONE
            kind = _DROPS[action]
            event = PaperEvent(kind, order, state, 0, 0, order.price_e8, order.qty_e8, False,
                               refusal)  # fmt: skip
            self._orders.publish(event, now_ns)
            return
        arrival_ns = decision.judge_ns + self._latency.draw_ns(now_ns)
        if action is Action.PLACE:
            order.send_ns = now_ns
            self._orders.announce(order)
            self._page.count(counters.PAPER_ORDERS.id)
        self._exchange.submit(PaperRequest(action, order, arrival_ns))

    def _refusal(self, decision: Decision, action: Action, now_ns: int) -> Reason:
        """Why something that adds risk is not done; cancels always are."""
        if action not in _DROPS:
            return Reason.NONE
        if self._context.halt.is_set:
            return Reason.HALT_LATCHED
        if now_ns - decision.judge_ns > DECISION_AGE_NS_MAX:
            return Reason.DECISION_EXPIRED
        if decision.instrument_id not in self._exchange.books:
            return Reason.INSTRUMENT_UNKNOWN
        if action is Action.PLACE and decision.order_id in self._exchange.orders:
            return Reason.ORDER_ID_REUSED
        if action is Action.PLACE and not self._orders.has_room:
            return Reason.TABLE_FULL
        return Reason.NONE

    # -- market ---------------------------------------------------------------------------------

    def _follow_market(self, now_ns: int) -> int:
        count = 0
        market, header = self._market, self._header
        while count < MARKET_PER_CYCLE_MAX and market.next():
            count += 1
            count += self._arrive(header.publish_ns)
            book = self._exchange.books.get(header.instrument_id)
            if book is not None and book.is_active:
                self._apply(book, now_ns)
        if market.lapped:  # trades are lost: orders that they would have filled stay open
            self._page.count(counters.LAPPED.id, market.lost - self._market_lost)
            self._market_lost = market.lost
        if count:
            self._market_cursor.store(market.seq)
        if count < MARKET_PER_CYCLE_MAX:
            count += self._arrive(now_ns)
            self._read_books(now_ns)
        return count

    def _apply(self, book: PaperBook, now_ns: int) -> None:
        kind = self._header.kind
        events: list[PaperEvent] = []
        venue_ns = 0
        if kind == Kind.TRADE:
            trade = self._trade
            venue_ns = trade.venue_ns
            events = book.on_trade(trade.aggressor_side, trade.price_e8, trade.qty_e8, venue_ns)
        elif kind == Kind.TOP_OF_BOOK:
            venue_ns = self._market_top.venue_ns
            events = _show_top(book, self._market_top)
        elif kind == Kind.FEED_STATUS and self._status.feed_state != FeedState.LIVE:
            book.on_blind()
        if events:
            self._emit(self._exchange.noted(events), now_ns, venue_ns=venue_ns)

    def _arrive(self, until_ns: int) -> int:
        """Carry out the requests that have arrived by then, against the market as it is known."""
        count = 0
        for request in self._exchange.due(until_ns):
            count += 1
            book = self._exchange.books.get(request.order.instrument_id)
            if book is not None:
                self._refresh(book, until_ns)
            self._emit(self._exchange.execute(request), max(request.arrival_ns, until_ns))
        return count

    def _read_books(self, now_ns: int) -> None:
        """What is shown behind the top, for the instruments where orders rest."""
        for book in self._exchange.books.values():
            if book.is_active:
                version = self._books.version(book.instrument_id)
                if self._book_versions.get(book.instrument_id) != version:
                    self._book_versions[book.instrument_id] = version
                    self._refresh(book, now_ns)

    def _refresh(self, book: PaperBook, now_ns: int) -> None:
        """Take over the top and the levels from the cells."""
        number = book.instrument_id
        events: list[PaperEvent] = []
        if self._books.read(number) and self._book.feed_state == FeedState.LIVE:
            cell = self._book
            bids = [(cell.bid_e8_at(i), cell.bid_qty_e8_at(i)) for i in range(cell.bid_count)]
            asks = [(cell.ask_e8_at(i), cell.ask_qty_e8_at(i)) for i in range(cell.ask_count)]
            events += book.on_book(bids, asks, cell.venue_ns, cell.venue_seq)
        if self._tops.read(number):
            if self._top.feed_state == FeedState.LIVE:
                events += _show_top(book, self._top)
            else:
                book.on_blind()
        if events:
            self._emit(self._exchange.noted(events), now_ns)

    def _emit(self, events: list[PaperEvent], now_ns: int, *, venue_ns: int = 0) -> None:
        for event in events:
            self._orders.publish(event, now_ns, venue_ns=venue_ns)
            if event.kind is ExecKind.FILL:
                self._page.count(counters.PAPER_FILLS.id)

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Nothing rests any more once paper has stopped."""
        self._page.state = int(RoleState.STOPPING)
        self._cancel_all(Reason.OWN_SHUTDOWN, now_ns)
        return True

    def on_close(self) -> None:
        """The timer ends by itself."""
        self._is_closed = True


def _show_top(book: PaperBook, top: TopOfBook) -> list[PaperEvent]:
    if top.feed_state != FeedState.LIVE:
        return []
    bid, ask = (top.bid_e8, top.bid_qty_e8), (top.ask_e8, top.ask_qty_e8)
    return book.on_top(bid, ask, top.venue_ns, top.venue_seq)


def _order_of(decision: Decision) -> PaperOrder:
    """The order that a decision asks for, or what it says of one."""
    return PaperOrder(
        order_id=decision.order_id,
        instrument_id=decision.instrument_id,
        side=Side(decision.side),
        price_e8=decision.price_e8,
        qty_e8=decision.qty_e8,
        strategy_id=decision.strategy_id,
        order_type=OrderType(decision.order_type),
        tif=Tif(decision.tif),
        is_post_only=bool(decision.is_post_only),
        is_reduce_only=bool(decision.is_reduce_only),
        good_till_s=decision.good_till_s,
        decision_seq=decision.seq,
        origin_ns=decision.origin_ns,
    )
