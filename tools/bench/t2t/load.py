"""What the system's cold processes cost their core, and the same for whoever has none.

A contender alone on the machine would have the venue's core undisturbed while this system shares it
with its own account, recorder, supervisor and metrics. So every other contender runs beside a
process that wakes as often and works as long as those do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

import psutil

from hft.units import NS_PER_S

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl: the signal a process gets when its parent dies."""


class Usage(NamedTuple):
    """What processes did to their cores, per second."""

    cpu_share: float
    """Of one core."""
    wakes_per_s: float


USUAL: Final = Usage(cpu_share=0.05, wakes_per_s=160.0)
"""Cold processes of ``compact`` under this course, measured; each run measures its own again."""


class Meter:
    """Usage of processes from its making on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._begun_ns = time.monotonic_ns()
        self._before = self._read()

    def read(self) -> Usage:
        """So far."""
        seconds = (time.monotonic_ns() - self._begun_ns) / NS_PER_S
        cpu_s, wakes = (now - then for now, then in zip(self._read(), self._before, strict=True))
        return Usage(cpu_s / seconds, wakes / seconds)

    def _read(self) -> tuple[float, float]:
        times = [process.cpu_times() for process in self._processes]
        switches = [process.num_ctx_switches().voluntary for process in self._processes]
        return sum(one.user + one.system for one in times), float(sum(switches))


def work(cpu: int, usage: Usage) -> None:
    """Wake and work like that until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {cpu})
    period_s = 1 / max(1.0, usage.wakes_per_s)
    rest = threading.Event()
    busy_ns = int(usage.cpu_share * period_s * NS_PER_S)
    while True:
        end_ns = time.thread_time_ns() + busy_ns
        while time.thread_time_ns() < end_ns:
            pass
        rest.wait(period_s * max(0.0, 1 - usage.cpu_share))
