"""What happened at the venue and when, for audits: requests, halts, bans, clock steps, complaints.

Times come twice: the venue's clock in milliseconds, as events and replies tell it, and the
monotonic clock of this host in nanoseconds, which no fault steps and which processes of one host
share.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hft.units import format_e8

ENTRIES_MAX: Final = 10_000


class Moment(NamedTuple):
    """One point in time on both clocks."""

    ms: int
    """The venue's clock."""
    ns: int
    """Monotonic, of this host."""


class Origin(NamedTuple):
    """Where a request came from and when it arrived."""

    arrived: Moment
    source: str
    """``rest`` or ``ws``, or ``venue``: nobody outside asked for it."""
    endpoint: str = ""
    client: str = ""
    """Address, port and user agent, as far as known."""
    api_key: str = ""


class Amendment(NamedTuple):
    """One accepted change of an order."""

    origin: Origin
    price_e8: int
    qty_e8: int
    modify_id: str

    def row(self) -> dict[str, Any]:
        """For the truth."""
        return {
            "arrived": self.origin.arrived.ms,
            "arrived_ns": self.origin.arrived.ns,
            "source": self.origin.source,
            "price": format_e8(self.price_e8),
            "qty": format_e8(self.qty_e8),
            "modify_id": self.modify_id,
        }


class Violation(NamedTuple):
    """Something a client did that it should not have done."""

    time_ms: int
    time_ns: int
    kind: str
    detail: str
    endpoint: str
    client: str
    api_key: str

    def row(self) -> dict[str, Any]:
        """For the truth."""
        return {
            "time": self.time_ms,
            "time_ns": self.time_ns,
            "kind": self.kind,
            "detail": self.detail,
            "endpoint": self.endpoint,
            "client": self.client,
            "api_key": self.api_key,
        }


@dataclass(slots=True, eq=False)
class Span:
    """A state that began and, unless it lasts, ended: a halt of a symbol, a ban of an address."""

    subject: str
    detail: str
    begun: Moment
    ended: Moment | None = None
    told: Moment | None = None
    """Of a ban: when a client first heard of it."""

    def row(self, subject: str, detail: str) -> dict[str, Any]:
        """For the truth, under the names of its members; what lasts has no end."""
        row: dict[str, Any] = {
            subject: self.subject,
            detail: self.detail,
            "from": self.begun.ms,
            "to": self.ended.ms if self.ended else None,
            "from_ns": self.begun.ns,
            "to_ns": self.ended.ns if self.ended else None,
        }
        if subject == "address":
            row["told"] = self.told.ms if self.told else None
            row["told_ns"] = self.told.ns if self.told else None
        return row


@dataclass(slots=True, eq=False)
class History:
    """The first entries of each kind."""

    halts: list[Span] = field(default_factory=list)
    bans: list[Span] = field(default_factory=list)
    clock_steps: list[tuple[Moment, int]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    _halted: dict[str, Span] = field(default_factory=dict)

    def note_status(self, symbol: str, status: str, now_ms: int, *, is_halt: bool) -> None:
        """A symbol's status changed."""
        moment = Moment(now_ms, time.monotonic_ns())
        span = self._halted.pop(symbol, None)
        if span is not None:
            span.ended = moment
        if is_halt and len(self.halts) < ENTRIES_MAX:
            span = self._halted[symbol] = Span(symbol, status, moment)
            self.halts.append(span)

    def note_ban(self, address: str, reason: str, now_ms: int, length_ms: int) -> Span:
        """An address is banned for a while; the span is kept up to date by its limit."""
        now_ns = time.monotonic_ns()
        span = Span(
            address,
            reason,
            Moment(now_ms, now_ns),
            Moment(now_ms + length_ms, now_ns + length_ms * 1_000_000),
        )
        if len(self.bans) < ENTRIES_MAX:
            self.bans.append(span)
        return span

    def note_clock_step(self, now_ms: int, milliseconds: int) -> None:
        """The venue's clock is about to jump."""
        if len(self.clock_steps) < ENTRIES_MAX:
            self.clock_steps.append((Moment(now_ms, time.monotonic_ns()), milliseconds))

    def note_violation(self, kind: str, detail: str, now_ms: int, origin: Origin | None) -> None:
        """A client did what it should not have done."""
        if len(self.violations) < ENTRIES_MAX:
            endpoint, client, api_key = origin[2:] if origin else ("", "", "")
            self.violations.append(
                Violation(now_ms, time.monotonic_ns(), kind, detail, endpoint, client, api_key)
            )

    def rows(self) -> dict[str, Any]:
        """For the truth."""
        return {
            "halts": [span.row("symbol", "status") for span in self.halts],
            "bans": [span.row("address", "reason") for span in self.bans],
            "clock_steps": [
                {"time": moment.ms, "time_ns": moment.ns, "milliseconds": milliseconds}
                for moment, milliseconds in self.clock_steps
            ],
            "violations": [violation.row() for violation in self.violations],
        }
