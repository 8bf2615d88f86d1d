"""Errors of strategies.

::

    HftError
    ├── StrategyError             a plug-in did what none may do
    └── UsageError
        └── StrategyLoadError     a plug-in cannot be loaded, or its parameters do not hold
    BaseException
    └── CallbackOverrunError      raised inside a callback that does not return
"""

from __future__ import annotations

from hft.errors import HftError, UsageError


class StrategyError(HftError):
    """A plug-in did what none may do: it is paused."""


class StrategyLoadError(UsageError):
    """A plug-in cannot be loaded, or its parameters do not hold."""


class CallbackOverrunError(BaseException):
    """Ends a callback from outside; no Exception, as a plug-in may catch those."""

    def __init__(self, duration_ms: int) -> None:
        super().__init__(f"the callback did not return within {duration_ms} ms")
        self.duration_ms = duration_ms
