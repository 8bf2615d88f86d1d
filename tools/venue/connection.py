"""What all WebSocket connections of the venue share: limits on messages, lifetime, slow readers."""

from __future__ import annotations

import asyncio

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
)

from tools.venue.exchange import Exchange
from tools.venue.request import origin_of

MESSAGE_BYTES_MAX = 1_048_576


def agent_of(request: WSUpgradeRequest) -> str:
    """The user agent of a handshake; empty when it names none."""
    return str(request.headers.get("User-Agent", ""))


class Connection(WSListener):
    """One client. Subclasses take its text messages."""

    def __init__(self, exchange: Exchange, agent: str) -> None:
        self.exchange = exchange
        self.client = agent
        """Who it is: address, port and user agent."""
        self.connected_ms = 0
        self.is_open = False
        self._address = "local"
        self._transport: WSTransport | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._unanswered_since_ms = 0
        self._is_behind = False
        self._is_deaf = False
        self._second = 0
        self._messages = 0
        self._parts: list[bytes] = []

    # For subclasses.

    def on_open(self) -> None:
        """The connection is up."""

    def on_text(self, text: bytes) -> None:
        """A complete text message."""

    def on_end(self) -> None:
        """The connection is gone."""

    # For those who send.

    def write(self, payload: bytes) -> None:
        """Send one text frame; a client that does not read its frames is cut off."""
        transport = self._transport
        if transport is None or not self.is_open:
            return
        if transport.underlying_transport.is_closing():
            # The client is gone, and the loop has not told us yet.
            self.is_open = False
            return
        if self._is_behind:
            waiting = transport.underlying_transport.get_write_buffer_size()
            if waiting > self.exchange.config.sends_buffered_max_bytes:
                self._complain("slow reader", f"{waiting} bytes were waiting")
                self.is_open = False
                transport.disconnect(False)
                return
        transport.send(WSMsgType.TEXT, payload)

    def close(self, code: WSCloseCode, reason: str) -> None:
        """End the connection with a close frame."""
        if self._transport is not None and self.is_open:
            self.is_open = False
            self._transport.send_close(code, reason.encode())
            self._transport.disconnect()

    def reset(self) -> None:
        """End the connection without a close frame."""
        if self._transport is not None:
            self.is_open = False
            self._transport.underlying_transport.abort()

    def go_silent(self, *, is_deaf: bool) -> None:
        """Write nothing any more, not even an answer to a ping, and leave the socket as it is."""
        self.is_open = False
        self._is_deaf = is_deaf

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self._address

    # Called by picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Start the clock of the connection's life."""
        self._transport = transport
        self.is_open = True
        peer = transport.underlying_transport.get_extra_info("peername")
        if peer:
            self._address = str(peer[0])
            self.client = f"{peer[0]}:{peer[1]} {self.client}".rstrip()
        self.connected_ms = self.exchange.clock_ms()
        config = self.exchange.config
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(
                config.connection_lifetime_s,
                self.close,
                WSCloseCode.GOING_AWAY,
                "connection lifetime",
            ),
            loop.call_later(config.ping_interval_s, self._ping),
        ]
        self.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count, answer pings, put text together."""
        if self._is_deaf:
            return
        if frame.msg_type == WSMsgType.CLOSE:
            if not self.is_open:
                return
            self.is_open = False
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            return
        if frame.msg_type == WSMsgType.PONG and self._unanswered_since_ms:
            self._unanswered_since_ms = 0
            return
        if not self._count_message():
            return
        if frame.msg_type == WSMsgType.PING and self.is_open:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                parts, self._parts = self._parts, []
                self.on_text(b"".join(parts))

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """Release what the connection held."""
        self.is_open = False
        self._transport = None
        for timer in self._timers:
            timer.cancel()
        self.on_end()

    def pause_writing(self) -> None:
        """The client reads too slowly: watch the backlog."""
        self._is_behind = True

    def resume_writing(self) -> None:
        """The backlog is gone."""
        self._is_behind = False

    @property
    def messages_per_s_max(self) -> int:
        """Messages a client may send in one second; 0: not limited here."""
        return self.exchange.config.messages_per_s

    def _complain(self, kind: str, detail: str) -> None:
        origin = origin_of(self.exchange, "ws", "", self.client, "")
        self.exchange.note_violation(kind, detail, origin)

    def _ping(self) -> None:
        """Ask whether the client is still there; cut it off when it has been silent too long."""
        if self._transport is None or not self.is_open:
            return
        config = self.exchange.config
        now_ms = self.exchange.clock_ms()
        since_ms = self._unanswered_since_ms or now_ms
        if now_ms - since_ms > config.pong_timeout_s * 1000:
            self.close(WSCloseCode.GOING_AWAY, "no pong")
            return
        self._unanswered_since_ms = since_ms
        self._transport.send_ping(str(now_ms))
        loop = asyncio.get_running_loop()
        self._timers[-1] = loop.call_later(config.ping_interval_s, self._ping)

    def _count_message(self) -> bool:
        limit = self.messages_per_s_max
        second = self.exchange.clock_ms() // 1000
        if second != self._second:
            self._second = second
            self._messages = 0
        self._messages += 1
        if not limit or self._messages <= limit:
            return True
        self._complain("too many messages", f"more than {limit} in one second")
        self.close(WSCloseCode.POLICY_VIOLATION, "Too many requests")
        return False
