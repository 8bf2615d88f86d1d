"""``hft bench`` of the system's own parts; the other benches are in ``hft/cli.py``."""

from __future__ import annotations

from typing import Any

import click

from hft.cli_options import as_json as _as_json


@click.command(name="stages")
@click.option("--items", type=click.IntRange(20, 1_000_000), default=20_000, show_default=True,
              help="Samples of each stage.")  # fmt: skip
@click.option("--data", default="", metavar="FOLDER", help="Recordings for codec and book.")
@_as_json
@click.option("--check", is_flag=True, help="Exit code 1 when a budget is exceeded.")
def stages(**options: Any) -> int:
    """Each stage of the hot path alone, warm and cold: frame, ring, plug-in, turn of the loop."""
    from tools.bench.stages import run

    return run(**options)


@click.command(name="metrics")
@click.option("--seconds", type=click.FloatRange(3, 3_600), default=90.0, show_default=True)
@click.option("--per-s", type=click.FloatRange(0.1, 100), default=10.0, show_default=True,
              help="Scrapes a second.")  # fmt: skip
@_as_json
def metrics(**options: Any) -> int:
    """What a scrape of the metrics costs whoever trades: latency with and without it, in turn."""
    from tools.bench.metrics import run

    return run(**options)
