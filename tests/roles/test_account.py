"""The account as a role: sums of executions that survive a death between any two of their cells."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from hft import counters, graph
from hft.config import VenueConfig
from hft.core.generated.views import Alert, Balance, Execution
from hft.core.generated.views import Position as PositionCell
from hft.core.positions import Position
from hft.counters import RoleState
from hft.records import AlertCode, ExecKind, Kind, Mode, OrderState, Reason
from hft.roles.account import INCOME_MARGIN_NS, Account
from hft.roles.venue_look import RATIO_BPS_MAX, Look, margin_ratio_bps
from hft.units import E8, NS_PER_MS
from hft.venues.binance_usdm.reports import BalanceReport, IncomeReport, PositionReport
from hft.venues.binance_usdm.user_events import AccountUpdate, BalanceChange, MarginCall

BTC, ETH, USDT = 1, 2, 1
SYMBOLS = {BTC: "BTCUSDT", ETH: "ETHUSDT"}
SETTLE_NS = 1_500 * NS_PER_MS


class Died(Exception):
    """The process ended here."""


class Venue:
    """The account as the venue keeps it."""

    def __init__(self, wallet_e8: int = 1_000 * E8) -> None:
        self.positions = {number: Position(number) for number in SYMBOLS}
        self.wallet_e8 = wallet_e8
        self.mark_e8 = 101 * E8
        self.maintenance_e8 = self.liquidation_e8 = 0
        self.incomes: list[IncomeReport] = []
        self._transaction_id = 0

    def trade(self, instrument_id: int, side: int, qty_e8: int, price_e8: int, fee_e8: int) -> None:
        """One fill of the account, whoever asked for it."""
        position = self.positions[instrument_id]
        self.wallet_e8 += position.apply_fill(side, qty_e8, price_e8, fee_e8) - fee_e8

    def move(self, kind: str, amount_e8: int, venue_ns: int, symbol: str = "") -> AccountUpdate:
        """Money without a trade; returns the event that tells of it."""
        self.wallet_e8 += amount_e8
        self._transaction_id += 1
        self.incomes.append(
            IncomeReport(
                symbol=symbol, kind=kind, income_e8=amount_e8, asset="USDT",
                transaction_id=self._transaction_id, trade_id="", venue_ns=venue_ns,
            )
        )  # fmt: skip
        change = BalanceChange(
            asset="USDT", wallet_e8=self.wallet_e8, cross_wallet_e8=0, change_e8=amount_e8
        )
        return AccountUpdate(
            cause=kind, symbol=symbol, balances=(change,), positions=(),
            transaction_ns=venue_ns + 246 * NS_PER_MS, event_ns=venue_ns,
        )  # fmt: skip

    def look(self, executions_seq: int, started_ns: int) -> Look:
        """What REST answers."""
        positions = {}
        for number, held in self.positions.items():
            held.mark_e8 = self.mark_e8
            positions[number] = PositionReport(
                symbol=SYMBOLS[number], position_side="BOTH", position_e8=held.position_e8,
                entry_price_e8=held.average_price_e8, break_even_e8=0, mark_e8=self.mark_e8,
                unrealised_pnl_e8=held.unrealised_pnl_e8, notional_e8=0, isolated_margin_e8=0,
                margin_asset="USDT", maintenance_margin_e8=self.maintenance_e8,
                liquidation_e8=self.liquidation_e8, update_ns=0,
            )  # fmt: skip
        balance = BalanceReport(
            asset="USDT", wallet_e8=self.wallet_e8, cross_wallet_e8=self.wallet_e8,
            unrealised_pnl_e8=0, available_e8=self.wallet_e8, update_ns=0,
        )  # fmt: skip
        ratio_bps = margin_ratio_bps(balance, positions.values())
        return Look(positions, {USDT: balance}, executions_seq, started_ns, {USDT: ratio_bps})


class Desk:
    """Execution before the account, and the account's cells behind it."""

    def __init__(self, house: Any) -> None:
        key = house.run_dir / "key"
        key.write_text("key\nsecret\n")
        key.chmod(0o600)
        config = msgspec.structs.replace(house.plan.config, venue=VenueConfig(key_file=str(key)))
        house.plan = msgspec.structs.replace(house.plan, config=config)
        self.house, self.venue = house, Venue()
        self.now_ns = 10**12
        self.execution = house.context("execution")
        self.execution.page.state = int(RoleState.READY)
        self.execution.page.set_gauge(counters.SESSION_UP.id, 1)
        house.context("risk")
        self._executions, buffer = self.execution.ring_writer("executions")
        self.record = Execution(buffer)
        self._alerts, alert_buffer = house.context("strategy").ring_reader("alerts", start_seq=1)
        self._alert = Alert(alert_buffer)
        self._trade_id = 0
        self.executed_e8 = dict.fromkeys(SYMBOLS, 0)
        self.account: Account
        self.context: Any

    # -- lives ----------------------------------------------------------------------------------

    def start(self) -> Account:
        """A life of the account."""
        self.context = self.house.context("account")
        self.account = Account(self.context)
        self.account.on_start(self.now_ns)
        return self.account

    def end(self) -> None:
        """That life is over, wherever it was."""
        self.house.end(self.context)

    def begin(self) -> Account:
        """A first life that has adopted what the venue has."""
        account = self.start()
        self.look()
        self.look()
        assert account._is_adopted
        return account

    # -- what happens ---------------------------------------------------------------------------

    def pass_time(self, nanoseconds: int = SETTLE_NS + NS_PER_MS) -> None:
        """Time goes by; execution goes on beating."""
        self.now_ns += nanoseconds
        self.execution.page.beat(self.now_ns)

    def trade(
        self, side: int, qty: int = 1, price: int = 100, *, instrument_id: int = BTC,
        reason: Reason = Reason.NONE, fee_e8: int = 7, is_executed: bool = True,
    ) -> int:  # fmt: skip
        """A fill at the venue, of which execution tells, or not."""
        self.venue.trade(instrument_id, side, qty * E8, price * E8, fee_e8)
        self._trade_id += 1
        if is_executed:
            self.publish(side, qty, price, instrument_id, reason, fee_e8)
        return self._trade_id

    def publish(
        self, side: int, qty: int, price: int, instrument_id: int, reason: Reason, fee_e8: int
    ) -> None:
        """Execution's record of a fill."""
        record = self.clear(ExecKind.FILL, instrument_id, reason)
        record.side, record.qty_e8, record.price_e8 = side, qty * E8, price * E8
        record.trade_id, record.fee_e8, record.fee_asset_id = self._trade_id, fee_e8, USDT
        record.order_state = int(OrderState.FILLED)
        self.executed_e8[instrument_id] += side * qty * E8
        assert self._executions.offer()

    def clear(self, kind: ExecKind, instrument_id: int, reason: Reason) -> Execution:
        """The record buffer, ready to be filled."""
        record = self.record
        record.clear()
        record.kind, record.mode = int(Kind.EXECUTION), int(Mode.LIVE)
        record.instrument_id, record.exec_kind = instrument_id, int(kind)
        record.order_id, record.reason = 1 << 56 | self._trade_id, int(reason)
        return record

    def offer(self) -> None:
        """Publish the record."""
        assert self._executions.offer()

    def work(self) -> None:
        """A turn of the role."""
        self.account.do_work(self.now_ns)

    def look(self, *, incomes: bool = False) -> None:
        """The venue is asked, and answers at once."""
        look = self.venue.look(self.account._executions.newest_seq, self.now_ns)
        since_ns = self.account._agreed_ns - INCOME_MARGIN_NS
        rows = [row for row in self.venue.incomes if incomes and row.venue_ns >= since_ns]
        self.account._take(look, rows, self.now_ns)

    def settle(self, rounds: int = 5, *, incomes: bool = False) -> None:
        """Look as often as it takes to call a difference lasting."""
        for _ in range(rounds):
            self.pass_time()
            self.work()
            self.look(incomes=incomes)

    # -- what others read -----------------------------------------------------------------------

    def cell(self, instrument_id: int = BTC) -> PositionCell:
        """The position as others read it."""
        reader, buffer = self.house.context("strategy").cell_reader("positions")
        assert reader.read(graph.position_cell(Mode.LIVE, instrument_id))
        return PositionCell(buffer)

    def wallet_e8(self) -> int:
        """The wallet as others read it."""
        wallets, buffer = self.house.context("strategy").cell_reader("balances")
        assert wallets.read(0)
        return Balance(buffer).wallet_e8

    def margin_ratio_bps(self) -> int:
        """Beside the wallet."""
        wallets, buffer = self.house.context("strategy").cell_reader("balances")
        assert wallets.read(0)
        return Balance(buffer).margin_ratio_bps

    def gauge(self, spec: counters.GaugeSpec) -> int:
        """A gauge of the account."""
        return self.context.page.gauge(spec.id)

    def count(self, spec: counters.CounterSpec) -> int:
        """A counter of the account."""
        return self.context.page.counter(spec.id)

    def alerts(self) -> list[AlertCode]:
        """What a person was told since the last call."""
        found = []
        while self._alerts.next():
            found.append(AlertCode(self._alert.code))
        return found

    def assert_books_equal_the_venue(self) -> None:
        """To the last digit, and explained."""
        assert self.wallet_e8() == self.venue.wallet_e8
        for number, position in self.venue.positions.items():
            cell = self.cell(number)
            assert cell.position_e8 == position.position_e8
            assert cell.position_e8 == self.executed_e8[number] + cell.adjusted_e8


@pytest.fixture
def desk(house) -> Desk:
    return Desk(house)


# -- the first life -------------------------------------------------------------------------------


def test_first_life_adopts_what_two_looks_show(desk):
    desk.venue.trade(BTC, 1, 2 * E8, 100 * E8, 0)
    desk.start()
    desk.look()
    assert desk.context.page.state == RoleState.RECOVERING
    desk.look()
    assert desk.context.page.state == RoleState.READY
    cell = desk.cell()
    assert (cell.position_e8, cell.adjusted_e8, cell.fills) == (2 * E8, 2 * E8, 0)
    desk.assert_books_equal_the_venue()


def test_execution_between_two_looks_delays_the_adoption(desk):
    account = desk.start()
    desk.look()
    desk.trade(1)
    desk.look()
    assert not account._is_adopted
    desk.look()
    assert account._is_adopted
    desk.work()
    assert desk.cell().position_e8 == E8, "it is in the venue's figure, and not counted again"
    desk.assert_books_equal_the_venue()


def test_execution_after_the_adopted_look_is_applied(desk):
    account = desk.start()
    desk.trade(1)
    desk.look()
    look = desk.venue.look(account._executions.newest_seq, desk.now_ns)
    account._take(look, (), desk.now_ns)
    desk.trade(1, 2)
    desk.work()
    assert desk.cell().position_e8 == 3 * E8
    assert desk.cell().fills == 2
    desk.assert_books_equal_the_venue()


def test_wallet_event_before_the_adoption_asks_for_a_fresh_look(desk):
    account = desk.start()
    desk.look()
    account._on_user_event(desk.venue.move("FUNDING_FEE", 5, desk.now_ns), desk.now_ns)
    desk.look()
    assert not account._is_adopted
    desk.look()
    desk.assert_books_equal_the_venue()


def test_death_in_the_middle_of_the_first_cells_leaves_nothing_to_take_over(desk, monkeypatch):
    account = desk.start()
    desk.venue.trade(ETH, 1, E8, 100 * E8, 0)
    desk.look()
    writer, writes = account._position_cells, []

    class DyingWriter:
        def write(self, index: int) -> None:
            if writes:
                raise Died
            writes.append(index)
            writer.write(index)

    monkeypatch.setattr(account, "_position_cells", DyingWriter())
    with pytest.raises(Died):
        desk.look()
    desk.end()
    successor = desk.start()
    assert not successor._is_adopted
    desk.look()
    desk.look()
    desk.assert_books_equal_the_venue()


# -- executions -----------------------------------------------------------------------------------


def test_fills_move_position_and_wallet(desk):
    desk.begin()
    desk.trade(1, 2, 100)
    desk.trade(-1, 1, 103)
    desk.work()
    assert desk.cell().realised_pnl_e8 == 3 * E8
    assert desk.wallet_e8() == 1_003 * E8 - 14
    desk.assert_books_equal_the_venue()


@pytest.mark.parametrize("step", ["_publish_wallet", "_position", "cursor"])
def test_death_between_two_cells_books_nothing_twice_and_forgets_nothing(desk, monkeypatch, step):
    account = desk.begin()
    desk.trade(1, 2, 100)
    desk.work()
    desk.trade(-1, 1, 103)

    def die(*_arguments: object) -> None:
        raise Died

    class DyingWriter:
        write = staticmethod(die)

    if step == "_publish_wallet":
        monkeypatch.setattr(account, "_publish_wallet", die)
    elif step == "_position":
        monkeypatch.setattr(account, "_position_cells", DyingWriter)
    else:
        monkeypatch.setattr(account, "_publish", lambda: (Account._publish(account), die()))
    with pytest.raises(Died):
        desk.work()
    desk.end()

    desk.start()
    desk.work()
    desk.assert_books_equal_the_venue()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.FOREIGN_ORDER, AlertCode.FOREIGN_TRADE),
        (Reason.LIQUIDATION, AlertCode.LIQUIDATION),
        (Reason.AUTO_DELEVERAGING, AlertCode.AUTO_DELEVERAGING),
        (Reason.SETTLEMENT, AlertCode.SETTLEMENT),
    ],
)
def test_trade_of_somebody_else_is_booked_and_told(desk, reason, code):
    desk.begin()
    desk.trade(-1, 3, reason=reason)
    desk.work()
    desk.assert_books_equal_the_venue()
    assert desk.alerts() == [code]
    assert desk.count(counters.FOREIGN_FILLS) == 1


def test_own_trades_raise_no_alert(desk):
    desk.begin()
    desk.trade(1)
    desk.trade(1, reason=Reason.OWN_RECOVERY)
    desk.work()
    assert desk.alerts() == []
    assert desk.count(counters.FOREIGN_FILLS) == 0


def test_adopted_foreign_order_and_overfill_are_told(desk):
    desk.begin()
    desk.clear(ExecKind.ADOPTED, BTC, Reason.FOREIGN_ORDER)
    desk.offer()
    desk.clear(ExecKind.ADOPTED, BTC, Reason.OWN_RECOVERY)
    desk.offer()
    desk.clear(ExecKind.CANCELED, BTC, Reason.OWN_OVERFILL).order_state = int(OrderState.CANCELED)
    desk.offer()
    desk.work()
    assert desk.alerts() == [AlertCode.FOREIGN_ORDER, AlertCode.OVERFILLED]


def test_execution_of_an_unknown_instrument_is_passed_over(desk):
    desk.begin()
    desk.clear(ExecKind.FILL, 77, Reason.NONE)
    desk.offer()
    desk.work()
    assert not desk.account._executions.backlog


def test_how_near_liquidation_is_stands_in_the_cells(desk):
    desk.venue.maintenance_e8, desk.venue.liquidation_e8 = 100 * E8, 60 * E8
    desk.begin()
    desk.trade(+1)
    desk.work()
    assert desk.cell().liquidation_e8 == 0  # nobody has asked since it was opened
    desk.look()
    assert desk.cell().liquidation_e8 == 60 * E8
    assert desk.cell(ETH).liquidation_e8 == 0  # flat
    assert desk.margin_ratio_bps() == 2_001  # of both symbols, after the fee
    desk.trade(-1, qty=3)
    desk.work()
    assert desk.cell().liquidation_e8 == 0  # that price was of a long position


@pytest.mark.parametrize(
    ("wallet", "unrealised", "isolated", "asset", "ratio_bps"),
    [
        (100, 0, 0, "USDT", 3_000),
        (100, -50, 0, "USDT", 6_000),
        (100, -100, 0, "USDT", RATIO_BPS_MAX),
        (100, 0, 1, "USDT", 0),
        (100, 0, 0, "USDC", 0),
        (0, 0, 0, "USDC", 0),
    ],
)
def test_margin_ratio_counts_what_shares_the_wallet(wallet, unrealised, isolated, asset, ratio_bps):
    balance = BalanceReport(
        asset="USDT", wallet_e8=wallet * E8, cross_wallet_e8=wallet * E8,
        unrealised_pnl_e8=unrealised * E8, available_e8=0, update_ns=0,
    )  # fmt: skip
    row = PositionReport(
        symbol="XRPUSDT", position_side="BOTH", position_e8=E8, entry_price_e8=E8,
        break_even_e8=0, mark_e8=E8, unrealised_pnl_e8=0, notional_e8=0,
        isolated_margin_e8=isolated * E8, margin_asset=asset, maintenance_margin_e8=30 * E8,
        liquidation_e8=0, update_ns=0,
    )  # fmt: skip
    assert margin_ratio_bps(balance, [row]) == ratio_bps


def test_margin_call_is_told(desk):
    account = desk.begin()
    account._on_user_event(MarginCall(symbols=("BTCUSDT",), event_ns=0), desk.now_ns)
    assert desk.alerts() == [AlertCode.MARGIN_CALL]


# -- money without a trade ------------------------------------------------------------------------


def test_funding_is_booked_once_by_the_drop_copy(desk):
    account = desk.begin()
    event = desk.venue.move("FUNDING_FEE", -9, desk.now_ns, "BTCUSDT")
    account._on_user_event(event, desk.now_ns)
    account._on_user_event(event, desk.now_ns)
    desk.settle(incomes=True)
    desk.assert_books_equal_the_venue()
    assert desk.cell().funding_e8 == -9
    assert desk.alerts() == []


def test_money_that_the_drop_copy_missed_comes_from_the_income_history(desk):
    account = desk.begin()
    account._on_user_event(desk.venue.move("FUNDING_FEE", 5, desk.now_ns, "ETHUSDT"), desk.now_ns)
    desk.venue.move("FUNDING_FEE", -9, desk.now_ns, "BTCUSDT")
    desk.venue.move("INSURANCE_CLEAR", -4, desk.now_ns)
    desk.look()
    assert desk.account._check.is_doubtful
    desk.look(incomes=True)
    desk.assert_books_equal_the_venue()
    assert (desk.cell(BTC).funding_e8, desk.cell(ETH).funding_e8) == (-9, 5)
    assert desk.gauge(counters.DIFFERS) == 0
    assert desk.alerts() == [AlertCode.WALLET_MOVED]


def test_event_that_comes_after_its_income_row_is_not_booked_again(desk):
    account = desk.begin()
    event = desk.venue.move("FUNDING_FEE", -9, desk.now_ns, "BTCUSDT")
    desk.look()
    desk.look(incomes=True)
    account._on_user_event(event, desk.now_ns)
    desk.work()
    desk.settle(incomes=True)
    desk.assert_books_equal_the_venue()
    assert desk.cell().funding_e8 == -9


def test_successor_finds_what_its_predecessor_had_not_booked(desk):
    account = desk.begin()
    account._on_user_event(desk.venue.move("FUNDING_FEE", 5, desk.now_ns), desk.now_ns)
    desk.pass_time()
    desk.work()
    desk.end()
    desk.venue.move("TRANSFER", 30 * E8, desk.now_ns)
    desk.start()
    desk.look()
    desk.look(incomes=True)
    desk.assert_books_equal_the_venue()


def test_trades_of_other_symbols_reach_the_wallet_by_the_income_history(desk):
    desk.begin()
    desk.trade(1)
    desk.work()
    desk.venue.move("COMMISSION", -7, desk.now_ns, "BTCUSDT")
    desk.venue.wallet_e8 += 7  # the row of the trade that execution told of
    desk.venue.move("COMMISSION", -11, desk.now_ns, "SOLUSDT")
    desk.look()
    desk.pass_time()
    desk.look()
    desk.pass_time()
    desk.look(incomes=True)
    desk.assert_books_equal_the_venue()


# -- differences ----------------------------------------------------------------------------------


def test_lasting_difference_is_an_incident_first_and_repaired_after_three_comparisons(desk):
    desk.begin()
    desk.trade(1, 2, is_executed=False)
    desk.look()
    assert desk.gauge(counters.AGREES), "it may still be on its way"
    desk.settle(1)
    assert desk.gauge(counters.DIFFERS) == 2, "position and wallet"
    assert not desk.gauge(counters.AGREES)
    assert desk.alerts() == [AlertCode.POSITION_DIFFERS, AlertCode.WALLET_DIFFERS]
    desk.settle(1)
    assert desk.count(counters.ADJUSTMENTS) == 0
    desk.settle(1)
    assert desk.count(counters.ADJUSTMENTS) == 2
    assert desk.gauge(counters.DIFFERS) == 0
    assert desk.cell().adjusted_e8 == 2 * E8
    desk.assert_books_equal_the_venue()
    assert desk.alerts() == [
        AlertCode.POSITION_ADJUSTED,
        AlertCode.WALLET_ADJUSTED,
        AlertCode.AGREES_AGAIN,
    ]


def test_trade_found_late_ends_the_difference_without_an_adjustment(desk):
    desk.begin()
    desk.trade(1, 2, is_executed=False)
    desk.look()
    desk.settle(2)
    desk.publish(1, 2, 100, BTC, Reason.NONE, 7)
    desk.settle(4)
    assert desk.count(counters.ADJUSTMENTS) == 0
    desk.assert_books_equal_the_venue()


def test_nothing_is_adjusted_while_execution_cannot_explain(desk):
    desk.begin()
    desk.trade(1, is_executed=False)
    desk.execution.page.state = int(RoleState.RECOVERING)
    desk.settle(8)
    assert desk.count(counters.ADJUSTMENTS) == 0
    assert desk.gauge(counters.DIFFERS)
    desk.execution.page.state = int(RoleState.READY)
    desk.settle(3)
    desk.assert_books_equal_the_venue()


def test_nothing_is_adjusted_while_the_book_moves(desk):
    desk.begin()
    desk.trade(1, is_executed=False)
    for _ in range(8):
        desk.trade(1)
        desk.settle(1)
    assert desk.cell().adjusted_e8 == 0
    desk.settle(4)
    desk.assert_books_equal_the_venue()


def test_last_digit_that_the_venue_rounds_otherwise_is_no_difference(desk):
    desk.begin()
    desk.trade(1)
    desk.venue.wallet_e8 -= 1
    desk.settle(2)
    assert desk.gauge(counters.DIFFERS) == 0
    desk.settle(2)
    desk.assert_books_equal_the_venue()
    assert desk.count(counters.ADJUSTMENTS) == 0


@pytest.mark.parametrize("is_written", [False, True])
def test_successor_completes_a_repair_and_repeats_none(desk, monkeypatch, is_written):
    account = desk.begin()
    desk.trade(1, 2, is_executed=False)
    desk.settle(3)

    def die() -> None:
        if is_written:
            Account._publish(account)
        raise Died

    monkeypatch.setattr(account, "_publish", die)
    desk.pass_time()
    with pytest.raises(Died):
        desk.look()
    desk.end()
    desk.start()
    desk.settle(6)
    desk.assert_books_equal_the_venue()
    assert desk.cell().adjusted_e8 == 2 * E8
    assert desk.count(counters.ADJUSTMENTS) == (2 if is_written else 4)


def test_successor_that_finds_a_difference_is_ready_once_it_is_sure_of_it(desk):
    desk.begin()
    desk.trade(1, 2, is_executed=False)
    desk.end()
    desk.start()
    desk.settle(1)
    assert desk.context.page.state == RoleState.RECOVERING
    desk.settle(1)
    assert desk.context.page.state == RoleState.READY
    assert desk.gauge(counters.DIFFERS) == 2


def test_position_of_an_odd_price_that_was_there_before_ends_equal_to_the_venue(desk):
    desk.venue.trade(BTC, 1, 7 * E8, 100 * E8 + 1, 0)
    desk.venue.trade(BTC, 1, 4 * E8, 101 * E8 + 3, 0)
    desk.venue.positions[BTC].realised_pnl_e8 = 0
    desk.begin()
    for _ in range(11):
        desk.trade(-1, 1, 103)
    desk.work()
    desk.settle(4)
    desk.assert_books_equal_the_venue()
    assert desk.count(counters.ADJUSTMENTS) == 0


# -- the drop copy --------------------------------------------------------------------------------


def test_drop_copy_that_is_silent_while_executions_come_is_reopened_once(desk, monkeypatch):
    account = desk.begin()
    reopened: list[str] = []

    class Users:
        reconnect = staticmethod(reopened.append)

    monkeypatch.setattr(account, "_users", Users, raising=False)
    desk.context.page.set_gauge(counters.SESSION_UP.id, 1)
    desk.pass_time()
    for _ in range(3):
        desk.trade(1)
        desk.work()
        desk.pass_time()
        desk.work()
    assert len(reopened) == 1
    desk.pass_time()
    account._on_user_event(MarginCall(symbols=(), event_ns=0), desk.now_ns)
    desk.pass_time(11_000 * NS_PER_MS)
    desk.trade(1)
    desk.work()
    account._on_user_event(MarginCall(symbols=(), event_ns=0), desk.now_ns)
    desk.pass_time()
    desk.work()
    assert len(reopened) == 1, "one lost event is not a silent stream"


# -- everything at once ---------------------------------------------------------------------------


class Mortal:
    """A writer whose owner dies before or after one of its stores."""

    def __init__(self, desk: Desk, target: object, name: str) -> None:
        self._desk, self._target, self._name = desk, target, name

    def __getattr__(self, name: str) -> object:
        value = getattr(self._target, name)
        return self._store if name == self._name else value

    def _store(self, *arguments: object) -> None:
        desk = self._desk
        desk.fuse -= 1
        if desk.fuse == 0:
            raise Died
        getattr(self._target, self._name)(*arguments)
        desk.fuse -= 1
        if desk.fuse == 0:
            raise Died


class MortalDesk(Desk):
    """Starts lives that end at a store chosen at random."""

    fuse = 0

    def start(self) -> Account:
        account = super().start()
        self.fuse = 0
        account._position_cells = Mortal(self, account._position_cells, "write")
        account._balance_cells = Mortal(self, account._balance_cells, "write")
        account._executions = Mortal(self, account._executions, "commit")
        return account


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_and_dies_the_books_end_equal_to_the_venue(house, seed):
    choose = random.Random(seed)
    lost = "lost" if seed % 2 else "own"
    desk = MortalDesk(house)
    for _ in range(choose.randrange(3)):
        desk.venue.trade(BTC, choose.choice((1, -1)), E8, choose.randrange(90, 110) * E8, 3)
    desk.begin()

    def act() -> None:
        kind = choose.choice(("own", "own", "own", "foreign", lost, "funding", "look", "work"))
        if kind in ("own", "foreign", "lost"):
            desk.trade(
                choose.choice((1, -1)), choose.randrange(1, 5), choose.randrange(90, 110),
                instrument_id=choose.choice(tuple(SYMBOLS)), fee_e8=choose.randrange(100),
                reason=Reason.FOREIGN_ORDER if kind == "foreign" else Reason.NONE,
                is_executed=kind != "lost",
            )  # fmt: skip
        elif kind == "funding":
            event = desk.venue.move(
                "FUNDING_FEE", choose.randrange(-(10**9), 10**9), desk.now_ns, "BTCUSDT"
            )
            if choose.random() < 0.7:
                desk.account._on_user_event(event, desk.now_ns)
        elif kind == "look":
            desk.pass_time(choose.randrange(2_000 * NS_PER_MS))
            desk.look(incomes=True)
        else:
            desk.pass_time(choose.randrange(200 * NS_PER_MS))
            desk.work()

    def live(step) -> None:
        try:
            step()
        except Died:
            desk.end()
            desk.start()

    for _ in range(60):
        if choose.random() < 0.2:
            desk.fuse = choose.randrange(1, 12)
        live(act)
    desk.fuse = 0
    live(lambda: desk.settle(12, incomes=True))
    desk.assert_books_equal_the_venue()
    assert desk.gauge(counters.AGREES)
    assert desk.gauge(counters.DIFFERS) == 0
    if lost == "own":
        assert desk.count(counters.ADJUSTMENTS) == 0, "everything was there to be booked"
