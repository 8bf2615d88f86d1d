"""The account's paper book: positions and wallet from ``executions.paper``, beside the live ones.

Nothing here is ever compared with the venue, and nothing of it enters a live sum. Each position
cell says which executions it includes; the wallet is derived from the positions, so that a death
between two cells leaves no contradiction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hft import counters, graph
from hft.core.generated.views import Balance, Execution
from hft.core.generated.views import Position as PositionCell
from hft.core.positions import Position
from hft.records import AlertCode, ExecKind, Kind, Mode
from hft.roles.alerts import Alerts, Severity
from hft.roles.context import Context
from ipc import CellWriter

EXECUTIONS_PER_CYCLE_MAX: Final = 256


class PaperAccount:
    """What paper orders would have earned. Idle in a system without the role ``paper``."""

    def __init__(
        self,
        context: Context,
        positions: tuple[CellWriter, PositionCell],
        balances: tuple[CellWriter, Balance],
        alerts: Alerts,
    ) -> None:
        """``positions`` and ``balances``: the account's writers and the records bound to them."""
        self._context = context
        self._page = context.page
        self._alerts = alerts
        self._position_cells, self._position_cell = positions
        self._balance_cells, self._balance_cell = balances
        self._is_used = context.plan.has_role("paper")
        self._executions, buffer = context.ring_reader("executions.paper", wakes=self._is_used)
        self._execution = Execution(buffer)
        self._start_e8 = context.plan.equity_e8
        self._positions: dict[int, Position] = {}
        self._as_of: dict[int, int] = {}
        self._quote_ids: Mapping[int, int] = {}
        self._lost = 0

    def load(self, quote_ids: Mapping[int, int]) -> None:
        """Take over a predecessor's cells. ``quote_ids``: instruments, and what they settle in."""
        self._quote_ids = quote_ids
        cell = self._position_cell
        for number in quote_ids:
            self._positions[number] = position = Position(number)
            self._as_of[number] = 0
            if self._position_cells.read(graph.position_cell(Mode.PAPER, number)):
                position.load_from(cell)
                self._as_of[number] = cell.executions_seq
        oldest_seq = min(self._as_of.values(), default=0)
        self._executions.seek(oldest_seq + 1)

    def do_work(self) -> int:
        """Book the fills that came; returns how many records were read."""
        if not self._is_used:
            return 0
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            count += 1
            is_new = record.seq > self._as_of.get(record.instrument_id, record.seq)
            if is_new and record.exec_kind == ExecKind.FILL:
                self._apply(record)
        if executions.lapped:
            self._note_lapped()
        if count:
            for number, as_of_seq in self._as_of.items():
                self._as_of[number] = max(as_of_seq, executions.seq)
            self.publish()
        return count

    def _apply(self, record: Execution) -> None:
        position = self._positions[record.instrument_id]
        is_quote_fee = record.fee_asset_id == self._quote_ids[record.instrument_id]
        fee_e8 = record.fee_e8 if is_quote_fee else 0
        position.apply_fill(record.side, record.qty_e8, record.price_e8, fee_e8)
        self._page.count(counters.PAPER_FILLS_APPLIED.id)

    def _note_lapped(self) -> None:
        lost = self._executions.lost - self._lost
        self._lost = self._executions.lost
        self._page.count(counters.LAPPED.id, lost)
        text = f"{lost} paper executions lost: paper positions are wrong"
        self._alerts.send(AlertCode.PAPER_LAPPED, Severity.WARNING, text)

    def value(self, instrument_id: int, mark_e8: int) -> None:
        """Value a position at the mark price."""
        self._positions[instrument_id].mark_e8 = mark_e8

    def publish(self) -> None:
        """Write every cell."""
        if not self._is_used:
            return
        cell = self._position_cell
        for number, position in self._positions.items():
            cell.clear()
            position.fill(cell)
            cell.mode, cell.source = int(Mode.PAPER), self._context.source
            cell.executions_seq = self._as_of[number]
            cell.venue_position_e8 = position.position_e8
            self._position_cells.write(graph.position_cell(Mode.PAPER, number))
        self._publish_wallets()

    def _publish_wallets(self) -> None:
        """One for each settlement asset; the first begins with what the live one began with."""
        cell = self._balance_cell
        assets = list(dict.fromkeys(self._quote_ids.values()))
        for index, asset_id in enumerate(assets):
            cell.clear()
            cell.kind, cell.mode = int(Kind.BALANCE), int(Mode.PAPER)
            cell.source, cell.asset_id = self._context.source, asset_id
            earned_e8 = sum(
                position.wallet_delta_e8
                for number, position in self._positions.items()
                if self._quote_ids[number] == asset_id
            )
            cell.wallet_e8 = cell.available_e8 = (0 if index else self._start_e8) + earned_e8
            cell.executions_seq = max(self._as_of.values(), default=0)
            self._balance_cells.write(graph.balance_cell(Mode.PAPER, index))
