from collections.abc import Callable
from typing import Protocol, final

from picows import WSFrame, WSListener, WSTransport
from typing_extensions import Buffer, disjoint_base

class _Owner(Protocol):
    def on_ws_connected(self, transport: WSTransport, /) -> None: ...
    def on_ws_disconnected(self, transport: WSTransport | None, /) -> None: ...
    def on_other_frame(self, transport: WSTransport, frame: WSFrame, /) -> None: ...
    def on_gated(self, payload: memoryview, /) -> None: ...

@disjoint_base
class FrameSink:
    is_broken: bool
    def on_frame(self, payload: Buffer, recv_ns: int) -> None: ...
    def on_batch_end(self) -> None: ...

@final
@disjoint_base
class CallbackSink(FrameSink):
    def __init__(
        self,
        on_frame: Callable[[memoryview, int], None],
        on_batch_end: Callable[[], None] | None = ...,
    ) -> None: ...

@final
@disjoint_base
class FrameListener(WSListener):
    is_gated: bool
    is_delivering: bool
    def __init__(
        self,
        owner: _Owner,
        sink: FrameSink,
        on_error: Callable[[Exception], None] | None = ...,
        *,
        is_delivering: bool = ...,
    ) -> None: ...
    @property
    def frames(self) -> int: ...
    @property
    def recv_ns(self) -> int: ...
    def on_ws_connected(self, transport: WSTransport) -> None: ...
    def on_ws_disconnected(self, transport: WSTransport) -> None: ...
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None: ...
    def is_user_specific_pong(self, frame: WSFrame) -> bool: ...
