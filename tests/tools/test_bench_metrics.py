"""`hft bench metrics`: windows with and without scrapes of one demo, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ipc import layout
from tools.bench.metrics import (
    COMPARED,
    COUNT_MIN,
    KINDS,
    SHARES,
    SHOWN,
    Blocks,
    Effect,
    Result,
    Tally,
    conclusion,
    render,
    trimmed_means,
)


def counts(index: int, number: int) -> dict[str, np.ndarray]:
    found = np.zeros(layout.HISTOGRAM_BUCKETS, dtype=np.uint64)
    found[index] = number
    return dict.fromkeys(SHOWN, found)


def test_windows_of_one_kind_are_added() -> None:
    tally = Tally()
    tally.add(counts(100, 2), counts(100, 5))
    tally.add(counts(100, 7), counts(100, 8))
    side = tally.side()
    assert set(side.count.values()) == {4}
    assert side.percentile_ns["tick_to_trade"] == dict.fromkeys(SHARES, 100)


def measured(slower: float, *, blocks: int, noise: float, drift: float = 0.0) -> Blocks:
    """Blocks in which being scraped makes everything so much slower."""
    drawn, found = np.random.default_rng(1), Blocks()
    nothing = counts(0, 0)
    for number in range(blocks):
        for kind in KINDS:
            level = 400 + drift * number + noise * drawn.standard_normal()
            ns = level * (slower if kind == "scraped" else 1)
            bucket = 128 + (int(ns) - 128 if ns < 256 else 128 + (int(ns) - 256) // 2)
            more = dict.fromkeys(COMPARED, counts(bucket, COUNT_MIN)[SHOWN[0]])
            found.add(kind, dict.fromkeys(COMPARED, nothing[SHOWN[0]]), more)
        found.close()
    return found


def verdicts(found: Blocks) -> set[str]:
    return {one.verdict for one in found.effects()}


def test_nothing_is_told_from_something_and_from_not_knowing() -> None:
    assert verdicts(measured(1.0, blocks=100, noise=10.0)) == {"nothing measurable"}
    assert verdicts(measured(1.1, blocks=100, noise=10.0)) == {"slower"}
    assert verdicts(measured(0.9, blocks=100, noise=10.0)) == {"faster"}
    assert verdicts(measured(1.0, blocks=20, noise=60.0)) == {"unclear"}
    assert {one.blocks for one in Blocks().effects()} == {0}
    assert verdicts(Blocks()) == {"unclear"}


def test_what_drifts_from_block_to_block_falls_out() -> None:
    drifting = measured(1.1, blocks=60, noise=4.0, drift=1.5)
    for one in drifting.effects():
        assert one.low_percent < 10 < one.high_percent
        assert one.high_percent - one.low_percent < 2


def test_blocks_are_joined_until_a_median_means_something() -> None:
    blocks, nothing = Blocks(), dict.fromkeys(COMPARED, counts(0, 0)[SHOWN[0]])
    few = dict.fromkeys(COMPARED, counts(100, COUNT_MIN // 2)[SHOWN[0]])
    for joined in (0, 1, 1, 2):
        for kind in KINDS:
            blocks.add(kind, nothing, few)
        blocks.close()
        assert {len(found) for found in blocks.log_medians.values()} == {joined}


def test_a_spoilt_window_does_not_count() -> None:
    rows = np.array([[1.0, 1.0, 1.0, 1.0, 1_000.0], [3.0, 2.0, 1.0, 4.0, 5.0]])
    assert trimmed_means(rows).tolist() == [1.0, 3.0]


def effect(name: str, against: str, low: float, high: float) -> Effect:
    return Effect(name=name, against=against, blocks=9, percent=(low + high) / 2,
                  low_percent=low, high_percent=high, ns=1.0)  # fmt: skip


CLEAR, WIDE, WORSE, BETTER = (-1.0, 2.0), (-9.0, 9.0), (1.0, 2.0), (-2.0, -1.0)


@pytest.mark.parametrize(
    ("alone", "busy", "said"),
    [
        (CLEAR, CLEAR, "A scrape costs whoever trades nothing measurable: all intervals contain"),
        (WORSE, CLEAR, "No slower than beside any other busy core: turn."),
        (CLEAR, WORSE, "A scrape makes slower: turn."),
        (WIDE, WORSE, "A scrape makes slower: turn."),
        (CLEAR, BETTER, "Faster while it is scraped"),
        (CLEAR, WIDE, "Too little was counted for: turn;"),
        (WIDE, WIDE, "Too little was counted for: turn;"),
        (WORSE, WIDE, "Too little was counted for: turn;"),
    ],
)
def test_the_conclusion_is_what_the_intervals_allow(
    alone: tuple[float, float], busy: tuple[float, float], said: str
) -> None:
    found = [effect("turn", KINDS[0], *alone), effect("turn", KINDS[1], *busy)]
    assert conclusion(found).startswith(said)


def test_the_conclusion_tells_apart_what_is_known_and_what_is_not() -> None:
    found = [effect("tick", kind, *CLEAR) for kind in KINDS[:2]]
    found += [effect("order", kind, *WIDE) for kind in KINDS[:2]]
    first, second = conclusion(found).splitlines()
    assert first.startswith("Nothing measurable (intervals contain 0")
    assert first.endswith(": tick.")
    assert second.startswith("Too little was counted for: order;")


def test_the_table_shows_both_kinds() -> None:
    tally = Tally()
    tally.add(counts(100, 0), counts(100, 1_500))
    tally.scrapes = 10
    result = Result(seconds=60, per_s=10, scrape_bytes=2_048, scrape_s=0.004, scrape_cpu_s=0.005,
                    left_alone=tally.side(), busy=tally.side(), scraped=tally.side(),
                    effects=measured(1.0, blocks=50, noise=5.0).effects())  # fmt: skip
    lines = render(result)
    assert lines[0].endswith("10 scrapes of 2 KiB, 4.0 ms each, 5.0 ms of a core")
    assert len(lines) == 2 + len(SHOWN) * len(SHARES) + 2 + 2 * len(COMPARED) + 2
    assert lines[-1].startswith("A scrape costs whoever trades nothing measurable")
    assert lines[2].split() == ["receive_to_book", "p50", "0.1", "0.1", "0.1", "1,500", "/",
                                "1,500", "/", "1,500"]  # fmt: skip


def test_a_demo_is_measured_both_ways(project_root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hft.cli", "bench", "metrics", "--seconds", "6", "--json"],
        cwd=project_root, capture_output=True, text=True, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["scraped"]["scrapes"] > 0
    assert result["scraped"]["count"]["receive_to_book"] > 0
    assert result["left_alone"]["count"]["receive_to_book"] > 0
    assert {one["name"] for one in result["effects"]} == set(COMPARED)
    assert list(tmp_path.iterdir()) == []
