from collections.abc import Sequence
from os import PathLike
from typing import final

from ipc.ring import RingReader
from ipc.segment import Segment
from ipc.words import Word

@final
class Parker:
    fifo_fd: int
    def __init__(
        self,
        segment: Segment,
        index: int,
        readers: Sequence[RingReader] = (),
        extra_words: Sequence[Word] = (),
        fifo_path: PathLike[str] | None = None,
    ) -> None: ...
    def park(self, timeout_ns: int) -> bool: ...
    def spin(self, duration_ns: int) -> bool: ...
    def has_work(self) -> bool: ...
    def arm_fifo(self) -> bool: ...
    def disarm(self) -> None: ...
    def drain_fifo(self) -> None: ...
