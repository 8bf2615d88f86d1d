"""What an error answer proves."""

from __future__ import annotations

import json

import pytest

from hft.records import Reason
from hft.venues.binance_usdm.errors import FAULTS, banned_until_ms, classify


@pytest.mark.parametrize(
    ("code", "status", "text", "is_definite"),
    [
        (-2019, 400, "Margin is insufficient.", True),
        (-5022, 400, "", True),
        (-1000, 503, "Unknown error, please check your request or try again later.", False),
        (0, 503, "Unknown error, please check your request or try again later.", False),
        (0, 503, "Service Unavailable.", True),
        (-1008, 503, "Request throttled by system-level protection.", True),
        (-1001, 503, "Internal error; unable to process your request. Please try again.", False),
        (0, 502, "<html>Bad Gateway</html>", False),
        (0, 500, "Request occur unknown error.", False),
        (-1007, 408, "", False),
        (0, 408, "", False),
        (-1006, 400, "", False),
        (-4116, 400, "", False),
        (-1015, 429, "", True),
        (-1003, 418, "banned until 1795350600000", True),
        (0, 403, "<html>", True),
        (-9999, 400, "something new", True),
    ],
)
def test_only_what_is_certain_is_called_definite(code, status, text, is_definite):
    assert classify(code, status, text).is_definite is is_definite


def test_an_order_the_venue_does_not_know_may_have_been_filled():
    for code in (-2011, -2013):
        assert classify(code, 400).is_order_unknown
    assert not classify(-2019, 400).is_order_unknown


def test_what_already_holds_counts_as_done():
    for code in (-4046, -4059, -4171, -5027):
        assert classify(code, 400).is_satisfied


def test_reasons_tell_the_strategy_what_to_change():
    assert classify(-5022, 400).reason is Reason.VENUE_POST_ONLY
    assert classify(-2019, 400).reason is Reason.VENUE_MARGIN
    assert classify(-4164, 400).reason is Reason.VENUE_FILTER
    assert classify(-1015, 429).reason is Reason.VENUE_RATE_LIMIT
    assert classify(-1021, 400).reason is Reason.VENUE_TIMESTAMP
    assert classify(-2022, 400).reason is Reason.VENUE_REDUCE_ONLY
    assert classify(-7777, 400).reason is Reason.VENUE_REJECTED


def test_the_end_of_a_ban_is_read_from_the_text():
    text = "Way too many requests; IP(203.0.113.7) banned until 1795350600000. Please use the"
    assert banned_until_ms(text) == 1_795_350_600_000
    assert banned_until_ms("Too many requests.") == 0


def test_every_fault_has_a_meaning():
    assert all(fault.meaning and code < 0 for code, fault in FAULTS.items())


def test_recorded_error_bodies_are_all_known(shared_data):
    for line in (shared_data / "usdm_rest" / "errors.jsonl").read_text().splitlines():
        row = json.loads(line)
        body = json.loads(row["body"])
        assert body["code"] in FAULTS
        assert classify(body["code"], row["http"], body["msg"]).is_definite
