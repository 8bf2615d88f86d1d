"""All deliberately broken variants, one after the other: is each caught, and by what?"""

from __future__ import annotations

from typing import Final

import click
import msgspec

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK
from tools.chaos.flow import perform
from tools.chaos.options import Options
from tools.chaos.report import Report
from tools.chaos.trials import TRIALS

MINUTES: Final = 0.5
"""Most trials end by themselves long before."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one broken variant."""

    mutant: str
    text: str
    caught_by: tuple[str, ...]
    """Invariants that it broke."""
    sound_breaks: tuple[str, ...]
    """Invariants that the same trial breaks with the real code: there must be none."""

    @property
    def is_caught(self) -> bool:
        """Whether the variant fails where the real code passes."""
        return bool(self.caught_by) and not self.sound_breaks


def run_mutants(options: Options) -> int:
    """Try every variant, and the real code in the same situation; 1: one was not caught.

    Raises:
        HftError: the system cannot start.
    """
    verdicts: list[Verdict] = []
    for name, trial in TRIALS.items():
        chosen = msgspec.structs.replace(options, mutant=name, minutes=MINUTES)
        sound, broken = perform(chosen, is_sound=True), perform(chosen)
        if sound is None or broken is None:
            return EXIT_CHECK_FAILED
        verdict = Verdict(
            mutant=name, text=trial.text, caught_by=_broken(broken), sound_breaks=_broken(sound)
        )
        verdicts.append(verdict)
        if not options.as_json:
            click.echo(_line(verdict))
    if options.as_json:
        click.echo(msgspec.json.encode(verdicts).decode())
    return EXIT_OK if all(verdict.is_caught for verdict in verdicts) else EXIT_CHECK_FAILED


def _broken(report: Report) -> tuple[str, ...]:
    return tuple(finding.invariant for finding in report.findings)


def _line(verdict: Verdict) -> str:
    what = "caught" if verdict.is_caught else "NOT CAUGHT"
    by = "; ".join(verdict.caught_by) or "no invariant"
    sound = f" (the real code breaks: {'; '.join(verdict.sound_breaks)})"
    return f"{verdict.mutant:<20}{what:<12}{by}{sound if verdict.sound_breaks else ''}"
