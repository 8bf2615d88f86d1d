"""One run: a fresh venue, one contender, one course; and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Final, NamedTuple

from hft.errors import CheckFailedError
from tools.bench.t2t import client, load, venue
from tools.bench.t2t.contenders import Contender
from tools.bench.t2t.course import Course
from tools.bench.t2t.load import Usage
from tools.bench.t2t.pairing import Paired, pair
from tools.bench.t2t.places import Key, Place
from tools.bench.t2t.spun import Ports
from tools.bench.t2t.system import running_system
from tools.bench.t2t.trust import Trust
from tools.latency.hops import Hop

START_S_MAX: Final = 20.0
SPARE_S: Final = 30.0
"""A course may take so much longer than planned before it counts as stuck."""
STEP_S: Final = 0.1
END_S_MAX: Final = 5.0
LEAVE_OUT: Final = "leave the row out: --peers names those to measure"


class Run(NamedTuple):
    """What came of one run."""

    paired: Paired
    usage: Usage
    """Of a system's cold processes and supervisor; of the load beside anybody else."""
    frames: int
    late_ns_p99: int
    """How late the venue wrote its frames, p99: large when it did not get its core."""
    violations: int
    unjournalled: int
    """Orders of a system that are not in its journal with their decision."""
    hops: tuple[Hop, ...] = ()


class Bench(NamedTuple):
    """What all runs share."""

    context: ForkServerContext
    cpus: tuple[int, int]
    """The venue's, the contender's."""
    key: Key
    trust: Trust | None
    """The venue's certificate; None: everybody does without TLS."""
    usage: Usage
    """What runs beside contenders that are no system."""
    stop: Callable[[], bool]
    """Whether somebody wants it to end; then a run ends with ``KeyboardInterrupt``."""


def perform(bench: Bench, contender: Contender, course: Course) -> Run:
    """One contender, once.

    Raises:
        CheckFailedError: it failed, or the venue did.
    """
    course = course._replace(by_rest=contender.by_rest)
    own = bench.trust and bench.trust.own
    with open_venue(bench, venue.work, course.pace_per_s, own) as (place, pipe):
        if contender.variant is not None:
            return _perform_system(bench, contender, course, place, pipe)
        assert contender.body is not None
        with ExitStack() as stack:
            near, far = bench.cpus
            stack.enter_context(_process(bench.context, load.work, near, bench.usage))
            ours, theirs = bench.context.Pipe()
            process = _process(bench.context, client.work, contender.body, place, far, theirs)
            stack.enter_context(process)
            theirs.close()
            answer = receive(ours, contender.name, START_S_MAX)
            if answer != client.READY:
                raise failed(contender.name, str(answer))
            stamps = _play(bench, pipe, course, lambda: pipe.poll(STEP_S))
        return _run_of(stamps, course, bench.usage)


def _perform_system(
    bench: Bench, contender: Contender, course: Course, place: Place, pipe: Pipe
) -> Run:
    assert contender.variant is not None
    with running_system(contender.variant, place, bench.cpus[1], bench.stop) as system:
        system.begin()
        stamps = _play(bench, pipe, course, system.step)
        hops = system.hops()
        run = _run_of(stamps, course, system.usage())
        lost = system.unjournalled(one.client_order_id for one in stamps.arrivals)
        return run._replace(unjournalled=len(lost), hops=hops)


def _run_of(stamps: venue.Stamps, course: Course, usage: Usage) -> Run:
    paired = pair(stamps.triggers, stamps.arrivals, warm=course.warm)
    return Run(paired, usage, stamps.frames, stamps.late_ns_p99, stamps.violations, unjournalled=0)


def _play(bench: Bench, pipe: Pipe, course: Course, step: Callable[[], object]) -> venue.Stamps:
    stamps = play(bench, pipe, course, course.seconds, step)
    assert isinstance(stamps, venue.Stamps)
    return stamps


def play(
    bench: Bench, pipe: Pipe, course: object, seconds: float, step: Callable[[], object]
) -> object:
    """Have the venue play a course, doing ``step`` until it is over; returns what it tells.

    Raises:
        CheckFailedError: the venue failed.
        KeyboardInterrupt: somebody wants it to end.
    """
    pipe.send(course)
    deadline = time.monotonic() + seconds + SPARE_S
    while not pipe.poll():
        step()
        if bench.stop():
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            raise failed("the venue", "it does not come to an end")
    return receive(pipe, "the venue", STEP_S)


@contextmanager
def open_venue(
    bench: Bench, body: Callable[..., None], *settings: Any
) -> Iterator[tuple[Place, Pipe]]:
    """A venue's process while the block runs: ``body(public_pem, *settings, cpu, pipe)``.

    Where the bench has a certificate the body has it among its settings.

    Raises:
        CheckFailedError: it does not start.
    """
    ours, theirs = bench.context.Pipe()
    trust = bench.trust
    arguments = (bench.key.public_pem, *settings, bench.cpus[0], theirs)
    with _process(bench.context, body, *arguments) as process:
        theirs.close()
        ports = receive(ours, "the venue", START_S_MAX)
        assert isinstance(ports, Ports)
        more = "s" if trust else ""
        place = Place(
            rest_url=f"http{more}://127.0.0.1:{ports.rest}",
            streams_url=f"ws{more}://127.0.0.1:{ports.streams}",
            api_url=f"ws{more}://127.0.0.1:{ports.api}/ws-fapi/v1",
            private_pem=bench.key.private_pem,
            ca_file=trust.ca_file if trust else "",
        )
        try:
            yield place, ours
        finally:
            ours.close()
            process.join(END_S_MAX)


@contextmanager
def _process(
    context: ForkServerContext, body: Callable[..., None], *arguments: Any
) -> Iterator[ForkServerProcess]:
    """A process that is killed when the block ends."""
    process = context.Process(target=body, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


def receive(pipe: Pipe, name: str, seconds: float) -> object:
    """What a process says within the time.

    Raises:
        CheckFailedError: it says nothing, or has ended.
    """
    try:
        if pipe.poll(seconds):
            return pipe.recv()
    except EOFError:
        raise failed(name, "it ended without a word") from None
    raise failed(name, f"it said nothing for {seconds:g} s")


def failed(name: str, why: str, remedy: str = LEAVE_OUT) -> CheckFailedError:
    """Somebody who takes part did not."""
    return CheckFailedError(f"{name} failed: {why}", remedy=remedy)
