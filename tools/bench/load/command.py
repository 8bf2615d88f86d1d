"""``hft bench load``: does the system keep up with many instruments at a high rate, for long?

A venue on one core writes bookTicker and depth frames at an even pace, each with an update id of
its own; the whole system runs on the other core with a plug-in on every instrument that answers a
few of them with orders. Every ticker is looked for in the market ring: from the venue's write to
the record's publication is one clock, and a ticker that is not there was lost.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, Literal

import click
import msgspec
import psutil

from hft.config import StrategyConfig
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from hft.graph import INSTRUMENTS_MAX
from tools.bench import machine
from tools.bench.load import venue
from tools.bench.load.market import symbols_of
from tools.bench.load.observe import Counts, Watch
from tools.bench.load.result import Cpu, Outcome, document, reduce, table, targets
from tools.bench.load.venue import Course, Sent
from tools.bench.result import target_lines
from tools.bench.t2t import load, runs
from tools.bench.t2t.pairing import pair
from tools.bench.t2t.places import make_key
from tools.bench.t2t.system import Variant, Wait, running_system
from tools.system.stopping import StopRequest

STEP_S: Final = 0.02
"""Between two looks at the market ring: it holds a few hundred milliseconds of this load."""
QUIET_STEPS: Final = 15
"""Looks without anything new after which all is in: the feed counts every 50 ms."""
DRAIN_S_MAX: Final = 20.0
QTY: Final = "20.0"
DEPTH_SHARE_MAX: Final = 0.5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line may choose."""

    rate: int = 20_000
    instruments: int = 50
    seconds: int = 60
    depth_share: float = 0.1
    orders: float = 5.0
    topology: Literal["compact", "dedicated"] = "compact"
    wait: Wait | None = None
    """None: as the topology's row of ``hft bench t2t``."""
    as_json: bool = False
    check: bool = False


def run(options: Options) -> int:
    """Measure, print tables or one JSON object, and return the exit code.

    Raises:
        UsageError: a rate that does not fit, or fewer than two cpus.
        CheckFailedError: the venue failed.
    """
    course = _course(options)
    cpus = machine.choose_cpus()
    facts = _facts(options, cpus)
    outcome = _measure(options, course, cpus)
    reached = targets(outcome)
    if options.as_json:
        judged = [{**one._asdict(), "reached": one.is_reached} for one in reached]
        click.echo(json.dumps({**facts, **document(outcome), "targets": judged}, indent=2))
    else:
        click.echo(
            "\n".join([*_head(options, course), *table(outcome), "", *target_lines(reached)])
        )
        click.echo("\n".join(_foot(facts)))
    missed = any(one.is_reached is False for one in reached)
    return EXIT_CHECK_FAILED if options.check and missed else EXIT_OK


def _course(options: Options) -> Course:
    if not 0 < options.depth_share <= DEPTH_SHARE_MAX:
        raise UsageError(
            f"a depth share of {options.depth_share:g} cannot be",
            remedy=f"Every depth event needs a ticker before it: give up to {DEPTH_SHARE_MAX:g}.",
        )
    if not 0 < options.instruments < INSTRUMENTS_MAX:
        raise UsageError(
            f"{options.instruments} instruments cannot be",
            remedy=f"A system has from 1 to {INSTRUMENTS_MAX - 1}.",
        )
    depth_every = round(1 / options.depth_share)
    if options.rate < depth_every * options.instruments:
        raise UsageError(
            f"at {options.rate} frames/s each of {options.instruments} books would stand still for "
            "more than a second",
            remedy="Give a higher --rate or --depth-share, or fewer --instruments.",
        )
    return Course(
        rate_per_s=options.rate,
        seconds=options.seconds,
        depth_every=depth_every,
        orders_per_s=options.orders,
    )


def _measure(options: Options, course: Course, cpus: tuple[int, int]) -> Outcome:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([venue.__name__])
    stop = StopRequest()
    bench = runs.Bench(context, cpus, make_key(), trust=None, usage=load.USUAL, stop=stop)
    strategy = StrategyConfig(
        name="answer",
        plugin="tools.bench.load.answer:Answer",
        symbols=symbols_of(options.instruments),
        parameters={"qty": QTY},
    )
    usual: Wait = "busy_spin" if options.topology == "compact" else "auto"
    variant = Variant(options.topology, options.wait or usual)
    with (
        stop.installed(),
        runs.open_venue(bench, venue.work, options.instruments) as (place, pipe),
        running_system(variant, place, cpus[1], stop, strategy) as system,
        closing(Watch(system.plan)) as watch,
        _beside(cpus[0]),
    ):
        before = watch.counts()
        hot = _Hot(system.hot_pids)
        system.begin()

        def step() -> None:
            watch.read()
            system.step(STEP_S)

        sent = runs.play(bench, pipe, course, course.seconds, step)
        if isinstance(sent, str):
            raise runs.failed("the venue", sent, remedy="look at the system's log; run it again")
        assert isinstance(sent, Sent)
        cpu, cold, hops = hot.read(), system.usage(), system.hops()
        after = _drained(watch, step)
        return reduce(
            course,
            sent,
            watch.published(),
            after.since(before)._replace(frames=after.frames),
            pair(sent.triggers, sent.arrivals, warm=0),
            cpu,
            cold,
            hops,
        )


def _drained(watch: Watch, step: Callable[[], None]) -> Counts:
    """The counters once nothing comes any more; the venue sends nothing after a course."""
    deadline = time.monotonic() + DRAIN_S_MAX
    counts, quiet = watch.counts(), 0
    while quiet < QUIET_STEPS and time.monotonic() < deadline:
        step()
        now = watch.counts()
        quiet = quiet + 1 if now.frames == counts.frames else 0
        counts = now
    return counts


class _Hot:
    """Processor time of the hot processes, from its making on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._begun_s = time.monotonic()
        self._before = self._times()

    def read(self) -> Cpu:
        """So far."""
        seconds = time.monotonic() - self._begun_s
        user, system = (now - then for now, then in zip(self._times(), self._before, strict=True))
        return Cpu(user / seconds, system / seconds)

    def _times(self) -> tuple[float, float]:
        times = [process.cpu_times() for process in self._processes]
        return sum(one.user for one in times), sum(one.system for one in times)


@contextmanager
def _beside(cpu: int) -> Iterator[None]:
    """This process, the supervisor among other things, stays on the venue's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _head(options: Options, course: Course) -> list[str]:
    return [
        f"{course.rate_per_s:,} frames/s of {options.instruments} instruments for "
        f"{course.seconds} s, one of {course.depth_every} a depth event; "
        f"{options.topology}, everything on",
        "",
    ]


def _facts(options: Options, cpus: tuple[int, int]) -> dict[str, Any]:
    return {
        "command": _command(options),
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "cpus_pinned": list(cpus),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "instruments": options.instruments,
        "topology": options.topology,
    }


def _foot(facts: dict[str, Any]) -> list[str]:
    near, far = facts["cpus_pinned"]
    lines = [
        "",
        f"machine  {facts['cpu']}, venue on cpu {near}, system on cpu {far}, "
        f"Linux {facts['kernel']}, Python {facts['python']}, load {facts['load_before']} before",
        f"command  {facts['command']}",
    ]
    return lines + ([f"commit   {facts['commit']}"] if facts["commit"] else [])


def _command(options: Options) -> str:
    words = ["hft", "bench", "load"]
    given = {
        "--rate": options.rate,
        "--instruments": options.instruments,
        "--seconds": options.seconds,
        "--depth-share": options.depth_share,
        "--orders": options.orders,
        "--topology": options.topology,
        "--wait": options.wait,
    }
    words += [f"{name}={value}" for name, value in given.items() if value is not None]
    words += ["--json"] if options.as_json else []
    return shlex.join(words + (["--check"] if options.check else []))
