"""Metrics of a system that trades: served, well, logged, and gone with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tools.system import endpoint
from tools.system.places import known_systems

WAIT_S = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        body: bytes = answer.read()
        return body.decode()


def samples(url: str) -> dict[str, float]:
    """Sum over all labels of every sample."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(get(url)):
        for one in family.samples:
            found[one.name] = found.get(one.name, 0.0) + one.value
    return found


def is_well(url: str) -> bool:
    """Whether it is, which on a busy machine may change from one look to the next."""
    try:
        return bool(json.loads(get(url))["healthy"])
    except urllib.error.HTTPError as error:
        with error:
            return False


def test_a_demo_is_scraped_while_it_trades(project_root: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hft.cli", "demo", "--seconds", "300", "--metrics-port", "0"],
        cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "HFT_RUN_DIR": str(tmp_path)},
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or known_systems(tmp_path))
        run_dir = tmp_path / known_systems(tmp_path)[0]
        until(lambda: process.poll() is not None or endpoint.url_of(run_dir))
        url = endpoint.url_of(run_dir)
        until(lambda: samples(url)["hft_tick_to_trade_seconds_count"] > 0)
        found = samples(url)
        assert (found["hft_up"], found["hft_supervised"]) == (1, 1)
        assert found["hft_sent_total"] > 0
        assert found["hft_process_resident_bytes"] > 0
        until(lambda: samples(url)["hft_healthy"] == 1)
        until(lambda: is_well(url.replace("/metrics", "/healthz")))
        logs = subprocess.run(
            [sys.executable, "-m", "hft.cli", "logs", "--json", "--run-dir", str(tmp_path)],
            cwd=project_root, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "serving" in [json.loads(line)["event"] for line in logs.splitlines()]
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=WAIT_S)[0]
        assert process.returncode == 0, said
        assert url in said
        with pytest.raises(OSError, match="refused"):
            get(url)
        assert not run_dir.exists()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
