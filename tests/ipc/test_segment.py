"""Creation, attachment, and one clear refusal for each thing that can be wrong."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ipc
from ipc import Segment, SegmentKind, SegmentSpec, layout, segment
from ipc.liveness import process_start_time

RING = SegmentSpec("market", SegmentKind.RING, 128, 64, layout_hash=0xABCDEF)
Create = Callable[[SegmentSpec], SegmentSpec]


def path_of(system: str, spec: SegmentSpec = RING) -> Path:
    return Path(segment.SHM_DIRECTORY) / f"hft.{system}.{spec.name}"


def forge(system: str, code: str, offset: int, value: int) -> None:
    with path_of(system).open("r+b") as file:
        file.seek(offset)
        file.write(struct.pack(code, value))


def test_a_created_segment_is_zero_private_and_really_there(
    system_name: str, create: Create
) -> None:
    create(RING)
    status = path_of(system_name).stat()
    assert status.st_mode & 0o777 == 0o640
    assert status.st_size == ipc.segment_bytes(RING)
    assert (
        status.st_blocks * 512 >= status.st_size
    )  # no hole that a full tmpfs could turn into SIGBUS
    attached = Segment.attach(system_name, RING)
    assert not any(attached.buffer[layout.ITEMS_OFFSET :])
    assert attached.buffer.readonly
    assert attached.epoch == 0
    assert attached.writer_pid == 0
    attached.close()


def test_a_shared_segment_is_writable_for_its_group(system_name: str, create: Create) -> None:
    spec = SegmentSpec("bells", SegmentKind.BELLS, ipc.BELL_BYTES, 4, shared=True)
    create(spec)
    assert path_of(system_name, spec).stat().st_mode & 0o777 == 0o660
    Segment.attach(system_name, spec, writable=True).close()


def test_the_umask_does_not_change_the_mode(system_name: str, create: Create) -> None:
    previous = os.umask(0o077)
    try:
        create(RING)
    finally:
        os.umask(previous)
    assert path_of(system_name).stat().st_mode & 0o777 == 0o640


def test_names_are_listed_and_forgotten(system_name: str, create: Create) -> None:
    create(RING)
    create(RING._replace(name="executions.paper"))
    assert ipc.list_segments(system_name) == ["executions.paper", "market"]
    assert system_name in ipc.list_systems()
    assert ipc.unlink_segment(system_name, "market")
    assert not ipc.unlink_segment(system_name, "market")
    assert ipc.list_segments(system_name) == ["executions.paper"]


def test_creating_twice_is_refused_and_keeps_the_first(system_name: str, create: Create) -> None:
    create(RING)
    inode = path_of(system_name).stat().st_ino
    with pytest.raises(ipc.SegmentExistsError, match="has it already"):
        ipc.create_segment(system_name, RING)
    assert path_of(system_name).stat().st_ino == inode


@pytest.mark.parametrize(
    ("system", "name"),
    [("Bad", "market"), ("a.b", "market"), ("", "market"), ("x" * 33, "market"), ("ok", "../up")],
)
def test_impossible_names_are_refused(system: str, name: str) -> None:
    with pytest.raises(ipc.SegmentNameError):
        ipc.create_segment(system, RING._replace(name=name))


def test_a_missing_segment_is_told(system_name: str) -> None:
    with pytest.raises(ipc.SegmentMissingError, match="market"):
        Segment.attach(system_name, RING)


@pytest.mark.parametrize(
    ("error", "code", "offset", "value", "says"),
    [
        (
            ipc.SegmentMagicError,
            "Q",
            layout.MAGIC_OFFSET,
            0x1234,
            "the magic is 0x0000000000001234",
        ),
        (ipc.SegmentUnfinishedError, "Q", layout.MAGIC_OFFSET, 0, "has not finished it, or died"),
        (ipc.SegmentVersionError, "I", layout.VERSION_OFFSET, 7, "version is 7, expected 1"),
        (ipc.SegmentKindError, "I", layout.KIND_OFFSET, 2, "kind is cells, expected ring"),
        (ipc.SegmentKindError, "I", layout.KIND_OFFSET, 99, r"kind is unknown \(99\)"),
        (ipc.SegmentItemError, "Q", layout.ITEM_BYTES_OFFSET, 64, "is 64, expected 128"),
        (ipc.SegmentCapacityError, "Q", layout.CAPACITY_OFFSET, 128, "is 128, expected 64"),
        (ipc.SegmentRecordError, "Q", layout.LAYOUT_HASH_OFFSET, 1, "record type is 0x0+1,"),
        (ipc.SegmentBootError, "Q", layout.BOOT_HASH_OFFSET, 1, "boot it was made in is 0x0+1,"),
    ],
)
def test_a_header_that_differs_is_refused_with_what_differs(
    system_name: str,
    create: Create,
    error: type[ipc.SegmentError],
    code: str,
    offset: int,
    value: int,
    says: str,
) -> None:
    create(RING)
    forge(system_name, code, offset, value)
    with pytest.raises(error, match=says) as caught:
        Segment.attach(system_name, RING)
    assert caught.value.segment == "market"
    assert caught.value.remedy


def test_another_record_type_is_refused(system_name: str, create: Create) -> None:
    create(RING)
    with pytest.raises(ipc.SegmentRecordError) as caught:
        Segment.attach(system_name, RING._replace(layout_hash=0xFEDCBA))
    assert caught.value.found == "0x0000000000abcdef"
    assert caught.value.expected == "0x0000000000fedcba"


@pytest.mark.parametrize("size", [0, 4095, 4096, 4096 + 64 * 128 - 1, 4096 + 64 * 128 + 4096])
def test_another_size_is_refused(system_name: str, create: Create, size: int) -> None:
    create(RING)
    os.truncate(path_of(system_name), size)
    with pytest.raises(ipc.SegmentSizeError, match=f"size is {size}"):
        Segment.attach(system_name, RING)


def test_a_symbolic_link_is_refused(system_name: str, create: Create) -> None:
    create(RING)
    target = path_of(system_name).with_suffix(".moved")
    path_of(system_name).rename(target)
    path_of(system_name).symlink_to(target)
    try:
        with pytest.raises(ipc.SegmentFileError, match="link"):
            Segment.attach(system_name, RING)
    finally:
        target.unlink()


def test_a_hard_link_is_refused(system_name: str, create: Create) -> None:
    create(RING)
    second = path_of(system_name).with_suffix(".second")
    os.link(path_of(system_name), second)
    try:
        with pytest.raises(ipc.SegmentFileError):
            Segment.attach(system_name, RING)
    finally:
        second.unlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_not_a_file_is_refused(system_name: str, make: Callable[[Path], None]) -> None:
    path = path_of(system_name)
    make(path)
    try:
        with pytest.raises(ipc.SegmentFileError):
            Segment.attach(system_name, RING, writable=True)
    finally:
        path.rmdir() if path.is_dir() else path.unlink()


def test_another_owner_is_refused(system_name: str, create: Create) -> None:
    create(RING)
    with pytest.raises(ipc.SegmentOwnerError, match=f"belongs to user {os.geteuid()}"):
        Segment.attach(system_name, RING, owner_uid=os.geteuid() + 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_refused_unless_that_user_is_named(system_name: str) -> None:
    ipc.create_segment(system_name, RING, uid=4242, gid=4242)
    try:
        assert path_of(system_name).stat().st_uid == 4242
        with pytest.raises(ipc.SegmentOwnerError, match="belongs to user 4242, expected 0"):
            Segment.attach(system_name, RING)
        Segment.attach(system_name, RING, owner_uid=4242).close()
    finally:
        ipc.unlink_segment(system_name, RING.name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give any file away")
def test_only_root_gives_files_away_and_nothing_is_left(system_name: str) -> None:
    with pytest.raises(ipc.SegmentAccessError):
        ipc.create_segment(system_name, RING, uid=0)
    assert ipc.list_segments(system_name) == []


@pytest.mark.parametrize("mode", [0o646, 0o660])
def test_a_file_that_others_may_write_is_refused(
    system_name: str, create: Create, mode: int
) -> None:
    create(RING)
    path_of(system_name).chmod(mode)
    with pytest.raises(ipc.SegmentOwnerError, match=f"mode {mode:04o}"):
        Segment.attach(system_name, RING)


def test_the_kernel_keeps_a_reader_from_writing(system_name: str, create: Create) -> None:
    create(RING)
    attached = Segment.attach(system_name, RING)
    with pytest.raises(TypeError, match="read-only"):
        attached.buffer[layout.ITEMS_OFFSET] = 1
    with pytest.raises(ipc.ReadOnlyError, match="mapped for reading"):
        attached.acquire_writer()
    attached.close()


def test_a_second_writer_is_refused_while_the_first_lives(
    system_name: str, create: Create, project_root: Path
) -> None:
    create(RING)
    program = (
        "import sys, ipc\n"
        "from ipc import *\n"
        f"spec = SegmentSpec('market', SegmentKind.RING, 128, 64, layout_hash={RING.layout_hash})\n"
        f"segment = Segment.attach({system_name!r}, spec, writable=True)\n"
        "writer = RingWriter(segment, bytearray(128))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=project_root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdin is not None
    assert first.stdout is not None
    mine = Segment.attach(system_name, RING, writable=True)
    try:
        assert first.stdout.readline() == "ready\n"
        with pytest.raises(ipc.WriterTakenError, match=f"process {first.pid}") as caught:
            ipc.RingWriter(mine, bytearray(128))
        assert caught.value.pid == first.pid
        first.kill()
        # Not waited for yet: a dead process that its parent has not collected is no writer.
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        ipc.RingWriter(mine, bytearray(128))
        assert mine.writer_pid == os.getpid()
        assert mine.epoch == 2
    finally:
        first.kill()
        first.stdin.close()
        first.stdout.close()
        first.wait()


def test_a_reused_process_id_does_not_keep_a_segment_taken(
    system_name: str, create: Create
) -> None:
    create(RING)
    parent, started = os.getppid(), process_start_time(os.getppid())
    assert started is not None
    mine = Segment.attach(system_name, RING, writable=True)
    forge(system_name, "Q", layout.WRITER_OFFSET, started << layout.WRITER_PID_BITS | parent)
    with pytest.raises(ipc.WriterTakenError):
        mine.acquire_writer()
    forge(system_name, "Q", layout.WRITER_OFFSET, (started + 1) << layout.WRITER_PID_BITS | parent)
    assert mine.acquire_writer() == 1


def test_a_removed_or_replaced_segment_is_noticed(system_name: str, create: Create) -> None:
    create(RING)
    attached = Segment.attach(system_name, RING)
    assert attached.inode_is_current()
    ipc.unlink_segment(system_name, RING.name)
    assert not attached.inode_is_current()
    ipc.create_segment(system_name, RING)
    assert not attached.inode_is_current()


def test_closing_leaves_rings_over_the_segment_alive(system_name: str, create: Create) -> None:
    create(RING)
    attached = Segment.attach(system_name, RING, writable=True)
    writer = ipc.RingWriter(attached, bytearray(128))
    attached.close()
    attached.close()
    assert writer.offer()


def test_a_hidden_boot_id_is_taken_from_the_environment_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = segment.boot_hash()
    text = Path(segment.BOOT_ID_PATH).read_text(encoding="ascii").strip()
    monkeypatch.setattr(segment, "BOOT_ID_PATH", "/nowhere/boot_id")
    monkeypatch.setattr(segment, "_boot_hash", 0)
    with pytest.raises(ipc.BootIdError, match="cannot read"):
        segment.boot_hash()
    monkeypatch.setenv(segment.BOOT_ID_VARIABLE, text.replace("-", ""))
    assert segment.boot_hash() == real


FULL_TMPFS = """
import errno, os, subprocess, sys
import ipc
from ipc import SegmentKind, SegmentSpec
spec = SegmentSpec("big", SegmentKind.RING, 128, 65536)
try:
    ipc.create_segment("full", spec)
except ipc.SegmentSpaceError as error:
    assert error.bytes_needed == ipc.segment_bytes(spec), error.bytes_needed
    assert os.listdir("/dev/shm") == [], os.listdir("/dev/shm")
    small = spec._replace(name="small", capacity=1024)
    ipc.create_segment("full", small)
    print("refused:", error)
"""


def test_a_full_shared_memory_is_an_error_and_leaves_nothing(project_root: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs the program unshare")
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 77; exec "$0" -c "$1"'
    private = [unshare, "--mount"] if os.geteuid() == 0 else [unshare, "--mount", "--map-root-user"]
    result = subprocess.run(
        [*private, "sh", "-c", script, sys.executable, FULL_TMPFS],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode in (77, 126) or "unshare" in result.stderr:
        pytest.skip(f"a private /dev/shm is not allowed here: {result.stderr.strip()}")
    assert result.stdout.startswith("refused: segment big: shared memory has no room"), result


def test_out_of_space_is_told_wherever_the_kernel_says_it(
    system_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(ipc.SegmentSpaceError, match="no room for its"):
        ipc.create_segment(system_name, RING)
    assert ipc.list_segments(system_name) == []
