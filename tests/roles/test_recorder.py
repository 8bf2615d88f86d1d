"""The journal's copy: complete, each entry once, whatever dies, hangs or refuses."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import ipc
from hft import counters, graph
from hft.config import PLAN_FILE
from hft.core.generated.views import Journal as Entry
from hft.counters import RoleState
from hft.records import SLOT_BYTES, JournalKind, Kind
from hft.roles.context import ring_spec
from hft.roles.journal_copy import JournalCopy
from hft.roles.journal_files import FOLDER, SPARE, list_files, read_journal
from hft.roles.order_keeper import entry_crc
from hft.roles.recorder import Recorder, journal_identity
from tools.system.waiting import wait_until

RING_CAPACITY = graph.ring("journal").capacity
SMALL = 256
WAIT_S = 60.0


class Journalist:
    """Execution as far as the recorder knows it: writes entries."""

    def __init__(self, house) -> None:
        self.writer, buffer = house.context("execution").ring_writer("journal")
        self._buffer = buffer
        self._entry = Entry(buffer)

    def write(self, count: int) -> None:
        entry = self._entry
        for _ in range(count):
            entry.clear()
            entry.kind, entry.journal_kind = int(Kind.JOURNAL), int(JournalKind.UPDATE)
            entry.order_id = self.writer.next_seq * 1_000_003
            entry.crc = entry_crc(self._buffer)
            self.writer.offer()

    @property
    def newest_seq(self) -> int:
        return self.writer.next_seq - 1


class Disk:
    """A copy into a directory, with small files and a sync that may refuse."""

    def __init__(self, house, directory: Path) -> None:
        self.directory = directory
        self._segment = ipc.Segment.attach(house.plan.name, ring_spec("journal"))
        self._identity = journal_identity(self._segment, recorder_epoch=1)
        self.refuses = 0

    def sync(self, file: int) -> None:
        if self.refuses:
            self.refuses -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(file)

    def copy(self, confirmed_seq: int = 0, keep: int = 64, capacity: int = SMALL) -> JournalCopy:
        return JournalCopy(
            ipc.RingReader(self._segment, bytearray(SLOT_BYTES)),
            RING_CAPACITY,
            self.directory,
            self._identity._replace(capacity=capacity),
            confirmed_seq=confirmed_seq,
            keep=keep,
            sync_s=0.0,
            sync=self.sync,
        )

    def close(self) -> None:
        self._segment.close()

    def sequences(self) -> list[int]:
        return [
            int(seq)
            for piece in read_journal(self.directory).pieces
            for seq in piece.entries["seq"]
        ]

    @property
    def problems(self) -> tuple[str, ...]:
        return read_journal(self.directory).problems


@pytest.fixture
def journalist(house) -> Journalist:
    return Journalist(house)


@pytest.fixture
def disk(house, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(house, tmp_path / FOLDER)
    yield disk
    disk.close()


def settle(copy: JournalCopy) -> None:
    """Copy, and confirm what came just after a file was left."""
    copy.turn()
    copy.turn()


def whole(journalist: Journalist, first_seq: int = 1) -> list[int]:
    return list(range(first_seq, journalist.newest_seq + 1))


# -- files ----------------------------------------------------------------------------------------


def test_entries_are_copied_as_they_are(journalist: Journalist, disk: Disk) -> None:
    copy = disk.copy()
    copy.turn()
    assert copy.is_open, "a file is ready before the first entry"
    journalist.write(10)
    assert copy.copied_seq == 0
    copy.turn()
    assert copy.copied_seq == 10
    (piece,) = read_journal(disk.directory).pieces
    assert list(piece.entries["seq"]) == whole(journalist)
    assert list(piece.entries["order_id"]) == [seq * 1_000_003 for seq in range(1, 11)]
    assert abs(piece.file.wall_ns(int(piece.entries["publish_ns"][0])) - time.time_ns()) < 60e9
    copy.close()


def test_a_file_that_is_full_is_followed_by_one_made_before(
    journalist: Journalist, disk: Disk
) -> None:
    copy = disk.copy()
    journalist.write(SMALL // 4)
    copy.turn()
    assert not (disk.directory / SPARE).exists()
    journalist.write(1)
    copy.turn()
    assert (disk.directory / SPARE).stat().st_size == list_files(disk.directory)[0].stat().st_size
    journalist.write(2 * SMALL)
    copy.turn()
    assert len(list_files(disk.directory)) == 3
    assert disk.sequences() == whole(journalist)
    assert disk.problems == ()
    copy.close()
    assert disk.sequences() == whole(journalist)
    assert not (disk.directory / SPARE).exists()


def test_only_so_many_files_are_kept(journalist: Journalist, disk: Disk) -> None:
    copy = disk.copy(keep=3)
    journalist.write(SMALL * 6)
    copy.turn()
    assert len(list_files(disk.directory)) == 3
    assert disk.sequences() == whole(journalist, SMALL * 3 + 1)
    assert disk.problems == ()
    copy.close()


def test_the_file_in_use_is_kept_when_the_clock_went_backwards(
    journalist: Journalist, disk: Disk
) -> None:
    disk.directory.mkdir()
    later = [disk.directory / f"{9 * 10**19 + n}-000000000001.journal" for n in range(4)]
    for path in later:
        path.touch()
    copy = disk.copy(keep=2)
    journalist.write(1)
    copy.turn()
    left = list_files(disk.directory)
    assert (len(left), left[1]) == (2, later[-1])
    copy.close()
    assert left[0].exists()


@pytest.mark.parametrize("written", [0, 1, 100, SMALL, SMALL + 1])
@pytest.mark.parametrize("confirmed", [0, 1, 60, SMALL])
def test_a_successor_goes_on_behind_the_last_entry(
    journalist: Journalist, disk: Disk, written: int, confirmed: int
) -> None:
    first = disk.copy()
    journalist.write(written)
    first.turn()  # and dies
    journalist.write(30)
    successor = disk.copy(confirmed_seq=min(confirmed, written))
    settle(successor)
    assert (successor.copied_seq, successor.lost) == (written + 30, 0)
    assert disk.sequences() == whole(journalist)
    assert disk.problems == ()
    successor.close()
    third = disk.copy(confirmed_seq=successor.copied_seq)
    journalist.write(SMALL)
    settle(third)
    assert disk.sequences() == whole(journalist)
    third.close()
    assert disk.problems == ()


@pytest.mark.parametrize("cut", [1, SLOT_BYTES - 1, SLOT_BYTES, 3 * SLOT_BYTES + 5])
def test_a_successor_cuts_what_is_torn(journalist: Journalist, disk: Disk, cut: int) -> None:
    journalist.write(50)
    disk.copy().turn()
    (path,) = list_files(disk.directory)
    raw = bytearray(path.read_bytes())
    end = 4_096 + 50 * SLOT_BYTES
    raw[end - cut : end] = b"\xff" * cut
    raw[end : end + 200] = b"\xee" * 200
    path.write_bytes(raw)
    successor = disk.copy(confirmed_seq=20)
    settle(successor)
    assert disk.sequences() == whole(journalist)
    assert read_journal(disk.directory)[1:] == ((), ())
    successor.close()


def test_files_that_somebody_removed_are_made_again(journalist: Journalist, disk: Disk) -> None:
    journalist.write(50)
    disk.copy().turn()
    for path in list_files(disk.directory):
        path.unlink()
    successor = disk.copy(confirmed_seq=50)
    settle(successor)
    assert disk.sequences() == whole(journalist)
    successor.close()


def test_a_lapped_copy_says_what_it_lost(journalist: Journalist, disk: Disk) -> None:
    copy = disk.copy(capacity=RING_CAPACITY)
    journalist.write(10)
    copy.turn()
    journalist.write(RING_CAPACITY + 500)
    settle(copy)
    assert copy.copied_seq == journalist.newest_seq
    found = disk.sequences()
    assert found[:10] == list(range(1, 11))
    assert found[10:] == whole(journalist, found[10])
    assert copy.lost == found[10] - 11 > 0
    (problem,) = disk.problems
    assert problem.endswith(f"entries 11 to {found[10] - 1} were never copied")
    copy.close()
    assert disk.sequences() == found


def test_a_file_that_could_not_be_synced_is_not_trusted(journalist: Journalist, disk: Disk) -> None:
    copy = disk.copy()
    journalist.write(20)
    copy.turn()
    (first,) = list_files(disk.directory)
    journalist.write(20)
    disk.refuses = 1
    assert copy.turn() >= 1.0, "it takes a breath"
    assert (copy.copied_seq, copy.is_open) == (20, False)
    assert copy.error.startswith("Input/output error")
    before = first.read_bytes()
    disk.refuses = 1
    copy.turn()
    assert copy.error
    journalist.write(20)
    settle(copy)
    assert (copy.error, copy.copied_seq) == ("", 60)
    assert first.read_bytes() == before
    assert len(list_files(disk.directory)) == 2
    assert disk.sequences() == whole(journalist)
    assert disk.problems == ()
    copy.close()


@contextmanager
def file_size_limit(byte_count: int) -> Iterator[None]:
    """A disk without room: no file of this process may grow beyond that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_the_copy_until_there_is_room(journalist: Journalist, disk: Disk) -> None:
    copy = disk.copy()
    journalist.write(SMALL // 2)
    copy.turn()
    spare = disk.directory / SPARE
    with file_size_limit(8_192):
        journalist.write(2 * SMALL)
        copy.turn()
        assert copy.error.startswith("File too large")
        assert not spare.exists()
        assert copy.copied_seq == SMALL // 2
    settle(copy)
    assert (copy.error, copy.copied_seq) == ("", journalist.newest_seq)
    assert disk.sequences() == whole(journalist)
    assert disk.problems == ()
    copy.close()


# -- the role -------------------------------------------------------------------------------------


def turn_until(recorder: Recorder, condition) -> None:
    assert wait_until(
        lambda: bool((recorder.do_work(time.monotonic_ns()), condition())[1]),
        pid=os.getpid(),
        timeout_s=WAIT_S,
    )


def test_the_role_tells_how_far_it_is(house, journalist: Journalist) -> None:
    context = house.context("recorder")
    page = context.page
    recorder = Recorder(context)
    recorder.on_start(time.monotonic_ns())
    assert page.state == RoleState.RECOVERING
    turn_until(recorder, lambda: page.state == RoleState.READY)
    journalist.write(100)
    turn_until(recorder, lambda: page.gauge(counters.COPIED_SEQ.id) == 100)
    assert page.counter(counters.COPIED.id) == 100
    assert page.counter(counters.SYNCS.id) >= 1
    journalist.write(50)
    assert wait_until(
        lambda: recorder.on_stop(time.monotonic_ns()), pid=os.getpid(), timeout_s=WAIT_S
    )
    assert page.gauge(counters.COPIED_SEQ.id) == 150
    recorder.on_close()
    house.end(context)
    successor = house.context("recorder")
    heir = Recorder(successor)
    assert successor.page.gauge(counters.COPIED_SEQ.id) == 150
    heir.on_start(time.monotonic_ns())
    turn_until(heir, lambda: successor.page.state == RoleState.READY)
    heir.on_close()


def test_a_disk_that_refuses_fails_the_role_and_not_the_process(
    house, journalist: Journalist
) -> None:
    (house.run_dir / FOLDER).write_text("no directory")
    context = house.context("recorder")
    page = context.page
    recorder = Recorder(context)
    recorder.on_start(time.monotonic_ns())
    turn_until(recorder, lambda: page.state == RoleState.FAILED)
    assert "the journal is not copied: File exists" in page.error
    assert page.gauge(counters.WAITS.id) == 1
    assert recorder.on_stop(time.monotonic_ns()), "nobody waits for a disk that refuses"
    (house.run_dir / FOLDER).unlink()
    journalist.write(5)
    turn_until(recorder, lambda: page.state == RoleState.READY)
    turn_until(recorder, lambda: page.gauge(counters.COPIED_SEQ.id) == 5)
    assert page.gauge(counters.WAITS.id) == 0
    recorder.on_close()


def test_a_disk_that_hangs_stops_nobody(house, journalist: Journalist) -> None:
    context = house.context("recorder")
    recorder = Recorder(context)
    hangs, goes_on = threading.Event(), threading.Event()

    def sync(file: int) -> None:
        hangs.set()
        goes_on.wait(WAIT_S)
        os.fdatasync(file)

    recorder._copy._sync = sync
    journalist.write(1)
    recorder.on_start(time.monotonic_ns())
    assert hangs.wait(WAIT_S)
    for _ in range(100):
        assert recorder.do_work(time.monotonic_ns()) == 0
    assert not recorder.on_stop(time.monotonic_ns())
    goes_on.set()
    turn_until(recorder, lambda: context.page.gauge(counters.COPIED_SEQ.id) == 1)
    recorder.on_close()


def start_recorder(house) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hft.roles.process", str(house.run_dir), "recorder"]
    )


@pytest.fixture
def recorder_page(house) -> Iterator[ipc.RolePage]:
    (house.run_dir / PLAN_FILE).write_bytes(msgspec.json.encode(house.plan))
    page = ipc.RolePage.attach(house.plan.name, graph.page_name("recorder"))
    yield page
    page.close()


def test_a_recorder_killed_at_any_moment_leaves_nothing_out_and_nothing_twice(
    house, journalist: Journalist, recorder_page: ipc.RolePage
) -> None:
    chance = random.Random(7)
    process = start_recorder(house)
    try:
        for _ in range(8):
            target = journalist.newest_seq + chance.randrange(1, 20_000)
            deadline_ns = time.monotonic_ns() + int(WAIT_S * 1e9)
            while recorder_page.gauge(counters.COPIED_SEQ.id) < target:
                assert time.monotonic_ns() < deadline_ns
                copied_seq = recorder_page.cursor(graph.cursor_index("journal")).value
                if journalist.newest_seq - copied_seq < RING_CAPACITY // 3:
                    journalist.write(500)
            process.kill()
            process.wait()
            process = start_recorder(house)
        ready = recorder_page.pid
        assert wait_until(
            lambda: recorder_page.state == RoleState.READY and recorder_page.pid == process.pid,
            pid=os.getpid(),
            timeout_s=WAIT_S,
        ), ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
    journal = read_journal(house.run_dir / FOLDER)
    assert (journal.problems, journal.notes) == ((), ())
    found = [int(seq) for piece in journal.pieces for seq in piece.entries["seq"]]
    assert found == whole(journalist)
    assert recorder_page.counter(counters.GAPS_COPIED.id) == 0


def test_a_stopped_recorder_stops_nobody_and_notes_what_it_missed(
    house, journalist: Journalist, recorder_page: ipc.RolePage
) -> None:
    process = start_recorder(house)
    try:
        journalist.write(10)
        assert wait_until(
            lambda: recorder_page.gauge(counters.COPIED_SEQ.id) == 10,
            pid=process.pid,
            timeout_s=WAIT_S,
        )
        process.send_signal(signal.SIGSTOP)
        journalist.write(2 * RING_CAPACITY)
        process.send_signal(signal.SIGCONT)
        newest_seq = journalist.newest_seq
        assert wait_until(
            lambda: recorder_page.gauge(counters.COPIED_SEQ.id) == newest_seq,
            pid=process.pid,
            timeout_s=WAIT_S,
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
    found = [
        int(seq)
        for piece in read_journal(house.run_dir / FOLDER).pieces
        for seq in piece.entries["seq"]
    ]
    assert found[:10] == list(range(1, 11))
    assert found[10:] == whole(journalist, found[10])
    lost = recorder_page.counter(counters.GAPS_COPIED.id)
    assert lost == found[10] - 11 > 0
    assert recorder_page.counter(counters.COPIED.id) == len(found)
