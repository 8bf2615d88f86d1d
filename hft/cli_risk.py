"""``hft risk``, ``hft halt``, ``hft audit``: the commands. What they do is imported when run."""

from __future__ import annotations

import sys

import click

from hft.cli_options import as_json as _as_json
from hft.cli_options import of_system as _of_system
from hft.cli_options import print_json as _print_json
from hft.cli_options import running as _running
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK


@click.group(invoke_without_command=True)
@_of_system
@_as_json
@click.pass_context
def risk(context: click.Context, name: str | None, run_dir: str | None, *, as_json: bool) -> None:
    """Every limit: how far it is used, and what is left."""
    context.obj = name, run_dir
    if context.invoked_subcommand is None:
        from tools.risk import table

        found = table.read(_running(name, run_dir))
        if as_json:
            _print_json(found)
        else:
            click.echo("\n".join(table.render(found)))


@risk.command(name="set")
@click.argument("assignments", nargs=-1, required=True, metavar="LIMIT=VALUE...")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--yes", is_flag=True, help="Do not ask back about what is riskier.")
@_of_system
@click.pass_obj
def set_limits(
    system: tuple[str | None, str | None], assignments: tuple[str, ...], reason: str,
    name: str | None, run_dir: str | None, *, yes: bool,
) -> None:  # fmt: skip
    """Change limits: safer ones hold at once, riskier ones are asked back and go in steps."""
    from tools.risk import changes

    def confirm(what: str) -> bool:
        return yes or (sys.stdin.isatty() and click.confirm(f"{what}\nReally?", err=True))

    found = _running(name or system[0], run_dir or system[1])
    click.echo(changes.set_limits(found, assignments, reason, confirm))


@risk.command()
@click.argument("strategy")
@click.option("--reason", required=True, help="Why it may go on; it is recorded.")
@_of_system
@click.pass_obj
def resume(
    system: tuple[str | None, str | None], strategy: str, reason: str,
    name: str | None, run_dir: str | None,
) -> None:  # fmt: skip
    """Let a strategy go on that a breaker paused."""
    from tools.risk import changes

    found = _running(name or system[0], run_dir or system[1])
    click.echo(changes.resume(found, strategy, reason))


@click.command()
@click.option("--last", type=click.IntRange(min=0), default=50, show_default=True,
              help="How many entries; 0: all.")  # fmt: skip
@click.option("--state-dir", help="As system.state_dir.  [default: of what runs, else the usual]")
@_of_system
@_as_json
def audit(
    name: str | None, run_dir: str | None, state_dir: str | None, *, last: int, as_json: bool
) -> int:
    """Read the audit trail and verify its chain; exit code 1 when it is broken."""
    from tools.risk import trail
    from tools.system.journal import find_state_dir
    from tools.system.places import run_root

    found = trail.read(find_state_dir(run_root(run_dir or ""), state_dir, name), last)
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(trail.render(found)))
    return EXIT_CHECK_FAILED if found.problem else EXIT_OK


@click.command()
@click.option("--reason", default="by hand", show_default=True)
@click.option("--flatten", is_flag=True, help="Then close every position, and stay halted.")
@_of_system
def halt(reason: str, name: str | None, run_dir: str | None, *, flatten: bool) -> None:
    """Stop trading at once and cancel every order. Never asks back."""
    from tools.risk.flatten import halt_and_flatten
    from tools.system import commands

    act = halt_and_flatten if flatten else commands.halt
    click.echo(f"{act(_running(name, run_dir), reason)} {commands.AFTER_HALT}")
