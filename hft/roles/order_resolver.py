"""Execution's slow half: everything that has to ask the venue by REST and wait for the answer.

The ladder of an unknown order: ask for it by its client id, soon and then more slowly. Found: its
answer settles it, and trades not seen are fetched one by one. Not found, twice and after the time
in which the venue could still have accepted it: it never was there. Nothing is ever sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from hft import counters
from hft.core.orders import Order
from hft.counters import RoleState
from hft.errors import HftError, VenueError
from hft.records import Action, OrderState, Reason
from hft.roles.context import Context
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import BooksError, OrderKeeper
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.reports import OrderReport, TradeReport
from hft.venues.binance_usdm.rest import TRADES_PER_PAGE, RestClient
from hft.venues.binance_usdm.user_events import ListenKeyExpired, OrderUpdate
from hft.venues.binance_usdm.user_session import ListenKeyKeeper, UserSession
from hft.venues.binance_usdm.wire import ORDER_STATES

LISTEN_KEY_FILE: Final = "listen_key"
"""In the run directory: the key that execution made, for the account's drop copy."""
LADDER_NS: Final = (
    200 * NS_PER_MS,
    500 * NS_PER_MS,
    1_000 * NS_PER_MS,
    2_000 * NS_PER_MS,
)
"""Pauses between the queries of one order; the last one repeats."""
SETTLE_NS: Final = 3 * NS_PER_S
"""What is added to the receive window before an unknown order counts as never accepted."""
MISSING_TRADES_NS: Final = 700 * NS_PER_MS
"""The user stream's time to bring trades of a closed order before they are asked for."""
HOLD_NS_MAX: Final = 2 * NS_PER_S
"""So long may the trades that a gap hid keep events of the user stream waiting."""
HELD_MAX: Final = 4_096
REST_CANCEL_AGAIN_NS: Final = 500 * NS_PER_MS
"""A cancel by REST is not repeated sooner."""
OPEN_ORDERS_WEIGHT: Final = 40
"""Weight of asking for the open orders of all symbols; those of one symbol weigh 1."""
RETRY_S: Final = 0.5
CLOCK_EVERY_S: Final = 60.0
COUNTDOWN_ROLES: Final = ("feed", "strategy", "risk", "account")
COUNTDOWN_BEAT_NS: Final = NS_PER_S
TASKS_MAX: Final = 16
"""Questions to the venue at the same time."""


class _Question:
    """How far the ladder of one order has come."""

    __slots__ = ("due_ns", "is_asking", "misses", "rung", "since_ns")

    def __init__(self, now_ns: int, wait_ns: int) -> None:
        self.since_ns = now_ns
        self.due_ns = now_ns + wait_ns
        self.rung = 0
        self.misses = 0
        self.is_asking = False


class OrderResolver:
    """Asks, waits, and hands what it learned to ``OrderEvents``."""

    def __init__(
        self,
        context: Context,
        rest: RestClient,
        keeper: OrderKeeper,
        events: OrderEvents,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        self._page = context.page
        self._run_dir = context.run_dir
        self._rest = rest
        self._keeper = keeper
        self._events = events
        self._guard, self._turn = guard, turn
        self._users: UserSession
        self._symbols = {i.instrument_id: i.symbol for i in context.plan.instruments}
        self._deadline_ns = context.config.venue.recv_window_ms * NS_PER_MS + SETTLE_NS
        self._should_cancel = context.config.execution.start_orders == "cancel"
        self._countdown_ms = context.config.execution.countdown_ms
        self._watched = [context.page_of(role) for role in COUNTDOWN_ROLES]
        self._countdown_ms = context.config.execution.countdown_ms
        self._questions: dict[int, _Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_user_stream_up = False
        self._held: list[tuple[OrderUpdate, int]] = []
        self._is_holding = True
        """The user stream is up, and trades from before are still being fetched."""
        self._held_ns = 0
        self._is_stopping = False
        self._keys: ListenKeyKeeper | None = None
        self.is_recovered = False
        """Our books and the venue's lists have been compared since the user stream came up."""

    def start(self, loop: asyncio.AbstractEventLoop, users: UserSession) -> None:
        """Measure the clock, get the listen key, open the user stream."""
        self._loop, self._users = loop, users
        self._keys = ListenKeyKeeper(self._rest, self._guard(self._on_key))
        self._spawn(self._keys.run())
        self._spawn(self._watch_clock())
        if self._countdown_ms:
            self._spawn(self._renew_countdown())
        users.start(loop)

    def listen_key(self) -> str:
        """The account's listen key, "" while there is none."""
        return "" if self._keys is None else self._keys.key

    def stop(self) -> None:
        """Give up every open question."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._guard(_raise)(error)

    # -- listen key, user stream, clock ---------------------------------------------------------

    def _on_key(self, key: str) -> None:
        """A new listen key: for our own stream, and in the run directory for the drop copy."""
        draft = self._run_dir / f"{LISTEN_KEY_FILE}.new"
        draft.touch(mode=0o640)
        draft.write_text(key)
        draft.replace(self._run_dir / LISTEN_KEY_FILE)
        self._users.use_new_key()

    def on_user_stream(self, *, is_up: bool) -> None:
        """After a gap only the venue's own lists can be trusted: compare before anything new."""
        self._is_user_stream_up = is_up
        self.is_recovered = False
        self._is_holding = True
        self._held_ns = time.monotonic_ns() if is_up else 0
        self._held.clear()
        if is_up:
            self._spawn(self._recover())

    def on_update(self, update: OrderUpdate, recv_ns: int) -> None:
        """An order event: applied at once, or after the trades that happened before it.

        Realised profit depends on the sequence of the fills: what a gap hid has to come first.
        """
        if not self._is_holding:
            self._events.on_update(update, recv_ns)
        elif len(self._held) < HELD_MAX:
            self._held.append((update, recv_ns))
        else:
            raise BooksError(f"{HELD_MAX} order events wait for the trades before them")

    def _release(self) -> None:
        """Let the events of the user stream through from now on."""
        self._is_holding = False
        held, self._held = self._held, []
        for update, recv_ns in held:
            self._events.on_update(update, recv_ns)

    def on_other_event(self, event: object) -> None:
        """The listen key expired in silence: a new one, and a new stream."""
        if isinstance(event, ListenKeyExpired) and self._keys is not None:
            self._keys.expired()

    async def _watch_clock(self) -> None:
        while True:
            try:
                offset_ns, _ = await self._rest.measure_clock_offset()
                self._page.set_gauge(counters.CLOCK_OFFSET_NS.id, offset_ns)
                await asyncio.sleep(CLOCK_EVERY_S)
            except HftError:
                await asyncio.sleep(RETRY_S)

    async def _renew_countdown(self) -> None:
        """The dead man's switch at the venue: it cancels what nobody here watches any more.

        Renewed only while every role that an order depends on beats; left to run out otherwise.
        """
        armed: set[str] = set()
        while True:
            now_ns = time.monotonic_ns()
            if all(now_ns - page.beat_ns < COUNTDOWN_BEAT_NS for page in self._watched):
                wanted = {self._symbols[order.instrument_id] for order in self._keeper.table}
                for symbol in sorted(armed | wanted):
                    milliseconds = self._countdown_ms if symbol in wanted else 0
                    with contextlib.suppress(HftError):  # the next round is soon enough
                        await self._rest.countdown_cancel_all(symbol, milliseconds)
                armed = wanted
            await asyncio.sleep(self._countdown_ms / 3e3)

    # -- recovery -------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Compare the books with the venue: unknown orders of ours go, known ones are asked for."""
        while self._is_user_stream_up and not self._is_stopping:
            try:
                await self._catch_up()
                reports = await self._open_orders()
            except HftError:
                await asyncio.sleep(RETRY_S)
                continue
            self._guard(self._compare)(reports)
            break
        while self._is_user_stream_up and self._questions and not self._is_stopping:
            await asyncio.sleep(0.01)
        if self._is_user_stream_up and not self._is_stopping:
            self.is_recovered = True
            if self._page.state == RoleState.RECOVERING:
                self._page.state = int(RoleState.READY)
            self._turn()

    async def _open_orders(self) -> list[OrderReport]:
        """Open orders of our symbols: one by one while that weighs less than all at once."""
        if len(self._symbols) >= OPEN_ORDERS_WEIGHT:
            return await self._rest.open_orders(None)
        reports: list[OrderReport] = []
        for symbol in self._symbols.values():
            reports += await self._rest.open_orders(symbol)
        return reports

    async def _catch_up(self) -> None:
        """Bring every symbol's trades up to date, then let the events through."""
        if self._is_holding:
            for instrument_id, symbol in self._symbols.items():
                await self._catch_symbol(instrument_id, symbol)
        self._guard(self._release)()

    async def _catch_symbol(self, instrument_id: int, symbol: str) -> None:
        """Apply the trades of a symbol since the newest known one, in their sequence."""
        newest = self._keeper.newest_trades.get(instrument_id, 0)
        is_last = not newest and not any(self._keeper.table.of_instrument(instrument_id))
        while not is_last:
            trades = await self._rest.user_trades(symbol, newest + 1 if newest else None)
            for trade in trades:
                await self._catch_trade(instrument_id, trade, is_recent=newest > 0)
            is_last = len(trades) < TRADES_PER_PAGE or not newest
            newest = max((trade.trade_id for trade in trades), default=newest)

    async def _catch_trade(
        self, instrument_id: int, trade: TradeReport, *, is_recent: bool
    ) -> None:
        order = self._keeper.table.find_venue(instrument_id, trade.venue_order_id)
        if order is None and is_recent:
            # Sent by a predecessor that did not live to see the answer.
            report = await self._rest.query_order(trade.symbol, venue_order_id=trade.venue_order_id)
            order = self._keeper.table.get(report.order_id or 0)
            if order is not None:
                self._guard(self._events.on_report)(order, report, time.monotonic_ns())
        if order is not None:
            self._guard(self._events.on_trade)(order, trade, time.monotonic_ns())

    def _compare(self, reports: list[OrderReport]) -> None:
        now_ns = time.monotonic_ns()
        found = set()
        for report in reports:
            if not report.order_id:
                self._page.count(counters.FOREIGN_EVENTS.id)
                continue
            found.add(report.order_id)
            order = self._keeper.table.get(report.order_id)
            if order is not None:
                self._events.on_report(order, report, now_ns)
            elif self._should_cancel:
                self._spawn(self._cancel_orphan(report.symbol, report.client_order_id))
        for order in self._keeper.table:
            is_quiet = order.request_ns == 0 or order.state is OrderState.UNRESOLVED
            if order.order_id not in found and is_quiet:
                self._ask(order, now_ns, 0)

    # -- tending: called from the duty cycle ----------------------------------------------------

    def tend(self, now_ns: int) -> None:
        """Climb the ladders that are due; start new ones for orders that need it."""
        if self._is_holding and self._held_ns and now_ns - self._held_ns > HOLD_NS_MAX:
            self._release()  # the position matters more than the sequence
        for order in self._keeper.table:
            if order.state is OrderState.UNRESOLVED:
                self._ask(order, now_ns, LADDER_NS[0])
            elif order.is_terminal and order.missing_qty_e8:
                self._ask(order, now_ns, MISSING_TRADES_NS)
        if self._events.orphans:
            for update in self._events.orphans:
                self._on_orphan(update)
            self._events.orphans.clear()
        for order_id, question in list(self._questions.items()):
            asked = self._keeper.table.get(order_id)
            if asked is None:
                del self._questions[order_id]
            elif now_ns >= question.due_ns and not question.is_asking:
                if len(self._tasks) >= TASKS_MAX:
                    break
                question.is_asking = True
                self._spawn(self._climb(asked, question))

    def _ask(self, order: Order, now_ns: int, wait_ns: int) -> None:
        if order.order_id not in self._questions:
            self._questions[order.order_id] = _Question(now_ns, wait_ns)

    async def _climb(self, order: Order, question: _Question) -> None:
        """One rung: ask for the order, and for its trades when some are missing."""
        symbol = self._symbols[order.instrument_id]
        try:
            if not order.is_terminal:
                name = client_order_id(order.order_id)
                report = await self._rest.query_order(symbol, name)
                self._guard(self._events.on_report)(order, report, time.monotonic_ns())
            if order.missing_qty_e8 and order.venue_order_id and not self._is_holding:
                # The whole symbol first: other orders' trades may have been missed before these.
                await self._catch_symbol(order.instrument_id, symbol)
            if order.missing_qty_e8 and order.venue_order_id and not self._is_holding:
                await self._fetch_trades(order, symbol)
        except VenueError as error:
            if classify(error.code, error.status, error.text).is_order_unknown:
                self._on_missing(order, question)
        except HftError:
            pass  # nobody answered: the next rung asks again
        finally:
            self._next_rung(order, question)
        self._turn()

    async def _fetch_trades(self, order: Order, symbol: str) -> None:
        trades = await self._rest.user_trades(symbol, venue_order_id=order.venue_order_id)
        for trade in trades:
            if trade.venue_order_id == order.venue_order_id:
                self._guard(self._events.on_trade)(order, trade, time.monotonic_ns())

    def _on_missing(self, order: Order, question: _Question) -> None:
        """The venue does not know the order: proof only after it can no longer arrive."""
        question.misses += 1
        now_ns = time.monotonic_ns()
        sent_ns = order.send_ns or order.request_ns or question.since_ns
        if question.misses >= 2 and now_ns - sent_ns > self._deadline_ns:
            self._guard(self._events.never_accepted)(order, now_ns)

    def _next_rung(self, order: Order, question: _Question) -> None:
        is_settled = order.state is not OrderState.UNRESOLVED and not (
            order.is_terminal and order.missing_qty_e8
        )
        if is_settled:
            self._questions.pop(order.order_id, None)
            return
        question.is_asking = False
        question.due_ns = time.monotonic_ns() + LADDER_NS[question.rung]
        question.rung = min(question.rung + 1, len(LADDER_NS) - 1)

    # -- cancels by REST ------------------------------------------------------------------------

    def _on_orphan(self, update: OrderUpdate) -> None:
        """An event under one of our ids that the books do not know: it must not rest."""
        is_open = ORDER_STATES[update.status] is OrderState.WORKING
        if is_open and self._should_cancel:
            self._spawn(self._cancel_orphan(update.symbol, update.client_order_id))

    async def _cancel_orphan(self, symbol: str, name: str) -> None:
        while not self._is_stopping:
            try:
                await self._rest.cancel_order(symbol, name)
                return
            except VenueError as error:
                if classify(error.code, error.status, error.text).is_definite:
                    return  # it is gone
            except HftError:
                pass
            await asyncio.sleep(RETRY_S)

    def cancel_by_rest(self, order: Order, reason: Reason) -> None:
        """Cancel one order while the order session is down."""
        now_ns = time.monotonic_ns()
        is_fresh = order.request_ns and now_ns - order.request_ns < REST_CANCEL_AGAIN_NS
        if (order.pending is Action.CANCEL and is_fresh) or len(self._tasks) >= TASKS_MAX:
            return
        if order.state is OrderState.UNRESOLVED and is_fresh:
            return  # its last request failed at once: the ladder asks, nobody hammers
        order.cancel_sent(now_ns, reason)
        self._page.count(counters.REST_ORDERS.id)
        self._spawn(self._cancel_one(order))

    async def _cancel_one(self, order: Order) -> None:
        symbol = self._symbols[order.instrument_id]
        apply = self._guard(self._events.refused)
        try:
            report = await self._rest.cancel_order(symbol, client_order_id(order.order_id))
            self._guard(self._events.on_report)(order, report, time.monotonic_ns())
        except VenueError as error:
            now_ns = time.monotonic_ns()
            apply(order, Action.CANCEL, error.code, error.status, error.text, now_ns)
        except HftError:
            self._guard(self._events.overdue)(order, time.monotonic_ns())
        self._turn()

    def cancel_all_by_rest(self) -> None:
        """Cancel everything of every instrument: the last step of an orderly stop."""
        for symbol in self._symbols.values():
            self._spawn(self._cancel_symbol(symbol))

    async def _cancel_symbol(self, symbol: str) -> None:
        try:
            await self._rest.cancel_all(symbol)
        except HftError:
            return
        now_ns = time.monotonic_ns()
        for order in self._keeper.table:
            if self._symbols[order.instrument_id] == symbol:
                self._ask(order, now_ns, 0)


def _raise(error: BaseException) -> None:
    raise error
