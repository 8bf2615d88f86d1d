from typing_extensions import Buffer

from hft.core.generated.views import Execution, Journal
from hft.core.orders import Order
from hft.records import Action, ExecKind, Flag, JournalKind, Reason

def entry_crc(buffer: Buffer, *, by_table: bool = False) -> int: ...
def fill_entry(view: Journal, order: Order, action: Action) -> int: ...
def head_entry(
    view: Journal, source: int, journal_kind: JournalKind, exec_kind: ExecKind, reason: Reason
) -> int: ...
def head_record(
    view: Execution, source: int, flags: Flag | int, origin_ns: int, journal_seq: int
) -> int: ...
def fill_record(
    view: Execution, order: Order, exec_kind: ExecKind, venue_ns: int, reason: Reason
) -> int: ...
