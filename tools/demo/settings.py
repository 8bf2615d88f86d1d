"""Settings of a system that trades at a simulator of its own: of demo and chaos."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pinning
from hft import config_file
from hft.config import Config, SystemConfig, VenueConfig
from hft.graph import COLD_ROLES
from tools.demo.venue import DemoVenue
from tools.system.planner import plan_processes
from tools.venue.config import AccountConfig

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
"""What the synthetic market has prices and rules for."""
ACCOUNT: Final = AccountConfig(api_key="simulated-key", secret="simulated-secret", wallet="10000")
"""The account at the simulator. Nothing else knows these words."""


def system_of(name: str, topology: str, home: Path) -> SystemConfig:
    """The section ``[system]``: whatever it keeps stands in ``home``."""
    return SystemConfig(
        name=name,
        topology="dedicated" if topology == "dedicated" else "compact",
        mode="demo",
        state_dir=str(home / "state"),
    )


def venue_of(venue: DemoVenue, home: Path) -> VenueConfig:
    """The section ``[venue]``: the simulator, and the keys of its account as a file in ``home``."""
    key_file = home / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{ACCOUNT.api_key}\n{ACCOUNT.secret}\n")
    return VenueConfig(
        rest_url=venue.rest_url,
        streams_url=venue.streams_url,
        api_url=venue.api_url,
        key_file=str(key_file),
        depth_stream="0ms",
    )


def checked(config: Config, home: Path) -> Config:
    """The settings as a file that was read; it stays in ``home`` for whoever wants to look."""
    text = config_file.to_toml(config)
    path = home / f"{config.system.mode}.toml"
    path.write_text(text)
    return config_file.parse(text, source=str(path), base=home)


def cold_cpus(topology: str) -> frozenset[int]:
    """Cpus beside the hot processes: the simulator must not take their time."""
    host = pinning.read_topology()
    system = system_of("any", topology, Path())
    processes = plan_processes(Config(symbols=(), system=system), host)
    hot = {one.cpu for one in processes if not COLD_ROLES.issuperset(one.roles)}
    return frozenset(host.allowed - hot) or host.allowed
