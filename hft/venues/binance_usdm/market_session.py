"""Market data over one WebSocket connection: bytes in, frames out, silence noticed.

Subscriptions are acknowledged even when the venue will never send anything (wrong route, unknown
symbol), so only data proves a stream. Each stream has a deadline for its first frame; the
connection as a whole has a silence watchdog.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from picows import WSFrame, WSMsgType, WSTransport

from hft.venues.binance_usdm.endpoints import (
    URL_STREAMS_MAX,
    Endpoints,
    Route,
    check_routes,
)
from hft.venues.binance_usdm.frames import FrameListener, FrameSink
from hft.venues.binance_usdm.link import (
    Connection,
    OnState,
    Session,
    SessionState,
    ignore_refusal,
)

__all__ = ["MarketSession", "SessionState"]

SUBSCRIBE_STREAMS_MAX: Final = 200
SUBSCRIBE_PAUSE_S: Final = 0.25
"""The venue cuts a connection that sends more than ten messages a second."""
WATCH_TICKS: Final = 4
"""The watchdog counts its own ticks: a process that was stopped itself accuses nobody."""
STREAM_NAME_BYTES_MAX: Final = 160
_STREAM_PREFIX: Final = b'{"stream":"'
_TEXT: Final = WSMsgType.TEXT
_UNPROVED: Final = (SessionState.OPEN, SessionState.SILENT, SessionState.ROTATED)


class _Envelope(msgspec.Struct):
    stream: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


class _MarketConnection(Connection):
    """Has the frames handed on; gated while each has to be looked at, or is not wanted."""

    def __init__(
        self,
        streams: Sequence[str],
        sink: FrameSink,
        on_error: Callable[[Exception], None] | None,
        *,
        is_candidate: bool,
    ) -> None:
        super().__init__()
        self._sink = sink
        self._listener = FrameListener(self, sink, on_error, is_delivering=not is_candidate)
        self.missing = set(streams)
        self.acks_due = 0
        self.refusal = ""

    @property
    def listener(self) -> FrameListener:
        """Who hears of the socket."""
        return self._listener

    @property
    def frames(self) -> int:
        """Frames of any kind that have come."""
        return self._listener.frames

    def on_other_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A control frame, or a part of a text."""
        whole = self.on_control(transport, frame)
        if whole is not None:
            self.on_gated(memoryview(whole))

    def mute(self) -> None:
        """Deliver nothing more."""
        self._listener.is_delivering = False
        self._listener.is_gated = True

    def deliver(self) -> None:
        """A candidate's turn has come."""
        self._listener.is_delivering = True

    def on_gated(self, payload: memoryview) -> None:
        """Note whose first data this is; deliver when it is data and this connection's turn."""
        is_delivering = self._listener.is_delivering
        if self.missing or self.acks_due or not is_delivering:
            name = _stream_of(payload)
            if name is None:
                self._on_answer(payload)
                return
            self.missing.discard(name)
        if not self.missing:
            self.prove()
            # An answer that is still due must not be taken for data.
            self._listener.is_gated = self.acks_due > 0 or not is_delivering
        if is_delivering:
            self._sink.on_frame(payload, self._listener.recv_ns)

    def _on_answer(self, payload: memoryview) -> None:
        """An answer to SUBSCRIBE: null, or an error that names no stream."""
        self.acks_due = max(0, self.acks_due - 1)
        try:
            answer = json.loads(bytes(payload))
        except ValueError:
            return
        error = answer.get("error", answer) if isinstance(answer, dict) else {}
        if isinstance(error, dict) and "code" in error:
            self.refusal = f"subscription refused: {error.get('code')} {error.get('msg', '')}"


class MarketSession(Session):
    """Market streams of one route.

    ``quiet`` names further streams that have nothing to tell most of the time: no deadline and no
    watchdog counts on them.

    ``sink`` gets every data frame in its combined envelope ``{"stream": …, "data": …}``, with the
    monotonic time at which the read that brought it was handed over, and hears of the end of each
    read; ``CallbackSink`` makes one of functions. ``on_error`` hears of an exception in it, after
    which it is given nothing more. Errors: those of ``endpoints.check_routes``.
    """

    def __init__(
        self,
        route: Route,
        streams: Sequence[str],
        *,
        endpoints: Endpoints,
        sink: FrameSink,
        on_state: OnState,
        first_data_s: float,
        silence_s: float,
        rotate_s: float,
        on_error: Callable[[Exception], None] | None = None,
        quiet: Sequence[str] = (),
        random_share: Callable[[], float] = random.random,
        may_connect: Callable[[], float] = lambda: 0.0,
        on_refused: Callable[[int, float], None] = ignore_refusal,
    ) -> None:
        check_routes(route, (*streams, *quiet))
        super().__init__(
            on_state=on_state,
            rotate_s=rotate_s,
            random_share=random_share,
            proof_s=first_data_s,
            may_connect=may_connect,
            on_refused=on_refused,
        )
        self.route: Final = route
        self.streams: Final = tuple(dict.fromkeys(streams))
        self._names: Final = tuple(dict.fromkeys((*streams, *quiet)))
        self._endpoints = endpoints
        self._sink = sink
        self._on_error = on_error
        self._first_data_s = first_data_s
        self._silence_s = silence_s
        self._active: _MarketConnection | None = None
        self._request_id = 0

    @property
    def missing(self) -> frozenset[str]:
        """Streams of the connection in use that have not delivered yet."""
        return frozenset(self._active.missing if self._active is not None else self.streams)

    def read(self) -> None:
        """Take what has come on the connection in use, before the loop finds that something has."""
        if self._active is not None:
            self._active.listener.read()

    def stop(self) -> None:
        """Close and stay closed. Callbacks end with this call."""
        if self._active is not None:
            self._active.mute()
        super().stop()

    def _url(self) -> str:
        names = self._names if len(self._names) <= URL_STREAMS_MAX else ()
        return self._endpoints.combined_url(self.route, names)

    def _make_connection(self, *, is_candidate: bool) -> Connection:
        return _MarketConnection(
            self.streams, self._sink, self._on_error, is_candidate=is_candidate
        )

    def _on_open(self, connection: Connection) -> None:
        assert isinstance(connection, _MarketConnection)
        assert self._loop is not None
        if len(self._names) > URL_STREAMS_MAX:
            connection.acks_due = -(-len(self._names) // SUBSCRIBE_STREAMS_MAX)
            self._subscribe(connection, list(self._names))
        connection.ready.add_done_callback(lambda _: self._on_proof(connection))
        self._loop.call_later(self._first_data_s, self._on_deadline, connection)
        self._watch(connection, connection.frames, WATCH_TICKS)

    def _take_over(self, old: Connection | None, fresh: Connection) -> None:
        assert isinstance(fresh, _MarketConnection)
        if old is not None:
            assert isinstance(old, _MarketConnection)
            old.mute()
            old.close("rotated")
            assert self._loop is not None
            self._loop.call_later(self._first_data_s, self._on_deadline, fresh)
        self._active = fresh
        fresh.deliver()

    def _may_take_over(self, old: Connection, fresh: Connection) -> bool:
        assert isinstance(old, _MarketConnection)
        assert isinstance(fresh, _MarketConnection)
        return fresh.missing <= old.missing

    def _subscribe(self, connection: _MarketConnection, names: list[str]) -> None:
        """One batch now, the rest a little later."""
        if connection.closed.done() or connection.transport is None or not names:
            return
        assert self._loop is not None
        self._request_id += 1
        request = {
            "method": "SUBSCRIBE",
            "params": names[:SUBSCRIBE_STREAMS_MAX],
            "id": self._request_id,
        }
        text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        connection.transport.send(_TEXT, text.encode())
        rest = names[SUBSCRIBE_STREAMS_MAX:]
        self._loop.call_later(SUBSCRIBE_PAUSE_S, self._subscribe, connection, rest)

    def _on_proof(self, connection: _MarketConnection) -> None:
        if connection is self._active and self.state in _UNPROVED:
            self._report(SessionState.UP)

    def _on_deadline(self, connection: _MarketConnection) -> None:
        """The time for first data is over."""
        if connection is not self._active or connection.closed.done() or not connection.missing:
            return
        assert self._loop is not None
        names = ", ".join(sorted(connection.missing))
        detail = f"no data on /{self.route} {self._first_data_s:g} s after subscribing: {names}"
        if connection.refusal:
            detail = f"{detail} ({connection.refusal})"
        if len(connection.missing) == len(self.streams):
            connection.close(detail)
            return
        # The others deliver: ask again for these only, which harms nobody.
        self._report(SessionState.SILENT, detail)
        connection.acks_due = 1
        self._subscribe(connection, sorted(connection.missing)[:SUBSCRIBE_STREAMS_MAX])
        self._loop.call_later(self._first_data_s, self._on_deadline, connection)

    def _watch(self, connection: _MarketConnection, frames: int, ticks_left: int) -> None:
        """Close a connection on which nothing at all came for ``silence_s``."""
        if connection.closed.done():
            return
        assert self._loop is not None
        if connection.frames != frames:
            ticks_left = WATCH_TICKS
        elif ticks_left == 0:
            connection.close(f"no frame for {self._silence_s:g} s")
            return
        self._loop.call_later(
            self._silence_s / WATCH_TICKS,
            self._watch,
            connection,
            connection.frames,
            ticks_left - 1,
        )


def _stream_of(payload: memoryview) -> str | None:
    """Stream name in the envelope; None: not an envelope."""
    head = bytes(payload[:STREAM_NAME_BYTES_MAX])
    if head.startswith(_STREAM_PREFIX):
        name = head[len(_STREAM_PREFIX) :].partition(b'"')[0]
        if b"\\" not in name:
            return name.decode(errors="replace")
    try:
        return _ENVELOPE.decode(payload).stream
    except msgspec.DecodeError:
        return None
