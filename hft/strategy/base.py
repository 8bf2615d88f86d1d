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
targets)``: ``on_trade`` (``Trade``), ``on_mark`` (``MarkPrice``), ``on_feed_status``
(``FeedStatus``), ``on_execution`` (``Execution``: what happened to its orders), ``on_refusal``
(``Decision``: what risk refused), ``on_instrument`` (``InstrumentView``: the venue changed tick,
step, ranges or status; it may be kept). ``quote_rules`` (``QuoteRules``) says how hard its quotes
cling.
"""

from __future__ import annotations

from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.strategy.errors import StrategyError, StrategyLoadError
from hft.strategy.targets import QuoteRules, QuoteTargets

__all__ = [
    "OPTIONAL_CALLBACKS",
    "Count",
    "DecimalText",
    "InstrumentView",
    "QuoteRules",
    "QuoteTargets",
    "Strategy",
    "StrategyError",
    "StrategyLoadError",
    "StrategyParameters",
]

InstrumentView = InstrumentRules
"""What a plug-in is told of its instrument: id, symbol, tick, step, ranges, status."""

DecimalText = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]{1,8})?$")]
"""A parameter that is money, a quantity or a share: decimal text, as floats are not exact."""
Count = Annotated[int, Meta(ge=0)]

OPTIONAL_CALLBACKS: Final = (
    "on_trade",
    "on_mark",
    "on_feed_status",
    "on_execution",
    "on_refusal",
    "on_instrument",
)


class StrategyParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every plug-in's ``Parameters``: closed, typed, validated before the start."""


class Strategy(Protocol):
    """What every plug-in has, beside its ``Parameters``."""

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """The newest best bid and ask; older ones may have been skipped."""

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Called every few milliseconds, also when the feed is silent."""
