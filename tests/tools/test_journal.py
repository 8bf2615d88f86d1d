"""`hft journal`: what stands on disk, in words, with the exit codes that scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hft.cli import cli
from hft.core.generated.views import Journal as Entry
from hft.core.order_id import foreign_order_id
from hft.errors import UnreachableError, UsageError
from hft.records import (
    SLOT_BYTES,
    Action,
    ExecKind,
    JournalKind,
    Kind,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.journal_files import FOLDER, HEADER_BYTES, LAYOUT_HASH, FileHeader
from hft.roles.order_keeper import entry_crc
from hft.units import E8
from tools.system.journal import find_state_dir, parse_order, render, render_verdict, show, verify

OURS = 0x01_6B03386A_000082
THEIRS = foreign_order_id(1, 777)


def slot(seq: int, kind: JournalKind, order_id: int = OURS, **values: int) -> bytearray:
    raw = bytearray(SLOT_BYTES)
    entry = Entry(raw)
    entry.kind, entry.journal_kind, entry.order_id = int(Kind.JOURNAL), int(kind), order_id
    entry.instrument_id, entry.side = 1, int(Side.BUY)
    entry.price_e8, entry.qty_e8 = 63_983 * E8, 2 * E8 // 1_000
    for name, value in values.items():
        setattr(entry, name, int(value))
    entry.crc = entry_crc(raw)
    entry.seq, entry.publish_ns = seq, 1_000_000 * seq
    return raw


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """What a system called desk left: an order of ours, one refused, a foreign one."""
    directory = tmp_path / "desk" / FOLDER
    directory.mkdir(parents=True)
    (tmp_path / "desk" / "instruments.json").write_text('{"BTCUSDT": 1}')
    header = FileHeader(LAYOUT_HASH, 1, 1, 1, 1, 8, 1_000, 10**18, 0, "desk")
    entries = (
        slot(1, JournalKind.PLACE, order_type=OrderType.LIMIT, tif=Tif.GTC, is_post_only=1,
             order_state=OrderState.PENDING_NEW, action=Action.PLACE),
        slot(2, JournalKind.FILL, trade_id=9, fee_e8=E8 // 100, fee_asset_id=1,
             cum_qty_e8=2 * E8 // 1_000, order_state=OrderState.FILLED, exec_kind=ExecKind.FILL),
        slot(3, JournalKind.CONSUMED, OURS + 1, action=Action.PLACE,
             reason=Reason.DECISION_EXPIRED),
        slot(4, JournalKind.ADOPT, THEIRS, venue_order_id=777, reason=Reason.LIQUIDATION,
             side=Side.SELL, order_state=OrderState.WORKING),
    )  # fmt: skip
    path = directory / header.file_name
    path.write_bytes(header.encode().ljust(HEADER_BYTES, b"\0") + b"".join(entries))
    return tmp_path / "desk"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["journal", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value or 0, result.output


def test_every_entry_is_a_line(state_dir: Path) -> None:
    lines = list(render(show(state_dir, last=0, order_id=None)))
    assert [line[16:].split()[0] for line in lines[1:]] == ["PLACE", "FILL", "CONSUMED", "ADOPT"]
    assert lines[1].endswith(
        "h016b03386a000082 BTCUSDT BUY 0.002 @ 63983 LIMIT GTC post-only → PENDING_NEW"
    )
    assert lines[2].endswith("trade 9, fee 0.01 USDT → FILLED filled 0.002")
    assert lines[3].endswith("BTCUSDT BUY 0.002 @ 63983 PLACE (DECISION_EXPIRED)")
    assert "venue's 777" in lines[4]
    assert lines[4].endswith("SELL 0.002 @ 63983 → WORKING (LIQUIDATION)")


def test_times_are_wall_clock(state_dir: Path) -> None:
    (entry, *_) = show(state_dir, last=0, order_id=None).entries
    assert entry.wall_ns == 10**18 + 1_000_000
    assert ".001000" in entry.time


def test_the_newest_and_those_of_one_order_are_chosen(state_dir: Path) -> None:
    assert [one.seq for one in show(state_dir, last=2, order_id=None).entries] == [3, 4]
    assert [one.seq for one in show(state_dir, last=9, order_id=OURS).entries] == [1, 2]
    assert [one.seq for one in show(state_dir, last=1, order_id=OURS).entries] == [2]


@pytest.mark.parametrize("text", ["h016b03386a000082", str(OURS), hex(OURS)])
def test_an_order_may_be_named_in_every_form(text: str) -> None:
    assert parse_order(text) == OURS


def test_what_is_no_order_is_told() -> None:
    with pytest.raises(UsageError, match="'latest' is no order id"):
        parse_order("latest")


def test_numbers_of_a_later_build_are_shown_as_numbers(state_dir: Path) -> None:
    (path,) = (state_dir / FOLDER).iterdir()
    entry = slot(5, JournalKind.UPDATE, reason=999)
    path.write_bytes(path.read_bytes() + entry)
    assert show(state_dir, last=1, order_id=None).entries[0].reason == "999"


def test_a_whole_journal_is_verified(state_dir: Path) -> None:
    verdict = verify(state_dir)
    assert (verdict.entries, verdict.files, verdict.problems) == (4, 1, ())
    assert render_verdict(verdict)[-1] == "  every entry is there, once, and undamaged"
    exit_code, out = run("verify", "--state-dir", str(state_dir.parent), "--json")
    assert exit_code == 0
    assert json.loads(out)["entries"] == 4


def test_a_damaged_journal_fails_the_check(state_dir: Path) -> None:
    (path,) = (state_dir / FOLDER).iterdir()
    raw = bytearray(path.read_bytes())
    raw[HEADER_BYTES + SLOT_BYTES + 60] ^= 1
    path.write_bytes(raw)
    exit_code, out = run("verify", "--state-dir", str(state_dir.parent), "--name", "desk")
    assert exit_code == 1
    assert "entry 2 is damaged, 2 entries behind it are not" in out


def test_json_leaves_out_what_does_not_concern_the_entry(state_dir: Path) -> None:
    _, out = run("show", "--state-dir", str(state_dir.parent), "--last", "1", "--json")
    (entry,) = json.loads(out)["entries"]
    assert (entry["reason"], entry["order_id"]) == ("LIQUIDATION", THEIRS)
    assert "client_order_id" not in entry
    assert "fee" not in entry


def test_an_empty_place_has_no_journal(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match='no order journal of a system "default"'):
        find_state_dir(tmp_path, str(tmp_path), None)
    (tmp_path / "desk" / FOLDER).mkdir(parents=True)
    with pytest.raises(UnreachableError, match="there is no order journal in"):
        verify(find_state_dir(tmp_path, str(tmp_path), None))


def test_several_systems_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / FOLDER).mkdir(parents=True)
    with pytest.raises(UsageError, match="several systems have a journal"):
        find_state_dir(tmp_path, str(tmp_path), None)
    assert find_state_dir(tmp_path, str(tmp_path), "b") == tmp_path / "b"
    with pytest.raises(UnreachableError) as raised:
        find_state_dir(tmp_path, str(tmp_path), "c")
    assert raised.value.remedy == "There is one of: a, b."
