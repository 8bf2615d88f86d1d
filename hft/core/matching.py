"""Price-time matching of own orders against a market: simulator and backtest share it.

One ``MatchingBook`` holds one instrument. The market's liquidity is known by level (L2), own orders
one by one, each with the market quantity that stands before it in its level's queue. Nothing here
reads a clock, does I/O or draws a random number: time is an argument, results are events.

The two ways to use it:

- *The market sees our orders* (simulated venue): it acts through ``set_level`` and ``take``.
- *A replica of a market that does not* (``is_replica``: backtest, recording): it is
  ``set_level`` (absolute quantities) and ``print_trade`` (public trades). What own orders took from
  a level stays taken until the market shows the level empty.

Queue rules: a new order stands behind everything at its level; market quantity that disappears
without a trade is taken to have stood behind our orders; a level of the other side that appears at
or through our price fills us at our price, as the market can only get there by trading with us.

Paper mode sees cancels and trades of a living market in two streams and estimates its place in the
queue from them: it has a model of its own (``hft.core.paper_fills``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from hft.records import Side, Tif


class StpMode(IntEnum):
    """What happens when an account would trade with itself; the taker's mode decides."""

    NONE = 0
    EXPIRE_TAKER = 1
    EXPIRE_MAKER = 2
    EXPIRE_BOTH = 3


class Reject(IntEnum):
    """Why an order was refused; a refused order leaves no trace in the book."""

    NONE = 0
    POST_ONLY_WOULD_TAKE = 1
    FILL_OR_KILL = 2
    REDUCE_ONLY = 3


class EndReason(IntEnum):
    """Why an order left the book with quantity unfilled."""

    CANCELED = 1
    SELF_TRADE = 2
    IMMEDIATE_REMAINDER = 3
    SELF_TRADE_REMAINDER = 4
    REDUCE_ONLY = 5
    MARKET_REMAINDER = 6
    GOOD_TILL_DATE = 7
    AMEND_BELOW_FILLED = 8
    AMEND_WOULD_TAKE = 9


@dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """An own order. ``price_e8`` of a market order is the worst price it may take."""

    order_id: int
    account_id: int
    side: Side
    price_e8: int
    qty_e8: int
    tif: Tif = Tif.GTC
    is_market: bool = False
    is_post_only: bool = False
    is_reduce_only: bool = False
    stp: StpMode = StpMode.NONE
    good_till_ns: int = 0
    cum_qty_e8: int = 0
    ahead_e8: int = 0
    """Market quantity before it in its level; the own orders before it come on top."""
    rank: int = 0
    """Time priority: lower is earlier."""
    is_resting: bool = False

    @property
    def leaves_qty_e8(self) -> int:
        """Quantity not filled yet."""
        return self.qty_e8 - self.cum_qty_e8


class Accepted(NamedTuple):
    """The order passed all checks; its trades, if any, follow."""

    order: Order
    time_ns: int


class Amended(NamedTuple):
    """Price and quantity were changed, the time priority is lost; trades, if any, follow."""

    order: Order
    time_ns: int


class Trade(NamedTuple):
    """One trade. ``maker`` or ``taker`` None: the market's side of it."""

    price_e8: int
    qty_e8: int
    aggressor_side: Side
    maker: Order | None
    maker_cum_e8: int
    taker: Order | None
    taker_cum_e8: int
    time_ns: int


class Ended(NamedTuple):
    """The order left the book with ``leaves_qty_e8`` unfilled."""

    order: Order
    reason: EndReason
    time_ns: int


Event: TypeAlias = Accepted | Amended | Trade | Ended


class Placement(NamedTuple):
    """Outcome of a placement or amendment; no events when refused."""

    reject: Reject
    events: list[Event]


class Top(NamedTuple):
    """Best level of both sides, own orders included; price and quantity 0 where a side is empty."""

    bid_e8: int
    bid_qty_e8: int
    ask_e8: int
    ask_qty_e8: int


class _Level:
    """Queue of one price: market quantity, and own orders with their places in it."""

    __slots__ = ("market_e8", "orders", "own_e8", "price_e8")

    def __init__(self, price_e8: int) -> None:
        self.price_e8 = price_e8
        self.market_e8 = 0
        self.own_e8 = 0
        self.orders: list[Order] = []


class _BookSide:
    """Levels of one side. Keys are prices times ``sign``, so the best is always the last."""

    __slots__ = ("keys", "levels", "own_keys", "sign", "taken")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, _Level] = {}
        self.keys: list[int] = []
        self.own_keys: list[int] = []
        self.taken: dict[int, int] = {}

    def best(self) -> _Level | None:
        return self.levels[self.keys[-1] * self.sign] if self.keys else None

    def level(self, price_e8: int) -> _Level:
        """The level of a price, made when it is new."""
        level = self.levels.get(price_e8)
        if level is None:
            level = self.levels[price_e8] = _Level(price_e8)
            insort(self.keys, price_e8 * self.sign)
        return level

    def drop_if_empty(self, level: _Level) -> None:
        if not level.market_e8 and not level.orders:
            del self.levels[level.price_e8]
            del self.keys[bisect_left(self.keys, level.price_e8 * self.sign)]

    def append(self, order: Order) -> None:
        level = self.level(order.price_e8)
        if not level.orders:
            insort(self.own_keys, order.price_e8 * self.sign)
        order.ahead_e8 = level.market_e8
        level.orders.append(order)
        level.own_e8 += order.leaves_qty_e8
        order.is_resting = True

    def remove(self, order: Order) -> None:
        level = self.levels[order.price_e8]
        level.orders.remove(order)
        level.own_e8 -= order.leaves_qty_e8
        order.is_resting = False
        if not level.orders:
            del self.own_keys[bisect_left(self.own_keys, order.price_e8 * self.sign)]
            self.drop_if_empty(level)


class MatchingBook:
    """One instrument: the market's levels, own resting orders, each account's position in it."""

    def __init__(self, *, is_replica: bool = False) -> None:
        """``is_replica``: the market's levels come from a market that does not see our orders."""
        self.orders: dict[int, Order] = {}
        self.positions_e8: dict[int, int] = {}
        self._is_replica = is_replica
        self._bids = _BookSide(1)
        self._asks = _BookSide(-1)
        self._reduce_only: dict[int, list[Order]] = {}
        self._good_till: list[Order] = []
        self._next_rank = 0
        # The operation at hand: each public method that changes the book begins with a new list.
        self._events: list[Event] = []
        self._now_ns = 0

    # What the book shows.

    def top(self) -> Top:
        """Best bid and ask, own orders included."""
        bid, ask = self._bids.best(), self._asks.best()
        return Top(
            bid.price_e8 if bid else 0,
            bid.market_e8 + bid.own_e8 if bid else 0,
            ask.price_e8 if ask else 0,
            ask.market_e8 + ask.own_e8 if ask else 0,
        )

    def qty_e8(self, side: Side, price_e8: int) -> int:
        """Quantity at a price, own orders included."""
        level = self._side(side).levels.get(price_e8)
        return level.market_e8 + level.own_e8 if level else 0

    def levels(self, side: Side, count: int) -> list[tuple[int, int]]:
        """The best ``count`` levels as (price, quantity), own orders included, best first."""
        book_side = self._side(side)
        found = []
        for key in reversed(book_side.keys[-count:]):
            level = book_side.levels[key * book_side.sign]
            found.append((level.price_e8, level.market_e8 + level.own_e8))
        return found

    def would_take(self, side: Side, price_e8: int) -> bool:
        """Whether a limit order at this price would trade at once."""
        best = self._opposite(side).best()
        return best is not None and (price_e8 - best.price_e8) * side >= 0

    def reducible_e8(self, account_id: int, side: Side) -> int:
        """How much an order of this side could shrink the account's position."""
        return max(0, -side * self.positions_e8.get(account_id, 0))

    # What the market does.

    def set_level(self, side: Side, price_e8: int, qty_e8: int, now_ns: int) -> Sequence[Event]:
        """The market's own quantity at a price is now ``qty_e8``; 0 removes it."""
        book_side = self._side(side)
        if self._is_replica and book_side.taken:
            qty_e8 = _net_of_taken(book_side.taken, price_e8, qty_e8)
        events: Sequence[Event] = ()
        other = self._opposite(side)
        if qty_e8 and other.own_keys and (price_e8 - other.own_keys[-1] * other.sign) * side >= 0:
            events = self._begin(now_ns)
            filled_e8 = self._trade_through(side, price_e8, qty_e8)
            if self._is_replica and filled_e8:
                book_side.taken[price_e8] = book_side.taken.get(price_e8, 0) + filled_e8
            qty_e8 -= filled_e8
        level = book_side.levels.get(price_e8)
        if level is None:
            if qty_e8:
                book_side.level(price_e8).market_e8 = qty_e8
            return events
        level.market_e8 = qty_e8
        for order in level.orders:
            if order.ahead_e8 > qty_e8:
                order.ahead_e8 = qty_e8
        book_side.drop_if_empty(level)
        return events

    def take(self, side: Side, qty_e8: int, limit_e8: int, now_ns: int) -> Sequence[Event]:
        """A market participant takes up to ``qty_e8`` at ``limit_e8`` or better; nothing rests."""
        events = self._begin(now_ns)
        other = self._opposite(side)
        while qty_e8 > 0:
            level = other.best()
            if level is None or (limit_e8 - level.price_e8) * side < 0:
                break
            qty_e8 = self._consume(level, qty_e8, side, None)
        return events

    def print_trade(self, side: Side, price_e8: int, qty_e8: int, now_ns: int) -> Sequence[Event]:
        """A public trade of the replicated market, aggressor ``side``: what it fills of ours.

        Own orders at better prices come first. At the price itself the queue before ours is eaten
        first. Own fills never exceed the printed quantity.
        """
        other = self._opposite(side)
        if not other.own_keys:
            return ()
        events = self._begin(now_ns)
        # Strictly better than the print only, because at the price itself the queue counts.
        qty_e8 -= self._trade_through(side, price_e8 - side, qty_e8)
        level = other.levels.get(price_e8)
        if level is not None:
            self._eat_queue(level, qty_e8)
        return events

    # What our accounts do.

    def place(self, order: Order, now_ns: int) -> Placement:
        """Take a new order in: refuse it, or match it and let the remainder rest or end."""
        events = self._begin(now_ns)
        order.rank = self._next_rank
        fits, displaced = self._rank_reduce_only(order) if order.is_reduce_only else (True, [])
        if not fits:
            return Placement(Reject.REDUCE_ONLY, events)
        if order.is_post_only and self.would_take(order.side, order.price_e8):
            return Placement(Reject.POST_ONLY_WOULD_TAKE, events)
        if order.tif is Tif.FOK and not self._fills_at_once(order):
            return Placement(Reject.FILL_OR_KILL, events)
        self._next_rank += 1
        for loser in displaced:
            self._end(loser, EndReason.REDUCE_ONLY)
        events.append(Accepted(order, now_ns))
        self._match(order)
        return Placement(Reject.NONE, events)

    def amend(self, order: Order, *, price_e8: int, qty_e8: int, now_ns: int) -> Sequence[Event]:
        """Change a resting order; ``qty_e8`` is the new total. The time priority is always lost.

        A total not above what is filled ends the order, and so does a post-only order's price that
        would take.
        """
        assert order.is_resting
        events = self._begin(now_ns)
        if qty_e8 <= order.cum_qty_e8:
            self._end(order, EndReason.AMEND_BELOW_FILLED)
        elif order.is_post_only and self.would_take(order.side, price_e8):
            self._end(order, EndReason.AMEND_WOULD_TAKE)
        else:
            self._remove(order)
            order.price_e8, order.qty_e8 = price_e8, qty_e8
            order.rank = self._next_rank
            self._next_rank += 1
            events.append(Amended(order, now_ns))
            self._match(order)
            self._trim_reduce_only(order.account_id)
        return events

    def cancel(self, order: Order, now_ns: int) -> Sequence[Event]:
        """Remove a resting order."""
        events = self._begin(now_ns)
        self._end(order, EndReason.CANCELED)
        return events

    def expire_due(self, now_ns: int) -> Sequence[Event]:
        """End the resting orders whose ``good_till_ns`` has come."""
        if not self._good_till:
            return ()
        events = self._begin(now_ns)
        for order in [o for o in self._good_till if o.good_till_ns <= now_ns]:
            self._end(order, EndReason.GOOD_TILL_DATE)
        return events

    def set_position(self, account_id: int, position_e8: int, now_ns: int) -> Sequence[Event]:
        """Take over a position from elsewhere; reduce-only orders that lost their purpose end."""
        events = self._begin(now_ns)
        self.positions_e8[account_id] = position_e8
        self._trim_reduce_only(account_id)
        return events

    # Helpers.

    def _begin(self, now_ns: int) -> list[Event]:
        self._now_ns = now_ns
        self._events = []
        return self._events

    def _side(self, side: Side) -> _BookSide:
        return self._bids if side > 0 else self._asks

    def _opposite(self, side: Side) -> _BookSide:
        return self._asks if side > 0 else self._bids

    def _fills_at_once(self, order: Order) -> bool:
        """Reduce-only makers are not counted: they may end while the order is being filled."""
        wanted_e8 = order.qty_e8
        if order.is_reduce_only and self.reducible_e8(order.account_id, order.side) < wanted_e8:
            return False
        other = self._opposite(order.side)
        for key in reversed(other.keys):
            price_e8 = key * other.sign
            if (order.price_e8 - price_e8) * order.side < 0:
                return False
            level = other.levels[price_e8]
            wanted_e8 -= level.market_e8
            wanted_e8 -= sum(o.leaves_qty_e8 for o in level.orders if not o.is_reduce_only)
            if wanted_e8 <= 0:
                return True
        return False

    def _match(self, order: Order) -> None:
        """Take what crosses, then rest or end the remainder."""
        is_prevented = self._take_as(order)
        if not order.leaves_qty_e8:
            return
        if is_prevented:
            is_immediate = order.tif is not Tif.GTC or order.is_market
            reason = EndReason.SELF_TRADE_REMAINDER if is_immediate else EndReason.SELF_TRADE
        elif order.is_reduce_only and not self.reducible_e8(order.account_id, order.side):
            reason = EndReason.REDUCE_ONLY
        elif order.is_market:
            reason = EndReason.MARKET_REMAINDER
        elif order.tif is not Tif.GTC:
            reason = EndReason.IMMEDIATE_REMAINDER
        else:
            self._rest(order)
            return
        self._events.append(Ended(order, reason, self._now_ns))

    def _take_as(self, order: Order) -> bool:
        """Match an own order against the other side. True: self-trade prevention ends the rest."""
        other = self._opposite(order.side)
        prevents = order.stp is not StpMode.NONE
        prevents = prevents and order.tif is not Tif.FOK and not order.is_post_only
        while True:
            budget_e8 = order.leaves_qty_e8
            if order.is_reduce_only:
                budget_e8 = min(budget_e8, self.reducible_e8(order.account_id, order.side))
            level = other.best()
            if not budget_e8 or level is None or (order.price_e8 - level.price_e8) * order.side < 0:
                return False
            head = level.orders[0] if level.orders else None
            if head is not None:
                is_own = prevents and head.account_id == order.account_id
                if is_own and not head.ahead_e8:
                    if order.stp is not StpMode.EXPIRE_TAKER:
                        self._end(head, EndReason.SELF_TRADE)
                    if order.stp is not StpMode.EXPIRE_MAKER:
                        return True
                    continue
                # Not past the first own order at once: who stands behind it may be ourselves.
                reach_e8 = head.ahead_e8 + (0 if is_own else self._fillable_e8(head))
                budget_e8 = min(budget_e8, reach_e8)
            self._consume(level, budget_e8, order.side, order)

    def _consume(self, level: _Level, budget_e8: int, side: Side, taker: Order | None) -> int:
        """Eat a level's queue from its front; what is left of the budget is returned."""
        book_side = self._opposite(side)
        while budget_e8 > 0:
            head = level.orders[0] if level.orders else None
            ahead_e8 = level.market_e8 if head is None else head.ahead_e8
            if ahead_e8:
                eaten_e8 = min(budget_e8, ahead_e8)
                level.market_e8 -= eaten_e8
                for order in level.orders:
                    order.ahead_e8 -= eaten_e8
                if self._is_replica:
                    taken = book_side.taken
                    taken[level.price_e8] = taken.get(level.price_e8, 0) + eaten_e8
                book_side.drop_if_empty(level)
                self._trade(None, taker, level.price_e8, eaten_e8, side)
                budget_e8 -= eaten_e8
            elif head is not None:
                budget_e8 -= self._fill_maker(level, head, budget_e8, taker)
            else:
                break
        return budget_e8

    def _fillable_e8(self, maker: Order) -> int:
        if maker.is_reduce_only:
            return min(maker.leaves_qty_e8, self.reducible_e8(maker.account_id, maker.side))
        return maker.leaves_qty_e8

    def _fill_maker(self, level: _Level, maker: Order, budget_e8: int, taker: Order | None) -> int:
        """Fill one own resting order; the quantity is returned."""
        qty_e8 = min(budget_e8, self._fillable_e8(maker))
        if qty_e8 == maker.leaves_qty_e8:
            self._remove(maker)
        else:
            level.own_e8 -= qty_e8
        self._trade(maker, taker, level.price_e8, qty_e8, Side(-maker.side))
        return qty_e8

    def _trade_through(self, side: Side, limit_e8: int, budget_e8: int) -> int:
        """The market trades with own orders at ``limit_e8`` or better; the quantity is returned."""
        other = self._opposite(side)
        filled_e8 = 0
        while filled_e8 < budget_e8 and other.own_keys:
            level = other.levels[other.own_keys[-1] * other.sign]
            if (limit_e8 - level.price_e8) * side < 0:
                break
            head = level.orders[0]
            head.ahead_e8 = 0
            filled_e8 += self._fill_maker(level, head, budget_e8 - filled_e8, None)
        return filled_e8

    def _eat_queue(self, level: _Level, budget_e8: int) -> None:
        """A printed trade at the level's price: the market before us first, then we."""
        while budget_e8 > 0 and level.orders:
            head = level.orders[0]
            eaten_e8 = min(budget_e8, head.ahead_e8)
            if eaten_e8:
                for order in level.orders:
                    order.ahead_e8 -= eaten_e8
                level.market_e8 -= eaten_e8
                budget_e8 -= eaten_e8
            else:
                budget_e8 -= self._fill_maker(level, head, budget_e8, None)

    def _trade(
        self, maker: Order | None, taker: Order | None, price_e8: int, qty_e8: int, side: Side
    ) -> None:
        """Book one trade on both orders and positions."""
        positions_e8 = self.positions_e8
        for order in (maker, taker):
            if order is not None:
                assert 0 < qty_e8 <= order.leaves_qty_e8
                order.cum_qty_e8 += qty_e8
                account_id = order.account_id
                positions_e8[account_id] = positions_e8.get(account_id, 0) + order.side * qty_e8
        self._events.append(
            Trade(
                price_e8,
                qty_e8,
                side,
                maker,
                maker.cum_qty_e8 if maker else 0,
                taker,
                taker.cum_qty_e8 if taker else 0,
                self._now_ns,
            )
        )
        if self._reduce_only:
            for order in (maker, taker):
                if order is not None:
                    self._trim_reduce_only(order.account_id)

    def _rest(self, order: Order) -> None:
        self._side(order.side).append(order)
        self.orders[order.order_id] = order
        if order.is_reduce_only:
            self._reduce_only.setdefault(order.account_id, []).append(order)
        if order.good_till_ns:
            self._good_till.append(order)

    def _remove(self, order: Order) -> None:
        self._side(order.side).remove(order)
        del self.orders[order.order_id]
        if order.is_reduce_only:
            resting = self._reduce_only[order.account_id]
            resting.remove(order)
            if not resting:
                del self._reduce_only[order.account_id]
        if order.good_till_ns:
            self._good_till.remove(order)

    def _end(self, order: Order, reason: EndReason) -> None:
        self._remove(order)
        self._events.append(Ended(order, reason, self._now_ns))

    def _rank_reduce_only(self, candidate: Order) -> tuple[bool, list[Order]]:
        """Whether the position leaves something for the candidate, and whom it would displace."""
        fits, displaced = False, []
        for order, has_room in self._reduce_only_room(candidate.account_id, candidate):
            if order is candidate:
                fits = has_room
            elif not has_room:
                displaced.append(order)
        return fits, displaced

    def _reduce_only_room(self, account_id: int, *candidates: Order) -> list[tuple[Order, bool]]:
        """The account's reduce-only orders by priority, each with: is something left for it?"""
        orders = [*self._reduce_only.get(account_id, ()), *candidates]
        orders.sort(key=lambda o: (-o.price_e8 * o.side, o.rank))
        left_e8 = {side: self.reducible_e8(account_id, side) for side in (Side.BUY, Side.SELL)}
        found = []
        for order in orders:
            found.append((order, left_e8[order.side] > 0))
            left_e8[order.side] -= order.leaves_qty_e8
        return found

    def _trim_reduce_only(self, account_id: int) -> None:
        """End the resting reduce-only orders for which the position leaves nothing."""
        if account_id in self._reduce_only:
            for order, has_room in self._reduce_only_room(account_id):
                if not has_room:
                    self._end(order, EndReason.REDUCE_ONLY)


def _net_of_taken(taken: dict[int, int], price_e8: int, qty_e8: int) -> int:
    """What is left of a replicated level after what own orders took from it."""
    taken_e8 = taken.get(price_e8)
    if taken_e8 is None:
        return qty_e8
    if taken_e8 >= qty_e8:
        taken_e8 = qty_e8
        if qty_e8:
            taken[price_e8] = qty_e8
        else:
            del taken[price_e8]
    return qty_e8 - taken_e8
