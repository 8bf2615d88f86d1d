"""Rules and dashboard name only metrics that exist; Prometheus' own tools find them in order."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tools.metrics.collector import SystemCollector
from tools.metrics.watched import Watched

OPS = Path(__file__).resolve().parents[3] / "tools" / "metrics" / "ops"
RULES = OPS / "prometheus" / "rules" / "hft.yml"
RULES_TEST = OPS / "prometheus" / "tests" / "hft_test.yml"
DASHBOARD = OPS / "grafana" / "dashboards" / "hft.json"
METRIC = re.compile(r"\b(?:hft[_:][a-z0-9_:]+|up)\b")
LABEL_LISTS = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
SELECTORS = re.compile(r"\{[^}]*\}")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in loaded(RULES)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    return [one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] != "row"]


def panel_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def named_in(expression: str) -> set[str]:
    """Metrics and recorded series that an expression reads."""
    return set(METRIC.findall(SELECTORS.sub("", LABEL_LISTS.sub("", expression))))


@pytest.fixture
def exported(made_system) -> Iterator[set[str]]:
    """Every series name that a scrape of a system can show."""
    watched = Watched(made_system.run_dir.parent, made_system.run_dir.name)
    registry = CollectorRegistry()
    registry.register(SystemCollector(watched))
    found = {"up"}
    for family in registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        found |= {family.name + ending for ending in endings.get(family.type, [""])}
    yield found
    watched.close()


def test_the_finder_of_names_finds_them() -> None:
    expression = 'sum by (hft_no) (rate(hft_a_total{x="hft_no"}[5m])) / hft:b:c > up'
    assert named_in(expression) == {"hft_a_total", "hft:b:c", "up"}


def test_every_metric_in_a_rule_is_exported_or_recorded(exported: set[str]) -> None:
    known = exported | {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        names = named_in(rule["expr"])
        assert names
        assert names <= known, rule


def test_every_metric_on_the_dashboard_is_exported_or_recorded(exported: set[str]) -> None:
    known = exported | {rule["record"] for rule in rules() if "record" in rule}
    for expression in panel_expressions():
        names = named_in(expression)
        assert names
        assert names <= known, expression


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert name.startswith("Hft")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "action"}, name


def test_every_alert_is_tested() -> None:
    tested = {
        one["alertname"]
        for test in loaded(RULES_TEST)["tests"]
        for one in test.get("alert_rule_test", [])
        if one.get("exp_alerts")
    }
    assert tested == set(alerts())


def test_alertmanager_routes_every_severity_and_inhibits_known_alerts() -> None:
    settings = loaded(OPS / "alertmanager" / "alertmanager.yml")
    receivers = {receiver["name"] for receiver in settings["receivers"]}
    routed = [route["matchers"][0] for route in settings["route"]["routes"]]
    assert routed == ['severity="critical"', 'severity="warning"']
    assert {route["receiver"] for route in settings["route"]["routes"]} == receivers
    inhibited = json.dumps(settings["inhibit_rules"])
    assert set(re.findall(r"Hft\w+", inhibited)) <= set(alerts())


def test_the_dashboard_can_be_provisioned_again_and_again() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["id"]) == ("hft-system", None)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        assert panel["title"]
        assert panel["description"]
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "instance"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("kind", ["datasources", "dashboards"])
def test_provisioning_is_of_the_version_that_grafana_reads(kind: str) -> None:
    settings = loaded(OPS / "grafana" / "provisioning" / kind / "hft.yml")
    assert settings["apiVersion"] == 1
    assert len(settings) == 2


def run(tool: str, *arguments: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool}")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_settings_and_the_rules() -> None:
    run("promtool", "check", "config", str(OPS / "prometheus" / "prometheus.yml"))
    run("promtool", "check", "rules", str(RULES))


def test_promtool_sees_each_alert_fire_when_it_should() -> None:
    run("promtool", "test", "rules", str(RULES_TEST))


def test_promtool_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": expression.replace("$instance", "a")}
        for number, expression in enumerate(panel_expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    run("promtool", "check", "rules", str(path))


def test_amtool_takes_the_routes() -> None:
    run("amtool", "check-config", str(OPS / "alertmanager" / "alertmanager.yml"))


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_amtool_routes_every_severity_to_its_receiver(severity: str) -> None:
    path = OPS / "alertmanager" / "alertmanager.yml"
    routed = run(
        "amtool", "config", "routes", "test", f"--config.file={path}", f"severity={severity}",
        "alertname=HftAny", "instance=a",
    )  # fmt: skip
    assert routed.split() == [severity]
