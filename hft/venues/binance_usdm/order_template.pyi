from collections.abc import Callable

from typing_extensions import disjoint_base

from hft.core.orders import Order
from hft.errors import UsageError

@disjoint_base
class Template:
    @property
    def json(self) -> bytes: ...
    @property
    def signed(self) -> bytes: ...
    def __init__(
        self,
        json: bytes,
        signed: bytes,
        price_places: int,
        qty_places: int,
        sign: Callable[[bytes], str] | None = None,
    ) -> None: ...
    def text(
        self,
        request_id: int,
        order_id: int,
        price_e8: int,
        qty_e8: int,
        timestamp_ms: int,
        date_ms: int = 0,
    ) -> bytes: ...

@disjoint_base
class PlaceTexts:
    @property
    def _places(self) -> dict[int, Template]: ...
    def __init__(self, places: dict[int, Template]) -> None: ...
    def place_order(self, request_id: int, order: Order, timestamp_ms: int) -> bytes: ...

def no_such_order(side: int, order_type: int, tif: int, is_post_only: int) -> UsageError: ...
