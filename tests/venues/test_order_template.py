"""Templates write what plain formatting writes, value for value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.errors import PrecisionError
from hft.units import E8, format_e8
from hft.venues.binance_usdm.order_template import Template

UINT64 = st.integers(0, 2**64 - 1)
TIMES = st.integers(0, 2**63 - 1)
PLACES = st.integers(0, 8)
CONSTANT = st.text(st.characters(codec="ascii", exclude_characters="{}"), max_size=40)
MARKS = ("{request}", "{order}", "{price}", "{qty}", "{time}", "{date}", "{signature}")


def plain(value_e8: int, places: int) -> str:
    """Exactly so many decimals, by way of the exact text."""
    whole, _, fraction = format_e8(value_e8).partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if places else whole


@given(
    st.permutations(MARKS),
    st.lists(CONSTANT, min_size=8, max_size=8),
    st.integers(0, 7),
    UINT64,
    UINT64,
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    PLACES,
    PLACES,
    TIMES,
    TIMES,
)
def test_text_is_what_formatting_makes_of_it(
    marks, constants, count, request_id, order_id, price, qty, price_places, qty_places, ms, date
):
    used = marks[:count]
    text = constants[0] + "".join(
        mark + word for mark, word in zip(used, constants[1:], strict=False)
    )
    price_e8, qty_e8 = price * 10 ** (8 - price_places), qty * 10 ** (8 - qty_places)
    covered = "{order}&{price}&{qty}&{time}&{date}"
    words = {
        "{request}": str(request_id),
        "{order}": f"h{order_id:016x}",
        "{price}": plain(price_e8, price_places),
        "{qty}": plain(qty_e8, qty_places),
        "{time}": str(ms),
        "{date}": str(date),
    }

    def filled(source: str) -> str:
        for mark, word in words.items():
            source = source.replace(mark, word)
        return source

    template = Template(
        text.encode(), covered.encode(), price_places, qty_places, lambda given: f"<{given!r}>"
    )
    words["{signature}"] = f"<{filled(covered).encode()!r}>"
    expected = filled(text).encode()
    assert template.text(request_id, order_id, price_e8, qty_e8, ms, date) == expected


@pytest.mark.parametrize("values", [(E8 + 1, E8), (E8, E8 // 2), (0, E8), (E8, -E8)])
def test_values_that_cannot_be_written_are_refused(values):
    template = Template(b"{price} {qty}", b"", 2, 0)
    with pytest.raises(PrecisionError):
        template.text(1, 1, *values, 1)


def test_a_request_without_price_and_quantity_ignores_them():
    assert Template(b"{request}", b"", -1, -1).text(7, 1, 0, -5, 1) == b"7"


def test_a_text_that_might_not_fit_is_refused_at_once():
    with pytest.raises(ValueError, match="4000 bytes"):
        Template(b"x" * 4_000, b"", -1, -1)
    with pytest.raises(ValueError, match="8 values"):
        Template(b"{request}" * 8, b"", -1, -1)


def test_a_signature_that_might_not_fit_is_refused():
    template = Template(b"{signature}", b"", -1, -1, lambda _: "x" * 600)
    with pytest.raises(ValueError, match="600 bytes"):
        template.text(1, 1, 0, 0, 1)
