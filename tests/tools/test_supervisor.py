"""The supervisor with small processes in place of the roles."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ipc
from hft.config import Config, Plan, ProcessPlan, RateLimits, SupervisorConfig, SystemConfig
from hft.counters import BANNED_UNTIL_MS, WAITS, RoleState
from hft.graph import page_name
from hft.units import NS_PER_S
from tools.system.notes import load_notes
from tools.system.planner import write_plan
from tools.system.supervisor import GivenUpError, Supervisor, cool_down, warm_up

FAKE = '''
import os, signal, sys, time
from pathlib import Path
import ipc
from hft.counters import WAITS, RoleState
from hft.roles.context import load_plan

def run(run_dir, name):
    """Beats on the pages of its roles; files in the run directory tell it how to fail."""
    directory = Path(run_dir)
    plan = load_plan(directory)
    roles = next(process.roles for process in plan.processes if process.name == name)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    note = directory / (name + ".do")
    order = note.read_text() if note.exists() else ""
    pages = [ipc.RolePage.attach(plan.name, "page." + role, writable=True) for role in roles]
    for page in pages:
        page.adopt()
        page.state = int(RoleState.STARTING)
    if order.startswith("exit"):
        return int(order.split()[1])
    for page in pages:
        page.set_gauge(WAITS.id, int(order == "wait"))
        page.state = int(RoleState.RECOVERING if order else RoleState.READY)
    while not stop or order == "stay":
        for page in pages:
            page.beat(time.monotonic_ns())
            if order == "wait" and not note.exists():
                page.set_gauge(WAITS.id, 0)
                page.state = int(RoleState.READY)
            if order == "stay":
                page.state = int(RoleState.READY)
        time.sleep(0.002)
    with open(directory / "ended", "a") as file:
        file.write(name + "\\n")
    return 0
'''
HUNG_MS = 1_000
"""Silence that a process which is only short of time does not keep."""
START_S = 60.0
PATIENT = {"start_s": START_S, "hung_ms": 1_000_000, "crash_window_s": 10_000.0}
"""For tests that turn the clock: nobody is hung, all have long started when it is turned."""
DEDICATED = (("strategy", ("strategy",)), ("execution", ("execution",)), ("account", ("account",)))


class Slow:
    """A process descriptor whose process takes its time to die."""

    def __init__(self, pidfd: ipc.Pidfd, killed: list[int]) -> None:
        self._pidfd = pidfd
        self._killed = killed
        self.pid = pidfd.pid
        self.is_alive = True

    def fileno(self) -> int:
        return self._pidfd.fileno()

    def kill(self, number: int) -> None:
        self._killed.append(number)


class World:
    """A plan with pages, a target that a child can import, and what the supervisor said."""

    def __init__(self, root: Path, name: str, **settings: float) -> None:
        self.run_dir = root
        self.events: list[str] = []
        self.rings = 0
        self.plan = Plan(
            config=Config(
                symbols=("BTCUSDT",),
                system=SystemConfig(name=name),
                supervisor=SupervisorConfig(**settings),
            ),
            run_dir=str(root),
            state_dir=str(root),
            processes=tuple(
                ProcessPlan(name=name, roles=roles, bell=bell)
                for bell, (name, roles) in enumerate(DEDICATED)
            ),
            instruments=(),
            limits=RateLimits(weight_1m=1, orders_10s=1, orders_1m=1),
            started_wall_ns=time.time_ns(),
        )
        write_plan(self.plan)
        self.pages = {}
        for _, (role,) in DEDICATED:
            ipc.create_segment(self.plan.name, ipc.RolePage.spec(page_name(role)))
            self.pages[role] = ipc.RolePage.attach(self.plan.name, page_name(role))
        namespace: dict[str, object] = {"__name__": "__main__"}
        exec(FAKE, namespace)
        self.supervisor = Supervisor(
            self.plan,
            target=namespace["run"],  # type: ignore[arg-type]
            pages=self.pages,
            ring_bells=self._ring,
            on_event=self.events.append,
            context=warm_up(["hft.roles.context", "tools.system.supervisor"]),
        )

    def _ring(self) -> None:
        self.rings += 1

    def tell(self, name: str, order: str) -> None:
        (self.run_dir / f"{name}.do").write_text(order)

    def pid(self, name: str) -> int:
        return next(child.pid for child in self.supervisor.children if child.plan.name == name)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.events
            self.supervisor.step(0.02)

    def close(self) -> None:
        self.supervisor.stop()
        for page in self.pages.values():
            page.close()
        for name in ipc.list_segments(self.plan.name):
            ipc.unlink_segment(self.plan.name, name)


@pytest.fixture(autouse=True, scope="module")
def no_server_left() -> Iterator[None]:
    yield
    cool_down()


@pytest.fixture
def world(run_dir: Path, system_name: str) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**settings: float) -> World:
        made.append(World(run_dir, system_name, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_all_start_and_stop_in_order(world: Callable[..., World]) -> None:
    here = world()
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    pids = [child.pid for child in here.supervisor.children]
    assert here.supervisor.stop() == []
    assert (here.run_dir / "ended").read_text().split() == ["strategy", "execution", "account"]
    assert [ipc.process_start_time(pid) for pid in pids] == [None, None, None]


def test_dead_child_is_started_again_and_everybody_is_rung(world: Callable[..., World]) -> None:
    here = world()
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    dead = here.pid("execution")
    others = (here.pid("strategy"), here.pid("account"))
    os.kill(dead, signal.SIGKILL)
    here.until(lambda: here.pid("execution") not in (0, dead) and here.supervisor.is_ready)
    assert (here.pid("strategy"), here.pid("account")) == others
    assert here.rings == 1
    assert "execution was ended by SIGKILL; starting it again" in here.events
    notes = load_notes(here.run_dir)
    assert notes is not None
    assert {note.name: note.restarts for note in notes.processes} == {
        "strategy": 0,
        "execution": 1,
        "account": 0,
    }


def test_stopped_child_counts_as_hung_and_is_replaced(world: Callable[..., World]) -> None:
    here = world(hung_ms=HUNG_MS)
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    frozen = here.pid("strategy")
    os.kill(frozen, signal.SIGSTOP)
    here.until(lambda: here.pid("strategy") not in (0, frozen) and here.supervisor.is_ready)
    assert any(f"no heartbeat of strategy for {HUNG_MS} ms" in event for event in here.events)


def test_child_that_stops_beating_while_it_recovers_is_hung(world: Callable[..., World]) -> None:
    here = world(hung_ms=HUNG_MS)
    here.tell("execution", "dawdle")
    here.supervisor.start()
    page = here.pages["execution"]
    beats: set[int] = set()

    def is_turned() -> bool:
        beats.add(page.beat_ns)
        return page.state == RoleState.RECOVERING and len(beats) > 8

    here.until(is_turned)
    frozen = here.pid("execution")
    os.kill(frozen, signal.SIGSTOP)
    (here.run_dir / "execution.do").unlink()
    here.until(lambda: here.supervisor.is_ready)
    assert here.pid("execution") != frozen
    assert any(f"no heartbeat of execution for {HUNG_MS} ms" in event for event in here.events)


def test_hung_child_is_killed_and_told_once(world: Callable[..., World]) -> None:
    here = world(hung_ms=HUNG_MS)
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    child = here.supervisor.children[0]
    assert child.pidfd is not None
    killed: list[int] = []
    real, child.pidfd = child.pidfd, Slow(child.pidfd, killed)  # type: ignore[assignment]
    os.kill(real.pid, signal.SIGSTOP)
    here.until(lambda: bool(killed))
    for _ in range(20):  # it would be killed again at the next of these
        here.supervisor.step(0.02)
    assert killed == [signal.SIGKILL]
    assert sum("strategy hangs" in event for event in here.events) == 1
    child.pidfd = real
    real.kill(signal.SIGKILL)
    here.until(lambda: child.restarts == 1 and here.supervisor.is_ready)


class Clock:
    """The supervisor's clock, which can be put forward; the children have another."""

    def __init__(self) -> None:
        self._real_ns = time.monotonic_ns
        self._ahead_ns = 0

    def __call__(self) -> int:
        return self._real_ns() + self._ahead_ns

    def put_forward(self, seconds: float) -> None:
        self._ahead_ns += int(seconds * NS_PER_S)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr("tools.system.supervisor.time.monotonic_ns", one)
    return one


def is_up(here: World, account: RoleState) -> bool:
    """Whether the account's process has come to that state and the others are ready."""
    *others, child = here.supervisor.children
    page = here.pages["account"]
    is_there = child.is_alive and page.pid == child.pid and page.state == account
    return is_there and all(other.ready_ns for other in others)


def test_child_that_waits_for_the_venue_is_left_alone(
    world: Callable[..., World], clock: Clock
) -> None:
    here = world(**PATIENT)
    here.tell("account", "wait")
    here.supervisor.start()
    child = here.supervisor.children[-1]
    here.until(lambda: is_up(here, RoleState.RECOVERING) and child.waits_since_ns)
    assert here.events == []
    page = ipc.RolePage.attach(here.plan.name, page_name("account"), writable=True)
    banned_s = 2 * START_S + 60
    page.set_gauge(BANNED_UNTIL_MS.id, clock() // 1_000_000 + int(banned_s * 1_000))
    clock.put_forward(2 * START_S)
    here.until(lambda: bool(here.events))
    assert "account: account waits: the venue has banned this address for " in here.events[0]
    for _ in range(5):
        here.supervisor.step(0.02)
    assert len(here.events) == 1
    assert not here.supervisor.is_ready
    page.set_gauge(BANNED_UNTIL_MS.id, 0)
    page.close()
    (here.run_dir / "account.do").unlink()
    here.until(lambda: here.supervisor.is_ready)
    here.until(lambda: len(here.events) > 1)
    assert "account goes on after" in here.events[1]
    assert [child.restarts for child in here.supervisor.children] == [0, 0, 0]


def test_time_to_start_counts_again_after_the_waiting(
    world: Callable[..., World], clock: Clock
) -> None:
    here = world(**PATIENT, crashes_max=1)
    here.tell("account", "dawdle")
    here.supervisor.start()
    here.until(lambda: is_up(here, RoleState.RECOVERING))
    child = here.supervisor.children[-1]
    page = ipc.RolePage.attach(here.plan.name, page_name("account"), writable=True)
    page.set_gauge(WAITS.id, 1)
    here.until(lambda: child.waits_since_ns)
    clock.put_forward(2 * START_S)
    here.until(lambda: bool(here.events))
    page.set_gauge(WAITS.id, 0)
    page.close()
    here.until(lambda: not child.waits_since_ns)
    assert not any("hangs" in event for event in here.events)
    clock.put_forward(2 * START_S)
    with pytest.raises(GivenUpError, match="account ended 1 times"):
        here.until(lambda: False)
    assert any("not ready 60 s after the end of its waiting" in event for event in here.events)


def test_child_that_never_gets_ready_is_given_up(world: Callable[..., World], clock: Clock) -> None:
    here = world(**PATIENT, crashes_max=2)
    here.tell("account", "dawdle")
    here.supervisor.start()
    child = here.supervisor.children[-1]
    here.until(lambda: is_up(here, RoleState.RECOVERING))
    clock.put_forward(2 * START_S)
    here.until(lambda: child.restarts == 1 and is_up(here, RoleState.RECOVERING))
    clock.put_forward(2 * START_S)
    with pytest.raises(GivenUpError, match="account ended 2 times"):
        here.until(lambda: False)
    assert any("account hangs: not ready 60 s after its start" in e for e in here.events)


def test_crash_loop_is_given_up(world: Callable[..., World]) -> None:
    here = world(crashes_max=3)
    here.tell("account", "exit 70")
    here.supervisor.start()
    with pytest.raises(GivenUpError, match="account ended 3 times within 60 s") as raised:
        here.until(lambda: False)
    assert raised.value.exit_code == 1


def test_mistake_of_the_user_is_not_tried_again(world: Callable[..., World]) -> None:
    here = world()
    here.tell("strategy", "exit 2")
    here.supervisor.start()
    with pytest.raises(GivenUpError, match="strategy cannot start") as raised:
        here.until(lambda: False)
    assert raised.value.exit_code == 2


def test_child_that_does_not_end_is_killed(world: Callable[..., World]) -> None:
    here = world(stop_s=2.0)
    here.tell("execution", "stay")
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    assert here.supervisor.stop() == ["execution"]
    assert (here.run_dir / "ended").read_text().split() == ["strategy", "account"]


def test_interrupt_of_the_terminal_does_not_reach_children(world: Callable[..., World]) -> None:
    here = world()
    here.supervisor.start()
    here.until(lambda: here.supervisor.is_ready)
    group = os.getpgid(0)
    assert all(os.getpgid(child.pid) != group for child in here.supervisor.children)
