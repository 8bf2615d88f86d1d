"""Invariants of paper: it fills its own orders in its own books, and touches no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from hft.records import ExecKind, Mode, OrderState
from hft.units import format_e8
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.chaos.evidence import TERMINAL, Check, Evidence


def _apart(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No order on paper is written down for sending, at the venue, or traded in the live books."""
    on_paper = set(evidence.paper_decisions["order_id"].tolist()) - {0}
    on_paper |= set(evidence.paper["order_id"].tolist())

    def troubles() -> Iterator[str]:
        for number in evidence.places["order_id"].tolist():
            if number in on_paper:
                yield f"{client_order_id(number)}, of paper, was journalled for sending"
        for order in evidence.books.orders:
            if parse_client_order_id(order.client_order_id) in on_paper:
                yield f"{order.client_order_id}, of paper, is at the venue"
        rows = evidence.executions[evidence.executions["order_state"] != OrderState.NONE]
        for seq, number in zip(rows["seq"].tolist(), rows["order_id"].tolist(), strict=True):
            if number in on_paper:
                yield f"executions {seq}: {client_order_id(number)} is of paper"
        for row in evidence.paper[evidence.paper["mode"] != Mode.PAPER]:
            yield f"executions.paper {row['seq']} is not of paper"

    return len(on_paper), troubles()


def _summed(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """A position on paper is the sum of its fills, and as many were booked as there were."""
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    rows = evidence.paper[evidence.paper["exec_kind"] == ExecKind.FILL]
    columns = (rows[name].tolist() for name in ("instrument_id", "side", "qty_e8"))
    for instrument_id, side, qty_e8 in zip(*columns, strict=True):
        symbol = evidence.symbols.get(instrument_id, "?")
        sums[symbol] += side * qty_e8
        counts[symbol] += 1

    def troubles() -> Iterator[str]:
        if evidence.lost.get("executions.paper"):
            return
        for symbol in sorted({*counts, *evidence.paper_positions}):
            position = evidence.paper_positions.get(symbol)
            ours = (position.position_e8, position.fills) if position is not None else (0, 0)
            if ours != (sums[symbol], counts[symbol]):
                yield (
                    f"{symbol}: cell {format_e8(ours[0])} by {ours[1]} fills,"
                    f" ring {format_e8(sums[symbol])} by {counts[symbol]}"
                )

    return len(rows), troubles()


def _ended(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every order on paper ends, once it is filled no further, and never shrinks."""
    cum: dict[int, int] = {}
    ended: set[int] = set()
    rows = evidence.paper
    troubles: list[str] = []
    columns = ("seq", "order_id", "cum_qty_e8", "order_state", "exec_kind")
    for seq, number, cum_e8, state, kind in zip(
        *(rows[column].tolist() for column in columns), strict=True
    ):
        if state == OrderState.NONE:
            continue  # a decision that found no order
        if cum_e8 < cum.get(number, 0):
            troubles.append(f"executions.paper {seq}: filled {cum_e8} after {cum[number]}")
        if number in ended and (state < TERMINAL or kind == ExecKind.FILL):
            troubles.append(f"executions.paper {seq}: {client_order_id(number)} after its end")
        cum[number] = max(cum_e8, cum.get(number, 0))
        if state >= TERMINAL:
            ended.add(number)
    if not evidence.lost.get("executions.paper"):
        left = [number for number in cum if number not in ended]
        troubles += [f"{client_order_id(number)}, of paper, never ended" for number in left]
    return len(cum), iter(troubles)


CHECKS: Final[Mapping[str, Check]] = {
    "paper stays out of the live books": _apart,
    "paper position is the sum of its fills": _summed,
    "every order on paper ended": _ended,
}
