"""Captured machines: one text file each, laid out as a directory for the checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from hft.config import SystemConfig
from pinning import parse_cpu_list, read_topology
from tools.doctor.host import ClockState, Host, Space
from tools.doctor.live import hot_names, plan_of

MACHINES = Path(__file__).resolve().parent / "machines"
NAMES = tuple(sorted(path.stem for path in MACHINES.glob("*.txt")))
Machine = Callable[..., Host]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Each captured machine in turn."""
    text: str = request.param
    return text


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Lay a captured machine out; ``changes`` replace files by their path, None removes one."""

    def lay_out(
        name: str,
        topology: Literal["compact", "dedicated"] = "compact",
        scheduling: Literal["other", "fifo"] = "other",
        cpus: tuple[int, ...] = (),
        changes: dict[str, str | None] | None = None,
    ) -> Host:
        root = tmp_path / name
        facts = _unpack(MACHINES / f"{name}.txt", root)
        for path, text in (changes or {}).items():
            if text is None:
                (root / path).unlink()
            else:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
        host = read_topology(root)
        system = SystemConfig(topology=topology, scheduling=scheduling, cpus=cpus)
        synchronised, error_us = facts["clock"].split()
        return Host(
            root=root,
            topology=host,
            plan=plan_of(system, host),
            hot=hot_names(topology),
            shm=Space(*map(int, facts["shm"].split())),
            clock=ClockState(synchronised == "synchronised", int(error_us)),
            tools={name: facts[name] for name in ("ethtool", "chronyc") if name in facts},
            scheduling=scheduling,
        )

    return lay_out


def _unpack(capture: Path, root: Path) -> dict[str, str]:
    """Write the files of a capture; returns the facts that are no files."""
    facts: dict[str, str] = {}
    _, *sections = re.split(r"^== ", capture.read_text(), flags=re.MULTILINE)
    for section in sections:
        pattern, _, text = section.partition("\n")
        if pattern.startswith("@"):
            facts[pattern[1:]] = text
            continue
        for path in _expand(pattern):
            target = root / path
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
    return facts


def _expand(pattern: str) -> list[str]:
    """``cpu[0-3]/x`` is four paths."""
    match = re.search(r"\[([0-9,-]+)\]", pattern)
    if match is None:
        return [pattern]
    return [pattern.replace(match[0], str(cpu), 1) for cpu in sorted(parse_cpu_list(match[1]))]
