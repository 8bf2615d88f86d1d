"""Locks held for life, process descriptors, start times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ipc
from ipc import Pidfd, RoleLock, lock_holder, process_start_time

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(project_root: Path) -> Iterator[Start]:
    """Run a program in its own process until the test ends; it says when it is ready."""
    running: list[subprocess.Popen[str]] = []

    def run(program: str) -> subprocess.Popen[str]:
        code = f"import sys\n{program}\nprint('ready', flush=True)\nsys.stdin.read()\n"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=project_root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in running:
        process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait()


def holding(run_dir: Path) -> str:
    return (
        "from pathlib import Path\nfrom ipc import RoleLock\n"
        f"lock = RoleLock(Path({str(run_dir)!r}), 'risk')\nlock.acquire()"
    )


def test_a_lock_is_held_and_given_back(run_dir: Path) -> None:
    lock = RoleLock(run_dir, "risk")
    assert lock_holder(run_dir, "risk") is None
    lock.acquire()
    lock.acquire()
    assert lock.is_held
    assert lock_holder(run_dir, "risk") == os.getpid()
    with pytest.raises(ipc.LockTakenError, match=f"process {os.getpid()}") as caught:
        RoleLock(run_dir, "risk").acquire()
    assert caught.value.pid == os.getpid()
    lock.release()
    assert not lock.is_held
    assert lock_holder(run_dir, "risk") is None
    again = RoleLock(run_dir, "risk")
    again.acquire()
    again.release()


def test_locks_of_different_roles_are_independent(run_dir: Path) -> None:
    locks = [RoleLock(run_dir, role) for role in ("risk", "feed")]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_a_lock_is_free_once_its_process_is_killed(run_dir: Path, start: Start) -> None:
    holder = start(holding(run_dir))
    assert lock_holder(run_dir, "risk") == holder.pid
    lock = RoleLock(run_dir, "risk")
    with pytest.raises(ipc.LockTakenError):
        lock.acquire()
    descriptor = Pidfd(holder.pid)
    holder.kill()
    assert descriptor.wait(60)
    descriptor.close()
    assert lock_holder(run_dir, "risk") is None
    lock.acquire()
    lock.release()


def test_a_stopped_process_keeps_its_lock(run_dir: Path, start: Start) -> None:
    holder = start(holding(run_dir))
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    with pytest.raises(ipc.LockTakenError):
        RoleLock(run_dir, "risk").acquire()
    assert lock_holder(run_dir, "risk") == holder.pid
    descriptor = Pidfd(holder.pid)
    assert descriptor.is_alive
    descriptor.close()


def test_a_forked_child_does_not_keep_its_dead_parents_lock(run_dir: Path, start: Start) -> None:
    child_file = run_dir / "child"
    holder = start(
        f"{holding(run_dir)}\nimport os, signal\nfile = Path({str(child_file)!r})\n"
        "if os.fork() == 0:\n    file.with_suffix('.new').write_text(str(os.getpid()))\n"
        "    file.with_suffix('.new').rename(file)\n    signal.pause()\n"
        "while not file.exists():\n    pass"
    )
    child = Pidfd(int(child_file.read_text()))
    try:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert child.is_alive
        lock = RoleLock(run_dir, "risk")
        lock.acquire()
        lock.release()
    finally:
        child.kill()
        child.close()


def test_a_lock_file_removed_meanwhile_is_not_locked_twice(run_dir: Path) -> None:
    first = RoleLock(run_dir, "risk")
    first.acquire()
    first.path.unlink()
    second = RoleLock(run_dir, "risk")
    second.acquire()
    assert lock_holder(run_dir, "risk") == os.getpid()
    first.release()
    with pytest.raises(ipc.LockTakenError):
        RoleLock(run_dir, "risk").acquire()
    second.release()


@pytest.mark.parametrize("content", [b"", b"x y", b"1", b"999999999 5", b"1 1"])
def test_a_lock_file_that_names_nobody_alive_has_no_holder(run_dir: Path, content: bytes) -> None:
    (run_dir / "risk.lock").write_bytes(content)
    assert lock_holder(run_dir, "risk") is None


def test_start_times_tell_processes_apart(start: Start) -> None:
    child = start("pass")
    own, theirs = process_start_time(os.getpid()), process_start_time(child.pid)
    assert own is not None
    assert theirs is not None
    assert own <= theirs
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start_time(child.pid) is None  # not yet collected by its parent, and dead
    child.wait()
    assert process_start_time(child.pid) is None


def test_a_pidfd_sees_the_end_and_signals(start: Start) -> None:
    child = start("pass")
    descriptor = Pidfd(child.pid)
    assert descriptor.is_alive
    assert not descriptor.wait(0.001)
    assert descriptor.fileno() > 0
    assert descriptor.kill(signal.SIGTERM)
    assert descriptor.wait(60)
    assert not descriptor.is_alive
    child.wait()
    assert not descriptor.kill()
    descriptor.close()
    descriptor.close()
    with pytest.raises(ProcessLookupError):
        Pidfd(child.pid)
