"""How quotes are moved: near enough is left alone."""

from __future__ import annotations

import msgspec

from hft.units import NS_PER_MS, NS_PER_S


class QuoteRules(msgspec.Struct, frozen=True, kw_only=True):
    """How near is near enough, and how often an order may be changed."""

    reprice_ticks: int = 1
    """A resting order is moved when it is at least so far from the wanted price."""
    resize_percent: int = 50
    """It is resized when its open quantity is off by more than this share of the wanted one."""
    rest_ns_min: int = 100 * NS_PER_MS
    """Time between two places or amends of one side; cancels never wait."""
    refusal_backoff_ns: int = 100 * NS_PER_MS
    """Pause of a side after a refusal, doubled with each further one, up to 16 times."""
    overdue_ns: int = 5 * NS_PER_S
    """An intent unanswered for so long has lost its answer."""
    is_amending: bool = True
    """False: move an order by cancelling it and placing another."""
