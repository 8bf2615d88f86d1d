"""TLS is verified, and a certificate that does not hold is said to be one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from picows import WSListener, WSTransport, ws_create_server

from hft.errors import UnreachableError
from hft.venues.binance_usdm import tls
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.frames import CallbackSink
from hft.venues.binance_usdm.market_session import MarketSession
from hft.venues.binance_usdm.rest import RestClient


@pytest.fixture
def own() -> tls.OwnCertificate:
    return tls.own_certificate()


@pytest.fixture
def untrusted(own: tls.OwnCertificate) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.serve_with(context, own)
    return context


@pytest.fixture
def trusted(
    own: tls.OwnCertificate,
    untrusted: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ssl.SSLContext]:
    """The same, and this process trusts it."""
    path = tmp_path / "certificate.pem"
    path.write_bytes(own.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls.client_context.cache_clear()
    yield untrusted
    tls.client_context.cache_clear()


def test_all_connections_of_a_process_share_one_strict_context():
    context = tls.client_context()
    assert context is tls.client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION


def test_a_certificate_named_in_the_environment_is_trusted_by_streams_and_rest(
    run: Any, states: Any, wait: Any, trusted: ssl.SSLContext
):
    spoken: list[str | None] = []

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            tls_object = transport.underlying_transport.get_extra_info("ssl_object")
            spoken.append(tls_object.selected_alpn_protocol())

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"serverTime": 1})

    async def main() -> None:
        trusted.set_alpn_protocols(["h2", "http/1.1"])
        server = await ws_create_server(lambda request: Listener(), "127.0.0.1", 0, ssl=trusted)
        session = session_to(server.sockets[0].getsockname()[1], states)
        session.start(asyncio.get_running_loop())
        await wait(lambda: "OPEN" in states.names)
        session.stop()
        await session.wait_stopped()
        server.close()
        application = web.Application()
        application.router.add_get("/fapi/v1/time", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trusted).start()
        base = f"https://127.0.0.1:{runner.addresses[0][1]}"
        client = RestClient(Endpoints(rest=base, streams="wss://x", api="wss://x"))
        assert await client.server_time_ms() == 1
        await client.close()
        await runner.cleanup()

    run(main())
    assert spoken == ["http/1.1"]


def session_to(port: int, states: Any) -> MarketSession:
    base = f"wss://127.0.0.1:{port}"
    return MarketSession(
        "public",
        ["btcusdt@bookTicker"],
        endpoints=Endpoints(rest="https://x", streams=base, api=base),
        sink=CallbackSink(lambda payload, recv_ns: None),
        on_state=states,
        first_data_s=5.0,
        silence_s=5.0,
        rotate_s=1_000.0,
    )


def test_a_stream_server_with_an_untrusted_certificate_is_unreachable(
    run: Any, states: Any, wait: Any, untrusted: ssl.SSLContext
):
    async def main() -> None:
        # The server's side complains of the client that left: as it should.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await ws_create_server(lambda request: WSListener(), "127.0.0.1", 0, ssl=untrusted)
        session = session_to(server.sockets[0].getsockname()[1], states)
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


@pytest.mark.parametrize("turns", range(12))
def test_a_session_that_is_stopped_while_it_opens_stays_stopped(
    run: Any, states: Any, wait: Any, trusted: ssl.SSLContext, turns: int
):
    async def main() -> None:
        server = await ws_create_server(lambda request: WSListener(), "127.0.0.1", 0, ssl=trusted)
        session = session_to(server.sockets[0].getsockname()[1], states)
        loop = asyncio.get_running_loop()

        def stop_after(left: int) -> None:
            loop.call_soon(stop_after, left - 1) if left else session.stop()

        session._on_state = lambda state, detail: (
            states(state, detail),
            stop_after(turns) if state.name == "OPEN" else None,
        )
        session.start(loop)
        await wait(lambda: session.state.name == "STOPPED" and "OPEN" in states.names)
        async with asyncio.timeout(20):
            await session.wait_stopped()
        server.close()

    run(main())
    assert "DOWN" not in states.names
