"""Drop-ins for systemd: the plan of the dedicated topology, one file for each unit."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from hft.config import SystemConfig
from hft.errors import UsageError
from hft.graph import OPTIONAL_ROLES, ROLES
from pinning import PlanError, Topology
from tools.doctor import units

PROJECT = Path(__file__).resolve().parents[3]
TWO_SOCKETS = Topology(
    cpus=tuple(range(8)),
    cores=tuple((cpu,) for cpu in range(8)),
    allowed=frozenset(range(8)),
    isolated=frozenset({2, 3, 6, 7}),
    nohz_full=frozenset({2, 3, 6, 7}),
    rcu_nocbs=frozenset({2, 3, 6, 7}),
    caches=((0, 1, 2, 3), (4, 5, 6, 7)),
    nodes=((0, 1, 2, 3), (4, 5, 6, 7)),
)


def section(text: str, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    parser.read_string(text)
    return dict(parser[name])


def test_every_role_is_put_on_the_core_of_the_plan() -> None:
    files = units.make(SystemConfig(), TWO_SOCKETS)
    assert len(files) == len(ROLES) + len(OPTIONAL_ROLES) + 2
    feed = section(files["hft-feed.service.d/cpu.conf"], "Service")
    assert feed == {"CPUAffinity": "2", "NUMAPolicy": "preferred", "NUMAMask": "0"}
    assert "CPUAffinity=3\n" in files["hft-strategy@.service.d/cpu.conf"]
    assert section(files["hft-hot.slice.d/cpu.conf"], "Slice") == {"AllowedCPUs": "2-3,6-7"}
    assert section(files["hft-cold.slice.d/cpu.conf"], "Slice") == {"AllowedCPUs": "0-1,4"}


def test_real_time_scheduling_stands_in_the_units_when_it_is_configured() -> None:
    files = units.make(SystemConfig(scheduling="fifo"), TWO_SOCKETS)
    risk = section(files["hft-risk.service.d/cpu.conf"], "Service")
    assert (risk["CPUSchedulingPolicy"], risk["CPUSchedulingPriority"]) == ("fifo", "50")
    assert "CPUScheduling" not in files["hft-account.service.d/cpu.conf"]


def test_cpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(PlanError, match="cpu 99 is not there"):
        units.make(SystemConfig(cpus=(99,)), TWO_SOCKETS)


def test_the_files_are_written_below_the_directory(tmp_path: Path) -> None:
    files = units.make(SystemConfig(), TWO_SOCKETS)
    written = units.write(files, tmp_path / "system")
    assert {str(path.relative_to(tmp_path / "system")) for path in written} == set(files)
    assert all(path.read_text() == files[f"{path.parent.name}/cpu.conf"] for path in written)


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        units.write({"a.d/cpu.conf": ""}, tmp_path / "file")


@pytest.mark.parametrize("name", list(units.make(SystemConfig(), TWO_SOCKETS)))
def test_every_drop_in_belongs_to_a_unit_that_the_project_has(name: str) -> None:
    assert (PROJECT / "systemd" / name.removesuffix(".d/cpu.conf")).is_file()
