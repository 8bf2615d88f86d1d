"""Rows without which the others say nothing: the C floor, and what the standard library offers."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue

import posix_ipc

from tools.bench.floor import CHANNEL_BYTES, RECORD_BYTES, Floor, Scratch, now_ns
from tools.bench.row import Place, Row
from tools.bench.side import GAP_NS, SCRATCH_BYTES, RecordSide, Side, Streamed


class FloorSide:
    """The compiled loops of ``Floor`` behind the names the workers use."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._scratch = Scratch(bytearray(SCRATCH_BYTES))

    def ping(self, samples: memoryview, warm_count: int) -> int:
        """Near: round trips."""
        return self._floor.ping(samples, warm_count)

    def pong(self, count: int) -> None:
        """Far: echoes."""
        self._floor.pong(count)

    def send_paced(self, count: int) -> int:
        """Near: one record every ``GAP_NS``."""
        return self._floor.send_paced(count, GAP_NS, self._scratch)

    def receive_paced(self, samples: memoryview, warm_count: int) -> int:
        """Far: their ages."""
        return self._floor.receive_paced(samples, warm_count)

    def send_stream(self, count: int) -> Streamed:
        """Near: waits for the far side, then sends."""
        self._floor.wait()
        start_ns = now_ns()
        return Streamed(start_ns, self._floor.send_stream(count))

    def receive_stream(self, count: int) -> Streamed:
        """Far: receives."""
        self._floor.signal()
        checksum = self._floor.receive_stream(count)
        return Streamed(now_ns(), checksum)


@contextmanager
def _floor_link(place: Place) -> Iterator[str]:
    name = f"/hft-bench-{place.name}"
    memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    try:
        os.posix_fallocate(memory.fd, 0, 2 * CHANNEL_BYTES)
        memory.close_fd()
        yield name
    finally:
        memory.unlink()


def _floor_side(name: str, near: bool) -> Side:
    memory = posix_ipc.SharedMemory(name)
    view = memoryview(
        mmap.mmap(memory.fd, 2 * CHANNEL_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    )
    memory.close_fd()
    there, back = view[:CHANNEL_BYTES], view[CHANNEL_BYTES:]
    return FloorSide(Floor(there, back) if near else Floor(back, there))


@contextmanager
def _queue_link(place: Place) -> Iterator[tuple[Queue[bytes], Queue[bytes]]]:
    queues = place.context.Queue(), place.context.Queue()
    yield queues
    for queue in queues:
        queue.close()


def _queue_side(link: tuple[Queue[bytes], Queue[bytes]], near: bool) -> Side:
    outgoing, incoming = link if near else link[::-1]
    inbox = bytearray(RECORD_BYTES)
    outbox = bytearray(RECORD_BYTES) if near else inbox

    def send() -> None:
        outgoing.put(bytes(outbox))

    def poll() -> None:
        inbox[:] = incoming.get()

    return RecordSide(outbox=outbox, inbox=inbox, send=send, poll=poll)


@contextmanager
def _pipe_link(place: Place) -> Iterator[tuple[Connection, Connection, Connection, Connection]]:
    back_reader, back_writer = place.context.Pipe(duplex=False)
    there_reader, there_writer = place.context.Pipe(duplex=False)
    ends = there_writer, back_reader, back_writer, there_reader
    yield ends
    for end in ends:
        end.close()


def _pipe_side(ends: tuple[Connection, Connection, Connection, Connection], near: bool) -> Side:
    writer, reader = ends[:2] if near else ends[2:]
    inbox = bytearray(RECORD_BYTES)
    outbox = bytearray(RECORD_BYTES) if near else inbox
    # Writes of up to 4096 bytes are never split, and every read asks for one record.
    return RecordSide(
        outbox=outbox,
        inbox=inbox,
        send=partial(os.write, writer.fileno(), outbox),
        poll=partial(os.readv, reader.fileno(), [inbox]),
        keep=ends,
    )


FLOOR = Row(
    name="floor",
    path="C floor, same slots",
    wait="spin",
    tight_count=100_000,
    stream_count=2_000_000,
    link=_floor_link,
    connect=_floor_side,
)
QUEUE = Row(
    name="queue",
    path="multiprocessing.Queue",
    wait="block",
    tight_count=4_000,
    stream_count=40_000,
    link=_queue_link,
    connect=_queue_side,
)
PIPE = Row(
    name="pipe",
    path="os.pipe",
    wait="block",
    tight_count=6_000,
    stream_count=300_000,
    link=_pipe_link,
    connect=_pipe_side,
)
