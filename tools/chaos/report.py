"""What came of a chaos run, as one object and as lines for a person."""

from __future__ import annotations

import msgspec

from tools.chaos.audit import Finding
from tools.chaos.recovery import Times


class RoleTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery of one role, milliseconds."""

    safe: Times
    """Killed, also by the supervisor after a long stop, until it beats again, is ready, and
    execution can cancel."""
    trading: Times
    """Killed, until orders leave again."""
    resumed: Times
    """Allowed to go on after a stop, until it beats and is ready."""


class HaltTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Drills of the halt, milliseconds."""

    first_cancel: Times
    """Latched, until the first cancel is journalled: its bytes follow at once."""
    nothing_open: Times
    """Latched, until nothing is open at the venue."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON object of ``hft chaos --json``."""

    name: str
    topology: str
    seed: int
    seconds: float
    strikes: int
    kills: dict[str, int]
    stops: dict[str, int]
    points: dict[str, int]
    kinds: dict[str, int]
    recovery_ms: dict[str, RoleTimes]
    halt_ms: HaltTimes | None
    orders: int
    amends: int
    fills: int
    intents: int
    decisions: int
    refusals: dict[str, int]
    """Decisions against an intent, and approved orders that were not sent, by reason."""
    restarts: int
    hung: tuple[str, ...]
    """What the supervisor killed because it did not beat: stopped for long, mostly."""
    venue_complaints: dict[str, int]
    """Rules of the venue that requests of ours broke, by kind."""
    checked: dict[str, int]
    lost: dict[str, int]
    """Records of each ring that the audit could not see."""
    violations: int
    findings: tuple[Finding, ...]
    passed: bool


def text(report: Report) -> str:
    """The report for a person."""
    lines = [
        f"{report.strikes} strikes in {report.seconds:.0f} s: {_counts(report.kinds)}",
        f"kills   {_counts(report.kills)}",
        f"stops   {_counts(report.stops)}",
        f"points  {_counts(report.points)}",
        f"orders  {report.orders} at the venue, {report.amends} amends, {report.fills} fills,"
        f" {report.intents} intents, {report.decisions} decisions",
        "",
        f"{'role':<11}{'safe p50':>10}{'p99':>9}{'max':>9}"
        f"{'trading p50':>14}{'p99':>9}{'max':>9}   ms",
    ]
    for role, one in report.recovery_ms.items():
        safe, trading = one.safe, one.trading
        lines.append(
            f"{role:<11}{safe.p50:>10.0f}{safe.p99:>9.0f}{safe.max:>9.0f}"
            f"{trading.p50:>14.0f}{trading.p99:>9.0f}{trading.max:>9.0f}"
        )
    if report.halt_ms is not None:
        first, empty = report.halt_ms.first_cancel, report.halt_ms.nothing_open
        lines += [
            f"halt: first cancel p50 {first.p50:g} p99 {first.p99:g} max {first.max:g} ms,"
            f" nothing open p50 {empty.p50:g} p99 {empty.p99:g} max {empty.max:g} ms"
            f" ({empty.count} drills)"
        ]
    lines.append(f"refused {_counts(report.refusals)}")
    if report.venue_complaints:
        lines.append(f"the venue complained: {_counts(report.venue_complaints)}")
    lines += ["", *_verdict(report)]
    return "\n".join(lines)


def _verdict(report: Report) -> list[str]:
    if report.passed:
        return [f"no violation: {len(report.checked)} invariants audited"]
    lines = [f"{report.violations} violations"]
    for finding in report.findings:
        lines.append(f"  {finding.invariant}: {finding.count}")
        lines += [f"    {one}" for one in finding.evidence]
    return lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
