"""What the venue has forbidden this address, and how much of its limits is used.

A ban or a pause concerns the address, not the client that was told of it. Clients of one process
share an ``AddressLimits``; the roles of a system share theirs through their pages
(``hft.roles.venue_access``).
"""

from __future__ import annotations

from typing import Final, Protocol

from hft.units import NS_PER_MS

BAN_MARGIN_NS: Final = 100 * NS_PER_MS
"""Kept away so much longer than a ban says: its end is a moment of the venue's clock, not ours."""


class Limits(Protocol):
    """What clients of one address know together.

    All moments are monotonic time of this host, ns: no step of the venue's clock, or of ours, ends
    a ban early.
    """

    @property
    def banned_until_ns(self) -> int:
        """Nothing at all is sent before; 0: no ban was ever heard of."""
        ...

    @property
    def paused_until_ns(self) -> int:
        """Only essential requests are sent before."""
        ...

    def note_ban(self, until_ns: int) -> None:
        """The venue told one of us of a ban; an earlier end than the known one changes nothing."""
        ...

    def note_pause(self, until_ns: int) -> None:
        """The venue asked one of us to slow down; an earlier end changes nothing."""
        ...

    def note_access(self, *, is_open: bool) -> None:
        """Whether the venue lets us in: it answered, or it is banned, paused or out of reach."""
        ...

    def note_weight(self, used: int) -> None:
        """Request weight of the address in this minute, as far as one of us knows."""
        ...


class AddressLimits:
    """Limits shared within one process."""

    def __init__(self) -> None:
        self.banned_until_ns = 0
        self.paused_until_ns = 0

    def note_ban(self, until_ns: int) -> None:
        """As in ``Limits``."""
        self.banned_until_ns = max(self.banned_until_ns, until_ns)

    def note_pause(self, until_ns: int) -> None:
        """As in ``Limits``."""
        self.paused_until_ns = max(self.paused_until_ns, until_ns)

    def note_access(self, *, is_open: bool) -> None:
        """Nobody else has to be told."""

    def note_weight(self, used: int) -> None:
        """Nobody else has to be told."""


class WindowCounter:
    """A count of the venue's within fixed windows of its clock.

    The venue's figure replaces ours only when it is plausible: order endpoints send -1, and
    answers overtake one another.
    """

    __slots__ = ("_count", "_window", "_window_ns")

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._window = 0
        self._count = 0

    def add(self, amount: int, venue_ns: int) -> None:
        """Count what is sent."""
        self._count = self.read(venue_ns) + amount

    def observe(self, count: int, venue_ns: int) -> None:
        """Take the venue's figure."""
        if count >= 0:
            self._count = max(self.read(venue_ns), count)

    def read(self, venue_ns: int) -> int:
        """The count in the window of ``venue_ns``."""
        window = venue_ns // self._window_ns
        if window != self._window:
            self._window = window
            self._count = 0
        return self._count
