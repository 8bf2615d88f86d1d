"""What came of a chaos run, as one object and as lines for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tools.chaos.evidence import Finding
from tools.chaos.recovery import Times
from tools.chaos.soak import SoakReport
from tools.chaos.venue_faults import FaultCounts

SAFE_P50_MS: Final = 500.0
SAFE_P99_MS: Final = 1_500.0
TRADING_P50_MS: Final = 3_000.0
"""Targets of the recovery times; missing them is a violation with ``strict`` only."""
MIB: Final = 1_048_576


class RoleTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery of one role, milliseconds."""

    safe: Times
    """Killed, also by the supervisor after a long stop, until it beats again, is ready, and
    execution can cancel."""
    trading: Times
    """Killed, until orders leave again."""
    resumed: Times
    """Allowed to go on after a stop, until it beats and is ready."""
    hindered: Times
    """As ``safe``, while a fault of the venue kept the role from it: not part of ``safe``."""


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
    mutant: str
    """The deliberately broken variant that ran; empty: the real code."""
    seconds: float
    strikes: int
    kills: dict[str, int]
    """Deaths by role: a process takes all its roles with it."""
    kill_count: int
    """Processes killed."""
    stops: dict[str, int]
    stop_count: int
    starved: dict[str, int]
    points: dict[str, int]
    kinds: dict[str, int]
    venue_faults: dict[str, FaultCounts]
    """By kind."""
    venue_fault_count: int
    incidents: dict[str, int]
    """Why trading had stopped until it was armed again, and how often."""
    recovery_ms: dict[str, RoleTimes]
    halt_ms: HaltTimes | None
    soak: SoakReport | None
    orders: int
    amends: int
    fills: int
    intents: int
    decisions: int
    by_hand: int
    """Intents of somebody who trades by hand."""
    by_hand_deaths: int
    paper_orders: int
    paper_fills: int
    adjustments: int
    """Lasting differences between account and venue that were repaired."""
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
        f"kills   {report.kill_count}: {_counts(report.kills)}",
        f"stops   {report.stop_count}: {_counts(report.stops)}; starved {_counts(report.starved)}",
        f"points  {_counts(report.points)}",
        f"venue   {report.venue_fault_count} faults: {_faults(report)}",
        f"armed   {_counts(report.incidents)}",
        f"orders  {report.orders} at the venue, {report.amends} amends, {report.fills} fills,"
        f" {report.intents} intents, {report.decisions} decisions",
        f"beside  {report.by_hand} intents by hand in {report.by_hand_deaths} lives;"
        f" {report.paper_orders} orders on paper, {report.paper_fills} fills",
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
    if report.soak is not None:
        lines += [
            f"{name:<11}{one.memory_bytes.early / MIB:>8.1f} MiB to"
            f" {one.memory_bytes.late / MIB:.1f} MiB, {one.descriptors.late:g} files"
            for name, one in report.soak.processes.items()
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


def too_slow(recovery_ms: Mapping[str, RoleTimes]) -> list[str]:
    """Which targets were missed, in words."""
    found = []
    for role, one in recovery_ms.items():
        for what, took_ms, target_ms in (
            ("safe p50", one.safe.p50, SAFE_P50_MS),
            ("safe p99", one.safe.p99, SAFE_P99_MS),
            ("trading p50", one.trading.p50, TRADING_P50_MS),
        ):
            if took_ms > target_ms:
                found.append(f"{role}: {what} {took_ms:g} ms, the target is {target_ms:g}")
    return found


def _faults(report: Report) -> str:
    counts = report.venue_faults.items()
    return ", ".join(f"{kind} {one.begun}/{one.hits}" for kind, one in counts) or "none"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
