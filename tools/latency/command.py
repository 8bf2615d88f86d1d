"""What `hft latency …` prints and writes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

import click
import msgspec

from hft.config import Plan
from hft.errors import EXIT_OK, CheckFailedError, UsageError
from hft.roles.context import load_plan
from hft.units import NS_PER_S
from tools.latency import drawing, files
from tools.latency.hops import PERCENTILES, Hop, Hops
from tools.system.waiting import pause

COLUMNS: Final = ("count", *(f"p{share * 100:g}" for share in PERCENTILES), "max")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One hop, ns."""

    name: str
    role: str
    meaning: str
    count: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int


def show(run_dir: Path, *, plot: bool, as_json: bool) -> int:
    """Every histogram that counted something, since the system was started."""
    hops = [hop for hop in _read(load_plan(run_dir)) if hop.total]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_row(hop) for hop in hops])).decode())
        return EXIT_OK
    click.echo("\n".join(table(hops)))
    if plot:
        for hop in hops:
            click.echo("\n" + "\n".join(drawing.text_plot(hop)))
    return EXIT_OK


def dump(run_dir: Path, into: Path, *, seconds: float, interval_s: float) -> int:
    """Write a histogram log and percentile files; with ``seconds`` of intervals, else all so far.

    Raises:
        UsageError: the directory cannot be made, or is a file.
        CheckFailedError: nothing was counted.
    """
    plan = load_plan(run_dir)
    try:
        into.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"{into} is a file", remedy="Name a directory with --into.") from None
    now_wall_ns = time.time_ns()
    start_wall_ns = now_wall_ns if seconds else plan.started_wall_ns
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_wall_ns / NS_PER_S))
    log = into / f"{plan.name}-{stamp}.hlog"
    hops = Hops(plan)
    with log.open("w") as out:
        files.log_head(out, start_wall_ns)
        if seconds:
            whole = _log_intervals(out, hops, seconds, interval_s)
        else:
            whole = hops.read()
            files.log_interval(out, whole, 0.0, (now_wall_ns - start_wall_ns) / NS_PER_S)
    hops.close()
    written = files.write_hgrm(into, whole)
    if not written:
        log.unlink()
        raise CheckFailedError("nothing was counted.", remedy="Is it armed? See `hft status`.")
    click.echo("\n".join(str(path) for path in (log, *written)))
    return EXIT_OK


def _log_intervals(out: TextIO, hops: Hops, seconds: float, interval_s: float) -> tuple[Hop, ...]:
    begun_s = time.monotonic()
    first = before = hops.read()
    from_s = 0.0
    while from_s < seconds:
        pause(min(interval_s, seconds - from_s), pid=os.getpid())
        now, till_s = hops.read(), time.monotonic() - begun_s
        changes = [new.since(old) for new, old in zip(now, before, strict=True)]
        files.log_interval(out, changes, from_s, till_s - from_s)
        before, from_s = now, till_s
    return tuple(new.since(old) for new, old in zip(before, first, strict=True))


def report(paths: Sequence[Path], svg: Path | None) -> int:
    """Merge logs: a table, and a drawing.

    Raises:
        UsageError: a log cannot be read.
    """
    hops = files.read_logs(paths)
    click.echo("\n".join(table(hops)))
    if svg is not None:
        svg.write_text(drawing.svg(hops, ", ".join(path.stem for path in paths)))
        click.echo(f"\n{svg}")
    return EXIT_OK


def table(hops: Sequence[Hop]) -> list[str]:
    """One line for each hop; values with their units."""
    if not hops:
        return ["nothing was counted yet"]
    width = max(len(hop.name) for hop in hops)
    lines = [f"{'':<{width}}" + "".join(f"{column:>11}" for column in COLUMNS)]
    for hop in hops:
        values = [hop.percentile_ns(share) for share in PERCENTILES] + [hop.max_ns]
        cells = "".join(f"{drawing.duration(value):>11}" for value in values)
        lines.append(f"{hop.name:<{width}}{hop.total:>11,}{cells}")
    return lines


def _read(plan: Plan) -> tuple[Hop, ...]:
    hops = Hops(plan)
    try:
        return hops.read()
    finally:
        hops.close()


def _row(hop: Hop) -> Row:
    p50, p90, p99, p999 = (hop.percentile_ns(share) for share in PERCENTILES)
    return Row(
        name=hop.name,
        role=hop.role,
        meaning=hop.meaning,
        count=hop.total,
        p50=p50,
        p90=p90,
        p99=p99,
        p999=p999,
        max=hop.max_ns,
    )
