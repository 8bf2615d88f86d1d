"""Ours and the venue's sums are held against each other while both move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hft.roles.reconciliation import Reconciliation

SETTLE_NS = 1_000
KEY = ("position", 1)


def compare(check: Reconciliation, ours: int, venue: int, now_ns: int) -> list[object]:
    check.begin(now_ns - 10)
    check.compare(KEY, ours, venue, now_ns)
    return list(check.end(now_ns))


def test_equal_values_agree():
    check = Reconciliation(settle_ns=SETTLE_NS)
    assert compare(check, 5, 5, 100) == []
    assert check.agrees
    assert not check.is_doubtful


def test_nothing_agrees_before_the_first_comparison():
    assert not Reconciliation(settle_ns=SETTLE_NS).agrees


def test_value_that_ours_had_meanwhile_agrees():
    check = Reconciliation(settle_ns=SETTLE_NS)
    check.saw(KEY, 5, 10)
    check.saw(KEY, 7, 95)
    assert compare(check, 7, 5, 100) == []
    assert check.agrees


def test_old_values_do_not_excuse_a_difference():
    check = Reconciliation(settle_ns=SETTLE_NS)
    check.saw(KEY, 5, 10)
    check.saw(KEY, 7, 20)
    check.saw(KEY, 9, 30)
    compare(check, 9, 5, 10_000)
    assert check.is_doubtful


def test_difference_counts_only_after_the_settling_time_and_is_told_once():
    check = Reconciliation(settle_ns=SETTLE_NS)
    compare(check, 5, 5, 100)
    assert compare(check, 5, 6, 10_000) == []
    assert check.agrees, "doubt is not a difference yet"
    assert compare(check, 5, 6, 10_000 + SETTLE_NS) == [(KEY, 5, 6)]
    assert not check.agrees
    assert check.differs(KEY)
    assert compare(check, 5, 6, 20_000) == []
    assert compare(check, 6, 6, 30_000) == []
    assert check.agrees
    assert not check.differs(KEY)


def test_late_execution_removes_the_doubt():
    check = Reconciliation(settle_ns=SETTLE_NS)
    check.saw(KEY, 5, 10)
    compare(check, 5, 6, 100)
    assert check.is_doubtful
    check.saw(KEY, 6, 150)
    assert compare(check, 6, 6, 300) == []
    assert not check.is_doubtful


def test_copied_trade_without_execution_becomes_overdue_once():
    check = Reconciliation(settle_ns=SETTLE_NS)
    check.on_drop_copy(1, 77, 1, 0)
    assert check.overdue_trades(SETTLE_NS) == []
    assert check.overdue_trades(SETTLE_NS + 1) == [(1, 77)]
    assert check.overdue_trades(SETTLE_NS + 2) == []


@given(st.permutations([("own", i) for i in range(4)] + [("copy", i) for i in range(4)]))
def test_trades_match_in_any_order(events):
    check = Reconciliation(settle_ns=SETTLE_NS)
    for now_ns, (source, trade_id) in enumerate(events):
        report = check.on_own_trade if source == "own" else check.on_drop_copy
        report(1, trade_id, 1, now_ns)
    assert check.overdue_trades(10 * SETTLE_NS) == []
