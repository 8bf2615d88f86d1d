"""The two sides of a measured path: what each does in the three phases, on any transport.

``near`` sends and times, ``far`` echoes and receives. The loops are the same for every row, so
that the rows differ in their transport alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tools.bench.floor import RECORD_BYTES, Payload, Scratch, now_ns

COMMIT_INTERVAL: Final = 64
"""Records between two commits of a streaming reader: roles commit once per batch too."""
GAP_NS: Final = 1_000_000
"""Distance of the records of the paced phase."""
SCRATCH_BYTES: Final = 8 << 20


class Streamed(NamedTuple):
    """One side's view of the streaming phase."""

    at_ns: int
    """Sender: before the first record; receiver: after the last. The monotonic clock."""
    checksum: int


class Side(Protocol):
    """What a worker process drives; near and far call matching halves of each phase."""

    def ping(self, samples: memoryview, warm_count: int) -> int:
        """Near: time round trips in nanoseconds. Returns the checksum of what came back."""

    def pong(self, count: int) -> None:
        """Far: echo ``count`` messages."""

    def send_paced(self, count: int) -> int:
        """Near: one message every ``GAP_NS`` with cold caches. Returns the checksum sent."""

    def receive_paced(self, samples: memoryview, warm_count: int) -> int:
        """Far: one-way nanoseconds of each. Returns the checksum received."""

    def send_stream(self, count: int) -> Streamed:
        """Near: ``count`` records as fast as they go."""

    def receive_stream(self, count: int) -> Streamed:
        """Far: the other end of it."""


class RecordSide:
    """A side that moves one record at a time through two callables.

    Args:
        outbox: The buffer ``send`` takes the record from.
        inbox: The buffer ``poll`` leaves it in; the far side may use one buffer for both.
        send: Sends what is in ``outbox``; False means "not now, try again".
        poll: Receives into ``inbox``; False means "nothing there". May block instead.
        done: Gives the place of received records back, where the transport has such a thing.
        idle: Waits when there was nothing, as the row's wait strategy says; None: spin.
        keep: Whatever has to live as long as this side.
    """

    def __init__(
        self,
        *,
        outbox: bytearray | memoryview,
        inbox: bytearray,
        send: Callable[[], object],
        poll: Callable[[], object],
        done: Callable[[], object] | None = None,
        idle: Callable[[int], object] | None = None,
        keep: object = None,
    ) -> None:
        self._sent = Payload(outbox)
        self._received = Payload(inbox)
        self._send = send
        self._poll = poll
        self._done = done if done is not None else _nothing
        self._idle = idle
        self._keep = keep
        self._scratch = Scratch(bytearray(SCRATCH_BYTES))

    def ping(self, samples: memoryview, warm_count: int) -> int:
        """Near: time round trips; the echo is verified outside the timed part."""
        send, poll, done, idle = self._send, self._poll, self._done, self._idle
        fill, check, clock = self._sent.fill, self._received.check, now_ns
        self._start()
        for index in range(-warm_count, len(samples)):
            fill()
            start_ns = clock()
            while send() is False:
                pass
            while poll() is False:
                if idle is not None:
                    idle(0)
            elapsed_ns = clock() - start_ns
            done()
            check()
            if index >= 0:
                samples[index] = elapsed_ns
        return self._received.checksum

    def pong(self, count: int) -> None:
        """Far: echo; place is given back after the answer, which nobody should wait for."""
        send, poll, done, idle = self._send, self._poll, self._done, self._idle
        for _ in range(count):
            while poll() is False:
                if idle is not None:
                    idle(0)
            while send() is False:
                pass
            done()

    def send_paced(self, count: int) -> int:
        """Near: evict, wait for the moment, stamp, send."""
        send, pause_until = self._send, self._scratch.pause_until
        fill, stamp, clock = self._sent.fill, self._sent.stamp, now_ns
        self._start()
        for _ in range(count):
            pause_until(clock() + GAP_NS)
            fill()
            stamp()
            while send() is False:
                pass
        return self._sent.checksum

    def receive_paced(self, samples: memoryview, warm_count: int) -> int:
        """Far: age on arrival."""
        poll, done, idle = self._poll, self._done, self._idle
        check, age = self._received.check, self._received.age_ns
        self._start()
        for index in range(-warm_count, len(samples)):
            while poll() is False:
                if idle is not None:
                    idle(0)
            age_ns = age()
            done()
            check()
            if index >= 0:
                samples[index] = age_ns
        return self._received.checksum

    def send_stream(self, count: int) -> Streamed:
        """Near: waits for the far side to be there, then sends."""
        send, fill = self._send, self._sent.fill
        self._await_signal()
        self._start()
        start_ns = now_ns()
        for _ in range(count):
            fill()
            while send() is False:
                pass
        return Streamed(start_ns, self._sent.checksum)

    def receive_stream(self, count: int) -> Streamed:
        """Far: says that it is there, then receives and verifies."""
        poll, done, idle, check = self._poll, self._done, self._idle, self._received.check
        self._signal()
        self._start()
        for first in range(0, count, COMMIT_INTERVAL):
            for _ in range(min(COMMIT_INTERVAL, count - first)):
                while poll() is False:
                    if idle is not None:
                        idle(0)
                check()
            done()
        return Streamed(now_ns(), self._received.checksum)

    def _start(self) -> None:
        self._sent.restart()
        self._received.restart()

    def _signal(self) -> None:
        while self._send() is False:
            pass

    def _await_signal(self) -> None:
        while self._poll() is False:
            if self._idle is not None:
                self._idle(0)
        self._done()


class BatchSide(RecordSide):
    """A side whose messages are batches of records: latency is that of a whole batch.

    Args:
        outbox: Buffer of one batch.
        inbox: Buffer of at least one batch; the far side may use one buffer for both.
        send_many: Sends the records of a buffer; returns how many were accepted.
        receive_many: Fills a buffer; returns how many records were there.
        done: Gives the place of received records back.
        keep: Whatever has to live as long as this side.
    """

    def __init__(
        self,
        *,
        outbox: bytearray | memoryview,
        inbox: bytearray,
        send_many: Callable[[memoryview], int],
        receive_many: Callable[[memoryview], int],
        done: Callable[[], object],
        keep: object = None,
    ) -> None:
        self._out_view = memoryview(outbox)
        self._in_view = memoryview(inbox)
        self._batch_count = len(outbox) // RECORD_BYTES
        self._send_many = send_many
        self._receive_many = receive_many
        super().__init__(
            outbox=outbox,
            inbox=inbox,
            send=self._send_batch,
            poll=self._receive_batch,
            done=done,
            keep=keep,
        )
        self._pong_view = self._in_view[: len(outbox)]

    def ping(self, samples: memoryview, warm_count: int) -> int:
        """Near: round trips of whole batches."""
        send, poll, done = self._send_batch, self._receive_batch, self._done
        fill_all, check_many, clock = self._sent.fill_all, self._received.check_many, now_ns
        count = self._batch_count
        self._start()
        for index in range(-warm_count, len(samples)):
            fill_all()
            start_ns = clock()
            send()
            poll()
            elapsed_ns = clock() - start_ns
            done()
            check_many(count)
            if index >= 0:
                samples[index] = elapsed_ns
        return self._received.checksum

    def send_paced(self, count: int) -> int:
        """Near: one batch every ``GAP_NS``."""
        self._start()
        for _ in range(count):
            self._scratch.pause_until(now_ns() + GAP_NS)
            self._sent.fill_all()
            self._sent.stamp()
            self._send_batch()
        return self._sent.checksum

    def receive_paced(self, samples: memoryview, warm_count: int) -> int:
        """Far: age of each batch once all of it is here."""
        self._start()
        for index in range(-warm_count, len(samples)):
            self._receive_batch()
            age_ns = self._received.age_ns()
            self._done()
            self._received.check_many(self._batch_count)
            if index >= 0:
                samples[index] = age_ns
        return self._received.checksum

    def send_stream(self, count: int) -> Streamed:
        """Near: ``count`` records, in batches."""
        send, fill_all = self._send_batch, self._sent.fill_all
        self._await_signal()
        self._start()
        start_ns = now_ns()
        for _ in range(count // self._batch_count):
            fill_all()
            send()
        return Streamed(start_ns, self._sent.checksum)

    def receive_stream(self, count: int) -> Streamed:
        """Far: takes what is there, up to the size of its buffer."""
        receive, done, check_many = self._receive_many, self._done, self._received.check_many
        inbox = self._in_view
        self._signal()
        self._start()
        remaining = count
        while remaining:
            taken = receive(inbox)
            if taken:
                check_many(taken)
                done()
                remaining -= taken
        return Streamed(now_ns(), self._received.checksum)

    def _send_batch(self) -> None:
        offset = self._send_many(self._out_view) * RECORD_BYTES
        while offset < len(self._out_view):  # the ring was nearly full
            offset += self._send_many(self._out_view[offset:]) * RECORD_BYTES

    def _receive_batch(self) -> None:
        view = self._pong_view
        taken = self._receive_many(view)
        while taken < self._batch_count:  # nothing yet, or a batch that came in two parts
            taken += self._receive_many(view[taken * RECORD_BYTES :])


def _nothing() -> None:
    """Nothing to give back."""
