"""One process of a topology: locks, pages, parking place, roles, loop. What everybody starts."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

import ipc
import pinning
from hft.config import Plan, ProcessPlan
from hft.credentials import with_credentials
from hft.errors import EXIT_UNREACHABLE, HftError, UnreachableError, UsageError
from hft.graph import COLD_ROLES
from hft.roles import notify
from hft.roles.context import Context, Role, load_plan
from hft.roles.runner import LoopRunner, Stopper, run_loop
from hft.roles.upkeep import PERIOD_NS, WAKE_NS

SOCKET_ROLES = frozenset({"feed", "execution", "account", "paper"})
"""Roles that live in an event loop: for their sockets, or for a timer of their own."""
SLICE_NS: Final = {"feed": 800_000, "strategy": 400_000, "risk": 200_000, "execution": 100_000}
"""Slices of processes that share a cpu, by the last of their roles: whoever is woken on an order's
way runs at once, and the one that woke it does the rest of its turn afterwards."""
SIGNING_ROLES = frozenset({"execution", "account"})


def make_role(name: str, context: Context) -> Role:
    """The role object of that name; its module is imported only now."""
    if name == "feed":
        from hft.roles.feed import Feed

        return Feed(context)
    if name == "strategy":
        from hft.roles.strategy import StrategyEngine

        return StrategyEngine(context)
    if name == "risk":
        from hft.roles.risk import Risk

        return Risk(context)
    if name == "execution":
        from hft.roles.execution import Execution

        return Execution(context)
    if name == "account":
        from hft.roles.account import Account

        return Account(context)
    if name == "paper":
        from hft.roles.paper import Paper

        return Paper(context)
    if name == "recorder":
        from hft.roles.recorder import Recorder

        return Recorder(context)
    raise UsageError(f"there is no role {name!r}", remedy="Roles are named in hft/graph.py.")


def run_process(run_dir: str, process_name: str, *, ignore_interrupt: bool = True) -> int:
    """Run one process of the plan in ``run_dir`` until SIGTERM. Returns its exit code.

    ``process_name`` is a process or a role of the plan. Under a supervisor SIGINT is ignored:
    Ctrl-C reaches the whole group, and the supervisor stops its children in order.
    """
    try:
        plan = load_plan(Path(run_dir))
        process = _find(plan, process_name)
        if not SIGNING_ROLES.isdisjoint(process.roles):  # the others are given no key
            plan = msgspec.structs.replace(plan, config=with_credentials(plan.config))
        return _run(plan, process, ignore_interrupt=ignore_interrupt)
    except (HftError, ipc.IpcError) as error:
        remedy = getattr(error, "remedy", "")
        text = f"hft {process_name}: {error}" + (f"\n     {remedy}" if remedy else "")
        print(text, file=sys.stderr)
        if isinstance(error, UnreachableError):
            return EXIT_UNREACHABLE
        return getattr(error, "exit_code", 2)


def _find(plan: Plan, name: str) -> ProcessPlan:
    for process in plan.processes:
        if name == process.name or name in process.roles:
            return process
    known = ", ".join(process.name for process in plan.processes)
    raise UsageError(
        f"the plan of {plan.name!r} has no process or role {name!r}", remedy=f"It has: {known}."
    )


def _run(plan: Plan, process: ProcessPlan, *, ignore_interrupt: bool) -> int:
    run_dir = Path(plan.run_dir)
    locks = [ipc.RoleLock(run_dir, role) for role in process.roles]
    for lock in locks:
        lock.acquire()
    _settle_on_host(plan, process)
    now_ns = time.monotonic_ns()
    contexts = []
    for role in process.roles:
        context = Context(plan, role, process)
        context.adopt(now_ns)
        contexts.append(context)
    roles = [make_role(context.role, context) for context in contexts]
    stopper = Stopper(roles)
    _handle_signals(stopper.request, ignore_interrupt=ignore_interrupt)
    notifier = notify.connect({context.role: context.page for context in contexts})
    try:
        if SOCKET_ROLES.isdisjoint(process.roles):
            return _run_plain(process, roles, contexts, stopper, notifier)
        return _run_with_sockets(run_dir, process, roles, contexts, stopper, notifier)
    finally:
        if notifier is not None:
            notifier.close()
        for context in contexts:
            context.close()


def _settle_on_host(plan: Plan, process: ProcessPlan) -> None:
    """Core, scheduling class, locked memory, timer slack; what the host refuses is said.

    Not in a demo: there everything is best effort, and `hft doctor` has the whole list.
    """
    if process.cpu < 0:
        return
    system = plan.config.system
    for problem in pinning.apply(
        process.cpu,
        lock_memory=system.lock_memory,
        realtime_priority=process.realtime_priority,
        timer_slack_ns=system.timer_slack_ns,
        slice_ns=_slice_ns(process),
    ):
        if system.mode != "demo":
            print(f"hft {process.name}: {problem}", file=sys.stderr)


def _slice_ns(process: ProcessPlan) -> int:
    """0: one that hardly sleeps gains nothing by short slices, and cold ones are to come last."""
    if process.wait == "busy_spin":
        return 0
    return min((SLICE_NS[role] for role in process.roles if role in SLICE_NS), default=0)


def _handle_signals(request: Callable[[], None], *, ignore_interrupt: bool) -> None:
    def on_signal(_number: int, _frame: object) -> None:
        request()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_interrupt else on_signal)


def _run_plain(
    process: ProcessPlan,
    roles: list[Role],
    contexts: list[Context],
    stopper: Stopper,
    notifier: notify.Notifier | None,
) -> int:
    parker = ipc.Parker(contexts[0].bells_segment(), process.bell, _readers(contexts))
    park_ns = PERIOD_NS if COLD_ROLES.issuperset(process.roles) else WAKE_NS
    wait = _wait_strategy(process.wait, parker, park_ns)
    return run_loop(roles, contexts, wait, stopper, notifier)


def _wait_strategy(
    name: str, parker: ipc.Parker, park_ns: int
) -> ipc.BusySpin | ipc.SpinThenPark | ipc.Park:
    """The plan's strategy; who sleeps still turns often enough to renew a permit."""
    if name == "busy_spin":
        return ipc.BusySpin(parker)
    if name == "spin_then_park":
        return ipc.SpinThenPark(parker, park_ns=park_ns)
    return ipc.Park(parker, park_ns=park_ns)


def _readers(contexts: list[Context]) -> list[ipc.RingReader]:
    """All rings whose news must wake the process; roles attach them when they are made."""
    return [reader for context in contexts for reader in context.readers]


def _run_with_sockets(
    run_dir: Path,
    process: ProcessPlan,
    roles: list[Role],
    contexts: list[Context],
    stopper: Stopper,
    notifier: notify.Notifier | None,
) -> int:
    import uvloop

    fifo = run_dir / f"{process.name}.fifo"
    ipc.make_fifo(fifo)
    loop = uvloop.new_event_loop()
    bells = contexts[0].bells_segment()
    parker = ipc.Parker(bells, process.bell, _readers(contexts), fifo_path=fifo)
    runner = LoopRunner(roles, contexts, parker, process.wait, stopper, notifier)
    return runner.run(loop)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(run_process(sys.argv[1], sys.argv[2]))
