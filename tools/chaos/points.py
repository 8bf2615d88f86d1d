"""The named points at which a role may be struck, and the words that arm them.

The words lie in a file of the run directory that every process of the system maps: one for each
point. The harness arms a word; the process that comes by stores the time and strikes itself.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

POINTS: Final = (
    "feed.mid_record",
    "feed.before_publish",
    "strategy.before_offer",
    "risk.after_decide",
    "risk.after_publish",
    "execution.before_journal",
    "execution.mid_journal_record",
    "execution.after_journal",
    "execution.after_send",
    "execution.after_ack",
    "execution.between_journal_and_record",
    "execution.between_record_and_row",
    "execution.in_cancel_all",
    "account.before_cells",
    "account.between_cells",
    "account.mid_cell",
    "account.before_commit",
    "recorder.mid_copy",
    "paper.before_record",
    "paper.between_record_and_row",
)
"""Points of the ordinary course, each the name of its role and of what is half done there."""
CANCEL_ALL: Final = "execution.in_cancel_all"
"""Reached only while execution cancels on its own authority: somebody has to halt it."""
FENCE: Final = "execution.before_fence"
"""Only for trials: between the making of an order and the last look before it is sent."""
NAMES: Final = (*POINTS, FENCE)
IDLE, KILL, STOP = 0, 1, 2
"""States of a word; anything above is the monotonic time at which the point was reached."""
FILE: Final = "chaos.points"
WORD_BYTES: Final = 8


def role_of(point: str) -> str:
    """The role whose work the point is in."""
    return point.partition(".")[0]


class Words:
    """One word for each point, shared by the harness and all processes."""

    def __init__(self, run_dir: Path) -> None:
        path = run_dir / FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, len(NAMES) * WORD_BYTES)
            self._map = mmap.mmap(descriptor, len(NAMES) * WORD_BYTES)
        finally:
            os.close(descriptor)
        self.words = memoryview(self._map).cast("Q")
        """Aligned and of 8 bytes: each load and store is one step."""

    def arm(self, point: str, how: int = KILL) -> None:
        """Whoever comes by next is struck."""
        self.words[NAMES.index(point)] = how

    def disarm(self, point: str) -> None:
        """Nobody is struck there any more."""
        self.words[NAMES.index(point)] = IDLE

    def reached_ns(self, point: str) -> int:
        """When it was reached since it was armed; 0: not yet."""
        value = self.words[NAMES.index(point)]
        return value if value > STOP else 0

    def close(self) -> None:
        """Unmap."""
        self.words.release()
        self._map.close()
