"""``hft venue``: the simulator alone, from the options of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hft.errors import EXIT_OK, UsageError
from tools.demo.venue import check_ports
from tools.venue.config import AccountConfig, VenueConfig
from tools.venue.server import run as run_venue
from tools.venue_child import quieten_sockets

API_KEY: Final = "simulator-key"
SECRET: Final = "simulator-secret"


def run(
    *,
    symbols: tuple[str, ...],
    recordings: tuple[str, ...],
    api_key: str | None,
    secret: str | None,
    public_key: str | None,
    **settings: Any,
) -> int:
    """Run the simulator until SIGTERM or Ctrl-C; settings that are None keep their defaults.

    Raises:
        UsageError: a setting, port, key file or recording that cannot be used.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    config = VenueConfig(
        symbols=symbols,
        recordings=recordings,
        accounts=(_account(api_key or API_KEY, secret, public_key),),
        **given,
    )
    check_ports(config)
    quieten_sockets()
    run_venue(config)
    return EXIT_OK


def _account(api_key: str, secret: str | None, public_key: str | None) -> AccountConfig:
    if public_key is None:
        return AccountConfig(api_key=api_key, secret=secret or SECRET)
    try:
        pem = Path(public_key).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the public key {public_key}: {error}.",
            remedy="Name the PEM file that belongs to the private key.",
        ) from None
    return AccountConfig(api_key=api_key, public_key_pem=pem)
