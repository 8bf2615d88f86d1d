"""Percentile plots: as text for a terminal, as SVG for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hft.units import NS_PER_MS, NS_PER_S
from tools.latency.hdr import percentile_rows
from tools.latency.hops import Hop

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0)
BAR_COLUMNS: Final = 40
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 960, 520, 90, 48, 230, 56
COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
)  # fmt: skip
"""Distinguishable with every kind of colour vision (Okabe and Ito)."""
NINES: Final = ((0.0, "0"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99"))


def duration(value_ns: float) -> str:
    """A duration with three digits and its unit."""
    for limit, unit, size in (
        (1_000, "ns", 1),
        (NS_PER_MS, "µs", 1_000),
        (NS_PER_S, "ms", NS_PER_MS),
    ):
        if value_ns < limit:
            scaled = value_ns / size
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"
    return f"{value_ns / NS_PER_S:.3g} s"


def text_plot(hop: Hop) -> list[str]:
    """Percentiles as bars of logarithmic length."""
    if not hop.total:
        return [f"{hop.name}: nothing counted yet"]
    values = [max(1, hop.percentile_ns(share)) for share in SHARES[:-1]] + [max(1, hop.max_ns)]
    low, high = math.log(values[0]), math.log(values[-1])
    span = (high - low) or 1.0
    lines = [f"{hop.name}  ({hop.total:,} counted)"]
    for share, value in zip(SHARES, values, strict=True):
        bar = "█" * max(1, round((math.log(value) - low) / span * BAR_COLUMNS))
        label = "max" if share == 1.0 else f"p{share * 100:g}"
        lines.append(f"  {label:>7} {duration(value):>9}  {bar}")
    return lines


def svg(hops: Sequence[Hop], title: str) -> str:
    """Value over percentile, both logarithmic: the tail gets as much room as the body."""
    shown = [hop for hop in hops if hop.total]
    rows = {hop.name: list(percentile_rows(hop.counts, hop.max_ns)) for hop in shown}
    values = [max(1, value) for points in rows.values() for _, value, _ in points] or [1]
    decades = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) + 1)))
    nines = max((math.log10(max(hop.total, 10)) for hop in shown), default=1.0)

    def x_of(share: float) -> float:
        depth = nines if share >= 1 else min(nines, -math.log10(1 - share))
        return LEFT + depth / nines * (WIDTH - LEFT - RIGHT)

    def y_of(value_ns: float) -> float:
        height = HEIGHT - TOP - BOTTOM
        part = (math.log10(max(1.0, value_ns)) - decades[0]) / max(1, decades[1] - decades[0])
        return TOP + height * (1 - part)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="28" font-size="17">{_escaped(title)}</text>',
    ]
    for power in range(decades[0], decades[1] + 1):
        y = y_of(10.0**power)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y))
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{duration(10.0**power)}</text>'
        )
    for share, label in NINES:
        if share and -math.log10(1 - share) > nines:
            continue
        x = x_of(share)
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{label} %</text>'
        )
    for index, hop in enumerate(shown):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(f"{x_of(s):.1f},{y_of(v):.1f}" for s, v, _ in rows[hop.name])
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        y = TOP + 18 * index + 6
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{y - 9}" width="12" height="4" '
                     f'fill="{colour}"/>')  # fmt: skip
        parts.append(
            f'<text x="{WIDTH - RIGHT + 34}" y="{y - 2}">{_escaped(hop.name)}'
            f" p50 {duration(hop.percentile_ns(0.5))}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
