from collections.abc import Iterable

from typing_extensions import disjoint_base

from hft.core.exposure import Exposure
from hft.core.generated.views import Decision, Intent
from hft.core.instruments import InstrumentRules
from hft.core.policies import Limits
from hft.records import Reason

__all__ = ["InstrumentRules", "RiskBook"]

@disjoint_base
class RiskBook(Exposure):
    account_ns: int
    venue_offset_ns: int
    def __init__(self, limits: Limits, instruments: Iterable[int]) -> None: ...
    def set_limits(self, limits: Limits) -> None: ...
    def set_manual_limits(self, limits: Limits | None) -> None: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def manual_limits(self) -> Limits | None: ...
    def on_account(self, now_ns: int) -> None: ...
    def judge(self, intent: Intent, now_ns: int, trading_state: int) -> Reason: ...
    def judge_manual(self, intent: Intent, now_ns: int, trading_state: int) -> Reason: ...
    def fill_decision(
        self,
        decision: Decision,
        intent: Intent,
        reason: int,
        *,
        now_ns: int,
        source: int,
        risk_epoch: int,
        cause_ring: int = ...,
    ) -> None: ...
