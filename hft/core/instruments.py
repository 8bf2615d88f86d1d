"""What orders of an instrument have to obey, as plain integers.

A frozen copy of a row of the instrument table: risk judges by it, strategies round by it. A row
that changes gets a new version, and with it a new copy.
"""

from __future__ import annotations

import msgspec

from hft.core.generated.views import Instrument
from hft.records import InstrumentStatus
from hft.units import INT64_MAX


class InstrumentRules(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument's steps, ranges and status. Money and prices in 1e-8 of the quote asset."""

    instrument_id: int
    symbol: str
    tick_e8: int
    step_e8: int
    version: int = 0
    price_min_e8: int = 0
    price_max_e8: int = INT64_MAX
    qty_min_e8: int = 0
    qty_max_e8: int = INT64_MAX
    market_qty_max_e8: int = INT64_MAX
    notional_min_e8: int = 0
    multiplier_up_e8: int = 0
    """A buy may not be priced above mark times this; 0: no rule."""
    multiplier_down_e8: int = 0
    """A sell may not be priced below mark times this; 0: no rule."""
    status: int = InstrumentStatus.TRADING

    @classmethod
    def from_view(cls, view: Instrument, instrument_id: int = 0) -> InstrumentRules:
        """The rules in a row of the instrument table, where 0 means "no rule" for a maximum.

        ``instrument_id``: the row's index, where the caller knows it; 0: the row says.
        """
        return cls(
            instrument_id=instrument_id or view.instrument_id,
            symbol=view.symbol.decode(),
            version=view.instrument_version,
            tick_e8=view.tick_e8,
            step_e8=view.step_e8,
            price_min_e8=view.price_min_e8,
            price_max_e8=view.price_max_e8 or INT64_MAX,
            qty_min_e8=view.qty_min_e8,
            qty_max_e8=view.qty_max_e8 or INT64_MAX,
            market_qty_max_e8=view.market_qty_max_e8 or INT64_MAX,
            notional_min_e8=view.notional_min_e8,
            multiplier_up_e8=view.multiplier_up_e8,
            multiplier_down_e8=view.multiplier_down_e8,
            status=view.status,
        )
