"""The account as a role: sums of executions that survive a death between any two of their cells."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hft import graph
from hft.config import VenueConfig
from hft.core.generated.views import Balance, Execution
from hft.core.generated.views import Position as PositionCell
from hft.counters import RoleState
from hft.records import ExecKind, Kind, Mode, OrderState
from hft.roles.account import Account
from hft.units import E8
from hft.venues.binance_usdm.reports import BalanceReport, PositionReport

BTC, USDT = 1, 1


class Died(Exception):
    """The process ended here."""


def balance(wallet_e8: int) -> BalanceReport:
    return BalanceReport(
        asset="USDT", wallet_e8=wallet_e8, cross_wallet_e8=wallet_e8, unrealised_pnl_e8=0,
        available_e8=wallet_e8, update_ns=0,
    )  # fmt: skip


def position(position_e8: int) -> PositionReport:
    return PositionReport(
        symbol="BTCUSDT", position_side="BOTH", position_e8=position_e8, entry_price_e8=100 * E8,
        break_even_e8=0, mark_e8=100 * E8, unrealised_pnl_e8=0, notional_e8=0,
        isolated_margin_e8=0, margin_asset="USDT", update_ns=0,
    )  # fmt: skip


class Desk:
    """Execution before the account, and the account's cells behind it."""

    def __init__(self, house, tmp_path) -> None:
        import msgspec

        key = tmp_path / "key"
        key.write_text("key\nsecret\n")
        key.chmod(0o600)
        config = msgspec.structs.replace(house.plan.config, venue=VenueConfig(key_file=str(key)))
        house.plan = msgspec.structs.replace(house.plan, config=config)
        self.house = house
        execution = house.context("execution")
        house.context("risk")
        self._executions, buffer = execution.ring_writer("executions")
        self.record = Execution(buffer)
        self._trade_id = 0
        self.account: Account
        self.context: Any

    def start(self) -> Account:
        self.context = self.house.context("account")
        self.account = Account(self.context)
        self.account.on_start(time.monotonic_ns())
        return self.account

    def fill(self, side: int, qty: int, price: int, fee_e8: int = 7) -> None:
        self._trade_id += 1
        record = self.record
        record.clear()
        record.kind, record.mode, record.instrument_id = int(Kind.EXECUTION), int(Mode.LIVE), BTC
        record.exec_kind, record.order_id = int(ExecKind.FILL), 1 << 56 | self._trade_id
        record.side, record.qty_e8, record.price_e8 = side, qty * E8, price * E8
        record.trade_id, record.fee_e8, record.fee_asset_id = self._trade_id, fee_e8, USDT
        record.order_state = int(OrderState.FILLED)
        assert self._executions.offer()

    def cells(self) -> tuple[int, int, int]:
        """Position, realised profit, wallet, as others read them."""
        reader, buffer = self.house.context("strategy").cell_reader("positions")
        cell = PositionCell(buffer)
        assert reader.read(graph.position_cell(Mode.LIVE, BTC))
        wallets, wallet_buffer = self.house.context("strategy").cell_reader("balances")
        assert wallets.read(0)
        return cell.position_e8, cell.realised_pnl_e8, Balance(wallet_buffer).wallet_e8


@pytest.fixture
def desk(house, tmp_path) -> Desk:
    return Desk(house, tmp_path)


def test_first_life_adopts_what_the_venue_has(desk):
    account = desk.start()
    assert desk.context.page.state == RoleState.RECOVERING
    account._adopt([position(2 * E8)], [balance(1_000 * E8)])
    assert desk.context.page.state == RoleState.READY
    assert desk.cells() == (2 * E8, 0, 1_000 * E8)


def test_fills_move_position_and_wallet(desk):
    account = desk.start()
    account._adopt([], [balance(1_000 * E8)])
    desk.fill(1, 2, 100)
    desk.fill(-1, 1, 103)
    account.do_work(time.monotonic_ns())
    assert desk.cells() == (E8, 3 * E8, 1_003 * E8 - 14)


@pytest.mark.parametrize("step", ["_publish_wallet", "_position", "cursor"])
def test_death_between_two_cells_books_nothing_twice_and_forgets_nothing(desk, monkeypatch, step):
    account = desk.start()
    account._adopt([], [balance(1_000 * E8)])
    desk.fill(1, 2, 100)
    account.do_work(time.monotonic_ns())
    desk.fill(-1, 1, 103)

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
        account.do_work(time.monotonic_ns())
    desk.house.end(desk.context)

    successor = desk.start()
    successor.do_work(time.monotonic_ns())
    assert desk.cells() == (E8, 3 * E8, 1_003 * E8 - 14)


def test_difference_that_stays_is_an_incident_and_agreement_ends_it(desk):
    account = desk.start()
    account._adopt([], [balance(1_000 * E8)])
    started_ns = time.monotonic_ns()
    settle_ns = account._check._settle_ns
    account._compare([position(E8)], [balance(1_000 * E8)], started_ns)
    assert account._check.agrees, "it may still be on its way"
    account._check._suspect_ns = {("position", BTC): started_ns - settle_ns}
    account._compare([position(E8)], [balance(1_000 * E8)], started_ns)
    assert not account._check.agrees
    account._compare([], [balance(1_000 * E8)], started_ns)
    assert account._check.agrees
