"""`hft shm`: what a system has in shared memory, without a supervisor and without processes.

For roles that are started one by one, as systemd does. With a user for each role every segment
belongs to its writer, and only the group may read it: the kernel keeps everybody else out.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hft.config import Config
from hft.errors import UsageError
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.roles.audit_file import FILE_NAME as AUDIT_FILE
from hft.roles.context import load_plan
from hft.roles.journal_files import FOLDER
from hft.roles.strategy_status import strategies_dir
from tools.risk.changes import LOCK_FILE as LIMITS_LOCK
from tools.system import commands
from tools.system.assembly import ARMS_ITSELF, check_plugins, lay_foundation, take_place
from tools.system.down import load_plan_left, refuse_while_kept
from tools.system.places import (
    Places,
    find_running,
    known_systems,
    places_of,
    remove_run_dir,
    supervisor_pid,
)
from tools.system.segments import remove_all

SHARED_MODE: Final = 0o2770
"""Directories in which every role makes files: all roles run with the same group, and files that
people make there belong to it as well."""
OWN_MODE: Final = 0o2750
"""Directories of one role that the others may look into."""
SHARED_FILE_MODE: Final = 0o660
CONTROL: Final = "control"
"""Whoever trades by hand: no role that is started, but one that owns its segments."""
SYSTEMD: Final = "systemd"


def create(config: Config, say: Callable[[str], None], user_prefix: str | None = None) -> None:
    """Make everything that the roles need, also over what a crash has left.

    Raises:
        HftError, IpcError, PinningError: why it cannot be; nothing is left behind.
    """
    make(config, say, {} if user_prefix is None else users_of_roles(user_prefix))


def make(config: Config, say: Callable[[str], None], owners: dict[str, int]) -> None:
    """As ``create``, with the user id of each role; none: all belongs to the caller.

    Raises:
        HftError, IpcError, PinningError: why it cannot be; nothing is left behind.
    """
    places = places_of(config)
    check_plugins(config)
    lock = take_place(places)
    try:
        plan, facts, footprint = lay_foundation(config, places, is_supervised=False, owners=owners)
        for role in OPTIONAL_ROLES:
            if plan.has_role(role):
                (places.run_dir / f"{role}.planned").touch()
        if owners:
            _share(places, owners)
    except BaseException:
        remove_all(places.name, places.run_dir)
        remove_run_dir(places.run_dir)
        raise
    finally:
        lock.release()
    for notice in facts.notices:
        say(f"note: {notice}")
    size_mb = footprint.byte_count / 2**20
    say(f'"{plan.name}" has {footprint.segment_count} segments, {size_mb:.1f} MB, and is halted')
    say(f'Next: hft run ROLE for each of {" ".join(plan.roles)}, then hft arm --reason "…"')


def _share(places: Places, owners: dict[str, int]) -> None:
    """Let the group write where several users have to, people among them.

    Files that more than one user writes are there before the first of them makes one that is
    only his.
    """
    strategies = strategies_dir(places.state_dir)
    strategies.mkdir(exist_ok=True)
    for directory in (places.run_dir, places.state_dir, places.state_dir / FOLDER):
        os.chown(directory, -1, os.getegid())
        directory.chmod(SHARED_MODE)
    os.chown(strategies, owners["strategy"], os.getegid())
    strategies.chmod(OWN_MODE)
    for path in (
        places.state_dir / AUDIT_FILE,
        places.run_dir / LIMITS_LOCK,
        places.run_dir / f"{CONTROL}.lock",
    ):
        path.touch()
        os.chown(path, -1, os.getegid())
        path.chmod(SHARED_FILE_MODE)


def arm(run_dir: Path) -> str:
    """Let a system trade in whose mode nobody has to say so; returns what to tell.

    Raises:
        UnreachableError: nothing runs from there, or risk does not obey.
    """
    mode = load_plan(run_dir).config.system.mode
    if mode not in ARMS_ITSELF:
        return f'"{run_dir.name}" is {mode}: halted until a person arms it. Next: hft arm'
    return commands.arm(run_dir, f"{mode} arms itself", by=SYSTEMD)


def users_of_roles(prefix: str) -> dict[str, int]:
    """User id of every role's user.

    Raises:
        UsageError: there is no such user.
    """
    owners = {}
    for role in (*ROLES, *OPTIONAL_ROLES, CONTROL):
        try:
            owners[role] = pwd.getpwnam(prefix + role).pw_uid
        except KeyError:
            raise UsageError(
                f"there is no user {prefix + role} for the role {role}.",
                remedy="`systemd-sysusers` makes the users that the installed sysusers.d names.",
            ) from None
    return owners


def remove(root: Path, name: str | None, say: Callable[[str], None]) -> None:
    """Remove segments, queue and run directory; nothing to remove is no mistake.

    Raises:
        UsageError: the system runs, or several are there and none is named.
    """
    known = known_systems(root)
    if not known or (name is not None and name not in known):
        say("there is nothing to remove")
        return
    run_dir = find_running(root, name)
    plan = load_plan_left(run_dir)
    pid = supervisor_pid(run_dir)
    if pid is not None:
        raise UsageError(f'"{run_dir.name}" runs (supervisor {pid}).', remedy="`hft down` ends it.")
    refuse_while_kept(run_dir, plan)
    count = remove_all(run_dir.name, run_dir)
    remove_run_dir(run_dir)
    say(f'"{run_dir.name}": {count} segments and queues removed')
