"""Wallets: every move is booked once, whoever tells of it."""

from __future__ import annotations

import random

import pytest

from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Balance
from hft.roles.wallets import MATCH_NS, Wallets, fill_balance
from hft.units import NS_PER_MS
from hft.venues.binance_usdm.reports import IncomeReport
from hft.venues.binance_usdm.user_events import AccountUpdate, BalanceChange

USDT = ASSET_IDS["USDT"]
SYMBOLS = frozenset({"BTCUSDT"})


def event(amount_e8: int, venue_ns: int = 0, *, asset: str = "USDT", wallet_e8: int = 0):
    change = BalanceChange(asset=asset, wallet_e8=wallet_e8, cross_wallet_e8=0, change_e8=amount_e8)
    return AccountUpdate(
        cause="FUNDING_FEE", symbol="BTCUSDT", balances=(change,), positions=(),
        transaction_ns=venue_ns, event_ns=venue_ns,
    )  # fmt: skip


def income(
    amount_e8: int, venue_ns: int = 0, *, kind: str = "FUNDING_FEE", symbol: str = "BTCUSDT"
) -> IncomeReport:
    return IncomeReport(
        symbol=symbol, kind=kind, income_e8=amount_e8, asset="USDT", transaction_id=0,
        trade_id="", venue_ns=venue_ns,
    )  # fmt: skip


def explain(wallets: Wallets, venue_e8: int, rows: list[IncomeReport]) -> list[int]:
    wallet = wallets.of(USDT)
    wallet.venue_e8 = venue_e8
    moves = wallets.explain(wallet, {wallet.wallet_e8}, rows, SYMBOLS)
    return [move.amount_e8 for move in moves]


def test_the_same_event_is_booked_once_and_two_like_it_twice():
    wallets = Wallets()
    assert len(wallets.take_event(event(5, wallet_e8=105))) == 1
    assert wallets.take_event(event(5, wallet_e8=105)) == []
    assert len(wallets.take_event(event(5, wallet_e8=110))) == 1
    assert wallets.of(USDT).wallet_e8 == 10


def test_asset_without_a_common_number_has_no_wallet():
    wallets = Wallets()
    assert wallets.take_event(event(5, asset="SHIB")) == []
    assert list(wallets) == []


def test_rows_are_booked_only_when_they_explain_the_difference_exactly():
    wallets = Wallets()
    assert explain(wallets, 12, [income(5), income(8)]) == []
    assert explain(wallets, 13, [income(5), income(8)]) == [5, 8]
    assert wallets.of(USDT).wallet_e8 == 13


def test_rows_that_the_drop_copy_told_of_are_not_missing():
    wallets = Wallets()
    wallets.take_event(event(5, 250 * NS_PER_MS))
    assert explain(wallets, 13, [income(5), income(8)]) == [8]


def test_an_event_far_from_the_row_is_another_one():
    wallets = Wallets()
    wallets.take_event(event(5))
    assert explain(wallets, 10, [income(5, MATCH_NS + 1)]) == [5]


def test_late_event_of_a_booked_row_is_passed_over_once():
    wallets = Wallets()
    assert explain(wallets, 5, [income(5)]) == [5]
    assert wallets.take_event(event(5, 900 * NS_PER_MS, wallet_e8=1)) == []
    assert len(wallets.take_event(event(5, 900 * NS_PER_MS, wallet_e8=2))) == 1


def test_own_trades_are_no_missing_rows_and_those_of_other_symbols_are():
    wallets = Wallets()
    rows = [
        income(-7, kind="COMMISSION"),
        income(3, kind="REALIZED_PNL"),
        income(-11, kind="COMMISSION", symbol="SOLUSDT"),
    ]
    assert explain(wallets, -4, rows) == []
    assert explain(wallets, -11, rows) == [-11]


@pytest.mark.parametrize("seed", range(50))
def test_any_of_the_newest_rows_may_be_missing(seed):
    choose = random.Random(seed)
    rows = [income(choose.randrange(-(10**12), 10**12), number) for number in range(10)]
    missing = sorted(choose.sample(range(10), choose.randrange(1, 10)))
    wanted = [rows[number].income_e8 for number in missing]
    assert explain(Wallets(), sum(wanted), choose.sample(rows, 10)) == wanted


def test_trade_that_a_predecessor_s_cell_includes_is_not_booked_again():
    wallets = Wallets()
    wallets.book_trade(USDT, 40, 9)
    cell = Balance()
    fill_balance(cell, wallets.of(USDT))
    cell.executions_seq = 9
    successor = Wallets()
    successor.load(cell)
    successor.book_trade(USDT, 40, 9)
    successor.book_trade(USDT, 2, 10)
    assert successor.of(USDT).wallet_e8 == 42
