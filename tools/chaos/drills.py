"""Drills of the halt under load: how soon the first cancel leaves, how soon nothing is open."""

from __future__ import annotations

import time
from typing import Any, Final

from numpy.typing import NDArray

from hft.records import JournalKind
from hft.units import NS_PER_MS
from tools.chaos.observer import Observer
from tools.chaos.striker import Striker
from tools.chaos.venue_books import open_orders
from tools.demo.venue import DemoVenue
from tools.system import commands
from tools.system.assembly import System
from tools.system.segments import Bells, attach_halt

REASON: Final = "a drill of the halt"
LOAD_S_MAX: Final = 70.0
"""Longer than the minute in which risk allows so many messages and no more."""
EMPTY_S_MAX: Final = 10.0
CALM_S: Final = 0.2


class Drills:
    """Halts a trading system again and again."""

    def __init__(
        self,
        system: System,
        venue: DemoVenue,
        striker: Striker,
        observer: Observer,
    ) -> None:
        self._system, self._venue = system, venue
        self._striker, self._observer = striker, observer
        self._latch = attach_halt(system.plan, writable=True)
        self._bells = Bells(system.plan)
        self._halted_ns: list[int] = []
        self.empty_ns: list[int] = []
        self.failures: list[str] = []

    def drill(self) -> bool:
        """One drill; False: the system does not trade, or orders stay open."""
        url = self._venue.rest_url
        number = len(self._halted_ns) + 1
        if not self._striker.run_for(LOAD_S_MAX, until=lambda: open_orders(url) > 0):
            self.failures.append(f"drill {number}: no order is open after {LOAD_S_MAX:g} s")
            return False
        halted_ns = time.monotonic_ns()
        self._latch.set(REASON, "chaos")
        self._bells.ring()
        is_empty = self._striker.run_for(EMPTY_S_MAX, until=lambda: open_orders(url) == 0)
        now_ns = time.monotonic_ns()
        if not is_empty:
            self.failures.append(
                f"drill {number}: orders are open {EMPTY_S_MAX:g} s after the halt"
            )
            return False
        self._halted_ns.append(halted_ns)
        self.empty_ns.append(now_ns - halted_ns)
        self._striker.run_for(EMPTY_S_MAX, until=self._striker.is_quiet)
        commands.arm(self._system.run_dir, "the drill is over", by="chaos")
        self._striker.run_for(CALM_S)
        return True

    def first_cancel_ns(self) -> list[int]:
        """From each halt to the first cancel in the journal, written just before its bytes leave.

        A drill in which every order had a cancel under way already has none.
        """
        journal: NDArray[Any] = self._observer.records("journal")
        is_cancel = journal["journal_kind"] == JournalKind.CANCEL
        cancels_ns = journal["publish_ns"][is_cancel]
        found: list[int] = []
        for halted_ns, empty_ns in zip(self._halted_ns, self.empty_ns, strict=True):
            index = int(cancels_ns.searchsorted(halted_ns))
            if index < len(cancels_ns) and cancels_ns[index] <= halted_ns + empty_ns + NS_PER_MS:
                found.append(int(cancels_ns[index]) - halted_ns)
        return found

    def close(self) -> None:
        """Detach."""
        self._bells.close()
