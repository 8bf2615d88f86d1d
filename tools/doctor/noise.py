"""`hft doctor --noise`: how long each core is taken away from a loop that never gives it up.

First the hot cores together, as they would be used, with the others left to the host; then those.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Final

import msgspec
import numpy as np

from hft.errors import CheckFailedError
from hft.units import NS_PER_S
from ipc import bucket_value_max, histogram_percentile
from ipc.layout import HISTOGRAM_BUCKETS
from tools.doctor.finding import Finding, cpu_text, fine, grouped, note, problem, warning
from tools.doctor.spin import Gaps
from tools.latency import hdr
from tools.latency.drawing import duration
from tools.system.child import python_command, python_environment

NOTABLE_NS: Final = 10_000
"""A gap that a trader notices: as long as the whole way from tick to order."""
LONG_NS: Final = 1_000_000
GRACE_S: Final = 20.0
SHARES: Final = (0.5, 0.99, 0.999)
_BUCKET_MAX: Final = np.array([bucket_value_max(i) for i in range(HISTOGRAM_BUCKETS)])


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps of one core, ns."""

    cpu: int
    is_hot: bool
    seconds: float
    turns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    notable_per_s: float
    """Gaps of 10 µs and more, each second."""
    lost: float
    """Share of the time that went to gaps of 10 µs and more."""
    switches: int
    """How often another program got the core."""
    histogram: str
    """All gaps in HdrHistogram's V2 compressed encoding."""


def measure(hot: Iterable[int], others: Iterable[int], seconds: float) -> list[Noise]:
    """Spin on the hot cores together, then on the others, ``seconds`` each.

    Raises:
        CheckFailedError: a core cannot be used.
    """
    hot_cpus = sorted(hot)
    found = [summarise(gaps, is_hot=True) for gaps in _spin(hot_cpus, seconds)]
    return found + [summarise(gaps, is_hot=False) for gaps in _spin(sorted(others), seconds)]


def _spin(cpus: Sequence[int], seconds: float) -> list[Gaps]:
    with ExitStack() as stack:
        children = []
        for cpu in cpus:
            child = subprocess.Popen(
                python_command("tools.doctor.spin", str(cpu), str(seconds)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=python_environment(),
            )
            stack.enter_context(child)
            stack.callback(child.kill)  # before the wait at the end of the context: Ctrl-C ends it
            children.append((cpu, child))
        found = []
        for cpu, child in children:
            try:
                output, errors = child.communicate(timeout=seconds + GRACE_S)
            except subprocess.TimeoutExpired:
                raise CheckFailedError(
                    f"cpu {cpu} gave the loop no time at all within {GRACE_S:g} s.",
                    remedy="Does a real-time process spin there? See `top` with the key 1.",
                ) from None
            if child.returncode != 0:
                last = errors.decode(errors="replace").strip().rpartition("\n")[2]
                raise CheckFailedError(
                    f"cpu {cpu} could not be measured: {last or child.returncode}.",
                    remedy="Is it online, and may this process use it?",
                )
            found.append(msgspec.json.decode(output, type=Gaps))
        return found


def summarise(gaps: Gaps, *, is_hot: bool) -> Noise:
    """What one core showed, as percentiles and shares."""
    counts = np.zeros(HISTOGRAM_BUCKETS, dtype=np.uint64)
    values = np.array([*gaps.short, *gaps.long_ns], dtype=np.int64)
    times = np.array([*gaps.short.values(), *[1] * len(gaps.long_ns)], dtype=np.uint64)
    buckets = np.minimum(_BUCKET_MAX.searchsorted(values), HISTOGRAM_BUCKETS - 1)
    np.add.at(counts, buckets, times)
    notable = [gap for gap in gaps.long_ns if gap >= NOTABLE_NS]
    elapsed_s = max(gaps.elapsed_ns, 1) / NS_PER_S
    p50, p99, p999 = (histogram_percentile(counts, share) for share in SHARES)
    return Noise(
        cpu=gaps.cpu,
        is_hot=is_hot,
        seconds=elapsed_s,
        turns=int(times.sum()),
        p50_ns=p50,
        p99_ns=p99,
        p999_ns=p999,
        max_ns=int(values.max(initial=0)),
        notable_per_s=len(notable) / elapsed_s,
        lost=sum(notable) / max(gaps.elapsed_ns, 1),
        switches=gaps.switches,
        histogram=hdr.encode(counts),
    )


def table(found: Sequence[Noise]) -> list[str]:
    """What each core showed, one line each."""
    lines = [f"  {'cpu':<8}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}{'≥ 10 µs':>12}{'lost':>10}"]
    for one in found:
        name = f"{one.cpu} hot" if one.is_hot else str(one.cpu)
        times = "".join(
            f"{duration(value):>9}" for value in (one.p50_ns, one.p99_ns, one.p999_ns, one.max_ns)
        )
        lines.append(f"  {name:<8}{times}{one.notable_per_s:>10,.0f}/s{one.lost:>10.3%}")
    lines.append("  p50 is a turn of the loop, in Python; what is longer, somebody else had.")
    return lines


def judge(found: Sequence[Noise]) -> list[Finding]:
    """What the hot cores' worst gaps mean."""
    findings = []
    for one in found:
        if not one.is_hot:
            continue
        fact = f"cpu {one.cpu}: longest gap {duration(one.max_ns)} in {one.seconds:.0f} s"
        if one.max_ns < NOTABLE_NS * 10:
            findings.append(fine("noise", fact))
        else:
            others = f", {one.switches} times by another program" if one.switches else ""
            verdict = warning if one.max_ns < 10 * LONG_NS else problem
            findings.append(
                verdict(
                    "noise",
                    fact,
                    f"The core was taken away {one.notable_per_s:,.0f} times a second for 10 µs or"
                    f" more{others}. What the checks above found is where it comes from.",
                )
            )
    quiet = min(found, key=lambda one: one.lost, default=None)
    if quiet is not None and not quiet.is_hot:
        findings.append(
            note("noise", f"cpu {cpu_text([quiet.cpu])} is quieter than those of the plan")
        )
    return list(grouped("CPU", findings))


def cores(allowed: Iterable[int], hot: Iterable[int]) -> tuple[list[int], list[int]]:
    """Cpus to measure: the hot ones that may be used, and the rest."""
    usable = set(allowed) & os.sched_getaffinity(0) | set(hot)
    return sorted(set(hot)), sorted(usable - set(hot))
