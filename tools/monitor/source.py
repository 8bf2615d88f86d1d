"""Reads a running system into snapshots; outlives the system and finds it again.

``hft down`` unlinks the segments: what is mapped stays readable, so a look never fails in the
middle. Twice a second it is asked whether the names still lead to the mapped memory.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft.errors import HftError, UnreachableError
from hft.units import NS_PER_S
from tools.monitor.attached import Attached
from tools.monitor.model import Lost, Snapshot
from tools.monitor.reading import Reading
from tools.system.places import supervisor_pid

RETRY_NS: Final = NS_PER_S // 2
"""So often it is asked whether the system is still there, or there again."""
SILENT_NS: Final = 3 * NS_PER_S
"""When no role has beaten for so long and nobody supervises them, the system is dead."""


class Source:
    """Snapshots of one system, life after life."""

    def __init__(self, run_dir: Path) -> None:
        """Attach for the first time.

        Raises:
            UnreachableError: nothing runs from there.
            IpcError: it is of another build, or another user's.
        """
        self.run_dir = run_dir
        try:
            self._reading: Reading | None = Reading(Attached(run_dir))
        except ipc.SegmentMissingError:
            raise UnreachableError(
                f"no system runs from {run_dir}: its shared memory is gone.",
                remedy="`hft up` starts one; `hft down` clears away what is left of this one.",
            ) from None
        self._life = 1
        self._last: Snapshot | None = None
        self._lost: Lost | None = None
        self._retry_ns = 0

    def poll(self, symbol: str = "") -> Snapshot:
        """Look once; ``symbol`` says whose book is wanted, empty: the first."""
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        if now_ns >= self._retry_ns:
            self._retry_ns = now_ns + RETRY_NS
            if self._reading is None:
                self._find_again()
            elif not self._reading.attached.is_current:
                self._lose(wall_ns, "taken down")
        if self._reading is None:
            assert self._last is not None
            assert self._lost is not None
            return replace(self._last, wall_ns=wall_ns, lost=self._lost)
        snapshot = self._reading.look(symbol, now_ns, wall_ns)
        self._last = replace(snapshot, life=self._life, lost=self._silence(now_ns, wall_ns))
        return self._last

    def _silence(self, now_ns: int, wall_ns: int) -> Lost | None:
        """The segments are there, but does anybody live in them?"""
        assert self._reading is not None
        beats_ns = [page.beat_ns for page in self._reading.attached.pages.values()]
        age_ns = now_ns - max(beats_ns)
        if age_ns < SILENT_NS or supervisor_pid(self.run_dir):
            return None
        return Lost(wall_ns - age_ns, "no heartbeat, nobody supervises it: `hft down` clears it")

    def _lose(self, wall_ns: int, why: str) -> None:
        assert self._reading is not None
        self._last = self._last or self._reading.look("", time.monotonic_ns(), wall_ns)
        self._reading.attached.close()
        self._reading = None
        self._lost = Lost(wall_ns, why)

    def _find_again(self) -> None:
        """Attach to the next life, if it is there and finished."""
        assert self._lost is not None
        try:
            self._reading = Reading(Attached(self.run_dir))
        except ipc.MismatchError as error:
            self._lost = self._lost._replace(why=error.message)
        except (HftError, ipc.IpcError, OSError, msgspec.MsgspecError):
            return  # not there yet, or being made at this moment
        else:
            self._lost = None
            self._life += 1

    def close(self) -> None:
        """Detach."""
        if self._reading is not None:
            self._reading.attached.close()
