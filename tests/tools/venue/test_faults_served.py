"""Faults as a client meets them: on real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from http.client import RemoteDisconnected
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiohttp
import pytest

from tools.venue.config import FaultConfig
from tools.venue.fault_kinds import KINDS

ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "price": "63000.00",
}
DEADLINE_S = 60
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


def sim(venue, method, path):
    """The simulator's own interface."""
    url = f"http://127.0.0.1:{venue.ports.rest}/sim/{path}"
    try:
        with urlopen(Request(url, method=method), timeout=DEADLINE_S) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def fault(venue, kind, **options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    status, body = sim(venue, "POST", f"fault?kind={kind}&{query}")
    assert status == 200, body
    return body


async def fault_soon(venue, kind, **options):
    return await asyncio.to_thread(fault, venue, kind, **options)


def with_sockets(venue, act, *urls):
    """Run ``act`` with one open WebSocket for each URL."""

    async def main():
        async with aiohttp.ClientSession() as session:
            sockets = [await session.ws_connect(url, autoping=False) for url in urls]
            try:
                return await act(*sockets)
            finally:
                for socket in sockets:
                    socket._response.close()

    return asyncio.run(main())


def market_url(venue):
    return f"http://127.0.0.1:{venue.ports.streams}/public/ws/btcusdt@bookTicker"


def api_url(venue):
    return f"http://127.0.0.1:{venue.ports.api}/ws-fapi/v1"


def user_url(venue):
    key = venue.rest.post("/fapi/v1/listenKey")["listenKey"]
    return f"http://127.0.0.1:{venue.ports.streams}/private/ws?listenKey={key}"


async def next_frame(socket):
    return await asyncio.wait_for(socket.receive(), DEADLINE_S)


async def end_of(socket):
    """The frame or error with which a connection ended."""
    while True:
        message = await next_frame(socket)
        if message.type in CLOSED:
            return message


async def is_silent(socket, seconds=0.3):
    """Nothing comes any more, once what was on its way has come."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            message = await asyncio.wait_for(socket.receive(), seconds)
        except TimeoutError:
            return True
        if message.type in CLOSED:
            return False
    return False


@pytest.mark.parametrize("purpose", ["market", "user", "api"])
@pytest.mark.parametrize("closes", [True, False])
def test_connection_is_dropped_with_or_without_close_frame(shared_venue, purpose, closes):
    url = {"market": market_url, "user": user_url, "api": api_url}[purpose](shared_venue)

    async def act(socket):
        body = await fault_soon(shared_venue, f"drop_{purpose}", count=0, closes=str(closes))
        assert body["hits"] >= 1
        message = await end_of(socket)
        assert (message.type is aiohttp.WSMsgType.CLOSE) is closes
        assert not closes or message.data == aiohttp.WSCloseCode.GOING_AWAY

    with_sockets(shared_venue, act, url)


def test_half_open_market_connection_stays_up_and_says_nothing(shared_venue):
    async def act(socket):
        await next_frame(socket)
        await fault_soon(shared_venue, "half_open_market", count=0)
        await socket.ping(b"still there?")
        assert await is_silent(socket)
        assert not socket.closed

    with_sockets(shared_venue, act, market_url(shared_venue))


@pytest.mark.parametrize("is_deaf", [True, False])
def test_half_open_api_connection_executes_unless_it_is_deaf(start_venue, is_deaf):
    venue = start_venue()

    async def act(socket):
        await fault_soon(venue, "half_open_api", is_deaf=str(is_deaf))
        key = venue.config.accounts[0].api_key
        request = {"method": "userDataStream.start", "params": {"apiKey": key}, "id": 1}
        await socket.send_str(json.dumps(request))
        assert await is_silent(socket)

    with_sockets(venue, act, api_url(venue))
    status, _, _ = venue.rest.call("PUT", "/fapi/v1/listenKey")
    assert status == (400 if is_deaf else 200)


def test_lost_ack_ends_the_rest_connection_and_leaves_the_api_request_open(start_venue):
    venue = start_venue()
    fault(venue, "lost_ack", executes="true", symbol="BTCUSDT")
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        venue.rest.post("/fapi/v1/order", **ORDER, newClientOrderId="lost")
    reply = venue.rest.get("/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="lost")
    assert reply["status"] == "NEW"

    async def act(socket):
        await fault_soon(venue, "lost_ack", executes="false", scope="all", symbol="BTCUSDT")
        await socket.send_str('{"method":"ping","id":1}')
        await socket.send_str('{"method":"time","id":2}')
        assert json.loads((await next_frame(socket)).data)["id"] == 2

    with_sockets(venue, act, api_url(venue))


def test_refusals_keep_their_form_over_rest(shared_venue):
    fault(shared_venue, "unavailable", symbol="BTCUSDT")
    status, body, _ = shared_venue.rest.call("POST", "/fapi/v1/order", **ORDER)
    assert (status, body["msg"]) == (503, "Service Unavailable.")
    fault(shared_venue, "http_408", executes="false", symbol="BTCUSDT")
    with pytest.raises(json.JSONDecodeError):
        shared_venue.rest.call("POST", "/fapi/v1/order", **ORDER)


def test_ban_counts_who_goes_on(start_venue):
    venue = start_venue(ban_notice_ms=0)
    venue.rest.get("/fapi/v1/time", signed=False)
    fault(venue, "ban", seconds=60)
    for _ in range(2):
        status, body, headers = venue.rest.call("GET", "/fapi/v1/time")
        assert (status, body["code"]) == (418, -1003)
        assert int(headers["Retry-After"]) > 0
        time.sleep(0.005)  # the second has to come in a later millisecond of the venue's clock
    truth = sim(venue, "GET", "truth")[1]
    assert [v["kind"] for v in truth["violations"]] == ["banned"]
    assert truth["faults"]["ban"] == {"begun": 1, "hits": 1}


def test_banned_client_cannot_connect_but_keeps_what_it_has(start_venue):
    venue = start_venue(ban_notice_ms=0)

    async def act(market):
        await asyncio.to_thread(venue.rest.get, "/fapi/v1/time", signed=False)
        await fault_soon(venue, "ban", seconds=60)
        headers = {"User-Agent": "eager/1"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for url in (market_url(venue), api_url(venue)):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await session.ws_connect(url)
                assert caught.value.status == 418
                assert int(caught.value.headers["Retry-After"]) > 0
                await asyncio.sleep(0.005)  # as above: a later millisecond
        assert (await next_frame(market)).type is aiohttp.WSMsgType.TEXT

    with_sockets(venue, act, market_url(venue))
    truth = sim(venue, "GET", "truth")[1]
    (complaint,) = truth["violations"]
    assert (complaint["kind"], complaint["client"]) == ("banned", "eager/1")
    assert complaint["endpoint"] == "handshake /ws-fapi/v1"
    assert truth["bans"][0]["told_ns"] > truth["bans"][0]["from_ns"]


def test_late_replies_are_late(shared_venue):
    fault(shared_venue, "delay_reply", seconds=10, milliseconds=200)
    before_s = time.monotonic()
    shared_venue.rest.get("/fapi/v1/time", signed=False)
    assert time.monotonic() - before_s >= 0.15


def test_restarting_venue_ends_connections_and_answers_nobody(start_venue):
    venue = start_venue()

    async def act(market, api):
        await fault_soon(venue, "restart", seconds=600)
        for socket in (market, api):
            await end_of(socket)
        assert venue.rest.call("GET", "/fapi/v1/time")[:2] == (
            503,
            {"code": -1001, "msg": "Service Unavailable."},
        )
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(api_url(venue))
            assert caught.value.status == 503

    with_sockets(venue, act, market_url(venue), api_url(venue))


def test_restarted_venue_answers_again(start_venue):
    venue = start_venue()

    async def act(market):
        await fault_soon(venue, "restart", seconds=0.3)
        await end_of(market)

    with_sockets(venue, act, market_url(venue))
    deadline_s = time.monotonic() + DEADLINE_S
    while venue.rest.call("GET", "/fapi/v1/time")[0] != 200:
        assert time.monotonic() < deadline_s
    with_sockets(venue, next_frame, market_url(venue))


def test_commands_that_cannot_be_are_refused_with_a_remedy(shared_venue):
    status, body = sim(shared_venue, "POST", "fault?kind=earthquake")
    assert (status, body["remedy"]) == (400, "GET /sim/faults lists the kinds")


def test_kinds_are_listed_with_their_counts(shared_venue):
    before = sim(shared_venue, "GET", "faults")[1]
    fault(shared_venue, "funding")
    after = sim(shared_venue, "GET", "faults")[1]
    assert set(after["kinds"]) == set(KINDS)
    begun = [body["kinds"]["funding"]["begun"] for body in (before, after)]
    assert begun[1] == begun[0] + 1
    assert after["injected"][-1]["kind"] == "funding"


def test_books_add_up_whatever_the_schedule_does(start_venue):
    """Every kind at a high rate, under load: the venue lives and its own truth holds."""
    venue = start_venue(
        faults=FaultConfig(seed=3, per_minute=dict.fromkeys(set(KINDS) - {"ban"}, 200.0)),
        weight_per_minute=100_000,
        orders_per_minute=100_000,
        orders_per_10_s=100_000,
    )
    wanted = set(KINDS) - {"ban"}
    deadline_s = time.monotonic() + DEADLINE_S
    number = 0
    while set(sim(venue, "GET", "truth")[1]["faults"]) < wanted:
        assert time.monotonic() < deadline_s
        for side, kind in (("BUY", "LIMIT"), ("SELL", "MARKET"), ("BUY", "MARKET")):
            number += 1
            order = ORDER | {"side": side, "type": kind, "newClientOrderId": f"n{number}"}
            if kind == "MARKET":
                del order["price"], order["timeInForce"]
            try:
                venue.rest.call("POST", "/fapi/v1/order", **order)
            except (OSError, RemoteDisconnected, json.JSONDecodeError):
                continue
    truth = sim(venue, "GET", "truth")[1]
    for account in truth["accounts"]:
        assert account["wallet_adds_up"]
        for order in account["orders"]:
            filled = sum(
                round(float(f["qty"]) * 1e8)
                for f in account["fills"]
                if f["order_id"] == order["order_id"]
            )
            assert filled == round(float(order["filled"]) * 1e8)
