"""`hft bench monitor`: what the monitor costs beside a demo that trades.

The monitor runs on a pseudo-terminal of each size; processor time is that of the scheduler, user
and system together, memory that of the kernel's own account of the process.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailedError, HftError, UsageError
from ipc import IpcError
from tools.system.child import python_command, python_environment
from tools.system.places import RUN_DIR_VARIABLE, find_running
from tools.system.waiting import pause

CPU_PERCENT_MAX: Final = 2.0
"""Of one core."""
RSS_MB_MAX: Final = 50.0
WARM_UP_S: Final = 5.0
"""Lets the imports, the first whole picture and the first fills pass."""
SPARE_S: Final = 60.0
"""The demo is asked for so much more than is measured, and ended when it was."""
START_S_MAX: Final = 60.0
LOOK_S: Final = 0.05
READ_BYTES: Final = 65_536
FRAME_END: Final = b"\x1b[?2026l"


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one monitor cost while it was watched."""

    size: str
    cpu_percent: float
    """Of one core."""
    rss_mb: float
    pss_mb: float
    """Resident memory, what is shared divided among those who share it."""
    anonymous_mb: float
    frames: int
    """Frames in which something was drawn."""
    bytes_per_frame: float
    is_within: bool


class Watched:
    """A monitor on a pseudo-terminal of its own."""

    def __init__(self, root: Path, size: str) -> None:
        self.size = size
        columns, lines = parse_size(size)
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**python_environment(), RUN_DIR_VARIABLE: str(root)}
        environment["TERM"] = "xterm-256color"
        self.process = subprocess.Popen(
            python_command("hft.cli", "monitor"),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            start_new_session=True,
        )
        os.close(terminal)
        self._said = b""
        self._bytes = self._frames = 0

    def watch(self, seconds: float) -> Cost:
        """Let it run, and tell what it cost meanwhile.

        Raises:
            CheckFailedError: it ended; what it said last is shown.
        """
        self._drain(WARM_UP_S)
        bytes_before, frames_before = self._bytes, self._frames
        begun_ns, spent_ns = time.monotonic_ns(), cpu_ns(self.process.pid)
        self._drain(seconds)
        spent_ns = cpu_ns(self.process.pid) - spent_ns
        percent = 100 * spent_ns / (time.monotonic_ns() - begun_ns)
        memory_mb = memory(self.process.pid)
        frames = self._frames - frames_before
        return Cost(
            size=self.size,
            cpu_percent=percent,
            rss_mb=memory_mb["Rss"],
            pss_mb=memory_mb["Pss"],
            anonymous_mb=memory_mb["Anonymous"],
            frames=frames,
            bytes_per_frame=(self._bytes - bytes_before) / max(1, frames),
            is_within=percent < CPU_PERCENT_MAX and memory_mb["Rss"] < RSS_MB_MAX,
        )

    def _drain(self, seconds: float) -> None:
        """Take what it draws, as a terminal does."""
        end_s = time.monotonic() + seconds
        while (rest_s := end_s - time.monotonic()) > 0:
            if select.select([self._master], [], [], rest_s)[0]:
                self._take()

    def _take(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except OSError:  # nobody has the other side open any more
            said = self._said.decode(errors="replace").strip()
            raise CheckFailedError(f"the monitor ended:\n{said}") from None
        self._bytes += len(data)
        self._frames += (self._said[1 - len(FRAME_END) :] + data).count(FRAME_END)
        self._said = (self._said + data)[-READ_BYTES:]

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def parse_size(size: str) -> tuple[int, int]:
    """Columns and lines of ``COLUMNSxLINES``.

    Raises:
        UsageError: it is not that.
    """
    columns, _, lines = size.partition("x")
    if not (columns.isdecimal() and lines.isdecimal()):
        raise UsageError(
            f"{size} is not the size of a terminal.",
            remedy="Give columns and lines, such as 160x50.",
        )
    return int(columns), int(lines)


def cpu_ns(pid: int) -> int:
    """Processor time of a process with one thread so far, user and system."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def memory(pid: int) -> dict[str, float]:
    """Memory of a process in MB by the kernel's names: Rss, Pss, Anonymous and others."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name[:-1]: int(kib) / 1024 for name, kib, *_ in map(str.split, rows)}


@contextmanager
def running_demo(seconds: float) -> Iterator[Path]:
    """A demo for so long; gives the root of its run directory.

    Raises:
        CheckFailedError: it did not start; what it said is shown.
    """
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root:
        process = subprocess.Popen(
            python_command("hft.cli", "demo", "--seconds", f"{seconds + SPARE_S:g}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**python_environment(), RUN_DIR_VARIABLE: root},
        )
        try:
            _await(Path(root), process)
            yield Path(root)
        finally:
            process.terminate()  # it removes its shared memory
            process.wait()


def _await(root: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a system runs from there."""
    deadline_s = time.monotonic() + START_S_MAX
    while True:
        try:
            find_running(root, None)
        except (HftError, IpcError, OSError):
            if process.poll() is None and time.monotonic() < deadline_s:
                pause(LOOK_S, pid=process.pid)
                continue
            process.terminate()
            said = process.communicate()[0].decode(errors="replace").strip()
            raise CheckFailedError(f"the demo failed:\n{said}") from None
        return


def run(*, sizes: Sequence[str], seconds: float, as_json: bool, check: bool) -> int:
    """Watch a monitor of each size, one after the other; exit code 1 when a target is missed.

    Raises:
        CheckFailedError: the demo or the monitor failed; what it said is shown.
        UsageError: a size is none.
    """
    for size in sizes:
        parse_size(size)
    costs = []
    with running_demo(len(sizes) * (seconds + WARM_UP_S)) as root:
        for size in sizes:
            watched = Watched(root, size)
            try:
                costs.append(watched.watch(seconds))
            finally:
                watched.close()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(costs)).decode())
    else:
        click.echo("\n".join(render(costs, seconds)))
    return EXIT_OK if not check or all(cost.is_within for cost in costs) else EXIT_CHECK_FAILED


def render(costs: Sequence[Cost], seconds: float) -> list[str]:
    """A table."""
    lines = [
        f"The monitor beside a demo, {seconds:g} s each; to be reached: < {CPU_PERCENT_MAX:g} %"
        f" of a core, < {RSS_MB_MAX:g} MB",
        f"  {'size':<9}{'cpu %':>7}{'RSS MB':>9}{'PSS MB':>9}{'own MB':>9}"
        f"{'frames':>9}{'bytes each':>12}",
    ]
    for cost in costs:
        lines.append(
            f"{'✓' if cost.is_within else '✗'} {cost.size:<9}{cost.cpu_percent:>7.2f}"
            f"{cost.rss_mb:>9.1f}{cost.pss_mb:>9.1f}{cost.anonymous_mb:>9.1f}"
            f"{cost.frames:>9,}{cost.bytes_per_frame:>12,.0f}"
        )
    return lines
