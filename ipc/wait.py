"""What a role does when it has nothing to do. The only file allowed to sleep.

Which strategy fits follows from the CPU plan: spinning needs a core of its own, processes that
share a core park at once, the rest spins for a while and then parks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from ipc.parker import Parker

PARK_NS: Final = 50_000_000
"""Longest sleep, ns: timers of a role are late by no more, nor is a wake-up whose writer died."""
SPIN_NS: Final = 50_000
"""About what it costs to wake a parked process."""


class WaitStrategy(Protocol):
    """Told after every turn how much work the turn did."""

    def idle(self, work_count: int) -> None:
        """Return at once if there was work, otherwise wait a bounded time for some."""


class BusySpin:
    """Never sleeps: fastest, and takes a whole core. Looks at the rings for ``spin_ns`` a call."""

    def __init__(self, parker: Parker, *, spin_ns: int = 2_000) -> None:
        self._spin = parker.spin
        self._spin_ns = spin_ns

    def idle(self, work_count: int) -> None:
        """Watch the rings, unless there was work."""
        if work_count == 0:
            self._spin(self._spin_ns)


class SpinThenPark:
    """Spins for ``spin_ns`` by the clock, then sleeps until woken, at most ``park_ns``."""

    def __init__(self, parker: Parker, *, spin_ns: int = SPIN_NS, park_ns: int = PARK_NS) -> None:
        self._parker = parker
        self._spin_ns = spin_ns
        self._park_ns = park_ns

    def idle(self, work_count: int) -> None:
        """Spin, then sleep, unless there was work."""
        if work_count == 0 and not self._parker.spin(self._spin_ns):
            self._parker.park(self._park_ns)


class Park:
    """Sleeps at once until woken, at most ``park_ns``: right where hot processes share a core."""

    def __init__(self, parker: Parker, *, park_ns: int = PARK_NS) -> None:
        self._park = parker.park
        self._park_ns = park_ns

    def idle(self, work_count: int) -> None:
        """Sleep, unless there was work."""
        if work_count == 0:
            self._park(self._park_ns)


WAIT_STRATEGIES: Final[Mapping[str, type[BusySpin] | type[SpinThenPark] | type[Park]]] = (
    MappingProxyType({"busy_spin": BusySpin, "spin_then_park": SpinThenPark, "park": Park})
)
