"""Comparing our sums with the venue's while both move: pure, time is an argument.

The venue's figure was true at some moment between our question and its answer, and the executions
behind it may reach us a little before or after. So it agrees when it equals *any* value that ours
had in that span, and a value that differs becomes a difference only when it still differs after the
settling time.
"""

from __future__ import annotations

from collections import deque
from typing import Final

Key = tuple[str, int]
"""What is compared: ("position", instrument) or ("wallet", asset)."""
HISTORY_MAX: Final = 4_096
TRADES_MAX: Final = 16_384


class Reconciliation:
    """Remembers what our values were, what the venue said, and since when they differ."""

    def __init__(self, *, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._history: dict[Key, deque[tuple[int, int]]] = {}
        self._venue: dict[Key, int] = {}
        self._suspect_ns: dict[Key, int] = {}
        self._differences: dict[Key, tuple[int, int]] = {}
        self._reported: set[Key] = set()
        self._started_ns = 0
        self._own_trades: dict[tuple[int, int, int], None] = {}
        self._copied_trades: dict[tuple[int, int, int], int] = {}
        self.reconciled_ns = 0
        """When everything agreed last, 0: never."""

    # -- values ---------------------------------------------------------------------------------

    def saw(self, key: Key, value_e8: int, now_ns: int) -> None:
        """Ours has this value from now on."""
        self._history.setdefault(key, deque(maxlen=HISTORY_MAX)).append((now_ns, value_e8))

    def begin(self, started_ns: int) -> None:
        """A comparison starts; the question was asked at ``started_ns``."""
        self._started_ns = started_ns

    def compare(self, key: Key, ours_e8: int, venue_e8: int, now_ns: int) -> bool:
        """Hold one of the venue's figures against ours; False while it is in doubt."""
        self._venue[key] = venue_e8
        history = self._history.setdefault(key, deque(maxlen=HISTORY_MAX))
        if not history:
            history.append((0, ours_e8))
        since_ns = self._started_ns - self._settle_ns
        # The last value from before the span held at its beginning.
        while len(history) > 1 and history[1][0] <= since_ns:
            history.popleft()
        if ours_e8 == venue_e8 or any(value == venue_e8 for _, value in history):
            self._suspect_ns.pop(key, None)
            self._differences.pop(key, None)
            self._reported.discard(key)
            return True
        first_ns = self._suspect_ns.setdefault(key, now_ns)
        if now_ns - first_ns >= self._settle_ns:
            self._differences[key] = (ours_e8, venue_e8)
        return False

    def end(self, now_ns: int) -> list[tuple[Key, int, int]]:
        """Finish a comparison; returns the differences that were not returned before."""
        if not self._suspect_ns:
            self.reconciled_ns = now_ns
        fresh = [
            (key, *values) for key, values in self._differences.items() if key not in self._reported
        ]
        self._reported.update(key for key, _, _ in fresh)
        return fresh

    @property
    def agrees(self) -> bool:
        """The last comparison left no difference; doubt is not one yet."""
        return self.reconciled_ns > 0 and not self._differences

    @property
    def is_doubtful(self) -> bool:
        """Something differed at the last look and has to be looked at again soon."""
        return bool(self._suspect_ns)

    def differs(self, key: Key) -> bool:
        """This one is a difference."""
        return key in self._differences

    def venue_value(self, key: Key) -> int | None:
        """What the venue said last, or None."""
        return self._venue.get(key)

    # -- trades ---------------------------------------------------------------------------------

    def on_own_trade(self, instrument_id: int, trade_id: int, side: int, now_ns: int) -> None:
        """Execution reported a trade."""
        trade = (instrument_id, trade_id, side)
        if self._copied_trades.pop(trade, None) is None:
            self._own_trades[trade] = None
            if len(self._own_trades) > TRADES_MAX:
                del self._own_trades[next(iter(self._own_trades))]

    def on_drop_copy(self, instrument_id: int, trade_id: int, side: int, now_ns: int) -> None:
        """The drop copy showed a trade."""
        trade = (instrument_id, trade_id, side)
        if trade in self._own_trades:
            del self._own_trades[trade]
        elif len(self._copied_trades) < TRADES_MAX:
            self._copied_trades.setdefault(trade, now_ns)

    def overdue_trades(self, now_ns: int) -> list[tuple[int, int]]:
        """(instrument, trade id) of copied trades that execution has not reported in time; once."""
        overdue = [
            trade
            for trade, seen_ns in self._copied_trades.items()
            if now_ns - seen_ns > self._settle_ns
        ]
        for trade in overdue:
            del self._copied_trades[trade]
        return [(instrument_id, trade_id) for instrument_id, trade_id, _ in overdue]
