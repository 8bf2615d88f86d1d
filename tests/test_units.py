"""Decimal text and integers: exact in both directions, refused where they cannot be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.errors import PrecisionError
from hft.units import E8, INT64_MAX, ceil_to, floor_to, format_e8, format_places, parse_e8

INT64 = st.integers(-INT64_MAX, INT64_MAX)


@pytest.mark.parametrize(
    ("text", "value_e8"),
    [
        ("0", 0),
        ("-0", 0),
        ("1", E8),
        ("0.00000001", 1),
        ("-0.00000001", -1),
        ("63940.10", 6_394_010_000_000),
        ("1E-8", 1),
        ("1e3", 1_000 * E8),
        ("92233720368.54775807", INT64_MAX),
        ("1.100000000000", 110_000_000),
    ],
)
def test_decimal_text_becomes_an_exact_integer(text: str, value_e8: int) -> None:
    assert parse_e8(text) == value_e8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a decimal number"),
        ("5oo", "is not a decimal number"),
        ("1,5", "is not a decimal number"),
        ("NaN", "is not finite"),
        ("-Infinity", "is not finite"),
        ("0.000000001", "more than 8 decimal places"),
        ("92233720368.54775808", "does not fit 64 bits"),
        ("1e400", "does not fit 64 bits"),
    ],
)
def test_text_that_is_not_exact_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(PrecisionError, match=why) as caught:
        parse_e8(text)
    assert repr(text) in str(caught.value)


@given(INT64)
def test_a_formatted_value_is_read_back(value_e8: int) -> None:
    assert parse_e8(format_e8(value_e8)) == value_e8


@given(INT64)
def test_the_text_is_the_shortest_plain_decimal(value_e8: int) -> None:
    text = format_e8(value_e8)
    assert Decimal(text) == Decimal(value_e8).scaleb(-8)
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith(("0", "."))


@given(INT64, st.integers(0, 8))
def test_padded_text_has_the_places_asked_for_or_is_refused(value_e8: int, places: int) -> None:
    if value_e8 % 10 ** (8 - places):
        with pytest.raises(PrecisionError, match=f"more than {places} decimal places"):
            format_places(value_e8, places)
        return
    text = format_places(value_e8, places)
    assert Decimal(text) == Decimal(value_e8).scaleb(-8)
    assert len(text.partition(".")[2]) == places


@pytest.mark.parametrize(
    ("value_e8", "places", "text"),
    [(150_000_000, 3, "1.500"), (-E8, 0, "-1"), (1, 8, "0.00000001"), (-50_000_000, 1, "-0.5")],
)
def test_padding_is_as_the_venue_pads(value_e8: int, places: int, text: str) -> None:
    assert format_places(value_e8, places) == text


@given(INT64, st.integers(1, INT64_MAX))
def test_rounding_to_a_step_never_passes_the_value(value_e8: int, step_e8: int) -> None:
    low, high = floor_to(value_e8, step_e8), ceil_to(value_e8, step_e8)
    assert low % step_e8 == high % step_e8 == 0
    assert low <= value_e8 <= high
    assert high - low == (0 if value_e8 % step_e8 == 0 else step_e8)
