"""Decimal text and 1e-8 integers: exact both ways, or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.decimals import format_e8_bytes, parse_e8_bytes
from hft.errors import PrecisionError
from hft.units import INT64_MAX, NO_PRICE_E8, format_e8, format_places, parse_e8

VALUES = st.integers(-INT64_MAX, INT64_MAX)
PLAIN = re.compile(rb"-?[0-9]+(\.[0-9]+)?")


@given(VALUES)
def test_every_value_comes_back_from_its_text(value_e8: int) -> None:
    text = format_e8_bytes(value_e8)
    assert text.decode() == format_e8(value_e8)
    assert parse_e8_bytes(text) == value_e8


@given(VALUES, st.integers(0, 8))
def test_padded_text_equals_that_of_the_units_module(value_e8: int, places: int) -> None:
    try:
        expected = format_places(value_e8, places)
    except PrecisionError:
        with pytest.raises(PrecisionError, match="decimal places"):
            format_e8_bytes(value_e8, places)
        return
    assert format_e8_bytes(value_e8, places).decode() == expected


@given(st.from_regex(r"-?[0-9]{1,13}(\.[0-9]{1,11})?", fullmatch=True))
def test_plain_decimals_are_read_as_the_units_module_reads_them(text: str) -> None:
    try:
        expected = parse_e8(text)
    except PrecisionError:
        with pytest.raises(PrecisionError):
            parse_e8_bytes(text.encode())
        return
    assert parse_e8_bytes(text.encode()) == expected


@given(st.binary(max_size=24) | st.text("0123456789.-+eE ", max_size=24).map(str.encode))
def test_whatever_is_not_a_plain_decimal_is_refused(text: bytes) -> None:
    try:
        value_e8 = parse_e8_bytes(text)
    except PrecisionError:
        return
    assert PLAIN.fullmatch(text)
    assert parse_e8(text.decode()) == value_e8


@pytest.mark.parametrize(
    "text",
    [
        b"", b"-", b".", b"1.", b".5", b"+1", b"1e3", b" 1", b"1 ", b"1,0", b"--1", b"0x1", b"NaN",
        b"1.000000001", b"92233720368.54775808", b"-92233720368.54775808", b"9" * 40, b"1\x00",
    ],
)  # fmt: skip
def test_bad_text_is_named_in_the_error(text: bytes) -> None:
    with pytest.raises(PrecisionError, match=re.escape(repr(text.decode()))):
        parse_e8_bytes(text)


@pytest.mark.parametrize(
    ("text", "value_e8"),
    [
        (b"92233720368.54775807", INT64_MAX),
        (b"-92233720368.54775807", -INT64_MAX),
        (b"0000000000000000000000001", 100_000_000),
        (b"1.00000000000000000000000", 100_000_000),
        (b"-0", 0),
        (b"0.00000001", 1),
    ],
)
def test_the_edges_are_exact(text: bytes, value_e8: int) -> None:
    assert parse_e8_bytes(text) == value_e8
    assert parse_e8_bytes(memoryview(text)) == value_e8


def test_absence_of_a_price_has_no_text() -> None:
    with pytest.raises(PrecisionError):
        format_e8_bytes(NO_PRICE_E8)
