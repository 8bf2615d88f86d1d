"""The risk core beside a plain model of it: same verdicts, same exposure, and no limit exceeded.

The long version, 100,000 cases: ``HFT_RISK_CASES=100000 pytest tests/core/test_risk_model.py``.
"""

from __future__ import annotations

import os
import random
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_risk import ReferenceRisk

from hft.core.generated.views import Execution, Intent
from hft.core.instruments import InstrumentRules
from hft.core.order_id import make_order_id
from hft.core.policies import UNLIMITED, Limits
from hft.core.risk import RiskBook
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.units import E8, NS_PER_MS, NS_PER_S

CASES: Final = int(os.environ.get("HFT_RISK_CASES", "150"))
MARKS: Final = {1: 1_000 * E8, 2: 500 * E8, 3: 100 * E8}
EQUITY_E8: Final = 10_000 * E8
LIMITS: Final = Limits(
    policy="model",
    order_qty_max_e8=9 * E8,
    order_notional_max_e8=3_000 * E8,
    position_notional_max_e8=5_000 * E8,
    open_notional_max_e8=3_500 * E8,
    gross_notional_max_e8=9_000 * E8,
    net_notional_max_e8=7_000 * E8,
    leverage_max_e8=75 * E8 // 100,
    price_collar_bps=100,
    mark_collar_bps=200,
    cross_bps_max=50,
    drift_1m_bps_max=120,
    funding_bps_max=30,
    open_orders_max=2,
    messages_per_s_max=6,
    messages_per_10s_max=20,
    messages_per_minute_max=40,
    unresolved_max=2,
    feed_age_ns_max=NS_PER_S,
    account_age_ns_max=NS_PER_S,
    intent_age_ns_max=NS_PER_S,
    duplicate_window_ns=0,
)
ACCOUNTS: Final = ((7_000 * E8, UNLIMITED), (9_000 * E8, UNLIMITED), (9_000 * E8, 6_000 * E8))
"""Gross and net limits, so that each of gross, leverage and net is the first to bind once."""
KINDS: Final = ("place",) * 3 + (
    "amend", "cancel", "fill", "amended", "closed", "lost", "funding",
)  # fmt: skip
STEP: Final = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 7),  # which order, of those open
    st.sampled_from(tuple(MARKS)),
    st.sampled_from((Side.BUY, Side.SELL)),
    st.integers(-11, 11),  # price, in thousandths of the mark
    st.integers(1, 40),  # quantity, in quarters
    st.integers(0, 400) | st.sampled_from((8_000, 70_000)),  # ms since the last step
)
Step = tuple[str, int, int, Side, int, int, int]


class Pair:
    """Core and model, told the same."""

    def __init__(self, account: tuple[int, int]) -> None:
        gross_e8, net_e8 = account
        limits = msgspec.structs.replace(
            LIMITS, gross_notional_max_e8=gross_e8, net_notional_max_e8=net_e8
        )
        self.core = RiskBook(limits, MARKS)
        self.model = ReferenceRisk(limits, dict(MARKS), EQUITY_E8)
        self.now_ns = 100 * NS_PER_S
        self.seq = 0
        self.refused: set[Reason] = set()
        self.intent, self.execution = Intent(), Execution()
        self.core.set_equity(EQUITY_E8)
        for number in MARKS:
            self.core.set_instrument(
                InstrumentRules(instrument_id=number, symbol=f"S{number}", tick_e8=E8 // 100,
                                step_e8=E8 // 100)
            )  # fmt: skip

    def step(self, step: Step) -> None:
        what, which, number, side, offset, quarters, pause_ms = step
        self.now_ns += pause_ms * NS_PER_MS
        for other, mark_e8 in MARKS.items():
            self.core.on_top(other, mark_e8, mark_e8, self.now_ns, FeedState.LIVE)
            rate_e8 = self.model.fundings_e8.get(other, 0)
            self.core.on_mark(other, mark_e8, self.now_ns, rate_e8)
        self.core.on_account(self.now_ns)
        qty_e8 = quarters * E8 // 4
        if what == "place":
            self._place(number, side, offset, qty_e8)
        elif what == "funding":
            self.model.fundings_e8[number] = offset * 35_000  # 3.5 bps each
        else:
            opened = [key for key, order in self.model.orders.items() if order.is_open]
            if opened:
                self._about(what, opened[which % len(opened)], offset, qty_e8)
        self._compare()

    def _place(self, number: int, side: Side, offset: int, qty_e8: int) -> None:
        self.seq += 1
        order_id = make_order_id(1, 1, self.seq)
        price_e8 = MARKS[number] * (1_000 + offset) // 1_000
        self._ask(Action.PLACE, order_id, number, side, price_e8, qty_e8)
        expected = self.model.place(order_id, number, side, price_e8, qty_e8, self.now_ns)
        self._judge(expected)

    def _about(self, what: str, order_id: int, offset: int, qty_e8: int) -> None:
        order = self.model.orders[order_id]
        number, side, opened_e8 = (
            order.instrument_id,
            order.side,
            order.in_force_e8 - order.traded_e8,
        )
        price_e8 = MARKS[number] * (1_000 + offset) // 1_000
        if what == "amend":
            self._ask(Action.AMEND, order_id, number, side, price_e8, qty_e8)
            self._judge(self.model.amend(order_id, price_e8, qty_e8, self.now_ns))
        elif what == "cancel":
            self._ask(Action.CANCEL, order_id, number, side, 0, 0)
            self.model.cancel(self.now_ns)
            self._judge(Reason.NONE)
        elif what == "fill":
            qty_e8 = min(qty_e8, opened_e8)
            self.model.fill(order_id, qty_e8)
            state = OrderState.WORKING if order.is_open else OrderState.FILLED
            self._tell(order_id, ExecKind.FILL, state, qty_e8)
        elif what == "amended" and order.qty_e8 > order.traded_e8:
            # Every unanswered amend is settled: the greatest of them came through.
            self.model.answer_amend(order_id, order.qty_e8)
            self._tell(order_id, ExecKind.ACK, OrderState.WORKING)
        elif what == "closed":
            self.model.close(order_id)
            self._tell(order_id, ExecKind.CANCELED, OrderState.CANCELED)
        elif what == "lost":
            self.model.lose(order_id)
            self._tell(order_id, ExecKind.UNRESOLVED, OrderState.UNRESOLVED)

    def _ask(
        self, action: Action, order_id: int, number: int, side: int, price_e8: int, qty_e8: int
    ) -> None:
        intent = self.intent
        intent.clear()
        intent.order_id, intent.instrument_id, intent.strategy_id = order_id, number, 1
        intent.action, intent.side, intent.decide_ns = int(action), int(side), self.now_ns
        intent.price_e8, intent.qty_e8 = price_e8, qty_e8
        intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)

    def _judge(self, expected: Reason) -> None:
        reason = self.core.judge(self.intent, self.now_ns, TradingState.ACTIVE)
        self.refused.add(reason)
        assert reason is expected

    def _tell(self, order_id: int, kind: ExecKind, state: OrderState, qty_e8: int = 0) -> None:
        order, record = self.model.orders[order_id], self.execution
        record.clear()
        record.order_id, record.instrument_id = order_id, order.instrument_id
        record.exec_kind, record.order_state, record.side = int(kind), int(state), int(order.side)
        record.qty_e8, record.cum_qty_e8 = qty_e8, order.traded_e8
        record.leaves_qty_e8 = order.in_force_e8 - order.traded_e8 if state < 10 else 0
        record.price_e8 = MARKS[order.instrument_id]
        self.core.on_execution(record)

    def _compare(self) -> None:
        core, model = self.core, self.model
        for number in MARKS:
            assert core.position_e8(number) == model.position_e8(number)
            assert core.worst_long_e8(number) == model.worst_e8(number, Side.BUY)
            assert core.worst_short_e8(number) == -model.worst_e8(number, Side.SELL)
        assert core.gross_notional_e8() == model.gross_e8()
        assert core.net_notional_e8() == max(model.net_e8(Side.BUY), model.net_e8(Side.SELL))
        assert core.unresolved == model.unresolved
        assert core.faults_of(1) == model.faults
        model.check()


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(ACCOUNTS), st.lists(STEP, min_size=1, max_size=40))
@pytest.mark.timeout(7_200)
def test_no_sequence_exceeds_a_hard_limit_and_the_model_agrees(
    account: tuple[int, int], steps: list[Step]
) -> None:
    pair = Pair(account)
    for step in steps:
        pair.step(step)


def test_long_sequences_meet_every_limit() -> None:
    chance = random.Random(5)
    refused: set[Reason] = set()
    for case in range(18):
        pair = Pair(ACCOUNTS[case % 3])
        sides = (Side.BUY, Side.SELL) if case % 4 < 2 else (Side.BUY, Side.BUY, Side.SELL)
        # Calm cases come to limits of money that the others, refused for price or time, do not.
        is_calm = case % 2 == 0
        kinds = ("place", "place", "place", "amend", "cancel", "fill", "lost")
        widest, pauses = (5, (5, 1_000)) if is_calm else (11, (5, 1_000, 20_000))
        quarters_max = (40, 24, 12, 8, 6, 3)[case // 3]
        for _ in range(200):
            what = chance.choice(kinds if is_calm else (*kinds, "funding"))
            number, side = chance.choice(tuple(MARKS)), chance.choice(sides)
            offset, quarters = chance.randint(-widest, widest), chance.randint(1, quarters_max)
            pause_ms = chance.choice(pauses)
            pair.step((what, chance.randrange(8), number, side, offset, quarters, pause_ms))
        refused |= pair.refused
    assert refused >= {
        Reason.NONE, Reason.ORDER_QTY_MAX, Reason.ORDER_NOTIONAL_MAX, Reason.PRICE_COLLAR,
        Reason.AGGRESSIVE_CROSS, Reason.POSITION_MAX, Reason.OPEN_NOTIONAL_MAX,
        Reason.GROSS_NOTIONAL_MAX, Reason.NET_NOTIONAL_MAX, Reason.LEVERAGE_MAX,
        Reason.OPEN_ORDERS_MAX, Reason.UNRESOLVED_MAX, Reason.MESSAGE_RATE, Reason.QTY_RANGE,
        Reason.PRICE_DRIFT, Reason.FUNDING_MAX,
    }  # fmt: skip
