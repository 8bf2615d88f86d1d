"""Positions: inventory, average entry price, realised and open profit, fees, funding.

The accounting is the venue's for one-way positions in single-asset cross margin (Binance USD-M
API, account and trade endpoints):

- an increase moves the average entry price by volume, a reduction leaves it where it is, and a
  flip closes everything and opens the rest at the price of the fill;
- realised profit of a fill is ``closed quantity × (fill price − entry price) × sign of position``,
  without fees, cut toward zero to eight decimals fill by fill, as the venue prints and books it;
- the wallet moves by ``realised − fee + funding``.

What no fill explains stands apart: ``position = bought − sold + adjusted`` holds always. The
position that was there before the first fill is such a part, as is a lasting difference from the
venue's figure that was repaired.

What the open quantity cost is kept as an integer in 1e-16 (price times quantity), so the average
price is derived and its rounding never feeds back. The one inexact step is the share of the cost
that a partial reduction closes, wrong by less than 1e-16 of the quote asset. The venue's own
figures carry tails of up to 1e-8 for each fill, so compare them with that tolerance.
"""

from __future__ import annotations

from typing import Final

from hft.core.generated.views import Position as PositionView
from hft.records import Kind, Side
from hft.units import E8

ENTRY_ROUNDING_E8: Final = 1_000
"""An entry price is printed with at least five decimals, rounded half up."""


def cut(value_e16: int) -> int:
    """1e-16 to 1e-8, toward zero."""
    return value_e16 // E8 if value_e16 >= 0 else -(-value_e16 // E8)


def venue_cost_e16(
    position_e8: int, entry_price_e8: int, mark_e8: int, unrealised_pnl_e8: int
) -> int:
    """What an open position cost, from what the venue prints of it; signed, 1e-16.

    The entry price is rounded to a few decimals. Open profit and mark price give the cost to the
    last digit of the money, so they are taken where they belong to that entry price.
    """
    rough_e16 = position_e8 * entry_price_e8
    cost_e16 = position_e8 * mark_e8 - unrealised_pnl_e8 * E8
    slack_e16 = abs(position_e8) * ENTRY_ROUNDING_E8 + E8
    is_fine = abs(cost_e16 - rough_e16) <= slack_e16 and cost_e16 * position_e8 >= 0
    return cost_e16 if is_fine else rough_e16


class Position:
    """One instrument's inventory and profit. Quantities, prices and money in 1e-8."""

    __slots__ = (
        "adjusted_e8",
        "bought_qty_e8",
        "cost_e16",
        "fee_e8",
        "fills",
        "funding_e8",
        "instrument_id",
        "mark_e8",
        "position_e8",
        "realised_pnl_e8",
        "sold_qty_e8",
    )

    def __init__(self, instrument_id: int) -> None:
        self.instrument_id = instrument_id
        self.position_e8 = 0
        """Signed: buys positive."""
        self.adjusted_e8 = 0
        """Signed part of the position that no fill explains."""
        self.cost_e16 = 0
        """What the open quantity cost, with the sign of the position, 1e-16 of the quote asset."""
        self.realised_pnl_e8 = 0
        self.fee_e8 = 0
        """Cost positive, in the quote asset."""
        self.funding_e8 = 0
        """Received positive."""
        self.mark_e8 = 0
        self.bought_qty_e8 = 0
        self.sold_qty_e8 = 0
        self.fills = 0

    @property
    def average_price_e8(self) -> int:
        """Average entry price of what is open, rounded half up; 0 when flat."""
        qty_e8 = abs(self.position_e8)
        return (2 * abs(self.cost_e16) + qty_e8) // (2 * qty_e8) if qty_e8 else 0

    @property
    def unrealised_pnl_e8(self) -> int:
        """Open profit at the mark price, cut toward zero; 0 before the first mark."""
        if not self.mark_e8:
            return 0
        return cut(self.position_e8 * self.mark_e8 - self.cost_e16)

    @property
    def wallet_delta_e8(self) -> int:
        """What all this has done to the wallet: realised − fees + funding."""
        return self.realised_pnl_e8 - self.fee_e8 + self.funding_e8

    def apply_fill(self, side: int, qty_e8: int, price_e8: int, fee_e8: int = 0) -> int:
        """Take one fill in; returns the profit that it realised.

        ``fee_e8`` is in the quote asset: 0 when the fee was paid in another one.
        """
        assert side in (Side.BUY, Side.SELL)
        assert qty_e8 > 0
        realised_e8 = 0
        open_qty_e8 = abs(self.position_e8)
        opening_e8 = qty_e8
        if self.position_e8 * side < 0:
            closed_e8 = min(qty_e8, open_qty_e8)
            opening_e8 -= closed_e8
            closed_cost_e16 = self.cost_e16 * closed_e8 // open_qty_e8
            # -side is the sign of the position that is being closed.
            realised_e8 = cut(-side * closed_e8 * price_e8 - closed_cost_e16)
            self.cost_e16 -= closed_cost_e16
        self.cost_e16 += side * opening_e8 * price_e8
        self.position_e8 += side * qty_e8
        self.realised_pnl_e8 += realised_e8
        self.fee_e8 += fee_e8
        self.fills += 1
        if side > 0:
            self.bought_qty_e8 += qty_e8
        else:
            self.sold_qty_e8 += qty_e8
        assert self.position_e8 * self.cost_e16 >= 0
        assert self.position_e8 or not self.cost_e16
        assert self.position_e8 == self.bought_qty_e8 - self.sold_qty_e8 + self.adjusted_e8
        return realised_e8

    def apply_funding(self, amount_e8: int) -> None:
        """Take a funding payment in: received positive, as the venue booked it."""
        self.funding_e8 += amount_e8

    def adjust(self, position_e8: int, cost_e16: int) -> int:
        """Take the venue's word for position and cost; returns the change of the position.

        Profit and wallet stay: what happened in between nobody told us.
        """
        assert position_e8 * cost_e16 >= 0
        change_e8 = position_e8 - self.position_e8
        self.adjusted_e8 += change_e8
        self.position_e8 = position_e8
        self.cost_e16 = cost_e16 if position_e8 else 0
        return change_e8

    def fill(self, view: PositionView) -> None:
        """Write the sums into a record; the caller adds sequence and reconciliation."""
        view.kind = Kind.POSITION
        view.instrument_id = self.instrument_id
        view.position_e8, view.average_price_e8 = self.position_e8, self.average_price_e8
        view.realised_pnl_e8, view.unrealised_pnl_e8 = self.realised_pnl_e8, self.unrealised_pnl_e8
        view.fee_e8, view.funding_e8, view.mark_e8 = self.fee_e8, self.funding_e8, self.mark_e8
        view.bought_qty_e8, view.sold_qty_e8 = self.bought_qty_e8, self.sold_qty_e8
        view.cost_whole_e8, view.cost_rest_e16 = divmod(self.cost_e16, E8)
        view.fills, view.adjusted_e8 = self.fills, self.adjusted_e8

    def load_from(self, view: PositionView) -> None:
        """Take the sums over from a record, exactly."""
        self.position_e8, self.mark_e8 = view.position_e8, view.mark_e8
        self.realised_pnl_e8 = view.realised_pnl_e8
        self.fee_e8, self.funding_e8 = view.fee_e8, view.funding_e8
        self.bought_qty_e8, self.sold_qty_e8 = view.bought_qty_e8, view.sold_qty_e8
        self.fills, self.adjusted_e8 = view.fills, view.adjusted_e8
        self.cost_e16 = view.cost_whole_e8 * E8 + view.cost_rest_e16
