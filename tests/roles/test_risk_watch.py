"""Risk between intents: breakers, limits at run time, paper apart from live, the audit trail."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from hft import counters, graph
from hft.core.assets import ASSET_IDS
from hft.core.catalogue import CATALOGUE, LIMITS_BY_NAME, UNLIMITED
from hft.core.generated.views import (
    Alert,
    Balance,
    Execution,
    Intent,
    MarkPrice,
    Position,
    TopOfBook,
)
from hft.core.order_id import make_order_id
from hft.core.policies import POLICY_VERSION
from hft.records import (
    Action,
    AlertCode,
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
from hft.roles import audit_file, limits_file
from hft.roles.audit_trail import AuditTrail
from hft.roles.risk import Risk
from hft.roles.risk_watch import VOLATILITY_HALT_NS, _StrategyUse
from hft.units import E8, NS_PER_MS, NS_PER_S
from ipc import Command

BTC = 1


class Desk:
    """Risk and its neighbours; time is counted by hand from now on."""

    def __init__(self, house) -> None:
        self.house = house
        self.now_ns = time.monotonic_ns()
        self.account, self.execution = house.context("account"), house.context("execution")
        self.strategy, self.feed = house.context("strategy"), house.context("feed")
        self.account.page.set_gauge(counters.AGREES.id, 1)
        self.account.page.set_gauge(counters.RECONCILED_NS.id, 1)
        self._tops, buffer = self.feed.cell_writer("tops")
        self._top = TopOfBook(buffer)
        self._marks, buffer = self.feed.cell_writer("marks")
        self._mark = MarkPrice(buffer)
        self._positions, buffer = self.account.cell_writer("positions")
        self._position = Position(buffer)
        self._intents, buffer = self.strategy.ring_writer("intents.strategy")
        self._intent = Intent(buffer)
        self._executions, buffer = self.execution.ring_writer("executions")
        self._execution = Execution(buffer)
        self._decisions, self._decision_buffer = self.execution.ring_reader("decisions")
        self._seq = 0
        self.market(100)
        self.risk = self.begin()

    def begin(self) -> Risk:
        """A life of risk."""
        self.context = self.house.context("risk")
        risk = Risk(self.context)
        risk.on_start(self.now_ns)
        return risk

    def restart(self) -> None:
        """Risk dies, and a successor begins."""
        self.house.end(self.context)
        self.risk = self.begin()
        self.turn()

    def arm(self) -> None:
        self.command("arm", reason="test")

    def command(self, name: str, **arguments: object) -> None:
        self.context.commands.send(
            self.context.source, Command.make(name, sender="test", **arguments)
        )
        self.turn()

    def turn(self, ms: int = 100) -> None:
        """Time goes on; everybody but risk has beaten."""
        self.now_ns += ms * NS_PER_MS
        self.account.page.beat(self.now_ns)
        self.market()
        self.risk.do_work(self.now_ns)

    def market(self, price: float | None = None, spread: float = 0.2) -> None:
        top = self._top
        if price is not None:
            top.bid_e8, top.ask_e8 = (
                round((price - spread / 2) * E8),
                round((price + spread / 2) * E8),
            )
            self._mark.mark_e8 = round(price * E8)
        top.kind, top.instrument_id = int(Kind.TOP_OF_BOOK), BTC
        top.as_of_ns, top.feed_state = self.now_ns, int(FeedState.LIVE)
        self._tops.write(BTC)
        self._mark.kind, self._mark.instrument_id = int(Kind.MARK_PRICE), BTC
        self._mark.as_of_ns = self.now_ns
        self._marks.write(BTC)

    def profit(self, value: float) -> None:
        self._position.instrument_id = BTC
        self._position.realised_pnl_e8 = round(value * E8)
        self._positions.write(graph.position_cell(Mode.LIVE, BTC))

    def ask(self, mode: Mode = Mode.LIVE, qty: float = 1, strategy_id: int = 1) -> Reason:
        """Place a bid; what risk says of it."""
        self._seq += 1
        intent = self._intent
        intent.clear()
        intent.kind, intent.mode, intent.instrument_id = int(Kind.INTENT), int(mode), BTC
        intent.order_id = make_order_id(strategy_id, self.strategy.epoch, self._seq)
        intent.strategy_id, intent.action = strategy_id, int(Action.PLACE)
        intent.side, intent.order_type = int(Side.BUY), int(OrderType.LIMIT)
        intent.price_e8, intent.qty_e8 = self._mark.mark_e8, round(qty * E8)
        intent.tif, intent.is_post_only = int(Tif.GTC), 1
        intent.decide_ns = self.now_ns
        assert self._intents.offer()
        self.risk.do_work(self.now_ns)
        assert self._decisions.next()
        self._decisions.commit()
        self.order_id = intent.order_id
        return Reason(int.from_bytes(self._decision_buffer[112:114], "little"))

    def report(
        self, kind: ExecKind, state: OrderState, reason: Reason = Reason.NONE, trade_id: int = 0,
        *, price: float = 0, fee: float = 0, side: Side = Side.BUY,
    ) -> None:  # fmt: skip
        """What became of the last order."""
        record = self._execution
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), int(Mode.LIVE), BTC
        record.order_id, record.exec_kind, record.side = self.order_id, int(kind), int(side)
        record.order_state, record.reason, record.trade_id = int(state), int(reason), trade_id
        record.qty_e8 = record.cum_qty_e8 = E8 if kind == ExecKind.FILL else 0
        record.price_e8 = round(price * E8) or self._top.bid_e8
        record.fee_e8, record.fee_asset_id = round(fee * E8), ASSET_IDS["USDT"]
        assert self._executions.offer()
        self.risk.do_work(self.now_ns)

    def funding(self, bps: float) -> None:
        self._mark.funding_rate_e8 = round(bps * E8 / 10_000)
        self.market()

    def shown(self, name: str) -> Alert:
        """The published use of a limit."""
        reader, buffer = self.strategy.cell_reader("limits")
        assert reader.read(LIMITS_BY_NAME[name].number)
        return Alert(buffer)

    def set_limits(self, **values: int) -> None:
        """As ``hft risk set`` does, without asking for steps: risk begins again with them."""
        limits_file.save(self.house.run_dir, limits_file.SavedLimits(1, values))
        self.restart()


@pytest.fixture
def desk(house) -> Desk:
    desk = Desk(house)
    desk.arm()
    return desk


def acts(desk: Desk) -> list[tuple[AlertCode, str]]:
    reader, buffer = desk.context.observer("acts", 1)
    record, found = Alert(buffer), []
    while reader.next():
        found.append((AlertCode(record.code), record.text.rstrip(b"\0").decode()))
    return found


def codes(desk: Desk) -> list[AlertCode]:
    return [code for code, _ in acts(desk)]


# -- modes ----------------------------------------------------------------------------------------


def test_paper_and_observed_orders_do_not_use_live_limits(desk: Desk) -> None:
    for mode in (Mode.PAPER, Mode.OBSERVE, Mode.LIVE):
        assert desk.ask(mode, qty=15) is Reason.NONE
        assert desk.ask(mode, qty=14) is Reason.NONE
        assert desk.ask(mode, qty=13) is Reason.OPEN_ORDERS_MAX


def test_an_observed_order_is_forgotten_once_execution_has_dropped_it(desk: Desk) -> None:
    assert desk.ask(Mode.OBSERVE) is Reason.NONE
    desk.report(ExecKind.DROPPED, OrderState.NONE, Reason.NOT_LIVE)
    assert desk.ask(Mode.OBSERVE) is Reason.NONE
    assert desk.ask(Mode.OBSERVE, qty=2) is Reason.NONE
    assert desk.ask(Mode.OBSERVE, qty=3) is Reason.OPEN_ORDERS_MAX


# -- breakers -------------------------------------------------------------------------------------


def test_repeated_executions_pause_the_strategy_until_a_person_lets_it_go_on(desk: Desk) -> None:
    desk.set_limits(executions_per_minute_max=2)
    for trade_id in (1, 2, 3):
        assert desk.ask() is Reason.NONE
        desk.report(ExecKind.FILL, OrderState.FILLED, trade_id=trade_id)
        desk.turn()
    assert desk.ask() is Reason.STRATEGY_PAUSED
    desk.restart()
    assert desk.ask() is Reason.STRATEGY_PAUSED
    desk.turn(61_000)
    assert desk.ask() is Reason.STRATEGY_PAUSED
    desk.command("resume", strategy_id=1, reason="seen")
    assert desk.ask() is Reason.NONE
    assert AlertCode.STRATEGY_PAUSED in codes(desk)
    assert AlertCode.STRATEGY_RESUMED in codes(desk)


def test_rejections_pause_a_strategy_but_a_maker_s_daily_ones_do_not(desk: Desk) -> None:
    for _ in range(9):
        assert desk.ask() is Reason.NONE
        desk.report(ExecKind.REJECTED, OrderState.REJECTED, Reason.VENUE_POST_ONLY)
        desk.turn()
    for _ in range(6):
        assert desk.ask() is Reason.NONE
        desk.report(ExecKind.REJECTED, OrderState.REJECTED, Reason.VENUE_MARGIN)
        desk.turn()
    assert desk.ask() is Reason.STRATEGY_PAUSED
    assert desk.ask(strategy_id=2) is Reason.NONE


def test_a_loss_lets_positions_only_shrink_and_a_drawdown_stops_everything(desk: Desk) -> None:
    desk.profit(0)
    desk.turn()
    desk.profit(-101)  # beyond 0.1 % of 100,000 within a minute
    desk.turn()
    assert desk.ask() is Reason.LOSS_MAX
    desk.turn(61_000)
    assert desk.ask() is Reason.NONE
    desk.profit(-1_001)
    desk.turn()
    assert desk.context.halt.is_set
    assert "drawdown_max" in desk.context.halt.reason()
    assert desk.ask() is Reason.TRADING_HALTED
    desk.arm()
    desk.turn(61_000)
    assert desk.ask() is Reason.NONE, "losses count from the arming on"


def test_a_successor_measures_losses_from_where_its_predecessor_began(desk: Desk) -> None:
    desk.profit(0)
    desk.turn()
    desk.restart()
    desk.profit(-600)
    desk.turn(61_000)
    assert desk.ask() is Reason.LOSS_MAX


def test_a_market_that_jumps_lets_the_position_only_shrink_for_a_minute(desk: Desk) -> None:
    desk.market(100)
    desk.turn()
    desk.market(100.6)
    desk.turn()
    assert desk.ask() is Reason.VOLATILITY_HALT
    desk.turn(VOLATILITY_HALT_NS // NS_PER_MS + 1_000)
    assert desk.ask() is Reason.NONE


def test_a_wide_market_lets_positions_only_shrink(desk: Desk) -> None:
    desk.market(100, spread=0.6)
    desk.turn()
    assert desk.ask() is Reason.SPREAD_HALT


@pytest.mark.parametrize(
    ("gauge", "value_ns", "reason"),
    [
        (counters.CLOCK_OFFSET_NS, -501 * NS_PER_MS, Reason.CLOCK_OFFSET_MAX),
        (counters.ROUND_TRIP_NS, 1_001 * NS_PER_MS, Reason.ROUND_TRIP_MAX),
    ],
)
def test_a_host_or_venue_that_is_slow_lets_positions_only_shrink(
    desk: Desk, gauge: counters.GaugeSpec, value_ns: int, reason: Reason
) -> None:
    desk.execution.page.state = int(counters.RoleState.READY)
    desk.execution.page.set_gauge(counters.SESSION_UP.id, 1)
    desk.execution.page.set_gauge(gauge.id, value_ns)
    desk.turn()
    assert desk.ask() is reason
    desk.execution.page.set_gauge(gauge.id, 0)
    desk.turn(11_000)
    assert desk.ask() is Reason.NONE


def test_an_order_unknown_for_too_long_is_first_hard_and_then_an_emergency(desk: Desk) -> None:
    assert desk.ask() is Reason.NONE
    desk.report(ExecKind.UNRESOLVED, OrderState.UNRESOLVED)
    desk.turn(9_000)
    assert desk.ask(qty=2) is Reason.NONE
    desk.report(ExecKind.CANCELED, OrderState.CANCELED)
    desk.turn(2_000)
    assert desk.ask(qty=3) is Reason.UNRESOLVED_AGE
    desk.turn(50_000)
    assert desk.context.halt.is_set


def test_a_position_far_beyond_its_limit_stops_everything(desk: Desk) -> None:
    assert desk.ask(qty=15) is Reason.NONE
    desk.market(500)
    desk.turn()
    assert not desk.context.halt.is_set
    desk.market(750)
    desk.ask()
    desk.turn()
    assert "position_notional_max" in desk.context.halt.reason()


def test_cancelling_much_more_than_placing_pauses_the_strategy() -> None:
    use = _StrategyUse()
    assert use.cancels.update(0, 1, 1) == 0
    assert use.cancels.update(300, 2, 2) == 300


def test_a_price_of_ours_that_moves_too_far_in_a_minute_is_refused_until_it_is_over(
    desk: Desk,
) -> None:
    desk.set_limits(drift_1m_bps_max=50, move_1s_bps_max=9_999, move_1m_bps_max=9_999)
    assert desk.ask() is Reason.NONE
    desk.report(ExecKind.CANCELED, OrderState.CANCELED)
    desk.market(100.6)
    assert desk.ask() is Reason.PRICE_DRIFT
    desk.turn(500)
    assert desk.shown("drift_1m_bps_max").value_e8 == 0, "what was refused does not count"
    desk.turn(121_000)
    assert desk.ask() is Reason.NONE


def test_a_high_funding_rate_lets_positions_only_shrink(desk: Desk) -> None:
    desk.funding(-31)
    assert desk.ask() is Reason.FUNDING_MAX
    desk.turn(500)
    assert desk.shown("funding_bps_max").value_e8 == 31
    desk.funding(30)
    assert desk.ask() is Reason.NONE


@pytest.mark.parametrize(
    ("name", "price", "fee"),
    [("slippage_1m_bps_max", 100.2, 0.0), ("fee_1m_bps_max", 100.0, 0.04)],
)
def test_fills_that_cost_too_much_pause_the_strategy(
    desk: Desk, name: str, price: float, fee: float
) -> None:
    for number in range(10):
        assert desk.ask() is Reason.NONE
        desk.report(ExecKind.FILL, OrderState.FILLED, trade_id=1 + number, price=price, fee=fee)
        desk.turn(1_100)
    assert desk.ask() is Reason.STRATEGY_PAUSED
    assert any(name in text for code, text in acts(desk) if code is AlertCode.STRATEGY_PAUSED)
    assert desk.ask(strategy_id=2) is Reason.NONE


def test_many_places_without_a_trade_pause_the_strategy() -> None:
    use = _StrategyUse()
    assert use.places.update(0, 0, 1) == 0
    assert use.places.update(300, 0, 2) == 300


def test_a_strategy_that_errs_again_and_again_is_paused(desk: Desk) -> None:
    for _ in range(11):
        assert desk.ask(qty=0.0001) is Reason.QTY_OFF_STEP
    desk.turn()
    assert desk.ask() is Reason.STRATEGY_PAUSED
    assert not desk.context.halt.is_set


@pytest.mark.parametrize(
    ("qty", "times", "reason"),
    [(21, 3, Reason.ORDER_NOTIONAL_MAX), (1, 5, Reason.DUPLICATE)],
)
def test_orders_too_large_or_doubled_in_a_row_stop_everything(
    desk: Desk, qty: float, times: int, reason: Reason
) -> None:
    if reason is Reason.DUPLICATE:
        assert desk.ask(qty=qty) is Reason.NONE
    desk.turn()
    if reason is Reason.DUPLICATE:
        desk.report(ExecKind.CANCELED, OrderState.CANCELED)
        assert desk.ask(qty=qty) is Reason.NONE
    for number in range(times):
        assert not desk.context.halt.is_set, number
        assert desk.ask(qty=qty) is reason
    desk.turn()
    assert desk.context.halt.is_set
    assert f"{times} orders" in desk.context.halt.reason()


def test_the_margin_that_the_venue_keeps_lets_positions_only_shrink(desk: Desk) -> None:
    for row, (asset, available, is_checked) in enumerate(
        (("BNB", 0, True), ("USDT", 49, False), ("USDT", 50, True), ("USDT", 49, True))
    ):
        cells, buffer = desk.account.cell_writer("balances")
        balance = Balance(buffer)
        balance.asset_id, balance.venue_wallet_e8 = ASSET_IDS[asset], 100 * E8
        balance.available_e8, balance.reconciled_ns = available * E8, desk.now_ns * is_checked
        cells.write(graph.balance_cell(Mode.LIVE, min(row, 1)))
        desk.turn(2_000)
        is_too_much = (asset, available, is_checked) == ("USDT", 49, True)
        assert desk.ask() is (Reason.MARGIN_USED_MAX if is_too_much else Reason.NONE)
        if not is_too_much:
            desk.report(ExecKind.CANCELED, OrderState.CANCELED)
    assert desk.shown("margin_used_bps_max").value_e8 == 5_100


def margin(desk: Desk, ratio_bps: int) -> None:
    cells, buffer = desk.account.cell_writer("balances")
    balance = Balance(buffer)
    balance.asset_id, balance.margin_ratio_bps = ASSET_IDS["USDT"], ratio_bps
    balance.reconciled_ns = desk.now_ns
    cells.write(graph.balance_cell(Mode.LIVE, 0))


def test_a_margin_ratio_beyond_its_limit_lets_positions_only_shrink_twice_it_stops(
    desk: Desk,
) -> None:
    for ratio_bps, reason in ((2_500, Reason.NONE), (2_501, Reason.MARGIN_RATIO_MAX)):
        margin(desk, ratio_bps)
        desk.turn(2_000)
        assert desk.ask() is reason
        desk.report(ExecKind.CANCELED, OrderState.CANCELED)
    assert desk.shown("margin_ratio_bps_max").value_e8 == 2_501
    margin(desk, 5_000)
    desk.turn()
    assert not desk.context.halt.is_set
    margin(desk, 5_001)
    desk.turn()
    assert "margin_ratio_bps_max" in desk.context.halt.reason()


@pytest.mark.parametrize("side", [1, -1])
def test_a_liquidation_price_near_the_mark_lets_positions_only_shrink_nearer_it_stops(
    desk: Desk, side: int
) -> None:
    position, cell = desk._position, graph.position_cell(Mode.LIVE, BTC)
    for away, layer in ((25, 0), (20, 1), (10, 1), (9.99, 2), (5, 2), (4.99, 2), (-1, 2)):
        position.instrument_id, position.position_e8 = BTC, side * E8
        position.mark_e8, position.liquidation_e8 = 100 * E8, round((100 - side * away) * E8)
        desk._positions.write(cell)
        desk.turn(2_000)
        assert desk.shown("liquidation_bps_min").value_e8 == max(0, round(away * 100))
        assert desk.shown("liquidation_bps_min").severity == layer
        is_growth_refused = desk.risk._book.growth_reason is Reason.LIQUIDATION_NEAR
        assert is_growth_refused == (layer == 2)
        assert desk.context.halt.is_set == (away < 5)
    assert "liquidation_bps_min: 499 is below 500" in desk.context.halt.reason()
    position.position_e8 = position.liquidation_e8 = 0
    desk._positions.write(cell)
    desk.turn(2_000)
    assert desk.shown("liquidation_bps_min").value_e8 == -1
    assert desk.risk._book.growth_reason is Reason.NONE


def test_missed_renewals_of_the_countdown_lessen_and_then_stop_trading(desk: Desk) -> None:
    desk.execution.page.state = int(counters.RoleState.READY)
    desk.execution.page.set_gauge(counters.SESSION_UP.id, 1)
    for missed, reason in ((1, Reason.NONE), (2, Reason.COUNTDOWN_MISSED), (0, Reason.NONE)):
        desk.execution.page.set_gauge(counters.COUNTDOWN_MISSED.id, missed)
        desk.turn()
        assert desk.ask() is reason
        desk.report(ExecKind.CANCELED, OrderState.CANCELED)
    desk.execution.page.set_gauge(counters.COUNTDOWN_MISSED.id, 3)
    desk.turn()
    assert "countdown_missed_max" in desk.context.halt.reason()


def test_without_news_of_fills_positions_may_only_shrink(desk: Desk) -> None:
    desk.execution.page.state = int(counters.RoleState.READY)
    for is_up, reason in ((1, Reason.NONE), (0, Reason.USER_STREAM_DOWN), (1, Reason.NONE)):
        desk.execution.page.set_gauge(counters.SESSION_UP.id, is_up)
        desk.turn(1_000)
        assert desk.risk._book.growth_reason is Reason.NONE  # it may come back
        desk.turn(1_100)
        assert desk.ask() is reason
        desk.report(ExecKind.CANCELED, OrderState.CANCELED)


def test_too_many_unknown_orders_stop_everything(desk: Desk) -> None:
    desk.set_limits(unresolved_max=1, open_orders_max=9)
    order_ids = []
    for qty in (1, 2, 3, 4):
        assert desk.ask(qty=qty) is Reason.NONE
        order_ids.append(desk.order_id)
    for desk.order_id in order_ids:
        assert not desk.context.halt.is_set
        desk.report(ExecKind.UNRESOLVED, OrderState.UNRESOLVED)
        desk.turn()
    assert "unresolved_max" in desk.context.halt.reason()


# -- limits at run time ---------------------------------------------------------------------------


def test_a_change_holds_at_once_has_a_version_and_outlives_risk(desk: Desk, house) -> None:
    limits_file.save(house.run_dir, limits_file.SavedLimits(1, {"open_orders_max": 1}))
    desk.command("limits")
    for _ in range(2):
        assert desk.context.page.gauge(counters.LIMITS_VERSION.id) == POLICY_VERSION + 1
        assert desk.risk._book.limits.open_orders_max == 1
        desk.restart()
    assert desk.ask(Mode.PAPER) is Reason.NONE
    assert desk.ask(Mode.PAPER, qty=2) is Reason.OPEN_ORDERS_MAX


@pytest.mark.parametrize(
    "content", [b"nonsense", b'{"changes":1,"values":{"open_orders_max":99}}',
                b'{"changes":1,"values":{"no_such":1}}', b'{"changes":999,"values":{}}'],
)  # fmt: skip
def test_what_cannot_be_taken_changes_nothing(desk: Desk, house, content: bytes) -> None:
    before = desk.risk._book.limits
    (house.run_dir / limits_file.FILE_NAME).write_bytes(content)
    desk.command("limits")
    assert desk.risk._book.limits == before
    assert desk.context.page.counter(counters.CHANGES_REFUSED.id) == 1
    assert AlertCode.LIMITS_REFUSED in codes(desk)


# -- showing and noting ---------------------------------------------------------------------------


def test_the_use_of_every_limit_is_published(desk: Desk) -> None:
    assert desk.ask(qty=15) is Reason.NONE
    desk.turn(1_000)
    reader, buffer = desk.strategy.cell_reader("limits")
    cell = Alert(buffer)
    for spec in CATALOGUE:
        assert reader.read(spec.number)
        assert cell.limit_e8 == min(spec.of(desk.risk._book.limits), UNLIMITED)
    assert reader.read(LIMITS_BY_NAME["gross_notional_max"].number)
    assert (cell.value_e8, cell.severity) == (1_500 * E8, 0)
    assert reader.read(LIMITS_BY_NAME["open_orders_max"].number)
    assert (cell.value_e8, cell.instrument_id) == (1, BTC)


def test_a_limit_that_is_near_shows_in_the_page(desk: Desk) -> None:
    desk.ask(qty=15)
    desk.ask(qty=14)
    desk.turn()
    spec = LIMITS_BY_NAME["open_orders_max"]
    assert desk.context.page.gauge(counters.SOFT_LIMITS.id) >> spec.number & 1
    assert not desk.context.page.gauge(counters.HARD_LIMITS.id) >> spec.number & 1
    assert desk.context.page.counter(counters.NEAR_LIMITS.id) > 0


def test_each_change_of_the_trading_state_is_an_act(desk: Desk) -> None:
    desk.command("reduce", reason="why not")
    desk.context.halt.set("by hand", "me")
    desk.turn()
    told = [text for code, text in acts(desk) if code is AlertCode.TRADING_STATE]
    assert [text.partition(":")[0] for text in told] == ["HALTED", "ACTIVE", "REDUCING", "HALTED"]
    assert told[2] == "REDUCING: why not (test)"


def await_entries(desk: Desk, is_enough: Callable[[list[str]], bool]) -> list[str]:
    begin_s = time.monotonic()
    while True:
        chain = audit_file.load(desk.house.run_dir)
        events = [entry.event for entry in chain.entries]
        assert chain.problem == ""
        if is_enough(events):
            return events
        assert time.monotonic() - begin_s < 60, events


def test_acts_go_to_the_audit_trail_once_whoever_dies(desk: Desk, house) -> None:
    recorder = house.context("recorder")
    trail = AuditTrail(recorder)
    trail.start()
    await_entries(desk, lambda events: events.count("trading_state") == 2)
    trail.end(60)
    desk.context.halt.set("enough", "me")
    desk.turn()
    successor = AuditTrail(recorder)
    successor.start()
    events = await_entries(desk, lambda events: events.count("trading_state") == 3)
    successor.end(60)
    assert events == ["limits_changed", "trading_state", "trading_state", "trading_state"]
    last = audit_file.load(house.run_dir).entries[-1]
    assert (last.by, last.reason.partition(" (")[0]) == ("risk", "enough")


def test_settings_override_the_policy_file_and_that_the_base(house) -> None:
    config = house.plan.config
    risk = msgspec.structs.replace(
        config.risk,
        policy="mm_standard",
        policy_limits={"open_orders_max": 4, "price_collar_bps": 7},
        limits=msgspec.structs.replace(config.risk.limits, price_collar_bps=8),
    )
    plan = msgspec.structs.replace(house.plan, config=msgspec.structs.replace(config, risk=risk))
    limits = limits_file.configured(plan)
    assert (limits.open_orders_max, limits.price_collar_bps, limits.mark_collar_bps) == (4, 8, 75)
    assert limits.feed_age_ns_max == 300 * NS_PER_MS
    assert limits.leverage_max_e8 == E8
    assert limits.round_trip_ns_max == NS_PER_S
    assert TradingState.HALTED == 0
