"""HTTP to the venue: signing, limits, bans, and the difference between "no" and "nobody knows".

One answer decides what may be concluded. A refusal with a code did not happen. A request that
left and was never answered may have happened: for anything that changes state this is
``UnknownOutcomeError``, never a silent retry. A request that never left is ``UnreachableError``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from hft.errors import HftError, UsageError, VenueError
from hft.records import Reason
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm import tls
from hft.venues.binance_usdm.endpoints import Endpoints, host_port, unreachable
from hft.venues.binance_usdm.errors import (
    NO_CODE,
    BannedError,
    RateLimitedError,
    UnknownOutcomeError,
    banned_until_ms,
    classify,
)
from hft.venues.binance_usdm.limits import BAN_MARGIN_NS, AddressLimits, Limits, WindowCounter
from hft.venues.binance_usdm.signing import Credentials
from hft.venues.binance_usdm.venue_clock import VenueClock

CONNECT_S: Final = 3.0
KEEPALIVE_S: Final = 15.0
"""Idle connections are dropped before the venue drops them: a request on a dying one is unknown."""
CONNECTIONS_NS: Final = 300 * NS_PER_S
"""All connections are closed when they may be so old and nothing is under way.

The pool hands out the connection that was idle for longest: what one burst opened would stay for
as long as there is one request after another.
"""
RETRY_AFTER_S: Final = 10.0
"""Pause after a 429 that does not say how long."""
FIREWALL_S: Final = 60.0
"""Pause after a 403 that does not say how long: the firewall in front of the venue."""
BAN_S: Final = 120.0
"""The shortest ban, for a 418 that does not say until when."""
REFUSED_ACCESS: Final = (403, 418, 429)
MAY_REPEAT: Final = ("GET", "DELETE")
"""What is asked again after the venue refused its timestamp: nothing that could open a position."""
WEIGHT_WINDOW_NS: Final = 60 * NS_PER_S
ORDER_WINDOW_NS: Final = 10 * NS_PER_S
DRIFT_NS: Final = 5 * NS_PER_MS
"""What two clocks may part between two measurements without a step."""
TOO_MANY_ORDERS: Final = -1015
_SAFE: Final = "-_.~"


class _WireError(msgspec.Struct):
    code: int | str = NO_CODE
    msg: str = ""


class _Request(NamedTuple):
    """What ``RestTransport.request`` was asked for."""

    method: str
    path: str
    params: Sequence[tuple[str, str]]
    is_signed: bool
    is_keyed: bool
    is_essential: bool
    weight: int
    timeout_s: float


class _ClockSample(NamedTuple):
    """The venue's clock minus ours, and how wrong that may be."""

    offset_ns: int
    error_ns: int

    def agrees_with(self, other: _ClockSample) -> bool:
        """Whether one offset explains both."""
        return abs(self.offset_ns - other.offset_ns) <= self.error_ns + other.error_ns


_ERROR: Final = msgspec.json.Decoder(_WireError)


class RestTransport:
    """Requests to one venue. Made anywhere, used from one loop, closed with ``close``."""

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials | None = None,
        *,
        recv_window_ms: int = 1_000,
        clock_offset_ns: int = 0,
        clock_error_ns: int = 0,
        weight_budget: int = 0,
        weight_limit: int = 0,
        limits: Limits | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Nothing is opened before the first request.

        Args:
            endpoints: where the venue is.
            credentials: None for public data only.
            recv_window_ms: how long a signed request stays acceptable to the venue.
            clock_offset_ns: the venue's wall clock minus ours.
            clock_error_ns: how wrong that may be; bans are kept so much longer.
            weight_limit: what the whole address may use, as the venue counts it, whoever used
                it and whatever became of them; 0: not watched.
            weight_budget: share of this client in the address's request weight a minute;
                0: no guard of our own.
            limits: bans and pauses, shared with the other clients of this address.
            wall_ns: wall clock.
            mono_ns: monotonic clock.
        """
        self._endpoints = endpoints
        self._credentials = credentials
        self._recv_window_ms = recv_window_ms
        self._weight_budget = weight_budget
        self._weight_limit = weight_limit
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._session: aiohttp.ClientSession | None = None
        self._opened_ns = 0
        self._under_way = 0
        self._weight = WindowCounter(WEIGHT_WINDOW_NS)
        self._own_weight = WindowCounter(WEIGHT_WINDOW_NS)
        self._orders_10s = WindowCounter(ORDER_WINDOW_NS)
        self._orders_1m = WindowCounter(WEIGHT_WINDOW_NS)
        self._measuring = asyncio.Lock()
        self._measured_mono_ns = 0
        self.limits: Final[Limits] = AddressLimits() if limits is None else limits
        """Bans and pauses of this address."""
        self.clock: Final = VenueClock(
            clock_offset_ns, wall_ns=None if wall_ns is time.time_ns else wall_ns
        )
        self.clock_error_ns = clock_error_ns
        """Bound of the error of ``clock_offset_ns`` at the moment of its measurement."""

    # -- what is known of limits and time ---------------------------------------------------------

    @property
    def venue_ns(self) -> int:
        """The venue's wall clock, as far as we know it."""
        return self.clock.venue_ns

    @property
    def clock_offset_ns(self) -> int:
        """The venue's wall clock minus ours; ``measure_clock_offset`` sets it."""
        return self.clock.offset_ns

    @clock_offset_ns.setter
    def clock_offset_ns(self, offset_ns: int) -> None:
        self.clock.offset_ns = offset_ns

    @property
    def used_weight(self) -> int:
        """Request weight of the whole address in this minute, all processes together."""
        return self._weight.read(self.venue_ns)

    @property
    def own_weight(self) -> int:
        """Request weight that this client used in this minute."""
        return self._own_weight.read(self.venue_ns)

    @property
    def order_count_10s(self) -> int:
        """Orders of the account in this window of ten seconds."""
        return self._orders_10s.read(self.venue_ns)

    @property
    def order_count_1m(self) -> int:
        """Orders of the account in this minute."""
        return self._orders_1m.read(self.venue_ns)

    @property
    def banned_until_ns(self) -> int:
        """Monotonic; nothing at all is sent before. 0: no ban is known."""
        return self.limits.banned_until_ns

    @property
    def paused_until_ns(self) -> int:
        """Monotonic; after a 429 only essential requests are sent before."""
        return self.limits.paused_until_ns

    def note_ban(self, until_ns: int) -> None:
        """This address was told of a ban until then, monotonic; we stay away a little longer."""
        self.limits.note_ban(until_ns + BAN_MARGIN_NS)

    def note_pause(self, until_ns: int) -> None:
        """This address was told to slow down until then, monotonic."""
        self.limits.note_pause(until_ns)

    def ban_wait_s(self) -> float:
        """How long nothing may be sent, nor a connection be opened; 0: no ban holds."""
        return max(0, self.banned_until_ns - self._mono_ns()) / NS_PER_S

    async def close(self) -> None:
        """Close all connections; the next request would open new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    # -- the one request --------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        signed: bool = False,
        keyed: bool = False,
        essential: bool = False,
        weight: int = 1,
        timeout_s: float = 3.0,
    ) -> bytes:
        """Send one request, return the body of a 200.

        A question or a cancel that is refused for its timestamp is certainly not executed: the
        clock is measured anew and it is sent once more. Nothing else is ever sent twice.

        Args:
            method: GET, POST, PUT or DELETE.
            path: as in ``/fapi/v1/order``.
            params: in order; values are percent-encoded here.
            signed: adds timestamp, receive window and signature.
            keyed: adds the API key without a signature (listen keys).
            essential: also sent during a 429's pause and beyond the weight budget (cancels).
            weight: what the request costs.
            timeout_s: for the answer, once connected.

        Raises:
            VenueError: refused with a code; certainly not executed.
            RateLimitedError: 429, or our own guard: nothing was executed.
            BannedError: 418, or an earlier ban that has not ended: nothing was executed.
            UnknownOutcomeError: a state-changing request left, and its outcome is not known.
            UnreachableError: it never left; or a GET got no answer.
            UsageError: it needs credentials and there are none.
        """
        words = _Request(method, path, params, signed, keyed, essential, weight, timeout_s)
        signed_mono_ns = time.monotonic_ns()
        try:
            return await self._send(words)
        except VenueError as error:
            if not (signed and method in MAY_REPEAT and _is_timestamp(error)):
                raise
        await self._heal_clock(signed_mono_ns)
        return await self._send(words)

    async def _send(self, request: _Request) -> bytes:
        """Send a request once."""
        self._guard(request.weight, is_essential=request.is_essential)
        url = f"{self._endpoints.rest}{request.path}"
        query = self._query(request.params, signed=request.is_signed)
        headers = self._headers() if request.is_signed or request.is_keyed else {}
        now_ns = self.venue_ns
        self._weight.add(request.weight, now_ns)
        self._own_weight.add(request.weight, now_ns)
        target = URL(f"{url}?{query}" if query else url, encoded=True)
        timeout = aiohttp.ClientTimeout(
            total=CONNECT_S + request.timeout_s, connect=CONNECT_S, sock_read=request.timeout_s
        )
        self._under_way += 1
        try:
            async with self._open_session().request(
                request.method, target, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                body = await response.read()
                status, answer = response.status, response.headers
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self.limits.note_access(is_open=False)
            raise unreachable(url, error) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.limits.note_access(is_open=False)
            raise self._unanswered(request.method, url, error, request.timeout_s) from None
        finally:
            self._under_way -= 1
        if not self._under_way and self._mono_ns() - self._opened_ns >= CONNECTIONS_NS:
            await self.close()
        self._read_limits(answer)
        self.limits.note_access(is_open=status not in REFUSED_ACCESS and status < 500)
        if status == 200 and not _is_page(body):
            return body
        raise self._refusal(request.method, request.path, status, body, answer)

    # -- the venue's clock ------------------------------------------------------------------------

    async def measure_clock_offset(self, samples: int = 5) -> tuple[int, int]:
        """Offset of the venue's wall clock against ours, and the bound of its error, in ns.

        The sample with the shortest round trip counts; ``clock_offset_ns`` is set to it. A sample
        that proves the offset in use wrong replaces it at once: one of the clocks has stepped, and
        what was measured before tells nothing any more.
        """
        best: _ClockSample | None = None
        for _ in range(samples):
            sample = await self._sample_clock()
            if best is None or sample.error_ns < best.error_ns or not sample.agrees_with(best):
                best = sample
            known = _ClockSample(self.clock_offset_ns, self.clock_error_ns + DRIFT_NS)
            if not (self._measured_mono_ns and sample.agrees_with(known)):
                self._set_clock(sample)
        assert best is not None
        self._set_clock(best)
        return best.offset_ns, best.error_ns

    async def _sample_clock(self) -> _ClockSample:
        sent_ns, sent_mono_ns = self._wall_ns(), time.monotonic_ns()
        body = await self.request("GET", "/fapi/v1/time", essential=True)
        round_trip_ns = time.monotonic_ns() - sent_mono_ns
        # The venue cuts its clock to whole milliseconds: half of one is the better guess.
        server_ns = server_time_ms(body) * NS_PER_MS + NS_PER_MS // 2
        return _ClockSample(
            server_ns - (sent_ns + round_trip_ns // 2), round_trip_ns // 2 + NS_PER_MS // 2
        )

    def _set_clock(self, sample: _ClockSample) -> None:
        self.clock_offset_ns, self.clock_error_ns = sample
        self._measured_mono_ns = time.monotonic_ns()

    async def _heal_clock(self, refused_mono_ns: int) -> None:
        """Measure the clock unless somebody has done it since the refused request was signed."""
        async with self._measuring:
            if self._measured_mono_ns <= refused_mono_ns:
                await self.measure_clock_offset(1)

    # -- parts ------------------------------------------------------------------------------------

    def _guard(self, weight: int, *, is_essential: bool) -> None:
        """Refuse what the venue would refuse, before it counts against us."""
        now_ns, mono_ns = self.venue_ns, self._mono_ns()
        banned_ns = self.banned_until_ns - mono_ns
        if banned_ns > 0:
            self.limits.note_access(is_open=False)
            raise BannedError(code=-1003, text="the address is banned", until_ns=now_ns + banned_ns)
        if is_essential:
            return
        paused_ns = self.paused_until_ns - mono_ns
        if paused_ns > 0:
            self.limits.note_access(is_open=False)
            raise RateLimitedError(
                code=-1003,
                text="the venue asked for a pause",
                status=429,
                retry_after_s=paused_ns / NS_PER_S,
            )
        if self._weight_limit and self._weight.read(now_ns) + weight > self._weight_limit:
            left_ns = WEIGHT_WINDOW_NS - now_ns % WEIGHT_WINDOW_NS
            raise RateLimitedError(
                code=-1003,
                text=f"the address has used its {self._weight_limit} weight of this minute",
                status=429,
                retry_after_s=left_ns / NS_PER_S,
            )
        if self._weight_budget and self._own_weight.read(now_ns) + weight > self._weight_budget:
            left_ns = WEIGHT_WINDOW_NS - now_ns % WEIGHT_WINDOW_NS
            raise RateLimitedError(
                code=-1003,
                text=f"this client's share of {self._weight_budget} weight a minute is used up",
                status=429,
                retry_after_s=left_ns / NS_PER_S,
            )

    def _query(self, params: Sequence[tuple[str, str]], *, signed: bool) -> str:
        """Encoded first, then signed: the signature covers exactly the bytes that are sent."""
        pairs = [f"{name}={quote(value, safe=_SAFE)}" for name, value in params]
        if not signed:
            return "&".join(pairs)
        pairs.append(f"recvWindow={self._recv_window_ms}")
        pairs.append(f"timestamp={self.venue_ns // NS_PER_MS}")
        query = "&".join(pairs)
        signature = self._key().signer.sign(query.encode())
        return f"{query}&signature={quote(signature, safe=_SAFE)}"

    def _headers(self) -> dict[str, str]:
        return {"X-MBX-APIKEY": self._key().api_key}

    def _key(self) -> Credentials:
        if self._credentials is None:
            raise UsageError(
                "this request needs an API key and none is configured",
                remedy="set venue.key_file in the configuration",
            )
        return self._credentials

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=tls.context_for(self._endpoints.rest) or True,
                keepalive_timeout=KEEPALIVE_S,
                limit=16,
            )
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
            self._opened_ns = self._mono_ns()
        return self._session

    def _unanswered(
        self, method: str, url: str, error: BaseException, timeout_s: float
    ) -> Exception:
        text = str(error) or type(error).__name__
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            text = f"no answer within {timeout_s:g} s"
        if method == "GET":
            return unreachable(url, text)
        return UnknownOutcomeError(f"{method} {url.rpartition('/')[2]}: {host_port(url)}: {text}")

    def _read_limits(self, headers: Mapping[str, str]) -> None:
        now_ns = self.venue_ns
        for name, counter in (
            ("X-MBX-USED-WEIGHT-1M", self._weight),
            ("X-MBX-ORDER-COUNT-10S", self._orders_10s),
            ("X-MBX-ORDER-COUNT-1M", self._orders_1m),
        ):
            text = headers.get(name, "")
            if text.isdigit():
                counter.observe(int(text), now_ns)
        self.limits.note_weight(self.used_weight)

    def _refusal(
        self, method: str, path: str, status: int, body: bytes, headers: Mapping[str, str]
    ) -> HftError:
        """What an answer other than a clean 200 means."""
        code, text = _error_of(body, status)
        now_ns = self.venue_ns
        retry_after = headers.get("Retry-After", "")
        retry_after_s = float(retry_after) if retry_after.isdigit() else 0.0
        if status == 418:
            # The longer of both counts: the moment is as good as our idea of the venue's clock.
            left_ns = banned_until_ms(text) * NS_PER_MS - now_ns + self.clock_error_ns
            if retry_after_s or left_ns <= 0:
                left_ns = max(left_ns, int((retry_after_s or BAN_S) * NS_PER_S))
            self.note_ban(self._mono_ns() + left_ns)
            return BannedError(code=code, text=text, until_ns=now_ns + left_ns)
        if status in (403, 429):
            wait_s = retry_after_s or (FIREWALL_S if status == 403 else RETRY_AFTER_S)
            if code != TOO_MANY_ORDERS:
                # A limit on orders does not concern queries and cancels.
                self.note_pause(self._mono_ns() + int(wait_s * NS_PER_S))
            return RateLimitedError(code=code, text=text, status=status, retry_after_s=wait_s)
        if method != "GET" and not classify(code, status, text).is_definite:
            return UnknownOutcomeError(
                f'{method} {path}: HTTP {status}, {code} "{text}"', code=code, status=status
            )
        return VenueError(code=code, text=text, status=status)


def server_time_ms(body: bytes) -> int:
    """The moment in an answer of ``/fapi/v1/time``."""
    try:
        return msgspec.json.decode(body, type=dict[str, int])["serverTime"]
    except (msgspec.DecodeError, KeyError):
        raise VenueError(
            code=NO_CODE,
            text=f"not a server time: {body[:80].decode(errors='replace')}",
            remedy="check venue.rest_url",
        ) from None


def _is_timestamp(error: VenueError) -> bool:
    """Refused for its timestamp alone."""
    return classify(error.code, error.status).reason is Reason.VENUE_TIMESTAMP


def _is_page(body: bytes) -> bool:
    """Unknown paths of the venue's sites answer 200 with an HTML page."""
    return body[:15].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _error_of(body: bytes, status: int) -> tuple[int, str]:
    """Code and text of an error answer; a gateway's own answers are HTML or empty."""
    try:
        wire = _ERROR.decode(body)
        return int(wire.code), wire.msg
    except (msgspec.DecodeError, ValueError):
        text = body[:160].decode(errors="replace").strip()
        return NO_CODE, text or f"HTTP {status} without a body"
