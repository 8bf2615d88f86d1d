from typing_extensions import disjoint_base

from hft.core.generated.views import Decision, Intent, MarkPrice, TopOfBook
from hft.core.risk import RiskBook
from ipc import CellReader

@disjoint_base
class Judge:
    live: RiskBook
    paper: RiskBook
    observed: RiskBook
    account_ns: int
    def __init__(
        self,
        tops: CellReader,
        top: TopOfBook,
        marks: CellReader,
        mark: MarkPrice,
        *,
        live: RiskBook,
        paper: RiskBook,
        observed: RiskBook,
        source: int,
        epoch: int,
    ) -> None: ...
    def look_ahead(self, instrument_id: int, strategy_id: int) -> None: ...
    def verdict(self, intent: Intent, now_ns: int, trading_state: int, is_manual: bool) -> int: ...
    def answer(
        self, decision: Decision, intent: Intent, reason: int, now_ns: int, cause_ring: int
    ) -> None: ...
