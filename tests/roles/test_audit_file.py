from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hft.errors import CheckFailedError
from hft.roles import audit_file


def note(state_dir: Path, reason: str = "why") -> None:
    audit_file.append(state_dir, system="s", event="halt", by="me", reason=reason)


def test_acts_are_appended_and_the_chain_holds(tmp_path: Path) -> None:
    for number in range(3):
        note(tmp_path / "state", str(number))
    chain = audit_file.load(tmp_path / "state")
    assert chain.problem == ""
    assert [entry.reason for entry in chain.entries] == ["0", "1", "2"]


def test_there_is_no_trail_before_the_first_act(tmp_path: Path) -> None:
    assert audit_file.load(tmp_path) == ((), "")


def test_a_line_cut_off_by_a_crash_is_removed_and_the_next_follows_the_last_whole_one(
    tmp_path: Path,
) -> None:
    note(tmp_path, "first")
    path = tmp_path / audit_file.FILE_NAME
    with path.open("ab") as file:
        file.write(b'{"by":"me","ev')
    assert len(audit_file.load(tmp_path).entries) == 1
    note(tmp_path, "second")
    chain = audit_file.load(tmp_path)
    assert (len(chain.entries), chain.problem) == (2, "")


def test_nothing_is_appended_to_a_line_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / audit_file.FILE_NAME).write_bytes(b"something else\n")
    with pytest.raises(CheckFailedError, match="is not an entry"):
        note(tmp_path)


def test_many_writers_make_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda number: note(tmp_path, str(number)), range(40)))
    chain = audit_file.load(tmp_path)
    assert (len(chain.entries), chain.problem) == (40, "")


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    for _ in range(3):
        note(tmp_path)
    path = tmp_path / audit_file.FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"by":"me"', b'"by":"us"', 1))
    chain = audit_file.load(tmp_path)
    assert chain.problem
    assert chain.entries == ()
