from typing import final

import numpy as np
import numpy.typing as npt

from tools.bench.load.slots import Slots

QTY_FIRST_UNITS: int

@final
class Pacer:
    count: int
    frames: int
    tickers: int
    depths: int
    waits: int
    def __init__(
        self,
        first_id: int,
        *,
        start_ns: int,
        spacing_ns: int,
        depth_every: int,
        write_ns: npt.NDArray[np.int64],
    ) -> None: ...
    def add(self, fd: int, last_id: int, ticker: Slots, depth: Slots) -> None: ...
    @property
    def due_ns(self) -> int: ...
    def mark(self) -> tuple[int, int]: ...
    def state(self, index: int) -> tuple[int, int, int]: ...
    def send(self) -> None: ...
