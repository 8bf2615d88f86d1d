"""Copies the ``journal`` ring to disk, in a thread of its own: a disk may hang for minutes.

Nobody waits for it but the person who wants the journal to be complete. Files are allocated before
they are needed; what was written is made safe against power loss at most every ``sync_s``. A file
whose write or sync failed is never touched again, as the kernel may have dropped what it could not
write: everything that was not confirmed is copied again into a fresh file.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hft.records import SLOT_BYTES
from hft.roles.journal_files import (
    HEADER_BYTES,
    SPARE,
    FileHeader,
    JournalFileError,
    count_valid,
    decode_header,
    list_files,
)
from hft.units import NS_PER_S
from ipc import RingReader

RETRY_S: Final = 1.0
"""Pause after a failure of the disk."""
BUSY_S: Final = 0.001
"""Pause when a quarter of the ring came at once."""
CHUNK: Final = 4_096
"""Records read and written together."""


def _write_whole(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


class JournalCopy:
    """The files of one journal. ``step`` and all below it belong to one thread.

    Args:
        reader: the ring; nobody else reads with it.
        ring_capacity: slots of the ring.
        directory: where the files are; made when it is not there.
        identity: header of a file as far as it is the same for all: journal, boot, system.
        confirmed_seq: up to here a predecessor had made the journal safe.
        keep: so many files are kept, the oldest are removed.
        sync_s: longest time that an entry waits for the disk.
        sync: what makes a file's content safe.
    """

    def __init__(
        self,
        reader: RingReader,
        ring_capacity: int,
        directory: Path,
        identity: FileHeader,
        *,
        confirmed_seq: int = 0,
        keep: int = 64,
        sync_s: float = 0.05,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._reader = reader
        self._ring_capacity = ring_capacity
        self._directory = directory
        self._identity = identity
        self._keep = keep
        self._sync_s = sync_s
        self._sync = sync
        self._chunk = bytearray(CHUNK * SLOT_BYTES)
        self._file = -1
        self._header = identity
        self._next_seq = 0
        """Next sequence to be written; 0: where the predecessor stopped is not known yet."""
        self._begin_seq = 0
        """First sequence that the next file answers for."""
        self._lost_before = 0
        """Entries that the header of the open file reports as lost, until that is safe."""
        self._is_dirty = False
        self._is_new = False
        self._has_spare = False
        self._synced_ns = 0
        self._wake = threading.Event()
        self._is_ending = False
        self._thread: threading.Thread | None = None
        # Written by the thread and read by the role:
        self.copied_seq = confirmed_seq
        self.lost = 0
        self.syncs = 0
        self.error = ""
        """Why the disk refuses, empty: it does not."""
        self.is_open = False
        self.crash: BaseException | None = None
        """An error of ours: the process has to end."""

    # -- the thread -----------------------------------------------------------------------------

    def start(self) -> None:
        """Copy from now on."""
        self._thread = threading.Thread(target=self._run, name="journal copy", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Copy what there is without waiting for the time."""
        self._wake.set()

    def end(self, timeout_s: float) -> bool:
        """Stop copying and close the file; False: the disk hangs, and the thread with it."""
        self._is_ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _run(self) -> None:
        try:
            pause_s = 0.0
            while not self._is_ending:
                self._wake.wait(pause_s)
                self._wake.clear()
                pause_s = self.turn()
            self.close()
        except Exception as error:
            self.crash = error

    def turn(self) -> float:
        """One step with its failures; returns the pause before the next one, s."""
        try:
            count = self.step(time.monotonic_ns())
        except OSError as error:
            self.abandon(error)
            return RETRY_S
        self.error = ""
        return self._sync_s if count < self._ring_capacity // 4 else BUSY_S

    # -- copying --------------------------------------------------------------------------------

    def step(self, now_ns: int) -> int:
        """Copy what is new and confirm it when it is time; returns how many entries were copied.

        Raises:
            OSError: the disk refuses.
        """
        if not self._next_seq:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._resume()
        count = self._drain()
        if self._file < 0:
            self._open()
        if not self._has_spare and self._next_seq - self._header.first_seq > self._room // 4:
            self._allocate(self._directory / SPARE)
            self._has_spare = True
        is_due = now_ns - self._synced_ns >= self._sync_s * NS_PER_S
        if self._is_dirty and (is_due or self._is_ending or not count):
            self._confirm(now_ns)
        return count

    @property
    def _room(self) -> int:
        return self._identity.capacity

    def _drain(self) -> int:
        count = 0
        for _ in range(self._ring_capacity // CHUNK + 1):
            fresh = self._reader.next_many(self._chunk)
            self._write(memoryview(self._chunk)[: fresh * SLOT_BYTES])
            count += fresh
            if self._reader.lapped:
                self._note_gap(self._reader.seq + 1)
            elif fresh < CHUNK:
                break
        return count

    def _write(self, records: memoryview) -> None:
        while records:
            if self._file < 0:
                self._open()
            index = self._next_seq - self._header.first_seq
            if index >= self._room:
                self._leave()
                continue
            part = records[: (self._room - index) * SLOT_BYTES]
            self._is_dirty = True
            _write_whole(self._file, part, HEADER_BYTES + index * SLOT_BYTES)
            self._next_seq += len(part) // SLOT_BYTES
            records = records[len(part) :]

    def _note_gap(self, next_seq: int) -> None:
        """Entries up to ``next_seq`` are gone: the next file says so in its header."""
        if self._file >= 0:
            self._leave()
        self._next_seq = next_seq

    def _confirm(self, now_ns: int) -> None:
        """Make everything written safe against power loss."""
        self._sync(self._file)
        if self._is_new:
            self._sync_directory()
            self._is_new = False
        self._is_dirty = False
        self._synced_ns = now_ns
        self.lost += self._lost_before
        self._lost_before = 0
        self.copied_seq = self._next_seq - 1
        self.syncs += 1  # last: who sees it sees the rest

    # -- files ----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin the file of ``_next_seq``: it gets its name when its header is safe."""
        spare = self._directory / SPARE
        if not self._has_spare:
            self._allocate(spare)
        self._has_spare = False
        header = self._identity._replace(
            first_seq=self._next_seq,
            begin_seq=self._begin_seq,
            created_wall_ns=time.time_ns(),
            created_ns=time.monotonic_ns(),
        )
        file = os.open(spare, os.O_RDWR | os.O_CLOEXEC)
        try:
            _write_whole(file, memoryview(header.encode()), 0)
            self._sync(file)
            spare.rename(self._directory / header.file_name)
        except BaseException:
            os.close(file)
            raise
        self._file, self._header = file, header
        self._lost_before = header.first_seq - header.begin_seq
        self._is_dirty = self._is_new = self.is_open = True
        self._remove_old()

    def _allocate(self, path: Path) -> None:
        """Make a file of zeros whose room on the disk is sure."""
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(file, 0, self._identity.file_bytes)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)

    def _leave(self) -> None:
        """Confirm the file and close it, without the room that it did not need."""
        self._confirm(time.monotonic_ns())
        used = self._next_seq - self._header.first_seq
        os.ftruncate(self._file, HEADER_BYTES + used * SLOT_BYTES)
        self._begin_seq = self._next_seq
        self._drop()

    def _drop(self) -> None:
        file, self._file = self._file, -1
        self._is_dirty = self.is_open = False
        self._lost_before = 0
        if file >= 0:
            os.close(file)

    def _remove_old(self) -> None:
        """Keep the newest files, and this one even when the wall clock went backwards."""
        own = self._header.file_name
        others = [path for path in list_files(self._directory) if path.name != own]
        for path in others[: max(0, len(others) + 1 - self._keep)]:
            path.unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    # -- beginnings and ends --------------------------------------------------------------------

    def _resume(self) -> None:
        """Go on behind what this journal has on disk already."""
        start_seq = self.copied_seq + 1
        own = f"{self._identity.journal_ns:020d}-"
        mine = [path for path in list_files(self._directory) if path.name.startswith(own)]
        if mine:
            start_seq = self._reopen(mine[-1])
        elif self.copied_seq:
            start_seq = 1  # somebody removed the files: whatever the ring still has is copied
        self._begin_seq = self._begin_seq or start_seq
        self._next_seq = start_seq
        self._reader.seek(start_seq)

    def _reopen(self, path: Path) -> int:
        """Take the newest file up again; returns the first sequence to be copied.

        What is on disk and was not confirmed is copied again, while the ring has it: so the next
        sync makes it safe, also when one of a predecessor's has failed.
        """
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            raw = os.pread(file, self._identity.file_bytes, 0)
            header = decode_header(raw, path)
            slots = raw[HEADER_BYTES:]
            confirmed = self.copied_seq + 1 - header.first_seq
            checked = max(0, min(confirmed, len(slots) // SLOT_BYTES))
            valid = count_valid(slots, header.first_seq, checked)
            start_seq = header.first_seq + valid
            oldest_seq = self._reader.newest_seq - self._ring_capacity // 2
            if oldest_seq < self.copied_seq + 1 < start_seq:
                start_seq = max(self.copied_seq + 1, header.first_seq)
            os.posix_fallocate(file, 0, header.file_bytes)
            torn = slots[valid * SLOT_BYTES :].rstrip(b"\0")
            _write_whole(file, memoryview(bytes(len(torn))), HEADER_BYTES + valid * SLOT_BYTES)
        except JournalFileError:
            os.close(file)
            return self.copied_seq + 1
        except BaseException:
            os.close(file)
            raise
        self._file, self._header = file, header
        self._begin_seq = header.begin_seq
        self._is_dirty = self._is_new = self.is_open = True
        return start_seq

    def abandon(self, error: OSError) -> None:
        """The disk refused: leave the file as it is, and copy again what was not confirmed."""
        with contextlib.suppress(OSError):
            self._drop()
        self._drop_spare()
        if self._next_seq:
            self._next_seq = self._begin_seq = self.copied_seq + 1
            self._reader.seek(self._next_seq)
        self.error = f"{error.strerror}: {error.filename or self._directory}"

    def _drop_spare(self) -> None:
        self._has_spare = False
        with contextlib.suppress(OSError):
            (self._directory / SPARE).unlink(missing_ok=True)

    def close(self) -> None:
        """Copy what is left, confirm it and close the file."""
        try:
            self.step(time.monotonic_ns())
            path = self._directory / self._header.file_name
            is_empty = self._next_seq == self._header.begin_seq
            self._leave()
            if is_empty:
                path.unlink(missing_ok=True)
        except OSError as error:
            self.abandon(error)
        self._drop_spare()
