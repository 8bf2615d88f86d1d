"""One request: what is sent, what an answer proves, and when nothing may be sent at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from hft.errors import UnreachableError, UsageError, VenueError
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import BannedError, RateLimitedError, UnknownOutcomeError
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.rest_transport import WindowCounter
from hft.venues.binance_usdm.signing import Credentials, HmacSigner

CREDENTIALS = Credentials("the-key", "hmac", HmacSigner(b"secret"))
NOW_NS = 1_795_350_000_000 * NS_PER_MS


class Clock:
    def __init__(self) -> None:
        self.ns = NOW_NS

    def __call__(self) -> int:
        return self.ns


def client_of(server: Any, clock: Clock | None = None, **settings: Any) -> RestClient:
    return RestClient(server.endpoints, CREDENTIALS, wall_ns=clock or Clock(), **settings)


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
        assert caught.value.until_ns == NOW_NS + 60 * NS_PER_S == client.banned_until_ns
        with pytest.raises(BannedError):
            await client.cancel_all("BTCUSDT")
        assert len(rest_server.requests) == 1
        clock.ns += 60 * NS_PER_S
        rest_server.reply({"serverTime": 7})
        assert await client.server_time_ms() == 7

    asking(run, rest_server, work, clock)


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
