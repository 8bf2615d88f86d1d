"""The built-in momentum strategy: it goes with a move of the mid that is too large for chance.

The signal is the distance of a fast from a slow exponential average of the mid, in standard
deviations of what it would be without a trend (``hft.strategy.signals.Crossover``). Crossovers of
averages are the oldest rule that was tested with care (Brock, Lakonishok and LeBaron, "Simple
technical trading rules and the stochastic properties of stock returns", Journal of Finance 47,
1992, who also show why a band around the crossing is needed); that returns continue in the
direction they had is Moskowitz, Ooi and Pedersen, "Time series momentum", Journal of Financial
Economics 104 (2012); the normalisation is Baz et al. (2015).

    enter   when |score| ≥ enter_sigmas and |crossover| · continuation − cost ≥ edge_bps,
            where cost = 2 · maker_fee_bps, as both ways join the touch, or, with is_taking,
            maker_fee_bps + taker_fee_bps + spread: all in bps
    leave   when score · side ≤ exit_sigmas, the mid went stop_bps against the entry, or the trip
            lasts longer than hold_s_max; then pause_ms pass before the next one

Between the two thresholds nothing changes: that is the hysteresis that keeps a signal near one of
them from trading at every tick. The position is never larger than one quote.
"""

from __future__ import annotations

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.strategy.base import Count, DecimalText
from hft.strategy.errors import StrategyLoadError
from hft.strategy.signals import BPS, Crossover, Kept
from hft.strategy.sizing import Sizing, is_usable, positive
from hft.strategy.targets import QuoteTargets
from hft.strategy.trip import Trip, TripParameters, enter, leave
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8


class MomentumParameters(TripParameters, frozen=True):
    """What the momentum strategy may be told."""

    fast_s: DecimalText = "5"
    """Half-life of the fast average, in seconds."""
    slow_s: DecimalText = "60"
    """Half-life of the slow average, in seconds; also how long it warms up."""
    enter_sigmas: DecimalText = "2"
    """Score from which on it enters, in standard deviations of a market without a trend."""
    exit_sigmas: DecimalText = "0.5"
    """Score, in the direction of the position, at which it leaves."""
    continuation: DecimalText = "1"
    """How far a move is expected to go on, as a multiple of the crossover."""
    stop_bps: DecimalText = "10"
    """It leaves when the mid went so far against the entry, in bps."""
    hold_s_max: DecimalText = "120"
    """It leaves after so long, in seconds."""
    taker_fee_bps: DecimalText = "5"
    """What the venue takes for a fill that takes, in bps; counts with ``is_taking``."""
    pause_ms: Count = 1_000
    """Time between two trips."""


class Momentum(Kept):
    """Join the touch in the direction of an unusual move; leave when it is over."""

    Parameters = MomentumParameters
    KEPT = ("_crossover", "_trip", "_direction")

    def __init__(self, parameters: MomentumParameters, instrument: InstrumentRules) -> None:
        fast_s, slow_s = (
            positive("fast_s", parameters.fast_s),
            positive("slow_s", parameters.slow_s),
        )
        if fast_s >= slow_s:
            raise StrategyLoadError(
                f"fast_s {parameters.fast_s} is not below slow_s {parameters.slow_s}",
                remedy="The fast average has to be the faster one.",
            )
        self._sizing = Sizing(
            instrument, parameters.quote_notional, parameters.position_notional_max
        )
        self._crossover = Crossover(int(fast_s * NS_PER_S), int(slow_s * NS_PER_S))
        self._enter_sigmas = parse_e8(parameters.enter_sigmas) / E8
        self._exit_sigmas = parse_e8(parameters.exit_sigmas) / E8
        if self._exit_sigmas >= self._enter_sigmas:
            raise StrategyLoadError(
                f"exit_sigmas {parameters.exit_sigmas} is not below enter_sigmas "
                f"{parameters.enter_sigmas}",
                remedy="Leave a gap between the two, or it enters and leaves at every tick.",
            )
        self._continuation = parse_e8(parameters.continuation) / E8
        self._is_taking = parameters.is_taking
        self._take_bps_e8 = parse_e8(parameters.take_bps)
        exit_fee = parameters.taker_fee_bps if self._is_taking else parameters.maker_fee_bps
        costs = (parameters.maker_fee_bps, exit_fee, parameters.edge_bps)
        self._hurdle_bps = sum(map(parse_e8, costs)) / E8
        self._stop_bps = positive("stop_bps", parameters.stop_bps)
        self._hold_ns_max = int(positive("hold_s_max", parameters.hold_s_max) * NS_PER_S)
        self._pause_ns = parameters.pause_ms * NS_PER_MS
        self._feed_age_ns_max = parameters.feed_age_ms_max * NS_PER_MS
        self.quote_rules = parameters.quote_rules
        self._instrument = instrument
        self._trip = Trip()
        self._direction = 0
        self._as_of_ns = 0

    @property
    def signals(self) -> dict[str, float]:
        """What it goes by: crossover and volatility in bps, its score, the side it wants."""
        crossover = self._crossover
        return {
            "crossover_bps": crossover.bps,
            "score": crossover.score,
            "volatility_bps": crossover.volatility_bps,
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
        """Go with the move, stay, or leave."""
        self._as_of_ns = top.as_of_ns
        if not is_usable(top, now_ns, self._feed_age_ns_max):
            self._crossover.reset()
            targets.pull_all()
            return
        mid_e8 = (top.bid_e8 + top.ask_e8) // 2
        self._crossover.update(now_ns, mid_e8)
        self._sizing.at(mid_e8)
        trip = self._trip
        trip.observe(now_ns, mid_e8, position_e8, self._sizing.least_e8)
        spread_bps = (top.ask_e8 - top.bid_e8) / mid_e8 * BPS if self._is_taking else 0.0
        self._direction = self._decide(now_ns, mid_e8, spread_bps)
        if trip.side and self._direction != trip.side:
            self._leave(now_ns, top, position_e8, targets)
        elif self._direction:
            enter(targets, top, self._direction, position_e8, self._sizing)
        else:
            targets.pull_all()

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """A silent feed calls nobody, so staleness is judged by the clock."""
        if now_ns - self._as_of_ns > self._feed_age_ns_max:
            targets.pull_all()

    def _leave(self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets) -> None:
        if self._is_taking:
            instrument, take_bps_e8 = self._instrument, self._take_bps_e8
            self._trip.take(now_ns, targets, top, position_e8, take_bps_e8, instrument)
        else:
            leave(targets, top, position_e8)

    def _decide(self, now_ns: int, mid_e8: int, spread_bps: float) -> int:
        """The side to be on: 1, −1, or 0 for none."""
        trip, score = self._trip, self._crossover.score
        if trip.side:
            is_over = (
                self._direction != trip.side  # it is being left: no second thoughts
                or score * trip.side <= self._exit_sigmas
                or trip.gain_bps(mid_e8) <= -self._stop_bps
                or now_ns - trip.since_ns >= self._hold_ns_max
            )
            return 0 if is_over else trip.side
        if self._direction and score * self._direction > self._exit_sigmas:
            return self._direction  # still joining
        if trip.since_ns and now_ns - trip.since_ns < self._pause_ns:
            return 0
        expected_bps = abs(self._crossover.bps) * self._continuation
        if abs(score) < self._enter_sigmas or expected_bps - spread_bps < self._hurdle_bps:
            return 0
        return 1 if score > 0 else -1
