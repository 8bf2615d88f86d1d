"""What a plug-in is and what it may be told, from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import msgspec

from hft.roles.containment import load_bounded
from hft.strategy.base import HOOKS, OPTIONAL_CALLBACKS
from hft.strategy.parameters import ParameterDoc, describe_parameters


class PluginDoc(msgspec.Struct, frozen=True):
    """A plug-in, for a person to read."""

    plugin: str
    meaning: str
    callbacks: tuple[str, ...]
    parameters: tuple[ParameterDoc, ...]


def read(plugin: str) -> PluginDoc:
    """Load a plug-in and describe it.

    Raises:
        StrategyLoadError: it does not hold.
    """
    found = load_bounded(plugin)
    names = ("on_top_of_book", "on_timer", *OPTIONAL_CALLBACKS, *HOOKS)
    return PluginDoc(
        plugin,
        inspect.cleandoc(found.__doc__ or ""),
        tuple(name for name in names if callable(getattr(found, name, None))),
        tuple(describe_parameters(found)),
    )


def render(found: PluginDoc) -> Iterator[str]:
    """The description as text."""
    yield found.plugin
    if found.meaning:
        yield from (f"  {line}".rstrip() for line in found.meaning.splitlines())
    yield ""
    yield "called: " + ", ".join(found.callbacks)
    yield "parameters:" if found.parameters else "no parameters"
    for one in found.parameters:
        default = f" = {one.default}" if one.default else " (required)"
        limits = f", {one.range}" if one.range else ""
        yield f"  {one.name}{default}  [{one.type}{limits}]"
        if one.meaning:
            yield f"      {one.meaning}"
