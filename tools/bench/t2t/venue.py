"""The bench venue of ``hft bench t2t``: one symbol, a course of frames, some with a trigger.

Market frames are prepared before they are due and written by ``wire.send_stamped``; while an answer
to a trigger is awaited nothing else is done. With a certificate they are encrypted when they are
prepared.
"""

from __future__ import annotations

import asyncio
import gc
import time
from multiprocessing.connection import Connection as Pipe
from typing import Final, NamedTuple

from hft.units import NS_PER_MS
from hft.venues.binance_usdm.tls import OwnCertificate
from tools.bench.t2t.course import Batch, Course, batches
from tools.bench.t2t.market import TriggerMarket
from tools.bench.t2t.pairing import Arrival, Trigger
from tools.bench.t2t.places import SYMBOL
from tools.bench.t2t.spun import SpunVenue, clock_ms, serve, venue_settings
from tools.bench.t2t.wire import send_stamped
from tools.venue.exchange import Exchange

ANSWER_NS_MAX: Final = 50 * NS_PER_MS
"""An answer is awaited so long before anything else is done."""
LATE_NS: Final = 300 * NS_PER_MS
"""Orders that come so long after the last frame still count."""
LEAD_NS: Final = 20 * NS_PER_MS
"""Between the start of a course and its first frame."""
LOST_NS: Final = NS_PER_MS
"""A frame that is so late was not delayed by the venue's own work."""
LIMIT_FACTOR: Final = 4
PACE_PER_S_MAX: Final = 12.0
"""Triggers a second that fit into the venue's own limits."""


class Stamps(NamedTuple):
    """What the venue saw of one course."""

    triggers: list[Trigger]
    arrivals: list[Arrival]
    frames: int
    late_ns_p99: int
    """How late its frames were written, by its own plan."""
    violations: int
    """Rules of the venue that the client broke."""


class BenchVenue(SpunVenue):
    """One exchange with one symbol, and the loop that paces it."""

    def __init__(
        self,
        public_pem: str,
        pace_per_s: float,
        loop: asyncio.AbstractEventLoop,
        own: OwnCertificate | None = None,
    ) -> None:
        is_fast = pace_per_s > PACE_PER_S_MAX
        factor = LIMIT_FACTOR * pace_per_s / PACE_PER_S_MAX if is_fast else 1.0
        settings = venue_settings(public_pem, [SYMBOL], factor)
        super().__init__(loop, settings, self._make_market, own)
        self._pending: list[tuple[int, bytes]] | None = None
        """Frames that are prepared; None: what is published leaves at once."""
        self._triggers: list[Trigger] = []
        self._late_ns: list[int] = []
        self._is_awaiting = False
        self._by_rest = False

    def _make_market(self, exchange: Exchange) -> TriggerMarket:
        self._market = TriggerMarket(exchange.markets[SYMBOL])
        return self._market

    def _write(self, fd: int, frame: bytes) -> None:
        if self._pending is None:
            super()._write(fd, frame)
        else:
            self._pending.append((fd, frame))

    def _on_order(self, arrival: Arrival) -> None:
        super()._on_order(arrival)
        self._is_awaiting = False

    def _serve_until(self, due_ns: int) -> None:
        """As any such venue; while the answer may come by REST, the event loop looks for it too."""
        while self._by_rest and self._is_awaiting and time.monotonic_ns() < due_ns:
            super()._serve_until(0)
            self._turn_servers()
        super()._serve_until(due_ns)

    def calm(self) -> None:
        """Between courses: few frames."""
        self._market.change(clock_ms(), is_trigger=False)
        super().calm()

    def run(self, course: Course) -> Stamps:
        """Send a course's frames, and note what comes back."""
        self._triggers, self._arrivals, self._late_ns = [], [], []
        self._by_rest = course.by_rest
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
        self._turn_loop()
        return lost_ns

    def _prepare(self, batch: Batch) -> tuple[list[tuple[int, bytes]], bytes | None]:
        """Encode a batch; returns its frames and the one that carries the trigger."""
        pending = self._pending = []
        trigger_frame = None
        now_ms = clock_ms()
        for index in range(batch.frames):
            is_trigger = index == batch.trigger_at
            before = len(pending)
            self._market.change(now_ms, is_trigger=is_trigger)
            if is_trigger and len(pending) > before:
                trigger_frame = pending[before][1]
        return pending, trigger_frame


def work(
    public_pem: str, pace_per_s: float, own: OwnCertificate | None, cpu: int, pipe: Pipe
) -> None:
    """Body of the venue's process."""
    serve(lambda loop: BenchVenue(public_pem, pace_per_s, loop, own), cpu, pipe)
