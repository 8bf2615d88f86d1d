"""``hft bench t2t``: from the venue's write of a tick to the arrival of the order at the venue.

Every contender meets the same server: the simulator on one core, pinned, that stamps a tick right
before its write and the order right after its read; the contender is pinned to the other. A trigger
is a change of the best bid, and the order names it by its price. Contenders take turns in rounds
whose order rotates, each time on fresh processes; a figure is the median over the rounds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import ssl
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.bench import machine
from tools.bench.t2t import client, load, runs, venue
from tools.bench.t2t.contenders import COMPACT, CONTENDERS, Contender
from tools.bench.t2t.course import COLD_PACE_PER_S, PROFILES, Course, check
from tools.bench.t2t.places import make_key
from tools.bench.t2t.result import (
    Reached,
    Result,
    Results,
    hop_of,
    table,
    target_lines,
    targets,
    waterfall,
)
from tools.bench.t2t.trust import trusted
from tools.latency import drawing
from tools.system.stopping import StopRequest

ROUNDS: Final = 5
ROUNDS_QUICK: Final = 1
TRIGGERS: Final = 240
TRIGGERS_QUICK: Final = 100
TRIGGERS_COLD: Final = 12
PACE_QUICK_PER_S: Final = 50.0
WARM_SHARE: Final = 0.1
WARM_MIN: Final = 2
LOAD_MAX: Final = 0.5
"""Run queue above which the table says that the machine was busy."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line may choose."""

    quick: bool = False
    as_json: bool = False
    check: bool = False
    tls: bool = False
    peers: tuple[str, ...] = ()
    """Empty: all."""
    profiles: tuple[str, ...] = ("steady",)
    rounds: int | None = None
    rate: int = 2_000
    pace: float | None = None
    triggers: int | None = None
    plot: str = ""


def run(options: Options) -> int:
    """Measure, print one table for each profile or one JSON object, and return the exit code.

    Raises:
        UsageError: an unknown row or profile, no row that can do TLS where it is asked for, a pace
            that does not fit, or fewer than two cpus.
        CheckFailedError: a contender failed.
    """
    named = _choose(options.peers)
    chosen = [row for row in named if row.has_tls or not options.tls]
    left_out = [row for row in named if row not in chosen]
    if not chosen:
        raise UsageError(
            f"with TLS nothing is left to measure of {', '.join(row.name for row in named)}",
            remedy="name another row, or leave out --tls",
        )
    courses = [_course(options, profile) for profile in options.profiles]
    cpus = machine.choose_cpus()
    present = [row for row in chosen if _is_importable(row.module)]
    absent = [row for row in chosen if row not in present]
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    facts = _facts(options, present, cpus, rounds, courses)
    results = _measure(present, courses, cpus, rounds, has_tls=options.tls)
    reached = targets(results, has_tls=options.tls)
    if options.as_json:
        click.echo(json.dumps(_document(facts, results, absent, left_out, reached), indent=2))
    else:
        click.echo("\n".join(_text(facts, results, absent, left_out, reached)))
    if options.plot:
        hops = [hop_of(result) for result in results.values() if result.samples_ns]
        Path(options.plot).write_text(drawing.svg(hops, "tick to trade"))
    missed = any(one.target.is_reached is False for one in reached)
    return EXIT_CHECK_FAILED if options.check and missed else EXIT_OK


def _choose(names: Sequence[str]) -> list[Contender]:
    known = {row.name for row in CONTENDERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"no row is called {', '.join(map(repr, unknown))}",
            remedy=f"the rows are {', '.join(row.name for row in CONTENDERS)}",
        )
    return [row for row in CONTENDERS if not names or row.name in names]


def _is_importable(module: str) -> bool:
    """Whether it can be imported; nothing of it is run. A missing parent is no error."""
    with suppress(ModuleNotFoundError):
        return not module or find_spec(module) is not None
    return False


def _course(options: Options, profile: str) -> Course:
    is_cold = profile == PROFILES[-1]
    triggers = options.triggers or (
        TRIGGERS_COLD if is_cold else TRIGGERS_QUICK if options.quick else TRIGGERS
    )
    usual = PACE_QUICK_PER_S if options.quick else venue.PACE_PER_S_MAX
    course = Course(
        profile=profile,
        rate_per_s=options.rate,
        pace_per_s=options.pace or (COLD_PACE_PER_S if is_cold else usual),
        warm=max(WARM_MIN, round(triggers * WARM_SHARE)),
        triggers=triggers,
    )
    check(course)
    return course


def _measure(
    rows: Sequence[Contender],
    courses: Sequence[Course],
    cpus: tuple[int, int],
    rounds: int,
    *,
    has_tls: bool,
) -> dict[tuple[str, str], Result]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([venue.__name__, client.__name__])
    stop = StopRequest()
    # Systems go first: what their cold processes cost is what the others get beside them.
    order = sorted(rows, key=lambda row: row.variant is None)
    results = {
        (course.profile, row.name): Result(row, course.profile)
        for course in courses
        for row in rows
    }
    with ExitStack() as stack:
        trust = stack.enter_context(trusted()) if has_tls else None
        bench = runs.Bench(context, cpus, make_key(), trust, load.USUAL, stop)
        stack.enter_context(stop.installed())
        progress = stack.enter_context(_progress())
        task = progress.add_task("", total=rounds * len(results))
        for number in range(rounds):
            turn = number % len(order)
            for course in courses:
                for row in (*order[turn:], *order[:turn]):
                    progress.update(task, description=f"{row.text}, {course.profile}")
                    run = runs.perform(bench, row, course)
                    results[course.profile, row.name].add(run)
                    if row.name == COMPACT:
                        bench = bench._replace(usage=run.usage)
                    progress.advance(task)
    return results


def _progress() -> Progress:
    """On standard error, where it does not mix with the table; nothing unless on a terminal."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _facts(
    options: Options,
    rows: Sequence[Contender],
    cpus: tuple[int, int],
    rounds: int,
    courses: Sequence[Course],
) -> dict[str, Any]:
    distributions = ["orjson", "uvloop", *(row.distribution for row in rows if row.distribution)]
    return {
        "command": _command(options),
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "cpus_pinned": list(cpus),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": machine.versions(distributions),
        "tls": ssl.OPENSSL_VERSION if options.tls else None,
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": rounds,
        "courses": [course._asdict() for course in courses],
    }


def _document(
    facts: dict[str, Any],
    results: Results,
    absent: Sequence[Contender],
    left_out: Sequence[Contender],
    reached: Sequence[Reached],
) -> dict[str, Any]:
    return {
        **facts,
        "rows": [result.as_dict() for result in results.values()],
        "absent": [row.name for row in absent],
        "left_out": [row.name for row in left_out],
        "targets": [
            {
                **target._asdict(),
                "reached": target.is_reached if is_judged else None,
                "low": spread and spread.low,
                "high": spread and spread.high,
            }
            for target, spread, is_judged in reached
        ],
    }


def _text(
    facts: dict[str, Any],
    results: Results,
    absent: Sequence[Contender],
    left_out: Sequence[Contender],
    reached: Sequence[Reached],
) -> list[str]:
    course = facts["courses"][0]
    with_tls = f", with TLS ({facts['tls']})" if facts["tls"] else ""
    lines = [
        "from the venue's write of a tick to its read of the order; medians of "
        f"{facts['rounds']} rounds, {course['rate_per_s']} frames/s{with_tls}",
    ]
    for course in facts["courses"]:
        lines += ["", *table(results, course["profile"])]
        lines.append(f"{course['triggers']} triggers a round, {course['pace_per_s']:g} a second")
    lines += [f"{row.text}: absent, {row.distribution} is not installed" for row in absent]
    lines += [f"{row.text}: left out, measured without TLS only" for row in left_out]
    lines += ["", *target_lines(reached)]
    for result in results.values():
        if found := waterfall(result):
            lines += ["", *found]
    near, far = facts["cpus_pinned"]
    packages = "".join(f", {name} {version}" for name, version in facts["versions"].items())
    lines += [
        "",
        f"machine  {facts['cpu']}, venue on cpu {near}, contender on cpu {far}, "
        f"Linux {facts['kernel']}, Python {facts['python']}{packages}",
        f"command  {facts['command']}",
    ]
    if facts["commit"]:
        lines.append(f"commit   {facts['commit']}")
    if facts["load_before"] > LOAD_MAX:
        lines.append(
            f"busy     load {facts['load_before']} before the start: trust the figures on an idle "
            "machine"
        )
    return lines


def _command(options: Options) -> str:
    words = ["hft", "bench", "t2t"]
    flags = {
        "--quick": options.quick,
        "--json": options.as_json,
        "--check": options.check,
        "--tls": options.tls,
    }
    words += [flag for flag, on in flags.items() if on]
    if options.peers:
        words += ["--peers", ",".join(options.peers)]
    words += ["--profile", ",".join(options.profiles)]
    given = {
        "--rounds": options.rounds,
        "--pace": options.pace,
        "--triggers": options.triggers,
        "--rate": options.rate,
        "--plot": options.plot or None,
    }
    words += [f"{name}={value}" for name, value in given.items() if value is not None]
    return shlex.join(words)
