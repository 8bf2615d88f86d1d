"""The histograms of a running system, copied from its role pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hft import counters
from hft.config import Plan
from ipc import histogram_percentile
from tools.latency.hdr import Counts
from tools.system.segments import attach_page

PERCENTILES: Final = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Hop:
    """One histogram: what it measures, its counts, its largest value (exact)."""

    name: str
    role: str
    meaning: str
    counts: Counts
    max_ns: int

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return int(self.counts.sum())

    def percentile_ns(self, share: float) -> int:
        """Value at or below which the share lies; 0 without counts."""
        return min(histogram_percentile(self.counts, share), self.max_ns)

    def since(self, before: Hop) -> Hop:
        """What was counted after ``before``; the maximum is that of the highest bucket used."""
        counts = self.counts - before.counts
        most = min(histogram_percentile(counts, 1.0), self.max_ns)
        return Hop(self.name, self.role, self.meaning, counts, most)


class Hops:
    """All histograms of a system, read-only."""

    def __init__(self, plan: Plan) -> None:
        self._pages = {role: attach_page(plan, role) for role in plan.roles}

    def read(self) -> tuple[Hop, ...]:
        """A copy of every histogram, used or not, in the order in which a tick meets them."""
        return tuple(
            self._hop(spec, role)
            for spec in counters.HISTOGRAMS
            for role in ((spec.role,) if spec.role else self._pages)
        )

    def _hop(self, spec: counters.HistogramSpec, role: str) -> Hop:
        page = self._pages[role]
        name = spec.name if spec.role else f"{spec.name}.{role}"
        return Hop(name, role, spec.meaning, page.histogram(spec.id), page.histogram_max(spec.id))

    def close(self) -> None:
        """Detach."""
        for page in self._pages.values():
            page.close()
