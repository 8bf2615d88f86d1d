"""Rows of other people's packages (extra ``bench``), each used the way its documentation shows."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tools.bench.floor import RECORD_BYTES
from tools.bench.row import Place, Row
from tools.bench.side import RecordSide, Side

QUEUE_COUNT = 1024
"""Records a peer's queue may hold, where it asks for a number."""


@contextmanager
def _zmq_link(place: Place) -> Iterator[str]:
    yield f"ipc://{place.directory}/pair"


def _zmq_side(address: str, near: bool) -> Side:
    import zmq

    context = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.linger = 0
    if near:
        socket.bind(address)
    else:
        socket.connect(address)
    inbox = bytearray(RECORD_BYTES)
    outbox = bytearray(RECORD_BYTES) if near else inbox
    return RecordSide(
        outbox=outbox,
        inbox=inbox,
        send=partial(socket.send, outbox),
        poll=partial(socket.recv_into, inbox),
        keep=context,
    )


@contextmanager
def _faster_fifo_link(_place: Place) -> Iterator[tuple[Any, Any]]:
    from faster_fifo import Queue

    queues = Queue(QUEUE_COUNT * RECORD_BYTES), Queue(QUEUE_COUNT * RECORD_BYTES)
    yield queues
    for queue in queues:
        queue.close()


def _faster_fifo_side(link: tuple[Any, Any], near: bool) -> Side:
    outgoing, incoming = link if near else link[::-1]
    inbox = bytearray(RECORD_BYTES)
    outbox = bytearray(RECORD_BYTES) if near else inbox

    def send() -> None:
        outgoing.put(bytes(outbox))

    def poll() -> None:
        inbox[:] = incoming.get()

    return RecordSide(outbox=outbox, inbox=inbox, send=send, poll=poll)


class _Record(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint64 * (RECORD_BYTES // 8)),)


@contextmanager
def _iceoryx2_link(place: Place) -> Iterator[tuple[str, str]]:
    """Its name space is this pair's own; what it keeps for later runs is removed."""
    prefix = f"{place.name}_"
    try:
        yield prefix, str(place.directory)
    finally:
        for path in Path("/dev/shm").glob(f"{prefix}*"):
            path.unlink(missing_ok=True)


def _iceoryx2_side(link: tuple[str, str], near: bool) -> Side:
    import iceoryx2

    prefix, directory = link
    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    config = iceoryx2.config.default()
    config.global_cfg.prefix = iceoryx2.FileName.new(prefix)
    config.global_cfg.root_path = iceoryx2.Path.new(directory)
    node = iceoryx2.NodeBuilder.new().config(config).create(iceoryx2.ServiceType.Ipc)
    services = [
        node.service_builder(iceoryx2.ServiceName.new(direction))
        .publish_subscribe(_Record)
        .subscriber_max_buffer_size(QUEUE_COUNT)
        .enable_safe_overflow(False)
        .open_or_create()
        for direction in ("there", "back")
    ]
    outgoing, incoming = services if near else services[::-1]
    publisher = outgoing.publisher_builder().create()
    subscriber = incoming.subscriber_builder().buffer_size(QUEUE_COUNT).create()
    inbox = bytearray(RECORD_BYTES)
    outbox = bytearray(RECORD_BYTES) if near else inbox
    record = _Record.from_buffer(outbox)
    inbox_address = ctypes.addressof(_Record.from_buffer(inbox))
    receive, move = subscriber.receive, ctypes.memmove

    def poll() -> bool:
        sample = receive()
        if sample is None:
            return False
        # The documented accessor. Its raw address, sample.payload_ptr, would save a quarter of the
        # row's time, and all the types.
        move(inbox_address, sample.payload(), RECORD_BYTES)
        return True

    return RecordSide(
        outbox=outbox,
        inbox=inbox,
        send=partial(publisher.send_copy, record),
        poll=poll,
        keep=(node, services, publisher, subscriber),
    )


ZMQ = Row(
    name="pyzmq",
    path="pyzmq PAIR ipc://",
    wait="block",
    tight_count=4_000,
    stream_count=200_000,
    link=_zmq_link,
    connect=_zmq_side,
    module="zmq",
    distribution="pyzmq",
)
FASTER_FIFO = Row(
    name="faster-fifo",
    path="faster-fifo put/get",
    wait="block",
    tight_count=4_000,
    stream_count=60_000,
    link=_faster_fifo_link,
    connect=_faster_fifo_side,
    module="faster_fifo",
    distribution="faster-fifo",
)
ICEORYX2 = Row(
    name="iceoryx2",
    path="iceoryx2 publish/subscribe",
    wait="spin",
    tight_count=20_000,
    stream_count=60_000,
    link=_iceoryx2_link,
    connect=_iceoryx2_side,
    module="iceoryx2",
    distribution="iceoryx2",
)
