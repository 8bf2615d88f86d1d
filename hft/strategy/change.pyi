from typing import final

from hft.records import Action, OrderType, Side, Tif

@final
class Change:
    side: Side
    action: Action
    order_type: OrderType
    tif: Tif
    price_e8: int
    qty_e8: int
    order_id: int
    good_till_s: int
    is_post_only: bool
    is_reduce_only: bool
    def __init__(self, side: Side, action: Action = ...) -> None: ...

@final
class Inventory:
    position_e8: int
    executions_seq: int
    adjusted_e8: int
