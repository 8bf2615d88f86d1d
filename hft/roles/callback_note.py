"""Whose callback runs: a word in the page of strategy, which outlives the process.

What blocks in C or ends the process cannot be caught by anything in it. So whose callback runs is
noted before it is called, in two plain stores around the call; a successor finds the note::

    63      56 55      48 47            32 31                             0
    [ deaths  | callback | strategy_id   |          instrument_id         ]

``deaths`` counts those in one strategy, one soon after the other; it stands in ``died_in`` alone.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import ipc
from hft import counters
from hft.units import NS_PER_S

STRATEGY_SHIFT: Final = 32
CALLBACK_SHIFT: Final = 48
COUNT_SHIFT: Final = 56
COUNT_MAX: Final = 127


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


def culprit(page: ipc.RolePage, now_ns: int, window_s: float, crashes_max: int) -> Note | None:
    """Where the last process died, when that makes the plug-in guilty; None: nobody is.

    One death proves nothing: whoever kills at random may hit a callback, although those take
    microseconds. The death that leaves one more to the crash loop, which would end the system,
    does, when all of them were in callbacks of one strategy, each within the window of the last.
    """
    word = page.gauge(counters.IN_CALLBACK.id)
    if not word:
        return None
    note = Note.parse(word)
    before, before_ns = page.gauge(counters.DIED_IN.id), page.gauge(counters.DIED_IN_NS.id)
    is_again = (
        before
        and Note.parse(before).strategy_id == note.strategy_id
        and now_ns - before_ns <= window_s * NS_PER_S
    )
    count = min((before >> COUNT_SHIFT if is_again else 0) + 1, COUNT_MAX)
    page.set_gauge(counters.DIED_IN.id, word | count << COUNT_SHIFT)
    page.set_gauge(counters.DIED_IN_NS.id, now_ns)
    page.set_gauge(counters.IN_CALLBACK.id, 0)
    return note if count >= max(1, min(crashes_max, COUNT_MAX + 1) - 1) else None
