"""The built-in market maker: one quote a side, near the touch, leaning against its inventory.

The price both quotes are placed around, the reservation price, is the mid moved against the
inventory: fully loaded by ``skew_bps``, in between in proportion. That the price at which one is
indifferent falls with inventory is the first result of Avellaneda and Stoikov, "High-frequency
trading in a limit order book", Quantitative Finance 8 (2008); theirs also scales with volatility
and the time left, here the slope is a parameter.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import FeedState, Side
from hft.strategy.base import Count, DecimalText, StrategyParameters
from hft.strategy.errors import StrategyLoadError
from hft.strategy.targets import QuoteRules, QuoteTargets
from hft.units import E8, NS_PER_MS, ceil_to, floor_to, parse_e8

_BPS_E8 = 10_000 * E8
_SLACK_PERCENT = 3
"""A quote is at least so much larger than the venue's smallest notional: prices move."""


class MakerParameters(StrategyParameters, frozen=True):
    """What the maker may be told."""

    quote_notional: DecimalText = "120"
    """Size of a quote in the quote asset; raised to the least that the venue takes."""
    position_notional_max: DecimalText = "600"
    """No quote that could take the position beyond this, in the quote asset."""
    half_spread_bps: DecimalText = "0"
    """Least distance of a quote from the reservation price."""
    skew_bps: DecimalText = "1"
    """How far the reservation price is from the mid at the greatest position."""
    inside_ticks: Count = 0
    """How far a quote may improve the touch; 0: it joins it."""
    reprice_ticks: Annotated[int, Meta(ge=1)] = 1
    """Quotes nearer than this to where they should be are left in their queue."""
    rest_ms_min: Count = 100
    """Least time between two changes of a side."""
    feed_age_ms_max: Annotated[int, Meta(gt=0)] = 1_000
    """Quotes are pulled when nothing was heard for so long."""
    is_amending: bool = True
    """False: quotes are moved by cancelling and placing anew."""


class Maker:
    """Quote one level a side around the reservation price, never better than the touch allows."""

    Parameters = MakerParameters

    def __init__(self, parameters: MakerParameters, instrument: InstrumentRules) -> None:
        self._inside_ticks = parameters.inside_ticks
        self._obey(instrument)
        self._quote_notional_e8 = parse_e8(parameters.quote_notional)
        self._position_notional_max_e8 = parse_e8(parameters.position_notional_max)
        self._half_spread_bps_e8 = parse_e8(parameters.half_spread_bps)
        self._skew_bps_e8 = parse_e8(parameters.skew_bps)
        self._feed_age_ns_max = parameters.feed_age_ms_max * NS_PER_MS
        self.quote_rules = QuoteRules(
            reprice_ticks=parameters.reprice_ticks,
            rest_ns_min=parameters.rest_ms_min * NS_PER_MS,
            is_amending=parameters.is_amending,
        )
        if self._quote_notional_e8 > self._position_notional_max_e8:
            raise StrategyLoadError(
                f"quote_notional {parameters.quote_notional} is more than position_notional_max "
                f"{parameters.position_notional_max}",
                remedy="One quote has to fit into the greatest position.",
            )
        self._recv_ns = 0

    def _obey(self, instrument: InstrumentRules) -> None:
        self._instrument = instrument
        self._tick_e8 = instrument.tick_e8
        self._inside_e8 = self._inside_ticks * instrument.tick_e8
        self._qty_e8 = self._qty_price_e8 = 0

    def on_instrument(
        self, _now_ns: int, instrument: InstrumentRules, _position_e8: int, _targets: QuoteTargets
    ) -> None:
        """Prices and sizes are worked out by the new rules."""
        self._obey(instrument)

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Quote around the reservation price."""
        self._recv_ns = top.recv_ns
        best_bid_e8, best_ask_e8 = top.bid_e8, top.ask_e8
        is_usable = top.feed_state == FeedState.LIVE and 0 < best_bid_e8 < best_ask_e8
        if not is_usable or now_ns - top.recv_ns > self._feed_age_ns_max:
            targets.pull_all()
            return
        mid_e8 = (best_bid_e8 + best_ask_e8) // 2
        qty_e8 = self._quote_qty_e8(mid_e8)
        position_max_e8 = max(qty_e8, self._position_notional_max_e8 * E8 // mid_e8)
        reservation_e8 = mid_e8 - (
            mid_e8 * self._skew_bps_e8 * position_e8 // (position_max_e8 * _BPS_E8)
        )
        half_spread_e8 = mid_e8 * self._half_spread_bps_e8 // _BPS_E8
        # Clamped, so that whatever the skew says no quote crosses or leads the market too far.
        bid_e8 = min(
            reservation_e8 - half_spread_e8,
            best_bid_e8 + self._inside_e8,
            best_ask_e8 - self._tick_e8,
        )
        ask_e8 = max(
            reservation_e8 + half_spread_e8,
            best_ask_e8 - self._inside_e8,
            best_bid_e8 + self._tick_e8,
        )
        may_buy = position_e8 + qty_e8 <= position_max_e8
        may_sell = position_e8 - qty_e8 >= -position_max_e8
        targets.set(Side.BUY, bid_e8, qty_e8 if may_buy else 0)
        targets.set(Side.SELL, ask_e8, qty_e8 if may_sell else 0)

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """A silent feed calls nobody, so staleness is judged by the clock."""
        if now_ns - self._recv_ns > self._feed_age_ns_max:
            targets.pull_all()

    def _quote_qty_e8(self, mid_e8: int) -> int:
        """Size of a quote; kept while the price stays within 2 % of where it was worked out."""
        if abs(mid_e8 - self._qty_price_e8) * 50 <= self._qty_price_e8:
            return self._qty_e8
        rules = self._instrument
        least_notional_e8 = rules.notional_min_e8 * (100 + _SLACK_PERCENT) // 100
        least_e8 = ceil_to(-(-least_notional_e8 * E8 // mid_e8), rules.step_e8)
        qty_e8 = floor_to(self._quote_notional_e8 * E8 // mid_e8, rules.step_e8)
        self._qty_e8 = min(max(qty_e8, least_e8, rules.qty_min_e8), rules.qty_max_e8)
        self._qty_price_e8 = mid_e8
        return self._qty_e8
