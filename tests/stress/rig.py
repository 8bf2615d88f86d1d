"""What the stress scenarios share: a system of their own, children to kill, words to check.

Not a test: a scenario runs as a program of its own, so that it may fork and kill as it likes.

    python tests/stress/SCENARIOS.py NAME SYSTEM RUN_DIR SCALE      prints one JSON object
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import ipc
from ipc import RolePage, Segment, SegmentSpec

Words = NDArray[np.uint64]
RECORD_BYTES: Final = 128
RECORD_WORDS: Final = RECORD_BYTES // 8
HEADER_WORDS: Final = 2
"""Sequence and time of publication: the ring's own."""
_BY_SEQ: Final = np.uint64(0x9E3779B97F4A7C15)
_living: Final[set[int]] = set()
_BY_WORD: Final = np.uint64(0xC2B2AE3D27D4EB4F)


class Rig:
    """A system with its segments; ``random`` and ``scale`` are the scenario's."""

    def __init__(self, system: str, run_dir: Path, scale: int) -> None:
        self.system: Final = system
        self.run_dir: Final = run_dir
        self.scale: Final = scale
        self.random: Final = random.Random(0x5EED)
        self._made: list[str] = []

    def create(self, *specs: SegmentSpec) -> None:
        for spec in specs:
            ipc.create_segment(self.system, spec)
            self._made.append(spec.name)

    def attach(self, spec: SegmentSpec, *, writable: bool = False) -> Segment:
        return Segment.attach(self.system, spec, writable=writable)

    def page(self, name: str) -> RolePage:
        """The role page, created when first asked for."""
        if name not in self._made:
            self.create(RolePage.spec(name))
        return RolePage.attach(self.system, name, writable=True)

    def remove(self) -> None:
        for name in self._made:
            ipc.unlink_segment(self.system, name)


def pattern(values: Words, word_count: int) -> Words:
    """Words that tell which value and which position they belong to, one row for each value."""
    positions = np.arange(word_count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return values[:, None] * _BY_SEQ + positions[None, :] * _BY_WORD


def check_records(raw: bytearray, count: int, first_seq: int) -> None:
    """Every word of ``count`` records: consecutive sequences, a time, the pattern."""
    records = np.frombuffer(raw, np.uint64, count * RECORD_WORDS).reshape(count, RECORD_WORDS)
    seqs = np.arange(first_seq, first_seq + count, dtype=np.uint64)
    assert (records[:, 0] == seqs).all(), (first_seq, records[:, 0])
    assert (records[:, 1] > 0).all()
    expected = pattern(seqs, RECORD_WORDS)[:, HEADER_WORDS:]
    assert (records[:, HEADER_WORDS:] == expected).all(), (first_seq, records)


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """Run ``work`` in a forked process; it must have ended well by the end of the block."""
    pid = fork(work)
    yield pid
    _, status = os.waitpid(pid, 0)
    _living.discard(pid)
    assert status == 0, f"the other process ended with status {status}"


def fork(work: Callable[[], object]) -> int:
    """Start ``work`` in a forked process; it does not outlive the scenario."""
    pid = os.fork()
    if pid:
        _living.add(pid)
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def kill(pid: int) -> bool:
    """``kill -9`` and collect. False: the process had ended before, by an error of its own."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    _living.discard(pid)
    return os.WIFSIGNALED(status)


def spin_ns(duration_ns: int) -> None:
    """Pass the time without giving the processor away."""
    until_ns = time.monotonic_ns() + duration_ns
    while time.monotonic_ns() < until_ns:
        pass


def run(scenarios: Mapping[str, Callable[[Rig], dict[str, Any]]]) -> None:
    """Run the scenario named on the command line and print its facts."""
    name, system, run_dir, scale = sys.argv[1:]
    rig = Rig(system, Path(run_dir), int(scale))
    try:
        facts = scenarios[name](rig)
    finally:
        for pid in list(_living):
            kill(pid)
        rig.remove()
    print(json.dumps(facts))
