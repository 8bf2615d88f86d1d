"""`hft bench metrics`: windows with and without scrapes of one demo, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ipc import layout
from tools.bench.metrics import SHARES, SHOWN, Result, Tally, render


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


def test_the_table_shows_both_kinds() -> None:
    tally = Tally()
    tally.add(counts(100, 0), counts(100, 1_500))
    tally.scrapes = 10
    result = Result(seconds=60, per_s=10, scrape_bytes=2_048, scrape_s=0.004,
                    left_alone=tally.side(), busy=tally.side(), scraped=tally.side())  # fmt: skip
    lines = render(result)
    assert lines[0].endswith("10 scrapes of 2 KiB, 4.0 ms each")
    assert len(lines) == 2 + len(SHOWN) * len(SHARES)
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
    assert list(tmp_path.iterdir()) == []
