"""From the fine buckets of a role page to the few that Prometheus is given."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from hft.units import NS_PER_S
from ipc import bucket_value_max, layout
from tools.latency.hdr import Counts

UPPER_NS: Final = (
    *(step * 10**power // 10 for power in range(3, 9) for step in (10, 25, 50)),
    NS_PER_S,
)
"""Upper bounds: 1, 2.5 and 5 of every power of ten from 1 µs on, up to 1 s."""
LABELS: Final = (*(f"{upper_ns / NS_PER_S:g}" for upper_ns in UPPER_NS), "+Inf")
"""The bounds in seconds, as the ``le`` label has them."""
_VALUES_MAX: Final = np.array(
    [bucket_value_max(index) for index in range(layout.HISTOGRAM_BUCKETS)], dtype=np.uint64
)
_MIDDLES: Final = (_VALUES_MAX + np.concatenate((np.zeros(1, np.uint64), _VALUES_MAX[:-1] + 1))) / 2
_ENDS: Final = np.searchsorted(_VALUES_MAX, np.array(UPPER_NS, np.uint64), side="right")
"""For each bound, how many of the page's buckets lie below it in whole."""


class Coarse(NamedTuple):
    """One histogram as Prometheus takes it."""

    buckets: list[tuple[str, float]]
    """Bound in seconds and how many values were at most that; a value of the one fine bucket that
    a bound cuts (0.8 % wide) counts for the next bound."""
    sum_s: float
    """Estimated: every value counts as the middle of its fine bucket."""


def coarsen(counts: Counts) -> Coarse:
    """The counts of a page's histogram in the bounds above; none is lost, none counted twice."""
    cumulated = np.concatenate((np.zeros(1, np.uint64), counts.cumsum()))
    totals = [float(cumulated[end]) for end in _ENDS] + [float(cumulated[-1])]
    sum_s = float(counts @ _MIDDLES) / NS_PER_S
    return Coarse(list(zip(LABELS, totals, strict=True)), sum_s)
