"""The feed against a venue that misbehaves: never live on a wrong book, and whole again by itself.

Feed and venue share the test's loop, so the venue's own book is read beside the feed's, at the same
moment: what differs then is in flight, or wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import uvloop

from hft import counters
from hft.config import FeedConfig
from hft.config import VenueConfig as ClientConfig
from hft.core.generated.views import FeedStatus, Header, TopOfBook
from hft.records import FeedState, InstrumentStatus, Kind, Side
from hft.roles.context import InstrumentWatch
from hft.roles.feed import Feed
from hft.roles.feed_instrument import FeedInstrument
from hft.units import NS_PER_MS
from tools.venue import server
from tools.venue.config import AccountConfig, VenueConfig

BTC, ETH = 1, 2
SYMBOLS = {BTC: "BTCUSDT", ETH: "ETHUSDT"}
STALE_MS = 400
LAG_NS_MAX = (STALE_MS + 1_000) * NS_PER_MS
"""What a live book may be behind: the clock's verdict, its period, the longest delay injected."""
LEVELS = 10
WAIT_S = 60.0


class Truth:
    """The venue's books by update id, and since when each id has been there."""

    def __init__(self, exchange: Any) -> None:
        self._markets = {number: exchange.markets[name] for number, name in SYMBOLS.items()}
        self._books: dict[int, dict[int, Any]] = {number: {} for number in SYMBOLS}
        self._since: dict[int, deque[tuple[int, int]]] = {number: deque() for number in SYMBOLS}
        self.compared = 0
        self.wrong: list[str] = []
        for number, market in self._markets.items():
            self._follow(number, market)

    def _follow(self, number: int, market: Any) -> None:
        """Note every state that the venue's book goes through, as it goes through it."""
        commit = market.commit

        def noting(now_ms: int) -> None:
            commit(now_ms)
            self.note(number, market)

        market.commit = noting

    def note(self, number: int, market: Any) -> None:
        since = self._since[number]
        if since and market.last_id < since[-1][1]:
            since.clear()
            self._books[number].clear()
        if not since or since[-1][1] != market.last_id:
            since.append((time.monotonic_ns(), market.last_id))
        self._books[number][market.last_id] = levels_of(market.public.levels)

    def check(self, one: FeedInstrument, now_ns: int) -> None:
        """A live book is one that the venue had, and had lately."""
        if one.state is not FeedState.LIVE:
            return
        book, number = one.book, one.instrument_id
        expected = self._books[number].get(book.last_seq)
        if expected is not None:
            self.compared += 1
            if expected != levels_of(book.levels):
                self.wrong.append(f"{one.symbol} differs at {book.last_seq}")
        later = next((at_ns for at_ns, seq in self._since[number] if seq > book.last_seq), now_ns)
        if now_ns - later > LAG_NS_MAX:
            self.wrong.append(f"{one.symbol} is {(now_ns - later) // NS_PER_MS} ms behind")

    def is_level(self, one: FeedInstrument) -> bool:
        """The feed is where the venue is, and the two agree."""
        market = self._markets[one.instrument_id]
        return one.book.last_seq == market.last_id and levels_of(one.book.levels) == levels_of(
            market.public.levels
        )


def levels_of(levels: Callable[[Side, int], Any]) -> Any:
    return [levels(side, LEVELS) for side in (Side.BUY, Side.SELL)]


class Reader:
    """The market ring as everybody else sees it."""

    def __init__(self, house: Any) -> None:
        context = house.context("risk")
        self._ring, buffer = context.ring_reader("market")
        self._header, self._status = Header(buffer), FeedStatus(buffer)
        self._top = TopOfBook(buffer)
        self.watch = InstrumentWatch(context)
        self.watch.poll()
        self.states: dict[int, list[FeedState]] = {number: [] for number in SYMBOLS}
        self.wrong: list[str] = []

    def read(self) -> None:
        header = self._header
        while self._ring.next():
            states = self.states[header.instrument_id]
            if header.kind == Kind.FEED_STATUS:
                states.append(FeedState(self._status.feed_state))
            elif header.kind == Kind.TOP_OF_BOOK and states:
                if self._top.feed_state != states[-1]:
                    self.wrong.append(f"a top says {self._top.feed_state} after {states[-1]!r}")
                if states[-1] is FeedState.LIVE and not 0 < self._top.bid_e8 < self._top.ask_e8:
                    self.wrong.append("a crossed or empty top in a live feed")


class Stage:
    """Venue, feed and the two who watch them."""

    def __init__(self, house: Any, exchange: Any, faults: Any) -> None:
        self.exchange, self._faults = exchange, faults
        self.truth, self.reader = Truth(exchange), Reader(house)
        self.context = house.context("feed")
        self.feed = Feed(self.context)
        self.instruments = self.feed._instruments
        self.feed.on_start(time.monotonic_ns())
        self.feed.start_sessions(asyncio.get_running_loop(), lambda handler: handler, self.turn)

    def turn(self) -> None:
        """As the runner would, after each read and on its timer."""
        now_ns = time.monotonic_ns()
        self.context.page.beat(now_ns)
        self.feed.do_work(now_ns)
        self.reader.read()
        for one in self.instruments.values():
            self.truth.check(one, now_ns)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Turn until something holds; the bound only ends a test that would never end."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.turn()
                await asyncio.sleep(0.005)
        self.hold()

    async def whole(self) -> None:
        """Every instrument that trades is live and level with the venue."""
        for one in self.instruments.values():
            await self.until(lambda one=one: self.is_whole(one))

    def is_whole(self, one: FeedInstrument) -> bool:
        return one.state is FeedState.LIVE and self.truth.is_level(one)

    async def begin(self, kind: str, **options: str) -> Any:
        fault = self._faults.begin(kind, options)
        if not fault.hits:
            await self.until(lambda: fault.hits > 0)
        return fault

    async def sees(self, state: FeedState, instrument_id: int = BTC) -> None:
        """The state is announced to everybody."""
        await self.until(lambda: state in self.reader.states[instrument_id])

    def forget(self) -> None:
        for states in self.reader.states.values():
            states[:-1] = []

    def hold(self) -> None:
        assert self.truth.wrong == []
        assert self.reader.wrong == []


@contextmanager
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The insides of the venue that ``serve`` builds."""
    found: dict[str, Any] = {}
    build, faults = server.build, server.Faults

    def keep_exchange(config: VenueConfig) -> Any:
        made = build(config)
        found["exchange"] = made[0]
        return made

    def keep_faults(*arguments: Any, **words: Any) -> Any:
        found["faults"] = faults(*arguments, **words)
        return found["faults"]

    monkeypatch.setattr(server, "build", keep_exchange)
    monkeypatch.setattr(server, "Faults", keep_faults)
    yield found


@pytest.fixture
def play(house, monkeypatch, tmp_path) -> Callable[..., None]:
    """Run a scene: a coroutine function that gets the stage, with both books live."""
    key_file = tmp_path / "key"
    key_file.write_text("key\nsecret\n")
    key_file.chmod(0o600)

    async def main(scene: Callable[[Stage], Any], found: dict[str, Any], words: Any) -> None:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        config = VenueConfig(
            symbols=tuple(SYMBOLS.values()),
            accounts=(AccountConfig(api_key="key", secret="secret"),),
            frames_per_s=150.0,
            trades_per_s=10.0,
            tick_ms=10,
            depth_interval_ms=20,
        )
        serving = asyncio.create_task(server.serve(config, ready=ready.set_result, stop=stop))
        await asyncio.wait([ready, serving], return_when=asyncio.FIRST_COMPLETED)
        ports = ready.result()
        client = ClientConfig(
            rest_url=f"http://127.0.0.1:{ports.rest}",
            streams_url=f"ws://127.0.0.1:{ports.streams}",
            api_url=f"ws://127.0.0.1:{ports.api}/ws-fapi/v1",
            key_file=str(key_file),
            depth_stream="0ms",
            first_data_s=3.0,
            silence_s=0.8,
        )
        feed = FeedConfig(stale_ms=STALE_MS, weight_share=1.0, **words)
        changed = msgspec.structs.replace(house.plan.config, venue=client, feed=feed)
        house.plan = msgspec.structs.replace(house.plan, config=changed)
        stage = Stage(house, found["exchange"], found["faults"])
        try:
            await stage.whole()
            stage.forget()
            await scene(stage)
            await stage.whole()
            assert stage.truth.compared > 0
        finally:
            stage.feed.on_stop(time.monotonic_ns())
            for session in stage.feed._sessions:
                session.stop()
                await session.wait_stopped()
            stage.feed._tasks.cancel()
            await stage.feed._rest.close()
            stop.set()
            await serving

    def run(scene: Callable[[Stage], Any], **words: Any) -> None:
        with captured(monkeypatch) as found:
            uvloop.run(main(scene, found, words))

    return run


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("drop_market", {"count": "0"}, FeedState.SYNCING),
        ("half_open_market", {"count": "0", "is_deaf": "true"}, FeedState.STALE),
        ("half_open_market", {"count": "0", "is_deaf": "false"}, FeedState.STALE),
        ("freeze_market", {"symbol": "BTCUSDT", "seconds": "0.8"}, FeedState.STALE),
        ("skip_depth", {"symbol": "BTCUSDT"}, FeedState.GAPPED),
        ("reorder_depth", {"symbol": "BTCUSDT"}, FeedState.GAPPED),
        ("restart", {"seconds": "0.5"}, FeedState.SYNCING),
        ("restart_resetting_ids", {"seconds": "0.5"}, FeedState.SYNCING),
        ("halt", {"symbol": "BTCUSDT", "seconds": "0.6"}, FeedState.HALTED),
    ],
)
def test_book_that_cannot_be_trusted_is_announced_and_heals(play, kind, options, state):
    async def scene(stage: Stage) -> None:
        await stage.begin(kind, **options)
        await stage.sees(state)

    play(scene)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("delay_market", {"symbol": "BTCUSDT", "seconds": "0.5", "milliseconds": "200"}),
        ("duplicate_depth", {"symbol": "BTCUSDT"}),
        ("tick_size", {"symbol": "BTCUSDT"}),
    ],
)
def test_what_does_no_harm_to_the_book_is_lived_through(play, kind, options):
    async def scene(stage: Stage) -> None:
        await stage.begin(kind, **options)
        await stage.until(lambda: True)
        assert FeedState.GAPPED not in stage.reader.states[BTC]

    play(scene)


def test_snapshot_older_than_the_stream_is_never_used(play):
    async def scene(stage: Stage) -> None:
        stage._faults.begin("stale_snapshot", {"symbol": "BTCUSDT", "seconds": "0.7"})
        await stage.begin("skip_depth", symbol="BTCUSDT")
        await stage.sees(FeedState.GAPPED)

    play(scene)


@pytest.mark.parametrize("kind", ["ban", "rate_limit"])
def test_nothing_is_asked_of_a_venue_that_has_said_no(play, kind):
    async def scene(stage: Stage) -> None:
        await stage.begin(kind, seconds="0.8")
        await stage.begin("skip_depth", symbol="BTCUSDT")
        await stage.sees(FeedState.GAPPED)
        await stage.whole()
        assert stage.exchange.history.violations == []

    play(scene)


@pytest.mark.parametrize("missing", ["btcusdt@depth@0ms", "btcusdt@bookTicker"])
def test_single_stream_that_is_missing_is_noticed_by_the_other_and_asked_for_again(play, missing):
    async def scene(stage: Stage) -> None:
        topic = stage.exchange.hub.topic(missing)
        publish = type(topic).publish

        def lose(to: Any, payload: Any) -> None:
            if to is not topic:
                publish(to, payload)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(topic), "publish", lose)
            await stage.sees(FeedState.STALE)
        await stage.until(lambda: stage.context.page.counter(counters.RECONNECTS.id) > 0)

    play(scene)


def test_new_tick_stands_in_the_table_with_a_new_version(play):
    async def scene(stage: Stage) -> None:
        market = stage.exchange.markets["BTCUSDT"]
        changed: list[Any] = []

        def has_changed() -> bool:
            rows = [view for view in stage.reader.watch.poll() if view.instrument_id == BTC]
            changed.extend(view for view in rows if view.tick_e8 == market.rules.tick_e8)
            return bool(changed)

        await stage.until(has_changed)  # the house's own table was made up
        before = changed[-1].instrument_version
        changed.clear()
        await stage.begin("tick_size", symbol="BTCUSDT")
        await stage.until(has_changed)
        assert changed[-1].instrument_version > before
        assert changed[-1].status == InstrumentStatus.TRADING

    play(scene)


@pytest.mark.parametrize("is_heard", [True, False])
def test_missed_contract_event_is_mended_by_the_refresh_after_the_reconnection(play, is_heard):
    async def scene(stage: Stage) -> None:
        if not is_heard:
            await stage.begin("restart", seconds="0.5")
        stage.exchange.set_status("ETHUSDT", "TRADING_HALT")
        await stage.sees(FeedState.HALTED, ETH)
        await stage.begin("restart", seconds="0.5")
        stage.exchange.set_status("ETHUSDT", "TRADING")
        stage.forget()
        await stage.sees(FeedState.LIVE, ETH)

    play(scene)


def test_many_faults_at_once_never_make_a_wrong_book_live(play):
    kinds = ["drop_market", "half_open_market", "freeze_market", "delay_market", "skip_depth",
             "duplicate_depth", "reorder_depth", "stale_snapshot", "restart",
             "restart_resetting_ids", "halt", "tick_size"]  # fmt: skip

    async def scene(stage: Stage) -> None:
        choose = Random(3)
        for _ in range(40):
            stage._faults.begin(choose.choice(kinds), {})
            due_ns = time.monotonic_ns() + choose.randrange(200) * NS_PER_MS
            await stage.until(lambda due_ns=due_ns: time.monotonic_ns() >= due_ns)
        compared = stage.truth.compared
        await stage.whole()
        assert stage.truth.compared > compared

    play(scene)
