"""Invariants of positions, wallet and fills: the account against the venue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from hft.records import ExecKind
from hft.units import format_e8, parse_e8
from tools.chaos.evidence import Check, Evidence, FillKey, OurPosition, side_of

EXPLAIN_ADJUSTMENTS: Final = frozenset({"lose_user", "restart_losing_orders", "liquidation"})
"""Venue faults after which the venue's own figures cannot be derived from what it tells."""


def _positions(evidence: Evidence) -> tuple[int, Iterator[str]]:
    venue = {symbol: parse_e8(row.qty) for symbol, row in evidence.books.positions.items()}
    symbols = sorted({*venue, *evidence.positions})

    def troubles() -> Iterator[str]:
        for symbol in symbols:
            ours = evidence.positions.get(symbol, OurPosition(0, 0)).position_e8
            if ours != venue.get(symbol, 0):
                theirs = format_e8(venue.get(symbol, 0))
                yield f"{symbol}: account {format_e8(ours)}, venue {theirs}"

    return len(symbols), troubles()


def _summed(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """A position is the sum of its fills and of what was adjusted; the run began flat."""
    sums: Counter[str] = Counter()
    rows = evidence.executions[evidence.executions["exec_kind"] == ExecKind.FILL]
    columns = (rows[name].tolist() for name in ("instrument_id", "side", "qty_e8"))
    for instrument_id, side, qty_e8 in zip(*columns, strict=True):
        sums[evidence.symbols.get(instrument_id, "?")] += side * qty_e8

    def troubles() -> Iterator[str]:
        if evidence.lost.get("executions"):
            return
        for symbol, position in evidence.positions.items():
            wanted_e8 = sums[symbol] + position.adjusted_e8
            if position.position_e8 != wanted_e8:
                ours = format_e8(position.position_e8)
                yield f"{symbol}: cell {ours}, fills and adjustments {format_e8(wanted_e8)}"

    return len(evidence.positions), troubles()


def _wallet(evidence: Evidence) -> tuple[int, Iterator[str]]:
    def troubles() -> Iterator[str]:
        if evidence.wallet_e8 != parse_e8(evidence.books.wallet):
            swapped = _swapped(evidence)
            hint = f"; fills out of the venue's sequence: {', '.join(swapped)}" if swapped else ""
            yield f"account {format_e8(evidence.wallet_e8)}, venue {evidence.books.wallet}{hint}"

    return 1, troubles()


def _swapped(evidence: Evidence) -> list[str]:
    """Fills that came later than they happened: realised profit depends on the sequence."""
    places: dict[str, dict[FillKey, int]] = {}
    for index, fill in enumerate(evidence.books.fills):
        key = fill.symbol, fill.trade_id, side_of(fill.side)
        places.setdefault(fill.symbol, {})[key] = index
    last: dict[str, int] = {}
    found = []
    for row in evidence.executions[evidence.executions["exec_kind"] == ExecKind.FILL]:
        key = evidence.fill_key(row)
        place = places.get(key[0], {}).get(key, -1)
        if place < last.get(key[0], -1):
            found.append(f"{key[0]} trade {key[1]} at executions {row['seq']}")
        last[key[0]] = max(place, last.get(key[0], -1))
    return found[:5]


def _adjusted(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """The account had nothing to repair that no fault of the venue explains."""
    explained = {fault.kind for fault in evidence.timing.faults} & EXPLAIN_ADJUSTMENTS

    def troubles() -> Iterator[str]:
        if evidence.adjustments and not explained:
            yield f"{evidence.adjustments} lasting differences were repaired by adjustment"
        for symbol, position in evidence.positions.items():
            if position.adjusted_e8 and not explained:
                yield f"{symbol}: {format_e8(position.adjusted_e8)} comes from no execution"

    return len(evidence.positions), troubles()


def _fills(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Each trade of the account once in ``executions``, whoever ordered it, and no other."""
    venue = {
        (fill.symbol, fill.trade_id, side_of(fill.side)): fill for fill in evidence.books.fills
    }
    rows = evidence.executions[evidence.executions["exec_kind"] == ExecKind.FILL]
    ours = Counter(evidence.fill_key(row) for row in rows)

    def troubles() -> Iterator[str]:
        for row in rows:
            fill = venue.get(evidence.fill_key(row))
            if fill is None:
                yield f"executions {row['seq']}: the venue has no {evidence.fill_key(row)}"
                continue
            if (parse_e8(fill.qty), parse_e8(fill.price)) != (row["qty_e8"], row["price_e8"]):
                yield f"executions {row['seq']}: venue has {fill.qty} at {fill.price}"
            order_id = evidence.our_id(fill.symbol, fill.client_order_id, fill.order_id)
            if order_id != int(row["order_id"]):
                yield f"executions {row['seq']}: the trade is {fill.client_order_id}'s"
        for key, count in ours.items():
            if count > 1:
                yield f"{key} stands {count} times in executions"
        if not evidence.lost.get("executions"):
            yield from (
                f"{key} of {fill.client_order_id} is missing in executions"
                for key, fill in venue.items()
                if key not in ours
            )

    return len(venue), troubles()


def _fills_counted(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """The account applied as many fills as the venue has, of each instrument."""
    venue = Counter(fill.symbol for fill in evidence.books.fills)

    def troubles() -> Iterator[str]:
        for symbol, position in evidence.positions.items():
            if position.fills != venue[symbol]:
                yield f"{symbol}: account applied {position.fills}, venue has {venue[symbol]}"

    return len(evidence.positions), troubles()


CHECKS: Final[Mapping[str, Check]] = {
    "position equals the venue's": _positions,
    "position is the sum of its fills": _summed,
    "wallet equals the venue's": _wallet,
    "nothing adjusted without a cause": _adjusted,
    "every fill once in executions": _fills,
    "every fill once in the account": _fills_counted,
}
