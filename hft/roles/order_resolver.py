"""Execution's slow half: everything that has to ask the venue by REST and wait for the answer.

Its parts: ``OrderRecovery`` catches up after a gap and compares, ``OrderLadder`` settles single
orders, ``OrderCountdown`` keeps the dead man's switch. Here: the listen key and the clock, cancels
by REST, and the watch over a user stream that has gone silent.
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
from hft.errors import HftError
from hft.records import Action, OrderState, Reason
from hft.roles.context import Context
from hft.roles.order_countdown import COUNTDOWN_ROLES, OrderCountdown
from hft.roles.order_desk import Guard, OrderDesk
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_ladder import SETTLE_NS, OrderLadder
from hft.roles.order_recovery import OrderRecovery
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.user_events import ListenKeyExpired, OrderUpdate
from hft.venues.binance_usdm.user_session import ListenKeyKeeper, UserSession

LISTEN_KEY_FILE: Final = "listen_key"
"""In the run directory: the key that execution made, for the account's drop copy."""
REST_CANCEL_AGAIN_NS: Final = 500 * NS_PER_MS
"""A cancel by REST is not repeated sooner."""
CANCEL_ALL_AGAIN_S: Final = 2.0
"""Everything is cancelled again so long after, while something of ours is still open."""
ASK_AFTER_NS: Final = 300 * NS_PER_MS
"""The user stream's time to tell of the end of what was cancelled all at once."""
RETRY_S: Final = 0.5
CLOCK_EVERY_S: Final = 10.0
CLOCK_AGAIN_S: Final = 0.25
"""A doubted clock is not measured sooner again."""
SILENCE_NS: Final = NS_PER_S
"""A change of an order that the user stream does not tell of for so long makes it suspect."""
SUSPECT_AGAIN_NS: Final = 2 * NS_PER_S


class OrderResolver:
    """Asks, waits, and hands what it learned to ``OrderEvents``."""

    def __init__(
        self,
        context: Context,
        rest: RestClient,
        keeper: OrderKeeper,
        events: OrderEvents,
        guard: Guard,
        turn: Callable[[], None],
    ) -> None:
        self._page = context.page
        self._halt = context.halt
        self._run_dir = context.run_dir
        self._rest = rest
        self._keeper = keeper
        self._events = events
        self._guard, self._turn = guard, turn
        self._users: UserSession
        self._keys: ListenKeyKeeper | None = None
        config = context.config
        self._should_cancel = config.execution.start_orders == "cancel"
        self._desk = OrderDesk(context.plan, rest, keeper, events, guard, turn)
        self._recovery = OrderRecovery(
            self._desk, context.page, context.page_of("account"), self._on_recovered
        )
        self._ladder = OrderLadder(
            self._desk,
            config.venue.recv_window_ms * NS_PER_MS + SETTLE_NS,
            self._recovery.catch_symbol,
            lambda: self._recovery.is_holding,
        )
        self._recovery.use(self._ladder)
        self.is_settled, self.gate = self._ladder.is_settled, self._ladder.gate
        self._countdown_ms = config.execution.countdown_ms
        pages = [context.page_of(role) for role in COUNTDOWN_ROLES]
        self._countdown = OrderCountdown(self._desk, context.page, pages, self._countdown_ms)
        self._clock_wake = asyncio.Event()
        self._suspected_ns = 0
        self._is_cancelling_all = False

    def start(self, loop: asyncio.AbstractEventLoop, users: UserSession) -> None:
        """Measure the clock, get the listen key, open the user stream."""
        self._users = users
        self._desk.open(loop)
        self._keys = ListenKeyKeeper(
            self._rest, self._guard(self._on_key), on_reopen=self._guard(users.reconnect)
        )
        self._desk.spawn(self._keys.run())
        self._desk.spawn(self._watch_clock())
        if self._countdown_ms:
            self._desk.spawn(self._countdown.run())
        users.start(loop)

    def stop(self) -> None:
        """Give up every open question."""
        self._desk.stop()

    # -- how things stand -----------------------------------------------------------------------

    @property
    def is_recovered(self) -> bool:
        """Our books and the venue's lists have been compared since the user stream came up."""
        return self._recovery.is_recovered

    def listen_key(self) -> str:
        """The account's listen key, "" while there is none."""
        return "" if self._keys is None else self._keys.key

    # -- listen key, user stream, clock ---------------------------------------------------------

    def _on_key(self, key: str) -> None:
        """A new listen key: for our own stream, and in the run directory for the drop copy."""
        draft = self._run_dir / f"{LISTEN_KEY_FILE}.new"
        draft.touch(mode=0o640)
        draft.write_text(key)
        draft.replace(self._run_dir / LISTEN_KEY_FILE)
        self._users.use_new_key()

    def on_user_stream(self, *, is_up: bool) -> None:
        """The user stream opened or broke: events between the two are lost for good."""
        if is_up and self._keys is not None:
            self._keys.check()
        self._recovery.on_user_stream(is_up=is_up)

    def on_update(self, update: OrderUpdate, recv_ns: int) -> None:
        """An order event: applied at once, or after the trades that happened before it."""
        self._recovery.on_update(update, recv_ns)

    def on_other_event(self, event: object) -> None:
        """The listen key expired: a new one, and a new stream."""
        if isinstance(event, ListenKeyExpired) and self._keys is not None:
            self._keys.expired(event.listen_key)

    async def _watch_clock(self) -> None:
        while True:
            self._clock_wake.clear()
            pause_s = CLOCK_EVERY_S
            try:
                offset_ns, _ = await self._rest.measure_clock_offset()
                self._page.set_gauge(counters.CLOCK_OFFSET_NS.id, offset_ns)
            except HftError:
                pause_s = RETRY_S
            await asyncio.sleep(CLOCK_AGAIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._clock_wake.wait()

    def _on_recovered(self) -> None:
        if self._page.state == RoleState.RECOVERING:
            self._page.state = int(RoleState.READY)
        self._turn()

    # -- tending: called from the duty cycle ----------------------------------------------------

    def tend(self, now_ns: int) -> None:
        """Do what is due: ladders, comparisons, orders that nobody wants, a silent stream."""
        for order in self._events.doubtful:
            self._ladder.ask(order, now_ns)
        self._events.doubtful.clear()
        if self._events.is_clock_doubted:
            self._events.is_clock_doubted = False
            self._clock_wake.set()
        self._recovery.tend(now_ns)
        self._ladder.tend(now_ns)
        if self._should_cancel:
            self._cancel_orphans()
        if self._events.awaited and self._recovery.is_recovered:
            self._watch_stream(now_ns)

    def _cancel_orphans(self) -> None:
        """Orders of ours that no strategy of this system asked for do not stay."""
        for order in self._keeper.table:
            if order.is_ours and order.is_adopted and order.is_working:
                self.cancel_by_rest(order, Reason.OWN_RECOVERY)

    def _watch_stream(self, now_ns: int) -> None:
        """A change that the stream does not tell of: it is silent, or lost an event."""
        awaited = self._events.awaited
        overdue = [order_id for order_id, ns in awaited.items() if now_ns - ns > SILENCE_NS]
        if not overdue or now_ns - self._suspected_ns < SUSPECT_AGAIN_NS:
            return
        self._suspected_ns = now_ns
        since_ns = awaited[overdue[0]]
        for order_id in overdue:
            del awaited[order_id]
        if self._keys is not None and self._events.heard_ns < since_ns:
            # Not a word since then: the key may have died without a word as well.
            self._keys.suspect("a change of an order was not told of")
        self._recovery.look_back()

    # -- cancels by REST ------------------------------------------------------------------------

    def cancel_by_rest(self, order: Order, reason: Reason) -> None:
        """Cancel one order of ours while the order session is down."""
        now_ns = time.monotonic_ns()
        is_fresh = order.request_ns and now_ns - order.request_ns < REST_CANCEL_AGAIN_NS
        if not order.is_ours or self._desk.is_busy:
            return
        if is_fresh and (order.pending is Action.CANCEL or order.state is OrderState.UNRESOLVED):
            return  # its last request failed at once: the ladder asks, nobody hammers
        self._desk.begin_cancel(order, reason, now_ns)
        self._page.count(counters.REST_ORDERS.id)
        self._desk.spawn(self._cancel_one(order))

    async def _cancel_one(self, order: Order) -> None:
        await self._desk.cancel(order)
        self._turn()

    def cancel_all_by_rest(self) -> None:
        """Cancel everything of every instrument: the last step of an orderly stop."""
        for symbol in self._desk.symbols.values():
            self._desk.spawn(self._cancel_symbol(symbol))

    def cancel_everything(self) -> None:
        """For a halt: every order of every configured symbol, conditional ones and others' too.

        Repeated while the halt is latched and something of ours is open.
        """
        if not self._is_cancelling_all:
            self._is_cancelling_all = True
            self._desk.spawn(self._cancel_everything())

    async def _cancel_everything(self) -> None:
        symbols = self._desk.symbols.values()
        try:
            is_open = True
            while is_open and not self._desk.is_stopping:
                await asyncio.gather(*(self._cancel_symbol(symbol) for symbol in symbols))
                is_open = any(await asyncio.gather(*(self._has_open(name) for name in symbols)))
                if is_open:
                    await asyncio.sleep(CANCEL_ALL_AGAIN_S)
                    is_open = self._halt.is_set
        finally:
            self._is_cancelling_all = False
        self._turn()

    async def _has_open(self, symbol: str) -> bool:
        """Whether an order of ours or a conditional order is open; also when nobody answers."""
        try:
            reports = await self._rest.open_orders(symbol)
            return any(one.order_id for one in reports) or bool(
                await self._rest.open_algo_orders(symbol)
            )
        except HftError:
            return True

    async def _cancel_symbol(self, symbol: str) -> None:
        """Both stores at once; then every order that the books still show is asked for."""
        await asyncio.gather(
            self._try(self._rest.cancel_all(symbol)), self._try(self._rest.cancel_all_algo(symbol))
        )
        now_ns = time.monotonic_ns()
        for order in self._keeper.table:
            if self._desk.symbols[order.instrument_id] == symbol and not order.is_terminal:
                self._ladder.ask(order, now_ns, ASK_AFTER_NS)

    @staticmethod
    async def _try(work: Coroutine[Any, Any, None]) -> None:
        """Refused, unanswered or banned: the next round is soon enough."""
        with contextlib.suppress(HftError):
            await work
