"""What came of a demo: numbers from the role pages and cells, held against the venue's own."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

import ipc
from hft import counters
from hft.config import Plan
from hft.core.generated.views import Balance, Position
from hft.counters import CounterSpec, HistogramSpec
from hft.graph import ASSETS_MAX, ROLES, position_cell
from hft.records import Mode
from hft.roles.context import cells_spec
from hft.units import format_e8
from tools.demo.ledger import Ledger, StrategyResult
from tools.system.segments import attach_page
from tools.system.status import ProcessStatus


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """Market data, from feed's counters."""

    frames: int
    records: int
    gaps: int
    resyncs: int
    crossed: int
    garbage: int
    book_checks: int
    book_mismatches: int


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Intents to ends of orders, from the counters of strategy, risk and execution."""

    intents: int
    approved: int
    refused: int
    """By risk, with those that the demo's own halt at its end caused."""
    sent: int
    acked: int
    fills: int
    canceled: int
    rejected: int
    expired: int
    dropped: int
    never_accepted: int
    unknown: int
    """Orders that are unknown at the end."""


class SymbolAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument's profit, decimal text."""

    average_price: str
    realised: str
    unrealised: str
    fee: str
    funding: str
    fills: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Ours beside the venue's, decimal text."""

    position: dict[str, str]
    venue_position: dict[str, str]
    wallet: str
    venue_wallet: str
    realised: str
    unrealised: str
    fee: str
    funding: str
    symbols: dict[str, SymbolAccount]

    @property
    def agrees(self) -> bool:
        """Whether every position and the wallet equal the venue's."""
        return self.position == self.venue_position and self.wallet == self.venue_wallet


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """One hop, ns."""

    count: int
    p50: int
    p99: int
    p999: int
    max: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON object of ``hft demo --json``."""

    name: str
    topology: str
    policy: str
    venue: str
    seconds: float
    """Time traded."""
    processes: tuple[ProcessStatus, ...]
    market: Market
    orders: Orders
    account: Account
    strategies: tuple[StrategyResult, ...] = ()
    latency_ns: dict[str, Latency]
    venue_violations: int
    """Rules of the venue that our requests broke."""
    passed: bool
    failures: tuple[str, ...]


class VenueTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says: by its public interface and, the simulator only, by its own books."""

    position_e8: dict[str, int]
    wallet_e8: int
    violations: int


class Pages:
    """The role pages and account cells of a running demo, read-only."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.page = {role: attach_page(plan, role) for role in ROLES}
        self._positions, self._position = self._cells("positions")
        self._balances, self._balance = self._cells("balances")

    def _cells(self, name: str) -> tuple[ipc.CellReader, bytearray]:
        spec = cells_spec(name)
        buffer = bytearray(spec.item_bytes)
        return ipc.CellReader(ipc.Segment.attach(self.plan.name, spec), buffer), buffer

    def count(self, role: str, counter: CounterSpec) -> int:
        """A counter of a role."""
        return self.page[role].counter(counter.id)

    def gauge(self, role: str, gauge: counters.GaugeSpec) -> int:
        """A gauge of a role."""
        return self.page[role].gauge(gauge.id)

    def latency(self, histogram: HistogramSpec) -> Latency:
        """Percentiles of a histogram."""
        page = self.page[histogram.role]
        counts = page.histogram(histogram.id)
        p50, p99, p999 = (ipc.histogram_percentile(counts, q) for q in (0.5, 0.99, 0.999))
        most = page.histogram_max(histogram.id)
        return Latency(
            count=int(counts.sum()), p50=min(p50, most), p99=min(p99, most), p999=min(p999, most),
            max=most,
        )  # fmt: skip

    def position(self, instrument_id: int) -> Position:
        """The live position of an instrument; zeros when it never had one."""
        self._position[:] = bytes(len(self._position))
        self._positions.read(position_cell(Mode.LIVE, instrument_id))
        return Position(bytearray(self._position))

    def wallet_e8(self) -> int:
        """Sum of our wallets."""
        balance = Balance(self._balance)
        return sum(balance.wallet_e8 for index in range(ASSETS_MAX) if self._balances.read(index))

    def positions_e8(self) -> dict[str, int]:
        """Our position of every symbol."""
        return {
            instrument.symbol: self.position(instrument.instrument_id).position_e8
            for instrument in self.plan.instruments
        }

    def agrees_with(self, truth: VenueTruth) -> bool:
        """Whether positions and wallet equal the venue's."""
        return self.positions_e8() == _of_plan(self.plan, truth) and (
            self.wallet_e8() == truth.wallet_e8
        )


def _of_plan(plan: Plan, truth: VenueTruth) -> dict[str, int]:
    """The venue's positions of our symbols, and of those that should not have one."""
    ours = {one.symbol: truth.position_e8.get(one.symbol, 0) for one in plan.instruments}
    return {**ours, **{symbol: qty for symbol, qty in truth.position_e8.items() if qty}}


def collect(
    pages: Pages,
    truth: VenueTruth,
    ledger: Ledger,
    *,
    venue: str,
    seconds: float,
    processes: tuple[ProcessStatus, ...],
) -> Report:
    """Everything that happened, and whether it is as it should be."""
    plan = pages.plan
    market, orders, account = _market(pages), _orders(pages), _account(pages, truth)
    marks_e8 = {
        one.instrument_id: pages.position(one.instrument_id).mark_e8 for one in plan.instruments
    }
    strategies = ledger.results(marks_e8)
    failures = (
        *_failures(market, orders, account),
        *_ledger_failures(pages, ledger),
        *(
            f"{one.name} failed on {symbol} and was paused: {reason}"
            for one in strategies
            for symbol, reason in one.paused.items()
        ),
    )
    return Report(
        name=plan.name,
        topology=plan.config.system.topology,
        policy=plan.config.risk.policy,
        venue=venue,
        seconds=round(seconds, 3),
        processes=processes,
        market=market,
        orders=orders,
        account=account,
        strategies=strategies,
        latency_ns={hop.name: pages.latency(hop) for hop in counters.HOPS},
        venue_violations=truth.violations,
        passed=not failures,
        failures=failures,
    )


def _market(pages: Pages) -> Market:
    return Market(
        frames=pages.count("feed", counters.FRAMES),
        records=pages.count("feed", counters.RECORDS),
        gaps=pages.count("feed", counters.GAPS),
        resyncs=pages.count("feed", counters.RESYNCS),
        crossed=pages.count("feed", counters.CROSSED),
        garbage=pages.count("feed", counters.GARBAGE),
        book_checks=pages.count("feed", counters.BOOK_CHECKS),
        book_mismatches=pages.count("feed", counters.BOOK_MISMATCHES),
    )


def _orders(pages: Pages) -> Orders:
    return Orders(
        intents=pages.count("strategy", counters.INTENTS),
        approved=pages.count("risk", counters.APPROVED),
        refused=pages.count("risk", counters.REFUSED),
        sent=pages.count("execution", counters.SENT),
        acked=pages.count("execution", counters.ACKED),
        fills=pages.count("execution", counters.FILLS),
        canceled=pages.count("execution", counters.CANCELED),
        rejected=pages.count("execution", counters.REJECTED),
        expired=pages.count("execution", counters.EXPIRED),
        dropped=pages.count("execution", counters.DROPPED),
        never_accepted=pages.count("execution", counters.NEVER_ACCEPTED),
        unknown=pages.gauge("execution", counters.UNKNOWN_ORDERS),
    )


def _account(pages: Pages, truth: VenueTruth) -> Account:
    rows = {one.symbol: pages.position(one.instrument_id) for one in pages.plan.instruments}
    return Account(
        position={symbol: format_e8(qty) for symbol, qty in pages.positions_e8().items()},
        venue_position={
            symbol: format_e8(qty) for symbol, qty in _of_plan(pages.plan, truth).items()
        },
        wallet=format_e8(pages.wallet_e8()),
        venue_wallet=format_e8(truth.wallet_e8),
        realised=_total(rows, "realised_pnl_e8"),
        unrealised=_total(rows, "unrealised_pnl_e8"),
        fee=_total(rows, "fee_e8"),
        funding=_total(rows, "funding_e8"),
        symbols={
            symbol: SymbolAccount(
                average_price=format_e8(row.average_price_e8),
                realised=format_e8(row.realised_pnl_e8),
                unrealised=format_e8(row.unrealised_pnl_e8),
                fee=format_e8(row.fee_e8),
                funding=format_e8(row.funding_e8),
                fills=row.fills,
            )
            for symbol, row in rows.items()
        },
    )


def _total(rows: Mapping[str, Position], field: str) -> str:
    return format_e8(sum(getattr(row, field) for row in rows.values()))


def _failures(market: Market, orders: Orders, account: Account) -> list[str]:
    failures = []
    if not market.frames:
        failures.append("no market data came")
    if market.book_mismatches:
        failures.append(f"the book differed from the venue {market.book_mismatches} times")
    if orders.unknown:
        failures.append(f"{orders.unknown} orders stayed unknown")
    for symbol, qty in account.venue_position.items():
        if account.position.get(symbol) != qty:
            ours = account.position.get(symbol, "nothing")
            failures.append(f"{symbol}: our position is {ours}, the venue's {qty}")
    if account.wallet != account.venue_wallet:
        failures.append(f"our wallet is {account.wallet}, the venue's {account.venue_wallet}")
    return failures


def _ledger_failures(pages: Pages, ledger: Ledger) -> list[str]:
    """What the strategies hold together is what the account holds, if nothing was missed."""
    if ledger.lost:
        return [f"{ledger.lost} records passed before they could be booked by strategy"]
    ours = pages.positions_e8()
    return [
        f"{symbol}: the strategies hold {format_e8(qty_e8)}, the account {format_e8(ours[symbol])}"
        for symbol, qty_e8 in ledger.positions_e8().items()
        if qty_e8 != ours[symbol]
    ]
