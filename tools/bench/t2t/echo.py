"""The plug-in of ``hft bench t2t``: one order for each change of the best bid, and no other."""

from __future__ import annotations

from hft.core.generated.views import Execution, TopOfBook
from hft.records import Side
from hft.strategy.base import (
    DecimalText,
    InstrumentView,
    QuoteRules,
    QuoteTargets,
    StrategyParameters,
)
from hft.units import parse_e8


class EchoParameters(StrategyParameters, frozen=True):
    """What the echo may be told."""

    qty: DecimalText


class Echo:
    """Joins a new best bid, and takes the order back as soon as the venue has it."""

    Parameters = EchoParameters
    quote_rules = QuoteRules(rest_ns_min=0, refusal_backoff_ns=0, is_amending=False)

    def __init__(self, parameters: EchoParameters, instrument: InstrumentView) -> None:
        self._qty_e8 = parse_e8(parameters.qty)
        self._bid_e8 = 0

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Answer a bid that is not the last one."""
        bid_e8 = top.bid_e8
        if bid_e8 == self._bid_e8:
            return
        if self._bid_e8:
            targets.set(Side.BUY, bid_e8, self._qty_e8)
        self._bid_e8 = bid_e8

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Nothing is due."""

    def on_execution(
        self, now_ns: int, execution: Execution, position_e8: int, targets: QuoteTargets
    ) -> None:
        """The order has done its work once it was answered."""
        if targets.resting(Side.BUY) != (0, 0) and not targets.pending(Side.BUY):
            targets.pull(Side.BUY)
