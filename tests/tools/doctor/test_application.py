"""What the doctor says of settings, keys, disks, leftovers and the interpreter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hft.config import PLAN_FILE, Config, VenueConfig
from hft.errors import ConfigError
from ipc import RoleLock
from tools.doctor import application
from tools.doctor.application import Installation, Interpreter, mapped_systems, space_of
from tools.doctor.finding import Finding
from tools.doctor.host import Space

GB = 2**30


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(
        interpreter=Interpreter(version=(3, 11, 7), is_debug=False, is_optimised=True),
        run_root=tmp_path / "run",
        state_dir=tmp_path / "state" / "desk",
        state_space=Space(500 * GB, 400 * GB),
    )


def changed(installation: Installation, **values: Any) -> Installation:
    fields = {name: getattr(installation, name) for name in installation.__dataclass_fields__}
    return Installation(**{**fields, **values})


def found(installation: Installation, check: str) -> list[Finding]:
    return [f for look in application.CHECKS for f in look(installation) if f.check == check]


def with_key(installation: Installation, path: Path | str) -> Installation:
    return changed(installation, config=Config(symbols=(), venue=VenueConfig(key_file=str(path))))


def test_a_fresh_host_has_no_problem(installation: Installation) -> None:
    verdicts = {f.check: f.verdict for look in application.CHECKS for f in look(installation)}
    assert verdicts == {"settings": "note", "disk": "fine", "leftovers": "fine", "python": "fine"}


def test_every_mistake_in_the_settings_is_a_problem_of_its_own(installation: Installation) -> None:
    error = ConfigError(["hft.toml line 3: x is not a setting.\nDid you mean y?", "no symbols"])
    problems = found(
        changed(installation, config_error=error, config_path=Path("hft.toml")), "settings"
    )
    assert [(one.verdict, one.fact, one.why) for one in problems] == [
        ("problem", "hft.toml line 3: x is not a setting.", "Did you mean y?"),
        ("problem", "no symbols", ""),
    ]
    assert problems[0].fix == ("hft config validate hft.toml",)


def test_cpus_that_cannot_be_had_are_a_problem(installation: Installation) -> None:
    refused = changed(installation, plan_problem=("cpu 9 is not there", "Name other cpus."))
    (finding,) = found(refused, "cpus")
    assert (finding.verdict, finding.fact) == ("problem", "cpu 9 is not there")


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o600, "fine"), (0o400, "fine"), (0o640, "warning"), (0o604, "problem")]
)
def test_a_key_is_for_its_owner_alone(
    installation: Installation, tmp_path: Path, mode: int, verdict: str
) -> None:
    key = tmp_path / "key"
    key.touch()
    key.chmod(mode)
    (finding,) = found(with_key(installation, key), "keys")
    assert finding.verdict == verdict
    assert (f"chmod 600 {key}" in finding.fix) == (verdict != "fine")


def test_a_key_that_is_not_there_is_a_problem(installation: Installation, tmp_path: Path) -> None:
    (finding,) = found(with_key(installation, tmp_path / "none"), "keys")
    assert finding.verdict == "problem"
    assert "no such file" in finding.fact


def test_a_key_that_systemd_hands_over_is_not_looked_for(installation: Installation) -> None:
    (finding,) = found(with_key(installation, "credential:venue_key"), "keys")
    assert finding.verdict == "note"


@pytest.mark.parametrize(
    ("space", "verdict"),
    [
        (Space(500 * GB, 30 * GB), "fine"),
        (Space(500 * GB, 10 * GB), "warning"),
        (Space(500 * GB, 1 * GB), "problem"),
        (Space(10 * GB, 3 * GB), "fine"),
        (None, "problem"),
    ],
)
def test_the_journal_needs_room(
    installation: Installation, space: Space | None, verdict: str
) -> None:
    (finding,) = found(changed(installation, state_space=space), "disk")
    assert finding.verdict == verdict


def test_a_run_directory_without_a_living_process_is_a_leftover(
    installation: Installation,
) -> None:
    run_dir = installation.run_root / "desk"
    run_dir.mkdir(parents=True)
    (run_dir / PLAN_FILE).touch()
    (finding,) = found(installation, "leftovers")
    assert finding.fix == ("hft down --name desk",)
    lock = RoleLock(run_dir, "risk")
    lock.acquire()
    try:
        (finding,) = found(installation, "leftovers")
        assert finding.fact == "nothing was left behind by dead systems; running: desk"
    finally:
        lock.release()


def test_shared_memory_that_nobody_maps_is_a_leftover(installation: Installation) -> None:
    both = changed(
        installation, segment_systems=("dead", "used"), mapped_systems=frozenset({"used"})
    )
    (finding,) = found(both, "leftovers")
    assert finding.fix == ("rm /dev/shm/hft.dead.*",)


def test_who_maps_what_is_read_from_the_processes(tmp_path: Path) -> None:
    for pid, line in (("7", "7f00-7f10 r--s 0000 00:01 5 /dev/shm/hft.desk.market\n"), ("8", "")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "maps").write_text(line)
    assert mapped_systems(tmp_path) == {"desk"}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"version": (3, 10, 1)}, "problem"),
        ({"is_debug": True}, "warning"),
        ({"is_optimised": False}, "warning"),
        ({"version": (3, 13, 0)}, "fine"),
    ],
)
def test_the_interpreter_has_to_be_a_fast_one(
    installation: Installation, changes: dict[str, Any], verdict: str
) -> None:
    interpreter = msgspec.structs.replace(installation.interpreter, **changes)
    (finding,) = found(changed(installation, interpreter=interpreter), "python")
    assert finding.verdict == verdict


def test_the_room_of_a_directory_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    space = space_of(tmp_path / "a" / "b")
    assert space is not None
    assert space.total == status.f_frsize * status.f_blocks
