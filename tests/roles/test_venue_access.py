"""One address: what the venue forbids one role, or an earlier run, holds for all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from hft import counters
from hft.config import VenueConfig
from hft.errors import HftError
from hft.roles.venue_access import (
    BAN_FILE,
    SavedLimits,
    VenueLimits,
    ban_wait_s,
    load_ban_ns,
    make_rest,
)
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import BannedError
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials, HmacSigner
from hft.venues.binance_usdm.user_session import UserSession
from tools.venue.config import AccountConfig, Ports
from tools.venue.config import VenueConfig as SimulatorConfig
from tools.venue.server import serve

CREDENTIALS = Credentials("test-key", "hmac", HmacSigner(b"test-secret"))
BAN_S = 3.0
"""Time enough, on any machine, to ask a few times and to start another client."""
WAIT_S = 60.0


def now_ns() -> int:
    return time.monotonic_ns()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_ban_that_one_role_is_told_of_holds_for_the_others(house: Any) -> None:
    feed, account = VenueLimits(house.context("feed")), VenueLimits(house.context("account"))
    assert (feed.banned_until_ns, feed.ban_wait_s()) == (0, 0.0)
    until_ns = now_ns() + 60 * NS_PER_S
    account.note_ban(until_ns)
    account.note_pause(until_ns - 7)
    assert 0 <= feed.banned_until_ns - until_ns < NS_PER_MS
    assert 0 <= feed.paused_until_ns - until_ns + 7 < NS_PER_MS
    assert 30 < feed.ban_wait_s() < 61
    account.note_ban(until_ns - NS_PER_S)  # an answer that was overtaken
    assert feed.banned_until_ns >= until_ns


def test_a_ban_outlives_the_role_that_was_told_and_all_others(house: Any) -> None:
    first = house.context("feed")
    VenueLimits(first).note_ban(now_ns() + 60 * NS_PER_S)
    house.end(first)
    assert VenueLimits(house.context("feed")).ban_wait_s() > 30
    assert ban_wait_s(house.context("execution")) > 30


def test_a_ban_knows_nothing_of_the_venues_clock(house: Any) -> None:
    """It may step while the ban lasts."""
    execution = house.context("execution")
    limits = VenueLimits(execution)
    limits.note_ban(now_ns() + 60 * NS_PER_S)
    for offset_s in (-3_600, 3_600):
        execution.page.set_gauge(counters.CLOCK_OFFSET_NS.id, offset_s * NS_PER_S)
        assert 30 < limits.ban_wait_s() < 61


def test_a_handshake_that_is_refused_bans_or_pauses_everybody(house: Any) -> None:
    feed, account = VenueLimits(house.context("feed")), VenueLimits(house.context("account"))
    feed.on_refused(503, 60.0)
    assert (account.banned_until_ns, account.paused_until_ns) == (0, 0)
    feed.on_refused(429, 60.0)
    assert account.paused_until_ns > now_ns() + 59 * NS_PER_S
    assert account.ban_wait_s() == 0
    feed.on_refused(418, 60.0)
    assert account.ban_wait_s() > 30


def test_a_role_waits_while_any_way_to_the_venue_is_closed(house: Any) -> None:
    context = house.context("feed")
    limits = VenueLimits(context)
    heard: list[SessionState] = []

    def waits() -> int:
        return context.page.gauge(counters.WAITS.id)

    on_state = limits.watched("public", lambda state, detail: heard.append(state))
    assert waits() == 0
    on_state(SessionState.DOWN, "nobody there")
    limits.note_access(is_open=False)
    assert waits() == 1
    limits.note_access(is_open=True)
    assert waits() == 1
    on_state(SessionState.OPEN, "")
    assert waits() == 0
    assert heard == [SessionState.DOWN, SessionState.OPEN]
    may_connect = limits.may_connect("market")
    assert may_connect() == 0
    assert waits() == 0
    limits.note_ban(now_ns() + 60 * NS_PER_S)
    assert may_connect() > 59
    assert waits() == 1


def test_the_weight_in_use_stands_in_the_page(house: Any) -> None:
    context = house.context("account")
    VenueLimits(context).note_weight(77)
    assert context.page.gauge(counters.USED_WEIGHT.id) == 77


def test_a_ban_outlives_the_system_in_a_file(house: Any, tmp_path: Path) -> None:
    venue, state_dir = house.plan.config.venue, Path(house.plan.state_dir)
    assert load_ban_ns(state_dir, venue) == 0
    until_ns = now_ns() + 60 * NS_PER_S
    VenueLimits(house.context("feed")).note_ban(until_ns)
    saved = SavedLimits(state_dir, venue)
    assert abs(saved.banned_until_ns - until_ns) < NS_PER_S
    assert SavedLimits(state_dir, VenueConfig(rest_url="https://another")).banned_until_ns == 0
    saved.note_ban(until_ns + 10 * NS_PER_S)
    saved.note_ban(until_ns)
    assert abs(load_ban_ns(state_dir, venue) - until_ns - 10 * NS_PER_S) < NS_PER_S
    (state_dir / BAN_FILE).write_text("{")
    assert load_ban_ns(state_dir, venue) == 0
    fresh = tmp_path / "not" / "there"
    SavedLimits(fresh, venue).note_ban(until_ns)
    assert load_ban_ns(fresh, venue) > 0


# --- against the simulator -----------------------------------------------------------------------


class Venue:
    """The simulator on this loop, and what it complains of."""

    def __init__(self, ports: Ports) -> None:
        self.rest_url = f"http://127.0.0.1:{ports.rest}"
        self.config = VenueConfig(
            rest_url=self.rest_url,
            streams_url=f"ws://127.0.0.1:{ports.streams}",
            api_url=f"ws://127.0.0.1:{ports.api}/ws-fapi/v1",
        )

    async def ask(self, method: str, path: str, **params: object) -> Any:
        words = {name: str(value) for name, value in params.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.rest_url + path, params=words) as response,
        ):
            assert response.status == 200, await response.text()
            return json.loads(await response.read())

    async def begin(self, kind: str, **options: object) -> None:
        """Begin a fault, and wait until it is in force."""
        await self.ask("POST", "/sim/fault", kind=kind, **options)

    async def violations(self) -> int:
        return int((await self.ask("GET", "/sim/stats"))["violations"])


def with_simulator(work: Callable[[Venue], Any], **settings: Any) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        ready = asyncio.get_running_loop().create_future()
        config = SimulatorConfig(
            symbols=("BTCUSDT",),
            accounts=(AccountConfig(api_key="test-key", secret="test-secret"),),
            frames_per_s=50.0,
            trades_per_s=5.0,
            **settings,
        )
        serving = asyncio.create_task(serve(config, ready=ready.set_result, stop=stop))
        await asyncio.wait([ready, serving], return_when=asyncio.FIRST_COMPLETED)
        try:
            await work(Venue(ready.result()))
        finally:
            stop.set()
            await serving

    asyncio.run(main())


def rest_of(house: Any, role: str, venue: Venue) -> RestClient:
    """The client of a role in its first life, or of its successor."""
    settings = msgspec.structs.replace(house.plan.config, venue=venue.config)
    house.plan = msgspec.structs.replace(house.plan, config=settings)
    return make_rest(house.context(role), 0.5, CREDENTIALS)


async def persist(client: RestClient, answers: list[str], stop: asyncio.Event) -> None:
    """Ask again and again, as a role does that wants to know."""
    while not stop.is_set():
        try:
            await client.open_orders("BTCUSDT")
            answers.append("answer")
        except BannedError:
            answers.append("banned")
        except HftError as error:
            answers.append(error.message)
        await asyncio.sleep(0.005)


def test_a_ban_sees_not_one_request_of_two_roles_nor_of_a_successor(house: Any) -> None:
    async def work(venue: Venue) -> None:
        clients = [rest_of(house, role, venue) for role in ("execution", "account")]
        answers: list[list[str]] = [[], [], []]
        stop = asyncio.Event()
        for client in clients:
            await client.measure_clock_offset()
        # From a quiet moment on: what is on its way when a ban begins breaks no rule.
        await venue.begin("ban", seconds=BAN_S)
        with contextlib.suppress(BannedError):
            while True:
                await clients[1].server_time_ms()
        begun = time.monotonic()
        working = [
            asyncio.create_task(persist(client, told, stop))
            for client, told in zip(clients, answers, strict=False)
        ]
        # The feed starts in the middle of it; nothing but the pages can tell it.
        await until(lambda: len(answers[0]) > 5 and len(answers[1]) > 5)
        clients.append(rest_of(house, "feed", venue))
        working.append(asyncio.create_task(persist(clients[2], answers[2], stop)))
        session = UserSession(
            clients[2]._endpoints,
            listen_key=lambda: "a-key",
            on_event=lambda event, recv_ns: None,
            on_state=lambda state, detail: None,
            may_connect=clients[2].ban_wait_s,
        )
        session.start(asyncio.get_running_loop())
        await until(lambda: all("answer" in told for told in answers))
        assert time.monotonic() - begun > BAN_S * 0.9
        await until(lambda: session.state is SessionState.UP)
        stop.set()
        session.stop()
        await asyncio.gather(*working, session.wait_stopped())
        for client in clients:
            await client.close()
        for told in answers:
            first = told.index("answer")
            assert first > 0
            assert set(told[:first]) == {"banned"}
        assert await venue.violations() == 0

    with_simulator(work, ban_notice_ms=0)


@pytest.mark.parametrize("step_ms", [2_000, -2_000])
def test_a_step_of_the_venues_clock_is_healed_by_the_first_refusal(
    house: Any, step_ms: int
) -> None:
    async def work(venue: Venue) -> None:
        client = rest_of(house, "account", venue)
        await client.measure_clock_offset()
        assert await client.open_orders("BTCUSDT") == []
        await venue.begin("clock_offset", milliseconds=step_ms, seconds=60)
        before_ns = client.clock_offset_ns
        assert await client.open_orders("BTCUSDT") == []
        stepped_ms = (client.clock_offset_ns - before_ns) / NS_PER_MS
        assert abs(stepped_ms - step_ms) < 500
        await client.close()

    with_simulator(work)
