"""What a process does for itself: collects garbage while idle, and measures what holds it up."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from hft import counters
from hft.units import NS_PER_MS, NS_PER_S
from ipc import RolePage

PERIOD_NS: Final = 20 * NS_PER_MS
"""A process looks at its clock at least this often, however it waits."""
WAKE_NS: Final = 4 * NS_PER_MS
"""A hot process that sleeps wakes so often although nothing happens: an order that finds everything
cold takes longer than all that this costs."""
REHEARSE_NS: Final = NS_PER_MS // 2
"""Code and data that were not used for longer begin to leave the caches: the sooner, the less they
are in the way. A tick that comes while one role rehearses waits for that one at most."""
REHEARSE_ASLEEP_NS: Final = 2 * NS_PER_MS
"""Who sleeps in between pays for each rehearsal with time that others could use."""
REHEARSE_ANSWER_NS: Final = 100 * NS_PER_MS
"""Nobody waits for the rest of an order's life as for its beginning, and it takes 80 to 160 us."""
COLLECT_NS: Final = 10 * NS_PER_S
"""A hot process collects garbage only while idle, this often."""
SWITCHES_NS: Final = NS_PER_S
_due_ns: Final = attrgetter("due_ns")


@dataclass(slots=True)
class _Rehearsal:
    """One that is asked for again and again."""

    run: Callable[[int], None]
    period_ns: int
    due_ns: int


class Upkeep:
    """Called by the loop that turns the roles; writes into the page of the first role.

    Of the ``roles`` those that have a ``rehearse(now_ns)`` are asked to run, every ``rehearse_ns``
    while nobody has work, what they will have to do in a hurry: on memory of their own, with no
    effect. So are, less often, those that have a ``rehearse_answer(now_ns)``. One at a time; who
    sleeps in between (``sleeps``) catches up on those that fell due meanwhile, and takes its chance
    after work as well.
    """

    def __init__(
        self,
        page: RolePage,
        now_ns: int,
        *,
        collects: bool,
        roles: Sequence[object] = (),
        sleeps: bool = False,
        rehearse_ns: int = REHEARSE_NS,
    ) -> None:
        self._page = page
        self._collects = collects
        self._collected_ns = self._noted_ns = self._seen_ns = self._asked_ns = now_ns
        self._sleeps = sleeps
        self._rehearsals = [
            rehearsal
            for name, period_ns in (
                ("rehearse", rehearse_ns),
                ("rehearse_answer", REHEARSE_ANSWER_NS),
            )
            for rehearsal in _in_turns(roles, name, period_ns, now_ns)
        ]
        self._worst_ns = 0
        self._switches = _involuntary_switches()

    def late(self, stall_ns: int) -> None:
        """The loop came so much later than a timer had asked for."""
        self._page.record_ns(counters.STALL_NS.id, stall_ns)

    def passed(self, now_ns: int) -> None:
        """For a loop without timers: it passes at least once in a period unless it is held up."""
        gap_ns = now_ns - self._seen_ns
        self._seen_ns = now_ns
        self._worst_ns = max(self._worst_ns, gap_ns)
        if now_ns - self._noted_ns >= PERIOD_NS:
            self._noted_ns = now_ns
            self.late(max(0, self._worst_ns - PERIOD_NS))
            self._worst_ns = 0

    def idle(self, now_ns: int) -> None:
        """Nobody has work: time for what is not urgent."""
        self._rehearse(now_ns, len(self._rehearsals) if self._sleeps else 1)
        if now_ns - self._asked_ns > SWITCHES_NS:
            self._asked_ns = now_ns
            switches = _involuntary_switches()
            self._page.count(counters.SWITCHES.id, switches - self._switches)
            self._switches = switches
        if self._collects and now_ns - self._collected_ns > COLLECT_NS:
            self._collected_ns = now_ns
            gc.collect()
            self._page.record_ns(counters.GARBAGE_NS.id, time.monotonic_ns() - now_ns)

    def worked(self, now_ns: int) -> None:
        """The work of a turn is done. Who sleeps now may not come by idle for long."""
        if self._sleeps:
            self._rehearse(now_ns, 1)

    def _rehearse(self, now_ns: int, most: int) -> None:
        """What is only practised ends nothing that is real: one that fails is given up."""
        for _ in range(most):
            next_one = min(self._rehearsals, key=_due_ns, default=None)
            if next_one is None or next_one.due_ns > now_ns:
                return
            next_one.due_ns = now_ns + next_one.period_ns
            try:
                next_one.run(now_ns)
            except Exception as error:
                self._rehearsals.remove(next_one)
                self._page.fail(f"{next_one.run.__qualname__} is given up: {error!r}")
            else:
                self._page.count(counters.REHEARSALS.id)


def _in_turns(
    roles: Sequence[object], name: str, period_ns: int, now_ns: int
) -> Iterator[_Rehearsal]:
    """Those of the roles that have it, evenly spread over the period."""
    found = [run for role in roles if (run := getattr(role, name, None)) is not None]
    for number, run in enumerate(found, start=1):
        yield _Rehearsal(run, period_ns, now_ns + period_ns * number // len(found))


def _involuntary_switches() -> int:
    """Times the kernel took the processor away although there was work to do."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
