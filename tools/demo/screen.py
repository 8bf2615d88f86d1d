"""What a demo shows: steps, a progress bar on a terminal, the summary. Plain text in a pipe."""

from __future__ import annotations

import contextlib
import sys
from decimal import Decimal
from types import TracebackType
from typing import Any, Final

import click

from hft.counters import EXECUTION_NS, FEED_NS, RISK_NS, STRATEGY_NS, TICK_TO_TRADE_NS
from tools.demo.report import Latency, Report
from tools.terminal import paint

LATENCY_ROWS: Final = (
    ("receive → book", FEED_NS.name),
    ("book → intent", STRATEGY_NS.name),
    ("intent → decision", RISK_NS.name),
    ("decision → wire", EXECUTION_NS.name),
    ("whole", TICK_TO_TRADE_NS.name),
)
COLUMNS: Final = 80
COLUMNS_OF: Final = (
    ("orders", 7), ("fills", 7), ("refused", 8),
    ("realised", 11), ("unrealised", 11), ("fees", 11), ("net", 11),
)  # fmt: skip
"""Titles and widths of the table of strategies, after the name."""
BAR_COLUMNS_MAX: Final = 110


class Screen:
    """Lines for a person; with ``as_json`` only troubles are said, on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_terminal = sys.stdout.isatty() and not as_json
        self._progress: Any = None
        self._task: Any = None

    def say(self, text: str = "") -> None:
        """One line."""
        if not self._as_json:
            click.echo(text)

    def done(self, what: str, how: str) -> None:
        """A step that was taken."""
        self.say(f"  {paint('✓', 'green')} {what:<17} {how}")

    def event(self, text: str) -> None:
        """Something the supervisor met: always said."""
        with contextlib.suppress(OSError):  # who stops the processes must not stumble here
            if self._progress is not None:
                self._progress.console.print(f"  ! {text}", markup=False, highlight=False)
            else:
                click.echo(f"  {paint('!', 'yellow')} {text}", err=self._as_json)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_progress()

    def progress(self, seconds: float, total: float, text: str) -> None:
        """Move the bar; there is none in a pipe."""
        if not self._is_terminal:
            return
        description = f"{seconds:.0f} / {total:.0f} s   {text}"
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            console = Console()
            console.width = min(console.width, BAR_COLUMNS_MAX)
            self._progress = Progress(
                TextColumn("  trading", table_column=Column(no_wrap=True)),
                BarColumn(None),
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                console=console,
                transient=True,
                expand=True,
            )
            self._task = self._progress.add_task(description, total=total)
            self._progress.start()
        self._progress.update(self._task, completed=seconds, description=description)

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def summary(self, report: Report) -> None:
        """What happened and how fast it was."""
        if self._as_json:
            import msgspec

            click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
            return
        for line in summary_lines(report):
            self.say(line)


def summary_lines(report: Report) -> list[str]:
    """The summary as text."""
    market, orders = report.market, report.orders
    others = {"rejected": orders.rejected, "expired": orders.expired, "dropped": orders.dropped,
              "never accepted": orders.never_accepted}  # fmt: skip
    lines = [
        "",
        *_wrapped(
            "market",
            f"{market.frames:,} frames",
            f"{market.gaps:,} gaps",
            f"{market.book_mismatches:,} of {market.book_checks:,} checks of the book differ",
        ),
        *_wrapped(
            "orders",
            f"{orders.sent:,} sent",
            f"{orders.acked:,} acknowledged",
            f"{orders.fills:,} fills",
            f"{orders.canceled:,} cancelled",
            f"{orders.refused:,} refused by risk",
            f"{orders.unknown:,} unknown",
            *(f"{count:,} {name}" for name, count in others.items() if count),
        ),
    ]
    lines += _account_lines(report)
    lines += _strategy_lines(report)
    lines += [
        "",
        f"  {'tick to trade':<20} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9} {'count':>9}",
    ]
    for label, name in LATENCY_ROWS:
        lines.append(_latency_line(label, report.latency_ns[name]))
    lines += ["    software stamps, this machine, cpu shared with the simulator", ""]
    lines += [f"  {paint('✗', 'red')} {failure}" for failure in report.failures]
    if not report.failures:
        lines.append("Next: hft new-strategy NAME · hft up · README.md")
    return lines


def _account_lines(report: Report) -> list[str]:
    account = report.account
    held = [f"{symbol} {_signed(qty)}" for symbol, qty in account.position.items()]
    verdict = (
        paint("venue agrees ✓", "green") if account.agrees else paint("the venue DIFFERS ✗", "red")
    )
    return [
        f"  account     {verdict}",
        *_wrapped("", *held),
        f"              wallet {account.wallet} USDT   fees {account.fee} USDT",
        f"              realised {_signed(account.realised)} USDT"
        f"   unrealised {_signed(account.unrealised)} USDT",
    ]


def _strategy_lines(report: Report) -> list[str]:
    """A row for each strategy; money in USDT to its hundredth of a cent."""
    if not report.strategies:
        return []
    lines = [
        "",
        f"  {'strategy':<10}" + "".join(f"{title:>{width}}" for title, width in COLUMNS_OF),
    ]
    for one in report.strategies:
        money = (
            Decimal(one.realised),
            Decimal(one.unrealised),
            -Decimal(one.fee),
            Decimal(one.net),
        )
        lines.append(
            f"  {one.name:<10.10}{one.orders:>7,}{one.fills:>7,}{one.refused:>8,}"
            + "".join(f"{amount + 0:>+11.4f}" for amount in money)
        )
        for reason, count in one.refusals.items():
            lines.append(f"    refused {count:,}: {reason.lower().replace('_', ' ')}")
    return [*lines, "  USDT at the mark price; net = realised + unrealised - fees"]


def _wrapped(label: str, *parts: str) -> list[str]:
    """The parts side by side under a label, in as many lines as a narrow terminal needs."""
    lines, line = [], f"  {label:<11}"
    for part in parts:
        if len(line) + 1 + len(part) > COLUMNS:
            lines.append(line.rstrip())
            line = " " * 13
        line += f" {part}  "
    return [*lines, line.rstrip()]


def _signed(text: str) -> str:
    return text if text.startswith("-") or text == "0" else f"+{text}"


def _latency_line(label: str, latency: Latency) -> str:
    numbers = (latency.p50, latency.p99, latency.p999, latency.max)
    cells = " ".join(f"{format_ns(value):>9}" for value in numbers)
    return f"    {label:<18} {cells} {latency.count:>9,}"


def format_ns(value_ns: int) -> str:
    """A duration with a unit that suits it and three digits."""
    for unit, scale in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if value_ns >= scale:
            value = value_ns / scale
            return f"{value:.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"
    return f"{value_ns} ns"
