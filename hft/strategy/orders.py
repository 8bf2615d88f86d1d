"""Explicit orders of a plug-in, and what it may see of itself.

``orders`` is for what is no standing quote: one that takes, an exit, an order with a date. Each
call sends at once and says whether it went; nothing is repeated unasked, except a cancel that
could not leave. ``view`` is read-only: position, exposure, own open orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from hft.core.generated.views import Decision, Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.records import Action, ExecKind, Mode, OrderState, OrderType, Reason, Side, Tif
from hft.strategy.change import Change, Inventory
from hft.strategy.errors import StrategyError
from hft.units import E8, NS_PER_MS

NO_ORDER: Final = 0
"""Instead of an order id: nothing was sent."""
ORDERS_MAX: Final = 64
"""Explicit orders that one plug-in may have open on one instrument."""
VALUE_E8_MAX: Final = 10**18
"""Ten billion units: no price and no quantity is greater, so it is a mistake."""
CANCEL_RETRY_NS: Final = 250 * NS_PER_MS
"""A cancel that was refused, or could not leave, is tried again after so long."""

_NONE: Final = int(Action.UNKNOWN)
_PLACE: Final = int(Action.PLACE)
_AMEND: Final = int(Action.AMEND)
_CANCEL: Final = int(Action.CANCEL)
_FIRST_TERMINAL: Final = int(OrderState.FILLED)
_UNRESOLVED: Final = int(OrderState.UNRESOLVED)
_SENT: Final = int(ExecKind.SENT)
_FILL: Final = int(ExecKind.FILL)
_ANSWERS: Final = {
    _AMEND: (int(ExecKind.AMENDED), int(ExecKind.AMEND_REJECTED), int(ExecKind.DROPPED)),
    _CANCEL: (int(ExecKind.CANCEL_REJECTED), int(ExecKind.DROPPED)),
}


Send = Callable[[Change], int]
"""Offers one change at once; returns the order's id, or ``NO_ORDER`` when it did not go."""


def send_nothing(_change: Change) -> int:
    """What sends before the engine has bound the orders: nobody."""
    return NO_ORDER


class OwnOrder(NamedTuple):
    """An open order of the plug-in's, as it is now."""

    order_id: int
    side: Side
    price_e8: int
    qty_e8: int
    """Order quantity, filled part included."""
    leaves_qty_e8: int
    is_quote: bool
    """True: it belongs to the targets; False: the plug-in placed it itself."""
    is_pending: bool
    """A request about it is unanswered."""


class _Open:
    """An explicit order that is not terminal."""

    __slots__ = (
        "cancel_after_ns", "cum_qty_e8", "executions_seq", "is_seen", "is_unresolved",
        "leaves_qty_e8", "offered_ns", "order_id", "pending", "pending_price_e8", "placed",
        "price_e8", "qty_e8", "side", "wants_cancel",
    )  # fmt: skip

    def __init__(self, order_id: int, placed: Change) -> None:
        self.order_id = order_id
        self.placed = placed
        self.side = placed.side
        self.price_e8 = placed.price_e8
        self.qty_e8 = self.leaves_qty_e8 = placed.qty_e8
        self.pending_price_e8 = 0
        self.cum_qty_e8 = 0
        self.pending = _PLACE
        self.executions_seq = self.offered_ns = self.cancel_after_ns = 0
        self.is_unresolved = self.wants_cancel = False
        self.is_seen = True


class Orders:
    """A plug-in's explicit orders on its instrument."""

    __slots__ = ("_cancels", "_instrument", "_now_ns", "_open", "_send")

    def __init__(self, instrument: InstrumentRules) -> None:
        self._instrument = instrument
        self._send: Send = send_nothing
        self._open: dict[int, _Open] = {}
        self._cancels: list[Change] = []
        self._now_ns = 0

    def bind(self, send: Send) -> None:
        """Send through ``send`` from now on. For the engine, and for tests."""
        self._send = send

    def set_instrument(self, instrument: InstrumentRules) -> None:
        """New rules of the venue's. For the engine."""
        self._instrument = instrument

    # -- what a plug-in calls -------------------------------------------------------------------

    def place(
        self,
        side: Side,
        price_e8: int,
        qty_e8: int,
        *,
        order_type: OrderType = OrderType.LIMIT,
        tif: Tif = Tif.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        good_till_s: int = 0,
    ) -> int:
        """Send a new order; returns its id, or ``NO_ORDER`` when it did not go.

        It does not go while the plug-in may not trade (feed bad, instrument not trading, stop),
        while it would cross an order of ours, with ``ORDERS_MAX`` open, or when risk is behind.
        A market order has price 0. ``good_till_s``: for ``Tif.GTD``, the venue's wall clock.

        Raises:
            StrategyError: a value that no order can have: the plug-in is paused.
        """
        change = Change(side, Action.PLACE)
        change.order_type, change.tif = OrderType(order_type), Tif(tif)
        change.is_post_only, change.is_reduce_only = bool(post_only), bool(reduce_only)
        change.good_till_s = good_till_s
        if type(good_till_s) is not int or not 0 <= good_till_s < 2**32:
            raise StrategyError(f"good_till_s is {good_till_s!r}: no time in seconds since 1970")
        self._set_terms(change, price_e8, qty_e8)
        if len(self._open) >= ORDERS_MAX:
            return NO_ORDER
        order_id = self._send(change)
        if order_id:
            order = self._open[order_id] = _Open(order_id, change)
            order.offered_ns = self._now_ns
        return order_id

    def amend(self, order_id: int, price_e8: int, qty_e8: int) -> bool:
        """Change price and total quantity of an own order; False: it did not go.

        It does not go when the order is over, or while an earlier request is unanswered.

        Raises:
            StrategyError: a value that no order can have: the plug-in is paused.
        """
        order = self._open.get(order_id)
        if order is None or order.pending or order.is_unresolved or order.wants_cancel:
            return False
        change, placed = Change(order.side, Action.AMEND), order.placed
        change.order_id, change.order_type, change.tif = order_id, placed.order_type, placed.tif
        change.is_post_only, change.is_reduce_only = placed.is_post_only, placed.is_reduce_only
        change.good_till_s = placed.good_till_s
        self._set_terms(change, price_e8, qty_e8)
        if not self._send(change):
            return False
        order.pending, order.pending_price_e8 = _AMEND, price_e8
        order.offered_ns = self._now_ns
        return True

    def cancel(self, order_id: int) -> bool:
        """Take an own order out; False: it is over. What cannot leave now is tried again."""
        order = self._open.get(order_id)
        if order is None:
            return False
        order.wants_cancel = True
        if order.pending != _NONE or order.is_unresolved:
            return True  # as soon as the earlier request is answered
        change = Change(order.side, Action.CANCEL)
        change.order_id, change.price_e8 = order_id, order.price_e8
        if self._send(change):
            order.pending, order.offered_ns = _CANCEL, self._now_ns
        return True

    def cancel_all(self) -> int:
        """Take every explicit order out; returns how many there are."""
        for order_id in self._open:
            self.cancel(order_id)
        return len(self._open)

    def get(self, order_id: int) -> OwnOrder | None:
        """An own explicit order, None: it is over."""
        order = self._open.get(order_id)
        return None if order is None else _shown(order)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OwnOrder]:
        return map(_shown, list(self._open.values()))

    def _set_terms(self, change: Change, price_e8: int, qty_e8: int) -> None:
        """Check what the plug-in says before it becomes a record."""
        check_values(change.side, price_e8, qty_e8)
        instrument = self._instrument
        is_market = change.order_type == OrderType.MARKET
        if qty_e8 <= 0 or (price_e8 <= 0) != is_market:
            raise StrategyError(
                f"an order of {qty_e8 / E8:g} at {price_e8 / E8:g} cannot be",
                remedy="A limit order has a positive price, a market order has price 0.",
            )
        if price_e8 % instrument.tick_e8 or qty_e8 % instrument.step_e8:
            raise StrategyError(
                f"an order of {qty_e8 / E8:g} at {price_e8 / E8:g} is off tick or step",
                remedy=f"Round to tick {instrument.tick_e8 / E8:g} and step "
                f"{instrument.step_e8 / E8:g} (hft.units.floor_to, ceil_to).",
            )
        change.price_e8, change.qty_e8 = price_e8, qty_e8

    # -- what the engine calls ------------------------------------------------------------------

    def at(self, now_ns: int) -> None:
        """The time of what is sent from now on."""
        self._now_ns = now_ns

    def withdraw(self) -> None:
        """Want none of them any more."""
        for order in self._open.values():
            order.wants_cancel = True

    def due_cancels(self, now_ns: int) -> list[Change]:
        """Cancels that are wanted and may leave now."""
        due = self._cancels
        due.clear()
        for order in self._open.values():
            if order.wants_cancel and not (order.pending or order.is_unresolved):
                if now_ns < order.cancel_after_ns:
                    continue
                change = Change(order.side, Action.CANCEL)
                change.order_id, change.price_e8 = order.order_id, order.price_e8
                due.append(change)
        return due

    def mark_cancel(self, order_id: int, now_ns: int) -> None:
        """A due cancel was offered."""
        order = self._open[order_id]
        order.pending, order.offered_ns = _CANCEL, now_ns

    def holds(self, order_id: int) -> bool:
        """True for an open explicit order."""
        return order_id in self._open

    def on_execution(self, execution: Execution, now_ns: int) -> None:
        """What the venue, or execution, says of an order that ``holds`` is true for."""
        order = self._open[execution.order_id]
        seq = execution.seq
        if seq and seq <= order.executions_seq:
            return
        state, kind = execution.order_state, execution.exec_kind
        if not 0 < state < _FIRST_TERMINAL:
            del self._open[order.order_id]
            return
        order.executions_seq = seq
        order.cum_qty_e8, order.leaves_qty_e8 = execution.cum_qty_e8, execution.leaves_qty_e8
        order.qty_e8 = execution.cum_qty_e8 + execution.leaves_qty_e8
        if kind != _FILL:
            order.price_e8 = execution.price_e8
        was_unresolved = order.is_unresolved
        order.is_unresolved = state == _UNRESOLVED
        pending = order.pending
        if pending == _PLACE:
            is_answer = kind != _SENT
        else:
            is_answer = pending != _NONE and kind in _ANSWERS[pending]
        if is_answer or (was_unresolved and not order.is_unresolved):
            order.pending = _NONE
            order.pending_price_e8 = 0
            if pending == _CANCEL:
                order.cancel_after_ns = now_ns + CANCEL_RETRY_NS

    def on_refusal(self, decision: Decision, now_ns: int) -> None:
        """Risk refused an intent about an order that ``holds`` is true for."""
        order = self._open[decision.order_id]
        if order.pending != decision.action:
            return
        if decision.action == _PLACE:
            del self._open[order.order_id]
            return
        order.pending = _NONE
        order.pending_price_e8 = 0
        if decision.action == _CANCEL:
            order.cancel_after_ns = now_ns + CANCEL_RETRY_NS
            if decision.reason == Reason.UNKNOWN_ORDER:
                order.wants_cancel = True

    def is_overdue(self, now_ns: int, overdue_ns: int) -> bool:
        """True when an answer must have been lost."""
        return any(
            order.pending and now_ns - order.offered_ns > overdue_ns
            for order in self._open.values()
        )

    def begin_adoption(self) -> None:
        """Rows of the orders table follow; what is in none of them is over."""
        for order in self._open.values():
            order.is_seen = False

    def adopt(self, row: OrderRow, now_ns: int) -> bool:
        """Take over what a row says of an order; False: it is none of these."""
        order = self._open.get(row.order_id)
        if order is None:
            return False
        order.is_seen = True
        order.price_e8, order.qty_e8 = row.price_e8, row.qty_e8
        order.cum_qty_e8 = row.cum_qty_e8
        order.leaves_qty_e8 = max(0, row.qty_e8 - row.cum_qty_e8)
        order.executions_seq, order.pending = row.executions_seq, row.pending
        order.offered_ns, order.is_unresolved = now_ns, row.order_state == _UNRESOLVED
        return True

    def end_adoption(self) -> None:
        """All rows were shown."""
        self._open = {key: order for key, order in self._open.items() if order.is_seen}

    def best_e8(self, side: Side) -> int:
        """The price at which one of them could trade first; 0: none is open on that side."""
        best_e8 = 0
        for order in self._open.values():
            if order.side == side:
                for price_e8 in (order.price_e8, order.pending_price_e8):
                    best_e8 = better_e8(side, best_e8, price_e8)
        return best_e8


class View:
    """What a plug-in may see of itself, without keeping books. Read-only."""

    __slots__ = ("_inventory", "_mode", "_orders", "_quotes")

    def __init__(self, orders: Orders, quotes: Callable[[], list[OwnOrder]]) -> None:
        self._orders = orders
        self._quotes = quotes
        self._inventory = Inventory()
        self._mode = Mode.LIVE

    def bind(self, inventory: Inventory, mode: Mode) -> None:
        """Show this book from now on. For the engine, and for tests."""
        self._inventory, self._mode = inventory, mode

    @property
    def mode(self) -> Mode:
        """Live, paper or observe."""
        return self._mode

    @property
    def position_e8(self) -> int:
        """Signed position of the instrument, whoever traded."""
        return self._inventory.position_e8

    @property
    def orders(self) -> list[OwnOrder]:
        """Every own order that is not over: quotes and explicit ones."""
        return [*self._quotes(), *self._orders]

    @property
    def buying_e8(self) -> int:
        """What own open orders may still buy."""
        return sum(order.leaves_qty_e8 for order in self.orders if order.side > 0)

    @property
    def selling_e8(self) -> int:
        """What own open orders may still sell."""
        return sum(order.leaves_qty_e8 for order in self.orders if order.side < 0)

    @property
    def exposure_e8(self) -> int:
        """The greatest position, either way, that own open orders can lead to."""
        position_e8 = self.position_e8
        return max(abs(position_e8 + self.buying_e8), abs(position_e8 - self.selling_e8))


def check_values(side: Side, price_e8: int, qty_e8: int) -> None:
    """Refuse what is no side, price or quantity.

    Raises:
        StrategyError: not integers, negative, beyond reason, or no side.
    """
    if type(price_e8) is not int or type(qty_e8) is not int:
        raise StrategyError(
            f"a quote of {price_e8!r} for {qty_e8!r} is not made of integers",
            remedy="Prices and quantities are int in units of 1e-8 (hft.units).",
        )
    if not (0 <= price_e8 <= VALUE_E8_MAX and 0 <= qty_e8 <= VALUE_E8_MAX):
        raise StrategyError(
            f"a quote of {price_e8} for {qty_e8} is negative or beyond all reason",
            remedy="Units are 1e-8; a side that shall have nothing has quantity 0.",
        )
    if side != 1 and side != -1:
        raise StrategyError(f"{side!r} is no side", remedy="Say Side.BUY or Side.SELL.")


def better_e8(side: Side, one_e8: int, other_e8: int) -> int:
    """The price that trades first on a side; 0 is none."""
    if not (one_e8 and other_e8):
        return one_e8 or other_e8
    return max(one_e8, other_e8) if side > 0 else min(one_e8, other_e8)


def _shown(order: _Open) -> OwnOrder:
    return OwnOrder(
        order.order_id,
        order.side,
        order.price_e8,
        order.qty_e8,
        order.leaves_qty_e8,
        is_quote=False,
        is_pending=order.pending != _NONE,
    )
