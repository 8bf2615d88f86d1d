"""What the venue's three kinds of WebSocket session have in common.

A session is one task: open, hold, back off, open again; and before the venue cuts the connection
at 24 hours, open a second one beside it and change over. It does I/O and reports; what a lost
connection means for orders or books is decided by the role that hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

from hft.errors import HftError, UnreachableError
from hft.venues.binance_usdm import tls
from hft.venues.binance_usdm.endpoints import unreachable

CONNECT_S: Final = 10.0
"""TCP, TLS and the WebSocket handshake together."""
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 5.0
BACKOFF_RESET_S: Final = 10.0
"""A connection that lived so long was a good one: the next attempt starts with a short wait."""
REFUSED_S: Final = {403: 60.0, 418: 60.0, 429: 10.0}
"""Waits after a handshake that the venue refused: trying harder makes a ban longer."""
ROTATION_RETRY_S: Final = 60.0
PING_IDLE_S: Final = 5.0
PING_REPLY_S: Final = 5.0
"""A quiet connection is asked whether it still lives; the venue itself asks every 3 minutes."""
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024


class SessionState(IntEnum):
    """What a session reports; the text that comes along is for people."""

    STOPPED = 0
    OPEN = 1
    """Connected; nothing proves yet that it works."""
    UP = 2
    """Works: every stream has delivered, or the logon was accepted."""
    SILENT = 3
    """Some streams (named) have never delivered by their deadline; the others go on."""
    ROTATED = 4
    """A fresh connection took over: what is numbered per connection starts anew. UP follows."""
    DOWN = 5
    """No connection; the next attempt follows by itself. Requests in flight have no answer."""


class Backoff:
    """Growing waits between attempts, with jitter so that many sessions do not knock together."""

    __slots__ = ("_next_s", "_random")

    def __init__(self, random_share: Callable[[], float] = random.random) -> None:
        self._random = random_share
        self._next_s = BACKOFF_FIRST_S

    def next_s(self) -> float:
        """The wait before the next attempt: up to a quarter longer than its nominal length."""
        wait_s = self._next_s
        self._next_s = min(BACKOFF_LAST_S, wait_s * 2)
        return wait_s * (1 + self._random() / 4)

    def reset(self) -> None:
        """The last attempt was a success."""
        self._next_s = BACKOFF_FIRST_S


class RefusedError(UnreachableError):
    """The venue answered the WebSocket handshake with an HTTP error."""

    def __init__(self, message: str, *, status: int, retry_s: float) -> None:
        super().__init__(message, remedy="wait, then check keys, URL and the venue's limits")
        self.status = status
        self.retry_s = retry_s


class Connection(WSListener):
    """One socket of a session. Subclasses take the frames."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport: WSTransport | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done when the connection has proved that it works."""
        self.on_opened: Callable[[], None] | None = None
        self.why_closed = "closed by the venue"
        self.opened_s = 0.0
        self._parts = bytearray()

    @property
    def listener(self) -> WSListener:
        """Who hears of the socket."""
        return self

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called before any frame."""
        self.transport = transport
        self.opened_s = time.monotonic()
        if self.on_opened is not None:
            self.on_opened()

    def on_ws_disconnected(self, _transport: WSTransport | None) -> None:
        """The socket is gone."""
        if not self.closed.done():
            self.closed.set_result(None)

    def is_user_specific_pong(self, _frame: WSFrame) -> bool:
        """Never: a pong that is swallowed may be the last frame of a read, and end a batch."""
        return False

    def prove(self) -> None:
        """The connection works."""
        if not self.ready.done():
            self.ready.set_result(None)

    def close(self, why: str) -> None:
        """Say goodbye and cut; ``closed`` follows."""
        if self.transport is not None and not self.closed.done():
            self.why_closed = why
            self.transport.send_close(WSCloseCode.OK)
            self.transport.disconnect(False)

    def on_control(self, transport: WSTransport, frame: WSFrame) -> bytes | None:
        """Any frame that is not a whole text. Returns a message that its last part completed."""
        kind = frame.msg_type
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.PONG:
            transport.notify_user_specific_pong_received()
        elif kind is WSMsgType.CLOSE:
            code = frame.get_close_code()
            reason = frame.get_close_reason() or ""
            self.why_closed = f"closed by the venue: {code} {reason}".rstrip()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._parts += frame.get_payload_as_bytes()
            if len(self._parts) > FRAME_BYTES_MAX:
                self.close(f"a message of more than {FRAME_BYTES_MAX} bytes")
            elif frame.fin:
                whole = bytes(self._parts)
                self._parts.clear()
                return whole
        return None


class OnState(Protocol):
    """Hears of every change of a session."""

    def __call__(self, state: SessionState, detail: str, /) -> None:
        """``detail`` is for people: why, or which streams."""
        ...


def ignore_refusal(_status: int, _wait_s: float) -> None:
    """Nobody wants to hear of refused handshakes."""


class Session(ABC):
    """Keeps one connection of a kind open until it is stopped.

    ``may_connect()`` is asked before each attempt: seconds to wait before it is asked again; 0: go.
    ``on_refused(status, wait_s)`` hears of a handshake that the venue answered with an HTTP error.
    """

    def __init__(
        self,
        *,
        on_state: OnState,
        rotate_s: float,
        random_share: Callable[[], float] = random.random,
        ping_idle_s: float = 0.0,
        proof_s: float = CONNECT_S,
        may_connect: Callable[[], float] = lambda: 0.0,
        on_refused: Callable[[int, float], None] = ignore_refusal,
    ) -> None:
        self._on_state = on_state
        self._may_connect = may_connect
        self._on_refused = on_refused
        self._rotate_s = rotate_s
        self._random = random_share
        self._ping_idle_s = ping_idle_s
        self._proof_s = proof_s
        self._backoff = Backoff(random_share)
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: list[Connection] = []
        self._wake: asyncio.Event | None = None
        self.state = SessionState.STOPPED
        self.reconnects = 0

    # -- what a kind of session has to say ------------------------------------------------------

    @abstractmethod
    def _url(self) -> str | None:
        """Where to connect; None: not known yet, ask again after the back-off."""

    @abstractmethod
    def _make_connection(self, *, is_candidate: bool) -> Connection:
        """A listener for a new socket; a candidate waits beside a working connection."""

    @abstractmethod
    def _on_open(self, connection: Connection) -> None:
        """The socket is open and may be written to."""

    @abstractmethod
    def _take_over(self, old: Connection | None, fresh: Connection) -> None:
        """From now on ``fresh`` is the connection; ``old`` is closed by the session, if any."""

    def _on_lost(self) -> None:  # noqa: B027  # a kind of session may have nothing to do
        """The connection in use is gone."""

    def _may_take_over(self, _old: Connection, fresh: Connection) -> bool:
        """A candidate that has not proved itself by the deadline: may it take over all the same?"""
        return fresh.ready.done()

    # -- life -----------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to connect; at once, from the loop."""
        assert self._task is None
        self._loop = loop
        self._wake = asyncio.Event()
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(self._on_done)

    def stop(self) -> None:
        """Close and stay closed. Callbacks end with this call."""
        if self._task is not None:
            self._task.cancel()
        for connection in list(self._connections):
            connection.close("stopped")
        self.state = SessionState.STOPPED

    async def wait_stopped(self) -> None:
        """After ``stop``: until every socket is really closed."""
        if self._task is not None:
            await asyncio.wait([self._task])
        waiting = [connection.closed for connection in self._connections]
        if waiting:
            await asyncio.wait(waiting, timeout=CONNECT_S)

    def reconnect(self, why: str) -> None:
        """Drop the connection in use, or cut a running wait short: a new attempt follows."""
        for connection in list(self._connections):
            connection.close(why)
        if self._wake is not None:
            self._wake.set()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        # Only a callback of a role can do that: its state may be torn, so the process must hear.
        assert self._loop is not None
        self._loop.call_exception_handler(
            {
                "message": f"{type(self).__name__} ended by an error in a callback",
                "exception": task.exception(),
                "task": task,
            }
        )

    def _report(self, state: SessionState, detail: str = "") -> None:
        self.state = state
        self._on_state(state, detail)

    # -- the task -------------------------------------------------------------------------------

    async def _run(self) -> None:
        connection = await self._establish()
        while True:
            fresh = await self._hold(connection)
            if fresh is None:
                await self._mourn(connection)
                fresh = await self._establish()
            connection = fresh

    async def _establish(self) -> Connection:
        """A connection in use, however many attempts it takes."""
        while True:
            wait_s = self._may_connect()
            if wait_s > 0:
                await self._pause(wait_s)
                continue
            try:
                url = self._url()
                if url is not None:
                    return await self._open(url, is_candidate=False)
            except RefusedError as error:
                wait_s = error.retry_s
                self._on_refused(error.status, wait_s)
                self._report(SessionState.DOWN, error.message)
            except HftError as error:
                self._report(SessionState.DOWN, error.message)
            await self._pause(max(wait_s, self._backoff.next_s()))

    async def _open(self, url: str, *, is_candidate: bool) -> Connection:
        connection = self._make_connection(is_candidate=is_candidate)
        if not is_candidate:
            # Before the first frame, which may come together with the handshake's answer.
            self._take_over(None, connection)
            connection.on_opened = lambda: self._report(SessionState.OPEN)
        await self._dial(connection, url)
        self._on_open(connection)
        return connection

    async def _dial(self, connection: Connection, url: str) -> None:
        """Open the socket of ``connection``.

        Raises:
            UnreachableError: nobody there, TLS fails, or no answer in time.
            RefusedError: the handshake was answered with an HTTP error.
        """
        self._connections.append(connection)
        connection.closed.add_done_callback(lambda _: self._connections.remove(connection))
        try:
            # Not wait_for: it forgets a cancellation that comes together with the result (Python
            # 3.11), and a session that was stopped just then would go on for ever.
            async with asyncio.timeout(CONNECT_S):
                await ws_connect(
                    lambda: connection.listener,
                    url,
                    ssl_context=tls.context_for(url),
                    websocket_handshake_timeout=CONNECT_S,
                    enable_auto_ping=self._ping_idle_s > 0,
                    auto_ping_idle_timeout=self._ping_idle_s or PING_IDLE_S,
                    auto_ping_reply_timeout=PING_REPLY_S,
                    enable_auto_pong=False,
                    max_frame_size=FRAME_BYTES_MAX,
                    max_redirects=0,
                    logger_name="venue",
                )
        except BaseException as error:
            if connection.transport is None:
                connection.on_ws_disconnected(None)
            else:
                connection.close("abandoned")
            if isinstance(error, WSHandshakeError) and error.response is not None:
                raise _refused(url, error) from None
            if isinstance(error, TimeoutError):
                raise unreachable(url, f"no answer within {CONNECT_S:g} s") from None
            if isinstance(error, (OSError, WSError)):
                raise unreachable(url, error) from None
            raise

    async def _hold(self, connection: Connection) -> Connection | None:
        """Until the connection is lost (None), or a fresh one has taken over (that one)."""
        # Up to 2 % earlier, so that connections opened together are not renewed together.
        wait_s = self._rotate_s * (1 - self._random() / 50)
        while True:
            await asyncio.wait([connection.closed], timeout=wait_s)
            if connection.closed.done():
                return None
            fresh = await self._rotate(connection)
            if fresh is not None:
                return fresh
            if connection.closed.done():
                return None
            wait_s = min(ROTATION_RETRY_S, self._rotate_s)

    async def _rotate(self, old: Connection) -> Connection | None:
        """Open beside ``old``, wait for proof, change over. None: it did not come to that."""
        url = self._url()
        if url is None or self._may_connect() > 0:
            return None
        try:
            fresh = await self._open(url, is_candidate=True)
        except HftError:
            return None  # the old one still works; tried again later
        await asyncio.wait(
            [fresh.ready, fresh.closed, old.closed],
            timeout=self._proof_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if fresh.closed.done():
            return None
        if not (old.closed.done() or self._may_take_over(old, fresh)):
            fresh.close("no proof that it works")
            return None
        self._take_over(old, fresh)
        self._report(SessionState.ROTATED)
        if fresh.ready.done():
            self._report(SessionState.UP)
        return fresh

    async def _mourn(self, connection: Connection) -> None:
        """Report the loss, wait as the back-off says.

        Raises:
            Exception: what a callback raised, which is why the connection ended.
        """
        assert connection.transport is not None
        try:
            await connection.transport.wait_disconnected()
        except (OSError, WSError) as error:
            connection.why_closed = str(error) or type(error).__name__
        self._on_lost()
        self.reconnects += 1
        self._report(SessionState.DOWN, connection.why_closed)
        if time.monotonic() - connection.opened_s > BACKOFF_RESET_S:
            self._backoff.reset()
        await self._pause(self._backoff.next_s())

    async def _pause(self, wait_s: float) -> None:
        assert self._wake is not None
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()


def _refused(url: str, error: WSHandshakeError) -> RefusedError:
    assert error.response is not None
    status = int(error.response.status)
    retry_after = error.response.headers.get("Retry-After", "")
    # The venue's own word counts: a ban taken for longer than it is keeps everybody out.
    retry_s = float(retry_after) if retry_after.isdigit() else REFUSED_S.get(status, 0.0)
    return RefusedError(
        f"{unreachable(url, f'the WebSocket handshake was answered with HTTP {status}').message}",
        status=status,
        retry_s=retry_s,
    )
