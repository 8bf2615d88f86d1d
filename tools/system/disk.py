"""Whether the disk of the state directory has room for what a system writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from hft.errors import UsageError
from hft.roles.journal_files import FOLDER
from tools.system.places import make_state_dir

WARN_SHARE: Final = 0.20
WARN_BYTES_MAX: Final = 20 * 2**30
"""More than that is never missing, however large the disk is."""
REFUSE_SHARE: Final = 0.05
REFUSE_BYTES_MAX: Final = 2 * 2**30


def check_disk(state_dir: Path) -> tuple[str, ...]:
    """Make sure that the journal can be written; returns what is worth a word.

    Raises:
        UsageError: the directory cannot be written, or its disk is as good as full.
    """
    journal = state_dir / FOLDER
    make_state_dir(journal)
    if not os.access(journal, os.W_OK | os.X_OK):
        raise UsageError(
            f"the order journal cannot be written: {journal} belongs to another user.",
            remedy="Set system.state_dir to a directory that you may write.",
        )
    total, _, free = shutil.disk_usage(journal)
    room = f"{free / 2**20:,.0f} MB of {total / 2**20:,.0f} MB are free"
    if free < min(REFUSE_SHARE * total, REFUSE_BYTES_MAX):
        raise UsageError(
            f"the disk of {state_dir} is as good as full: {room}.",
            remedy="The order journal is written there: make room, or set system.state_dir.",
        )
    if free < min(WARN_SHARE * total, WARN_BYTES_MAX):
        return (f"the disk of {state_dir} fills up: {room}; the order journal is written there",)
    return ()
