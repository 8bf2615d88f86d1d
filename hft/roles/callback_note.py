"""Whose callback runs: a word in the page of strategy, which outlives the process.

What blocks in C or ends the process cannot be caught by anything in it. So whose callback runs is
noted before it is called, in two plain stores around the call; a successor finds the note::

    63      56 55      48 47            32 31                             0
    [ unused  | callback | strategy_id   |          instrument_id         ]
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import ipc
from hft import counters
from hft.units import NS_PER_S

STRATEGY_SHIFT: Final = 32
CALLBACK_SHIFT: Final = 48


class Callback(IntEnum):
    """What of a plug-in's is called; the names are those of its methods."""

    LOADING = 0
    ON_TOP_OF_BOOK = 1
    ON_TIMER = 2
    ON_BOOK = 3
    ON_EXECUTION = 4
    ON_FEED_STATUS = 5
    ON_INSTRUMENT = 6
    ON_MARK = 7
    ON_REFUSAL = 8
    ON_TRADE = 9


class Note(NamedTuple):
    """Where a process was: a strategy's position in the settings, from 1, and its instrument."""

    strategy_id: int
    instrument_id: int
    callback: Callback

    @property
    def word(self) -> int:
        """As it stands in the page."""
        place = self.strategy_id << STRATEGY_SHIFT | self.instrument_id
        return place | self.callback << CALLBACK_SHIFT

    @classmethod
    def parse(cls, word: int) -> Note:
        """From the page."""
        return cls(
            word >> STRATEGY_SHIFT & 0xFFFF,
            word & 0xFFFF_FFFF,
            Callback(word >> CALLBACK_SHIFT & 0xFF),
        )


def deaths(page: ipc.RolePage, now_ns: int, window_s: float, crashes_max: int) -> list[Note]:
    """Where the last processes died that make a plug-in guilty; none: nobody is.

    One death proves nothing: whoever kills at random may hit a callback, although those take
    microseconds. Two within the window do, and a third would be a crash loop, which ends the
    system: so both places are to blame, be they of one plug-in or of two. Where the second death
    is a crash loop already, the first has to do.
    """
    word = page.gauge(counters.IN_CALLBACK.id)
    if not word:
        return []
    before, before_ns = page.gauge(counters.DIED_IN.id), page.gauge(counters.DIED_IN_NS.id)
    page.set_gauge(counters.DIED_IN.id, word)
    page.set_gauge(counters.DIED_IN_NS.id, now_ns)
    page.set_gauge(counters.IN_CALLBACK.id, 0)
    if before and now_ns - before_ns <= window_s * NS_PER_S:
        return [Note.parse(word), Note.parse(before)]
    return [Note.parse(word)] if crashes_max <= 2 else []
