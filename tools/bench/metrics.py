"""`hft bench metrics`: what a scrape costs whoever trades.

One demo that serves metrics, and three kinds of seconds in turn: it is left alone; another core is
kept busy for as long as scrapes would keep it, without looking at the demo (the control: cores of
one machine are never independent); it is scraped. Same processes, same minute, same neighbours.
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

import click
import msgspec

from hft.errors import EXIT_OK, CheckFailedError, HftError
from hft.roles.context import load_plan
from ipc import IpcError, histogram_percentile
from tools.latency.hdr import Counts
from tools.latency.hops import Hops
from tools.metrics.watched import keep_off_hot_cpus
from tools.system import endpoint
from tools.system.child import python_command, python_environment
from tools.system.places import RUN_DIR_VARIABLE, find_running

SHOWN: Final = ("receive_to_book", "decision_to_wire", "tick_to_trade")
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
WINDOW_S: Final = 1.0
SCRAPE_CPU_S: Final = 0.006
"""Processor time of one scrape, at both ends; the control spends as much."""
SPARE_S: Final = 60
"""The demo is asked for so much more than is measured, and ended when it was."""
START_S_MAX: Final = 60.0
FETCH_S_MAX: Final = 5.0
LOOK_S: Final = 0.05


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of windows: hop to figures, ns."""

    scrapes: int
    count: dict[str, int]
    percentile_ns: dict[str, dict[str, int]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON object of the command."""

    seconds: float
    per_s: float
    scrape_bytes: int
    scrape_s: float
    """Mean time that an answer took."""
    left_alone: Side
    busy: Side
    scraped: Side


class Tally:
    """What the windows of one kind counted."""

    def __init__(self) -> None:
        self.scrapes = 0
        self._counts: dict[str, Counts] = {}

    def add(self, before: dict[str, Counts], after: dict[str, Counts]) -> None:
        """Add what was counted from one look to the next."""
        for name in SHOWN:
            more = after[name] - before[name]
            self._counts[name] = self._counts[name] + more if name in self._counts else more

    def side(self) -> Side:
        """The figures."""
        return Side(
            scrapes=self.scrapes,
            count={name: int(counts.sum()) for name, counts in self._counts.items()},
            percentile_ns={
                name: {label: histogram_percentile(counts, q) for label, q in SHARES.items()}
                for name, counts in self._counts.items()
            },
        )


def run(*, seconds: float, per_s: float, as_json: bool) -> int:
    """Run the demo and show both kinds of windows beside each other.

    Raises:
        CheckFailedError: the demo failed; what it said is shown.
    """
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root:
        process = subprocess.Popen(
            python_command(
                "hft.cli", "demo", "--metrics-port", "0", "--seconds", f"{seconds + SPARE_S:g}"
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**python_environment(), RUN_DIR_VARIABLE: root},
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            result = _measure(Path(root), pidfd, seconds, per_s)
            process.terminate()
            said = process.communicate()[0].decode(errors="replace").strip()
        finally:
            os.close(pidfd)
            process.kill()
            process.wait()
    if result is None or process.returncode:
        raise CheckFailedError(f"the demo failed:\n{said}")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result)).decode())
    else:
        click.echo("\n".join(render(result)))
    return EXIT_OK


def render(result: Result) -> list[str]:
    """A table, µs."""
    lines = [
        f"{result.seconds:g} s of a demo, every third second scraped {result.per_s:g} times:"
        f" {result.scraped.scrapes:,} scrapes of {result.scrape_bytes / 1024:.0f} KiB,"
        f" {result.scrape_s * 1_000:.1f} ms each",
        f"  {'µs':<22}{'left alone':>12}{'busy core':>12}{'scraped':>12}{'count of each':>26}",
    ]
    for name in SHOWN:
        sides = result.left_alone, result.busy, result.scraped
        for number, label in enumerate(SHARES):
            shown = "".join(f"{one.percentile_ns[name][label] / 1_000:>12,.1f}" for one in sides)
            counts = "" if number else " / ".join(f"{one.count[name]:,}" for one in sides)
            lines.append(f"  {f'{name} {label}':<22}{shown}{counts:>26}".rstrip())
    return lines


def _measure(root: Path, pidfd: int, seconds: float, per_s: float) -> Result | None:
    """The figures; None: the demo ended before."""

    def wait(until_s: float) -> bool:
        """Let time pass; True: the demo has ended."""
        return bool(select.select([pidfd], [], [], max(0.0, until_s - time.monotonic()))[0])

    deadline_s = time.monotonic() + START_S_MAX
    while not (url := _find(root)):
        if wait(time.monotonic() + LOOK_S) or time.monotonic() > deadline_s:
            return None
    plan = load_plan(find_running(root, None))
    keep_off_hot_cpus(plan)
    hops = Hops(plan)
    tallies = Tally(), Tally(), Tally()
    sizes: list[int] = []
    spent_s = 0.0
    try:
        if wait(time.monotonic() + 2 * WINDOW_S):  # the beginning is like nothing that follows
            return None
        begun_s = time.monotonic()
        for window in range(round(seconds / WINDOW_S)):
            tally, before = tallies[window % 3], _counts(hops)
            end_s = begun_s + (window + 1) * WINDOW_S
            while (now_s := time.monotonic()) < end_s:
                if window % 3 == 1:
                    _keep_busy()
                elif window % 3 == 2:
                    sizes.append(_fetch(url))
                    spent_s += time.monotonic() - now_s
                    tally.scrapes += 1
                if wait(min(end_s, now_s + 1 / per_s)):
                    return None
            tally.add(before, _counts(hops))
    finally:
        hops.close()
    return Result(
        seconds=seconds,
        per_s=per_s,
        scrape_bytes=max(sizes),
        scrape_s=spent_s / len(sizes),
        left_alone=tallies[0].side(),
        busy=tallies[1].side(),
        scraped=tallies[2].side(),
    )


def _counts(hops: Hops) -> dict[str, Counts]:
    return {hop.name: hop.counts for hop in hops.read()}


def _keep_busy() -> None:
    end_s = time.thread_time() + SCRAPE_CPU_S
    while time.thread_time() < end_s:
        pass


def _fetch(url: str) -> int:
    with urllib.request.urlopen(url, timeout=FETCH_S_MAX) as answer:
        return len(answer.read())


def _find(root: Path) -> str:
    """Address of the metrics of the demo that runs from there; empty: not served yet."""
    try:
        return endpoint.url_of(find_running(root, None))
    except (HftError, IpcError, OSError):
        return ""
