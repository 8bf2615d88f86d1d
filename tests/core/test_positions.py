from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Position as PositionView
from hft.core.positions import ENTRY_ROUNDING_E8, Position, cut, venue_cost_e16
from hft.records import Side
from hft.units import E8, parse_e8

FILLS = st.lists(
    st.tuples(
        st.sampled_from((Side.BUY, Side.SELL)),
        st.integers(1, 5_000).map(lambda n: n * 100_000),  # steps of 0.001
        st.integers(1, 10_000_000).map(lambda n: n * 1_000_000),  # ticks of 0.01
    ),
    max_size=40,
)


def apply(position: Position, side: Side, qty: str, price: str, fee: str = "0") -> int:
    return position.apply_fill(side, parse_e8(qty), parse_e8(price), parse_e8(fee))


def test_increases_average_by_volume_and_reductions_leave_the_average() -> None:
    position = Position(1)
    apply(position, Side.BUY, "1", "100")
    apply(position, Side.BUY, "3", "104")
    assert position.average_price_e8 == 103 * E8
    assert apply(position, Side.SELL, "2", "105") == 4 * E8
    assert position.average_price_e8 == 103 * E8
    assert position.position_e8 == 2 * E8


def test_a_flip_realises_the_closed_part_and_opens_the_rest_at_the_fill() -> None:
    position = Position(1)
    apply(position, Side.BUY, "1", "100")
    assert apply(position, Side.SELL, "3", "90") == -10 * E8
    assert position.position_e8 == -2 * E8
    assert position.average_price_e8 == 90 * E8
    assert apply(position, Side.BUY, "2", "80") == 20 * E8
    assert position.average_price_e8 == position.cost_e16 == 0


def test_realised_profit_is_cut_toward_zero_fill_by_fill() -> None:
    for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
        position = Position(1)
        apply(position, side, "0.00000001", "1.00000000")
        apply(position, side, "0.00000002", "1.10000000")
        other = Side(-side)
        assert apply(position, other, "0.00000003", "1.50000000") == sign * 1
    assert (cut(-199_999_999), cut(199_999_999)) == (-1, 1)


def test_the_wallet_moves_by_realised_less_fees_plus_funding() -> None:
    position = Position(1)
    apply(position, Side.BUY, "0.0007", "77290.7", "0.02164139")
    apply(position, Side.SELL, "0.0007", "77300.7", "0.02164419")
    position.apply_funding(parse_e8("0.04845231"))
    assert position.wallet_delta_e8 == parse_e8("0.007") - parse_e8("0.04328558") + parse_e8(
        "0.04845231"
    )
    assert position.fills == 2
    assert position.bought_qty_e8 == position.sold_qty_e8 == parse_e8("0.0007")


def test_open_profit_needs_a_mark() -> None:
    position = Position(1)
    apply(position, Side.SELL, "2", "100")
    assert position.unrealised_pnl_e8 == 0
    position.mark_e8 = 97 * E8
    assert position.unrealised_pnl_e8 == 6 * E8


def test_an_adopted_position_earns_nothing_for_the_past() -> None:
    position = Position(1)
    assert position.adjust(-3 * E8, -150 * E8 * E8) == -3 * E8
    assert (position.position_e8, position.average_price_e8) == (-3 * E8, 50 * E8)
    assert position.wallet_delta_e8 == 0
    assert apply(position, Side.BUY, "3", "49") == 3 * E8


@settings(deadline=None)
@given(FILLS, st.integers(1, 10_000).map(lambda n: n * 1_000_000))
def test_cost_follows_from_what_the_venue_prints(
    fills: list[tuple[Side, int, int]], mark_e8: int
) -> None:
    held = Position(1)
    for side, qty_e8, price_e8 in fills:
        held.apply_fill(side, qty_e8, price_e8)
    held.mark_e8 = mark_e8
    unit_e8 = ENTRY_ROUNDING_E8
    printed_e8 = (held.average_price_e8 + unit_e8 // 2) // unit_e8 * unit_e8
    cost_e16 = venue_cost_e16(held.position_e8, printed_e8, mark_e8, held.unrealised_pnl_e8)
    assert abs(cost_e16 - held.cost_e16) < E8, "right to the last digit of the money"


def test_open_profit_of_another_mark_price_is_not_believed() -> None:
    assert venue_cost_e16(2 * E8, 100 * E8, 150 * E8, 7 * E8) == 200 * E8 * E8
    assert venue_cost_e16(2 * E8, 100 * E8, 0, 0) == 200 * E8 * E8
    assert venue_cost_e16(0, 0, 150 * E8, 0) == 0


@settings(deadline=None)
@given(FILLS)
def test_position_is_what_was_traded_and_what_was_adjusted(
    fills: list[tuple[Side, int, int]],
) -> None:
    position = Position(1)
    for number, (side, qty_e8, price_e8) in enumerate(fills):
        position.apply_fill(side, qty_e8, price_e8)
        if number % 3 == 2:
            before_e8 = position.position_e8
            assert position.adjust(-qty_e8, -qty_e8 * price_e8) == -qty_e8 - before_e8
        view = PositionView()
        position.fill(view)
        traded_e8 = view.bought_qty_e8 - view.sold_qty_e8
        assert view.position_e8 == traded_e8 + view.adjusted_e8


@settings(deadline=None)
@given(FILLS)
def test_profit_equals_an_exact_computation_to_within_the_venue_s_cut(
    fills: list[tuple[Side, int, int]],
) -> None:
    position = Position(1)
    qty, average, realised = 0, Fraction(0), Fraction(0)
    for side, qty_e8, price_e8 in fills:
        position.apply_fill(side, qty_e8, price_e8)
        closed = min(qty_e8, abs(qty)) if qty * side < 0 else 0
        realised += Fraction(-side * closed * (price_e8 - average), E8)
        opened = qty_e8 - closed
        if opened:
            kept = abs(qty) - closed
            average = (average * kept + price_e8 * opened) / (kept + opened)
        qty += side * qty_e8
    assert position.position_e8 == qty
    assert abs(position.realised_pnl_e8 - realised) <= len(fills)
    # The cost never drifts: an error below 1e-16 for each fill.
    assert abs(position.cost_e16 - qty * average) <= len(fills)
    cash_e16 = sum(-side * qty_e8 * price_e8 for side, qty_e8, price_e8 in fills)
    total_e8 = Fraction(cash_e16 + position.cost_e16, E8)
    assert abs(position.realised_pnl_e8 - total_e8) <= len(fills)


@settings(deadline=None)
@given(FILLS, FILLS, st.integers(0, 10_000_000).map(lambda n: n * 1_000_000))
def test_a_successor_goes_on_with_the_same_money(
    before: list[tuple[Side, int, int]], after: list[tuple[Side, int, int]], mark_e8: int
) -> None:
    position, successor = Position(1), Position(1)
    for side, qty_e8, price_e8 in before:
        position.apply_fill(side, qty_e8, price_e8, 5)
    position.mark_e8 = mark_e8
    view = PositionView()
    position.fill(view)
    successor.load_from(view)
    assert successor.unrealised_pnl_e8 == position.unrealised_pnl_e8
    for side, qty_e8, price_e8 in after:
        position.apply_fill(side, qty_e8, price_e8)
        successor.apply_fill(side, qty_e8, price_e8)
    assert successor.position_e8 == position.position_e8
    assert (successor.fee_e8, successor.fills) == (position.fee_e8, position.fills)
    assert successor.realised_pnl_e8 == position.realised_pnl_e8
    assert successor.cost_e16 == position.cost_e16
