"""Faults of connections: dropped, with or without close frame, or half-open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from picows import WSCloseCode

from tools.venue.fault_ledger import Fault, Ledger

if TYPE_CHECKING:
    from tools.venue.connection import Connection

DROPS: Final = {"drop_market": "market", "drop_user": "user", "drop_api": "api"}
HALF_OPENS: Final = {
    "half_open_market": "market",
    "half_open_user": "user",
    "half_open_api": "api",
}


class Links(NamedTuple):
    """The open connections of the venue, oldest first, by what they are for."""

    market: list[Connection]
    user: list[Connection]
    api: list[Connection]


class LinkFaults:
    """Breaks connections."""

    def __init__(self, links: Callable[[], Links], ledger: Ledger) -> None:
        self._links = links
        self._ledger = ledger

    def begin(self, fault: Fault) -> None:
        """Break as many connections as the fault says; 0: all of that purpose."""
        purpose = DROPS.get(fault.kind) or HALF_OPENS[fault.kind]
        found: list[Connection] = [c for c in getattr(self._links(), purpose) if c.is_open]
        count = min(fault.choice.count or len(found), len(found))
        for connection in fault.random.sample(found, count):
            if fault.kind in HALF_OPENS:
                connection.go_silent(is_deaf=fault.choice.is_deaf)
                self._ledger.hit(fault, "deaf too" if fault.choice.is_deaf else "still listening")
            elif fault.choice.closes:
                connection.close(WSCloseCode.GOING_AWAY, "")
                self._ledger.hit(fault, "close frame")
            else:
                connection.reset()
                self._ledger.hit(fault, "no close frame")

    def reset_all(self) -> int:
        """End every connection without a word; how many there were."""
        connections = [connection for group in self._links() for connection in group]
        for connection in connections:
            connection.reset()
        return len(connections)
