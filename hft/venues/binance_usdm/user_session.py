"""User data: the private stream of one listen key, and the keeper of that key.

There is one key for each account, and every session shares it. Execution alone creates and renews
it (``ListenKeyKeeper``); nobody ever deletes it, because that would silence everybody. A connect
proves nothing, even a bogus key connects and stays silent; a dead socket is found by pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from picows import WSFrame, WSMsgType, WSTransport

from hft.errors import HftError, VenueError
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.errors import BannedError
from hft.venues.binance_usdm.link import (
    PING_IDLE_S,
    Backoff,
    Connection,
    OnState,
    Session,
    SessionState,
    ignore_refusal,
)
from hft.venues.binance_usdm.user_events import (
    ListenKeyExpired,
    MalformedEvent,
    UserEvent,
    decode_user_event,
)

__all__ = ["ListenKeyKeeper", "SessionState", "UserSession"]

RENEW_S: Final = 25 * 60.0
"""A key lives 60 minutes from its last renewal."""
CHECK_S: Final = 2.0
"""A key that is in doubt is asked about at most this often."""
BAN_LOOK_S: Final = 0.1
"""Pause between two looks at whether a ban has ended: the client sends nothing before."""
OVERLAP_S: Final = 2.0
"""While a fresh connection takes over, both deliver: what comes twice is dropped."""
OVERLAP_EVENTS_MAX: Final = 4_096
EXPIRED_KEY_S: Final = 10.0
"""So long an expired key is not tried again: the keeper is getting a new one."""
NO_SUCH_KEY: Final = -1125
_TEXT: Final = WSMsgType.TEXT


class _UserConnection(Connection):
    """One socket of the private stream."""

    def __init__(self, session: UserSession, listen_key: str) -> None:
        super().__init__()
        self._session = session
        self.listen_key = listen_key

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Every frame of the socket."""
        if frame.msg_type is _TEXT and frame.fin:
            self._session.on_message(self, frame.get_payload_as_bytes())
        else:
            whole = self.on_control(transport, frame)
            if whole is not None:
                self._session.on_message(self, whole)
        if frame.last_in_buffer:
            self._session.on_batch_end()


class UserSession(Session):
    """Delivers the account's events; reports every gap, so that the role can reconcile.

    ``on_event(event, recv_ns)`` gets every event with the monotonic time of its arrival. UP means
    connected: events between DOWN and UP are lost for good. ``listen_key()`` gives the current
    key, or "" while there is none.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        listen_key: Callable[[], str],
        on_event: Callable[[UserEvent, int], None],
        on_state: OnState,
        rotate_s: float = 82_800.0,
        on_batch_end: Callable[[], None] | None = None,
        may_connect: Callable[[], float] = lambda: 0.0,
        on_refused: Callable[[int, float], None] = ignore_refusal,
        random_share: Callable[[], float] = random.random,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(
            on_state=on_state,
            rotate_s=rotate_s,
            random_share=random_share,
            ping_idle_s=PING_IDLE_S,
            may_connect=may_connect,
            on_refused=on_refused,
        )
        self._endpoints = endpoints
        self._listen_key = listen_key
        self._on_event = on_event
        self._batch_end = on_batch_end
        self._clock_ns = clock_ns
        self._active: _UserConnection | None = None
        self._fading: _UserConnection | None = None
        self._expired_key = ""
        self._expired_s = 0.0
        self._key_in_use = ""
        self._seen: set[bytes] = set()
        self.garbage = 0
        """Frames that were no event."""

    def stop(self) -> None:
        """Close and stay closed. Callbacks end with this call."""
        self._active = self._fading = None
        super().stop()

    def use_new_key(self) -> None:
        """The provider has another key than before: connect with it, now."""
        if self._listen_key() != self._key_in_use:
            self.reconnect("the listen key changed")

    def reconnect(self, why: str) -> None:
        """Connect anew, now, also with a key that had expired: whoever asks knows that it lives."""
        self._expired_key = ""
        super().reconnect(why)

    def on_batch_end(self) -> None:
        """All frames of one read are in."""
        if self._batch_end is not None and self.state is not SessionState.STOPPED:
            self._batch_end()

    def on_message(self, connection: _UserConnection, payload: bytes) -> None:
        """A text frame of one of the session's connections."""
        recv_ns = self._clock_ns()
        if connection is not self._active and connection is not self._fading:
            return
        if self._fading is not None and self._is_repeated(payload):
            return
        event = decode_user_event(payload)
        if isinstance(event, MalformedEvent):
            self.garbage += 1
        self._on_event(event, recv_ns)
        if isinstance(event, ListenKeyExpired):
            # The venue leaves the socket open, and silent for ever.
            self._expired_key, self._expired_s = connection.listen_key, time.monotonic()
            connection.close("the listen key expired")

    # -- Session --------------------------------------------------------------------------------

    def _url(self) -> str | None:
        key = self._listen_key()
        if not key or (key == self._expired_key and not self._is_key_given_again()):
            return None
        self._key_in_use = key
        return self._endpoints.user_url(key)

    def _make_connection(self, *, is_candidate: bool) -> Connection:
        connection = _UserConnection(self, self._key_in_use)
        if is_candidate:
            # Its first event may come with the handshake's answer and must not be lost.
            self._seen.clear()
            self._fading = connection
        return connection

    def _on_open(self, connection: Connection) -> None:
        connection.prove()
        if connection is self._active:
            self._report(SessionState.UP)

    def _take_over(self, old: Connection | None, fresh: Connection) -> None:
        assert isinstance(fresh, _UserConnection)
        self._active = fresh
        if old is None:
            return
        assert isinstance(old, _UserConnection)
        assert self._loop is not None
        self._fading = old
        self._loop.call_later(OVERLAP_S, self._end_overlap, old)

    def _end_overlap(self, old: _UserConnection) -> None:
        old.close("rotated")
        if self._fading is old:
            self._fading = None
            self._seen.clear()

    def _is_key_given_again(self) -> bool:
        """Still the same key after a while: the venue may have revived it, so it is tried."""
        return time.monotonic() - self._expired_s > EXPIRED_KEY_S

    def _is_repeated(self, payload: bytes) -> bool:
        """Two connections of one key deliver the same bytes."""
        if payload in self._seen:
            self._seen.discard(payload)
            return True
        if len(self._seen) < OVERLAP_EVENTS_MAX:
            self._seen.add(payload)
        return False


class ListenKeySource(Protocol):
    """What the keeper needs of the REST client."""

    async def new_listen_key(self) -> str:
        """Create the key, or get and prolong the one that lives."""
        ...

    async def keep_listen_key(self) -> str:
        """Prolong the key by 60 minutes."""
        ...


class ListenKeyKeeper:
    """Creates the account's listen key and keeps it alive. Exactly one process does this.

    ``on_key(key)`` is called with the first key and with each different one after it;
    ``on_reopen(why)`` when the key in use is alive although its stream was in doubt: the stream
    has to be opened anew; ``on_error(text)`` when an attempt fails, which is repeated with
    back-off.
    """

    def __init__(
        self,
        rest: ListenKeySource,
        on_key: Callable[[str], None],
        *,
        on_reopen: Callable[[str], None] = lambda _why: None,
        on_error: Callable[[str], None] = lambda _text: None,
        renew_s: float = RENEW_S,
        check_s: float = CHECK_S,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._rest = rest
        self._on_key = on_key
        self._on_reopen = on_reopen
        self._on_error = on_error
        self._renew_s = renew_s
        self._check_s = check_s
        self._backoff = Backoff(random_share)
        self._wake = asyncio.Event()
        self._is_lost = True
        """The venue does not know the key, or there is none: a new one has to be created."""
        self._is_asked = False
        self._doubt = ""
        """Why the stream has to be opened again; empty: it has not."""
        self._checked_s = -math.inf
        self.key = ""

    def expired(self, listen_key: str = "") -> None:
        """The venue said that the key (if it named one, this one) is gone: get another at once."""
        if not listen_key or listen_key == self.key:
            self._is_lost = True
            self._ask("the listen key expired")

    def suspect(self, why: str = "the user stream is in doubt") -> None:
        """Something should have come and did not: ask the venue whether the key lives, at once.

        Gone: a new key is created and told. Alive: the socket may be half-open all the same, so
        the stream is to be opened again.
        """
        self._ask(why)

    def check(self) -> None:
        """The stream was opened: make sure that its key lives, for a dead one connects as well."""
        self._ask("")

    def _ask(self, doubt: str) -> None:
        self._is_asked = True
        self._doubt = self._doubt or doubt
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._is_asked:
                await asyncio.sleep(self._checked_s + self._check_s - time.monotonic())
            self._wake.clear()
            was_asked, self._is_asked = self._is_asked, False
            doubt, self._doubt = self._doubt, ""
            try:
                self._accept(await self._obtain(), doubt)
            except HftError as error:
                # Not answered, so it is asked again; a new doubt meanwhile makes no difference.
                self._is_asked |= was_asked
                self._doubt = self._doubt or doubt
                self._on_error(error.message)
                is_ban = isinstance(error, BannedError)
                await self._pause(BAN_LOOK_S if is_ban else self._backoff.next_s())
            else:
                self._backoff.reset()
                if was_asked:
                    self._checked_s = time.monotonic()
                await self._pause(self._renew_s)

    async def _obtain(self) -> str:
        """The key as it is after this: prolonged, or a new one when it was gone."""
        if not self._is_lost:
            try:
                return await self._rest.keep_listen_key()
            except VenueError as error:
                if error.code != NO_SUCH_KEY:
                    raise
        self._is_lost = True
        key = await self._rest.new_listen_key()
        self._is_lost = False
        return key

    async def _pause(self, wait_s: float) -> None:
        """Until the key is in doubt, at most ``wait_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()

    def _accept(self, key: str, doubt: str) -> None:
        if key and key != self.key:
            self.key = key
            self._on_key(key)
        elif doubt:
            self._on_reopen(doubt)
