"""The course of a demo: venue, system, trading, settling, comparison, and nothing left behind."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from hft import counters
from hft.config import Config, ManualConfig, RiskConfig
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from hft.units import NS_PER_S
from tools.demo.ledger import Ledger
from tools.demo.report import Pages, Report, collect
from tools.demo.screen import Screen
from tools.demo.settings import ACCOUNT, SYMBOLS, checked, cold_cpus, system_of, venue_of
from tools.demo.strategies import chosen
from tools.demo.venue import DemoVenue, running_venue
from tools.metrics.helper import Helper
from tools.system.assembly import System, assembled
from tools.system.notes import load_notes
from tools.system.places import Places, make_run_dir, remove_run_dir, run_root
from tools.system.status import process_statuses
from tools.system.stopping import StopRequest
from tools.system.up import describe
from tools.venue.config import VenueConfig as SimulatorConfig

PROGRESS_S: Final = 0.1
SETTLE_S_MAX: Final = 10.0
COMPARE_EVERY_S: Final = 0.25


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line may choose."""

    seconds: float = 20.0
    as_json: bool = False
    topology: str = "compact"
    symbols: tuple[str, ...] = ()
    """Empty: the usual three, or all that the recordings hold."""
    strategies: tuple[str, ...] = ("maker",)
    """Built-in ones by name, plug-ins as ``FILE.py:Class``; the symbols are dealt out in turn."""
    seed: int = 42
    recordings: tuple[str, ...] = ()
    speed: float = 1.0
    rest_port: int = 0
    stream_port: int = 0
    api_port: int = 0
    keep: bool = False
    metrics_port: int | None = None
    """Where metrics are served; None: nowhere, 0: at any free port."""


def run(options: Options) -> int:
    """Run the demo, show what came of it; returns the exit code.

    Raises:
        HftError: it cannot start, or a process cannot be kept alive.
    """
    name = f"demo-{os.getpid()}"
    _check_symbols(options)
    if not options.recordings:  # what recordings hold is known only when the venue has read them
        chosen(options.strategies, options.symbols or SYMBOLS)
    with (
        StopRequest().installed() as stop,
        Screen(as_json=options.as_json) as screen,
        _home(name, screen, keep=options.keep) as home,
        running_venue(_simulator(options), cold_cpus(options.topology)) as venue,
    ):
        config = _settings(options, name, home, venue)
        screen.say(
            f"hft demo · {options.topology} topology · {' '.join(config.symbols)}"
            f" · policy {config.risk.policy}"
        )
        if len(config.strategies) > 1:
            screen.done("strategies", _strategies_text(config))
        ports = venue.ports
        screen.done(
            "venue simulator",
            f"{_market_text(options)} · REST {ports.rest} · streams {ports.streams}"
            f" · orders {ports.api}",
        )
        with Helper() as helper, assembled(config, on_event=screen.event) as system:
            system.supervisor.add_helper("venue", venue.pid)
            if not system.start(stop):
                screen.say("stopped before it was ready; nothing is left of it")
                return EXIT_OK
            _serve_metrics(helper, system, options, screen)
            report = _trade(system, venue, options, stop, screen)
        screen.summary(report)
    return EXIT_OK if report.passed else EXIT_CHECK_FAILED


def _serve_metrics(helper: Helper, system: System, options: Options, screen: Screen) -> None:
    """Start the metrics process, where a port was asked for, and say where it answers."""
    if options.metrics_port is None:
        return
    add_helper = system.supervisor.add_helper
    helper.start(system.plan, add_helper, port=options.metrics_port, is_quiet=True)
    url = helper.wait_until_served(system.plan, system.supervisor.step)
    screen.done("metrics", url or f"cannot be served at port {options.metrics_port}")


def _check_symbols(options: Options) -> None:
    """The simulator makes up a contract for any name; a demo with a misspelt one shows nothing.

    Raises:
        UsageError: a symbol is not one that the synthetic market has prices and rules for.
    """
    unknown = [symbol for symbol in options.symbols if symbol not in SYMBOLS]
    if unknown and not options.recordings:
        raise UsageError(
            f"the demo's market has no {', '.join(unknown)}.",
            remedy=f"It has {', '.join(SYMBOLS)}; others can be played with --recording FILE.",
        )


def _trade(
    system: System, venue: DemoVenue, options: Options, stop: StopRequest, screen: Screen
) -> Report:
    for what, how in describe(system):
        screen.done(what, how)
    ledger = Ledger(system.plan)
    system.arm_itself()
    screen.done("armed", "demo arms itself; live waits for `hft arm`")
    pages = Pages(system.plan)
    begun_ns = time.monotonic_ns()
    while (
        passed_s := (time.monotonic_ns() - begun_ns) / NS_PER_S
    ) < options.seconds and not stop():
        system.supervisor.step(PROGRESS_S, also=stop.fileno())
        ledger.poll()
        passed_s = (time.monotonic_ns() - begun_ns) / NS_PER_S
        screen.progress(passed_s, options.seconds, _progress_text(pages))
    screen.end_progress()
    ledger.end_trading()
    _settle(system, venue, pages)
    ledger.poll()
    processes = process_statuses(system.plan, load_notes(system.run_dir))
    truth = venue.truth(system.plan.config)
    report = collect(
        pages,
        truth,
        ledger,
        venue=f"simulator, {_market_text(options)}",
        seconds=passed_s,
        processes=processes,
    )
    ledger.close()
    return report


def _settle(system: System, venue: DemoVenue, pages: Pages) -> None:
    """Stop trading; wait until nothing is open or unknown and account and venue say the same."""
    system.halt("the demo is over")
    deadline_ns = time.monotonic_ns() + int(SETTLE_S_MAX * NS_PER_S)
    compared_ns = 0
    while (now_ns := time.monotonic_ns()) < deadline_ns:
        system.supervisor.step(PROGRESS_S)
        is_quiet = (
            pages.gauge("execution", counters.OPEN_ORDERS) == 0
            and pages.gauge("execution", counters.UNKNOWN_ORDERS) == 0
        )
        if is_quiet and now_ns - compared_ns > COMPARE_EVERY_S * NS_PER_S:
            compared_ns = now_ns
            if pages.agrees_with(venue.truth(system.plan.config)):
                return


def _progress_text(pages: Pages) -> str:
    frames = pages.count("feed", counters.FRAMES)
    sent = pages.count("execution", counters.SENT)
    fills = pages.count("execution", counters.FILLS)
    return f"{frames:,} frames · {sent:,} orders · {fills:,} fills"


def _strategies_text(config: Config) -> str:
    return " · ".join(f"{one.name} on {' '.join(one.symbols)}" for one in config.strategies)


def _market_text(options: Options) -> str:
    if options.recordings:
        return f"recording at {options.speed:g}×"
    return f"seed {options.seed}"


def _simulator(options: Options) -> SimulatorConfig:
    return SimulatorConfig(
        rest_port=options.rest_port,
        stream_port=options.stream_port,
        api_port=options.api_port,
        symbols=options.symbols or SYMBOLS,
        accounts=(ACCOUNT,),
        seed=options.seed,
        recordings=tuple(str(Path(one).resolve()) for one in options.recordings),
        recording_speed=options.speed,
    )


def _settings(options: Options, name: str, home: Path, venue: DemoVenue) -> Config:
    """The demo's settings, also written down for whoever wants to look at them."""
    symbols = options.symbols or (venue.symbols() if options.recordings else SYMBOLS)
    config = Config(
        symbols=symbols,
        system=system_of(name, options.topology, home),
        venue=venue_of(venue, home),
        risk=RiskConfig(policy="demo", manual=ManualConfig(enabled=True)),
        strategies=chosen(options.strategies, symbols),
    )
    return checked(config, home)


@contextmanager
def _home(name: str, screen: Screen, *, keep: bool) -> Iterator[Path]:
    """Directory for key, settings and state: in the run directory, which goes with the system."""
    if keep:
        path = Path(tempfile.mkdtemp(prefix=f"hft-{name}-"))
        try:
            yield path
        finally:
            screen.say(f"kept: {path}")
        return
    places = Places(name, run_root() / name, Path())
    make_run_dir(places)
    path = places.run_dir / "home"
    try:
        path.mkdir(mode=0o750)
        yield path
    finally:
        remove_run_dir(places.run_dir)
