"""A contender as a process: pinned, connected, then left alone until it is killed."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Final

from tools.bench.t2t.places import Place

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl: the signal a process gets when its parent dies."""
READY: Final = "ready"

Body = Callable[[Place, Callable[[], None]], None]
"""What a contender does; calls its argument once it is connected, and never returns by itself."""


def work(body: Body, place: Place, cpu: int, pipe: Pipe) -> None:
    """Pin, connect, freeze, trade."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {cpu})

    def ready() -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        pipe.send(READY)

    try:
        body(place, ready)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def floor(place: Place, ready: Callable[[], None]) -> None:
    """The compiled client."""
    from tools.bench.t2t.floor import open_floor

    client = open_floor(place)
    ready()
    client.run()


def script_spinning(place: Place, ready: Callable[[], None]) -> None:
    """The script that never sleeps."""
    from tools.bench.t2t.script import run

    run(place, ready, spins=True)


def script_blocking(place: Place, ready: Callable[[], None]) -> None:
    """The script that sleeps in the kernel."""
    from tools.bench.t2t.script import run

    run(place, ready, spins=False)


def picows_spinning(place: Place, ready: Callable[[], None]) -> None:
    """The script on a library, spinning."""
    import uvloop

    from tools.bench.t2t.picows_script import run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(place, ready, spins=True))
