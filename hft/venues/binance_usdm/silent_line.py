"""A WebSocket connection whose other end is in this process and says nothing: for rehearsals.

What a cold order spends most on is the kernel's way out. So a rehearsed one goes out as well,
masked and written by the code that sends real ones, into a loopback connection of our own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
from typing import Final

from picows import WSError, WSListener, WSTransport, ws_connect

from hft.venues.binance_usdm.order_line import Debts

_ACCEPT_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, the opening handshake."""
_KEY: Final = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)\r\n")
REQUEST_BYTES_MAX: Final = 4_096
DRAIN_BYTES: Final = 65_536
OPEN_S: Final = 5.0


class SilentLine(WSListener):
    """Both ends of a connection, which stands where a session has the connection in use."""

    def __init__(self) -> None:
        self.debts = Debts()
        self.suspect_ns = 0
        self._transport: WSTransport | None = None
        self._peer: socket.socket | None = None

    async def open(self) -> None:
        """Connect the two ends. Where that is not allowed there is no line."""
        with contextlib.suppress(OSError, WSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(self._open(), OPEN_S)

    async def _open(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
            (transport, _), peer = await asyncio.gather(
                ws_connect(lambda: self, url), _answer(server)
            )
        self._transport, self._peer = transport, peer

    @property
    def transport(self) -> WSTransport | None:
        """Our end; None: not open."""
        return self._transport

    @property
    def is_usable(self) -> bool:
        """There are two ends."""
        return self._transport is not None

    def drain(self) -> None:
        """Read away what was sent."""
        if self._peer is not None:
            with contextlib.suppress(BlockingIOError):
                self._peer.recv(DRAIN_BYTES)

    def close(self) -> None:
        """Hang up."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.disconnect(False)
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()


async def _answer(server: socket.socket) -> socket.socket:
    """The venue's half of the handshake."""
    loop = asyncio.get_running_loop()
    peer, _ = await loop.sock_accept(server)
    peer.setblocking(False)
    request = b""
    while not request.endswith(b"\r\n\r\n") and len(request) < REQUEST_BYTES_MAX:
        request += await loop.sock_recv(peer, REQUEST_BYTES_MAX)
    key = _KEY.search(request)
    if key is None:
        raise ConnectionError("no key in the handshake")
    accept = base64.b64encode(hashlib.sha1(key.group(1).strip() + _ACCEPT_SALT).digest())
    await loop.sock_sendall(
        peer,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n",
    )
    return peer
