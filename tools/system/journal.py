"""`hft journal`: what execution wrote down of every order, from the copy on disk.

Works on the files alone, so a system may run or not. Only what is on disk is shown: of a running
system that is all but the last moments.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from hft.config import PLAN_FILE
from hft.core.assets import ASSET_IDS
from hft.core.order_id import is_foreign
from hft.errors import UnreachableError, UsageError
from hft.records import (
    Action,
    ExecKind,
    JournalKind,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles.context import load_plan
from hft.roles.journal_files import FOLDER, Journal, JournalFile, list_files, read_journal
from hft.units import NS_PER_S, NS_PER_US, format_e8
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.system.places import find_running, state_root
from tools.system.planner import INSTRUMENTS_FILE, load_numbers
from tools.terminal import paint

ASSETS: Final = {asset_id: name for name, asset_id in ASSET_IDS.items()}
REQUESTS: Final = (JournalKind.PLACE, JournalKind.AMEND, JournalKind.CANCEL)
"""Entries that were written before bytes left."""


class EntryText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry in words; what does not concern its kind is left out."""

    wall_ns: int
    time: str
    """Local time with its offset, to the microsecond."""
    seq: int
    kind: str
    action: str = ""
    order_id: int = 0
    client_order_id: str = ""
    """Empty for an order that is not ours."""
    venue_order_id: int = 0
    symbol: str = ""
    side: str = ""
    price: str = ""
    qty: str = ""
    filled: str = ""
    order_type: str = ""
    tif: str = ""
    good_till_s: int = 0
    post_only: bool = False
    reduce_only: bool = False
    state: str = ""
    execution: str = ""
    """Kind of the execution record that reports it."""
    reason: str = ""
    trade_id: int = 0
    fee: str = ""
    maker: bool = False
    strategy_id: int = 0
    decision_seq: int = 0


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``hft journal show``."""

    directory: str
    entries: tuple[EntryText, ...]
    problems: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``hft journal verify``; ``problems`` is empty when every entry is there, once."""

    directory: str
    files: int
    journals: int
    """Lives of the ring: each `hft up` begins one."""
    entries: int
    first: str
    last: str
    """Times of the first and last entry."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def find_state_dir(run_root: Path, state_setting: str | None, name: str | None) -> Path:
    """State directory of the system meant: of the one that runs, else of the one that did.

    Raises:
        UnreachableError: no system of that name has a journal here.
        UsageError: several have one and none is named.
    """
    if state_setting is None:
        try:
            run_dir = find_running(run_root, name)
        except UnreachableError:
            run_dir = None
        if run_dir is not None and (run_dir / PLAN_FILE).exists():
            return Path(load_plan(run_dir).state_dir)
    root = state_root(state_setting or "")
    known = sorted(path.parent.name for path in root.glob(f"*/{FOLDER}"))
    chosen = name or ("default" if "default" in known or not known else known[0])
    if chosen not in known:
        raise UnreachableError(
            f'there is no order journal of a system "{chosen}" in {root}.',
            remedy=f"There is one of: {', '.join(known)}."
            if known
            else "`hft up` makes one; --state-dir says where to look (system.state_dir).",
        )
    if name is None and len(known) > 1 and chosen != "default":
        raise UsageError(
            f"several systems have a journal in {root}: {', '.join(known)}.",
            remedy=f"Say which: --name {chosen}.",
        )
    return root / chosen


def load(state_dir: Path) -> Journal:
    """Read the journal of a system.

    Raises:
        UnreachableError: there is none.
    """
    directory = state_dir / FOLDER
    if not list_files(directory):
        raise UnreachableError(
            f"there is no order journal in {directory}.",
            remedy="A system writes one as soon as it runs; --name or --state-dir name another.",
        )
    return read_journal(directory)


def verify(state_dir: Path) -> Verdict:
    """Look whether every entry is there, once, and undamaged."""
    journal = load(state_dir)
    pieces = [piece for piece in journal.pieces if len(piece.entries)]
    ends = [("", "")]
    if pieces:
        first, last = pieces[0], pieces[-1]
        ends = [(_time(first.file, first.entries[0]), _time(last.file, last.entries[-1]))]
    return Verdict(
        directory=str(state_dir / FOLDER),
        files=len(list_files(state_dir / FOLDER)),
        journals=len({piece.file.header.journal_ns for piece in journal.pieces}),
        entries=journal.entry_count,
        first=ends[0][0],
        last=ends[0][1],
        problems=journal.problems,
        notes=journal.notes,
    )


def render_verdict(verdict: Verdict) -> list[str]:
    """The verdict for a person."""
    lines = [
        f"{verdict.directory}: {verdict.entries:,} entries in {verdict.files} files,"
        f" {verdict.journals} starts"
    ]
    if verdict.entries:
        lines.append(f"  from {verdict.first}\n    to {verdict.last}")
    lines += [f"  note: {note}; nobody was told that they are safe" for note in verdict.notes]
    lines += [f"  {paint(problem, 'red')}" for problem in verdict.problems]
    if not verdict.problems:
        lines.append(f"  {paint('every entry is there, once, and undamaged', 'green')}")
    return lines


def parse_order(text: str) -> int:
    """An order id as a person may give it: ours at the venue, decimal, or 0x…

    Raises:
        UsageError: it is none of these.
    """
    order_id = parse_client_order_id(text)
    if order_id is not None:
        return order_id
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(
            f"{text!r} is no order id.",
            remedy="Give our client order id (h and 16 digits), or the number itself.",
        ) from None


def show(state_dir: Path, *, last: int, order_id: int | None) -> Shown:
    """The newest ``last`` entries, of one order when it is given; 0: all."""
    journal = load(state_dir)
    symbols = {
        number: symbol for symbol, number in load_numbers(state_dir / INSTRUMENTS_FILE).items()
    }
    found: list[EntryText] = []
    for piece in reversed(journal.pieces):
        entries = piece.entries
        if order_id is not None:
            entries = entries[entries["order_id"] == order_id]
        for entry in entries[::-1]:
            if last and len(found) >= last:
                break
            found.append(_text(piece.file, entry, symbols))
    return Shown(
        directory=str(state_dir / FOLDER),
        entries=tuple(reversed(found)),
        problems=journal.problems,
    )


def _time(file: JournalFile, entry: Any) -> str:
    wall_ns = file.wall_ns(int(entry["publish_ns"]))
    moment = datetime.fromtimestamp(wall_ns // NS_PER_S).astimezone()
    moment = moment.replace(microsecond=wall_ns % NS_PER_S // NS_PER_US)
    return moment.isoformat(sep=" ", timespec="microseconds")


def _name(words: type[IntEnum], value: int) -> str:
    """Name of a number; the number itself when this build does not know it; 0: nothing."""
    if not value:
        return ""
    try:
        return words(value).name
    except ValueError:
        return str(value)


def _text(file: JournalFile, entry: Any, symbols: dict[int, str]) -> EntryText:
    value = {name: int(entry[name]) for name in entry.dtype.names}
    kind, order_id = value["journal_kind"], value["order_id"]
    is_ours = order_id and not is_foreign(order_id)
    is_fill, is_request = kind == JournalKind.FILL, kind in REQUESTS
    asset = ASSETS.get(value["fee_asset_id"], str(value["fee_asset_id"]))
    instrument_id = value["instrument_id"]
    return EntryText(
        wall_ns=file.wall_ns(value["publish_ns"]),
        time=_time(file, entry),
        seq=value["seq"],
        kind=_name(JournalKind, kind),
        action=_name(Action, value["action"]),
        order_id=order_id,
        client_order_id=client_order_id(order_id) if is_ours else "",
        venue_order_id=value["venue_order_id"],
        symbol=symbols.get(instrument_id, f"instrument {instrument_id}") if instrument_id else "",
        side=_name(Side, value["side"]),
        price=format_e8(value["price_e8"]) if value["price_e8"] else "",
        qty=format_e8(value["qty_e8"]) if value["qty_e8"] else "",
        filled=format_e8(value["cum_qty_e8"]) if value["cum_qty_e8"] else "",
        order_type=_name(OrderType, value["order_type"]) if is_request else "",
        tif=_name(Tif, value["tif"]) if is_request else "",
        good_till_s=value["good_till_s"],
        post_only=bool(value["is_post_only"]) and is_request,
        reduce_only=bool(value["is_reduce_only"]) and is_request,
        state=_name(OrderState, value["order_state"]),
        execution=_name(ExecKind, value["exec_kind"]),
        reason=_name(Reason, value["reason"]),
        trade_id=value["trade_id"],
        fee=f"{format_e8(value['fee_e8'])} {asset}" if is_fill else "",
        maker=bool(value["is_maker"]),
        strategy_id=value["strategy_id"],
        decision_seq=value["cause_seq"],
    )


def render(shown: Shown) -> Iterator[str]:
    """One line an entry: time, what, which order, and what became of it."""
    day = ""
    for entry in shown.entries:
        date, clock = entry.time.split(" ")
        if date != day:
            day = date
            yield date
        order = entry.client_order_id or (
            f"venue's {entry.venue_order_id}" if entry.order_id else "―"
        )
        yield f"{clock[:15]} {entry.kind:<8} {order:<17} {_what(entry)}"


def _what(entry: EntryText) -> str:
    words = [entry.symbol, entry.side]
    if entry.qty:
        words.append(f"{entry.qty} @ {entry.price}" if entry.price else entry.qty)
    words += [entry.order_type, entry.tif]
    words += ["post-only"] * entry.post_only + ["reduce-only"] * entry.reduce_only
    if entry.kind == JournalKind.FILL.name:
        words.append(f"trade {entry.trade_id}, fee {entry.fee}")
    if entry.kind == JournalKind.CONSUMED.name:
        words.append(entry.action)
    if entry.state:
        words.append(f"→ {entry.state}")
    if entry.filled:
        words.append(f"filled {entry.filled}")
    if entry.reason:
        words.append(f"({entry.reason})")
    return " ".join(word for word in words if word)
