"""Prometheus and Alertmanager themselves, with our settings, beside a demo that trades.

Only addresses and intervals are others than in the files we ship: a test has free ports and little
time. Skipped where the two programs are not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tools.system import endpoint
from tools.system.notes import load_notes
from tools.system.places import known_systems

OPS = Path(__file__).resolve().parents[3] / "tools" / "metrics" / "ops"
PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
WAIT_S = 60.0
pytestmark = [
    pytest.mark.skipif(not PROMETHEUS or not ALERTMANAGER, reason="needs Prometheus, Alertmanager"),
    pytest.mark.timeout(240),
]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(name: str, folder: Path, *command: str, **extra: str) -> Iterator[None]:
    """A program for as long as the block runs; what it said is in a file of that name."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **extra}
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Inbox:
    """Who is told: takes what Alertmanager posts."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self.server.serve_forever)
        self._thread.start()

    def told(self, path: str, status: str = "firing") -> set[str]:
        """Names of the alerts that were posted to a path."""
        return {
            alert["labels"]["alertname"]
            for where, post in list(self.posts)
            for alert in post["alerts"]
            if where == path and alert["status"] == status
        }

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Server:
    """Prometheus' HTTP interface."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._root}/-/ready", timeout=WAIT_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **arguments: str) -> Any:
        query = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(f"{self._root}/api/v1/{path}?{query}", timeout=WAIT_S) as said:
            answer = json.load(said)
        assert answer["status"] == "success", answer
        return answer["data"]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        alerts = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def has_data(self, expression: str) -> bool:
        return bool(self.get("query", query=expression)["result"])


def write_settings(folder: Path, target: str, ports: dict[str, int]) -> None:
    """Our files with other addresses and short intervals."""
    shutil.copytree(OPS / "prometheus" / "rules", folder / "rules")
    settings = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    managers = settings["alerting"]["alertmanagers"][0]["static_configs"][0]
    managers["targets"] = [f"127.0.0.1:{ports['alertmanager']}"]
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    text = (OPS / "alertmanager" / "alertmanager.yml").read_text()
    text = text.replace(":9099/", f":{ports['inbox']}/").replace("group_interval: 1m",
                                                                 "group_interval: 1s")  # fmt: skip
    (folder / "alertmanager.yml").write_text(text)


@contextmanager
def watched(folder: Path, url: str, inbox: Inbox) -> Iterator[Server]:
    """Prometheus and Alertmanager on the metrics at that address."""
    assert PROMETHEUS
    assert ALERTMANAGER
    ports = {"alertmanager": free_port(), "inbox": inbox.server.server_address[1]}
    write_settings(folder, urllib.parse.urlsplit(url).netloc, ports)
    port = free_port()
    with (
        running(
            "alertmanager", folder, ALERTMANAGER,
            "--config.file=alertmanager.yml", "--storage.path=alerts",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
            "--cluster.listen-address=",
        ),
        running(
            "prometheus", folder, PROMETHEUS,
            "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    ):  # fmt: skip
        server = Server(port)
        until(server.is_ready, "Prometheus is ready")
        yield server


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    one = Inbox()
    yield one
    one.close()


@pytest.fixture
def demo(project_root: Path, tmp_path: Path) -> Iterator[Path]:
    """The run directory of a demo that serves metrics."""
    root = tmp_path / "runs"
    root.mkdir()
    with running(
        "demo", tmp_path, sys.executable, "-m", "hft.cli", "demo", "--seconds", "300",
        "--metrics-port", "0", HFT_RUN_DIR=str(root), PYTHONPATH=str(project_root),
    ):  # fmt: skip
        until(lambda: known_systems(root), "a demo runs")
        run_dir = root / known_systems(root)[0]
        until(lambda: endpoint.url_of(run_dir), "it serves metrics")
        yield run_dir


def dashboard_expressions(instance: str) -> list[str]:
    dashboard = json.loads((OPS / "grafana" / "dashboards" / "hft.json").read_text())
    return [
        target["expr"].replace("$instance", instance)
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        if "hft_paper_" not in target["expr"]  # the demo has no strategy on paper
    ]


def kill_hot(run_dir: Path) -> None:
    notes = load_notes(run_dir)
    assert notes is not None
    os.kill(next(one.pid for one in notes.processes if one.name == "hot"), signal.SIGKILL)


def test_a_demo_is_watched_and_what_happens_to_it_is_told(
    demo: Path, inbox: Inbox, tmp_path: Path, project_root: Path
) -> None:
    url = endpoint.url_of(demo)
    instance = urllib.parse.urlsplit(url).netloc
    with watched(tmp_path, url, inbox) as server:
        until(lambda: server.has_data(f'up{{instance="{instance}"}} == 1'), "the target is up")
        assert [one["health"] for one in server.get("targets")["activeTargets"]] == ["up"]
        until(lambda: all(rule["health"] == "ok" for rule in server.rules()), "all rules were run")
        missing = dashboard_expressions(instance)

        def is_complete() -> bool:
            missing[:] = [one for one in missing if not server.has_data(one)]
            return not missing

        try:
            until(is_complete, "every panel of the dashboard has data")
        except AssertionError:
            pytest.fail("no data for:\n" + "\n".join(missing))
        assert server.firing() == set()
        assert len(server.get("alertmanagers")["activeAlertmanagers"]) == 1

        kill_hot(demo)
        until(lambda: "HftRestarted" in inbox.told("/note"), "a restart is told")
        halted = subprocess.run(
            [sys.executable, "-m", "hft.cli", "halt", "--reason", "test"],
            env={**os.environ, "HFT_RUN_DIR": str(demo.parent), "PYTHONPATH": str(project_root)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert halted.returncode == 0, halted.stderr
        until(lambda: "HftHalted" in inbox.told("/page"), "a halt is told at once")
        assert "HftHalted" not in inbox.told("/note")
        assert [rule["name"] for rule in server.rules() if rule.get("lastError")] == []
