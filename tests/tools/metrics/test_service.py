"""`hft metrics` as a process: it waits for its system, outlives it, and ends when it should."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hft import counters
from tools.logs.log_file import log_path
from tools.metrics.helper import Helper
from tools.system import endpoint

WAIT_S = 60.0
Start = Callable[..., subprocess.Popen[str]]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture
def start(project_root: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "hft.cli", "metrics", *arguments],
            cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def of(system) -> tuple[str, ...]:
    return "--name", system.plan.name, "--run-dir", str(system.run_dir.parent)


def events(system) -> list[dict[str, str]]:
    path = log_path(system.state_dir)
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_it_serves_logs_and_outlives_its_system(
    make_system: Callable, start: Start, free_port: int
) -> None:
    system = make_system()
    process = start(*of(system), "--port", str(free_port))
    site = f"http://127.0.0.1:{free_port}"
    until(lambda: "\nhft_up 1.0\n" in get(f"{site}/metrics")[1])
    until(lambda: endpoint.url_of(system.run_dir) == f"{site}/metrics")
    system.pages["feed"].count(counters.FRAMES.id, 5)
    assert 'hft_frames_total{role="feed"} 5.0\n' in get(f"{site}/metrics")[1]
    system.halt("a drill")
    until(lambda: any(one["event"] == "halted" for one in events(system)))
    system.remove()
    until(lambda: "\nhft_up 0.0\n" in get(f"{site}/metrics")[1])
    status, body = get(f"{site}/healthz")
    assert status == 503
    assert not json.loads(body)["healthy"]
    until(lambda: any(one["event"] == "the system is gone" for one in events(system)))
    again = make_system()
    until(lambda: "\nhft_up 1.0\n" in get(f"{site}/metrics")[1])
    until(lambda: endpoint.url_of(again.run_dir) == f"{site}/metrics")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 0
    assert endpoint.url_of(again.run_dir) == ""
    assert not (again.run_dir / endpoint.FILE).exists()


def test_a_system_that_is_not_there_is_waited_for(
    start: Start, free_port: int, tmp_path: Path
) -> None:
    process = start("--name", "none", "--run-dir", str(tmp_path), "--port", str(free_port))
    until(lambda: get(f"http://127.0.0.1:{free_port}/metrics")[0] == 200)
    assert "\nhft_up 0.0\n" in get(f"http://127.0.0.1:{free_port}/metrics")[1]
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 0


def test_a_taken_port_is_told_to_a_person_and_waited_for_by_a_helper(
    made_system, start: Start
) -> None:
    holder = start(*of(made_system), "--port", "0", "--quiet")
    until(lambda: endpoint.url_of(made_system.run_dir) != "")
    port = endpoint.url_of(made_system.run_dir).split(":")[2].split("/")[0]
    second = start(*of(made_system), "--port", port)
    _, err = second.communicate(timeout=WAIT_S)
    assert second.returncode == 2
    assert f"hft: metrics cannot be served at 127.0.0.1:{port}: Address already in use.\n" in err
    assert "Choose another with --port or --host." in err
    with Helper() as helper:
        helper.start(made_system.plan, lambda *_: None, port=int(port), is_quiet=True)
        until(lambda: any(one["event"] == "not served" for one in events(made_system)))
        holder.send_signal(signal.SIGTERM)
        assert holder.wait(WAIT_S) == 0
        url = helper.wait_until_served(made_system.plan, time.sleep)
        assert url == f"http://127.0.0.1:{port}/metrics"


def test_a_helper_ends_with_its_parent(made_system, start: Start) -> None:
    parent = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    process = start(*of(made_system), "--port", "0", "--parent", str(parent.pid))
    until(lambda: endpoint.url_of(made_system.run_dir) != "")
    parent.communicate()
    assert process.wait(WAIT_S) == 0


def test_a_helper_is_noted_and_ended(made_system) -> None:
    noted: list[tuple[str, int]] = []
    with Helper() as helper:
        helper.start(made_system.plan, lambda name, pid: noted.append((name, pid)), is_quiet=True)
        assert helper.wait_until_served(made_system.plan, time.sleep).startswith("http://127.0.0.1")
        ((name, pid),) = noted
        assert name == "metrics"
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_several_systems_have_to_be_told_apart(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").touch()
    process = start("--run-dir", str(tmp_path), "--port", "0")
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert "hft: several systems run: one, two." in err
