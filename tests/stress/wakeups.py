"""Two processes that put each other to sleep and wake each other: is a wake-up ever lost?"""

from __future__ import annotations

import mmap
import os
import random
import select
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rig import RECORD_BYTES, Rig, child, run, spin_ns

import ipc
from ipc import Bell, Parker, RingReader, RingWriter, SegmentKind, SegmentSpec

RINGS: Final = tuple(SegmentSpec(name, SegmentKind.RING, RECORD_BYTES, 8) for name in ("a", "b"))
BELLS: Final = SegmentSpec("bells", SegmentKind.BELLS, ipc.BELL_BYTES, 2, shared=True)
ROUNDS: Final = 20_000
PARK_NS: Final = 100_000_000
DELAY_NS_MAX: Final = 20_000
"""Before each answer, so that it meets the other side at every stage of falling asleep."""


Times = NDArray[np.int64]


def shared_times() -> Times:
    """When each side's last ring was done, for both to see.

    A sleep that ended by the clock has lost a wake-up if the ring was done before the clock could
    end it. Nothing else tells: on a busy machine everybody may be late by any time.
    """
    return np.frombuffer(mmap.mmap(-1, 16), np.int64)


class Side:
    """One of the two: a ring out, a ring in, a bell to ring and one to be woken by."""

    def __init__(self, rig: Rig, own: int, rung_ns: Times, *, loop: bool) -> None:
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
        self.rung_ns: Final = rung_ns
        self.own: Final = own
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
            begun_ns = time.monotonic_ns()
            if not self.sleep() and self.reader.has_work:
                self.reader.next()
                published_ns = int(self.into[1])
                self.lost += published_ns <= int(self.rung_ns[1 - self.own]) < begun_ns + PARK_NS
                return

    def offer(self) -> None:
        self.writer.offer()
        self.rung_ns[self.own] = time.monotonic_ns()

    def play(self, rounds: int, *, serves: bool) -> None:
        for _ in range(rounds):
            if serves:
                self.offer()
            self.receive()
            spin_ns(self.random.randrange(DELAY_NS_MAX))
            if not serves:
                self.offer()


def _play(rig: Rig, *, loop: bool) -> dict[str, Any]:
    rig.create(*RINGS, BELLS)
    for number in (0, 1):
        ipc.make_fifo(rig.run_dir / f"{number}.fifo")
    rounds = ROUNDS * rig.scale
    lost_file = rig.run_dir / "lost"
    rung_ns = shared_times()

    def answer() -> None:
        side = Side(rig, 1, rung_ns, loop=loop)
        side.play(rounds, serves=False)
        lost_file.write_text(f"{side.lost} {side.sleeps}")

    side = Side(rig, 0, rung_ns, loop=loop)
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
    rung_ns = shared_times()

    def send() -> None:
        bell = Bell(rig.attach(BELLS, writable=True), 0)
        delays = random.Random(3)
        for _ in range(rounds):
            os.read(near, 1)  # the parker is about to sleep
            spin_ns(delays.randrange(DELAY_NS_MAX))
            bell.ring()
            rung_ns[0] = time.monotonic_ns()

    parker = Parker(rig.attach(BELLS, writable=True), 0)
    parker.has_work()
    lost = 0
    with child(send):
        for _ in range(rounds):
            asked_ns = begun_ns = time.monotonic_ns()
            os.write(far, b"x")
            while not parker.park(PARK_NS):
                # Not rung for 100 ms: either the sender did not run, or the wake-up was lost.
                if parker.has_work():
                    lost += asked_ns < int(rung_ns[0]) < begun_ns + PARK_NS
                    break
                begun_ns = time.monotonic_ns()
    return {"rounds": rounds, "lost": lost, "sleeps": rounds}


if __name__ == "__main__":
    run({"futex": futex, "fifo": fifo, "commands": commands})
