"""Two processes, as fast as they can, every word of every record looked at."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from rig import RECORD_BYTES, RECORD_WORDS, Rig, check_records, child, pattern, run

from ipc import CellReader, CellWriter, RingReader, RingWriter, SegmentKind, SegmentSpec

LOSSLESS: Final = SegmentSpec("lossless", SegmentKind.RING, RECORD_BYTES, 256)
BROADCAST: Final = SegmentSpec("broadcast", SegmentKind.RING, RECORD_BYTES, 64)
CELLS: Final = SegmentSpec("cells", SegmentKind.CELLS, 704, 4)
BLOCK: Final = 1024
DONE: Final = 40
"""Word of the writer's page: how many records there will be; 0 while it still writes."""


def block_of(first_seq: int) -> bytes:
    seqs = np.arange(first_seq, first_seq + BLOCK, dtype=np.uint64)
    return pattern(seqs, RECORD_WORDS).tobytes()


def lossless_singly(rig: Rig) -> dict[str, Any]:
    """``offer`` and ``next``, one record a call."""
    return _lossless(rig, 400 * rig.scale, singly=True)


def lossless_in_batches(rig: Rig) -> dict[str, Any]:
    """``offer_many`` and ``next_many``."""
    return _lossless(rig, 1000 * rig.scale, singly=False)


def _lossless(rig: Rig, blocks: int, *, singly: bool) -> dict[str, Any]:
    rig.create(LOSSLESS)
    cursor = rig.page("reader").cursor(0)

    def write() -> None:
        out = bytearray(RECORD_BYTES)
        writer = RingWriter(rig.attach(LOSSLESS, writable=True), out, gates=[cursor])
        for number in range(blocks):
            block = memoryview(block_of(number * BLOCK + 1))
            at = 0
            while at < len(block):
                if singly:
                    out[:] = block[at : at + RECORD_BYTES]
                    at += writer.offer() * RECORD_BYTES
                else:
                    at += writer.offer_many(block[at:]) * RECORD_BYTES

    total = blocks * BLOCK
    one, many = bytearray(RECORD_BYTES), bytearray(BLOCK * RECORD_BYTES)
    with child(write):
        reader = RingReader(rig.attach(LOSSLESS), one, cursor=cursor)
        while reader.seq < total:
            first, count = reader.seq + 1, 0
            if singly:
                while count < BLOCK and reader.next():
                    many[count * RECORD_BYTES : (count + 1) * RECORD_BYTES] = one
                    count += 1
                    if count % 32 == 0:
                        reader.commit()
            else:
                count = reader.next_many(many)
            reader.commit()
            check_records(many, count, first)
    return {"records": total, "lost": reader.lost, "left": reader.backlog}


def broadcast(rig: Rig) -> dict[str, Any]:
    """A writer that never waits: singly, in batches, in bulk; the reader is lapped all the time."""
    rig.create(BROADCAST)
    page = rig.page("writer")
    blocks = 1500 * rig.scale

    def write() -> None:
        out = bytearray(RECORD_BYTES)
        writer = RingWriter(rig.attach(BROADCAST, writable=True), out)
        for number in range(blocks):
            block = memoryview(block_of(number * BLOCK + 1))
            if number % 3 == 0:
                assert writer.offer_many(block) == BLOCK
                continue
            for at in range(0, len(block), RECORD_BYTES):
                out[:] = block[at : at + RECORD_BYTES]
                if number % 3 == 1:
                    assert writer.offer()
                else:
                    assert writer.put()
                    if at // RECORD_BYTES % 8 == 7:
                        writer.publish()
        page.set_gauge(DONE, blocks * BLOCK)

    many = bytearray(32 * RECORD_BYTES)
    got = laps = 0
    with child(write):
        reader = RingReader(rig.attach(BROADCAST), bytearray(RECORD_BYTES), start_seq=1)
        while not page.gauge(DONE) or reader.seq < page.gauge(DONE):
            first = reader.seq + 1
            count = reader.next_many(many)
            got += count
            laps += reader.lapped
            check_records(many, count, first)
    return {"records": blocks * BLOCK, "got": got, "lost": reader.lost, "laps": laps}


def cells(rig: Rig) -> dict[str, Any]:
    """Values of 704 bytes overwritten without a pause, read whole or not at all."""
    rig.create(CELLS)
    page = rig.page("writer")
    writes = 100 * BLOCK * rig.scale

    def write() -> None:
        out = bytearray(CELLS.item_bytes)
        writer = CellWriter(rig.attach(CELLS, writable=True), out)
        for start in range(1, writes + 1, BLOCK):
            values = np.arange(start, start + BLOCK, dtype=np.uint64)
            for value, row in zip(range(start, start + BLOCK), _cell_rows(values), strict=True):
                out[:] = row
                writer.write(value % CELLS.capacity)
        page.set_gauge(DONE, 1)

    into = bytearray(CELLS.item_bytes)
    reads = changes = 0
    newest = [0] * CELLS.capacity
    with child(write):
        reader = CellReader(rig.attach(CELLS), into)
        while not page.gauge(DONE):
            for index in range(CELLS.capacity):
                if not reader.read(index):
                    continue
                reads += 1
                words = np.frombuffer(into, np.uint64)
                value = int(words[0])
                assert (words[1:] == pattern(words[:1], len(words))[0, 1:]).all(), (index, into)
                assert value % CELLS.capacity == index
                assert value >= newest[index]
                changes += value > newest[index]
                newest[index] = value
    return {"writes": writes, "reads": reads, "changes": changes}


def _cell_rows(values: np.ndarray[Any, np.dtype[np.uint64]]) -> list[bytes]:
    rows = pattern(values, CELLS.item_bytes // 8)
    rows[:, 0] = values
    return [row.tobytes() for row in rows]


if __name__ == "__main__":
    run(
        {
            "lossless-singly": lossless_singly,
            "lossless-in-batches": lossless_in_batches,
            "broadcast": broadcast,
            "cells": cells,
        }
    )
