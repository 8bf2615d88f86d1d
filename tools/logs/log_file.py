"""One file that several processes append to, cut into pieces of a limited size."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

FOLDER: Final = "log"
FILE: Final = "hft.log"
FILE_BYTES_MAX: Final = 8 * 2**20
FILES_MAX: Final = 8
"""With the one that is written: the oldest is ``hft.log.7``."""
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def log_path(state_dir: Path) -> Path:
    """The file that is written, below a system's state directory."""
    return state_dir / FOLDER / FILE


def pieces(path: Path) -> list[Path]:
    """All files of the log that are there, oldest first."""
    older = [_piece(path, number) for number in range(FILES_MAX - 1, 0, -1)]
    return [one for one in (*older, path) if one.exists()]


def _piece(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


class LogFile:
    """Appends whole lines. A full disk loses lines and says later how many; it never raises.

    Before a system has a state directory nothing is written: a start that fails leaves nothing.
    """

    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX) -> None:
        self.path: Final = path
        self.lost = 0
        """Lines that could not be written."""
        self._bytes_max = bytes_max
        self._descriptor = -1

    def append(self, line: bytes) -> bool:
        """Write one line; False: it is not written."""
        try:
            self._append(line)
        except FileNotFoundError:
            return False
        except OSError:
            self.lost += 1
            return False
        return True

    def _append(self, line: bytes) -> None:
        while True:
            self._open()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                if not self._is_current():
                    self.close()  # another process has begun a new piece
                    continue
                size = os.fstat(self._descriptor).st_size
                if size and size + len(line) > self._bytes_max:
                    self._turn_over()
                    continue
                os.write(self._descriptor, line)
                return
            finally:
                if self._descriptor >= 0:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _open(self) -> None:
        if self._descriptor < 0:
            self.path.parent.mkdir(mode=0o750, exist_ok=True)
            self._descriptor = os.open(self.path, _FLAGS, 0o640)

    def _is_current(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino
        return False

    def _turn_over(self) -> None:
        """Make every piece one older; the lock on the present one is held meanwhile."""
        for number in range(FILES_MAX - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                _piece(self.path, number - 1).replace(_piece(self.path, number))
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
