from typing import Final

from typing_extensions import disjoint_base

from hft.core.generated.views import Decision, Intent
from hft.roles.context import Context
from hft.roles.risk_judge import Judge
from ipc import RingReader, RingWriter, RolePage
from ipc.commands import HaltLatch

PENDING_SLOT: Final[int]
"""Place in the role page where the batch in the making is noted."""
MANUAL_SLOT: Final[int]
"""As ``PENDING_SLOT``, for what is asked for by hand."""
COMMANDS_EVERY_NS: Final[int]
PART_EVERY_NS: Final[int]
"""Between two parts of a look around."""

@disjoint_base
class Intake:
    intents: RingReader
    intent: Intent
    slot: int
    ring: int
    def __init__(
        self, context: Context, name: str, *, slot: int, ring: int, most: int, is_by_hand: bool
    ) -> None: ...

@disjoint_base
class RiskIntake:
    _state: int
    _allowed: int
    _told_state: int
    _closing_until_ns: int
    _due_ns: int
    _cells_ns: int
    _commanded_ns: int
    _waited_ns: int
    _by_strategies: Intake
    _by_hand: Intake
    _page: RolePage
    _halt: HaltLatch
    _desk: Judge
    _account: RolePage
    _decisions: RingWriter
    _decision: Decision
    def __init__(self, context: Context, executions: RingReader, paper: RingReader) -> None: ...
    def do_work(self, now_ns: int) -> int: ...
    def _fill_decision(self, intent: Intent, reason: int, now_ns: int, cause_ring: int) -> None: ...
    def _granted(self) -> int: ...
    def look_ahead(self) -> None: ...
