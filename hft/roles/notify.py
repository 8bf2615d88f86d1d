"""What a process tells systemd: that it is ready, its state in words, and that its loop turns.

One datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)). The watchdog is fed by the turn
of the loop itself: a loop that hangs is killed, whatever other threads of the process still do.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final, Protocol

from hft.counters import WAITS, RoleState
from hft.units import NS_PER_MS

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
PING_NS: Final = 200 * NS_PER_MS
EXTEND_US: Final = 30_000_000
"""More time for a start that waits for what no new start would mend, told with every ping."""


class Page(Protocol):
    """What is told of a role."""

    @property
    def state(self) -> int:
        """``RoleState``."""

    def gauge(self, index: int) -> int:
        """A gauge of the role."""


class Notifier:
    """Feeds the watchdog of one process, and tells what its roles do."""

    def __init__(self, address: str, pages: Mapping[str, Page]) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pages = dict(pages)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._due_ns = 0
        self._is_ready_told = False
        self._is_stop_told = False
        self._told = ""

    def turned(self, now_ns: int, *, is_stopping: bool) -> None:
        """The loop has turned: five times a second that is told, and a stop at once."""
        if now_ns >= self._due_ns or is_stopping is not self._is_stop_told:
            self._due_ns = now_ns + PING_NS
            self._ping(is_stopping)

    def _ping(self, is_stopping: bool) -> None:
        states = {role: RoleState(page.state) for role, page in self._pages.items()}
        is_ready = all(state is RoleState.READY for state in states.values())
        status = _in_words(states)
        lines = ["WATCHDOG=1"]
        if status != self._told:
            lines.append(f"STATUS={status}")
        if is_stopping and not self._is_stop_told:
            lines.append("STOPPING=1")
        if is_ready and not self._is_ready_told:
            lines.append("READY=1")
        elif not self._is_ready_told and self._waits():
            lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_US}")
        if self._send("\n".join(lines)):
            self._told = status
            self._is_stop_told |= is_stopping
            self._is_ready_told |= is_ready

    def _waits(self) -> bool:
        return any(page.gauge(WAITS.id) for page in self._pages.values())

    def _send(self, text: str) -> bool:
        """Whether it went out; what did not is told again with the next ping."""
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)
            return True
        return False

    def close(self) -> None:
        """Tell nothing more."""
        self._socket.close()


def connect(pages: Mapping[str, Page]) -> Notifier | None:
    """A notifier when this process was started by somebody who listens; else None."""
    address = os.environ.get(SOCKET_VARIABLE, "")
    return Notifier(address, pages) if address.startswith(("/", "@")) else None


def _in_words(states: Mapping[str, RoleState]) -> str:
    if len(states) == 1:
        return next(iter(states.values())).name.lower().replace("_", " ")
    return ", ".join(f"{role} {state.name.lower()}" for role, state in states.items())
