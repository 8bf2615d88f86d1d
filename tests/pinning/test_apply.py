from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pinning import NOT_PINNED, locked_bytes, read_topology

REPORT = """
import ctypes, json, os, platform, resource
from pathlib import Path
import pinning
{before}
problems = pinning.apply({arguments})
attributes = ctypes.create_string_buffer(48)
number = {{"x86_64": 315, "aarch64": 275}}[platform.machine()]
ctypes.CDLL(None).syscall(number, 0, attributes, 48, 0)
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({{
    "problems": problems,
    "affinity": sorted(os.sched_getaffinity(0)),
    "policy": os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK,
    "nice": os.nice(0),
    "slice_ns": int.from_bytes(attributes[24:32], "little"),
    "slack_ns": ctypes.CDLL(None).prctl(30, 0, 0, 0, 0),
    "locked_kb": int(status["VmLck"].split()[0]),
}}))
"""


def report(arguments: str, before: str = "") -> dict[str, Any]:
    """Apply in a process of its own, so that this one keeps its cpus; what became of it."""
    code = REPORT.format(arguments=arguments, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_process_runs_on_the_one_cpu_with_precise_timers() -> None:
    cpu = max(read_topology().allowed)
    found = report(f"{cpu}, lock_memory=False")
    assert found["problems"] == []
    assert found["affinity"] == [cpu]
    assert found["slack_ns"] == 1
    assert found["policy"] == os.SCHED_OTHER


def test_what_holds_already_is_not_asked_for_again() -> None:
    # A unit of systemd has pinned the process, and its filter forbids the call to everybody inside.
    cpu = max(read_topology().allowed)
    before = f"""
os.sched_setaffinity(0, {{{cpu}}})
def refuse(*_): raise PermissionError(1, "Operation not permitted")
os.sched_setaffinity = os.sched_setscheduler = refuse
"""
    assert report(f"{cpu}, lock_memory=False", before)["problems"] == []


@pytest.mark.parametrize(
    ("pretence", "problem"),
    [
        ("os.sched_setaffinity = lambda *_: None", "not pinned to cpu {cpu}: the host agreed"),
        (
            "os.sched_setscheduler = lambda *_: None",
            "no real-time scheduling: the host agreed",
        ),
    ],
)
def test_a_sandbox_that_only_pretends_is_found_out(pretence: str, problem: str) -> None:
    allowed = sorted(read_topology().allowed)
    before = f"os.sched_setaffinity(0, {{{allowed[0]}}}); {pretence}"
    cpu = allowed[-1]
    found = report(f"{cpu}, lock_memory=False, realtime_priority=1", before)
    if "affinity" in pretence and len(allowed) == 1:
        pytest.skip("one cpu: it is there already")
    assert any(one.startswith(problem.format(cpu=cpu)) for one in found["problems"])


def test_memory_that_is_only_said_to_be_locked_is_reported() -> None:
    before = """
import sys
libc = ctypes.CDLL(None, use_errno=True)
class Pretender:
    prctl = libc.prctl
    mlockall = staticmethod(lambda flags: 0)
sys.modules["pinning.apply"]._libc = lambda: Pretender
"""
    (problem,) = report("-1", before)["problems"]
    assert problem.startswith("memory not locked: ")


def test_a_real_time_process_stays_one_where_the_call_is_forbidden() -> None:
    before = """
try:
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
except PermissionError:
    pass
def refuse(*_): raise PermissionError(1, "Operation not permitted")
os.sched_setscheduler = refuse
"""
    found = report("-1, lock_memory=False, realtime_priority=1", before)
    assert bool(found["problems"]) == (found["policy"] != os.SCHED_FIFO)


def test_the_locked_memory_is_what_the_kernel_says_of_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tfeed\nVmLck:\t    5120 kB\n")
    assert locked_bytes(status) == 5120 * 1024
    status.write_text("Name:\tfeed\n")
    assert locked_bytes(status) == 0


def test_a_process_that_is_not_pinned_keeps_its_affinity() -> None:
    found = report(f"{NOT_PINNED}, lock_memory=False")
    assert found["affinity"] == sorted(os.sched_getaffinity(0))


def test_a_cpu_that_cannot_be_had_is_reported_not_raised() -> None:
    found = report("4000, lock_memory=False")
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith("not pinned to cpu 4000: ")


def test_memory_is_locked_or_the_refusal_is_reported() -> None:
    found = report("-1")
    locked = found["locked_kb"] > 0
    assert locked != any("memory not locked" in problem for problem in found["problems"])


def test_a_finite_limit_is_reported_instead_of_ending_in_a_memory_error() -> None:
    before = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))"
    if os.geteuid() == 0:
        # Loaded before: another user may not be allowed to read the interpreter's files.
        before += "; import encodings.ascii; os.setuid(65534)"
    found = report("-1", before)
    assert found["locked_kb"] == 0
    assert found["problems"] == [
        "memory not locked: the limit (ulimit -l) is 64 KiB; it has to be unlimited"
    ]


def test_real_time_scheduling_is_set_or_the_refusal_is_reported() -> None:
    found = report("-1, lock_memory=False, realtime_priority=1")
    refused = any("no real-time scheduling" in problem for problem in found["problems"])
    assert refused == (found["policy"] != os.SCHED_FIFO)


@pytest.mark.parametrize("slack_ns", [1, 10_000])
def test_the_timer_slack_is_the_callers(slack_ns: int) -> None:
    assert report(f"-1, lock_memory=False, timer_slack_ns={slack_ns}")["slack_ns"] == slack_ns


def test_a_process_has_the_slices_it_asks_for_where_the_kernel_knows_them() -> None:
    found = report("-1, lock_memory=False, slice_ns=200_000", "os.nice(3)")
    assert found["problems"] == []
    major, minor = map(int, re.findall(r"\d+", platform.release())[:2])
    assert found["slice_ns"] == 200_000 or (major, minor) < (6, 12)
    assert found["nice"] == 3  # only the slice is another one
    assert found["policy"] == os.SCHED_OTHER


def test_slices_that_a_sandbox_forbids_are_no_problem() -> None:
    before = """
import sys
class Sandbox:
    prctl = ctypes.CDLL(None).prctl
    syscall = staticmethod(lambda *_: ctypes.set_errno(1) or -1)
sys.modules["pinning.apply"]._libc = lambda: Sandbox
"""
    assert report("-1, lock_memory=False, slice_ns=200_000", before)["problems"] == []


def test_a_real_time_process_has_no_slices() -> None:
    found = report("-1, lock_memory=False, realtime_priority=1, slice_ns=200_000")
    assert found["policy"] != os.SCHED_FIFO or found["slice_ns"] != 200_000
