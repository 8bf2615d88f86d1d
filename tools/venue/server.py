"""Start and stop of the venue: three servers, the market, and the clock that drives it."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol
from weakref import WeakSet

import orjson
import uvloop
from aiohttp import web
from picows import (
    WSCloseCode,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from hft.errors import UsageError
from tools.venue.algo_desk import AlgoDesk
from tools.venue.config import Ports, VenueConfig
from tools.venue.connection import MESSAGE_BYTES_MAX, Connection, agent_of
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import SymbolRules, synthetic_rules
from tools.venue.fault_links import Links
from tools.venue.faults import Faults
from tools.venue.market_recorded import RecordedMarkets, Recording
from tools.venue.market_synthetic import SyntheticMarket, activity_for
from tools.venue.orders import OrderDesk
from tools.venue.request import note_refusal, origin_of
from tools.venue.rest import LOGGER, RestServer
from tools.venue.rest_algo import AlgoHandlers
from tools.venue.streams import StreamServer
from tools.venue.ws_api import ApiServer

MARK_PRICE_MS: Final = 1_000
TIMER_MS: Final = 10
ALL_BOOK_TICKERS_MS: Final = 5_000


class MarketSource(Protocol):
    """What makes the market move."""

    def start(self, now_ms: int) -> None:
        """Put the first books up."""

    def turn(self, now_s: float, now_ms: int) -> None:
        """Act up to the present; ``now_s`` is monotonic."""


class SyntheticMarkets:
    """The crowds of all symbols on one clock."""

    def __init__(self, exchange: Exchange) -> None:
        config = exchange.config
        activity = activity_for(
            frames_per_s=config.frames_per_s,
            trades_per_s=config.trades_per_s,
            volatility_bps=config.volatility_bps,
            depth_interval_ms=config.depth_interval_ms,
            burst_every_s=config.burst_every_s,
            burst_s=config.burst_s,
            burst_factor=config.burst_factor,
        )
        self._crowds = [
            SyntheticMarket(market, activity, seed=config.seed)
            for market in exchange.markets.values()
        ]
        self._origins_s = [0.0] * len(self._crowds)

    def start(self, now_ms: int) -> None:
        """Put the first books up."""
        for crowd in self._crowds:
            crowd.start(now_ms)

    def turn(self, now_s: float, now_ms: int) -> None:
        """Let every crowd act up to now; one that cannot keep up loses the time."""
        for index, crowd in enumerate(self._crowds):
            if not self._origins_s[index] or crowd.is_halted:
                self._origins_s[index] = now_s - crowd.time_s
            if not crowd.advance(now_s - self._origins_s[index], now_ms):
                self._origins_s[index] = now_s - crowd.time_s


class Pace:
    """Once in each multiple of an interval, also after the clock jumped either way."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._number = 0

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time, once."""
        number = now_ms // self._interval_ms
        if number == self._number:
            return False
        self._number = number
        return True


class Driver:
    """Turns the market and the exchange's own timers on the event loop."""

    def __init__(
        self, exchange: Exchange, source: MarketSource, faults: Faults, algo_desk: AlgoDesk
    ) -> None:
        self._exchange = exchange
        self._algo_desk = algo_desk
        self._source = source
        self._faults = faults
        self._timer = Pace(TIMER_MS)
        self._mark = Pace(MARK_PRICE_MS)
        self._all_tickers = Pace(ALL_BOOK_TICKERS_MS)
        self._marks_told = 0

    def start(self) -> None:
        """First books and mark prices."""
        now_ms = self._exchange.clock_ms()
        self._source.start(now_ms)
        for market in self._exchange.markets.values():
            top = market.public.top()
            if top.bid_e8 and top.ask_e8:
                market.mark_e8 = (top.bid_e8 + top.ask_e8) // 2
        self._faults.start()

    def turn(self) -> None:
        """One tick of the venue."""
        exchange = self._exchange
        self._faults.turn()
        now_ms = exchange.clock_ms()
        self._source.turn(time.monotonic(), now_ms)
        for market in exchange.markets.values():
            market.on_timer(now_ms)
        if not self._timer.is_due(now_ms):
            return
        exchange.on_timer()
        self._algo_desk.turn()
        if self._mark.is_due(now_ms):
            self._tell_marks(now_ms)
        if self._all_tickers.is_due(now_ms):
            topic = exchange.hub.topic("!bookTicker")
            if topic.is_wanted:
                for market in exchange.markets.values():
                    topic.publish(market.book_ticker(now_ms))

    def _tell_marks(self, now_ms: int) -> None:
        exchange = self._exchange
        self._marks_told += 1
        suffixes = ("@1s", "") if self._marks_told % 3 == 0 else ("@1s",)
        frames = []
        for market in exchange.markets.values():
            market.update_mark()
            frame = market.encoder.mark_price(
                mark_e8=market.mark_e8,
                average_e8=market.mark_e8,
                rate_e8=exchange.funding_rate_e8,
                next_funding_ms=exchange.next_funding_ms,
                now_ms=now_ms,
            )
            frames.append(frame)
            for suffix in suffixes:
                topic = exchange.hub.topic(f"{market.rules.symbol.lower()}@markPrice{suffix}")
                if topic.is_wanted:
                    topic.publish(frame)
        for suffix in suffixes:
            topic = exchange.hub.topic(f"!markPrice@arr{suffix}")
            if topic.is_wanted:
                topic.publish(f"[{','.join(frames)}]")


def build(config: VenueConfig) -> tuple[Exchange, MarketSource]:
    """The exchange and its market from the settings.

    Raises:
        ConfigError: settings that cannot work.
        UsageError: an unknown symbol form, or a recording that cannot be used.
    """
    config.check()
    recording = Recording(config.recordings) if config.recordings else None
    rules: list[SymbolRules] = (
        recording.rules() if recording else [synthetic_rules(symbol) for symbol in config.symbols]
    )
    exchange = Exchange(config, rules, clock_ms=_clock_ms)
    if recording is None:
        return exchange, SyntheticMarkets(exchange)
    return exchange, RecordedMarkets(exchange, recording)


async def serve(
    config: VenueConfig, *, ready: Callable[[Ports], None], stop: asyncio.Event
) -> None:
    """Run the venue until ``stop`` is set; ``ready`` gets the ports once all three listen.

    Raises:
        ConfigError: settings that cannot work.
        UsageError: a port in use, an unusable recording.
    """
    exchange, source = build(config)
    desk = OrderDesk(exchange)
    streams = StreamServer(exchange)
    algo_desk = AlgoDesk(exchange, desk)
    algo = AlgoHandlers(exchange, algo_desk)
    api = ApiServer(exchange, desk, algo)
    faults = Faults(
        exchange,
        desk,
        algo_desk,
        lambda: Links(*streams.by_purpose(), list(api.connections)),
        clock_s=time.monotonic,
    )
    driver = Driver(exchange, source, faults, algo_desk)
    driver.start()
    rest = web.AppRunner(
        RestServer(exchange, desk, algo, faults).application(),
        access_log=None,
        logger=LOGGER,
        shutdown_timeout=1.0,
    )
    await rest.setup()
    servers: list[asyncio.Server] = []
    connections: WeakSet[Connection] = WeakSet()
    turning: asyncio.Task[None] | None = None
    try:
        site = web.TCPSite(rest, config.host, config.rest_port)
        with _PortErrors(config.host, config.rest_port):
            await site.start()
        for accept, port in ((streams.accept, config.stream_port), (api.accept, config.api_port)):
            with _PortErrors(config.host, port):
                servers.append(await _listen(exchange, port, accept, connections))
        turning = asyncio.create_task(_turn_forever(driver, config.tick_ms / 1000))
        ready(Ports(_port(rest.addresses), *(_port(_names(server)) for server in servers)))
        await _until_stopped(stop, turning)
    finally:
        if turning is not None:
            turning.cancel()
        for server in servers:
            server.close()
        for connection in tuple(connections):
            connection.close(WSCloseCode.GOING_AWAY, "the venue stops")
            connection.reset()
        await rest.cleanup()


def run(config: VenueConfig, *, prints_ports: bool = True) -> None:
    """Run the venue until SIGTERM or SIGINT; prints one line with the ports when it is ready.

    Raises:
        ConfigError: settings that cannot work.
        UsageError: a port in use, an unusable recording.
    """

    def ready(ports: Ports) -> None:
        if prints_ports:
            print(
                f"venue ready rest={ports.rest} streams={ports.streams} api={ports.api}",
                flush=True,
            )

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(config, ready=ready, stop=stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def _turn_forever(driver: Driver, interval_s: float) -> None:
    while True:
        driver.turn()
        await asyncio.sleep(interval_s)


async def _until_stopped(stop: asyncio.Event, turning: asyncio.Task[None]) -> None:
    """Wait for the stop; an error of the market ends the venue too."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, turning}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if turning in done:
        turning.result()


async def _listen(
    exchange: Exchange,
    port: int,
    accept: Callable[[WSUpgradeRequest], Connection | None],
    connections: WeakSet[Connection],
) -> asyncio.Server:
    def accept_and_remember(
        request: WSUpgradeRequest,
    ) -> Connection | WSUpgradeResponseWithListener | None:
        if exchange.is_down:
            response = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE)
            return WSUpgradeResponseWithListener(response, None)
        ban = _ban(exchange, request)
        if ban is not None:
            return ban
        connection = accept(request)
        if connection is not None:
            connections.add(connection)
        return connection

    return await ws_create_server(
        accept_and_remember,
        exchange.config.host,
        port,
        enable_auto_pong=False,
        max_frame_size=MESSAGE_BYTES_MAX,
    )


def _ban(exchange: Exchange, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener | None:
    """The refusal of a handshake that comes during a ban.

    A handshake does not tell whose it is: it is refused while every address that ever asked is
    banned, which is how the fault bans.
    """
    limits, now_ms = exchange.address_limits(), exchange.clock_ms()
    if not limits or not all(limit.is_banned(now_ms) for limit in limits):
        return None
    error = limits[0].refusal(now_ms)
    path = request.path.decode().partition("?")[0]
    origin = origin_of(exchange, "ws", f"handshake {path}", agent_of(request), "")
    note_refusal(exchange, error, origin)
    body = orjson.dumps({"code": error.code, "msg": error.text})
    response = WSUpgradeResponse.create_error_response(
        error.status,
        body,
        {"Content-Type": "application/json", "Retry-After": str(error.retry_after_s)},
    )
    return WSUpgradeResponseWithListener(response, None)


class _PortErrors:
    """Turns the system's refusal of a port into a sentence for the person who asked for it."""

    def __init__(self, host: str, port: int) -> None:
        self._place = f"{host}:{port}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"{self._place} is in use by another program",
                remedy="choose another port, or 0 for any free one",
            ) from None
        raise UsageError(
            f"cannot listen on {self._place}: {error.strerror or error}",
            remedy="choose an address and port of this host that you may use",
        ) from None


def _names(server: asyncio.Server) -> list[tuple[str, int]]:
    return [sock.getsockname() for sock in server.sockets]


def _port(addresses: list[tuple[str, int]]) -> int:
    return int(addresses[0][1])


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000
