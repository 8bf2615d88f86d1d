"""State cells: the newest value, always whole. Death by signal: tests/stress."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ipc
from ipc import CellReader, CellWriter, Segment, SegmentKind, SegmentSpec, layout

BOOKS = SegmentSpec("books", SegmentKind.CELLS, 704, 4)
Attach = Callable[..., Segment]


def test_cells_keep_their_own_newest_value(attach: Attach) -> None:
    out, into = bytearray(704), bytearray(704)
    writer = CellWriter(attach(BOOKS, writable=True), out)
    reader = CellReader(attach(BOOKS), into)
    assert [reader.read(index) for index in range(4)] == [False] * 4
    for round_number in range(1, 6):
        for index in (0, 2):
            out[:] = bytes([round_number * 10 + index]) * 704
            writer.write(index)
    for index in (0, 2):
        assert reader.read(index)
        assert into == bytes([50 + index]) * 704
        assert reader.version(index) == writer.version(index) == 5
    assert not reader.read(1)
    assert reader.version(1) == 0


def test_a_cell_that_was_never_written_leaves_the_buffer_alone(attach: Attach) -> None:
    into = bytearray(b"x" * 704)
    assert not CellReader(attach(BOOKS), into).read(0)
    assert into == b"x" * 704


def test_the_writer_reads_back(attach: Attach) -> None:
    buffer = bytearray(b"a" * 704)
    writer = CellWriter(attach(BOOKS, writable=True), buffer)
    assert not writer.read(3)
    writer.write(3)
    buffer[:] = bytes(704)
    assert writer.read(3)
    assert buffer == b"a" * 704


def test_a_write_that_was_never_finished_is_never_seen(attach: Attach) -> None:
    out, into = bytearray(b"a" * 704), bytearray(704)
    segment = attach(BOOKS, writable=True)
    writer = CellWriter(segment, out)
    writer.write(1)
    # The second write died half-way through copy 0; copy 1 is current.
    cell = layout.ITEMS_OFFSET + layout.cell_stride(704)
    segment.buffer[cell + 64 : cell + 64 + 300] = b"b" * 300
    reader = CellReader(attach(BOOKS), into)
    assert reader.read(1)
    assert into == b"a" * 704
    out[:] = b"c" * 704
    CellWriter(segment, out).write(1)
    assert reader.read(1)
    assert into == b"c" * 704


def test_wrong_indices_sizes_and_kinds_are_refused(attach: Attach) -> None:
    writer = CellWriter(attach(BOOKS, writable=True), bytearray(704))
    reader = CellReader(attach(BOOKS), bytearray(704))
    for index in (-1, 4):
        with pytest.raises(IndexError, match=f"4 cells, there is no cell {index}"):
            writer.write(index)
        for method in (writer.read, writer.version, reader.read, reader.version, reader.word):
            with pytest.raises(IndexError):
                method(index)
    with pytest.raises(ValueError, match="values of 704 bytes, the buffer 128"):
        CellReader(attach(BOOKS), bytearray(128))
    ring = attach(SegmentSpec("ring", SegmentKind.RING, 128, 8), writable=True)
    with pytest.raises(ipc.SegmentKindError, match="kind is ring, expected cells"):
        CellWriter(ring, bytearray(128))
    with pytest.raises(ipc.ReadOnlyError):
        CellWriter(attach(BOOKS), bytearray(704))


def test_a_cells_version_can_be_watched(attach: Attach, bells: Segment) -> None:
    writer = CellWriter(attach(BOOKS, writable=True), bytearray(704))
    reader = CellReader(attach(BOOKS), bytearray(704))
    parker = ipc.Parker(bells, 0, extra_words=[reader.word(2)])
    parker.has_work()
    assert not parker.has_work()
    writer.write(1)
    assert not parker.has_work()
    writer.write(2)
    assert parker.has_work()
    assert not parker.has_work()
