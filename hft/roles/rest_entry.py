"""Order entry by REST, while the order session is down.

Slower, and everything else as ever: journal before send, the fence after signing and right before
sending, the same budgets, one answer that closes, refuses or leaves the order unknown. Cancels of
one symbol that are due together leave as one request. Few requests are on their way at a time, and
none for a while after one that nobody answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from hft import counters
from hft.core.generated.views import Decision
from hft.core.orders import Order
from hft.errors import HftError, UnreachableError, UsageError, VenueError
from hft.records import Action, OrderState, Reason
from hft.roles.context import Context
from hft.roles.entry_limits import EntryEvents, EntryLimits, retry_after_ms
from hft.roles.order_keeper import OrderKeeper
from hft.units import NS_PER_MS
from hft.venues.binance_usdm.errors import BannedError, RateLimitedError, UnknownOutcomeError
from hft.venues.binance_usdm.order_text import OrderTextEncoder, Parameters, client_order_id
from hft.venues.binance_usdm.reports import OrderReport, Refusal
from hft.venues.binance_usdm.rest import CANCELS_MAX, RestClient

IN_FLIGHT_MAX: Final = 4
"""Requests without an answer; more wait or are refused."""
SILENCE_NS: Final = 500 * NS_PER_MS
"""After a request that nobody answered nothing is sent for so long."""
CANCEL_AGAIN_NS: Final = 500 * NS_PER_MS
"""A cancel of an order whose fate is unknown is not sent sooner than its last request."""

Fence = Callable[["Decision | Grant"], tuple[Reason, int]]


class Grant(NamedTuple):
    """What the fence looks at, of a decision that is sent a little later."""

    risk_epoch: int
    judge_ns: int
    origin_ns: int
    granted_state: int

    @classmethod
    def of(cls, decision: Decision) -> Grant:
        """Copied from the record, whose buffer the next decision will use."""
        return cls(*(getattr(decision, name) for name in cls._fields))


class _FencedError(HftError):
    """The fence closed between the decision and the send: nothing left."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"not sent: {reason.name}")
        self.reason = reason


class RestEntry:
    """Sends orders, amends and cancels by REST and applies the answers."""

    def __init__(
        self,
        context: Context,
        rest: RestClient,
        keeper: OrderKeeper,
        events: EntryEvents,
        limits: EntryLimits,
        *,
        loop: asyncio.AbstractEventLoop,
        fence: Fence,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        self._page = context.page
        self._symbols = {i.instrument_id: i.symbol for i in context.plan.instruments}
        self._rest, self._keeper, self._events, self._limits = rest, keeper, events, limits
        self._loop, self._fence, self._guard, self._turn = loop, fence, guard, turn
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent_until_ns = 0
        self.due: dict[int, Reason] = {}
        """Orders to cancel, and why; bounded by the table of orders."""

    def is_able(self, now_ns: int) -> bool:
        """A request handed over now leaves now."""
        return now_ns >= self._silent_until_ns and len(self._tasks) < IN_FLIGHT_MAX

    def stop(self) -> None:
        """Give up what is on its way: its outcome is found out by the next life."""
        for task in self._tasks:
            task.cancel()

    # -- places and amends ----------------------------------------------------------------------

    def place(self, order: Order, encoder: OrderTextEncoder, decision: Decision) -> Reason:
        """Journal a new order that passes the fence, and send it if it passes once more.

        Returns why not; the order has then left the table.
        """
        try:
            parameters = encoder.place_parameters(
                order.order_id,
                side=order.side,
                order_type=order.order_type,
                tif=order.tif,
                is_post_only=order.is_post_only,
                is_reduce_only=order.is_reduce_only,
                price_e8=order.price_e8,
                qty_e8=order.qty_e8,
                good_till_s=order.good_till_s,
            )
        except UsageError:
            self._keeper.table.remove(order.order_id)
            return encoder.objection(order.price_e8, order.qty_e8)
        reason, now_ns = self._fence(decision)
        if reason is not Reason.NONE:
            self._keeper.table.remove(order.order_id)
            return reason
        order.request_ns = now_ns
        self._keeper.begin(order, Action.PLACE, price_e8=order.price_e8, qty_e8=order.qty_e8)
        self._spawn(self._place(order, parameters, Grant.of(decision)))
        return Reason.NONE

    def amend(self, order: Order, encoder: OrderTextEncoder, decision: Decision) -> Reason:
        """Journal an amend that passes the fence, and send it if it passes once more."""
        price_e8, qty_e8 = decision.price_e8, decision.qty_e8
        try:
            parameters = encoder.amend_parameters(
                order.order_id, side=order.side, price_e8=price_e8, qty_e8=qty_e8
            )
        except UsageError:
            return encoder.objection(price_e8, qty_e8)
        reason, now_ns = self._fence(decision)
        if reason is not Reason.NONE:
            return reason
        order.amend_sent(price_e8, qty_e8, now_ns)
        order.decision_seq = decision.seq
        self._keeper.begin(order, Action.AMEND, price_e8=price_e8, qty_e8=qty_e8)
        self._keeper.settle()
        self._spawn(self._amend(order, parameters, Grant.of(decision)))
        return Reason.NONE

    async def _place(self, order: Order, parameters: Parameters, grant: Grant) -> None:
        def leave() -> None:
            send_ns = self._pass(grant)
            order.place_sent(send_ns)
            self._limits.budget.took_place(send_ns)
            self._keeper.sent(order, now_ns=send_ns, origin_ns=grant.origin_ns)
            self._page.count(counters.SENT.id)
            self._page.count(counters.REST_ORDERS.id)

        try:
            report = await self._rest.place_order(parameters, leave)
        except HftError as error:
            if order.send_ns and isinstance(error, UnreachableError):
                order.send_ns = 0  # it was on its way to a connection that never came
                self._silence()
            if order.send_ns:
                self._failed([order], Action.PLACE, error)
            else:
                self._events.not_sent(order, _unsent_reason(error), time.monotonic_ns())
        else:
            self._events.on_report(order, report, time.monotonic_ns())
        self._turn()

    async def _amend(self, order: Order, parameters: Parameters, grant: Grant) -> None:
        has_left = False

        def leave() -> None:
            nonlocal has_left
            self._limits.budget.took_place(self._pass(grant))
            self._page.count(counters.AMENDS_SENT.id)
            self._page.count(counters.REST_ORDERS.id)
            has_left = True

        try:
            report = await self._rest.amend_order(parameters, leave)
        except HftError as error:
            if has_left:
                self._failed([order], Action.AMEND, error)
            else:
                self._events.refused_unsent(order, Action.AMEND, time.monotonic_ns())
        else:
            self._events.on_report(order, report, time.monotonic_ns())
        self._turn()

    def _pass(self, grant: Grant) -> int:
        """The moment of sending.

        Raises:
            _FencedError: the fence is closed.
        """
        reason, now_ns = self._fence(grant)
        if reason is not Reason.NONE:
            raise _FencedError(reason)
        return now_ns

    # -- cancels --------------------------------------------------------------------------------

    def cancel(self, order: Order, reason: Reason) -> bool:
        """Have an order cancelled with the next ``flush``; False: it was due already."""
        is_new = order.order_id not in self.due
        self.due[order.order_id] = reason
        return is_new

    def flush(self, now_ns: int) -> int:
        """Send the cancels that are due, each symbol's together; returns how many left."""
        count = 0
        orders = []
        for order_id in list(self.due):
            order = self._keeper.table.get(order_id)
            if order is None or order.is_terminal:
                del self.due[order_id]
            elif now_ns - order.request_ns >= CANCEL_AGAIN_NS or not _is_asked(order):
                orders.append(order)
        by_instrument = attrgetter("instrument_id")
        for instrument_id, group in groupby(sorted(orders, key=by_instrument), by_instrument):
            waiting = list(group)
            for begin in range(0, len(waiting), CANCELS_MAX):
                refusal = self._limits.budget.cancel_refusal(now_ns)
                if not self.is_able(now_ns) or refusal is not Reason.NONE:
                    return count
                batch = waiting[begin : begin + CANCELS_MAX]
                self._begin_cancels(batch, now_ns)
                self._spawn(self._cancel(self._symbols[instrument_id], batch))
                count += len(batch)
        return count

    def _begin_cancels(self, batch: list[Order], now_ns: int) -> None:
        for order in batch:
            order.cancel_sent(now_ns, self.due.pop(order.order_id))
            self._keeper.begin(order, Action.CANCEL, price_e8=order.price_e8, qty_e8=order.qty_e8)
            self._page.count(counters.CANCELS_SENT.id)
            self._page.count(counters.REST_ORDERS.id)
        self._keeper.settle()
        self._limits.budget.took_cancel(now_ns)

    async def _cancel(self, symbol: str, batch: list[Order]) -> None:
        names = [client_order_id(order.order_id) for order in batch]
        answers: list[OrderReport | Refusal]
        try:
            if len(names) == 1:
                answers = [await self._rest.cancel_order(symbol, names[0])]
            else:
                answers = await self._rest.cancel_orders(symbol, names)
        except HftError as error:
            self._failed(batch, Action.CANCEL, error)
        else:
            now_ns = time.monotonic_ns()
            for order, answer in zip(batch, answers, strict=False):
                self._apply_cancel(order, answer, now_ns)
            for order in batch[len(answers) :]:
                self._events.overdue(order, now_ns)
        self._turn()

    def _apply_cancel(self, order: Order, answer: OrderReport | Refusal, now_ns: int) -> None:
        if isinstance(answer, Refusal):
            self._events.refused(order, Action.CANCEL, answer.code, 400, answer.text, now_ns)
        else:
            self._events.on_report(order, answer, now_ns)

    # -- what went wrong ------------------------------------------------------------------------

    def _failed(self, orders: list[Order], action: Action, error: HftError) -> None:
        """One request was refused as a whole, never left, or has no answer."""
        now_ns = time.monotonic_ns()
        for order in orders:
            if isinstance(error, UnreachableError):
                self._events.refused_unsent(order, action, now_ns)
            elif isinstance(error, VenueError):
                self._events.refused(order, action, error.code, error.status, error.text, now_ns)
            else:
                self._events.overdue(order, now_ns)
        if isinstance(error, UnknownOutcomeError) and error.status:
            self._limits.throttle.overloaded(now_ns)
        if isinstance(error, RateLimitedError):
            self._limits.told(
                self._rest,
                now_ns,
                status=error.status,
                code=error.code,
                retry_after_ms=retry_after_ms(error.retry_after_s),
            )
        elif not isinstance(error, VenueError):
            self._silence()

    def _silence(self) -> None:
        self._silent_until_ns = time.monotonic_ns() + SILENCE_NS

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._guard(_raise)(error)


def _is_asked(order: Order) -> bool:
    """A cancel is on its way, or only the venue knows what became of the last request."""
    return order.pending is Action.CANCEL or order.state is OrderState.UNRESOLVED


def _unsent_reason(error: HftError) -> Reason:
    """Why a journalled order never left."""
    if isinstance(error, _FencedError):
        return error.reason
    if isinstance(error, BannedError):
        return Reason.VENUE_BANNED
    return Reason.VENUE_LIMIT if isinstance(error, RateLimitedError) else Reason.SESSION_DOWN


def _raise(error: BaseException) -> None:
    raise error
