"""A WebSocket server and an HTTP server that do what a test tells them, on ports of their own."""

from __future__ import annotations

import asyncio
import ctypes
import json
import mmap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import uvloop
from aiohttp import web
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from hft.config import VenueConfig
from hft.venues.binance_usdm.endpoints import Endpoints

Result = TypeVar("Result")
WAIT_S = 60.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the bound only ends a test that would never end."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def at_the_end() -> Callable[[bytes], memoryview]:
    """A text at the end of its page. The next one has no access: a byte too many kills the test."""
    memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    anchor = ctypes.c_char.from_buffer(memory, mmap.PAGESIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(ctypes.addressof(anchor))
    assert libc.mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    del anchor

    def place(text: bytes) -> memoryview:
        memory[mmap.PAGESIZE - len(text) : mmap.PAGESIZE] = text
        return memoryview(memory)[mmap.PAGESIZE - len(text) : mmap.PAGESIZE]

    return place


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Result]], Result]:
    """Run a coroutine on a uvloop loop; an error reported to the loop fails the test."""

    def runner(coroutine: Coroutine[Any, Any, Result]) -> Result:
        reported: list[dict[str, Any]] = []

        async def main() -> Result:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: reported.append(context))
            return await coroutine

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
            result = loop_runner.run(main())
        assert reported == []
        return result

    return runner


def endpoints_of(port: int) -> Endpoints:
    return Endpoints.from_config(
        VenueConfig(
            rest_url=f"http://127.0.0.1:{port}",
            streams_url=f"ws://127.0.0.1:{port}",
            api_url=f"ws://127.0.0.1:{port}/ws-fapi/v1",
        )
    )


class Peer(WSListener):
    """One accepted connection."""

    def __init__(self, venue: FakeVenue, path: str) -> None:
        self.venue = venue
        self.path = path
        self.received: list[str] = []
        self.transport: WSTransport | None = None
        self.is_closed = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.venue.peers.append(self)
        self.venue.on_peer(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == WSMsgType.PING:
            self.venue.on_ping(self, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.TEXT:
            text = frame.get_payload_as_utf8_text()
            self.received.append(text)
            self.venue.on_text(self, text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_closed = True

    def send(self, *messages: object) -> None:
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            assert self.transport is not None
            self.transport.send(WSMsgType.TEXT, text.encode())

    def data(self, *streams: str) -> None:
        for stream in streams:
            self.send({"stream": stream, "data": {"e": "x", "s": stream}})

    def cut(self) -> None:
        assert self.transport is not None
        self.transport.disconnect(False)


class FakeVenue:
    """Accepts connections and remembers them; ``on_peer`` and ``on_text`` are the test's."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.on_peer: Callable[[Peer], None] = lambda peer: None
        self.on_text: Callable[[Peer, str], None] = lambda peer, text: None
        self.on_ping: Callable[[Peer, bytes], None] = lambda peer, payload: None
        self.refuse_with = 0
        self.attempts = 0
        self.port = 1  # until it serves

    @property
    def endpoints(self) -> Endpoints:
        return endpoints_of(self.port)

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        self.attempts += 1
        if self.refuse_with:
            response = WSUpgradeResponse.create_error_response(self.refuse_with, b"no")
            return WSUpgradeResponseWithListener(response, None)
        return Peer(self, request.path.decode())

    @asynccontextmanager
    async def serving(
        self, port: int = 0, *, answers_pings: bool = True
    ) -> AsyncIterator[FakeVenue]:
        server = await ws_create_server(
            self._accept, "127.0.0.1", port, enable_auto_pong=answers_pings
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for peer in self.peers:
                if not peer.is_closed:
                    peer.cut()
            await until(lambda: all(peer.is_closed for peer in self.peers))


class FakeRest:
    """Answers every request with ``answer``; keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.queries: list[str] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
        self.port = 1  # until it serves

    def reply(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(
                text=text, status=status, headers=headers, content_type="application/json"
            )

        self.answer = answer

    @property
    def endpoints(self) -> Endpoints:
        return endpoints_of(self.port)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeRest]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.append((request.method, request.path, dict(request.headers)))
            self.queries.append(request.rel_url.raw_query_string)
            return await self.answer(request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
def venue() -> FakeVenue:
    return FakeVenue()


@pytest.fixture
def rest_server() -> FakeRest:
    return FakeRest()


class States:
    """Collects what a session reports."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, str]] = []

    def __call__(self, state: Any, detail: str) -> None:
        self.log.append((state, detail))

    @property
    def names(self) -> list[str]:
        return [state.name for state, _ in self.log]

    def detail_of(self, name: str) -> str:
        return next(detail for state, detail in self.log if state.name == name)


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def wait() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return until
