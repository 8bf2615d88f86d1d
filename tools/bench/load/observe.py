"""What the system published while it was under load: seen from outside, in its market ring."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

import ipc
from hft import counters
from hft.config import Plan
from hft.counters import CounterSpec
from hft.records import SLOT_BYTES, TOP_OF_BOOK, Kind
from hft.roles.context import ring_spec
from tools.system.segments import attach_page

RECORDS_MAX: Final = 8_192
FAULTS: Final = (
    counters.BACK_PRESSURE,
    counters.LAPPED,
    counters.GAPS,
    counters.BOOK_MISMATCHES,
    counters.GARBAGE,
    counters.RECONNECTS,
    counters.STALE,
    counters.CROSSED,
    counters.PLUGIN_ERRORS,
    counters.UNRESOLVED,
    counters.DROPPED,
)
"""What must not happen under load, summed over all roles."""


class Published(NamedTuple):
    """The tickers that became records."""

    venue_seq: npt.NDArray[np.uint64]
    """The venue's update id."""
    publish_ns: npt.NDArray[np.int64]
    """Monotonic time at which everybody could see it."""
    unseen: int
    """Records that this observer was too slow to see."""


class Counts(NamedTuple):
    """Counters of a system's pages."""

    frames: int
    """Market frames that the feed decoded."""
    records: int
    """Market records that it published."""
    rehearsals: int
    faults: dict[str, int]

    def since(self, before: Counts) -> Counts:
        """What was counted after ``before``."""
        return Counts(
            self.frames - before.frames,
            self.records - before.records,
            self.rehearsals - before.rehearsals,
            {name: count - before.faults[name] for name, count in self.faults.items()},
        )


class Watch:
    """Follows the market ring, and reads the counters of all roles."""

    def __init__(self, plan: Plan) -> None:
        self._segment = ipc.Segment.attach(plan.name, ring_spec("market"))
        self._reader = ipc.RingReader(self._segment, bytearray(SLOT_BYTES))
        self._pages = {role: attach_page(plan, role) for role in plan.roles}
        self._buffer = np.zeros(RECORDS_MAX, TOP_OF_BOOK.dtype)
        self._seqs: list[npt.NDArray[np.uint64]] = []
        self._times_ns: list[npt.NDArray[np.int64]] = []

    def read(self) -> None:
        """Take in what is new."""
        while True:
            count = self._reader.next_many(self._buffer.view(np.uint8).data)
            tops = self._buffer[:count]
            tops = tops[(tops["kind"] == Kind.TOP_OF_BOOK) & (tops["is_book"] == 0)]
            self._seqs.append(tops["venue_seq"].copy())
            self._times_ns.append(tops["publish_ns"].copy())
            if not count and not self._reader.lapped:
                return

    def counts(self) -> Counts:
        """The counters as they are."""
        feed = self._pages["feed"]
        return Counts(
            feed.counter(counters.FRAMES.id),
            feed.counter(counters.RECORDS.id),
            self._sum(counters.REHEARSALS),
            {spec.name: self._sum(spec) for spec in FAULTS},
        )

    def published(self) -> Published:
        """Everything that was taken in."""
        return Published(
            np.concatenate(self._seqs), np.concatenate(self._times_ns), self._reader.lost
        )

    def close(self) -> None:
        """Detach."""
        self._segment.close()
        for page in self._pages.values():
            page.close()

    def _sum(self, spec: CounterSpec) -> int:
        return sum(page.counter(spec.id) for page in self._pages.values())
