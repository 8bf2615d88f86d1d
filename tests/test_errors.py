"""The error tree: drawn as it is, with the exit codes that the commands promise."""

from __future__ import annotations

import inspect

import pytest

from hft import errors
from hft.errors import (
    EXIT_CHECK_FAILED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    CheckFailedError,
    ConfigError,
    HftError,
    PrecisionError,
    UnreachableError,
    UsageError,
    VenueError,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, HftError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_docstring_draws_every_class(kind: type[HftError]) -> None:
    assert f" {kind.__name__} " in f"{errors.__doc__} ".replace("\n", " \n")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UsageError("x"), EXIT_USAGE),
        (ConfigError(["x"]), EXIT_USAGE),
        (PrecisionError(text="x", why="is not a number"), EXIT_USAGE),
        (UnreachableError("x"), EXIT_UNREACHABLE),
        (CheckFailedError("x"), EXIT_CHECK_FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_carries_the_exit_code_of_the_command(error: HftError, exit_code: int) -> None:
    assert error.exit_code == exit_code


def test_facts_are_fields() -> None:
    refusal = VenueError(code=-2015, text="Invalid API-key", status=401, remedy="look at the key")
    assert (refusal.code, refusal.status, refusal.remedy) == (-2015, 401, "look at the key")
    assert '-2015 "Invalid API-key"' in str(refusal)


def test_every_problem_of_a_file_is_one_line() -> None:
    problems = ["line 3: a", "line 9: b"]
    assert str(ConfigError(problems)).splitlines() == problems
