"""The venue of ``hft bench load``: the bench venue with many symbols and a compiled pacer.

A frame that is late because the process did other work is sent as soon as possible: the rate is
kept over the whole, and what was late comes as the burst that a real venue would make of it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from multiprocessing.connection import Connection as Pipe
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hft.config import VenueConfig as SystemVenueConfig
from hft.records import Side
from hft.units import NS_PER_MS, NS_PER_S
from tools.bench.load.market import LoadMarket, symbols_of
from tools.bench.load.pacer import Pacer
from tools.bench.load.slots import depth_slots, ticker_slots
from tools.bench.t2t.pairing import Arrival, Trigger
from tools.bench.t2t.spun import SpunVenue, clock_ms, serve, venue_settings
from tools.venue.connection import Connection
from tools.venue.exchange import Exchange
from tools.venue.hub import Topic
from tools.venue.outlet import Channel, Sink

BATCH_NS: Final = 10 * NS_PER_MS
"""After so many frames the simulator and the event loop get their turn."""
LEAD_NS: Final = 200 * NS_PER_MS
"""Between the making of a course and its first frame: all is prepared by then."""
SETTLE_TURNS: Final = 80
"""Of calm without changes before a course: every depth event that was due is out then."""
DRAIN_NS: Final = 500 * NS_PER_MS
"""Orders that come so long after the last frame still count."""
DEPTH_LEVELS: Final = 10
"""Of each side in a depth event."""
LIMIT_FACTOR: Final = 20.0
"""Times the venue's own limits: the snapshots of many books, and orders for a minute."""


class Course(NamedTuple):
    """What the venue is to send."""

    rate_per_s: int
    """Frames each second, of all instruments and both kinds."""
    seconds: int
    depth_every: int
    """Every so many-th frame is a depth event."""
    orders_per_s: float
    """Triggers each second."""

    @property
    def frames(self) -> int:
        """Altogether."""
        return self.rate_per_s * self.seconds

    @property
    def tickers(self) -> int:
        """Frames that are tickers."""
        return self.frames - self.frames // self.depth_every


class Sent(NamedTuple):
    """What the venue saw of a course."""

    first_id: int
    """Update id of the first ticker; the nth has ``first_id + n``."""
    write_ns: npt.NDArray[np.int64]
    """Monotonic time right before the write of each ticker."""
    late_ns: npt.NDArray[np.int64]
    """How much later than planned each ticker was written."""
    frames: int
    """Written in the course."""
    depths: int
    frames_ever: int
    """Written since the venue's start, of all kinds, to connections that are still there."""
    waits: int
    """Times the socket was full."""
    triggers: list[Trigger]
    arrivals: list[Arrival]
    violations: int


class LoadVenue(SpunVenue):
    """Many symbols. After a course nothing more is sent, so that counts can be compared."""

    def __init__(self, public_pem: str, instruments: int, loop: asyncio.AbstractEventLoop) -> None:
        settings = venue_settings(public_pem, symbols_of(instruments), LIMIT_FACTOR)
        super().__init__(loop, settings, self._make_market)
        self._frames: Counter[Sink] = Counter()
        """Market frames by the connection that got them."""
        self._is_over = False

    def _make_market(self, exchange: Exchange) -> LoadMarket:
        self._market = LoadMarket(exchange.markets)
        return self._market

    def _on_outgoing(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        self._frames[sink] += channel is Channel.MARKET
        super()._on_outgoing(sink, channel, name, payload)

    def calm(self) -> None:
        """Between courses: some frames of every instrument; after the last one none at all."""
        if self._is_over:
            self._stay()
            return
        self._market.change(clock_ms())
        super().calm()

    def run(self, course: Course) -> Sent | str:
        """Send a course's frames, and note what comes back; or say why that was not possible."""
        try:
            return self._run(course)
        except OSError as error:
            return str(error)

    def _run(self, course: Course) -> Sent:
        for _ in range(SETTLE_TURNS):
            super().calm()
        self._arrivals = []
        first_id = self._exchange.update_ids.next()
        write_ns = np.zeros(course.tickers, np.int64)
        pacer = Pacer(
            first_id=first_id,
            start_ns=time.monotonic_ns() + LEAD_NS,
            spacing_ns=NS_PER_S // course.rate_per_s,
            depth_every=course.depth_every,
            write_ns=write_ns,
        )
        due_ns = pacer.due_ns + _due_of(course)
        self._add_lines(pacer)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            marks = self._play(pacer, course, first_id)
            self._serve_until(time.monotonic_ns() + DRAIN_NS)
        finally:
            gc.enable()
            gc.unfreeze()
        self._is_over = True
        return Sent(
            first_id=first_id,
            write_ns=write_ns,
            late_ns=write_ns - due_ns,
            frames=pacer.frames,
            depths=pacer.depths,
            frames_ever=pacer.frames + sum(self._frames[one] for one in self._streams.connections),
            waits=pacer.waits,
            triggers=[
                Trigger(self._market.bid_e8(index), int(write_ns[number]))
                for index, number in marks
            ],
            arrivals=self._arrivals,
            violations=len(self._exchange.history.violations),
        )

    def _add_lines(self, pacer: Pacer) -> None:
        """Whoever listens to an instrument's tickers gets its frames."""
        hub = self._exchange.hub
        stream = SystemVenueConfig().depth_stream
        for index, market in enumerate(self._exchange.markets.values()):
            bids = self._market.levels(index, Side.BUY, DEPTH_LEVELS)
            asks = self._market.levels(index, Side.SELL, DEPTH_LEVELS)
            name = market.rules.symbol.lower()
            encoder = market.encoder
            pacer.add(
                _socket_of(hub.topic(f"{name}@bookTicker")),
                market.last_id,
                ticker_slots(encoder, _envelope(f"{name}@bookTicker"), bids[0][0], asks[0][0]),
                depth_slots(encoder, _envelope(f"{name}@depth@{stream}"), bids, asks),
            )

    def _play(self, pacer: Pacer, course: Course, first_id: int) -> list[tuple[int, int]]:
        """All frames; returns the triggers: index of the instrument, number of the ticker."""
        marks: list[tuple[int, int]] = []
        every = max(1, int(course.rate_per_s / course.orders_per_s)) if course.orders_per_s else 0
        batch = max(1, course.rate_per_s * BATCH_NS // NS_PER_S)
        for number in range(course.frames):
            self._serve_until(pacer.due_ns)
            if every and number % every == every // 2:
                marks.append(pacer.mark())
            pacer.send()
            if number % batch == batch - 1:
                self._exchange.update_ids.reset(first_id + pacer.tickers - 1)
                self._market.follow(pacer, clock_ms())
                self._turn_loop()
        return marks


def _due_of(course: Course) -> npt.NDArray[np.int64]:
    """When each ticker is due, ns after the first frame."""
    numbers = np.arange(course.tickers, dtype=np.int64)
    frames = numbers + numbers // (course.depth_every - 1)
    return frames * (NS_PER_S // course.rate_per_s)


def _envelope(stream: str) -> str:
    return f'{{"stream":"{stream}","data":%s}}'


def _socket_of(topic: Topic) -> int:
    """The socket of the one who listens, in the combined form.

    Raises:
        OSError: nobody does, or several.
    """
    sinks = [sink for sink in topic.combined if isinstance(sink, Connection) and sink.is_open]
    if len(sinks) != 1 or topic.bare or sinks[0]._transport is None:
        raise OSError(f"{len(sinks)} connections take a stream that one should take")
    return int(sinks[0]._transport.underlying_transport.get_extra_info("socket").fileno())


def work(public_pem: str, instruments: int, cpu: int, pipe: Pipe) -> None:
    """Body of the venue's process."""
    serve(lambda loop: LoadVenue(public_pem, instruments, loop), cpu, pipe)
