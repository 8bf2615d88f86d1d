"""``hft risk``: every limit, its use and headroom."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft import counters, graph
from hft.config import Plan
from hft.core.breakers import Layer
from hft.core.catalogue import CATALOGUE, UNLIMITED, LimitSpec, Scope
from hft.core.generated.views import Alert
from hft.core.order_id import SOURCE_MAX
from hft.roles import limits_file
from hft.roles.context import cells_spec, load_plan
from hft.roles.risk_watch import PAUSED_SLOT
from tools.system.commands import trading_state
from tools.system.segments import attach_page

_SHOWN_LAYER: Final = {Layer.FINE: "", Layer.SOFT: "near", Layer.HARD: "EXCEEDED"}


class Row(msgspec.Struct, frozen=True):
    """One limit. Values as a person writes them; empty: it has no standing use."""

    name: str
    unit: str
    scope: str
    limit: str
    use: str
    headroom: str
    used_percent: float | None
    where: str
    """The instrument or strategy that uses most of it."""
    layer: str
    """fine, soft or hard."""
    beyond: str
    meaning: str


class Found(msgspec.Struct, frozen=True):
    """The limits in force."""

    system: str
    policy: str
    version: int
    changes: int
    trading_state: str
    paused_strategies: tuple[str, ...]
    limits: tuple[Row, ...]


def read(run_dir: Path) -> Found:
    """The limits of a running system and their uses.

    Raises:
        UsageError: nothing runs from there.
    """
    plan = load_plan(run_dir)
    limits, _ = limits_file.in_force_or_configured(plan)
    page = attach_page(plan, "risk")
    segment = ipc.Segment.attach(plan.name, cells_spec("limits"), writable=False)
    buffer = bytearray(graph.cells("limits").record.dtype.itemsize)
    reader, cell = ipc.CellReader(segment, buffer), Alert(buffer)
    rows = []
    try:
        for spec in CATALOGUE:
            is_there = reader.read(spec.number)
            use = cell.value_e8 if is_there else -1
            limit = cell.limit_e8 if is_there else spec.of(limits)
            layer = Layer(cell.severity) if is_there else Layer.FINE
            rows.append(_row(plan, spec, use, limit, layer, cell.instrument_id))
        paused = paused_strategies(page)
        return Found(
            system=plan.name,
            policy=limits.policy,
            version=page.gauge(counters.LIMITS_VERSION.id),
            changes=limits_file.load(run_dir).changes,
            trading_state=trading_state(plan, page).name,
            paused_strategies=tuple(_strategy_name(plan, number) for number in paused),
            limits=tuple(rows),
        )
    finally:
        segment.close()
        page.close()


def paused_strategies(page: ipc.RolePage) -> list[int]:
    """Ids of the strategies that a breaker stopped."""
    noted = page.pending(PAUSED_SLOT)
    bits = noted[0] | noted[1] << 64 if noted else 0
    return [number for number in range(1, SOURCE_MAX + 1) if bits >> number & 1]


def _strategy_name(plan: Plan, number: int) -> str:
    strategies = plan.config.strategies
    return strategies[number - 1].name if 0 < number <= len(strategies) else f"strategy {number}"


def _row(plan: Plan, spec: LimitSpec, use: int, limit: int, layer: Layer, where: int) -> Row:
    has_use = use >= 0 and spec.soft_percent > 0
    place = ""
    if has_use and where:
        symbols = {i.instrument_id: i.symbol for i in plan.instruments}
        place = (
            _strategy_name(plan, where)
            if spec.scope is Scope.STRATEGY
            else symbols.get(where, str(where))
        )
    is_bounded = limit > 0 if spec.is_floor else limit < UNLIMITED
    left = use - limit if spec.is_floor else limit - use
    part, whole = (limit, use) if spec.is_floor else (use, limit)
    return Row(
        name=spec.name,
        unit=spec.unit.value,
        scope=spec.scope.value,
        limit=spec.shown(limit),
        use=spec.shown(use) if has_use else "",
        headroom=spec.shown(max(0, left)) if has_use and is_bounded else "",
        used_percent=round(part * 100 / whole, 1) if has_use and is_bounded and whole else None,
        where=place,
        layer=layer.name.lower(),
        beyond=spec.hard,
        meaning=spec.meaning,
    )


def _fitted(text: str) -> str:
    """A value rounded to what a column of ten holds; `--json` has all its digits."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text  # empty, or in words
    places = max(0, 9 - len(str(int(value)))) if "." in text else 0
    text = text if len(text) <= 10 else f"{value:.{min(places, 2)}f}"
    return text if len(text) <= 10 else f"{value:.3e}"


def render(found: Found) -> list[str]:
    """The table as text."""
    out = [
        f"{found.system}: {found.policy}, version {found.version:#x}"
        f" ({found.changes} change{'' if found.changes == 1 else 's'} since the start),"
        f" {found.trading_state}",
        "",
        f"{'limit':<30}{'use':>11}{'limit':>11}{'headroom':>11}{'used':>6}  where",
        "-" * 79,
    ]
    for row in found.limits:
        used = "" if row.used_percent is None else f"{row.used_percent:.0f} %"
        note = " ".join(
            part for part in (row.where, _SHOWN_LAYER[Layer[row.layer.upper()]]) if part
        )
        name = f"{row.name} [{row.unit}]"
        use, limit, headroom = map(_fitted, (row.use, row.limit, row.headroom))
        out.append(f"{name:<30}{use:>11}{limit:>11}{headroom:>11}{used:>6}  {note}".rstrip())
    for name in found.paused_strategies:
        out.append(f'paused: {name}. Next: hft risk resume {name} --reason "…"')
    return out
