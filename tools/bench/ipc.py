"""``hft bench ipc``: how fast a record gets from one process to another, and how others do it.

Two pinned processes exchange 128-byte records in three phases: a tight loop (half the time of a
round trip), one record per millisecond with the sender's caches evicted in between (age of the
record on arrival, one monotonic clock), and a stream (records per second). Rows take turns in
rounds, each time on fresh processes; a figure is the median over the rounds. The time of one clock
read is part of every tight and paced figure. Every record is numbered and verified on arrival.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.bench import machine
from tools.bench.floor import RECORD_BYTES
from tools.bench.pair import Counts, measure
from tools.bench.result import Result, Target, table, target_lines, targets
from tools.bench.row import Place, Row
from tools.bench.rows import ROWS

REPETITIONS: Final = 5
REPETITIONS_QUICK: Final = 3
PACED_COUNT: Final = 1_000
SHARE_QUICK: Final = 0.2
"""Part of a full repetition that a quick one does."""
LOAD_MAX: Final = 0.5
"""Run queue above which the table says that the machine was busy."""


def run(
    *,
    quick: bool = False,
    as_json: bool = False,
    peers: Sequence[str] | None = None,
    check: bool = False,
    repetitions: int | None = None,
    share: float | None = None,
) -> int:
    """Measure, print one table or one JSON object, and return the exit code.

    Args:
        quick: Fewer and smaller repetitions: within 20 s.
        as_json: One JSON object instead of the table.
        peers: Names of the rows to measure; None: all.
        check: Exit 1 when a target was measured and missed.
        repetitions: Rounds, instead of the usual number.
        share: Part of a full repetition's counts, instead of the usual one.

    Raises:
        UsageError: An unknown row, or fewer than two cpus.
        CheckFailedError: A row failed, or delivered other records than were sent.
    """
    chosen = _choose(peers)
    cpus = machine.choose_cpus()
    rounds = repetitions or (REPETITIONS_QUICK if quick else REPETITIONS)
    part = share or (SHARE_QUICK if quick else 1.0)
    present = [row for row in chosen if not row.module or find_spec(row.module)]
    absent = [row for row in chosen if row not in present]
    command = _command(quick, as_json, check, peers, repetitions)
    facts = _facts(present, cpus, rounds, command)
    results = _measure(present, cpus, rounds, part)
    reached = targets(results)
    if as_json:
        click.echo(json.dumps(_document(facts, results, absent, reached), indent=2))
    else:
        click.echo("\n".join(_text(facts, results, absent, reached)))
    missed = any(target.is_reached is False for target in reached)
    return EXIT_CHECK_FAILED if check and missed else EXIT_OK


def _choose(names: Sequence[str] | None) -> list[Row]:
    if names is None:
        return list(ROWS)
    known = {row.name for row in ROWS}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UsageError(
            f"no row is called {', '.join(map(repr, unknown))}" if unknown else "no row is named",
            remedy=f"the rows are {', '.join(row.name for row in ROWS)}",
        )
    return [row for row in ROWS if row.name in names]


def _measure(
    rows: Sequence[Row], cpus: tuple[int, int], rounds: int, part: float
) -> dict[str, Result]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([measure.__module__])
    results = {row.name: Result(row) for row in rows}
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root, _progress() as progress:
        task = progress.add_task("", total=rounds * len(rows))
        for number in range(rounds):
            for row in rows:
                progress.update(task, description=row.path)
                directory = Path(root, f"{row.name}-{number}")
                directory.mkdir()
                place = Place(f"bench-{os.getpid()}-{number}", directory, context)
                results[row.name].add(measure(row, place, cpus, _counts(row, part)))
                progress.advance(task)
    return results


def _counts(row: Row, part: float) -> Counts:
    batches = max(1, round(row.stream_count * part) // row.batch_count)
    return Counts(
        tight=max(1, round(row.tight_count * part)),
        paced=max(1, round(PACED_COUNT * part)),
        stream=batches * row.batch_count,
    )


def _progress() -> Progress:
    """On standard error, where it does not mix with the table; nothing unless on a terminal."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _facts(rows: Sequence[Row], cpus: tuple[int, int], rounds: int, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "cpus_pinned": list(cpus),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": machine.versions(row.distribution for row in rows if row.distribution),
        "load_before": round(os.getloadavg()[0], 2),
        "repetitions": rounds,
    }


def _document(
    facts: dict[str, Any],
    results: dict[str, Result],
    absent: Sequence[Row],
    reached: Sequence[Target],
) -> dict[str, Any]:
    return {
        **facts,
        "record_bytes": RECORD_BYTES,
        "rows": {name: result.as_dict() for name, result in results.items()},
        "absent": [row.name for row in absent],
        "targets": [{**target._asdict(), "reached": target.is_reached} for target in reached],
    }


def _text(
    facts: dict[str, Any],
    results: dict[str, Result],
    absent: Sequence[Row],
    reached: Sequence[Target],
) -> list[str]:
    packages = "".join(f", {name} {version}" for name, version in facts["versions"].items())
    near, far = facts["cpus_pinned"]
    lines = [
        f"{RECORD_BYTES}-byte records between two processes; medians of {facts['repetitions']} "
        "rounds; every record verified",
        "",
        *table(list(results.values()), absent),
        "",
        *target_lines(reached),
        "",
        f"machine  {facts['cpu']}, pinned to cpus {near} and {far}, Linux {facts['kernel']}, "
        f"Python {facts['python']}{packages}",
        f"command  {facts['command']}",
    ]
    if facts["commit"]:
        lines.append(f"commit   {facts['commit']}")
    preempted = sum(result.preempted for result in results.values())
    if preempted or facts["load_before"] > LOAD_MAX:
        lines.append(
            f"busy     load {facts['load_before']} before the start; the workers lost their cpus "
            f"{preempted} times: trust p99 and above only on an idle machine"
        )
    return lines


def _command(
    quick: bool, as_json: bool, check: bool, peers: Sequence[str] | None, repetitions: int | None
) -> str:
    flags = {"--quick": quick, "--json": as_json, "--check": check}
    words = [flag for flag, on in flags.items() if on]
    if peers is not None:
        words += ["--peers", ",".join(peers)]
    if repetitions is not None:
        words += ["--repetitions", str(repetitions)]
    return shlex.join(["hft", "bench", "ipc", *words])
