"""Where the bench venue is, and whose key it knows: all that a contender is told."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tools.bench.t2t.frames import client_frame

SYMBOL: Final = "BTCUSDT"
QTY: Final = "0.002"
API_KEY: Final = "bench-key"
HMAC_API_KEY: Final = "bench-hmac-key"
"""Of the same account, for clients that sign each order with a secret."""
HMAC_SECRET: Final = "bench-secret"
PRICE_BYTES: Final = len("64000.00")
TIME_DIGITS: Final = 13
API_PATH: Final = "/ws-fapi/v1"
ANSWER_S_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 4096


class Key(NamedTuple):
    """An Ed25519 key, PEM."""

    private_pem: str
    public_pem: str


class Place(NamedTuple):
    """The venue's base URLs, as in the settings of a system, and the key to trade with."""

    rest_url: str
    streams_url: str
    api_url: str
    private_pem: str
    ca_file: str = ""
    """Who vouches for the venue's certificate; empty: it has none and speaks no TLS."""

    @property
    def stream_address(self) -> tuple[str, int]:
        """Host and port of the streams."""
        return _address(self.streams_url)

    @property
    def api_address(self) -> tuple[str, int]:
        """Host and port of the WebSocket API."""
        return _address(self.api_url)

    def ssl_context(self) -> ssl.SSLContext | None:
        """To connect with; None: without TLS."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None

    @property
    def ticker_path(self) -> str:
        """The one stream that an echo needs, without the combined envelope."""
        return f"/public/ws/{SYMBOL.lower()}@bookTicker"


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def make_key() -> Key:
    """A fresh key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Key(private.decode(), public.decode())


def logon(private_pem: str) -> bytes:
    """The ``session.logon`` request, after which orders need no signature.

    Binance USD-M WebSocket API, session authentication: Ed25519 over the sorted parameters.
    """
    key = load_pem_private_key(private_pem.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    timestamp = time.time_ns() // 1_000_000
    signed = f"apiKey={API_KEY}&timestamp={timestamp}"
    signature = base64.b64encode(key.sign(signed.encode())).decode()
    return (
        f'{{"id":"logon","method":"session.logon","params":{{"apiKey":"{API_KEY}",'
        f'"signature":"{signature}","timestamp":{timestamp}}}}}'
    ).encode()


ORDER_HEAD: Final = (
    f'{{"id":1,"method":"order.place","params":{{"symbol":"{SYMBOL}","side":"BUY","type":"LIMIT",'
    f'"timeInForce":"IOC","quantity":"{QTY}","newOrderRespType":"ACK","price":"'
).encode()
"""An order is this, the price, ``ORDER_MIDDLE``, the time in milliseconds, and ``ORDER_TAIL``."""
ORDER_MIDDLE: Final = b'","timestamp":'
ORDER_TAIL: Final = b"}}"


def upgraded(address: tuple[str, int], path: str, context: ssl.SSLContext | None) -> socket.socket:
    """A connection that speaks WebSocket from now on; under TLS with a context.

    Raises:
        ConnectionError: the venue does not agree.
    """
    connection = socket.create_connection(address, ANSWER_S_MAX)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname=address[0])
    token = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {token}\r\nSec-WebSocket-Version: 13\r\n"
        "\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # Byte by byte: what follows the head is the first frame already.
        answer += connection.recv(1) or b"\r\n\r\n"
    if b" 101 " not in answer:
        raise ConnectionError(f"{path} was answered with {answer!r}")
    return connection


def logged_on(place: Place) -> socket.socket:
    """A connection to the WebSocket API on which orders need no signature.

    Raises:
        ConnectionError: the venue does not agree.
    """
    connection = upgraded(place.api_address, API_PATH, place.ssl_context())
    connection.sendall(client_frame(logon(place.private_pem), os.urandom(4))[0])
    answer = connection.recv(ANSWER_BYTES_MAX)
    if b'"status":200' not in answer:
        raise ConnectionError(f"the logon was answered with {answer!r}")
    return connection
