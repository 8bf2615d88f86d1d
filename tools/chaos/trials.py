"""Trials: for every deliberately broken variant the situation in which it must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hft.errors import UsageError
from tools.chaos.points import FENCE
from tools.chaos.striker import Pause, Striker
from tools.chaos.venue_faults import VenueFaults
from tools.demo.settings import SYMBOLS
from tools.system.assembly import System

CALM_S: Final = 0.3
ROUNDS: Final = 2
REPETITIONS: Final = 20
POINT_S_MAX: Final = 4.0
FREEZE_MS: Final = 700
"""Longer than a permit holds, shorter than the supervisor lets anybody hang."""
SILENCE_S: Final = 4.0


@dataclass(slots=True)
class Cast:
    """Who takes part in a run."""

    system: System
    striker: Striker
    faults: VenueFaults
    recover: Callable[[int], bool]
    rounds: int = 0
    frozen_at_fence: list[Pause] = field(default_factory=list)

    def host(self, role: str) -> str:
        """Name of the process that a role runs in."""
        return self.system.plan.process_of(role).name


Act = Callable[[Cast], bool]
"""One round of a trial; True: it is over."""


class Trial(NamedTuple):
    """A broken variant, where it runs, and what makes it visible."""

    text: str
    act: Act
    topology: str = "compact"


def _repeat_fills(cast: Cast) -> bool:
    """The venue tells its events twice, at once and later."""
    cast.faults.begin("duplicate_user")
    cast.faults.begin("repeat_filled", seconds=1.0)
    cast.striker.run_for(CALM_S)
    cast.rounds += 1
    return cast.rounds >= REPETITIONS


def _dies_at(point: str) -> Act:
    """The role dies at a point, and has to come back from it, a few times."""

    def act(cast: Cast) -> bool:
        role = point.partition(".")[0]
        cast.rounds += 1
        cast.striker.run_for(CALM_S)
        name = cast.host(role)
        child = next(c for c in cast.system.supervisor.children if c.plan.name == name)
        cast.striker.kill_at(point, child, POINT_S_MAX)
        return not cast.recover(cast.rounds) or cast.rounds >= ROUNDS

    return act


def _freeze_at_fence(cast: Cast) -> bool:
    """Execution stands still just before its last look, until the permit is over."""
    cast.rounds += 1
    pause = cast.striker.stop_at(FENCE, cast.host("execution"), FREEZE_MS)
    if pause is not None:
        cast.frozen_at_fence.append(pause)
    cast.striker.run_for(CALM_S)
    return not cast.recover(cast.rounds) or len(cast.frozen_at_fence) >= ROUNDS


def _die_anywhere(cast: Cast) -> bool:
    """The strategy dies, so that a new life of it chooses ids."""
    cast.rounds += 1
    cast.striker.kill(cast.host("strategy"))
    cast.striker.run_for(CALM_S)
    return not cast.recover(cast.rounds) or cast.rounds >= ROUNDS


def _silence(cast: Cast) -> bool:
    """The market data of one symbol after the other falls silent."""
    symbol = SYMBOLS[cast.rounds % len(SYMBOLS)]
    cast.rounds += 1
    cast.faults.begin("freeze_market", seconds=SILENCE_S, symbol=symbol)
    cast.striker.run_for(SILENCE_S + CALM_S)
    return cast.rounds >= len(SYMBOLS)


TRIALS: Final = {
    "no_dedupe": Trial("fills are not remembered by their trade ids", _repeat_fills),
    "journal_after_send": Trial(
        "the journal entry follows the bytes", _dies_at("execution.after_send")
    ),
    "permit_ignored": Trial("nobody looks at the permit before a send", _freeze_at_fence),
    "turns_clock": Trial("permit and age are checked with the turn's clock", _freeze_at_fence),
    "id_reused": Trial("a new life chooses the ids of the old one", _die_anywhere),
    "cursor_first": Trial(
        "risk commits an intent before its decision is out", _dies_at("risk.after_decide")
    ),
    "one_slot": Trial("position cells are overwritten in place", _dies_at("account.mid_cell")),
    "quiet_source": Trial("nobody asks how old the market data is", _silence),
}
"""By the name of the broken variant."""


def check_mutant(name: str) -> None:
    """Refuse a variant that does not exist.

    Raises:
        UsageError: with the names of those that do.
    """
    if name and name not in TRIALS:
        raise UsageError(f"there is no mutant {name}.", remedy=f"Mutants: {', '.join(TRIALS)}.")
