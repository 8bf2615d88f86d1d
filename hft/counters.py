"""Counters, gauges and histograms of the role pages: one table, ids never reused.

A counter is written by plain stores of the role that owns the page; tools print this table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class RoleState(IntEnum):
    """Where a role stands in its life; the state word of its page."""

    NEVER_STARTED = 0
    STARTING = 1
    RECOVERING = 2
    READY = 3
    STOPPING = 4
    STOPPED = 5
    FAILED = 6


class CounterSpec(NamedTuple):
    """Id in the page, name on screens, meaning."""

    id: int
    name: str
    meaning: str


WORK: Final = CounterSpec(1, "work", "work items done")
BACK_PRESSURE: Final = CounterSpec(2, "back_pressure", "turns in which an output ring was full")
LAPPED: Final = CounterSpec(3, "lapped", "records lost because this reader was too slow")
COMMANDS: Final = CounterSpec(4, "commands", "commands carried out")
COMMANDS_DROPPED: Final = CounterSpec(6, "commands_dropped", "commands that came too late")
SWITCHES: Final = CounterSpec(7, "switches", "times the kernel took the processor from the process")
REHEARSALS: Final = CounterSpec(8, "rehearsals", "times hurried work was practised while idle")

FRAMES: Final = CounterSpec(10, "frames", "market frames read")
RECORDS: Final = CounterSpec(11, "records", "market records published")
GAPS: Final = CounterSpec(12, "gaps", "missing venue numbers; each costs one snapshot")
RESYNCS: Final = CounterSpec(13, "resyncs", "snapshots applied")
BOOK_CHECKS: Final = CounterSpec(14, "book_checks", "comparisons of the book with the ticker")
BOOK_MISMATCHES: Final = CounterSpec(15, "book_mismatches", "comparisons that differed")
GARBAGE: Final = CounterSpec(16, "garbage", "frames that could not be decoded")
RECONNECTS: Final = CounterSpec(17, "reconnects", "market connections opened after the first")
STALE: Final = CounterSpec(18, "stale", "times an instrument went stale")
CROSSED: Final = CounterSpec(19, "crossed", "times the book crossed itself")

INTENTS: Final = CounterSpec(20, "intents", "intents published")
CALLBACKS: Final = CounterSpec(21, "callbacks", "plug-in callbacks")
PLUGIN_ERRORS: Final = CounterSpec(22, "plugin_errors", "plug-in callbacks that raised")
REFUSALS_SEEN: Final = CounterSpec(23, "refusals_seen", "own intents that risk refused")

JUDGED: Final = CounterSpec(30, "judged", "intents judged")
APPROVED: Final = CounterSpec(31, "approved", "intents approved")
REFUSED: Final = CounterSpec(32, "refused", "intents refused")
PERMITS: Final = CounterSpec(33, "permits", "permit renewals")

SENT: Final = CounterSpec(40, "sent", "new orders sent")
ACKED: Final = CounterSpec(41, "acked", "new orders acknowledged")
FILLS: Final = CounterSpec(42, "fills", "fills applied")
CANCELED: Final = CounterSpec(43, "canceled", "orders cancelled")
REJECTED: Final = CounterSpec(44, "rejected", "orders rejected by the venue")
EXPIRED: Final = CounterSpec(45, "expired", "orders expired")
UNRESOLVED: Final = CounterSpec(46, "unresolved", "times an order became unknown")
RESOLVED: Final = CounterSpec(47, "resolved", "unknown orders settled")
DROPPED: Final = CounterSpec(48, "dropped", "approved decisions that were not sent")
CANCELS_SENT: Final = CounterSpec(49, "cancels_sent", "cancel requests sent")
AMENDS_SENT: Final = CounterSpec(50, "amends_sent", "amend requests sent")
OWN_CANCELS: Final = CounterSpec(51, "own_cancels", "cancels on execution's own authority")
DUPLICATE_EVENTS: Final = CounterSpec(52, "duplicate_events", "venue events that changed nothing")
FOREIGN_EVENTS: Final = CounterSpec(53, "foreign_events", "events of orders that are not ours")
CANCEL_REJECTS: Final = CounterSpec(54, "cancel_rejects", "cancels and amends the venue refused")
JOURNALLED: Final = CounterSpec(55, "journalled", "journal entries written")
REST_ORDERS: Final = CounterSpec(56, "rest_orders", "requests that went by REST")
NEVER_ACCEPTED: Final = CounterSpec(57, "never_accepted", "orders that never reached the venue")

ADOPTED: Final = CounterSpec(58, "adopted", "orders of the venue's taken into the books")
OVERFILLS: Final = CounterSpec(59, "overfills", "orders of which more was executed than asked for")

FILLS_APPLIED: Final = CounterSpec(60, "fills_applied", "fills in the positions")
DROP_COPIES: Final = CounterSpec(61, "drop_copies", "events of the independent user stream")
RECONCILIATIONS: Final = CounterSpec(62, "reconciliations", "comparisons with the venue by REST")
DIFFERENCES: Final = CounterSpec(63, "differences", "comparisons that differed")
FUNDINGS: Final = CounterSpec(64, "fundings", "funding payments applied")
ADJUSTMENTS: Final = CounterSpec(65, "adjustments", "lasting differences that were repaired")
FOREIGN_FILLS: Final = CounterSpec(66, "foreign_fills", "fills of orders that are not ours")

COPIED: Final = CounterSpec(70, "copied", "journal entries on disk")
SYNCS: Final = CounterSpec(71, "syncs", "times the copy was made safe against power loss")
GAPS_COPIED: Final = CounterSpec(72, "gaps_copied", "journal entries lost before they were copied")

PAPER_ORDERS: Final = CounterSpec(220, "paper_orders", "orders of paper mode taken in")
PAPER_FILLS: Final = CounterSpec(221, "paper_fills", "fills of paper mode")
PAPER_LOST: Final = CounterSpec(222, "paper_lost", "paper orders cancelled after a death or lap")
PAPER_FILLS_APPLIED: Final = CounterSpec(223, "paper_fills_applied", "fills in the paper positions")

NEAR_LIMITS: Final = CounterSpec(240, "near_limits", "times a limit passed its soft threshold")
TRIPS: Final = CounterSpec(241, "trips", "breakers that paused a strategy or stopped everything")
LIMIT_CHANGES: Final = CounterSpec(242, "limit_changes", "changes of the limits at run time")
CHANGES_REFUSED: Final = CounterSpec(
    243, "changes_refused", "changes of the limits that were not taken"
)

COUNTERS: Final = tuple(v for v in list(globals().values()) if isinstance(v, CounterSpec))


class GaugeSpec(NamedTuple):
    """Id in the page, name on screens, meaning with unit."""

    id: int
    name: str
    meaning: str


PERMIT_STATE: Final = GaugeSpec(0, "trading_state", "TradingState that risk grants")
OPEN_ORDERS: Final = GaugeSpec(1, "open_orders", "orders that are not terminal")
UNKNOWN_ORDERS: Final = GaugeSpec(2, "unknown_orders", "orders in state UNRESOLVED")
USED_WEIGHT: Final = GaugeSpec(3, "used_weight", "request weight used in the current minute")
ORDERS_10S: Final = GaugeSpec(5, "orders_10s", "orders sent in the last 10 s")
CLOCK_OFFSET_NS: Final = GaugeSpec(7, "clock_offset_ns", "venue clock minus ours, ns")
ROUND_TRIP_NS: Final = GaugeSpec(8, "round_trip_ns", "last order round trip, ns")
SESSION_UP: Final = GaugeSpec(9, "session_up", "1: the venue session of the role is up")
LAST_FRAME_NS: Final = GaugeSpec(10, "last_frame_ns", "monotonic time of the last frame")
LIVE_INSTRUMENTS: Final = GaugeSpec(11, "live_instruments", "instruments whose feed is live")
RECONCILED_NS: Final = GaugeSpec(12, "reconciled_ns", "monotonic time of the last comparison")
AGREES: Final = GaugeSpec(13, "agrees", "1: the last comparison found no difference")
ORDERS_1M: Final = GaugeSpec(14, "orders_1m", "orders sent in the last minute")

BANNED_UNTIL_MS: Final = GaugeSpec(
    15, "banned_until_ms", "monotonic time; nothing may be sent to the venue before, ms"
)
PAUSED_UNTIL_MS: Final = GaugeSpec(
    16, "paused_until_ms", "monotonic time; only cancels and what they need before, ms"
)
DIFFERS: Final = GaugeSpec(17, "differs", "values that differ from the venue's for too long")
WAITS: Final = GaugeSpec(18, "waits", "1: not ready because the venue lets nobody in, not hung")
COPIED_SEQ: Final = GaugeSpec(19, "copied_seq", "last journal entry that is safe on disk")

COUNTDOWN_MISSED: Final = GaugeSpec(
    20, "countdown_missed", "renewals of the venue's countdown that failed in a row"
)

SOFT_LIMITS: Final = GaugeSpec(50, "soft_limits", "bit n: limit n is past its soft threshold")
HARD_LIMITS: Final = GaugeSpec(51, "hard_limits", "bit n: limit n is exceeded")
LIMITS_VERSION: Final = GaugeSpec(52, "limits_version", "version of the limits in force")
PAUSED_STRATEGIES: Final = GaugeSpec(53, "paused_strategies", "strategies that a breaker stopped")

IN_CALLBACK: Final = GaugeSpec(
    54, "in_callback", "whose callback runs (hft/roles/callback_note.py); 0: none"
)
DIED_IN: Final = GaugeSpec(55, "died_in", "in whose callback the process died last; 0: in none")
DIED_IN_NS: Final = GaugeSpec(56, "died_in_ns", "monotonic time of that death")

GAUGES: Final = tuple(v for v in list(globals().values()) if isinstance(v, GaugeSpec))


class HistogramSpec(NamedTuple):
    """Id in the page of ``role``, name on screens, meaning. All values are ns."""

    id: int
    name: str
    role: str
    meaning: str


TURN_NS: Final = HistogramSpec(0, "turn", "", "length of a duty cycle that did work")
FEED_NS: Final = HistogramSpec(1, "receive_to_book", "feed", "frame read to record published")
STRATEGY_NS: Final = HistogramSpec(
    2, "book_to_intent", "strategy", "market record published to intent published"
)
RISK_NS: Final = HistogramSpec(3, "intent_to_decision", "risk", "intent published to judged")
EXECUTION_NS: Final = HistogramSpec(
    4, "decision_to_wire", "execution", "decision published to bytes handed to the socket"
)
TICK_TO_TRADE_NS: Final = HistogramSpec(
    5, "tick_to_trade", "execution", "frame read to bytes of the order handed to the socket"
)
ACK_NS: Final = HistogramSpec(6, "wire_to_ack", "execution", "order sent to acknowledgement read")
CANCEL_NS: Final = HistogramSpec(7, "cancel_round_trip", "execution", "cancel sent to answer read")
FEED_AGE_NS: Final = HistogramSpec(
    8, "venue_to_receive", "feed", "venue's event time to frame read, by the venue's clock"
)
STALL_NS: Final = HistogramSpec(9, "loop_stall", "", "how much later than due the loop came round")
GARBAGE_NS: Final = HistogramSpec(10, "garbage", "", "length of a garbage collection")

HISTOGRAMS: Final = tuple(v for v in list(globals().values()) if isinstance(v, HistogramSpec))
HOPS: Final = (FEED_NS, STRATEGY_NS, RISK_NS, EXECUTION_NS, TICK_TO_TRADE_NS, ACK_NS)

for _table in (COUNTERS, GAUGES, HISTOGRAMS):
    assert len({row.id for row in _table}) == len(_table), "an id is used twice"
