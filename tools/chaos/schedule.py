"""What is done to whom, and at which point of its work: drawn from a seed, always the same."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from tools.chaos.options import KINDS

ANYWHERE: Final = "anywhere"
POINTS: Final = (
    ANYWHERE,
    ANYWHERE,
    "intents.strategy",
    "decisions",
    "journal",
    "executions",
)
"""When to strike: at any moment, or as soon as a fresh record stands in a ring. A fresh journal
entry means: the order is written down, its bytes leave now, and no answer has come."""
WEIGHTS: Final = {"kill": 55, "stop": 20, "pair": 15, "all": 10}
STOP_MS: Final = (50, 3_000)
CALM_S: Final = (0.05, 1.0)
"""Pause after everybody recovered, so that the next strike meets trading in any phase."""
HASTE_S: Final = (0.0, 0.6)
"""Pause before a strike that does not wait for the recovery from the one before."""
HASTE_SHARE: Final = 0.2


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One fault to be injected."""

    number: int
    kind: str
    processes: tuple[str, ...]
    point: str
    stop_ms: int
    """How long the processes are stopped; 0: they are killed."""
    is_hasty: bool
    """Strikes although the system may not have recovered from the one before."""
    pause_s: float


class Schedule:
    """An endless, repeatable sequence of strikes."""

    def __init__(self, seed: int, processes: Sequence[str], only: Sequence[str] = ()) -> None:
        self._random = Random(seed)
        self._processes = tuple(processes)
        self._kinds = tuple(only) or KINDS
        self._weights = [WEIGHTS[kind] for kind in self._kinds]
        self._count = 0

    def next(self) -> Strike:
        """The next strike."""
        random = self._random
        self._count += 1
        (kind,) = random.choices(self._kinds, self._weights)
        many = {"pair": 2, "all": len(self._processes)}.get(kind, 1)
        is_hasty = random.random() < HASTE_SHARE
        return Strike(
            number=self._count,
            kind=kind,
            processes=tuple(random.sample(self._processes, min(many, len(self._processes)))),
            point=random.choice(POINTS),
            stop_ms=random.randint(*STOP_MS) if kind == "stop" else 0,
            is_hasty=is_hasty,
            pause_s=random.uniform(*(HASTE_S if is_hasty else CALM_S)),
        )
