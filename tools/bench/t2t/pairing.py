"""Triggers and orders brought together: latencies, and whatever was missed, doubled or made up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Trigger(NamedTuple):
    """A tick that is to be answered."""

    price_e8: int
    """Best bid."""
    write_ns: int
    """Monotonic, right before the venue's write."""


class Arrival(NamedTuple):
    """An order that came."""

    price_e8: int
    read_ns: int
    """Monotonic, right after the venue's read."""
    client_order_id: str


class Paired(NamedTuple):
    """What came of a run's triggers, the warm ones left out."""

    latency_ns: tuple[int, ...]
    """Of each answered trigger, in their order."""
    missed: int
    """Triggers that nobody answered."""
    doubled: int
    """Further orders for a trigger that was answered already."""
    strays: int
    """Orders at a price that no trigger before them had."""


def pair(triggers: Sequence[Trigger], arrivals: Sequence[Arrival], *, warm: int) -> Paired:
    """Give each order to the newest trigger of its price that was written before it came."""
    by_price: dict[int, list[int]] = {}
    for index, trigger in enumerate(triggers):
        by_price.setdefault(trigger.price_e8, []).append(index)
    first_ns: dict[int, int] = {}
    doubled = strays = 0
    for arrival in sorted(arrivals, key=lambda one: one.read_ns):
        indexes = by_price.get(arrival.price_e8, [])
        place = bisect_right(indexes, arrival.read_ns, key=lambda index: triggers[index].write_ns)
        if not place:
            strays += 1
            continue
        index = indexes[place - 1]
        if index not in first_ns:
            first_ns[index] = arrival.read_ns
        elif index >= warm:
            doubled += 1
    counted = range(warm, len(triggers))
    return Paired(
        latency_ns=tuple(
            first_ns[index] - triggers[index].write_ns for index in counted if index in first_ns
        ),
        missed=sum(index not in first_ns for index in counted),
        doubled=doubled,
        strays=strays,
    )
