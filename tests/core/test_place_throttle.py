"""New orders wait for an overloaded venue, and for a strategy to come to its senses."""

from __future__ import annotations

import pytest

from hft.core.place_throttle import POST_ONLY_REJECTS_MAX, REJECTS_PAUSE_NS, PlaceThrottle
from hft.records import Reason
from hft.units import NS_PER_MS, NS_PER_S

FIRST = 100 * NS_PER_S


def refuse(throttle: PlaceThrottle, count: int, reason: Reason, every_ns: int = 0) -> int:
    for index in range(count):
        throttle.rejected(1, reason, FIRST + index * every_ns)
    return FIRST + (count - 1) * every_ns


def test_at_first_nothing_has_to_be_asked() -> None:
    assert PlaceThrottle().until_ns == 0


def test_five_refusals_for_one_reason_pause_the_strategy_for_that_reason() -> None:
    throttle = PlaceThrottle()
    last_ns = refuse(throttle, 5, Reason.VENUE_FILTER, NS_PER_S)
    assert throttle.until_ns == last_ns + REJECTS_PAUSE_NS
    assert throttle.refusal(1, 0, last_ns) is Reason.VENUE_FILTER
    assert throttle.refusal(1, 1, last_ns) is Reason.VENUE_FILTER
    assert throttle.refusal(2, 0, last_ns) is Reason.NONE
    assert throttle.refusal(1, 0, last_ns + REJECTS_PAUSE_NS) is Reason.NONE


@pytest.mark.parametrize(
    ("count", "every_ns", "reason"),
    [
        (4, 0, Reason.VENUE_FILTER),
        (9, 3 * NS_PER_S, Reason.VENUE_FILTER),
        (9, 0, Reason.VENUE_OVERLOAD),
        (9, 0, Reason.VENUE_RATE_LIMIT),
        (POST_ONLY_REJECTS_MAX - 1, 0, Reason.VENUE_POST_ONLY),
    ],
)
def test_few_slow_or_other_refusals_pause_nothing(
    count: int, every_ns: int, reason: Reason
) -> None:
    throttle = PlaceThrottle()
    refuse(throttle, count, reason, every_ns)
    assert throttle.until_ns == 0


def test_a_maker_is_paused_when_nearly_all_its_orders_would_have_taken() -> None:
    throttle = PlaceThrottle()
    last_ns = refuse(throttle, POST_ONLY_REJECTS_MAX, Reason.VENUE_POST_ONLY, NS_PER_S // 10)
    assert throttle.refusal(1, 0, last_ns) is Reason.VENUE_POST_ONLY


def test_refusals_for_different_reasons_do_not_add_up() -> None:
    throttle = PlaceThrottle()
    refuse(throttle, 4, Reason.VENUE_FILTER)
    refuse(throttle, 4, Reason.VENUE_MARGIN)
    assert throttle.until_ns == 0


def test_overload_pauses_opening_orders_longer_each_time() -> None:
    throttle = PlaceThrottle()
    now_ns, pauses = FIRST, []
    for _ in range(4):
        throttle.overloaded(now_ns)
        throttle.overloaded(now_ns + 1)  # the answers of what was on its way
        assert throttle.refusal(1, 0, now_ns) is Reason.VENUE_OVERLOAD
        assert throttle.refusal(1, 1, now_ns) is Reason.NONE, "what reduces passes"
        pauses.append((throttle.until_ns - now_ns) // NS_PER_MS)
        now_ns = throttle.until_ns
    assert pauses == [200, 400, 800, 800]
    throttle.overloaded(now_ns + 3 * NS_PER_S)
    assert throttle.until_ns == now_ns + 3 * NS_PER_S + 200 * NS_PER_MS


def test_a_standing_reason_holds_until_it_is_taken_back() -> None:
    throttle = PlaceThrottle()
    throttle.stand(Reason.JOURNAL_FULL)
    assert throttle.until_ns > FIRST * 1_000
    assert throttle.refusal(1, 1, FIRST) is Reason.JOURNAL_FULL
    throttle.stand(Reason.NONE)
    assert throttle.until_ns == 0
