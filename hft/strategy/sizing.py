"""What the built-in strategies share: how much to quote, how far to go, when to look away."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import FeedState
from hft.strategy.errors import StrategyLoadError
from hft.units import E8, ceil_to, floor_to, parse_e8

BPS_E8: Final = 10_000 * E8
SignedDecimalText = Annotated[str, Meta(pattern=r"^-?[0-9]+(\.[0-9]{1,8})?$")]
"""Like ``DecimalText``, but it may be below zero."""
_SLACK_PERCENT: Final = 3
"""A quote is at least so much larger than the venue's smallest notional: prices move."""


class Sizing:
    """Size of a quote and greatest position of one instrument, from money."""

    __slots__ = ("_notional_e8", "_notional_max_e8", "_price_e8", "_rules", "least_e8", "qty_e8")

    def __init__(
        self, instrument: InstrumentRules, quote_notional: str, position_notional_max: str
    ) -> None:
        self._notional_e8 = parse_e8(quote_notional)
        self._notional_max_e8 = parse_e8(position_notional_max)
        if self._notional_e8 > self._notional_max_e8:
            raise StrategyLoadError(
                f"quote_notional {quote_notional} is more than position_notional_max "
                f"{position_notional_max}",
                remedy="One quote has to fit into the greatest position.",
            )
        self.obey(instrument)

    def obey(self, instrument: InstrumentRules) -> None:
        """Work sizes out by the venue's new rules from now on."""
        self._rules = instrument
        self._price_e8 = 0
        self.qty_e8 = 0
        """Size of a quote."""
        self.least_e8 = 0
        """The least that the venue takes; a position below it cannot be worked off by quotes."""

    def at(self, mid_e8: int) -> int:
        """Size of a quote; kept while the price stays within 2 % of where it was worked out."""
        if abs(mid_e8 - self._price_e8) * 50 <= self._price_e8:
            return self.qty_e8
        rules = self._rules
        least_notional_e8 = rules.notional_min_e8 * (100 + _SLACK_PERCENT) // 100
        least_e8 = ceil_to(-(-least_notional_e8 * E8 // mid_e8), rules.step_e8)
        self.least_e8 = max(least_e8, rules.qty_min_e8)
        qty_e8 = floor_to(self._notional_e8 * E8 // mid_e8, rules.step_e8)
        self.qty_e8 = min(max(qty_e8, self.least_e8), rules.qty_max_e8)
        self._price_e8 = mid_e8
        return self.qty_e8

    def position_max_e8(self, mid_e8: int) -> int:
        """The greatest position; at least one quote, as less could not be traded at all."""
        return max(self.at(mid_e8), self._notional_max_e8 * E8 // mid_e8)


def is_usable(top: TopOfBook, now_ns: int, feed_age_ns_max: int) -> bool:
    """Whether prices may be made from this: live data, fresh, and a market that can be."""
    return (
        top.feed_state == FeedState.LIVE
        and 0 < top.bid_e8 < top.ask_e8
        and now_ns - top.as_of_ns <= feed_age_ns_max
    )


def positive(name: str, text: str) -> float:
    """A parameter that has to be above zero, for a signal.

    Raises:
        StrategyLoadError: it is zero.
    """
    value = parse_e8(text) / E8
    if value <= 0:
        raise StrategyLoadError(f"{name} is {text}", remedy=f"Give {name} a value above 0.")
    return value
