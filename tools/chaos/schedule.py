"""What is done to whom, and at which point of its work: drawn from a seed, always the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from tools.chaos.options import KINDS
from tools.chaos.points import POINTS, role_of

ANYWHERE: Final = "anywhere"
RINGS: Final = ("intents.strategy", "decisions", "journal", "executions")
"""To strike as soon as a fresh record stands in a ring. A fresh journal entry means: the order is
written down, its bytes leave now, and no answer has come."""
WEIGHTS: Final = {"kill": 50, "stop": 17, "starve": 8, "pair": 15, "all": 10}
STOP_MS: Final = (50, 3_000)
STARVE_MS: Final = (200, 2_000)
CALM_S: Final = (0.05, 0.6)
"""Pause after everybody recovered, so that the next strike meets trading in any phase."""
HASTE_S: Final = (0.0, 0.6)
"""Pause before a strike that does not wait for the recovery from the one before."""
HASTE_SHARE: Final = 0.3
POINT_SHARE: Final = 0.75
"""Share of the kills that aim at a named point; the others come at any moment."""


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One fault to be injected."""

    number: int
    kind: str
    processes: tuple[str, ...]
    """Whom it hits; a named point is one of the first."""
    point: str
    hold_ms: int
    """How long the processes are stopped or starved; 0: they are killed."""
    is_hasty: bool
    """Strikes although the system may not have recovered from the one before."""
    pause_s: float


class Schedule:
    """An endless, repeatable sequence of strikes.

    Named points are taken from a shuffled bag, so that every one has its turn.
    """

    def __init__(
        self, seed: int, processes: Mapping[str, Sequence[str]], only: Sequence[str] = ()
    ) -> None:
        self._random = Random(seed)
        self._roles = dict(processes)
        self._processes = tuple(processes)
        self._kinds = tuple(only) or KINDS
        self._weights = [WEIGHTS[kind] for kind in self._kinds]
        hosted = {role for roles in processes.values() for role in roles}
        self._points = [point for point in POINTS if role_of(point) in hosted]
        self._bag: list[str] = []
        self._count = 0

    def next(self) -> Strike:
        """The next strike."""
        random = self._random
        self._count += 1
        (kind,) = random.choices(self._kinds, self._weights)
        is_kill = kind not in ("stop", "starve")
        point = self._draw_point(is_kill=is_kill)
        names = random.sample(self._processes, len(self._processes))
        if point in POINTS:
            host = next(name for name in names if role_of(point) in self._roles[name])
            names.remove(host)
            names.insert(0, host)
        many = {"pair": 2, "all": len(names)}.get(kind, 1)
        hold_ms = {"stop": random.randint(*STOP_MS), "starve": random.randint(*STARVE_MS)}
        is_hasty = random.random() < HASTE_SHARE
        return Strike(
            number=self._count,
            kind=kind,
            processes=tuple(names[:many]),
            point=point,
            hold_ms=hold_ms.get(kind, 0),
            is_hasty=is_hasty,
            pause_s=random.uniform(*(HASTE_S if is_hasty else CALM_S)),
        )

    def _draw_point(self, *, is_kill: bool) -> str:
        random = self._random
        aims_at_point = random.random() < POINT_SHARE
        if not is_kill or not aims_at_point:
            return random.choice((ANYWHERE, ANYWHERE, *RINGS))
        if not self._bag:
            self._bag = random.sample(self._points, len(self._points))
        return self._bag.pop()
