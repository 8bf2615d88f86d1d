"""What the parts of execution's slow half share: the venue by REST, the books, bounded tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from hft.config import Plan
from hft.core.orders import Order
from hft.errors import HftError, VenueError
from hft.records import Action, OrderState, Reason
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.units import NS_PER_MS
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.reports import OrderReport
from hft.venues.binance_usdm.rest import RestClient

TASKS_MAX: Final = 16
"""Questions to the venue at the same time."""
CLOCK_SLACK_NS: Final = NS_PER_MS
"""The venue's times are whole milliseconds."""
Guard = Callable[[Callable[..., None]], Callable[..., None]]


class OrderDesk:
    """Runs coroutines whose failure ends the process, and asks about single orders."""

    def __init__(
        self,
        plan: Plan,
        rest: RestClient,
        keeper: OrderKeeper,
        events: OrderEvents,
        guard: Guard,
        turn: Callable[[], None],
    ) -> None:
        self.rest, self.keeper, self.events = rest, keeper, events
        self.guard, self.turn = guard, turn
        self.symbols = keeper.symbols
        self.is_stopping = False
        self._started_wall_ns = plan.started_wall_ns
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tasks run in this loop."""
        self._loop = loop

    def stop(self) -> None:
        """Give up every open question."""
        self.is_stopping = True
        for task in self._tasks:
            task.cancel()

    @property
    def is_busy(self) -> bool:
        """True when nothing more should be asked for now."""
        return len(self._tasks) >= TASKS_MAX

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine; an error that it does not handle ends the process."""
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.guard(_raise)(error)

    @property
    def birth_ns(self) -> int:
        """Start of the system by the venue's clock: what was traded before is in no book."""
        offset_ns = self.rest.venue_ns - time.time_ns()
        return self._started_wall_ns + offset_ns - CLOCK_SLACK_NS

    async def query(self, order: Order) -> OrderReport:
        """How an order stands: ours by the id we gave it, others by the venue's."""
        symbol = self.symbols[order.instrument_id]
        if order.is_ours:
            return await self.rest.query_order(symbol, client_order_id(order.order_id))
        return await self.rest.query_order(symbol, venue_order_id=order.venue_order_id)

    def begin_cancel(self, order: Order, reason: Reason, now_ns: int) -> None:
        """Journal a cancel that is about to leave by REST."""
        assert order.is_ours
        order.cancel_sent(now_ns, reason)
        self.keeper.begin(order, Action.CANCEL, price_e8=order.price_e8, qty_e8=order.qty_e8)
        self.keeper.settle()

    async def cancel(self, order: Order) -> None:
        """Cancel one order of ours and apply the answer; repeating it does no harm."""
        symbol = self.symbols[order.instrument_id]
        try:
            report = await self.rest.cancel_order(symbol, client_order_id(order.order_id))
            self.guard(self.events.on_report)(order, report, time.monotonic_ns())
        except VenueError as error:
            now_ns = time.monotonic_ns()
            apply = self.guard(self.events.refused)
            apply(order, Action.CANCEL, error.code, error.status, error.text, now_ns)
        except HftError:
            self.guard(self.events.overdue)(order, time.monotonic_ns())


def is_quiet(order: Order) -> bool:
    """Whether no answer about the order is on its way."""
    return order.request_ns == 0 or order.state is OrderState.UNRESOLVED


def _raise(error: BaseException) -> None:
    raise error
