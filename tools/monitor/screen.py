"""The terminal: entered once, left for certain, drawn by changed rows in one write."""

from __future__ import annotations

import atexit
import os
import select
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from tools.monitor.style import PLAIN, Line, Row, Theme, flat, line_width, to_ascii

NO_COLOR: Final = "NO_COLOR"
QUERY_TIMEOUT: Final = "BLESSED_QUERY_TIMEOUT_SECONDS"
ESCAPE_S: Final = 0.05
"""An Escape that nothing follows for so long is the key."""
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronized output: the terminal shows the frame when it is whole; others ignore it."""
_MOUSE_ON, _MOUSE_OFF = "\x1b[?1000h\x1b[?1006h", "\x1b[?1006l\x1b[?1000l"
_NAMES: Final = {
    "KEY_UP": "Up", "KEY_DOWN": "Down", "KEY_LEFT": "Left", "KEY_RIGHT": "Right",
    "KEY_HOME": "Home", "KEY_END": "End", "KEY_PGUP": "PageUp", "KEY_PGDOWN": "PageDown",
    "KEY_ENTER": "Enter", "KEY_TAB": "Tab", "KEY_BTAB": "Shift-Tab", "KEY_SHIFT_TAB": "Shift-Tab",
    "KEY_BACKSPACE": "Backspace", "KEY_DELETE": "Backspace", "KEY_ESCAPE": "Esc",
}  # fmt: skip
_CONTROLS: Final = {
    "\t": "Tab", "\r": "Enter", "\n": "Enter", "\x1b": "Esc", "\x7f": "Backspace",
    "\x08": "Backspace", "\x03": "Ctrl-C", "\x04": "Ctrl-D", "\x15": "Ctrl-U",
}  # fmt: skip


def open_terminal() -> tuple[Any, bool]:
    """A blessed terminal, and whether colours are unwanted.

    With NO_COLOR blessed would not even move the cursor: the wish is ours to fulfil. A terminal
    that does not answer blessed's questions would hold up the start for ten seconds.
    """
    no_colour = bool(os.environ.pop(NO_COLOR, ""))
    os.environ.setdefault(QUERY_TIMEOUT, "0.2")
    import blessed  # only now: it reads its settings when it is imported

    terminal = blessed.Terminal()
    terminal.flushinp()  # answers that came late are no keys
    return terminal, no_colour


class Display:
    """Full screen on a terminal."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._stack = ExitStack()
        self._rows: list[Row] = []
        self._theme = PLAIN
        self._descriptor = sys.stdout.fileno()
        self._keyboard = sys.stdin.fileno()
        self._has_mouse = False
        self._has_keys = False
        """Whether more keys may have come together with the last one."""
        self.bytes_written = 0
        self.frames = 0

    def __enter__(self) -> Display:
        terminal = self._terminal
        atexit.register(self.leave)
        for mode in (terminal.fullscreen, terminal.hidden_cursor, terminal.no_line_wrap,
                     terminal.cbreak, terminal.keypad):  # fmt: skip
            self._stack.enter_context(mode())
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the terminal back as it was; a second call does nothing."""
        atexit.unregister(self.leave)
        try:
            self.use_mouse(wanted=False)
            self._stack.close()
        except OSError:
            return  # the terminal is gone: nothing is left to restore

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        size = os.get_terminal_size(self._descriptor)
        return size.columns, size.lines

    def forget(self) -> None:
        """The next frame is drawn whole: the terminal was resized or overwritten."""
        self._rows = []

    def use_mouse(self, *, wanted: bool) -> None:
        """Ask the terminal for clicks and the wheel, or no longer."""
        if wanted != self._has_mouse:
            self._has_mouse = wanted
            self._write(_MOUSE_ON if wanted else _MOUSE_OFF)

    def draw(self, rows: Sequence[Row], theme: Theme, *, is_ascii: bool = False) -> None:
        """Show the rows: what differs from the last frame, in one write.

        Raises:
            OSError: the terminal is gone.
        """
        parts = []
        if len(rows) != len(self._rows) or theme is not self._theme:
            parts.append(str(self._terminal.clear))
            self._rows, self._theme = [()] * len(rows), theme
        for number, (before, row) in enumerate(zip(self._rows, rows, strict=True), start=1):
            if row != before:  # pieces that are the same object, as most are, cost next to nothing
                for column, line in _changes(before, row):
                    # As blessed's move_xy on all terminals that know our colours, but at once.
                    parts += (f"\x1b[{number};{column + 1}H", theme.paint(line))
        self._rows = list(rows)
        self.frames += 1
        if parts:
            text = "".join(parts)
            self._write(_BEGIN + (to_ascii(text) if is_ascii else text) + _END)

    def _write(self, text: str) -> None:
        raw = text.encode(errors="replace")
        self.bytes_written += len(raw)
        while raw:
            raw = raw[os.write(self._descriptor, raw) :]

    def key(self, timeout_s: float) -> str:
        """The next key by our name for it, empty: none came, or one that means nothing here.

        A click is ``Mouse-X-Y`` with 0-based cells, the wheel ``Wheel-Up`` or ``Wheel-Down``.

        Raises:
            EOFError: the terminal is gone.
        """
        # Mostly nothing comes: the kernel says so for a fraction of what blessed takes.
        if not self._has_keys and not select.select([self._keyboard], [], [], timeout_s)[0]:
            return ""
        stroke = self._terminal.inkey(timeout=0, esc_delay=ESCAPE_S)
        text = str(stroke)
        self._has_keys = bool(text)
        if not text:
            return ""
        if text in _CONTROLS:
            return _CONTROLS[text]
        if text.startswith("\x1b[<"):
            return _mouse_key(text)
        if stroke.is_sequence:
            return _NAMES.get(stroke.name or "", "")
        return text if len(text) == 1 and text.isprintable() else ""


def _changes(before: Row, row: Row) -> list[tuple[int, Line]]:
    """What is to be drawn: of each piece that differs, from its first change to its last."""
    if len(before) != len(row):
        return [(0, flat(row))]
    found = []
    for (old_column, old), (column, new) in zip(before, row, strict=True):
        if column != old_column:  # other panels stand there now
            return [(0, flat(row))]
        if new is not old and new != old:
            first, last = _difference(old, new)
            found.append((column + line_width(new[:first]), new[first:last]))
    return found


def _difference(before: Line, line: Line) -> tuple[int, int]:
    """First and end of the spans that differ; both lines are equally wide."""
    first, last = 0, len(line)
    most = min(len(before), len(line))
    while first < most and before[first] == line[first]:
        first += 1
    offset = len(before) - len(line)
    while last > first and last + offset > first and before[last + offset - 1] == line[last - 1]:
        last -= 1
    return first, last


def _mouse_key(text: str) -> str:
    """A report of SGR mode: ``ESC [ < button ; column ; row`` and M, pressed, or m, released."""
    try:
        button, column, row = (int(part) for part in text[3:-1].split(";"))
    except ValueError:
        return ""
    if text.endswith("m"):
        return ""
    if button in (64, 65):
        return "Wheel-Up" if button == 64 else "Wheel-Down"
    return f"Mouse-{column - 1}-{row - 1}" if button == 0 else ""
