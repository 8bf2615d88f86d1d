"""The course of a chaos run: stage, strikes or drills, quiet, audit, and nothing left behind."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec
import psutil

import ipc
from hft import counters
from hft.core.generated.views import Order
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailedError, UsageError
from hft.graph import ORDER_ROWS_MAX, ROLES
from hft.records import JournalKind, Reason
from hft.roles.context import cells_spec
from hft.units import NS_PER_S, parse_e8
from tools.chaos import stage
from tools.chaos.audit import Audit, Evidence, Finding, OurPosition, audit
from tools.chaos.drills import Drills
from tools.chaos.observer import FOLLOWED, Observer
from tools.chaos.options import HALT, KINDS, Options
from tools.chaos.recovery import Recoveries, times
from tools.chaos.report import HaltTimes, Report, RoleTimes, text
from tools.chaos.schedule import Schedule
from tools.chaos.striker import Striker, permit_over_ns
from tools.chaos.venue_books import VenueBooks, read_books
from tools.demo.report import Pages
from tools.demo.screen import Screen
from tools.demo.venue import DemoVenue, running_venue
from tools.system.assembly import System, assembled
from tools.system.places import remove_run_dir, run_root
from tools.system.stopping import StopRequest

RECOVER_S_MAX: Final = 30.0
QUIET_S_MAX: Final = 30.0
COMPARE_EVERY_NS: Final = NS_PER_S // 4
START_CRASHES_MAX: Final = 3
LIVENESS: Final = "everybody comes back and trades"
QUIETNESS: Final = "halted, the system comes to rest"
CRASH: Final = "no role ends by itself"
LEAK: Final = "nothing is left behind"
HALT_WORKS: Final = "the halt empties the book"


def run(options: Options) -> int:
    """Strike, audit, report; returns the exit code: 1 when an invariant does not hold.

    Raises:
        HftError: the system cannot start.
    """
    _check(options)
    name = f"chaos-{os.getpid()}"
    before = _children()
    with (
        StopRequest().installed() as stop,
        Screen(as_json=options.as_json) as screen,
        _home(name) as home,
        running_venue(stage.simulator(options.seed), stage.cold_cpus(options.topology)) as venue,
    ):
        config = stage.settings(name, options.topology, home, venue)
        course = _Course(options, stop, screen, venue)
        with assembled(config, on_event=course.on_event) as system:
            system.supervisor.add_helper("venue", venue.pid)
            if not system.start(stop):
                screen.say("stopped before it was ready; nothing is left of it")
                return EXIT_OK
            report = course.play(system)
    report = _with_leaks(report, _leaks(name, run_root() / name, before))
    if options.as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        click.echo(text(report))
    return EXIT_OK if report.passed else EXIT_CHECK_FAILED


def _check(options: Options) -> None:
    """Refuse kinds that do not exist.

    Raises:
        UsageError: a kind is unknown, or drills are mixed with strikes.
    """
    unknown = [kind for kind in options.only if kind not in (*KINDS, HALT)]
    if unknown:
        raise UsageError(
            f"there is no kind {', '.join(unknown)}.", remedy=f"Kinds: {', '.join((*KINDS, HALT))}."
        )
    if HALT in options.only and len(options.only) > 1:
        raise UsageError("halt does not mix with other kinds.", remedy="Run it alone.")


class _Course:
    """What happens between the start of the roles and their end."""

    def __init__(
        self, options: Options, stop: StopRequest, screen: Screen, venue: DemoVenue
    ) -> None:
        self._options, self._stop, self._screen, self._venue = options, stop, screen, venue
        self._strikes = 0
        self._hung: list[str] = []
        self._is_playing = False
        self._crashes: list[str] = []
        self._troubles: dict[str, list[str]] = {}

    def on_event(self, event: str) -> None:
        """The supervisor's words; a role that ends by itself is a violation.

        Raises:
            CheckFailedError: that happens again and again before anything was struck.
        """
        if "ended with exit code" in event:
            self._crashes.append(event)
            self._screen.event(event)
            if not self._is_playing and len(self._crashes) >= START_CRASHES_MAX:
                raise CheckFailedError(
                    f"the system does not start: {event}.", remedy="What it said stands above."
                )
        elif " hangs: " in event:
            self._hung.append(event)

    def play(self, system: System) -> Report:
        """Arm, strike or drill, come to rest, audit."""
        observer, recoveries = Observer(system.plan), Recoveries(system.plan)
        striker = Striker(system, observer, recoveries)
        drills = Drills(system, self._venue, striker, observer)
        self._is_playing = True
        system.arm_itself()
        begun_ns = time.monotonic_ns()
        if HALT in self._options.only:
            self._drill(drills, begun_ns)
        else:
            self._strike(system, striker, recoveries, begun_ns)
        seconds = (time.monotonic_ns() - begun_ns) / NS_PER_S
        self._screen.end_progress()
        pages = Pages(system.plan)
        books = self._come_to_rest(system, striker, pages)
        evidence = _evidence(system, observer, pages, books, striker)
        report = self._report(
            system, striker, recoveries, drills, evidence, audit(evidence), seconds
        )
        drills.close()
        observer.close()
        recoveries.close()
        return report

    # -- strikes and drills -----------------------------------------------------------------------

    def _strike(
        self, system: System, striker: Striker, recoveries: Recoveries, begun_ns: int
    ) -> None:
        names = [process.name for process in system.plan.processes]
        schedule = Schedule(self._options.seed, names, self._options.only)
        while self._goes_on(begun_ns):
            strike = schedule.next()
            if not strike.is_hasty and not self._recover(striker, recoveries, strike.number):
                return
            striker.carry_out(strike)
            self._strikes += 1
        self._recover(striker, recoveries, self._strikes + 1)

    def _recover(self, striker: Striker, recoveries: Recoveries, number: int) -> bool:
        is_back = striker.run_for(RECOVER_S_MAX, until=lambda: recoveries.is_complete)
        if not is_back:
            self._trouble(
                LIVENESS,
                f"before strike {number}: {RECOVER_S_MAX:g} s later {recoveries.describe()}",
            )
        return is_back

    def _drill(self, drills: Drills, begun_ns: int) -> None:
        while self._strikes < self._options.drills and self._goes_on(begun_ns):
            if not drills.drill():
                break
            self._strikes += 1
        for failure in drills.failures:
            self._trouble(HALT_WORKS, failure)

    def _goes_on(self, begun_ns: int) -> bool:
        seconds = (time.monotonic_ns() - begun_ns) / NS_PER_S
        total = self._options.minutes * 60
        self._screen.progress(min(seconds, total), total, f"{self._strikes} strikes")
        return seconds < total and not self._stop()

    def _trouble(self, invariant: str, evidence: str) -> None:
        self._troubles.setdefault(invariant, []).append(evidence)

    # -- the end ----------------------------------------------------------------------------------

    def _come_to_rest(self, system: System, striker: Striker, pages: Pages) -> VenueBooks:
        """Halt; wait until nothing is open or unknown and account and venue say the same."""
        system.halt("the run is over")
        looked_ns = 0

        def is_at_rest() -> bool:
            nonlocal looked_ns
            now_ns = time.monotonic_ns()
            if not striker.is_quiet() or now_ns - looked_ns < COMPARE_EVERY_NS:
                return False
            looked_ns = now_ns
            return _agrees(pages, read_books(self._venue.rest_url))

        if not striker.run_for(QUIET_S_MAX, until=is_at_rest):
            states = {role: pages.page[role].state for role in ROLES}
            self._trouble(
                QUIETNESS,
                f"after {QUIET_S_MAX:g} s {pages.gauge('execution', counters.OPEN_ORDERS)} orders"
                f" are open, {pages.gauge('execution', counters.UNKNOWN_ORDERS)} unknown;"
                f" states {states}",
            )
        striker.step()
        return read_books(self._venue.rest_url)

    def _report(
        self,
        system: System,
        striker: Striker,
        recoveries: Recoveries,
        drills: Drills,
        evidence: Evidence,
        audited: Audit,
        seconds: float,
    ) -> Report:
        if self._crashes:
            self._troubles[CRASH] = self._crashes
        troubles = tuple(
            Finding(invariant=name, count=len(found), evidence=tuple(found[:3]))
            for name, found in self._troubles.items()
        )
        findings = troubles + audited.findings
        books = evidence.books
        has_drills = HALT in self._options.only
        return Report(
            name=system.plan.name,
            topology=self._options.topology,
            seed=self._options.seed,
            seconds=round(seconds, 1),
            strikes=self._strikes,
            kills=dict(striker.kills),
            stops=dict(striker.stops),
            points=dict(striker.points),
            kinds=dict(striker.kinds),
            recovery_ms={
                role: RoleTimes(
                    safe=times(recoveries.safe_ns[role]),
                    trading=times(recoveries.trading_ns[role]),
                    resumed=times(recoveries.resumed_ns[role]),
                )
                for role in ROLES
            },
            halt_ms=HaltTimes(
                first_cancel=times(drills.first_cancel_ns()), nothing_open=times(drills.empty_ns)
            )
            if has_drills
            else None,
            orders=len(books.orders),
            amends=sum(order.amends for order in books.orders),
            fills=len(books.fills),
            intents=len(evidence.intents),
            decisions=len(evidence.decisions),
            refusals=_refusals(evidence),
            restarts=sum(child.restarts for child in system.supervisor.children),
            hung=tuple(dict.fromkeys(self._hung)),
            venue_complaints=dict(Counter(one.kind for one in books.complaints)),
            checked=audited.checked,
            lost=dict(evidence.lost),
            violations=sum(finding.count for finding in findings),
            findings=findings,
            passed=not findings,
        )


def _agrees(pages: Pages, books: VenueBooks) -> bool:
    venue = {symbol: parse_e8(row.qty) for symbol, row in books.positions.items()}
    ours = pages.positions_e8()
    return pages.wallet_e8() == parse_e8(books.wallet) and all(
        ours.get(symbol, 0) == venue.get(symbol, 0) for symbol in {*venue, *ours}
    )


def _evidence(
    system: System, observer: Observer, pages: Pages, books: VenueBooks, striker: Striker
) -> Evidence:
    plan = system.plan
    positions = {}
    for instrument in plan.instruments:
        cell = pages.position(instrument.instrument_id)
        positions[instrument.symbol] = OurPosition(cell.position_e8, cell.fills)
    config = plan.config
    return Evidence(
        books=books,
        symbols={one.instrument_id: one.symbol for one in plan.instruments},
        positions=positions,
        wallet_e8=pages.wallet_e8(),
        open_rows=_open_rows(plan.name),
        intents=observer.records("intents.strategy"),
        decisions=observer.records("decisions"),
        journal=observer.records("journal"),
        executions=observer.records("executions"),
        lost={ring: observer.lost(ring) for ring in FOLLOWED},
        risk_deaths=tuple(
            (ns, permit_over_ns(ns, config.risk.permit_ms, config.venue.recv_window_ms))
            for ns in striker.risk_deaths_ns
        ),
    )


def _refusals(evidence: Evidence) -> dict[str, int]:
    consumed = evidence.journal[evidence.journal["journal_kind"] == JournalKind.CONSUMED]
    counts = Counter(Reason(number).name for number in consumed["reason"].tolist())
    return dict(counts.most_common())


def _open_rows(system: str) -> tuple[int, ...]:
    spec = cells_spec("orders")
    buffer = bytearray(spec.item_bytes)
    segment = ipc.Segment.attach(system, spec)
    reader, row = ipc.CellReader(segment, buffer), Order(buffer)
    found = [row.order_id for index in range(ORDER_ROWS_MAX) if reader.read(index) and row.order_id]
    return tuple(found)


# -- what must not be left ------------------------------------------------------------------------


def _children() -> frozenset[int]:
    return frozenset(child.pid for child in psutil.Process().children(recursive=True))


def _leaks(name: str, run_dir: Path, before: frozenset[int]) -> list[str]:
    found = [f"segment {segment}" for segment in ipc.list_segments(name)]
    found += [f"process {pid}" for pid in sorted(_children() - before)]
    if run_dir.exists():
        found += [f"{path}" for path in sorted(run_dir.rglob("*"))] or [f"{run_dir}"]
    return found


def _with_leaks(report: Report, leaks: list[str]) -> Report:
    checked = {**report.checked, LEAK: 1}
    if not leaks:
        return msgspec.structs.replace(report, checked=checked)
    finding = Finding(invariant=LEAK, count=len(leaks), evidence=tuple(leaks[:3]))
    return msgspec.structs.replace(
        report,
        checked=checked,
        violations=report.violations + len(leaks),
        findings=(*report.findings, finding),
        passed=False,
    )


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
