"""``hft bench strategy``: what the engine adds around a plug-in's callback.

Measured on the real engine over real shared memory with a plug-in that does nothing: a callback as
the engine makes it (watch, containment, position), against the same call made directly, and the
whole step of a new top (may it quote, call, work out the changes). A sample is the mean over a
batch, so that the clock's own cost does not count.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec
import numpy as np

from hft.config import StrategyConfig, SystemConfig
from hft.core.generated.views import Instrument, Trade
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK
from hft.records import InstrumentStatus, Kind
from hft.roles.callback_note import Callback
from hft.roles.context import Context
from hft.roles.strategy import StrategyEngine
from hft.strategy.base import StrategyParameters
from hft.strategy.targets import QuoteTargets
from hft.units import E8
from tools.bench import machine
from tools.bench.risk import Size, make_plan
from tools.system.segments import create_all, remove_all

BATCH: Final = 100
BATCHES: Final = 5_000
ADDED_P50_NS_MAX: Final = 500
INSTRUMENT_ID: Final = 1


class Nothing:
    """Does nothing, as quickly as Python can."""

    class Parameters(StrategyParameters, frozen=True):
        """None."""

    def __init__(self, parameters: Parameters, instrument: object) -> None:
        """Keep nothing."""

    def on_top_of_book(
        self, now_ns: int, top: object, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Do nothing."""

    def on_trade(self, now_ns: int, trade: object, position_e8: int, targets: QuoteTargets) -> None:
        """Do nothing."""

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Do nothing."""


class Cost(NamedTuple):
    """Nanoseconds of one call, over batches."""

    p50: float
    p99: float


def run(*, as_json: bool, check: bool, batches: int = BATCHES) -> int:
    """Measure and tell; exit code 1 when ``check`` and the target is missed."""
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root:
        costs = _measure(Path(root), batches)
    added_ns = costs["engine"].p50 - costs["direct"].p50
    is_reached = added_ns <= ADDED_P50_NS_MAX
    facts: dict[str, Any] = {
        "command": "hft bench strategy",
        "commit": machine.commit(),
        "cpu": machine.cpu_model(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "callback_ns": {name: cost._asdict() for name, cost in costs.items()},
        "added_p50_ns": round(added_ns, 1),
        "target_ns": ADDED_P50_NS_MAX,
        "reached": is_reached,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{'ns':34}{'p50':>9}{'p99':>9}")
        for name, text in (
            ("direct", "callback, called directly"),
            ("engine", "callback, by the engine"),
            ("top", "new top: callback and changes"),
        ):
            click.echo(f"{text:34}{costs[name].p50:>9.0f}{costs[name].p99:>9.0f}")
        verdict = "reached" if is_reached else "missed"
        click.echo(f"added around a callback, p50: {added_ns:.0f} ns (≤ 500: {verdict})")
        click.echo(
            f"machine  {facts['cpu']}, Python {facts['python']}, {facts['load_before']} load"
        )
    return EXIT_CHECK_FAILED if check and not is_reached else EXIT_OK


def _measure(run_dir: Path, batches: int) -> dict[str, Cost]:
    plan = make_plan(Size(1, 1, 1), run_dir)
    symbols = tuple(instrument.symbol for instrument in plan.instruments)
    strategy = StrategyConfig(name="bench", plugin=f"{__name__}:Nothing", symbols=symbols)
    config = msgspec.structs.replace(
        plan.config,
        strategies=(strategy,),
        system=SystemConfig(name=f"bench-strategy-{os.getpid()}", mode="demo"),
    )
    plan = msgspec.structs.replace(plan, config=config)
    create_all(plan.name, run_dir)
    contexts: list[Context] = []
    try:
        for role in ("feed", "strategy"):
            context = Context(plan, role, plan.process_of(role))
            context.adopt(time.monotonic_ns())
            contexts.append(context)
        _write_instrument(contexts[0])
        engine = StrategyEngine(contexts[1])
        now_ns = time.monotonic_ns()
        engine.on_start(now_ns)
        try:
            for _ in range(2):  # the first one settles
                engine.do_work(now_ns)
            return _measure_engine(engine, batches)
        finally:
            engine.on_close()
    finally:
        for context in contexts:
            context.close()
        remove_all(plan.name, run_dir)


def _measure_engine(engine: StrategyEngine, batches: int) -> dict[str, Cost]:
    (desk,) = engine.desks
    trade, now_ns = Trade(), time.monotonic_ns()
    handler, targets, inventory = desk.plugin.on_trade, desk.targets, desk.inventory
    desk.is_fed = True
    desk.top.as_of_ns = now_ns
    before = engine.callback_watch.calls
    engine.run_plugin(desk, now_ns)
    assert engine.callback_watch.calls == before + 1, "the plug-in is not called"
    return {
        "direct": _cost(lambda: handler(now_ns, trade, inventory.position_e8, targets), batches),
        "engine": _cost(lambda: engine.call(desk, Callback.ON_TRADE, handler, trade), batches),
        "top": _cost(lambda: engine.run_plugin(desk, now_ns), batches),
    }


def _cost(step: Callable[[], None], batches: int) -> Cost:
    clock = time.perf_counter_ns
    samples = np.empty(batches)
    gc.collect()
    gc.disable()
    try:
        for index in range(batches):
            begin_ns = clock()
            for _ in range(BATCH):
                step()
            samples[index] = (clock() - begin_ns) / BATCH
    finally:
        gc.enable()
    return Cost(*(round(float(value), 1) for value in np.quantile(samples, (0.5, 0.99))))


def _write_instrument(feed: Context) -> None:
    writer, buffer = feed.cell_writer("instruments")
    row = Instrument(buffer)
    row.kind, row.instrument_id, row.instrument_version = int(Kind.INSTRUMENT), INSTRUMENT_ID, 1
    row.symbol, row.quote_asset = b"S1USDT", b"USDT"
    row.tick_e8, row.step_e8 = E8 // 10, E8 // 1_000
    row.status = int(InstrumentStatus.TRADING)
    writer.write(INSTRUMENT_ID)
