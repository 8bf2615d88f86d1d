"""Clients that vanish without a word leave no trace on the venue's terminal."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
import uvloop
from picows import ws_create_server

from tools.venue.streams import StreamServer

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset at once, as the death of a host does in the end."""
HALF = b"POST /fapi/v1/order HTTP/1.1\r\nHost: venue\r\nContent-Length: 100\r\n\r\nsymbol="
HANDSHAKE = (
    b"GET /public/ws/btcusdt@trade HTTP/1.1\r\nHost: venue\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: c2l4dGVlbi1ieXRlcyEhIQ==\r\nUser-Agent: reader\r\n\r\n"
)


@pytest.mark.parametrize("resets", [True, False])
def test_writing_on_to_a_reader_that_vanished_is_not_worth_a_word(venue, caplog, resets):
    streams = StreamServer(venue.exchange)

    async def main():
        server = await ws_create_server(streams.accept, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(HANDSHAKE)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        (connection,) = streams.connections
        assert connection.client.startswith("127.0.0.1:")
        assert connection.client.endswith(" reader")
        sock = writer.get_extra_info("socket")
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        await asyncio.sleep(0)
        while connection in streams.connections:
            # What a busy market writes before the loop comes round to the loss.
            for _ in range(50):
                connection.write(b"{}")
            await asyncio.sleep(0)
        server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 60))
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("text", [HALF, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01 no text"])
def test_what_is_no_request_is_not_worth_a_word(start_venue, caplog, text):
    venue = start_venue()
    with socket.create_connection(("127.0.0.1", venue.ports.rest), timeout=60) as client:
        client.sendall(text)
        if text is not HALF:
            assert client.recv(65536).startswith(b"HTTP/1.0 400")
    venue.rest.get("/fapi/v1/time", signed=False)
    assert [record.getMessage() for record in caplog.records] == []
