"""Room for the journal is made sure of before anything starts."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from hft.errors import UsageError
from hft.roles.journal_files import FOLDER
from tools.system.disk import check_disk

Usage = namedtuple("Usage", "total used free")
GIB = 2**30


@pytest.mark.parametrize(
    ("total", "free", "words"),
    [
        (100 * GIB, 30 * GIB, ""),
        (100 * GIB, 15 * GIB, "fills up: 15,360 MB of 102,400 MB are free"),
        (10_000 * GIB, 30 * GIB, ""),
        (8 * GIB, 2 * GIB, ""),
        (8 * GIB, 1 * GIB, "fills up"),
    ],
)
def test_a_disk_that_fills_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, words: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(total, total - free, free))
    notices = check_disk(tmp_path / "desk")
    assert (tmp_path / "desk" / FOLDER).is_dir()
    assert len(notices) == bool(words)
    assert words in "".join(notices)


@pytest.mark.parametrize(("total", "free"), [(8 * GIB, GIB // 4), (10_000 * GIB, GIB)])
def test_a_disk_as_good_as_full_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(total, total - free, free))
    with pytest.raises(UsageError, match="as good as full"):
        check_disk(tmp_path)


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(UsageError, match="cannot make"):
        check_disk(tmp_path)
