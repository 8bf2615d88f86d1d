"""Every error of the ``hft`` package.

::

    HftError
    ├── UsageError            the person asked for something that cannot be: exit 2
    │   ├── ConfigError       one or more settings are wrong, each with file and line
    │   └── PrecisionError    text that is not an exact decimal of eight places
    ├── UnreachableError      venue or running system cannot be reached: exit 3
    ├── CheckFailedError      the work was done and a check of it failed: exit 1
    └── VenueError            the venue answered with an error code
"""

from __future__ import annotations

from enum import IntEnum

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3


class Category(IntEnum):
    """What the one who meets the error has to do."""

    WARN = 1
    """Handled and counted; nothing to do."""
    ERROR = 2
    """Corrective action was or has to be taken; the process goes on."""
    FATAL = 3
    """State may be torn: the process ends."""


class HftError(Exception):
    """Base of the tree. ``message`` says what is wrong and where, ``remedy`` what to do."""

    category = Category.ERROR
    exit_code = EXIT_CHECK_FAILED

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(HftError):
    """A mistake of the caller's: arguments, settings, files."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """Settings that do not hold; ``problems`` has one finished sentence for each."""

    def __init__(self, problems: list[str], *, remedy: str = "") -> None:
        super().__init__("\n".join(problems), remedy=remedy)
        self.problems = problems


class PrecisionError(UsageError):
    """Decimal text that cannot become an exact 1e-8 integer."""

    def __init__(self, *, text: str, why: str) -> None:
        super().__init__(f"{text!r} {why}")
        self.text = text


class UnreachableError(HftError):
    """Nobody answers: venue, running system, socket."""

    exit_code = EXIT_UNREACHABLE


class CheckFailedError(HftError):
    """The command did its work and found that something does not hold."""


class VenueError(HftError):
    """The venue's own refusal: ``code`` and ``text`` as it sent them, and the HTTP status."""

    exit_code = EXIT_USAGE

    def __init__(self, *, code: int, text: str, status: int = 0, remedy: str = "") -> None:
        super().__init__(f'the venue answered {code} "{text}"', remedy=remedy)
        self.code = code
        self.text = text
        self.status = status
