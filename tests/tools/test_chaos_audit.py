"""The audit of a chaos run: every kind of damage is seen, and called by its name."""

import zlib
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from hft.core.order_id import foreign_order_id
from hft.graph import RingId, ring
from hft.records import Action, ExecKind, JournalKind, Mode, OrderState, Reason, Side
from hft.units import NS_PER_MS, NS_PER_S, parse_e8
from hft.venues.binance_usdm.order_text import client_order_id
from tools.chaos.audit import INVARIANTS, audit
from tools.chaos.evidence import Evidence, OurPosition, Timing
from tools.chaos.striker import Death, Pause
from tools.chaos.venue_books import Complaint, VenueBooks, VenueFill, VenueOrder, VenuePosition
from tools.chaos.venue_faults import Begun

ORDER_ID = 0x0100000001000001
NAME = client_order_id(ORDER_ID)


def rows(ring_name: str, *records: dict[str, Any]) -> Any:
    """Records of a ring with sequences from 1, everything not named zero."""
    found = np.zeros(len(records), dtype=ring(ring_name).records[0].dtype)
    for index, record in enumerate(records):
        found[index]["seq"] = index + 1
        for name, value in record.items():
            found[index][name] = value
    return found


def journal(*records: dict[str, Any]) -> Any:
    """Journal entries with their check sums."""
    found = rows("journal", *records)
    for index in range(len(found)):
        raw = found[index].tobytes()
        found[index]["crc"] = zlib.crc32(raw[120:], zlib.crc32(raw[16:116]))
    return found


PRICE, QTY = parse_e8("100"), parse_e8("2")
TERMS = {"order_id": ORDER_ID, "side": Side.BUY, "price_e8": PRICE, "qty_e8": QTY}
PLACE = {
    **TERMS,
    "instrument_id": 1,
    "journal_kind": JournalKind.PLACE,
    "cause_seq": 1,
    "publish_ns": 1_000,
}
SENT = {"order_id": ORDER_ID, "exec_kind": ExecKind.SENT, "order_state": OrderState.PENDING_NEW}
FILL = {
    "order_id": ORDER_ID,
    "instrument_id": 1,
    "side": Side.BUY,
    "exec_kind": ExecKind.FILL,
    "trade_id": 7,
    "price_e8": PRICE,
    "qty_e8": QTY,
    "cum_qty_e8": QTY,
    "order_state": OrderState.FILLED,
}
ORDER = VenueOrder(
    order_id=1,
    client_order_id=NAME,
    symbol="BTCUSDT",
    side="BUY",
    price="100",
    qty="2",
    filled="2",
    status="FILLED",
    amends=0,
)
VENUE_FILL = VenueFill(
    symbol="BTCUSDT",
    trade_id=7,
    order_id=1,
    client_order_id=NAME,
    side="BUY",
    price="100",
    qty="2",
    fee="0.04",
)
BOOKS = VenueBooks(
    wallet="99.96",
    positions={"BTCUSDT": VenuePosition(qty="2")},
    orders=(ORDER,),
    fills=(VENUE_FILL,),
    complaints=(),
)
STRANGER = msgspec.structs.replace(ORDER, order_id=9, client_order_id="web_1")
SOUND = Evidence(
    books=BOOKS,
    symbols={1: "BTCUSDT"},
    positions={"BTCUSDT": OurPosition(QTY, 1)},
    wallet_e8=parse_e8("99.96"),
    open_rows=(),
    intents=rows("intents.strategy", {**TERMS, "action": Action.PLACE}),
    decisions=rows("decisions", {**TERMS, "action": Action.PLACE, "cause_seq": 1}),
    journal=journal(PLACE),
    executions=rows("executions", SENT, FILL),
)


ON_PAPER = ORDER_ID + 7
PAPER_SENT = {**SENT, "order_id": ON_PAPER, "mode": Mode.PAPER}
PAPER_FILL = {**FILL, "order_id": ON_PAPER, "mode": Mode.PAPER}
PAPER_DECISION = {**TERMS, "order_id": ON_PAPER, "action": Action.PLACE, "mode": Mode.PAPER}
BESIDE = replace(
    SOUND,
    intents=rows("intents.strategy", {**TERMS, "action": Action.PLACE},
                 {**TERMS, "order_id": ON_PAPER, "action": Action.PLACE}),
    manual=rows("intents.manual", {"action": Action.CANCEL}),
    decisions=rows(
        "decisions",
        {**TERMS, "action": Action.PLACE, "cause_seq": 1},
        {**PAPER_DECISION, "cause_seq": 2},
        {"action": Action.CANCEL, "cause_ring": RingId.MANUAL, "cause_seq": 1},
    ),
    paper=rows("executions.paper", PAPER_SENT, PAPER_FILL),
    paper_positions={"BTCUSDT": OurPosition(QTY, 1)},
)  # fmt: skip
"""As ``SOUND``, with an order on paper and a cancel by hand."""


def with_books(**changes: Any) -> Evidence:
    return replace(SOUND, books=msgspec.structs.replace(BOOKS, **changes))


def complaining(kind: str) -> Evidence:
    return with_books(complaints=(Complaint(kind=kind, detail="what it says"),))


def at_times(**timing: Any) -> Evidence:
    return replace(SOUND, timing=Timing(**timing))


def silenced(seconds: float) -> tuple[Begun, ...]:
    return (Begun("freeze_market", "BTCUSDT", 0, seconds),)


def skipping(found: Any) -> Any:
    gapped = found.copy()
    gapped["seq"][1:] += 1
    return gapped


def damaged(found: Any) -> Any:
    changed = found.copy()
    changed["qty_e8"] += 1
    return changed


DAMAGES = {
    "a wrong position": (
        "position equals the venue's",
        replace(SOUND, positions={"BTCUSDT": OurPosition(QTY + 1, 1)}),
    ),
    "a position in a strange symbol": (
        "position equals the venue's",
        with_books(positions={**BOOKS.positions, "XRPUSDT": VenuePosition(qty="-1")}),
    ),
    "a wallet off by the last digit": (
        "wallet equals the venue's",
        replace(SOUND, wallet_e8=SOUND.wallet_e8 + 1),
    ),
    "a lost fill": (
        "every fill once in executions",
        replace(SOUND, executions=rows("executions", SENT)),
    ),
    "a fill published twice": (
        "every fill once in executions",
        replace(SOUND, executions=rows("executions", SENT, FILL, FILL)),
    ),
    "a fill that never was": ("every fill once in executions", with_books(fills=())),
    "a fill of another quantity": (
        "every fill once in executions",
        replace(SOUND, executions=rows("executions", SENT, {**FILL, "qty_e8": QTY - 1})),
    ),
    "a fill applied twice": (
        "every fill once in the account",
        replace(SOUND, positions={"BTCUSDT": OurPosition(QTY, 2)}),
    ),
    "an id accepted twice": (
        "no order id accepted twice",
        with_books(orders=(ORDER, msgspec.structs.replace(ORDER, order_id=2))),
    ),
    "a second send": ("no order sent twice", replace(SOUND, journal=journal(PLACE, PLACE))),
    "an order that is not journalled": (
        "every order in the journal",
        replace(SOUND, journal=journal({**PLACE, "order_id": ORDER_ID + 1})),
    ),
    "an order of somebody else": (
        "every order in the journal",
        with_books(orders=(ORDER, msgspec.structs.replace(ORDER, client_order_id="x-1"))),
    ),
    "an order without approval": (
        "every order approved by risk",
        replace(SOUND, decisions=rows("decisions", {**TERMS, "action": 1, "reason": 1})),
    ),
    "an order of another price": (
        "every order approved by risk",
        with_books(orders=(msgspec.structs.replace(ORDER, price="101"),)),
    ),
    "an amend that nobody decided": (
        "every order approved by risk",
        with_books(orders=(msgspec.structs.replace(ORDER, amends=1),)),
    ),
    "an intent judged twice": (
        "every intent judged once",
        replace(SOUND, decisions=rows("decisions", *[{**TERMS, "action": 3, "cause_seq": 1}] * 2)),
    ),
    "an intent without judgement": (
        "every intent judged once",
        replace(SOUND, intents=rows("intents.strategy", TERMS, TERMS)),
    ),
    "a decision that execution skipped": (
        "every approved order sent or dropped",
        replace(SOUND, journal=journal({**PLACE, "journal_kind": JournalKind.UPDATE})),
    ),
    "an order that rests at the end": (
        "every order ended",
        with_books(orders=(msgspec.structs.replace(ORDER, status="NEW"),)),
    ),
    "a row that is left": ("every order ended", replace(SOUND, open_rows=(ORDER_ID,))),
    "an order without an end": (
        "every order ended",
        replace(SOUND, executions=rows("executions", SENT)),
    ),
    "an order that lives again": (
        "order states only move up",
        replace(SOUND, executions=rows("executions", FILL, SENT)),
    ),
    "a lost record": (
        "sequences without gaps",
        replace(SOUND, executions=skipping(SOUND.executions)),
    ),
    "a flipped bit in the journal": (
        "journal undamaged",
        replace(SOUND, journal=damaged(SOUND.journal)),
    ),
    "a position that its fills do not make": (
        "position is the sum of its fills",
        replace(SOUND, positions={"BTCUSDT": OurPosition(QTY, 1, adjusted_e8=5)}),
    ),
    "an adjustment that no fault explains": (
        "nothing adjusted without a cause",
        replace(SOUND, adjustments=1),
    ),
    "a fill of somebody else's order": (
        "every fill once in executions",
        replace(SOUND, executions=rows("executions", SENT, {**FILL, "order_id": ORDER_ID + 1})),
    ),
    "a stranger's trade that was not adopted": (
        "every order in the journal",
        with_books(orders=(ORDER, STRANGER)),
    ),
    "an id chosen twice": (
        "no order id chosen twice",
        replace(SOUND, intents=rows("intents.strategy", *[{**TERMS, "action": 1}] * 2)),
    ),
    "a decision of an older life": (
        "one life of risk at a time",
        replace(
            SOUND,
            decisions=rows(
                "decisions",
                {**TERMS, "action": 1, "cause_seq": 1, "risk_epoch": 2},
                {"action": 3, "cause_seq": 2, "risk_epoch": 1},
            ),
        ),
    ),
    "an approval beyond the limit": (
        "worst case within the limit",
        replace(SOUND, position_notional_max_e8=parse_e8("100")),
    ),
    "an order that was at the venue first": (
        "journal before the wire",
        replace(
            with_books(orders=(msgspec.structs.replace(ORDER, created=1),)),
            journal=journal({**PLACE, "publish_ns": NS_PER_S}),
        ),
    ),
    "an order of a risk that is dead": (
        "nothing sent for a dead risk",
        replace(
            at_times(deaths=(Death("risk", 500),), permit_ns=100),
            journal=journal({**PLACE, "publish_ns": NS_PER_S}),
        ),
    ),
    "an order that was not looked at again": (
        "nothing sent on an old look",
        at_times(frozen_at_fence=(Pause(("execution",), 500, 900),)),
    ),
    "an order on a silent book": (
        "nothing placed on a silent book",
        replace(
            at_times(faults=silenced(4.0), stale_ns=NS_PER_MS),
            journal=journal({**PLACE, "publish_ns": NS_PER_S}),
        ),
    ),
    "an order that nobody pulls": (
        "nothing rests on a silent book",
        replace(
            at_times(faults=silenced(4.0), pull_ns=NS_PER_S), executions=rows("executions", SENT)
        ),
    ),
    "an order on paper that was sent": (
        "paper stays out of the live books",
        replace(BESIDE, journal=journal(PLACE, {**PLACE, "order_id": ON_PAPER})),
    ),
    "a fill on paper in the live books": (
        "paper stays out of the live books",
        replace(BESIDE, executions=rows("executions", SENT, FILL, PAPER_FILL)),
    ),
    "a position on paper that its fills do not make": (
        "paper position is the sum of its fills",
        replace(BESIDE, paper_positions={"BTCUSDT": OurPosition(QTY + 1, 1)}),
    ),
    "an order on paper without an end": (
        "every order on paper ended",
        replace(BESIDE, paper=rows("executions.paper", PAPER_SENT), paper_positions={}),
    ),
    "an intent by hand without judgement": (
        "every intent judged once",
        replace(BESIDE, manual=rows("intents.manual", TERMS, TERMS)),
    ),
    "an intent by hand judged twice": (
        "every intent judged once",
        replace(
            BESIDE,
            decisions=rows(
                "decisions",
                *[{"action": 3, "cause_ring": RingId.MANUAL, "cause_seq": 1}] * 2,
            ),
        ),
    ),
    "a request while banned": ("no request while banned", complaining("banned")),
    "a broken rule": ("the venue's rules kept", complaining("weight limit")),
}


def test_sound_books_pass_every_invariant() -> None:
    audited = audit(SOUND)
    assert audited.findings == ()
    assert set(audited.checked) == set(INVARIANTS)


def test_orders_on_paper_and_by_hand_are_sound() -> None:
    assert audit(BESIDE).findings == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_the_audit_names_the_broken_invariant_with_evidence(name: str) -> None:
    invariant, evidence = DAMAGES[name]
    found = {finding.invariant: finding for finding in audit(evidence).findings}
    assert invariant in found
    assert all(found[invariant].evidence)


def test_every_invariant_can_be_broken() -> None:
    assert {invariant for invariant, _ in DAMAGES.values()} == set(INVARIANTS)


def test_records_that_were_not_seen_are_not_called_missing() -> None:
    nothing = replace(
        SOUND,
        executions=rows("executions"),
        journal=journal(),
        decisions=rows("decisions"),
        lost={"executions": 2, "journal": 1, "decisions": 1},
    )
    assert audit(nothing).findings == ()


def test_a_strangers_trade_that_was_adopted_is_sound() -> None:
    number = foreign_order_id(1, STRANGER.order_id)
    stranger_fill = msgspec.structs.replace(
        VENUE_FILL, trade_id=8, order_id=STRANGER.order_id, client_order_id="web_1"
    )
    theirs = {**FILL, "order_id": number, "trade_id": 8, "reason": Reason.FOREIGN_ORDER}
    evidence = replace(
        with_books(
            orders=(ORDER, STRANGER),
            fills=(VENUE_FILL, stranger_fill),
            positions={"BTCUSDT": VenuePosition(qty="4")},
        ),
        positions={"BTCUSDT": OurPosition(2 * QTY, 2)},
        journal=journal(PLACE, {"order_id": number, "journal_kind": JournalKind.ADOPT}),
        executions=rows("executions", SENT, FILL, theirs),
    )
    assert audit(evidence).findings == ()


def test_who_stood_still_after_his_last_look_may_send_one_order() -> None:
    evidence = replace(
        at_times(
            deaths=(Death("risk", 500),),
            pauses=(Pause(("execution",), 400, NS_PER_S - 5),),
            permit_ns=100,
        ),
        journal=journal({**PLACE, "publish_ns": NS_PER_S}),
    )
    assert audit(evidence).findings == ()


def test_an_adjustment_after_events_were_lost_is_no_violation() -> None:
    evidence = replace(at_times(faults=(Begun("lose_user", "", 0, 2.0),)), adjustments=1)
    assert audit(evidence).findings == ()
