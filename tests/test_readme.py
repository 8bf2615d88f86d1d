"""The README tells the truth: its settings hold, its commands exist, its files are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hft import config_file
from hft.cli import cli
from hft.config import RiskLimits
from hft.core.policies import POLICIES
from hft.core.policy_text import parse_policy
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.strategy.base import OPTIONAL_CALLBACKS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def commands(group: click.Group, prefix: str = "hft") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        found.add(f"{prefix} {name}")
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix} {name}")
    return found


def test_the_settings_of_the_readme_are_accepted(tmp_path: Path) -> None:
    policy, source, simulator = blocks("toml")
    path = tmp_path / "hft.toml"
    path.write_text(source)
    config = config_file.load(path)
    assert config.system.name == "desk"
    assert config.strategies[0].parameters["quote_notional"] == "150"
    path.write_text(f'symbols = ["BTCUSDT"]\n{simulator}')
    assert config_file.load(path).venue.rest_url == "http://127.0.0.1:19080"
    assert parse_policy(policy, "the README").limits["open_orders_max"] == 3


def test_the_strategy_of_the_readme_passes_its_test(tmp_path: Path) -> None:
    source, test = blocks("python")
    (tmp_path / "joiner.py").write_text(source)
    (tmp_path / "test_joiner.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_joiner.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("callback", ["on_top_of_book", "on_timer", *OPTIONAL_CALLBACKS])
def test_every_callback_is_explained(callback: str) -> None:
    assert re.search(rf"^\| `{callback}` \|", README, re.MULTILINE)


def test_every_limit_and_every_policy_is_named() -> None:
    assert {name for name in RiskLimits.__struct_fields__ if f"`{name}`" not in README} == set()
    assert {name for name in POLICIES if f"`{name}`" not in README} == set()


def test_every_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"`(?:\.venv/bin/)?(hft [a-z-]+(?: ipc| show| validate)?)", README))
    named |= set(re.findall(r"^\.venv/bin/(hft [a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= commands(cli)


def test_every_command_is_in_the_readme() -> None:
    missing = {name for name in commands(cli) if name not in README}
    assert missing <= {"hft config", "hft bench"}


def test_every_verb_of_the_makefile_that_the_readme_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)\b(?= |`|$)", README, re.MULTILINE)) & verbs
    named = set(re.findall(r"`make ([a-z]+)", README))
    assert named <= verbs


@pytest.mark.parametrize("role", [*ROLES, *OPTIONAL_ROLES])
def test_every_role_is_explained(role: str) -> None:
    assert re.search(rf"^\| `{role}` \|", README, re.MULTILINE)


def test_every_path_of_the_readme_is_there() -> None:
    named = set(re.findall(r"`((?:hft|ipc|pinning|tools|tests)/[\w/.]*)`", README))
    tree = next(block for block in blocks("") if block.startswith("ipc/"))
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        folder = "" if not line.startswith(" ") else folder
        if name.endswith("/") or "." in name:
            named.add(folder + name)
        if not line.startswith(" ") and line.strip() == name:
            folder = name
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing
