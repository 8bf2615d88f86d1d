from collections.abc import Callable

from picows import WSTransport
from typing_extensions import disjoint_base

@disjoint_base
class Debts:
    in_flight: int
    due: int
    waiting_ns: int

@disjoint_base
class OrderLine:
    _transport: WSTransport | None
    _debts: Debts
    _is_swallowing: bool
    def __init__(self, clock_ns: Callable[[], int] | None = None) -> None: ...
    @property
    def is_ready(self) -> bool: ...
    def send(self, text: bytes) -> None: ...
