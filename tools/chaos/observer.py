"""Everything that went through the order rings, collected while it happens."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import ipc
from hft import graph
from hft.config import Plan
from hft.records import SLOT_BYTES
from hft.roles.context import ring_spec

FOLLOWED: Final = (
    "intents.strategy",
    "intents.manual",
    "decisions",
    "journal",
    "executions",
    "executions.paper",
)
AT_ONCE: Final = 1_024


class _Follower:
    """An observer of one ring from its first record on."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.segment = ipc.Segment.attach(plan.name, ring_spec(name))
        self.reader = ipc.RingReader(self.segment, bytearray(SLOT_BYTES), start_seq=1)
        self.chunks: list[bytes] = []
        self._into = bytearray(SLOT_BYTES * AT_ONCE)

    def poll(self) -> int:
        """Collect what is there; returns how many records."""
        total = 0
        while True:
            count = self.reader.next_many(self._into)
            if count:
                self.chunks.append(bytes(self._into[: count * SLOT_BYTES]))
                total += count
            elif not self.reader.lapped:
                return total


class Observer:
    """Copies of every record of the order rings; whoever observes is never waited for."""

    def __init__(self, plan: Plan) -> None:
        self._followers = {name: _Follower(plan, name) for name in FOLLOWED}

    def poll(self) -> None:
        """Collect what came since the last look."""
        for follower in self._followers.values():
            follower.poll()

    def newest_seq(self, ring: str) -> int:
        """The last record of a ring, seen or not."""
        return self._followers[ring].reader.newest_seq

    def has_news(self, ring: str) -> bool:
        """Whether a record came since the last ``poll``."""
        return self._followers[ring].reader.has_work

    def lost(self, ring: str) -> int:
        """Records that were overwritten before they were collected."""
        return self._followers[ring].reader.lost

    def records(self, ring: str) -> NDArray[Any]:
        """All records of a ring, oldest first."""
        (spec,) = graph.ring(ring).records
        return np.frombuffer(b"".join(self._followers[ring].chunks), dtype=spec.dtype)

    def close(self) -> None:
        """Detach."""
        for follower in self._followers.values():
            del follower.reader
            follower.segment.close()
