"""The two loops that turn roles: a plain one, and one for processes with sockets.

Both do the same: one clock read a turn, every role once in order, a beat on every page, and when
nobody had work the wait of the CPU plan. A role that raises ends the process: its state may be
torn, the supervisor restarts it, and its successor rebuilds from what is committed.
"""

from __future__ import annotations

import asyncio
import gc
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

import pinning
from hft.counters import RoleState
from hft.errors import UsageError
from hft.graph import COLD_ROLES
from hft.roles.context import Context, Role
from hft.roles.notify import Notifier
from hft.roles.turning import Cycle, Turning, turn_alone
from hft.roles.upkeep import PERIOD_NS, REHEARSE_ASLEEP_NS, REHEARSE_NS, WAKE_NS, Upkeep
from ipc import BusySpin, Parker, PeriodicTimer

EXIT_OK: Final = 0
EXIT_FATAL: Final = 70
STOP_NS_MAX: Final = 8_000_000_000
STOP_ORDER: Final = ("strategy", "execution", "paper", "risk", "feed", "account", "recorder")
"""Who may stop first: alpha, then the orders, then those that the orders need, then their copy."""


class Stopper:
    """Asks the roles to stop, each after the ones before it in ``STOP_ORDER`` are done."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._waiting = sorted(roles, key=lambda role: STOP_ORDER.index(role.name))
        self._deadline_ns = 0
        self.requested = False

    def request(self) -> None:
        """Begin an orderly stop (a signal handler may call it: it only sets a flag)."""
        self.requested = True

    def is_done(self, now_ns: int) -> bool:
        """Advance; True when every role is ready to be closed, or the time is up."""
        if not self._deadline_ns:
            self._deadline_ns = now_ns + STOP_NS_MAX
        while self._waiting and self._waiting[0].on_stop(now_ns):
            self._waiting.pop(0)
        return not self._waiting or now_ns > self._deadline_ns


def _make_cycle(roles: Sequence[Role], contexts: Sequence[Context]) -> Cycle:
    return Cycle(roles, [context.page for context in contexts])


def _start(cycle: Cycle) -> None:
    for role, page in zip(cycle.roles, cycle.pages, strict=True):
        page.beat(time.monotonic_ns())
        role.on_start(time.monotonic_ns())


def _close(cycle: Cycle, error: BaseException | None) -> int:
    for role, page in zip(cycle.roles, cycle.pages, strict=True):
        if error is not None:
            page.fail("".join(traceback.format_exception(error))[-250:])
            page.state = int(RoleState.FAILED)
        role.on_close()
        if error is None:
            page.state = int(RoleState.STOPPED)
    if isinstance(error, UsageError):
        raise error  # a person's mistake: whoever started the process tells it in words
    if error is not None:
        traceback.print_exception(error)
    return EXIT_OK if error is None else EXIT_FATAL


def freeze_memory() -> None:
    """Move everything made at start out of the collector's sight, switch it off, and have every
    page that may be written to."""
    gc.collect()
    gc.freeze()
    gc.disable()
    pinning.fill_memory()


def run_loop(
    roles: Sequence[Role],
    contexts: Sequence[Context],
    wait: Any,
    stopper: Stopper,
    notifier: Notifier | None = None,
) -> int:
    """Turn roles without sockets until the stopper is done. Returns the exit code."""
    cycle = _make_cycle(roles, contexts)
    error: BaseException | None = None
    try:
        _start(cycle)
        freeze_memory()
        upkeep = Upkeep(
            cycle.pages[0],
            time.monotonic_ns(),
            collects=True,
            roles=cycle.roles,
            rehearse_ns=REHEARSE_NS if isinstance(wait, BusySpin) else REHEARSE_ASLEEP_NS,
        )

        def after_turn(now_ns: int, is_idle: bool) -> bool:
            upkeep.passed(now_ns)
            if notifier is not None:
                notifier.turned(now_ns, is_stopping=stopper.requested)
            if stopper.requested and stopper.is_done(now_ns):
                return False
            if is_idle:
                upkeep.idle(now_ns)
            return True

        turn_alone(cycle, wait, after_turn)
    except Exception as raised:
        error = raised
    return _close(cycle, error)


class LoopRunner(Turning):
    """Turns roles inside an event loop: from socket callbacks, the FIFO, a timer, or itself.

    ``turn`` is not re-entrant: a callback that comes while it runs makes it go round once more.
    Before it returns to the loop it parks the process, fences and looks again, so a record that
    came in between is not slept over.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        contexts: Sequence[Context],
        parker: Parker,
        wait: str,
        stopper: Stopper,
        notifier: Notifier | None = None,
    ) -> None:
        self._cycle = _make_cycle(roles, contexts)
        super().__init__(self._cycle, parker, wait)
        self._parker = parker
        self._stopper = stopper
        self._notifier = notifier
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._is_hot = any(role.name not in COLD_ROLES for role in roles)
        sleeps_hot = self._is_hot and wait != "busy_spin"
        self._period_ns = WAKE_NS if sleeps_hot else PERIOD_NS
        now_ns = time.monotonic_ns()
        self._timer: PeriodicTimer | None = None
        self._due_ns = 0
        self._upkeep = Upkeep(
            self._cycle.pages[0],
            now_ns,
            collects=self._is_hot,
            roles=self._cycle.roles,
            sleeps=wait == "park",
            rehearse_ns=REHEARSE_NS if wait == "busy_spin" else REHEARSE_ASLEEP_NS,
        )

    def run(self, loop: asyncio.AbstractEventLoop) -> int:
        """Start the roles, turn until stopped or failed, close them. Returns the exit code."""
        self._loop = loop
        self.turn_in(loop)
        loop.set_exception_handler(self._on_loop_exception)
        try:
            _start(self._cycle)
            for role in self._cycle.roles:
                start = getattr(role, "start_sessions", None)
                if start is not None:
                    start(loop, self.guard, self.turn)
            self.read_between_turns(
                read for role in self._cycle.roles for read in getattr(role, "hot_reads", ())
            )
            if self._is_hot:
                freeze_memory()
            loop.add_reader(self._parker.fifo_fd, self.on_fifo)
            self._timer = PeriodicTimer(self._period_ns)
            self._due_ns = time.monotonic_ns() + self._period_ns
            loop.add_reader(self._timer.fd, self._on_timer)
            self.turn()
            loop.run_forever()
        except Exception as raised:
            self._error = self._error or raised
        return _close(self._cycle, self._error)

    def guard(self, handler: Callable[..., None]) -> Callable[..., None]:
        """A session callback whose exceptions end the process instead of a log line."""

        def guarded(*arguments: Any) -> None:
            if self.is_finished:
                return
            try:
                handler(*arguments)
            except Exception as error:
                self.fail(error)

        return guarded

    def fail(self, error: BaseException) -> None:
        """End the process: state may be torn."""
        if not self.is_finished:  # what fails while the roles close changes nothing any more
            self._error = error
            self._finish()

    def _finish(self) -> None:
        """Leave the loop; what still fires in it while the roles close does nothing."""
        self.is_finished = True
        assert self._loop is not None
        self._loop.stop()

    def _after_turn(self, now_ns: int, is_idle: bool) -> bool:
        """What is done beside the roles; False: the process is at its end."""
        if is_idle:
            self._upkeep.idle(now_ns)
        else:
            self._upkeep.worked(now_ns)
        if self._notifier is not None:
            self._notifier.turned(now_ns, is_stopping=self._stopper.requested)
        if self._stopper.requested and self._stopper.is_done(now_ns):
            assert self._loop is not None
            self._loop.stop()
            return False
        return True

    def _on_timer(self) -> None:
        assert self._timer is not None
        periods = self._timer.take()
        self._upkeep.late(max(0, time.monotonic_ns() - self._due_ns))
        self._due_ns += periods * self._period_ns
        self.turn()

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self.fail(error)
        else:
            loop.default_exception_handler(context)
