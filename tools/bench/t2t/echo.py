"""The plug-in of ``hft bench t2t``: one order for each change of the best bid, and no other."""

from __future__ import annotations

from typing import Final

from hft.core.generated.views import TopOfBook
from hft.records import Side, Tif
from hft.strategy.base import DecimalText, InstrumentView, QuoteTargets, StrategyParameters
from hft.units import parse_e8

BUY: Final = Side.BUY
IOC: Final = Tif.IOC
"""An enumeration is asked for its member through two calls: not when it is urgent."""


class EchoParameters(StrategyParameters, frozen=True):
    """What the echo may be told."""

    qty: DecimalText


class Echo:
    """Bids at a new best bid, immediate or cancel: the same order as the bare script sends."""

    Parameters = EchoParameters

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
            targets.orders.place(BUY, bid_e8, self._qty_e8, tif=IOC)
        self._bid_e8 = bid_e8

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Nothing is due."""
