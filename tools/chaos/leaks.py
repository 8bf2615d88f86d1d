"""What a run must not leave behind: segments, processes, files, a command queue."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import psutil

import ipc
from ipc.commands import KEY_FILE

LEAK: Final = "nothing is left behind"
QUEUES: Final = Path("/proc/sysvipc/msg")


class Before(NamedTuple):
    """What was there before the system was."""

    name: str
    run_dir: Path
    processes: frozenset[int]


def look_before(name: str, run_dir: Path) -> Before:
    """Note what is there."""
    return Before(name, run_dir, _children())


def queue_key(run_dir: Path) -> int:
    """Key of the running system's command queue."""
    return int((run_dir / KEY_FILE).read_text(encoding="ascii"))


def leaks(before: Before, key: int) -> list[str]:
    """What is left of the system, in words."""
    found = [f"segment {segment}" for segment in ipc.list_segments(before.name)]
    found += [f"process {pid}" for pid in sorted(_children() - before.processes)]
    found += [f"command queue {key}" for queue in _queue_keys() if queue == key]
    if before.run_dir.exists():
        found += [f"{path}" for path in sorted(before.run_dir.rglob("*"))] or [f"{before.run_dir}"]
    return found


def _children() -> frozenset[int]:
    return frozenset(child.pid for child in psutil.Process().children(recursive=True))


def _queue_keys() -> list[int]:
    try:
        lines = QUEUES.read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:
        return []
    return [int(line.split()[0]) for line in lines]
