"""The built-in scalper: it joins the side of the book that is the stronger, and leaves at once.

Its signal is the queue imbalance at the touch, I = (bid − ask) / (bid + ask) of the quantities
there, which predicts the direction of the next change of the mid (Gould and Bonart 2016), and the
micro-price, which says how far that change goes (Stoikov, "The micro-price: a high-frequency
estimator of future prices", Quantitative Finance 18, 2018); ``hft.strategy.signals`` has both.

    enter   at the touch, when |I| ≥ enter_imbalance (averaged over smoothing_ms) and
            (micro-price − mid) · side + spread − 2 · maker_fee_bps ≥ edge_bps, all in bps:
            both ways join the touch, so a trip earns the spread and pays two fees
    stay    in the queue while I · side > exit_imbalance
    leave   as soon as something is held: at the touch of the other side, for patience_ms not below
            the entry's mid + target_bps; whatever it costs after that, or when
            I · side < −exit_imbalance: at the touch or, with is_taking, beyond it; the taker's
            fee of that is the price of a trip that went wrong, and not part of what is expected

The position is never larger than one quote. At the fees of a small account a spread of one tick
pays for no trip, and the scalper says so by not trading; its place is a tier with rebates, or an
instrument with a wide tick.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.strategy.base import Count, DecimalText
from hft.strategy.errors import StrategyLoadError
from hft.strategy.signals import BPS, Kept, MicroPrice, TimeAverage, imbalance
from hft.strategy.sizing import BPS_E8, Sizing, is_usable
from hft.strategy.targets import QuoteTargets
from hft.strategy.trip import Trip, TripParameters, enter, leave
from hft.units import E8, NS_PER_MS, parse_e8


class ScalperParameters(TripParameters, frozen=True):
    """What the scalper may be told."""

    enter_imbalance: DecimalText = "0.6"
    """Imbalance from which on it joins the stronger side, 0 to 1."""
    exit_imbalance: DecimalText = "0.2"
    """Below this it leaves the queue; so far against its position it leaves at any price."""
    smoothing_ms: Annotated[int, Meta(gt=0)] = 200
    """Half-life of the average of the imbalance, in ms: quantities at the touch flicker."""
    memory_changes: Annotated[int, Meta(gt=0)] = 500
    """How many changes of the mid the micro-price remembers."""
    target_bps: DecimalText = "0"
    """What the mid has to have gained for leaving while there is patience, in bps."""
    patience_ms: Count = 1_000
    """How long it insists on the target."""
    pause_ms: Count = 0
    """Time between two trips."""


class Scalper(Kept):
    """Join the stronger side of the book, leave by the other."""

    Parameters = ScalperParameters
    KEPT = ("_imbalance", "_micro_price", "_trip", "_direction")

    def __init__(self, parameters: ScalperParameters, instrument: InstrumentRules) -> None:
        self._enter_imbalance = parse_e8(parameters.enter_imbalance) / E8
        self._exit_imbalance = parse_e8(parameters.exit_imbalance) / E8
        if not self._exit_imbalance < self._enter_imbalance <= 1:
            raise StrategyLoadError(
                f"enter_imbalance {parameters.enter_imbalance} and exit_imbalance "
                f"{parameters.exit_imbalance} do not go together",
                remedy="Give enter_imbalance at most 1, and exit_imbalance less than that.",
            )
        self._sizing = Sizing(
            instrument, parameters.quote_notional, parameters.position_notional_max
        )
        self._imbalance = TimeAverage(parameters.smoothing_ms * NS_PER_MS)
        self._micro_price = MicroPrice(parameters.memory_changes)
        fee_bps_e8, edge_bps_e8 = map(parse_e8, (parameters.maker_fee_bps, parameters.edge_bps))
        self._hurdle_bps = (2 * fee_bps_e8 + edge_bps_e8) / E8
        self._target_bps_e8 = parse_e8(parameters.target_bps)
        self._is_taking = parameters.is_taking
        self._take_bps_e8 = parse_e8(parameters.take_bps)
        self._patience_ns = parameters.patience_ms * NS_PER_MS
        self._pause_ns = parameters.pause_ms * NS_PER_MS
        self._feed_age_ns_max = parameters.feed_age_ms_max * NS_PER_MS
        self.quote_rules = parameters.quote_rules
        self._instrument = instrument
        self._trip = Trip()
        self._direction = 0
        self._micro_bps = 0.0
        self._as_of_ns = 0

    @property
    def signals(self) -> dict[str, float]:
        """What it goes by: imbalance, −1 to 1; micro-price over the mid in bps; side wanted."""
        return {
            "imbalance": self._imbalance.value,
            "micro_price_bps": self._micro_bps,
            "direction": self._direction,
        }

    def on_instrument(
        self, _now_ns: int, instrument: InstrumentRules, _position_e8: int, _targets: QuoteTargets
    ) -> None:
        """Sizes are worked out by the new rules."""
        self._instrument = instrument
        self._sizing.obey(instrument)

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Join the stronger side, or work off what is held."""
        self._as_of_ns = top.as_of_ns
        if not is_usable(top, now_ns, self._feed_age_ns_max):
            self._imbalance.reset()
            self._micro_price.reset()
            self._direction = 0
            targets.pull_all()
            return
        mid_e8 = (top.bid_e8 + top.ask_e8) // 2
        spread_bps = (top.ask_e8 - top.bid_e8) / mid_e8 * BPS
        newest = imbalance(top.bid_qty_e8, top.ask_qty_e8)
        self._micro_price.update(mid_e8, newest)
        self._imbalance.update(now_ns, newest)
        self._micro_bps = self._micro_price.offset_bps(self._imbalance.value, spread_bps)
        self._sizing.at(mid_e8)
        trip = self._trip
        trip.observe(now_ns, mid_e8, position_e8, self._sizing.least_e8)
        self._direction = 0 if trip.side else self._decide(now_ns, spread_bps)
        if trip.side:
            self._leave(now_ns, top, position_e8, targets)
        elif self._direction:
            enter(targets, top, self._direction, position_e8, self._sizing)
        else:
            targets.pull_all()

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """A silent feed calls nobody, so staleness is judged by the clock."""
        if now_ns - self._as_of_ns > self._feed_age_ns_max:
            targets.pull_all()

    def _decide(self, now_ns: int, spread_bps: float) -> int:
        """The side to join: 1, −1, or 0 for none."""
        skew = self._imbalance.value
        if self._direction and skew * self._direction > self._exit_imbalance:
            return self._direction
        if self._trip.since_ns and now_ns - self._trip.since_ns < self._pause_ns:
            return 0
        side = 1 if skew > 0 else -1
        expected_bps = self._micro_bps * side + spread_bps
        if abs(skew) < self._enter_imbalance or expected_bps < self._hurdle_bps:
            return 0
        return side

    def _leave(self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets) -> None:
        trip = self._trip
        is_against = self._imbalance.value * trip.side < -self._exit_imbalance
        if not is_against and now_ns - trip.since_ns < self._patience_ns:
            entry_e8 = trip.entry_mid_e8
            target_e8 = entry_e8 + trip.side * entry_e8 * self._target_bps_e8 // BPS_E8
            leave(targets, top, position_e8, target_e8)
        elif self._is_taking:
            instrument, take_bps_e8 = self._instrument, self._take_bps_e8
            trip.take(now_ns, targets, top, position_e8, take_bps_e8, instrument)
        else:
            leave(targets, top, position_e8)
