"""The local supervisor: starts the processes of a plan, watches them, starts the dead ones again.

A death is seen through the process's descriptor at once; a hung process by the heart of its roles.
A process that dies again and again is given up, loudly: the halt is latched and all are stopped.
Nothing here trades: while the supervisor is away, the roles go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import multiprocess
import multiprocess.forkserver
import multiprocess.resource_tracker

import ipc
from hft.config import Plan, ProcessPlan
from hft.counters import BANNED_UNTIL_MS, WAITS, RoleState
from hft.errors import EXIT_UNREACHABLE, EXIT_USAGE, HftError
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.units import NS_PER_MS, NS_PER_S
from tools.system.notes import NOTES_FILE, EventNote, Notes, ProcessNote, load_notes
from tools.system.places import SUPERVISOR

EVENTS_KEPT_MAX: Final = 20
WATCH_MS: Final = 20
"""Pause between two looks at the heartbeats; deaths wake the supervisor at once."""
START_BEATS: Final = 2
"""A role beats when its page is taken over and when it starts; from then on with every turn."""
WAIT_TOLD_NS: Final = 2 * NS_PER_S
"""A process that waits for so long is worth a word."""
REAP_S: Final = 2.0
"""How long the exit code of an ended process may take to arrive from the fork server."""
PRELOAD: Final = (
    "tools.system.supervisor",
    "hft.roles.process",
    *(f"hft.roles.{role}" for role in (*ROLES, *OPTIONAL_ROLES)),
)
STOP_ORDER: Final = ("strategy", "execution", "")
"""Who is stopped first: alpha, then the process that cancels the orders, then all others."""

Target = Callable[[str, str], int]
"""Runs a process of the plan: (run directory, process name) to exit code."""


class Page(Protocol):
    """What the supervisor reads of a role page."""

    @property
    def pid(self) -> int:
        """Process that adopted the page last."""

    @property
    def state(self) -> int:
        """``RoleState``."""

    @property
    def beat_ns(self) -> int:
        """Monotonic time of the last beat."""

    def gauge(self, index: int) -> int:
        """A gauge of the role."""


class GivenUpError(HftError):
    """A process cannot be kept alive; ``exit_code`` is that of the whole system."""

    def __init__(self, message: str, *, remedy: str, exit_code: int) -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = exit_code


@dataclass(slots=True)
class Child:
    """One process of the plan, alive or dead."""

    plan: ProcessPlan
    process: Any = None
    pidfd: ipc.Pidfd | None = None
    started_ns: int = 0
    ready_ns: int = 0
    """When it was first seen ready in this life; 0: not yet."""
    was_ready: bool = False
    """Whether it ever was, in this life or an earlier one."""
    beat_ns: int = 0
    """Oldest of its roles' last beats, as seen last."""
    beats_seen: int = 0
    """How often that changed; more than ``START_BEATS`` times: its roles are being turned."""
    waited_ns: int = 0
    """When one of its roles was last seen to wait for others, or its start."""
    waits_since_ns: int = 0
    """Since when it waits without a break; 0: it does not."""
    is_wait_told: bool = False
    is_doomed: bool = False
    """It was killed and has not ended yet."""
    restarts: int = 0
    deaths_ns: deque[int] = field(default_factory=deque)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.pidfd is not None

    @property
    def pid(self) -> int:
        """Process id; 0: not running."""
        return self.pidfd.pid if self.pidfd is not None else 0


def run_child(target: Target, run_dir: str, name: str) -> None:
    """What a child process runs: apart from the terminal, so that Ctrl-C does not reach it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()
    os.dup2(sys.stderr.fileno(), 1)  # standard output belongs to the command
    try:
        exit_code = target(run_dir, name)
    except OSError as error:  # a disk that is full, a file that is another user's
        print(f"hft {name}: {error}", file=sys.stderr)
        exit_code = EXIT_USAGE
    sys.exit(exit_code)


def warm_up(preload: Sequence[str] = PRELOAD) -> Any:
    """Start the fork server, which imports what every child needs; returns its context."""
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    # The mask is inherited by the server and all its children: Ctrl-C is not for them, from their
    # first moment. The tracker comes first: its start lifts the block.
    multiprocess.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    multiprocess.forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def warm_processes() -> tuple[tuple[str, int], ...]:
    """The fork server and its tracker, name and process id: they outlive a killed supervisor."""
    server: int = multiprocess.forkserver._forkserver._forkserver_pid or 0
    tracker: int = multiprocess.resource_tracker._resource_tracker._pid or 0
    return ("fork server", server), ("tracker", tracker)


def cool_down() -> None:
    """End the fork server and its tracker, and wait for them: no process may be left."""
    # They end by themselves after this process; there is no public way to wait for that.
    multiprocess.forkserver._forkserver._stop()
    multiprocess.resource_tracker._resource_tracker._stop()


def _ignore(*_: object) -> None:
    """Default of the callbacks below."""


class Supervisor:
    """Keeps the processes of a plan alive. Sole writer of ``supervisor.json``."""

    def __init__(
        self,
        plan: Plan,
        *,
        target: Target,
        pages: Mapping[str, Page],
        beat: Callable[[int], None] = _ignore,
        ring_bells: Callable[[], None] = _ignore,
        on_event: Callable[[str], None] = _ignore,
        context: Any = None,
    ) -> None:
        """Take charge of a plan; nothing starts yet.

        Args:
            plan: the processes and the settings of the supervisor.
            target: what each process runs.
            pages: role pages by role, to be read.
            beat: called with the time at every turn.
            ring_bells: called when a process died, so that nobody sleeps over it.
            on_event: told in words what happened.
            context: from ``warm_up``; None: made here.
        """
        self._plan = plan
        self._settings = plan.config.supervisor
        self._target = target
        self._pages = pages
        self._beat = beat
        self._ring_bells = ring_bells
        self._on_event = on_event
        self._context = context or warm_up()
        self._events: deque[EventNote] = deque(maxlen=EVENTS_KEPT_MAX)
        self._helpers: list[ProcessNote] = []
        self._turn_ns = 0
        self._is_stopping = False
        self.children: Final = tuple(Child(process) for process in plan.processes)

    # --- starting -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every process, in the order of the plan, without waiting for one another."""
        for child in self.children:
            self._start(child)
        self._note()

    def _start(self, child: Child) -> None:
        arguments = (self._target, self._plan.run_dir, child.plan.name)
        child.process = self._context.Process(
            target=run_child, args=arguments, name=child.plan.name
        )
        child.process.start()
        child.started_ns = child.waited_ns = time.monotonic_ns()
        child.ready_ns = child.beat_ns = child.beats_seen = child.waits_since_ns = 0
        child.is_doomed = child.is_wait_told = False
        try:
            child.pidfd = ipc.Pidfd(child.process.pid)
        except ProcessLookupError:  # ended already, and was waited for by the fork server
            child.pidfd = None
            self._died(child, child.started_ns)

    @property
    def is_ready(self) -> bool:
        """Whether every process runs and all its roles are ready."""
        return all(child.is_alive and child.ready_ns for child in self.children)

    # --- watching -------------------------------------------------------------------------------

    def step(self, timeout_s: float, also: int | None = None) -> None:
        """Wait for a death, for descriptor ``also``, or the time; then look after everybody.

        Raises:
            GivenUpError: a process dies again and again, or says that it cannot work at all.
        """
        poller = select.poll()
        for child in self.children:
            if child.pidfd is not None:
                poller.register(child.pidfd.fileno(), select.POLLIN)
        if also is not None:
            poller.register(also, select.POLLIN)
        poller.poll(min(timeout_s * 1000, WATCH_MS))
        now_ns = time.monotonic_ns()
        for child in self.children:
            if child.pidfd is not None and not child.pidfd.is_alive:
                self._died(child, now_ns)
        self._watch(now_ns)
        self._beat(now_ns)

    def _watch(self, now_ns: int) -> None:
        """Kill what hangs: no beat any more, or not ready long after its start."""
        # When we ourselves were kept from running, so were the others: nobody is judged by that.
        was_late = now_ns - self._turn_ns > self._settings.hung_ms * NS_PER_MS // 2
        self._turn_ns = now_ns
        for child in self.children:
            if not child.is_alive or child.is_doomed:
                continue
            self._observe(child, now_ns)
            if not was_late and (why := self._why_hung(child, now_ns)):
                self._kill(child, why)

    def _observe(self, child: Child, now_ns: int) -> None:
        """Take from the pages of its roles what is known of a process."""
        pages = [self._pages[role] for role in child.plan.roles]
        if any(page.pid != child.pid for page in pages):
            return  # they tell of an earlier life
        beat_ns = min(page.beat_ns for page in pages)
        if beat_ns != child.beat_ns:
            child.beat_ns = beat_ns
            child.beats_seen += 1
        self._observe_waiting(child, now_ns)
        if not child.ready_ns and all(page.state == RoleState.READY for page in pages):
            child.ready_ns = now_ns
            child.was_ready = True
            if child.restarts:
                took_s = (now_ns - child.started_ns) / NS_PER_S
                self._event(f"{child.plan.name} ready again after {took_s:.2f} s")

    def _observe_waiting(self, child: Child, now_ns: int) -> None:
        """Tell who waits for what no new start would mend, and when that has an end."""
        waiting = [role for role in child.plan.roles if self._pages[role].gauge(WAITS.id)]
        if not waiting:
            if child.is_wait_told:
                waited_s = (now_ns - child.waits_since_ns) / NS_PER_S
                self._event(f"{child.plan.name} goes on after {waited_s:.1f} s of waiting")
            child.waits_since_ns, child.is_wait_told = 0, False
            return
        child.waited_ns = now_ns
        child.waits_since_ns = child.waits_since_ns or now_ns
        if not child.is_wait_told and now_ns - child.waits_since_ns > WAIT_TOLD_NS:
            child.is_wait_told = True
            until_ms = max(self._pages[role].gauge(BANNED_UNTIL_MS.id) for role in self._pages)
            ban_s = (until_ms * NS_PER_MS - now_ns) / NS_PER_S
            why = f"the venue has banned this address for {ban_s:.0f} s more" if ban_s > 0 else ""
            why = why or "it cannot do its work now, and a new start would not help"
            verb = "waits" if len(waiting) == 1 else "wait"
            self._event(f"{child.plan.name}: {' and '.join(waiting)} {verb}: {why}")

    def _why_hung(self, child: Child, now_ns: int) -> str:
        """Why a process has to be killed; empty: it has not.

        Whoever is turned has to beat, whether it is ready, recovers or waits for the venue. Before
        its first turn a process may take as long as a start may take, and longer while it waits
        for what no new start would mend.
        """
        is_turned = child.ready_ns or child.beats_seen > START_BEATS
        if is_turned and (silent := self._silent_role(child, now_ns)):
            return f"no heartbeat of {silent} for {self._hung_ms(silent)} ms"
        start_s = self._settings.start_s
        if not child.ready_ns and now_ns - child.waited_ns > start_s * NS_PER_S:
            since = "its start" if child.waited_ns == child.started_ns else "the end of its waiting"
            return f"not ready {start_s:g} s after {since}"
        return ""

    def _silent_role(self, child: Child, now_ns: int) -> str | None:
        for role in child.plan.roles:
            if now_ns - self._pages[role].beat_ns > self._hung_ms(role) * NS_PER_MS:
                return role
        return None

    def _hung_ms(self, role: str) -> int:
        return self._settings.hung_ms_of.get(role, self._settings.hung_ms)

    def _kill(self, child: Child, why: str) -> None:
        assert child.pidfd is not None
        self._event(f"{child.plan.name} hangs: {why}; killing process {child.pid}")
        child.pidfd.kill(signal.SIGKILL)
        child.is_doomed = True

    def _died(self, child: Child, now_ns: int) -> None:
        """Note a death, and start the process again unless it is a crash loop."""
        exit_code = self._reap(child)
        self._ring_bells()
        if self._is_stopping:
            return
        how = _how_it_ended(exit_code)
        if exit_code in (EXIT_USAGE, EXIT_UNREACHABLE) and not child.ready_ns:
            self._event(f"{child.plan.name} {how}")
            raise GivenUpError(
                f"{child.plan.name} cannot start.",
                remedy="What it said stands above.",
                exit_code=exit_code,
            )
        window_ns = int(self._settings.crash_window_s * NS_PER_S)
        child.deaths_ns.append(now_ns)
        while child.deaths_ns[0] < now_ns - window_ns:
            child.deaths_ns.popleft()
        if len(child.deaths_ns) >= self._settings.crashes_max:
            self._event(f"{child.plan.name} {how}: given up")
            raise GivenUpError(
                f"{child.plan.name} ended {len(child.deaths_ns)} times within"
                f" {self._settings.crash_window_s:g} s, last: {how}.",
                remedy="Trading is halted and everything stopped; what it said stands above.",
                exit_code=1,
            )
        child.restarts += 1
        self._event(f"{child.plan.name} {how}; starting it again")
        self._start(child)
        self._note()

    def _reap(self, child: Child) -> int | None:
        """Exit code of an ended process as ``multiprocess`` gives it: negative, a signal."""
        if child.pidfd is not None:
            child.pidfd.close()
            child.pidfd = None
        child.process.join(REAP_S)
        exit_code: int | None = child.process.exitcode
        child.process.close()
        return exit_code

    # --- stopping -------------------------------------------------------------------------------

    def stop(self) -> list[str]:
        """Stop all processes in order; returns the names of those that could not end orderly.

        First those with strategies, then the one with execution (which cancels its orders), then
        the rest. Whoever has not ended in time is killed.
        """
        self._is_stopping = True
        failed = [
            child.plan.name for child in self.children if child.was_ready and not child.is_alive
        ]
        for role in STOP_ORDER:
            group = [
                child
                for child in self.children
                if child.is_alive and (not role or role in child.plan.roles)
            ]
            failed += self._stop_group(group)
        self._note()
        return failed

    def _stop_group(self, group: list[Child]) -> list[str]:
        for child in group:
            assert child.pidfd is not None
            child.pidfd.kill(signal.SIGTERM)
        failed: list[str] = []
        deadline_ns = time.monotonic_ns() + int(self._settings.stop_s * NS_PER_S)
        for child in group:
            assert child.pidfd is not None
            while not child.pidfd.wait(WATCH_MS / 1000):
                now_ns = time.monotonic_ns()
                self._beat(now_ns)
                if now_ns > deadline_ns and child.plan.name not in failed:
                    self._event(f"{child.plan.name} does not end; killing process {child.pid}")
                    child.pidfd.kill(signal.SIGKILL)
                    failed.append(child.plan.name)
            exit_code = self._reap(child)
            if exit_code and child.was_ready and child.plan.name not in failed:
                self._event(f"{child.plan.name} {_how_it_ended(exit_code)} while it was stopped")
                failed.append(child.plan.name)
        return failed

    # --- notes ----------------------------------------------------------------------------------

    def add_helper(self, name: str, pid: int) -> None:
        """Note a process beside the plan, so that `hft down` finds it when we are gone."""
        self._helpers.append(_process_note(name, (), pid, 0))
        self._note()

    def _event(self, text: str) -> None:
        self._events.append(EventNote(wall_ns=time.time_ns(), text=text))
        with contextlib.suppress(OSError):  # nobody left to be told: the processes come first
            self._on_event(text)
        self._note()

    def _note(self) -> None:
        notes = Notes(
            pid=os.getpid(),
            started_wall_ns=self._plan.started_wall_ns,
            processes=tuple(
                _process_note(child.plan.name, child.plan.roles, child.pid, child.restarts)
                for child in self.children
            ),
            helpers=tuple(self._helpers),
            events=tuple(self._events),
        )
        path = Path(self._plan.run_dir) / NOTES_FILE
        draft = path.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.encode(notes))
            draft.replace(path)
        except OSError as error:  # a full disk is no reason to leave the processes alone
            self._on_event(f"cannot write {path}: {error.strerror}")


def _process_note(name: str, roles: tuple[str, ...], pid: int, restarts: int) -> ProcessNote:
    started = (ipc.process_start_time(pid) or 0) if pid else 0
    return ProcessNote(name=name, roles=roles, pid=pid, pid_started=started, restarts=restarts)


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended"
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


__all__ = [
    "SUPERVISOR",
    "GivenUpError",
    "Notes",
    "ProcessNote",
    "Supervisor",
    "load_notes",
    "warm_up",
]
