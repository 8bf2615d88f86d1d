"""An order by hand: what is asked for, what the executions say of it, and both in words."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from hft.core.generated.views import Execution
from hft.errors import CheckFailedError, UsageError
from hft.records import ExecKind, OrderState, Reason, Side, Tif
from hft.units import NS_PER_S, floor_to, format_e8
from hft.venues.binance_usdm.order_text import client_order_id

BPS: Final = 10_000
REST_NS: Final = NS_PER_S // 5
"""An order that the venue has acknowledged and that did not trade for so long rests."""
REMEDIES: Final = {
    Reason.TRADING_HALTED: '`hft arm --reason "…"` lets it trade again.',
    Reason.REDUCING_ONLY: "Only orders that shrink a position pass now; `hft status` says why.",
    Reason.MANUAL_NOT_ALLOWED: "Write enabled = true below [risk.manual] and start it again.",
    Reason.MESSAGE_RATE: "Wait a second: [risk.manual] messages_per_s_max.",
    Reason.ORDER_NOTIONAL_MAX: "The most is [risk.manual] order_notional_max.",
    Reason.POSITION_MAX: "Position and open orders would be too much together; see [risk.manual].",
    Reason.DUPLICATE: "The same order is open already.",
    Reason.STALE_DATA: "The book is not live; see `hft status`.",
    Reason.INTENT_EXPIRED: "It took too long to risk: the host is busy. Try again.",
    Reason.DECISION_EXPIRED: "It took too long to execution: the host is busy. Try again.",
}


class Ticket(NamedTuple):
    """An order as a person thinks of it."""

    symbol: str
    side: Side
    qty_e8: int
    price_e8: int = 0
    """0: at the market."""
    is_post_only: bool = False
    is_reduce_only: bool = False
    tif: Tif = Tif.GTC


class Outcome(NamedTuple):
    """What became of it."""

    text: str
    order_id: int = 0
    filled_e8: int = 0
    executions_seq: int = 0
    """Last execution record of the order that was seen."""
    refusal: Reason = Reason.NONE
    """Why risk or execution did not send it."""
    is_done: bool = True
    """False: refused, rejected or not known."""

    def require(self) -> Outcome:
        """Itself, when it is done.

        Raises:
            CheckFailedError: it was refused.
        """
        if not self.is_done:
            raise CheckFailedError(self.text, remedy=REMEDIES.get(self.refusal, ""))
        return self


class Followed:
    """What the executions say of one order."""

    def __init__(self, order_id: int, qty_e8: int) -> None:
        self.order_id, self.qty_e8 = order_id, qty_e8
        self.state = OrderState.NONE
        self.kind = ExecKind.UNKNOWN
        self.reason = Reason.NONE
        self.filled_e8 = self._paid_e16 = self.seq = self.acked_ns = 0

    def take(self, record: Execution) -> None:
        """One more record about it."""
        self.kind = ExecKind(record.exec_kind)
        self.state, self.seq = OrderState(record.order_state), record.seq
        if record.reason:
            self.reason = Reason(record.reason)
        if self.kind is ExecKind.FILL:
            self.filled_e8 += record.qty_e8
            self._paid_e16 += record.qty_e8 * record.price_e8
        if self.state is OrderState.WORKING and not self.acked_ns:
            self.acked_ns = time.monotonic_ns()

    @property
    def average_e8(self) -> int:
        """Average price of what traded, 0: nothing did."""
        return self._paid_e16 // self.filled_e8 if self.filled_e8 else 0

    @property
    def is_terminal(self) -> bool:
        """Nothing more will happen to it."""
        return self.state >= OrderState.FILLED or self.kind is ExecKind.DROPPED

    @property
    def rests(self) -> bool:
        """The venue has it, and for a while it has not traded whole."""
        is_open = self.state is OrderState.WORKING
        return is_open and time.monotonic_ns() - self.acked_ns > REST_NS


# -- words ----------------------------------------------------------------------------------------


def words(reason: Reason) -> str:
    """A reason as a person reads it."""
    return reason.name.lower().replace("_", " ") if reason else "no reason was given"


def money(value_e8: int) -> str:
    """An amount with two decimals and separators."""
    return f"{value_e8 / 10**8:,.2f}"


def signed(qty_e8: int) -> str:
    """A position: with its sign, but for none."""
    return ("+" if qty_e8 > 0 else "") + format_e8(qty_e8)


def distance(price_e8: int, mid_e8: int) -> str:
    """How far from the mid, in basis points."""
    bps = BPS * (price_e8 - mid_e8) / mid_e8
    if abs(bps) < 0.05:
        return "at the mid"
    return f"{abs(bps):.1f} bps {'above' if bps > 0 else 'below'} the mid"


def verb(side: Side) -> str:
    """Buy or sell."""
    return "buy" if side > 0 else "sell"


def name_of(order_id: int) -> str:
    """The id as the venue, the journal and `hft order cancel` know it."""
    return client_order_id(order_id)


def require_grid(value_e8: int, unit_e8: int, what: str, units: str) -> None:
    """Raises UsageError for a value between two steps, and names both."""
    if unit_e8 and value_e8 % unit_e8:
        near = floor_to(value_e8, unit_e8)
        raise UsageError(
            f"{format_e8(value_e8)} is no {what} in {units} of {format_e8(unit_e8)}.",
            remedy=f"Nearest are {format_e8(near)} and {format_e8(near + unit_e8)}.",
        )


def refused(order: Followed, reason: Reason) -> Outcome:
    """Risk said no."""
    text = f"risk refused it: {words(reason)}."
    return Outcome(text, order.order_id, refusal=reason, is_done=False)


def placed(ticket: Ticket, order: Followed) -> Outcome:
    """What became of a placed order."""
    name, symbol = name_of(order.order_id), ticket.symbol
    done = "bought" if ticket.side > 0 else "sold"
    filled = f"{done} {format_e8(order.filled_e8)}"
    at = f"{symbol} at {format_e8(order.average_e8)}"
    if order.kind is ExecKind.DROPPED:
        text = f"execution did not send it: {words(order.reason)}."
        return Outcome(text, order.order_id, refusal=order.reason, is_done=False)
    if order.filled_e8 >= order.qty_e8:
        text, is_done = f"{filled} {at}, {name}.", True
    elif order.filled_e8:
        rest = "the rest rests" if not order.is_terminal else "the rest was not to be had"
        text, is_done = f"{filled} of {format_e8(order.qty_e8)} {at}, {rest}, {name}.", True
    elif not order.is_terminal:
        what = f"{verb(ticket.side)} {format_e8(order.qty_e8)} {symbol}"
        text, is_done = f"{what} rests at {format_e8(ticket.price_e8)}, {name}.", True
    else:
        text, is_done = f"nothing traded: {ended(order)}", False
    return Outcome(text, order.order_id, order.filled_e8, order.seq, is_done=is_done)


def ended(order: Followed) -> str:
    """How an order ended, in words."""
    why = f": {words(order.reason)}" if order.reason else ""
    return f"{name_of(order.order_id)} is {order.state.name.lower().replace('_', ' ')}{why}."
