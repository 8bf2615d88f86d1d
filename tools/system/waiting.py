"""Waiting, in tools, for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import ipc

LOOK_S: Final = 0.01
"""Pause between two looks."""


def wait_until(condition: Callable[[], bool], *, pid: int, timeout_s: float) -> bool:
    """Wait until ``condition`` holds; False when the time is up or process ``pid`` ended first.

    A ``pid`` of 0 stands for a process that was never started.
    """
    if not pid:
        return condition()
    deadline = time.monotonic() + timeout_s
    try:
        process = ipc.Pidfd(pid)
    except ProcessLookupError:
        return condition()
    try:
        while not condition():
            if process.wait(LOOK_S) or time.monotonic() > deadline:
                return condition()
        return True
    finally:
        process.close()


def pause(seconds: float, *, pid: int) -> None:
    """Let time pass, but not longer than process ``pid`` lives."""
    wait_until(lambda: False, pid=pid, timeout_s=seconds)
