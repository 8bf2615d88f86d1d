from __future__ import annotations

import pytest

from hft.core.catalogue import CATALOGUE
from hft.core.policy_text import parse_policy
from hft.errors import ConfigError


def test_a_policy_file_builds_upon_a_built_in_one() -> None:
    found = parse_policy(
        'base = "taker_arb"\n[limits]\norder_notional_max = "250.5"\nopen_orders_max = 3\n', "p"
    )
    assert found == ("taker_arb", {"order_notional_max": "250.5", "open_orders_max": 3})


def test_every_error_is_told_at_once() -> None:
    text = """
bas = "mm_standard"
[limits]
order_notional = "1"
order_notional_max = "much"
open_orders_max = "7"
price_collar_bps = -1
position_notional_max = "5"
gross_notional_max = "4"
feed_age_ms_max = true
"""
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, "desk.toml")
    problems = caught.value.problems
    assert len(problems) == 8
    assert all(problem.startswith("desk.toml: ") for problem in problems)
    assert "Did you mean base?" in problems[0]
    assert "Did you mean order_notional_max?" in "".join(problems)


def test_a_file_that_is_no_toml_says_where() -> None:
    with pytest.raises(ConfigError, match="line 1"):
        parse_policy("= 3", "desk.toml")


def test_limits_have_numbers_of_their_own_and_say_what_they_mean() -> None:
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)
    assert all(spec.meaning and spec.hard for spec in CATALOGUE)
