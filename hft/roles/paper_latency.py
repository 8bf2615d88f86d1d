"""How long a paper order is on its way: as long as live ones were, or what the settings say."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from random import Random
from typing import Final

from hft import counters
from hft.config import PaperConfig
from hft.units import NS_PER_MS, NS_PER_S
from ipc import RolePage
from ipc.role_page import bucket_value_max

REFRESH_NS: Final = NS_PER_S


class PaperLatency:
    """Draws from execution's histogram of acknowledgements once it has enough of them."""

    def __init__(self, execution_page: RolePage, config: PaperConfig, seed: int) -> None:
        self._page = execution_page
        self._default_ns = round(config.latency_ms * NS_PER_MS)
        self._orders_min = config.latency_orders_min
        self._random = Random(seed)
        self._cumulated: list[int] = []
        self._values_ns: list[int] = []
        self._read_ns = -REFRESH_NS

    def draw_ns(self, now_ns: int) -> int:
        """From a decision to its acknowledgement."""
        if now_ns - self._read_ns >= REFRESH_NS:
            self._read_ns = now_ns
            self._read()
        if not self._cumulated or self._cumulated[-1] < self._orders_min:
            return self._default_ns
        rank = self._random.randint(1, self._cumulated[-1])
        return self._values_ns[bisect_left(self._cumulated, rank)]

    def _read(self) -> None:
        counts = self._page.histogram(counters.ACK_NS.id)
        used = [int(index) for index in counts.nonzero()[0]]
        self._values_ns = [bucket_value_max(index) for index in used]
        self._cumulated = list(accumulate(int(counts[index]) for index in used))
