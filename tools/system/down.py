"""`hft down`: end a system in order, or clear away what a dead supervisor left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import ipc
from hft.config import Plan
from hft.credentials import with_credentials
from hft.errors import CheckFailedError, UnreachableError, UsageError
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.roles.context import load_plan
from tools.system import preflight
from tools.system.notes import ProcessNote, load_notes
from tools.system.places import (
    SUPERVISOR,
    find_running,
    known_systems,
    remove_run_dir,
    supervisor_pid,
)
from tools.system.segments import attach_page, remove_all
from tools.system.supervisor import STOP_ORDER

STOP_S_MAX: Final = 60.0
"""The supervisor stops three groups of processes, each with a deadline of its own."""
PROCESS_S_MAX: Final = 10.0
KILL_S_MAX: Final = 5.0


class Group(NamedTuple):
    """Processes that end together."""

    role: str
    """``execution`` when one of them hosts it: the one that cancels the orders."""
    processes: list[ipc.Pidfd]


def run(root: Path, name: str | None, say: Callable[[str], None]) -> None:
    """Take a system down; without a name also clear away all that lost their supervisor.

    Raises:
        UnreachableError: nothing to take down.
        CheckFailedError: it did not end in time.
    """
    orphans = [one for one in known_systems(root) if supervisor_pid(root / one) is None]
    if name is None and orphans:
        for orphan in orphans:
            _clear_away(root / orphan, say)
        if not known_systems(root):
            return
    run_dir = find_running(root, name)
    pid = supervisor_pid(run_dir)
    if pid is None:
        _clear_away(run_dir, say)
    else:
        _stop_supervisor(run_dir, pid, say)


def _stop_supervisor(run_dir: Path, pid: int, say: Callable[[str], None]) -> None:
    try:
        process = ipc.Pidfd(pid)
    except ProcessLookupError:
        return _clear_away(run_dir, say)
    say(f'stopping "{run_dir.name}" (supervisor {pid})')
    process.kill(signal.SIGTERM)
    ended = process.wait(STOP_S_MAX)
    process.close()
    if not ended:
        raise CheckFailedError(
            f'"{run_dir.name}" has not ended after {STOP_S_MAX:g} s (supervisor {pid}).',
            remedy=f"Run kill -9 {pid}, then `hft down` again clears away what is left.",
        )
    if run_dir.exists():
        _clear_away(run_dir, say)
    say(f'"{run_dir.name}" is down')
    return None


def _clear_away(run_dir: Path, say: Callable[[str], None]) -> None:
    """End the processes that are left, in order, and remove everything of the system."""
    name = run_dir.name
    plan = load_plan_left(run_dir)
    refuse_while_kept(run_dir, plan)
    lock = ipc.RoleLock(run_dir, SUPERVISOR)
    try:
        lock.acquire()  # so that nobody starts it while we clear away
    except ipc.LockTakenError as error:
        raise UsageError(
            f'"{name}" is being started or stopped by process {error.pid}.', remedy="Try again."
        ) from None
    say(f'"{name}" has no supervisor: clearing away what is left')
    may_have_orders = plan is not None and _has_traded(plan)
    for group in _processes_left(run_dir):
        ended_orderly = _end(group.processes, say)
        if group.role == "execution" and group.processes and ended_orderly:
            may_have_orders = False
    if plan is not None and may_have_orders:
        say(_cancel(plan))
    for helper in _helpers(run_dir):
        _end([helper], say)
    count = remove_all(name, run_dir)
    remove_run_dir(run_dir)
    lock.release()
    say(f'"{name}" is down: {count} segments and queues removed')


def refuse_while_kept(run_dir: Path, plan: Plan | None) -> None:
    """Leave alone what somebody else keeps alive: what we ended would be started again.

    Raises:
        UsageError: roles run that systemd, or a person, started one by one.
    """
    if plan is None or plan.is_supervised:
        return
    living = [role for role in plan.roles if ipc.lock_holder(run_dir, role) is not None]
    if living:
        raise UsageError(
            f'"{plan.name}" has no supervisor to stop, and {", ".join(living)} run.',
            remedy="Whoever started the roles stops them: systemctl stop hft.target.",
        )


def load_plan_left(run_dir: Path) -> Plan | None:
    """The plan of a system that may have died early; None: there is none to be read."""
    try:
        return load_plan(run_dir)
    except (UsageError, UnreachableError, ValueError):
        return None  # it died before it wrote the plan


def _cancel(plan: Plan) -> str:
    try:
        return preflight.emergency_cancel(with_credentials(plan.config))
    except UsageError as error:
        return f"our orders could NOT be cancelled by REST: {error.message}"


def _has_traded(plan: Plan) -> bool:
    """Whether execution ever lived in this run."""
    try:
        page = attach_page(plan, "execution")
    except ipc.SegmentError:
        return False
    lived = page.pid != 0
    page.close()
    return lived


def _processes_left(run_dir: Path) -> list[Group]:
    """Living processes by the order in which they have to end: noted ones and lock holders."""
    notes = load_notes(run_dir)
    roles_of: dict[int, set[str]] = {}
    for note in notes.processes if notes else ():
        if _lives(note):
            roles_of.setdefault(note.pid, set()).update(note.roles)
    for role in (*ROLES, *OPTIONAL_ROLES):
        pid = ipc.lock_holder(run_dir, role)
        if pid is not None:
            roles_of.setdefault(pid, set()).add(role)
    groups = []
    for role in STOP_ORDER:
        chosen = [pid for pid, roles in roles_of.items() if not role or role in roles]
        hosted = {hosted for pid in chosen for hosted in roles_of.pop(pid)}
        processes = [found for pid in chosen if (found := _open(pid)) is not None]
        groups.append(Group("execution" if "execution" in hosted else role, processes))
    return groups


def _helpers(run_dir: Path) -> list[ipc.Pidfd]:
    notes = load_notes(run_dir)
    living = [note for note in notes.helpers if _lives(note)] if notes else []
    return [found for note in living if (found := _open(note.pid)) is not None]


def _lives(note: ProcessNote) -> bool:
    return note.pid != 0 and ipc.process_start_time(note.pid) == note.pid_started


def _open(pid: int) -> ipc.Pidfd | None:
    try:
        return ipc.Pidfd(pid)
    except ProcessLookupError:
        return None


def _end(processes: list[ipc.Pidfd], say: Callable[[str], None]) -> bool:
    """End these processes; False when one had to be killed."""
    is_orderly = True
    for process in processes:
        process.kill(signal.SIGTERM)
    for process in processes:
        if not process.wait(PROCESS_S_MAX):
            say(f"process {process.pid} does not end: killing it")
            process.kill(signal.SIGKILL)
            process.wait(KILL_S_MAX)
            is_orderly = False
        process.close()
    return is_orderly
