"""Explicit orders by themselves: what is sent for a call, and what no order can have."""

from __future__ import annotations

import pytest

from hft.core.instruments import InstrumentRules
from hft.records import Action, OrderType, Side, Tif
from hft.strategy.change import Change
from hft.strategy.errors import StrategyError
from hft.strategy.orders import NO_ORDER, ORDERS_MAX, Orders
from hft.units import E8

RULES = InstrumentRules(instrument_id=1, symbol="BTCUSDT", tick_e8=E8, step_e8=E8)


class Desk:
    """Orders whose sender keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Change] = []
        self.orders = Orders(RULES)
        self.orders.bind(self._send)

    def _send(self, change: Change) -> int:
        self.sent.append(change)
        return len(self.sent)


def test_what_the_plug_in_says_is_what_is_sent() -> None:
    desk = Desk()
    order_id = desk.orders.place(
        Side.SELL, 100 * E8, 2 * E8,
        tif=Tif.GTD, post_only=True, reduce_only=True, good_till_s=2**32 - 1,
    )  # fmt: skip
    (change,) = desk.sent
    assert (change.side, change.action, change.order_type) == (
        Side.SELL, Action.PLACE, OrderType.LIMIT
    )  # fmt: skip
    assert (change.price_e8, change.qty_e8, change.order_id) == (100 * E8, 2 * E8, 0)
    assert (change.tif, change.good_till_s) == (Tif.GTD, 2**32 - 1)
    assert change.is_post_only
    assert change.is_reduce_only
    assert desk.orders.get(order_id).side is Side.SELL


def test_numbers_stand_for_their_names() -> None:
    desk = Desk()
    order_id = desk.orders.place(-1, 0, E8, order_type=int(OrderType.MARKET), tif=int(Tif.IOC))
    (change,) = desk.sent
    assert change.side is Side.SELL
    assert change.order_type is OrderType.MARKET
    assert change.tif is Tif.IOC
    assert desk.orders.get(order_id).side is Side.SELL


@pytest.mark.parametrize("good_till_s", [-1, 2**32, 2**70, 1.5, True, None])
def test_a_date_that_is_none_is_an_error_of_the_plug_ins(good_till_s: int) -> None:
    desk = Desk()
    with pytest.raises(StrategyError, match="good_till_s"):
        desk.orders.place(Side.BUY, E8, E8, tif=Tif.GTD, good_till_s=good_till_s)
    assert not desk.sent


@pytest.mark.parametrize("side", [0, 2, None, "buy"])
def test_what_is_no_side_is_an_error_of_the_plug_ins(side: Side) -> None:
    desk = Desk()
    with pytest.raises(StrategyError, match="is no side"):
        desk.orders.place(side, E8, E8)
    assert not desk.sent


def test_an_order_that_is_unknown_is_not_changed() -> None:
    orders = Desk().orders
    for order_id in (0, -1, 2**70, None, "x"):
        assert not orders.amend(order_id, E8, E8)
        assert not orders.cancel(order_id)
        assert orders.get(order_id) is None


def test_with_so_many_open_no_further_one_goes() -> None:
    desk = Desk()
    for _ in range(ORDERS_MAX):
        assert desk.orders.place(Side.BUY, E8, E8) != NO_ORDER
    assert desk.orders.place(Side.BUY, E8, E8) == NO_ORDER
    assert len(desk.sent) == len(desk.orders) == ORDERS_MAX
