"""Order entry over the venue's WebSocket API: text out at once, replies in by request id.

With an Ed25519 key the connection is logged on once; with an HMAC key each request signs itself
and a ``ping`` proves the connection. User events do not come here. Replies come in any order and
are matched by id; a reply with the id null concerns the connection as a whole.

A connection that owes an answer and says nothing at all is suspect: the other side may be gone
without a word. It is asked with a ``ping``, carries no more requests until it speaks, and is
replaced when it stays silent. A venue that is slow but speaks is never suspect for long.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from picows import WSFrame, WSMsgType, WSTransport

from hft.errors import PrecisionError
from hft.units import NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.errors import banned_until_ms
from hft.venues.binance_usdm.link import (
    PING_IDLE_S,
    Connection,
    OnState,
    Session,
    SessionState,
    ignore_refusal,
)
from hft.venues.binance_usdm.order_line import Debts, OrderLine
from hft.venues.binance_usdm.reports import OrderReport, WireOrder, order_report
from hft.venues.binance_usdm.signing import Credentials

__all__ = ["OrderSession", "Reply", "SessionState", "decode_reply", "silent_session"]

NO_REQUEST: Final = -1
NOT_TOLD: Final = -1
STALL_NS: Final = 100 * NS_PER_MS
"""Not watched for so long: we were asleep ourselves, and answers may lie unread in the socket."""
PATIENCE: Final = 2
"""How many times the round trip of its proof a connection may stay silent in any case."""
DRAIN_S: Final = 10.0
"""A rotated connection stays open for so long when answers are still due on it."""
_TEXT: Final = WSMsgType.TEXT
_PROOF_ID: Final = "proof"
_PING_ID: Final = "alive"
_PING: Final = json.dumps({"id": _PING_ID, "method": "ping"}).encode()
_EPOCH_MS: Final = 1_000_000_000_000
"""Larger numbers are times, not durations."""


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Answer to one request. Counters are those of the venue, ``NOT_TOLD`` when absent."""

    request_id: int
    """The caller's; ``NO_REQUEST``: the venue named none, the connection as a whole is meant."""
    status: int
    """As HTTP: 200, 400, 401, 403, 418, 429, 5xx."""
    code: int = 0
    message: str = ""
    result: OrderReport | None = None
    weight_1m: int = NOT_TOLD
    orders_10s: int = NOT_TOLD
    orders_1m: int = NOT_TOLD
    retry_after_ms: int = 0
    """With 418 and 429: how long nothing may be sent, as far as the venue said."""

    @property
    def is_ok(self) -> bool:
        """The venue did what was asked."""
        return self.status == 200


class _WireLimit(msgspec.Struct, rename="camel", gc=False):
    rate_limit_type: str = ""
    interval: str = ""
    interval_num: int = 0
    count: int = NOT_TOLD


class _WireErrorData(msgspec.Struct, rename="camel", gc=False):
    server_time: int = 0
    retry_after: int = 0


class _WireError(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""
    data: _WireErrorData | None = None


class _WireReply(msgspec.Struct, rename="camel", gc=False):
    id: int | str | None = None
    status: int = 0
    result: WireOrder | None = None
    error: _WireError | None = None
    rate_limits: list[_WireLimit] = []


class _WireAnyReply(msgspec.Struct):
    id: int | str | None = None
    status: int = 0


_REPLY: Final = msgspec.json.Decoder(_WireReply)
_ANY_REPLY: Final = msgspec.json.Decoder(_WireAnyReply)


def decode_reply(payload: bytes | memoryview, venue_ms: int) -> tuple[Reply, str] | None:
    """A reply, and its id if that is a text (""). None: not a reply at all.

    ``venue_ms`` is the wall clock, to turn the end of a ban into a duration.
    """
    try:
        wire = _REPLY.decode(payload)
        result = wire.result
        report = order_report(result) if result is not None and result.order_id else None
    except (msgspec.DecodeError, PrecisionError):
        return _decode_odd_reply(payload)
    if not wire.status:
        return None
    text_id, request_id = _ids(wire.id)
    weight_1m = orders_10s = orders_1m = NOT_TOLD
    for limit in wire.rate_limits:
        if limit.rate_limit_type == "REQUEST_WEIGHT":
            weight_1m = limit.count
        elif limit.interval == "SECOND":
            orders_10s = limit.count
        else:
            orders_1m = limit.count
    error = wire.error
    reply = Reply(
        request_id=request_id,
        status=wire.status,
        code=error.code if error is not None else 0,
        message=error.msg if error is not None else "",
        result=report,
        weight_1m=weight_1m,
        orders_10s=orders_10s,
        orders_1m=orders_1m,
        retry_after_ms=_retry_after_ms(error, venue_ms) if error is not None else 0,
    )
    return reply, text_id


def _decode_odd_reply(payload: bytes | memoryview) -> tuple[Reply, str] | None:
    """Id and status of a reply whose result has another shape than an order."""
    try:
        wire = _ANY_REPLY.decode(payload)
    except msgspec.DecodeError:
        return None
    if not wire.status:
        return None
    text_id, request_id = _ids(wire.id)
    return Reply(request_id=request_id, status=wire.status), text_id


def _ids(wire_id: int | str | None) -> tuple[str, int]:
    if isinstance(wire_id, int):
        return "", wire_id
    return wire_id or "", NO_REQUEST


def _retry_after_ms(error: _WireError, venue_ms: int) -> int:
    """Duration from ``retryAfter`` or from the text of a ban; the venue states moments."""
    data = error.data
    moment = data.retry_after if data is not None else 0
    if 0 < moment < _EPOCH_MS:
        return moment
    moment = moment or banned_until_ms(error.msg)
    now = data.server_time if data is not None and data.server_time else venue_ms
    return max(0, moment - now) if moment else 0


class _OrderConnection(Connection):
    """One socket of the WebSocket API."""

    def __init__(self, session: OrderSession) -> None:
        super().__init__()
        self._session = session
        self.debts = Debts()
        self.proof_ns = 0
        self.round_trip_ns = 0
        """When the first request left, and how long its answer took."""
        self.suspect_ns = 0
        """Since when the connection is suspect, and asked whether it lives; 0: it is not."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Every frame of the socket."""
        if frame.msg_type is _TEXT and frame.fin:
            self._session.on_message(self, frame.get_payload_as_memoryview())
        else:
            whole = self.on_control(transport, frame)
            if whole is not None:
                self._session.on_message(self, memoryview(whole))
            if transport.is_close_frame_sent:
                self._session.refresh()
        if frame.last_in_buffer:
            self._session.on_batch_end()

    def on_ws_disconnected(self, _transport: WSTransport | None) -> None:
        """The socket is gone."""
        super().on_ws_disconnected(_transport)
        self._session.refresh()

    def close(self, why: str) -> None:
        """Say goodbye and cut."""
        super().close(why)
        self._session.refresh()

    def pause_writing(self) -> None:
        """The socket takes no more: what is sent now would leave late."""
        self.is_congested = True
        self._session.refresh()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self.is_congested = False
        self._session.refresh()

    is_congested = False

    @property
    def is_usable(self) -> bool:
        """A request handed over now leaves now."""
        return (
            self.ready.done()
            and not self.suspect_ns
            and not self.closed.done()
            and not self.is_congested
            and self.transport is not None
            and not self.transport.is_close_frame_sent
        )


class OrderSession(OrderLine, Session):
    """Sends order texts, hands back replies.

    ``on_reply(reply, recv_ns)`` gets each reply with the monotonic time of its arrival. DOWN in
    ``on_state`` means that requests in flight have no answer any more: their outcome is unknown.
    ``suspect_s`` is the silence, with an answer due, that makes the connection suspect; as much
    again replaces it. Noticed by ``watch`` only.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        *,
        on_reply: Callable[[Reply, int], None],
        on_state: OnState,
        rotate_s: float = 82_800.0,
        suspect_s: float = 0.5,
        on_batch_end: Callable[[], None] | None = None,
        venue_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
        random_share: Callable[[], float] = random.random,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        may_connect: Callable[[], float] = lambda: 0.0,
        on_refused: Callable[[int, float], None] = ignore_refusal,
    ) -> None:
        OrderLine.__init__(self, None if clock_ns is time.monotonic_ns else clock_ns)
        Session.__init__(
            self,
            on_state=on_state,
            rotate_s=rotate_s,
            random_share=random_share,
            ping_idle_s=PING_IDLE_S,
            may_connect=may_connect,
            on_refused=on_refused,
        )
        self._suspect_ns = int(suspect_s * NS_PER_S)
        self._watched_ns = 0
        self._endpoints = endpoints
        self._credentials = credentials
        self._on_reply = on_reply
        self._batch_end = on_batch_end
        self._venue_ms = venue_ms
        self._clock_ns = clock_ns
        self._active: _OrderConnection | None = None
        self.garbage = 0
        """Frames that were no reply."""

    @property
    def in_flight(self) -> int:
        """Requests without an answer on the connection in use."""
        return self._active.debts.in_flight if self._active is not None else 0

    @property
    def is_suspect(self) -> bool:
        """The connection in use owes an answer and has been silent for too long."""
        return self._active is not None and self._active.suspect_ns > 0

    def watch(self, now_ns: int, *, may_probe: bool = True) -> None:
        """Look whether the connection in use is silent for too long; to be called all the time.

        ``may_probe`` False: the venue wants no requests at all, so that nothing can be asked.
        """
        active, stalled_ns = self._active, now_ns - self._watched_ns
        self._watched_ns = now_ns
        if active is None or not may_probe:
            return
        debts = active.debts
        if not debts.waiting_ns or not active.ready.done():
            return
        if stalled_ns > STALL_NS:
            debts.waiting_ns = now_ns
            active.suspect_ns = now_ns if active.suspect_ns else 0
            return
        patience_ns = max(self._suspect_ns, PATIENCE * active.round_trip_ns)
        if active.suspect_ns:
            if now_ns - active.suspect_ns > patience_ns:
                active.close("no answer, not even to the question whether it lives")
        elif now_ns - debts.waiting_ns > patience_ns:
            active.suspect_ns = now_ns
            if active.transport is not None and not active.transport.is_close_frame_sent:
                active.transport.send(_TEXT, _PING)
            self.refresh()

    def stop(self) -> None:
        """Close and stay closed. Callbacks end with this call."""
        active, self._active = self._active, None
        self.refresh()
        super().stop()
        del active

    def refresh(self) -> None:
        """Look again whether the connection in use can carry a request."""
        active = self._active
        self._transport = active.transport if active is not None and active.is_usable else None
        if active is not None:
            self._debts = active.debts

    def on_batch_end(self) -> None:
        """All frames of one read are in."""
        if self._batch_end is not None and self.state is not SessionState.STOPPED:
            self._batch_end()

    def on_message(self, connection: _OrderConnection, payload: memoryview) -> None:
        """A text frame of one of the session's connections."""
        recv_ns = self._clock_ns()
        decoded = decode_reply(payload, self._venue_ms())
        if decoded is None:
            self.garbage += 1
            return
        reply, text_id = decoded
        if text_id == _PROOF_ID:
            self._on_proof_reply(connection, reply)
            return
        self._heard(connection, recv_ns, is_all_answered=text_id == _PING_ID)
        if text_id == _PING_ID:
            return
        if reply.request_id != NO_REQUEST:
            connection.debts.in_flight = max(0, connection.debts.in_flight - 1)
        if self.state is not SessionState.STOPPED:
            self._on_reply(reply, recv_ns)
        if reply.request_id == NO_REQUEST and reply.status in (401, 403):
            # The key was revoked, or the logon is gone: a new logon decides.
            connection.close(f"refused by the venue: {reply.code} {reply.message}")

    def _heard(self, connection: _OrderConnection, recv_ns: int, *, is_all_answered: bool) -> None:
        """Whatever comes shows that the other side lives; what is still due is due from now on."""
        debts = connection.debts
        debts.due = 0 if is_all_answered else max(0, debts.due - 1)
        debts.waiting_ns = recv_ns if debts.due else 0
        if connection.suspect_ns:
            connection.suspect_ns = 0
            self.refresh()

    # -- Session --------------------------------------------------------------------------------

    def _url(self) -> str:
        return self._endpoints.api

    def _make_connection(self, *, is_candidate: bool) -> Connection:
        del is_candidate  # an order connection is used from the moment of its proof, never before
        return _OrderConnection(self)

    def _on_open(self, connection: Connection) -> None:
        assert isinstance(connection, _OrderConnection)
        assert connection.transport is not None
        assert self._loop is not None
        connection.ready.add_done_callback(lambda _: self._on_proof(connection))
        connection.transport.send(_TEXT, self._proof_text())
        connection.proof_ns = self._clock_ns()
        self._loop.call_later(self._proof_s, self._on_proof_deadline, connection)

    def _take_over(self, old: Connection | None, fresh: Connection) -> None:
        assert isinstance(fresh, _OrderConnection)
        self._active = fresh
        self.refresh()
        if old is not None:
            assert isinstance(old, _OrderConnection)
            self._drain(old, DRAIN_S)

    def _on_lost(self) -> None:
        self.refresh()

    def _drain(self, old: _OrderConnection, left_s: float) -> None:
        """Close a replaced connection when its last answer is in, or was waited for long enough."""
        if old.closed.done():
            return
        if old.debts.in_flight == 0 or left_s <= 0:
            old.close("rotated")
            return
        assert self._loop is not None
        self._loop.call_later(0.1, self._drain, old, left_s - 0.1)

    def _proof_text(self) -> bytes:
        """Logon for an Ed25519 key, ping otherwise."""
        if self._credentials.key_type != "ed25519":
            return json.dumps({"id": _PROOF_ID, "method": "ping"}).encode()
        timestamp = self._venue_ms()
        covered = f"apiKey={self._credentials.api_key}&timestamp={timestamp}"
        parameters = {
            "apiKey": self._credentials.api_key,
            "timestamp": timestamp,
            "signature": self._credentials.signer.sign(covered.encode()),
        }
        request = {"id": _PROOF_ID, "method": "session.logon", "params": parameters}
        return json.dumps(request).encode()

    def _on_proof_reply(self, connection: _OrderConnection, reply: Reply) -> None:
        if reply.is_ok:
            connection.round_trip_ns = self._clock_ns() - connection.proof_ns
            connection.prove()
        else:
            connection.close(f"logon refused: {reply.code} {reply.message}".rstrip())

    def _on_proof(self, connection: _OrderConnection) -> None:
        self.refresh()
        if connection is self._active and self.state is SessionState.OPEN:
            self._report(SessionState.UP)

    def _on_proof_deadline(self, connection: _OrderConnection) -> None:
        if not connection.ready.done():
            connection.close(f"no answer to the first request within {self._proof_s:g} s")


def silent_session(
    endpoints: Endpoints,
    credentials: Credentials,
    line: Any,
    on_reply: Callable[[Reply, int], None],
    venue_ms: Callable[[], int],
) -> OrderSession:
    """A session for rehearsals: requests go into a ``SilentLine``, answers are handed in.

    After the line was opened or closed the session has to ``refresh``.
    """
    session = OrderSession(
        endpoints, credentials, on_reply=on_reply, on_state=lambda *_: None, venue_ms=venue_ms
    )
    session._active = line
    session._is_swallowing = True
    session.state = SessionState.UP
    session.refresh()
    return session
