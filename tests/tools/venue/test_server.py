from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from hft.errors import ConfigError, UsageError
from tools.venue.config import AccountConfig, VenueConfig
from tools.venue.server import build

PROGRAM = """
from tools.venue.config import VenueConfig
from tools.venue.server import run
run(VenueConfig(symbols=("BTCUSDT",)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_venue_says_its_ports_and_ends_in_order_on_a_signal(project_root, number):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=project_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert re.fullmatch(r"venue ready rest=\d+ streams=\d+ api=\d+\n", line)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("name", ["rest_port", "stream_port", "api_port"])
def test_port_in_use_is_explained(start_venue, name):
    taken = start_venue().ports.rest
    with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{taken} is in use"):
        start_venue(**{name: taken})


def test_address_of_another_host_is_explained(start_venue):
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1"):
        start_venue(host="192.0.2.1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frames_per_s": 0.0}, "frames_per_s is 0.0"),
        ({"symbols": ()}, "symbols is empty"),
        ({"accounts": ()}, "accounts is empty"),
        ({"accounts": (AccountConfig(api_key="k"),)}, "either secret or public_key_pem"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        build(VenueConfig(**settings))


def test_symbol_of_the_wrong_form_is_named():
    with pytest.raises(UsageError, match="'btc/usdt' is not a venue symbol"):
        build(VenueConfig(symbols=("btc/usdt",)))


def test_status_change_is_told_on_the_contract_stream(venue):
    frames: list[bytes] = []

    class Recorder:
        def write(self, payload: bytes) -> None:
            frames.append(payload)

    venue.exchange.hub.listen(Recorder(), "!contractInfo", is_combined=False)
    venue.exchange.set_status("BTCUSDT", "SETTLING")
    assert b'"cs":"SETTLING"' in frames[0]
    assert venue.exchange.exchange_info()["symbols"][0]["status"] == "SETTLING"


def test_events_can_be_padded_as_they_once_were(make_venue):
    venue = make_venue(event_numbers_padded=True)
    venue.place(type="MARKET", quantity="0.010")
    update = venue.events[-1][2]["o"]
    assert (update["q"], update["l"], update["L"], update["n"], update["p"]) == (
        "0.010",
        "0.010",
        "64000.10",
        "0.32000050",
        "0",
    )
