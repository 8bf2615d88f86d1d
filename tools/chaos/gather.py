"""Collects the evidence when everything has come to rest."""

from __future__ import annotations

import time
from collections import Counter

import ipc
from hft import counters
from hft.config import Plan
from hft.core.generated.views import Order, Position
from hft.graph import ORDER_ROWS_MAX, position_cell
from hft.records import JournalKind, Mode, Reason
from hft.roles import limits_file
from hft.roles.context import cells_spec
from hft.roles.order_guard import FEED_GRACE_NS
from hft.units import NS_PER_MS, parse_e8
from tools.chaos.evidence import Evidence, OurPosition, Timing, entries
from tools.chaos.observer import FOLLOWED, Observer
from tools.chaos.striker import Pause, Striker
from tools.chaos.venue_books import VenueBooks
from tools.chaos.venue_faults import VenueFaults
from tools.demo.report import Pages


def gather(
    plan: Plan,
    *,
    observer: Observer,
    pages: Pages,
    books: VenueBooks,
    striker: Striker,
    faults: VenueFaults,
    frozen_at_fence: tuple[Pause, ...],
) -> Evidence:
    """What both sides say."""
    positions = {}
    for instrument in plan.instruments:
        cell = pages.position(instrument.instrument_id)
        positions[instrument.symbol] = OurPosition(cell.position_e8, cell.fills, cell.adjusted_e8)
    limits = limits_file.configured(plan)
    stale_ns = min(limits.feed_age_ns_max, plan.config.feed.stale_ms * NS_PER_MS)
    return Evidence(
        books=books,
        symbols={one.instrument_id: one.symbol for one in plan.instruments},
        positions=positions,
        wallet_e8=pages.wallet_e8(),
        open_rows=_open_rows(plan.name),
        intents=observer.records("intents.strategy"),
        decisions=observer.records("decisions"),
        journal=observer.records("journal"),
        executions=observer.records("executions"),
        manual=observer.records("intents.manual"),
        paper=observer.records("executions.paper"),
        paper_positions=paper_positions(plan)[0],
        lost={ring: observer.lost(ring) for ring in FOLLOWED},
        adjustments=pages.count("account", counters.ADJUSTMENTS),
        position_notional_max_e8=limits.position_notional_max_e8,
        timing=Timing(
            wall_offset_ns=time.time_ns() - time.monotonic_ns(),
            deaths=tuple(striker.deaths),
            pauses=tuple(striker.pauses),
            frozen_at_fence=frozen_at_fence,
            faults=tuple(faults.begun),
            permit_ns=plan.config.risk.permit_ms * NS_PER_MS,
            stale_ns=stale_ns,
            pull_ns=plan.config.feed.stale_ms * NS_PER_MS + FEED_GRACE_NS,
        ),
    )


def paper_positions(plan: Plan) -> tuple[dict[str, OurPosition], int]:
    """The account's positions on paper, and the execution on paper up to which all were booked."""
    spec = cells_spec("positions")
    buffer = bytearray(spec.item_bytes)
    segment = ipc.Segment.attach(plan.name, spec)
    reader, cell = ipc.CellReader(segment, buffer), Position(buffer)
    found: dict[str, OurPosition] = {}
    as_of: list[int] = []
    for instrument in plan.instruments:
        if reader.read(position_cell(Mode.PAPER, instrument.instrument_id)):
            found[instrument.symbol] = OurPosition(cell.position_e8, cell.fills)
            as_of.append(cell.executions_seq)
    return found, min(as_of, default=0)


def agrees(pages: Pages, books: VenueBooks) -> bool:
    """Whether positions and wallet equal the venue's."""
    venue = {symbol: parse_e8(row.qty) for symbol, row in books.positions.items()}
    ours = pages.positions_e8()
    return pages.wallet_e8() == parse_e8(books.wallet) and all(
        ours.get(symbol, 0) == venue.get(symbol, 0) for symbol in {*venue, *ours}
    )


def refusals(evidence: Evidence) -> dict[str, int]:
    """Decisions that caused no send, by reason."""
    consumed = entries(evidence.journal, JournalKind.CONSUMED)
    counts = Counter(Reason(number).name for number in consumed["reason"].tolist())
    return dict(counts.most_common())


def _open_rows(system: str) -> tuple[int, ...]:
    spec = cells_spec("orders")
    buffer = bytearray(spec.item_bytes)
    segment = ipc.Segment.attach(system, spec)
    reader, row = ipc.CellReader(segment, buffer), Order(buffer)
    found = [row.order_id for index in range(ORDER_ROWS_MAX) if reader.read(index) and row.order_id]
    return tuple(found)
