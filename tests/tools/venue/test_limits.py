from __future__ import annotations

import pytest

from tools.venue.errors import ApiError
from tools.venue.history import History
from tools.venue.limits import AddressLimit, OrderLimit, Window

MINUTE = 60_000


def test_window_starts_again_at_multiples_of_its_length():
    window = Window(10_000, 5)
    assert window.add(19_999, 3) == 3
    assert window.ends_in_ms(19_999) == 1
    assert window.used(20_000) == 0


def test_weight_over_the_limit_is_refused_until_the_minute_ends():
    limit = AddressLimit("a", History(), weight_per_minute=10, refusals_before_ban=9, ban_s=120)
    limit.spend(1_000, 10)
    with pytest.raises(ApiError) as caught:
        limit.spend(2_000, 1)
    assert (caught.value.code, caught.value.status) == (-1003, 429)
    assert caught.value.retry_after_s == 58
    limit.spend(MINUTE, 1)


def test_address_that_goes_on_is_banned_with_the_time_in_the_text():
    limit = AddressLimit("a", History(), weight_per_minute=1, refusals_before_ban=2, ban_s=120)
    limit.spend(0, 1)
    statuses = []
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            limit.spend(10, 1)
        statuses.append(caught.value.status)
    assert statuses == [429, 429, 418]
    assert "IP(a) banned until 120010." in caught.value.text
    with pytest.raises(ApiError) as caught:
        limit.spend(2 * MINUTE, 1)
    assert caught.value.status == 418
    limit.spend(2 * MINUTE + 10, 1)


def test_order_limits_of_ten_seconds_and_of_one_minute():
    limit = OrderLimit(per_10_s=3, per_minute=4)
    for _ in range(3):
        limit.spend(0, ten_seconds=1, minute=1)
    with pytest.raises(ApiError, match="3 orders per 10 SECOND"):
        limit.spend(9_999, ten_seconds=1, minute=1)
    limit.spend(10_000, ten_seconds=1, minute=1)
    with pytest.raises(ApiError, match="4 orders per MINUTE") as caught:
        limit.spend(20_000, ten_seconds=1, minute=1)
    assert (caught.value.code, caught.value.status) == (-1015, 429)


def test_batch_of_five_counts_once_in_the_minute():
    limit = OrderLimit(per_10_s=10, per_minute=2)
    limit.spend(0, ten_seconds=5, minute=1)
    assert (limit.ten_seconds.used(0), limit.minute.used(0)) == (5, 1)
