"""The monitor as a person sees it: in tmux, beside a demo that trades."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
WAIT_S = 60


class Tmux:
    """A tmux server of our own with one window."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "tmux"

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        return done.stdout

    def until(self, *words: str) -> list[str]:
        """Wait until the screen shows all the words; returns its lines."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            picture = self("capture-pane", "-p")
            if all(word in picture for word in words):
                return picture.splitlines()
        raise AssertionError(f"no {words} on the screen:\n{picture}")


@pytest.fixture
def demo(tmp_path: Path, project_root: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hft.cli", "demo", "--seconds", "600"],
        cwd=project_root,
        env={**os.environ, "HFT_RUN_DIR": str(tmp_path / "run")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + WAIT_S
    while not list(tmp_path.glob("run/*/supervisor.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
    yield process
    process.terminate()
    process.wait(WAIT_S)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    server = Tmux(tmp_path)
    yield server
    server("kill-server")


def framed(lines: list[str], columns: int) -> bool:
    """Whether no border is torn: every line of the panels begins and ends with one."""
    return all(
        line.startswith(tuple("┌├│└")) and line.endswith(tuple("┐┤│┘")) and len(line) == columns
        for line in lines[1:-1]
    )


def test_a_demo_on_two_sizes_and_its_end(
    demo: subprocess.Popen[bytes], tmux: Tmux, tmp_path: Path, project_root: Path
) -> None:
    command = f"HFT_RUN_DIR={tmp_path / 'run'} exec {sys.executable} -m hft.cli monitor"
    at = ("-c", str(project_root))
    tmux("new-session", "-d", "-x", "80", "-y", "24", *at, command)
    lines = tmux.until("ACTIVE", "6 roles ✓", "maker", "quoting")
    assert lines[0].startswith(f" DEMO  demo-{demo.pid}  ACTIVE")
    assert len(lines) == 24
    wait_for(lambda: framed(tmux("capture-pane", "-p").splitlines(), 80))
    for name in ("1 Positions", "2 Orders", "3 Book", "4 Fills", "5 Strategies", "6 Alerts"):
        assert any(name in line for line in lines), name
    assert lines[-1].split()[-1] == "read-only"
    tmux("resize-window", "-x", "160", "-y", "50")
    lines = tmux.until("realised", "tick_to_trade", "p50")
    wait_for(lambda: framed(tmux("capture-pane", "-p").splitlines(), 160))
    tmux("send-keys", "7")
    lines = tmux.until("7 Roles", "recorder")
    assert sum(line.startswith("│✓ ") for line in lines) == 6
    demo.terminate()
    demo.wait(WAIT_S)
    lines = tmux.until("LOST ", "waiting for its return")
    assert lines[0].startswith(" DEMO ")
    tmux("send-keys", "q")
    wait_for(lambda: not tmux("list-sessions"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
