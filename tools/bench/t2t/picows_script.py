"""The script on picows: as ``script`` does it, on a library and an event loop.

What most who write such a script would write: picows on uvloop, orjson, an order text of which only
price and time are missing. ``script`` is faster because it has neither; both are kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tools.bench.t2t.places import ORDER_HEAD, ORDER_MIDDLE, ORDER_TAIL, Place, logon

TEXT: Final = WSMsgType.TEXT
NS_PER_MS: Final = 1_000_000


class Orders(WSListener):
    """The order connection; answers are not looked at once it is logged on."""

    def __init__(self) -> None:
        self.is_logged_on: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Only the first answer matters."""
        if not self.is_logged_on.done():
            self.is_logged_on.set_result(b'"status":200' in frame.get_payload_as_bytes())


class Echo(WSListener):
    """Answers each change of the best bid."""

    def __init__(self, orders: WSTransport) -> None:
        self._send = orders.send
        self._bid = ""
        self._tail = b""

    def on_ws_frame(
        self,
        transport: WSTransport,
        frame: WSFrame,
        loads: Callable[[memoryview], dict[str, str]] = orjson.loads,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Decode, compare, send; what the next order needs is made ready while there is time."""
        bid = loads(frame.get_payload_as_memoryview())["b"]
        if bid != self._bid:
            if self._bid:
                self._send(TEXT, ORDER_HEAD + bid.encode() + self._tail)
            self._bid = bid
        self._tail = b"%b%d%b" % (ORDER_MIDDLE, clock() // NS_PER_MS, ORDER_TAIL)


async def run(place: Place, ready: Callable[[], None], *, spins: bool) -> None:
    """Trade until killed.

    Args:
        place: The venue.
        ready: Called once everything is connected.
        spins: Never let the event loop sleep.
    """
    loop = asyncio.get_running_loop()
    orders, listener = await ws_connect(Orders, place.api_url, ssl_context=place.ssl_context())
    assert isinstance(listener, Orders)
    orders.send(TEXT, logon(place.private_pem))
    if not await listener.is_logged_on:
        raise ConnectionError("the logon was refused")
    stream, _ = await ws_connect(
        lambda: Echo(orders),
        f"{place.streams_url}{place.ticker_path}",
        ssl_context=place.ssl_context(),
    )
    ready()
    if spins:

        def spin() -> None:
            loop.call_soon(spin)

        spin()
    await stream.wait_disconnected()
