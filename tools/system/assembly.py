"""One system from its lock to its last segment: whatever was made is removed again at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

import ipc
from hft.config import Config, Plan
from hft.counters import RoleState
from hft.credentials import with_credentials
from hft.errors import UsageError
from hft.graph import OPTIONAL_ROLES, ROLES, page_name
from hft.roles.containment import load_bounded
from hft.roles.process import run_process
from tools.system import commands, preflight
from tools.system.disk import check_disk
from tools.system.placement import off_hot_cpus
from tools.system.places import (
    SUPERVISOR,
    Places,
    make_run_dir,
    places_of,
    remove_run_dir,
)
from tools.system.planner import make_plan, write_plan
from tools.system.segments import (
    Bells,
    Footprint,
    attach_halt,
    attach_page,
    create_all,
    remove_all,
    write_instruments,
)
from tools.system.supervisor import (
    Supervisor,
    Target,
    cool_down,
    load_notes,
    warm_processes,
    warm_up,
)

ARMS_ITSELF: Final = ("demo", "paper")
"""Modes in which no person has to arm the system."""


class Foundation(NamedTuple):
    """A system without processes: what it was planned from, and what is in shared memory."""

    plan: Plan
    facts: preflight.VenueFacts
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class System:
    """A system whose segments are there and whose processes may be started."""

    plan: Plan
    facts: preflight.VenueFacts
    footprint: Footprint
    supervisor: Supervisor
    page: ipc.RolePage
    """The supervisor's own."""

    @property
    def run_dir(self) -> Path:
        """Where it runs."""
        return Path(self.plan.run_dir)

    def start(self, should_stop: Callable[[], bool]) -> bool:
        """Start all processes and wait until they are ready; False: asked to stop before.

        Raises:
            GivenUpError: a process cannot be kept alive.
        """
        self.supervisor.start()
        while not self.supervisor.is_ready:
            if should_stop():
                return False
            self.supervisor.step(0.005)
        self.page.state = int(RoleState.READY)
        return True

    def arm_itself(self) -> bool:
        """Arm, where the mode says that no person has to."""
        mode = self.plan.config.system.mode
        if mode in ARMS_ITSELF:
            commands.arm(self.run_dir, f"{mode} arms itself", by=SUPERVISOR)
        return mode in ARMS_ITSELF

    def halt(self, reason: str) -> None:
        """Latch the halt."""
        attach_halt(self.plan, writable=True).set(reason, SUPERVISOR)

    def stop(self, on_event: Callable[[str], None]) -> None:
        """Stop all processes in order; orders of an execution that could not end are cancelled."""
        self.page.state = int(RoleState.STOPPING)
        failed = self.supervisor.stop()
        if self.plan.process_of("execution").name in failed:
            on_event(preflight.emergency_cancel(self.plan.config))


@contextmanager
def assembled(
    config: Config,
    *,
    on_event: Callable[[str], None],
    target: Target = run_process,
) -> Iterator[System]:
    """Check everything, then make everything; at the end, stop and remove everything.

    Raises:
        HftError, IpcError, PinningError: why it cannot be; nothing is left behind.
    """
    places = places_of(config)
    check_plugins(config)
    with ExitStack() as stack:
        lock = take_place(places)
        stack.callback(lock.release)
        stack.callback(remove_run_dir, places.run_dir)
        context = warm_up()
        stack.callback(cool_down)
        plan, facts, footprint = lay_foundation(config, places)
        stack.callback(remove_all, plan.name, places.run_dir)
        stack.enter_context(off_hot_cpus(plan))
        page = ipc.RolePage.attach(plan.name, page_name(SUPERVISOR), writable=True)
        page.adopt()
        page.state = int(RoleState.STARTING)
        stack.callback(page.close)
        bells = Bells(plan)
        stack.callback(bells.close)
        supervisor = Supervisor(
            plan,
            target=target,
            pages={role: attach_page(plan, role) for role in plan.roles},
            beat=page.beat,
            ring_bells=bells.ring,
            on_event=on_event,
            context=context,
        )
        for name, pid in warm_processes():
            supervisor.add_helper(name, pid)
        system = System(plan, facts, footprint, supervisor, page)
        stack.callback(system.stop, on_event)
        yield system


def lay_foundation(
    config: Config,
    places: Places,
    *,
    is_supervised: bool = True,
    owners: Mapping[str, int] | None = None,
) -> Foundation:
    """Preflight, plan, segments and instrument rows: all that has to be there before any role.

    Raises:
        HftError, IpcError, PinningError: why it cannot be; no segment is left behind.
    """
    facts = preflight.check(with_credentials(config))
    notices = check_disk(places.state_dir)
    facts = msgspec.structs.replace(facts, notices=(*facts.notices, *notices))
    plan = make_plan(
        config,
        places,
        limits=facts.limits,
        equity_e8=facts.equity_e8,
        now_wall_ns=time.time_ns(),
        is_supervised=is_supervised,
        owners=owners,
    )
    write_plan(plan)
    ipc.trust_owners(plan.owners.values())
    footprint = create_all(plan.name, places.run_dir, plan.owners)
    try:
        write_instruments(plan, facts.symbols)
    except BaseException:
        remove_all(plan.name, places.run_dir)
        raise
    return Foundation(plan, facts, footprint)


def check_plugins(config: Config) -> None:
    """Load every plug-in once, here, where a mistake in it stops nothing that runs.

    Raises:
        StrategyLoadError: a plug-in or its parameters do not hold.
    """
    for strategy in config.strategies:
        load_bounded(strategy.plugin, strategy.parameters)


def take_place(places: Places) -> ipc.RoleLock:
    """Make the run directory ours and empty it; returns the supervisor's lock, held.

    Raises:
        UsageError: the system runs, or parts of it do; or its disk is full.
    """
    is_new = not places.run_dir.exists()
    make_run_dir(places)
    lock = ipc.RoleLock(places.run_dir, SUPERVISOR)
    try:
        lock.acquire()
    except ipc.LockTakenError as error:
        raise UsageError(
            f'"{places.name}" runs already (pid {error.pid}{_since(places.run_dir)}).',
            remedy="`hft status` shows it, `hft down` ends it; --name starts another beside it.",
        ) from None
    except OSError as error:
        if is_new:
            remove_run_dir(places.run_dir)
        raise UsageError(
            f"cannot write in {places.run_dir}: {error.strerror}.",
            remedy="Make room there, or set system.run_dir to another directory.",
        ) from None
    for role in (*ROLES, *OPTIONAL_ROLES):
        pid = ipc.lock_holder(places.run_dir, role)
        if pid is not None:
            lock.release()
            raise UsageError(
                f'"{places.name}" has no supervisor, and {role} still runs (pid {pid}).',
                remedy="`systemctl stop hft.target` or `hft down` stops it; then start again.",
            )
    remove_all(places.name, places.run_dir)  # what a supervisor that died could not remove
    for left in places.run_dir.iterdir():
        if left != lock.path and not left.is_dir():
            left.unlink(missing_ok=True)
    return lock


def _since(run_dir: Path) -> str:
    notes = load_notes(run_dir)
    if notes is None:
        return ""
    return time.strftime(", since %Y-%m-%d %H:%M:%S", time.localtime(notes.started_wall_ns / 1e9))
