"""Ours and the venue's sums are held against each other while both move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hft.roles.reconciliation import LASTING_ROUNDS, Difference, Reconciliation, TradeCheck

SETTLE_NS = 1_000
KEY = ("position", 1)
OTHER = ("wallet", 1)


def compare(
    check: Reconciliation, ours: int, venue: int, now_ns: int, rounding_e8: int = 0
) -> list[Difference]:
    check.begin(now_ns - 10)
    check.compare(KEY, ours, venue, now_ns, rounding_e8=rounding_e8)
    return check.end(now_ns)


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
    assert check.difference_count == 1
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


# -- what lasts -----------------------------------------------------------------------------------


def settle(check: Reconciliation, rounds: int, ours: int = 5, venue: int = 6) -> int:
    """Compare so often, the settling time apart, beginning with a doubt; returns the time."""
    now_ns = 100_000
    for _ in range(rounds + 1):
        now_ns += SETTLE_NS
        compare(check, ours, venue, now_ns)
    return now_ns


def test_difference_lasts_when_it_was_found_the_same_often_enough():
    check = Reconciliation(settle_ns=SETTLE_NS)
    now_ns = settle(check, LASTING_ROUNDS - 1)
    assert check.lasting() == []
    compare(check, 5, 6, now_ns + SETTLE_NS)
    assert check.lasting() == [(KEY, 5, 6)]


def test_repaired_value_agrees():
    check = Reconciliation(settle_ns=SETTLE_NS)
    now_ns = settle(check, LASTING_ROUNDS)
    check.repaired(KEY, 6, now_ns)
    assert check.lasting() == []
    assert check.difference_count == 0
    assert compare(check, 6, 6, now_ns + SETTLE_NS) == []
    assert check.agrees


def test_execution_in_between_begins_the_count_anew():
    check = Reconciliation(settle_ns=SETTLE_NS)
    now_ns = settle(check, LASTING_ROUNDS - 1)
    check.saw(KEY, 7, now_ns)
    check.saw(KEY, 5, now_ns + 1)
    compare(check, 5, 6, now_ns + 3 * SETTLE_NS)
    assert check.lasting() == []
    assert check.differs(KEY)


def test_other_figure_of_the_venue_begins_the_count_anew():
    check = Reconciliation(settle_ns=SETTLE_NS)
    now_ns = settle(check, LASTING_ROUNDS - 1)
    compare(check, 5, 8, now_ns + SETTLE_NS)
    assert check.lasting() == []


def test_starting_over_forgets_rounds_and_no_difference():
    check = Reconciliation(settle_ns=SETTLE_NS)
    settle(check, LASTING_ROUNDS)
    check.start_over()
    assert check.lasting() == []
    assert check.differs(KEY)


def test_rounding_raises_no_doubt_but_lasts():
    check = Reconciliation(settle_ns=SETTLE_NS)
    for number in range(LASTING_ROUNDS):
        compare(check, 5, 6, 10_000 * (number + 1), rounding_e8=1)
        assert check.agrees
        assert not check.is_doubtful
    assert check.lasting() == [(KEY, 5, 6)]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3 * SETTLE_NS)), max_size=30))
def test_moving_book_is_never_called_a_lasting_difference(moves):
    """The venue is always some time ahead of us, and never wrong."""
    check = Reconciliation(settle_ns=SETTLE_NS)
    now_ns, ours = 1_000_000, 0
    check.saw(KEY, 0, 0)
    for change, gap_ns in moves:
        now_ns += gap_ns
        compare(check, ours, ours + change, now_ns)
        now_ns += SETTLE_NS // 2
        ours += change
        check.saw(KEY, ours, now_ns)
        assert check.lasting() == []
    compare(check, ours, ours, now_ns)
    assert check.agrees


# -- trades ---------------------------------------------------------------------------------------


def test_copied_trade_without_execution_becomes_overdue_once():
    check = TradeCheck(settle_ns=SETTLE_NS)
    check.on_drop_copy(1, 77, 1, 0)
    assert check.overdue_trades(SETTLE_NS) == []
    assert check.overdue_trades(SETTLE_NS + 1) == [(1, 77)]
    assert check.overdue_trades(SETTLE_NS + 2) == []


@given(st.permutations([("own", i) for i in range(4)] + [("copy", i) for i in range(4)]))
def test_trades_match_in_any_order(events):
    check = TradeCheck(settle_ns=SETTLE_NS)
    for now_ns, (source, trade_id) in enumerate(events):
        report = check.on_own_trade if source == "own" else check.on_drop_copy
        report(1, trade_id, 1, now_ns)
    assert check.overdue_trades(10 * SETTLE_NS) == []
    assert not check.is_copy_silent(10 * SETTLE_NS)


def test_copy_is_silent_when_nothing_came_around_a_trade():
    check = TradeCheck(settle_ns=SETTLE_NS)
    check.heard(0)
    check.on_own_trade(1, 77, 1, 5 * SETTLE_NS)
    assert not check.is_copy_silent(6 * SETTLE_NS)
    assert check.is_copy_silent(6 * SETTLE_NS + 1)
    assert not check.is_copy_silent(7 * SETTLE_NS)


def test_one_lost_event_is_no_silence():
    check = TradeCheck(settle_ns=SETTLE_NS)
    check.on_own_trade(1, 77, 1, 5 * SETTLE_NS)
    check.heard(5 * SETTLE_NS + 1)
    assert not check.is_copy_silent(7 * SETTLE_NS)
