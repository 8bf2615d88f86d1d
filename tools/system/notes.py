"""What the supervisor notes for others to read: who runs, how often started again, what happened.

Apart from the supervisor, so that whoever reads them does not load what starts processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

NOTES_FILE: Final = "supervisor.json"


class ProcessNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor notes of one process, for others to read."""

    name: str
    roles: tuple[str, ...]
    pid: int
    """0: not running."""
    pid_started: int
    """Start time of the process, clock ticks since boot: with the pid it names it for ever."""
    restarts: int


class EventNote(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    wall_ns: int
    text: str


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of ``supervisor.json``."""

    pid: int
    started_wall_ns: int
    processes: tuple[ProcessNote, ...]
    helpers: tuple[ProcessNote, ...] = ()
    """Processes beside the plan, such as the demo's venue: ended with the system."""
    events: tuple[EventNote, ...] = ()


def load_notes(run_dir: Path) -> Notes | None:
    """The supervisor's notes; None when there are none."""
    try:
        return msgspec.json.decode((run_dir / NOTES_FILE).read_bytes(), type=Notes)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
