"""The built-in market maker: one quote a side around a reservation price, wider in wild markets.

The model is Avellaneda and Stoikov, "High-frequency trading in a limit order book", Quantitative
Finance 8 (2008). A maker with risk aversion γ who holds the inventory q of an asset with mid s and
variance σ² for each second, and who looks τ seconds ahead, is indifferent at the *reservation
price* r = s − q·γ·σ²·τ; when orders at a distance δ from the mid are hit at the rate A·exp(−κ·δ),
the best quotes are r ± h with h = γ·σ²·τ/2 + ln(1 + γ/κ)/γ. A fee of f for each fill, which the
paper does not have, moves the optimum out by f: what is earned at δ is δ − f.

So that the same numbers suit every instrument, prices are in basis points of the mid (bps) and q is
the share of the greatest position, −1 to 1. With γ (``risk_aversion``) in 1/bps, κ
(``fill_decay``) in 1/bps, σ in bps for the root of a second (measured: ``hft.strategy.signals``)
and τ (``horizon_s``) in seconds:

    skew at the greatest position [bps] = skew_bps + γ·σ²·τ
    half spread [bps] = max(half_spread_bps, maker_fee_bps + edge_bps + γ·σ²·τ/2 + ln(1 + γ/κ)/γ)

The paper fixes the end of the session; a market without an end has a horizon that moves along.
Quotes never cross and never improve the touch by more than ``inside_ticks``; no quote may take the
position beyond ``position_notional_max``, whatever fills.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import Side
from hft.strategy.base import Count, DecimalText, StrategyParameters
from hft.strategy.signals import Kept, Volatility
from hft.strategy.sizing import BPS_E8, SignedDecimalText, Sizing, is_usable, positive
from hft.strategy.targets import QuoteRules, QuoteTargets
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8

BUY: Final = Side.BUY
SELL: Final = Side.SELL
"""Kept, for to ask an enumeration for a member takes 0.1 us each time (CPython 3.11)."""


class MakerParameters(StrategyParameters, frozen=True):
    """What the maker may be told."""

    quote_notional: DecimalText = "120"
    """Size of a quote in the quote asset; raised to the least that the venue takes."""
    position_notional_max: DecimalText = "600"
    """No quote that could take the position beyond this, in the quote asset."""
    maker_fee_bps: SignedDecimalText = "2"
    """What the venue takes for a fill of a resting order, in bps; negative: what it pays."""
    edge_bps: SignedDecimalText = "0"
    """What a fill has to earn beside fee and risk, in bps; negative: what it may cost."""
    half_spread_bps: DecimalText = "0"
    """Least distance of a quote from the reservation price, in bps."""
    skew_bps: DecimalText = "1"
    """How far the reservation price is from the mid at the greatest position in a market that
    does not move, in bps."""
    risk_aversion: DecimalText = "0.1"
    """γ: bps of distance for each bps² of variance over the horizon; 0: volatility is ignored."""
    horizon_s: DecimalText = "10"
    """τ: how long an inventory is expected to be held, in seconds."""
    fill_decay: DecimalText = "1"
    """κ: by which share fewer quotes are hit for each bps further away, in 1/bps."""
    volatility_half_life_s: DecimalText = "30"
    """After so long a return counts half in the measured volatility, in seconds."""
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


class Maker(Kept):
    """Quote one level a side around the reservation price, never better than the touch allows."""

    Parameters = MakerParameters
    KEPT = ("_volatility",)

    def __init__(self, parameters: MakerParameters, instrument: InstrumentRules) -> None:
        self._sizing = Sizing(
            instrument, parameters.quote_notional, parameters.position_notional_max
        )
        self._inside_ticks = parameters.inside_ticks
        self._obey(instrument)
        self._half_spread_bps_min = parse_e8(parameters.half_spread_bps) / E8
        self._skew_bps_min = parse_e8(parameters.skew_bps) / E8
        self._risk = (parse_e8(parameters.risk_aversion) / E8) * positive(
            "horizon_s", parameters.horizon_s
        )
        """γ·τ, seconds for each bps."""
        self._distance_bps = _cost_bps(parameters) + _liquidity_bps(parameters)
        """What the half spread has in every market: fee, edge and the price of being hit."""
        half_life_s = positive("volatility_half_life_s", parameters.volatility_half_life_s)
        self._volatility = Volatility(int(half_life_s * NS_PER_S))
        self._feed_age_ns_max = parameters.feed_age_ms_max * NS_PER_MS
        self.quote_rules = QuoteRules(
            reprice_ticks=parameters.reprice_ticks,
            rest_ns_min=parameters.rest_ms_min * NS_PER_MS,
            is_amending=parameters.is_amending,
        )
        self._as_of_ns = 0
        self._offset_bps = 0.0
        self._weigh_risk()

    @property
    def signals(self) -> dict[str, float]:
        """What it goes by: all in bps, the reservation price as its distance from the mid."""
        return {
            "volatility_bps": self._volatility.bps,
            "half_spread_bps": self._half_spread_bps_e8 / E8,
            "reservation_bps": self._offset_bps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what the predecessor measured."""
        super().restore(state)
        self._weigh_risk()

    def _obey(self, instrument: InstrumentRules) -> None:
        self._tick_e8 = instrument.tick_e8
        self._inside_e8 = self._inside_ticks * instrument.tick_e8
        self._sizing.obey(instrument)

    def _weigh_risk(self) -> None:
        """Skew and half spread by the newest variance: floats end here."""
        risk_bps = self._risk * self._volatility.variance
        half_spread_bps = max(self._half_spread_bps_min, self._distance_bps + risk_bps / 2)
        self._skew_bps_e8 = round((self._skew_bps_min + risk_bps) * E8)
        self._half_spread_bps_e8 = round(half_spread_bps * E8)

    def on_instrument(
        self, _now_ns: int, instrument: InstrumentRules, _position_e8: int, _targets: QuoteTargets
    ) -> None:
        """Prices and sizes are worked out by the new rules."""
        self._obey(instrument)

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Quote around the reservation price."""
        self._as_of_ns = top.as_of_ns
        if not is_usable(top, now_ns, self._feed_age_ns_max):
            self._volatility.reset()
            targets.pull_all()
            return
        best_bid_e8, best_ask_e8 = top.bid_e8, top.ask_e8
        mid_e8 = (best_bid_e8 + best_ask_e8) // 2
        if self._volatility.update(now_ns, mid_e8):
            self._weigh_risk()
        qty_e8 = self._sizing.at(mid_e8)
        position_max_e8 = self._sizing.position_max_e8(mid_e8)
        lean_bps_e8 = self._skew_bps_e8 * position_e8 // position_max_e8
        self._offset_bps = -lean_bps_e8 / E8
        reservation_e8 = mid_e8 - mid_e8 * lean_bps_e8 // BPS_E8
        half_spread_e8 = mid_e8 * self._half_spread_bps_e8 // BPS_E8
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
        targets.set(BUY, bid_e8, qty_e8 if may_buy else 0)
        targets.set(SELL, ask_e8, qty_e8 if may_sell else 0)

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """A silent feed calls nobody, so staleness is judged by the clock."""
        if now_ns - self._as_of_ns > self._feed_age_ns_max:
            targets.pull_all()


def _cost_bps(parameters: MakerParameters) -> float:
    return (parse_e8(parameters.maker_fee_bps) + parse_e8(parameters.edge_bps)) / E8


def _liquidity_bps(parameters: MakerParameters) -> float:
    """ln(1 + γ/κ)/γ: how far out fewer fills are still worth it; 1/κ, its limit, for γ = 0."""
    risk_aversion = parse_e8(parameters.risk_aversion) / E8
    fill_decay = positive("fill_decay", parameters.fill_decay)
    if not risk_aversion:
        return 1 / fill_decay
    return math.log1p(risk_aversion / fill_decay) / risk_aversion
