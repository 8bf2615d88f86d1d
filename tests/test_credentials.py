"""Keys that systemd hands over: named in the settings, found by each process for itself."""

from pathlib import Path

import pytest

from hft import config_file
from hft.credentials import with_credentials
from hft.errors import UsageError

SETTINGS = """\
symbols = ["BTCUSDT"]
[venue]
key_type = "ed25519"
key_file = "{key}"
private_key_file = "{private}"
[[strategies]]
name = "maker"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
"""


def settings(key: str = "credential:venue_key", private: str = "credential:venue_private_key"):
    text = SETTINGS.format(key=key, private=private)
    return config_file.parse(text, source="hft.toml", base=Path("/etc/hft"))


def test_the_settings_keep_the_name_and_each_process_finds_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings()
    assert config.venue.key_file == "credential:venue_key"
    for unit in ("execution", "account"):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", f"/run/credentials/{unit}")
        venue = with_credentials(config).venue
        assert venue.key_file == f"/run/credentials/{unit}/venue_key"
        assert venue.private_key_file == f"/run/credentials/{unit}/venue_private_key"


def test_other_paths_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = settings(key="key", private="/elsewhere/private.pem")
    assert with_credentials(config) == config
    assert config.venue.key_file == "/etc/hft/key"


def test_a_credential_without_systemd_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(UsageError, match="this process was given none") as raised:
        with_credentials(settings())
    assert "CREDENTIALS_DIRECTORY" in raised.value.remedy


@pytest.mark.parametrize("name", ["", "../key", "a/b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    with pytest.raises(UsageError, match="cannot be the name of a credential"):
        with_credentials(settings(key=f"credential:{name}"))
