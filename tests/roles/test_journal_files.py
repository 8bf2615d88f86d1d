"""Journal files: whatever a power failure leaves behind reads as a valid prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.generated.views import Journal as Entry
from hft.records import SLOT_BYTES, JournalKind, Kind
from hft.roles.journal_files import (
    HEADER_BYTES,
    LAYOUT_HASH,
    FileHeader,
    JournalFile,
    JournalFileError,
    decode_header,
    read_file,
    read_journal,
)
from hft.roles.order_keeper import entry_crc

CAPACITY = 16
COUNT = 6
UNGUARDED = range(8, 16)
"""publish_ns: stamped by the ring after the CRC was made."""


def header(first_seq: int = 1, begin_seq: int = 0, journal_ns: int = 1_000) -> FileHeader:
    return FileHeader(
        layout_hash=LAYOUT_HASH,
        boot_hash=5,
        recorder_epoch=7,
        first_seq=first_seq,
        begin_seq=begin_seq or first_seq,
        capacity=CAPACITY,
        journal_ns=journal_ns,
        created_wall_ns=10_000_000,
        created_ns=4_000_000,
        system="desk",
    )


def slots(first_seq: int, count: int) -> bytearray:
    """Entries as the ring would hold them."""
    found = bytearray()
    for seq in range(first_seq, first_seq + count):
        slot = bytearray(SLOT_BYTES)
        entry = Entry(slot)
        entry.kind, entry.journal_kind = int(Kind.JOURNAL), int(JournalKind.PLACE)
        entry.order_id, entry.price_e8 = seq * 1_000_003, seq
        entry.crc = entry_crc(slot)
        entry.seq, entry.publish_ns = seq, 4_000_000 + seq
        found += slot
    return found


def write(directory: Path, head: FileHeader, raw: bytes) -> Path:
    path = directory / head.file_name
    body = raw.ljust(CAPACITY * SLOT_BYTES, b"\0")
    path.write_bytes(head.encode().ljust(HEADER_BYTES, b"\0") + body)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = read_file(write(tmp_path, header(), slots(1, COUNT)))
    assert file.header == header()
    assert list(file.entries["seq"]) == [1, 2, 3, 4, 5, 6]
    assert list(file.entries["price_e8"]) == [1, 2, 3, 4, 5, 6]
    assert (file.end_seq, file.torn_bytes, file.valid_behind) == (6, 0, 0)
    assert file.wall_ns(4_000_001) == 10_000_001


def test_full_file_has_no_tail(tmp_path: Path) -> None:
    file = read_file(write(tmp_path, header(), slots(1, CAPACITY)))
    assert (file.count, file.torn_bytes) == (CAPACITY, 0)


@pytest.mark.parametrize("padded", [True, False])
def test_every_truncation_of_the_last_two_entries_reads_as_a_prefix(*, padded: bool) -> None:
    raw = bytes(slots(1, COUNT))
    for length in range((COUNT - 2) * SLOT_BYTES, COUNT * SLOT_BYTES + 1):
        left = raw[:length]
        if padded:  # the file was allocated before: what was not written is zero
            left = left.ljust(CAPACITY * SLOT_BYTES, b"\0")
        file = JournalFile(Path("x"), header(), left)
        # The last bytes of an entry may be zero by themselves.
        whole = sum(
            left[: (n + 1) * SLOT_BYTES] == raw[: (n + 1) * SLOT_BYTES] for n in range(COUNT)
        )
        assert file.count == whole
        assert bytes(file.entries.tobytes()) == raw[: whole * SLOT_BYTES]
        assert file.valid_behind == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2 * SLOT_BYTES - 1).filter(lambda at: at % SLOT_BYTES not in UNGUARDED),
            st.integers(1, 255),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda flip: flip[0],
    )
)
def test_flipped_bits_in_the_tail_read_as_a_prefix(flips: list[tuple[int, int]]) -> None:
    raw = slots(1, COUNT)
    tail = (COUNT - 2) * SLOT_BYTES
    for at, bits in flips:
        raw[tail + at] ^= bits
    damaged = min((tail + at) // SLOT_BYTES for at, _ in flips)
    file = JournalFile(Path("x"), header(), bytes(raw))
    assert file.count == damaged
    assert file.entries.tobytes() == bytes(slots(1, damaged))


@given(st.binary(max_size=3 * SLOT_BYTES))
def test_garbage_behind_the_entries_is_never_believed(garbage: bytes) -> None:
    raw = bytes(slots(1, COUNT)) + garbage
    file = JournalFile(Path("x"), header(), raw)
    assert file.count == COUNT
    assert file.torn_bytes == len(garbage.rstrip(b"\0"))


@given(st.integers(0, 119), st.integers(1, 255))
def test_damaged_header_is_refused(at: int, bits: int) -> None:
    raw = bytearray(header().encode().ljust(HEADER_BYTES, b"\0"))
    raw[at] ^= bits
    with pytest.raises(JournalFileError):
        decode_header(bytes(raw), Path("x"))


def test_other_records_are_refused() -> None:
    other = header()._replace(layout_hash=1)
    with pytest.raises(JournalFileError, match="another version wrote it"):
        decode_header(other.encode(), Path("x"))


def test_files_of_one_journal_follow_each_other(tmp_path: Path) -> None:
    write(tmp_path, header(), slots(1, CAPACITY))
    write(tmp_path, header(CAPACITY + 1), slots(CAPACITY + 1, 3))
    journal = read_journal(tmp_path)
    assert (journal.problems, journal.notes) == ((), ())
    assert journal.entry_count == CAPACITY + 3


def test_a_later_file_takes_over_what_was_never_confirmed(tmp_path: Path) -> None:
    write(tmp_path, header(), slots(1, 10) + b"torn" * 9)
    write(tmp_path, header(7), slots(7, 8))
    journal = read_journal(tmp_path)
    assert journal.problems == ()
    found = [int(seq) for piece in journal.pieces for seq in piece.entries["seq"]]
    assert found == list(range(1, 15))


def test_lost_entries_are_told(tmp_path: Path) -> None:
    write(tmp_path, header(), slots(1, 4))
    write(tmp_path, header(9, begin_seq=5), slots(9, 2))
    journal = read_journal(tmp_path)
    assert len(journal.problems) == 1
    assert journal.problems[0].endswith("entries 5 to 8 were never copied")


def test_missing_file_is_told(tmp_path: Path) -> None:
    write(tmp_path, header(), slots(1, 4))
    write(tmp_path, header(9), slots(9, 2))
    assert read_journal(tmp_path).problems[0].endswith("entries 5 to 8 are missing before it")


def test_each_journal_begins_at_one(tmp_path: Path) -> None:
    write(tmp_path, header(5), slots(5, 4))  # the ones before it were removed in their time
    write(tmp_path, header(1, journal_ns=2_000), slots(1, 4))
    assert read_journal(tmp_path).problems == ()
    write(tmp_path, header(3, journal_ns=3_000), slots(3, 4))
    assert read_journal(tmp_path).problems[0].endswith("entries 1 to 2 are missing before it")


def test_torn_tail_is_no_problem_and_damage_in_the_middle_is(tmp_path: Path) -> None:
    raw = slots(1, COUNT)
    raw[-20] ^= 1
    path = write(tmp_path, header(), raw)
    journal = read_journal(tmp_path)
    assert journal.problems == ()
    assert journal.notes[0].endswith("behind entry 5 are torn")
    raw = slots(1, COUNT)
    raw[2 * SLOT_BYTES + 60] ^= 1
    write(tmp_path, header(), raw)
    journal = read_journal(tmp_path)
    assert journal.problems == (f"{path.name}: entry 3 is damaged, 3 entries behind it are not",)
    assert journal.entry_count == 2


def test_something_else_in_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "0.journal").write_bytes(b"hello")
    (tmp_path / "notes.txt").write_text("mine")
    assert "does not begin as a journal file does" in read_journal(tmp_path).problems[0]
    assert read_journal(tmp_path / "nothing") == ((), (), ())
