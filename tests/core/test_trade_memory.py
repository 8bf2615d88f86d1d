"""A trade counts once; what is forgotten is the oldest, and nothing grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.core.trade_memory import TradeMemory
from hft.records import Side

CAPACITY = 8
TRADES = st.tuples(
    st.integers(0, 127), st.integers(0, 12) | st.integers(2**40, 2**40 + 3),
    st.sampled_from((Side.BUY, Side.SELL)),
)  # fmt: skip


@given(st.lists(TRADES, max_size=200))
def test_it_remembers_exactly_the_newest_trades(trades: list[tuple[int, int, Side]]) -> None:
    memory, model = TradeMemory(CAPACITY), dict[tuple[int, int, Side], None]()
    for trade in trades:
        assert memory.add(*trade) is (trade not in model)
        model[trade] = None
        while len(model) > CAPACITY:
            del model[next(iter(model))]
        assert len(memory) == len(model)
        assert all(memory.knows(*known) for known in model)
    assert not [one for one in trades if one not in model and memory.knows(*one)]


@pytest.mark.parametrize("first", [0, 10**10])
def test_a_long_run_of_trades_is_known_as_far_back_as_it_was_made_for(first: int) -> None:
    memory = TradeMemory(1_000)
    memory.reserve()
    for number in range(first, first + 10_000):
        assert memory.add(1, number, Side.BUY)
    assert not memory.knows(1, first + 8_999, Side.BUY)
    assert all(memory.knows(1, number, Side.BUY) for number in range(first + 9_000, first + 10_000))
    assert not memory.knows(1, first + 9_999, Side.SELL)
    assert not memory.knows(2, first + 9_999, Side.BUY)
    assert len(memory) == 1_000


def test_an_empty_memory_knows_nothing() -> None:
    memory = TradeMemory()
    assert len(memory) == 0
    assert not memory.knows(1, 1, Side.BUY)


def test_a_memory_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no trade"):
        TradeMemory(0)
