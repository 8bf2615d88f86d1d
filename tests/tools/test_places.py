"""Which system a command means, and what may stand in for a run directory."""

from pathlib import Path

import pytest

from hft.errors import UnreachableError, UsageError
from tools.system.places import (
    Places,
    find_running,
    known_systems,
    make_run_dir,
    make_state_dir,
    remove_run_dir,
    run_root,
    write_whole,
)


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "plan.json").touch()


def test_the_only_system_needs_no_name(tmp_path: Path) -> None:
    make(tmp_path, "demo-1")
    assert find_running(tmp_path, None) == tmp_path / "demo-1"


def test_default_is_meant_when_there_are_several(tmp_path: Path) -> None:
    make(tmp_path, "a", "default", "z")
    assert find_running(tmp_path, None) == tmp_path / "default"


def test_several_systems_have_to_be_told_apart(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    with pytest.raises(UsageError, match="several systems run: a, b"):
        find_running(tmp_path, None)
    assert find_running(tmp_path, "b") == tmp_path / "b"


def test_unknown_name_is_told_with_what_runs(tmp_path: Path) -> None:
    make(tmp_path, "a")
    with pytest.raises(UnreachableError) as raised:
        find_running(tmp_path, "b")
    assert raised.value.remedy == "Running here: a."


def test_nothing_runs_where_there_is_no_directory(tmp_path: Path) -> None:
    assert known_systems(tmp_path / "none") == []
    with pytest.raises(UnreachableError, match="no system runs"):
        find_running(tmp_path / "none", None)


def test_environment_names_the_root_and_a_setting_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFT_RUN_DIR", str(tmp_path))
    assert run_root() == tmp_path
    assert run_root("/elsewhere") == Path("/elsewhere")


def test_link_in_place_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "hft").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="is not a directory of yours"):
        make_run_dir(Places("a", tmp_path / "hft" / "a", tmp_path))


def test_run_directory_goes_with_everything_in_it(tmp_path: Path) -> None:
    places = Places("a", tmp_path / "hft" / "a", tmp_path)
    make_run_dir(places)
    assert places.run_dir.stat().st_mode & 0o777 == 0o750
    (places.run_dir / "hot.fifo").touch()
    remove_run_dir(places.run_dir)
    assert not (tmp_path / "hft").exists()


def test_file_that_cannot_be_written_is_told_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.mkdir()  # a directory cannot be replaced by a file, whoever asks
    with pytest.raises(UsageError, match=r"cannot write .*numbers\.json"):
        write_whole(path, b"{}")
    assert list(tmp_path.iterdir()) == [path]
    path.rmdir()
    write_whole(path, b"{}")
    assert path.read_bytes() == b"{}"


def test_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(UsageError, match="cannot make"):
        make_state_dir(tmp_path / "root" / "name")
    with pytest.raises(UsageError, match="cannot make"):
        make_run_dir(Places("name", tmp_path / "root" / "below" / "name", tmp_path))
