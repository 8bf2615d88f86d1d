"""Execution's authority of its own: answers that are overdue, and cancels that nobody decided.

What rests at the venue rests there because somebody watches it. When the permit is gone, the
strategy silent, the book stale, trading halted or the books in doubt, execution takes it out
without being told. When positions may only shrink, what could make one grow has to go as well.
Orders that are not ours are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hft import counters
from hft.core.generated.views import Position, TopOfBook
from hft.core.order_id import SOURCE_MANUAL
from hft.core.orders import Order
from hft.core.permit import permit_expires_ns, permit_grants, permit_is_reducing
from hft.graph import position_cell
from hft.records import Action, FeedState, Mode, OrderState, Reason
from hft.roles.context import Context
from hft.roles.order_events import OrderEvents
from hft.roles.order_keeper import OrderKeeper
from hft.units import NS_PER_MS, NS_PER_S

CANCEL_AGAIN_NS: Final = 500 * NS_PER_MS
CANCEL_HALTED_NS: Final = 2 * NS_PER_S
"""Pauses between two cancels of one order; the longer one while its symbol does not trade."""
FEED_GRACE_NS: Final = 200 * NS_PER_MS
YIELD_TO_SILENCE: Final = (Reason.NONE, Reason.OWN_RECOVERY)
"""Causes that say less than the silence of the strategy does."""
MEMORY_MAX: Final = 64
"""Orders beyond those that are open whose last cancel is remembered."""


class OrderGuard:
    """Watches over all open orders, one round at a time."""

    def __init__(
        self,
        context: Context,
        keeper: OrderKeeper,
        events: OrderEvents,
        cancel: Callable[[Order, Reason, int], Reason],
    ) -> None:
        config = context.config
        self._page = context.page
        self._keeper, self._events, self._send_cancel = keeper, events, cancel
        self._tops, top_buffer = context.cell_reader("tops")
        self._top = TopOfBook(top_buffer)
        self._positions, position_buffer = context.cell_reader("positions")
        self._position = Position(position_buffer)
        self._permit, self._halt = context.permit(), context.halt
        self._strategy = context.page_of("strategy")
        self._answer_ns = config.execution.answer_ms_max * NS_PER_MS
        self._permit_gone_ns = config.execution.permit_gone_ms * NS_PER_MS
        self._strategy_silence_ns = config.execution.strategy_silence_ms * NS_PER_MS
        self._stale_ns = config.feed.stale_ms * NS_PER_MS + FEED_GRACE_NS
        self._permit_ns = 0
        self._cancelled_ns: dict[int, int] = {}

    def begin(self, now_ns: int) -> None:
        """The permit counts as just seen: risk gets its time to renew it."""
        self._permit_ns = now_ns

    def round(self, now_ns: int, *, is_stopping: bool, is_recovered: bool) -> int:
        """Look at every open order; returns how many cancels were asked for."""
        table = self._keeper.table
        unknown = 0
        for order in table:
            if order.is_pending and now_ns - order.request_ns > self._answer_ns:
                self._events.overdue(order, now_ns)
            unknown += order.state is OrderState.UNRESOLVED
        self._page.set_gauge(counters.OPEN_ORDERS.id, len(table))
        self._page.set_gauge(counters.UNKNOWN_ORDERS.id, unknown)
        cause = self._cause(now_ns, is_stopping=is_stopping, is_recovered=is_recovered)
        is_silent = now_ns - self._strategy.beat_ns > self._strategy_silence_ns
        if not len(table):
            self._cancelled_ns.clear()
            return 0
        return self._cancel_causes(cause, now_ns, is_silent=is_silent, is_stopping=is_stopping)

    def cancel_all(self, strategy_id: int, instrument_id: int, now_ns: int) -> None:
        """Cancel our orders of a strategy and an instrument, 0: of all.

        What cannot be cancelled now, because only the venue knows what became of it or because the
        request cannot leave, is when it can.
        """
        for order in self._keeper.table:
            is_meant = (
                order.is_ours
                and not order.is_terminal
                and strategy_id in (0, order.strategy_id)
                and instrument_id in (0, order.instrument_id)
            )
            if is_meant:
                order.cancel_reason = Reason.OWN_DECIDED_ALL
                if order.state is not OrderState.UNRESOLVED:
                    self.cancel(order, Reason.OWN_DECIDED_ALL, now_ns)

    def cancel(self, order: Order, reason: Reason, now_ns: int) -> bool:
        """Cancel an order, which will not be repeated soon; False: not now."""
        if self._send_cancel(order, reason, now_ns) is not Reason.NONE:
            return False
        self.note_cancel(order, now_ns)
        return True

    def note_cancel(self, order: Order, now_ns: int) -> None:
        """A cancel left: the next one has to wait, also when this one is refused at once."""
        self._cancelled_ns[order.order_id] = now_ns

    def _cause(self, now_ns: int, *, is_stopping: bool, is_recovered: bool) -> Reason:
        """Why everything has to go; NONE: nothing speaks against all orders."""
        word = self._permit.load()
        if permit_grants(word, now_ns):
            self._permit_ns = max(self._permit_ns, min(now_ns, permit_expires_ns(word)))
        if is_stopping:
            return Reason.OWN_SHUTDOWN
        if self._halt.is_set:
            return Reason.OWN_HALT
        if now_ns - self._permit_ns > self._permit_gone_ns:
            return Reason.OWN_PERMIT_GONE
        return Reason.NONE if is_recovered else Reason.OWN_RECOVERY

    def _cancel_causes(
        self, cause: Reason, now_ns: int, *, is_silent: bool, is_stopping: bool
    ) -> int:
        count = 0
        growing = self._growing() if permit_is_reducing(self._permit.load()) else frozenset()
        for order in self._keeper.table:
            reason = cause
            if is_silent and reason in YIELD_TO_SILENCE and order.strategy_id != SOURCE_MANUAL:
                reason = Reason.OWN_STRATEGY_SILENT  # an order by hand has no strategy to watch it
            if reason is Reason.NONE and order.order_id in growing:
                reason = Reason.REDUCING_ONLY
            if reason is Reason.NONE and order.cancel_reason is Reason.OWN_DECIDED_ALL:
                reason = order.cancel_reason  # decided once, and to be seen through
            if reason is Reason.NONE and self._is_feed_stale(order.instrument_id, now_ns):
                reason = Reason.OWN_FEED_STALE
            if reason is Reason.NONE or order.is_terminal or not order.is_ours:
                continue
            if order.state is OrderState.UNRESOLVED and not is_stopping:
                continue  # the ladder asks first; a cancel would only add to what is unknown
            if self.is_too_soon(order, now_ns):
                continue
            if self.cancel(order, reason, now_ns):
                self._page.count(counters.OWN_CANCELS.id)
                count += 1
        if len(self._cancelled_ns) > len(self._keeper.table) + MEMORY_MAX:
            table = self._keeper.table
            self._cancelled_ns = {i: ns for i, ns in self._cancelled_ns.items() if i in table}
        return count

    def _growing(self) -> frozenset[int]:
        """Open orders that could make a position grow, were all of its side to execute."""
        room_e8: dict[tuple[int, int], int] = {}
        growing = set()
        for order in self._keeper.table:
            key = order.instrument_id, order.side
            if key not in room_e8:
                index = position_cell(Mode.LIVE, order.instrument_id)
                held_e8 = self._position.position_e8 if self._positions.read(index) else 0
                room_e8[key] = max(0, -order.side * held_e8)
            if order.worst_case_qty_e8 > room_e8[key]:
                growing.add(order.order_id)
            else:
                room_e8[key] -= order.worst_case_qty_e8
        return frozenset(growing)

    def is_too_soon(self, order: Order, now_ns: int) -> bool:
        """A cancel is on its way, or the last one was refused only now."""
        if order.pending is Action.CANCEL and now_ns - order.request_ns < CANCEL_AGAIN_NS:
            return True
        wait_ns = CANCEL_AGAIN_NS
        if order.reason is Reason.INSTRUMENT_NOT_TRADING:
            wait_ns = CANCEL_HALTED_NS
        return now_ns - self._cancelled_ns.get(order.order_id, now_ns - wait_ns) < wait_ns

    def _is_feed_stale(self, instrument_id: int, now_ns: int) -> bool:
        """No live market data: what rests there is priced on nothing."""
        if not self._tops.read(instrument_id):
            return True
        return (
            self._top.feed_state != FeedState.LIVE or now_ns - self._top.as_of_ns > self._stale_ns
        )
