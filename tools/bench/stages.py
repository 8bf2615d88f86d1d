"""``hft bench stages``: what each stage of the hot path costs alone, in one process, no sockets.

The stages are the system's own roles over real shared memory; frames are those of the simulator.
Each sample is one item (a frame, a record, a turn) between two readings of the clock, and one
reading is part of each figure. ``cold`` is the same with the second-level cache emptied before
every sample, as it is after some time in which the process had nothing to do. ``blocks`` is by how
much the number of the interpreter's memory blocks grows an item: what stays allocated. What an
order costs execution stands in a table of its own: there blocks are counted when they are asked
for, and the first order after a silence is measured with rehearsals before it and without.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.bench import machine, stages_order
from tools.bench.stages_loop import loop_turn
from tools.bench.stages_tick import LEVELS, Tick
from tools.terminal import paint

ITEMS: Final = 20_000
COLD_ITEMS: Final = 300
WARM_UP: Final = 200
CACHE_BYTES: Final = 8 << 20
ROUND: Final = 500
"""Items of one stage before the next one has its turn: a slow minute of the host meets all."""


class Step(NamedTuple):
    """One stage: ``prepare`` is not measured, ``run`` is."""

    name: str
    text: str
    prepare: Callable[[], object]
    run: Callable[[], object]
    budget_ns: float = 0
    """At most so much at p50; 0: nothing was promised."""
    divisor: int = 1
    """Parts of one item that the figure is for: levels of a depth event."""


class Row(NamedTuple):
    """One line of the table, ns an item."""

    name: str
    text: str
    p50: float
    p99: float
    cold_p50: float
    blocks: float
    """Memory blocks that stay, an item."""
    budget_ns: float
    n: int

    @property
    def is_reached(self) -> bool:
        """Whether it keeps its budget; True without one."""
        return not self.budget_ns or self.p50 <= self.budget_ns


def _nothing() -> None:
    """No preparation."""


def tick_steps(tick: Tick) -> list[Step]:
    """From the frame to the intent, and the cycle that finds nothing."""
    top, depth, feed = tick.next_top, tick.next_depth, tick.feed_frame
    loose, turn = tick.next_unapplied_depth, tick.strategy_turn
    a_level = f"depth of {LEVELS} levels: a level, with book and publish"
    return [
        Step("clock", "one reading of the clock", _nothing, _nothing),
        Step("decode_top", "bookTicker: decode", top, tick.decode_top, 700),
        Step("decode_depth", "depth: decode, a level", loose, tick.decode_depth, 40, LEVELS),
        Step("feed_top", "bookTicker: decode, check, publish", top, feed, 1_500),
        Step("feed_depth", a_level, depth, feed, 0, LEVELS),
        Step("ring", "market record: written and read", tick.drain, tick.hop, 200),
        Step("strategy", "new top: ring to intent", tick.next_move, turn),
        Step("strategy_take", "new top: ring to explicit intent", tick.next_take, turn),
        Step("strategy_quiet", "new top: nothing to change", tick.next_same, turn),
        Step("tick", "frame to intent, one stack", tick.next_tick, tick.tick_turn),
        Step("cycle", "empty turn of feed, strategy and risk", _nothing, tick.cycle),
    ]


STAGES: Final[tuple[Callable[[Tick], list[Step]], ...]] = (tick_steps,)
"""Where the steps come from; each is given the system that it may use."""


def run(*, as_json: bool, check: bool, items: int = ITEMS, data: str = "") -> int:
    """Measure and tell; exit code 1 when ``check`` and a budget is not kept.

    Args:
        as_json: One JSON object instead of the table.
        check: Exit 1 when a budget is exceeded.
        items: Samples of each stage.
        data: A folder of recordings, to drive codec and book with; empty: none.
    """
    load = round(os.getloadavg()[0], 2)
    if data and not Path(data).is_dir():
        raise UsageError(f"{data} is no folder", remedy="Name the folder of the recordings.")
    with Tick.made() as tick:
        rows = measure([step for stage in STAGES for step in stage(tick)], items)
    rows.append(_loop_row(items))
    orders = [
        *stages_order.rows(min(items, stages_order.ORDERS)),
        *stages_order.cold_rows(min(items, stages_order.COLD_ORDERS)),
    ]
    facts: dict[str, Any] = {
        "command": "hft bench stages",
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "python": platform.python_version(),
        "load_before": load,
        "stages": [{**row._asdict(), "reached": row.is_reached} for row in rows],
        "order_stages": [stage._asdict() for stage in orders],
    }
    if data:
        facts["recordings"] = recordings(Path(data))
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_text(facts, rows, orders)))
    return EXIT_CHECK_FAILED if check and not all(row.is_reached for row in rows) else EXIT_OK


def measure(steps: Sequence[Step], items: int) -> list[Row]:
    """Every step, in turns, first warm and then cold."""
    samples: dict[str, list[int]] = {step.name: [] for step in steps}
    blocks = dict.fromkeys(samples, 0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(-(-items // ROUND)):
            for step in steps:
                blocks[step.name] += _sample(step, min(items, ROUND), samples[step.name])
        cold = {step.name: _sample_cold(step, min(items, COLD_ITEMS)) for step in steps}
    finally:
        gc.enable()
    return [_row(step, samples[step.name], cold[step.name], blocks[step.name]) for step in steps]


def _sample(step: Step, items: int, into: list[int]) -> int:
    """Append so many samples; returns how many memory blocks are more than before."""
    clock, prepare, work = time.perf_counter_ns, step.prepare, step.run
    found = [0] * items
    for _ in range(min(items, WARM_UP)):
        prepare()
        work()
    before = sys.getallocatedblocks()
    for index in range(items):
        prepare()
        begin_ns = clock()
        work()
        found[index] = clock() - begin_ns
    # The samples themselves are integers on the heap, one a sample.
    grown = sys.getallocatedblocks() - before - items
    into += found
    return grown


def _sample_cold(step: Step, items: int) -> list[int]:
    clock, prepare, work = time.perf_counter_ns, step.prepare, step.run
    ballast = np.zeros(CACHE_BYTES, dtype=np.uint8)
    found = []
    for _ in range(items):
        prepare()
        ballast[::64] += 1
        begin_ns = clock()
        work()
        found.append(clock() - begin_ns)
    return found


def _row(step: Step, samples: list[int], cold: list[int], blocks: int) -> Row:
    p50, p99 = (float(value) / step.divisor for value in np.quantile(samples, (0.5, 0.99)))
    return Row(
        step.name,
        step.text,
        round(p50, 1),
        round(p99, 1),
        round(float(np.median(cold)) / step.divisor, 1),
        round(max(0, blocks) / len(samples), 3),
        step.budget_ns,
        len(samples),
    )


def _loop_row(items: int) -> Row:
    samples = loop_turn(max(items // 10, 20))
    p50, p99 = np.quantile(samples, (0.5, 0.99))
    text = "the spinning loop's own turn"
    return Row("loop", text, round(float(p50), 1), round(float(p99), 1), 0.0, 0.0, 0, len(samples))


def recordings(folder: Path, pattern: str = "*.gz") -> dict[str, object]:
    """Real frames through codec and book, without sockets and rings."""
    from tools.verify_feed import verify

    report = verify(sorted(folder.glob(pattern)))
    return {"frames": report.totals.frames, "frames_per_s": report.frames_per_s,
            "holds": report.holds}  # fmt: skip


def _text(
    facts: dict[str, Any], rows: Sequence[Row], orders: Sequence[stages_order.Stage]
) -> Iterator[str]:
    head = f"{'ns':50}{'p50':>9}{'p99':>9}{'cold':>9}{'blocks':>9}{'budget':>9}"
    yield head
    yield "-" * len(head)
    for row in rows:
        cold = f"{row.cold_p50:>9.0f}" if row.cold_p50 else f"{'':9}"
        line = f"{row.text:50}{row.p50:>9.0f}{row.p99:>9.0f}{cold}{row.blocks:>9.3f}"
        budget = f"{row.budget_ns:>9.0f}" if row.budget_ns else ""
        yield line + (budget if row.is_reached else paint(budget, "red"))
    yield ""
    head = f"{'an order, ns':50}{'p50':>9}{'p99':>9}{'min':>9}{'asked':>9}"
    yield head
    yield "-" * len(head)
    for stage in orders:
        line = f"{stage.text:50}{stage.p50:>9.0f}{stage.p99:>9.0f}{stage.min:>9.0f}"
        yield f"{line}{stage.allocations:>9.1f}" if stage.allocations else line
    if "recordings" in facts:
        found = facts["recordings"]
        yield f"recordings: {found['frames']:,} frames, {found['frames_per_s']:,} a second"
    yield f"machine  {facts['cpu']}, Python {facts['python']}, load {facts['load_before']} before"
