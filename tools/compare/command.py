"""What `hft compare` reads and prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

import ipc
from hft import graph
from hft.config import Plan, StrategyConfig
from hft.core.generated.views import Execution
from hft.core.order_id import source_of
from hft.errors import EXIT_OK, UsageError
from hft.records import SLOT_BYTES, ExecKind
from hft.roles.context import load_plan, ring_spec
from tools.compare.matching import Comparison, Fill, Tolerance, compare

Fills = dict[int, list[Fill]]
"""Fills by strategy id."""
_COLUMNS: Final = (
    "live", "paper", "symbol", "fills", "", "quantity", "", "average price", "",
    "matched", "only live", "only paper", "paper better", "paper later",
)  # fmt: skip


def run(
    run_dir: Path, live: str | None, paper: str | None, tolerance: Tolerance, *, as_json: bool
) -> int:
    """Compare what the rings of a running system still hold.

    Raises:
        UsageError: there is no such strategy, or none has fills in both modes.
    """
    plan = load_plan(run_dir)
    found = comparisons(plan, live, paper, tolerance)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo("\n".join(table(found)))
    return EXIT_OK


def comparisons(
    plan: Plan, live: str | None, paper: str | None, tolerance: Tolerance
) -> list[Comparison]:
    """One for each pair and symbol with fills.

    Raises:
        UsageError: there is no such strategy, or none has fills in both modes.
    """
    live_fills = read_fills(plan, "executions")
    paper_fills = read_fills(plan, "executions.paper")
    ids = {config.name: number for number, config in enumerate(plan.config.strategies, start=1)}
    found = []
    for one, two in _pairs(plan, live, paper):
        left, right = live_fills.get(ids[one.name], []), paper_fills.get(ids[two.name], [])
        for instrument in plan.instruments:
            number = instrument.instrument_id
            of_live = [fill for fill in left if fill.instrument_id == number]
            of_paper = [fill for fill in right if fill.instrument_id == number]
            if of_live or of_paper:
                found.append(
                    compare(
                        of_live,
                        of_paper,
                        tolerance,
                        live_strategy=one.name,
                        paper_strategy=two.name,
                        symbol=instrument.symbol,
                    )
                )
    if live is None:  # nobody asked for those that run in one mode only
        found = [one for one in found if one.live.fills and one.paper.fills]
    if not found:
        raise UsageError(
            "no strategy has fills in both modes.",
            remedy="Run the same plug-in as two strategies, one live and one in paper mode, or"
            " switch one with `hft strategy mode`; then compare, or name both to compare.",
        )
    return found


def _pairs(
    plan: Plan, live: str | None, paper: str | None
) -> list[tuple[StrategyConfig, StrategyConfig]]:
    """Which strategies to compare: those named; else each with itself and with its like."""
    configs = {config.name: config for config in plan.config.strategies}
    for name in (live, paper):
        if name is not None and name not in configs:
            raise UsageError(
                f"there is no strategy {name}.", remedy=f"There are: {', '.join(configs)}."
            )
    if live is not None:
        return [(configs[live], configs[paper or live])]
    return [
        (one, two)
        for one in configs.values()
        for two in configs.values()
        if one is two or (one.plugin == two.plugin and set(one.symbols) & set(two.symbols))
    ]


def read_fills(plan: Plan, ring: str) -> Fills:
    """The fills that a ring still holds, by strategy."""
    segment = ipc.Segment.attach(plan.name, ring_spec(ring))
    buffer = bytearray(SLOT_BYTES)
    record = Execution(buffer)
    try:
        reader = ipc.RingReader(segment, buffer, start_seq=1)
        start_seq = max(1, reader.newest_seq - graph.ring(ring).capacity + 1)
        reader.seek(start_seq)
        return _collect(reader, record)
    finally:
        segment.close()


def _collect(reader: ipc.RingReader, record: Execution) -> Fills:
    fills: Fills = {}
    last_seq = reader.newest_seq
    while reader.seq < last_seq and (reader.next() or reader.lapped):
        if not reader.lapped and record.exec_kind == ExecKind.FILL:
            fills.setdefault(source_of(record.order_id), []).append(
                Fill(
                    record.instrument_id,
                    record.side,
                    record.price_e8,
                    record.qty_e8,
                    record.publish_ns,
                    bool(record.is_maker),
                )
            )
    return fills


def table(comparisons: list[Comparison]) -> list[str]:
    """A head and one line for each comparison; of each pair of figures live comes first."""
    rows = [_COLUMNS, *(_row(one) for one in comparisons)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_COLUMNS))]
    return [_line(row, widths) for row in rows]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells: Iterator[str] = (
        f"{cell:<{width}}" if index < 3 else f"{cell:>{width}}"
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _row(one: Comparison) -> tuple[str, ...]:
    return (
        one.live_strategy,
        one.paper_strategy,
        one.symbol,
        f"{one.live.fills:,}",
        f"{one.paper.fills:,}",
        f"{one.live.quantity:.8g}",
        f"{one.paper.quantity:.8g}",
        f"{one.live.average_price:.8g}",
        f"{one.paper.average_price:.8g}",
        f"{one.matched:,}",
        f"{one.only_live:,}",
        f"{one.only_paper:,}",
        f"{one.paper_better_bps:+.2f} bps" if one.matched else "—",
        f"{one.paper_later_ms:+.1f} ms" if one.matched else "—",
    )
