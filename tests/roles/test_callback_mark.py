"""The look at the callback that runs: no Python while all is well, an interrupt when it is not."""

from __future__ import annotations

import _thread
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hft.roles.containment import CALLBACK_TICKS, CallbackWatch
from hft.strategy.errors import CallbackOverrunError

GIVE_UP_S = 30.0
"""So long a call would wait that nobody interrupts."""


@pytest.fixture
def watch(alarm) -> Iterator[CallbackWatch]:
    armed = CallbackWatch()
    armed.arm()
    yield armed
    armed.disarm()


@pytest.fixture
def woken() -> Iterator[Callable[[], bytes]]:
    """What an event loop would be woken with: the numbers of the signals that Python has seen."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def seen() -> bytes:
        try:
            return reader.recv(4_096)
        except BlockingIOError:
            return b""

    before = signal.set_wakeup_fd(writer.fileno())
    yield seen
    signal.set_wakeup_fd(before)
    reader.close()
    writer.close()


def pass_ticks(count: int) -> None:
    """Return when the timer has gone off so often: the time that it has left has grown again."""
    left_s = signal.getitimer(signal.ITIMER_REAL)[0]
    while count:
        before_s, left_s = left_s, signal.getitimer(signal.ITIMER_REAL)[0]
        count -= left_s > before_s


def is_caught(number: int) -> bool:
    """Whether the kernel has a handler for a signal, whoever set it."""
    status = Path("/proc/self/status").read_text().splitlines()
    caught = next(line.split()[1] for line in status if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> number - 1 & 1)


def test_a_tick_costs_no_python_while_nothing_runs(watch, woken) -> None:
    pass_ticks(4 * CALLBACK_TICKS)
    assert woken() == b""


def test_a_tick_costs_no_python_while_callbacks_return(watch, woken) -> None:
    for _ in range(4 * CALLBACK_TICKS):
        watch.call(pass_ticks, 1)
    assert woken() == b""


def test_an_overrun_is_python_s_business_once(watch, woken) -> None:
    with pytest.raises(CallbackOverrunError):
        watch.call(pass_ticks, 1_000, ticks_max=CALLBACK_TICKS)
    assert woken() == bytes([signal.SIGALRM])
    assert watch.overran == watch.calls
    pass_ticks(4 * CALLBACK_TICKS)
    assert woken() == b""


@pytest.mark.parametrize("what", ["read", "select", "sleep", "lock"])
def test_who_waits_in_a_system_call_is_interrupted(watch, what: str) -> None:
    reader, writer = os.pipe()
    lock = threading.Lock()
    lock.acquire()
    waits: dict[str, Callable[[], object]] = {
        "read": lambda: os.read(reader, 1),
        "select": lambda: select.select([reader], [], [], GIVE_UP_S),
        "sleep": lambda: time.sleep(GIVE_UP_S),
        "lock": lambda: lock.acquire(timeout=GIVE_UP_S),
    }
    saviour = threading.Timer(GIVE_UP_S, os.write, (writer, b"x"))
    saviour.start()
    try:
        with pytest.raises(CallbackOverrunError):
            watch.call(waits[what])
    finally:
        saviour.cancel()
        saviour.join()
        os.close(reader)
        os.close(writer)


def test_who_swallows_the_interrupt_is_interrupted_again(watch) -> None:
    def stubborn() -> list[type[BaseException]]:
        swallowed: list[type[BaseException]] = []
        while len(swallowed) < 3:
            try:
                pass_ticks(1_000)
            except BaseException as error:
                swallowed.append(type(error))
        return swallowed

    assert watch.call(stubborn, ticks_max=CALLBACK_TICKS) == [CallbackOverrunError] * 3


def test_an_interrupt_that_comes_after_its_callback_hits_no_other(watch) -> None:
    def next_one() -> int:
        _thread.interrupt_main(signal.SIGALRM)
        return 7

    with pytest.raises(CallbackOverrunError):
        watch.call(pass_ticks, 1_000)
    assert watch.call(next_one) == 7
    _thread.interrupt_main(signal.SIGALRM)


def test_a_disarmed_watch_leaves_the_signal_as_it_was(watch) -> None:
    assert watch.is_armed
    assert is_caught(signal.SIGALRM)
    watch.disarm()
    assert not watch.is_armed
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert not is_caught(signal.SIGALRM)


def test_there_is_one_watch_at_a_time(watch) -> None:
    second = CallbackWatch()
    second.arm()
    assert not second.is_armed
    second.disarm()
    with pytest.raises(CallbackOverrunError):
        watch.call(pass_ticks, 1_000)
    watch.disarm()
    second.arm()
    try:
        with pytest.raises(CallbackOverrunError):
            second.call(pass_ticks, 1_000)
    finally:
        second.disarm()
    assert watch.overran == watch.calls == 1
