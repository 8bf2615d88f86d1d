"""Ctrl-C, and what else asks a foreground command to end: set a flag, wake the poll, no more."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Set by SIGINT, SIGTERM and SIGHUP; ``fileno`` becomes readable, so that a poll wakes."""

    def __init__(self) -> None:
        self.is_set = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._reader.fileno()

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.is_set

    @contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Catch the signals while the block runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
            self._reader.close()
            self._writer.close()

    def _on_signal(self, *_: object) -> None:
        self.is_set = True
