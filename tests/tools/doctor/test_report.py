"""What a person sees: 80 columns, plain text, the kind of machine said plainly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import ipc
from hft.cli import cli
from hft.roles.context import BELLS_SPEC
from tools.doctor import command, live, report
from tools.doctor.finding import braces, cpu_text, named
from tools.doctor.host import Host

Machine = Callable[..., Host]
SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
topology = "dedicated"

[venue]
key_file = "key"

[risk]
policy = "demo"

[[strategies]]
name = "maker"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
"""


def findings_of(host: Host, tmp_path: Path) -> list[command.Finding]:
    _, installation = live.look(None)
    return command.examine(host, installation)


def page(host: Host, tmp_path: Path) -> list[str]:
    findings = findings_of(host, tmp_path)
    return [
        *report.head(host, "compact topology"),
        *report.body(findings),
        *report.foot(host, findings, measured=False),
    ]


@pytest.mark.parametrize("topology", ["compact", "dedicated"])
def test_no_line_is_wider_than_a_terminal_and_none_is_coloured(
    machine: Machine, name: str, topology: str, tmp_path: Path
) -> None:
    lines = page(machine(name, topology), tmp_path)
    wide = [line for line in lines if len(line) > 80]
    assert [line for line in wide if not re.fullmatch(r" {9}sudo tee /\S+", line)] == []
    assert "\x1b" not in "".join(lines)


def test_a_virtual_machine_is_told_what_cannot_be_seen_from_inside(
    machine: Machine, tmp_path: Path
) -> None:
    text = " ".join(page(machine("vm"), tmp_path))
    assert "This is a virtual machine (KVM)" in text
    assert "3 checks do not apply" in text


def test_a_container_is_sent_to_the_machine_below(machine: Machine, tmp_path: Path) -> None:
    text = " ".join(page(machine("container"), tmp_path))
    assert "This is a container" in text
    assert "virtual machine (" not in text


def test_a_machine_of_its_own_is_told_neither(machine: Machine, tmp_path: Path) -> None:
    assert not re.search("This is a", " ".join(page(machine("xeon"), tmp_path)))


def test_a_command_that_was_shown_is_not_repeated(machine: Machine, tmp_path: Path) -> None:
    lines = page(machine("laptop"), tmp_path)
    assert sum("options='isolcpus" in line for line in lines) == 1
    assert sum("as above: isolation" in line for line in lines) == 2


def test_the_last_lines_count_and_say_what_is_next(machine: Machine, tmp_path: Path) -> None:
    *_, count, following = page(machine("laptop"), tmp_path)
    assert re.fullmatch(
        r"\d+ problems, \d+ warnings, \d+ fine, \d+ to know(, \d+ not judged)?\.", count
    )
    assert "--noise" in following


def test_a_long_command_is_broken_only_where_a_shell_goes_on() -> None:
    text = "echo 1 | sudo tee /sys/" + "a" * 50 + " && sudo update-grub && sudo reboot"
    lines = report.command_lines(text)
    assert len(lines) > 1
    assert " ".join(lines) == text
    assert all(line.endswith(("|", "&&")) for line in lines[:-1])


@pytest.mark.parametrize(
    ("numbers", "listed", "expanded"),
    [
        ([3], "3", "3"),
        ([2, 3], "2-3", "{2..3}"),
        ([5, 2, 3, 4], "2-5", "{2..5}"),
        ([1, 4, 5, 6], "1,4-6", "{1,{4..6}}"),
        ([1, 3], "1,3", "{1,3}"),
    ],
)
def test_lists_of_cpus_are_short_for_people_and_for_bash(
    numbers: list[int], listed: str, expanded: str
) -> None:
    assert cpu_text(numbers) == listed
    done = subprocess.run(
        ["bash", "-c", f"echo {expanded}"], capture_output=True, text=True, check=True
    )
    assert braces(numbers) == expanded
    assert done.stdout.split() == [str(number) for number in sorted(numbers)]
    assert named(numbers) == f"cpu{'s' if len(numbers) > 1 else ''} {listed}"


def run(*arguments: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(cli, ["doctor", *arguments], standalone_mode=False)
    if outcome.exception is not None:
        raise outcome.exception
    code: int = outcome.return_value
    return code, outcome.stdout


def test_the_exit_code_tells_of_problems_and_json_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run("--json", "--noise", "0.1")
    diagnosis = msgspec.json.decode(text, type=command.Diagnosis)
    assert code == (1 if diagnosis.counts["problem"] else 0)
    assert sum(diagnosis.counts.values()) == len(diagnosis.findings)
    assert diagnosis.machine.cpus
    assert {one.process for one in diagnosis.plan} == {"hot", "cold"}
    assert {one.cpu for one in diagnosis.noise} >= {one.cpu for one in diagnosis.plan}


def test_settings_decide_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("key").touch(mode=0o644)
    Path("hft.toml").write_text(SETTINGS)
    code, text = run("--json")
    diagnosis = json.loads(text)
    assert code == 1
    assert {one["process"] for one in diagnosis["plan"]} >= {"feed", "risk", "recorder"}
    keys = [one["fact"] for one in diagnosis["findings"] if one["check"] == "keys"]
    assert keys == [f"{Path('key').resolve()} is open to every user of this host (0644)"]


def test_settings_with_a_mistake_are_a_problem_not_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('symbols = ["BTCUSDT"]\n[system]\ntopolgy = "dedicated"\n')
    code, text = run("--config", str(path))
    assert code == 1
    assert "✗ mine.toml line 3: system.topolgy is not a setting." in text


def test_cpus_that_cannot_be_had_are_a_problem_and_the_rest_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hft.toml").write_text(SETTINGS.replace('"dedicated"', '"compact"\ncpus = [4000]'))
    code, text = run("--json")
    assert code == 1
    diagnosis = msgspec.json.decode(text, type=command.Diagnosis)
    (refused,) = (one for one in diagnosis.findings if one.check == "cpus")
    assert refused.fact.startswith("cpu 4000 is not there")
    assert {one.process for one in diagnosis.plan} == {"hot", "cold"}


def test_shared_memory_of_our_own_that_nobody_uses_is_told(system_name: str) -> None:
    ipc.create_segment(system_name, BELLS_SPEC)
    try:
        _, installation = live.look(None)
    finally:
        ipc.unlink_segment(system_name, BELLS_SPEC.name)
    assert system_name in installation.segment_systems
    assert system_name not in installation.mapped_systems


def test_drop_ins_are_printed_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run("--write-units")
    assert code == 0
    assert "# hft-feed.service.d/cpu.conf\n" in text
    assert not list(tmp_path.iterdir())
    code, text = run("--write-units", str(tmp_path / "units"))
    assert (tmp_path / "units" / "hft-hot.slice.d" / "cpu.conf").is_file()
    assert "daemon-reload" in text


def test_settings_that_are_not_there_are_a_mistake_of_usage() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hft.cli", "doctor", "--config", "none.toml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no settings file none.toml" in done.stderr
