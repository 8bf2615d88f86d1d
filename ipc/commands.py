"""Commands to roles through a System V message queue, and the halt latch beside it.

A command is addressed to a role by the message type, carries its time of issue and expires. Who
sends one rings the role's bell afterwards. Halt is not a message: it is a word that stays set, and
a file that says why, so that no queue, full or stuck, stands between a person and the stop.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import sysv_ipc

from ipc.errors import (
    CommandAccessError,
    CommandQueueExistsError,
    CommandQueueFullError,
    CommandQueueMissingError,
    CommandSizeError,
)
from ipc.segment import Segment
from ipc.words import Latch

COMMAND_NS_MAX: Final = 2_000_000_000
"""Age, wall clock ns, from which a command is stale."""
BODY_BYTES_MAX: Final = 2048
_RECEIVE_BYTES_MAX: Final = 8192
"""The kernel's own limit: a message too long for us must not stay in the queue for ever."""
_REMOVED: Final = (sysv_ipc.ExistentialError, OSError)
"""What a queue that is no more raises: the kernel may have given its slot away meanwhile."""
KEY_FILE: Final = "commands.key"
HALT_FILE: Final = "HALT"
HALT_FILE_BYTES_MAX: Final = 4096


class Command(NamedTuple):
    """One order to a role. ``args`` holds what JSON can express."""

    name: str
    args: dict[str, Any]
    issued_wall_ns: int
    target_epoch: int = 0
    """Life of the role it is meant for; 0: whichever lives."""
    sender: str = ""
    """Who gave it, for the audit."""

    @classmethod
    def make(cls, name: str, *, sender: str, target_epoch: int = 0, **args: Any) -> Command:
        """A command issued now."""
        return cls(name, args, time.time_ns(), target_epoch, sender)

    def is_stale(self, now_wall_ns: int, epoch: int = 0) -> bool:
        """Too old, from the future, or meant for another life of the role."""
        if abs(now_wall_ns - self.issued_wall_ns) > COMMAND_NS_MAX:
            return True
        return epoch != 0 and self.target_epoch not in (0, epoch)


class CommandQueue:
    """The one queue of a running system: everybody may send, each role takes out its own."""

    def __init__(self, queue: sysv_ipc.MessageQueue) -> None:
        self._queue = queue
        self.dropped = 0
        """Stale or unreadable commands this process took out and threw away."""

    @classmethod
    def create(cls, run_dir: Path, *, mode: int = 0o660) -> CommandQueue:
        """Make the queue and note its key in the run directory. For the creator only.

        Raises:
            CommandQueueExistsError: There is a living one already.
        """
        path = run_dir / KEY_FILE
        with contextlib.suppress(CommandQueueMissingError):
            cls.attach(run_dir)
            raise CommandQueueExistsError(
                f"{run_dir} has a command queue already",
                remedy="the system is running, or was not cleared away: hft down",
            )
        queue = sysv_ipc.MessageQueue(
            None, sysv_ipc.IPC_CREX, mode=mode, max_message_size=_RECEIVE_BYTES_MAX
        )
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{queue.key}\n", encoding="ascii")
        fresh.chmod(0o640)
        fresh.replace(path)
        return cls(queue)

    @classmethod
    def attach(cls, run_dir: Path) -> CommandQueue:
        """Open the queue.

        Raises:
            CommandQueueMissingError: None was created, or it was removed.
            CommandAccessError: This user may not use it.
        """
        try:
            key = int((run_dir / KEY_FILE).read_text(encoding="ascii"))
            return cls(sysv_ipc.MessageQueue(key, max_message_size=_RECEIVE_BYTES_MAX))
        except (FileNotFoundError, ValueError, sysv_ipc.ExistentialError):
            raise CommandQueueMissingError(
                f"{run_dir} has no command queue", remedy="start the system first: hft up"
            ) from None
        except (PermissionError, sysv_ipc.PermissionsError):
            raise CommandAccessError(
                f"the command queue of {run_dir} is another user's",
                remedy="run as the system's user, or as a member of its group",
            ) from None

    @staticmethod
    def remove(run_dir: Path) -> bool:
        """Remove queue and key file. False: there was neither. For the creator only."""
        existed = False
        with contextlib.suppress(CommandQueueMissingError, sysv_ipc.ExistentialError):
            CommandQueue.attach(run_dir)._queue.remove()
            existed = True
        with contextlib.suppress(FileNotFoundError):
            (run_dir / KEY_FILE).unlink()
            existed = True
        return existed

    def send(self, role_id: int, command: Command) -> None:
        """Put a command in, without waiting; ring the role's bell afterwards.

        Args:
            role_id: The role's number, from 1.
            command: What it is to do.

        Raises:
            CommandSizeError: It is too long.
            CommandQueueFullError: Roles do not take out what they were sent.
            CommandQueueMissingError: The queue was removed.
        """
        body = json.dumps(command._asdict(), separators=(",", ":")).encode()
        if len(body) > BODY_BYTES_MAX:
            raise CommandSizeError(body_bytes=len(body), body_bytes_max=BODY_BYTES_MAX)
        try:
            self._queue.send(body, block=False, type=role_id)
        except sysv_ipc.BusyError:
            raise CommandQueueFullError(
                f"the command queue is full: {self._queue.current_messages} commands wait",
                remedy="see which role does not take its commands (hft status); to stop trading "
                "no command is needed: hft halt",
            ) from None
        except _REMOVED:
            raise _removed() from None

    def receive(self, role_id: int, *, epoch: int = 0) -> Command | None:
        """Take out the role's next command that is still good; None: there is none.

        Args:
            role_id: The role's number.
            epoch: Its present life; commands for another one are dropped. 0: take all.

        Raises:
            CommandQueueMissingError: The queue was removed.
        """
        while True:
            try:
                body, _ = self._queue.receive(block=False, type=role_id)
            except sysv_ipc.BusyError:
                return None
            except _REMOVED:
                raise _removed() from None
            command = _decode(body)
            if command is not None and not command.is_stale(time.time_ns(), epoch):
                return command
            self.dropped += 1


def _decode(body: bytes) -> Command | None:
    """The command, or None: whoever may write to the queue may write nonsense."""
    try:
        fields = json.loads(body)
        command = Command(**fields)
    except (ValueError, TypeError, RecursionError):
        return None
    types = (str, dict, int, int, str)
    fits = all(isinstance(value, kind) for value, kind in zip(command, types, strict=True))
    return command if fits else None


def _removed() -> CommandQueueMissingError:
    return CommandQueueMissingError(
        "the command queue was removed", remedy="the system was taken down: hft up"
    )


class HaltLatch(Latch):
    """The halt word: ``is_set`` is one load. Whoever sets it first, says why; it stays set.

    The word is what roles read. The file ``HALT`` in the run directory holds the reason; made by
    hand it halts as well, as soon as somebody calls ``refresh``.
    """

    def __init__(self, segment: Segment, run_dir: Path, index: int = 0) -> None:
        super().__init__(segment, index)
        self._path = run_dir / HALT_FILE

    def set(self, reason: str, who: str) -> bool:
        """Halt. False: it was set already; the first reason stays.

        A disk that does not take the file keeps nobody from halting.

        Raises:
            ReadOnlyError: The word is mapped for reading.
        """
        first = self.swap(0, 1)
        with contextlib.suppress(OSError):
            if first or not self._path.exists():
                self._write(reason, who)
        return first

    def _write(self, reason: str, who: str) -> None:
        content = json.dumps({"reason": reason, "who": who, "wall_ns": time.time_ns()})
        fresh = self._path.with_suffix(f".{os.getpid()}")
        fresh.write_text(content + "\n", encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(fresh, self._path)  # a file that is there was first, and stays
        fresh.unlink()

    def reason(self) -> str:
        """Why, by whom and when, for a person to read; empty when nothing is halted."""
        try:
            with self._path.open("rb") as file:
                text = file.read(HALT_FILE_BYTES_MAX).decode(errors="replace").strip()
        except FileNotFoundError:
            return "no reason was left" if self.is_set else ""
        try:
            fields = json.loads(text)
            return f"{fields['reason']} (by {fields['who']}, {_wall_time(fields['wall_ns'])})"
        except (ValueError, TypeError, KeyError):
            return text or "no reason was left"  # a file made by hand

    def refresh(self) -> bool:
        """Set the word if the file is there; returns whether all is halted. For cold code."""
        if not self.is_set and self._path.exists():
            self.swap(0, 1)
        return self.is_set

    def clear(self) -> None:
        """Take the halt back: only when a person arms the system."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.store(0)


def _wall_time(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_ns / 1e9))
