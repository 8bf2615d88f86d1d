from typing import Final

from typing_extensions import disjoint_base

from hft.core.generated.views import Decision
from hft.core.place_throttle import PlaceThrottle
from hft.core.throttle import VenueBudget
from hft.records import Reason
from hft.roles.entry_limits import EntryEvents
from hft.roles.order_keeper import OrderKeeper
from hft.roles.order_resolver import OrderResolver
from hft.roles.rest_entry import Grant, RestEntry
from hft.venues.binance_usdm.order_session import OrderSession
from hft.venues.binance_usdm.order_text import OrderTextEncoder
from hft.venues.binance_usdm.rest import RestClient
from ipc import RingReader, RolePage, Word
from ipc.words import Latch

DECISIONS_PER_CYCLE_MAX: Final[int]
GUARD_EVERY_NS: Final[int]
TEND_EVERY_NS: Final[int]
HELD_UP_NS: Final[int]
"""Nothing was guarded for so long: whoever was held up looks around before it sends anything."""

@disjoint_base
class OrderEntry:
    _page: RolePage
    _decisions: RingReader
    _decision: Decision
    _permit: Word
    _halt: Latch
    _risk_epoch: Word
    _keeper: OrderKeeper
    _budget: VenueBudget
    _throttle: PlaceThrottle
    _events: EntryEvents
    _by_rest: RestEntry
    _encoders: dict[int, OrderTextEncoder]
    _request_id: int
    _age_ns_max: int
    _guarded_ns: int
    _tended_ns: int
    _stop_ns: int
    _was_halted: bool
    _has_users: bool
    @property
    def _session(self) -> OrderSession: ...
    @_session.setter
    def _session(self, session: OrderSession) -> None: ...
    @property
    def _rest(self) -> RestClient: ...
    @_rest.setter
    def _rest(self, rest: RestClient) -> None: ...
    @property
    def _resolver(self) -> OrderResolver: ...
    @_resolver.setter
    def _resolver(self, resolver: OrderResolver) -> None: ...
    def do_work(self, now_ns: int) -> int: ...
    def look_ahead(self, now_ns: int) -> None: ...
    def _take_decisions(self, now_ns: int) -> int: ...
    def _consume(self, decision: Decision, now_ns: int) -> None: ...
    def _fence(self, decision: Decision | Grant) -> tuple[Reason, int]: ...
    def _objection(self, decision: Decision | Grant, now_ns: int) -> Reason: ...
    @property
    def _is_open(self) -> bool: ...
