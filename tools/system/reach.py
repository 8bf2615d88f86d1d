"""Whether the venue's WebSocket addresses answer, found out before anything starts.

REST has been asked by then. A role that cannot connect tries again for ever, which is right for a
venue that goes away and hides an address that was never right.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from hft.errors import HftError, UnreachableError
from hft.venues.binance_usdm import tls
from hft.venues.binance_usdm.endpoints import Endpoints, stream_name, unreachable

HANDSHAKE_S_MAX: Final = 5.0


async def check_sockets(endpoints: Endpoints, symbol: str) -> list[HftError]:
    """Shake hands with the streams and the WebSocket API; returns what is wrong with them."""
    streams = endpoints.combined_url("public", [stream_name(symbol, "bookTicker")])
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(
            _shake_hands(session, "venue.streams_url", streams),
            _shake_hands(session, "venue.api_url", endpoints.api),
        )
    return [error for error in found if error is not None]


async def _shake_hands(session: aiohttp.ClientSession, setting: str, url: str) -> HftError | None:
    try:
        async with asyncio.timeout(HANDSHAKE_S_MAX):
            context = tls.context_for(url) or True
            socket = await session.ws_connect(url, ssl=context, autoping=False, max_msg_size=0)
            await socket.close()
    except TimeoutError:
        return _named(setting, unreachable(url, f"no answer within {HANDSHAKE_S_MAX:g} s"))
    except aiohttp.WSServerHandshakeError as error:
        return UnreachableError(
            f"{setting}: {url.partition('?')[0]} answers with HTTP {error.status},"
            " not with a WebSocket.",
            remedy=f"Is something between here and the venue, or is {setting} another service's?",
        )
    except (aiohttp.ClientError, OSError) as error:
        return _named(setting, unreachable(url, error))
    return None


def _named(setting: str, error: UnreachableError) -> UnreachableError:
    return UnreachableError(f"{setting}: {error.message}", remedy=error.remedy)
