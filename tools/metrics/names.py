"""How counters, gauges and histograms of the role pages are called in Prometheus.

Everything is derived from ``hft/counters.py``: ``hft_<name>_total`` for a counter, base units
(seconds) for whatever the table has in ns or ms, its meaning as the help text.
"""

from __future__ import annotations

from typing import Final

from hft import counters
from hft.counters import CounterSpec, GaugeSpec, HistogramSpec
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.records import TradingState
from hft.units import NS_PER_MS, NS_PER_S

PREFIX: Final = "hft_"
_EVERYBODY: Final = (*ROLES, *OPTIONAL_ROLES)
_DECADES: Final = {
    1: "feed",
    2: "strategy",
    3: "risk",
    4: "execution",
    5: "execution",
    6: "account",
    7: "recorder",
    22: "paper",
    24: "risk",
}
"""Whose counters the ids of one decade are; those below ten are everybody's."""
_COUNTER_ROLES: Final = {counters.PAPER_FILLS_APPLIED: ("account",)}
"""Counters of somebody else than their decade's."""
_VENUE_ROLES: Final = ("feed", "execution", "account")
"""Roles with a venue session and requests of their own."""
_GAUGE_ROLES: Final = {
    counters.PERMIT_STATE: ("risk",),
    counters.OPEN_ORDERS: ("execution", "paper"),
    counters.UNKNOWN_ORDERS: ("execution",),
    counters.USED_WEIGHT: _VENUE_ROLES,
    counters.ORDERS_10S: ("execution",),
    counters.ORDERS_1M: ("execution",),
    counters.CLOCK_OFFSET_NS: ("execution",),
    counters.ROUND_TRIP_NS: ("execution",),
    counters.COUNTDOWN_MISSED: ("execution",),
    counters.SESSION_UP: _VENUE_ROLES,
    counters.LAST_FRAME_NS: ("feed",),
    counters.LIVE_INSTRUMENTS: ("feed",),
    counters.RECONCILED_NS: ("account",),
    counters.DIED_IN_NS: ("strategy",),
    counters.IN_CALLBACK: ("strategy",),
    counters.DIED_IN: ("strategy",),
    counters.AGREES: ("account",),
    counters.DIFFERS: ("account",),
    counters.BANNED_UNTIL_MS: _VENUE_ROLES,
    counters.PAUSED_UNTIL_MS: _VENUE_ROLES,
    counters.COPIED_SEQ: ("recorder",),
    counters.SOFT_LIMITS: ("risk",),
    counters.HARD_LIMITS: ("risk",),
    counters.LIMITS_VERSION: ("risk",),
    counters.PAUSED_STRATEGIES: ("risk",),
}
MOMENTS: Final = frozenset({counters.LAST_FRAME_NS, counters.RECONCILED_NS, counters.DIED_IN_NS})
"""Gauges that hold a monotonic time: exported as the time that has passed since."""
ENDS: Final = frozenset({counters.BANNED_UNTIL_MS, counters.PAUSED_UNTIL_MS})
"""Gauges that hold a monotonic time to come, ms: exported as the time that is left."""


def counter_name(spec: CounterSpec) -> str:
    """Family name of a counter; its samples end in ``_total``."""
    return PREFIX + spec.name


def counter_roles(spec: CounterSpec) -> tuple[str, ...]:
    """Roles that always show the counter, where there are such; others do once it is not 0."""
    owner = _DECADES.get(spec.id // 10)
    return _COUNTER_ROLES.get(spec, (owner,) if owner else _EVERYBODY)


def gauge_name(spec: GaugeSpec) -> str:
    """Name of a gauge, in base units."""
    if spec in MOMENTS:
        return f"{PREFIX}{spec.name.removesuffix('_ns')}_age_seconds"
    if spec in ENDS:
        return f"{PREFIX}{spec.name.removesuffix('_until_ms')}_remaining_seconds"
    if spec.name.endswith("_ns"):
        return f"{PREFIX}{spec.name.removesuffix('_ns')}_seconds"
    return PREFIX + spec.name


def gauge_help(spec: GaugeSpec) -> str:
    """Help text of a gauge: its meaning, told in the unit that is exported."""
    if spec in MOMENTS:
        what = spec.meaning.removeprefix("monotonic time of ")
        return f"seconds since {what}; absent: it never happened"
    if spec in ENDS:
        what = spec.meaning.removeprefix("monotonic time; ").removesuffix(", ms")
        return f"{what.removesuffix(' before')} for so many seconds more, 0: nothing is forbidden"
    if spec == counters.PERMIT_STATE:
        values = ", ".join(f"{int(state)} {state.name}" for state in TradingState)
        return f"{spec.meaning}: {values}"
    return spec.meaning.removesuffix(", ns") + (", seconds" if spec.name.endswith("_ns") else "")


def gauge_roles(spec: GaugeSpec) -> tuple[str, ...]:
    """Roles that set the gauge, where there are such."""
    return _GAUGE_ROLES.get(spec, _EVERYBODY)


def gauge_value(spec: GaugeSpec, raw: int, now_ns: int) -> float | None:
    """The value to export; None: there is none yet.

    Args:
        spec: the gauge.
        raw: the word in the page.
        now_ns: monotonic time of the look.
    """
    if spec in MOMENTS:
        return max(0, now_ns - raw) / NS_PER_S if raw else None
    if spec in ENDS:
        return max(0, raw * NS_PER_MS - now_ns) / NS_PER_S
    return raw / NS_PER_S if spec.name.endswith("_ns") else float(raw)


def histogram_name(spec: HistogramSpec) -> str:
    """Name of a histogram, in seconds."""
    return f"{PREFIX}{spec.name}_seconds"


def histogram_max_name(spec: HistogramSpec) -> str:
    """Name of the gauge with the largest value that a histogram ever counted."""
    return f"{PREFIX}{spec.name}_max_seconds"


def histogram_roles(spec: HistogramSpec) -> tuple[str, ...]:
    """Roles whose pages hold the histogram, where there are such."""
    return (spec.role,) if spec.role else _EVERYBODY
