"""The bare script: what an expert writes in one file to be fast in Python, and nothing else.

One process, one stream, one logged-on order connection, orjson, and an order frame of which only
price and time are missing. No risk check, no journal, no metrics, no reconnect, no signature per
order. It is the baseline of ``hft bench t2t`` and is kept as fast as it can be made: whoever finds
a trick puts it in here first. Those found so far, each measured against its alternative:

* its own loop over ``epoll`` and plain sockets; uvloop, asyncio and picows turn slower;
* ``epoll.poll(0)`` before the read: a read that finds nothing raises, which costs more;
* the stream's socket has no timeout: with one, Python asks the kernel once more before each read;
* an order frame under the masking key 0, so that nothing has to be masked;
* the rest of the next order is made while there is nothing to do;
* acknowledgements are put off (``TCP_QUICKACK``) until the work is done: left to itself the kernel
  sends one before it hands a frame over;
* with TLS, the library's own sockets: a pair of buffers in memory saves a system call for each
  frame and costs as much in Python; and answers are thrown away as they come, encrypted.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import orjson

from tools.bench.t2t.frames import client_frame
from tools.bench.t2t.places import (
    ORDER_HEAD,
    ORDER_MIDDLE,
    ORDER_TAIL,
    PRICE_BYTES,
    TIME_DIGITS,
    Place,
    logged_on,
    upgraded,
)

READ_BYTES: Final = 65_536
NO_KEY: Final = bytes(4)
ORDER_BYTES: Final = (
    len(ORDER_HEAD) + PRICE_BYTES + len(ORDER_MIDDLE) + TIME_DIGITS + len(ORDER_TAIL)
)
NS_PER_MS: Final = 1_000_000


def run(place: Place, ready: Callable[[], None], *, spins: bool) -> None:
    """Trade until the venue closes the stream.

    Args:
        place: The venue.
        ready: Called once everything is connected.
        spins: Ask again and again; otherwise sleep in the kernel until a frame comes.
    """
    orders = logged_on(place)
    stream = upgraded(place.stream_address, place.ticker_path, place.ssl_context())
    orders.setblocking(False)
    stream.settimeout(None)
    acknowledge = partial(stream.setsockopt, socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    acknowledge(False)
    poller = select.epoll()
    poller.register(stream, select.EPOLLIN)
    poll = poller.poll
    read: Callable[[int], bytes] = stream.recv
    send: Callable[[bytes], int] = orders.send
    answers: Callable[[int], bytes] = orders.recv
    if isinstance(stream, ssl.SSLSocket) and isinstance(orders, ssl.SSLSocket):
        read, send, answers = stream.read, orders.write, partial(socket.socket.recv, orders)
    loads, clock = orjson.loads, time.time_ns
    timeout_s = 0 if spins else -1
    head, payload_at = client_frame(bytes(ORDER_BYTES), NO_KEY)
    head = head[:payload_at] + ORDER_HEAD
    kept, last, tail = b"", "", b""
    ready()
    while True:
        while not poll(timeout_s):
            pass
        data = read(READ_BYTES)
        if not data:
            return
        if kept:
            data = kept + data
        at, size_all = 0, len(data)
        while size_all - at >= 4:
            size, begin = data[at + 1], at + 2
            if size == 126:
                size, begin = data[at + 2] << 8 | data[at + 3], at + 4
            end = begin + size
            if end > size_all:
                break
            at = end
            bid = loads(data[begin:end])["b"]
            if bid != last:
                if last:
                    send(head + bid.encode() + tail)
                last = bid
        kept = data[at:]
        tail = b"%b%d%b" % (ORDER_MIDDLE, clock() // NS_PER_MS, ORDER_TAIL)
        acknowledge(True)
        acknowledge(False)
        try:
            answers(READ_BYTES)
        except BlockingIOError:
            continue
