"""Risk as a role: one decision for every intent, whatever dies; the permit is a short lease."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import msgspec
import pytest

from hft import counters, graph
from hft.core.generated.views import (
    Decision,
    Execution,
    Instrument,
    Intent,
    MarkPrice,
    Position,
    TopOfBook,
)
from hft.core.generated.views import Order as OrderRow
from hft.core.order_id import SOURCE_MANUAL, foreign_order_id, make_order_id
from hft.core.permit import permit_grants, permit_state
from hft.counters import RoleState
from hft.graph import RingId
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.roles.risk import CLOSING_NS_MAX, Risk
from hft.roles.risk_intake import MANUAL_SLOT, PART_EVERY_NS, PENDING_SLOT
from hft.units import E8, NS_PER_MS, NS_PER_S
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
        self.control = house.context("control")
        self._by_hand, hand_buffer = self.control.ring_writer("intents.manual")
        self.hand_intent = Intent(hand_buffer)
        feed = house.context("feed")
        self._instruments, instrument_buffer = feed.cell_writer("instruments")
        self.instrument = Instrument(instrument_buffer)
        self._positions, position_buffer = self.account.cell_writer("positions")
        self._position = Position(position_buffer)
        self._rows, row_buffer = self.execution.cell_writer("orders")
        self.row = OrderRow(row_buffer)
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
        top.as_of_ns, top.feed_state = now_ns, int(FeedState.LIVE)
        self._tops.write(BTC)
        self._mark.kind, self._mark.instrument_id = int(Kind.MARK_PRICE), BTC
        self._mark.mark_e8, self._mark.as_of_ns = 100 * E8, now_ns
        self._marks.write(BTC)

    def ask(
        self,
        *,
        price_e8: int = 999 * E8 // 10,
        qty_e8: int = E8,
        side: Side = Side.BUY,
        mode: Mode = Mode.LIVE,
    ) -> int:
        self._order_seq += 1
        order_id = make_order_id(1, self.strategy.epoch, self._order_seq)
        intent = self.intent
        intent.clear()
        intent.kind, intent.mode, intent.instrument_id = int(Kind.INTENT), int(mode), BTC
        intent.order_id, intent.strategy_id = order_id, 1
        intent.price_e8, intent.qty_e8 = price_e8, qty_e8
        intent.side, intent.action = int(side), int(Action.PLACE)
        intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)
        intent.is_post_only = 1
        intent.origin_ns = time.monotonic_ns()
        intent.decide_ns = intent.origin_ns + NS_PER_S  # young for as long as the test runs
        assert self._intents.offer()
        return order_id

    def ask_by_hand(
        self, *, price_e8: int = 999 * E8 // 10, qty_e8: int = E8, source: int = SOURCE_MANUAL,
        action: Action = Action.PLACE, side: Side = Side.BUY,
    ) -> int:  # fmt: skip
        self._order_seq += 1
        order_id = make_order_id(source, self.control.epoch, self._order_seq)
        intent = self.hand_intent
        intent.clear()
        intent.kind, intent.mode, intent.instrument_id = int(Kind.INTENT), int(Mode.LIVE), BTC
        intent.order_id, intent.strategy_id = order_id, source
        intent.price_e8, intent.qty_e8 = price_e8, qty_e8
        intent.side, intent.action = int(side), int(action)
        intent.order_type, intent.tif = int(OrderType.LIMIT), int(Tif.GTC)
        intent.decide_ns = time.monotonic_ns() + NS_PER_S
        assert self._by_hand.offer()
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

    def report(
        self, kind: ExecKind, order_id: int, reason: Reason = Reason.NONE, *, qty: int = 1,
        cum: int = 0, leaves: int = 0, trade_id: int = 0, side: Side = Side.BUY,
        state: OrderState = OrderState.WORKING,
    ) -> int:  # fmt: skip
        """Publish an execution; returns its sequence."""
        record = self.execution_record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), int(Mode.LIVE), BTC
        record.order_id, record.exec_kind, record.side = order_id, int(kind), int(side)
        record.qty_e8, record.cum_qty_e8, record.leaves_qty_e8 = qty * E8, cum * E8, leaves * E8
        record.price_e8, record.trade_id, record.reason = 999 * E8 // 10, trade_id, int(reason)
        record.order_state = int(state)
        seq = self._executions.next_seq
        assert self._executions.offer()
        return seq

    def account_says(self, position_e8: int, adjusted_e8: int = 0, executions_seq: int = 0) -> None:
        """Write the position cell."""
        cell = self._position
        cell.clear()
        cell.kind, cell.instrument_id = int(Kind.POSITION), BTC
        cell.position_e8, cell.adjusted_e8 = position_e8, adjusted_e8
        cell.executions_seq = executions_seq
        self._positions.write(graph.position_cell(Mode.LIVE, BTC))

    def write_row(self, index: int) -> None:
        """Write the row buffer into the ``orders`` table."""
        self._rows.write(index)

    def decisions(self) -> list[tuple[int, Reason]]:
        found = []
        while self._decisions.next():
            found.append((self._decision.order_id, Reason(self._decision.reason)))
        return found


class Died(Exception):
    """The process ended here."""


class Death(NamedTuple):
    """At which decision risk dies, and whether it is visible then."""

    at: int
    is_visible: bool


class WatchedWriter:
    """Writer of ``decisions`` that notes what the page says at each offer, and may be the end."""

    def __init__(self, writer, page, dies: Death | None) -> None:
        self._writer, self._page, self._dies = writer, page, dies
        self.seen: list[tuple] = []

    def __getattr__(self, name: str):
        return getattr(self._writer, name)

    def offer(self) -> bool:
        page = self._page
        cursors = [page.cursor(int(ring)).value for ring in (RingId.INTENTS, RingId.MANUAL)]
        self.seen.append((page.pending(PENDING_SLOT), page.pending(MANUAL_SLOT), *cursors))
        is_end = self._dies is not None and len(self.seen) == self._dies.at
        if is_end and not self._dies.is_visible:
            raise Died
        done = self._writer.offer()
        if is_end:
            raise Died
        return done


def watch_decisions(context, dies: Death | None = None) -> None:
    """Risk of this context gets a writer that is watched, as in a chaos campaign."""
    ring_writer = context.ring_writer

    def watched(name: str):
        writer, buffer = ring_writer(name)
        if name != "decisions":
            return writer, buffer
        return WatchedWriter(writer, context.page, dies), buffer

    context.ring_writer = watched


def start(house, *, is_armed: bool = True, dies: Death | None = None) -> tuple[Risk, object]:
    context = house.context("risk")
    if dies is not None:
        watch_decisions(context, dies)
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
    assert successor._state == TradingState.ACTIVE, "the trading state is inherited"


@pytest.mark.parametrize("mode", [Mode.PAPER, Mode.OBSERVE])
def test_successor_begins_beside_approvals_that_execution_has_not_passed(house, desk, mode):
    risk, context = start(house)
    desk.ask(mode=mode)
    risk.do_work(time.monotonic_ns())
    house.end(context)

    successor, _ = start(house, is_armed=False)
    assert successor._page.state == RoleState.READY
    assert successor._book.worst_long_e8(BTC) == 0, "nothing of it is live"


def test_an_intent_is_noted_before_its_decision_is_seen_and_done_with_after(house, desk):
    context = house.context("risk")
    watch_decisions(context)
    risk = Risk(context)
    risk.on_start(time.monotonic_ns())
    for ask in (desk.ask, desk.ask, desk.ask_by_hand):
        ask()
    risk.do_work(time.monotonic_ns())
    assert risk._decisions.seen == [
        (None, (1, 1), 0, 0),
        ((1, 2), None, 0, 1),
        ((2, 3), None, 1, 1),
    ]
    page = context.page
    assert page.pending(PENDING_SLOT) is page.pending(MANUAL_SLOT) is None
    assert page.cursor(int(RingId.INTENTS)).value == 2
    assert page.counter(counters.JUDGED.id) == page.counter(counters.REFUSED.id) == 3


def test_a_writer_that_is_watched_gets_the_same_decisions(house, desk):
    found = []
    for is_watched in (False, True):
        context = house.context("risk")
        if is_watched:
            watch_decisions(context)
        risk = Risk(context)
        risk.on_start(time.monotonic_ns())
        desk.ask()
        risk.do_work(time.monotonic_ns())
        assert desk._decisions.next()
        names = ("kind", "mode", "source", "cause_ring", "price_e8", "reason", "action")
        found.append([getattr(desk._decision, name) for name in names])
        house.end(context)
    assert found[0] == found[1]


@pytest.mark.parametrize("is_visible", [True, False])
def test_batch_of_a_dead_predecessor_is_committed_or_done_again(house, desk, is_visible):
    risk, context = start(house, dies=Death(at=1, is_visible=is_visible))
    order_id = desk.ask()
    with pytest.raises(Died):
        risk.do_work(time.monotonic_ns())
    house.end(context)  # died before the cursor was stored

    successor, _ = start(house, is_armed=False)
    successor.do_work(time.monotonic_ns())
    assert [one for one, _ in desk.decisions()] == [order_id]


# -- by hand --------------------------------------------------------------------------------------


def allow_manual(house, **changes: object) -> None:
    """Risk that starts from now on takes orders by hand."""
    config = house.plan.config
    manual = msgspec.structs.replace(config.risk.manual, enabled=True, **changes)
    risk = msgspec.structs.replace(config.risk, manual=manual)
    config = msgspec.structs.replace(config, risk=risk)
    house.plan = msgspec.structs.replace(house.plan, config=config)


def test_by_hand_nothing_passes_unless_it_is_switched_on_but_cancels(house, desk):
    risk, _ = start(house)
    placed = desk.ask_by_hand()
    cancelled = desk.ask_by_hand(action=Action.CANCEL)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(placed, Reason.MANUAL_NOT_ALLOWED), (cancelled, Reason.NONE)]


def test_order_by_hand_is_judged_first_and_its_decision_names_its_ring(house, desk):
    allow_manual(house)
    risk, _ = start(house)
    by_strategy = desk.ask()
    by_hand = desk.ask_by_hand(price_e8=998 * E8 // 10)
    risk.do_work(time.monotonic_ns())
    assert desk._decisions.next()
    decision = desk._decision
    assert (decision.order_id, decision.reason) == (by_hand, Reason.NONE)
    assert (decision.cause_ring, decision.cause_seq) == (graph.RingId.MANUAL, 1)
    assert decision.strategy_id == SOURCE_MANUAL
    assert desk._decisions.next()
    assert (decision.order_id, decision.cause_ring) == (by_strategy, graph.RingId.INTENTS)
    assert risk._book.worst_long_e8(BTC) == 2 * E8, "hands and strategies add up"


def test_source_and_ring_have_to_agree(house, desk):
    allow_manual(house)
    risk, _ = start(house)
    as_a_strategy = desk.ask_by_hand(source=1)
    by_hand = make_order_id(SOURCE_MANUAL, desk.strategy.epoch, 9)
    desk.ask()
    desk.intent.order_id, desk.intent.strategy_id = by_hand, SOURCE_MANUAL
    assert desk._intents.offer()
    risk.do_work(time.monotonic_ns())
    found = dict(desk.decisions())
    assert found[as_a_strategy] is Reason.MALFORMED
    assert found[by_hand] is Reason.MALFORMED


def test_limits_by_hand_are_lower_than_the_policy_and_leave_strategies_theirs(house, desk):
    allow_manual(house)
    risk, _ = start(house)
    policy, manual = risk._book.limits, risk._book.manual_limits
    assert manual.order_notional_max_e8 == policy.order_notional_max_e8 // 4
    assert manual.messages_per_s_max == 2
    too_much_e8 = manual.order_notional_max_e8 // 100 + E8
    by_hand = desk.ask_by_hand(qty_e8=too_much_e8)
    by_strategy = desk.ask(qty_e8=too_much_e8)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(by_hand, Reason.ORDER_NOTIONAL_MAX), (by_strategy, Reason.NONE)]


def test_by_hand_there_is_a_message_rate_of_its_own(house, desk):
    allow_manual(house)
    risk, _ = start(house)
    asked = [desk.ask_by_hand(price_e8=tenths * E8 // 10) for tenths in (999, 998)]
    risk._book.set_limits(msgspec.structs.replace(risk._book.limits, open_orders_max=9))
    risk._book.set_manual_limits(
        msgspec.structs.replace(risk._book.manual_limits, open_orders_max=9)
    )
    risk.do_work(time.monotonic_ns())
    third = desk.ask_by_hand(price_e8=1001 * E8 // 10)
    cancel = desk.ask_by_hand(action=Action.CANCEL)
    by_strategy = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [
        (asked[0], Reason.NONE), (asked[1], Reason.NONE), (third, Reason.MESSAGE_RATE),
        (cancel, Reason.NONE), (by_strategy, Reason.NONE),
    ]  # fmt: skip


def test_by_hand_one_may_take_where_the_policy_only_rests(house, desk):
    allow_manual(house)
    risk, _ = start(house)
    assert risk._book.limits.is_post_only
    by_hand = desk.ask_by_hand(price_e8=1001 * E8 // 10)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(by_hand, Reason.NONE)]


@pytest.mark.parametrize("dies_in", ["intents.strategy", "intents.manual"])
@pytest.mark.parametrize("is_visible", [True, False])
def test_death_between_note_and_commit_loses_and_doubles_nothing(house, desk, dies_in, is_visible):
    allow_manual(house)
    at = 1 if dies_in == "intents.manual" else 2
    risk, context = start(house, dies=Death(at=at, is_visible=is_visible))
    asked = {desk.ask(), desk.ask_by_hand(price_e8=998 * E8 // 10)}
    with pytest.raises(Died):
        risk.do_work(time.monotonic_ns())
    house.end(context)  # died before the cursor was stored

    successor, _ = start(house, is_armed=False)
    successor.do_work(time.monotonic_ns())
    answered = [order_id for order_id, _ in desk.decisions()]
    assert sorted(answered) == sorted(asked)


def close_positions(house, risk, context) -> None:
    """As ``hft halt --flatten`` asks, with one long position to close."""
    risk._book.add_position(BTC, 3 * E8)
    context.halt.set("enough", "me")
    context.commands.send(context.source, Command.make("flatten", sender="me"))
    risk._obey(time.monotonic_ns())
    assert not context.halt.is_set


def test_after_a_halt_positions_are_closed_by_hand_and_nobody_else_may_trade(house, desk):
    risk, context = start(house)
    close_positions(house, risk, context)
    by_strategy = desk.ask(side=Side.SELL, price_e8=1001 * E8 // 10)
    grows = desk.ask_by_hand(price_e8=1001 * E8 // 10)
    closes = desk.ask_by_hand(price_e8=999 * E8 // 10, side=Side.SELL)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [
        (grows, Reason.REDUCING_ONLY), (closes, Reason.NONE), (by_strategy, Reason.TRADING_HALTED),
    ]  # fmt: skip
    assert permit_state(context.permit().load()) is TradingState.REDUCING
    context.halt.set("done", "me")
    risk.do_work(time.monotonic_ns())
    assert context.permit().load() == 0
    late = desk.ask_by_hand(price_e8=999 * E8 // 10, side=Side.SELL)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(late, Reason.MANUAL_NOT_ALLOWED)], "hands are kept off again"


def test_closing_ends_in_the_halt_whoever_dies(house, desk):
    risk, context = start(house)
    close_positions(house, risk, context)
    risk.do_work(time.monotonic_ns() + CLOSING_NS_MAX)
    assert context.halt.is_set
    close_positions(house, risk, context)
    house.end(context)
    successor, context = start(house, is_armed=False)
    assert context.halt.is_set
    successor.do_work(time.monotonic_ns())
    assert context.permit().load() == 0


def test_what_led_to_the_halt_does_not_keep_positions_from_being_closed(house, desk):
    risk, context = start(house)
    close_positions(house, risk, context)
    risk._watch._stop_for("drawdown_max: 3 is beyond 2", 3, 2)
    assert not context.halt.is_set
    risk._halt.set("liquidation", "risk")
    risk.do_work(time.monotonic_ns())
    risk._halt.clear()
    risk._watch._stop_for("drawdown_max: 3 is beyond 2", 3, 2)
    assert context.halt.is_set


def test_positions_of_a_system_that_is_not_halted_are_not_closed(house, desk):
    risk, context = start(house)
    context.commands.send(context.source, Command.make("flatten", sender="me"))
    risk._obey(time.monotonic_ns())
    assert risk._state == TradingState.ACTIVE


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


# -- what is not ours -----------------------------------------------------------------------------

FOREIGN = foreign_order_id(BTC, 9_123_300_451)


class DyingCursor:
    """A ring reader whose owner dies instead of committing."""

    def __init__(self, reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str):
        return getattr(self._reader, name)

    def commit(self) -> None:
        raise Died


def granted(context) -> TradingState:
    return permit_state(context.permit().load())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ExecKind.ADOPTED, Reason.FOREIGN_ORDER),
        (ExecKind.FILL, Reason.FOREIGN_ORDER),
        (ExecKind.CANCELED, Reason.OWN_OVERFILL),
    ],
)
def test_what_nobody_asked_for_leaves_reducing_even_when_risk_dies_before_its_cursor(
    house, desk, kind, reason
):
    risk, context = start(house)
    desk.report(kind, FOREIGN, reason, leaves=1, trade_id=7)
    risk._executions = DyingCursor(risk._executions)
    with pytest.raises(Died):
        risk.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.REDUCING
    house.end(context)
    successor, context = start(house, is_armed=False)
    successor.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.REDUCING
    assert not context.halt.is_set


def test_foreign_order_that_ends_and_own_recovery_change_no_state(house, desk):
    risk, context = start(house)
    desk.report(ExecKind.CANCELED, FOREIGN, Reason.FOREIGN_ORDER, state=OrderState.CANCELED)
    desk.report(ExecKind.ADOPTED, make_order_id(1, 7, 1), Reason.OWN_RECOVERY, leaves=1)
    risk.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.ACTIVE


@pytest.mark.parametrize(
    "reason", [Reason.LIQUIDATION, Reason.AUTO_DELEVERAGING, Reason.SETTLEMENT]
)
def test_forced_close_halts_even_when_risk_dies_before_its_cursor(house, desk, reason):
    risk, context = start(house)
    desk.report(ExecKind.FILL, FOREIGN, reason, trade_id=7)
    risk._executions = DyingCursor(risk._executions)
    with pytest.raises(Died):
        risk.do_work(time.monotonic_ns())
    assert context.halt.is_set
    assert not permit_grants(context.permit().load(), time.monotonic_ns())


def test_armed_again_what_a_successor_reads_again_does_not_count(house, desk):
    risk, context = start(house)
    desk.report(ExecKind.FILL, FOREIGN, Reason.FOREIGN_ORDER, trade_id=7)
    risk.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.REDUCING
    context.commands.send(context.source, Command.make("arm", sender="test"))
    risk.do_work(time.monotonic_ns() + 30 * NS_PER_MS)
    assert granted(context) is TradingState.ACTIVE
    house.end(context)
    successor, context = start(house, is_armed=False)
    successor.do_work(time.monotonic_ns())
    assert successor._book.position_e8(BTC) == E8, "the fill was read again, for the position"
    assert granted(context) is TradingState.ACTIVE


def test_foreign_order_counts_against_the_limits(house, desk):
    risk, _ = start(house)
    desk.report(ExecKind.ADOPTED, FOREIGN, Reason.FOREIGN_ORDER, qty=5, leaves=5)
    risk.do_work(time.monotonic_ns())
    assert risk._book.worst_long_e8(BTC) == 5 * E8


# -- differences and adjustments ------------------------------------------------------------------


def test_difference_reduces_for_as_long_as_it_lasts_and_is_no_stale_account(house, desk):
    risk, context = start(house)
    desk.account.page.set_gauge(counters.AGREES.id, 0)
    desk.account.page.set_gauge(counters.DIFFERS.id, 1)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.REDUCING_ONLY)]
    assert granted(context) is TradingState.REDUCING
    desk.account.page.set_gauge(counters.AGREES.id, 1)
    desk.account.page.set_gauge(counters.DIFFERS.id, 0)
    order_id = desk.ask()
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [(order_id, Reason.NONE)]
    assert granted(context) is TradingState.ACTIVE


def test_successor_of_a_risk_that_died_during_a_difference_trades_again_after_it(house, desk):
    risk, context = start(house)
    desk.account.page.set_gauge(counters.DIFFERS.id, 1)
    risk.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.REDUCING
    house.end(context)
    successor, context = start(house, is_armed=False)
    assert granted(context) is TradingState.REDUCING
    desk.account.page.set_gauge(counters.DIFFERS.id, 0)
    successor.do_work(time.monotonic_ns())
    assert granted(context) is TradingState.ACTIVE


def test_difference_makes_nothing_of_a_halt(house, desk):
    risk, context = start(house, is_armed=False)
    desk.account.page.set_gauge(counters.DIFFERS.id, 1)
    risk.do_work(time.monotonic_ns())
    assert not permit_grants(context.permit().load(), time.monotonic_ns())


def test_adjustment_moves_the_position_once(house, desk):
    risk, context = start(house)
    now_ns = time.monotonic_ns()
    desk.account_says(3 * E8, adjusted_e8=3 * E8)
    for number in range(1, 4):
        risk.do_work(now_ns + number * 60 * NS_PER_MS)
    assert risk._book.position_e8(BTC) == 3 * E8
    desk.account_says(2 * E8, adjusted_e8=2 * E8)
    risk.do_work(now_ns + 300 * NS_PER_MS)
    assert risk._book.position_e8(BTC) == 2 * E8
    house.end(context)
    successor, _ = start(house, is_armed=False)
    successor.do_work(now_ns + 400 * NS_PER_MS)
    assert successor._book.position_e8(BTC) == 2 * E8, "the cell includes it"


def test_position_adopted_after_the_start_of_risk_counts(house, desk):
    """The account adopts at its first life: executions until then, and an adjustment."""
    risk, _ = start(house)
    desk.report(ExecKind.FILL, FOREIGN, Reason.FOREIGN_ORDER, trade_id=7)
    risk.do_work(time.monotonic_ns())
    desk.account_says(5 * E8, adjusted_e8=4 * E8, executions_seq=1)
    risk.do_work(time.monotonic_ns() + 60 * NS_PER_MS)
    assert risk._book.position_e8(BTC) == 5 * E8


# -- what is done once in a while -----------------------------------------------------------------


def test_a_look_around_is_taken_in_parts_and_complete_after_a_while(house, desk):
    risk, _ = start(house)
    now_ns = risk._cells_ns
    taken = []
    risk._watch.parts = tuple(
        lambda _now_ns, number=number: taken.append(number)
        for number in range(len(risk._watch.parts))
    )
    whole = len(risk._watch.parts) + 1
    for turn in range(2 * whole):
        before = len(taken)
        risk.do_work(now_ns + (turn + 1) * PART_EVERY_NS)
        assert len(taken) - before <= 1
    assert taken == [*range(whole - 1)] * 2
    risk.do_work(now_ns + 100 * whole * PART_EVERY_NS)
    assert taken == [*range(whole - 1)] * 3, "after a long time all of it, once"


def test_who_judges_looks_around_later_but_not_much_later(house, desk):
    risk, _ = start(house)
    now_ns = risk._cells_ns
    desk.ask()
    risk.do_work(now_ns + PART_EVERY_NS)
    assert risk._cells_ns == now_ns, "execution has the decision first"
    desk.ask()
    risk.do_work(now_ns + 2 * PART_EVERY_NS)
    assert risk._cells_ns == now_ns + 2 * PART_EVERY_NS
    assert len(desk.decisions()) == 2


# -- the instrument table -------------------------------------------------------------------------


def test_changed_rules_and_a_halted_symbol_hold_within_a_poll(house, desk):
    risk, _ = start(house)
    row = desk.instrument
    assert desk._instruments.read(BTC)
    row.tick_e8, row.instrument_version = E8, 2
    desk._instruments.write(BTC)
    risk._cells_ns = 0
    risk.do_work(time.monotonic_ns())
    first = desk.ask()
    risk.do_work(time.monotonic_ns())
    row.status, row.instrument_version = int(InstrumentStatus.HALTED), 3
    desk._instruments.write(BTC)
    risk._cells_ns = 0
    risk.do_work(time.monotonic_ns())
    second = desk.ask(price_e8=100 * E8)
    risk.do_work(time.monotonic_ns())
    assert desk.decisions() == [
        (first, Reason.PRICE_OFF_TICK),
        (second, Reason.INSTRUMENT_NOT_TRADING),
    ]


# -- rebuilding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_rebuilt_exposure_equals_the_one_that_never_died(house, desk, seed):
    """Foreign orders in every state, adjustments, and deaths between processing and cursor."""
    choose = random.Random(seed)
    risk, context = start(house)
    orders: dict[int, list[int]] = {}  # id: quantity, filled, row
    seqs: dict[int, int] = {}
    position = adjusted = trade_id = 0

    def write_row(order_id: int) -> None:
        qty, cum, row_index = orders[order_id]
        row = desk.row
        row.clear()
        if cum < qty:
            row.kind, row.instrument_id, row.order_id = int(Kind.ORDER), BTC, order_id
            row.side, row.order_state = int(Side.BUY), int(OrderState.WORKING)
            row.qty_e8, row.cum_qty_e8, row.traded_qty_e8 = qty * E8, cum * E8, cum * E8
            row.executions_seq = seqs[order_id]
        desk.write_row(row_index)

    for number in range(1, 60):
        kind = choose.choice(("adopt", "fill", "fill", "account", "adjust", "work", "die"))
        working = [one for one, (qty, cum, _) in orders.items() if cum < qty]
        if kind == "adopt" and len(orders) < 30:
            order_id = foreign_order_id(BTC, number)
            orders[order_id] = [choose.randrange(1, 5), 0, len(orders)]
            qty = orders[order_id][0]
            seqs[order_id] = desk.report(
                ExecKind.ADOPTED, order_id, Reason.FOREIGN_ORDER, qty=qty, leaves=qty
            )
            write_row(order_id)
        elif kind == "fill" and working:
            order_id = choose.choice(working)
            orders[order_id][1] += 1
            qty, cum, _ = orders[order_id]
            trade_id, position = trade_id + 1, position + 1
            seqs[order_id] = desk.report(
                ExecKind.FILL, order_id, Reason.FOREIGN_ORDER, cum=cum, leaves=qty - cum,
                trade_id=trade_id, state=OrderState.WORKING if cum < qty else OrderState.FILLED,
            )  # fmt: skip
            write_row(order_id)
        elif kind in ("account", "adjust"):
            adjusted += choose.choice((-2, 0, 3)) if kind == "adjust" else 0
            desk.account_says(
                (position + adjusted) * E8, adjusted * E8, desk._executions.next_seq - 1
            )
        elif kind == "work":
            risk.do_work(time.monotonic_ns())
        elif kind == "die":
            if choose.random() < 0.5 and risk._executions.backlog:
                risk._executions = DyingCursor(risk._executions)
                with pytest.raises(Died):
                    risk.do_work(time.monotonic_ns())
            house.end(context)
            risk, context = start(house, is_armed=False)
    risk._cells_ns = 0
    risk.do_work(time.monotonic_ns())
    book = risk._book
    told = (desk._position.adjusted_e8 if adjusted else 0) // E8
    assert told == adjusted
    open_qty = sum(qty - cum for qty, cum, _ in orders.values())
    assert book.position_e8(BTC) == (position + adjusted) * E8
    assert book.worst_long_e8(BTC) == (position + adjusted + open_qty) * E8
    assert book.open_orders(BTC) == sum(cum < qty for qty, cum, _ in orders.values())
