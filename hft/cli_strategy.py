"""``hft strategy …`` and ``hft new-strategy``."""

from __future__ import annotations

from pathlib import Path

import click

from hft.cli_options import as_json, of_system, print_json, running
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK


@click.group()
def strategy() -> None:
    """Strategies: what they are, how they are, and changes while they run."""


@strategy.command(name="status")
@click.option("--error", metavar="NAME", help="Print the last traceback and event of one instead.")
@of_system
@as_json
def strategy_status(
    error: str | None, name: str | None, run_dir: str | None, *, as_json: bool
) -> int:
    """What each one wants and has; exit code 1 when one is paused."""
    from tools.strategy import commands

    found = commands.status(running(name, run_dir))
    if error is not None:
        click.echo(commands.last_error(found, error))
    elif as_json:
        print_json(found)
    else:
        click.echo("\n".join(commands.render(found)))
    is_paused = any(desk.state == "paused" for one in found.strategies for desk in one.desks)
    return EXIT_CHECK_FAILED if is_paused else EXIT_OK


@strategy.command(name="show")
@click.argument("plugin")
@as_json
def strategy_show(plugin: str, *, as_json: bool) -> None:
    """What a PLUGIN does and which parameters it has: module:Class or file.py:Class."""
    from tools.strategy import show

    found = show.read(plugin)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(show.render(found)))


@strategy.command(name="pause")
@click.argument("strategy")
@click.option("--reason", default="", help="It is shown as long as it is paused.")
@of_system
def strategy_pause(strategy: str, reason: str, name: str | None, run_dir: str | None) -> None:
    """Call it no more and cancel its orders."""
    _ask_strategy(name, run_dir, "pause", strategy=strategy, reason=reason)


@strategy.command(name="resume")
@click.argument("strategy")
@of_system
def strategy_resume(strategy: str, name: str | None, run_dir: str | None) -> None:
    """Call it again, as it is."""
    _ask_strategy(name, run_dir, "resume", strategy=strategy)


@strategy.command(name="reload")
@click.argument("strategy")
@of_system
def strategy_reload(strategy: str, name: str | None, run_dir: str | None) -> None:
    """Load its code anew; orders and position stay. What does not hold leaves the old one."""
    _ask_strategy(name, run_dir, "reload", strategy=strategy)


@strategy.command(name="set")
@click.argument("strategy")
@click.argument("assignment", metavar="KEY=VALUE")
@of_system
def strategy_set(strategy: str, assignment: str, name: str | None, run_dir: str | None) -> None:
    """Change one parameter until the system is stopped; orders and position stay."""
    key, separator, value = assignment.partition("=")
    if not separator or not key:
        raise click.UsageError(f"{assignment!r} is not KEY=VALUE.")
    _ask_strategy(name, run_dir, "set", strategy=strategy, key=key.strip(), value=value.strip())


@strategy.command(name="mode")
@click.argument("strategy")
@click.argument("mode", type=click.Choice(["live", "paper", "observe"]))
@of_system
def strategy_mode(strategy: str, mode: str, name: str | None, run_dir: str | None) -> None:
    """Change its mode; what is open in the old one is cancelled first."""
    _ask_strategy(name, run_dir, "mode", strategy=strategy, mode=mode)


@click.command(name="new-strategy")
@click.argument("name")
@click.argument("into", type=click.Path(file_okay=False, path_type=Path), default=Path(),
                metavar="[DIR]")  # fmt: skip
def new_strategy(name: str, into: Path) -> None:
    """Write a plug-in NAME.py with a test that passes."""
    from tools.strategy import new

    click.echo(new.create(name, into))


def _ask_strategy(name: str | None, run_dir: str | None, command: str, **args: str) -> None:
    from tools.strategy import commands

    click.echo(commands.ask(running(name, run_dir), command, **args))
