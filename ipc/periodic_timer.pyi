from typing import final

@final
class PeriodicTimer:
    fd: int
    def __init__(self, period_ns: int) -> None: ...
    def take(self) -> int: ...
