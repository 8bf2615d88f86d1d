"""``hft shm``: a system whose roles somebody else starts."""

from __future__ import annotations

import click

from hft.cli_options import of_system as _of_system
from hft.cli_options import running as _running


@click.group()
def shm() -> None:
    """Shared memory alone, for roles that somebody else starts (systemd)."""


@shm.command(name="create")
@click.argument("config", required=False)
@click.option("--name", help="Run under this name instead of the configured one.")
@click.option("--topology", type=click.Choice(["compact", "dedicated"]))
@click.option("--user-prefix", metavar="PREFIX",
              help="Give each segment to its role's user: PREFIX and the role.")  # fmt: skip
def shm_create(
    config: str | None, name: str | None, topology: str | None, user_prefix: str | None
) -> None:
    """Check venue and host as `hft up` does, and make what the roles need."""
    from hft import config_file
    from tools.system import shm as system_shm
    from tools.terminal import tell

    overrides = {("system", "name"): name, ("system", "topology"): topology}
    given = {key: value for key, value in overrides.items() if value is not None}
    system_shm.create(config_file.load(config_file.find(config), given), tell, user_prefix)


@shm.command(name="arm")
@_of_system
def shm_arm(name: str | None, run_dir: str | None) -> None:
    """Let it trade where nobody has to say so, as `hft up` does: demo and paper."""
    from tools.system import shm as system_shm

    click.echo(system_shm.arm(_running(name, run_dir)))


@shm.command(name="remove")
@_of_system
def shm_remove(name: str | None, run_dir: str | None) -> None:
    """Remove it again; refused while a role runs."""
    from tools.system import shm as system_shm
    from tools.system.places import run_root
    from tools.terminal import tell

    system_shm.remove(run_root(run_dir or ""), name, tell)
