from collections.abc import Callable

from typing_extensions import disjoint_base

@disjoint_base
class VenueClock:
    offset_ns: int
    def __init__(self, offset_ns: int = 0, *, wall_ns: Callable[[], int] | None = None) -> None: ...
    @property
    def venue_ns(self) -> int: ...
