"""From shared memory to the log: alerts, states and counters of hot roles become lines.

The watcher looks by the clock and compares with its last look. What was there before its first
look is where it starts from and no news; only alerts have a memory of their own, so that each is
logged once however often this process starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from hft import counters
from hft.counters import CounterSpec, GaugeSpec, RoleState
from hft.records import AlertCode, TradingState
from hft.units import NS_PER_S, format_e8
from tools.logs.log_file import FOLDER
from tools.logs.writing import Log
from tools.metrics.watched import View

ALERT_LEVELS: Final = {1: "info", 2: "warning", 3: "error"}
"""By the severity in an alert's record."""
ALERTS_FILE: Final = "alerts.json"
ALERTS_PER_LOOK_MAX: Final = 256
COUNTER_PAUSE_NS: Final = 10 * NS_PER_S
"""One counter is worth a line no more often than this."""


class Watch(NamedTuple):
    """A gauge whose change is news."""

    role: str
    gauge: GaugeSpec
    is_good_at_zero: bool
    level: str
    bad: str
    good: str


WATCHES: Final = (
    Watch("feed", counters.SESSION_UP, False, "warning", "market session down",
          "market session up"),
    Watch("execution", counters.SESSION_UP, False, "warning", "order session down",
          "order session up"),
    Watch("account", counters.SESSION_UP, False, "warning", "account session down",
          "account session up"),
    Watch("execution", counters.UNKNOWN_ORDERS, True, "warning", "orders are unknown",
          "no order is unknown"),
    Watch("account", counters.DIFFERS, True, "error", "account differs from the venue",
          "account agrees with the venue"),
    Watch("execution", counters.BANNED_UNTIL_MS, True, "error", "banned by the venue",
          "the ban is over"),
    Watch("execution", counters.PAUSED_UNTIL_MS, True, "warning", "paused by the venue",
          "the pause is over"),
    Watch("feed", counters.WAITS, True, "warning", "waits", "goes on"),
    Watch("execution", counters.WAITS, True, "warning", "waits", "goes on"),
    Watch("account", counters.WAITS, True, "warning", "waits", "goes on"),
    Watch("recorder", counters.WAITS, True, "error", "the disk takes no journal", "goes on"),
)  # fmt: skip
COUNTED: Final = (
    ("recorder", counters.GAPS_COPIED, "error"),
    ("execution", counters.OVERFILLS, "error"),
    ("execution", counters.NEVER_ACCEPTED, "warning"),
    ("feed", counters.BOOK_MISMATCHES, "error"),
    ("feed", counters.GAPS, "info"),
    ("feed", counters.STALE, "warning"),
    ("feed", counters.GARBAGE, "warning"),
    ("strategy", counters.PLUGIN_ERRORS, "warning"),
    ("strategy", counters.LAPPED, "warning"),
    ("account", counters.FOREIGN_FILLS, "warning"),
    ("paper", counters.PAPER_LOST, "warning"),
    ("paper", counters.LAPPED, "warning"),
)
"""Counters that should stand still, or nearly; those of a role that is not there do."""


class AlertsSeen(msgspec.Struct, frozen=True):
    """Contents of ``alerts.json``: up to where the alerts of which system stand in the log."""

    started_wall_ns: int
    seq: int


class RoleLook(NamedTuple):
    """A role as it was at one look."""

    epoch: int
    state: int
    error: str


class Watcher:
    """Compares one life of a system with itself a moment ago."""

    def __init__(self, view: View, log: Log) -> None:
        self._view = view
        self._log = log
        self._symbols = {one.instrument_id: one.symbol for one in view.plan.instruments}
        self._roles = {role: self._look_at(role) for role in view.attached.pages}
        self._gauges = [self._is_bad(watch) for watch in WATCHES]
        self._counts = [self._count(role, counter) for role, counter, _ in COUNTED]
        self._counted_ns = [0] * len(COUNTED)
        self._halt = view.attached.halt.reason()
        self._trading = self._trading_state()
        self._alerts_path = Path(view.plan.state_dir) / FOLDER / ALERTS_FILE
        view.attached.alerts.seek(self._first_alert())
        log.info(
            "watching", source="watcher", system=view.plan.name, mode=view.plan.config.system.mode
        )

    def step(self, now_ns: int) -> None:
        """Look once and log what is new."""
        self._log_roles()
        self._log_halt()
        self._log_gauges()
        self._log_counters(now_ns)
        self._log_alerts()

    # --- roles and the halt -----------------------------------------------------------------------

    def _look_at(self, role: str) -> RoleLook:
        page = self._view.attached.pages[role]
        return RoleLook(page.epoch, page.state, page.error)

    def _log_roles(self) -> None:
        for role, before in self._roles.items():
            now = self._look_at(role)
            if now == before:
                continue
            self._roles[role] = now
            pid = self._view.attached.pages[role].pid
            if now.epoch != before.epoch and before.state != RoleState.NEVER_STARTED:
                self._log.warning("started again", source=role, epoch=now.epoch, pid=pid)
            if now.error and now.error != before.error:
                self._log.error("failed", source=role, text=now.error.strip())
            if now.state != before.state:
                name = RoleState(now.state).name.lower()
                write = self._log.error if now.state == RoleState.FAILED else self._log.info
                write(f"is {name}", source=role, pid=pid)

    def _trading_state(self) -> TradingState:
        page = self._view.attached.pages["risk"]
        return TradingState(page.gauge(counters.PERMIT_STATE.id))

    def _log_halt(self) -> None:
        reason = self._view.attached.halt.reason()
        if reason != self._halt:
            if reason:
                self._log.warning("halted", source="halt", text=reason)
            else:
                self._log.info("the halt is taken back", source="halt")
            self._halt = reason
        trading = self._trading_state()
        if trading is not self._trading:
            self._log.info(f"grants {trading.name}", source="risk", before=self._trading.name)
            self._trading = trading

    # --- gauges and counters ----------------------------------------------------------------------

    def _is_bad(self, watch: Watch) -> bool:
        value = self._view.attached.pages[watch.role].gauge(watch.gauge.id)
        return bool(value) if watch.is_good_at_zero else not value

    def _log_gauges(self) -> None:
        for index, watch in enumerate(WATCHES):
            is_bad = self._is_bad(watch)
            if is_bad == self._gauges[index]:
                continue
            self._gauges[index] = is_bad
            value = self._view.attached.pages[watch.role].gauge(watch.gauge.id)
            if is_bad:
                write = self._log.error if watch.level == "error" else self._log.warning
                write(watch.bad, source=watch.role, **{watch.gauge.name: value})
            else:
                self._log.info(watch.good, source=watch.role)

    def _count(self, role: str, counter: CounterSpec) -> int:
        page = self._view.attached.pages.get(role)
        return page.counter(counter.id) if page is not None else 0

    def _log_counters(self, now_ns: int) -> None:
        for index, (role, counter, level) in enumerate(COUNTED):
            more = self._count(role, counter) - self._counts[index]
            if more <= 0 or now_ns - self._counted_ns[index] < COUNTER_PAUSE_NS:
                continue
            self._counts[index] += more
            self._counted_ns[index] = now_ns
            getattr(self._log, level)(counter.name, source=role, text=counter.meaning, more=more)

    # --- alerts -----------------------------------------------------------------------------------

    def _first_alert(self) -> int:
        """The first alert that is not in the log."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            seen = msgspec.json.decode(self._alerts_path.read_bytes(), type=AlertsSeen)
            if seen.started_wall_ns == self._view.plan.started_wall_ns:
                return seen.seq + 1
        return 1

    def _new_alerts(self) -> Iterator[None]:
        """Each alert in turn; ``attached.alert`` shows it."""
        alerts = self._view.attached.alerts
        for _ in range(ALERTS_PER_LOOK_MAX):
            lost = alerts.lost
            if alerts.next():
                yield
            elif alerts.lost > lost:
                self._log.warning("alerts lost", source="watcher", more=alerts.lost - lost)
            else:
                return

    def _log_alerts(self) -> None:
        alert = self._view.attached.alert
        seq = 0
        for _ in self._new_alerts():
            seq = alert.seq
            level = ALERT_LEVELS.get(alert.severity, "error")
            getattr(self._log, level)(
                _alert_name(alert.code),
                source="account",
                text=alert.text.rstrip(b"\0").decode(errors="replace"),
                symbol=self._symbols.get(alert.instrument_id, ""),
                value=format_e8(alert.value_e8),
                limit=format_e8(alert.limit_e8),
                alert=seq,
            )
        if seq:
            self._remember(seq)

    def _remember(self, seq: int) -> None:
        seen = AlertsSeen(self._view.plan.started_wall_ns, seq)
        draft = self._alerts_path.with_suffix(".new")
        with contextlib.suppress(OSError):  # then the next start of ours repeats some
            draft.parent.mkdir(mode=0o750, exist_ok=True)
            draft.write_bytes(msgspec.json.encode(seen))
            draft.replace(self._alerts_path)


def _alert_name(code: int) -> str:
    """The code in words."""
    try:
        return AlertCode(code).name.lower().replace("_", " ")
    except ValueError:
        return f"alert {code}"
