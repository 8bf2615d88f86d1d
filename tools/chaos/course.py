"""What happens between the start of the roles and their end: strikes, drills, soak, or a trial."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from hft import counters
from hft.errors import CheckFailedError
from hft.units import NS_PER_S
from tools.chaos.attendant import Attendant
from tools.chaos.audit import audit
from tools.chaos.drills import Drills
from tools.chaos.evidence import Audit, Evidence, Finding
from tools.chaos.gather import agrees, gather, paper_positions, refusals
from tools.chaos.hand import Hand
from tools.chaos.observer import Observer
from tools.chaos.options import HALT, SOAK, Options
from tools.chaos.points import Words
from tools.chaos.recovery import Recoveries, times
from tools.chaos.report import HaltTimes, Report, RoleTimes, too_slow
from tools.chaos.schedule import Schedule
from tools.chaos.soak import FLAT, Soak, troubles
from tools.chaos.striker import Striker
from tools.chaos.trials import TRIALS, Cast
from tools.chaos.venue_books import VenueBooks, read_books
from tools.chaos.venue_faults import VenueFaults
from tools.demo.report import Pages
from tools.demo.screen import Screen
from tools.demo.venue import DemoVenue
from tools.system.assembly import System
from tools.system.stopping import StopRequest

RECOVER_S_MAX: Final = 30.0
QUIET_S_MAX: Final = 30.0
TRIAL_S_MAX: Final = 10.0
"""A broken variant may never agree again, and nobody waits for it."""
COMPARE_EVERY_NS: Final = NS_PER_S // 4
COMPARE_SHARE: Final = 5
"""The venue's books take their time to read: it is left alone for so many times as long."""
START_CRASHES_MAX: Final = 3
LIVENESS: Final = "everybody comes back and trades"
QUIETNESS: Final = "halted, the system comes to rest"
CRASH: Final = "no role ends by itself"
HALT_WORKS: Final = "the halt empties the book"
IN_TIME: Final = "roles recover in time"
MISBEHAVES: Final = "the venue does as it is told"


class Course:
    """One run."""

    def __init__(
        self,
        options: Options,
        stop: StopRequest,
        screen: Screen,
        venue: DemoVenue,
        context: Any,
    ) -> None:
        """``context``: where processes are started from that are none of the system."""
        self._options, self._stop, self._screen, self._venue = options, stop, screen, venue
        self._context = context
        self._strikes = 0
        self._hung: list[str] = []
        self._is_playing = False
        self._crashes: list[str] = []
        self._troubles: dict[str, list[str]] = {}
        self._cast: Cast
        self._recoveries: Recoveries
        self._attendant: Attendant
        self._hand: Hand
        self._drills: Drills
        self._observer: Observer
        self._soak: Soak

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

    def play(self, system: System, words: Words) -> Report:
        """Arm, do what the options ask for, come to rest, audit."""
        options = self._options
        seconds = options.minutes * 60
        kinds = () if options.mutant else options.fault_kinds
        faults = VenueFaults(self._venue.rest_url, options.seed, seconds, kinds)
        self._observer = observer = Observer(system.plan)
        self._recoveries = Recoveries(system.plan, is_cut_off=faults.cut_off)
        self._attendant = Attendant(system, self._recoveries)
        self._hand = Hand(self._context, system.run_dir, options.seed)
        self._soak = Soak(system)
        striker = Striker(system, observer, self._recoveries, words, also=self._tend)
        self._drills = Drills(system, self._venue, striker, observer)
        self._cast = Cast(system, striker, faults, self._recover)
        self._is_playing = True
        system.arm_itself()
        begun_ns = time.monotonic_ns()
        try:
            self._act(begun_ns)
        finally:
            self._hand.stop()
        took_s = (time.monotonic_ns() - begun_ns) / NS_PER_S
        self._screen.end_progress()
        pages = Pages(system.plan)
        books = self._come_to_rest(pages)
        evidence = gather(
            system.plan,
            observer=observer,
            pages=pages,
            books=books,
            striker=striker,
            faults=faults,
            frozen_at_fence=tuple(self._cast.frozen_at_fence),
        )
        report = self._report(evidence, audit(evidence), took_s)
        for one in (self._drills, self._attendant, observer, self._recoveries, striker):
            one.close()
        return report

    def _tend(self, now_ns: int) -> None:
        self._attendant.poll(now_ns)
        self._hand.poll(now_ns)
        if SOAK in self._options.only:
            self._soak.poll(now_ns)

    # -- what is done -----------------------------------------------------------------------------

    def _act(self, begun_ns: int) -> None:
        options, cast = self._options, self._cast
        if HALT in options.only:
            self._drill(begun_ns)
            return
        self._attendant.is_on_duty = True
        self._hand.is_on_duty = bool(options.has_company and options.strikes)
        if options.mutant:
            trial = TRIALS[options.mutant]
            self._pass_time(begun_ns, lambda: trial.act(cast))
        elif SOAK in options.only or not options.strikes:
            cast.faults.start()
            self._pass_time(begun_ns, lambda: bool(cast.striker.run_for(0.25)))
        else:
            cast.faults.start()
            self._strike(begun_ns)
        cast.faults.end()
        self._hand.is_on_duty = False
        if LIVENESS not in self._troubles:
            self._recover(self._strikes + 1)
        self._attendant.is_on_duty = False

    def _pass_time(self, begun_ns: int, act: Callable[[], bool]) -> None:
        """Act again and again until the time is over, or the act says that it is done."""
        while self._goes_on(begun_ns) and not act():
            pass

    def _strike(self, begun_ns: int) -> None:
        plan = self._cast.system.plan
        hosts = {process.name: process.roles for process in plan.processes}
        schedule = Schedule(self._options.seed, hosts, self._options.strikes)
        while self._goes_on(begun_ns):
            strike = schedule.next()
            if not strike.is_hasty and not self._recover(strike.number):
                return
            self._cast.striker.carry_out(strike)
            self._strikes += 1

    def _recover(self, number: int) -> bool:
        seconds = TRIAL_S_MAX if self._options.mutant else RECOVER_S_MAX
        is_back = self._cast.striker.run_for(seconds, until=lambda: self._recoveries.is_complete)
        if not is_back:
            self._trouble(
                LIVENESS,
                f"before strike {number}: {seconds:g} s later {self._recoveries.describe()}",
            )
        return is_back

    def _drill(self, begun_ns: int) -> None:
        while self._strikes < self._options.drills and self._goes_on(begun_ns):
            if not self._drills.drill():
                break
            self._strikes += 1
        for failure in self._drills.failures:
            self._trouble(HALT_WORKS, failure)

    def _goes_on(self, begun_ns: int) -> bool:
        seconds = (time.monotonic_ns() - begun_ns) / NS_PER_S
        total = self._options.minutes * 60
        faults = len(self._cast.faults.begun)
        text = f"{self._strikes} strikes, {faults} venue faults"
        self._screen.progress(min(seconds, total), total, text)
        return seconds < total and not self._stop()

    def _trouble(self, invariant: str, evidence: str) -> None:
        self._troubles.setdefault(invariant, []).append(evidence)

    # -- the end ----------------------------------------------------------------------------------

    def _come_to_rest(self, pages: Pages) -> VenueBooks:
        """Halt; wait until nothing is open or unknown and account and venue say the same."""
        striker, observer = self._cast.striker, self._observer
        plan = self._cast.system.plan
        self._cast.system.halt("the run is over")
        next_look_ns = 0

        def is_at_rest() -> bool:
            nonlocal next_look_ns
            now_ns = time.monotonic_ns()
            if not striker.is_quiet() or now_ns < next_look_ns:
                return False
            books = read_books(self._venue.rest_url)
            took_ns = time.monotonic_ns() - now_ns
            next_look_ns = now_ns + max(COMPARE_EVERY_NS, took_ns * COMPARE_SHARE)
            is_booked = paper_positions(plan)[1] >= observer.newest_seq("executions.paper")
            is_empty = not any(order.is_open for order in books.orders)
            return is_booked and is_empty and agrees(pages, books)

        seconds = TRIAL_S_MAX if self._options.mutant else QUIET_S_MAX
        if not striker.run_for(seconds, until=is_at_rest):
            states = {role: self._recoveries.page(role).state for role in plan.roles}
            self._trouble(
                QUIETNESS,
                f"after {seconds:g} s {pages.gauge('execution', counters.OPEN_ORDERS)} orders"
                f" are open, {pages.gauge('execution', counters.UNKNOWN_ORDERS)} unknown;"
                f" states {states}",
            )
        striker.step()
        return read_books(self._venue.rest_url)

    def _report(self, evidence: Evidence, audited: Audit, seconds: float) -> Report:
        striker, recoveries, books = self._cast.striker, self._recoveries, evidence.books
        recovery_ms = {
            role: RoleTimes(
                safe=times(recoveries.safe_ns[role]),
                trading=times(recoveries.trading_ns[role]),
                resumed=times(recoveries.resumed_ns[role]),
                hindered=times(recoveries.hindered_ns[role]),
            )
            for role in self._cast.system.plan.roles
        }
        soak = self._soak.report() if SOAK in self._options.only else None
        if soak is not None:
            self._troubles[FLAT] = troubles(soak)
        if self._options.strict:
            self._troubles[IN_TIME] = too_slow(recovery_ms)
        self._troubles[CRASH] = self._crashes
        self._troubles[MISBEHAVES] = self._cast.faults.errors
        findings = self._findings() + audited.findings
        counts = self._cast.faults.counts()
        return Report(
            name=self._cast.system.plan.name,
            topology=self._options.topology,
            seed=self._options.seed,
            mutant=self._options.mutant,
            seconds=round(seconds, 1),
            strikes=self._strikes,
            kills=dict(striker.kills),
            kill_count=striker.killed,
            stops=dict(striker.stops),
            stop_count=striker.stopped,
            starved=dict(striker.starved),
            points=dict(sorted(striker.points.items())),
            kinds=dict(striker.kinds),
            venue_faults=dict(counts),
            venue_fault_count=sum(one.begun for one in counts.values()),
            incidents=dict(self._attendant.incidents),
            recovery_ms=recovery_ms,
            halt_ms=self._halt_times(),
            soak=soak,
            orders=len(books.orders),
            amends=sum(order.amends for order in books.orders),
            fills=len(books.fills),
            intents=len(evidence.intents),
            decisions=len(evidence.decisions),
            by_hand=len(evidence.manual),
            by_hand_deaths=self._hand.deaths,
            paper_orders=len(np.unique(evidence.paper["order_id"])),
            paper_fills=sum(one.fills for one in evidence.paper_positions.values()),
            adjustments=evidence.adjustments,
            refusals=refusals(evidence),
            restarts=sum(child.restarts for child in self._cast.system.supervisor.children),
            hung=tuple(dict.fromkeys(self._hung)),
            venue_complaints=dict(Counter(one.kind for one in books.complaints)),
            checked=audited.checked,
            lost=dict(evidence.lost),
            violations=sum(finding.count for finding in findings),
            findings=findings,
            passed=not findings,
        )

    def _findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(invariant=name, count=len(found), evidence=tuple(found[:3]))
            for name, found in self._troubles.items()
            if found
        )

    def _halt_times(self) -> HaltTimes | None:
        if HALT not in self._options.only:
            return None
        return HaltTimes(
            first_cancel=times(self._drills.first_cancel_ns()),
            nothing_open=times(self._drills.empty_ns),
        )


def with_leaks(report: Report, invariant: str, leaks: list[str]) -> Report:
    """The report, and what was left behind."""
    checked = {**report.checked, invariant: 1}
    if not leaks:
        return msgspec.structs.replace(report, checked=checked)
    finding = Finding(invariant=invariant, count=len(leaks), evidence=tuple(leaks[:3]))
    return msgspec.structs.replace(
        report,
        checked=checked,
        violations=report.violations + len(leaks),
        findings=(*report.findings, finding),
        passed=False,
    )
