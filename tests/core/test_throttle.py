from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.throttle import SLOTS_MAX, VenueBudget, WindowLimit
from hft.records import Reason
from hft.units import NS_PER_S


def test_a_window_is_full_at_its_limit_and_opens_when_the_oldest_leaves() -> None:
    window = WindowLimit(2, 100)
    assert window.try_take(0)
    assert window.try_take(50)
    assert not window.try_take(99)
    assert window.try_take(100)
    assert window.used(100) == 2


def test_the_reserve_is_for_cancels_only() -> None:
    window = WindowLimit(10, 100, reserve=3)
    assert sum(window.try_take(0) for _ in range(10)) == 7
    assert window.room(0) == 0
    assert window.room(0, is_cancel=True) == 3
    assert sum(window.try_take(0, is_cancel=True) for _ in range(10)) == 3


def test_what_others_used_is_taken_over_and_leaves_with_the_window() -> None:
    window = WindowLimit(10, 100)
    window.take(0, 4)
    window.set_observed(10, 9)
    window.set_observed(11, 3)
    assert window.used(11) == 9
    assert window.used(100) == 5
    assert window.used(110) == 0


def test_more_than_the_limit_may_be_observed() -> None:
    window = WindowLimit(3, 100)
    for now_ns in range(20):
        window.take(now_ns)
    assert window.used(20) == 20
    assert window.room(20) == 0
    assert window.used(119) == 0


def test_a_limit_of_nothing_allows_nothing_and_counts_what_is_sent_anyway() -> None:
    window = WindowLimit(0, 100)
    assert not window.try_take(0)
    window.take(0)
    window.take(5)
    assert window.used(5) == 2
    assert window.used(105) == 0


@settings(deadline=None)
@given(
    limit=st.integers(0, 6),
    window_ns=st.integers(1, 30),
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3), st.booleans()), max_size=60),
)
def test_any_window_holds_at_most_the_limit_and_refuses_only_then(
    limit: int, window_ns: int, steps: list[tuple[int, int, bool]]
) -> None:
    reserve = limit // 3
    window = WindowLimit(limit, window_ns, reserve=reserve)
    taken: list[tuple[int, int]] = []
    now_ns = 0
    for wait_ns, n, is_cancel in steps:
        now_ns += wait_ns
        used = sum(count for at_ns, count in taken if at_ns > now_ns - window_ns)
        allowed = limit if is_cancel else limit - reserve
        assert window.used(now_ns) == used
        took = window.try_take(now_ns, n, is_cancel=is_cancel)
        assert took == (used + n <= allowed)
        if took:
            taken.append((now_ns, n))


def test_memory_does_not_grow_with_the_limit() -> None:
    window = WindowLimit(1_000_000, 100)
    for now_ns in range(2 * SLOTS_MAX):
        window.take(now_ns * 0)
    assert window.used(0) == 2 * SLOTS_MAX
    assert len(window._stamps) == SLOTS_MAX + 2


def budget() -> VenueBudget:
    return VenueBudget(orders_10s=300, orders_1m=1_200, weight_1m=2_400)


def test_placing_stops_before_the_venue_s_limits_and_cancelling_goes_on() -> None:
    limits = budget()
    placed = 0
    while limits.may_place(0):
        limits.took_place(0)
        placed += 1
    assert placed == 270
    assert limits.place_refusal(0) is Reason.VENUE_LIMIT
    assert limits.may_cancel(0)
    assert limits.may_place(10 * NS_PER_S)


def test_the_minute_counts_beside_the_ten_seconds() -> None:
    limits = budget()
    placed = 0
    for now_ns in range(0, 60 * NS_PER_S, NS_PER_S):
        while limits.may_place(now_ns):
            limits.took_place(now_ns)
            placed += 1
    assert placed == 1_080


def test_queries_leave_the_reserve_to_cancels() -> None:
    limits = budget()
    assert limits.may_query(0, 864)
    assert not limits.may_query(0, 865)
    limits.took_weight(0, 864)
    assert not limits.may_query(0)
    cancels = 0
    while limits.may_cancel(0):
        limits.took_cancel(0)
        cancels += 1
    assert cancels == 216


def test_a_ban_stops_everything_until_it_ends() -> None:
    limits = budget()
    limits.block(5_000)
    limits.block(2_000)
    assert limits.place_refusal(4_999) is Reason.VENUE_BANNED
    assert limits.cancel_refusal(4_999) is Reason.VENUE_BANNED
    assert not limits.may_query(4_999)
    assert limits.may_place(5_000)


def test_the_venue_s_counts_are_taken_over() -> None:
    limits = budget()
    limits.observe_orders(0, 270, -1)
    assert not limits.may_place(0)
    limits.observe_weight(0, 1_080, others=80)
    assert limits.weight_1m.used(0) == 1_000


def test_the_budget_shows_its_windows_and_refuses_impossible_shares() -> None:
    limits = budget()
    assert limits.orders_10s.limit == 270
    assert limits.weight_1m.reserve == 216
    with pytest.raises(AssertionError):
        VenueBudget(orders_10s=1, orders_1m=1, weight_1m=1, limit_use=1.5)
    with pytest.raises(AssertionError):
        WindowLimit(1, 0)


def test_a_pause_stops_orders_and_queries_but_no_cancel() -> None:
    budget = VenueBudget(orders_10s=10, orders_1m=100, weight_1m=1_000)
    budget.pause(5 * NS_PER_S)
    budget.pause(3 * NS_PER_S)
    assert budget.paused_until_ns == 5 * NS_PER_S
    assert budget.place_refusal(4 * NS_PER_S) is Reason.VENUE_LIMIT
    assert budget.cancel_refusal(4 * NS_PER_S) is Reason.NONE
    assert not budget.may_query(4 * NS_PER_S)
    assert budget.place_refusal(5 * NS_PER_S) is Reason.NONE
    assert budget.may_query(5 * NS_PER_S)
