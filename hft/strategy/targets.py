"""Quote targets: what a strategy wants resting, turned into the fewest intents that get there.

Wanted is a price and an open quantity for each side. What rests is known from executions. The
difference becomes at most one intent for each side, and none while an earlier one is unanswered.
Repeating a wish costs nothing, an intent that could not be offered is worked out again, and an
order that should not exist (a late answer, a second one found at a restart) is cancelled.

Amending an order puts it at the end of its queue at the venue, whatever changes (Binance USD-M
API, modify order). So a resting order is left alone while it is near enough to what is wanted:
``QuoteRules`` says how near, and how often at most it is changed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hft.core.generated.views import Decision, Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.records import Action, ExecKind, OrderState, Reason, Side
from hft.strategy.orders import (
    VALUE_E8_MAX,
    Change,
    Orders,
    OwnOrder,
    View,
    better_e8,
    check_values,
)
from hft.units import E8, NS_PER_MS, NS_PER_S

STRAYS_MAX: Final = 64
"""Orders to cancel that belong to no side; more than that are left to execution."""
BACKOFF_DOUBLINGS_MAX: Final = 4

_NONE: Final = int(Action.UNKNOWN)
_PLACE: Final = int(Action.PLACE)
_AMEND: Final = int(Action.AMEND)
_CANCEL: Final = int(Action.CANCEL)
_FIRST_TERMINAL: Final = int(OrderState.FILLED)
_UNRESOLVED: Final = int(OrderState.UNRESOLVED)
_SENT: Final = int(ExecKind.SENT)
_FILL: Final = int(ExecKind.FILL)
_DROPPED: Final = int(ExecKind.DROPPED)
_REFUSED: Final = frozenset((_DROPPED, int(ExecKind.AMEND_REJECTED), int(ExecKind.CANCEL_REJECTED)))
_ANSWERS: Final = {
    _AMEND: frozenset((int(ExecKind.AMENDED), int(ExecKind.AMEND_REJECTED), _DROPPED)),
    _CANCEL: frozenset((int(ExecKind.CANCEL_REJECTED), _DROPPED)),
}
"""Kinds that answer a request of an order that stays open; any but SENT answers a place."""


class QuoteRules(msgspec.Struct, frozen=True, kw_only=True):
    """How near is near enough, and how often an order may be changed."""

    reprice_ticks: int = 1
    """A resting order is moved when it is at least so far from the wanted price."""
    resize_percent: int = 50
    """It is resized when its open quantity is off by more than this share of the wanted one."""
    rest_ns_min: int = 100 * NS_PER_MS
    """Time between two places or amends of one side; cancels never wait."""
    refusal_backoff_ns: int = 100 * NS_PER_MS
    """Pause of a side after a refusal, doubled with each further one, up to 16 times."""
    overdue_ns: int = 5 * NS_PER_S
    """An intent unanswered for so long has lost its answer."""
    is_amending: bool = True
    """False: move an order by cancelling it and placing another."""


class _Quote:
    """One side: what is wanted, what rests, what is unanswered."""

    __slots__ = (
        "backoff_until_ns",
        "bound_e8",
        "cancel_after_ns",
        "change",
        "changed_ns",
        "cum_qty_e8",
        "executions_seq",
        "is_unresolved",
        "leaves_qty_e8",
        "must_cancel",
        "offered_ns",
        "order_id",
        "pending",
        "pending_price_e8",
        "price_e8",
        "qty_e8",
        "refusals",
        "side",
        "wanted_price_e8",
        "wanted_qty_e8",
    )

    def __init__(self, side: Side) -> None:
        self.side = side
        self.change = Change(side)
        self.wanted_price_e8 = 0
        self.wanted_qty_e8 = 0
        self.changed_ns = -NS_PER_S
        """When a place or amend was last offered."""
        self.offered_ns = 0
        self.backoff_until_ns = 0
        self.bound_e8 = 0
        """No better price than this, as others have precedence; 0: any."""
        self.refusals = 0
        self.clear()

    def clear(self) -> None:
        """No order on this side."""
        self.order_id = 0
        self.price_e8 = self.qty_e8 = self.cum_qty_e8 = self.leaves_qty_e8 = 0
        self.executions_seq = 0
        self.pending_price_e8 = 0
        self.pending = _NONE
        self.is_unresolved = False
        self.must_cancel = False
        self.cancel_after_ns = 0


class QuoteTargets:
    """Desired state of one instrument's two sides, and the way there.

    ``orders`` takes explicit orders, ``view`` shows position, exposure and own open orders.
    """

    __slots__ = (
        "_buy", "_changes", "_instrument", "_sell", "_stray_changes", "_strays", "orders", "rules",
        "view",
    )  # fmt: skip

    def __init__(self, instrument: InstrumentRules, rules: QuoteRules | None = None) -> None:
        self._instrument = instrument
        self.rules = QuoteRules() if rules is None else rules
        self._buy = _Quote(Side.BUY)
        self._sell = _Quote(Side.SELL)
        self._strays: dict[int, int] = {}
        """Order id → monotonic time from which a cancel may be offered (again)."""
        self._changes: list[Change] = []
        self._stray_changes: list[Change] = []
        self.orders = Orders(instrument)
        self.view = View(self.orders, self._own_quotes)

    # -- what is wanted -------------------------------------------------------------------------

    def set_instrument(self, instrument: InstrumentRules) -> None:
        """The venue changed its rules: what is wanted is rounded anew, what rests may stay."""
        self._instrument = instrument
        self.orders.set_instrument(instrument)
        for quote in (self._buy, self._sell):
            self.set(quote.side, quote.wanted_price_e8, quote.wanted_qty_e8)

    def set(self, side: Side, price_e8: int, qty_e8: int) -> None:
        """Want ``qty_e8`` open at ``price_e8``; quantity 0: nothing.

        The price is rounded away from the market to the tick, the quantity down to the step. What
        would be smaller than the venue takes is not wanted at all.

        Raises:
            StrategyError: a price or quantity that is no integer, negative or beyond reason.
        """
        if not (type(price_e8) is type(qty_e8) is int and side * side == 1):
            check_values(side, price_e8, qty_e8)
        if not (0 <= price_e8 <= VALUE_E8_MAX and 0 <= qty_e8 <= VALUE_E8_MAX):
            check_values(side, price_e8, qty_e8)
        quote = self._buy if side > 0 else self._sell
        instrument = self._instrument
        if qty_e8 <= 0 or price_e8 <= 0:
            quote.wanted_qty_e8 = 0
            return
        tick_e8 = instrument.tick_e8
        price_e8 -= price_e8 % tick_e8 if side > 0 else -(-price_e8 % tick_e8)
        qty_e8 = min(qty_e8, instrument.qty_max_e8)
        qty_e8 -= qty_e8 % instrument.step_e8
        if qty_e8 < instrument.qty_min_e8 or price_e8 * qty_e8 < instrument.notional_min_e8 * E8:
            quote.wanted_qty_e8 = 0
            return
        quote.wanted_price_e8 = price_e8
        quote.wanted_qty_e8 = qty_e8

    def pull(self, side: Side) -> None:
        """Want nothing on one side."""
        (self._buy if side > 0 else self._sell).wanted_qty_e8 = 0

    def pull_all(self) -> None:
        """Want no quote; explicit orders stay."""
        self._buy.wanted_qty_e8 = self._sell.wanted_qty_e8 = 0

    def withdraw(self) -> None:
        """Want nothing at all: no quote and no explicit order."""
        self._buy.wanted_qty_e8 = self._sell.wanted_qty_e8 = 0
        if len(self.orders):
            self.orders.withdraw()

    def bound(self, bid_max_e8: int, ask_min_e8: int) -> None:
        """Quote no better than this, whatever is wanted; 0: no bound. For the engine."""
        self._buy.bound_e8, self._sell.bound_e8 = bid_max_e8, ask_min_e8

    # -- what to offer --------------------------------------------------------------------------

    def changes(self, now_ns: int) -> list[Change]:
        """The intents that lead from what rests to what is wanted, as far as they may be sent now.

        Call ``mark_offered`` for each one that was offered; the others come again.
        """
        changes = self._changes
        changes.clear()
        if self._strays:
            self._add_strays(now_ns)
        if len(self.orders):
            changes += self.orders.due_cancels(now_ns)
        for quote in (self._buy, self._sell):
            if not (quote.pending or quote.is_unresolved) and self._decide(quote, now_ns):
                changes.append(quote.change)
        return changes

    def _decide(self, quote: _Quote, now_ns: int) -> bool:
        """Fill the side's change; False when there is nothing to do, or not yet."""
        change, rules = quote.change, self.rules
        wanted_e8 = quote.wanted_qty_e8
        order_id = change.order_id = quote.order_id
        if order_id and (not wanted_e8 or quote.must_cancel):
            change.action = Action.CANCEL
            change.price_e8, change.qty_e8 = quote.price_e8, 0
            return now_ns >= quote.cancel_after_ns
        if (
            not wanted_e8
            or now_ns < quote.backoff_until_ns
            or now_ns - quote.changed_ns < rules.rest_ns_min
        ):
            return False
        price_e8 = change.price_e8 = quote.wanted_price_e8
        if quote.bound_e8:
            worse = min if quote.side > 0 else max
            price_e8 = change.price_e8 = worse(price_e8, quote.bound_e8)
        if not order_id:
            change.action = Action.PLACE
            change.qty_e8 = wanted_e8
            return True
        off_e8 = abs(price_e8 - quote.price_e8)
        missing_e8 = abs(wanted_e8 - quote.leaves_qty_e8)
        is_in_the_way = quote.bound_e8 and (quote.price_e8 - quote.bound_e8) * quote.side > 0
        if (
            not is_in_the_way
            and off_e8 < rules.reprice_ticks * self._instrument.tick_e8
            and missing_e8 * 100 <= rules.resize_percent * wanted_e8
        ):
            return False
        if rules.is_amending:
            change.action = Action.AMEND
            change.qty_e8 = quote.cum_qty_e8 + wanted_e8
            return (change.price_e8, change.qty_e8) != (quote.price_e8, quote.qty_e8)
        change.action = Action.CANCEL
        change.price_e8, change.qty_e8 = quote.price_e8, 0
        return True

    def _add_strays(self, now_ns: int) -> None:
        index = 0
        for order_id, due_ns in self._strays.items():
            if now_ns < due_ns:
                continue
            if index == len(self._stray_changes):
                self._stray_changes.append(Change(Side.NONE))
            change = self._stray_changes[index]
            index += 1
            change.action, change.order_id = Action.CANCEL, order_id
            self._changes.append(change)

    def mark_offered(self, change: Change, order_id: int, now_ns: int) -> None:
        """The change is on its way to risk; ``order_id`` is the new order's for a place."""
        if change.side is Side.NONE:
            self._strays[order_id] = now_ns + self.rules.overdue_ns
            return
        quote = self._buy if change.side > 0 else self._sell
        if order_id != quote.order_id and change.action is Action.CANCEL:
            self.orders.mark_cancel(order_id, now_ns)
            return
        assert not quote.pending
        quote.pending = int(change.action)
        quote.offered_ns = now_ns
        if change.action is Action.PLACE:
            assert not quote.order_id
            quote.order_id = order_id
            quote.price_e8, quote.qty_e8 = change.price_e8, change.qty_e8
            quote.cum_qty_e8, quote.leaves_qty_e8 = 0, change.qty_e8
        elif change.action is Action.AMEND:
            quote.pending_price_e8 = change.price_e8
        if change.action is not Action.CANCEL:
            quote.changed_ns = now_ns

    # -- what happened --------------------------------------------------------------------------

    def on_execution(self, execution: Execution, now_ns: int) -> None:
        """What the venue, or execution, says of an order."""
        order_id = execution.order_id
        quote = self._quote_of(order_id)
        state, kind = execution.order_state, execution.exec_kind
        is_open = 0 < state < _FIRST_TERMINAL
        if quote is None:
            if self.orders.holds(order_id):
                self.orders.on_execution(execution, now_ns)
                return
            self._on_stray(order_id, now_ns, is_open=is_open, is_refusal=kind in _REFUSED)
            return
        seq = execution.seq
        if seq and seq <= quote.executions_seq:
            return
        if not is_open:
            self._closed(quote, execution, now_ns)
            return
        quote.executions_seq = seq
        quote.cum_qty_e8 = execution.cum_qty_e8
        quote.leaves_qty_e8 = execution.leaves_qty_e8
        quote.qty_e8 = execution.cum_qty_e8 + execution.leaves_qty_e8
        if kind != _FILL:
            quote.price_e8 = execution.price_e8
        pending = quote.pending
        was_unresolved = quote.is_unresolved
        quote.is_unresolved = state == _UNRESOLVED
        if pending == _PLACE:
            if kind != _SENT:
                quote.pending = _NONE
        elif pending and (kind in _ANSWERS[pending] or (was_unresolved and state != _UNRESOLVED)):
            quote.pending = _NONE
        if not quote.pending:
            quote.pending_price_e8 = 0
        if kind in _REFUSED:
            self._refused(quote, pending, now_ns)
        elif kind != _SENT:
            quote.refusals = 0

    def on_refusal(self, decision: Decision, now_ns: int) -> None:
        """Risk refused an intent."""
        quote = self._quote_of(decision.order_id)
        if quote is None:
            if self.orders.holds(decision.order_id):
                self.orders.on_refusal(decision, now_ns)
            elif decision.order_id in self._strays:
                self._strays[decision.order_id] = now_ns + self.rules.refusal_backoff_ns
            return
        action = decision.action
        if quote.pending != action:
            return
        quote.pending = _NONE
        quote.pending_price_e8 = 0
        if action == _PLACE:
            quote.clear()
        self._refused(quote, action, now_ns)

    def _refused(self, quote: _Quote, action: int, now_ns: int) -> None:
        doublings = min(quote.refusals, BACKOFF_DOUBLINGS_MAX)
        quote.refusals += 1
        quote.backoff_until_ns = now_ns + (self.rules.refusal_backoff_ns << doublings)
        if action == _CANCEL:
            quote.cancel_after_ns = quote.backoff_until_ns
        elif action == _AMEND:
            # What may not be moved to where it belongs must not stay where it is.
            quote.must_cancel = True

    def _closed(self, quote: _Quote, execution: Execution, now_ns: int) -> None:
        """The side is free again; what ended unasked is not repeated at once."""
        state = execution.order_state
        is_expected = state == OrderState.FILLED or (
            state == OrderState.CANCELED
            and quote.pending == _CANCEL
            and execution.reason == Reason.NONE
        )
        quote.clear()
        if is_expected:
            quote.refusals = 0
        else:
            self._refused(quote, _NONE, now_ns)

    def _on_stray(self, order_id: int, now_ns: int, *, is_open: bool, is_refusal: bool) -> None:
        strays = self._strays
        if not is_open:
            strays.pop(order_id, None)
        elif order_id not in strays:
            if len(strays) < STRAYS_MAX:
                strays[order_id] = now_ns
        elif is_refusal:
            strays[order_id] = now_ns + self.rules.refusal_backoff_ns

    def _quote_of(self, order_id: int) -> _Quote | None:
        if order_id == self._buy.order_id:
            return self._buy
        if order_id == self._sell.order_id:
            return self._sell
        return None

    # -- recovery -------------------------------------------------------------------------------

    def forget_orders(self) -> None:
        """Before adopting anew: nothing is resting or on its way, what is wanted stays wanted."""
        self._buy.clear()
        self._sell.clear()
        self._strays.clear()
        self.orders.begin_adoption()

    def all_adopted(self) -> None:
        """Every row was shown: what is in none is over."""
        self.orders.end_adoption()

    def adopt(self, row: OrderRow, now_ns: int) -> None:
        """Take over an open order; a second one on a side is cancelled.

        An answer that is due counts as waited for from ``now_ns`` on: only execution can get it.
        """
        state = row.order_state
        if not 0 < state < _FIRST_TERMINAL:
            return
        if self.orders.adopt(row, now_ns):
            return
        quote = self._buy if row.side > 0 else self._sell
        if quote.order_id:
            self._on_stray(row.order_id, 0, is_open=True, is_refusal=False)
            return
        quote.clear()
        quote.order_id = row.order_id
        quote.price_e8, quote.qty_e8 = row.price_e8, row.qty_e8
        quote.cum_qty_e8 = row.cum_qty_e8
        quote.leaves_qty_e8 = max(0, row.qty_e8 - row.cum_qty_e8)
        quote.executions_seq = row.executions_seq
        quote.pending = row.pending
        quote.offered_ns = now_ns
        quote.is_unresolved = state == _UNRESOLVED

    def is_overdue(self, now_ns: int) -> bool:
        """True when an answer must have been lost: forget the orders and adopt them anew."""
        overdue_ns = self.rules.overdue_ns
        return self.orders.is_overdue(now_ns, overdue_ns) or any(
            quote.pending and now_ns - quote.offered_ns > overdue_ns
            for quote in (self._buy, self._sell)
        )

    # -- reading --------------------------------------------------------------------------------

    def holds(self, order_id: int) -> bool:
        """True for an order that rests, or is on its way: a side's, or an explicit one."""
        return self._quote_of(order_id) is not None or self.orders.holds(order_id)

    @property
    def is_empty(self) -> bool:
        """No order rests or is on its way, as far as is known."""
        return not (self._buy.order_id or self._sell.order_id or self._strays or len(self.orders))

    def best_e8(self, side: Side) -> int:
        """The price at which one of the orders could trade first; 0: none on that side."""
        quote = self._buy if side > 0 else self._sell
        best_e8 = self.orders.best_e8(side) if len(self.orders) else 0
        if quote.order_id:
            best_e8 = better_e8(side, best_e8, quote.price_e8)
            best_e8 = better_e8(side, best_e8, quote.pending_price_e8)
        return best_e8

    def claim_e8(self, side: Side) -> int:
        """As ``best_e8``, with what is wanted: others of lower priority keep clear of it."""
        quote = self._buy if side > 0 else self._sell
        best_e8 = self.best_e8(side)
        return better_e8(side, best_e8, quote.wanted_price_e8) if quote.wanted_qty_e8 else best_e8

    def _own_quotes(self) -> list[OwnOrder]:
        return [
            OwnOrder(
                quote.order_id,
                quote.side,
                quote.price_e8,
                quote.qty_e8,
                quote.leaves_qty_e8,
                is_quote=True,
                is_pending=quote.pending != _NONE,
            )
            for quote in (self._buy, self._sell)
            if quote.order_id
        ]

    def wanted(self, side: Side) -> tuple[int, int]:
        """Price and open quantity that are wanted, rounded; (0, 0): nothing."""
        quote = self._buy if side > 0 else self._sell
        return (quote.wanted_price_e8, quote.wanted_qty_e8) if quote.wanted_qty_e8 else (0, 0)

    def resting(self, side: Side) -> tuple[int, int]:
        """Price and open quantity of the side's order, also while unanswered; (0, 0): none."""
        quote = self._buy if side > 0 else self._sell
        return (quote.price_e8, quote.leaves_qty_e8) if quote.order_id else (0, 0)

    def order_id(self, side: Side) -> int:
        """The side's order, 0: none."""
        return (self._buy if side > 0 else self._sell).order_id

    def pending(self, side: Side) -> Action:
        """The side's unanswered request."""
        return Action((self._buy if side > 0 else self._sell).pending)
