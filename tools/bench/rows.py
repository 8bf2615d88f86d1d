"""All rows, in the order of the table."""

from __future__ import annotations

from typing import Final

from tools.bench.controls import FLOOR, PIPE, QUEUE
from tools.bench.ours import BATCH, PARK, SPIN, SPIN_THEN_PARK
from tools.bench.peers import FASTER_FIFO, ICEORYX2, ZMQ
from tools.bench.row import Row

ROWS: Final[tuple[Row, ...]] = (
    FLOOR,
    SPIN,
    SPIN_THEN_PARK,
    PARK,
    BATCH,
    QUEUE,
    PIPE,
    ZMQ,
    FASTER_FIFO,
    ICEORYX2,
)
