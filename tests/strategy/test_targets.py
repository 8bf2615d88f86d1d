from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hft.core.generated.views import Decision, Execution
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.order_table import OrderTable
from hft.core.orders import Order
from hft.records import Action, ExecKind, OrderState, Reason, Side
from hft.strategy.change import Change
from hft.strategy.errors import StrategyError
from hft.strategy.targets import QuoteRules, QuoteTargets
from hft.units import E8, NS_PER_MS

RULES = QuoteRules(reprice_ticks=2, rest_ns_min=100, refusal_backoff_ns=1_000, overdue_ns=10_000)
INSTRUMENT = InstrumentRules(
    instrument_id=5,
    symbol="BTCUSDT",
    tick_e8=E8 // 10,
    step_e8=E8 // 1_000,
    qty_min_e8=E8 // 1_000,
    qty_max_e8=100 * E8,
    notional_min_e8=5 * E8,
)
Wish = tuple[Action, Side, float, float]


def make_targets(rules: QuoteRules = RULES) -> QuoteTargets:
    return QuoteTargets(INSTRUMENT, rules)


def want(targets: QuoteTargets, side: Side, price: float, qty: float) -> None:
    targets.set(side, round(price * E8), round(qty * E8))


def wishes(changes: list[Change]) -> list[Wish]:
    return [(c.action, c.side, c.price_e8 / E8, c.qty_e8 / E8) for c in changes]


def offer(targets: QuoteTargets, now_ns: int, order_id: int = 1) -> list[Wish]:
    """Offer everything, new orders under ascending ids from ``order_id``."""
    changes = targets.changes(now_ns)
    found = wishes(changes)
    for change in changes:
        targets.mark_offered(change, change.order_id or order_id, now_ns)
        order_id += change.action is Action.PLACE
    return found


def tell(
    targets: QuoteTargets,
    order_id: int,
    kind: ExecKind,
    state: OrderState,
    *,
    price: float = 0,
    cum: float = 0,
    leaves: float = 0,
    now_ns: int = 0,
    reason: Reason = Reason.NONE,
    seq: int = 0,
) -> None:
    view = Execution()
    view.seq, view.order_id, view.exec_kind, view.order_state = seq, order_id, kind, state
    view.price_e8, view.reason = round(price * E8), reason
    view.cum_qty_e8, view.leaves_qty_e8 = round(cum * E8), round(leaves * E8)
    targets.on_execution(view, now_ns)


def refuse(targets: QuoteTargets, order_id: int, action: Action, now_ns: int) -> None:
    view = Decision()
    view.order_id, view.action, view.reason = order_id, action, Reason.STALE_DATA
    targets.on_refusal(view, now_ns)


def resting_bid(targets: QuoteTargets, price: float = 100, qty: float = 1) -> None:
    want(targets, Side.BUY, price, qty)
    assert offer(targets, 0) == [(Action.PLACE, Side.BUY, price, qty)]
    tell(targets, 1, ExecKind.ACK, OrderState.WORKING, price=price, leaves=qty)


def test_prices_are_rounded_away_from_the_market_and_quantities_down() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100.19, 1.0019)
    want(targets, Side.SELL, 100.21, 1.0019)
    assert offer(targets, 0) == [
        (Action.PLACE, Side.BUY, 100.1, 1.001),
        (Action.PLACE, Side.SELL, 100.3, 1.001),
    ]
    assert targets.wanted(Side.SELL) == (1_003 * E8 // 10, 1_001 * E8 // 1_000)


@pytest.mark.parametrize("quote", [(100, 0), (100, 0.0009), (100, 0.049), (0, 1)])
def test_what_the_venue_would_not_take_is_not_wanted(quote: tuple[float, float]) -> None:
    targets = make_targets()
    want(targets, Side.BUY, *quote)
    assert targets.changes(0) == []
    assert targets.wanted(Side.BUY) == (0, 0)


def test_more_than_the_venue_takes_is_cut_to_it() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1_000)
    assert targets.wanted(Side.BUY)[1] == 100 * E8


@pytest.mark.parametrize("value", [1.0, float("nan"), None, "1"])
def test_a_quote_not_made_of_integers_is_a_strategy_s_error(value: object) -> None:
    with pytest.raises(StrategyError, match="integers"):
        make_targets().set(Side.BUY, 100 * E8, value)  # type: ignore[arg-type]


def test_a_wish_that_could_not_be_offered_comes_again() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    assert wishes(targets.changes(0)) == wishes(targets.changes(1)) != []


def test_nothing_is_asked_while_an_answer_is_missing() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    offer(targets, 0)
    assert targets.pending(Side.BUY) is Action.PLACE
    want(targets, Side.BUY, 101, 1)
    tell(targets, 1, ExecKind.SENT, OrderState.PENDING_NEW, price=100, leaves=1)
    assert targets.changes(1_000) == []
    tell(targets, 1, ExecKind.ACK, OrderState.WORKING, price=100, leaves=1)
    assert offer(targets, 1_000) == [(Action.AMEND, Side.BUY, 101, 1)]
    want(targets, Side.BUY, 102, 1)
    tell(targets, 1, ExecKind.FILL, OrderState.WORKING, price=100, cum=0.2, leaves=0.8)
    assert targets.changes(2_000) == []
    tell(targets, 1, ExecKind.AMENDED, OrderState.WORKING, price=101, cum=0.2, leaves=0.8)
    assert offer(targets, 2_000) == [(Action.AMEND, Side.BUY, 102, 1.2)]


def test_what_is_near_enough_keeps_its_place_in_the_queue() -> None:
    targets = make_targets()
    resting_bid(targets)
    for price, qty in ((100, 1), (100.1, 1), (99.9, 1), (100, 1.5), (100, 0.7)):
        want(targets, Side.BUY, price, qty)
        assert targets.changes(1_000) == []
    want(targets, Side.BUY, 100.2, 1)
    assert wishes(targets.changes(1_000)) == [(Action.AMEND, Side.BUY, 100.2, 1)]
    want(targets, Side.BUY, 100, 0.6)
    assert wishes(targets.changes(1_000)) == [(Action.AMEND, Side.BUY, 100, 0.6)]


def test_a_partly_filled_order_is_filled_up_only_when_little_is_left() -> None:
    targets = make_targets()
    resting_bid(targets)
    tell(targets, 1, ExecKind.FILL, OrderState.WORKING, cum=0.5, leaves=0.5)
    assert targets.changes(1_000) == []
    assert targets.resting(Side.BUY) == (100 * E8, E8 // 2)
    tell(targets, 1, ExecKind.FILL, OrderState.WORKING, cum=0.6, leaves=0.4)
    assert wishes(targets.changes(1_000)) == [(Action.AMEND, Side.BUY, 100, 1.6)]


def test_changes_of_a_side_are_paced_and_cancels_are_not() -> None:
    targets = make_targets()
    resting_bid(targets)
    want(targets, Side.BUY, 101, 1)
    assert targets.changes(99) == []
    assert wishes(targets.changes(100)) == [(Action.AMEND, Side.BUY, 101, 1)]
    targets.pull_all()
    assert wishes(targets.changes(1)) == [(Action.CANCEL, Side.BUY, 100, 0)]


def test_a_filled_order_is_replaced() -> None:
    targets = make_targets()
    resting_bid(targets)
    tell(targets, 1, ExecKind.FILL, OrderState.FILLED, cum=1, now_ns=50)
    assert targets.order_id(Side.BUY) == 0
    assert offer(targets, 100, order_id=2) == [(Action.PLACE, Side.BUY, 100, 1)]


def test_a_cancel_is_sent_once_and_clears_the_side() -> None:
    targets = make_targets()
    resting_bid(targets)
    targets.pull(Side.BUY)
    assert offer(targets, 10) == [(Action.CANCEL, Side.BUY, 100, 0)]
    assert targets.changes(20) == []
    tell(targets, 1, ExecKind.CANCELED, OrderState.CANCELED, now_ns=30)
    assert targets.resting(Side.BUY) == (0, 0)
    want(targets, Side.BUY, 100, 1)
    assert wishes(targets.changes(100)) == [(Action.PLACE, Side.BUY, 100, 1)]


def test_orders_can_be_moved_by_cancelling_and_placing() -> None:
    targets = make_targets(QuoteRules(rest_ns_min=100, is_amending=False))
    resting_bid(targets)
    want(targets, Side.BUY, 101, 1)
    assert offer(targets, 100) == [(Action.CANCEL, Side.BUY, 100, 0)]
    tell(targets, 1, ExecKind.CANCELED, OrderState.CANCELED, now_ns=110)
    assert offer(targets, 111, order_id=2) == [(Action.PLACE, Side.BUY, 101, 1)]


def test_a_refused_place_is_repeated_after_growing_pauses() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    now_ns, pauses = 0, []
    for order_id in range(1, 8):
        assert len(offer(targets, now_ns, order_id)) == 1
        refuse(targets, order_id, Action.PLACE, now_ns)
        began_ns = now_ns
        while not targets.changes(now_ns):
            now_ns += 500
        pauses.append(now_ns - began_ns)
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000]


def test_success_forgets_earlier_refusals() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    offer(targets, 0, 1)
    refuse(targets, 1, Action.PLACE, 0)
    offer(targets, 1_000, 2)
    tell(targets, 2, ExecKind.ACK, OrderState.WORKING, price=100, leaves=1)
    tell(targets, 2, ExecKind.REJECTED, OrderState.REJECTED, now_ns=2_000)
    assert targets.changes(2_999) == []
    assert len(targets.changes(3_000)) == 1


def test_a_post_only_rejection_is_not_repeated_at_once() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    offer(targets, 0)
    tell(
        targets, 1, ExecKind.REJECTED, OrderState.REJECTED,
        now_ns=200, reason=Reason.VENUE_POST_ONLY,
    )  # fmt: skip
    assert targets.changes(1_199) == []
    assert len(targets.changes(1_200)) == 1


def test_an_order_that_may_not_be_moved_is_cancelled() -> None:
    targets = make_targets()
    resting_bid(targets)
    want(targets, Side.BUY, 101, 1)
    offer(targets, 100)
    refuse(targets, 1, Action.AMEND, 100)
    assert offer(targets, 101) == [(Action.CANCEL, Side.BUY, 100, 0)]
    tell(targets, 1, ExecKind.CANCEL_REJECTED, OrderState.WORKING, price=100, leaves=1, now_ns=110)
    assert targets.changes(111) == []
    assert wishes(targets.changes(10_000)) == [(Action.CANCEL, Side.BUY, 100, 0)]


def test_a_dropped_place_frees_the_side() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    offer(targets, 0)
    tell(targets, 1, ExecKind.DROPPED, OrderState.NONE, now_ns=5, reason=Reason.PERMIT_EXPIRED)
    assert targets.order_id(Side.BUY) == 0
    assert targets.changes(1_004) == []
    assert len(targets.changes(1_005)) == 1


def test_an_order_cancelled_by_execution_itself_is_not_placed_again_at_once() -> None:
    targets = make_targets()
    resting_bid(targets)
    tell(
        targets, 1, ExecKind.CANCELED, OrderState.CANCELED,
        now_ns=500, reason=Reason.OWN_FEED_STALE,
    )  # fmt: skip
    assert targets.changes(1_499) == []
    assert len(targets.changes(1_500)) == 1


def test_an_unresolved_order_is_left_to_execution() -> None:
    targets = make_targets()
    resting_bid(targets)
    targets.pull_all()
    offer(targets, 10)
    tell(targets, 1, ExecKind.UNRESOLVED, OrderState.UNRESOLVED, price=100, leaves=1)
    assert targets.changes(10**9) == []
    tell(targets, 1, ExecKind.ACK, OrderState.WORKING, price=100, leaves=1)
    assert wishes(targets.changes(10**9)) == [(Action.CANCEL, Side.BUY, 100, 0)]


def test_an_order_that_turns_up_unexpectedly_is_cancelled() -> None:
    targets = make_targets()
    resting_bid(targets)
    tell(targets, 99, ExecKind.ACK, OrderState.WORKING, price=90, leaves=1, now_ns=5)
    changes = targets.changes(5)
    assert [(c.action, c.order_id) for c in changes] == [(Action.CANCEL, 99)]
    targets.mark_offered(changes[0], 99, 5)
    assert targets.changes(6) == []
    tell(targets, 99, ExecKind.CANCEL_REJECTED, OrderState.WORKING, now_ns=7)
    assert [c.order_id for c in targets.changes(1_007)] == [99]
    tell(targets, 99, ExecKind.CANCELED, OrderState.CANCELED)
    assert targets.changes(10**9) == []


def test_reports_of_orders_that_are_gone_change_nothing() -> None:
    targets = make_targets()
    tell(targets, 99, ExecKind.FILL, OrderState.FILLED, cum=1)
    assert targets.changes(0) == []


def row(order_id: int, side: Side = Side.BUY, seq: int = 0, cum: float = 0.25) -> OrderRow:
    view = OrderRow()
    view.order_id, view.side, view.order_state = order_id, side, OrderState.WORKING
    view.price_e8, view.qty_e8, view.cum_qty_e8 = 100 * E8, E8, round(cum * E8)
    view.executions_seq = seq
    return view


def test_open_orders_are_adopted_and_a_second_one_of_a_side_is_cancelled() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    targets.adopt(row(7), 0)
    targets.adopt(row(8), 0)
    targets.adopt(row(9, Side.SELL), 0)
    assert targets.resting(Side.BUY) == (100 * E8, 75 * E8 // 100)
    changes = targets.changes(0)
    assert [(c.action, c.order_id) for c in changes] == [(Action.CANCEL, 8), (Action.CANCEL, 9)]


def test_reports_that_a_row_already_includes_are_skipped() -> None:
    targets = make_targets()
    targets.adopt(row(7, seq=20), 0)
    tell(targets, 7, ExecKind.ACK, OrderState.WORKING, price=100, leaves=1, seq=19)
    assert targets.resting(Side.BUY) == (100 * E8, 75 * E8 // 100)
    tell(targets, 7, ExecKind.FILL, OrderState.WORKING, cum=0.5, leaves=0.5, seq=21)
    assert targets.resting(Side.BUY) == (100 * E8, 50 * E8 // 100)


def test_a_lost_answer_heals_by_adopting_anew() -> None:
    targets = make_targets()
    want(targets, Side.BUY, 100, 1)
    offer(targets, 0)
    assert not targets.is_overdue(10_000)
    assert targets.is_overdue(10_001)
    targets.forget_orders()
    assert not targets.is_overdue(10_001)
    assert len(targets.changes(10_001)) == 1


class TargetsAgainstVenue(RuleBasedStateMachine):
    """Random wishes, refusals, fills and losses; whatever happens, the venue converges."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = QuoteTargets(INSTRUMENT, QuoteRules(rest_ns_min=0, refusal_backoff_ns=1))
        self.table = OrderTable(16)
        self.queue: list[tuple[Action, Side, int, int, int]] = []
        self.now_ns = 0
        self.next_id = 1
        self.trade_id = 0

    def publish(self, order: Order, kind: ExecKind) -> None:
        if kind is ExecKind.UNKNOWN:
            return
        view = Execution()
        view.order_id, view.exec_kind, view.order_state = order.order_id, kind, order.state
        view.price_e8, view.qty_e8 = order.price_e8, order.qty_e8
        view.cum_qty_e8, view.leaves_qty_e8 = order.cum_qty_e8, order.leaves_qty_e8
        self.targets.on_execution(view, self.now_ns)
        if order.is_terminal:
            self.table.remove(order.order_id)

    @rule(
        side=st.sampled_from((Side.BUY, Side.SELL)),
        price=st.integers(90, 110),
        qty=st.integers(0, 5),
    )
    def wish(self, side: Side, price: int, qty: int) -> None:
        want(self.targets, side, price, qty)

    @rule(can_offer=st.booleans())
    def turn(self, can_offer: bool) -> None:
        self.now_ns += NS_PER_MS
        for change in self.targets.changes(self.now_ns):
            if not can_offer:
                break
            order_id = change.order_id
            if change.action is Action.PLACE:
                order_id = self.next_id
                self.next_id += 1
            item = (change.action, change.side, change.price_e8, change.qty_e8, order_id)
            self.targets.mark_offered(change, order_id, self.now_ns)
            self.queue.append(item)

    @rule(is_refused=st.booleans())
    def answer(self, is_refused: bool) -> None:
        if not self.queue:
            return
        action, side, price_e8, qty_e8, order_id = self.queue.pop(0)
        if is_refused:
            refuse(self.targets, order_id, action, self.now_ns)
            return
        order = self.table.get(order_id)
        if action is Action.PLACE:
            order = Order(
                order_id=order_id,
                instrument_id=5,
                strategy_id=1,
                side=side,
                price_e8=price_e8,
                qty_e8=qty_e8,
            )
            self.table.add(order)
            self.publish(order, order.place_sent(self.now_ns))
            self.publish(order, order.acknowledge(order_id, self.now_ns))
        elif order is None:
            kind = ExecKind.AMEND_REJECTED if action is Action.AMEND else ExecKind.CANCEL_REJECTED
            tell(self.targets, order_id, kind, OrderState.NONE, now_ns=self.now_ns)
        elif action is Action.AMEND:
            order.amend_sent(price_e8, qty_e8, self.now_ns)
            if qty_e8 <= order.cum_qty_e8:
                self.publish(order, order.canceled(order.cum_qty_e8))
            else:
                self.publish(order, order.amended(price_e8, qty_e8))
        else:
            order.cancel_sent(self.now_ns)
            self.publish(order, order.canceled(order.cum_qty_e8))

    @rule(index=st.integers(0, 5), qty=st.integers(1, 3))
    def trade(self, index: int, qty: int) -> None:
        orders = list(self.table.working())
        if orders:
            order = orders[index % len(orders)]
            self.trade_id += 1
            qty_e8 = min(qty * E8, order.leaves_qty_e8)
            self.publish(order, order.fill(self.trade_id, qty_e8, order.price_e8))

    @rule(index=st.integers(0, 5))
    def expire(self, index: int) -> None:
        orders = list(self.table.working())
        if orders:
            order = orders[index % len(orders)]
            self.publish(order, order.expired(order.cum_qty_e8))

    @rule()
    def restart(self) -> None:
        while self.queue:
            self.answer(False)
        self.targets.forget_orders()
        for order in self.table:
            view = OrderRow()
            order.fill_row(view)
            self.targets.adopt(view, self.now_ns)

    @invariant()
    def one_order_a_side_and_one_question_an_order(self) -> None:
        for side in (Side.BUY, Side.SELL):
            live = [o for o in self.table if o.side is side]
            assert len(live) <= 1
        asked = [item[4] for item in self.queue]
        assert len(asked) == len(set(asked))

    def teardown(self) -> None:
        for _ in range(12):
            self.now_ns += 1_000 * NS_PER_MS
            self.turn(True)
            while self.queue:
                self.answer(False)
        for side in (Side.BUY, Side.SELL):
            price_e8, qty_e8 = self.targets.wanted(side)
            orders = [o for o in self.table if o.side is side]
            assert bool(orders) == bool(qty_e8)
            for order in orders:
                assert abs(order.price_e8 - price_e8) < INSTRUMENT.tick_e8
                assert abs(order.leaves_qty_e8 - qty_e8) * 2 <= qty_e8


TargetsAgainstVenue.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestTargetsAgainstVenue = TargetsAgainstVenue.TestCase


def test_adopted_order_gets_its_time_to_be_answered() -> None:
    """Else an answer that is long due would have everything adopted anew at every look."""
    targets = make_targets()
    view = row(7)
    view.pending, view.request_ns = Action.CANCEL, 1
    now_ns = 10**12
    targets.adopt(view, now_ns)
    assert not targets.is_overdue(now_ns + targets.rules.overdue_ns)
    assert targets.is_overdue(now_ns + targets.rules.overdue_ns + 1)
