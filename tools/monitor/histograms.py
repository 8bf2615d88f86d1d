"""Latency over time: what the histograms of the role pages counted each second and each minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import ipc
from hft import counters
from hft.counters import HistogramSpec
from hft.graph import ROLES
from tools.latency.hdr import Counts
from tools.monitor.model import Hop

HISTORY_S: Final = 120
WINDOW_S: Final = 30
"""A recent percentile covers one to two of these."""


class _Track:
    """One histogram and what it was before."""

    def __init__(self, name: str, spec: HistogramSpec, page: ipc.RolePage) -> None:
        self._spec, self._page = spec, page
        self._last = self._young = self._old = page.histogram(spec.id)
        self._p50_ns: deque[int] = deque(maxlen=HISTORY_S)
        self._p99_ns: deque[int] = deque(maxlen=HISTORY_S)
        self._seconds = 0
        self._hop = Hop(name, spec.meaning, 0, 0, 0, 0, 0, 0, 0, (), ())

    def look(self) -> Hop:
        """Count one second on."""
        counts = self._page.histogram(self._spec.id)
        most_ns = self._page.histogram_max(self._spec.id)
        p50_ns, p99_ns, fresh = _percentiles(counts - self._last, most_ns)
        self._p50_ns.append(p50_ns)
        self._p99_ns.append(p99_ns)
        if fresh or not self._seconds:
            all_p50_ns, all_p99_ns, total = _percentiles(counts, most_ns)
            self._hop = self._hop._replace(
                total=total, p50_ns=all_p50_ns, p99_ns=all_p99_ns, max_ns=most_ns
            )
        recent_p50_ns, recent_p99_ns, recent_total = _percentiles(counts - self._old, most_ns)
        self._last = counts
        self._seconds += 1
        if self._seconds % WINDOW_S == 0:
            self._old, self._young = self._young, counts
        return self._hop._replace(
            recent_total=recent_total,
            recent_p50_ns=recent_p50_ns,
            recent_p99_ns=recent_p99_ns,
            p50_history_ns=tuple(self._p50_ns),
            p99_history_ns=tuple(self._p99_ns),
        )


def _percentiles(counts: Counts, most_ns: int) -> tuple[int, int, int]:
    """Median, p99 and number."""
    total = int(counts.sum())
    if not total:
        return 0, 0, 0
    p50_ns, p99_ns = (min(ipc.histogram_percentile(counts, q), most_ns) for q in (0.5, 0.99))
    return p50_ns, p99_ns, total


class Histograms:
    """All histograms of a system; ``look`` is called once a second."""

    def __init__(self, pages: Mapping[str, ipc.RolePage]) -> None:
        self._tracks = [
            _Track(spec.name if spec.role else f"{spec.name}.{role}", spec, pages[role])
            for spec in counters.HISTOGRAMS
            for role in ((spec.role,) if spec.role else ROLES)
        ]

    def look(self) -> tuple[Hop, ...]:
        """Count one second on."""
        return tuple(track.look() for track in self._tracks)
