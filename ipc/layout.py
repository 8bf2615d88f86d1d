"""Byte layout of every shared-memory segment: nobody else knows an offset.

All numbers are native (little-endian, 64-bit). What different processes write lies on different
pairs of cache lines (128 bytes: processors fetch lines in pairs).

::

    segment header, 4096 bytes
    0x000  magic u64 ─ stored last       version u32      kind u32
    0x010  item bytes u64                capacity u64
    0x020  layout hash u64               boot hash u64
    0x030  creator pid u64               created, wall clock ns i64
    0x040  segment bytes u64
    0x060  name, 96 bytes, zero-padded
    0x100  writer epoch u64              writer u64: start time << 22 | process id
    0x180  published u64 ─ rings only: lazy, never beyond what is visible
    0x1000 items

    RING   capacity slots of item bytes. A slot is the record itself; its first u64 is the stamp:
           n while record n is there to be read, n | BUSY while it is being written. Its second
           word is the time of publication. Record n lies in slot (n - 1) & (capacity - 1).
    CELLS  capacity cells, each: version u64 (own line of 64) | copy 0 | copy 1, padded to lines.
           The version counts the writes; the copy to read is version & 1; 0: never written.
    WORDS  capacity words, each the first u64 of its item bytes
    BELLS  capacity bells on lines of their own: doorbell u32 (0 awake, 1 parked on the futex, 2
           parked in an event loop) | at +8 posted u64: counts what came to it outside any ring
    PAGE   a role page, one item:
           0x0000  beat ns i64 (own lines)
           0x0080  state u64
           0x0100  error text, 256 bytes
           0x0200  pending[16], 64 bytes each: input seq u64 (0: none) | output seq u64
           0x0600  gauges[64] i64
           0x0800  counters[256] u64
           0x1000  cursors[32], 128 bytes each: u64
           0x2000  histogram maxima[24] u64
           0x2100  histograms[24][3840] u64
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final, NamedTuple

MAGIC: Final = 0x31435049_54464821
"""Eight bytes at the start of every finished segment."""
LAYOUT_VERSION: Final = 1
LINE_BYTES: Final = 64
PAIR_BYTES: Final = 128
BUSY: Final = 1 << 63
"""Set in a slot's stamp while the slot is being written."""

HEADER_BYTES: Final = 4096
MAGIC_OFFSET: Final = 0x00
VERSION_OFFSET: Final = 0x08
KIND_OFFSET: Final = 0x0C
ITEM_BYTES_OFFSET: Final = 0x10
CAPACITY_OFFSET: Final = 0x18
LAYOUT_HASH_OFFSET: Final = 0x20
BOOT_HASH_OFFSET: Final = 0x28
CREATOR_PID_OFFSET: Final = 0x30
CREATED_WALL_NS_OFFSET: Final = 0x38
SEGMENT_BYTES_OFFSET: Final = 0x40
NAME_OFFSET: Final = 0x60
NAME_BYTES: Final = 96
EPOCH_OFFSET: Final = 0x100
WRITER_OFFSET: Final = 0x108
WRITER_PID_BITS: Final = 22
"""Linux process ids stay below 2^22; id and start time in one word are stored in one step."""
PUBLISHED_OFFSET: Final = 0x180
ITEMS_OFFSET: Final = HEADER_BYTES

BELL_BYTES: Final = PAIR_BYTES
"""Usual size of a bell: a line pair of its own."""
BELL_POSTED_OFFSET: Final = 8

PAGE_BEAT_OFFSET: Final = 0x0000
PAGE_STATE_OFFSET: Final = 0x0080
PAGE_ERROR_OFFSET: Final = 0x0100
PAGE_ERROR_BYTES: Final = 256
PAGE_PENDING_OFFSET: Final = PAGE_ERROR_OFFSET + PAGE_ERROR_BYTES
PENDING_COUNT: Final = 16
PENDING_BYTES: Final = LINE_BYTES
PAGE_GAUGES_OFFSET: Final = PAGE_PENDING_OFFSET + PENDING_COUNT * PENDING_BYTES
GAUGE_COUNT: Final = 64
PAGE_COUNTERS_OFFSET: Final = PAGE_GAUGES_OFFSET + GAUGE_COUNT * 8
COUNTER_COUNT: Final = 256
PAGE_CURSORS_OFFSET: Final = PAGE_COUNTERS_OFFSET + COUNTER_COUNT * 8
CURSOR_COUNT: Final = 32
CURSOR_BYTES: Final = PAIR_BYTES
PAGE_MAXIMA_OFFSET: Final = PAGE_CURSORS_OFFSET + CURSOR_COUNT * CURSOR_BYTES
HISTOGRAM_COUNT: Final = 24
HISTOGRAM_BUCKETS: Final = 3840
"""HdrHistogram's layout for two significant digits: 256 sub-buckets, values up to 2^36 - 1."""
PAGE_HISTOGRAMS_OFFSET: Final = PAGE_MAXIMA_OFFSET + 256
PAGE_BYTES: Final = PAGE_HISTOGRAMS_OFFSET + HISTOGRAM_COUNT * HISTOGRAM_BUCKETS * 8

assert PAGE_COUNTERS_OFFSET == 0x0800
assert PAGE_CURSORS_OFFSET == 0x1000
assert PAGE_HISTOGRAMS_OFFSET == 0x2100

SYSTEM_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
SEGMENT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")


class SegmentKind(IntEnum):
    """What the items of a segment are."""

    RING = 1
    CELLS = 2
    PAGE = 3
    WORDS = 4
    BELLS = 5


class SegmentSpec(NamedTuple):
    """What creator and reader of a segment must agree on."""

    name: str
    kind: SegmentKind
    item_bytes: int
    """Bytes of a record, cell value or word; the whole area for a page."""
    capacity: int
    layout_hash: int = 0
    """Hash of the record type; 0 where there is none."""
    shared: bool = False
    """Every role may write it: bells and the halt word only."""


def cell_stride(item_bytes: int) -> int:
    """Bytes from one cell to the next: the version's line and two padded copies."""
    return LINE_BYTES + 2 * copy_stride(item_bytes)


def copy_stride(item_bytes: int) -> int:
    """Bytes of one copy of a cell's value, padded to whole lines."""
    return -(-item_bytes // LINE_BYTES) * LINE_BYTES


def segment_bytes(spec: SegmentSpec) -> int:
    """Size of the whole file, in whole pages.

    Raises:
        ValueError: The item size or the capacity cannot be laid out.
    """
    check_spec(spec)
    stride = cell_stride(spec.item_bytes) if spec.kind is SegmentKind.CELLS else spec.item_bytes
    return -(-(ITEMS_OFFSET + stride * spec.capacity) // HEADER_BYTES) * HEADER_BYTES


def check_spec(spec: SegmentSpec) -> None:
    """Refuse what cannot be laid out.

    Raises:
        ValueError: The item size or the capacity does not fit the kind.
    """
    if spec.capacity < 1:
        raise ValueError(f"{spec.name}: a segment holds at least one item, not {spec.capacity}")
    if spec.item_bytes < 8 or spec.item_bytes % 8:
        raise ValueError(f"{spec.name}: items are whole 64-bit words, not {spec.item_bytes} bytes")
    if spec.kind is SegmentKind.RING:
        if spec.item_bytes % LINE_BYTES:
            raise ValueError(f"{spec.name}: slots are whole cache lines, not {spec.item_bytes}")
        if spec.capacity < 4 or spec.capacity & (spec.capacity - 1):
            raise ValueError(f"{spec.name}: a ring's capacity is a power of two of at least 4")
    if spec.kind is SegmentKind.BELLS and spec.item_bytes % LINE_BYTES:
        raise ValueError(f"{spec.name}: bells are whole cache lines, not {spec.item_bytes} bytes")
    if spec.kind is SegmentKind.PAGE and (spec.item_bytes, spec.capacity) != (PAGE_BYTES, 1):
        raise ValueError(f"{spec.name}: a role page is one item of {PAGE_BYTES} bytes")
