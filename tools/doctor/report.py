"""The report as text: one line for what is well; else the fact, why, and the command."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from tools.doctor.finding import SYMBOLS, Finding, Verdict
from tools.doctor.host import Host
from tools.terminal import paint

WIDTH: Final = 80
LABEL: Final = "    fix  "
COLOURS: Final[dict[Verdict, str]] = {
    "fine": "green",
    "warning": "yellow",
    "problem": "red",
    "note": "cyan",
    "skipped": "bright_black",
}
_INDENT: Final = " " * 6
_BREAKS: Final = re.compile(r"(?<=\|) (?=sudo )|(?<=&&) |(?<=; do) |(?<=;) (?=done)")
"""Where a shell lets a command go on in the next line, without a backslash."""


def head(host: Host, judged_for: str) -> list[str]:
    """What was looked at."""
    cores, cpus = len(host.topology.cores), len(host.topology.cpus)
    parts = [f"{cores} core{'s' * (cores != 1)}"]
    parts += [f"{cpus} threads"] if cpus != cores else []
    parts += [f"{len(host.topology.nodes)} NUMA nodes"] if len(host.topology.nodes) > 1 else []
    text = f"hft doctor · {host.model} · {' · '.join(parts)} · {judged_for}"
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def body(findings: Sequence[Finding]) -> Iterator[str]:
    """Every finding, group by group."""
    shown: dict[tuple[str, ...], str] = {}
    for group, members in groupby(findings, key=lambda one: one.group):
        yield ""
        yield group if group.isupper() else group.capitalize()
        for finding in members:
            yield from _finding(finding, shown)


def _finding(finding: Finding, shown: dict[tuple[str, ...], str]) -> Iterator[str]:
    symbol = paint(SYMBOLS[finding.verdict], COLOURS[finding.verdict])
    first, *rest = _wrap(finding.fact, "    ")
    yield f"  {symbol} {first[4:]}"
    yield from rest
    if finding.why:
        yield from (paint(line, "bright_black") for line in _wrap(finding.why, _INDENT))
    if not finding.fix:
        return
    if finding.fix in shown:
        yield f"{LABEL}as above: {shown[finding.fix]}"
        return
    shown[finding.fix] = finding.check
    label = LABEL
    for command in finding.fix:
        for line in command_lines(command):
            yield label + line
            label = " " * len(LABEL)


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def command_lines(command: str) -> list[str]:
    """The command in lines that can be copied together; broken only where a shell allows it.

    A path that is longer than a line stays whole: what cannot be copied is no use.
    """
    room = WIDTH - len(LABEL)
    if len(command) <= room or command.startswith("#"):
        return command.splitlines() if not command.startswith("#") else _comment(command, room)
    lines: list[str] = []
    for part in _BREAKS.split(command):
        if lines and len(lines[-1]) + 1 + len(part) <= room:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _comment(text: str, room: int) -> list[str]:
    first, *rest = textwrap.wrap(text, room - 4, break_on_hyphens=False)
    return [first, *(f"# {line}" for line in rest)]


def foot(host: Host, findings: Sequence[Finding], *, measured: bool) -> Iterator[str]:
    """What kind of machine it is, the count, and what can be done next."""
    counts = Counter(finding.verdict for finding in findings)
    for text in _kind(host, counts["skipped"]):
        yield ""
        yield from _wrap(text, "")
    if any(_is_volatile(line) for finding in findings for line in finding.fix):
        yield ""
        yield from _wrap(
            "Commands with sysctl and tee hold until the next boot. `make install` brings a sysctl"
            " file and a tuned profile that keep them.",
            "",
        )
    parts = [
        _count(counts["problem"], "problem"),
        _count(counts["warning"], "warning"),
        f"{counts['fine']} fine",
    ]
    parts += [f"{counts['note']} to know"] if counts["note"] else []
    parts += [f"{counts['skipped']} not judged"] if counts["skipped"] else []
    yield ""
    colour = next((COLOURS[v] for v in ("problem", "warning") if counts[v]), COLOURS["fine"])
    yield paint(", ".join(parts) + ".", colour)
    if not measured:
        yield "Next: hft doctor --noise 10 measures how quiet the cores are."


def _kind(host: Host, skipped: int) -> Iterator[str]:
    """Said plainly: what cannot be seen or mended from here."""
    unseen = f"; {skipped} checks do not apply" if skipped else ""
    if host.is_container:
        yield (
            f"This is a container: the kernel and its settings belong to the machine below{unseen}."
            " Run the commands with sudo there, not here."
        )
    if host.virtual:
        yield (
            f"This is a virtual machine ({host.virtual}): the hypervisor rules the real cores,"
            f" their frequency and their sleep{'' if host.is_container else unseen}. Settings"
            " here keep this machine's own programs apart, not other guests."
        )


def _is_volatile(command: str) -> bool:
    return command.startswith("sudo sysctl") or "sudo tee /sys" in command or "/proc/" in command


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}"
