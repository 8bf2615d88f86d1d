"""Policy files: a desk's own policy in TOML, checked as a whole with every error at once.

::

    base = "mm_conservative"     # one of the built-in policies; what is not written is as there

    [limits]
    order_notional_max = "250"   # money, quantities and ratios as decimal text
    open_orders_max = 3          # everything else as whole numbers; times in ms
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import pairwise
from typing import Final, NamedTuple

from hft.core.catalogue import LIMITS_BY_NAME
from hft.core.policies import POLICIES, inside
from hft.errors import ConfigError, UsageError

_ORDERED: Final = ("order_notional_max", "position_notional_max", "gross_notional_max")
_KEYS: Final = ("base", "limits")


class PolicyText(NamedTuple):
    """What a file says: the policy it builds upon, and limits as they are written."""

    base: str
    limits: dict[str, str | int]


def parse_policy(text: str, source: str) -> PolicyText:
    """Read and check a policy file; ``source`` names it in messages.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{source}: {error}"]) from None
    problems = [
        f"{source}: {key} is unknown.{_hint(key, _KEYS)}" for key in raw if key not in _KEYS
    ]
    base = raw.get("base")
    if base not in POLICIES:
        said = "is missing" if base is None else f"is {base!r}: there is no such policy"
        problems.append(f"{source}: base {said}. Write one of {', '.join(POLICIES)}.")
    limits = raw.get("limits", {})
    if not isinstance(limits, dict):
        problems.append(f"{source}: limits is not a table. Write [limits].")
        limits = {}
    values: dict[str, int] = {}
    for name, value in limits.items():
        if name not in LIMITS_BY_NAME:
            problems.append(f"{source}: limits.{name} is unknown.{_hint(name, LIMITS_BY_NAME)}")
            continue
        try:
            values[name] = inside(name, value)
        except UsageError as error:
            problems.append(f"{source}: {error.message}. {error.remedy}".rstrip())
    for small, large in pairwise(name for name in _ORDERED if name in values):
        if values[small] > values[large]:
            problems.append(
                f"{source}: limits.{small} is {limits[small]}: more than {large} ({limits[large]})."
            )
    if problems:
        raise ConfigError(problems)
    return PolicyText(str(base), limits)


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, list(known), n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""
