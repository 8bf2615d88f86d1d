"""Where the processes run that no plan pins: beside the hot cores, not on them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Final

from hft.config import Plan
from hft.graph import COLD_ROLES

_ALLOWED: Final = frozenset(os.sched_getaffinity(0))
"""Cpus that this process may use at all."""


def keep_off_hot_cpus(plan: Plan) -> None:
    """Leave the cores that ticks and orders run on to them, as far as there are others."""
    hot = {one.cpu for one in plan.processes if not COLD_ROLES.issuperset(one.roles)}
    _run_on(_ALLOWED - hot or _ALLOWED)


@contextlib.contextmanager
def off_hot_cpus(plan: Plan) -> Iterator[None]:
    """The same while the block runs.

    A supervisor looks at its children fifty times a second, and each look would hold up a tick.
    """
    before = os.sched_getaffinity(0)
    keep_off_hot_cpus(plan)
    try:
        yield
    finally:
        _run_on(before)


def _run_on(cpus: Iterable[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # where the system manager forbids it, it has placed us
            os.sched_setaffinity(int(thread), cpus)
