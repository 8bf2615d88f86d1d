"""The monitor on a terminal: a pseudo-terminal with an emulator behind it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pyte = pytest.importorskip("pyte", reason="needs pyte, of the extra `dev`")

WAIT_S = 60
PATIENCE_S = 9
"""Less than what blessed waits for the answer to a single question: ten seconds."""
ON_A_TERMINAL = """\
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY)  # ours: resizing it is told by SIGWINCH
from hft.cli import main
main()
"""


class Emulator(pyte.Screen):  # type: ignore[misc]  # no stubs
    """A screen that answers what blessed asks, or keeps silent."""

    answers = True

    def __init__(self, columns: int, lines: int, write: Callable[[bytes], None]) -> None:
        super().__init__(columns, lines)
        self._send = write

    def report_device_status(self, mode: int = 0, **_: object) -> None:
        if self.answers:
            super().report_device_status(mode)

    def write_process_input(self, data: str) -> None:
        self._send(data.encode())


class Terminal:
    """A monitor in a process of its own, and what its terminal shows."""

    def __init__(self, environment: dict[str, str], size: tuple[int, int], *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.screen = Emulator(*size, write=self.send)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        self._resize_kernel(*size)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, "monitor", *arguments],
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )

    def _resize_kernel(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self._resize_kernel(columns, lines)

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def read(self, timeout_s: float = 0.05) -> None:
        if select.select([self.master], [], [], timeout_s)[0]:
            data = os.read(self.master, 65_536)
            self.raw += data
            self._stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, words: str) -> str:
        """Read until the screen shows the words."""
        deadline = time.monotonic() + WAIT_S
        while words not in self.text:
            assert time.monotonic() < deadline, f"no {words!r} on the screen:\n{self.text}"
            assert self.process.poll() is None, self.text
            self.read()
        return self.text

    def end(self) -> int:
        deadline = time.monotonic() + WAIT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        while select.select([self.master], [], [], 0)[0]:
            self.read(0)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def start(stage: Any, environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def begin(*arguments: str, size: tuple[int, int] = (80, 24), **extra: str) -> Terminal:
        started.append(Terminal({**environment, **extra}, size, *arguments))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def test_keys_change_the_screen(start: Callable[..., Terminal]) -> None:
    terminal = start()
    first = terminal.until("6 roles ✓")
    assert first.startswith(" PAPER ")
    assert "BTCUSDT +0.004" in first
    assert "bid 64,000.00" in first
    terminal.send(b"?")
    terminal.until("filter, zoom")
    terminal.send(b"?")
    terminal.until("1 Positions")
    terminal.send(b"8")
    terminal.until("8 Rings")
    terminal.send(b"\t")
    terminal.until("9 Latency")
    terminal.send(b"1:theme mono\r")
    terminal.until("1 Positions")
    terminal.send(b"2/zzz\r")
    terminal.until("nothing matches zzz")
    terminal.send(b":sym NONE\r")
    terminal.until("NONE is not traded here")
    terminal.send(b"q")
    assert terminal.end() == 0


def test_the_terminal_is_given_back(start: Callable[..., Terminal]) -> None:
    for leave in (b"q", b"\x03", signal.SIGTERM):
        terminal = start()
        terminal.until("6 roles ✓")
        if isinstance(leave, bytes):
            terminal.send(leave)
        else:
            terminal.process.send_signal(leave)
        assert terminal.end() == 0
        assert termios.tcgetattr(terminal._slave) == terminal.before
        assert terminal.raw.rindex(b"\x1b[?1049l") > terminal.raw.rindex(b"\x1b[?1049h")
        assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")


def test_a_terminal_that_answers_nothing_is_no_reason_to_wait(
    start: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_s() -> float:
        begun = time.monotonic()
        start().until("6 roles ✓")
        return time.monotonic() - begun

    answered_s = start_s()
    monkeypatch.setattr(Emulator, "answers", False)
    assert start_s() < answered_s + PATIENCE_S
    terminal = start()
    terminal.until("6 roles ✓")
    terminal.send(b"\x1b[2;12R\x1b[?62;4c")  # an answer that comes too late
    terminal.send(b"8")
    terminal.until("8 Rings")


def test_no_color_is_obeyed_and_the_screen_still_stands(start: Callable[..., Terminal]) -> None:
    terminal = start(NO_COLOR="1")
    terminal.until("6 roles ✓")
    codes = set(re.findall(rb"\x1b\[([0-9;]*)m", bytes(terminal.raw)))
    assert not any(code.startswith((b"3", b"4", b"9")) and len(code) > 1 for code in codes)
    assert not any(b"38;5" in code or b"48;5" in code for code in codes)


def test_plain_ascii_where_the_locale_wants_it(start: Callable[..., Terminal]) -> None:
    terminal = start(LC_ALL="C")
    terminal.until("6 roles +")
    assert terminal.text.isascii()


def test_resizing_draws_the_whole_anew(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until("6 roles ✓")
    terminal.resize(160, 50)
    text = terminal.until("─ Latency")
    deadline = time.monotonic() + WAIT_S
    while "└" not in terminal.screen.display[48] and time.monotonic() < deadline:
        terminal.read()
    assert terminal.screen.display[48].startswith("└")
    terminal.resize(60, 15)
    text = terminal.until("The panels need 80×24")
    assert text.startswith(" PAPER ")


def test_the_wheel_and_clicks_reach_the_panels(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until("6 roles ✓")
    terminal.send(b"m")
    terminal.until("mouse on")
    assert b"\x1b[?1006h" in terminal.raw
    terminal.send(b"\x1b[<0;60;3M\x1b[<0;60;3mz")
    deadline = time.monotonic() + WAIT_S
    while "3 Book" not in terminal.screen.display[1][:12] and time.monotonic() < deadline:
        terminal.read()
    assert "3 Book" in terminal.screen.display[1][:12]
    terminal.send(b"q")
    assert terminal.end() == 0
    assert terminal.raw.rindex(b"\x1b[?1006l") > terminal.raw.rindex(b"\x1b[?1006h")


def test_the_end_of_the_system_is_said_and_its_return(
    start: Callable[..., Terminal], stage: Any
) -> None:
    terminal = start("--trade")
    terminal.until("6 roles ✓")
    stage.down()
    terminal.until("LOST ")
    terminal.send(b":halt\r")
    terminal.until("is not there")
    stage.up()
    terminal.until("is back")
    assert "LOST" not in terminal.text


def test_halting_needs_trade_and_halts(start: Callable[..., Terminal], stage: Any) -> None:
    terminal = start()
    terminal.until("6 roles ✓")
    terminal.send(b":halt\r")
    terminal.until("read-only. Run")
    terminal.send(b"q")
    terminal.end()
    terminal = start("--trade")
    terminal.until("may trade")
    terminal.send(b":halt fire\r")
    terminal.until("HALTED fire")


def test_an_order_by_hand_shows_its_ticket_and_enter_is_no(
    start: Callable[..., Terminal],
) -> None:
    terminal = start("--trade")
    terminal.until("may trade")
    assert " TRADE " in terminal.text
    terminal.send(b":buy BTCUSDT 0.004 63990\r")
    text = terminal.until("any other key")
    assert "BUY 0.004 BTCUSDT at 63,990" in text
    assert "notional 255.96" in text
    assert "below the mid" in text
    terminal.send(b"\r")
    terminal.until("buy: not done")
    terminal.send(b":buy BTCUSDT 0.004 63990\r")
    terminal.until("Sure?")
    terminal.send(b"y")
    terminal.until("a paper system: by hand there is nothing to trade")
    terminal.send(b"2x")
    terminal.until("placed by maker")
    terminal.send(b"q")
    terminal.until("cancel: not done")


def test_a_terminal_that_cannot_be_drawn_on_is_told(start: Callable[..., Terminal]) -> None:
    terminal = start(TERM="dumb")
    assert terminal.end() == 2
    assert "hft monitor --once" in terminal.text
