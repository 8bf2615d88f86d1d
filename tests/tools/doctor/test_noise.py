"""The hiccup meter: gaps of a scripted clock, and one short look at the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import pytest

from hft.errors import CheckFailedError
from ipc.layout import HISTOGRAM_BUCKETS
from tools.doctor import noise, spin
from tools.latency import hdr


def gaps_of(steps: list[int]) -> spin.Gaps:
    """Gaps counted by a clock that advances by these steps."""
    times: Iterator[int] = accumulate(steps, initial=0)
    return spin.measure(3, sum(steps), clock=lambda: next(times))


def test_short_gaps_are_counted_and_long_ones_kept() -> None:
    gaps = gaps_of([100, 100, 120, 5_000, 100, 2_000_000])
    assert gaps.short == {100: 3, 120: 1}
    assert gaps.long_ns == [5_000, 2_000_000]
    assert gaps.elapsed_ns == 2_005_420


def test_what_is_reported_is_what_was_counted() -> None:
    found = noise.summarise(gaps_of([100] * 990 + [20_000] * 9 + [3_000_000]), is_hot=True)
    assert (found.turns, found.p50_ns, found.max_ns) == (1_000, 100, 3_000_000)
    assert 19_000 <= found.p999_ns <= 21_000
    elapsed_ns = 990 * 100 + 9 * 20_000 + 3_000_000
    assert found.lost == pytest.approx((9 * 20_000 + 3_000_000) / elapsed_ns)
    assert found.notable_per_s == pytest.approx(10 / elapsed_ns * 1e9)
    counts = hdr.decode(found.histogram, HISTOGRAM_BUCKETS)
    assert int(counts.sum()) == 1_000
    assert counts[100] == 990


def test_a_gap_longer_than_the_histogram_is_still_counted() -> None:
    found = noise.summarise(gaps_of([100, 2**40]), is_hot=False)
    assert found.max_ns == 2**40
    counts = hdr.decode(found.histogram, HISTOGRAM_BUCKETS)
    assert int(counts.sum()) == 2
    assert int(np.flatnonzero(counts)[-1]) == HISTOGRAM_BUCKETS - 1


@pytest.mark.parametrize(
    ("longest_ns", "verdict"), [(50_000, "fine"), (500_000, "warning"), (50_000_000, "problem")]
)
def test_the_longest_gap_of_a_hot_core_decides(longest_ns: int, verdict: str) -> None:
    (finding,) = noise.judge([noise.summarise(gaps_of([100, longest_ns]), is_hot=True)])
    assert finding.verdict == verdict


def test_a_quieter_core_outside_of_the_plan_is_pointed_out() -> None:
    loud = noise.summarise(gaps_of([100, 500_000]), is_hot=True)
    quiet = noise.summarise(gaps_of([100] * 100), is_hot=False)
    assert "is quieter" in noise.judge([loud, quiet])[-1].fact


def test_real_cores_are_measured_in_processes_of_their_own() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    hot, others = noise.cores(allowed, allowed[-1:])
    found = noise.measure(hot, others, 0.1)
    assert [one.cpu for one in found] == [*hot, *others]
    assert [one.is_hot for one in found] == [True] + [False] * len(others)
    assert all(one.turns > 100 and one.max_ns >= one.p50_ns > 0 for one in found)
    table = noise.table(found)
    assert table[1].startswith(f"  {allowed[-1]} hot")
    assert all(len(line) <= 80 for line in table)


def test_a_core_that_cannot_be_used_is_named() -> None:
    with pytest.raises(CheckFailedError, match="cpu 4000 could not be measured"):
        noise.measure([4000], [], 0.1)
