"""TLS is verified, and a certificate that does not hold is said to be one."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from picows import WSListener, ws_create_server

from hft.errors import UnreachableError
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.frames import CallbackSink
from hft.venues.binance_usdm.market_session import MarketSession
from hft.venues.binance_usdm.rest import RestClient


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody vouches for."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, None)
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_stream_server_with_an_untrusted_certificate_is_unreachable(
    run: Any, states: Any, wait: Any, untrusted: ssl.SSLContext
):
    async def main() -> None:
        # The server's side complains of the client that left: as it should.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await ws_create_server(lambda request: WSListener(), "127.0.0.1", 0, ssl=untrusted)
        port = server.sockets[0].getsockname()[1]
        base = f"wss://127.0.0.1:{port}"
        session = MarketSession(
            "public",
            ["btcusdt@bookTicker"],
            endpoints=Endpoints(rest="https://x", streams=base, api=base),
            sink=CallbackSink(lambda payload, recv_ns: None),
            on_state=states,
            first_data_s=5.0,
            silence_s=5.0,
            rotate_s=1_000.0,
        )
        session.start(asyncio.get_running_loop())
        await wait(lambda: "DOWN" in states.names)
        session.stop()
        await session.wait_stopped()
        server.close()

    run(main())
    assert "OPEN" not in states.names
    assert "certificate" in states.detail_of("DOWN").lower()


def test_a_rest_server_with_an_untrusted_certificate_is_unreachable(
    run: Any, untrusted: ssl.SSLContext
):
    async def main() -> None:
        runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=untrusted).start()
        base = f"https://127.0.0.1:{runner.addresses[0][1]}"
        client = RestClient(Endpoints(rest=base, streams="wss://x", api="wss://x"))
        with pytest.raises(UnreachableError) as caught:
            await client.server_time_ms()
        await client.close()
        await runner.cleanup()
        assert "certificate" in caught.value.message.lower()
        assert "certificate" in caught.value.remedy

    run(main())
