from os import PathLike

from typing_extensions import disjoint_base

from ipc.segment import Segment

@disjoint_base
class Bell:
    def __init__(
        self, segment: Segment, index: int, fifo_path: PathLike[str] | None = None
    ) -> None: ...
    def ring(self) -> None: ...
    @property
    def is_parked(self) -> bool: ...

def bell_offset(segment: Segment, index: int) -> int: ...
def make_fifo(path: PathLike[str], mode: int = 0o660) -> None: ...
