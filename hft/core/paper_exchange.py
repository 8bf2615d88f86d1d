"""The paper venue: requests on their way, one ``PaperBook`` for each instrument. Pure.

Requests arrive in the order in which they were sent, whatever latency each was given: they share a
connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hft.core.paper_fills import PaperBook, PaperEvent, PaperOrder
from hft.records import Action, ExecKind, OrderState, Reason


class PaperRequest(NamedTuple):
    """What was asked for. ``order``: the new one; else what is said of the one that is named."""

    action: Action
    order: PaperOrder
    arrival_ns: int = 0
    """Monotonic time at which it takes effect."""


class PaperExchange:
    """Requests in flight and orders, over all instruments."""

    def __init__(self, positions_e8: Mapping[int, int]) -> None:
        """``positions_e8``: paper position by instrument; the only instruments there are."""
        self.books = {number: PaperBook(number, qty) for number, qty in positions_e8.items()}
        self.orders: dict[int, PaperOrder] = {}
        """Orders on their way or resting, by id."""
        self._in_flight: deque[PaperRequest] = deque()

    def submit(self, request: PaperRequest) -> None:
        """Send a request; it arrives no earlier than those sent before it."""
        newest_ns = self._in_flight[-1].arrival_ns if self._in_flight else 0
        request = request._replace(arrival_ns=max(request.arrival_ns, newest_ns))
        self._in_flight.append(request)
        if request.action is Action.PLACE:
            self.orders[request.order.order_id] = request.order

    def due(self, until_ns: int) -> Iterator[PaperRequest]:
        """Requests that have arrived by then, in order; each is taken out as it is returned."""
        while self._in_flight and self._in_flight[0].arrival_ns <= until_ns:
            yield self._in_flight.popleft()

    def execute(self, request: PaperRequest) -> list[PaperEvent]:
        """Carry out a request that has arrived."""
        order, action = request.order, request.action
        if action is Action.CANCEL_ALL:
            return self._cancel_resting(Reason.NONE, order.strategy_id, order.instrument_id)
        book = self.books.get(order.instrument_id)
        if book is None:
            return [_refused(order, ExecKind.CANCEL_REJECTED)]
        if action is Action.PLACE:
            order.ack_ns = request.arrival_ns
            events = book.place(order)
        elif order.order_id not in book.orders:
            kind = ExecKind.CANCEL_REJECTED if action is Action.CANCEL else ExecKind.AMEND_REJECTED
            return [_refused(order, kind)]
        elif action is Action.CANCEL:
            events = book.cancel(order.order_id)
        else:
            book.orders[order.order_id].decision_seq = order.decision_seq
            events = book.amend(order.order_id, order.price_e8, order.qty_e8)
        return self.noted(events)

    def noted(self, events: list[PaperEvent]) -> list[PaperEvent]:
        """Forget the orders that have ended; returns the same events."""
        for event in events:
            if event.state >= OrderState.FILLED:
                self.orders.pop(event.order.order_id, None)
        return events

    def cancel_all(self, reason: Reason, instrument_id: int = 0) -> list[PaperEvent]:
        """At once, without latency: what rests and what is on its way. 0: of all instruments."""
        events = self._cancel_resting(reason, 0, instrument_id)
        kept: deque[PaperRequest] = deque()
        for request in self._in_flight:
            order = request.order
            if instrument_id not in (0, order.instrument_id):
                kept.append(request)
            elif request.action is Action.PLACE:
                order.state = OrderState.CANCELED
                events.append(_ended(order, reason))
        self._in_flight = kept
        return self.noted(events)

    def _cancel_resting(
        self, reason: Reason, strategy_id: int, instrument_id: int
    ) -> list[PaperEvent]:
        events = []
        for order in tuple(self.orders.values()):
            is_meant = strategy_id in (0, order.strategy_id)
            if is_meant and instrument_id in (0, order.instrument_id):
                events += self.books[order.instrument_id].cancel(order.order_id, reason)
        return self.noted(events)


def _refused(order: PaperOrder, kind: ExecKind) -> PaperEvent:
    """A request about an order that does not rest: it has ended, or never was."""
    return PaperEvent(
        kind, order, OrderState.NONE, 0, 0, order.price_e8, order.qty_e8,
        reason=Reason.VENUE_UNKNOWN_ORDER,
    )  # fmt: skip


def _ended(order: PaperOrder, reason: Reason) -> PaperEvent:
    return PaperEvent(
        ExecKind.CANCELED, order, OrderState.CANCELED, order.cum_qty_e8, 0, order.price_e8,
        order.qty_e8, reason=reason,
    )  # fmt: skip
