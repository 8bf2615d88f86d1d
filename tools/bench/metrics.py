"""`hft bench metrics`: what a scrape costs whoever trades.

One demo that serves metrics, and three kinds of short windows: it is left alone; another core is
kept busy for as long as scrapes would keep it, without looking at the demo (the control: cores of
one machine are never independent); it is scraped. Same processes, same minute, same neighbours. A
window that is scraped begins with a scrape, so there are at least four a second: Prometheus asks
far more seldom, and what it costs is that much less.

The windows come in blocks of one of each kind, in an order drawn for each block, and only windows
of one block are compared: what drifts slower than a block, as the market and a shared machine do,
falls out of the difference. Where little is counted, blocks are joined until a median means
something. The effect is the trimmed mean of the differences of all blocks; how far chance alone may
have moved it says a bootstrap over the blocks. All intervals together hold with 95 %: each is that
much wider. Nothing is measurable where the interval contains zero and is narrower than a bound that
is stated; a wider one that contains zero says nothing, and is called so.
"""

from __future__ import annotations

import math
import os
import random
import select
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from hft.errors import EXIT_OK, CheckFailedError, HftError
from hft.roles.context import load_plan
from ipc import IpcError, bucket_value_max, histogram_percentile
from tools.latency.hdr import Counts
from tools.latency.hops import Hops
from tools.system import endpoint
from tools.system.child import python_command, python_environment
from tools.system.placement import keep_off_hot_cpus
from tools.system.places import RUN_DIR_VARIABLE, find_running

SHOWN: Final = ("receive_to_book", "decision_to_wire", "tick_to_trade")
COMPARED: Final = ("turn.feed", *SHOWN)
"""Their medians in each block: length of a turn of the hot loop that did work, and the hops."""
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
KINDS: Final = ("left alone", "busy core", "scraped")
WINDOW_S: Final = 0.25
COUNT_MIN: Final = 40
"""So many make a median."""
CONFIDENCE: Final = 0.95
"""Of all intervals together."""
WIDTH_PERCENT_MAX: Final = 5.0
"""An interval that is wider does not show that there is nothing."""
TRIMMED: Final = 0.2
"""Share of the differences that is left out at each end: windows that a neighbour spoilt."""
RESAMPLES: Final = 4_000
SEED: Final = 20_261_122
WARM_UP: Final = 30
"""Scrapes, a tenth of a second apart: what one costs is measured, and the beginning passes."""
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


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """How much longer something takes while it is scraped, as the median of a block."""

    name: str
    against: str
    """The kind of windows it is compared with."""
    blocks: int
    percent: float
    low_percent: float
    high_percent: float
    ns: float
    """The same in ns of the typical block."""

    @property
    def verdict(self) -> str:
        """What it shows."""
        if self.low_percent > 0:
            return "slower"
        if self.high_percent < 0:
            return "faster"
        is_narrow = self.high_percent - self.low_percent < WIDTH_PERCENT_MAX
        return "nothing measurable" if is_narrow else "unclear"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON object of the command."""

    seconds: float
    per_s: float
    scrape_bytes: int
    scrape_s: float
    """Mean time that an answer took."""
    scrape_cpu_s: float
    """Processor time of one scrape, at both ends; the control spends as much."""
    left_alone: Side
    busy: Side
    scraped: Side
    effects: tuple[Effect, ...]


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


class Blocks:
    """What is compared, block by block."""

    def __init__(self) -> None:
        self.log_medians: dict[str, list[dict[str, float]]] = {name: [] for name in COMPARED}
        """For each block: kind of window to logarithm of the median, ns."""
        self._open: dict[str, dict[str, Counts]] = {name: {} for name in COMPARED}

    def add(self, kind: str, before: dict[str, Counts], after: dict[str, Counts]) -> None:
        """Add a window to the block that is open."""
        for name, counts in self._open.items():
            more = after[name] - before[name]
            counts[kind] = counts[kind] + more if kind in counts else more

    def close(self) -> None:
        """A block has one window of each kind; where too little was counted it stays open."""
        for name, counts in self._open.items():
            if all(int(one.sum()) >= COUNT_MIN for one in counts.values()):
                self.log_medians[name].append(
                    {kind: _log_median(one) for kind, one in counts.items()}
                )
                counts.clear()

    def effects(self) -> tuple[Effect, ...]:
        """Scraped windows against the others of the same blocks."""
        controls = KINDS[:-1]
        confidence = 1 - (1 - CONFIDENCE) / (len(COMPARED) * len(controls))
        return tuple(
            _effect(name, kind, self.log_medians[name], confidence)
            for kind in controls
            for name in COMPARED
        )


def _log_median(counts: Counts) -> float:
    """Within its bucket by how far the middle is into it: buckets are up to 1 % wide."""
    sums = counts.cumsum()
    middle = sums[-1] / 2
    bucket = int(np.searchsorted(sums, middle))
    low_ns = bucket_value_max(bucket - 1) + 1 if bucket else 0
    high_ns = bucket_value_max(bucket) + 1
    share = 1 - (sums[bucket] - middle) / counts[bucket]
    return math.log(max(1.0, low_ns + share * (high_ns - low_ns)))


def _effect(
    name: str, against: str, log_medians: Sequence[dict[str, float]], confidence: float
) -> Effect:
    number = len(log_medians)
    if not number:
        return Effect(name=name, against=against, blocks=0, percent=0.0, low_percent=-100.0,
                      high_percent=math.inf, ns=0.0)  # fmt: skip
    others = np.array([one[against] for one in log_medians])
    differences = np.array([one["scraped"] for one in log_medians]) - others
    drawn = np.random.default_rng(SEED).integers(0, number, (RESAMPLES, number))
    means = trimmed_means(differences[drawn])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    middle = math.expm1(trimmed_means(differences[np.newaxis])[0])
    return Effect(
        name=name,
        against=against,
        blocks=number,
        percent=100 * middle,
        low_percent=100 * math.expm1(low),
        high_percent=100 * math.expm1(high),
        ns=math.exp(np.median(others)) * middle,
    )


def trimmed_means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row without its smallest and largest values."""
    number = rows.shape[1]
    left_out = int(TRIMMED * number)
    means: NDArray[np.float64] = np.sort(rows, axis=1)[:, left_out : number - left_out].mean(axis=1)
    return means


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
        f"{result.seconds:g} s of a demo, every third {WINDOW_S:g} s scraped {result.per_s:g} times"
        f" a second:"
        f" {result.scraped.scrapes:,} scrapes of {result.scrape_bytes / 1024:.0f} KiB,"
        f" {result.scrape_s * 1_000:.1f} ms each, {result.scrape_cpu_s * 1_000:.1f} ms of a core",
        f"  {'µs':<22}{'left alone':>12}{'busy core':>12}{'scraped':>12}{'count of each':>36}",
    ]
    for name in SHOWN:
        sides = result.left_alone, result.busy, result.scraped
        for number, label in enumerate(SHARES):
            shown = "".join(f"{one.percentile_ns[name][label] / 1_000:>12,.1f}" for one in sides)
            counts = "" if number else " / ".join(f"{one.count[name]:,}" for one in sides)
            lines.append(f"  {f'{name} {label}':<22}{shown}{counts:>36}".rstrip())
    return [*lines, "", *_render_effects(result)]


def _render_effects(result: Result) -> list[str]:
    heads = f"{'median longer by':>17}{'%':>8}{'interval, %':>18}{'blocks':>8}"
    lines = [f"  {'scraped, against':<28}{heads}"]
    for one in result.effects:
        interval = f"{one.low_percent:+.2f} … {one.high_percent:+.2f}"
        lines.append(
            f"  {one.against + ', ' + one.name:<28}{one.ns / 1_000:>+14.2f} µs{one.percent:>+8.2f}"
            f"{interval:>18}{one.blocks:>8}  {one.verdict}"
        )
    return [*lines, "", conclusion(result.effects)]


def conclusion(found: Sequence[Effect]) -> str:
    """The answer in a sentence; against a busy core stands what a scrape itself costs."""
    rule = f"intervals contain 0 and are narrower than {WIDTH_PERCENT_MAX:g} %"
    by_name: dict[str, dict[str, str]] = {}
    for one in found:
        by_name.setdefault(one.name, {})[one.against] = one.verdict
    verdicts = {name: _together(by_kind) for name, by_kind in by_name.items()}
    if set(verdicts.values()) == {"nothing measurable"}:
        return f"A scrape costs whoever trades nothing measurable: all {rule}."
    parts = {
        verdict: ", ".join(name for name, its in verdicts.items() if its == verdict)
        for verdict in dict.fromkeys(verdicts.values())
    }
    texts = {
        "slower": "A scrape makes slower: {}.",
        "faster": "Faster while it is scraped, which no scrape can do: {}.",
        "as a busy core": "No slower than beside any other busy core: {}.",
        "nothing measurable": f"Nothing measurable ({rule}): {{}}.",
        "unclear": "Too little was counted for: {}; give it more seconds, or a quieter machine.",
    }
    return "\n".join(text.format(parts[key]) for key, text in texts.items() if key in parts)


def _together(by_kind: dict[str, str]) -> str:
    """One verdict from those against each kind of windows."""
    alone, busy = by_kind["left alone"], by_kind["busy core"]
    if busy in ("slower", "faster") or alone == busy:
        return busy
    if alone == "slower" and busy == "nothing measurable":
        return "as a busy core"
    return "unclear" if "unclear" in (alone, busy) else alone


def _measure(root: Path, pidfd: int, seconds: float, per_s: float) -> Result | None:
    """The figures; None: the demo ended before."""

    def wait(until_s: float) -> bool:
        """Let time pass; True: the demo has ended."""
        return bool(select.select([pidfd], [], [], max(0.0, until_s - time.monotonic()))[0])

    deadline_s = time.monotonic() + START_S_MAX
    while not (url := _find(root)):
        if wait(time.monotonic() + LOOK_S) or time.monotonic() > deadline_s:
            return None
    run_dir = find_running(root, None)
    served = (run_dir / endpoint.FILE).read_bytes()
    pid = msgspec.json.decode(served, type=endpoint.Endpoint).pid
    plan = load_plan(run_dir)
    keep_off_hot_cpus(plan)
    hops = Hops(plan)
    tallies, blocks = {kind: Tally() for kind in KINDS}, Blocks()
    draw = random.Random(SEED)
    sizes: list[int] = []
    spent_s = 0.0
    try:
        cpu_s = -_scrape_clock_s(pid)
        for _ in range(WARM_UP):
            sizes.append(_fetch(url))
            if wait(time.monotonic() + 0.1):
                return None
        cpu_s = (cpu_s + _scrape_clock_s(pid)) / WARM_UP
        begun_s = time.monotonic()
        for window in range(round(seconds / WINDOW_S)):
            if window % len(KINDS) == 0:
                order = draw.sample(KINDS, len(KINDS))
            kind = order[window % len(KINDS)]
            tally, before = tallies[kind], _counts(hops)
            end_s = begun_s + (window + 1) * WINDOW_S
            while (now_s := time.monotonic()) < end_s:
                if kind == "busy core":
                    _keep_busy(cpu_s)
                elif kind == "scraped":
                    sizes.append(_fetch(url))
                    spent_s += time.monotonic() - now_s
                    tally.scrapes += 1
                if wait(min(end_s, now_s + 1 / per_s)):
                    return None
            after = _counts(hops)
            tally.add(before, after)
            blocks.add(kind, before, after)
            if window % len(KINDS) == len(KINDS) - 1:
                blocks.close()
    finally:
        hops.close()
    return Result(
        seconds=seconds,
        per_s=per_s,
        scrape_bytes=max(sizes),
        scrape_s=spent_s / tallies["scraped"].scrapes,
        scrape_cpu_s=cpu_s,
        left_alone=tallies["left alone"].side(),
        busy=tallies["busy core"].side(),
        scraped=tallies["scraped"].side(),
        effects=blocks.effects(),
    )


def _counts(hops: Hops) -> dict[str, Counts]:
    return {hop.name: hop.counts for hop in hops.read()}


def _scrape_clock_s(pid: int) -> float:
    """Processor time of the process that serves, threads that ended included, and of this one."""
    served_clock = ~pid << 3 | 2  # as clock_getcpuclockid(3) makes it
    return time.clock_gettime(served_clock) + time.process_time()


def _keep_busy(cpu_s: float) -> None:
    end_s = time.thread_time() + cpu_s
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
