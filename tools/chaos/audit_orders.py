"""Invariants of orders: what was decided, journalled, sent, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from hft.graph import RingId
from hft.records import Action, ExecKind, JournalKind, OrderState, Reason
from hft.units import E8, parse_e8
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.chaos.evidence import TERMINAL, Check, Evidence, entries, side_of

FOREIGN_NAMES: Final = ("web_", "autoclose-", "adl_autoclose", "settlement_autoclose-")
"""How the client ids of orders begin that the simulator makes by itself."""
PRICE_TOLERANCE: Final = 50
"""Limits are money: the price that risk valued by may differ by one part in so many from ours."""


def _accepted_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    names = [order.client_order_id for order in evidence.books.orders]
    counts = Counter(name for name in names if parse_client_order_id(name) is not None)
    doubled = (f"{name} was accepted {n} times" for name, n in counts.items() if n > 1)
    return len(counts), doubled


def _chosen_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """No strategy, and nobody by hand, chose an id a second time, in whatever life."""
    counts: Counter[int] = Counter()
    for intents in (evidence.intents, evidence.manual):
        counts.update(intents[intents["action"] == Action.PLACE]["order_id"].tolist())
    doubled = (
        f"{client_order_id(number)} was chosen for {n} orders"
        for number, n in counts.items()
        if n > 1
    )
    return len(counts), doubled


def _sent_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    counts = Counter(evidence.places["order_id"].tolist())
    doubled = (
        f"{client_order_id(number)} was journalled for sending {n} times"
        for number, n in counts.items()
        if n > 1
    )
    return len(counts), doubled


def _journalled(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every order of ours was journalled for sending; a stranger's, once it has traded, adopted."""
    placed = set(evidence.places["order_id"].tolist())
    adopted = set(entries(evidence.journal, JournalKind.ADOPT)["order_id"].tolist())
    is_whole = not evidence.lost.get("journal")

    def troubles() -> Iterator[str]:
        for order in evidence.books.orders:
            name = order.client_order_id
            is_ours = parse_client_order_id(name) is not None
            if not is_ours and not name.startswith(FOREIGN_NAMES):
                yield f"{name} is not an id of ours"
                continue
            number = evidence.our_id(order.symbol, name, order.order_id)
            has_to_be = is_whole and (is_ours or parse_e8(order.filled) > 0)
            if has_to_be and number not in (placed if is_ours else adopted):
                yield f"{name} ({order.status}) was never journalled"

    return len(evidence.books.orders), troubles()


def _approved(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every order of ours has one approved decision of that side, price and quantity."""
    decisions = evidence.live_decisions
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
            if number is None:
                continue
            found = terms.get(number, [])
            if len(found) != 1:
                if not evidence.lost.get("decisions"):
                    yield f"{order.client_order_id} has {len(found)} approved decisions"
            elif order.amends and number not in amended:
                yield f"{order.client_order_id} was amended without a decision"
            elif not order.amends and found[0] != _terms(order.side, order.price, order.qty):
                yield f"{order.client_order_id}: decided {found[0]}, sent {order.price} {order.qty}"

    return len(evidence.books.orders), troubles()


def _terms(side: str, price: str, qty: str) -> tuple[int, int, int]:
    return side_of(side), parse_e8(price), parse_e8(qty)


def _judged_once(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every intent has one decision, whatever died between them."""
    decisions = evidence.decisions
    by_hand = (decisions["cause_ring"] == RingId.MANUAL).tolist()
    counts = Counter(zip(by_hand, decisions["cause_seq"].tolist(), strict=True))

    def troubles() -> Iterator[str]:
        for (is_manual, seq), count in counts.items():
            if count > 1:
                yield f"{_INTENT[is_manual]} {seq} was judged {count} times"
        if evidence.lost.get("decisions"):
            return
        for is_manual, intents in ((False, evidence.intents), (True, evidence.manual)):
            for seq in intents["seq"].tolist():
                if (is_manual, seq) not in counts:
                    yield f"{_INTENT[is_manual]} {seq} was never judged"

    return len(counts), troubles()


def _one_reign(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """After a new life of risk has judged, no older one does."""
    epochs = evidence.decisions["risk_epoch"].astype(np.int64)

    def troubles() -> Iterator[str]:
        for index in np.flatnonzero(np.diff(epochs) < 0):
            seq = evidence.decisions["seq"][index + 1]
            yield f"decision {seq} is of an older life than the one before it"

    return len(epochs), troubles()


def _answered(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """Every approved new order was sent or dropped, and the journal says which."""
    decisions = evidence.live_decisions
    wanted = decisions[(decisions["reason"] == Reason.NONE) & (decisions["action"] == Action.PLACE)]
    told = entries(evidence.journal, JournalKind.PLACE, JournalKind.CONSUMED)
    known = set(told["order_id"].tolist())

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
    sent = evidence.places["order_id"].tolist()

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


def _exposed(evidence: Evidence) -> tuple[int, Iterator[str]]:
    """At each approval, position and everything that may still fill stay within the hard limit.

    What a stranger trades nobody approved: instruments with such trades are left out.
    """
    limit_e8 = evidence.position_notional_max_e8
    strangers = {
        evidence.instruments.get(order.symbol, 0)
        for order in evidence.books.orders
        if parse_client_order_id(order.client_order_id) is None and parse_e8(order.filled)
    }
    is_whole = not (evidence.lost.get("decisions") or evidence.lost.get("executions"))
    if not limit_e8 or not is_whole:
        return 0, iter(())
    exposure = _Exposure()
    troubles: list[str] = []
    executions = iter(_columns(evidence.executions, _EXECUTION_COLUMNS))
    pending = next(executions, None)
    decisions = evidence.live_decisions
    good = decisions[(decisions["reason"] == Reason.NONE) & np.isin(decisions["action"], _OPENING)]
    for seq, judge_ns, number, instrument_id, side, price_e8, qty_e8 in _columns(
        good, _DECISION_COLUMNS
    ):
        while pending is not None and pending[0] <= judge_ns:
            exposure.on_execution(*pending[1:])
            pending = next(executions, None)
        exposure.approve(number, instrument_id, side, qty_e8)
        if instrument_id in strangers:
            continue
        worst_e8 = exposure.worst_e8(instrument_id, side) * price_e8 // E8
        if worst_e8 > limit_e8 + limit_e8 // PRICE_TOLERANCE:
            troubles.append(f"decision {seq}: worst case {worst_e8 / E8:.2f} of {limit_e8 / E8:g}")
    return len(good), iter(troubles)


_INTENT: Final = {False: "intent", True: "intent by hand"}
_REFUSALS: Final = (ExecKind.DROPPED, ExecKind.AMEND_REJECTED, ExecKind.CANCEL_REJECTED)
"""Of an order that is not in the books these say that it never was, or is over."""
_OPENING: Final = (Action.PLACE, Action.AMEND)
_DECISION_COLUMNS: Final = (
    "seq", "judge_ns", "order_id", "instrument_id", "side", "price_e8", "qty_e8",
)  # fmt: skip
_EXECUTION_COLUMNS: Final = (
    "publish_ns", "exec_kind", "order_id", "instrument_id", "side", "qty_e8", "cum_qty_e8",
    "order_state",
)  # fmt: skip


def _columns(rows: object, names: tuple[str, ...]) -> Iterator[tuple[int, ...]]:
    """Records as tuples of Python integers: many times faster than field by field."""
    return zip(*(rows[name].tolist() for name in names), strict=True)  # type: ignore[index]  # a structured array


class _Exposure:
    """Positions, and what may still fill of every order that was approved."""

    def __init__(self) -> None:
        self._position_e8: Counter[int] = Counter()
        self._open: dict[int, tuple[int, int, int, int]] = {}
        """Order to instrument, side, quantity, filled."""

    def approve(self, number: int, instrument_id: int, side: int, qty_e8: int) -> None:
        """A new order, or new terms of one; until the venue agrees, the larger ones count."""
        old = self._open.get(number, (instrument_id, side, 0, 0))
        self._open[number] = instrument_id, side, max(qty_e8, old[2]), old[3]

    def on_execution(
        self, kind: int, number: int, instrument_id: int, side: int, qty_e8: int, cum_e8: int,
        state: int,
    ) -> None:  # fmt: skip
        """What became of one."""
        if kind == ExecKind.FILL:
            self._position_e8[instrument_id] += side * qty_e8
        if state >= TERMINAL or (state == OrderState.NONE and kind in _REFUSALS):
            self._open.pop(number, None)
        elif number in self._open:
            instrument_id, side, total_e8, _ = self._open[number]
            if kind in (ExecKind.AMENDED, ExecKind.AMEND_REJECTED):
                total_e8 = qty_e8
            self._open[number] = instrument_id, side, total_e8, cum_e8

    def worst_e8(self, instrument_id: int, side: int) -> int:
        """Position of one direction if everything open on that side fills."""
        left_e8 = sum(
            total_e8 - filled_e8
            for instrument, of_side, total_e8, filled_e8 in self._open.values()
            if instrument == instrument_id and of_side == side
        )
        return self._position_e8[instrument_id] * side + left_e8


CHECKS: Final[Mapping[str, Check]] = {
    "no order id accepted twice": _accepted_once,
    "no order id chosen twice": _chosen_once,
    "no order sent twice": _sent_once,
    "every order in the journal": _journalled,
    "every order approved by risk": _approved,
    "every intent judged once": _judged_once,
    "one life of risk at a time": _one_reign,
    "every approved order sent or dropped": _answered,
    "every order ended": _ended,
    "order states only move up": _monotone,
    "worst case within the limit": _exposed,
}
