"""``hft bench``: what this system costs, beside what others cost."""

from __future__ import annotations

from typing import Any

import click

from hft.cli_options import as_json, split_list


@click.group()
def bench() -> None:
    """Measure."""


@bench.command(name="ipc")
@click.option("--quick", is_flag=True, help="Fewer and smaller repetitions: within 20 s.")
@as_json
@click.option("--peers", help="Comma-separated rows to measure.  [default: all]")
@click.option("--check", is_flag=True, help="Exit code 1 when a target is missed.")
@click.option("--repetitions", type=click.IntRange(1, 100))
def bench_ipc(peers: str | None, **options: Any) -> int:
    """One record from process to process: ours beside what others offer."""
    from tools.bench.ipc import run

    return run(peers=split_list(peers) or None, **options)


@bench.command()
@click.option("--items", type=click.IntRange(20, 1_000_000), default=20_000, show_default=True,
              help="Samples of each stage.")  # fmt: skip
@click.option("--data", default="", metavar="FOLDER", help="Recordings for codec and book.")
@as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a budget is exceeded.")
def stages(**options: Any) -> int:
    """Each stage of the hot path alone, warm and cold: frame, ring, plug-in, turn of the loop."""
    from tools.bench.stages import run

    return run(**options)


@bench.command(name="strategy")
@as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a target is missed.")
def bench_strategy(**options: Any) -> int:
    """What the engine adds around a plug-in's callback."""
    from tools.bench.strategy import run

    return run(**options)


@bench.command(name="t2t")
@click.option("--quick", is_flag=True, help="One round, a hundred fast triggers: within a minute.")
@as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a target is missed.")
@click.option("--tls", is_flag=True, help="As the real venue speaks; without the rows that cannot.")
@click.option("--peers", help="Comma-separated rows to measure.  [default: all]")
@click.option("--profile", "profiles", default="steady", show_default=True,
              help="Comma-separated: steady, burst, cold (seconds between triggers).")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1, 100))
@click.option("--rate", type=click.IntRange(100, 100_000), default=2_000, show_default=True,
              help="Market frames a second.")  # fmt: skip
@click.option("--pace", type=click.FloatRange(0.05, 500),
              help="Triggers a second; above 12 the venue advertises higher limits.")  # fmt: skip
@click.option("--triggers", type=click.IntRange(1, 100_000), help="In each round.")
@click.option("--plot", type=click.Path(dir_okay=False), default="", metavar="FILE.svg",
              help="Draw the percentiles.")  # fmt: skip
def bench_t2t(peers: str | None, profiles: str, **options: Any) -> int:
    """Tick to trade: this system beside a C client, a bare script and other people's systems."""
    from tools.bench.t2t.command import Options, run

    return run(Options(peers=split_list(peers), profiles=split_list(profiles), **options))


@bench.command(name="load")
@click.option("--rate", type=click.IntRange(10, 200_000), default=20_000, show_default=True,
              help="Frames a second, of all instruments together.")  # fmt: skip
@click.option("--instruments", type=click.IntRange(1, 127), default=50, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 3_600), default=60, show_default=True)
@click.option("--depth-share", type=click.FloatRange(0.001, 0.5), default=0.1, show_default=True,
              help="Of the frames that are depth events.")  # fmt: skip
@click.option("--orders", type=click.FloatRange(0, 100), default=5.0, show_default=True,
              help="Orders a second.")  # fmt: skip
@click.option("--topology", type=click.Choice(["compact", "dedicated"]), default="compact",
              show_default=True)  # fmt: skip
@click.option("--wait", type=click.Choice(["auto", "busy_spin", "spin_then_park", "park"]),
              help="How it waits.  [default: busy_spin if compact, auto if dedicated]")  # fmt: skip
@as_json
@click.option("--check", is_flag=True,
              help="Exit code 1 when a frame was lost or the backlog has grown.")  # fmt: skip
def bench_load(**options: Any) -> int:
    """Many instruments at a high rate for long: lost frames, backlog, age of what is published."""
    from tools.bench.load.command import Options, run

    return run(Options(**options))


@bench.command(name="risk")
@click.option("--instruments", type=click.IntRange(1, 127), default=100, show_default=True)
@click.option("--strategies", type=click.IntRange(1, 126), default=20, show_default=True)
@as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a target is missed.")
def bench_risk(**options: Any) -> int:
    """One judgement with all checks on, and one turn of the role from record to record."""
    from tools.bench.risk import run

    return run(**options)


@bench.command(name="monitor")
@click.option("--size", "sizes", multiple=True, default=("80x24", "160x50"), show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 3_600), default=20.0, show_default=True)
@as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a target is missed.")
def bench_monitor(**options: Any) -> int:
    """What the monitor costs beside a demo: processor time, memory, bytes a frame."""
    from tools.bench.monitor import run

    return run(**options)


@bench.command(name="metrics")
@click.option("--seconds", type=click.FloatRange(3, 3_600), default=90.0, show_default=True)
@click.option("--per-s", type=click.FloatRange(0.1, 100), default=10.0, show_default=True,
              help="Scrapes a second.")  # fmt: skip
@as_json
def bench_metrics(**options: Any) -> int:
    """What a scrape of the metrics costs whoever trades: latency with and without it, in turn.

    Says of each hop whether a scrape makes it slower, costs nothing measurable, or whether the
    seconds were too few to tell: its p50, with intervals that all together hold with 95 %.
    """
    from tools.bench.metrics import run

    return run(**options)
