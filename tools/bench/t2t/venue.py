"""The bench venue: the simulator with its market streams and order entry taken off the event loop.

REST, user data, books and answers are the simulator's own. Market frames are prepared before they
are due and written by ``wire.send_stamped``; order requests are read by ``wire.Poller``. While a
course is running the process spins and the event loop gets its turn between two batches, never
while an answer to a trigger is awaited.

With a certificate all of it speaks TLS. The stamps stay where they are, around the system calls:
a frame is encrypted when it is prepared, an order decrypted after its stamp.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, NamedTuple

import orjson
import uvloop
from aiohttp import web
from picows import WSUpgradeRequest, ws_create_server

from hft.units import NS_PER_MS, parse_e8
from hft.venues.binance_usdm.tls import OwnCertificate
from tools.bench.t2t.course import Batch, Course, batches
from tools.bench.t2t.frames import frame_of, messages
from tools.bench.t2t.market import TriggerMarket
from tools.bench.t2t.pairing import Arrival, Trigger
from tools.bench.t2t.places import API_KEY, HMAC_API_KEY, HMAC_SECRET, SYMBOL
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
from tools.venue.server import Driver
from tools.venue.streams import StreamServer
from tools.venue.ws_api import ApiConnection, ApiServer

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl: the signal a process gets when its parent dies."""
CALM_S: Final = 0.002
"""Between two frames while no course is running: the process mostly sleeps."""
ANSWER_NS_MAX: Final = 50 * NS_PER_MS
"""An answer is awaited so long before anything else is done."""
LATE_NS: Final = 300 * NS_PER_MS
"""Orders that come so long after the last frame still count."""
LEAD_NS: Final = 20 * NS_PER_MS
"""Between the start of a course and its first frame."""
LOST_NS: Final = NS_PER_MS
"""A frame that is so late was not delayed by the venue's own work."""
LOOP_TURNS: Final = 4
"""Of the event loop between two batches: a REST request takes several."""
LIMIT_FACTOR: Final = 4
PACE_PER_S_MAX: Final = 12.0
"""Triggers a second that fit into the venue's own limits."""
PLACE: Final = "order.place"
WALLET: Final = "10000"


class Ports(NamedTuple):
    """Where the venue listens."""

    rest: int
    streams: int
    api: int


class Stamps(NamedTuple):
    """What the venue saw of one course."""

    triggers: list[Trigger]
    arrivals: list[Arrival]
    frames: int
    late_ns_p99: int
    """How late its frames were written, by its own plan."""
    violations: int
    """Rules of the venue that the client broke."""


class SpunConnection(ApiConnection):
    """A client of the WebSocket API whose requests are read by the poller."""

    def __init__(self, venue: BenchVenue, server: ApiServer, *, agent: str) -> None:
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


class BenchVenue:
    """One exchange with one symbol, and the loop that paces it."""

    def __init__(
        self,
        public_pem: str,
        pace_per_s: float,
        loop: asyncio.AbstractEventLoop,
        own: OwnCertificate | None = None,
    ) -> None:
        self._loop = loop
        self._ssl = None if own is None else sealing_context(own)
        self.has_tls = own is not None
        config = _settings(public_pem, pace_per_s)
        self._exchange = Exchange(config, [synthetic_rules(SYMBOL)], clock_ms=_clock_ms)
        self._market = TriggerMarket(self._exchange.markets[SYMBOL])
        desk = OrderDesk(self._exchange)
        self._streams = StreamServer(self._exchange)
        algo_desk = AlgoDesk(self._exchange, desk)
        algo = AlgoHandlers(self._exchange, algo_desk)
        self._api = ApiServer(self._exchange, desk, algo)
        faults = Faults(
            self._exchange, desk, algo_desk, lambda: Links([], [], []), clock_s=time.monotonic
        )
        self._driver = Driver(self._exchange, self._market, faults, algo_desk)
        self._rest = web.AppRunner(
            RestServer(self._exchange, desk, algo, faults).application(), access_log=None
        )
        self._servers: list[asyncio.Server] = []
        self._poller = Poller()
        self._clients: dict[int, tuple[SpunConnection, bytearray]] = {}
        self._pending: list[tuple[int, bytes]] | None = None
        """Frames that are prepared; None: what is published leaves at once."""
        self._triggers: list[Trigger] = []
        self._arrivals: list[Arrival] = []
        self._late_ns: list[int] = []
        self._is_awaiting = False

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
        if self._pending is not None:
            self._pending.append((fd, frame))
            return
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
        params: dict[str, Any] = request["params"]
        client_id = str(params.get("newClientOrderId", ""))
        self._arrivals.append(Arrival(parse_e8(str(params["price"])), read_ns, client_id))
        self._is_awaiting = False

    # -- courses --------------------------------------------------------------------------------

    def calm(self) -> None:
        """Between courses: few frames, and the event loop does what it likes."""
        self._market.change(_clock_ms(), is_trigger=False)
        self._driver.turn()
        self._serve_until(0)
        self._loop.run_until_complete(asyncio.sleep(CALM_S))

    def run(self, course: Course) -> Stamps:
        """Send a course's frames, and note what comes back."""
        self._triggers, self._arrivals, self._late_ns = [], [], []
        gc.collect()
        gc.freeze()
        gc.disable()
        start_ns = time.monotonic_ns() + LEAD_NS
        try:
            for batch in batches(course):
                start_ns += self._play(batch, start_ns + batch.due_ns)
            self._serve_until(time.monotonic_ns() + LATE_NS)
        finally:
            gc.enable()
            gc.unfreeze()
        late = sorted(self._late_ns)
        return Stamps(
            triggers=self._triggers,
            arrivals=self._arrivals,
            frames=len(late),
            late_ns_p99=late[len(late) * 99 // 100],
            violations=len(self._exchange.history.violations),
        )

    def _play(self, batch: Batch, due_ns: int) -> int:
        """Send a batch; returns by how much the rest of the course has to be put off.

        Time that the venue lost is lost: frames it made up for would be a burst nobody asked for.
        """
        pending, trigger_frame = self._prepare(batch)
        sent = lost_ns = 0
        while pending:
            self._serve_until(due_ns)
            fd, frame = pending.pop(0)
            try:
                write_ns = send_stamped(fd, frame)
            except OSError:
                continue
            if frame is trigger_frame:
                self._triggers.append(Trigger(self._market.bid_e8, write_ns))
                self._is_awaiting = True
            late_ns = write_ns - due_ns
            self._late_ns.append(late_ns)
            if late_ns > LOST_NS:
                lost_ns += late_ns
                due_ns = write_ns
            sent += 1
            if sent < batch.frames:
                due_ns += batch.spacing_ns
        self._pending = None
        if self._is_awaiting:
            deadline_ns = self._triggers[-1].write_ns + ANSWER_NS_MAX
            while self._is_awaiting and time.monotonic_ns() < deadline_ns:
                self._serve_until(time.monotonic_ns() + NS_PER_MS // 10)
            self._is_awaiting = False
        self._driver.turn()
        for _ in range(LOOP_TURNS):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
        return lost_ns

    def _prepare(self, batch: Batch) -> tuple[list[tuple[int, bytes]], bytes | None]:
        """Encode a batch; returns its frames and the one that carries the trigger."""
        pending = self._pending = []
        trigger_frame = None
        now_ms = _clock_ms()
        for index in range(batch.frames):
            is_trigger = index == batch.trigger_at
            before = len(pending)
            self._market.change(now_ms, is_trigger=is_trigger)
            if is_trigger and len(pending) > before:
                trigger_frame = pending[before][1]
        return pending, trigger_frame


def _settings(public_pem: str, pace_per_s: float) -> VenueConfig:
    """The venue's own limits, or higher ones that are advertised, where the pace needs them."""
    is_fast = pace_per_s > PACE_PER_S_MAX
    factor = LIMIT_FACTOR * pace_per_s / PACE_PER_S_MAX if is_fast else 1.0
    usual = VenueConfig()
    return VenueConfig(
        symbols=(SYMBOL,),
        accounts=(
            AccountConfig(api_key=API_KEY, public_key_pem=public_pem, wallet=WALLET),
            AccountConfig(api_key=HMAC_API_KEY, secret=HMAC_SECRET, account=API_KEY),
        ),
        weight_per_minute=int(usual.weight_per_minute * factor),
        orders_per_10_s=int(usual.orders_per_10_s * factor),
        orders_per_minute=int(usual.orders_per_minute * factor),
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


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that leaves the TLS handshake says itself why; everything else is told."""
    error = context.get("exception")
    if not (isinstance(error, ssl.SSLError) or error is ConnectionResetError):
        loop.default_exception_handler(context)


def _clock_ms() -> int:
    return time.time_ns() // NS_PER_MS


def work(
    public_pem: str, pace_per_s: float, own: OwnCertificate | None, cpu: int, pipe: Pipe
) -> None:
    """Body of the venue's process: tells its ports, then plays what the pipe asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {cpu})
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_on_loop_error)
    venue = BenchVenue(public_pem, pace_per_s, loop, own)
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
