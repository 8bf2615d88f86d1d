"""``hft monitor``: the command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.monitor.screens import HEIGHT_MIN, WIDTH_MIN, render
from tools.monitor.source import Source
from tools.monitor.state import State
from tools.monitor.style import PLAIN, theme_for
from tools.system.waiting import pause

ONCE_SIZE: Final = (100, 30)
"""Of a frame that goes into a pipe, unless COLUMNS and LINES say otherwise."""
NO_CURSOR: Final = ("", "dumb")
ONCE_S: Final = 0.3
"""Rates are counted over this time."""


def run(run_dir: Path, *, once: bool, trade: bool) -> int:
    """Show the system until the person leaves; or one plain frame.

    Raises:
        UnreachableError: nothing runs from there.
    """
    source = Source(run_dir)
    try:
        if once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            return _print_once(source)
        return _show(source, may_trade=trade)
    finally:
        source.close()


def _print_once(source: Source) -> int:
    """One frame as text; exit code 1 when a role is not well or the system is lost."""
    source.poll()
    pause(ONCE_S, pid=os.getpid())
    state = State(source.poll())
    width, height = shutil.get_terminal_size(ONCE_SIZE)
    rows = render(state, max(width, WIDTH_MIN), max(height, HEIGHT_MIN), PLAIN)
    click.echo("\n".join(row.rstrip() for row in rows[:-1]))  # nobody presses a key in a pipe
    is_well = state.snapshot.lost is None and all(role.is_well for role in state.snapshot.roles)
    return EXIT_OK if is_well else EXIT_CHECK_FAILED


def _show(source: Source, *, may_trade: bool) -> int:
    from tools.monitor.driver import Driver, shows_only_ascii
    from tools.monitor.screen import Display, open_terminal

    kind = os.environ.get("TERM", "")
    if kind in NO_CURSOR:  # blessed would take it for an xterm
        raise UsageError(
            f"this terminal (TERM={kind}) cannot move its cursor.",
            remedy="`hft monitor --once` prints one frame; or set TERM to what the terminal is.",
        )
    terminal, no_colour = open_terminal()
    theme = theme_for(terminal.number_of_colors, no_colour=no_colour)
    state = State(source.poll(), theme=theme.name, may_trade=may_trade)
    with Display(terminal) as display:
        Driver(source, state, display, is_ascii=shows_only_ascii()).run()
    return EXIT_OK
