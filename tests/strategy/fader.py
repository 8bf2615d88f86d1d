"""Written from nothing but the page on strategies in the README, to see whether that is enough."""

from hft.records import Side, Tif
from hft.strategy.base import Count, DecimalText, InstrumentView, StrategyParameters
from hft.units import E8, floor_to, parse_e8


class Fader:
    """Buy at once what a seller leaves behind, and offer it again after a while."""

    class Parameters(StrategyParameters, frozen=True):
        notional: DecimalText = "150"
        """Size of a trip, in the quote asset."""
        hold_ms: Count = 500
        """How long a position is held."""

    def __init__(self, parameters: Parameters, instrument: InstrumentView) -> None:
        self._notional_e8 = parse_e8(parameters.notional)
        self._hold_ns = parameters.hold_ms * 1_000_000
        self._step_e8 = instrument.step_e8
        self._ask_e8 = self._bought_ns = 0

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        self._ask_e8 = top.ask_e8

    def on_trade(self, now_ns, trade, position_e8, targets):
        is_calm = now_ns - self._bought_ns > 2 * self._hold_ns
        if is_calm and self._ask_e8 and position_e8 == 0 and trade.aggressor_side == Side.SELL:
            qty_e8 = floor_to(self._notional_e8 * E8 // self._ask_e8, self._step_e8)
            targets.orders.place(Side.BUY, self._ask_e8, qty_e8, tif=Tif.IOC)
            self._bought_ns = now_ns

    def on_timer(self, now_ns, targets):
        is_over = now_ns - self._bought_ns > self._hold_ns
        held_e8 = targets.view.position_e8
        targets.set(Side.SELL, self._ask_e8, held_e8 if is_over and held_e8 > 0 else 0)
