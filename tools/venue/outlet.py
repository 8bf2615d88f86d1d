"""The one place through which every frame and every reply leaves: where faults can be put in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol, TypeAlias


class Channel(Enum):
    """Kinds of what is sent."""

    MARKET = "market"
    USER = "user"
    CONTROL = "control"
    """Answers of the stream servers: subscriptions, properties."""
    API = "api"


class Sink(Protocol):
    """A connection that can be written to."""

    def write(self, payload: bytes) -> None:
        """Send one text frame."""


FrameHook: TypeAlias = Callable[[Sink, Channel, str, bytes], None]
"""Gets a frame instead of its receiver: writes it now, later, changed, twice or never."""
ReplyHook: TypeAlias = Callable[[str, int, bytes], Awaitable[tuple[int, bytes]]]
"""Gets path, HTTP status and body of a REST reply; returns the status and body to send."""


class Outlet:
    """Counts what leaves and hands it to the hooks, when there are any."""

    def __init__(self) -> None:
        self.frame_hook: FrameHook | None = None
        self.reply_hook: ReplyHook | None = None
        self.frames_sent = 0
        self.replies_sent = 0

    def send(self, sink: Sink, channel: Channel, name: str, payload: bytes) -> None:
        """One frame; ``name`` is its stream, event or method."""
        self.frames_sent += 1
        if self.frame_hook is None:
            sink.write(payload)
        else:
            self.frame_hook(sink, channel, name, payload)

    async def reply(self, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        """One REST reply, on its way out."""
        self.replies_sent += 1
        if self.reply_hook is None:
            return status, body
        return await self.reply_hook(path, status, body)
