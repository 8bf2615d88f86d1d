from __future__ import annotations

import pytest

from hft.core.audit import GENESIS, Entry, line_of, make_entry, verify


def trail(count: int) -> list[bytes]:
    lines, entry = [], None
    for number in range(count):
        entry = make_entry(
            entry, wall_ns=number, system="s", event="halt", by="me", reason="why",
            facts={"n": number},
        )  # fmt: skip
        lines.append(line_of(entry))
    return lines


def test_a_whole_chain_is_read_back() -> None:
    chain = verify(trail(3))
    assert chain.problem == ""
    assert [entry.number for entry in chain.entries] == [1, 2, 3]
    assert chain.entries[0].previous == GENESIS
    assert chain.entries[2].previous == chain.entries[1].hash


def test_no_trail_is_whole() -> None:
    assert verify([]) == ((), "")


@pytest.mark.parametrize("line", range(4))
def test_a_changed_removed_or_doubled_line_breaks_it(line: int) -> None:
    lines = trail(4)
    changed = [*lines[:line], lines[line].replace(b"why", b"who"), *lines[line + 1 :]]
    assert verify(changed).problem.startswith(f"line {line + 1} ")
    assert len(verify(changed).entries) == line
    doubled = [*lines[: line + 1], *lines[line:]]
    assert verify(doubled).problem.startswith(f"line {line + 2} ")
    if line < 3:
        removed = [*lines[:line], *lines[line + 1 :]]
        assert verify(removed).problem.startswith(f"line {line + 1} ")


def test_a_changed_line_with_a_hash_of_its_own_breaks_at_the_next() -> None:
    lines = trail(3)
    first = verify(lines[:1]).entries[0]
    forged = make_entry(
        first, wall_ns=1, system="s", event="halt", by="me", reason="other", facts={}
    )
    assert verify([lines[0], line_of(forged), lines[2]]).problem.startswith("line 3 ")


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"number": 1}', b"\xff\xfe"])
def test_nonsense_is_no_entry(line: bytes) -> None:
    assert verify([line]) == ((), "line 1 is not an entry")


def test_the_same_content_written_otherwise_is_not_ours() -> None:
    line = trail(1)[0]
    assert verify([line.replace(b",", b", ", 1)]).problem == "line 1 is not written as entries are"


def test_entries_hold_what_json_can() -> None:
    entry = make_entry(None, wall_ns=1, system="s", event="e", by="b", reason="ü\n", facts={})
    assert line_of(entry).count(b"\n") == 1
    assert verify([line_of(entry)]).entries == (entry,)
    assert isinstance(entry, Entry)
