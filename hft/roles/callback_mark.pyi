from typing_extensions import disjoint_base

@disjoint_base
class CallbackMark:
    calls: int
    inside: int
    ticks_max: int
    @property
    def overran(self) -> int: ...
    def look_at_ticks(self) -> None: ...
