"""``hft audit``: the audit trail and whether its chain is whole."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from hft.core.audit import GENESIS, Entry
from hft.core.policies import Change
from hft.errors import UnreachableError, UsageError
from hft.roles import audit_file
from tools.risk import changes


class Found(msgspec.Struct, frozen=True):
    """The newest entries, oldest first, and what was verified."""

    path: str
    verified: int
    """Entries from the first on whose chain is whole."""
    problem: str
    """Empty: all of it is."""
    last_hash: str
    """Copy it elsewhere: with it a trail that was cut off at its end can be recognised."""
    entries: tuple[Entry, ...]


def read(state_dir: Path, last: int) -> Found:
    """Verify the whole trail; ``last`` entries are returned, 0: all.

    Raises:
        UnreachableError: the disk refuses.
    """
    path = state_dir / audit_file.FILE_NAME
    try:
        chain = audit_file.load(state_dir)
    except OSError as error:
        raise UnreachableError(
            f"cannot read {path}: {error.strerror}", remedy="Run as the user of the system."
        ) from None
    entries = chain.entries
    return Found(
        path=str(path),
        verified=len(entries),
        problem=chain.problem,
        last_hash=entries[-1].hash if entries else GENESIS,
        entries=entries[-last:] if last else entries,
    )


def _shown(name: str, value: object) -> str:
    """A fact for a person: limits in the units that they are written in."""
    if name == "version" and isinstance(value, int):
        return f"{name}={value:#x}"
    if name == "changes" and isinstance(value, list):
        with contextlib.suppress(UsageError, TypeError):  # limits that another release knew
            return ", ".join(changes.shown(Change(*change)) for change in value)
    return f"{name}={value}"


def render(found: Found) -> list[str]:
    """The trail as text."""
    out = []
    for entry in found.entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.wall_ns / 1e9))
        facts = "  ".join(
            _shown(name, value)
            for name, value in entry.facts.items()
            if name not in ("ring", "life", "seq")
        )
        line = f"{entry.number:>6}  {when}  {entry.system}  {entry.event}  {entry.by}"
        out.append(f"{line}  {entry.reason}  {facts}".rstrip())
    if found.problem:
        out.append(f"BROKEN: {found.problem}; {found.verified} entries before it are whole")
    else:
        out.append(f"{found.verified} entries, the chain is whole; last {found.last_hash}")
    return out
