"""The stage of a chaos run: venue, settings and system, everything removed again at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from hft.config import (
    Config,
    ExecutionConfig,
    ManualConfig,
    RiskConfig,
    RiskLimits,
    StrategyConfig,
    SupervisorConfig,
)
from tools.demo.settings import ACCOUNT, SYMBOLS, checked, system_of, venue_of
from tools.demo.venue import DemoVenue
from tools.venue.config import VenueConfig as SimulatorConfig

REST_MS: Final = 60
"""Pause of one side after a change: all quotes together change some 60 times a second."""
LIMITS: Final = RiskLimits(messages_per_s_max=500, messages_per_minute_max=30_000)
"""What the load needs; all other limits are the demo's."""
BY_HAND: Final = ManualConfig(enabled=True, messages_per_s_max=20, messages_per_minute_max=1_200)
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
        accounts=(ACCOUNT,),
        seed=seed,
        weight_per_minute=WEIGHT_PER_MINUTE,
        orders_per_10_s=ORDERS_PER_10_S,
        orders_per_minute=ORDERS_PER_MINUTE,
    )


def settings(
    name: str,
    topology: str,
    home: Path,
    venue: DemoVenue,
    *,
    fences_age: bool = True,
    has_company: bool = True,
) -> Config:
    """The system's settings: two market makers, one that places anew and one that amends.

    Without ``fences_age`` old decisions are sent as well, and the permit alone is in their way.
    Their company: a third market maker on paper, and somebody who trades by hand.
    """
    company = (_maker("paper", SYMBOLS[1:], is_amending=True, mode="paper"),)
    config = Config(
        symbols=SYMBOLS,
        system=system_of(name, topology, home),
        venue=venue_of(venue, home),
        risk=RiskConfig(
            policy="demo", limits=LIMITS, manual=BY_HAND if has_company else ManualConfig()
        ),
        execution=ExecutionConfig() if fences_age else ExecutionConfig(decision_age_ms_max=AGE_MS),
        supervisor=SupervisorConfig(crashes_max=CRASHES_MAX),
        strategies=(
            _maker("placing", SYMBOLS[:2], is_amending=False),
            _maker("amending", SYMBOLS[2:], is_amending=True),
            *(company if has_company else ()),
        ),
    )
    return checked(config, home)


def _maker(
    name: str,
    symbols: tuple[str, ...],
    *,
    is_amending: bool,
    mode: Literal["live", "paper"] = "live",
) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        mode=mode,
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
