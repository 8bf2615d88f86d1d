"""What the faults share: the record of each, and the list of what is due later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from tools.venue.fault_kinds import Choice

RECORDS_MAX: Final = 10_000


@dataclass(slots=True, eq=False)
class Fault:
    """One fault that was begun."""

    kind: str
    choice: Choice
    random: Random
    """Draws made while it works; seeded by kind and ordinal."""
    time_ms: int
    until_s: float
    """Of the clock of the faults."""
    left: int
    """Hits that may still come; meaningless when ``choice.count`` is 0."""
    hits: int = 0
    details: list[str] = field(default_factory=list)

    def is_over(self, now_s: float) -> bool:
        """Whether it hits nothing more."""
        return now_s >= self.until_s or (self.choice.count > 0 and self.left <= 0)


class Ledger:
    """Counts faults begun and what they hit; keeps the first ones in full."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.records: list[Fault] = []

    def begin(self, fault: Fault) -> None:
        """A fault begins."""
        self.begun[fault.kind] += 1
        if len(self.records) < RECORDS_MAX:
            self.records.append(fault)

    def hit(self, fault: Fault, detail: str = "") -> None:
        """It hit a frame, a request, a connection, an order, ..."""
        fault.hits += 1
        fault.left -= 1
        self.hits[fault.kind] += 1
        if detail and len(fault.details) < 10:
            fault.details.append(detail)

    def counts(self) -> dict[str, Any]:
        """Both counts of every kind that was begun."""
        return {
            kind: {"begun": begun, "hits": self.hits[kind]}
            for kind, begun in sorted(self.begun.items())
        }

    def rows(self) -> list[dict[str, Any]]:
        """The faults begun, in order."""
        return [
            {
                "time": fault.time_ms,
                "kind": fault.kind,
                "symbol": fault.choice.symbol,
                "seconds": fault.choice.seconds,
                "milliseconds": fault.choice.milliseconds,
                "executes": fault.choice.executes,
                "hits": fault.hits,
                "details": fault.details,
            }
            for fault in self.records
        ]


class Agenda:
    """What is due later. Turned by the venue's driver, so that tests can turn it by hand."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self.clock_s = clock_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing will be due."""
        return not self._due

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.clock_s() + delay_s, act)

    def at(self, due_s: float, act: Callable[[], None]) -> None:
        """Do something then; what is due at the same time is done in the order it was noted."""
        self._number += 1
        heappush(self._due, (due_s, self._number, act))

    def turn(self) -> None:
        """Do what is due."""
        now_s = self.clock_s()
        while self._due and self._due[0][0] <= now_s:
            heappop(self._due)[2]()
