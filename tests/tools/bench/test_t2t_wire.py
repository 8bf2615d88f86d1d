import json
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.t2t.frames import client_frame, frame_of, masked, messages
from tools.bench.t2t.places import (
    ORDER_HEAD,
    ORDER_MIDDLE,
    ORDER_TAIL,
    PRICE_BYTES,
    TIME_DIGITS,
)
from tools.bench.t2t.wire import FloorClient, Poller, send_stamped

KEY = b"\x11\xa5\x07\xfe"


@given(st.lists(st.binary(max_size=400), max_size=6), st.integers(1, 7))
def test_client_frames_come_back_whole_however_they_are_cut(payloads: list[bytes], step: int):
    stream = b"".join(client_frame(payload, KEY)[0] for payload in payloads)
    kept, found = bytearray(), []
    for start in range(0, len(stream), step):
        kept += stream[start : start + step]
        found += [payload for opcode, payload in messages(kept) if opcode == 1]
    assert found == payloads
    assert not kept


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_twice_changes_nothing(payload: bytes, key: bytes):
    assert masked(masked(payload, key), key) == payload


@pytest.mark.parametrize(("size", "head"), [(5, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_server_frame_has_the_head_of_its_length(size: int, head: int):
    assert len(frame_of(bytes(size))) == head + size


def test_poller_returns_the_socket_that_has_something_and_when():
    pairs = [socket.socketpair() for _ in range(3)]
    poller = Poller()
    for _, theirs in pairs:
        poller.watch(theirs.fileno())
    before_ns = time.monotonic_ns()
    assert poller.wait_until(before_ns) is None
    send_stamped(pairs[1][0].fileno(), b"order")
    assert poller.wait_until(0) == b"order"
    assert poller.fd == pairs[1][1].fileno()
    assert before_ns < poller.at_ns < time.monotonic_ns()
    poller.forget(pairs[1][1].fileno())
    pairs[1][0].send(b"unheard")
    assert poller.wait_until(0) is None
    pairs[2][0].close()
    assert poller.wait_until(0) == b""
    for pair in pairs:
        for one in pair:
            one.close()


def test_poller_refuses_more_sockets_than_it_has_room_for():
    poller = Poller()
    for fd in range(16):
        poller.watch(fd)
    with pytest.raises(ValueError, match="sockets"):
        poller.watch(16)


def test_write_to_a_reader_that_is_gone_is_an_error():
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(OSError, match="reader"):
        send_stamped(ours.fileno(), b"tick")
    ours.close()


def test_floor_answers_each_change_of_the_bid_with_its_price_and_the_time():
    venue_stream, stream = socket.socketpair()
    venue_orders, orders = socket.socketpair()
    payload = ORDER_HEAD + bytes(PRICE_BYTES) + ORDER_MIDDLE + bytes(TIME_DIGITS) + ORDER_TAIL
    frame, payload_at = client_frame(payload, KEY)
    price_at = payload_at + len(ORDER_HEAD)
    floor = FloorClient(
        stream.fileno(),
        orders.fileno(),
        frame,
        price_at=price_at,
        time_at=price_at + PRICE_BYTES + len(ORDER_MIDDLE),
        payload_at=payload_at,
        key=KEY,
    )
    thread = threading.Thread(target=floor.run)
    thread.start()
    ticks = b"".join(
        frame_of(b'{"e":"bookTicker","u":1,"b":"%b","B":"0.9"%b}' % (bid, b" " * 100))
        for bid in (b"64000.00", b"64000.00", b"64000.10", b"64000.10", b"64000.20", b"64000.20")
    )
    for start in range(0, len(ticks), 50):
        venue_stream.send(ticks[start : start + 50])
    kept, found = bytearray(), []
    while len(found) < 2:
        kept += venue_orders.recv(65_536)
        found += [json.loads(text)["params"] for _, text in messages(kept)]
    venue_stream.close()
    thread.join()
    assert [order["price"] for order in found] == ["64000.10", "64000.20"]
    assert all(abs(order["timestamp"] - time.time() * 1000) < 60_000 for order in found)
    for one in (stream, orders, venue_orders):
        one.close()
