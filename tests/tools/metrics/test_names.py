"""Names in base units and help in words, derived from the one table."""

from __future__ import annotations

import re

from hft import counters
from hft.graph import OPTIONAL_ROLES, ROLES
from tools.metrics import names


def test_a_monotonic_time_is_exported_as_an_age() -> None:
    moments = {spec for spec in counters.GAUGES if spec.meaning.startswith("monotonic time of")}
    assert moments == names.MOMENTS
    assert names.gauge_name(counters.LAST_FRAME_NS) == "hft_last_frame_age_seconds"
    assert names.gauge_value(counters.LAST_FRAME_NS, 3_000_000_000, 5_500_000_000) == 2.5
    assert names.gauge_value(counters.LAST_FRAME_NS, 0, 5_500_000_000) is None


def test_an_end_is_exported_as_what_is_left() -> None:
    ends = {spec for spec in counters.GAUGES if spec.name.endswith("_until_ms")}
    assert ends == names.ENDS
    assert names.gauge_name(counters.BANNED_UNTIL_MS) == "hft_banned_remaining_seconds"
    assert names.gauge_value(counters.BANNED_UNTIL_MS, 10_000, 7_500_000_000) == 2.5
    assert names.gauge_value(counters.BANNED_UNTIL_MS, 10_000, 17_500_000_000) == 0


def test_durations_are_seconds() -> None:
    assert names.gauge_name(counters.ROUND_TRIP_NS) == "hft_round_trip_seconds"
    assert names.gauge_value(counters.ROUND_TRIP_NS, 1_500_000, 0) == 0.0015
    assert names.gauge_help(counters.ROUND_TRIP_NS) == "last order round trip, seconds"


def test_no_name_carries_another_unit_than_the_base() -> None:
    found = [names.gauge_name(spec) for spec in counters.GAUGES]
    found += [names.counter_name(spec) for spec in counters.COUNTERS]
    found += [names.histogram_name(spec) for spec in counters.HISTOGRAMS]
    assert len(set(found)) == len(found)
    assert not [name for name in found if re.search(r"_(ns|us|ms)$", name)]


def test_every_row_is_somebodys() -> None:
    for counter in counters.COUNTERS:
        assert set(names.counter_roles(counter)) <= {*ROLES, *OPTIONAL_ROLES}
    assert names.counter_roles(counters.WORK) == (*ROLES, *OPTIONAL_ROLES)
    assert names.counter_roles(counters.PAPER_FILLS) == ("paper",)
    assert names.counter_roles(counters.PAPER_FILLS_APPLIED) == ("account",)
    assert names.counter_roles(counters.SENT) == ("execution",)
    assert names.gauge_roles(counters.PERMIT_STATE) == ("risk",)


def test_the_help_of_the_trading_state_names_its_values() -> None:
    assert "2 ACTIVE" in names.gauge_help(counters.PERMIT_STATE)
