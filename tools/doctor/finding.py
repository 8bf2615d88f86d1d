"""What a check says: a verdict, the fact, why it matters, the commands that mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from tools.doctor.host import Host

Verdict = Literal["fine", "warning", "problem", "note", "skipped"]
Group = Literal["CPU", "memory", "kernel", "network", "time", "application"]
SYMBOLS: Final[dict[Verdict, str]] = {
    "fine": "✓",
    "warning": "!",
    "problem": "✗",
    "note": "·",
    "skipped": "-",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report."""

    check: str
    """Which check: stable, for scripts."""
    verdict: Verdict
    """``problem``: the system does not start, is not safe, or stands still for milliseconds.
    ``warning``: it is slower than it could be. ``note``: to know. ``skipped``: not to be judged
    here."""
    fact: str
    """What was found, or why it cannot be judged."""
    why: str = ""
    """What it costs, for somebody who has never tuned a host. Empty when all is well."""
    fix: tuple[str, ...] = ()
    """Commands for a shell, in order."""
    group: Group = "CPU"


Check = Callable[["Host"], Iterable[Finding]]
"""Looks at one thing of a host, and at nothing else."""


def fine(check: str, fact: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict="fine", fact=fact)


def note(check: str, fact: str, why: str = "", *fix: str) -> Finding:
    """Neither good nor bad."""
    return Finding(check=check, verdict="note", fact=fact, why=why, fix=fix)


def skipped(check: str, reason: str, *fix: str) -> Finding:
    """It cannot be judged, or does not apply."""
    return Finding(check=check, verdict="skipped", fact=reason, fix=fix)


def warning(check: str, fact: str, why: str, *fix: str) -> Finding:
    """It costs speed."""
    return Finding(check=check, verdict="warning", fact=fact, why=why, fix=fix)


def problem(check: str, fact: str, why: str, *fix: str) -> Finding:
    """It has to be mended."""
    return Finding(check=check, verdict="problem", fact=fact, why=why, fix=fix)


def grouped(group: Group, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, told to which group they belong."""
    for finding in findings:
        yield msgspec.structs.replace(finding, group=group)


def sysctl(*settings: str) -> str:
    """The command that sets kernel variables until the next boot."""
    return f"sudo sysctl -w {' '.join(settings)}"


def cpu_text(cpus: Iterable[int]) -> str:
    """Cpus in the kernel's list format: ``2-5,8``."""
    return ",".join("-".join(map(str, run)) for run in _runs(cpus))


def named(cpus: Iterable[int]) -> str:
    """``cpu 3``, or ``cpus 2-5,8``."""
    chosen = set(cpus)
    return f"cpu{'s' * (len(chosen) != 1)} {cpu_text(chosen)}"


def braces(numbers: Iterable[int]) -> str:
    """Numbers as bash expands them inside of a path: ``3``, ``{2,3}``, ``{2..5}``."""
    runs = _runs(numbers)
    if len(runs) == 1 and len(runs[0]) == 1:
        return str(runs[0][0])
    if len(runs) == 1:
        return "{" + "..".join(map(str, runs[0])) + "}"
    parts = (str(run[0]) if len(run) == 1 else "{" + "..".join(map(str, run)) + "}" for run in runs)
    return "{" + ",".join(parts) + "}"


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending runs without a gap: each its first number, and its last when that is another."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return runs
