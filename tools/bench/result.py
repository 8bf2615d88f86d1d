"""From samples to the table: percentiles, medians over repetitions, and what was to be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tools.bench.pair import Repetition
from tools.bench.row import Row

QUANTILES: Final = (0.5, 0.99, 0.999)


class Latency(NamedTuple):
    """One-way nanoseconds: each percentile is the median of the repetitions' own."""

    p50: float
    p99: float
    p999: float
    max: float
    n: int


class Target(NamedTuple):
    """Something the rings are to reach, as the table states it."""

    text: str
    value: float | None
    """None: a row it needs was not measured."""
    limit: float
    at_most: bool
    unit: str

    @property
    def is_reached(self) -> bool | None:
        """None: not measured."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass
class Result:
    """All repetitions of one row, reduced as they come in."""

    row: Row
    tight: list[Latency] = field(default_factory=list)
    paced: list[Latency] = field(default_factory=list)
    records_per_s: list[float] = field(default_factory=list)
    checksum: int = 0
    preempted: int = 0

    def add(self, repetition: Repetition) -> None:
        """Take one repetition in; its samples are not kept."""
        self.tight.append(_latency(repetition.round_trip_ns / 2))
        self.paced.append(_latency(repetition.paced_ns))
        self.records_per_s.append(repetition.records_per_s)
        self.checksum = (self.checksum + repetition.checksum) % 2**64
        self.preempted += repetition.preempted

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": self.row.path,
            "wait": self.row.wait,
            "latency_ns": combined(self.tight)._asdict(),
            "paced_latency_ns": combined(self.paced)._asdict(),
            "records_per_s": median(self.records_per_s),
            "repetitions": len(self.tight),
            "checksum": f"{self.checksum:016x}",
            "preempted": self.preempted,
        }


def _latency(samples_ns: npt.NDArray[Any]) -> Latency:
    p50, p99, p999 = np.quantile(samples_ns, QUANTILES, method="inverted_cdf").tolist()
    return Latency(p50, p99, p999, float(samples_ns.max()), len(samples_ns))


def combined(repetitions: Sequence[Latency]) -> Latency:
    """Median of each percentile, greatest maximum, all samples."""
    return Latency(
        p50=median(each.p50 for each in repetitions),
        p99=median(each.p99 for each in repetitions),
        p999=median(each.p999 for each in repetitions),
        max=max(each.max for each in repetitions),
        n=sum(each.n for each in repetitions),
    )


def targets(results: Mapping[str, Result]) -> list[Target]:
    """What the rings are to reach, beside what they did reach."""
    return [
        Target("ours spinning p50 / C floor", _ratio(results, "spin", "floor"), 2.5, True, "x"),
        Target("iceoryx2 p50 / ours spinning", _ratio(results, "iceoryx2", "spin"), 15, False, "x"),
        Target(
            "multiprocessing.Queue p50 / ours spinning",
            _ratio(results, "queue", "spin"),
            100,
            False,
            "x",
        ),
        Target("records singly", _rate(results, "spin"), 8, False, " M/s"),
        Target("records in batches", _rate(results, "batch"), 40, False, " M/s"),
    ]


def _ratio(results: Mapping[str, Result], above: str, below: str) -> float | None:
    """Median of the ratios within one round: the host moves its cpus between rounds."""
    if above not in results or below not in results:
        return None
    pairs = zip(results[above].tight, results[below].tight, strict=True)
    return median(upper.p50 / lower.p50 for upper, lower in pairs)


def _rate(results: Mapping[str, Result], name: str) -> float | None:
    return median(results[name].records_per_s) / 1e6 if name in results else None


def table(results: Sequence[Result], absent: Sequence[Row]) -> list[str]:
    """Lines of the table; a row whose package is not installed says so."""
    head = (
        f"{'':43}{'tight loop, one way':^44}  {'one record per ms, cold caches':^33}",
        f"{'path':27}{'wait':16}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}{'n':>8}"
        f"  {'p50':>9}{'p99':>9}{'p99.9':>9}{'n':>6}  {'records/s':>10}  {'checksum':>8}",
    )
    lines = [*head, "-" * len(head[1])]
    for result in results:
        tight, paced = combined(result.tight), combined(result.paced)
        rate = median(result.records_per_s)
        lines.append(
            f"{result.row.path:27}{result.row.wait:16}"
            f"{_time(tight.p50):>9}{_time(tight.p99):>9}{_time(tight.p999):>9}{_time(tight.max):>9}"
            f"{tight.n:>8}  {_time(paced.p50):>9}{_time(paced.p99):>9}{_time(paced.p999):>9}"
            f"{paced.n:>6}  {_per_s(rate):>10}  {result.checksum % 2**32:08x}"
        )
    lines += [
        f"{row.path:27}{row.wait:16}absent: {row.distribution} is not installed (extra bench)"
        for row in absent
    ]
    return lines


def target_lines(reached: Sequence[Target]) -> list[str]:
    """One line for each target, with its verdict."""
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    lines = []
    for target in reached:
        value = "-" if target.value is None else f"{target.value:.2f}{target.unit}"
        sign = "<=" if target.at_most else ">="
        limit = f"{target.limit:g}{target.unit}"
        lines.append(f"{target.text:44}{value:>12}  ({sign} {limit}): {words[target.is_reached]}")
    return lines


def _time(ns: float) -> str:
    if ns < 10_000:
        return f"{ns:.0f} ns"
    return f"{ns / 1e3:.1f} us" if ns < 1e6 else f"{ns / 1e6:.1f} ms"


def _per_s(rate: float) -> str:
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e6 else f"{rate / 1e3:.0f} k/s"
