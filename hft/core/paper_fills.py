"""Paper fills: what the market, as it is shown, would have done to orders it never saw.

One ``PaperBook`` holds one instrument. Pure: time is an argument and results are events.

The model is queue position by price and time, as E. Rigtorp ("Estimating order queue position",
2013) and C. Moallemi and K. Yuan ("A model for queue position valuation in a limit order book",
2016) describe it:

- An order rests behind the quantity that is shown at its price when it arrives. Where nothing is
  shown because the price is deeper than the book reaches, it stands behind whatever appears first.
- A trade at its price eats the queue before it, then fills it; a trade through its price fills it.
  All own fills of one trade together are never more than the trade's quantity.
- A level that shrinks without a trade was cancelled evenly over its length: the queue ahead shrinks
  in proportion, rounded up. Growth comes behind. The book may show a trade before the trade is
  told (two streams): the share given for it is then taken back before the trade eats.
- The other side appearing at or through our price can only have traded with us: it fills us at our
  price, up to the quantity shown. What was taken from a shown level stays taken until that level
  has been empty.

Time is that of local receipt. An order and what it meets at the venue are both seen one way's
delay later, so an order is active from the moment at which its acknowledgement would arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from hft.records import ExecKind, OrderState, OrderType, Reason, Side, Tif

AHEAD_UNKNOWN: Final = -1
"""The queue before an order was never shown: it stands behind what will be shown first."""
Levels: TypeAlias = Sequence[tuple[int, int]]
"""(price, quantity), best first, 1e-8."""


@dataclass(slots=True, eq=False, kw_only=True)
class PaperOrder:
    """An order of paper mode. Prices and quantities in 1e-8."""

    order_id: int
    instrument_id: int
    side: Side
    price_e8: int
    qty_e8: int
    strategy_id: int = 0
    order_type: OrderType = OrderType.LIMIT
    tif: Tif = Tif.GTC
    is_post_only: bool = False
    is_reduce_only: bool = False
    good_till_s: int = 0
    decision_seq: int = 0
    origin_ns: int = 0
    send_ns: int = 0
    ack_ns: int = 0
    state: OrderState = OrderState.PENDING_NEW
    cum_qty_e8: int = 0
    ahead_e8: int = 0
    """Market quantity before it at its price."""
    credited_e8: int = 0
    """Part by which the queue shrank for cancels that may yet turn out to be trades."""
    venue_order_id: int = 0
    row: int = -1

    @property
    def leaves_qty_e8(self) -> int:
        """Open quantity; 0 once the order has ended."""
        return self.qty_e8 - self.cum_qty_e8 if self.state < OrderState.FILLED else 0


class PaperEvent(NamedTuple):
    """What happened to an order, with its figures at that moment."""

    kind: ExecKind
    order: PaperOrder
    state: OrderState
    cum_qty_e8: int
    leaves_qty_e8: int
    price_e8: int
    """FILL: price of the fill; else the order's."""
    qty_e8: int
    """FILL: quantity of the fill; else the order's."""
    is_maker: bool = False
    reason: Reason = Reason.NONE


class _Side:
    """One side as shown: quantities by price, what own orders took of them, how far it reaches."""

    __slots__ = ("best_e8", "reach_e8", "shown", "sign", "taken", "unexplained", "venue_ns")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.shown: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.unexplained: dict[int, int] = {}
        """By price: what vanished without a trade that was told of."""
        self.venue_ns: dict[int, int] = {}
        """By price: when the venue showed the quantity."""
        self.best_e8 = 0
        """0: nothing is known of this side."""
        self.reach_e8 = 0
        """Deepest price that is known; what lies behind may hold anything."""

    def is_better(self, price_e8: int, other_e8: int) -> bool:
        return (price_e8 - other_e8) * self.sign > 0

    def queue_at(self, price_e8: int) -> int:
        """Quantity that an order arriving at the price stands behind."""
        if not self.best_e8 or self.is_better(self.reach_e8, price_e8):
            return AHEAD_UNKNOWN
        return self.shown.get(price_e8, 0)

    def available(self) -> Iterator[tuple[int, int]]:
        """What an order could take, best first: shown and not taken yet."""
        for price_e8 in sorted(self.shown, reverse=self.sign > 0):
            yield price_e8, max(0, self.shown[price_e8] - self.taken.get(price_e8, 0))

    def forget(self, price_e8: int) -> None:
        self.shown.pop(price_e8, None)
        self.taken.pop(price_e8, None)
        self.venue_ns.pop(price_e8, None)
        self.unexplained.pop(price_e8, None)

    def clear(self) -> None:
        for price_e8 in tuple(self.shown):
            self.forget(price_e8)
        self.best_e8 = self.reach_e8 = 0


class PaperBook:
    """One instrument: the market as shown, and the own orders that it does not know of."""

    def __init__(self, instrument_id: int, position_e8: int = 0) -> None:
        self.instrument_id = instrument_id
        self.position_e8 = position_e8
        """Sum of the fills: what reduce-only orders may shrink."""
        self.orders: dict[int, PaperOrder] = {}
        """Resting orders by id, in order of their time priority."""
        self._bids, self._asks = _Side(1), _Side(-1)
        self._top_seq = self._book_seq = 0
        self._events: list[PaperEvent] = []

    @property
    def is_active(self) -> bool:
        """Whether the market's changes matter: orders rest, or took what they must not retake."""
        return bool(self.orders or self._bids.taken or self._asks.taken)

    @property
    def best_bid_e8(self) -> int:
        """Best bid as shown; 0: not known."""
        return self._bids.best_e8

    @property
    def best_ask_e8(self) -> int:
        """Best ask as shown; 0: not known."""
        return self._asks.best_e8

    # -- what the market shows ------------------------------------------------------------------

    def on_top(
        self, bid: tuple[int, int], ask: tuple[int, int], venue_ns: int, venue_seq: int
    ) -> list[PaperEvent]:
        """The best levels as (price, quantity). Older than what is known: nothing happens."""
        self._events = []
        if venue_seq < max(self._top_seq, self._book_seq):
            return self._events
        self._top_seq = venue_seq
        for side, (price_e8, qty_e8) in ((self._bids, bid), (self._asks, ask)):
            self._show_best(side, price_e8, qty_e8, venue_ns)
        self._fill_crossed()
        return self._events

    def on_book(
        self, bids: Levels, asks: Levels, venue_ns: int, venue_seq: int
    ) -> list[PaperEvent]:
        """The best levels of both sides. One older than the top speaks only of what lies behind."""
        self._events = []
        if venue_seq < self._book_seq:
            return self._events
        self._book_seq = venue_seq
        is_older = venue_seq < self._top_seq
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            self._show_levels(side, levels, venue_ns, is_older=is_older)
        self._fill_crossed()
        return self._events

    def on_blind(self) -> None:
        """The feed is not to be trusted: nothing is known of the book, nothing can be taken."""
        self._bids.clear()
        self._asks.clear()
        self._top_seq = self._book_seq = 0

    def on_trade(
        self, aggressor: int, price_e8: int, qty_e8: int, venue_ns: int
    ) -> list[PaperEvent]:
        """A public trade: own orders at better prices first, then the queue at its price."""
        self._events = []
        side = self._asks if aggressor > 0 else self._bids
        rest_e8 = qty_e8
        for order in self._by_priority(side.sign):
            if not side.is_better(order.price_e8, price_e8) or not rest_e8:
                break
            order.ahead_e8 = order.credited_e8 = 0
            rest_e8 -= self._fill(order, order.price_e8, rest_e8, is_maker=True)
        self._settle_shown(side, price_e8, qty_e8, venue_ns)
        self._eat_queue(side, price_e8, rest_e8)
        self._end_useless()
        return self._events

    def _show_best(self, side: _Side, price_e8: int, qty_e8: int, venue_ns: int) -> None:
        if not price_e8 or not qty_e8:
            return  # an empty side says nothing of where it will come back
        for known_e8 in [p for p in side.shown if side.is_better(p, price_e8)]:
            self._set_level(side, known_e8, 0, venue_ns)
        self._set_level(side, price_e8, qty_e8, venue_ns)
        side.best_e8 = price_e8
        if not side.reach_e8 or side.is_better(side.reach_e8, price_e8):
            side.reach_e8 = price_e8
        self._place_unknown(side)
        self._place_unknown(side)

    def _show_levels(self, side: _Side, levels: Levels, venue_ns: int, *, is_older: bool) -> None:
        if not levels:
            return
        best_e8, reach_e8 = levels[0][0], levels[-1][0]
        quantities = dict(levels)
        if is_older:  # the top knows better of itself and of all before it
            best_e8 = side.best_e8
            quantities = {p: q for p, q in levels if side.is_better(best_e8, p)}
        for price_e8 in tuple(side.shown):
            if side.is_better(reach_e8, price_e8):
                side.forget(price_e8)
            elif price_e8 not in quantities and not (is_older and price_e8 == best_e8):
                self._set_level(side, price_e8, 0, venue_ns)
        for price_e8, qty_e8 in quantities.items():
            self._set_level(side, price_e8, qty_e8, venue_ns)
        side.best_e8 = best_e8
        side.reach_e8 = best_e8 if side.is_better(reach_e8, best_e8) else reach_e8
        self._place_unknown(side)

    def _place_unknown(self, side: _Side) -> None:
        """Where the book reaches now and shows nothing, there is no queue."""
        for order in self.orders.values():
            if order.side == side.sign and order.ahead_e8 == AHEAD_UNKNOWN:
                order.ahead_e8 = side.queue_at(order.price_e8)

    def _set_level(self, side: _Side, price_e8: int, qty_e8: int, venue_ns: int) -> None:
        """A level is now so large; what is missing of it was cancelled, evenly over its length."""
        before_e8 = side.shown.get(price_e8)
        for order in self.orders.values():
            if order.side != side.sign or order.price_e8 != price_e8:
                continue
            if order.ahead_e8 == AHEAD_UNKNOWN:
                order.ahead_e8 = qty_e8
                continue
            ahead_e8 = order.ahead_e8
            if before_e8 and qty_e8 < before_e8:
                ahead_e8 = -(-ahead_e8 * qty_e8 // before_e8)
            ahead_e8 = min(ahead_e8, qty_e8)
            order.credited_e8 += order.ahead_e8 - ahead_e8
            order.ahead_e8 = ahead_e8
        if before_e8 is not None and qty_e8 < before_e8:
            vanished_e8 = before_e8 - qty_e8
            side.unexplained[price_e8] = side.unexplained.get(price_e8, 0) + vanished_e8
        side.venue_ns[price_e8] = venue_ns
        if qty_e8:
            side.shown[price_e8] = qty_e8
        else:
            side.shown.pop(price_e8, None)
            side.taken.pop(price_e8, None)
            self._trim_memory(side)

    def _trim_memory(self, side: _Side) -> None:
        """Forget what was noted of empty levels, but for those where own orders rest."""
        if len(side.venue_ns) > 2 * len(side.shown) + 64:
            kept = {order.price_e8 for order in self.orders.values()} | side.shown.keys()
            for price_e8 in [p for p in side.venue_ns if p not in kept]:
                side.forget(price_e8)

    def _settle_shown(self, side: _Side, price_e8: int, qty_e8: int, venue_ns: int) -> None:
        """Was the trade in the quantity shown? If so, take back what was given for a cancel."""
        if venue_ns > side.venue_ns.get(price_e8, 0):
            side.unexplained.pop(price_e8, None)
            for order in self._at(side, price_e8):
                order.credited_e8 = 0
            if price_e8 in side.shown:
                side.shown[price_e8] = max(0, side.shown[price_e8] - qty_e8)
            return
        unexplained_e8 = side.unexplained.get(price_e8, 0)
        if not unexplained_e8:
            return
        explained_e8 = min(qty_e8, unexplained_e8)
        for order in self._at(side, price_e8):
            back_e8 = -(-order.credited_e8 * explained_e8 // unexplained_e8)
            order.credited_e8 -= back_e8
            order.ahead_e8 += back_e8
        side.unexplained[price_e8] = unexplained_e8 - explained_e8

    def _eat_queue(self, side: _Side, price_e8: int, qty_e8: int) -> None:
        """A trade at the price: the market's queue before each order, then the order."""
        eaten_e8, rest_e8 = 0, qty_e8
        for order in self._at(side, price_e8):
            if order.ahead_e8 == AHEAD_UNKNOWN:
                continue
            before_e8 = min(rest_e8, max(0, order.ahead_e8 - eaten_e8))
            eaten_e8 += before_e8
            rest_e8 -= before_e8
            order.ahead_e8 = max(0, order.ahead_e8 - eaten_e8)
            if rest_e8 and not order.ahead_e8:
                rest_e8 -= self._fill(order, price_e8, rest_e8, is_maker=True)

    def _fill_crossed(self) -> None:
        """The other side stands at or through our price: it would have met us on its way."""
        for mine, other in ((self._bids, self._asks), (self._asks, self._bids)):
            if not other.best_e8:
                continue
            for order in self._by_priority(mine.sign):
                if (order.price_e8 - other.best_e8) * mine.sign < 0:
                    break
                self._take(order, other, is_maker=True)
        self._end_useless()

    # -- what strategies do ---------------------------------------------------------------------

    def place(self, order: PaperOrder) -> list[PaperEvent]:
        """An order arrives: refused, or acknowledged and matched; the rest rests or ends."""
        self._events = []
        reason = self._refusal(order, order.price_e8)
        if reason:
            self._end(order, ExecKind.REJECTED, OrderState.REJECTED, reason)
            return self._events
        order.state = OrderState.WORKING
        self._note(ExecKind.ACK, order)
        self._enter(order)
        return self._events

    def amend(self, order_id: int, price_e8: int, qty_e8: int) -> list[PaperEvent]:
        """Change price and total quantity. Time priority stays only where it just gets smaller.

        A total not above what is filled ends the order, as does a post-only price that would take.
        """
        self._events = []
        order = self.orders.get(order_id)
        if order is None:
            return self._events
        is_smaller = price_e8 == order.price_e8 and qty_e8 <= order.qty_e8
        if qty_e8 <= order.cum_qty_e8:
            self._end(order, ExecKind.CANCELED, OrderState.CANCELED, Reason.NONE)
        elif is_smaller:
            order.qty_e8 = qty_e8
            self._note(ExecKind.AMENDED, order)
        elif self._refusal(order, price_e8):
            self._end(order, ExecKind.EXPIRED, OrderState.EXPIRED, self._refusal(order, price_e8))
        else:
            del self.orders[order_id]
            order.price_e8, order.qty_e8 = price_e8, qty_e8
            self._note(ExecKind.AMENDED, order)
            self._enter(order)
        return self._events

    def cancel(self, order_id: int, reason: Reason = Reason.NONE) -> list[PaperEvent]:
        """Take a resting order out; nothing when there is none."""
        self._events = []
        order = self.orders.get(order_id)
        if order is not None:
            self._end(order, ExecKind.CANCELED, OrderState.CANCELED, reason)
        return self._events

    def expire_due(self, venue_s: float) -> list[PaperEvent]:
        """End the orders whose date has come; venue wall clock in seconds."""
        self._events = []
        for order in tuple(self.orders.values()):
            if order.tif is Tif.GTD and order.good_till_s <= venue_s:
                self._end(order, ExecKind.EXPIRED, OrderState.EXPIRED, Reason.NONE)
        return self._events

    def _refusal(self, order: PaperOrder, price_e8: int) -> Reason:
        other = self._asks if order.side > 0 else self._bids
        is_taking = other.best_e8 and (price_e8 - other.best_e8) * order.side >= 0
        if order.is_post_only and is_taking:
            return Reason.VENUE_POST_ONLY
        if order.is_reduce_only and not self._reducible_e8(order):
            return Reason.VENUE_REDUCE_ONLY
        return Reason.NONE

    def _enter(self, order: PaperOrder) -> None:
        """Match at once what crosses; rest, or end, with what remains."""
        mine, other = (self._bids, self._asks) if order.side > 0 else (self._asks, self._bids)
        is_immediate = order.order_type is OrderType.MARKET or order.tif in (Tif.IOC, Tif.FOK)
        if order.tif is not Tif.FOK or self._takeable_e8(order, other) >= order.leaves_qty_e8:
            self._take(order, other, is_maker=False)
        if not order.leaves_qty_e8:
            pass
        elif is_immediate:
            self._end(order, ExecKind.EXPIRED, OrderState.EXPIRED, Reason.NONE)
        else:
            order.ahead_e8, order.credited_e8 = mine.queue_at(order.price_e8), 0
            self.orders[order.order_id] = order
        self._end_useless()

    def _takeable_e8(self, order: PaperOrder, other: _Side) -> int:
        levels = list(other.available())
        return min(
            sum(qty_e8 for price_e8, qty_e8 in levels if self._reaches(order, price_e8)),
            self._reducible_e8(order) if order.is_reduce_only else order.leaves_qty_e8,
        )

    @staticmethod
    def _reaches(order: PaperOrder, price_e8: int) -> bool:
        is_market = order.order_type is OrderType.MARKET
        return is_market or (order.price_e8 - price_e8) * order.side >= 0

    def _take(self, order: PaperOrder, other: _Side, *, is_maker: bool) -> None:
        """Take what is shown; a maker's fills come at its own price."""
        for price_e8, free_e8 in list(other.available()):
            if not self._reaches(order, price_e8) or not order.leaves_qty_e8:
                break
            filled_e8 = self._fill(
                order, order.price_e8 if is_maker else price_e8, free_e8, is_maker=is_maker
            )
            if filled_e8:
                other.taken[price_e8] = other.taken.get(price_e8, 0) + filled_e8

    # -- helpers --------------------------------------------------------------------------------

    def _by_priority(self, sign: int) -> Iterable[PaperOrder]:
        mine = [order for order in self.orders.values() if order.side == sign]
        return sorted(mine, key=lambda order: -order.price_e8 * sign)  # stable: time stays

    def _at(self, side: _Side, price_e8: int) -> list[PaperOrder]:
        return [
            order
            for order in self.orders.values()
            if order.side == side.sign and order.price_e8 == price_e8
        ]

    def _reducible_e8(self, order: PaperOrder) -> int:
        return max(0, -order.side * self.position_e8)

    def _fill(self, order: PaperOrder, price_e8: int, qty_e8: int, *, is_maker: bool) -> int:
        """Fill up to ``qty_e8``; returns how much it was."""
        filled_e8 = min(qty_e8, order.leaves_qty_e8)
        if order.is_reduce_only:
            filled_e8 = min(filled_e8, self._reducible_e8(order))
        if filled_e8 <= 0:
            return 0
        order.cum_qty_e8 += filled_e8
        self.position_e8 += order.side * filled_e8
        if order.cum_qty_e8 == order.qty_e8:
            order.state = OrderState.FILLED
            self.orders.pop(order.order_id, None)
        self._events.append(
            PaperEvent(
                ExecKind.FILL,
                order,
                order.state,
                order.cum_qty_e8,
                order.leaves_qty_e8,
                price_e8,
                filled_e8,
                is_maker,
            )
        )
        return filled_e8

    def _end_useless(self) -> None:
        """Reduce-only orders that have nothing left to reduce end."""
        for order in tuple(self.orders.values()):
            if order.is_reduce_only and not self._reducible_e8(order):
                self._end(order, ExecKind.EXPIRED, OrderState.EXPIRED, Reason.VENUE_REDUCE_ONLY)

    def _end(self, order: PaperOrder, kind: ExecKind, state: OrderState, reason: Reason) -> None:
        self.orders.pop(order.order_id, None)
        order.state = state
        self._note(kind, order, reason)

    def _note(self, kind: ExecKind, order: PaperOrder, reason: Reason = Reason.NONE) -> None:
        self._events.append(
            PaperEvent(
                kind,
                order,
                order.state,
                order.cum_qty_e8,
                order.leaves_qty_e8,
                order.price_e8,
                order.qty_e8,
                False,
                reason,
            )
        )
