"""Snapshots and exchangeInfo are asked for until the answer is of use, and never too often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hft.core.book import BookEvent
from hft.errors import VenueError
from hft.roles import instrument_table, snapshots
from hft.roles.feed_instrument import FeedInstrument
from hft.roles.instrument_table import InstrumentKeeper
from hft.roles.snapshots import Snapshots, Tasks

REFUSED = VenueError(code=-1003, text="too many", remedy="wait")


class Rest:
    """Answers from a script; an error is raised, None is an answer that never comes."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.on_asked: Callable[[], None] = lambda: None

    async def depth(self, _symbol: str, _levels: int) -> bytes:
        return await self.request("GET", "")

    async def request(self, _method: str, _path: str, **_words: Any) -> bytes:
        self.asked += 1
        self.on_asked()
        answer = self._answers.pop(0) if self._answers else None
        if answer is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between requests are not what is tested here."""
    monkeypatch.setattr(snapshots, "RETRY_S", 0.0)
    monkeypatch.setattr(instrument_table, "PAUSE_S", 0.0)
    monkeypatch.setattr(instrument_table, "RETRY_S", 0.0)


async def settle(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def fetch(rest: Rest, events: dict[bytes, BookEvent | None], during: Any = None) -> list[bytes]:
    """Which snapshots the book was given, until one of them was of use."""
    instrument, applied = FeedInstrument(1, "BTCUSDT"), list[bytes]()
    if during is not None:
        rest.on_asked = lambda: during(rest, instrument)

    def apply(one: FeedInstrument, body: bytes) -> None:
        applied.append(body)
        event = events[body]
        if event is not None:
            one.snapshot_event = event

    async def main() -> None:
        tasks = Tasks(asyncio.get_running_loop())
        fetcher = Snapshots(rest, apply, tasks)  # type: ignore[arg-type]
        fetcher.fetch(instrument)
        fetcher.fetch(instrument)
        await settle(lambda: not instrument.is_fetching)
        tasks.cancel()

    asyncio.run(main())
    return applied


def test_old_unreadable_and_refused_snapshots_are_asked_for_again():
    rest = Rest(REFUSED, b"unreadable", b"old", b"good", b"never asked for")
    events = {b"unreadable": None, b"old": BookEvent.STALE_SNAPSHOT, b"good": BookEvent.APPLIED}
    assert fetch(rest, events) == [b"unreadable", b"old", b"good"]
    assert rest.asked == 4


def test_snapshot_that_waits_for_frames_is_not_asked_for_again():
    assert fetch(Rest(b"ahead", b"never"), {b"ahead": BookEvent.WAITING}) == [b"ahead"]


def test_snapshot_of_an_earlier_connection_is_thrown_away():
    def reconnect(rest: Rest, instrument: FeedInstrument) -> None:
        instrument.connections += rest.asked == 1

    rest = Rest(b"before", b"after")
    assert fetch(rest, {b"after": BookEvent.APPLIED}, reconnect) == [b"after"]


def test_exchange_info_is_asked_for_at_the_start_after_an_error_and_on_a_hint():
    rest, bodies = Rest(REFUSED, b"first", b"second"), list[bytes]()

    async def main() -> None:
        keeper = InstrumentKeeper(
            rest,  # type: ignore[arg-type]
            on_body=bodies.append,
            is_doubtful=lambda: False,
            refresh_s=3_600.0,
        )
        tasks = Tasks(asyncio.get_running_loop())
        tasks.start(keeper.run())
        await settle(lambda: bodies == [b"first"])
        for _ in range(10):
            await asyncio.sleep(0)
        assert rest.asked == 2, "nothing hints at a change"
        keeper.hint()
        keeper.hint()
        await settle(lambda: len(bodies) == 2)
        tasks.cancel()

    asyncio.run(main())
    assert bodies == [b"first", b"second"]


def test_exchange_info_is_asked_for_soon_while_something_does_not_trade(monkeypatch):
    monkeypatch.setattr(instrument_table, "DOUBTFUL_S", 0.0)
    rest, bodies = Rest(b"halted", b"trading"), list[bytes]()

    async def main() -> None:
        keeper = InstrumentKeeper(
            rest,  # type: ignore[arg-type]
            on_body=bodies.append,
            is_doubtful=lambda: bodies == [b"halted"],
            refresh_s=3_600.0,
        )
        tasks = Tasks(asyncio.get_running_loop())
        tasks.start(keeper.run())
        await settle(lambda: bodies == [b"halted", b"trading"])
        tasks.cancel()

    asyncio.run(main())


def test_task_that_fails_is_told_to_the_loop():
    told: list[dict[str, Any]] = []

    async def fail() -> None:
        raise RuntimeError("torn")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        Tasks(loop).start(fail())
        await settle(lambda: told != [])

    asyncio.run(main())
    assert str(told[0]["exception"]) == "torn"
