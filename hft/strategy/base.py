"""What a strategy plug-in sees.

A plug-in is a class with a ``Parameters`` struct and two callbacks::

    class Follower:
        \"\"\"Bid at the touch.\"\"\"

        class Parameters(StrategyParameters, frozen=True):
            qty: DecimalText = "0.01"

        def __init__(self, parameters: Parameters, instrument: InstrumentView) -> None:
            self._qty_e8 = parse_e8(parameters.qty)

        def on_top_of_book(self, now_ns, top, position_e8, targets):
            targets.set(Side.BUY, top.bid_e8, self._qty_e8)

        def on_timer(self, now_ns, targets):
            pass

One object is made for each instrument of the strategy. It says what it wants to have resting, not
which messages to send: the targets work out the smallest set of intents, and repeating a wish costs
nothing. Times are monotonic ns, prices and quantities integers in 1e-8. Records are views into
memory that is reused: valid only during the call.

Callbacks that a plug-in may have besides, each called with ``(now_ns, record, position_e8,
targets)``: ``on_book`` (``Book``: twenty levels a side), ``on_trade`` (``Trade``), ``on_mark``
(``MarkPrice``), ``on_feed_status`` (``FeedStatus``), ``on_execution`` (``Execution``: what happened
to its orders), ``on_refusal`` (``Decision``: what risk refused), ``on_instrument``
(``InstrumentView``: the venue changed tick, step, ranges or status; it may be kept).
``quote_rules`` (``QuoteRules``) says how hard its quotes cling.

What is no standing quote is an explicit order: ``targets.orders.place(side, price_e8, qty_e8,
order_type=…, tif=…, post_only=…, reduce_only=…)`` sends at once and returns the order's id, or
``NO_ORDER``; ``amend``, ``cancel`` and ``cancel_all`` go with it. ``targets.view`` shows position,
exposure and own open orders, so that no plug-in keeps books of its own.

A plug-in that raises, that does not return within 50 ms, that asks for what cannot be (no integer,
negative, beyond reason, an explicit order off the tick) or that floods is paused on that
instrument and its orders are cancelled; the traceback and the event are kept for its author.

When code or parameters change while it runs, a new object takes the place of the old one; orders
and position stay. State goes over through two hooks: ``save() -> dict`` of the old object and
``restore(state)`` of the new one.

Where several strategies trade one instrument in one mode, none of them crosses another: the one
of higher ``priority`` quotes where it wants, the others are held a tick away from what it wants
or has on the other side, and nothing is sent that would meet an order of ours.
"""

from __future__ import annotations

from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.strategy.errors import StrategyError, StrategyLoadError
from hft.strategy.orders import NO_ORDER, Orders
from hft.strategy.targets import QuoteRules, QuoteTargets
from hft.strategy.view import OwnOrder, View

__all__ = [
    "HOOKS",
    "NO_ORDER",
    "OPTIONAL_CALLBACKS",
    "Count",
    "DecimalText",
    "InstrumentView",
    "Orders",
    "OwnOrder",
    "QuoteRules",
    "QuoteTargets",
    "Strategy",
    "StrategyError",
    "StrategyLoadError",
    "StrategyParameters",
    "View",
]

InstrumentView = InstrumentRules
"""What a plug-in is told of its instrument: id, symbol, tick, step, ranges, status."""

DecimalText = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]{1,8})?$")]
"""A parameter that is money, a quantity or a share: decimal text, as floats are not exact."""
Count = Annotated[int, Meta(ge=0)]

OPTIONAL_CALLBACKS: Final = (
    "on_book",
    "on_trade",
    "on_mark",
    "on_feed_status",
    "on_execution",
    "on_refusal",
    "on_instrument",
)
HOOKS: Final = {"save": 0, "restore": 1}
"""Hooks that carry a plug-in's state over, and how many arguments each is called with."""


class StrategyParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every plug-in's ``Parameters``: closed, typed, validated before the start."""


class Strategy(Protocol):
    """What every plug-in has, beside its ``Parameters``."""

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """The newest best bid and ask; older ones may have been skipped."""

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Called every 10 ms while it may trade, also when no data come."""
