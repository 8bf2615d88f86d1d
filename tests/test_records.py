"""Records: the generated views and numpy read the same bytes; the tables hold what they promise."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft import records
from hft.core.generated import views
from hft.records import HEADER, RECORDS, RING_RECORDS, SLOT_BYTES, Field, RecordSpec

ENUMS = [
    value
    for value in vars(records).values()
    if isinstance(value, type) and issubclass(value, IntEnum) and value.__module__ == "hft.records"
]


def view_of(spec: RecordSpec, buffer: bytearray | None = None) -> Any:
    return getattr(views, spec.class_name)(buffer)


def extremes(field: Field) -> list[Any]:
    """Values at the edges of a field, and one in between."""
    if field.type.startswith("S"):
        length = int(field.type[1:])
        return [b"", b"x", b"y" * length]
    limits = np.iinfo(field.type)
    return [int(limits.min), int(limits.max), 1]


def is_reserved(field: Field) -> bool:
    return field.name.startswith("reserved")


@pytest.mark.parametrize("spec", RECORDS, ids=lambda spec: spec.name)
def test_a_view_writes_what_numpy_reads(spec: RecordSpec) -> None:
    buffer = bytearray(spec.dtype.itemsize)
    view = view_of(spec, buffer)
    row = np.frombuffer(buffer, spec.dtype)[0]
    for field in (*HEADER, *spec.fields):
        if is_reserved(field):
            continue
        for value in extremes(field):
            if field.length:
                last = field.length - 1
                getattr(view, f"set_{field.name}_at")(last, value)
                assert int(row[field.name][last]) == value
                assert getattr(view, f"{field.name}_at")(last) == value
            else:
                setattr(view, field.name, value)
                stored = row[field.name]
                assert (stored if isinstance(value, bytes) else int(stored)) == value
                assert getattr(view, field.name) == value


@pytest.mark.parametrize("spec", RECORDS, ids=lambda spec: spec.name)
def test_a_view_refuses_what_does_not_fit(spec: RecordSpec) -> None:
    view = view_of(spec)
    for field in (*HEADER, *spec.fields):
        if is_reserved(field):
            continue
        if field.length:
            with pytest.raises(IndexError):
                getattr(view, f"{field.name}_at")(field.length)
            with pytest.raises(IndexError):
                getattr(view, f"set_{field.name}_at")(-1, 0)
        elif field.type.startswith("S"):
            with pytest.raises(ValueError, match="longer than"):
                setattr(view, field.name, b"z" * (int(field.type[1:]) + 1))
        else:
            with pytest.raises(OverflowError):
                setattr(view, field.name, int(np.iinfo(field.type).max) + 1)


def test_a_view_needs_a_buffer_that_is_large_enough_and_writable() -> None:
    with pytest.raises(ValueError, match="needs 128 bytes at offset 0, the buffer has 127"):
        views.TopOfBook(bytearray(127))
    with pytest.raises(ValueError, match="at offset 8"):
        views.TopOfBook(bytearray(128), 8)
    with pytest.raises(ValueError, match="offset -1"):
        views.TopOfBook(bytearray(256), -1)
    with pytest.raises(BufferError):
        views.TopOfBook(bytes(128))


def test_views_of_one_buffer_share_its_bytes() -> None:
    buffer = bytearray(2 * SLOT_BYTES)
    second = views.Trade(buffer, SLOT_BYTES)
    header = views.Header(buffer, SLOT_BYTES)
    second.price_e8 = 7
    header.seq = 9
    assert second.seq == 9
    assert buffer[:SLOT_BYTES] == bytes(SLOT_BYTES)
    second.clear()
    assert buffer == bytes(2 * SLOT_BYTES)


@given(st.binary(min_size=SLOT_BYTES, max_size=SLOT_BYTES))
def test_a_copy_has_the_same_bytes(data: bytes) -> None:
    source, target = views.Execution(bytearray(data)), views.Execution()
    target.copy_from(source)
    assert target.tobytes() == data


def test_views_of_different_sizes_are_not_copied() -> None:
    with pytest.raises(ValueError, match="sizes differ"):
        views.Trade().copy_from(views.Book())


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_zero_is_always_the_unknown_or_the_harmless(enum: type[IntEnum]) -> None:
    assert enum(0).name in ("UNKNOWN", "NONE", "HALTED")


@pytest.mark.parametrize("spec", RECORDS, ids=lambda spec: spec.name)
def test_every_field_says_what_it_means_and_in_which_unit(spec: RecordSpec) -> None:
    for field in (*HEADER, *spec.fields):
        assert field.meaning
        if field.name.endswith("_e8"):
            assert (
                "1e-8" in field.meaning
                or "as in the intent" in field.meaning
                or (spec.name == "alert")
            ), f"{spec.name}.{field.name} does not say its unit"
        if field.name.endswith("_ns"):
            assert (
                "time" in field.meaning
                or "clock" in field.meaning
                or ("as in the intent" in field.meaning)
            ), f"{spec.name}.{field.name} does not say its clock"


def test_kinds_are_not_shared() -> None:
    kinds = [spec.kind for spec in RECORDS]
    assert len(set(kinds)) == len(kinds)


def test_every_ring_record_fills_one_slot() -> None:
    assert {spec.dtype.itemsize for spec in RING_RECORDS} == {SLOT_BYTES}


def test_the_layout_hash_tells_a_renamed_field_from_its_neighbour() -> None:
    """Two swapped fields of one type have the same bytes and another meaning."""
    spec = records.TRADE
    first, second, *rest = spec.fields
    swapped = spec._replace(fields=(second, first, *rest))
    assert swapped.dtype.itemsize == spec.dtype.itemsize
    assert swapped.layout_hash != spec.layout_hash
