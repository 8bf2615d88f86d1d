"""`hft trace`: one order's life, hop by hop, back to the tick that caused it.

Everything stands in the rings: each record names the ring and the sequence of the one that caused
it. The rings keep the last few thousand records, so an old order's first hops may be gone; what is
gone is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

import ipc
from hft import graph, records
from hft.config import Plan
from hft.core.generated import views
from hft.errors import EXIT_OK, CheckFailedError, UsageError
from hft.records import SLOT_BYTES, Action, ExecKind, JournalKind, Kind, Reason, Side
from hft.roles.context import load_plan, ring_spec
from hft.units import format_e8
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from tools.latency.drawing import duration

FOLLOWED: Final = ("intents.strategy", "intents.manual", "decisions", "journal", "executions")
_VIEWS: Final[dict[int, Any]] = {
    spec.kind: getattr(views, spec.class_name) for spec in records.RING_RECORDS
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the order's life."""

    ring: str
    seq: int
    at_ns: int
    """Monotonic time at which it was published; of a tick, at which the frame was read."""
    since_origin_ns: int
    """Since the network event that caused the order; -1: that is not known."""
    text: str


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The life of one order, as far as the rings remember it."""

    order_id: int
    client_order_id: str
    symbol: str
    origin_ns: int
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    """What the rings no longer hold."""


def run(run_dir: Path, order: str, *, as_json: bool) -> int:
    """Find the order and print its life.

    Raises:
        UsageError: that is no order id.
        CheckFailedError: no ring holds a record of it.
    """
    found = trace(load_plan(run_dir), parse_order(order))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo("\n".join(render(found)))
    return EXIT_OK


def parse_order(text: str) -> int:
    """An order id as the venue shows it (``h`` and 16 digits) or as a number.

    Raises:
        UsageError: it is neither.
    """
    number = parse_client_order_id(text)
    if number is None and text.isdigit():
        number = int(text)
    if not number:
        raise UsageError(
            f"{text!r} is no order id",
            remedy="It is `h` and 16 hexadecimal digits, as `hft journal show` prints it.",
        )
    return number


def trace(plan: Plan, order_id: int) -> Trace:
    """Everything that the rings hold of one order.

    Raises:
        CheckFailedError: nothing.
    """
    found = [
        (name, row) for name in FOLLOWED for row in _rows(plan, name) if row.order_id == order_id
    ]
    if not found:
        raise CheckFailedError(
            f"no ring of {plan.name!r} holds a record of {client_order_id(order_id)}.",
            remedy="The rings keep the last few thousand; `hft journal show --order` reaches back.",
        )
    intents = [row for name, row in found if name.startswith("intents.")]
    origin_ns, missing, steps = 0, [], []
    if intents:
        first = intents[0]
        origin_ns = first.origin_ns
        cause = _cause(plan, first)
        if cause is not None:
            steps.append(cause)
        elif first.cause_seq:
            missing.append(f"the record that caused it ({_ring_name(first.cause_ring)})")
    else:
        missing.append("the intent")
        origin_ns = next((row.origin_ns for name, row in found if name == "decisions"), 0)
    steps += [_step(name, row, origin_ns) for name, row in found]
    steps.sort(
        key=lambda step: (step.at_ns, FOLLOWED.index(step.ring) if step.ring in FOLLOWED else -1)
    )
    symbols = {one.instrument_id: one.symbol for one in plan.instruments}
    return Trace(
        order_id=order_id,
        client_order_id=client_order_id(order_id),
        symbol=symbols.get(found[0][1].instrument_id, ""),
        origin_ns=origin_ns,
        steps=tuple(steps),
        missing=tuple(missing),
    )


def render(found: Trace) -> list[str]:
    """One line for each record, with the time since the tick and since the line before."""
    lines = [f"{found.client_order_id}  {found.symbol}", ""]
    lines.append(f"  {'since tick':>10} {'step':>10}  {'ring':<17} {'seq':>9}")
    before_ns = 0
    for step in found.steps:
        since = duration(step.since_origin_ns) if step.since_origin_ns >= 0 else "―"
        pause = duration(max(0, step.at_ns - before_ns)) if before_ns else ""
        lines.append(f"  {since:>10} {pause:>10}  {step.ring:<17} {step.seq:>9}  {step.text}")
        before_ns = step.at_ns
    lines += [f"  ! {what} is no longer in the rings" for what in found.missing]
    return lines


def _rows(plan: Plan, name: str) -> Iterator[Any]:
    """Every record that a ring still holds, oldest first, each with bytes of its own."""
    buffer = bytearray(SLOT_BYTES)
    segment = ipc.Segment.attach(plan.name, ring_spec(name))
    newest = ipc.RingReader(segment, bytearray(SLOT_BYTES)).newest_seq
    oldest = max(1, newest - graph.ring(name).capacity + 2)
    reader = ipc.RingReader(segment, buffer, start_seq=oldest)
    view = _VIEWS[graph.ring(name).records[0].kind]
    while reader.next():
        yield view(bytearray(buffer))
    del reader
    segment.close()


def _cause(plan: Plan, intent: Any) -> Step | None:
    """The record that an intent answers; None when it is gone."""
    name = _ring_name(intent.cause_ring)
    if not intent.cause_seq or name not in {spec.name for spec in graph.RINGS}:
        return None
    buffer = bytearray(SLOT_BYTES)
    segment = ipc.Segment.attach(plan.name, ring_spec(name))
    reader = ipc.RingReader(segment, buffer, start_seq=intent.cause_seq)
    record = None
    if reader.next() and reader.seq == intent.cause_seq:
        kind = views.Header(buffer).kind
        record = _VIEWS[kind](bytearray(buffer)) if kind in _VIEWS else None
    del reader
    segment.close()
    return None if record is None else _step(name, record, intent.origin_ns)


def _ring_name(ring_id: int) -> str:
    return next((spec.name for spec in graph.RINGS if spec.ring_id == ring_id), "")


def _step(ring: str, row: Any, origin_ns: int) -> Step:
    at_ns = row.origin_ns if hasattr(row, "as_of_ns") else row.publish_ns  # origin: it was read
    return Step(
        ring=ring,
        seq=row.seq,
        at_ns=at_ns,
        since_origin_ns=at_ns - origin_ns if origin_ns else -1,
        text=_describe(row),
    )


def _describe(row: Any) -> str:
    match row.kind:
        case Kind.TOP_OF_BOOK:
            return f"best {format_e8(row.bid_e8)} / {format_e8(row.ask_e8)}"
        case Kind.INTENT:
            return f"{Action(row.action).name.lower()} {_terms(row)}"
        case Kind.DECISION:
            verdict = "approved" if row.reason == Reason.NONE else Reason(row.reason).name
            return f"{Action(row.action).name.lower()} {verdict}"
        case Kind.JOURNAL:
            reason = "" if row.reason == Reason.NONE else f" {Reason(row.reason).name}"
            return f"{JournalKind(row.journal_kind).name.lower()}{reason}"
        case Kind.EXECUTION:
            reason = "" if row.reason == Reason.NONE else f" {Reason(row.reason).name}"
            terms = f" {_terms(row)}" if row.exec_kind == ExecKind.FILL else ""
            return f"{ExecKind(row.exec_kind).name.lower()}{terms}{reason}"
    return Kind(row.kind).name.lower()


def _terms(row: Any) -> str:
    side = Side(row.side).name.lower()
    return f"{side} {format_e8(row.qty_e8)} at {format_e8(row.price_e8)}"
