"""Latency over time: what the histograms of the role pages counted each second and each minute.

Few of a histogram's buckets change in a second: counts are compared octave by octave as bytes, and
only octaves that changed are added up. That is cheaper than arrays, and nothing has to be loaded.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import sub
from typing import Final, NamedTuple

import ipc
from hft import counters
from hft.counters import HistogramSpec
from tools.monitor.model import Hop

HISTORY_S: Final = 120
WINDOW_S: Final = 30
"""A recent percentile covers one to two of these."""
FEW: Final = 200
"""Percentiles of all are found anew when one more in so many was counted."""
OCTAVE: Final = 128
"""Buckets that are looked at together: values from one power of two to the next."""
_WORDS: Final = struct.Struct(f"={OCTAVE}Q")
_EMPTY: Final = bytes(_WORDS.size)


class Counts(NamedTuple):
    """A histogram at some instant: octaves that nothing came to are the same objects as before."""

    octaves: tuple[bytes, ...]
    totals: tuple[int, ...]
    """How many were counted in each octave."""

    def after(self, raw: bytes) -> Counts:
        """What the raw buckets count, most of which are as they were; those left out are, too."""
        octaves, totals = list(self.octaves), list(self.totals)
        size = _WORDS.size
        for number in range(len(raw) // size):
            new = raw[number * size : (number + 1) * size]
            if new != octaves[number]:
                octaves[number], totals[number] = new, sum(_WORDS.unpack(new))
        return Counts(tuple(octaves), tuple(totals))

    def since(self, before: Counts) -> Since:
        """What was counted from ``before`` until now."""
        return Since(self, before, tuple(map(sub, self.totals, before.totals)))


class Since(NamedTuple):
    """What a histogram counted between two instants."""

    now: Counts
    before: Counts
    totals: tuple[int, ...]

    def percentiles_ns(self, *shares: float) -> tuple[int, ...]:
        """As ``ipc.histogram_percentile``, one for each share, and how many were counted."""
        sums = list(accumulate(self.totals))
        total = sums[-1]
        if not total:
            return (0,) * (len(shares) + 1)
        return *(self._value_ns(sums, max(1, math.ceil(q * total))) for q in shares), total

    def _value_ns(self, sums: Sequence[int], rank: int) -> int:
        """The value that so many are not above; ``sums`` counts up to the end of each octave."""
        octave = bisect_left(sums, rank)
        rank -= sums[octave] - self.totals[octave]
        buckets: Iterable[int] = _WORDS.unpack(self.now.octaves[octave])
        if (old := self.before.octaves[octave]) is not _EMPTY:
            buckets = map(sub, buckets, _WORDS.unpack(old))
        return ipc.bucket_value_max(octave * OCTAVE + bisect_left(list(accumulate(buckets)), rank))


_NUMBER: Final = ipc.layout.HISTOGRAM_BUCKETS // OCTAVE
NOTHING: Final = Counts((_EMPTY,) * _NUMBER, (0,) * _NUMBER)


class _Track:
    """One histogram and what it was before."""

    def __init__(self, name: str, spec: HistogramSpec, page: ipc.RolePage) -> None:
        self._spec, self._page = spec, page
        self._last = self._young = self._old = NOTHING.after(self._raw())
        self._p50_ns: deque[int] = deque(maxlen=HISTORY_S)
        self._p99_ns: deque[int] = deque(maxlen=HISTORY_S)
        self._seconds = self._due_total = 0
        self._hop = Hop(name, spec.meaning, 0, 0, 0, 0, 0, 0, 0, (), ())

    def _raw(self) -> bytes:
        """The buckets up to that of the largest value; there is nothing in those beyond."""
        octaves = min(_NUMBER, octave_of(self._page.histogram_max(self._spec.id)) + 1)
        return bytes(self._page.histogram_view(self._spec.id)[: octaves * _WORDS.size])

    def look(self) -> Hop:
        """Count one second on."""
        counts = self._last.after(self._raw())
        most_ns = self._page.histogram_max(self._spec.id)
        p50_ns, p99_ns, fresh = _percentiles(counts.since(self._last), most_ns)
        self._p50_ns.append(p50_ns)
        self._p99_ns.append(p99_ns)
        if fresh or not self._seconds:
            self._look_at_all(counts, most_ns)
        recent_p50_ns, recent_p99_ns, recent_total = _percentiles(counts.since(self._old), most_ns)
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

    def _look_at_all(self, counts: Counts, most_ns: int) -> None:
        """What was counted since the start: its percentiles hardly move once it is much."""
        total = sum(counts.totals)
        self._hop = self._hop._replace(total=total, max_ns=most_ns)
        if total >= self._due_total:
            self._due_total = total + total // FEW
            p50_ns, p99_ns, _ = _percentiles(counts.since(NOTHING), most_ns)
            self._hop = self._hop._replace(p50_ns=p50_ns, p99_ns=p99_ns)


def octave_of(value_ns: int) -> int:
    """Number of the octave whose buckets count a value: the inverse of ``ipc.bucket_value_max``."""
    return max(0, value_ns.bit_length() - OCTAVE.bit_length() + 1)


def _percentiles(counts: Since, most_ns: int) -> tuple[int, int, int]:
    """Median, p99 and number."""
    p50_ns, p99_ns, total = counts.percentiles_ns(0.5, 0.99)
    return min(p50_ns, most_ns), min(p99_ns, most_ns), total


class Histograms:
    """All histograms of a system; ``look`` is called once a second."""

    def __init__(self, pages: Mapping[str, ipc.RolePage]) -> None:
        self._tracks = [
            _Track(spec.name if spec.role else f"{spec.name}.{role}", spec, pages[role])
            for spec in counters.HISTOGRAMS
            for role in ((spec.role,) if spec.role else pages)
        ]

    def look(self) -> tuple[Hop, ...]:
        """Count one second on."""
        return tuple(track.look() for track in self._tracks)
