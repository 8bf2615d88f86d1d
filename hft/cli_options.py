"""What the commands of several files share: options, output, which system is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, nothing else.")


def of_system(command: Command) -> Command:
    """Options that say which running system is meant."""
    command = click.option(
        "--run-dir", help="Root of the run directories; also HFT_RUN_DIR.  [default: the usual one]"
    )(command)
    return click.option("--name", help="Which system, when several run.")(command)


def running(name: str | None, run_dir: str | None) -> Path:
    """Run directory of the system that is meant."""
    from tools.system.places import find_running, run_root

    return find_running(run_root(run_dir or ""), name)


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def split_list(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option, without empty ones."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
