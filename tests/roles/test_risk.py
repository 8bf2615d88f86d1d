"""Risk as a role: one decision for every intent, whatever dies; the permit is a short lease."""

from __future__ import annotations

import time

import pytest

from hft import counters, graph
from hft.core.generated.views import Decision, Execution, Intent, MarkPrice, TopOfBook
from hft.core.order_id import make_order_id
from hft.core.permit import permit_grants, permit_state
from hft.counters import RoleState
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.roles.risk import Risk
from hft.units import E8, NS_PER_MS
from ipc import Command

BTC = 1


class Desk:
    """Everybody around risk: feed, account, strategy."""

    def __init__(self, house) -> None:
        self.house = house
        self.account = house.context("account")
        self.account.page.set_gauge(counters.AGREES.id, 1)
        self.strategy = house.context("strategy")
        self.execution = house.context("execution")
        self._intents, buffer = self.strategy.ring_writer("intents.strategy")
        self.intent = Intent(buffer)
        feed = house.context("feed")
        self._tops, top_buffer = feed.cell_writer("tops")
        self._top = TopOfBook(top_buffer)
        self._marks, mark_buffer = feed.cell_writer("marks")
        self._mark = MarkPrice(mark_buffer)
        self._executions, execution_buffer = self.execution.ring_writer("executions")
        self.execution_record = Execution(execution_buffer)
        reader, decision_buffer = self.execution.ring_reader("decisions")
        self._decisions, self._decision = reader, Decision(decision_buffer)
        self._order_seq = 0
        self.refresh()

    def refresh(self) -> None:
        now_ns = time.monotonic_ns()
        self.account.page.beat(now_ns)
        top = self._top
        top.kind, top.instrument_id = int(Kind.TOP_OF_BOOK), BTC
        top.bid_e8, top.ask_e8 = 999 * E8 // 10, 1001 * E8 // 10
        top.bid_qty_e8 = top.ask_qty_e8 = E8
        top.recv_ns, top.feed_state = now_ns, int(FeedState.LIVE)
        self._tops.write(BTC)
        self._mark.kind, self._mark.instrument_id = int(Kind.MARK_PRICE), BTC
        self._mark.mark_e8, self._mark.recv_ns = 100 * E8, now_ns
        self._marks.write(BTC)

    def ask(
        self, *, price_e8: int = 999 * E8 // 10, qty_e8: int = E8, side: Side = Side.BUY
    ) -> int:
        self._order_seq += 1
        order_id = make_order_id(1, self.strategy.epoch, self._order_seq)
        intent = self.intent
        intent.clear()
        intent.kind, intent.mode, intent.instrument_id = int(Kind.INTENT), int(Mode.LIVE), BTC
        intent.order_id, intent.strategy_id = order_id, 1
        intent.price_e8, intent.qty_e8 = price_e8, qty_e8
        intent.side, intent.action = int(side), int(Action.PLACE)
        intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)
        intent.is_post_only = 1
        intent.decide_ns = intent.origin_ns = time.monotonic_ns()
        assert self._intents.offer()
        return order_id

    def report_fill(self, order_id: int, qty_e8: int, trade_id: int) -> None:
        record = self.execution_record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), int(Mode.LIVE), BTC
        record.order_id, record.exec_kind, record.side = order_id, int(ExecKind.FILL), 1
        record.qty_e8 = record.cum_qty_e8 = qty_e8
        record.price_e8, record.trade_id = 999 * E8 // 10, trade_id
        record.order_state = int(OrderState.FILLED)
        assert self._executions.offer()

    def decisions(self) -> list[tuple[int, Reason]]:
        found = []
        while self._decisions.next():
            found.append((self._decision.order_id, Reason(self._decision.reason)))
        return found


def start(house, *, is_armed: bool = True) -> tuple[Risk, object]:
    context = house.context("risk")
    risk = Risk(context)
    risk.on_start(time.monotonic_ns())
    if is_armed:
        context.commands.send(context.source, Command.make("arm", sender="test"))
    risk.do_work(time.monotonic_ns())
    return risk, context


@pytest.fixture
def desk(house) -> Desk:
    return Desk(house)


def test_intent_is_answered_by_one_decision_that_names_its_cause(house, desk):
    risk, _ = start(house)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.NONE)]
    assert desk._decision.cause_ring == graph.RingId.INTENTS
    assert desk._decision.cause_seq == 1


def test_unarmed_risk_refuses_and_grants_no_permit(house, desk):
    risk, context = start(house, is_armed=False)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.TRADING_HALTED)]
    assert not permit_grants(context.permit().load(), time.monotonic_ns())


def test_permit_is_a_lease_of_the_configured_length(house, desk):
    risk, context = start(house)
    now_ns = time.monotonic_ns()
    risk.do_work(now_ns)
    word = context.permit().load()
    assert permit_grants(word, now_ns)
    assert permit_state(word) is TradingState.ACTIVE
    assert not permit_grants(word, now_ns + 251 * NS_PER_MS)


def test_halt_empties_the_permit_in_the_same_turn(house, desk):
    risk, context = start(house)
    context.halt.set("test", "tests")
    now_ns = time.monotonic_ns()
    risk.do_work(now_ns)
    assert not permit_grants(context.permit().load(), now_ns)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.TRADING_HALTED)]


def test_arming_clears_the_halt(house, desk):
    risk, context = start(house)
    context.halt.set("test", "tests")
    risk.do_work(time.monotonic_ns())
    context.commands.send(context.source, Command.make("arm", sender="test"))
    risk.do_work(time.monotonic_ns() + 30 * NS_PER_MS)
    assert permit_grants(context.permit().load(), time.monotonic_ns())


def test_stale_market_data_is_refused(house, desk):
    risk, _ = start(house)
    desk._top.feed_state = int(FeedState.GAPPED)
    desk._tops.write(BTC)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.STALE_DATA)]


def test_silent_account_is_refused(house, desk):
    risk, _ = start(house)
    order_id = desk.ask()
    limit_ns = risk._book.limits.account_age_ns_max
    desk.account.page.beat(time.monotonic_ns() - limit_ns - NS_PER_MS)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.ACCOUNT_STALE)]


def test_successor_inherits_state_exposure_and_place_in_the_ring(house, desk):
    risk, context = start(house)
    first = desk.ask(qty_e8=2 * E8)
    risk.do_work(time.monotonic_ns())
    desk.report_fill(first, 2 * E8, 1)
    second = desk.ask(qty_e8=3 * E8, price_e8=998 * E8 // 10)
    risk.do_work(time.monotonic_ns())
    waiting = desk.ask(qty_e8=E8 // 2)
    house.end(context)

    desk.refresh()
    successor, _ = start(house, is_armed=False)
    assert successor._book.position_e8(BTC) == 2 * E8, "the fill is read again from the ring"
    assert successor._book.worst_long_e8(BTC) >= 5 * E8, "the approved decision still counts"
    successor.do_work(time.monotonic_ns())
    answered = desk.decisions()
    assert [order_id for order_id, _ in answered] == [first, second, waiting]
    # One open order a side is this policy's limit: the successor knows of the one it did not judge.
    assert answered[-1][1] is Reason.OPEN_ORDERS_MAX
    assert successor._state is TradingState.ACTIVE, "the trading state is inherited"


@pytest.mark.parametrize("is_visible", [True, False])
def test_batch_of_a_dead_predecessor_is_committed_or_done_again(house, desk, is_visible):
    risk, context = start(house)
    order_id = desk.ask()
    assert risk._intents.next()
    now_ns = time.monotonic_ns()
    risk._fill_decision(risk._intent, risk._verdict(risk._intent, now_ns), now_ns)
    context.page.begin(0, risk._intent.seq, risk._decisions.next_seq)
    if is_visible:
        risk._decisions.offer()
    house.end(context)  # died before the cursor was stored

    successor, _ = start(house, is_armed=False)
    successor.do_work(time.monotonic_ns())
    assert [one for one, _ in desk.decisions()] == [order_id]


def test_full_ring_pauses_intake_and_loses_nothing(house, desk):
    risk, _ = start(house)
    capacity = graph.ring("decisions").capacity
    asked = [desk.ask(price_e8=1) for _ in range(capacity)]
    for _ in range(capacity // 16):
        risk.do_work(time.monotonic_ns())
    more = desk.ask(price_e8=1)
    for _ in range(4):
        risk.do_work(time.monotonic_ns())
    answered = [order_id for order_id, _ in desk.decisions()]
    assert answered == asked, "the ring holds its capacity and not one more"
    desk._decisions.commit()
    risk.do_work(time.monotonic_ns())
    assert [order_id for order_id, _ in desk.decisions()] == [more]


def test_risk_is_ready_after_its_start(house, desk):
    _, context = start(house)
    assert context.page.state == RoleState.READY
