"""Book snapshots by REST: fetched until one is of use, few at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Final

from hft.core.book import BookEvent
from hft.errors import HftError
from hft.roles.feed_instrument import FeedInstrument
from hft.venues.binance_usdm.rest import RestClient

AT_ONCE_MAX: Final = 2
"""A snapshot costs 20 of the address's 2,400 weight a minute: many at once would starve orders."""
RETRY_S: Final = 0.5
LEVELS: Final = 1_000


class Tasks:
    """The feed's work beside the frames. A task that fails ends the process, like a callback."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Begin; the task is kept until it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def cancel(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": "a task of the feed failed", "exception": error, "task": task}
            )


class Snapshots:
    """Fetches for one instrument at most one snapshot at a time.

    ``apply(instrument, body)`` hands a snapshot to the book and leaves the outcome in
    ``instrument.snapshot_event``.
    """

    def __init__(
        self, rest: RestClient, apply: Callable[[FeedInstrument, bytes], None], tasks: Tasks
    ) -> None:
        self._rest = rest
        self._apply = apply
        self._tasks = tasks
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)

    def fetch(self, instrument: FeedInstrument) -> None:
        """Begin, unless one is being fetched already."""
        if not instrument.is_fetching:
            instrument.is_fetching = True
            self._tasks.start(self._fetch(instrument))

    async def _fetch(self, instrument: FeedInstrument) -> None:
        """Fetch until a snapshot is newer than the stream's beginning; frames wait meanwhile."""
        try:
            while True:
                connections, body = instrument.connections, b""
                async with self._slots:
                    with contextlib.suppress(HftError):
                        body = await self._rest.depth(instrument.symbol, LEVELS)
                if connections != instrument.connections:
                    continue  # it may be of another numbering than the new connection
                instrument.snapshot_event = BookEvent.STALE_SNAPSHOT
                if body:
                    self._apply(instrument, body)
                if instrument.snapshot_event != BookEvent.STALE_SNAPSHOT:
                    return
                await asyncio.sleep(RETRY_S)
        finally:
            instrument.is_fetching = False
