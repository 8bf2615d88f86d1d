"""Other people's clients as their users drive them: watch the book ticker, await the order.

Only their addresses are changed, and ccxt's own brake on requests is off. Both sign every order
with an HMAC secret, as they have no session logon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tools.bench.t2t.places import HMAC_API_KEY, HMAC_SECRET, QTY, SYMBOL, Place


def python_binance(place: Place, ready: Callable[[], None]) -> None:
    """python-binance: its futures ticker socket, orders through its WebSocket API."""
    asyncio.run(_python_binance(place, ready))


async def _python_binance(place: Place, ready: Callable[[], None]) -> None:
    binance = import_module("binance")
    addresses = {"FUTURES_URL": f"{place.rest_url}/fapi", "WS_FUTURES_URL": place.api_url}
    client = type("LocalClient", (binance.AsyncClient,), addresses)(HMAC_API_KEY, HMAC_SECRET)
    manager = binance.BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{place.streams_url}/"
    await client.ws_futures_get_order_book(symbol=SYMBOL, limit=5)  # it connects at the first use
    last = ""
    async with manager.symbol_ticker_futures_socket(SYMBOL) as ticker:
        while True:
            frame = await ticker.recv()
            bid = frame.get("data", frame)["b"]
            if bid == last:
                continue
            if last:
                await client.ws_futures_create_order(
                    symbol=SYMBOL,
                    side="BUY",
                    type="LIMIT",
                    timeInForce="IOC",
                    quantity=QTY,
                    price=bid,
                )
            else:
                ready()
            last = bid


def ccxt_pro(place: Place, ready: Callable[[], None]) -> None:
    """ccxt.pro: ``watch_bids_asks`` and ``create_order_ws``."""
    asyncio.run(_ccxt_pro(place, ready))


async def _ccxt_pro(place: Place, ready: Callable[[], None]) -> None:
    client = import_module("ccxt.pro").binanceusdm(_ccxt_settings(place))
    await client.load_markets()
    symbol, options, last = "BTC/USDT:USDT", {"timeInForce": "IOC"}, 0.0
    while True:
        tickers = await client.watch_bids_asks([symbol])
        bid = tickers[symbol]["bid"]
        if bid == last:
            continue
        # The first one is nobody's trigger: it makes the order connection.
        await client.create_order_ws(symbol, "limit", "buy", float(QTY), bid, options)
        if not last:
            ready()
        last = bid


def _ccxt_settings(place: Place) -> dict[str, Any]:
    rest = place.rest_url
    return {
        "apiKey": HMAC_API_KEY,
        "secret": HMAC_SECRET,
        "enableRateLimit": False,
        "options": {"fetchCurrencies": False, "fetchMarkets": {"types": ["linear"]}},
        "urls": {
            "api": {
                "fapiPublic": f"{rest}/fapi/v1",
                "fapiPublicV2": f"{rest}/fapi/v2",
                "fapiPublicV3": f"{rest}/fapi/v3",
                "fapiPrivate": f"{rest}/fapi/v1",
                "fapiPrivateV2": f"{rest}/fapi/v2",
                "fapiPrivateV3": f"{rest}/fapi/v3",
                "ws": {
                    "linear": f"{place.streams_url}/ws",
                    "ws-api": {"linear": place.api_url},
                },
            }
        },
    }
