"""Other people's clients against the simulator: only their URLs are changed, by their settings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = [
    pytest.mark.clients,
    # Warnings of other people's code are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]
KEY, SECRET = "test-key", "test-secret"
DEADLINE_S = 60


def far_price(bid: str) -> str:
    return f"{float(bid) * 0.98:.1f}"


def python_binance(venue: Any) -> type[Any]:
    """python-binance's asynchronous client with the simulator's addresses."""
    binance = pytest.importorskip("binance")

    class LocalClient(binance.AsyncClient):  # type: ignore[misc]  # the package has no types
        FUTURES_URL = f"http://127.0.0.1:{venue.ports.rest}/fapi"
        WS_FUTURES_URL = f"ws://127.0.0.1:{venue.ports.api}/ws-fapi/v1"

    return LocalClient


def run(act: Any) -> None:
    asyncio.run(asyncio.wait_for(act, DEADLINE_S))


def test_python_binance_trades_over_rest(start_venue):
    venue = start_venue()

    async def act() -> None:
        client = python_binance(venue)(KEY, SECRET)
        try:
            info = await client.futures_exchange_info()
            assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT"]
            book = await client.futures_order_book(symbol="BTCUSDT", limit=5)
            named = {"symbol": "BTCUSDT"}
            order = await client.futures_create_order(
                **named,
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="0.01",
                price=far_price(book["bids"][0][0]),
            )
            assert order["status"] == "NEW"
            assert len(await client.futures_get_open_orders(**named)) == 1
            told = await client.futures_get_order(**named, orderId=order["orderId"])
            assert told["orderId"] == order["orderId"]
            gone = await client.futures_cancel_order(**named, orderId=order["orderId"])
            assert gone["status"] == "CANCELED"
            await client.futures_create_order(**named, side="BUY", type="MARKET", quantity="0.01")
            positions = await client.futures_position_information(**named)
            assert float(positions[0]["positionAmt"]) == 0.01
            account = await client.futures_account()
            assert float(account["totalWalletBalance"]) < 100_000
            assert await client.futures_account_balance()
            assert len(await client.futures_account_trades(**named)) == 1
            assert (await client.futures_change_leverage(**named, leverage=10))["leverage"] == 10
            with pytest.raises(Exception, match="-2011"):
                await client.futures_cancel_order(**named, orderId=order["orderId"])
        finally:
            await client.close_connection()

    run(act())
    assert venue.rest.get("/sim/stats", signed=False)["fills"] == 1


def test_python_binance_trades_over_the_websocket_api(start_venue):
    venue = start_venue()

    async def act() -> None:
        client = python_binance(venue)(KEY, SECRET)
        try:
            book = await client.ws_futures_get_order_book(symbol="BTCUSDT", limit=5)
            order = await client.ws_futures_create_order(
                symbol="BTCUSDT",
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="0.01",
                price=far_price(book["bids"][0][0]),
            )
            assert order["status"] == "NEW"
            gone = await client.ws_futures_cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
            assert gone["status"] == "CANCELED"
            assert await client.ws_futures_account_balance()
        finally:
            await client.close_connection()

    run(act())
    assert venue.rest.get("/sim/stats", signed=False)["orders"] == 1


def test_python_binance_hears_market_and_user_streams(start_venue):
    venue = start_venue()
    binance = pytest.importorskip("binance")

    async def act() -> None:
        client = python_binance(venue)(KEY, SECRET)
        try:
            manager = binance.BinanceSocketManager(client)
            manager.FSTREAM_URL = f"ws://127.0.0.1:{venue.ports.streams}/"
            async with manager.futures_depth_socket("BTCUSDT") as depth:
                frame = await depth.recv()
                data = frame.get("data", frame)
                assert (data["e"], data["s"]) == ("depthUpdate", "BTCUSDT")
            async with manager.futures_user_socket() as user:
                await client.futures_create_order(
                    symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
                )
                names = [(await user.recv())["e"] for _ in range(4)]
            assert names == [
                "TRADE_LITE",
                "ORDER_TRADE_UPDATE",
                "ACCOUNT_UPDATE",
                "ORDER_TRADE_UPDATE",
            ]
        finally:
            await client.close_connection()

    run(act())
    assert venue.rest.get("/sim/stats", signed=False)["fills"] == 1


def ccxt_settings(venue: Any) -> dict[str, Any]:
    """Settings of ccxt with the simulator's addresses."""
    rest = f"http://127.0.0.1:{venue.ports.rest}"
    streams = f"ws://127.0.0.1:{venue.ports.streams}"
    return {
        "apiKey": KEY,
        "secret": SECRET,
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
                    "linear": f"{streams}/ws",
                    "ws-api": {"linear": f"ws://127.0.0.1:{venue.ports.api}/ws-fapi/v1"},
                },
            }
        },
    }


def test_ccxt_trades(start_venue):
    ccxt = pytest.importorskip("ccxt")
    venue = start_venue()
    client = ccxt.binanceusdm(ccxt_settings(venue))
    symbol = "BTC/USDT:USDT"
    market = client.load_markets()[symbol]
    assert market["precision"]["price"] == 0.1
    book = client.fetch_order_book(symbol, limit=5)
    price = float(far_price(str(book["bids"][0][0])))
    order = client.create_order(symbol, "limit", "buy", 0.01, price, {"timeInForce": "GTX"})
    assert client.fetch_order(order["id"], symbol)["status"] == "open"
    assert [o["id"] for o in client.fetch_open_orders(symbol)] == [order["id"]]
    assert client.cancel_order(order["id"], symbol)["status"] == "canceled"
    client.create_order(symbol, "market", "sell", 0.01)
    positions = client.fetch_positions([symbol])
    assert [(p["side"], p["contracts"]) for p in positions] == [("short", 0.01)]
    assert client.fetch_balance()["USDT"]["total"] < 100_000
    assert len(client.fetch_my_trades(symbol)) == 1
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(order["id"], symbol)
    # The code is known to ccxt under the venue's own host name only, hence the general class.
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        client.create_order(symbol, "limit", "buy", 900, price)


def test_ccxt_pro_watches_the_order_book_and_orders(start_venue):
    ccxtpro = pytest.importorskip("ccxt.pro")
    venue = start_venue()

    async def act() -> None:
        client = ccxtpro.binanceusdm(ccxt_settings(venue))
        symbol = "BTC/USDT:USDT"
        try:
            await client.load_markets()
            for _ in range(5):
                book = await client.watch_order_book(symbol)
            assert book["bids"][0][0] < book["asks"][0][0]
            trades = await client.watch_trades(symbol)
            assert trades[0]["symbol"] == symbol
            watching = asyncio.create_task(client.watch_orders(symbol))
            for _ in range(200):
                order = await client.create_order(symbol, "market", "buy", 0.01)
                done, _ = await asyncio.wait({watching}, timeout=0.1)
                if done:
                    break
            assert watching.result()[0]["symbol"] == symbol
            assert order["id"]
        finally:
            await client.close()

    run(act())
    assert venue.rest.get("/sim/stats", signed=False)["fills"] >= 1
