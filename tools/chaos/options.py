"""What the command line may choose."""

from __future__ import annotations

from typing import Final

import msgspec

from hft.errors import UsageError
from tools.venue.fault_kinds import KINDS as FAULT_KINDS

KINDS: Final = ("kill", "stop", "starve", "pair", "all")
"""What may happen to the processes of a running system."""
HALT: Final = "halt"
SOAK: Final = "soak"
ALONE: Final = (HALT, SOAK)
"""Drills of the halt, and load without any fault: each is run alone."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of ``hft chaos``."""

    minutes: float = 1.0
    seed: int = 1
    topology: str = "compact"
    as_json: bool = False
    only: tuple[str, ...] = ()
    """Kinds of strikes and of venue faults to choose from; empty: all of both."""
    faults: bool = True
    """Whether the venue misbehaves."""
    strict: bool = False
    """Whether a missed target of the recovery times is a violation."""
    drills: int = 100
    """With ``only`` halt: how many, unless the time ends first."""
    mutant: str = ""
    """A deliberately broken variant to run."""

    @property
    def strikes(self) -> tuple[str, ...]:
        """Kinds of strikes to choose from; none: nobody is struck."""
        if not self.only:
            return KINDS
        return tuple(kind for kind in self.only if kind in KINDS)

    @property
    def fault_kinds(self) -> tuple[str, ...]:
        """Kinds of venue faults to choose from; none: the venue behaves."""
        if not self.faults or self.is_alone:
            return ()
        if not self.only:
            return tuple(FAULT_KINDS)
        return tuple(kind for kind in self.only if kind in FAULT_KINDS and kind not in ALONE)

    @property
    def is_alone(self) -> bool:
        """Whether it is drills or a soak."""
        return self.only != () and self.only[0] in ALONE

    @property
    def has_company(self) -> bool:
        """Whether somebody trades on paper and by hand beside the strategies.

        Not in drills of the halt and trials: both are about the strategies' orders alone.
        """
        return HALT not in self.only and not self.mutant

    def check(self) -> None:
        """Refuse kinds that do not exist.

        Raises:
            UsageError: a kind is unknown, or what is run alone is mixed with others.
        """
        known = (*KINDS, *ALONE, *FAULT_KINDS)
        unknown = [kind for kind in self.only if kind not in known]
        if unknown:
            raise UsageError(
                f"there is no kind {', '.join(unknown)}.",
                remedy=f"Strikes: {', '.join(KINDS)}. Alone: {', '.join(ALONE)}."
                f" Venue faults: {', '.join(FAULT_KINDS)}.",
            )
        alone = [kind for kind in self.only if kind in ALONE]
        if alone and len(self.only) > 1:
            raise UsageError(f"{alone[0]} does not mix with other kinds.", remedy="Run it alone.")
