"""The audit trail on disk: append-only, safe when ``append`` returns, any number of writers."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hft.core.audit import LINE_BYTES_MAX, Chain, Entry, line_of, make_entry, read_line, verify
from hft.errors import CheckFailedError

FILE_NAME: Final = "audit.jsonl"


def append(
    state_dir: Path, *, system: str, event: str, by: str, reason: str,
    facts: Mapping[str, Any] | None = None,
) -> Entry:  # fmt: skip
    """Add one act to the trail, and sync it. Writers wait for one another by a file lock.

    A last line without its end was cut off by a crash, before its writer was told that it is
    safe: it is removed.

    Raises:
        CheckFailedError: the last line is not ours, so nothing can follow it.
        OSError: the disk refuses.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / FILE_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the descriptor
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * LINE_BYTES_MAX))
        tail = file.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            size -= len(tail) - len(whole)
            file.truncate(size)
        entry = make_entry(_last(whole, path), wall_ns=time.time_ns(), system=system, event=event,
                           by=by, reason=reason, facts=facts or {})  # fmt: skip
        line = line_of(entry)
        assert len(line) <= LINE_BYTES_MAX
        file.seek(size)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return entry


def _last(whole: bytes, path: Path) -> Entry | None:
    lines = whole.splitlines()
    if not lines:
        return None
    try:
        return read_line(lines[-1])
    except ValueError as error:
        raise CheckFailedError(
            f"the last line of {path} {error}",
            remedy="See `hft audit`; move the file away to begin a new chain.",
        ) from None


def load(state_dir: Path) -> Chain:
    """The whole trail, verified; empty when there is none yet. An unfinished last line is not
    part of it.

    Raises:
        OSError: the disk refuses.
    """
    try:
        content = (state_dir / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return Chain((), "")
    return verify(content[: content.rfind(b"\n") + 1].splitlines())
