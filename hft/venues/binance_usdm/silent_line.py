"""A WebSocket connection whose other end is in this process and says nothing: for rehearsals.

What a cold order spends most on is the kernel's way out. So a rehearsed one goes out as well,
masked and written by the code that sends real ones, into a loopback connection of our own. Where
the venue speaks TLS this one does as well: encrypting is part of the way out.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import ssl
from typing import Final

from picows import WSError, WSListener, WSTransport, ws_connect

from hft.venues.binance_usdm import tls
from hft.venues.binance_usdm.order_line import Debts

_ACCEPT_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, the opening handshake."""
_KEY: Final = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)\r\n")
REQUEST_BYTES_MAX: Final = 4_096
DRAIN_BYTES: Final = 65_536
OPEN_S: Final = 5.0


class SilentLine(WSListener):
    """Both ends of a connection, which stands where a session has the connection in use.

    ``is_tls``: encrypt, with a certificate of its own that lives in memory only.
    """

    def __init__(self, *, is_tls: bool = False) -> None:
        self.is_tls = is_tls
        self.debts = Debts()
        self.suspect_ns = 0
        self._transport: WSTransport | None = None
        self._peer: socket.socket | None = None
        self._drained = bytearray(DRAIN_BYTES)

    async def open(self) -> None:
        """Connect the two ends. Where that is not allowed there is no line."""
        with contextlib.suppress(OSError, WSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(OPEN_S):
                await self._open()

    async def _open(self) -> None:
        with socket.create_server((tls.LOOPBACK, 0)) as server:
            server.setblocking(False)
            port, mine, theirs = server.getsockname()[1], None, None
            if self.is_tls:
                own = tls.own_certificate()
                mine, theirs = tls.trusting_only(own.certificate), _server_context(own)
            url = f"{'wss' if self.is_tls else 'ws'}://{tls.LOOPBACK}:{port}/"
            (transport, _), peer = await asyncio.gather(
                ws_connect(lambda: self, url, ssl_context=mine), _answer(server, theirs)
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
        """Read away what was sent; nobody decrypts what nobody reads."""
        if self._peer is not None:
            with contextlib.suppress(BlockingIOError):
                self._peer.recv_into(self._drained)

    def close(self) -> None:
        """Hang up."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.disconnect(False)
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()


def _server_context(own: tls.OwnCertificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    tls.serve_with(context, own)
    return context


class _Peer:
    """The venue's end while the connection is being opened: reads, writes, and TLS if wanted."""

    def __init__(self, peer: socket.socket, context: ssl.SSLContext | None) -> None:
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sealed: ssl.SSLObject | None = None
        if context is not None:
            self._sealed = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def read(self) -> bytes:
        """What came; a handshake is gone through on the way.

        Raises:
            OSError: the other end is gone, or does not speak TLS.
        """
        while True:
            if self._sealed is not None:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self._sealed.read(REQUEST_BYTES_MAX)
                await self._loop.sock_sendall(self._peer, self._outgoing.read())
            data = await self._loop.sock_recv(self._peer, REQUEST_BYTES_MAX)
            if not data:
                raise ConnectionError("hung up during the handshake")
            if self._sealed is None:
                return data
            self._incoming.write(data)

    async def write(self, data: bytes) -> None:
        """Send it."""
        if self._sealed is not None:
            self._sealed.write(data)
            data = self._outgoing.read()
        await self._loop.sock_sendall(self._peer, data)


async def _answer(server: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    """The venue's half of the handshake."""
    connection, _ = await asyncio.get_running_loop().sock_accept(server)
    connection.setblocking(False)
    peer = _Peer(connection, context)
    request = b""
    while not request.endswith(b"\r\n\r\n") and len(request) < REQUEST_BYTES_MAX:
        request += await peer.read()
    key = _KEY.search(request)
    if key is None:
        raise ConnectionError("no key in the handshake")
    accept = base64.b64encode(hashlib.sha1(key.group(1).strip() + _ACCEPT_SALT).digest())
    await peer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return connection
