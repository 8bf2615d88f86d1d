"""The audit: the venue's own books against journal, rings and account, invariant by invariant.

Pure: everything it holds against each other stands in ``Evidence``.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft.records import Action, ExecKind, JournalKind, OrderState, Reason, Side
from hft.units import NS_PER_MS, format_e8, parse_e8
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.chaos.venue_books import VenueBooks

Records = NDArray[Any]
TERMINAL: Final = OrderState.FILLED
EVIDENCE_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class OurPosition:
    """A position cell of the account."""

    position_e8: int
    fills: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both sides say at the end, when nothing moves any more."""

    books: VenueBooks
    symbols: Mapping[int, str]
    positions: Mapping[str, OurPosition]
    wallet_e8: int
    open_rows: tuple[int, ...]
    """Order ids in the orders table."""
    intents: Records
    decisions: Records
    journal: Records
    executions: Records
    lost: Mapping[str, int] = field(default_factory=dict)
    """Records of a ring that were overwritten before they were collected."""
    risk_deaths: tuple[tuple[int, int], ...] = ()
    """(monotonic time of the death, time after which no order of that life may be journalled)."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant that does not hold."""

    invariant: str
    count: int
    evidence: tuple[str, ...]
    """The first ones."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and what does not hold."""

    checked: dict[str, int]
    """How many things were looked at for each invariant."""
    findings: tuple[Finding, ...]


Check = Callable[[Evidence], tuple[int, Iterator[str]]]


def audit(evidence: Evidence) -> Audit:
    """Hold everything against everything."""
    checked: dict[str, int] = {}
    findings: list[Finding] = []
    for invariant, check in INVARIANTS.items():
        count, troubles = check(evidence)
        checked[invariant] = count
        found = tuple(troubles)
        if found:
            findings.append(
                Finding(invariant=invariant, count=len(found), evidence=found[:EVIDENCE_MAX])
            )
    return Audit(checked=checked, findings=tuple(findings))


# -- account against venue ----------------------------------------------------------------------


def _positions(evidence: Evidence) -> tuple[int, Iterator[str]]:
    venue = {symbol: parse_e8(row.qty) for symbol, row in evidence.books.positions.items()}
    symbols = sorted({*venue, *evidence.positions})

    def troubles() -> Iterator[str]:
        for symbol in symbols:
            ours = evidence.positions.get(symbol, OurPosition(0, 0)).position_e8
            if ours != venue.get(symbol, 0):
                theirs = format_e8(venue.get(symbol, 0))
                yield f"{symbol}: account {format_e8(ours)}, venue {theirs}"

    return len(symbols), troubles()


def _wallet(evidence: Evidence) -> tuple[int, Iterator[str]]:
    def troubles() -> Iterator[str]:
        if evidence.wallet_e8 != parse_e8(evidence.books.wallet):
            swapped = _swapped(evidence)
            hint = f"; fills out of the venue's sequence: {', '.join(swapped)}" if swapped else ""
            yield f"account {format_e8(evidence.wallet_e8)}, venue {evidence.books.wallet}{hint}"

    return 1, troubles()


def _swapped(evidence: Evidence) -> list[str]:
    """Fills that came later than they happened: realised profit depends on the sequence."""
    places: dict[str, dict[tuple[str, int, str], int]] = {}
    for index, fill in enumerate(evidence.books.fills):
        key = fill.symbol, fill.trade_id, fill.client_order_id
        places.setdefault(fill.symbol, {})[key] = index
    last: dict[str, int] = {}
    found = []
    for row in evidence.executions[evidence.executions["exec_kind"] == ExecKind.FILL]:
        key = _fill_key(evidence, row)
        place = places.get(key[0], {}).get(key, -1)
        if place < last.get(key[0], -1):
            found.append(f"{key[0]} trade {key[1]} at executions {row['seq']}")
        last[key[0]] = max(place, last.get(key[0], -1))
    return found


def _fills(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Each trade of the venue once in ``executions``, with its quantity and price, and no other."""
    venue = {
        (fill.symbol, fill.trade_id, fill.client_order_id): fill for fill in evidence.books.fills
    }
    rows = evidence.executions[evidence.executions["exec_kind"] == ExecKind.FILL]
    ours = Counter(_fill_key(evidence, row) for row in rows)

    def troubles() -> Iterator[str]:
        for row in rows:
            fill = venue.get(_fill_key(evidence, row))
            if fill is None:
                yield f"executions {row['seq']}: the venue has no {_fill_key(evidence, row)}"
            elif (parse_e8(fill.qty), parse_e8(fill.price)) != (row["qty_e8"], row["price_e8"]):
                yield f"executions {row['seq']}: venue has {fill.qty} at {fill.price}"
        for key, count in ours.items():
            if count > 1:
                yield f"{key} stands {count} times in executions"
        if not evidence.lost.get("executions"):
            yield from (f"{key} is missing in executions" for key in venue if key not in ours)

    return len(venue), troubles()


def _fill_key(evidence: Evidence, row: Any) -> tuple[str, int, str]:
    symbol = evidence.symbols.get(int(row["instrument_id"]), "?")
    return symbol, int(row["trade_id"]), client_order_id(int(row["order_id"]))


def _fills_counted(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """The account applied as many fills as the venue has, of each instrument."""
    venue = Counter(fill.symbol for fill in evidence.books.fills)

    def troubles() -> Iterator[str]:
        for symbol, position in evidence.positions.items():
            if position.fills != venue[symbol]:
                yield f"{symbol}: account applied {position.fills}, venue has {venue[symbol]}"

    return len(evidence.positions), troubles()


# -- orders ---------------------------------------------------------------------------------------


def _accepted_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    counts = Counter(order.client_order_id for order in evidence.books.orders)
    doubled = (f"{name} was accepted {n} times" for name, n in counts.items() if n > 1)
    return len(counts), doubled


def _sent_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    ids = _places(evidence)["order_id"]
    counts = Counter(ids.tolist())
    doubled = (
        f"{client_order_id(number)} was journalled for sending {n} times"
        for number, n in counts.items()
        if n > 1
    )
    return len(counts), doubled


def _journalled(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every order at the venue is ours and stands in the journal."""
    placed = set(_places(evidence)["order_id"].tolist())
    is_whole = not evidence.lost.get("journal")

    def troubles() -> Iterator[str]:
        for order in evidence.books.orders:
            number = parse_client_order_id(order.client_order_id)
            if number is None:
                yield f"{order.client_order_id} is not an id of ours"
            elif is_whole and number not in placed:
                yield f"{order.client_order_id} ({order.status}) was never journalled"

    return len(evidence.books.orders) if is_whole else len(placed), troubles()


def _approved(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every order at the venue has one approved decision of that side, price and quantity."""
    decisions = evidence.decisions
    good = decisions[decisions["reason"] == Reason.NONE]
    places = good[good["action"] == Action.PLACE]
    terms: dict[int, list[tuple[int, int, int]]] = {}
    for row in places:
        one = int(row["side"]), int(row["price_e8"]), int(row["qty_e8"])
        terms.setdefault(int(row["order_id"]), []).append(one)
    amended = set(good[good["action"] == Action.AMEND]["order_id"].tolist())

    def troubles() -> Iterator[str]:
        for order in evidence.books.orders:
            number = parse_client_order_id(order.client_order_id)
            found = terms.get(number or 0, [])
            if len(found) != 1:
                if not evidence.lost.get("decisions"):
                    yield f"{order.client_order_id} has {len(found)} approved decisions"
            elif order.amends and number not in amended:
                yield f"{order.client_order_id} was amended without a decision"
            elif not order.amends and found[0] != _terms(order.side, order.price, order.qty):
                yield f"{order.client_order_id}: decided {found[0]}, sent {order.price} {order.qty}"

    return len(evidence.books.orders), troubles()


def _terms(side: str, price: str, qty: str) -> tuple[int, int, int]:
    return int(Side[side]), parse_e8(price), parse_e8(qty)


def _judged_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every intent has one decision, whatever died between them."""
    counts = Counter(evidence.decisions["cause_seq"].tolist())

    def troubles() -> Iterator[str]:
        yield from (f"intent {seq} was judged {n} times" for seq, n in counts.items() if n > 1)
        if not evidence.lost.get("decisions"):
            for seq in evidence.intents["seq"].tolist():
                if seq not in counts:
                    yield f"intent {seq} was never judged"

    return len(counts), troubles()


def _answered(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every approved new order was sent or dropped, and the journal says which."""
    decisions = evidence.decisions
    wanted = decisions[(decisions["reason"] == Reason.NONE) & (decisions["action"] == Action.PLACE)]
    journal = evidence.journal
    told = np.isin(journal["journal_kind"], (JournalKind.PLACE, JournalKind.CONSUMED))
    known = set(journal[told]["order_id"].tolist())

    def troubles() -> Iterator[str]:
        if not evidence.lost.get("journal"):
            for row in wanted:
                if int(row["order_id"]) not in known:
                    yield f"decision {row['seq']} was neither sent nor dropped"

    return len(wanted), troubles()


def _ended(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No order rests at the venue, no row is left, and every order sent has a final record."""
    executions = evidence.executions
    ended = set(executions[executions["order_state"] >= TERMINAL]["order_id"].tolist())
    sent = _places(evidence)["order_id"].tolist()

    def troubles() -> Iterator[str]:
        for order in evidence.books.orders:
            if order.is_open:
                yield f"{order.client_order_id} is {order.status} at the venue"
        yield from (f"{client_order_id(number)} has a row still" for number in evidence.open_rows)
        if not evidence.lost.get("executions"):
            for number in sent:
                if number not in ended:
                    yield f"{client_order_id(number)} was sent, and no record says how it ended"

    return len(sent), troubles()


def _monotone(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Filled quantity never shrinks or exceeds the order, and what has ended stays so."""
    cum: dict[int, int] = {}
    ended: set[int] = set()
    rows = evidence.executions
    troubles: list[str] = []
    columns = ("seq", "order_id", "cum_qty_e8", "order_state", "exec_kind", "leaves_qty_e8")
    for seq, number, cum_e8, state, kind, leaves_e8 in zip(
        *(rows[column].tolist() for column in columns), strict=True
    ):
        if state == OrderState.NONE:
            continue  # a decision that found no order
        if cum_e8 < cum.get(number, 0):
            troubles.append(f"executions {seq}: filled {cum_e8} after {cum[number]}")
        if number in ended and state < TERMINAL and kind != ExecKind.FILL:
            troubles.append(f"executions {seq}: {OrderState(state).name} after the end")
        if leaves_e8 < 0:
            troubles.append(f"executions {seq}: more is filled than was asked for")
        cum[number] = max(cum_e8, cum.get(number, 0))
        if state >= TERMINAL:
            ended.add(number)
    return len(rows), iter(troubles)


# -- rings and journal ----------------------------------------------------------------------------


def _contiguous(evidence: Evidence) -> tuple[int, Iterator[str]]:
    rings = {
        "intents.strategy": evidence.intents,
        "decisions": evidence.decisions,
        "journal": evidence.journal,
        "executions": evidence.executions,
    }

    def troubles() -> Iterator[str]:
        for name, rows in rings.items():
            if evidence.lost.get(name) or not len(rows):
                continue
            steps = np.diff(rows["seq"].astype(np.int64))
            for index in np.flatnonzero(steps != 1):
                yield f"{name}: {rows['seq'][index + 1]} follows {rows['seq'][index]}"

    return sum(len(rows) for rows in rings.values()), troubles()


def _undamaged(evidence: Evidence) -> tuple[int, Iterator[str]]:
    rows = evidence.journal

    def troubles() -> Iterator[str]:
        for row in rows:
            raw = row.tobytes()
            if zlib.crc32(raw[120:], zlib.crc32(raw[16:116])) != row["crc"]:
                yield f"journal {row['seq']} is damaged"

    return len(rows), troubles()


def _fenced(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No order that a dead risk approved goes out once its permit is over."""
    judged = dict(
        zip(
            evidence.decisions["seq"].tolist(), evidence.decisions["judge_ns"].tolist(), strict=True
        )
    )
    places = _places(evidence)
    causes, times = places["cause_seq"].tolist(), places["publish_ns"].tolist()

    def troubles() -> Iterator[str]:
        for died_ns, until_ns in evidence.risk_deaths:
            for seq, sent_ns in zip(causes, times, strict=True):
                if sent_ns > until_ns and judged.get(seq, sent_ns) < died_ns:
                    late_ms = (sent_ns - died_ns) // NS_PER_MS
                    yield f"decision {seq} was sent {late_ms} ms after its risk had died"

    return len(evidence.risk_deaths), troubles()


def _places(evidence: Evidence) -> Records:
    journal = evidence.journal
    places: Records = journal[journal["journal_kind"] == JournalKind.PLACE]
    return places


INVARIANTS: Final[Mapping[str, Check]] = {
    "position equals the venue's": _positions,
    "wallet equals the venue's": _wallet,
    "every fill once in executions": _fills,
    "every fill once in the account": _fills_counted,
    "no order id accepted twice": _accepted_once,
    "no order sent twice": _sent_once,
    "every order in the journal": _journalled,
    "every order approved by risk": _approved,
    "every intent judged once": _judged_once,
    "every approved order sent or dropped": _answered,
    "every order ended": _ended,
    "order states only move up": _monotone,
    "sequences without gaps": _contiguous,
    "journal undamaged": _undamaged,
    "nothing sent for a dead risk": _fenced,
}
"""What has to hold, and what looks whether it does."""
