"""The plug-in of ``hft bench load``: looks at every top, and answers the few that are triggers."""

from __future__ import annotations

from hft.core.generated.views import TopOfBook
from hft.records import Side, Tif
from hft.strategy.base import DecimalText, InstrumentView, QuoteTargets, StrategyParameters
from hft.units import parse_e8


class AnswerParameters(StrategyParameters, frozen=True):
    """What it may be told."""

    qty: DecimalText


class Answer:
    """Bids at the best bid, immediate or cancel, when the quantity at the best ask has changed."""

    Parameters = AnswerParameters

    def __init__(self, parameters: AnswerParameters, instrument: InstrumentView) -> None:
        self._qty_e8 = parse_e8(parameters.qty)
        self._ask_qty_e8 = 0

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """A trigger stays visible until the next one of its instrument."""
        ask_qty_e8 = top.ask_qty_e8
        if ask_qty_e8 == self._ask_qty_e8:
            return
        if self._ask_qty_e8:
            targets.orders.place(Side.BUY, top.bid_e8, self._qty_e8, tif=Tif.IOC)
        self._ask_qty_e8 = ask_qty_e8

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Nothing is due."""
