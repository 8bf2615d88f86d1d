"""The private stream and the keeper of its key."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hft.errors import UnreachableError, VenueError
from hft.venues.binance_usdm.user_events import ListenKeyExpired, MalformedEvent, TradeLite
from hft.venues.binance_usdm.user_session import ListenKeyKeeper, UserSession


def lite(trade_id: int) -> str:
    return json.dumps(
        {
            "e": "TRADE_LITE",
            "E": 1795350003376,
            "T": 1795350003371,
            "s": "ETHUSDT",
            "q": "0.250",
            "p": "3120.55",
            "m": True,
            "c": "h0000000000000022",
            "S": "SELL",
            "L": "3120.55",
            "l": "0.250",
            "t": trade_id,
            "i": 9123300451,
        }
    )


class Harness:
    """A session whose key the test chooses."""

    def __init__(self, venue: Any, states: Any, key: str = "key-1", **settings: Any) -> None:
        self.key = key
        self.events: list[Any] = []
        self.session = UserSession(
            venue.endpoints,
            listen_key=lambda: self.key,
            on_event=lambda event, recv_ns: self.events.append(event),
            on_state=states,
            **{"random_share": lambda: 0.0, **settings},
        )

    @property
    def trades(self) -> list[int]:
        return [event.trade_id for event in self.events if isinstance(event, TradeLite)]

    def start(self) -> None:
        self.session.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        self.session.stop()
        await self.session.wait_stopped()


def test_events_arrive_and_garbage_is_counted(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            query = parse_qs(urlsplit(venue.peers[0].path).query)
            assert urlsplit(venue.peers[0].path).path == "/private/ws"
            assert query["listenKey"] == ["key-1"]
            assert "listenKeyExpired" in query["events"][0].split("/")
            venue.peers[0].send(lite(5), "garbage")
            await wait(lambda: len(harness.events) == 2)
            assert harness.trades == [5]
            assert isinstance(harness.events[1], MalformedEvent)
            assert harness.session.garbage == 1
            await harness.stop()

    run(main())


def test_a_gap_is_reported_down_then_up(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            venue.peers[0].cut()
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            await harness.stop()

    run(main())


def test_without_a_key_nothing_is_opened_until_there_is_one(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states, key="")
            harness.start()
            await asyncio.sleep(0)
            assert venue.attempts == 0
            harness.key = "key-2"
            harness.session.use_new_key()
            await wait(lambda: states.names == ["OPEN", "UP"])
            assert "listenKey=key-2" in venue.peers[0].path
            await harness.stop()

    run(main())


def test_another_key_means_another_connection(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            harness.session.use_new_key()  # the same: nothing happens
            harness.key = "key-2"
            harness.session.use_new_key()
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            assert "listenKey=key-2" in venue.peers[1].path
            await harness.stop()

    run(main())


def test_an_expired_key_is_reported_and_not_used_again(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            venue.peers[0].send({"e": "listenKeyExpired", "E": "1795353600000"})
            await wait(lambda: states.names[-1] == "DOWN")
            assert isinstance(harness.events[-1], ListenKeyExpired)
            assert states.detail_of("DOWN") == "the listen key expired"
            assert venue.attempts == 1
            harness.key = "key-2"
            harness.session.use_new_key()
            await wait(lambda: states.names[-1] == "UP")
            assert "listenKey=key-2" in venue.peers[-1].path
            await harness.stop()

    run(main())


def test_during_rotation_every_event_comes_once(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states, rotate_s=0.3)
            harness.start()
            await wait(lambda: "ROTATED" in states.names)
            old, fresh = venue.peers[0], venue.peers[1]
            old.send(lite(1), lite(2))
            fresh.send(lite(1), lite(2), lite(3))
            await wait(lambda: sorted(harness.trades) == [1, 2, 3])
            old.send(lite(3), lite(4))
            fresh.send(lite(4))
            await wait(lambda: 4 in harness.trades)
            assert sorted(harness.trades) == [1, 2, 3, 4]
            await harness.stop()

    run(main())
    assert "DOWN" not in states.names


class FakeKeys:
    """Answers for the keeper, one after another."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []

    def _next(self, name: str) -> str:
        self.calls.append(name)
        answer = self.answers.pop(0) if self.answers else "last"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def new_listen_key(self) -> str:
        return self._next("new")

    async def keep_listen_key(self) -> str:
        return self._next("keep")


def keep(run: Any, wait: Any, keys: FakeKeys, until: int, **settings: Any) -> list[str]:
    told: list[str] = []

    async def main() -> None:
        keeper = ListenKeyKeeper(keys, told.append, random_share=lambda: 0.0, **settings)
        task = asyncio.create_task(keeper.run())
        await wait(lambda: len(keys.calls) >= until)
        task.cancel()

    run(main())
    return told


def test_the_keeper_creates_once_and_then_renews(run, wait):
    keys = FakeKeys("a", "a", "a")
    told = keep(run, wait, keys, 3, renew_s=0.01)
    assert keys.calls[:3] == ["new", "keep", "keep"]
    assert told[:1] == ["a"]
    assert told.count("a") == 1


def test_a_key_that_is_gone_is_replaced(run, wait):
    gone = VenueError(code=-1125, text="This listenKey does not exist.", status=400)
    keys = FakeKeys("a", gone, "b")
    told = keep(run, wait, keys, 3, renew_s=0.01)
    assert keys.calls[:3] == ["new", "keep", "new"]
    assert told[:2] == ["a", "b"]


def test_an_unreachable_venue_is_asked_again(run, wait):
    keys = FakeKeys(UnreachableError("down"), UnreachableError("down"), "a")
    errors: list[str] = []
    told = keep(run, wait, keys, 3, renew_s=60.0, on_error=errors.append)
    assert keys.calls[:3] == ["new", "new", "new"]
    assert errors == ["down", "down"]
    assert told == ["a"]


def test_a_failed_renewal_does_not_throw_the_key_away(run, wait):
    keys = FakeKeys("a", UnreachableError("down"), "a")
    told = keep(run, wait, keys, 3, renew_s=0.01)
    assert keys.calls[:3] == ["new", "keep", "keep"]
    assert told[:1] == ["a"]


def test_an_expiry_notice_makes_the_keeper_ask_at_once(run, wait):
    told: list[str] = []
    keys = FakeKeys("a", "b")

    async def main() -> None:
        keeper = ListenKeyKeeper(keys, told.append, renew_s=3_600.0)
        task = asyncio.create_task(keeper.run())
        await wait(lambda: told == ["a"])
        keeper.expired()
        await wait(lambda: told == ["a", "b"])
        assert keeper.key == "b"
        task.cancel()

    run(main())
    assert keys.calls == ["new", "new"]
