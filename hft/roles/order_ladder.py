"""The ladder of an order that only the venue can settle.

It is asked for, soon and then more slowly. Found: its answer settles it, and trades not seen are
fetched. Not found, twice and after the time in which the venue could still have accepted it, with
no event of it meanwhile: it never was there. No order is ever sent again. What may be repeated is
a cancel: an unanswered cancel is sent once more, and an unanswered amend is followed by a cancel,
because only that leads to a known end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from hft.core.orders import Order
from hft.errors import HftError, VenueError
from hft.records import Action, OrderState, Reason
from hft.roles.order_desk import OrderDesk
from hft.roles.order_gate import OrderGate
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.rest import TRADES_PER_PAGE

LADDER_NS: Final = (
    200 * NS_PER_MS,
    500 * NS_PER_MS,
    1_000 * NS_PER_MS,
    2_000 * NS_PER_MS,
)
"""Pauses between the queries of one order; the last one repeats."""
SETTLE_NS: Final = 3 * NS_PER_S
"""What is added to the receive window before an unknown order may count as never accepted."""
MISSES_APART_NS: Final = 2 * NS_PER_S
"""Between the two answers that both do not know the order."""
FORGOTTEN_NS: Final = 60 * NS_PER_S
"""An acknowledged order that the venue denies for so long does not rest there any more."""
MISSING_TRADES_NS: Final = 700 * NS_PER_MS
"""The user stream's time to bring trades before they are asked for."""


class _Question:
    """How far the ladder of one order has come."""

    __slots__ = ("due_ns", "is_asking", "is_doubtful", "missed_ns", "order", "rung", "since_ns")

    def __init__(self, order: Order, now_ns: int, wait_ns: int, *, is_doubtful: bool) -> None:
        self.order = order
        self.since_ns = now_ns
        self.due_ns = now_ns + wait_ns
        self.rung = 0
        self.missed_ns = 0
        """First answer after the deadline that did not know the order, 0: none."""
        self.is_asking = False
        self.is_doubtful = is_doubtful
        """To be asked about whatever its state is."""


class OrderLadder:
    """Open questions, one for an order at most, and the rungs that they are on."""

    def __init__(
        self,
        desk: OrderDesk,
        deadline_ns: int,
        catch_symbol: Callable[[int], Awaitable[None]],
        has_gap: Callable[[], bool],
    ) -> None:
        """``deadline_ns`` after its sending an order can no longer arrive at the venue.

        ``catch_symbol`` brings an instrument's trades up to date; ``has_gap`` says that this is
        being done for all of them.
        """
        self._desk = desk
        self._deadline_ns = deadline_ns
        self._catch_symbol = catch_symbol
        self._has_gap = has_gap
        self._questions: dict[int, _Question] = {}
        self.gate: Final = OrderGate(self._questions)

    def __len__(self) -> int:
        return len(self._questions)

    def is_settled(self, instrument_id: int) -> bool:
        """True when nothing is asked about unknown orders of the instrument."""
        return not self._questions or not any(
            question.order.instrument_id == instrument_id
            and question.order.state is OrderState.UNRESOLVED
            for question in self._questions.values()
        )

    def ask(self, order: Order, now_ns: int, wait_ns: int = 0, *, is_doubtful: bool = True) -> None:
        """Put an order on the ladder, unless it stands there."""
        question = self._questions.get(order.order_id)
        if question is None:
            question = _Question(order, now_ns, wait_ns, is_doubtful=is_doubtful)
            self._questions[order.order_id] = question
        elif is_doubtful:
            question.is_doubtful = True

    def tend(self, now_ns: int) -> None:
        """Start what is due."""
        for order in self._desk.keeper.table:
            if order.state is OrderState.UNRESOLVED:
                self.ask(order, now_ns, LADDER_NS[0], is_doubtful=False)
            elif order.missing_qty_e8:
                self.ask(order, now_ns, MISSING_TRADES_NS, is_doubtful=False)
        for question in list(self._questions.values()):
            if question.is_asking or now_ns < question.due_ns:
                continue
            if self._is_answered(question):
                del self._questions[question.order.order_id]
            elif self._desk.is_busy:
                break
            else:
                question.is_asking = True
                self._desk.spawn(self._climb(question))

    @staticmethod
    def _is_answered(question: _Question) -> bool:
        order = question.order
        if order.is_overfilled and question.is_doubtful:
            return False  # wherever it stands, the venue is asked once
        if order.row < 0:
            return True
        is_known = order.state is not OrderState.UNRESOLVED and not order.missing_qty_e8
        return is_known and not question.is_doubtful

    async def _climb(self, question: _Question) -> None:
        """One rung: ask for the order, and for its trades when some are missing."""
        order, desk = question.order, self._desk
        try:
            if order.state is OrderState.UNRESOLVED or question.is_doubtful:
                await self._ask_state(question)
            if order.missing_qty_e8 and not self._has_gap():
                # The whole symbol first: other orders' trades may have been missed before these.
                await self._catch_symbol(order.instrument_id)
            if (order.missing_qty_e8 or order.is_overfilled) and not self._has_gap():
                await self._fetch_trades(order)
            question.is_doubtful = False
        except VenueError as error:
            if classify(error.code, error.status, error.text).is_order_unknown:
                self._on_missing(question)
        except HftError:
            pass  # nobody answered: the next rung asks again
        finally:
            question.is_asking = False
            question.due_ns = time.monotonic_ns() + LADDER_NS[question.rung]
            question.rung = min(question.rung + 1, len(LADDER_NS) - 1)
            if self._is_answered(question):
                self._questions.pop(order.order_id, None)
        desk.turn()

    async def _ask_state(self, question: _Question) -> None:
        order, desk = question.order, self._desk
        is_asked_for = order.pending is Action.CANCEL or order.is_amend_pending
        if order.state is OrderState.UNRESOLVED and order.is_ours and is_asked_for:
            reason = order.cancel_reason or Reason.OWN_RECOVERY
            desk.guard(desk.begin_cancel)(order, reason, _now_ns())
            await desk.cancel(order)
        if order.state is OrderState.UNRESOLVED or question.is_doubtful:
            report = await desk.query(order)
            desk.guard(desk.events.on_report)(order, report, _now_ns())

    async def _fetch_trades(self, order: Order) -> None:
        if not order.venue_order_id:
            return
        desk = self._desk
        symbol = desk.symbols[order.instrument_id]
        trades = await desk.rest.user_trades(symbol, venue_order_id=order.venue_order_id)
        trades = [one for one in trades if one.venue_order_id == order.venue_order_id]
        birth_ns = desk.birth_ns if order.is_adopted else 0
        for trade in trades:
            if trade.venue_ns >= birth_ns:
                desk.guard(desk.events.on_trade)(order, trade, _now_ns())
        if len(trades) < TRADES_PER_PAGE:
            traded_qty_e8 = sum(trade.qty_e8 for trade in trades)
            desk.guard(desk.events.trades_complete)(order, traded_qty_e8, _now_ns())

    def _on_missing(self, question: _Question) -> None:
        """The venue does not know the order: proof only after it can no longer arrive."""
        order, now_ns = question.order, _now_ns()
        sent_ns = order.send_ns or order.request_ns or question.since_ns
        if now_ns - sent_ns <= self._deadline_ns:
            return
        missed_ns = question.missed_ns
        if not missed_ns:
            question.missed_ns = now_ns
        elif order.is_acknowledged or order.heard_ns:
            if now_ns - missed_ns >= FORGOTTEN_NS:
                self._desk.guard(self._desk.events.forgotten)(order, now_ns)
        elif now_ns - missed_ns >= MISSES_APART_NS:
            self._desk.guard(self._desk.events.never_accepted)(order, now_ns)


def _now_ns() -> int:
    return time.monotonic_ns()
