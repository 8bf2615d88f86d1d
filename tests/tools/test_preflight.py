"""What the preflight does while the venue has banned this address."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from hft.config import Config, SystemConfig
from hft.config import VenueConfig as ClientConfig
from hft.errors import EXIT_UNREACHABLE, UnreachableError
from hft.roles.venue_access import BAN_FILE
from tools.demo.venue import DemoVenue, running_venue
from tools.system import preflight
from tools.system.places import places_of
from tools.venue.config import AccountConfig, VenueConfig

KEY, SECRET = "test-key", "test-secret"


@pytest.fixture
def venue() -> Iterator[DemoVenue]:
    config = VenueConfig(
        symbols=("BTCUSDT",),
        accounts=(AccountConfig(api_key=KEY, secret=SECRET, wallet="10000"),),
        frames_per_s=10,
        ban_notice_ms=0,
    )
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


@pytest.fixture
def config(venue: DemoVenue, tmp_path: Path, system_name: str) -> Config:
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n{SECRET}\n")
    key_file.chmod(0o600)
    return Config(
        symbols=("BTCUSDT",),
        system=SystemConfig(
            name=system_name, run_dir=str(tmp_path / "run"), state_dir=str(tmp_path / "state")
        ),
        venue=ClientConfig(
            rest_url=venue.rest_url,
            streams_url=venue.streams_url,
            api_url=venue.api_url,
            key_file=str(key_file),
        ),
    )


def ask(venue: DemoVenue, method: str, path: str, **words: object) -> dict[str, object]:
    query = f"?{urlencode(words)}" if words else ""
    request = urllib.request.Request(f"{venue.rest_url}{path}{query}", method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, object] = json.loads(response.read())
    return answer


def test_a_ban_is_told_with_its_end_and_sees_no_second_request(
    config: Config, venue: DemoVenue
) -> None:
    preflight.check(config)
    ask(venue, "POST", "/sim/fault", kind="ban", seconds=60)
    for _ in range(3):  # the first is told by the venue, the others by the note of the first
        with pytest.raises(UnreachableError) as raised:
            preflight.check(config)
        assert "has banned this host's address until 20" in raised.value.message
        assert raised.value.exit_code == EXIT_UNREACHABLE
        assert "Nothing was started" in raised.value.remedy
    assert "banned" in preflight.emergency_cancel(config)
    assert ask(venue, "GET", "/sim/stats")["violations"] == 0
    (places_of(config).state_dir / BAN_FILE).unlink()
    with pytest.raises(UnreachableError):
        preflight.check(config)
    assert ask(venue, "GET", "/sim/stats")["violations"] == 1


def test_a_ban_by_another_venue_concerns_nobody_here(config: Config) -> None:
    state_dir = places_of(config).state_dir
    state_dir.mkdir(parents=True)
    (state_dir / BAN_FILE).write_text('{"rest_url":"https://another","until_ms":9999999999999}')
    assert preflight.check(config).equity_e8 > 0
