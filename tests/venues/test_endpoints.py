"""URLs, routes, and what an unreachable venue is called."""

from __future__ import annotations

import pytest

from hft.config import VenueConfig
from hft.errors import EXIT_UNREACHABLE, ConfigError
from hft.venues.binance_usdm.endpoints import (
    Endpoints,
    host_port,
    route_of,
    stream_name,
    unreachable,
)


def test_the_default_urls_are_valid_and_lose_a_trailing_slash():
    endpoints = Endpoints.from_config(VenueConfig(rest_url="https://fapi.binance.com/"))
    assert endpoints.rest == "https://fapi.binance.com"
    assert endpoints.stream_url("market") == "wss://fstream.binance.com/market"
    assert endpoints.api == "wss://ws-fapi.binance.com/ws-fapi/v1"


def test_every_wrong_url_is_named_in_one_error():
    with pytest.raises(ConfigError) as caught:
        Endpoints.from_config(
            VenueConfig(
                rest_url="ftp://x", streams_url="wss://", api_url="ws://user:secret@host/path"
            )
        )
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "venue.rest_url",
        "venue.streams_url",
        "venue.api_url",
    ]


@pytest.mark.parametrize("url", ["ws://host:99999", "ws://host:0", "host", "ws://h/?x=1"])
def test_a_url_that_cannot_be_one_is_refused(url):
    with pytest.raises(ConfigError):
        Endpoints.from_config(VenueConfig(streams_url=url))


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@bookTicker", "public"),
        ("!bookTicker", "public"),
        ("btcusdt@depth", "public"),
        ("btcusdt@depth@0ms", "public"),
        ("btcusdt@depth20@100ms", "public"),
        ("btcusdt@rpiDepth@500ms", "public"),
        ("btcusdt@trade", "public"),
        ("btcusdt@aggTrade", "market"),
        ("btcusdt@markPrice@1s", "market"),
        ("!markPrice@arr@1s", "market"),
        ("btcusdt@kline_1m", "market"),
        ("!contractInfo", "market"),
        ("btcusdt@forceOrder", "market"),
    ],
)
def test_each_stream_has_its_route(stream, route):
    assert route_of(stream) == route


def test_names_of_other_scripts_survive_lower_case_and_are_percent_encoded():
    name = stream_name("币安人生USDT", "bookTicker")
    assert name == "币安人生usdt@bookTicker"
    url = Endpoints.from_config(VenueConfig()).combined_url("public", [name])
    assert url.endswith("streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@bookTicker")


def test_the_user_url_names_every_event_because_the_list_is_an_allow_list():
    url = Endpoints.from_config(VenueConfig()).user_url("the key")
    assert url.startswith("wss://fstream.binance.com/private/ws?listenKey=the%20key&events=")
    assert "listenKeyExpired" in url
    assert "TRADE_LITE" in url


def test_an_unreachable_venue_is_named_with_its_port_and_a_remedy():
    error = unreachable("wss://fstream.example.com/public", OSError("refused"))
    assert error.message == "fstream.example.com:443 cannot be reached: refused"
    assert error.exit_code == EXIT_UNREACHABLE
    assert "URLs in [venue]" in error.remedy
    assert "certificate" in unreachable("https://x", "certificate verify failed").remedy
    assert "DNS" in unreachable("https://x", "Name or service not known").remedy
    assert host_port("http://127.0.0.1:8080/x") == "127.0.0.1:8080"
