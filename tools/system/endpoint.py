"""Where the metrics of a running system are served: noted in its run directory by who serves them.

The note goes with the run directory; one whose process has ended counts for nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

import ipc

FILE: Final = "metrics.json"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of the note."""

    url: str
    pid: int
    pid_started: int
    """Start time of the process, clock ticks since boot: with the pid it names it for ever."""


def note(run_dir: Path, url: str) -> None:
    """Say that this process serves the metrics there; a directory that is gone needs no note."""
    started = ipc.process_start_time(os.getpid()) or 0
    content = msgspec.json.encode(Endpoint(url=url, pid=os.getpid(), pid_started=started))
    draft = run_dir / f"{FILE}.new"
    with contextlib.suppress(OSError):
        draft.write_bytes(content)
        draft.replace(run_dir / FILE)


def forget(run_dir: Path) -> None:
    """Take our own note back."""
    found = _read(run_dir)
    if found is not None and found.pid == os.getpid():
        with contextlib.suppress(OSError):
            (run_dir / FILE).unlink()


def url_of(run_dir: Path) -> str:
    """Address of the metrics; empty: nobody serves them."""
    found = _read(run_dir)
    if found is None or ipc.process_start_time(found.pid) != found.pid_started:
        return ""
    return found.url


def _read(run_dir: Path) -> Endpoint | None:
    try:
        return msgspec.json.decode((run_dir / FILE).read_bytes(), type=Endpoint)
    except (OSError, msgspec.DecodeError):
        return None
