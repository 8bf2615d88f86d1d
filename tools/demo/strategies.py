"""The strategies as the demo runs them: which, on what, with which parameters.

A built-in one goes by its name, anybody's plug-in by its place (``joiner.py:Joiner``), and is run
with the defaults of its parameters.

The demo's market is a random walk with the fees of a small account: there is nothing to earn in
it, and a built-in with its defaults would rightly hardly trade. So each is told by ``edge_bps``
that it may cost up to the fees of its fills; what that does to the money stands in the report.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from hft.config import StrategyConfig
from hft.errors import UsageError
from hft.roles.containment import load_bounded

CHANGE_MS: Final = 125
"""Pause of one side after a change, times the number of instruments: 16 orders a second in all,
which the venue's 1,200 a minute allow for as long as the demo lasts."""

_NO_NAME: Final = re.compile(r"[^a-z0-9_]")


class BuiltIn(NamedTuple):
    """A strategy of the package and how the demo parametrises it."""

    plugin: str
    parameters: Mapping[str, str | int | bool]


BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "maker": BuiltIn(
        "hft.strategy.maker:Maker",
        # Quotes at or near the touch: the crowd is dense, so fills fade fast with distance.
        {"quote_notional": "120", "edge_bps": "-2", "risk_aversion": "0.01", "fill_decay": "1000"},
    ),
    "momentum": BuiltIn(
        "hft.strategy.momentum:Momentum",
        # Seconds, not minutes: the demo is short.
        {
            "fast_s": "0.25", "slow_s": "1", "enter_sigmas": "0.8", "exit_sigmas": "0.2",
            "edge_bps": "-8", "hold_s_max": "5", "pause_ms": 250, "is_taking": True,
        },
    ),
    "scalper": BuiltIn(
        "hft.strategy.scalper:Scalper",
        # The crowd redraws the touch hundreds of times a second: a long average is always 0.
        {
            "smoothing_ms": 20, "enter_imbalance": "0.3", "exit_imbalance": "0",
            "edge_bps": "-5", "patience_ms": 500,
        },
    ),
}  # fmt: skip


def chosen(specs: Sequence[str], symbols: tuple[str, ...]) -> tuple[StrategyConfig, ...]:
    """The strategies of these names or places; the symbols are dealt out to them in turn.

    Raises:
        UsageError: an unknown name, one twice, a plug-in that does not hold, or fewer symbols than
            strategies.
    """
    if not specs:
        raise UsageError("--strategies names none.", remedy=f"There are {', '.join(BUILT_IN)}.")
    strategies = [_strategy(spec, CHANGE_MS * len(symbols)) for spec in specs]
    twice = [name for name, count in Counter(one.name for one in strategies).items() if count > 1]
    if twice:
        raise UsageError(
            f"--strategies {','.join(specs)} names {', '.join(twice)} twice.",
            remedy="Each takes part once; give it more instruments with --symbols.",
        )
    if len(strategies) > len(symbols):
        raise UsageError(
            f"{len(strategies)} strategies need an instrument each, and there are {len(symbols)}.",
            remedy="Name fewer strategies, or more instruments with --symbols.",
        )
    return tuple(
        msgspec.structs.replace(one, symbols=symbols[index :: len(strategies)])
        for index, one in enumerate(strategies)
    )


def _strategy(spec: str, rest_ms: int) -> StrategyConfig:
    """A strategy without symbols."""
    if ":" in spec:
        return _plugin(spec)
    if spec not in BUILT_IN:
        raise UsageError(
            f"there is no built-in strategy {spec}.",
            remedy=f"There are {', '.join(BUILT_IN)}; a plug-in of yours is FILE.py:Class.",
        )
    plugin, parameters = BUILT_IN[spec]
    values: dict[str, str | int | float | bool] = {
        **parameters,
        "position_notional_max": "600",
        "rest_ms_min": rest_ms,
        "is_amending": False,
    }
    return StrategyConfig(name=spec, plugin=plugin, symbols=(), parameters=values)


def _plugin(spec: str) -> StrategyConfig:
    """Somebody's plug-in, named after its file; loaded once here, so that mistakes are told."""
    place, _, class_name = spec.rpartition(":")
    stem = Path(place).stem
    if place.endswith(".py"):
        place = str(Path(place).expanduser().absolute())
    plugin = f"{place}:{class_name}"
    load_bounded(plugin)
    name = _NO_NAME.sub("_", stem.lower())[:24]
    return StrategyConfig(name=name, plugin=plugin, symbols=())
