"""Comparing our sums with the venue's while both move: pure, time is an argument.

The venue's figure was true at some moment between our question and its answer, and the executions
behind it may reach us a little before or after. So it agrees when it equals *any* value that ours
had in that span, and a value that differs becomes a difference only when it still differs after the
settling time. A difference that several comparisons in a row find the same, while ours stood still,
is a lasting one: nothing is on its way any more.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

Key = tuple[str, int]
"""What is compared: ("position", instrument) or ("wallet", asset)."""
HISTORY_MAX: Final = 4_096
TRADES_MAX: Final = 16_384
LASTING_ROUNDS: Final = 3
"""So many comparisons in a row find the same before a difference is repaired."""


class Difference(NamedTuple):
    """Ours and the venue's value of one key."""

    key: Key
    ours_e8: int
    venue_e8: int


class _Round(NamedTuple):
    """A mismatch and how often it was found unchanged."""

    ours_e8: int
    venue_e8: int
    changes: int
    found: int


class Reconciliation:
    """Remembers what our values were, what the venue said, and since when they differ."""

    def __init__(self, *, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._history: dict[Key, deque[tuple[int, int]]] = {}
        self._changes: dict[Key, int] = {}
        self._venue: dict[Key, int] = {}
        self._suspect_ns: dict[Key, int] = {}
        self._differences: dict[Key, Difference] = {}
        self._rounds: dict[Key, _Round] = {}
        self._reported: set[Key] = set()
        self._started_ns = 0
        self.reconciled_ns = 0
        """When everything agreed last, 0: never."""

    # -- values ---------------------------------------------------------------------------------

    def saw(self, key: Key, value_e8: int, now_ns: int) -> None:
        """Ours has this value from now on."""
        history = self._history.setdefault(key, deque(maxlen=HISTORY_MAX))
        if not history or history[-1][1] != value_e8:
            history.append((now_ns, value_e8))
            self._changes[key] = self._changes.get(key, 0) + 1

    def begin(self, started_ns: int) -> None:
        """A comparison starts; the question was asked at ``started_ns``."""
        self._started_ns = started_ns

    def values(self, key: Key, ours_e8: int) -> set[int]:
        """Every value that ours had in the span of this comparison."""
        history = self._history.setdefault(key, deque(maxlen=HISTORY_MAX))
        since_ns = self._started_ns - self._settle_ns
        # The last value from before the span held at its beginning.
        while len(history) > 1 and history[1][0] <= since_ns:
            history.popleft()
        return {ours_e8, *(value_e8 for _, value_e8 in history)}

    def compare(
        self, key: Key, ours_e8: int, venue_e8: int, now_ns: int, *, rounding_e8: int = 0
    ) -> bool:
        """Hold one of the venue's figures against ours; False while they do not match.

        ``rounding_e8``: what both may be apart because the venue rounds otherwise. That raises no
        doubt, but it lasts like a difference.
        """
        self._venue[key] = venue_e8
        history = self._history.get(key)
        if not history:
            self.saw(key, ours_e8, 0)
        if venue_e8 in self.values(key, ours_e8):
            self._forget(key)
            return True
        changes = self._changes[key]
        last = self._rounds.get(key)
        if abs(venue_e8 - ours_e8) <= rounding_e8:
            self._forget(key)
        else:
            first_ns = self._suspect_ns.setdefault(key, now_ns)
            if now_ns - first_ns < self._settle_ns:
                self._rounds.pop(key, None)
                return False
            self._differences[key] = Difference(key, ours_e8, venue_e8)
        is_same = last is not None and last[:3] == (ours_e8, venue_e8, changes)
        found = last.found + 1 if last is not None and is_same else 1
        self._rounds[key] = _Round(ours_e8, venue_e8, changes, found)
        return False

    def end(self, now_ns: int) -> list[Difference]:
        """Finish a comparison; returns the differences that were not returned before."""
        if not self._suspect_ns:
            self.reconciled_ns = now_ns
        fresh = [one for one in self._differences.values() if one.key not in self._reported]
        self._reported.update(one.key for one in fresh)
        return fresh

    def lasting(self) -> list[Difference]:
        """What has been found the same so often that nothing on its way can explain it."""
        return [
            Difference(key, last.ours_e8, last.venue_e8)
            for key, last in self._rounds.items()
            if last.found >= LASTING_ROUNDS
        ]

    def repaired(self, key: Key, value_e8: int, now_ns: int) -> None:
        """Ours took over the venue's value."""
        self.saw(key, value_e8, now_ns)
        self._forget(key)

    def start_over(self) -> None:
        """What was found so far proves nothing lasting: who could have explained it was away."""
        self._rounds.clear()

    def _forget(self, key: Key) -> None:
        self._suspect_ns.pop(key, None)
        self._differences.pop(key, None)
        self._rounds.pop(key, None)
        self._reported.discard(key)

    # -- what follows ---------------------------------------------------------------------------

    @property
    def agrees(self) -> bool:
        """The last comparison left no difference; doubt is not one yet."""
        return self.reconciled_ns > 0 and not self._differences

    @property
    def is_doubtful(self) -> bool:
        """Something differed at the last look and has to be looked at again soon."""
        return bool(self._suspect_ns)

    @property
    def difference_count(self) -> int:
        """How many values differ for longer than anything takes to arrive."""
        return len(self._differences)

    def is_suspect(self, key: Key) -> bool:
        """This one did not match at the last look."""
        return key in self._suspect_ns

    def differs(self, key: Key) -> bool:
        """This one is a difference."""
        return key in self._differences

    def venue_value(self, key: Key) -> int | None:
        """What the venue said last, or None."""
        return self._venue.get(key)


class TradeCheck:
    """Execution's trades against the drop copy's: each has to show what the other shows."""

    def __init__(self, *, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._own: dict[tuple[int, int, int], None] = {}
        self._copied: dict[tuple[int, int, int], int] = {}
        self._awaited: deque[tuple[int, tuple[int, int, int]]] = deque(maxlen=TRADES_MAX)
        self._copied_ns = 0

    def heard(self, now_ns: int) -> None:
        """The drop copy delivered something, or begins to listen."""
        self._copied_ns = now_ns

    def on_own_trade(self, instrument_id: int, trade_id: int, side: int, now_ns: int) -> None:
        """Execution reported a trade."""
        trade = (instrument_id, trade_id, side)
        if self._copied.pop(trade, None) is not None:
            return
        self._own[trade] = None
        self._awaited.append((now_ns, trade))
        if len(self._own) > TRADES_MAX:
            del self._own[next(iter(self._own))]

    def on_drop_copy(self, instrument_id: int, trade_id: int, side: int, now_ns: int) -> None:
        """The drop copy showed a trade."""
        trade = (instrument_id, trade_id, side)
        if trade in self._own:
            del self._own[trade]
        elif len(self._copied) < TRADES_MAX:
            self._copied.setdefault(trade, now_ns)

    def overdue_trades(self, now_ns: int) -> list[tuple[int, int]]:
        """(instrument, trade id) of copied trades that execution has not reported in time; once."""
        overdue = [
            trade for trade, seen_ns in self._copied.items() if now_ns - seen_ns > self._settle_ns
        ]
        for trade in overdue:
            del self._copied[trade]
        return [(instrument_id, trade_id) for instrument_id, trade_id, _ in overdue]

    def is_copy_silent(self, now_ns: int) -> bool:
        """Trades came in, and around them nothing at all from the drop copy; told once for each."""
        is_silent = False
        while self._awaited and now_ns - self._awaited[0][0] > self._settle_ns:
            reported_ns, trade = self._awaited.popleft()
            if trade in self._own and self._copied_ns < reported_ns - self._settle_ns:
                is_silent = True
        return is_silent
