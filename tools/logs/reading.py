"""`hft logs`: the log of a system, also of one that has ended, from all its pieces."""

from __future__ import annotations

import os
import re
import select
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from hft.errors import EXIT_OK, UnreachableError, UsageError
from hft.units import NS_PER_MS
from tools.logs.entry import LEVELS, render, timestamp
from tools.logs.log_file import log_path, pieces
from tools.system.stopping import StopRequest

LOOK_S: Final = 0.25
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")

Say = Callable[[str], object]
Entry = dict[str, Any]


def parse_since(text: str, now: datetime) -> str:
    """A moment as entries write it, from ``10m``, ``2h``, ``09:30`` or ISO 8601; all in UTC.

    Raises:
        UsageError: it is none of these.
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        moment = now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        return _written(moment)
    try:
        if _CLOCK.fullmatch(text):
            text = f"{now.date().isoformat()}T{text.zfill(5)}"
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f'"{text}" is no moment that --since knows.',
            remedy="Write how long ago (90s, 10m, 2h, 1d), a time of day (09:30) or"
            " 2026-01-31T12:00, in UTC.",
        ) from None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return _written(moment)


def _written(moment: datetime) -> str:
    return timestamp(round(moment.timestamp() * 1_000) * NS_PER_MS)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are shown, and how."""

    last: int = 100
    """How many of the past at most; 0: all."""
    since: str | None = None
    """See ``parse_since``."""
    level: str = "info"
    follow: bool = False
    as_json: bool = False


def show(state_dir: Path, wanted: Wanted, say: Say) -> int:
    """Show entries of the past, and with ``follow`` those that come until a signal.

    Raises:
        UnreachableError: the system has no log.
        UsageError: ``since`` is no moment.
    """
    path = log_path(state_dir)
    since = parse_since(wanted.since, datetime.now(UTC)) if wanted.since else ""
    lowest = LEVELS[wanted.level]

    def is_wanted(entry: Entry) -> bool:
        level = LEVELS.get(str(entry.get("level")), LEVELS["error"])
        return level >= lowest and str(entry.get("time", "")) >= since

    def tell(line: bytes) -> None:
        entry = _parse(line)
        if is_wanted(entry):
            say(line.decode(errors="replace").rstrip("\n") if wanted.as_json else render(entry))

    if not wanted.follow and not pieces(path):
        raise UnreachableError(
            f"there is no log in {path.parent}.",
            remedy="`hft up` writes one; --state-dir says where to look (system.state_dir).",
        )
    with closing(Tail(path)) as tail:
        past = (line for line in tail.past() if is_wanted(_parse(line)))
        for line in deque(past, maxlen=wanted.last or None):
            tell(line)
        if wanted.follow:
            _follow(tail, tell)
    return EXIT_OK


def _follow(tail: Tail, tell: Callable[[bytes], None]) -> None:
    with StopRequest().installed() as stop:
        while not stop():
            for line in tail.news():
                tell(line)
            select.select([stop.fileno()], [], [], LOOK_S)


def _parse(line: bytes) -> Entry:
    """The entry in a line; a line that is none is shown as it is, and as bad as can be."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        text = line.decode(errors="replace").strip()
        return {"level": "error", "source": "log", "event": "damaged line", "text": text}


class Tail:
    """Lines of a log that is cut into pieces while it is read; only whole ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def past(self) -> Iterator[bytes]:
        """Every line that is there, oldest first; ``news`` goes on behind them."""
        for piece in pieces(self._path):
            self._open(piece)
            yield from self._lines()

    def news(self) -> Iterator[bytes]:
        """What was written since the last call."""
        yield from self._lines()
        if self._is_over():
            yield from self._lines()  # what came before it was cut
            self._open(self._path)
            yield from self._lines()

    def _open(self, piece: Path) -> None:
        self.close()
        with suppress(FileNotFoundError):
            self._file = piece.open("rb")

    def close(self) -> None:
        """Close the piece that is open; half a line is forgotten."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _lines(self) -> Iterator[bytes]:
        if self._file is None:
            return
        while chunk := self._file.readline():
            self._rest += chunk
            if not self._rest.endswith(b"\n"):
                return
            line, self._rest = self._rest, b""
            yield line

    def _is_over(self) -> bool:
        """Whether the file we read is no longer the one that is written."""
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            return False
        return self._file is None or os.fstat(self._file.fileno()).st_ino != current.st_ino
