"""The soak: load without faults, and whether every process stays as large as it is."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft.units import NS_PER_S
from tools.system.assembly import System

SAMPLE_EVERY_NS: Final = NS_PER_S
PARTS: Final = 6
"""The second sixth of the time is held against the last one: the first one warms up."""
GROWTH_MAX: Final = 0.02
KIB: Final = 1_024
FLAT: Final = "memory and descriptors stay flat"


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one process, of the second and of the last sixth of the time."""

    early: float
    late: float

    @property
    def share(self) -> float:
        """Growth as a part of the early value."""
        return (self.late - self.early) / self.early if self.early else 0.0


class ProcessGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """What a process holds."""

    memory_bytes: Growth
    """Medians of the resident memory of its own: shared segments have a fixed size."""
    descriptors: Growth
    """The fewest: connections to the venue come and go with what there is to ask, a leak stays."""
    lives: int = 1
    """What is said is said of the last one. Nobody strikes here: more than one is a fault."""


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a soak."""

    samples: int
    processes: dict[str, ProcessGrowth]
    segments: Growth


class Soak:
    """Samples every process of a system once a second."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._sampled_ns = 0
        names = [child.plan.name for child in system.supervisor.children]
        self._pids: dict[str, list[int]] = {name: [] for name in names}
        self._memory: dict[str, list[int]] = {name: [] for name in names}
        self._descriptors: dict[str, list[int]] = {name: [] for name in names}
        self._segments: list[int] = []

    def poll(self, now_ns: int) -> None:
        """Take a sample when one is due."""
        if now_ns - self._sampled_ns < SAMPLE_EVERY_NS:
            return
        self._sampled_ns = now_ns
        for child in self._system.supervisor.children:
            with contextlib.suppress(OSError):  # it has just ended: the supervisor tells
                self._sample(child.plan.name, child.pid)
        self._segments.append(len(ipc.list_segments(self._system.plan.name)))

    def _sample(self, name: str, pid: int) -> None:
        own_bytes, descriptors = _own_bytes(pid), _descriptors(pid)
        if not own_bytes:
            return  # it has ended and is not buried yet
        if pid not in self._pids[name]:
            self._pids[name].append(pid)
            self._memory[name].clear()
            self._descriptors[name].clear()
        self._memory[name].append(own_bytes)
        self._descriptors[name].append(descriptors)

    def report(self) -> SoakReport:
        """Early and late."""
        return SoakReport(
            samples=len(self._segments),
            processes={
                name: ProcessGrowth(
                    memory_bytes=_growth(self._memory[name]),
                    descriptors=_growth(self._descriptors[name], min),
                    lives=len(self._pids[name]),
                )
                for name in self._memory
            },
            segments=_growth(self._segments),
        )


def troubles(report: SoakReport) -> list[str]:
    """What has grown, in words."""
    found = []
    for name, one in report.processes.items():
        if one.memory_bytes.share > GROWTH_MAX:
            found.append(f"{name}: memory {one.memory_bytes.early:.0f} to"
                         f" {one.memory_bytes.late:.0f} bytes")  # fmt: skip
        if one.descriptors.late > one.descriptors.early:
            found.append(f"{name}: {one.descriptors.early:g} to {one.descriptors.late:g} files")
        if one.lives > 1:
            found.append(f"{name}: {one.lives} lives, though nobody struck it")
    if report.segments.late > report.segments.early:
        found.append(f"{report.segments.early:g} to {report.segments.late:g} segments")
    return found


def _growth(samples: list[int], of: Callable[[list[int]], float] = statistics.median) -> Growth:
    part = max(1, len(samples) // PARTS)
    early, late = samples[part : 2 * part] or samples, samples[-part:]
    if not samples:
        return Growth(early=0, late=0)
    return Growth(early=of(early), late=of(late))


def _own_bytes(pid: int) -> int:
    """Resident memory without what is shared: anonymous pages and mapped files."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(("RssAnon:", "RssFile:")):
            total += int(line.split()[1]) * KIB
    return total


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
