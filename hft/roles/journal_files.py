"""The order journal on disk: what a file of it looks like, and how one is read.

::

    <journal, 20 digits>-<first sequence, 12 digits>.journal
    ├─ header page, 4,096 bytes: ``FileHeader`` with a CRC of its own
    └─ slots of 128 bytes, ``JOURNAL`` records as they stood in the ring, allocated in advance

A journal is one life of the ring (one ``hft up``), named by the wall-clock time at which the ring
was made: its sequences begin at 1. Slot ``n`` of a file holds sequence ``first_seq + n``. A slot is
valid when it carries that number and its CRC fits; the entries of a file are its valid prefix. What
follows is empty, or torn by a power failure, and nothing of it is believed.

A file takes over from the one before it at ``begin_seq``: what that one has from there on was
never confirmed, and was copied again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.core.order_entries import entry_crc
from hft.errors import HftError
from hft.graph import ring, ring_layout_hash
from hft.records import JOURNAL, SLOT_BYTES

FOLDER: Final = "journal"
"""Directory of the files, in the state directory."""
SUFFIX: Final = ".journal"
SPARE: Final = "next.spare"
"""A file allocated in advance: it gets its name with its first record."""
HEADER_BYTES: Final = 4_096
CAPACITY: Final = 65_536
"""Records of one file: 8 MiB."""
MAGIC: Final = b"HFTJRNL\0"
FORMAT: Final = 1
LAYOUT_HASH: Final = ring_layout_hash(ring("journal"))
_HEADER: Final = struct.Struct("<8s2I3Q3Q3q32s")
_CRC: Final = struct.Struct("<I")


class JournalFileError(HftError):
    """A file is no journal file, or of another build."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: {why}", remedy="Move it out of the journal's directory, and look again."
        )


class FileHeader(NamedTuple):
    """First page of a file."""

    layout_hash: int
    """Of the records: a build that has other ones does not read them."""
    boot_hash: int
    """Boot in which the entries were made: their monotonic times hold only there."""
    recorder_epoch: int
    first_seq: int
    """Sequence of slot 0."""
    begin_seq: int
    """Smaller than ``first_seq`` when entries were lost before they could be copied."""
    capacity: int
    """Slots."""
    journal_ns: int
    """Wall clock at which the ring was made: names the journal."""
    created_wall_ns: int
    created_ns: int
    """Wall clock and monotonic clock at one moment: turns the times of entries into wall clock."""
    system: str

    def encode(self) -> bytes:
        """The header as it stands on disk, without the zeros up to the page's end."""
        *numbers, system = self
        raw = _HEADER.pack(MAGIC, FORMAT, SLOT_BYTES, *numbers, system.encode())
        return raw + _CRC.pack(zlib.crc32(raw))

    @property
    def file_name(self) -> str:
        """Name of the file: sorted by name, files are in the order of their entries."""
        return f"{self.journal_ns:020d}-{self.first_seq:012d}{SUFFIX}"

    @property
    def file_bytes(self) -> int:
        """Size of the file while it is written."""
        return HEADER_BYTES + self.capacity * SLOT_BYTES


def decode_header(raw: bytes, path: Path) -> FileHeader:
    """The header of a file from its first bytes.

    Raises:
        JournalFileError: these are not the first bytes of a journal file of this build.
    """
    size = _HEADER.size + _CRC.size
    if len(raw) < size or raw[: len(MAGIC)] != MAGIC:
        raise JournalFileError(path, "it does not begin as a journal file does")
    if zlib.crc32(raw[: _HEADER.size]) != _CRC.unpack_from(raw, _HEADER.size)[0]:
        raise JournalFileError(path, "its header is damaged")
    _, version, slot_bytes, *numbers, system = _HEADER.unpack_from(raw)
    header = FileHeader._make((*numbers, system.rstrip(b"\0").decode()))
    if (version, slot_bytes, header.layout_hash) != (FORMAT, SLOT_BYTES, LAYOUT_HASH):
        raise JournalFileError(path, "another version wrote it, with other records")
    return header


class JournalFile:
    """One file, as it was when it was read."""

    def __init__(self, path: Path, header: FileHeader, raw: bytes) -> None:
        self.path = path
        self.header = header
        self._raw = raw
        self.count = count_valid(raw, header.first_seq)
        """Entries: the valid prefix."""

    @property
    def end_seq(self) -> int:
        """Last sequence of the valid prefix; one before ``first_seq`` when it is empty."""
        return self.header.first_seq + self.count - 1

    @property
    def entries(self) -> NDArray[np.void]:
        """The valid prefix."""
        return np.frombuffer(self._raw, JOURNAL.dtype, self.count)

    @cached_property
    def torn_bytes(self) -> int:
        """Bytes behind the valid prefix up to the last one that is not zero."""
        return len(self._raw[self.count * SLOT_BYTES :].rstrip(b"\0"))

    @cached_property
    def valid_behind(self) -> int:
        """Valid entries behind the first slot that is not: a file damaged in its middle."""
        first_seq = self.header.first_seq
        written = self.count + -(-self.torn_bytes // SLOT_BYTES)
        return sum(
            is_valid(self._raw, index, first_seq + index)
            for index in range(self.count + 1, written)
        )

    def wall_ns(self, monotonic_ns: int) -> int:
        """Wall clock at a monotonic time of these entries."""
        return monotonic_ns - self.header.created_ns + self.header.created_wall_ns


def is_valid(raw: bytes, index: int, seq: int) -> bool:
    """Whether slot ``index`` holds entry ``seq``, whole."""
    slot = bytearray(raw[index * SLOT_BYTES : (index + 1) * SLOT_BYTES])
    if len(slot) < SLOT_BYTES or int.from_bytes(slot[:8], "little") != seq:
        return False
    return entry_crc(slot) == int.from_bytes(slot[_CRC_OFFSET : _CRC_OFFSET + 4], "little")


def count_valid(raw: bytes, first_seq: int, start: int = 0) -> int:
    """Length of the valid prefix of slots; those before ``start`` are taken as valid."""
    index = start
    while is_valid(raw, index, first_seq + index):
        index += 1
    return index


def _crc_offset() -> int:
    fields = JOURNAL.dtype.fields
    assert fields is not None
    return int(fields["crc"][1])


_CRC_OFFSET: Final = _crc_offset()


def list_files(directory: Path) -> list[Path]:
    """Journal files of a directory, in the order of their entries; none when it is not there."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def read_file(path: Path) -> JournalFile:
    """Read a file whole.

    Raises:
        JournalFileError: it is no journal file of this build.
        OSError: it cannot be read.
    """
    raw = path.read_bytes()
    return JournalFile(path, decode_header(raw[:HEADER_BYTES], path), raw[HEADER_BYTES:])


class Piece(NamedTuple):
    """What one file adds to the journal."""

    file: JournalFile
    entries: NDArray[np.void]


class Journal(NamedTuple):
    """All files of a directory, read and held against each other."""

    pieces: tuple[Piece, ...]
    problems: tuple[str, ...]
    """What is missing, damaged or unreadable; empty: every entry is there, once."""
    notes: tuple[str, ...]
    """What was cut as torn: never confirmed, so nothing that anybody relied on."""

    @property
    def entry_count(self) -> int:
        """Entries in all files."""
        return sum(len(piece.entries) for piece in self.pieces)


def read_journal(directory: Path) -> Journal:
    """Read every file, drop what a later one took over, and look whether anything is missing.

    Raises:
        OSError: a file cannot be read.
    """
    problems: list[str] = []
    files: list[JournalFile] = []
    for path in list_files(directory):
        try:
            file = read_file(path)
            # One that is written to meanwhile may look damaged: pages are read one by one.
            files.append(read_file(path) if file.valid_behind else file)
        except FileNotFoundError:
            continue  # the recorder keeps only so many, and has just removed the oldest
        except JournalFileError as error:
            problems.append(error.message)
    pieces: list[Piece] = []
    notes: list[str] = []
    for index, file in enumerate(files):
        heir = files[index + 1] if index + 1 < len(files) else None
        if heir is not None and heir.header.journal_ns != file.header.journal_ns:
            heir = None
        count = file.count
        if heir is not None:
            count = min(count, max(0, heir.header.begin_seq - file.header.first_seq))
        pieces.append(Piece(file, file.entries[:count]))
        problems += _continuity_problems(files[:index], file)
        problems += _damage_problems(file, heir)
        if file.torn_bytes and heir is None and not file.valid_behind:
            notes.append(
                f"{file.path.name}: {file.torn_bytes} bytes behind entry {file.end_seq} are torn"
            )
    return Journal(tuple(pieces), tuple(problems), tuple(notes))


def _continuity_problems(earlier: list[JournalFile], file: JournalFile) -> Iterator[str]:
    header, name = file.header, file.path.name
    if header.begin_seq < header.first_seq:
        yield f"{name}: entries {header.begin_seq} to {header.first_seq - 1} were never copied"
    if not earlier:
        return  # what came before it was removed in its time
    before = earlier[-1]
    expected = before.end_seq + 1 if before.header.journal_ns == header.journal_ns else 1
    if header.begin_seq > expected:
        yield f"{name}: entries {expected} to {header.begin_seq - 1} are missing before it"


def _damage_problems(file: JournalFile, heir: JournalFile | None) -> Iterator[str]:
    if heir is not None and heir.header.begin_seq <= file.end_seq + 1:
        return  # an heir copied again whatever stands behind
    if file.valid_behind:
        yield (
            f"{file.path.name}: entry {file.end_seq + 1} is damaged,"
            f" {file.valid_behind} entries behind it are not"
        )


__all__ = [
    "CAPACITY",
    "FOLDER",
    "FileHeader",
    "Journal",
    "JournalFile",
    "JournalFileError",
    "Piece",
    "list_files",
    "read_file",
    "read_journal",
]
