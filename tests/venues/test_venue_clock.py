"""The venue's clock: a wall clock, and how far it is off."""

from __future__ import annotations

import time

from hft.venues.binance_usdm.venue_clock import VenueClock


def test_it_is_ours_plus_what_was_measured() -> None:
    before_ns = time.time_ns()
    seen_ns = VenueClock(1_000).venue_ns
    assert before_ns + 1_000 <= seen_ns <= time.time_ns() + 1_000


def test_another_wall_clock_may_be_given_and_the_difference_changes() -> None:
    clock = VenueClock(wall_ns=lambda: 1_800_000_000_000_000_000)
    assert clock.venue_ns == 1_800_000_000_000_000_000
    clock.offset_ns = -5
    assert clock.venue_ns == 1_799_999_999_999_999_995
