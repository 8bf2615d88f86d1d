"""Bells and parkers in one process. Two processes: tests/stress; all interleavings: the model."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ipc
from ipc import Bell, Parker, RingReader, RingWriter, Segment, SegmentKind, SegmentSpec

RING = SegmentSpec("intents", SegmentKind.RING, 128, 8)
MS = 1_000_000
Attach = Callable[..., Segment]


def settled(parker: Parker) -> Parker:
    """The first look of a new parker always finds something."""
    assert parker.has_work()
    return parker


def is_readable(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


@pytest.fixture
def writer(attach: Attach, bells: Segment) -> RingWriter:
    return RingWriter(attach(RING, writable=True), bytearray(128), bells=[Bell(bells, 1)])


@pytest.fixture
def reader(attach: Attach, writer: RingWriter) -> RingReader:
    return RingReader(attach(RING), bytearray(128))


def test_a_parker_with_work_does_not_sleep(
    bells: Segment, reader: RingReader, writer: RingWriter
) -> None:
    parker = settled(Parker(bells, 1, [reader]))
    writer.offer()
    assert parker.park(100 * MS)
    assert parker.has_work()
    assert reader.next()
    assert not parker.has_work()


def test_a_park_without_work_ends_by_the_clock(bells: Segment, reader: RingReader) -> None:
    parker = settled(Parker(bells, 1, [reader]))
    before_ns = time.monotonic_ns()
    assert not parker.park(2 * MS)
    assert time.monotonic_ns() - before_ns >= 2 * MS
    assert not parker.park(0)
    assert not Bell(bells, 1).is_parked


def test_a_sleep_is_bounded_whatever_is_asked(bells: Segment) -> None:
    parker = settled(Parker(bells, 1))
    before_ns = time.monotonic_ns()
    assert not parker.park(3_600_000 * MS)
    assert time.monotonic_ns() - before_ns >= 100 * MS


@pytest.mark.parametrize("wake", ["offer", "ring"])
def test_a_parked_process_is_woken(
    bells: Segment, reader: RingReader, writer: RingWriter, wake: str
) -> None:
    parker = settled(Parker(bells, 1, [reader]))
    bell = Bell(bells, 1)
    slept: list[tuple[int, bool]] = []

    def sleep() -> None:
        begun_ns = time.monotonic_ns()
        slept.append((begun_ns, parker.park(100 * MS)))

    is_in_time = False
    while not is_in_time:  # on a machine with no time for us the sleep may be over before
        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        while not bell.is_parked and sleeper.is_alive():
            pass
        if wake == "offer":
            writer.offer()
        else:
            bell.ring()
        rung_ns = time.monotonic_ns()
        sleeper.join()
        begun_ns, was_woken = slept[-1]
        is_in_time = rung_ns < begun_ns + 100 * MS
        assert was_woken or not is_in_time
        assert not bell.is_parked
        while reader.next() or parker.has_work():
            pass


def test_a_ring_before_the_sleep_is_not_lost(bells: Segment) -> None:
    """Somebody sends a command between this process's look at the queue and its sleep."""
    parker = settled(Parker(bells, 1))
    Bell(bells, 1).ring()
    assert parker.park(100 * MS)
    assert not parker.park(1 * MS)


def test_a_bell_wakes_only_its_own_process(bells: Segment) -> None:
    parker = settled(Parker(bells, 2))
    Bell(bells, 1).ring()
    Bell(bells, 3).ring()
    assert not parker.park(1 * MS)


def test_a_lapped_reader_counts_as_work(
    attach: Attach, bells: Segment, writer: RingWriter, reader: RingReader
) -> None:
    parker = settled(Parker(bells, 1, [reader]))
    for _ in range(9):
        writer.offer()
    assert reader.seq == 0
    assert parker.has_work()
    while reader.next() or reader.lapped:
        pass
    assert not parker.has_work()


def test_spinning_sees_work_and_gives_up_by_the_clock(
    bells: Segment, reader: RingReader, writer: RingWriter
) -> None:
    parker = settled(Parker(bells, 1, [reader]))
    before_ns = time.monotonic_ns()
    assert not parker.spin(MS)
    assert time.monotonic_ns() - before_ns >= MS
    writer.offer()
    assert parker.spin(MS)


def test_a_changed_word_is_work_once(attach: Attach, bells: Segment) -> None:
    words = SegmentSpec("permit", SegmentKind.WORDS, 8, 8)
    word = ipc.Word(attach(words, writable=True), 0)
    parker = settled(Parker(bells, 0, extra_words=[ipc.Word(attach(words), 0)]))
    word.store(5)
    assert parker.park(100 * MS)
    assert not parker.park(1 * MS)


def test_an_event_loop_is_woken_through_its_fifo(
    attach: Attach, bells: Segment, run_dir: Path
) -> None:
    fifo = run_dir / "execution.fifo"
    bell = Bell(bells, 1, fifo)  # before the FIFO exists: it is opened when needed
    writer = RingWriter(attach(RING, writable=True), bytearray(128), bells=[bell])
    reader = RingReader(attach(RING), bytearray(128))
    parker = settled(Parker(bells, 1, [reader], fifo_path=fifo))
    writer.offer()
    assert not is_readable(parker.fifo_fd)  # not armed: a writer costs itself no system call
    assert not parker.arm_fifo()
    assert reader.next()
    assert parker.arm_fifo()
    assert bell.is_parked
    writer.offer()
    assert is_readable(parker.fifo_fd)
    writer.offer()
    assert len(os.read(parker.fifo_fd, 100)) == 1  # one wake-up, not one per record
    parker.disarm()
    writer.offer()
    assert not is_readable(parker.fifo_fd)


def test_draining_takes_all_wake_ups_and_none_is_fine(bells: Segment, run_dir: Path) -> None:
    parker = settled(Parker(bells, 1, fifo_path=run_dir / "x.fifo"))
    parker.drain_fifo()
    for _ in range(10_000):
        os.write(parker.fifo_fd, b"x")
    parker.drain_fifo()
    assert not is_readable(parker.fifo_fd)
    Parker(bells, 2).drain_fifo()  # without a FIFO: nothing to do


def test_a_bell_survives_a_restart_and_a_new_fifo(bells: Segment, run_dir: Path) -> None:
    fifo = run_dir / "x.fifo"
    bell = Bell(bells, 1, fifo)
    for remove in (False, True):
        parker = settled(Parker(bells, 1, fifo_path=fifo))
        assert parker.arm_fifo()
        bell.ring()
        assert is_readable(parker.fifo_fd)
        assert parker.arm_fifo() is False
        assert parker.arm_fifo() is True
        del parker  # the process dies armed
        bell.ring()  # nobody listens: no error, and the writer was not killed by SIGPIPE
        if remove:
            fifo.unlink()
    parker = settled(Parker(bells, 1, fifo_path=fifo))
    assert parker.arm_fifo()
    bell.ring()
    assert is_readable(parker.fifo_fd)


def test_a_full_fifo_is_a_wake_up_already(bells: Segment, run_dir: Path) -> None:
    fifo = run_dir / "x.fifo"
    parker = settled(Parker(bells, 1, fifo_path=fifo))
    bell = Bell(bells, 1, fifo)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(parker.fifo_fd, bytes(4096))
    assert parker.arm_fifo()
    bell.ring()
    parker.drain_fifo()
    assert not is_readable(parker.fifo_fd)


def test_making_a_fifo_keeps_one_and_refuses_a_file(run_dir: Path) -> None:
    fifo = run_dir / "x.fifo"
    ipc.make_fifo(fifo)
    inode = fifo.stat().st_ino
    ipc.make_fifo(fifo)
    assert fifo.stat().st_ino == inode
    assert fifo.stat().st_mode & 0o777 == 0o660
    (run_dir / "file").touch()
    with pytest.raises(ipc.SegmentFileError, match="not a FIFO"):
        ipc.make_fifo(run_dir / "file")


def test_wrong_bells_are_refused(attach: Attach, bells: Segment, system_name: str) -> None:
    for make in (Bell, Parker):
        with pytest.raises(IndexError, match="4 bells, there is no bell 4"):
            make(bells, 4)
        with pytest.raises(ipc.SegmentKindError, match="expected bells"):
            make(attach(RING, writable=True), 0)
        with pytest.raises(ipc.ReadOnlyError):
            make(Segment.attach(system_name, bells.spec), 0)


def test_a_quiet_offer_leaves_those_with_a_late_bell_asleep(attach: Attach, bells: Segment) -> None:
    writer = RingWriter(
        attach(RING, writable=True),
        bytearray(128),
        bells=[Bell(bells, 1)],
        late_bells=[Bell(bells, 2)],
    )
    prompt = settled(Parker(bells, 1, [RingReader(attach(RING), bytearray(128))]))
    reader = RingReader(attach(RING), bytearray(128))
    late = settled(Parker(bells, 2, [reader]))
    assert prompt.arm_fifo()
    assert late.arm_fifo()
    assert writer.offer_quietly()
    assert not Bell(bells, 1).is_parked
    assert Bell(bells, 2).is_parked
    assert late.has_work(), "it is there for whoever looks"
    assert writer.offer()
    assert not Bell(bells, 2).is_parked
    assert reader.next(), "what was offered quietly comes first"
    assert reader.next()
