"""Who talks to whom: the wiring of the whole system as data.

Segment creation, permissions, the monitor and the picture in the README are derived from this
table. A ring has one writer; its *gating* readers are waited for (lossless), everybody else
observes and may be lapped. Observers are woken, *pollers* are not.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple

from hft.records import (
    ALERT,
    BALANCE,
    BOOK,
    CELL_RECORDS,
    DECISION,
    DEPTH,
    EXECUTION,
    INSTRUMENT,
    INTENT,
    JOURNAL,
    MARK_PRICE,
    ORDER,
    POSITION,
    RING_RECORDS,
    SLOT_BYTES,
    TOP_OF_BOOK,
    Mode,
    RecordSpec,
)


class RoleId(IntEnum):
    """Source ids in record headers and message types in the command queue; never reused."""

    NONE = 0
    SUPERVISOR = 1
    FEED = 2
    STRATEGY = 3
    RISK = 4
    EXECUTION = 5
    ACCOUNT = 6
    PAPER = 7
    RECORDER = 8
    CONTROL = 9


class RingId(IntEnum):
    """Names a ring in ``cause_ring``; never reused."""

    NONE = 0
    MARKET = 1
    DEPTH = 2
    INTENTS = 3
    DECISIONS = 4
    EXECUTIONS = 5
    ALERTS = 6
    JOURNAL = 7
    MANUAL = 8
    EXECUTIONS_PAPER = 9
    ACTS = 10


class WhenFull(Enum):
    """What the writer does when its ring has no free slot."""

    LAP_READERS = "lap"
    """Broadcast: never waits; a slow reader is told how much it lost."""
    PAUSE_INTAKE = "pause"
    """Lossless: stops taking inputs until the slowest gating reader has freed a slot."""


class RingSpec(NamedTuple):
    """One ring: which records, how many, who writes, who gates, what happens when it is full."""

    name: str
    ring_id: RingId
    records: tuple[RecordSpec, ...]
    capacity: int
    writer: str
    gating: tuple[str, ...]
    observers: tuple[str, ...]
    when_full: WhenFull
    pollers: tuple[str, ...] = ()
    """Observers that look by the clock: the writer spends nothing on waking them."""


class CellsSpec(NamedTuple):
    """An array of latest values: which record, how many, who writes, who reads."""

    name: str
    record: RecordSpec
    capacity: int
    writer: str
    readers: tuple[str, ...]


ROLES: Final = ("feed", "strategy", "risk", "execution", "account", "recorder")
"""Roles that every system has, in the order in which they start."""
OPTIONAL_ROLES: Final = ("paper",)
"""Roles that only some systems have; the plan says so. Their segments are there all the same."""
COLD_ROLES: Final = frozenset({"account", "paper", "recorder"})
"""Roles that no tick and no order waits for: they stay away from the hot cores."""
ROLE_IDS: Final = {
    "supervisor": RoleId.SUPERVISOR,
    "feed": RoleId.FEED,
    "strategy": RoleId.STRATEGY,
    "risk": RoleId.RISK,
    "execution": RoleId.EXECUTION,
    "account": RoleId.ACCOUNT,
    "paper": RoleId.PAPER,
    "recorder": RoleId.RECORDER,
    "control": RoleId.CONTROL,
}
"""Who has a page and a lock. ``supervisor`` and ``control`` are not started as roles: the one
starts them, the other is whoever trades by hand at the moment."""

INSTRUMENTS_MAX: Final = 128
"""Rows of the instrument table; those beyond the configured symbols are spare."""
ORDER_ROWS_MAX: Final = 1_024
"""Rows of the orders table: orders that are not terminal."""
ASSETS_MAX: Final = 32
LIMITS_MAX: Final = 64
"""Cells with the use of each limit: an alert that is always the newest."""
POSITION_MODES: Final = (Mode.LIVE, Mode.PAPER)


def position_cell(mode: int, instrument_id: int) -> int:
    """Index, in ``positions``, of an instrument's position in one mode."""
    return (0 if mode == Mode.LIVE else 1) * INSTRUMENTS_MAX + instrument_id


def balance_cell(mode: int, index: int) -> int:
    """Index, in ``balances``, of the wallet in row ``index`` of one mode."""
    return (0 if mode == Mode.LIVE else 1) * ASSETS_MAX + index


_ORDER_RING: Final = 4_096
_PAUSE, _LAP = WhenFull.PAUSE_INTAKE, WhenFull.LAP_READERS
_MARKET: Final = tuple(spec for spec in RING_RECORDS if spec.name in
                       ("top_of_book", "trade", "mark_price", "feed_status"))  # fmt: skip

RINGS: Final = (
    # Waking a process for each frame costs more than the frame: only who acts on it at once is
    # woken, the others find what they need in the cells.
    RingSpec("market", RingId.MARKET, _MARKET, 8_192, "feed", (), ("strategy",), _LAP, ("paper",)),
    RingSpec("depth", RingId.DEPTH, (DEPTH,), 8_192, "feed", (), (), _LAP),
    RingSpec("intents.strategy", RingId.INTENTS, (INTENT,), _ORDER_RING, "strategy", ("risk",), (),
             _PAUSE),
    RingSpec("intents.manual", RingId.MANUAL, (INTENT,), 64, "control", ("risk",), (), _PAUSE),
    RingSpec("decisions", RingId.DECISIONS, (DECISION,), _ORDER_RING, "risk", ("execution",),
             ("strategy",), _PAUSE, ("paper",)),
    RingSpec("executions", RingId.EXECUTIONS, (EXECUTION,), _ORDER_RING, "execution",
             ("account", "risk"), ("strategy",), _PAUSE),
    RingSpec("executions.paper", RingId.EXECUTIONS_PAPER, (EXECUTION,), _ORDER_RING, "paper", (),
             ("account", "risk", "strategy"), _LAP),
    RingSpec("alerts", RingId.ALERTS, (ALERT,), 1_024, "account", (), (), _LAP),
    RingSpec("acts", RingId.ACTS, (ALERT,), 1_024, "risk", (), (), _LAP, ("recorder",)),
    RingSpec("journal", RingId.JOURNAL, (JOURNAL,), 65_536, "execution", (), (), _LAP,
             ("recorder",)),
)  # fmt: skip
CELLS: Final = (
    CellsSpec("instruments", INSTRUMENT, INSTRUMENTS_MAX, "feed",
              ("strategy", "risk", "execution", "account", "paper")),
    CellsSpec("tops", TOP_OF_BOOK, INSTRUMENTS_MAX, "feed",
              ("strategy", "risk", "execution", "account", "paper")),
    CellsSpec(
        "marks", MARK_PRICE, INSTRUMENTS_MAX, "feed", ("strategy", "risk", "execution", "account")
    ),
    CellsSpec("books", BOOK, INSTRUMENTS_MAX, "feed", ("strategy", "paper")),
    CellsSpec("orders", ORDER, ORDER_ROWS_MAX, "execution", ("strategy", "risk")),
    CellsSpec("orders.paper", ORDER, ORDER_ROWS_MAX, "paper", ("strategy", "risk")),
    CellsSpec("positions", POSITION, 2 * INSTRUMENTS_MAX, "account",
              ("strategy", "risk", "execution", "paper")),
    CellsSpec("balances", BALANCE, 2 * ASSETS_MAX, "account", ("strategy", "risk")),
    CellsSpec("limits", ALERT, LIMITS_MAX, "risk", ()),
)  # fmt: skip

PERMIT: Final = "permit"
"""Words written by risk: word 0 is the permit (expiry above, trading state in the low bits)."""
HALT: Final = "halt"
"""Words that every role may set: the latched halt."""
BELLS: Final = "bells"
"""One futex word for each process, rung by every writer: shared like the halt."""
BELLS_MAX: Final = 16


def page_name(role: str) -> str:
    """Segment name of a role's page."""
    return f"page.{role}"


def ring(name: str) -> RingSpec:
    """The ring of that name (KeyError when there is none)."""
    return _RINGS_BY_NAME[name]


def cells(name: str) -> CellsSpec:
    """The cells of that name (KeyError when there are none)."""
    return _CELLS_BY_NAME[name]


def cursor_index(ring_name: str) -> int:
    """Which cursor of its page a gating reader uses for a ring."""
    return int(_RINGS_BY_NAME[ring_name].ring_id)


def ring_layout_hash(spec: RingSpec) -> int:
    """One hash over the layouts of all records that may stand in the ring."""
    value = 0
    for record in spec.records:
        value = (value * 1_000_003 ^ record.layout_hash) & (2**64 - 1)
    return value


_RINGS_BY_NAME: Final = {spec.name: spec for spec in RINGS}
_CELLS_BY_NAME: Final = {spec.name: spec for spec in CELLS}

assert all(spec.capacity & (spec.capacity - 1) == 0 for spec in RINGS)
assert all(record.size_bytes == SLOT_BYTES for spec in RINGS for record in spec.records)
assert all(spec.record in (*CELL_RECORDS, TOP_OF_BOOK, MARK_PRICE, ALERT) for spec in CELLS)
assert all((spec.when_full is _PAUSE) == bool(spec.gating) for spec in RINGS)
