"""Put the calling process where the plan wants it: the only system calls of this package.

Everything is best effort and looked at afterwards, because some sandboxes say yes and do nothing.
What the host refuses is returned as a sentence, so that the caller can show it; a refusal makes the
process slower, never wrong. What holds already is left alone: under systemd the unit has pinned the
process, and a system call filter forbids to do it again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pinning.plan import NOT_PINNED

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
PR_SET_TIMERSLACK: Final = 29
PR_GET_TIMERSLACK: Final = 30
CAP_IPC_LOCK: Final = 14
SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which the C library does not have; ``sched_getattr`` is the next."""
SCHED_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""``struct sched_attr``, version 0: its size, policy, flags, nice, priority, and for an ordinary
thread, from Linux 6.12 on, the slice in ns in place of the runtime."""
TIMER_SLACK_NS: Final = 1
"""The kernel's default of 50 µs would be added to every bounded wait; 0 would mean the default."""


def apply(
    cpu: int,
    *,
    lock_memory: bool = True,
    realtime_priority: int = 0,
    timer_slack_ns: int = TIMER_SLACK_NS,
    slice_ns: int = 0,
) -> list[str]:
    """Pin, schedule and lock the calling process; what could not be done, one sentence each.

    Affinity and scheduling class belong to a thread: call this before any other thread starts.

    Args:
        cpu: the cpu to run on; ``NOT_PINNED`` leaves the affinity alone.
        lock_memory: keep the pages that are in use from being swapped out.
        realtime_priority: 1 to 99: SCHED_FIFO with that priority, not inherited by children; 0: the
            scheduling class stays. A process that spins must not have one on a cpu that it shares.
        timer_slack_ns: how late the kernel may let a timed wait end.
        slice_ns: ask the ordinary scheduling class for slices of this length, 100 µs to 100 ms: who
            wakes up runs at once in place of somebody with longer ones. 0: as the kernel likes. A
            wish, not a need: no problem where the kernel knows no slices or a sandbox forbids them.
    """
    steps: list[tuple[str, Callable[[], None]]] = []
    if cpu != NOT_PINNED:
        steps.append((f"not pinned to cpu {cpu}", lambda: _pin(cpu)))
    if realtime_priority:
        steps.append(("no real-time scheduling", lambda: _real_time(realtime_priority)))
    elif slice_ns:
        with contextlib.suppress(OSError):
            _slice(slice_ns)
    if lock_memory:
        steps.append(("memory not locked", _lock_memory))
    steps.append(("timer slack unchanged", lambda: _timer_slack(timer_slack_ns)))
    return [problem for what, step in steps if (problem := _attempt(what, step))]


def _attempt(what: str, step: Callable[[], None]) -> str:
    try:
        step()
    except OSError as error:
        return f"{what}: {error.strerror}"
    return ""


def _pin(cpu: int) -> None:
    if os.sched_getaffinity(0) != {cpu}:
        os.sched_setaffinity(0, {cpu})
        _verify(os.sched_getaffinity(0) == {cpu}, "the host agreed and did not do it")


def _real_time(priority: int) -> None:
    def holds() -> bool:
        is_fifo = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        return is_fifo and os.sched_getparam(0).sched_priority == priority

    if not holds():
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))
        _verify(holds(), "the host agreed and did not do it")


def _slice(slice_ns: int) -> None:
    number = SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    libc = _libc()
    buffer = ctypes.create_string_buffer(SCHED_ATTRIBUTES.size)
    _check(libc.syscall(number + 1, 0, buffer, len(buffer), 0))
    size, policy, flags, nice, priority, found_ns, *rest = SCHED_ATTRIBUTES.unpack(buffer.raw)
    if policy == os.SCHED_OTHER and found_ns != slice_ns:
        wanted = SCHED_ATTRIBUTES.pack(size, policy, flags, nice, priority, slice_ns, *rest)
        _check(libc.syscall(number, 0, wanted, 0))


def _lock_memory() -> None:
    """Lock what is mapped and what will be, each page once it is touched.

    Not attempted under a finite limit: the future part would turn the first large allocation past
    it into a MemoryError. Locking on touch keeps the resident size what it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY and soft != hard:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    if hard != resource.RLIM_INFINITY and not _may_lock():
        raise OSError(0, f"the limit (ulimit -l) is {hard // 1024} KiB; it has to be unlimited")
    _check(_libc().mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
    _verify(locked_bytes() > 0, "the host agreed and did not do it (VmLck is 0)")


def locked_bytes(status: Path = Path("/proc/self/status")) -> int:
    """How much memory of the process is locked: what the kernel says of it."""
    return int(_status_field(status, "VmLck").removesuffix("kB") or 0) * 1024


def _may_lock(status: Path = Path("/proc/self/status")) -> bool:
    return bool(int(_status_field(status, "CapEff") or "0", 16) >> CAP_IPC_LOCK & 1)


def _status_field(status: Path, wanted: str) -> str:
    for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == wanted:
            return value.strip()
    return ""


def _timer_slack(timer_slack_ns: int) -> None:
    libc = _libc()
    _check(libc.prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(timer_slack_ns), 0, 0, 0))
    slack_ns = libc.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)
    # A real-time thread has no slack at all, whatever is asked for.
    _verify(slack_ns in (0, timer_slack_ns), f"it is {slack_ns} ns")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _verify(holds: bool, otherwise: str) -> None:
    if not holds:
        raise OSError(0, otherwise)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
