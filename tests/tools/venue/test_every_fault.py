"""Every kind of fault finds something to hit while a maker trades as makers do."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import suppress
from urllib.request import urlopen

import aiohttp

from tools.venue.config import AccountConfig
from tools.venue.fault_kinds import KINDS

KEY = "maker"
DEADLINE_S = 60
ERRORS = (aiohttp.ClientError, ConnectionError, TimeoutError, TypeError, ValueError, KeyError)
SHORT = {"seconds": "0.2"}
"""Of what would last for seconds: enough to be met."""
SHORTENED = ("rate_limit", "ban", "restart", "restart_resetting_ids", "restart_losing_orders",
             "halt", "clock_offset", "freeze_market", "foreign_order",
             "foreign_algo_order")  # fmt: skip


class Maker:
    """Quotes, amends, cancels and takes on both interfaces, and comes back after everything."""

    def __init__(self, venue, sign):
        self._rest = f"http://127.0.0.1:{venue.ports.rest}"
        self._streams = f"http://127.0.0.1:{venue.ports.streams}"
        self._api = f"http://127.0.0.1:{venue.ports.api}/ws-fapi/v1"
        self._sign = sign
        self._numbers = itertools.count()
        self._offset_ms = 0

    async def run(self):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            self._session = session
            await asyncio.gather(
                self._forever(self._trade_by_rest),
                self._forever(self._trade_by_api),
                self._forever(self._listen_to_market),
                self._forever(self._listen_to_user),
            )

    async def _forever(self, once):
        while True:
            with suppress(*ERRORS):
                await once()
            await asyncio.sleep(0.02)

    def _signed(self, params):
        now_ms = time.time_ns() // 1_000_000 + self._offset_ms
        return self._sign({**params, "timestamp": str(now_ms), "recvWindow": "50000"})

    async def _ask(self, method, path, **params):
        query = "&".join(f"{k}={v}" for k, v in self._signed(params).items())
        headers = {"X-MBX-APIKEY": KEY}
        url = f"{self._rest}/fapi/v1/{path}?{query}"
        async with self._session.request(method, url, headers=headers) as response:
            return await response.json(content_type=None)

    async def _price(self, factor):
        ticker = await self._ask("GET", "ticker/bookTicker", symbol="BTCUSDT")
        return f"{float(ticker['bidPrice']) * factor // 10 * 10:.2f}"

    async def _trade_by_rest(self):
        self._offset_ms = (await self._ask("GET", "time"))["serverTime"] - time.time_ns() // 10**6
        await self._ask("GET", "depth", symbol="BTCUSDT", limit="5")
        name = f"r{next(self._numbers)}"
        price = await self._price(0.999)
        order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.010"}
        limit = order | {"type": "LIMIT", "timeInForce": "GTC", "newClientOrderId": name}
        await self._ask("POST", "order", **limit, price=price)
        named = {"origClientOrderId": name}
        await self._ask("PUT", "order", **order | named | {"quantity": "0.020"}, price=price)
        await self._ask("DELETE", "order", symbol="BTCUSDT", **named)
        await self._ask("POST", "order", **order, type="MARKET")

    async def _trade_by_api(self):
        async with self._session.ws_connect(self._api) as socket:
            while True:
                await socket.send_str(json.dumps({"id": "t", "method": "time"}))
                frame = await socket.receive(timeout=1)
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    return
                await asyncio.sleep(0.02)

    async def _listen_to_market(self):
        await self._listen(f"{self._streams}/public/stream?streams="
                           "btcusdt@depth@0ms/btcusdt@bookTicker")  # fmt: skip

    async def _listen_to_user(self):
        key = (await self._ask("POST", "listenKey"))["listenKey"]
        events = "ORDER_TRADE_UPDATE/TRADE_LITE/ACCOUNT_UPDATE/listenKeyExpired"
        await self._listen(f"{self._streams}/private/ws?listenKey={key}&events={events}")

    async def _listen(self, url):
        async with self._session.ws_connect(url) as socket:
            while True:
                frame = await socket.receive(timeout=1)
                if frame.type is not aiohttp.WSMsgType.TEXT or b"listenKeyExpired" in (
                    frame.data.encode()
                ):
                    return


async def sim(session, url):
    async with session.post(url) if "fault?" in url else session.get(url) as response:
        body = await response.json()
        assert response.status == 200, body
        return body


async def hits_of_all(venue):
    """Begin each kind, one after the other, until it hit something; the kinds that did not."""
    base = f"http://127.0.0.1:{venue.ports.rest}/sim"
    missed = []
    async with aiohttp.ClientSession() as session:
        for kind in KINDS:
            options = SHORT if kind in SHORTENED else {}
            query = "&".join(f"{k}={v}" for k, v in options.items())
            deadline_s = time.monotonic() + DEADLINE_S
            while True:
                await sim(session, f"{base}/fault?kind={kind}&{query}")
                begun_s = time.monotonic()
                hits = 0
                while not hits and time.monotonic() - begun_s < 2.0:
                    await asyncio.sleep(0.01)
                    hits = (await sim(session, f"{base}/faults"))["kinds"][kind]["hits"]
                if hits or time.monotonic() > deadline_s:
                    break
            if not hits:
                missed.append(kind)
    return missed


def test_every_kind_hits_something_under_a_makers_load(start_venue, signer):
    settings = {"weight_per_minute": 10**6, "orders_per_10_s": 10**6, "orders_per_minute": 10**6}
    venue = start_venue(
        accounts=(AccountConfig(api_key=KEY, secret="secret", wallet="10000000"),),
        frames_per_s=200.0,
        listen_key_lifetime_s=600.0,
        **settings,
    )

    async def main():
        load = asyncio.create_task(Maker(venue, signer("secret")).run())
        try:
            return await hits_of_all(venue)
        finally:
            load.cancel()
            with suppress(asyncio.CancelledError):
                await load

    assert asyncio.run(main()) == []
    with urlopen(f"http://127.0.0.1:{venue.ports.rest}/sim/truth", timeout=60) as response:
        truth = json.loads(response.read())
    assert truth["wallet_adds_up"]
    assert set(truth["faults"]) == set(KINDS)
    assert {len(truth["halts"]) > 0, len(truth["bans"]) > 0, len(truth["clock_steps"]) > 1} == {
        True
    }
