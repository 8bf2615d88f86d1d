"""`hft status --watch`: the same answer every second, in place on a terminal, else in blocks."""

from __future__ import annotations

import select
import shutil
import sys
import time
from pathlib import Path
from typing import Final

import click
import msgspec

import ipc
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, HftError
from tools.system.places import find_running
from tools.system.status import SAMPLE_S, Looker, render
from tools.system.stopping import StopRequest
from tools.terminal import paint

LOOK_S: Final = 1.0
ABSENT: Final = (HftError, ipc.IpcError)
_TO_START: Final = "\x1b[{}A\r"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"


class Screen:
    """Shows blocks of lines: each over the one before on a terminal, one after the other else."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._shown = 0

    def show(self, lines: list[str]) -> None:
        """Show a block."""
        if not self._is_terminal:
            click.echo("\n".join(lines) + "\n")
            return
        lines = lines[: max(1, shutil.get_terminal_size().lines - 1)]
        back = _TO_START.format(self._shown) if self._shown else ""
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        click.echo(f"{_WRAP_OFF}{back}{text}{_CLEAR_BELOW}{_WRAP_ON}", nl=False)
        self._shown = len(lines)


def watch(root: Path, name: str | None, *, as_json: bool) -> int:
    """Show the status until a signal, through restarts of the system; exit code of the last one.

    Raises:
        UnreachableError: no such system runs.
        UsageError: several run and none is named.
    """
    name = find_running(root, name).name
    screen, looker = Screen(), None
    exit_code = EXIT_CHECK_FAILED
    with StopRequest().installed() as stop:
        while not stop():
            try:
                if looker is None or not looker.is_current:
                    if looker is not None:
                        looker.close()
                    looker = Looker(find_running(root, name))
                    select.select([stop.fileno()], [], [], SAMPLE_S)
                found = looker.look()
            except ABSENT as error:
                looker = None
                exit_code = EXIT_CHECK_FAILED
                message = getattr(error, "message", str(error))
                absent = {"name": name, "problems": [message]}
                screen.show([msgspec.json.encode(absent).decode()] if as_json else _gone(message))
            else:
                exit_code = EXIT_CHECK_FAILED if found.problems else EXIT_OK
                if as_json:
                    click.echo(msgspec.json.encode(found))
                else:
                    screen.show([*render(found), time.strftime("%H:%M:%S")])
            select.select([stop.fileno()], [], [], LOOK_S)
    return exit_code


def _gone(message: str) -> list[str]:
    return [paint(message, "red"), f"{time.strftime('%H:%M:%S')} waiting for it"]
