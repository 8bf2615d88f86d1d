"""What one turn of the spinning event loop costs when nothing happens: roles, loop, kernel."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from contextlib import ExitStack
from typing import Final

from hft.roles.context import BELLS_SPEC
from hft.roles.runner import LoopRunner, Stopper
from ipc import Parker
from tools.bench.stages_tick import idle_roles

PASSES_PER_SAMPLE: Final = 20


class _Counter:
    """A callback that rides along: the loop calls it once in every turn of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stopper: Stopper, samples: int) -> None:
        self._loop, self._stopper = loop, stopper
        self._left = samples * PASSES_PER_SAMPLE
        self._begin_ns = time.perf_counter_ns()
        self.samples: list[float] = []

    def __call__(self) -> None:
        self._left -= 1
        if self._left % PASSES_PER_SAMPLE == 0:
            now_ns = time.perf_counter_ns()
            self.samples.append((now_ns - self._begin_ns) / PASSES_PER_SAMPLE)
            self._begin_ns = now_ns
        if self._left:
            self._loop.call_soon(self)
        else:
            self._stopper.request()


def loop_turn(samples: int) -> list[float]:
    """Nanoseconds of one turn, each the mean of some, of a ``LoopRunner`` that always spins."""
    import uvloop

    with ExitStack() as stack:
        system, roles = idle_roles(stack, f"bench-loop-{os.getpid()}")
        contexts = [system.context(role.name) for role in roles]
        readers = [reader for context in contexts for reader in context.readers]
        bells = contexts[0]._attach(BELLS_SPEC, writable=True)
        parker = Parker(bells, 0, readers, fifo_path=system.context("feed").run_dir / "hot.fifo")
        stopper = Stopper(roles)
        loop = uvloop.new_event_loop()
        stack.callback(loop.close)
        for role in roles:
            role.__dict__["start_sessions"] = lambda *_: None  # no venue is there
        runner = LoopRunner(roles, contexts, parker, "busy_spin", stopper)
        counter = _Counter(loop, stopper, samples)
        loop.call_soon(counter)
        handler = signal.getsignal(signal.SIGALRM)
        try:
            runner.run(loop)
        finally:
            signal.signal(signal.SIGALRM, handler)
            gc.unfreeze()
            gc.enable()
        return counter.samples[len(counter.samples) // 10 :]
