"""The built-in strategies as the demo runs them: which, on what, with which parameters.

The demo's market is a random walk with the fees of a small account: there is nothing to earn in
it, and a strategy with its defaults would rightly hardly trade. So each is told by ``edge_bps``
that it may cost up to the fees of its fills; what that does to the money stands in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from hft.config import StrategyConfig
from hft.errors import UsageError

CHANGE_MS: Final = 125
"""Pause of one side after a change, times the number of instruments: 16 orders a second in all,
which the venue's 1,200 a minute allow for as long as the demo lasts."""


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


def chosen(names: Sequence[str], symbols: tuple[str, ...]) -> tuple[StrategyConfig, ...]:
    """The strategies of these names; the symbols are dealt out to them in turn.

    Raises:
        UsageError: an unknown name, one twice, or fewer symbols than strategies.
    """
    unknown = [name for name in names if name not in BUILT_IN]
    if unknown:
        raise UsageError(
            f"there is no built-in strategy {', '.join(unknown)}.",
            remedy=f"There are {', '.join(BUILT_IN)}; others run with `hft up`.",
        )
    if not names:
        raise UsageError("--strategies names none.", remedy=f"There are {', '.join(BUILT_IN)}.")
    if len(set(names)) < len(names):
        raise UsageError(
            f"--strategies {','.join(names)} names one twice.",
            remedy="Each takes part once; give it more instruments with --symbols.",
        )
    if len(names) > len(symbols):
        raise UsageError(
            f"{len(names)} strategies need an instrument each, and there are {len(symbols)}.",
            remedy="Name fewer strategies, or more instruments with --symbols.",
        )
    rest_ms = CHANGE_MS * len(symbols)
    return tuple(
        StrategyConfig(
            name=name,
            plugin=BUILT_IN[name].plugin,
            symbols=symbols[index :: len(names)],
            parameters={
                **BUILT_IN[name].parameters,
                "position_notional_max": "600",
                "rest_ms_min": rest_ms,
                "is_amending": False,
            },
        )
        for index, name in enumerate(names)
    )
