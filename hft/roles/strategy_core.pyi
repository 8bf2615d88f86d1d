from collections.abc import Callable
from typing import Any, Final, final

from typing_extensions import disjoint_base

from hft.roles.callback_mark import CallbackMark
from hft.roles.context import Context
from hft.roles.desk import Desk
from hft.strategy.change import Inventory
from hft.strategy.errors import StrategyError
from hft.strategy.orders import Sender
from ipc import RingReader, RingWriter

EXECUTIONS_PER_CYCLE_MAX: Final[int]
DECISIONS_PER_CYCLE_MAX: Final[int]
MARKET_PER_CYCLE_MAX: Final[int]
TIMER_NS: Final[int]
COMMANDS_NS: Final[int]
FEED_SILENT_NS: Final[int]

def flood(desk: Desk) -> StrategyError: ...

@disjoint_base
class StrategyCore:
    desks: list[Desk]
    has_paper: bool
    _desks_of: dict[int, list[Desk]]
    _desk_of_strategy: dict[tuple[int, int], Desk]
    _inventories: dict[tuple[bool, int], Inventory]
    _is_settled: bool
    _is_stopping: bool
    _timer_ns: int
    _now_ns: int
    _settled_seq: int
    _settled_paper_seq: int
    def __init__(self, context: Context, watch: CallbackMark) -> None: ...
    @property
    def rings(self) -> tuple[RingReader, RingReader, RingReader, RingReader, RingWriter]: ...
    def do_work(self, now_ns: int) -> int: ...
    def may_trade(self, desk: Desk) -> bool: ...
    def run_plugin(self, desk: Desk, now_ns: int) -> None: ...
    def run_timer(self, desk: Desk, now_ns: int) -> None: ...
    def call(
        self, desk: Desk, callback: int, handler: Callable[..., None], record: Any
    ) -> None: ...
    def look_ahead(self) -> None: ...
    def offer_what_is_wanted(self, desk: Desk, now_ns: int) -> None: ...
    def sender_of(self, desk: Desk) -> Sender: ...

@final
class DeskSender(Sender): ...
