"""Who is alive: lock files held for life, process file descriptors, start times.

A lock is the kernel's, not a number in a file: it is free at the very moment its process is gone,
and a stopped process still holds it, so that no successor can start beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import weakref
from pathlib import Path
from typing import Final

from ipc.errors import LockTakenError

_START_TIME_FIELD: Final = 22 - 3
"""Field 22 of /proc/PID/stat, counted from the state, which follows the name in parentheses."""
_ACQUIRE_ATTEMPTS_MAX: Final = 16
_locks: weakref.WeakSet[RoleLock] = weakref.WeakSet()


def process_start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: it is dead.

    With the process id it names a process for ever. A process that ended and that its parent has
    not yet waited for counts as dead: it holds nothing any more.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[_START_TIME_FIELD])


class RoleLock:
    """The lock of one role: held from ``acquire`` until the process ends or releases it.

    The file holds the process id and start time of the holder. It is closed in forked children,
    which would otherwise keep the lock of a parent that died.
    """

    def __init__(self, run_dir: Path, role: str) -> None:
        self.role: Final = role
        self.path: Final = run_dir / f"{role}.lock"
        self._descriptor = -1
        _locks.add(self)

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor >= 0

    def acquire(self) -> None:
        """Take the lock, without waiting.

        Raises:
            LockTakenError: A living process holds it.
        """
        if self.is_held:
            return
        for _ in range(_ACQUIRE_ATTEMPTS_MAX):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o640)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _recorded_pid(os.pread(descriptor, 64, 0))
                os.close(descriptor)
                raise LockTakenError(self.role, pid=pid or 0) from None
            if self._is_current(descriptor):
                own = os.getpid()
                try:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{own} {process_start_time(own)}\n".encode(), 0)
                except OSError:
                    os.close(descriptor)  # a full disk must not keep the lock taken
                    raise
                self._descriptor = descriptor
                return
            os.close(descriptor)  # removed between open and lock: lock the file that is there now
        raise LockTakenError(self.role, pid=0)

    def release(self) -> None:
        """Give the lock back. The file stays: two processes could else lock two files."""
        if self.is_held:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def _is_current(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self.path).st_ino == os.fstat(descriptor).st_ino
        return False

    def _close(self) -> None:
        if self.is_held:
            os.close(self._descriptor)
            self._descriptor = -1


def _close_locks_in_child() -> None:
    for lock in list(_locks):
        lock._close()


os.register_at_fork(after_in_child=_close_locks_in_child)


def lock_holder(run_dir: Path, role: str) -> int | None:
    """Process id of the living holder of the role's lock; None: nobody. Does not touch the lock."""
    try:
        return _recorded_pid((run_dir / f"{role}.lock").read_bytes())
    except FileNotFoundError:
        return None


def _recorded_pid(content: bytes) -> int | None:
    parts = content.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    pid, started = int(parts[0]), int(parts[1])
    return pid if process_start_time(pid) == started else None


class Pidfd:
    """A process held by a descriptor: it names this process even after its number is reused."""

    def __init__(self, pid: int) -> None:
        """Open the descriptor.

        Raises:
            ProcessLookupError: There is no such process.
        """
        self.pid: Final = pid
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        """The descriptor: readable once the process has ended, so event loops can watch it."""
        return self._descriptor

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended. Stopped is alive."""
        return not self.wait(0.0)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process, at most ``timeout_s`` seconds. True: it has ended."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send the signal. False: the process is gone."""
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
