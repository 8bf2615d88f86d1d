from typing import Protocol, final

import numpy as np
import numpy.typing as npt

QTY_FIRST_UNITS: int

class Slots(Protocol):
    @property
    def frame(self) -> bytes: ...
    @property
    def id_at(self) -> int: ...
    @property
    def first_at(self) -> int: ...
    @property
    def previous_at(self) -> int: ...
    @property
    def bid_qty_at(self) -> int: ...
    @property
    def ask_qty_at(self) -> int: ...
    @property
    def time_at(self) -> tuple[int, int]: ...

@final
class Pacer:
    count: int
    frames: int
    tickers: int
    depths: int
    waits: int
    def __init__(
        self,
        *,
        first_id: int,
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
