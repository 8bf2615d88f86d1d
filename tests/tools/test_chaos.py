"""Chaos: what is injected repeats, the audit sees every kind of damage, real processes survive."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import ipc
from hft.errors import UsageError
from hft.graph import ring
from hft.records import Action, ExecKind, JournalKind, OrderState, Side
from hft.units import parse_e8
from hft.venues.binance_usdm.order_text import client_order_id
from tools.chaos import Options, run
from tools.chaos.audit import INVARIANTS, Evidence, OurPosition, audit
from tools.chaos.recovery import times
from tools.chaos.schedule import Schedule, Strike
from tools.chaos.venue_books import VenueBooks, VenueFill, VenueOrder, VenuePosition

WAIT_S = 120
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
PLACE = {**TERMS, "journal_kind": JournalKind.PLACE, "cause_seq": 1, "publish_ns": 1_000}
SENT = {"order_id": ORDER_ID, "exec_kind": ExecKind.SENT, "order_state": OrderState.PENDING_NEW}
FILL = {
    "order_id": ORDER_ID,
    "instrument_id": 1,
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


def with_books(**changes: Any) -> Evidence:
    return replace(SOUND, books=msgspec.structs.replace(BOOKS, **changes))


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
        with_books(orders=(ORDER, msgspec.structs.replace(ORDER, client_order_id="web_1"))),
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
    "an order of a risk that is dead": (
        "nothing sent for a dead risk",
        replace(SOUND, risk_deaths=((500, 900),)),
    ),
}


def test_sound_books_pass_every_invariant() -> None:
    audited = audit(SOUND)
    assert audited.findings == ()
    assert set(audited.checked) == set(INVARIANTS)


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


def strikes(seed: int, count: int = 200, only: tuple[str, ...] = ()) -> list[Strike]:
    schedule = Schedule(seed, ("feed", "risk", "execution"), only)
    return [schedule.next() for _ in range(count)]


def test_a_seed_repeats_its_strikes_and_another_seed_does_not() -> None:
    assert strikes(7) == strikes(7)
    assert strikes(7) != strikes(8)


def test_strikes_are_of_the_kinds_asked_for() -> None:
    assert {one.kind for one in strikes(1, only=("stop", "pair"))} == {"stop", "pair"}
    for one in strikes(1):
        assert len(one.processes) == {"pair": 2, "all": 3}.get(one.kind, 1)
        assert (50 <= one.stop_ms <= 3_000) == (one.kind == "stop")
        assert len(set(one.processes)) == len(one.processes)


def test_percentiles_are_values_that_were_measured() -> None:
    assert times([]).count == 0
    found = times(n * 1_000_000 for n in range(1, 101))
    assert (found.count, found.p50, found.p99, found.max) == (100, 50.0, 99.0, 100.0)


@pytest.mark.parametrize("only", [("earthquake",), ("halt", "kill")])
def test_kinds_that_cannot_be_run_are_refused(only: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        run(Options(only=only))


Chaos = Callable[..., tuple[int, dict[str, Any]]]
PROGRAM = """
import sys, msgspec
from tools.chaos import Options, run
sys.exit(run(msgspec.json.decode(sys.argv[1], type=Options)))
"""


@pytest.fixture
def chaos(project_root: Path, tmp_path: Path) -> Chaos:
    """Run chaos in a process of its own, whose children are then all of that run."""

    def start(options: Options) -> tuple[int, dict[str, Any]]:
        settings = msgspec.json.encode(msgspec.structs.replace(options, as_json=True)).decode()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, settings],
            cwd=project_root,
            env={**os.environ, "HFT_RUN_DIR": str(tmp_path / "run")},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert ipc.list_segments(report["name"]) == []
        assert not (tmp_path / "run" / report["name"]).exists()
        return done.returncode, report

    return start


@pytest.mark.timeout(WAIT_S)
@pytest.mark.parametrize(("topology", "seed"), [("compact", 1), ("dedicated", 2)])
def test_no_order_is_lost_whatever_is_killed(chaos: Chaos, topology: str, seed: int) -> None:
    exit_code, report = chaos(Options(minutes=0.1, seed=seed, topology=topology))
    assert report["findings"] == []
    assert (exit_code, report["violations"], report["passed"]) == (0, 0, True)
    assert report["strikes"] > 0
    assert sum(report["kills"].values()) + sum(report["stops"].values()) > 0
    assert report["orders"] > 0
    assert report["fills"] > 0


@pytest.mark.timeout(WAIT_S)
def test_the_halt_empties_the_book(chaos: Chaos) -> None:
    exit_code, report = chaos(Options(only=("halt",), drills=3))
    assert report["findings"] == []
    assert exit_code == 0
    assert report["strikes"] == report["halt_ms"]["nothing_open"]["count"] == 3
