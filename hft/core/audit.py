"""The audit trail: one JSON object a line, each holding the SHA-256 of the line before.

Whoever changes, removes or inserts a line breaks every hash after it. What was cut off at the end
shows only to somebody who noted an earlier hash: copy the last one elsewhere if that matters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

GENESIS: Final = "0" * 64
"""What the first line follows."""
LINE_BYTES_MAX: Final = 8_192


class Entry(NamedTuple):
    """One act: who did what, when and why."""

    number: int
    """From 1, without gaps."""
    wall_ns: int
    system: str
    event: str
    by: str
    reason: str
    facts: dict[str, Any]
    """What JSON can express."""
    previous: str
    hash: str


class Chain(NamedTuple):
    """What a trail holds, up to the first line that is not as it was written."""

    entries: tuple[Entry, ...]
    problem: str
    """Empty: the chain is whole."""


def make_entry(
    after: Entry | None, *, wall_ns: int, system: str, event: str, by: str, reason: str,
    facts: Mapping[str, Any],
) -> Entry:  # fmt: skip
    """The entry that follows ``after``; None: the first."""
    number = after.number + 1 if after else 1
    entry = Entry(number, wall_ns, system, event, by, reason, dict(facts),
                  after.hash if after else GENESIS, "")  # fmt: skip
    return entry._replace(hash=_hash_of(entry))


def line_of(entry: Entry) -> bytes:
    """The entry as it stands in the file."""
    return _canonical(entry._asdict()) + b"\n"


def read_line(line: bytes) -> Entry:
    """One line of the file.

    Raises:
        ValueError: it is none of ours, or its hash is not that of its content.
    """
    try:
        fields = json.loads(line)
        entry = Entry(**fields)
    except (ValueError, TypeError, RecursionError):
        raise ValueError("is not an entry") from None
    if line_of(entry) != line.rstrip(b"\n") + b"\n":
        raise ValueError("is not written as entries are")
    if entry.hash != _hash_of(entry):
        raise ValueError("has another content than its hash says")
    return entry


def verify(lines: Iterable[bytes]) -> Chain:
    """Read a trail and check every link."""
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = read_line(line)
        except ValueError as error:
            return Chain(tuple(entries), f"line {number} {error}")
        before = entries[-1].hash if entries else GENESIS
        if entry.previous != before:
            return Chain(tuple(entries), f"line {number} does not follow the line before it")
        if entry.number != number:
            return Chain(tuple(entries), f"line {number} has number {entry.number}")
        entries.append(entry)
    return Chain(tuple(entries), "")


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def _hash_of(entry: Entry) -> str:
    fields = entry._asdict()
    del fields["hash"]
    return hashlib.sha256(_canonical(fields)).hexdigest()
