"""A chaos run from its stage to its report, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import msgspec

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK
from tools.chaos import child, hand, stage
from tools.chaos.course import Course, with_leaks
from tools.chaos.leaks import LEAK, leaks, look_before, queue_key
from tools.chaos.options import Options
from tools.chaos.points import Words
from tools.chaos.report import Report, text
from tools.chaos.trials import TRIALS, check_mutant
from tools.demo.screen import Screen
from tools.demo.settings import cold_cpus
from tools.demo.venue import running_venue
from tools.system.assembly import assembled
from tools.system.places import remove_run_dir, run_root
from tools.system.stopping import StopRequest
from tools.system.supervisor import PRELOAD, warm_up


def run(options: Options) -> int:
    """Strike, audit, report; returns the exit code: 1 when an invariant does not hold.

    Raises:
        HftError: the system cannot start.
    """
    report = perform(options)
    if report is None:
        return EXIT_OK
    if options.as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        click.echo(text(report))
    return EXIT_OK if report.passed else EXIT_CHECK_FAILED


def perform(options: Options, *, is_sound: bool = False) -> Report | None:
    """One run; None: stopped before it was ready.

    ``is_sound`` runs the trial of ``options.mutant`` on unbroken code.

    Raises:
        HftError: the system cannot start, or an option does not hold.
    """
    options.check()
    check_mutant(options.mutant)
    topology = TRIALS[options.mutant].topology if options.mutant else options.topology
    options = msgspec.structs.replace(options, topology=topology)
    name = f"chaos-{os.getpid()}"
    before = look_before(name, run_root() / name)
    target = partial(child.run, mutant="" if is_sound else options.mutant)
    with (
        StopRequest().installed() as stop,
        Screen(as_json=options.as_json) as screen,
        _home(name) as home,
        running_venue(stage.simulator(options.seed), cold_cpus(topology)) as venue,
    ):
        config = stage.settings(
            name,
            topology,
            home,
            venue,
            fences_age=not options.mutant,
            has_company=options.has_company,
        )
        # The fork server imports the taps once, or every new life would pay for them.
        context = warm_up((*PRELOAD, child.__name__, hand.__name__))
        course = Course(options, stop, screen, venue, context)
        with assembled(config, on_event=course.on_event, target=target) as system:
            system.supervisor.add_helper("venue", venue.pid)
            words, key = Words(system.run_dir), queue_key(system.run_dir)
            if not system.start(stop):
                screen.say("stopped before it was ready; nothing is left of it")
                return None
            report = course.play(system, words)
            words.close()
    return with_leaks(report, LEAK, leaks(before, key))


@contextmanager
def _home(name: str) -> Iterator[Path]:
    """Directory for key and state: in the run directory, which goes with the system."""
    run_dir = run_root() / name
    path = run_dir / "home"
    path.mkdir(mode=0o750, parents=True)
    try:
        yield path
    finally:
        remove_run_dir(run_dir)
