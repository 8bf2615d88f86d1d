"""The private stream and the keeper of its key."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hft.errors import UnreachableError, VenueError
from hft.venues.binance_usdm.errors import BannedError
from hft.venues.binance_usdm.link import BACKOFF_FIRST_S
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
            await asyncio.sleep(0)  # for what must not come
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


def test_a_stream_in_doubt_is_opened_again_with_the_same_key(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            harness.session.reconnect("no event of an order that was acknowledged")
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            assert states.detail_of("DOWN") == "no event of an order that was acknowledged"
            assert "listenKey=key-1" in venue.peers[1].path
            await harness.stop()

    run(main())


def test_an_expired_key_that_lives_again_is_used_at_once(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            venue.peers[0].send({"e": "listenKeyExpired", "E": "1795353600000"})
            await wait(lambda: states.names[-1] == "DOWN")
            harness.session.reconnect("the listen key expired")
            await wait(lambda: states.names[-1] == "UP")
            assert "listenKey=key-1" in venue.peers[-1].path
            await harness.stop()

    run(main())


def test_a_half_open_socket_is_found_by_pings(run, venue, states, wait, monkeypatch):
    monkeypatch.setattr("hft.venues.binance_usdm.user_session.PING_IDLE_S", 0.1)
    monkeypatch.setattr("hft.venues.binance_usdm.link.PING_REPLY_S", 0.1)

    async def main() -> None:
        async with venue.serving(answers_pings=False):
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: "DOWN" in states.names)
            await harness.stop()

    run(main())


def test_nothing_is_opened_while_a_ban_holds(run, venue, states, wait):
    waits = [0.01, 0.01, 0.0]

    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states, may_connect=lambda: waits.pop(0) if waits else 0.0)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            assert waits == []
            assert venue.attempts == 1
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


GONE = VenueError(code=-1125, text="This listenKey does not exist.", status=400)


class Desk:
    """A keeper, and what it told."""

    def __init__(self, keys: FakeKeys, **settings: Any) -> None:
        self.keys: list[str] = []
        self.reopened: list[str] = []
        self.keeper = ListenKeyKeeper(
            keys,
            self.keys.append,
            on_reopen=self.reopened.append,
            random_share=lambda: 0.0,
            **{"renew_s": 3_600.0, "check_s": 0.0, **settings},
        )


def asked(run: Any, wait: Any, keys: FakeKeys, work: Any, **settings: Any) -> Desk:
    desk = Desk(keys, **settings)

    async def main() -> None:
        task = asyncio.create_task(desk.keeper.run())
        await wait(lambda: bool(desk.keys))
        await work(desk)
        task.cancel()

    run(main())
    return desk


def test_a_stream_in_doubt_whose_key_lives_is_opened_again(run, wait):
    keys = FakeKeys("a", "a")

    async def work(desk: Desk) -> None:
        desk.keeper.suspect("an order without an event")
        await wait(lambda: bool(desk.reopened))

    desk = asked(run, wait, keys, work)
    assert keys.calls == ["new", "keep"]
    assert (desk.keys, desk.reopened) == (["a"], ["an order without an event"])


def test_a_stream_in_doubt_whose_key_is_gone_gets_a_new_one_at_once(run, wait):
    keys = FakeKeys("a", GONE, "b")

    async def work(desk: Desk) -> None:
        desk.keeper.suspect()
        await wait(lambda: desk.keys == ["a", "b"])

    desk = asked(run, wait, keys, work)
    assert keys.calls == ["new", "keep", "new"]
    assert desk.reopened == []


def test_a_check_leaves_a_stream_alone_whose_key_lives(run, wait):
    keys = FakeKeys("a", "a", GONE, "b")

    async def work(desk: Desk) -> None:
        desk.keeper.check()
        await wait(lambda: keys.calls == ["new", "keep"])
        desk.keeper.check()
        await wait(lambda: desk.keys == ["a", "b"])

    desk = asked(run, wait, keys, work)
    assert desk.reopened == []


def test_doubts_are_settled_no_faster_than_the_venue_likes(run, wait):
    keys = FakeKeys(*["a"] * 50)

    async def work(desk: Desk) -> None:
        for _ in range(40):
            desk.keeper.suspect()
            await asyncio.sleep(0.005)

    desk = asked(run, wait, keys, work, check_s=3_600.0)
    assert keys.calls == ["new", "keep"]
    assert len(desk.reopened) == 1


def test_the_end_of_a_ban_is_not_slept_over(run, wait):
    """The client itself refuses while the ban holds, so asking it costs the venue nothing."""
    ban = BannedError(code=-1003, text="the address is banned", until_ns=1)
    keys = FakeKeys("a", *[ban] * 6, "a")

    async def work(desk: Desk) -> None:
        desk.keeper.suspect()
        await wait(lambda: bool(desk.reopened))
        assert desk.keeper._backoff.next_s() == BACKOFF_FIRST_S  # six failures did not add up

    asked(run, wait, keys, work)


def test_a_doubt_outlives_a_venue_that_does_not_answer(run, wait):
    keys = FakeKeys("a", UnreachableError("down"), GONE, UnreachableError("down"), "b")

    async def work(desk: Desk) -> None:
        desk.keeper.suspect()
        await wait(lambda: desk.keys == ["a", "b"])

    asked(run, wait, keys, work, check_s=3_600.0)
    assert keys.calls == ["new", "keep", "keep", "new", "new"]


def test_the_expiry_of_an_earlier_key_is_old_news(run, wait):
    keys = FakeKeys("a", "b")

    async def work(desk: Desk) -> None:
        desk.keeper.expired("another")
        desk.keeper.expired("a")
        await wait(lambda: desk.keys == ["a", "b"])
        desk.keeper.expired("a")
        await asyncio.sleep(0.01)  # for what must not come

    asked(run, wait, keys, work)
    assert keys.calls == ["new", "new"]


def test_an_expired_key_that_the_venue_gives_again_means_another_connection(run, wait):
    keys = FakeKeys("a", "a")

    async def work(desk: Desk) -> None:
        desk.keeper.expired()
        await wait(lambda: bool(desk.reopened))

    desk = asked(run, wait, keys, work)
    assert (keys.calls, desk.keys) == (["new", "new"], ["a"])


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
    keys = FakeKeys("a", GONE, "b")
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
