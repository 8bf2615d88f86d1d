"""The stage of a chaos run: venue, settings and system, everything removed again at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pinning
from hft import config_file
from hft.config import (
    Config,
    ExecutionConfig,
    RiskConfig,
    RiskLimits,
    StrategyConfig,
    SupervisorConfig,
    SystemConfig,
    VenueConfig,
)
from tools.demo.venue import DemoVenue
from tools.system.planner import plan_processes
from tools.venue.config import AccountConfig
from tools.venue.config import VenueConfig as SimulatorConfig

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
API_KEY: Final = "chaos-key"
SECRET: Final = "chaos-secret"
WALLET: Final = "10000"
REST_MS: Final = 60
"""Pause of one side after a change: all quotes together change some 60 times a second."""
LIMITS: Final = RiskLimits(messages_per_s_max=500, messages_per_minute_max=30_000)
"""What the load needs; all other limits are the demo's."""
WEIGHT_PER_MINUTE: Final = 24_000
"""Ten times the venue's: every start costs requests, and here a day's starts come in a minute."""
ORDERS_PER_10_S: Final = 3_000
ORDERS_PER_MINUTE: Final = 12_000
AGE_MS: Final = 10_000
"""Of a decision that may still be sent, where its age is not to be the fence."""
CRASHES_MAX: Final = 1_000_000
"""Nobody is given up: dying is the purpose."""


def simulator(seed: int) -> SimulatorConfig:
    """The venue: more requests allowed than usual, everything else as it is."""
    return SimulatorConfig(
        symbols=SYMBOLS,
        accounts=(AccountConfig(api_key=API_KEY, secret=SECRET, wallet=WALLET),),
        seed=seed,
        weight_per_minute=WEIGHT_PER_MINUTE,
        orders_per_10_s=ORDERS_PER_10_S,
        orders_per_minute=ORDERS_PER_MINUTE,
    )


def settings(
    name: str, topology: str, home: Path, venue: DemoVenue, *, fences_age: bool = True
) -> Config:
    """The system's settings: two market makers, one that places anew and one that amends.

    Without ``fences_age`` old decisions are sent as well, and the permit alone is in their way.
    """
    key_file = home / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{API_KEY}\n{SECRET}\n")
    config = Config(
        symbols=SYMBOLS,
        system=_system(name, topology, home),
        venue=VenueConfig(
            rest_url=venue.rest_url,
            streams_url=venue.streams_url,
            api_url=venue.api_url,
            key_file=str(key_file),
            depth_stream="0ms",
        ),
        risk=RiskConfig(policy="demo", limits=LIMITS),
        execution=ExecutionConfig() if fences_age else ExecutionConfig(decision_age_ms_max=AGE_MS),
        supervisor=SupervisorConfig(crashes_max=CRASHES_MAX),
        strategies=(
            _maker("placing", SYMBOLS[:2], is_amending=False),
            _maker("amending", SYMBOLS[2:], is_amending=True),
        ),
    )
    return config_file.parse(config_file.to_toml(config), source="chaos", base=home)


def _maker(name: str, symbols: tuple[str, ...], *, is_amending: bool) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        plugin="hft.strategy.maker:Maker",
        symbols=symbols,
        parameters={
            "quote_notional": "120",
            "position_notional_max": "600",
            # At the touch whatever it costs: chaos needs orders and fills, not a profit.
            "edge_bps": "-2",
            "risk_aversion": "0",
            "fill_decay": "1000",
            "rest_ms_min": REST_MS,
            "is_amending": is_amending,
        },
    )


def _system(name: str, topology: str, home: Path) -> SystemConfig:
    return SystemConfig(
        name=name,
        topology="dedicated" if topology == "dedicated" else "compact",
        mode="demo",
        state_dir=str(home / "state"),
    )


def cold_cpus(topology: str) -> frozenset[int]:
    """Cpus beside the hot processes: the simulator must not take their time."""
    host = pinning.read_topology()
    processes = plan_processes(Config(symbols=(), system=_system("chaos", topology, Path())), host)
    hot = {process.cpu for process in processes if "account" not in process.roles}
    return frozenset(host.allowed - hot) or host.allowed
