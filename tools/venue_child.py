"""The demo's venue simulator as a process of its own.

Started with its settings as JSON; answers one line of JSON, the ports or what is wrong. Its
standard input is the string that ties it to the demo: when it breaks and nobody ends the process
in good time, it ends itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import Final

import msgspec
import uvloop

from hft.errors import EXIT_OK, HftError
from tools.venue.config import Ports, VenueConfig
from tools.venue.server import serve

ORPHAN_S_MAX: Final = 60.0
"""Long enough for `hft down` to cancel the orders of a demo that was killed."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The one line: ports, or an error in two sentences and its exit code."""

    rest: int = 0
    streams: int = 0
    api: int = 0
    error: str = ""
    remedy: str = ""
    exit_code: int = EXIT_OK


def quieten_sockets() -> None:
    """A client that went away while it was written to is nothing a person has to hear of."""
    logging.getLogger("aiofastnet").setLevel(logging.ERROR)


def main(settings: str) -> int:
    """Run the venue until SIGTERM; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo, which ends us later
    quieten_sockets()
    threading.Thread(target=_end_when_orphaned, daemon=True).start()
    try:
        config = msgspec.json.decode(settings, type=VenueConfig)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config))
    except HftError as error:
        problem = Answer(error=error.message, remedy=error.remedy, exit_code=error.exit_code)
        with contextlib.suppress(BrokenPipeError):
            _answer(problem)
        return error.exit_code
    return EXIT_OK


async def _serve(config: VenueConfig) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(config, ready=_ready, stop=stop)


def _ready(ports: Ports) -> None:
    _answer(Answer(rest=ports.rest, streams=ports.streams, api=ports.api))


def _answer(answer: Answer) -> None:
    print(msgspec.json.encode(answer).decode(), flush=True)


def _end_when_orphaned() -> None:
    while os.read(0, 1):
        continue
    threading.Event().wait(ORPHAN_S_MAX)
    os._exit(EXIT_OK)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
