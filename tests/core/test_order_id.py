from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.assets import AssetTable
from hft.core.order_id import (
    EPOCH_MAX,
    SEQUENCE_MAX,
    SOURCE_MAX,
    OrderIdsExhaustedError,
    epoch_of,
    make_order_id,
    sequence_of,
    source_of,
)
from hft.core.order_ids import OrderIdMaker

SOURCES = st.integers(1, SOURCE_MAX)
EPOCHS = st.integers(1, EPOCH_MAX)
SEQUENCES = st.integers(1, SEQUENCE_MAX)


@given(SOURCES, EPOCHS, SEQUENCES)
def test_an_id_gives_back_its_parts_and_fits_a_positive_int64(
    source: int, epoch: int, seq: int
) -> None:
    order_id = make_order_id(source, epoch, seq)
    assert (source_of(order_id), epoch_of(order_id), sequence_of(order_id)) == (source, epoch, seq)
    assert 0 < order_id < 2**63


@given(SOURCES, EPOCHS, SEQUENCES, EPOCHS, SEQUENCES)
def test_ids_of_a_source_sort_by_epoch_then_sequence(
    source: int, epoch: int, seq: int, other_epoch: int, other_seq: int
) -> None:
    one, other = make_order_id(source, epoch, seq), make_order_id(source, other_epoch, other_seq)
    assert (one < other) == ((epoch, seq) < (other_epoch, other_seq))


def test_a_maker_hands_out_ascending_ids_from_one() -> None:
    maker = OrderIdMaker(3, 1_700_000_000)
    first, second = maker.next(), maker.next()
    assert (sequence_of(first), sequence_of(second)) == (1, 2)
    assert source_of(first) == 3


def test_a_maker_that_has_used_every_sequence_refuses_instead_of_wrapping() -> None:
    maker = OrderIdMaker(3, 7)
    maker.next_id = make_order_id(3, 7, SEQUENCE_MAX)
    assert maker.next() == make_order_id(3, 7, SEQUENCE_MAX)
    with pytest.raises(OrderIdsExhaustedError, match="16777215"):
        maker.next()


def test_assets_of_the_fixed_table_keep_their_numbers() -> None:
    assets = AssetTable()
    assert [assets.id_of(name) for name in ("USDT", "USDC", "BNB", "BTC", "FDUSD")] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert assets.name_of(3) == "BNB"


def test_unknown_assets_are_numbered_from_64_in_the_order_in_which_they_are_met() -> None:
    assets = AssetTable()
    assert assets.id_of("XYZ") == 64
    assert assets.id_of("ABC") == 65
    assert assets.id_of("XYZ") == 64
    assert assets.name_of(65) == "ABC"
    assert assets.name_of(66) == ""
    assert assets.id_of("") == 0
