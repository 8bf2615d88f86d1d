from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hft.core.exposure import OPEN_ORDERS_MAX
from hft.core.generated.views import Decision, Execution, Intent, MarkPrice, TopOfBook
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MANUAL, make_order_id
from hft.core.orders import Order
from hft.core.policies import UNLIMITED, Limits
from hft.core.risk import RiskBook
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.units import E8, INT64_MAX, NO_PRICE_E8, NS_PER_S

BTC, ETH = 3, 4
NOW = 100 * NS_PER_S
ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
LIMITS = Limits(
    policy="test",
    order_notional_max_e8=2_000 * E8,
    position_notional_max_e8=5_000 * E8,
    gross_notional_max_e8=8_000 * E8,
    price_collar_bps=100,
    mark_collar_bps=200,
    open_orders_max=3,
    messages_per_s_max=50,
    messages_per_minute_max=100,
    unresolved_max=2,
    feed_age_ns_max=NS_PER_S,
    account_age_ns_max=5 * NS_PER_S,
    intent_age_ns_max=1_000,
    duplicate_window_ns=100,
)


def rules(instrument_id: int, **changes: int) -> InstrumentRules:
    fields: dict[str, int] = {
        "tick_e8": E8 // 10,
        "step_e8": E8 // 1_000,
        "qty_min_e8": E8 // 1_000,
        "qty_max_e8": 100 * E8,
        "market_qty_max_e8": 50 * E8,
        "notional_min_e8": 5 * E8,
        "price_min_e8": E8,
        "price_max_e8": 10_000 * E8,
        **changes,
    }
    return InstrumentRules(instrument_id=instrument_id, symbol=f"S{instrument_id}", **fields)


def make_book(limits: Limits = LIMITS, **rule_changes: int) -> RiskBook:
    book = RiskBook(limits, (BTC, ETH))
    for instrument_id in (BTC, ETH):
        book.set_instrument(rules(instrument_id, **rule_changes))
        book.on_top(instrument_id, 999 * E8, 1_001 * E8, NOW, FeedState.LIVE)
        book.on_mark(instrument_id, 1_000 * E8, NOW)
    book.on_account(NOW)
    return book


def changed(**changes: object) -> Limits:
    return Limits(**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | changes)


def order_id(seq: int) -> int:
    return make_order_id(1, 1_000, seq)


def intent(
    seq: int = 1,
    side: int = Side.BUY,
    price: float = 1_000,
    qty: float = 1,
    action: Action = Action.PLACE,
    instrument_id: int = BTC,
    decide_ns: int = NOW,
    order_type: OrderType = OrderType.LIMIT,
    tif: Tif = Tif.GTC,
    is_post_only: int = 1,
    is_reduce_only: int = 0,
    strategy_id: int = 1,
) -> Intent:
    view = Intent()
    view.order_id = order_id(seq)
    view.instrument_id, view.action, view.side = instrument_id, action, side
    view.price_e8, view.qty_e8 = round(price * E8), round(qty * E8)
    view.decide_ns, view.strategy_id = decide_ns, strategy_id
    view.order_type, view.tif = order_type, tif
    view.is_post_only, view.is_reduce_only = is_post_only, is_reduce_only
    return view


def execution(
    seq: int,
    kind: ExecKind,
    state: OrderState,
    *,
    qty: float = 0,
    cum: float = 0,
    leaves: float = 0,
    side: int = Side.BUY,
    trade_id: int = 0,
    record_seq: int = 0,
    instrument_id: int = BTC,
) -> Execution:
    view = Execution()
    view.seq = record_seq
    view.order_id, view.instrument_id = order_id(seq), instrument_id
    view.exec_kind, view.order_state, view.side = kind, state, side
    view.qty_e8, view.cum_qty_e8 = round(qty * E8), round(cum * E8)
    view.leaves_qty_e8, view.trade_id = round(leaves * E8), trade_id
    view.price_e8 = 1_000 * E8
    return view


def approve(book: RiskBook, seq: int = 1, **fields: object) -> None:
    assert book.judge(intent(seq, **fields), NOW, ACTIVE) is Reason.NONE  # type: ignore[arg-type]


def worst(book: RiskBook, instrument_id: int = BTC) -> tuple[float, float]:
    return book.worst_short_e8(instrument_id) / E8, book.worst_long_e8(instrument_id) / E8


# -- single checks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, Reason.NONE),
        ({"side": Side.SELL}, Reason.NONE),
        ({"order_type": OrderType.MARKET, "price": 0, "is_post_only": 0}, Reason.NONE),
        ({"side": 0}, Reason.MALFORMED),
        ({"qty": 0}, Reason.MALFORMED),
        ({"qty": -1}, Reason.MALFORMED),
        ({"price": 0}, Reason.MALFORMED),
        ({"action": Action.UNKNOWN}, Reason.MALFORMED),
        ({"order_type": OrderType.UNKNOWN}, Reason.MALFORMED),
        ({"tif": Tif.UNKNOWN}, Reason.MALFORMED),
        ({"tif": Tif.IOC}, Reason.MALFORMED),
        ({"strategy_id": 2}, Reason.MALFORMED),
        ({"instrument_id": 9}, Reason.INSTRUMENT_UNKNOWN),
        ({"price": 1_000.05}, Reason.PRICE_OFF_TICK),
        ({"qty": 1.0005}, Reason.QTY_OFF_STEP),
        ({"qty": 101}, Reason.QTY_RANGE),
        ({"qty": 51, "order_type": OrderType.MARKET, "is_post_only": 0}, Reason.QTY_RANGE),
        ({"qty": 0.004}, Reason.NOTIONAL_MIN),
        ({"qty": 0.004, "is_reduce_only": 1}, Reason.NONE),
        ({"qty": 2.001}, Reason.ORDER_NOTIONAL_MAX),
        ({"price": 1_010}, Reason.NONE),
        ({"price": 1_010.1}, Reason.PRICE_COLLAR),
        ({"price": 989.9}, Reason.PRICE_COLLAR),
        ({"decide_ns": NOW - 1_001}, Reason.INTENT_EXPIRED),
        ({"decide_ns": NOW + 5}, Reason.NONE),
    ],
)
def test_one_intent_is_judged(fields: dict[str, object], reason: Reason) -> None:
    book = make_book()
    assert book.judge(intent(**fields), NOW, ACTIVE) is reason  # type: ignore[arg-type]
    assert book.open_orders(BTC) == (reason is Reason.NONE)


def test_the_mark_has_a_collar_and_the_venue_its_band() -> None:
    book = make_book()
    book.on_mark(BTC, 1_025 * E8, NOW)
    assert book.judge(intent(), NOW, ACTIVE) is Reason.MARK_COLLAR
    book = make_book(multiplier_up_e8=1_001 * E8 // 1_000, multiplier_down_e8=999 * E8 // 1_000)
    assert book.judge(intent(1, price=1_001.1), NOW, ACTIVE) is Reason.MARK_COLLAR
    assert book.judge(intent(2, Side.SELL, price=998.9), NOW, ACTIVE) is Reason.MARK_COLLAR
    assert book.judge(intent(3, price=1_001), NOW, ACTIVE) is Reason.NONE


def test_prices_outside_the_venue_s_range_are_refused() -> None:
    book = make_book(price_max_e8=1_000 * E8)
    assert book.judge(intent(price=1_000.1), NOW, ACTIVE) is Reason.PRICE_COLLAR


def test_own_prices_may_drift_so_far_in_two_minutes_but_what_shrinks_passes() -> None:
    minute_ns = 60 * NS_PER_S
    book = make_book(changed(drift_1m_bps_max=50, feed_age_ns_max=9 * minute_ns,
                             account_age_ns_max=9 * minute_ns, mark_age_ns_max=9 * minute_ns,
                             intent_age_ns_max=9 * minute_ns))  # fmt: skip
    book.add_position(BTC, -2 * E8)
    start_ns = (NOW // minute_ns + 1) * minute_ns

    def ask(seq: int, price: float, at_ns: int, **fields: object) -> Reason:
        return book.judge(intent(seq, price=price, **fields), at_ns, ACTIVE)  # type: ignore[arg-type]

    def ask_sell(seq: int, price: float, at_ns: int) -> Reason:
        return ask(seq, price, at_ns, side=Side.SELL, qty=0.1)

    assert ask_sell(1, 1_000, start_ns) is Reason.NONE
    assert ask_sell(2, 1_005, start_ns + 1) is Reason.NONE
    assert ask_sell(3, 1_005.1, start_ns + 1) is Reason.PRICE_DRIFT
    assert ask(4, 1_005.1, start_ns + 1) is Reason.NONE, "it only shrinks the position"
    assert ask_sell(5, 1_000, start_ns + 2) is Reason.PRICE_DRIFT, "but its price counts"
    assert book.greatest_uses(start_ns + minute_ns)[4] == (BTC, 51)
    assert ask_sell(6, 1_000, start_ns + 2 * minute_ns - 1) is Reason.PRICE_DRIFT
    assert ask_sell(7, 1_000, start_ns + 2 * minute_ns) is Reason.NONE


def test_a_funding_rate_beyond_the_limit_lets_positions_only_shrink() -> None:
    book = make_book(changed(funding_bps_max=30, duplicate_window_ns=0))
    for rate_e8, reason in ((300_000, Reason.NONE), (-300_001, Reason.FUNDING_MAX)):
        book.on_mark(BTC, 1_000 * E8, NOW, rate_e8)
        assert book.judge(intent(abs(rate_e8)), NOW, ACTIVE) is reason
        assert book.greatest_uses(NOW)[5] == (BTC, 30)
    book.add_position(BTC, -3 * E8)
    assert book.judge(intent(300_002), NOW, ACTIVE) is Reason.NONE


def test_faults_are_a_program_s_mistakes_and_not_the_market_s() -> None:
    book = make_book(changed(order_qty_max_e8=E8))
    book.judge(intent(1, qty=2), NOW, ACTIVE)
    book.judge(intent(2, price=1_000.05), NOW, ACTIVE)
    assert (book.faults_of(1), book.oversized, book.doubled) == (2, 1, 0)
    book.judge(intent(3, price=1_010.1), NOW, ACTIVE)
    book.judge(intent(4, decide_ns=NOW - 1_001), NOW, ACTIVE)
    book.judge(intent(5), NOW, ACTIVE)
    assert book.faults_of(1) == 2


def test_a_quantity_limit_of_the_desk_holds_beside_the_notional_one() -> None:
    book = make_book(changed(order_qty_max_e8=E8))
    assert book.judge(intent(qty=1.001), NOW, ACTIVE) is Reason.ORDER_QTY_MAX


def test_halted_refuses_all_but_cancels() -> None:
    book = make_book()
    approve(book)
    assert book.judge(intent(2), NOW, HALTED) is Reason.TRADING_HALTED
    assert book.judge(intent(1, action=Action.AMEND), NOW, HALTED) is Reason.TRADING_HALTED
    assert book.judge(intent(1, action=Action.CANCEL), NOW, HALTED) is Reason.NONE
    assert book.judge(intent(action=Action.CANCEL_ALL), NOW, HALTED) is Reason.NONE


def test_reducing_lets_only_shrinking_orders_pass() -> None:
    book = make_book()
    book.add_position(BTC, 2 * E8)
    assert book.judge(intent(1, Side.BUY), NOW, REDUCING) is Reason.REDUCING_ONLY
    assert book.judge(intent(2, Side.SELL, qty=1.5), NOW, REDUCING) is Reason.NONE
    assert book.judge(intent(3, Side.SELL, qty=1), NOW, REDUCING) is Reason.REDUCING_ONLY
    assert book.judge(intent(4, Side.SELL, qty=0.5), NOW, REDUCING) is Reason.NONE


def test_a_policy_that_only_reduces_does_so_while_active() -> None:
    book = make_book(changed(is_reducing_only=True, position_notional_max_e8=UNLIMITED))
    book.add_position(BTC, -2 * E8)
    assert book.judge(intent(1, Side.SELL), NOW, ACTIVE) is Reason.REDUCING_ONLY
    assert book.judge(intent(2, Side.BUY), NOW, ACTIVE) is Reason.NONE


def test_a_post_only_policy_refuses_what_could_take() -> None:
    book = make_book(changed(is_post_only=True))
    assert book.judge(intent(1, is_post_only=0), NOW, ACTIVE) is Reason.ORDER_KIND_NOT_ALLOWED
    assert book.judge(intent(2), NOW, ACTIVE) is Reason.NONE


def test_watched_instruments_are_not_traded() -> None:
    book = make_book()
    book.set_instrument(rules(9))
    book.on_top(9, 999 * E8, 1_001 * E8, NOW, FeedState.LIVE)
    assert book.judge(intent(instrument_id=9), NOW, ACTIVE) is Reason.INSTRUMENT_NOT_ALLOWED


def test_an_instrument_that_does_not_trade_is_refused() -> None:
    book = make_book(status=InstrumentStatus.CANCEL_ONLY)
    assert book.judge(intent(), NOW, ACTIVE) is Reason.INSTRUMENT_NOT_TRADING


@pytest.mark.parametrize("state", [state for state in FeedState if state is not FeedState.LIVE])
def test_data_that_is_not_live_is_stale(state: FeedState) -> None:
    book = make_book()
    book.on_feed_state(BTC, state)
    assert book.judge(intent(), NOW, ACTIVE) is Reason.STALE_DATA


def test_old_data_old_marks_and_an_old_account_are_stale() -> None:
    later = NOW + NS_PER_S + 1
    book = make_book()
    fresh = intent(decide_ns=later)
    assert book.judge(fresh, later, ACTIVE) is Reason.STALE_DATA
    book = make_book()
    later = NOW + 11 * NS_PER_S
    book.on_top(BTC, 999 * E8, 1_001 * E8, later, FeedState.LIVE)
    book.on_account(later)
    assert book.judge(intent(decide_ns=later), later, ACTIVE) is Reason.STALE_DATA
    book = make_book()
    later = NOW + 6 * NS_PER_S
    book.on_top(BTC, 999 * E8, 1_001 * E8, later, FeedState.LIVE)
    assert book.judge(intent(decide_ns=later), later, ACTIVE) is Reason.ACCOUNT_STALE


def test_without_any_market_nothing_is_approved() -> None:
    book = RiskBook(LIMITS, (BTC,))
    book.on_account(NOW)
    assert book.judge(intent(), NOW, ACTIVE) is Reason.INSTRUMENT_UNKNOWN
    book.set_instrument(rules(BTC))
    assert book.judge(intent(2), NOW, ACTIVE) is Reason.STALE_DATA


def test_an_id_is_good_for_one_order_even_when_refused() -> None:
    book = make_book()
    assert book.judge(intent(5, price=1), NOW, ACTIVE) is Reason.PRICE_COLLAR
    assert book.judge(intent(5), NOW, ACTIVE) is Reason.ORDER_ID_REUSED
    assert book.judge(intent(4), NOW, ACTIVE) is Reason.ORDER_ID_REUSED
    assert book.judge(intent(6), NOW, ACTIVE) is Reason.NONE
    book.note_order_id(order_id(9))
    assert book.judge(intent(8), NOW, ACTIVE) is Reason.ORDER_ID_REUSED


def test_the_same_order_again_is_a_duplicate_while_the_first_is_open() -> None:
    book = make_book()
    approve(book, 1)
    assert book.judge(intent(2), NOW + 50, ACTIVE) is Reason.DUPLICATE
    assert book.judge(intent(3, price=999.9), NOW + 50, ACTIVE) is Reason.NONE
    book = make_book()
    approve(book, 1)
    book.on_execution(execution(1, ExecKind.CANCELED, OrderState.CANCELED))
    assert book.judge(intent(2), NOW + 50, ACTIVE) is Reason.NONE
    assert book.judge(intent(3), NOW + 151, ACTIVE) is Reason.NONE


def test_open_orders_are_limited_for_each_side() -> None:
    book = make_book()
    for seq in (1, 2, 3):
        approve(book, seq, qty=0.1 * seq)
    assert book.judge(intent(4, qty=0.4), NOW, ACTIVE) is Reason.OPEN_ORDERS_MAX
    approve(book, 5, side=Side.SELL)
    book.on_execution(execution(2, ExecKind.EXPIRED, OrderState.EXPIRED))
    approve(book, 6, qty=0.4)


def test_the_worst_case_of_a_position_is_limited() -> None:
    book = make_book()
    book.add_position(BTC, 3 * E8)
    approve(book, 1, qty=1)
    assert book.judge(intent(2, qty=1.001), NOW, ACTIVE) is Reason.POSITION_MAX
    approve(book, 3, side=Side.SELL, qty=2)
    approve(book, 4, price=999, qty=1)
    assert worst(book) == (1, 5)


def test_a_position_beyond_its_limit_may_still_shrink() -> None:
    book = make_book()
    book.add_position(BTC, -7 * E8)
    assert book.judge(intent(1, Side.SELL), NOW, ACTIVE) is Reason.POSITION_MAX
    approve(book, 2, side=Side.BUY, qty=2)


def test_gross_notional_sums_the_worst_cases_of_all_instruments() -> None:
    book = make_book()
    book.add_position(ETH, -5 * E8)
    book.add_position(BTC, 2 * E8)
    assert book.gross_notional_e8() == 7_000 * E8
    assert book.judge(intent(1, qty=1.001), NOW, ACTIVE) is Reason.GROSS_NOTIONAL_MAX
    approve(book, 2, qty=1)
    assert book.gross_notional_e8() == 8_000 * E8
    approve(book, 3, side=Side.SELL, qty=2)
    book.on_mark(ETH, 500 * E8, NOW)
    assert book.gross_notional_e8() == 5_500 * E8


def test_without_marks_positions_are_valued_at_the_mid() -> None:
    book = RiskBook(LIMITS, (BTC,))
    book.add_position(BTC, 2 * E8)
    assert book.gross_notional_e8() == 0
    book.on_top(BTC, 999 * E8, 1_001 * E8, NOW, FeedState.LIVE)
    assert book.gross_notional_e8() == 2_000 * E8


def test_messages_are_limited_but_cancels_pass() -> None:
    book = make_book(changed(messages_per_s_max=3))
    approve(book, 1, qty=0.1)
    approve(book, 2, qty=0.2)
    approve(book, 1, action=Action.AMEND, qty=0.2)
    assert book.judge(intent(3), NOW, ACTIVE) is Reason.MESSAGE_RATE
    approve(book, 1, action=Action.CANCEL)
    assert book.judge(intent(4), NOW, ACTIVE) is Reason.MESSAGE_RATE
    later = NOW + NS_PER_S
    assert book.judge(intent(5, decide_ns=later), later, ACTIVE) is Reason.NONE


def test_with_too_many_unresolved_orders_only_shrinking_ones_pass() -> None:
    book = make_book()
    book.add_position(BTC, 2 * E8)
    for seq in (1, 2):
        approve(book, seq, qty=0.1 * seq, instrument_id=ETH)
        book.on_execution(
            execution(
                seq,
                ExecKind.UNRESOLVED,
                OrderState.UNRESOLVED,
                leaves=0.1 * seq,
                instrument_id=ETH,
            )
        )
    assert book.unresolved == 2
    assert book.judge(intent(3), NOW, ACTIVE) is Reason.UNRESOLVED_MAX
    assert book.judge(intent(4, Side.SELL), NOW, ACTIVE) is Reason.NONE
    book.on_execution(
        execution(1, ExecKind.NEVER_ACCEPTED, OrderState.NEVER_ACCEPTED, instrument_id=ETH)
    )
    assert book.unresolved == 1
    assert book.judge(intent(5), NOW, ACTIVE) is Reason.NONE


def test_a_cancel_passes_unless_the_order_cannot_be_ours() -> None:
    book = make_book()
    assert book.judge(intent(99, action=Action.CANCEL), NOW, ACTIVE) is Reason.NONE
    foreign = intent(action=Action.CANCEL)
    foreign.order_id = 17
    assert book.judge(foreign, NOW, ACTIVE) is Reason.UNKNOWN_ORDER
    foreign.order_id = 2**63 + 5
    assert book.judge(foreign, NOW, ACTIVE) is Reason.UNKNOWN_ORDER


# -- records --------------------------------------------------------------------------------------


def test_market_records_are_taken_as_their_numbers_are() -> None:
    book = make_book()
    top, mark = TopOfBook(), MarkPrice()
    top.bid_e8, top.ask_e8, top.as_of_ns = 499 * E8, 501 * E8, NOW
    top.feed_state = FeedState.LIVE
    mark.mark_e8, mark.as_of_ns = 500 * E8, NOW
    book.add_position(BTC, 2 * E8)
    book.take_top(BTC, top)
    book.take_mark(BTC, mark)
    assert book.gross_notional_e8() == 1_000 * E8
    approve(book, 1, price=500)
    top.feed_state = FeedState.GAPPED
    book.take_top(BTC, top)
    assert book.judge(intent(2, price=500, qty=0.5), NOW, ACTIVE) is Reason.STALE_DATA


# -- exposure -------------------------------------------------------------------------------------


def test_what_is_approved_counts_before_anybody_has_answered() -> None:
    book = make_book()
    approve(book, 1, qty=1)
    approve(book, 2, side=Side.SELL, qty=2)
    assert worst(book) == (-2, 1)
    assert book.holds(order_id(1))
    assert book.open_orders(BTC) == 2


def test_fills_move_from_open_to_position() -> None:
    book = make_book()
    approve(book, 1, qty=2)
    part = execution(1, ExecKind.FILL, OrderState.WORKING, qty=0.5, cum=0.5, leaves=1.5, trade_id=7)
    book.on_execution(part)
    book.on_execution(part)
    assert book.position_e8(BTC) == E8 // 2
    assert worst(book) == (0.5, 2)
    book.on_execution(execution(1, ExecKind.CANCELED, OrderState.CANCELED, cum=0.5))
    assert worst(book) == (0.5, 0.5)
    assert book.open_orders(BTC) == 0


def test_a_closed_order_counts_until_its_last_trade_is_seen() -> None:
    book = make_book()
    approve(book, 1, qty=2)
    book.on_execution(execution(1, ExecKind.CANCELED, OrderState.CANCELED, cum=1.5))
    assert worst(book) == (0, 1.5)
    book.on_execution(
        execution(1, ExecKind.FILL, OrderState.CANCELED, qty=1.5, cum=1.5, trade_id=8)
    )
    assert worst(book) == (1.5, 1.5)
    assert not book.holds(order_id(1))


def test_an_approved_amend_counts_at_the_greater_quantity_until_answered() -> None:
    book = make_book()
    approve(book, 1, qty=1)
    approve(book, 1, action=Action.AMEND, qty=2)
    assert worst(book) == (0, 2)
    book.on_execution(execution(1, ExecKind.ACK, OrderState.WORKING, qty=1, leaves=1))
    assert worst(book) == (0, 2)
    book.on_execution(execution(1, ExecKind.AMEND_REJECTED, OrderState.WORKING, qty=1, leaves=1))
    assert worst(book) == (0, 1)
    approve(book, 1, action=Action.AMEND, qty=0.5)
    assert worst(book) == (0, 1)
    book.on_execution(execution(1, ExecKind.AMENDED, OrderState.WORKING, qty=0.5, leaves=0.5))
    assert worst(book) == (0, 0.5)


def test_a_drop_after_a_cancel_was_approved_is_not_taken_for_the_amend_s() -> None:
    book = make_book()
    approve(book, 1, qty=1)
    approve(book, 1, action=Action.AMEND, qty=2)
    approve(book, 1, action=Action.CANCEL)
    book.on_execution(execution(1, ExecKind.DROPPED, OrderState.WORKING, qty=1, leaves=1))
    assert worst(book) == (0, 2)


def test_amends_are_judged_like_orders() -> None:
    book = make_book()
    amend = Action.AMEND
    approve(book, 1, qty=1)
    assert book.judge(intent(2, action=amend), NOW, ACTIVE) is Reason.UNKNOWN_ORDER
    assert book.judge(intent(1, Side.SELL, action=amend), NOW, ACTIVE) is Reason.MALFORMED
    assert book.judge(intent(1, action=amend, price=1_100), NOW, ACTIVE) is Reason.PRICE_COLLAR
    assert book.judge(intent(1, action=amend, qty=2.5), NOW, ACTIVE) is Reason.ORDER_NOTIONAL_MAX
    book.add_position(BTC, 4 * E8)
    assert book.judge(intent(1, action=amend, qty=1.5), NOW, ACTIVE) is Reason.POSITION_MAX
    book.on_execution(
        execution(1, ExecKind.FILL, OrderState.WORKING, qty=0.5, cum=0.5, leaves=0.5, trade_id=1)
    )
    assert book.judge(intent(1, action=amend, qty=0.5), NOW, ACTIVE) is Reason.QTY_RANGE


def test_a_dropped_order_releases_what_it_held() -> None:
    book = make_book()
    approve(book, 1, qty=1)
    book.on_execution(execution(1, ExecKind.DROPPED, OrderState.NONE, qty=1))
    assert worst(book) == (0, 0)
    assert not book.holds(order_id(1))


def test_a_fill_of_an_order_we_do_not_know_moves_the_position() -> None:
    book = make_book()
    book.on_execution(
        execution(77, ExecKind.FILL, OrderState.FILLED, qty=1, cum=1, side=Side.SELL, trade_id=4)
    )
    assert book.position_e8(BTC) == -E8


# -- rebuilding -----------------------------------------------------------------------------------


def test_a_successor_skips_what_rows_and_positions_already_include() -> None:
    book = make_book()
    row = OrderRow()
    row.order_id, row.instrument_id, row.side = order_id(1), BTC, Side.BUY
    row.price_e8, row.qty_e8, row.cum_qty_e8 = 1_000 * E8, 2 * E8, E8
    row.order_state, row.executions_seq, row.traded_qty_e8 = OrderState.WORKING, 12, E8
    book.add_position(BTC, E8 // 2, 11)
    book.add_open_order(row)
    for record_seq, qty, cum in ((11, 0.5, 0.5), (12, 0.5, 1), (13, 0.25, 1.25)):
        book.on_execution(
            execution(
                1,
                ExecKind.FILL,
                OrderState.WORKING,
                qty=qty,
                cum=cum,
                leaves=2 - cum,
                trade_id=record_seq,
                record_seq=record_seq,
            )
        )
    assert book.position_e8(BTC) == 125 * E8 // 100
    assert worst(book) == (1.25, 2)
    assert book.judge(intent(1), NOW, ACTIVE) is Reason.ORDER_ID_REUSED


def test_approved_decisions_that_no_row_shows_are_counted_once() -> None:
    book = make_book()
    decision = Decision()
    decision.order_id, decision.instrument_id, decision.side = order_id(1), BTC, Side.SELL
    decision.price_e8, decision.qty_e8, decision.action = 1_000 * E8, 2 * E8, Action.PLACE
    book.add_approved(decision)
    book.add_approved(decision)
    assert worst(book) == (-2, 0)
    decision.action, decision.qty_e8 = Action.AMEND, 3 * E8
    book.add_approved(decision)
    assert worst(book) == (-3, 0)
    decision.order_id, decision.action, decision.reason = order_id(2), Action.PLACE, 5
    book.add_approved(decision)
    assert book.open_orders(BTC) == 1


def test_an_unanswered_amend_in_a_row_is_counted_at_its_worst() -> None:
    book = make_book()
    row = OrderRow()
    row.order_id, row.instrument_id, row.side = order_id(1), BTC, Side.BUY
    row.price_e8, row.qty_e8, row.pending_qty_e8 = 1_000 * E8, E8, 2 * E8
    row.order_state = OrderState.UNRESOLVED
    book.add_open_order(row)
    assert worst(book) == (0, 2)
    assert book.unresolved == 1


# -- the ends of the numbers and of the tables ----------------------------------------------------


INT64 = st.one_of(
    st.integers(-(2**63), INT64_MAX),
    st.sampled_from((-(2**63), -1, 0, 1, E8, 2**32, 2**62, INT64_MAX)),
)


@settings(max_examples=300, deadline=None)
@given(price_e8=INT64, qty_e8=INT64, decide_ns=INT64, side=st.sampled_from((1, -1)))
@example(price_e8=2**32, qty_e8=2**32, decide_ns=NOW, side=1)  # the product is 0 in 64 bits
@example(price_e8=1_000 * E8, qty_e8=E8, decide_ns=-(2**63), side=1)  # the age is negative
@example(price_e8=INT64_MAX, qty_e8=INT64_MAX, decide_ns=NOW, side=-1)
def test_no_number_however_absurd_passes_a_limit_by_overflow(
    price_e8: int, qty_e8: int, decide_ns: int, side: int
) -> None:
    collars = {"price_collar_bps": INT64_MAX, "mark_collar_bps": INT64_MAX}
    book = make_book(
        changed(**collars), tick_e8=1, step_e8=1, qty_max_e8=INT64_MAX, price_max_e8=INT64_MAX
    )
    view = intent(side=side)
    view.price_e8, view.qty_e8, view.decide_ns = price_e8, qty_e8, decide_ns
    fits = (
        NOW - decide_ns <= LIMITS.intent_age_ns_max
        and price_e8 >= E8
        and qty_e8 >= E8 // 1_000
        and 5 * E8 * E8 <= price_e8 * qty_e8 <= LIMITS.order_notional_max_e8 * E8
        and qty_e8 * 1_000 <= LIMITS.position_notional_max_e8
    )
    assert (book.judge(view, NOW, ACTIVE) is Reason.NONE) == fits


def test_a_position_that_no_record_could_hold_is_refused() -> None:
    book = make_book(
        changed(
            order_notional_max_e8=2**70,
            position_notional_max_e8=2**70,
            gross_notional_max_e8=UNLIMITED,
        ),
        qty_max_e8=INT64_MAX,
    )
    book.on_mark(BTC, 1, NOW)
    book.on_top(BTC, 1, 1, NOW, FeedState.LIVE)
    book.set_instrument(rules(BTC, tick_e8=1, step_e8=1, qty_max_e8=INT64_MAX, price_min_e8=1))
    for seq, qty_e8, reason in (
        (1, INT64_MAX - 1, Reason.NONE),
        (2, 5 * E8 * E8, Reason.POSITION_MAX),
    ):
        view = intent(seq)
        view.price_e8, view.qty_e8 = 1, qty_e8
        assert book.judge(view, NOW, ACTIVE) is reason
    book.add_position(BTC, INT64_MAX)
    assert book.worst_long_e8(BTC) == 2 * INT64_MAX - 1


def test_half_a_book_values_nothing() -> None:
    book = RiskBook(LIMITS, (BTC, ETH))
    book.add_position(BTC, 2 * E8)
    book.add_position(ETH, 2 * E8)
    book.on_mark(ETH, 1_000 * E8, NOW)
    book.on_top(BTC, NO_PRICE_E8, 1_001 * E8, NOW, FeedState.LIVE)
    assert book.gross_notional_e8() == 2_000 * E8
    book.set_instrument(rules(BTC))
    book.on_account(NOW)
    assert book.judge(intent(), NOW, ACTIVE) is Reason.PRICE_COLLAR
    market = intent(2, order_type=OrderType.MARKET, is_post_only=0)
    assert book.judge(market, NOW, ACTIVE) is Reason.MALFORMED


def test_without_a_tick_or_a_step_there_are_no_rules() -> None:
    for changes in ({"tick_e8": 0}, {"step_e8": 0}):
        book = make_book(LIMITS, **changes)
        assert book.judge(intent(), NOW, ACTIVE) is Reason.INSTRUMENT_UNKNOWN


def test_instruments_outside_the_table_are_not_known() -> None:
    book = make_book()
    assert book.judge(intent(instrument_id=2**32 - 1), NOW, ACTIVE) is Reason.INSTRUMENT_UNKNOWN
    book.on_top(128, 1, 2, NOW, FeedState.LIVE)
    assert book.position_e8(128) == book.open_orders(128) == 0
    with pytest.raises(ValueError, match="instrument 128"):
        book.set_instrument(rules(128))


def test_a_row_that_is_seen_twice_counts_once() -> None:
    book = make_book()
    row = OrderRow()
    row.order_id, row.instrument_id, row.side = order_id(1), BTC, Side.BUY
    row.price_e8, row.qty_e8, row.order_state = 1_000 * E8, E8, OrderState.WORKING
    book.add_open_order(row)
    book.add_open_order(row)
    assert book.open_orders(BTC) == 1
    assert worst(book) == (0, 1)


def test_open_orders_fill_the_table_and_leave_it_in_any_order() -> None:
    shuffle = random.Random(4)
    book = make_book(
        changed(
            open_orders_max=10**6,
            order_notional_max_e8=UNLIMITED,
            position_notional_max_e8=UNLIMITED,
            gross_notional_max_e8=UNLIMITED,
            messages_per_s_max=10**6,
            messages_per_minute_max=10**6,
            duplicate_window_ns=0,
        )
    )
    held: set[int] = set()
    last_seq = 0
    for _ in range(2):
        while len(held) < OPEN_ORDERS_MAX:
            # Ids as they come, and ids that lie far apart.
            last_seq += shuffle.choice((1, 1, 1, 64, 997))
            approve(book, last_seq)
            held.add(last_seq)
        last_seq += 1
        assert book.judge(intent(last_seq), NOW, ACTIVE) is Reason.OPEN_ORDERS_MAX
        assert book.open_orders(BTC) == OPEN_ORDERS_MAX
        leaving = shuffle.sample(sorted(held), OPEN_ORDERS_MAX * 3 // 4)
        for seq in leaving:
            book.on_execution(execution(seq, ExecKind.CANCELED, OrderState.CANCELED))
        held.difference_update(leaving)
        assert worst(book) == (0, len(held))
        assert {seq for seq in range(1, last_seq + 1) if book.holds(order_id(seq))} == held


# -- against a brute-force model ------------------------------------------------------------------


class RiskAgainstOrders(RuleBasedStateMachine):
    """Random lives of orders: what risk believes equals what the orders themselves may still do."""

    def __init__(self) -> None:
        super().__init__()
        unlimited = changed(
            order_notional_max_e8=UNLIMITED,
            position_notional_max_e8=UNLIMITED,
            gross_notional_max_e8=UNLIMITED,
            open_orders_max=10**6,
            messages_per_s_max=10**6,
            messages_per_minute_max=10**6,
            unresolved_max=10**6,
            duplicate_window_ns=0,
        )
        self.book = make_book(unlimited)
        self.orders: list[Order] = []
        self.approved_amend: dict[int, tuple[int, int]] = {}
        self.position = {BTC: 0, ETH: 0}
        self.seq = 0
        self.record_seq = 0

    def publish(self, order: Order, kind: ExecKind, qty_e8: int = 0, trade_id: int = 0) -> None:
        if kind is ExecKind.UNKNOWN:
            return
        self.record_seq += 1
        view = Execution()
        view.seq, view.order_id = self.record_seq, order.order_id
        view.instrument_id, view.side = order.instrument_id, order.side
        view.exec_kind, view.order_state, view.trade_id = kind, order.state, trade_id
        view.price_e8, view.qty_e8 = order.price_e8, qty_e8 or order.qty_e8
        view.cum_qty_e8, view.leaves_qty_e8 = order.cum_qty_e8, order.leaves_qty_e8
        self.book.on_execution(view)

    def pick(self, index: int) -> Order | None:
        return self.orders[index % len(self.orders)] if self.orders else None

    @rule(
        instrument_id=st.sampled_from((BTC, ETH)),
        side=st.sampled_from((Side.BUY, Side.SELL)),
        qty=st.integers(1, 20),
    )
    def place(self, instrument_id: int, side: Side, qty: int) -> None:
        self.seq += 1
        view = intent(self.seq, side, qty=qty, instrument_id=instrument_id)
        assert self.book.judge(view, NOW, ACTIVE) is Reason.NONE
        order = Order(
            order_id=order_id(self.seq),
            instrument_id=instrument_id,
            strategy_id=1,
            side=side,
            price_e8=1_000 * E8,
            qty_e8=qty * E8,
        )
        self.orders.append(order)

    @rule(index=st.integers(0, 50), is_sent=st.booleans())
    def execute_place(self, index: int, is_sent: bool) -> None:
        order = self.pick(index)
        if order is None or order.send_ns or order.is_terminal:
            return
        kind = order.place_sent(1) if is_sent else order.dropped(Reason.SESSION_DOWN)
        self.publish(order, kind)

    @rule(index=st.integers(0, 50))
    def acknowledge(self, index: int) -> None:
        order = self.pick(index)
        if order is not None and order.send_ns:
            self.publish(order, order.acknowledge(index + 1, 2))

    @rule(index=st.integers(0, 50), qty=st.integers(1, 25))
    def approve_amend(self, index: int, qty: int) -> None:
        order = self.pick(index)
        if order is None or order.order_id in self.approved_amend:
            return
        seq = order.order_id & 0xFFFFFF
        view = intent(
            seq, order.side, qty=qty, action=Action.AMEND, instrument_id=order.instrument_id
        )
        reason = self.book.judge(view, NOW, ACTIVE)
        if order.is_terminal:
            assert reason is Reason.UNKNOWN_ORDER
        elif qty * E8 <= order.cum_qty_e8:
            assert reason is Reason.QTY_RANGE
        else:
            assert reason is Reason.NONE
            self.approved_amend[order.order_id] = (1_000 * E8, qty * E8)

    @rule(index=st.integers(0, 50), is_sent=st.booleans())
    def execute_amend(self, index: int, is_sent: bool) -> None:
        order = self.pick(index)
        if order is None or order.pending_qty_e8 or not order.is_working:
            return
        terms = self.approved_amend.get(order.order_id)
        if terms is None:
            return
        if is_sent:
            order.amend_sent(*terms, 3)
        else:
            self.publish(order, ExecKind.AMEND_REJECTED)
            del self.approved_amend[order.order_id]

    @rule(index=st.integers(0, 50), is_done=st.booleans())
    def answer_amend(self, index: int, is_done: bool) -> None:
        order = self.pick(index)
        if order is None or order.is_terminal or not order.pending_qty_e8:
            return
        terms = order.pending_price_e8, order.pending_qty_e8
        # The venue cancels an order that would be amended below what is filled.
        if terms[1] <= order.cum_qty_e8 or terms[1] <= order.traded_qty_e8:
            self.publish(order, order.canceled(order.cum_qty_e8))
        elif is_done:
            self.publish(order, order.amended(*terms, 5))
        else:
            self.publish(order, order.amend_rejected(Reason.VENUE_FILTER))
        del self.approved_amend[order.order_id]

    @rule(index=st.integers(0, 50), qty=st.integers(1, 8), trade_id=st.integers(1, 10**6))
    def fill(self, index: int, qty: int, trade_id: int) -> None:
        order = self.pick(index)
        if order is None or not order.send_ns:
            return
        room_e8 = order.missing_qty_e8 if order.is_terminal else order.qty_e8 - order.traded_qty_e8
        qty_e8 = min(qty * E8, room_e8)
        if qty_e8 <= 0:
            return
        # The machine's ids repeat across orders: a repeated trade is no news for risk either.
        trade_id += order.order_id << 24
        kind = order.fill(trade_id & (2**62 - 1), qty_e8, 1_000 * E8)
        if kind is ExecKind.FILL:
            self.position[order.instrument_id] += order.side * qty_e8
            self.publish(order, kind, qty_e8, trade_id & (2**62 - 1))

    @rule(index=st.integers(0, 50), ahead=st.integers(0, 6), is_expired=st.booleans())
    def close(self, index: int, ahead: int, is_expired: bool) -> None:
        """The venue closes it, and may name more filled quantity than trades were seen."""
        order = self.pick(index)
        if order is None or not order.send_ns or order.is_terminal:
            return
        cum_e8 = min(order.qty_e8, order.cum_qty_e8 + ahead * E8)
        kind = order.expired(cum_e8) if is_expired else order.canceled(cum_e8)
        self.publish(order, kind)

    @rule(index=st.integers(0, 50))
    def lose_the_answer(self, index: int) -> None:
        order = self.pick(index)
        if order is not None and order.send_ns:
            self.publish(order, order.unresolved(9))

    @rule(index=st.integers(0, 50))
    def query(self, index: int) -> None:
        order = self.pick(index)
        if order is None or order.state is not OrderState.UNRESOLVED:
            return
        had_amend = order.pending_qty_e8
        terms = order.price_e8, order.qty_e8
        self.publish(
            order,
            order.from_query(OrderState.WORKING, order.cum_qty_e8, *terms, 9, now_ns=10),
        )
        if had_amend:
            del self.approved_amend[order.order_id]

    @invariant()
    def exposure_equals_the_orders_own(self) -> None:
        for instrument_id in (BTC, ETH):
            long_e8 = short_e8 = self.position[instrument_id]
            for order in self.orders:
                if order.instrument_id != instrument_id:
                    continue
                remaining_e8 = order.worst_case_qty_e8
                terms = self.approved_amend.get(order.order_id)
                if terms is not None and not order.is_terminal:
                    remaining_e8 = max(remaining_e8, terms[1] - order.traded_qty_e8)
                if order.side > 0:
                    long_e8 += remaining_e8
                else:
                    short_e8 -= remaining_e8
            assert self.book.position_e8(instrument_id) == self.position[instrument_id]
            assert self.book.worst_long_e8(instrument_id) == long_e8
            assert self.book.worst_short_e8(instrument_id) == short_e8

    @invariant()
    def counts_equal_the_orders_own(self) -> None:
        unresolved = sum(order.state is OrderState.UNRESOLVED for order in self.orders)
        assert self.book.unresolved == unresolved
        for instrument_id in (BTC, ETH):
            count = sum(
                order.instrument_id == instrument_id
                and (not order.is_terminal or order.worst_case_qty_e8 > 0)
                for order in self.orders
            )
            assert self.book.open_orders(instrument_id) == count


RiskAgainstOrders.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestRiskAgainstOrders = RiskAgainstOrders.TestCase


# -- kinds of orders ------------------------------------------------------------------------------

ALL_KINDS = {"is_post_only": 0}
VENUE_OFFSET_NS = 1_800_000_000 * 1_000_000_000


def good_till(seconds_ahead: int, **fields: object) -> Intent:
    view = intent(1, tif=Tif.GTD, is_post_only=0, **fields)  # type: ignore[arg-type]
    view.good_till_s = (VENUE_OFFSET_NS + NOW) // 1_000_000_000 + seconds_ahead
    return view


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tif": Tif.GTC}, Reason.NONE),
        ({"tif": Tif.IOC}, Reason.NONE),
        ({"tif": Tif.FOK}, Reason.NONE),
        ({"tif": 5}, Reason.MALFORMED),
        ({"tif": Tif.IOC, "is_post_only": 1}, Reason.MALFORMED),
        ({"tif": Tif.GTD, "is_post_only": 1}, Reason.MALFORMED),
        ({"order_type": OrderType.MARKET, "tif": Tif.UNKNOWN, "price": 0}, Reason.NONE),
        ({"order_type": OrderType.MARKET, "tif": Tif.IOC, "price": 0}, Reason.MALFORMED),
        ({"order_type": OrderType.MARKET, "tif": Tif.GTC, "is_post_only": 1}, Reason.MALFORMED),
    ],
)
def test_the_kinds_that_there_are(fields: dict[str, object], reason: Reason) -> None:
    asked = intent(1, **{**ALL_KINDS, **fields})  # type: ignore[arg-type]
    assert make_book().judge(asked, NOW, ACTIVE) is reason


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [(602, Reason.NONE), (600, Reason.MALFORMED), (0, Reason.MALFORMED), (-9, Reason.MALFORMED)],
)
def test_a_good_till_date_has_to_be_far_enough_ahead(ahead: int, reason: Reason) -> None:
    book = make_book()
    book.venue_offset_ns = VENUE_OFFSET_NS
    assert book.judge(good_till(ahead), NOW, ACTIVE) is reason


def test_without_the_venues_clock_no_date_can_be_judged() -> None:
    assert make_book().judge(good_till(10_000), NOW, ACTIVE) is Reason.MALFORMED


def test_a_date_belongs_to_a_good_till_date_order_only() -> None:
    asked = intent(1)
    asked.good_till_s = 2_000_000_000
    assert make_book().judge(asked, NOW, ACTIVE) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("limits", "fields", "reason"),
    [
        ({"is_post_only": True}, {"tif": Tif.IOC}, Reason.ORDER_KIND_NOT_ALLOWED),
        ({"is_post_only": True}, {"order_type": OrderType.MARKET}, Reason.ORDER_KIND_NOT_ALLOWED),
        ({"is_limit_only": True}, {"order_type": OrderType.MARKET}, Reason.ORDER_KIND_NOT_ALLOWED),
        ({"is_limit_only": True}, {"tif": Tif.IOC}, Reason.NONE),
    ],
)
def test_a_policy_may_forbid_kinds(
    limits: dict[str, bool], fields: dict[str, object], reason: Reason
) -> None:
    asked = intent(1, **{**ALL_KINDS, **fields})  # type: ignore[arg-type]
    assert make_book(changed(**limits)).judge(asked, NOW, ACTIVE) is reason


@pytest.mark.parametrize(
    ("side", "qty", "reason"),
    [
        (Side.BUY, 1.98, Reason.NONE),
        (Side.BUY, 1.981, Reason.ORDER_NOTIONAL_MAX),
        (Side.SELL, 1.999, Reason.NONE),
        (Side.SELL, 2.001, Reason.ORDER_NOTIONAL_MAX),
    ],
)
def test_a_market_order_counts_at_the_worst_price_it_may_meet(
    side: Side, qty: float, reason: Reason
) -> None:
    asked = intent(1, side, 0, qty, order_type=OrderType.MARKET, is_post_only=0)
    assert make_book().judge(asked, NOW, ACTIVE) is reason


# -- by hand --------------------------------------------------------------------------------------


def by_hand(seq: int, **fields: Any) -> Intent:
    view = intent(strategy_id=SOURCE_MANUAL, is_post_only=0, **fields)
    view.order_id = make_order_id(SOURCE_MANUAL, 1_000, seq)
    return view


def test_amends_by_hand_are_for_orders_by_hand() -> None:
    book = make_book()
    book.set_manual_limits(changed(open_orders_max=9))
    assert book.judge(intent(seq=1, price=999), NOW, ACTIVE) is Reason.NONE
    assert book.judge_manual(by_hand(1, price=998), NOW, ACTIVE) is Reason.NONE
    amend_of_hers = intent(seq=1, price=997, action=Action.AMEND)
    assert book.judge_manual(amend_of_hers, NOW, ACTIVE) is Reason.MALFORMED
    assert book.judge(by_hand(1, price=997, action=Action.AMEND), NOW, ACTIVE) is Reason.MALFORMED
    own = by_hand(1, price=997, action=Action.AMEND)
    assert book.judge_manual(own, NOW, ACTIVE) is Reason.NONE


def test_any_order_may_be_cancelled_by_hand_even_when_it_is_switched_off() -> None:
    book = make_book()
    assert book.manual_limits is None
    book.judge(intent(seq=1), NOW, ACTIVE)
    assert book.judge_manual(by_hand(1), NOW, ACTIVE) is Reason.MANUAL_NOT_ALLOWED
    for action in (Action.CANCEL, Action.CANCEL_ALL):
        assert book.judge_manual(intent(seq=1, action=action), NOW, HALTED) is Reason.NONE


def test_after_a_judgement_by_hand_strategies_have_their_limits_again() -> None:
    book = make_book()
    book.set_manual_limits(changed(order_notional_max_e8=1_500 * E8, messages_per_s_max=1))
    assert book.judge_manual(by_hand(1, qty=1.9), NOW, ACTIVE) is Reason.ORDER_NOTIONAL_MAX
    assert book.judge(intent(seq=1, qty=1.9), NOW, ACTIVE) is Reason.NONE
    assert book.judge_manual(by_hand(2, price=998), NOW, ACTIVE) is Reason.NONE
    assert book.judge_manual(by_hand(3, price=997), NOW, ACTIVE) is Reason.MESSAGE_RATE
    assert book.judge(intent(seq=2, price=996), NOW, ACTIVE) is Reason.NONE


def test_messages_by_hand_count_for_the_policy_and_never_wait_for_strategies() -> None:
    book = make_book(changed(messages_per_s_max=2))
    book.set_manual_limits(changed(messages_per_s_max=2, open_orders_max=9))
    assert book.judge(intent(seq=1, price=999), NOW, ACTIVE) is Reason.NONE
    assert book.judge_manual(by_hand(1, price=998), NOW, ACTIVE) is Reason.NONE
    assert book.judge(intent(seq=2, price=997), NOW, ACTIVE) is Reason.MESSAGE_RATE
    assert book.judge_manual(by_hand(2, price=996), NOW, ACTIVE) is Reason.NONE
