from collections import deque
from typing import Any, Final

from typing_extensions import disjoint_base

from hft.core.generated.views import Execution, Journal
from hft.core.generated.views import Order as OrderRow
from hft.core.order_table import OrderTable
from hft.core.orders import Order
from hft.records import Action, ExecKind, Flag, JournalKind, Reason
from hft.roles.context import Context
from ipc import CellWriter, RingWriter, RolePage
from ipc.words import Cursor

OUTBOX_MAX: Final[int]
"""Execution records that wait for a slow reader; more means that the books cannot be kept."""

class BooksError(RuntimeError): ...

@disjoint_base
class OrderStores:
    table: OrderTable
    _page: RolePage
    _source: int
    _executions: RingWriter
    _journal: RingWriter
    _rows: CellWriter
    _execution_buffer: bytearray
    _entry_buffer: bytearray
    _execution: Execution
    _entry: Journal
    _row: OrderRow
    _journal_cursor: Cursor
    _journal_seq: int
    _free_min: int
    _outbox: deque[tuple[int, bytes]]
    _calls_by_name: bool
    def __init__(self, context: Context) -> None: ...
    def begin(self, order: Order, action: Action, price_e8: int, qty_e8: int) -> None: ...
    def sent(self, order: Order, *, now_ns: int, origin_ns: int) -> None: ...
    def settle(self) -> None: ...
    def look_ahead(self) -> None: ...
    def flush(self) -> int: ...
    @property
    def is_congested(self) -> bool: ...
    def _append(self, kind: JournalKind, exec_kind: ExecKind, reason: Reason) -> None: ...
    def _publish(
        self,
        order: Order,
        exec_kind: ExecKind,
        *,
        now_ns: int,
        fill: Any = None,
        venue_ns: int = 0,
        reason: Reason = ...,
        origin_ns: int = 0,
        flags: Flag | int = 0,
    ) -> None: ...
    def _head(self, record: Execution, flags: Flag | int, origin_ns: int) -> None: ...
    def _send_record(self) -> None: ...
    def _store(self, order: Order) -> None: ...
