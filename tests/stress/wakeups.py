"""Two processes that put each other to sleep and wake each other: is a wake-up ever lost?"""

from __future__ import annotations

import os
import random
import select
import time
from typing import Any, Final

import numpy as np
from rig import RECORD_BYTES, Rig, child, run, spin_ns

import ipc
from ipc import Bell, Parker, RingReader, RingWriter, SegmentKind, SegmentSpec

RINGS: Final = tuple(SegmentSpec(name, SegmentKind.RING, RECORD_BYTES, 8) for name in ("a", "b"))
BELLS: Final = SegmentSpec("bells", SegmentKind.BELLS, ipc.BELL_BYTES, 2, shared=True)
ROUNDS: Final = 20_000
PARK_NS: Final = 100_000_000
LOST_NS: Final = 50_000_000
"""A record older than this at the end of a sleep that nobody ended: its wake-up was lost."""
DELAY_NS_MAX: Final = 20_000
"""Before each answer, so that it meets the other side at every stage of falling asleep."""


class Side:
    """One of the two: a ring out, a ring in, a bell to ring and one to be woken by."""

    def __init__(self, rig: Rig, own: int, *, loop: bool) -> None:
        other = 1 - own
        fifos = [rig.run_dir / f"{number}.fifo" if loop else None for number in (0, 1)]
        bells = rig.attach(BELLS, writable=True)
        self.into: Final = np.zeros(RECORD_BYTES // 8, np.int64)
        self.writer: Final = RingWriter(
            rig.attach(RINGS[own], writable=True),
            bytearray(RECORD_BYTES),
            bells=[Bell(bells, other, fifos[other])],
        )
        self.reader: Final = RingReader(
            rig.attach(RINGS[other]), self.into.view(np.uint8), start_seq=1
        )
        self.parker: Final = Parker(bells, own, [self.reader], fifo_path=fifos[own])
        self.poller: Final = select.poll()
        if loop:
            self.poller.register(self.parker.fifo_fd, select.POLLIN)
        self.loop: Final = loop
        self.random: Final = random.Random(own)
        self.lost = 0
        self.sleeps = 0

    def sleep(self) -> bool:
        """Until woken or the time is over (False)."""
        self.sleeps += 1
        if not self.loop:
            return self.parker.park(PARK_NS)
        if not self.parker.arm_fifo():
            return True
        woken = bool(self.poller.poll(PARK_NS // 1_000_000))
        self.parker.disarm()
        if woken:
            self.parker.drain_fifo()
        return woken

    def receive(self) -> None:
        while not self.reader.next():
            if not self.sleep() and self.reader.has_work:
                self.reader.next()
                self.lost += time.monotonic_ns() - int(self.into[1]) > LOST_NS
                return

    def play(self, rounds: int, *, serves: bool) -> None:
        for _ in range(rounds):
            if serves:
                self.writer.offer()
            self.receive()
            spin_ns(self.random.randrange(DELAY_NS_MAX))
            if not serves:
                self.writer.offer()


def _play(rig: Rig, *, loop: bool) -> dict[str, Any]:
    rig.create(*RINGS, BELLS)
    for number in (0, 1):
        ipc.make_fifo(rig.run_dir / f"{number}.fifo")
    rounds = ROUNDS * rig.scale
    lost_file = rig.run_dir / "lost"

    def answer() -> None:
        side = Side(rig, 1, loop=loop)
        side.play(rounds, serves=False)
        lost_file.write_text(f"{side.lost} {side.sleeps}")

    side = Side(rig, 0, loop=loop)
    with child(answer):
        side.play(rounds, serves=True)
    lost, sleeps = map(int, lost_file.read_text().split())
    return {"rounds": rounds, "lost": side.lost + lost, "sleeps": side.sleeps + sleeps}


def futex(rig: Rig) -> dict[str, Any]:
    """Both park on their futex word."""
    return _play(rig, loop=False)


def fifo(rig: Rig) -> dict[str, Any]:
    """Both sleep in poll, as an event loop does."""
    return _play(rig, loop=True)


def commands(rig: Rig) -> dict[str, Any]:
    """Commands from a process that writes no ring: ``Bell.ring`` alone must not be lost."""
    rig.create(BELLS)
    rounds = ROUNDS * rig.scale
    near, far = os.pipe()

    def send() -> None:
        bell = Bell(rig.attach(BELLS, writable=True), 0)
        delays = random.Random(3)
        for _ in range(rounds):
            os.read(near, 1)  # the parker is about to sleep
            spin_ns(delays.randrange(DELAY_NS_MAX))
            bell.ring()

    parker = Parker(rig.attach(BELLS, writable=True), 0)
    parker.has_work()
    lost = 0
    with child(send):
        for _ in range(rounds):
            os.write(far, b"x")
            started_ns = time.monotonic_ns()
            while not parker.park(PARK_NS):
                # Not rung for 100 ms: either the sender did not run, or the wake-up was lost.
                if parker.has_work():
                    lost += time.monotonic_ns() - started_ns > LOST_NS
                    break
    return {"rounds": rounds, "lost": lost, "sleeps": rounds}


if __name__ == "__main__":
    run({"futex": futex, "fifo": fifo, "commands": commands})
