"""One request: what is sent, what an answer proves, and when nothing may be sent at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web

from hft.errors import UnreachableError, UsageError, VenueError
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import BannedError, RateLimitedError, UnknownOutcomeError
from hft.venues.binance_usdm.limits import BAN_MARGIN_NS, AddressLimits, WindowCounter
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.rest_transport import CONNECTIONS_NS
from hft.venues.binance_usdm.signing import Credentials, HmacSigner

CREDENTIALS = Credentials("the-key", "hmac", HmacSigner(b"secret"))
NOW_NS = 1_795_350_000_000 * NS_PER_MS


class Clock:
    def __init__(self) -> None:
        self.ns = NOW_NS

    def __call__(self) -> int:
        return self.ns


def client_of(server: Any, clock: Clock | None = None, **settings: Any) -> RestClient:
    clock = clock or Clock()
    return RestClient(server.endpoints, CREDENTIALS, wall_ns=clock, mono_ns=clock, **settings)


def asking(run: Any, server: Any, work: Any, clock: Clock | None = None, **settings: Any) -> Any:
    async def main() -> Any:
        async with server.serving():
            client = client_of(server, clock, **settings)
            try:
                return await work(client)
            finally:
                await client.close()

    return run(main())


def test_the_signature_covers_exactly_the_encoded_bytes(run, rest_server):
    rest_server.reply({})
    parameters = (("symbol", "币安人生USDT"), ("note", "a/b c"))
    asking(
        run,
        rest_server,
        lambda client: client.request("POST", "/fapi/v1/order", parameters, signed=True),
    )
    query, _, signature = rest_server.queries[0].rpartition("&signature=")
    assert query == (
        "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&note=a%2Fb%20c"
        "&recvWindow=1000&timestamp=1795350000000"
    )
    assert signature == CREDENTIALS.signer.sign(query.encode())
    assert rest_server.requests[0][2]["X-MBX-APIKEY"] == "the-key"


def test_public_requests_carry_no_key(run, rest_server):
    rest_server.reply({"serverTime": 1})
    assert asking(run, rest_server, lambda client: client.server_time_ms()) == 1
    assert "X-MBX-APIKEY" not in rest_server.requests[0][2]


def test_the_timestamp_is_the_venues_clock(run, rest_server):
    rest_server.reply({})
    asking(
        run,
        rest_server,
        lambda client: client.request("GET", "/x", signed=True),
        clock_offset_ns=-250 * NS_PER_MS,
    )
    assert "timestamp=1795349999750" in rest_server.queries[0]


def failing(run: Any, server: Any, method: str, kind: type[Exception], **words: Any) -> Any:
    async def work(client: RestClient) -> Any:
        with pytest.raises(kind) as caught:
            await client.request(method, "/fapi/v1/order", signed=True, **words)
        assert type(caught.value) is kind
        return caught.value

    return asking(run, server, work)


def test_a_refusal_has_code_text_and_status(run, rest_server):
    rest_server.reply({"code": -2019, "msg": "Margin is insufficient."}, status=400)
    error = failing(run, rest_server, "POST", VenueError)
    assert (error.code, error.text, error.status) == (-2019, "Margin is insufficient.", 400)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}',
         UnknownOutcomeError),
        (503, '{"msg":"Unknown error, please check your request or try again later."}',
         UnknownOutcomeError),
        (503, '{"code":-1000,"msg":"Service Unavailable."}', VenueError),
        (503, "Service Unavailable.", VenueError),
        (503, '{"code":-1008,"msg":"Request throttled."}', VenueError),
        (408, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}',
         UnknownOutcomeError),
        (400, '{"code":-1006,"msg":"An unexpected response was received."}', UnknownOutcomeError),
        (502, "<html>Bad Gateway</html>", UnknownOutcomeError),
        (504, "", UnknownOutcomeError),
        (404, '{"code":-5000,"msg":"Path /x, Method GET is invalid"}', VenueError),
        (200, "<!doctype html><html>", VenueError),
    ],
)  # fmt: skip
def test_an_order_is_refused_or_unknown_by_what_the_answer_proves(
    run, rest_server, status, body, kind
):
    rest_server.reply(body, status=status)
    failing(run, rest_server, "POST", kind)


def test_a_get_is_never_unknown(run, rest_server):
    rest_server.reply("<html>", status=502)
    failing(run, rest_server, "GET", VenueError)


def test_no_answer_in_time_is_unknown_for_an_order_and_unreachable_for_a_question(run, rest_server):
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    rest_server.answer = never
    error = failing(run, rest_server, "POST", UnknownOutcomeError, timeout_s=0.1)
    assert "no answer within 0.1 s" in error.message
    failing(run, rest_server, "GET", UnreachableError, timeout_s=0.1)


def test_a_connection_lost_after_the_request_is_unknown(run, rest_server):
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    rest_server.answer = cut
    failing(run, rest_server, "POST", UnknownOutcomeError)
    assert len(rest_server.requests) == 1  # and it was not sent again


def test_nobody_listening_is_unreachable_with_address_and_remedy(run, rest_server):
    async def main() -> None:
        async with rest_server.serving():
            pass
        client = client_of(rest_server)
        with pytest.raises(UnreachableError) as caught:
            await client.request("POST", "/fapi/v1/order", signed=True)
        await client.close()
        assert f"127.0.0.1:{rest_server.port} cannot be reached" in caught.value.message
        assert caught.value.remedy
        assert caught.value.exit_code == 3

    run(main())


def test_plain_http_where_tls_was_expected_is_unreachable(run, rest_server):
    async def main() -> None:
        async with rest_server.serving():
            rest_server.reply({})
            secure = rest_server.endpoints.rest.replace("http:", "https:")
            client = RestClient(type(rest_server.endpoints)(secure, "ws://x", "ws://x"))
            with pytest.raises(UnreachableError) as caught:
                await client.server_time_ms()
            await client.close()
            assert "SSL" in caught.value.message or "ssl" in caught.value.message

    run(main())


def test_a_ban_stops_everything_until_it_ends(run, rest_server):
    clock = Clock()
    rest_server.reply(
        {"code": -1003, "msg": "IP(1.2.3.4) banned until 1795350060000. Please use"}, status=418
    )

    async def work(client: RestClient) -> None:
        with pytest.raises(BannedError) as caught:
            await client.server_time_ms()
        assert caught.value.until_ns == NOW_NS + 60 * NS_PER_S
        assert client.limits.banned_until_ns == NOW_NS + 60 * NS_PER_S + BAN_MARGIN_NS
        with pytest.raises(BannedError):
            await client.cancel_all("BTCUSDT")
        clock.ns += 60 * NS_PER_S
        with pytest.raises(BannedError):  # the end is a moment of the venue's clock, not of ours
            await client.server_time_ms()
        assert client.ban_wait_s() == BAN_MARGIN_NS / NS_PER_S
        assert len(rest_server.requests) == 1
        clock.ns += BAN_MARGIN_NS
        assert client.ban_wait_s() == 0
        rest_server.reply({"serverTime": 7})
        assert await client.server_time_ms() == 7

    asking(run, rest_server, work, clock)


def test_a_ban_that_gives_moment_and_duration_lasts_for_the_longer(run, rest_server):
    """The moment is wrong for us when the venue's clock has stepped since it was measured."""
    rest_server.reply(
        {"code": -1003, "msg": "banned until 1795350001000."},
        status=418,
        headers={"Retry-After": "5"},
    )

    async def work(client: RestClient) -> None:
        with pytest.raises(BannedError) as caught:
            await client.server_time_ms()
        assert caught.value.until_ns == NOW_NS + 5 * NS_PER_S

    asking(run, rest_server, work)


def test_a_ban_without_any_time_lasts_two_minutes(run, rest_server):
    rest_server.reply("", status=418)

    async def work(client: RestClient) -> None:
        with pytest.raises(BannedError) as caught:
            await client.server_time_ms()
        assert caught.value.until_ns == NOW_NS + 120 * NS_PER_S

    asking(run, rest_server, work)


def test_a_ban_is_kept_longer_by_what_the_clock_may_be_wrong(run, rest_server):
    rest_server.reply({"code": -1003, "msg": "banned until 1795350001000."}, status=418)

    async def work(client: RestClient) -> None:
        with pytest.raises(BannedError):
            await client.server_time_ms()
        assert client.ban_wait_s() == 1.0 + 0.1 + 0.5

    asking(run, rest_server, work, clock_error_ns=500 * NS_PER_MS)


def test_no_step_of_the_venues_clock_ends_a_ban(run, rest_server):
    rest_server.reply({"code": -1003, "msg": "banned until 1795350001000."}, status=418)

    async def work(client: RestClient) -> None:
        with pytest.raises(BannedError):
            await client.server_time_ms()
        client.clock_offset_ns += 3_600 * NS_PER_S
        with pytest.raises(BannedError):
            await client.server_time_ms()
        assert client.ban_wait_s() == 1.1

    asking(run, rest_server, work)


def test_clients_that_share_limits_share_bans_and_pauses(run, rest_server):
    limits = AddressLimits()

    async def work(client: RestClient) -> None:
        other = client_of(rest_server, limits=limits)
        other.note_pause(NOW_NS + 1)
        with pytest.raises(RateLimitedError):
            await client.server_time_ms()
        other.note_ban(NOW_NS + 1)
        with pytest.raises(BannedError):
            await client.cancel_all("BTCUSDT")

    asking(run, rest_server, work, limits=limits)
    assert rest_server.requests == []


class Watched(AddressLimits):
    """Limits that remember whether the venue lets us in."""

    is_open: bool | None = None

    def note_access(self, *, is_open: bool) -> None:
        self.is_open = is_open


@pytest.mark.parametrize(
    ("status", "is_open"),
    [(200, True), (400, True), (403, False), (418, False), (429, False), (503, False)],
)
def test_limits_hear_whether_the_venue_lets_us_in(run, rest_server, status, is_open):
    rest_server.reply({"serverTime": 1}, status=status)
    limits = Watched()

    async def work(client: RestClient) -> None:
        with contextlib.suppress(VenueError):
            await client.server_time_ms()

    asking(run, rest_server, work, limits=limits)
    assert limits.is_open is is_open


def test_limits_hear_that_nobody_answers(run, rest_server):
    limits = Watched()

    async def main() -> None:
        async with rest_server.serving():
            pass
        client = client_of(rest_server, limits=limits)
        with pytest.raises(UnreachableError):
            await client.server_time_ms()
        await client.close()

    run(main())
    assert limits.is_open is False


def test_after_a_429_only_essential_requests_are_sent(run, rest_server):
    clock = Clock()
    rest_server.reply(
        {"code": -1003, "msg": "Too many requests"}, status=429, headers={"Retry-After": "7"}
    )

    async def work(client: RestClient) -> None:
        with pytest.raises(RateLimitedError) as caught:
            await client.balances()
        assert caught.value.retry_after_s == 7
        rest_server.reply({})
        with pytest.raises(RateLimitedError) as caught:
            await client.balances()
        assert caught.value.retry_after_s == 7
        assert len(rest_server.requests) == 1
        await client.cancel_all("BTCUSDT")
        clock.ns += 7 * NS_PER_S
        rest_server.reply([])
        assert await client.balances() == []

    asking(run, rest_server, work, clock)


def test_a_limit_on_orders_pauses_nothing_else(run, rest_server):
    rest_server.reply({"code": -1015, "msg": "Too many new orders"}, status=429)

    async def work(client: RestClient) -> None:
        with pytest.raises(RateLimitedError):
            await client.place_order((("symbol", "X"),))
        rest_server.reply([])
        assert await client.open_orders("X") == []

    asking(run, rest_server, work)


def test_a_ban_seen_elsewhere_counts_here(run, rest_server):
    async def work(client: RestClient) -> None:
        client.note_ban(NOW_NS + 1)
        with pytest.raises(BannedError):
            await client.server_time_ms()

    asking(run, rest_server, work)
    assert rest_server.requests == []


def test_a_weight_budget_is_kept_by_the_client_itself(run, rest_server):
    clock = Clock()
    rest_server.reply([])

    async def work(client: RestClient) -> None:
        await client.balances()
        await client.balances()
        with pytest.raises(RateLimitedError, match="share of 12"):
            await client.balances()
        await client.cancel_all("X")  # essential
        clock.ns += 60 * NS_PER_S
        await client.balances()
        assert client.own_weight == 5

    asking(run, rest_server, work, clock, weight_budget=12)


def test_weights_come_from_headers_but_never_fall_within_a_minute(run, rest_server):
    clock = Clock()

    async def work(client: RestClient) -> list[int]:
        seen = []
        for weight in ("50", "-1", "20", "60"):
            headers = {
                "X-MBX-USED-WEIGHT-1M": weight,
                "X-MBX-ORDER-COUNT-10S": "3",
                "X-MBX-ORDER-COUNT-1M": "4",
            }
            rest_server.reply({"serverTime": 1}, headers=headers)
            await client.server_time_ms()
            seen.append(client.used_weight)
        assert (client.order_count_10s, client.order_count_1m) == (3, 4)
        clock.ns += 60 * NS_PER_S
        assert client.used_weight == 0
        return seen

    assert asking(run, rest_server, work, clock) == [50, 51, 52, 60]


def test_a_window_starts_again_at_its_boundary():
    counter = WindowCounter(10)
    counter.add(3, 19)
    assert counter.read(19) == 3
    counter.observe(2, 19)
    assert counter.read(19) == 3
    counter.observe(8, 19)
    assert counter.read(19) == 8
    assert counter.read(20) == 0


def test_the_clock_offset_is_that_of_the_shortest_round_trip(run, rest_server):
    rest_server.reply({"serverTime": 1_795_350_000_500})

    async def work(client: RestClient) -> tuple[int, int]:
        measured = await client.measure_clock_offset(3)
        assert client.clock_offset_ns == measured[0]
        return measured

    offset_ns, error_ns = asking(run, rest_server, work)
    assert abs(offset_ns - 500 * NS_PER_MS) <= error_ns + NS_PER_MS
    assert len(rest_server.requests) == 3


class SteppingVenue:
    """Refuses timestamps that are more than a second away from its own clock, as the venue does."""

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms
        self.orders: list[str] = []
        self.asked = 0

    @property
    def now_ms(self) -> int:
        return NOW_NS // NS_PER_MS + self.offset_ms

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/fapi/v1/time":
            return web.json_response({"serverTime": self.now_ms})
        self.asked += 1
        if not -1_000 < int(request.query["timestamp"]) - self.now_ms < 1_000:
            refusal = {"code": -1021, "msg": "Timestamp for this request is outside of recvWindow"}
            return web.json_response(refusal, status=400)
        self.orders.append(request.method)
        return web.json_response([])


@pytest.mark.parametrize("step_ms", [2_000, -2_000])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_questions_and_cancels_survive_a_step_of_the_venues_clock(
    run, rest_server, method, step_ms
):
    venue = SteppingVenue()
    rest_server.answer = venue.answer

    async def work(client: RestClient) -> None:
        await client.measure_clock_offset()
        venue.offset_ms = step_ms
        await client.request(method, "/fapi/v1/x", signed=True)
        assert abs(client.clock_offset_ns - step_ms * NS_PER_MS) <= 50 * NS_PER_MS

    asking(run, rest_server, work)
    assert (venue.asked, venue.orders) == (2, [method])


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_could_open_a_position_is_never_sent_again(run, rest_server, method):
    venue = SteppingVenue(2_000)
    rest_server.answer = venue.answer
    assert failing(run, rest_server, method, VenueError).code == -1021
    assert venue.asked == 1


def test_a_timestamp_that_is_refused_again_is_an_error(run, rest_server):
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/fapi/v1/time":
            return web.json_response({"serverTime": NOW_NS // NS_PER_MS})
        return web.json_response({"code": -1021, "msg": "no"}, status=400)

    rest_server.answer = answer
    assert failing(run, rest_server, "DELETE", VenueError).code == -1021
    assert [path for _, path, _ in rest_server.requests].count("/fapi/v1/order") == 2


def test_requests_refused_together_measure_the_clock_once(run, rest_server):
    venue = SteppingVenue(2_000)
    rest_server.answer = venue.answer

    async def work(client: RestClient) -> None:
        await asyncio.gather(*(client.open_orders("X") for _ in range(8)))

    asking(run, rest_server, work)
    assert venue.orders == ["GET"] * 8
    assert [path for _, path, _ in rest_server.requests].count("/fapi/v1/time") == 1


def test_the_first_sample_serves_at_once_and_a_step_while_measuring_is_seen(run, rest_server):
    venue = SteppingVenue(700)
    seen: list[int] = []

    async def work(client: RestClient) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            seen.append(round(client.clock_offset_ns / NS_PER_S, 1))
            if len(seen) == 4:
                venue.offset_ms = 3_700
            return await venue.answer(request)

        rest_server.answer = answer
        await client.measure_clock_offset(5)
        assert round(client.clock_offset_ns / NS_PER_S, 1) == 3.7

    asking(run, rest_server, work)
    assert seen == [0.0, 0.7, 0.7, 0.7, 3.7]


def test_a_body_that_is_not_what_it_should_be_is_the_venues_error(run, rest_server):
    rest_server.reply("[1,2]")

    async def work(client: RestClient) -> None:
        for call in (
            client.server_time_ms(),
            client.account(),
            client.balances(),
            client.new_listen_key(),
            client.position_mode(),
            client.exchange_info(),
        ):
            with pytest.raises(VenueError):
                await call
        rest_server.reply({})
        with pytest.raises(VenueError, match="flag missing"):
            await client.multi_assets_mode()

    asking(run, rest_server, work)


def test_a_signed_request_without_a_key_is_a_usage_error(run, rest_server):
    async def main() -> None:
        client = RestClient(rest_server.endpoints)
        with pytest.raises(UsageError, match="needs an API key"):
            await client.balances()

    run(main())


def test_the_connections_of_a_burst_do_not_stay_while_there_is_one_request_after_another(
    run, rest_server
):
    clock, connections = Clock(), []

    async def noted(request: web.Request) -> web.StreamResponse:
        connections.append(request.transport)
        await asyncio.sleep(0)
        return web.json_response({})

    rest_server.answer = noted

    async def work(client: RestClient) -> None:
        await asyncio.gather(*(client.request("GET", "/fapi/v1/ping") for _ in range(6)))
        assert len(set(connections)) > 1
        clock.ns += CONNECTIONS_NS
        await client.request("GET", "/fapi/v1/ping")
        connections.clear()
        for _ in range(6):
            clock.ns += NS_PER_S
            await client.request("GET", "/fapi/v1/ping")
        assert len(set(connections)) == 1

    asking(run, rest_server, work, clock)
