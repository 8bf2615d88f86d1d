"""From runs to the table: percentiles, medians and spread over rounds, what was to be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

import ipc
from hft.counters import EXECUTION_NS, FEED_NS, RISK_NS, STRATEGY_NS, TICK_TO_TRADE_NS
from hft.units import NS_PER_US
from ipc.layout import HISTOGRAM_BUCKETS
from tools.bench.result import Target
from tools.bench.t2t.contenders import (
    BLOCKING,
    COMPACT,
    DEDICATED,
    FLOOR,
    PARKED,
    SCRIPT,
    Contender,
)
from tools.bench.t2t.runs import Run
from tools.latency.drawing import duration
from tools.latency.hops import Hop

QUANTILES: Final = (0.5, 0.9, 0.99)
WHOLE: Final = "venue's write to venue's read"
PATH: Final = tuple(
    spec.name for spec in (TICK_TO_TRADE_NS, FEED_NS, STRATEGY_NS, RISK_NS, EXECUTION_NS)
)
"""A system's own measurements of the way from tick to order."""
LATE_US_MAX: Final = 1_000
"""Above it the venue did not get its core, and no figure of the run means much."""
PEERS: Final = (("nautilus", 20), ("ccxt", 10), ("python-binance", 7))
"""Other people's systems, and how many times faster ours is to be."""


class Figures(NamedTuple):
    """Of one run; ns from the venue's write to its read."""

    p50: float
    p90: float
    p99: float
    max: float
    n: int


class Measured(NamedTuple):
    """A value of each round, reduced."""

    median: float
    low: float
    high: float


@dataclass
class Result:
    """All runs of one contender under one profile."""

    contender: Contender
    profile: str
    rounds: list[Figures | None] = field(default_factory=list)
    """None: nothing was answered in it."""
    samples_ns: list[int] = field(default_factory=list)
    missed: int = 0
    doubled: int = 0
    strays: int = 0
    unjournalled: int = 0
    violations: int = 0
    late_ns: list[int] = field(default_factory=list)
    last: Run | None = None

    def add(self, run: Run) -> None:
        """Take one run in."""
        self.rounds.append(figures(run.paired.latency_ns))
        self.samples_ns += run.paired.latency_ns
        self.missed += run.paired.missed
        self.doubled += run.paired.doubled
        self.strays += run.paired.strays
        self.unjournalled += run.unjournalled
        self.violations += run.violations
        self.late_ns.append(run.late_ns_p99)
        self.last = run

    @property
    def is_clean(self) -> bool:
        """Every trigger was answered, once, by an order that stands in the journal."""
        wrong = (self.missed, self.doubled, self.strays, self.unjournalled, self.violations)
        return not any(wrong)

    def of(self, name: str) -> Measured | None:
        """A figure over the rounds; None: in no round was anything answered."""
        return measured([getattr(one, name) for one in self.rounds if one is not None])

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        names = ("p50", "p90", "p99", "max")
        return {
            "contender": self.contender.name,
            "profile": self.profile,
            "latency_ns": {
                name: found._asdict() for name in names if (found := self.of(name)) is not None
            },
            "rounds": [one and one._asdict() for one in self.rounds],
            "answered": len(self.samples_ns),
            "missed": self.missed,
            "doubled": self.doubled,
            "strays": self.strays,
            "unjournalled": self.unjournalled,
            "violations": self.violations,
            "frames_late_ns_p99": median(self.late_ns),
            "hops": [_hop(hop) for hop in self.last.hops] if self.last else [],
            "cold_usage": self.last.usage._asdict() if self.last else None,
        }


Results = Mapping[tuple[str, str], Result]
"""By profile and contender."""


class Reached(NamedTuple):
    """A target, and how far the rounds differ."""

    target: Target
    spread: Measured | None
    is_judged: bool = True
    """False: the venue itself was late in these runs, and the figure means nothing."""


def figures(latency_ns: Sequence[int]) -> Figures | None:
    """Percentiles of one run; None of no samples."""
    if not latency_ns:
        return None
    p50, p90, p99 = np.quantile(latency_ns, QUANTILES, method="inverted_cdf").tolist()
    return Figures(p50, p90, p99, max(latency_ns), len(latency_ns))


def measured(values: Sequence[float]) -> Measured | None:
    """Median and spread; None of no values."""
    return Measured(median(values), min(values), max(values)) if values else None


def compare(
    results: Results,
    above: tuple[str, str],
    below: tuple[str, str],
    name: str,
    how: Callable[[float, float], float],
) -> Measured | None:
    """Two contenders' figures held against each other within each round; None: not measured."""
    if above not in results or below not in results:
        return None
    pairs = zip(results[above].rounds, results[below].rounds, strict=True)
    return measured(
        [
            how(getattr(upper, name), getattr(lower, name))
            for upper, lower in pairs
            if upper is not None and lower is not None
        ]
    )


def targets(results: Results, *, has_tls: bool = False) -> list[Reached]:
    """What is to be reached, beside what was; with TLS no ratio is, but everything else."""
    rows = [] if has_tls else _ratios(results)
    # Other people's clients may read so slowly that the venue has to wait for them.
    paced = [result for result in results.values() if not result.contender.module]
    if paced:
        late_ns = max(max(result.late_ns) for result in paced)
        text = "venue's frames late, p99 of the worst run"
        late = Target(text, late_ns / NS_PER_US, LATE_US_MAX, True, " us")
        if not late.is_reached:
            rows = [one._replace(is_judged=False) for one in rows]
        rows.append(Reached(late, None))
    ours = [result for result in results.values() if result.contender.variant is not None]
    if ours:
        wrong = sum(not result.is_clean for result in ours)
        text = "rows of hft that missed, doubled or did not journal"
        rows.append(Reached(Target(text, wrong, 0, True, ""), None))
    return rows


def _ratios(results: Results) -> list[Reached]:
    steady, burst, cold = "steady", "burst", "cold"
    rows: list[Reached] = []

    def row(
        text: str,
        limit: float,
        above: tuple[str, str],
        below: tuple[str, str],
        name: str = "p50",
        *,
        at_most: bool = True,
        unit: str = "x",
        how: Callable[[float, float], float] = _ratio,
    ) -> None:
        found = compare(results, above, below, name, how)
        value = None if found is None else found.median
        rows.append(Reached(Target(text, value, limit, at_most, unit), found))

    row("compact p50 - script p50", 3.0, (steady, COMPACT), (steady, SCRIPT), unit=" us",
        how=_difference_us)  # fmt: skip
    row("compact p50 / C floor p50", 1.2, (steady, COMPACT), (steady, FLOOR))
    row("compact p99 / script p99", 1.0, (steady, COMPACT), (steady, SCRIPT), "p99")
    row("bursts: compact p99 / script p99", 0.7, (burst, COMPACT), (burst, SCRIPT), "p99")
    row("parked p50 / blocking script p50", 1.0, (steady, PARKED), (steady, BLOCKING))
    row("dedicated p50 / blocking script p50", 2.0, (steady, DEDICATED), (steady, BLOCKING))
    row("cold: compact p50 / steady p50", 1.5, (cold, COMPACT), (steady, COMPACT))
    for peer, factor in PEERS:
        for name in ("p50", "p99"):
            row(f"{peer} {name} / compact {name}", factor, (steady, peer), (steady, COMPACT), name,
                at_most=False)  # fmt: skip
    return rows


def _ratio(upper: float, lower: float) -> float:
    return upper / lower


def _difference_us(upper: float, lower: float) -> float:
    return (upper - lower) / NS_PER_US


def hop_of(result: Result) -> Hop:
    """All samples as a histogram, for drawing."""
    return _histogram(f"{result.contender.text} ({result.profile})", WHOLE, result.samples_ns)


def _histogram(name: str, meaning: str, samples_ns: Sequence[int]) -> Hop:
    counts = np.zeros(HISTOGRAM_BUCKETS, dtype=np.uint64)
    bounds = [ipc.bucket_value_max(index) for index in range(HISTOGRAM_BUCKETS)]
    np.add.at(counts, np.searchsorted(bounds, samples_ns), 1)
    return Hop(name, "", meaning, counts, max(samples_ns))


def _hop(hop: Hop) -> dict[str, Any]:
    p50, p90, p99 = (hop.percentile_ns(share) for share in QUANTILES)
    return {
        "name": hop.name,
        "meaning": hop.meaning,
        "count": hop.total,
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "max": hop.max_ns,
    }


# -- as text ------------------------------------------------------------------------------------


def table(results: Results, profile: str) -> list[str]:
    """Lines of one profile's table."""
    chosen = [result for (name, _), result in results.items() if name == profile]
    head = (
        f"{profile:30}{'p50':>9}{'(rounds)':>20}{'p90':>9}{'p99':>9}{'(rounds)':>20}{'max':>9}"
        f"{'/script':>9}{'/floor':>8}{'n':>7}{'missed':>8}{'twice':>7}"
    )
    lines = [head, "-" * len(head)]
    for result in chosen:
        p50, p99 = result.of("p50"), result.of("p99")
        p90, most = result.of("p90"), result.of("max")
        if p50 is None or p90 is None or p99 is None or most is None:
            lines.append(f"{result.contender.text:30}answered nothing")
            continue
        me = (profile, result.contender.name)
        ratios = [
            compare(results, me, (profile, other), "p50", _ratio) for other in (SCRIPT, FLOOR)
        ]
        script, floor = ("-" if one is None else f"{one.median:.2f}x" for one in ratios)
        lines.append(
            f"{result.contender.text:30}{duration(p50.median):>9}{_spread(p50):>20}"
            f"{duration(p90.median):>9}{duration(p99.median):>9}{_spread(p99):>20}"
            f"{duration(most.high):>9}{script:>9}{floor:>8}{len(result.samples_ns):>7}"
            f"{result.missed:>8}{result.doubled + result.strays:>7}"
        )
    return lines


def _spread(found: Measured) -> str:
    return f"{duration(found.low)}..{duration(found.high)}"


def target_lines(reached: Sequence[Reached]) -> list[str]:
    """One line for each target, with its verdict."""
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    late = "not judged: the venue was late"
    lines = []
    for target, spread, is_judged in reached:
        value = "-" if target.value is None else f"{target.value:.2f}{target.unit}"
        sign = "<=" if target.at_most else ">="
        rounds = "" if spread is None else f"{spread.low:.2f}..{spread.high:.2f}"
        limit = f"{sign} {target.limit:g}{target.unit}"
        verdict = words[target.is_reached] if is_judged or target.value is None else late
        lines.append(f"{target.text:52}{value:>14}{rounds:>18}   {limit:10} {verdict}")
    return lines


def waterfall(result: Result) -> list[str]:
    """Where a system's time went in its last run, hop by hop, in the order of a tick."""
    if result.last is None or not result.last.hops:
        return []
    head = f"{result.contender.text}: where the last run's time went ({result.profile})"
    lines = [f"{head:56}{'p50':>9}{'p90':>9}{'p99':>9}{'n':>9}"]
    latency_ns = result.last.paired.latency_ns
    whole = [_histogram("", WHOLE, latency_ns)] if latency_ns else []
    for hop in (*whole, *(hop for name in PATH for hop in result.last.hops if hop.name == name)):
        p50, p90, p99 = (duration(hop.percentile_ns(share)) for share in QUANTILES)
        lines.append(f"  {hop.meaning:54}{p50:>9}{p90:>9}{p99:>9}{hop.total:>9,}")
    return lines
