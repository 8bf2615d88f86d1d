"""The byte layout is a promise: these numbers may not move without a new LAYOUT_VERSION."""

from __future__ import annotations

import pytest

from ipc import SegmentKind, SegmentSpec, layout, segment_bytes


def test_offsets_are_pinned() -> None:
    assert layout.LAYOUT_VERSION == 1
    assert layout.MAGIC.to_bytes(8, "little") == b"!HFTIPC1"
    header = {
        "MAGIC": 0,
        "VERSION": 8,
        "KIND": 12,
        "ITEM_BYTES": 16,
        "CAPACITY": 24,
        "LAYOUT_HASH": 32,
        "BOOT_HASH": 40,
        "CREATOR_PID": 48,
        "CREATED_WALL_NS": 56,
        "SEGMENT_BYTES": 64,
        "NAME": 96,
        "EPOCH": 0x100,
        "WRITER": 0x108,
        "PUBLISHED": 0x180,
        "ITEMS": 0x1000,
    }
    assert {name: getattr(layout, f"{name}_OFFSET") for name in header} == header
    page = {
        "BEAT": 0,
        "STATE": 0x80,
        "ERROR": 0x100,
        "PENDING": 0x200,
        "GAUGES": 0x600,
        "COUNTERS": 0x800,
        "CURSORS": 0x1000,
        "MAXIMA": 0x2000,
        "HISTOGRAMS": 0x2100,
    }
    assert {name: getattr(layout, f"PAGE_{name}_OFFSET") for name in page} == page
    assert layout.PAGE_BYTES == 0x2100 + 24 * 3840 * 8


def test_words_of_different_writers_are_on_different_line_pairs() -> None:
    words = [layout.MAGIC_OFFSET, layout.EPOCH_OFFSET, layout.PUBLISHED_OFFSET, layout.ITEMS_OFFSET]
    pairs = [offset // layout.PAIR_BYTES for offset in words]
    assert len(set(pairs)) == len(pairs)
    assert layout.CURSOR_BYTES >= layout.PAIR_BYTES


def test_a_segment_is_whole_pages_with_room_for_every_item() -> None:
    ring = SegmentSpec("r", SegmentKind.RING, 128, 4096)
    assert segment_bytes(ring) == 4096 + 4096 * 128
    cells = SegmentSpec("c", SegmentKind.CELLS, 704, 3)
    assert segment_bytes(cells) == 4096 + 8192
    assert layout.cell_stride(704) == 64 + 2 * 704
    assert layout.cell_stride(100) == 64 + 2 * 128


@pytest.mark.parametrize(
    "spec",
    [
        SegmentSpec("x", SegmentKind.RING, 100, 8),
        SegmentSpec("x", SegmentKind.RING, 128, 1000),
        SegmentSpec("x", SegmentKind.RING, 128, 2),
        SegmentSpec("x", SegmentKind.CELLS, 12, 8),
        SegmentSpec("x", SegmentKind.CELLS, 128, 0),
        SegmentSpec("x", SegmentKind.BELLS, 8, 8),
        SegmentSpec("x", SegmentKind.PAGE, 4096, 1),
    ],
)
def test_what_cannot_be_laid_out_is_refused(spec: SegmentSpec) -> None:
    with pytest.raises(ValueError, match="x: "):
        segment_bytes(spec)
