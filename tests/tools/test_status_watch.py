"""`hft status --watch`: in place on a terminal, blocks in a pipe, through a restart."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WAIT_S = 60.0
Watch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def watch(project_root: Path) -> Iterator[Watch]:
    started: list[subprocess.Popen[str]] = []

    def begin(system, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "hft.cli", "status", "--watch", "--name", system.plan.name,
             "--run-dir", str(system.run_dir.parent), *arguments],
            cwd=project_root, stdout=stdout, text=True, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def next_with(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if text in line:
            return line
    raise AssertionError(f"no line has {text!r}")


def test_a_pipe_gets_plain_blocks(made_system, watch: Watch) -> None:
    process = watch(made_system)
    for _ in range(2):
        line = next_with(process, f'hft "{made_system.plan.name}" · PAPER')
        assert "\x1b" not in line
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) in (0, 1)


def test_json_is_one_object_a_line_through_a_restart(make_system: Callable, watch: Watch) -> None:
    first = make_system()
    process = watch(first, "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["mode"] == "paper"
    first.remove()
    gone = json.loads(next_with(process, "no system"))
    assert gone["name"] == first.plan.name
    assert len(gone["problems"]) == 1
    second = make_system()
    again = json.loads(next_with(process, "started_wall_ns"))
    while again["started_wall_ns"] != second.plan.started_wall_ns:
        again = json.loads(next_with(process, "started_wall_ns"))
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) in (0, 1)


def test_a_terminal_is_drawn_over_in_place(made_system, watch: Watch) -> None:
    master, slave = pty.openpty()
    process = watch(made_system, stdout=slave)
    os.close(slave)
    seen = b""
    while seen.count(b'hft "') < 3:
        seen += os.read(master, 65_536)
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) in (0, 1)
    os.close(master)
    text = seen.decode()
    ups = [int(number) for number in re.findall(r"\x1b\[(\d+)A", text)]
    first_block = text.split("\x1b[?7h")[0]
    assert ups[0] == first_block.count("\x1b[K")
    assert text.count("\x1b[?7l") >= 2


def test_no_such_system_is_told_at_once(project_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hft.cli", "status", "--watch", "--run-dir", str(tmp_path)],
        cwd=project_root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "no system runs" in done.stderr
