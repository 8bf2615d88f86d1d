"""``hft``: one command for everything. Each sub-command imports what it needs when it runs.

Exit codes: 0 done, 1 a check failed, 2 usage, 3 not reachable.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import click

from hft.cli_bench import bench
from hft.cli_options import Command, split_list
from hft.cli_options import as_json as _as_json
from hft.cli_options import of_system as _of_system
from hft.cli_options import print_json as _print_json
from hft.cli_options import running as _running
from hft.cli_order import order
from hft.cli_risk import audit, halt, risk
from hft.cli_shm import shm
from hft.cli_strategy import new_strategy, strategy
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE, HftError

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended in the middle, as shells know it."""
SYMBOLS = "BTCUSDT,ETHUSDT,SOLUSDT"
PORT = click.IntRange(0, 65_535)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
TERMINAL_GONE = (errno.EIO,)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hft", message="hft %(version)s")
def cli() -> None:
    """Trade Binance USD-M Futures on one host, in Python, fast.

    Start with `hft demo`. Exit codes: 0 done, 1 a check failed, 2 usage, 3 not reachable.
    """


@cli.command()
@click.option("--seconds", type=click.FloatRange(1, 86_400), default=20.0, show_default=True)
@_as_json
@click.option("--topology", type=click.Choice(["compact", "dedicated"]), default="compact",
              show_default=True, help="Which roles share a process.")  # fmt: skip
@click.option("--symbols", default=None, help=f"Comma-separated.  [default: {SYMBOLS}]")
@click.option("--strategies", default="maker", show_default=True,
              help="Of maker, momentum, scalper, FILE.py:Class: each its symbols.")  # fmt: skip
@click.option("--seed", default=42, show_default=True, help="Of the synthetic market.")
@click.option("--recording", "recordings", multiple=True, metavar="FILE",
              help="Play recorded streams instead; FILE... may follow.")  # fmt: skip
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--speed", type=click.FloatRange(0.01, 1_000), default=1.0, show_default=True,
              help="Of a recording, as a multiple of real time.")  # fmt: skip
@click.option("--rest-port", type=PORT, default=0, help="Of the simulator; 0: any free one.")
@click.option("--stream-port", type=PORT, default=0, help="As above.")
@click.option("--api-port", type=PORT, default=0, help="As above.")
@click.option("--keep", is_flag=True, help="Keep the settings and the state for a look afterwards.")
@click.option("--metrics-port", type=PORT, default=None,
              help="Serve metrics there; 0: any free one.  [default: none are served]")  # fmt: skip
def demo(
    recordings: tuple[str, ...],
    files: tuple[str, ...],
    symbols: str | None,
    strategies: str,
    **options: Any,
) -> int:
    """Everything at once: venue simulator, all roles, then what happened and how fast."""
    from tools.demo import Options, run

    if files and not recordings:
        raise click.UsageError(f"what is {files[0]}? Recordings follow --recording.")
    return run(
        Options(
            symbols=split_list(symbols),
            strategies=split_list(strategies),
            recordings=recordings + files,
            **options,
        )
    )


@cli.command()
@click.argument("config", required=False)
@click.option("--name", help="Run under this name instead of the configured one.")
@click.option("--topology", type=click.Choice(["compact", "dedicated"]))
@click.option("--detach", is_flag=True, help="In the background; returns once it is ready.")
def up(config: str | None, name: str | None, topology: str | None, *, detach: bool) -> int:
    """Start a system and watch over it until Ctrl-C."""
    from hft import config_file
    from tools.logs.writing import told
    from tools.system import up as system_up
    from tools.terminal import tell

    overrides = {("system", "name"): name, ("system", "topology"): topology}
    given = {key: value for key, value in overrides.items() if value is not None}
    path = config_file.find(config)
    settings = config_file.load(path, given)
    if not detach:
        with told(settings) as say:
            return system_up.run(settings, say)
    arguments = [str(path)]
    for (_, key), value in given.items():
        arguments += [f"--{key}", value]
    return system_up.detach(settings, arguments, tell)


@cli.command()
@_of_system
def down(name: str | None, run_dir: str | None) -> None:
    """Cancel the orders, stop every process, remove everything; also after a crash."""
    from tools.system import down as system_down
    from tools.system.places import run_root
    from tools.terminal import tell

    system_down.run(run_root(run_dir or ""), name, tell)


@cli.command()
@click.option("--watch", is_flag=True, help="Again every second until Ctrl-C; JSON: a line each.")
@_of_system
@_as_json
def status(name: str | None, run_dir: str | None, *, watch: bool, as_json: bool) -> int:
    """What runs and how it is; exit code 1 when something is wrong."""
    from tools.system import status as system_status

    if watch:
        from tools.system import status_watch
        from tools.system.places import run_root

        return status_watch.watch(run_root(run_dir or ""), name, as_json=as_json)
    found = system_status.read(_running(name, run_dir))
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(system_status.render(found)))
    return EXIT_CHECK_FAILED if found.problems else EXIT_OK


@cli.command()
@click.option("--port", type=PORT, help="0: any free one.  [default: metrics.port]")
@click.option("--host", help="Address to listen at.  [default: metrics.host]")
@click.option("--parent", type=int, default=0, hidden=True)
@click.option("--quiet", "is_quiet", is_flag=True, help="Nothing on the terminal.")
@_of_system
@_as_json
def metrics(name: str | None, run_dir: str | None, **options: Any) -> int:
    """Serve /metrics and /healthz of a system, and write its log; waits for it when it is away."""
    from tools.metrics.service import Options, run
    from tools.system.places import run_root

    return run(Options(root=run_root(run_dir or ""), name=name, **options))


@cli.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", help="10m, 2h, 09:30 or 2026-01-31T12:00, UTC.")
@click.option("--level", type=click.Choice(["info", "warning", "error"]), default="info",
              show_default=True, help="The lowest.")  # fmt: skip
@click.option("--last", type=click.IntRange(min=0), default=100, show_default=True,
              help="How many of the past; 0: all.")  # fmt: skip
@click.option("--state-dir", help="As system.state_dir.  [default: of what runs, else the usual]")
@_of_system
@_as_json
def logs(
    name: str | None, run_dir: str | None, state_dir: str | None, *, as_json: bool, **options: Any
) -> int:
    """What happened: alerts, states, restarts; also of a system that has ended."""
    from tools.logs.reading import Wanted, show

    found = _state_dir(name, run_dir, state_dir)
    return show(found, Wanted(as_json=as_json, **options), click.echo)


@cli.command()
@click.option("--once", is_flag=True, help="One frame as plain text, as in a pipe.")
@click.option(
    "--trade", is_flag=True, help="Allow what changes trading: orders, halt, reduce, arm."
)
@click.option("--keys", is_flag=True, help="Print the keys and commands, and nothing else.")
@_of_system
def monitor(name: str | None, run_dir: str | None, *, once: bool, trade: bool, keys: bool) -> int:
    """Watch a running system on one screen; press ? for the keys. Read-only without --trade."""
    if keys:
        from tools.monitor.keys import markdown

        click.echo(markdown())
        return EXIT_OK
    from tools.monitor import command

    return command.run(_running(name, run_dir), once=once, trade=trade)


@cli.command(name="run")
@click.argument("role")
@_of_system
def run_role(role: str, name: str | None, run_dir: str | None) -> int:
    """Run one ROLE, or one process of the plan, in the foreground (what systemd starts)."""
    from hft.roles.process import run_process

    return run_process(str(_running(name, run_dir)), role, ignore_interrupt=False)


@cli.command()
@click.option("--reason", required=True, help="Why trading may go on; it is recorded.")
@_of_system
def arm(reason: str, name: str | None, run_dir: str | None) -> None:
    """Let the system trade."""
    from tools.system import commands

    click.echo(commands.arm(_running(name, run_dir), reason))


@cli.command()
@click.option("--reason", required=True, help="Why; it is recorded.")
@_of_system
def reduce(reason: str, name: str | None, run_dir: str | None) -> None:
    """From now on only orders that shrink a position."""
    from tools.system import commands

    click.echo(commands.reduce(_running(name, run_dir), reason))


@cli.command()
@click.option("--rest-port", type=PORT, default=19080, show_default=True, help="0: any free one.")
@click.option("--stream-port", type=PORT, default=19081, show_default=True)
@click.option("--api-port", type=PORT, default=19082, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--symbols", default=SYMBOLS, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--frames-per-s", type=float, help="Market frames per second and symbol.")
@click.option("--volatility-bps", type=float, help="Of one second, in 1/10,000 of the price.")
@click.option("--recording", "recordings", multiple=True, metavar="FILE")
@click.option("--speed", "recording_speed", type=float, help="Of the recordings.")
@click.option("--api-key", help="Key of the one account.  [default: simulator-key]")
@click.option("--secret", help="HMAC secret of that key.  [default: simulator-secret]")
@click.option("--public-key", type=click.Path(dir_okay=False), metavar="FILE",
              help="Ed25519 public key (PEM) of that key, instead of a secret.")  # fmt: skip
def venue(symbols: str, **options: Any) -> int:
    """The venue simulator alone, for any Binance USD-M client."""
    from tools.venue_command import run

    return run(symbols=split_list(symbols), **options)


@cli.command(name="verify-feed")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_as_json
def verify_feed(files: tuple[str, ...], *, as_json: bool) -> int:
    """Drive decoder and book with recordings and compare with the venue's own ticker."""
    from tools import verify_feed as tool

    return tool.run([Path(file) for file in files], as_json)


cli.add_command(risk)
cli.add_command(halt)
cli.add_command(audit)


cli.add_command(bench)


@cli.command()
@click.option("--minutes", type=click.FloatRange(0.1, 1_440), default=1.0, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of what is done to whom, and when.")
@click.option("--topology", type=click.Choice(["compact", "dedicated"]), default="compact",
              show_default=True, help="Which roles share a process.")  # fmt: skip
@click.option("--only", help="Comma-separated: kill, stop, starve, pair, all, and kinds of venue "
              "faults; or alone halt (drills of the halt) or soak (load only).")  # fmt: skip
@click.option("--faults/--no-faults", default=True, help="Whether the venue misbehaves.",
              show_default=True)  # fmt: skip
@click.option("--strict", is_flag=True, help="A missed target of the recovery times counts.")
@click.option("--mutant", default="", help="Run a deliberately broken variant: it must fail.")
@click.option("--mutants", is_flag=True, help="All of them; exit code 1 when one is not caught.")
@click.option("--drills", type=click.IntRange(1, 10_000), default=100, show_default=True,
              help="With --only halt: how many.")  # fmt: skip
@_as_json
def chaos(only: str | None, *, mutants: bool, **options: Any) -> int:
    """Kill and stop real processes at a misbehaving venue, then audit the books."""
    from tools.chaos import Options, run, run_mutants

    chosen = Options(only=split_list(only), **options)
    return run_mutants(chosen) if mutants else run(chosen)


@cli.group()
def journal() -> None:
    """What was written down of every order, from the copy on disk."""


def _of_journal(command: Command) -> Command:
    """Options that say whose journal is meant."""
    command = click.option(
        "--state-dir", help="As system.state_dir.  [default: of what runs, else the usual one]"
    )(command)
    return _of_system(command)


@journal.command(name="show")
@click.option("--last", type=click.IntRange(min=0), default=50, show_default=True,
              help="How many entries; 0: all.")  # fmt: skip
@click.option("--order", metavar="ID", help="Only this one: client order id, or the number.")
@_of_journal
@_as_json
def journal_show(
    last: int,
    order: str | None,
    name: str | None,
    run_dir: str | None,
    state_dir: str | None,
    *,
    as_json: bool,
) -> None:
    """The newest entries, oldest first."""
    from tools.system import journal as system_journal

    order_id = None if order is None else system_journal.parse_order(order)
    shown = system_journal.show(_state_dir(name, run_dir, state_dir), last=last, order_id=order_id)
    if as_json:
        _print_json(shown)
        return
    for line in system_journal.render(shown):
        click.echo(line)
    for problem in shown.problems:
        click.echo(f"hft: {problem}", err=True)


@journal.command(name="verify")
@_of_journal
@_as_json
def journal_verify(
    name: str | None, run_dir: str | None, state_dir: str | None, *, as_json: bool
) -> int:
    """Is every entry there, once, and undamaged? Exit code 1 when not."""
    from tools.system import journal as system_journal

    verdict = system_journal.verify(_state_dir(name, run_dir, state_dir))
    if as_json:
        _print_json(verdict)
    else:
        click.echo("\n".join(system_journal.render_verdict(verdict)))
    return EXIT_CHECK_FAILED if verdict.problems else EXIT_OK


@cli.group()
def latency() -> None:
    """How long each hop takes, from the histograms of a running system."""


@latency.command(name="show")
@click.option("--plot", is_flag=True, help="Draw the percentiles as well.")
@_of_system
@_as_json
def latency_show(name: str | None, run_dir: str | None, *, plot: bool, as_json: bool) -> int:
    """Percentiles of every hop since the system was started."""
    from tools.latency import command

    return command.show(_running(name, run_dir), plot=plot, as_json=as_json)


@latency.command(name="dump")
@click.option("--into", type=click.Path(path_type=Path), default=Path("latency"),
              show_default=True, help="Directory for the files.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, 86_400), default=0.0,
              help="Log what happens from now on, for so long.  [default: all so far]")  # fmt: skip
@click.option("--interval", "interval_s", type=click.FloatRange(0.1, 3_600), default=1.0,
              show_default=True, help="Of the log, seconds.")  # fmt: skip
@_of_system
def latency_dump(
    into: Path, name: str | None, run_dir: str | None, *, seconds: float, interval_s: float
) -> int:
    """Write HdrHistogram files: a log (.hlog) and percentiles (.hgrm)."""
    from tools.latency import command

    return command.dump(_running(name, run_dir), into, seconds=seconds, interval_s=interval_s)


@latency.command(name="report")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw value over percentile.")
def latency_report(logs: tuple[Path, ...], svg: Path | None) -> int:
    """Merge logs of `hft latency dump`."""
    from tools.latency import command

    return command.report(logs, svg)


@cli.command()
@click.argument("order_id")
@_of_system
@_as_json
def trace(order_id: str, name: str | None, run_dir: str | None, *, as_json: bool) -> int:
    """One order's life, hop by hop, back to the tick that caused it."""
    from tools.latency import trace as tool

    return tool.run(_running(name, run_dir), order_id, as_json=as_json)


@cli.command()
@click.argument("live", required=False)
@click.argument("paper", required=False)
@click.option("--window", "window_ms", type=click.IntRange(1, 600_000), default=1_000,
              show_default=True, help="Fills farther apart are not the same, ms.")  # fmt: skip
@click.option("--price", "price_bps", type=click.FloatRange(0), default=5.0, show_default=True,
              help="Nor are those farther apart in price, bps.")  # fmt: skip
@_of_system
@_as_json
def compare(
    live: str | None, paper: str | None, name: str | None, run_dir: str | None, *,
    window_ms: int, price_bps: float, as_json: bool,
) -> int:  # fmt: skip
    """Where paper fills differ from live ones: of strategy LIVE and PAPER, or of all alike."""
    from tools.compare import command
    from tools.compare.matching import Tolerance

    tolerance = Tolerance(window_ms * 1_000_000, price_bps)
    return command.run(_running(name, run_dir), live, paper, tolerance, as_json=as_json)


@cli.command()
@click.option("--config", help="Judge for these settings.  [default: ./hft.toml, or none]")
@click.option("--noise", "noise_s", type=click.FloatRange(0.1, 3_600), metavar="SECONDS",
              help="Also measure how long each core is taken away from a loop.")  # fmt: skip
@click.option("--write-units", is_flag=False, flag_value="", metavar="[DIR]",
              help="Only print, or write below DIR, systemd drop-ins for the cores.")  # fmt: skip
@_as_json
def doctor(
    config: str | None, noise_s: float | None, write_units: str | None, *, as_json: bool
) -> int:
    """What of this host makes the system slow, why, and the command that mends it.

    Changes nothing. Exit code 1 when there is a problem (✗).
    """
    from tools.doctor import command

    if write_units is not None:
        return command.write_units(config, write_units)
    return command.run(config, noise_s=noise_s or 0.0, as_json=as_json)


@cli.group()
def config() -> None:
    """Look at settings."""


@config.command(name="show")
@click.argument("file", required=False)
@_as_json
def config_show(file: str | None, *, as_json: bool) -> None:
    """The effective settings, defaults included."""
    from hft import config_file

    settings = config_file.load(config_file.find(file))
    if as_json:
        _print_json(settings)
    else:
        click.echo(config_file.to_toml(settings), nl=False)


@config.command(name="validate")
@click.argument("file", required=False)
@_as_json
def config_validate(file: str | None, *, as_json: bool) -> int:
    """Check the settings without starting anything."""
    from hft import config_file
    from hft.errors import ConfigError

    path = config_file.find(file)
    if not as_json:
        config_file.load(path)
        click.echo(f"{path}: the settings hold.")
        return EXIT_OK
    problems: list[str] = []
    try:
        config_file.load(path)
    except ConfigError as error:
        problems = error.problems
    _print_json({"file": str(path), "valid": not problems, "problems": problems})
    return EXIT_USAGE if problems else EXIT_OK


def _state_dir(name: str | None, run_dir: str | None, state_dir: str | None) -> Path:
    from tools.system.journal import find_state_dir
    from tools.system.places import run_root

    return find_state_dir(run_root(run_dir or ""), state_dir, name)


cli.add_command(order)
cli.add_command(shm)
cli.add_command(strategy)
cli.add_command(new_strategy)


def main() -> None:
    """Run the command line; a person's mistake is told in two lines, never as a traceback."""
    _open_standard_streams()
    try:
        result = cli.main(standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that went away is understood
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _forget_output()
        sys.exit(EXIT_OK)  # whoever read our output has seen enough
    except Exception as error:
        exit_code = _exit_code(error)
        if exit_code is None:
            raise
        _tell(error)
        if isinstance(error, OSError):
            _forget_output()
        sys.exit(exit_code)
    sys.exit(result if isinstance(result, int) else EXIT_OK)


def _exit_code(error: Exception) -> int | None:
    """Exit code of an error that is no fault of ours; None: it is one, and shows its traceback."""
    if isinstance(error, HftError):
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (*NO_ROOM, *NOT_ALLOWED, *TERMINAL_GONE):
        return EXIT_USAGE
    for package, tree in (("ipc", "IpcError"), ("pinning", "PinningError")):
        module = sys.modules.get(package)  # not imported: then it raised nothing
        if module is not None and isinstance(error, getattr(module, tree)):
            is_absent = "Missing" in type(error).__name__
            return EXIT_UNREACHABLE if is_absent else EXIT_USAGE
    return None


def _open_standard_streams() -> None:
    """Whoever closed one of them would have our first file or socket in its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _forget_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's end does not fail on it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _tell(error: Exception) -> None:
    """``hft: what is wrong``, and below it what to do."""
    problems = getattr(error, "problems", None) or [getattr(error, "message", str(error))]
    remedy = getattr(error, "remedy", "")
    if isinstance(error, OSError):
        problems, remedy = _of_the_host(error)
    for problem in problems:
        what, *more = problem.split("\n")
        _to_stderr(f"hft: {what}" if what.endswith((".", "!", "?", ":")) else f"hft: {what}.")
        for line in more:
            _to_stderr(f"     {line}")
    if remedy:
        _to_stderr("     " + (remedy[:1].upper() + remedy[1:]).replace("\n", "\n     "))


def _of_the_host(error: OSError) -> tuple[list[str], str]:
    """A disk that is full and a file that is somebody else's, in words."""
    what = error.filename or "a file"
    if error.errno in NO_ROOM:
        return [f"cannot write {what}: {error.strerror}."], "Free space there (`df`), then again."
    if error.errno in TERMINAL_GONE:
        return ["the terminal, or the disk, is gone."], ""
    return (
        [f"cannot use {what}: {error.strerror}."],
        "Give this user the right to it, or name another place in the settings.",
    )


def _to_stderr(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        return  # the terminal is gone: nobody is left to be told


if __name__ == "__main__":
    main()
