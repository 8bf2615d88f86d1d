"""What the command line may choose."""

from __future__ import annotations

from typing import Final

import msgspec

KINDS: Final = ("kill", "stop", "pair", "all")
"""What may happen to a running system; drills of the halt, ``halt``, are run alone."""
HALT: Final = "halt"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of ``hft chaos``."""

    minutes: float = 1.0
    seed: int = 1
    topology: str = "compact"
    as_json: bool = False
    only: tuple[str, ...] = ()
    """Kinds to choose from; empty: all but the drills of the halt."""
    drills: int = 100
    """With ``only`` halt: how many, unless the time ends first."""
