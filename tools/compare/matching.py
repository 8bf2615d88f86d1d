"""Live and paper fills side by side: which belong together, and how far they are apart. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from hft.units import E8, NS_PER_MS

BPS: Final = 10_000


class Fill(NamedTuple):
    """One fill of one mode."""

    instrument_id: int
    side: int
    price_e8: int
    qty_e8: int
    at_ns: int
    """Monotonic time at which it was told."""
    is_maker: bool


class Tolerance(NamedTuple):
    """How far apart a live and a paper fill may be and still be the same one."""

    time_ns: int = 1_000 * NS_PER_MS
    price_bps: float = 5.0


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Fills of one mode."""

    fills: int
    quantity: float
    average_price: float
    maker_share: float
    """Part of the fills that were makers' ones."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of one pair of strategies."""

    live_strategy: str
    paper_strategy: str
    symbol: str
    live: Sums
    paper: Sums
    matched: int
    only_live: int
    only_paper: int
    paper_better_bps: float
    """Mean over the matched fills; positive: paper's price flatters."""
    paper_later_ms: float
    """Mean over the matched fills; negative: paper filled first."""


def match(
    live: Sequence[Fill], paper: Sequence[Fill], tolerance: Tolerance
) -> list[tuple[Fill, Fill]]:
    """Pairs of the same instrument and side, near in time and price; each fill at most once.

    Those nearest in time are joined first, over all fills: a live fill that paper missed does not
    take the one that belongs to the next. Of those equally near, the nearest in price.
    """
    theirs = sorted(paper, key=_at_ns)
    near = []
    for index, one in enumerate(live):
        first = bisect_left(theirs, one.at_ns - tolerance.time_ns, key=_at_ns)
        last = bisect_right(theirs, one.at_ns + tolerance.time_ns, key=_at_ns)
        for other_index in range(first, last):
            other = theirs[other_index]
            if _belongs(one, other, tolerance):
                apart = abs(other.at_ns - one.at_ns), abs(other.price_e8 - one.price_e8)
                near.append((*apart, index, other_index))
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for *_, index, other_index in sorted(near):
        if index not in pairs and other_index not in used:
            pairs[index] = other_index
            used.add(other_index)
    return [(live[index], theirs[other_index]) for index, other_index in sorted(pairs.items())]


def _at_ns(fill: Fill) -> int:
    return fill.at_ns


def _belongs(live: Fill, paper: Fill, tolerance: Tolerance) -> bool:
    return (live.instrument_id, live.side) == (paper.instrument_id, paper.side) and abs(
        live.price_e8 - paper.price_e8
    ) * BPS <= tolerance.price_bps * live.price_e8


def compare(
    live: Sequence[Fill],
    paper: Sequence[Fill],
    tolerance: Tolerance,
    *,
    live_strategy: str,
    paper_strategy: str,
    symbol: str,
) -> Comparison:
    """The figures of one instrument."""
    pairs = match(live, paper, tolerance)
    better = [one.side * (one.price_e8 - two.price_e8) / one.price_e8 * BPS for one, two in pairs]
    later = [(two.at_ns - one.at_ns) / NS_PER_MS for one, two in pairs]
    return Comparison(
        live_strategy=live_strategy,
        paper_strategy=paper_strategy,
        symbol=symbol,
        live=sums(live),
        paper=sums(paper),
        matched=len(pairs),
        only_live=len(live) - len(pairs),
        only_paper=len(paper) - len(pairs),
        paper_better_bps=round(sum(better) / len(better), 4) if better else 0.0,
        paper_later_ms=round(sum(later) / len(later), 3) if later else 0.0,
    )


def sums(fills: Sequence[Fill]) -> Sums:
    """What the fills of one mode come to."""
    qty_e8 = sum(fill.qty_e8 for fill in fills)
    cost = sum(fill.qty_e8 * fill.price_e8 for fill in fills)
    makers = sum(fill.is_maker for fill in fills)
    return Sums(
        fills=len(fills),
        quantity=qty_e8 / E8,
        average_price=cost / qty_e8 / E8 if qty_e8 else 0.0,
        maker_share=round(makers / len(fills), 4) if fills else 0.0,
    )
