"""The loop of `hft doctor --noise`: reads the clock on one core and counts the gaps.

    python -m tools.doctor.spin CPU SECONDS

A plain Python loop on purpose: it is what a role's loop is made of. One turn takes 100 to 200 ns,
which is the smallest gap there is; everything above is time that somebody else had the core.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

SHORT_NS: Final = 4_096
"""Gaps below are counted one by one; longer ones are rare and kept as they are."""
LONG_MAX: Final = 1_000_000
"""Longer gaps than so many would mean a machine that does nothing but interrupt: it ends then."""
NS_PER_S: Final = 1_000_000_000


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """What one core showed."""

    cpu: int
    elapsed_ns: int
    short: dict[int, int]
    """How often each gap below ``SHORT_NS`` was seen, by its length in ns."""
    long_ns: list[int]
    """Every longer gap, in order."""
    switches: int
    """How often another program got the core (involuntary context switches)."""


def measure(cpu: int, duration_ns: int, clock: Callable[[], int] = time.perf_counter_ns) -> Gaps:
    """Spin until the time is over. The process has to be on the cpu already."""
    counts = [0] * SHORT_NS
    long_ns: list[int] = []
    was_collecting = gc.isenabled()
    gc.disable()
    switches = _switches()
    begun = last = clock()
    end = begun + duration_ns
    while last < end:
        now = clock()
        gap = now - last
        last = now
        if gap < SHORT_NS:
            counts[gap] += 1
        else:
            long_ns.append(gap)
            if len(long_ns) >= LONG_MAX:
                break
    if was_collecting:
        gc.enable()
    return Gaps(
        cpu=cpu,
        elapsed_ns=last - begun,
        short={gap: count for gap, count in enumerate(counts) if count},
        long_ns=long_ns,
        switches=_switches() - switches,
    )


def _switches() -> int:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name == "nonvoluntary_ctxt_switches":
                return int(value)
    return 0


def main(cpu_text: str, seconds_text: str) -> None:
    """Measure one core, and print what was found as JSON."""
    cpu = int(cpu_text)
    os.sched_setaffinity(0, {cpu})
    gaps = measure(cpu, int(float(seconds_text) * NS_PER_S))
    sys.stdout.buffer.write(msgspec.json.encode(gaps))


if __name__ == "__main__":
    main(*sys.argv[1:])
