from __future__ import annotations

import msgspec
import pytest

from hft.config import ManualConfig
from hft.core.policies import POLICIES, UNLIMITED, limits_for, manual_limits_for
from hft.errors import UsageError
from hft.units import E8, NS_PER_MS

EQUITY = 10_000 * E8


def test_money_limits_are_shares_of_the_equity() -> None:
    limits = limits_for("mm_conservative", EQUITY)
    assert limits.order_notional_max_e8 == 200 * E8
    assert limits.position_notional_max_e8 == 1_000 * E8
    assert limits.gross_notional_max_e8 == 3_000 * E8
    assert limits.is_post_only
    assert not limits.is_reducing_only


def test_no_equity_allows_nothing() -> None:
    assert limits_for("mm_standard", 0).order_notional_max_e8 == 0
    assert limits_for("mm_standard", -5 * E8).order_notional_max_e8 == 0


def test_winding_down_is_unlimited_in_position_and_only_reduces() -> None:
    limits = limits_for("wind_down", EQUITY)
    assert limits.position_notional_max_e8 == UNLIMITED
    assert limits.is_reducing_only


def test_observing_allows_no_order() -> None:
    limits = limits_for("observe", EQUITY)
    assert limits.order_notional_max_e8 == limits.open_orders_max == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_can_be_resolved(policy: str) -> None:
    assert limits_for(policy, EQUITY).policy == policy


def test_overrides_win_and_absent_ones_do_not_count() -> None:
    limits = limits_for(
        "demo",
        EQUITY,
        {
            "order_qty_max": "0.5",
            "order_notional_max": "250.25",
            "open_orders_max": 7,
            "feed_age_ms_max": 40,
            "duplicate_window_ms": 0,
            "price_collar_bps": None,
        },
    )
    assert limits.order_qty_max_e8 == E8 // 2
    assert limits.order_notional_max_e8 == 25_025 * E8 // 100
    assert limits.open_orders_max == 7
    assert limits.feed_age_ns_max == 40 * NS_PER_MS
    assert limits.price_collar_bps == limits_for("demo", EQUITY).price_collar_bps


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'mm_bold'") as caught:
        limits_for("mm_bold", EQUITY)
    assert "mm_conservative" in caught.value.remedy


@pytest.mark.parametrize(
    "overrides", [{"order_notional": "1"}, {"open_orders_max": "7"}, {"order_qty_max": "much"}]
)
def test_an_override_that_is_none_is_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        limits_for("demo", EQUITY, overrides)


MANUAL = msgspec.structs.asdict(ManualConfig(enabled=True))


def test_by_hand_there_is_nothing_unless_it_is_switched_on() -> None:
    limits = limits_for("demo", 100_000 * E8)
    assert manual_limits_for(limits, msgspec.structs.asdict(ManualConfig())) is None


def test_by_hand_the_limits_are_shares_of_the_policy() -> None:
    limits = limits_for("mm_conservative", 100_000 * E8)
    manual = manual_limits_for(limits, MANUAL)
    assert manual is not None
    assert manual.order_notional_max_e8 == limits.order_notional_max_e8 // 4 == 500 * E8
    assert manual.position_notional_max_e8 == limits.position_notional_max_e8 // 2
    assert manual.gross_notional_max_e8 == limits.gross_notional_max_e8
    assert (manual.messages_per_s_max, manual.messages_per_minute_max) == (2, 60)
    assert manual.price_collar_bps == limits.price_collar_bps
    assert limits.is_post_only
    assert not manual.is_post_only


def test_by_hand_no_setting_is_wider_than_the_policy() -> None:
    limits = limits_for("observe", 100_000 * E8)
    wide = MANUAL | {
        "order_qty_max": "5",
        "order_notional_max": "1000000",
        "position_notional_max": "1000000",
        "price_collar_bps": 500,
        "messages_per_s_max": 100,
    }
    manual = manual_limits_for(limits, wide)
    assert manual is not None
    assert manual.order_qty_max_e8 == 5 * E8
    assert manual.order_notional_max_e8 == manual.position_notional_max_e8 == 0
    assert manual.price_collar_bps == limits.price_collar_bps
    assert manual.messages_per_s_max == limits.messages_per_s_max == 0
