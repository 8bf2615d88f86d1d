"""What each strategy did: its orders, fills, refusals and money, from the rings as they pass.

The account books by instrument. Who asked for an order is in its id, so the same fills, booked
once more by strategy, give every strategy a profit of its own.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft.config import Plan, StrategyConfig
from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Decision, Execution
from hft.core.order_id import source_of
from hft.core.positions import Position
from hft.records import SLOT_BYTES, ExecKind, Reason
from hft.roles.context import ring_spec
from hft.roles.strategy_status import STATUS_FILE, EngineStatus, strategies_dir
from hft.units import E8, INT64_MAX, format_e8

QUOTE_ASSET_ID: Final = ASSET_IDS["USDT"]


class StrategyResult(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy's part in the demo; money and quantities are decimal text."""

    name: str
    plugin: str
    mode: str
    symbols: tuple[str, ...]
    orders: int
    fills: int
    maker_fills: int
    """Fills of resting orders."""
    canceled: int
    rejected: int
    dropped: int
    refused: int
    """By risk, before the demo's own halt at its end."""
    refusals: dict[str, int]
    """By reason."""
    paused: dict[str, str]
    """Symbols on which its plug-in failed and is called no more, and why."""
    volume: str
    """Traded, in the quote asset."""
    position: dict[str, str]
    position_notional_max: str
    """The greatest that a position was worth at a fill, in the quote asset."""
    realised: str
    """Before fees."""
    unrealised: str
    """At the mark price, before fees."""
    fee: str
    net: str
    """Realised and unrealised less fees."""


class _Book:
    """One strategy's sums."""

    def __init__(self, config: StrategyConfig, plan: Plan) -> None:
        self.config = config
        self.positions = {
            plan.instrument_id(symbol): Position(plan.instrument_id(symbol))
            for symbol in config.symbols
        }
        self.kinds: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.orders: set[int] = set()
        self.maker_fills = 0
        self.volume_e8 = self.notional_max_e8 = 0

    def take_fill(self, record: Execution) -> None:
        position = self.positions.get(record.instrument_id)
        if position is None:
            return
        fee_e8 = record.fee_e8 if record.fee_asset_id == QUOTE_ASSET_ID else 0
        position.apply_fill(record.side, record.qty_e8, record.price_e8, fee_e8)
        self.maker_fills += record.is_maker
        self.volume_e8 += record.qty_e8 * record.price_e8 // E8
        notional_e8 = abs(position.position_e8) * record.price_e8 // E8
        self.notional_max_e8 = max(self.notional_max_e8, notional_e8)


class Ledger:
    """Follows executions and decisions of a running system; nobody waits for it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._segments = [
            ipc.Segment.attach(plan.name, ring_spec(name)) for name in ("executions", "decisions")
        ]
        buffers = [bytearray(SLOT_BYTES) for _ in self._segments]
        self._executions, self._decisions = (
            ipc.RingReader(segment, buffer, start_seq=1)
            for segment, buffer in zip(self._segments, buffers, strict=True)
        )
        self._execution, self._decision = Execution(buffers[0]), Decision(buffers[1])
        self._ended_ns = INT64_MAX
        self._books = {
            strategy_id: _Book(config, plan)
            for strategy_id, config in enumerate(plan.config.strategies, start=1)
        }

    def end_trading(self) -> None:
        """From now on risk refuses because the demo halts it: no strategy asked for too much."""
        self._ended_ns = time.monotonic_ns()

    def poll(self) -> None:
        """Book what came since the last look."""
        while self._executions.next():
            book = self._books.get(source_of(self._execution.order_id))
            if book is not None:
                self._book_execution(book, self._execution)
        decision = self._decision
        while self._decisions.next():
            book = self._books.get(decision.strategy_id)
            is_counted = decision.reason != Reason.NONE and decision.judge_ns < self._ended_ns
            if book is not None and is_counted:
                book.refusals[Reason(decision.reason).name] += 1

    def _book_execution(self, book: _Book, record: Execution) -> None:
        kind = record.exec_kind
        book.kinds[kind] += 1
        if kind == ExecKind.SENT:
            book.orders.add(record.order_id)
        elif kind == ExecKind.FILL:
            book.take_fill(record)

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were booked: the sums lack them."""
        return self._executions.lost + self._decisions.lost

    def positions_e8(self) -> dict[str, int]:
        """Position of every symbol that a strategy trades, all strategies together."""
        total = {one.symbol: 0 for one in self._plan.instruments}
        for book in self._books.values():
            for symbol in book.config.symbols:
                instrument_id = self._plan.instrument_id(symbol)
                total[symbol] += book.positions[instrument_id].position_e8
        return total

    def results(self, marks_e8: dict[int, int]) -> tuple[StrategyResult, ...]:
        """Every strategy's result, open positions valued at these mark prices."""
        paused = _paused(Path(self._plan.state_dir))
        return tuple(
            self._result(book, marks_e8, paused.get(book.config.name, {}))
            for book in self._books.values()
        )

    def _result(
        self, book: _Book, marks_e8: dict[int, int], paused: dict[str, str]
    ) -> StrategyResult:
        for instrument_id, position in book.positions.items():
            position.mark_e8 = marks_e8[instrument_id]
        positions = book.positions.values()
        realised_e8 = sum(position.realised_pnl_e8 for position in positions)
        unrealised_e8 = sum(position.unrealised_pnl_e8 for position in positions)
        fee_e8 = sum(position.fee_e8 for position in positions)
        return StrategyResult(
            name=book.config.name,
            plugin=book.config.plugin,
            mode=book.config.mode,
            symbols=book.config.symbols,
            orders=len(book.orders),
            fills=book.kinds[ExecKind.FILL],
            maker_fills=book.maker_fills,
            canceled=book.kinds[ExecKind.CANCELED],
            rejected=book.kinds[ExecKind.REJECTED],
            dropped=book.kinds[ExecKind.DROPPED],
            refused=book.refusals.total(),
            refusals=dict(sorted(book.refusals.items())),
            paused=paused,
            volume=format_e8(book.volume_e8),
            position={
                symbol: format_e8(book.positions[self._plan.instrument_id(symbol)].position_e8)
                for symbol in book.config.symbols
            },
            position_notional_max=format_e8(book.notional_max_e8),
            realised=format_e8(realised_e8),
            unrealised=format_e8(unrealised_e8),
            fee=format_e8(fee_e8),
            net=format_e8(realised_e8 + unrealised_e8 - fee_e8),
        )

    def close(self) -> None:
        """Detach."""
        for segment in self._segments:
            segment.close()


def _paused(state_dir: Path) -> dict[str, dict[str, str]]:
    """Why each strategy is paused, by name and symbol; the engine writes when one fails."""
    try:
        raw = (strategies_dir(state_dir) / STATUS_FILE).read_bytes()
    except FileNotFoundError:
        return {}
    found = msgspec.json.decode(raw, type=EngineStatus)
    return {
        one.name: {desk.symbol: desk.reason for desk in one.desks if desk.reason}
        for one in found.strategies
    }
