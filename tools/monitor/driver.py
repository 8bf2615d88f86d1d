"""Ten times a second: look, draw, take the keys that came."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from hft.errors import HftError
from hft.units import NS_PER_S
from ipc import IpcError
from tools.monitor.screen import Display
from tools.monitor.screens import compose, hit
from tools.monitor.source import Source
from tools.monitor.state import Effect, State, press
from tools.monitor.style import THEMES

FRAME_NS: Final = NS_PER_S // 10
KEYS_PER_FRAME_MAX: Final = 256
"""A pasted text does not hold up the picture."""


class Driver:
    """Owns the loop. Nothing here decides what is shown or what a key means."""

    def __init__(self, source: Source, state: State, display: Display, *, is_ascii: bool) -> None:
        self._source, self._state, self._display = source, state, display
        self._is_ascii = is_ascii
        self._is_resized = True
        self._is_stopping = False
        self._size = (0, 0)
        self._life = state.snapshot.life
        self._was_lost = False
        self._answer: tuple[str, bool] | None = None
        """What came of a command, from the thread that waited for it."""

    def run(self) -> None:
        """Until the person leaves, or the terminal or the patience of the host ends."""
        gc.collect()
        gc.freeze()  # what is loaded now stays: no need to go through it again and again
        with _signals(self._on_signal), contextlib.suppress(EOFError, KeyboardInterrupt, OSError):
            while not (self._state.is_over or self._is_stopping):
                begun_ns = time.monotonic_ns()
                self._look()
                self._draw()
                self._take_keys(begun_ns + FRAME_NS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGWINCH:
            self._is_resized = True
        else:
            self._is_stopping = True

    def _look(self) -> None:
        state = self._state
        snapshot = state.snapshot = self._source.poll(state.symbol)
        if snapshot.life != self._life:
            self._life = snapshot.life
            state.tell(f"{snapshot.name} is back: what is shown is its new life")
        if self._answer is not None:
            (text, is_bad), self._answer = self._answer, None
            state.tell(text, is_bad=is_bad)

    def _draw(self) -> None:
        if self._is_resized:
            self._is_resized = False
            self._size = self._display.size()
            self._display.forget()
        width, height = self._size
        rows = compose(self._state, width, height)
        self._display.draw(rows, THEMES[self._state.theme], is_ascii=self._is_ascii)

    def _take_keys(self, until_ns: int) -> None:
        """Take keys until the next frame is due; the first key makes it due at once."""
        rest_s = max(0.0, (until_ns - time.monotonic_ns()) / NS_PER_S)
        for _ in range(KEYS_PER_FRAME_MAX):
            key = self._display.key(rest_s)
            if self._is_stopping or self._state.is_over:
                return
            if not key:
                if rest_s == 0 or time.monotonic_ns() >= until_ns:
                    return
                rest_s = max(0.0, (until_ns - time.monotonic_ns()) / NS_PER_S)
                continue
            rest_s = 0.0
            self._press(key)

    def _press(self, key: str) -> None:
        state = self._state
        if key.startswith("Mouse-"):
            column, row = (int(part) for part in key.split("-")[1:])
            panel = hit(state, *self._size, column, row)
            key = str(int(panel)) if panel is not None else ""
        elif key.startswith("Wheel-"):
            key = "Down" if key.endswith("Down") else "Up"
        effect = press(state, key) if key else None
        self._display.use_mouse(wanted=state.has_mouse)
        if effect is not None:
            threading.Thread(target=self._carry_out, args=(effect,), daemon=True).start()

    def _carry_out(self, effect: Effect) -> None:
        """Ask the system, and wait for it, while the picture goes on."""
        self._answer = carry_out(self._source.run_dir, effect)


def carry_out(run_dir: Path, effect: Effect) -> tuple[str, bool]:
    """Do as the command line does; what to tell, and whether it went wrong."""
    from tools.system import commands  # only who acts pays for its start

    act: Any = {"halt": commands.halt, "reduce": commands.reduce, "arm": commands.arm}
    try:
        if effect.deal is not None:
            from tools.monitor.acting import trade

            return trade(run_dir, effect.deal), False
        return str(act[effect.name](run_dir, effect.reason)), False
    except (HftError, IpcError) as error:
        return f"{error.message} {error.remedy}".strip(), True
    except OSError as error:
        return f"{effect.name} failed: {error}", True


@contextlib.contextmanager
def _signals(handler: Any) -> Iterator[None]:
    """Resizing and being told to end; job control would leave the terminal in our mode."""
    wanted = {
        signal.SIGWINCH: handler,
        signal.SIGTERM: handler,
        signal.SIGHUP: handler,
        signal.SIGTSTP: signal.SIG_IGN,
    }
    before = {number: signal.signal(number, new) for number, new in wanted.items()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def shows_only_ascii() -> bool:
    """Whether the person's locale asks for plain ASCII; Python itself would not notice."""
    chosen = os.environ.get("LC_ALL") or os.environ.get("LANG", "")
    return chosen in ("C", "POSIX")
