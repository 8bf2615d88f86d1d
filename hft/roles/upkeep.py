"""What a process does for itself: collects garbage while idle, and measures what holds it up."""

from __future__ import annotations

import gc
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from hft import counters
from hft.units import NS_PER_MS, NS_PER_S
from ipc import RolePage

PERIOD_NS: Final = 20 * NS_PER_MS
"""A process looks at its clock at least this often, however it waits."""
REHEARSE_NS: Final = 10 * NS_PER_MS
"""Code that did not run for longer has left the caches; roles may rehearse less often. They take
turns in that time: a tick that comes meanwhile waits for one of them at most."""
REHEARSALS: Final = ("rehearse", "rehearse_answer")
COLLECT_NS: Final = 10 * NS_PER_S
"""A hot process collects garbage only while idle, this often."""
SWITCHES_NS: Final = NS_PER_S


class Upkeep:
    """Called by the loop that turns the roles; writes into the page of the first role.

    Of the ``roles`` those that have a ``rehearse(now_ns)``, or a ``rehearse_answer(now_ns)``, are
    asked to run, now and then while nobody has work, what they will have to do in a hurry: on
    memory of their own, with no effect. One at a time; who sleeps in between (``sleeps``) catches
    up on those whose turn it has slept over, and takes its chance after work as well.
    """

    def __init__(
        self,
        page: RolePage,
        now_ns: int,
        *,
        collects: bool,
        roles: Sequence[object] = (),
        sleeps: bool = False,
    ) -> None:
        self._page = page
        self._collects = collects
        self._collected_ns = self._noted_ns = self._seen_ns = self._asked_ns = now_ns
        self._rehearsed_ns = now_ns
        self._sleeps = sleeps
        found = (getattr(role, name, None) for name in REHEARSALS for role in roles)
        self._rehearsals: deque[Callable[[int], None]] = deque(filter(None, found))
        self._pause_ns = REHEARSE_NS // max(1, len(self._rehearsals))
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
        missed = (now_ns - self._rehearsed_ns) // self._pause_ns
        self._rehearse(now_ns, missed if self._sleeps else min(1, missed))
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
        if self._sleeps and now_ns - self._rehearsed_ns >= self._pause_ns:
            self._rehearse(now_ns, 1)

    def _rehearse(self, now_ns: int, count: int) -> None:
        """What is only practised ends nothing that is real: one that fails is given up."""
        for _ in range(min(count, len(self._rehearsals))):
            self._rehearsed_ns = now_ns
            rehearse = self._rehearsals.popleft()
            try:
                rehearse(now_ns)
            except Exception as error:
                self._page.fail(f"{rehearse.__qualname__} is given up: {error!r}")
            else:
                self._rehearsals.append(rehearse)
                self._page.count(counters.REHEARSALS.id)


def _involuntary_switches() -> int:
    """Times the kernel took the processor away although there was work to do."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
