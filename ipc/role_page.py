"""What a role says of itself: cursors, pending batches, heartbeat, counters, histograms.

One page per role. Only that role writes it; it outlives the process, so that a successor finds
where its predecessor stood.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from ipc import layout
from ipc.layout import SegmentKind, SegmentSpec
from ipc.page_stores import PageStores
from ipc.segment import Segment
from ipc.words import Cursor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NS_PER_S: Final = 1_000_000_000


class RolePage(PageStores):
    """A role's page: ``RolePage.attach`` maps it."""

    @staticmethod
    def spec(name: str) -> SegmentSpec:
        """Layout of the page segment called ``name``."""
        return SegmentSpec(name, SegmentKind.PAGE, layout.PAGE_BYTES, 1)

    @classmethod
    def attach(
        cls,
        system: str,
        name: str,
        *,
        writable: bool = False,
        owner_uid: int | None = None,
        resident: bool = True,
    ) -> RolePage:
        """Map the page: for writing only in the role's own process.

        Args and errors are those of ``Segment.attach``.
        """
        spec = cls.spec(name)
        segment = Segment.attach(
            system, spec, writable=writable, owner_uid=owner_uid, resident=resident
        )
        return cls(segment)

    @property
    def name(self) -> str:
        """Name of the page's segment."""
        return self.segment.name

    @property
    def epoch(self) -> int:
        """Number of the role's present life; larger than that of every earlier life."""
        return self.segment.epoch

    @property
    def pid(self) -> int:
        """Process of the present or last life; 0: the role never started."""
        return self.segment.writer_pid

    def adopt(self) -> int:
        """Begin a new life of the role and return its epoch.

        The epoch is at least the wall clock's seconds, so that a lost page never repeats one.

        Raises:
            ReadOnlyError: The page is mapped for reading.
            WriterTakenError: Another living process is this role.
        """
        epoch = self.segment.acquire_writer(epoch_min=time.time_ns() // _NS_PER_S)
        self.beat(time.monotonic_ns())
        return epoch

    def fail(self, text: str) -> None:
        """Leave the reason of the end for others to read, cut to 256 bytes of UTF-8."""
        self.segment.require_writable()
        raw = text.encode(errors="replace")[: layout.PAGE_ERROR_BYTES]
        start = layout.ITEMS_OFFSET + layout.PAGE_ERROR_OFFSET
        self.segment.buffer[start : start + layout.PAGE_ERROR_BYTES] = raw.ljust(
            layout.PAGE_ERROR_BYTES, b"\0"
        )

    @property
    def error(self) -> str:
        """What ``fail`` was told last, in this life or an earlier one; empty: never anything."""
        start = layout.ITEMS_OFFSET + layout.PAGE_ERROR_OFFSET
        raw = bytes(self.segment.buffer[start : start + layout.PAGE_ERROR_BYTES])
        return raw.rstrip(b"\0").decode(errors="ignore")

    def cursor(self, index: int) -> Cursor:
        """Cursor ``index`` of the page, on a cache line of its own.

        Raises:
            IndexError: There is no such cursor.
        """
        if not 0 <= index < layout.CURSOR_COUNT:
            raise IndexError(f"there are {layout.CURSOR_COUNT} cursors, there is no {index}")
        offset = layout.PAGE_CURSORS_OFFSET + index * layout.CURSOR_BYTES
        return Cursor.at(self.segment, layout.ITEMS_OFFSET + offset)

    def histogram(self, index: int) -> NDArray[np.uint64]:
        """A copy of a histogram's counts.

        Raises:
            IndexError: There is no such histogram.
        """
        import numpy as np  # only readers of whole histograms pay for its start

        return np.frombuffer(self.histogram_view(index), dtype=np.uint64).copy()

    def histogram_view(self, index: int) -> memoryview:
        """The counts themselves, 64-bit words that go on counting, as read-only bytes.

        Raises:
            IndexError: There is no such histogram.
        """
        if not 0 <= index < layout.HISTOGRAM_COUNT:
            raise IndexError(f"there are {layout.HISTOGRAM_COUNT} histograms, there is no {index}")
        size = layout.HISTOGRAM_BUCKETS * 8
        start = layout.ITEMS_OFFSET + layout.PAGE_HISTOGRAMS_OFFSET + index * size
        return self.segment.buffer[start : start + size].toreadonly()

    def close(self) -> None:
        """Unmap the page once nothing uses it any more."""
        self.segment.close()


def histogram_percentile(counts: NDArray[np.uint64], q: float) -> int:
    """Value in ns below or at which the share ``q`` of all counts lies; 0 without counts.

    Args:
        counts: As from ``RolePage.histogram``; histograms may be added to each other.
        q: A share: 0.5 for the median, 0.999 for p99.9.

    Raises:
        ValueError: ``q`` is not within 0 and 1.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q is a share between 0 and 1, not {q}")
    cumulated = counts.cumsum()
    total = int(cumulated[-1])
    if total == 0:
        return 0
    rank = max(1, math.ceil(q * total))
    return bucket_value_max(int(cumulated.searchsorted(rank)))


def bucket_value_max(index: int) -> int:
    """Largest value that a histogram counts in bucket ``index``: HdrHistogram reports this one."""
    shift = max((index >> 7) - 1, 0)
    sub_bucket = index - (shift << 7)
    return ((sub_bucket + 1) << shift) - 1
