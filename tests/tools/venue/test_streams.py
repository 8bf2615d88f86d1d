from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

DEADLINE_S = 60


class Socket:
    """A small WebSocket client."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection

    async def next(self) -> Any:
        message = await asyncio.wait_for(self.connection.receive(), DEADLINE_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        while True:
            message = await self.next()
            if wanted(message):
                return message

    async def ask(self, **request: Any) -> Any:
        await self.connection.send_str(json.dumps(request))
        return await self.until(lambda m: "id" in m or "code" in m)

    async def is_closed(self) -> bool:
        while True:
            message = await asyncio.wait_for(self.connection.receive(), DEADLINE_S)
            if message.type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            ):
                return True


def with_socket(venue: Any, path: str, act: Callable[[Socket], Any]) -> Any:
    async def main() -> Any:
        url = f"http://127.0.0.1:{venue.ports.streams}{path}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
            return await act(Socket(connection))

    return asyncio.run(main())


def test_raw_form_delivers_bare_and_combined_form_wrapped(shared_venue):
    bare = with_socket(shared_venue, "/public/ws/btcusdt@bookTicker", Socket.next)
    assert list(bare) == ["e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"]
    wrapped = with_socket(
        shared_venue, "/public/stream?streams=btcusdt@depth@100ms/btcusdt@trade", Socket.next
    )
    assert wrapped["stream"] in ("btcusdt@depth@100ms", "btcusdt@trade")


@pytest.mark.parametrize(
    ("stream", "keys"),
    [
        ("btcusdt@depth@0ms", "e E T s ps U u pu b a st"),
        ("btcusdt@depth", "e E T s ps U u pu b a st"),
        ("btcusdt@depth5@100ms", "e E T s ps U u pu b a st"),
        ("btcusdt@trade", "e E T s t p q X m st"),
    ],
)
def test_public_frames_have_the_venues_keys(shared_venue, stream, keys):
    frame = with_socket(shared_venue, f"/public/ws/{stream}", Socket.next)
    assert " ".join(frame) == keys
    if "depth5" in stream:
        assert [len(frame[side]) for side in "ba"] == [5, 5]


@pytest.mark.parametrize(
    ("stream", "keys"),
    [
        ("btcusdt@aggTrade", "e E a s p q nq f l T m st"),
        ("btcusdt@markPrice@1s", "e E s p ap P i r T st"),
    ],
)
def test_market_frames_have_the_venues_keys(shared_venue, stream, keys):
    frame = with_socket(shared_venue, f"/market/ws/{stream}", Socket.next)
    assert " ".join(frame) == keys


@pytest.mark.parametrize(
    ("route", "delivered"),
    [("/public", {"bookTicker"}), ("/market", {"aggTrade"}), ("", {"bookTicker"})],
)
def test_stream_on_the_wrong_route_is_acknowledged_and_silent(shared_venue, route, delivered):
    async def act(socket: Socket) -> set[str]:
        reply = await socket.ask(
            method="SUBSCRIBE", params=["btcusdt@bookTicker", "btcusdt@aggTrade"], id=1
        )
        assert reply == {"result": None, "id": 1}
        return {(await socket.next())["e"] for _ in range(12)}

    assert with_socket(shared_venue, f"{route}/ws", act) == delivered


def test_subscribe_protocol(shared_venue):
    async def act(socket: Socket) -> None:
        ask = socket.ask
        await ask(method="SUBSCRIBE", params=["btcusdt@nonsense"], id=1)
        listed = await ask(method="LIST_SUBSCRIPTIONS", id=2)
        assert listed == {"result": ["btcusdt@nonsense"], "id": 2}
        await ask(method="UNSUBSCRIBE", params=["btcusdt@nonsense"], id=3)
        assert (await ask(method="LIST_SUBSCRIPTIONS", id=4))["result"] == []
        assert (await ask(method="GET_PROPERTY", params=["combined"], id=5))["result"] is False
        await ask(method="SET_PROPERTY", params=["combined", True], id=6)
        assert (await ask(method="GET_PROPERTY", params=["combined"], id=7))["result"] is True

    with_socket(shared_venue, "/public/ws", act)
    assert shared_venue.rest.get("/sim/stats", signed=False)["frames_sent"] > 0


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("{nonsense", 3, "Invalid JSON"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"SUB","id":1}', 2, "unknown variant `SUB`"),
        ('{"method":"SUBSCRIBE","params":[],"id":"x"}', 2, "request ID must be an unsigned"),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', 2, "property name must be a string"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "expected Boolean"),
    ],
)
def test_malformed_control_messages_are_answered(shared_venue, text, code, words):
    async def act(socket: Socket) -> Any:
        await socket.connection.send_str(text)
        return await socket.next()

    reply = with_socket(shared_venue, "/public/ws", act)
    assert reply["code"] == code
    assert words in reply["msg"]


def test_too_many_messages_cost_the_connection(start_venue):
    venue = start_venue(messages_per_s=3)

    async def act(socket: Socket) -> bool:
        request = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        with suppress(ConnectionError):  # the venue may be faster than the last of them
            for _ in range(8):
                await socket.connection.send_str(request)
        return await socket.is_closed()

    assert with_socket(venue, "/public/ws", act)


def test_connection_ends_with_its_lifetime(start_venue):
    venue = start_venue(connection_lifetime_s=0.2)
    assert with_socket(venue, "/public/ws/btcusdt@bookTicker", Socket.is_closed)


def test_silent_client_is_pinged_and_cut_off(start_venue):
    venue = start_venue(ping_interval_s=0.1, pong_timeout_s=0.2)

    async def act(socket: Socket) -> bool:
        return await socket.is_closed()

    async def main() -> bool:
        url = f"http://127.0.0.1:{venue.ports.streams}/public/ws"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, autoping=False) as connection,
        ):
            ping = await asyncio.wait_for(connection.receive(), DEADLINE_S)
            assert ping.type is aiohttp.WSMsgType.PING
            return await Socket(connection).is_closed()

    assert asyncio.run(main())


def test_unknown_path_is_not_found(shared_venue):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        with_socket(shared_venue, "/elsewhere", Socket.next)


# User data.


def start_key(venue: Any) -> str:
    status, body, _ = venue.rest.call("POST", "/fapi/v1/listenKey", signed=False)
    assert status == 200
    return str(body["listenKey"])


def trade(venue: Any) -> None:
    venue.rest.post("/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.002")


def test_private_socket_gets_only_the_events_it_names(start_venue):
    venue = start_venue()
    key = start_key(venue)

    async def act(socket: Socket) -> list[str]:
        await asyncio.to_thread(trade, venue)
        return [(await socket.next())["e"] for _ in range(2)]

    path = f"/private/ws?listenKey={key}&events=TRADE_LITE/ORDER_TRADE_UPDATE"
    assert with_socket(venue, path, act) == ["TRADE_LITE", "ORDER_TRADE_UPDATE"]


@pytest.mark.parametrize(
    "path", ["/private/ws/{key}", "/private/ws?listenKey={key}", "/private/stream?listenKey={key}"]
)
def test_private_forms_deliver(start_venue, path):
    venue = start_venue()
    key = start_key(venue)

    async def act(socket: Socket) -> Any:
        await asyncio.to_thread(trade, venue)
        return await socket.next()

    event = with_socket(venue, path.format(key=key), act)
    if "/stream" in path:
        assert event["stream"] == key
        event = event["data"]
    assert event["e"] == "TRADE_LITE"


def test_listen_key_of_another_opens_and_stays_silent_and_expiry_is_told(start_venue):
    venue = start_venue(private_without_events_delivers=False)
    key = start_key(venue)
    assert start_key(venue) == key

    async def act(socket: Socket) -> Any:
        await asyncio.to_thread(venue.rest.call, "DELETE", "/fapi/v1/listenKey", signed=False)
        return await socket.next()

    path = f"/private/ws?listenKey=bogus&listenKey={key}&events=listenKeyExpired"
    assert with_socket(venue, path, act)["listenKey"] == key
    status, body, _ = venue.rest.call("PUT", "/fapi/v1/listenKey", signed=False)
    assert (status, body["code"]) == (400, -1125)
    assert start_key(venue) != key


def test_private_stream_by_subscription_is_named_after_the_key(start_venue):
    venue = start_venue()
    key = start_key(venue)

    async def act(socket: Socket) -> Any:
        await socket.ask(method="SUBSCRIBE", params=[key], id=1)
        await asyncio.to_thread(trade, venue)
        return await socket.next()

    assert with_socket(venue, "/private/stream", act)["stream"] == key


# Consistency of the book.


class BookCheck:
    """Follows one depth stream by the documented procedure and compares it with bookTicker."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}
        self.last_id = 0
        self.tickers: dict[int, tuple[float, ...]] = {}
        self.diffs = self.compared = 0

    def start(self, snapshot: dict[str, Any]) -> None:
        for side, rows in (("b", snapshot["bids"]), ("a", snapshot["asks"])):
            self.sides[side] = {float(p): float(q) for p, q in rows}
        self.last_id = snapshot["lastUpdateId"]

    def apply(self, frame: dict[str, Any]) -> None:
        for side in "ba":
            for price, qty in frame[side]:
                if float(qty):
                    self.sides[side][float(price)] = float(qty)
                else:
                    self.sides[side].pop(float(price), None)
        self.last_id = frame["u"]
        self.diffs += 1
        assert max(self.sides["b"]) < min(self.sides["a"])
        if frame["u"] in self.tickers:
            self.compare(self.tickers.pop(frame["u"]))

    def note(self, ticker: dict[str, Any]) -> None:
        """A ticker may be heard before or after the depth frame of the same id."""
        top = tuple(float(ticker[key]) for key in "bBaA")
        if self.diffs and ticker["u"] == self.last_id:
            self.compare(top)
        else:
            self.tickers[ticker["u"]] = top

    def compare(self, top: tuple[float, ...]) -> None:
        self.compared += 1
        bid, ask = max(self.sides["b"]), min(self.sides["a"])
        assert top == (bid, self.sides["b"][bid], ask, self.sides["a"][ask])


async def follow(venue: Any, stream: str, diffs: int, also: Any = None) -> BookCheck:
    """Sync and follow ``diffs`` frames; the snapshot is asked for once frames are held."""
    check = BookCheck()
    held: list[dict[str, Any]] = []
    symbol = stream.partition("@")[0]
    url = (
        f"http://127.0.0.1:{venue.ports.streams}/public/stream?streams={stream}/{symbol}@bookTicker"
    )
    is_synced, previous_id = False, 0
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
        socket = Socket(connection)
        while check.diffs < diffs:
            message = await socket.next()
            data = message["data"]
            if data["e"] == "bookTicker":
                check.note(data)
                continue
            held.append(data)
            if not is_synced and len(held) >= 2:
                if not check.last_id:
                    snapshot = await asyncio.to_thread(
                        venue.rest.get,
                        "/fapi/v1/depth",
                        signed=False,
                        symbol=symbol.upper(),
                        limit=1000,
                    )
                    check.start(snapshot)
                fresh = [f for f in held if f["u"] >= check.last_id]
                if fresh and fresh[0]["U"] > check.last_id:
                    check.last_id = 0  # older than the stream: ask again
                elif fresh:
                    is_synced, previous_id, held = True, fresh[0]["pu"], fresh
            if is_synced:
                for frame in held:
                    assert frame["pu"] == previous_id
                    assert frame["U"] > previous_id
                    previous_id = frame["u"]
                    check.apply(frame)
                held = []
                if also is not None and check.diffs % 20 == 0:
                    await asyncio.to_thread(also)
    return check


@pytest.mark.parametrize(
    ("stream", "diffs"), [("btcusdt@depth@0ms", 300), ("btcusdt@depth@100ms", 15)]
)
def test_book_follows_by_the_documented_procedure_with_own_orders_in_it(start_venue, stream, diffs):
    venue = start_venue(burst_every_s=1.0)
    placed: list[str] = []

    def trade_and_quote() -> None:
        rest = venue.rest
        top = rest.get("/fapi/v1/ticker/bookTicker", signed=False, symbol="BTCUSDT")
        common = {"symbol": "BTCUSDT", "quantity": "0.010", "timeInForce": "GTC"}
        rest.post("/fapi/v1/order", side="BUY", type="LIMIT", price=top["bidPrice"], **common)
        rest.post("/fapi/v1/order", side="SELL", type="LIMIT", price=top["askPrice"], **common)
        placed.append(top["bidPrice"])

    check = asyncio.run(follow(venue, stream, diffs, trade_and_quote))
    assert check.diffs >= diffs
    assert check.compared > diffs // 20
    if "0ms" in stream and "100ms" not in stream:
        assert placed
    venue.rest.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    book = venue.rest.get("/sim/book", signed=False, symbol="BTCUSDT")
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    assert venue.rest.get("/sim/truth", signed=False)["wallet_adds_up"]


def test_recorded_book_follows_too_also_into_its_next_round(start_venue, shared_data):
    names = ("btcusdt_20240718.gz", "ethusdt_20240718.gz")
    files = tuple(str(shared_data / "usdm_streams" / name) for name in names)
    venue = start_venue(recordings=files, recording_speed=60.0)
    check = asyncio.run(follow(venue, "btcusdt@depth@0ms", 5_000))
    assert check.compared > 200
    assert check.last_id > 4_984_034_747_463  # beyond the file's end: a further round


def test_stopping_venue_says_goodbye(start_venue):
    venue = start_venue()

    async def act(socket: Socket) -> int | None:
        venue.stop_soon()
        await socket.is_closed()
        return socket.connection.close_code

    assert with_socket(venue, "/public/ws", act) == 1001
