"""What the strategy engine tells of itself in a file, and what it keeps for its successor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from hft.core.catalogue import CATALOGUE
from hft.records import Action, Reason, Side
from hft.roles.desk import Desk
from hft.units import format_e8

PRIORITY_RULE: Final = (
    "On one instrument and in one mode no strategy crosses another: the one of higher priority "
    "quotes where it wants, the others keep a tick away from it."
)
STATUS_FILE: Final = "status.json"
OVERRIDES_FILE: Final = "overrides.json"


class Answer(msgspec.Struct, frozen=True):
    """What became of a command."""

    nonce: str
    text: str
    problem: str = ""
    """Why it was not carried out; empty: it was."""
    remedy: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What risk refused last of a strategy on one instrument."""

    wall_ns: int
    action: str
    side: str
    price: str
    qty: str
    code: int
    reason: str
    """Name of the code in ``hft.reasons``."""
    text: str
    """What it stands for, with the limits that refuse by it."""


class DeskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy on one instrument."""

    symbol: str
    state: str
    """running, paused, or "leaving live" and the like while orders are taken out."""
    reason: str
    mode: str
    position: str
    exposure: str
    wanted: dict[str, tuple[str, str]]
    """Price and quantity by side."""
    resting: dict[str, tuple[str, str]]
    explicit_orders: int
    held: int
    """Intents not offered as they would have met an order of ours."""
    errors: int
    refusals: int
    """Intents that risk refused since the process started."""
    last_refusal: Refusal | None


class StrategyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One configured strategy."""

    name: str
    plugin: str
    mode: str
    priority: int
    parameters: dict[str, object]
    loaded: str
    """What became of the last attempt to load it anew."""
    error_file: str
    """Where the last traceback and its event stand; empty: it never failed."""
    desks: tuple[DeskStatus, ...]


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``status.json``."""

    wall_ns: int
    rule: str
    strategies: tuple[StrategyStatus, ...]
    answers: tuple[Answer, ...]


class Kept(msgspec.Struct):
    """What a person, or a failure, changed about a strategy since ``hft up``."""

    mode: str = ""
    parameters: dict[str, str] = {}
    pauses: dict[str, str] = {}
    """Why it is paused, by symbol."""


class Overrides(msgspec.Struct):
    """``overrides.json``: a successor starts from it, another ``hft up`` does not."""

    started_wall_ns: int = 0
    strategies: dict[str, Kept] = {}


def strategies_dir(state_dir: Path) -> Path:
    """Where status, overrides and last errors stand."""
    return state_dir / "strategies"


def read_overrides(state_dir: Path, started_wall_ns: int) -> Overrides:
    """Those of this ``hft up``; none when they are another's, or unreadable."""
    try:
        raw = (strategies_dir(state_dir) / OVERRIDES_FILE).read_bytes()
        found = msgspec.json.decode(raw, type=Overrides)
    except (OSError, msgspec.DecodeError):
        found = Overrides()
    if found.started_wall_ns != started_wall_ns:
        found = Overrides(started_wall_ns=started_wall_ns)
    return found


def replace_file(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old or the new file, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(content))
    fresh.replace(path)


def desk_status(desk: Desk) -> DeskStatus:
    """How a desk is now."""
    targets = desk.targets
    state = "paused" if desk.pause_reason else "running"
    if desk.next_mode is not None:
        state = f"leaving {desk.mode.name.lower()}"
    return DeskStatus(
        symbol=desk.instrument.symbol,
        state=state,
        reason=desk.pause_reason,
        mode=desk.mode.name.lower(),
        position=format_e8(desk.inventory.position_e8),
        exposure=format_e8(targets.view.exposure_e8),
        wanted=_sides((side, targets.wanted(side)) for side in (Side.BUY, Side.SELL)),
        resting=_sides((side, targets.resting(side)) for side in (Side.BUY, Side.SELL)),
        explicit_orders=len(targets.orders),
        held=desk.held,
        errors=desk.errors,
        refusals=desk.refusals,
        last_refusal=_last_refusal(desk) if desk.refusals else None,
    )


def reason_text(reason: Reason) -> str:
    """A reason in words, with what is measured by the limits that refuse by it."""
    words = reason.name.lower().replace("_", " ")
    limits = [f"{one.meaning} ({one.name})" for one in CATALOGUE if one.reason is reason]
    return f"{words}: {', '.join(limits)}" if limits and reason is not Reason.NONE else words


def _last_refusal(desk: Desk) -> Refusal:
    refusal = desk.refusal
    reason, side = Reason(refusal.reason), Side(refusal.side)
    return Refusal(
        wall_ns=time.time_ns() - (time.monotonic_ns() - refusal.publish_ns),
        action=Action(refusal.action).name.lower(),
        side=side.name.lower() if side else "",
        price=format_e8(refusal.price_e8),
        qty=format_e8(refusal.qty_e8),
        code=int(reason),
        reason=reason.name,
        text=reason_text(reason),
    )


def _sides(found: Iterable[tuple[Side, tuple[int, int]]]) -> dict[str, tuple[str, str]]:
    return {
        side.name.lower(): (format_e8(price_e8), format_e8(qty_e8))
        for side, (price_e8, qty_e8) in found
        if qty_e8
    }
