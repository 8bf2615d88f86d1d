"""Errors of strategies.

::

    HftError
    ├── StrategyError             a plug-in did what none may do
    └── UsageError
        └── StrategyLoadError     a plug-in cannot be loaded, or its parameters do not hold
"""

from __future__ import annotations

from hft.errors import HftError, UsageError


class StrategyError(HftError):
    """A plug-in did what none may do: its process cannot go on with it."""


class StrategyLoadError(UsageError):
    """A plug-in cannot be loaded, or its parameters do not hold."""
