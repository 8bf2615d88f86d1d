"""Fine counts in coarse buckets: none lost, none counted twice, none below a bound it is above."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hft.units import NS_PER_S
from ipc import bucket_value_max, layout
from tools.metrics.buckets import LABELS, UPPER_NS, coarsen

UPPERS = np.array([bucket_value_max(index) for index in range(layout.HISTOGRAM_BUCKETS)])
DURATIONS = st.lists(st.integers(0, 2**36 - 1), max_size=100)


def counted(values: list[int]) -> np.ndarray:
    counts = np.zeros(layout.HISTOGRAM_BUCKETS, dtype=np.uint64)
    for value in values:
        counts[np.searchsorted(UPPERS, value)] += 1
    return counts


def test_there_are_about_twenty_from_a_microsecond_to_a_second() -> None:
    assert LABELS[:4] == ("1e-06", "2.5e-06", "5e-06", "1e-05")
    assert LABELS[-3:] == ("0.5", "1", "+Inf")
    assert len(LABELS) == 20
    assert [float(label) for label in LABELS] == sorted(float(label) for label in LABELS)


@given(DURATIONS)
def test_every_value_is_counted_once(values: list[int]) -> None:
    buckets, _ = coarsen(counted(values))
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == len(values)


@given(DURATIONS)
def test_a_bound_counts_no_value_above_it_and_misses_few_below(values: list[int]) -> None:
    buckets, _ = coarsen(counted(values))
    for upper_ns, (_, count) in zip(UPPER_NS, buckets, strict=False):
        assert count <= sum(value <= upper_ns for value in values)
        assert count >= sum(value <= upper_ns * 0.99 for value in values)


@given(DURATIONS)
def test_the_sum_is_right_within_a_percent(values: list[int]) -> None:
    _, sum_s = coarsen(counted(values))
    total_s = sum(values) / NS_PER_S
    assert abs(sum_s - total_s) <= 0.01 * total_s + 1e-9 * len(values)
