"""One look at the venue's own figures: positions and wallets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from hft.core.assets import ASSET_IDS
from hft.core.breakers import BPS
from hft.core.positions import Position, venue_cost_e16
from hft.units import NS_PER_MS
from hft.venues.binance_usdm.reports import BalanceReport, IncomeReport, PositionReport
from hft.venues.binance_usdm.rest import RestClient

INCOME_ROWS_MAX: Final = 1_000
INCOME_PAGES_MAX: Final = 3
RATIO_BPS_MAX: Final = 1_000_000
"""Shown for an account that holds nothing any more and still has positions."""


class Look(NamedTuple):
    """The venue's figures, and what execution had published when they were asked for."""

    positions: dict[int, PositionReport]
    """By instrument; one that is missing is flat."""
    balances: dict[int, BalanceReport]
    """By asset."""
    executions_seq: int
    started_ns: int
    """Monotonic time of the question."""
    margin_ratios_bps: Mapping[int, int]
    """By asset: maintenance margin of the cross positions over what the asset's wallet is worth."""

    def confirms(self, other: Look | None) -> bool:
        """The same figures, and no execution between both questions."""
        return (
            other is not None
            and self.executions_seq == other.executions_seq
            and self._figures() == other._figures()
        )

    def position_e8(self, instrument_id: int) -> int:
        """The venue's position."""
        report = self.positions.get(instrument_id)
        return 0 if report is None else report.position_e8

    def liquidation_e8(self, instrument_id: int, position_e8: int) -> int:
        """Where the venue would liquidate that position; 0: it had none of this direction."""
        report = self.positions.get(instrument_id)
        return report.liquidation_e8 if report and report.position_e8 * position_e8 > 0 else 0

    def adjust(self, position: Position) -> None:
        """Set a position to what the venue has."""
        position_e8, cost_e16 = self.position_e8(position.instrument_id), 0
        if position_e8:
            report = self.positions[position.instrument_id]
            cost_e16 = venue_cost_e16(
                position_e8, report.entry_price_e8, report.mark_e8, report.unrealised_pnl_e8
            )
        position.adjust(position_e8, cost_e16)

    def _figures(self) -> tuple[dict[int, int], dict[int, int]]:
        return (
            {number: row.position_e8 for number, row in self.positions.items() if row.position_e8},
            {number: row.wallet_e8 for number, row in self.balances.items()},
        )


async def look_at_venue(
    rest: RestClient, symbols: Mapping[str, int], executions_seq: Callable[[], int]
) -> Look:
    """Ask for positions and wallets. Weight 10.

    Args:
        rest: the account's client.
        symbols: symbol to instrument; others are not looked at.
        executions_seq: newest record of the ``executions`` ring.

    Raises:
        HftError: no answer, or a refusal.
    """
    seq, started_ns = executions_seq(), time.monotonic_ns()
    positions = await rest.position_risk()
    balances = await rest.balances()
    return Look(
        {symbols[row.symbol]: row for row in positions if row.symbol in symbols},
        {ASSET_IDS[row.asset]: row for row in balances if row.asset in ASSET_IDS},
        seq,
        started_ns,
        {
            ASSET_IDS[row.asset]: margin_ratio_bps(row, positions)
            for row in balances
            if row.asset in ASSET_IDS
        },
    )


def margin_ratio_bps(balance: BalanceReport, positions: Iterable[PositionReport]) -> int:
    """How near the account is to liquidation, rounded up; 10,000 is where it begins.

    Positions of every symbol count, ours or not: they share the wallet. An isolated one has a
    margin of its own; its liquidation price tells how near it is.
    """
    needed_e8 = sum(
        row.maintenance_margin_e8
        for row in positions
        if row.margin_asset == balance.asset and not row.isolated_margin_e8
    )
    if not needed_e8:
        return 0
    held_e8 = balance.cross_wallet_e8 + balance.unrealised_pnl_e8
    return min(RATIO_BPS_MAX, -(-needed_e8 * BPS // held_e8)) if held_e8 > 0 else RATIO_BPS_MAX


async def incomes_since(rest: RestClient, venue_ns: int) -> list[IncomeReport]:
    """The income history from a moment of the venue's clock on. Weight 30 a page.

    Raises:
        HftError: no answer, or a refusal.
    """
    rows: dict[tuple[str, int], IncomeReport] = {}
    for _ in range(INCOME_PAGES_MAX):
        page = await rest.income(start_ms=venue_ns // NS_PER_MS, limit=INCOME_ROWS_MAX)
        rows |= {(row.kind, row.transaction_id): row for row in page}
        if len(page) < INCOME_ROWS_MAX:
            break
        venue_ns = page[-1].venue_ns  # the next page begins with the rows of the same moment
    return list(rows.values())
