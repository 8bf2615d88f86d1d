from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from pinning import NOT_PINNED, read_topology

REPORT = """
import ctypes, json, os, resource
from pathlib import Path
import pinning
{before}
problems = pinning.apply({arguments})
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({{
    "problems": problems,
    "affinity": sorted(os.sched_getaffinity(0)),
    "policy": os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK,
    "slack_ns": ctypes.CDLL(None).prctl(30, 0, 0, 0, 0),
    "locked_kb": int(status["VmLck"].split()[0]),
}}))
"""


def report(arguments: str, before: str = "") -> dict[str, Any]:
    """Apply in a process of its own, so that this one keeps its cpus; what became of it."""
    code = REPORT.format(arguments=arguments, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
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
