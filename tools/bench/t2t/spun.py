"""The simulator with its market streams and order entry taken off the event loop.

REST, user data, books and answers are the simulator's own. Market frames are written straight into
their sockets; order requests are read by ``wire.Poller``. While a course is running the process
spins, and the event loop gets its turn between two batches of frames.

With a certificate all of it speaks TLS. The stamps stay where they are, around the system calls:
a frame is encrypted before it is written, an order decrypted after its stamp.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

import orjson
import uvloop
from aiohttp import web
from picows import WSUpgradeRequest, ws_create_server

from hft.units import NS_PER_MS, parse_e8
from hft.venues.binance_usdm.tls import OwnCertificate
from tools.bench.t2t.frames import frame_of, messages
from tools.bench.t2t.pairing import Arrival
from tools.bench.t2t.places import API_KEY, HMAC_API_KEY, HMAC_SECRET
from tools.bench.t2t.sealing import Sealed, sealed_of, sealing_context
from tools.bench.t2t.wire import Poller, send_stamped
from tools.venue.algo_desk import AlgoDesk
from tools.venue.config import AccountConfig, VenueConfig
from tools.venue.connection import MESSAGE_BYTES_MAX, Connection, agent_of
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import synthetic_rules
from tools.venue.fault_links import Links
from tools.venue.faults import Faults
from tools.venue.orders import OrderDesk
from tools.venue.outlet import Channel, Sink
from tools.venue.rest import RestServer
from tools.venue.rest_algo import AlgoHandlers
from tools.venue.server import Driver, MarketSource
from tools.venue.streams import StreamServer
from tools.venue.ws_api import ApiConnection, ApiServer

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl: the signal a process gets when its parent dies."""
CALM_S: Final = 0.002
"""Between two frames while no course is running: the process mostly sleeps."""
LOOP_TURNS: Final = 4
"""Of the event loop between two batches: a REST request takes several."""
PLACE: Final = "order.place"
PLACE_BY_REST: Final = ("POST", "/fapi/v1/order")
WALLET: Final = "10000"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What answers a REST request."""


class Ports(NamedTuple):
    """Where the venue listens."""

    rest: int
    streams: int
    api: int


class SpunConnection(ApiConnection):
    """A client of the WebSocket API whose requests are read by the poller."""

    def __init__(self, venue: SpunVenue, server: ApiServer, *, agent: str) -> None:
        super().__init__(server, tells_limits=False, agent=agent)
        self._venue = venue
        self._fd = -1
        self.sealed: Sealed | None = None
        """Its TLS; None: it has none."""

    def on_open(self) -> None:
        """Take the socket away from the event loop's reader."""
        super().on_open()
        assert self._transport is not None
        transport = self._transport.underlying_transport
        transport.pause_reading()
        if self._venue.has_tls:
            self.sealed = sealed_of(transport)
        self._fd = transport.get_extra_info("socket").fileno()
        self._venue.on_api_open(self._fd, self)

    def on_end(self) -> None:
        """Poll it no more."""
        self._venue.on_api_end(self._fd)
        super().on_end()

    def hang_up(self) -> None:
        """The client has closed."""
        self._venue.on_api_end(self._fd)
        self.reset()


class SpunVenue:
    """One exchange, its servers and its clients. What is sent, and when, is for its subclasses.

    Args:
        loop: The event loop of the servers, turned by hand.
        config: Symbols, limits, and the accounts of ``venue_settings``.
        make_market: What makes the exchange's market move, for the simulator's driver.
        own: The certificate to speak TLS with; None: without TLS.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: VenueConfig,
        make_market: Callable[[Exchange], MarketSource],
        own: OwnCertificate | None = None,
    ) -> None:
        self._loop = loop
        self._ssl = None if own is None else sealing_context(own)
        self.has_tls = own is not None
        self._exchange = Exchange(config, map(synthetic_rules, config.symbols), clock_ms=clock_ms)
        desk = OrderDesk(self._exchange)
        self._streams = StreamServer(self._exchange)
        algo_desk = AlgoDesk(self._exchange, desk)
        algo = AlgoHandlers(self._exchange, algo_desk)
        self._api = ApiServer(self._exchange, desk, algo)
        faults = Faults(
            self._exchange, desk, algo_desk, lambda: Links([], [], []), clock_s=time.monotonic
        )
        self._driver = Driver(self._exchange, make_market(self._exchange), faults, algo_desk)
        application = RestServer(self._exchange, desk, algo, faults).application()
        application.middlewares.append(self._on_rest)
        self._rest = web.AppRunner(application, access_log=None)
        self._servers: list[asyncio.Server] = []
        self._poller = Poller()
        self._clients: dict[int, tuple[SpunConnection, bytearray]] = {}
        self._arrivals: list[Arrival] = []
        self._loop_turned_ns = 0

    async def start(self) -> Ports:
        """Listen."""
        self._exchange.outlet.frame_hook = self._on_outgoing
        self._driver.start()
        await self._rest.setup()
        site = web.TCPSite(self._rest, "127.0.0.1", 0, ssl_context=self._ssl)
        await site.start()
        ports = [int(self._rest.addresses[0][1])]
        for accept in (self._streams.accept, self._accept_api):
            server = await _listen(accept, self._ssl)
            self._servers.append(server)
            ports.append(int(server.sockets[0].getsockname()[1]))
        return Ports(*ports)

    async def end(self) -> None:
        """Close everything."""
        for server in self._servers:
            server.close()
        for connection in (*self._streams.connections, *self._api.connections):
            connection.reset()
        await self._rest.cleanup()

    # -- connections ----------------------------------------------------------------------------

    def _accept_api(self, request: WSUpgradeRequest) -> Connection | None:
        known = self._api.accept(request)
        return known and SpunConnection(self, self._api, agent=agent_of(request))

    def on_api_open(self, fd: int, connection: SpunConnection) -> None:
        """A client that may send orders."""
        self._clients[fd] = (connection, bytearray())
        self._poller.watch(fd)

    def on_api_end(self, fd: int) -> None:
        """It has gone."""
        if self._clients.pop(fd, None) is not None:
            self._poller.forget(fd)

    def _on_outgoing(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        """Every frame of the venue: those of the market are written here, in their order."""
        if channel is not Channel.MARKET:
            sink.write(payload)
            return
        assert isinstance(sink, Connection)
        transport = sink._transport
        if transport is None or not sink.is_open:
            return
        fd = transport.underlying_transport.get_extra_info("socket").fileno()
        frame = frame_of(payload)
        if self.has_tls:
            frame = sealed_of(transport.underlying_transport).seal(frame)
        self._write(fd, frame)

    def _write(self, fd: int, frame: bytes) -> None:
        """A market frame, encrypted where it has to be, is due now."""
        with suppress(OSError):
            send_stamped(fd, frame)

    # -- orders ---------------------------------------------------------------------------------

    def _serve_until(self, due_ns: int) -> None:
        """Answer what comes until then."""
        wait_until = self._poller.wait_until
        while (data := wait_until(due_ns)) is not None:
            self._on_data(self._poller.fd, self._poller.at_ns, data)

    def _on_data(self, fd: int, read_ns: int, data: bytes) -> None:
        connection, kept = self._clients[fd]
        if not data:
            connection.hang_up()
            return
        kept += data if connection.sealed is None else connection.sealed.unseal(data)
        for opcode, payload in messages(kept):
            if opcode == 1:
                self._note(payload, read_ns)
                connection.on_text(payload)
            elif opcode == 8:
                connection.hang_up()
                return
            elif opcode == 9 and connection._transport is not None:
                connection._transport.send_pong(payload)

    def _note(self, payload: bytes, read_ns: int) -> None:
        request = orjson.loads(payload)
        if request.get("method") != PLACE:
            return
        self._on_order(_arrival(request["params"], read_ns))

    @web.middleware
    async def _on_rest(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note an order that came by REST: read at the earliest when the loop's turn began."""
        if (request.method, request.path) == PLACE_BY_REST:
            read_ns = self._loop_turned_ns
            params = dict(parse_qsl(await request.text())) | dict(request.query)
            self._on_order(_arrival(params, read_ns))
        return await handler(request)

    def _on_order(self, arrival: Arrival) -> None:
        """An order came; it is answered next."""
        self._arrivals.append(arrival)

    # -- time -------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Between courses: few frames, and the event loop does what it likes."""
        self._driver.turn()
        self._stay()

    def _stay(self) -> None:
        """Answer, and let the event loop run for a while."""
        self._serve_until(0)
        self._loop.run_until_complete(asyncio.sleep(CALM_S))

    def _turn_loop(self) -> None:
        """The simulator's and the event loop's turn between two batches."""
        self._driver.turn()
        self._turn_servers()

    def _turn_servers(self) -> None:
        """The event loop's turn alone."""
        self._loop_turned_ns = time.monotonic_ns()
        for _ in range(LOOP_TURNS):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()


class Playing(Protocol):
    """A venue that plays courses."""

    async def start(self) -> Ports:
        """Listen."""

    async def end(self) -> None:
        """Close everything."""

    def calm(self) -> None:
        """Between courses."""

    def run(self, course: Any) -> object:
        """Play one; returns what is told of it."""


def venue_settings(public_pem: str, symbols: Iterable[str], limit_factor: float) -> VenueConfig:
    """The venue's own limits, or that many times higher ones, which it advertises."""
    usual = VenueConfig()
    return VenueConfig(
        symbols=tuple(symbols),
        accounts=(
            AccountConfig(api_key=API_KEY, public_key_pem=public_pem, wallet=WALLET),
            AccountConfig(api_key=HMAC_API_KEY, secret=HMAC_SECRET, account=API_KEY),
        ),
        weight_per_minute=int(usual.weight_per_minute * limit_factor),
        orders_per_10_s=int(usual.orders_per_10_s * limit_factor),
        orders_per_minute=int(usual.orders_per_minute * limit_factor),
    )


async def _listen(
    accept: Callable[[WSUpgradeRequest], Connection | None], context: ssl.SSLContext | None
) -> asyncio.Server:
    return await ws_create_server(
        accept,
        "127.0.0.1",
        0,
        enable_auto_pong=False,
        max_frame_size=MESSAGE_BYTES_MAX,
        ssl=context,
    )


def _arrival(params: Mapping[str, Any], read_ns: int) -> Arrival:
    client_id = str(params.get("newClientOrderId", ""))
    return Arrival(parse_e8(str(params["price"])), read_ns, client_id)


def clock_ms() -> int:
    """The venue's clock."""
    return time.time_ns() // NS_PER_MS


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that leaves the TLS handshake says itself why; everything else is told."""
    error = context.get("exception")
    if not (isinstance(error, ssl.SSLError) or error is ConnectionResetError):
        loop.default_exception_handler(context)


def serve(make: Callable[[asyncio.AbstractEventLoop], Playing], cpu: int, pipe: Pipe) -> None:
    """Body of a venue's process: tells its ports, then plays what the pipe asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {cpu})
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_on_loop_error)
    venue = make(loop)
    pipe.send(loop.run_until_complete(venue.start()))
    try:
        while True:
            if not pipe.poll():
                venue.calm()
                continue
            course = pipe.recv()
            if course is None:
                break
            pipe.send(venue.run(course))
    except (EOFError, ConnectionError):
        pass  # the parent has what it wanted
    finally:
        loop.run_until_complete(venue.end())
        loop.close()
