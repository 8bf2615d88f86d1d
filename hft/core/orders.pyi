"""Order state: one order as a join of everything that speaks of it."""

from typing import Self

from typing_extensions import disjoint_base

from hft.core.generated.views import Decision, Journal
from hft.core.generated.views import Order as OrderRow
from hft.core.trade_memory import TradeMemory
from hft.records import Action, ExecKind, OrderState, OrderType, Reason, Side, Tif

def kind_of(
    side: int,
    order_type: int,
    tif: int,
    is_post_only: bool | int,
    is_reduce_only: bool | int,
    is_dated: bool,
) -> int: ...

@disjoint_base
class Order:
    order_id: int
    venue_order_id: int
    instrument_id: int
    strategy_id: int
    good_till_s: int
    price_e8: int
    qty_e8: int
    cum_qty_e8: int
    leaves_qty_e8: int
    traded_qty_e8: int
    pending_price_e8: int
    pending_qty_e8: int
    decision_seq: int
    executions_seq: int
    journal_seq: int
    send_ns: int
    ack_ns: int
    request_ns: int
    heard_ns: int
    terms_ns: int
    origin_ns: int
    row: int
    is_post_only: bool
    is_reduce_only: bool
    is_acknowledged: bool
    is_overfilled: bool
    trades: TradeMemory
    cancel_reason: Reason
    def __init__(
        self,
        order_id: int,
        *,
        instrument_id: int,
        strategy_id: int,
        side: Side,
        price_e8: int,
        qty_e8: int,
        order_type: OrderType = ...,
        tif: Tif = ...,
        is_post_only: bool = False,
        is_reduce_only: bool = False,
        good_till_s: int = 0,
        decision_seq: int = 0,
        origin_ns: int = 0,
        reason: Reason = ...,
        trades: TradeMemory | None = None,
    ) -> None: ...
    @staticmethod
    def of_decision(view: Decision, trades: TradeMemory) -> Order: ...
    @classmethod
    def adopt(
        cls,
        *,
        order_id: int,
        venue_order_id: int,
        instrument_id: int,
        side: Side,
        price_e8: int,
        qty_e8: int,
        order_type: OrderType,
        tif: Tif,
        is_post_only: bool,
        is_reduce_only: bool,
        reason: Reason,
        cum_qty_e8: int = 0,
        venue_ns: int = 0,
        trades: TradeMemory | None = None,
    ) -> Self: ...
    @property
    def side(self) -> Side: ...
    @property
    def order_type(self) -> OrderType: ...
    @property
    def tif(self) -> Tif: ...
    @property
    def state(self) -> OrderState: ...
    @property
    def pending(self) -> Action: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def kind(self) -> int: ...
    @property
    def is_ours(self) -> bool: ...
    @property
    def is_adopted(self) -> bool: ...
    @property
    def is_amend_pending(self) -> bool: ...
    @property
    def is_terminal(self) -> bool: ...
    @property
    def is_working(self) -> bool: ...
    @property
    def is_pending(self) -> bool: ...
    @property
    def missing_qty_e8(self) -> int: ...
    @property
    def worst_case_qty_e8(self) -> int: ...
    def place_sent(self, now_ns: int) -> ExecKind: ...
    def dropped(self, reason: Reason) -> ExecKind: ...
    def amend_sent(self, price_e8: int, qty_e8: int, now_ns: int) -> ExecKind: ...
    def cancel_sent(self, now_ns: int, reason: Reason = ...) -> ExecKind: ...
    def acknowledge(self, venue_order_id: int, now_ns: int) -> ExecKind: ...
    def fill(
        self,
        trade_id: int,
        last_qty_e8: int,
        last_price_e8: int,
        cum_qty_e8: int = 0,
        *,
        is_final: bool = False,
    ) -> ExecKind: ...
    def apply_cum(self, cum_qty_e8: int) -> ExecKind: ...
    def trades_complete(self, traded_qty_e8: int) -> bool: ...
    def canceled(self, cum_qty_e8: int = 0, reason: Reason = ...) -> ExecKind: ...
    def expired(self, cum_qty_e8: int = 0, reason: Reason = ...) -> ExecKind: ...
    def rejected(self, reason: Reason) -> ExecKind: ...
    def amended(
        self, price_e8: int, qty_e8: int, venue_ns: int = 0, *, is_event: bool = False
    ) -> ExecKind: ...
    def amend_rejected(self, reason: Reason) -> ExecKind: ...
    def cancel_rejected(self, reason: Reason) -> ExecKind: ...
    def unresolved(self, now_ns: int) -> ExecKind: ...
    def never_accepted(self) -> ExecKind: ...
    def from_query(
        self,
        state: OrderState,
        cum_qty_e8: int,
        price_e8: int,
        qty_e8: int,
        venue_order_id: int,
        *,
        now_ns: int,
        venue_ns: int = 0,
    ) -> ExecKind: ...
    def fill_row(self, view: OrderRow) -> None: ...
    @classmethod
    def from_row(cls, view: OrderRow, trades: TradeMemory | None = None) -> Self: ...
    def restore(self, state: OrderState, view: Journal) -> None: ...
