"""The three stores of ``OrderKeeper``, and what becomes of a request in them, compiled.

The steps are methods that can be replaced: the ones that Python calls call each other by name. The
way of a new order goes from C to C, unless a step is not ours (``_calls_by_name``).
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from hft.core.generated.records cimport hft_journal, hft_order
from hft.core.generated.views cimport Execution, Journal
from hft.core.generated.views cimport Order as OrderRow
from hft.core.order_entries cimport fill_entry, fill_record, head_entry, head_record, slot_crc
from hft.core.order_numbers cimport ACTION_PLACE, FIRST_TERMINAL
from hft.core.order_table cimport OrderTable
from hft.core.orders cimport Order
from ipc.atomics cimport load_acquire, prefetch_bytes, store_release
from ipc.ring cimport RingWriter

from collections import deque

from hft import counters, graph, records
from hft.core.order_table import OrderTable as NewTable
from hft.records import Action, ExecKind, Flag, JournalKind, Reason

cdef enum:
    KIND_ORDER = 23
    MODE_LIVE = 1
    LAST = 1
    ENTRY_PLACE = 2
    EXEC_SENT = 1
    REASON_NONE = 0

assert (KIND_ORDER, MODE_LIVE, LAST) == (records.Kind.ORDER, records.Mode.LIVE, Flag.LAST)
assert (ENTRY_PLACE, EXEC_SENT, REASON_NONE) == (JournalKind.PLACE, ExecKind.SENT, Reason.NONE)

OUTBOX_MAX = 4_096
cdef uint64_t JOURNALLED = counters.JOURNALLED.id
cdef uint64_t BACK_PRESSURE = counters.BACK_PRESSURE.id
cdef Py_ssize_t WAITING_MAX = OUTBOX_MAX
cdef object NONE = Reason.NONE
cdef object SILENT = ExecKind.UNKNOWN
cdef object SENT = ExecKind.SENT
cdef object PLACE = Action.PLACE
cdef dict REQUESTS = {
    Action.PLACE: JournalKind.PLACE,
    Action.AMEND: JournalKind.AMEND,
    Action.CANCEL: JournalKind.CANCEL,
}


class BooksError(RuntimeError):
    """The books cannot be kept or read: the process has to end."""


cdef class OrderStores:
    """Journal, ``executions`` ring and ``orders`` table of the one who writes them.

    ``_calls_by_name``: every step is called by its name, as one was replaced. Looked at once; who
    replaces a step of a keeper that exists sets it.
    """

    def __cinit__(self, *_arguments, **_named):
        self._calls_by_name = any(getattr(type(self), name) is not step for name, step in STEPS)

    def __init__(self, context):
        self._page, self._source = context.page, context.source
        self._executions, self._execution_buffer = context.ring_writer("executions")
        self._journal, self._entry_buffer = context.ring_writer("journal")
        self._rows, row_buffer = context.cell_writer("orders")
        self._execution = Execution(self._execution_buffer)
        self._entry = Journal(self._entry_buffer)
        self._row = OrderRow(row_buffer)
        self._journal_cursor = context.page.cursor(graph.cursor_index("journal"))
        self._free_min = graph.ring("executions").capacity // 2
        self._outbox = deque()
        self.table = NewTable(graph.ORDER_ROWS_MAX)

    def begin(self, Order order not None, action, int64_t price_e8, int64_t qty_e8):
        """Journal a request about to leave, and store the row: before the first byte."""
        cdef hft_journal *entry = <hft_journal *> self._entry.data
        fill_entry(self._entry, order, action)
        entry.price_e8, entry.qty_e8 = price_e8, qty_e8
        self._append(REQUESTS[action], SENT if action is PLACE else SILENT, NONE)
        self._store(order)

    def sent(self, Order order not None, *, now_ns, origin_ns):
        """Publish that a new order left."""
        self._publish(order, SENT, now_ns=now_ns, origin_ns=origin_ns)
        self.settle()

    def settle(self):
        """What is journalled, published and stored: a successor need not look at it again."""
        self.move_cursor()

    cdef int move_cursor(self) except -1:
        cdef uint64_t settled_seq = self._journal_seq
        if self._outbox:
            settled_seq = self._outbox[0][0] - 1
        if settled_seq > load_acquire(self._journal_cursor.word):
            store_release(self._journal_cursor.word, settled_seq)
        return 0

    def flush(self):
        """Publish what waited for a slow reader; returns how many records."""
        cdef int count = 0
        while self._outbox:
            self._execution_buffer[:] = self._outbox[0][1]
            if not self._executions.offer():
                break
            self._outbox.popleft()
            count += 1
        if count:
            self.settle()
        return count

    @property
    def is_congested(self):
        """True while intake must pause: half of the ring is unread, or records wait."""
        return self.is_crowded()

    cdef bint is_crowded(self) except -1:
        cdef uint64_t least = self._free_min
        return bool(self._outbox) or self._executions.room(least) < least

    # -- a new order, from C to C ---------------------------------------------------------------

    cdef int begin_place(self, Order order) except -1:
        """``begin`` of a new order."""
        if self._calls_by_name:
            self.begin(order, PLACE, order.price_e8, order.qty_e8)
            return 0
        fill_entry(self._entry, order, ACTION_PLACE)
        self.append_entry(ENTRY_PLACE, EXEC_SENT, REASON_NONE)
        return self.store_row(order)

    cdef int note_sent(self, Order order, int64_t now_ns, int64_t origin_ns) except -1:
        """``sent``."""
        if self._calls_by_name:
            self.sent(order, now_ns=now_ns, origin_ns=origin_ns)
            return 0
        head_record(
            self._execution, self._source, LAST, origin_ns or now_ns, self._journal_seq)
        fill_record(self._execution, order, EXEC_SENT, 0, REASON_NONE)
        # No position moves yet: to wake account would take the core away from whoever reads the
        # order there, and a system call from the order that comes next.
        if self._outbox or not self._executions.offer_record_quietly(self._executions.record):
            self.offer_execution()
        return self.move_cursor()

    def look_ahead(self):
        """Bring into the caches what the next order will be written into. No effect."""
        cdef OrderTable table = self.table
        self._journal.fetch_next()
        self._executions.fetch_next()
        prefetch_bytes(self._journal_cursor.word, sizeof(uint64_t))
        self.is_crowded()
        table.look_ahead()
        prefetch_bytes(<const void *> table.spare, sizeof(Order))
        if table.free_rows:
            self._rows.fetch(table.next_row)

    # -- one store each -------------------------------------------------------------------------

    def _append(self, kind, exec_kind, reason):
        self.append_entry(kind, exec_kind, reason)

    cdef int append_entry(self, int kind, int exec_kind, int reason) except -1:
        head_entry(self._entry, self._source, kind, exec_kind, reason)
        (<hft_journal *> self._entry.data).crc = slot_crc(<const uint8_t *> self._entry.data)
        self._journal.offer_record(self._journal.record)
        self._page.add(JOURNALLED, 1)
        self._journal_seq = self._journal.seq
        return 0

    def _publish(
        self, Order order not None, exec_kind, *, int64_t now_ns, fill=None, int64_t venue_ns=0,
        reason=NONE, int64_t origin_ns=0, int flags=0,
    ):
        cdef Execution record = self._execution
        self._head(record, flags, origin_ns or now_ns)
        fill_record(record, order, exec_kind, venue_ns, reason)
        if fill is not None:
            record.trade_id, record.is_maker = fill.trade_id, fill.is_maker
            record.price_e8, record.qty_e8 = fill.price_e8, fill.qty_e8
            record.fee_e8, record.fee_asset_id = fill.fee_e8, fill.fee_asset_id
        self._send_record()

    def _head(self, Execution record not None, int flags, int64_t origin_ns):
        """An empty record that follows from the newest journal entry."""
        head_record(record, self._source, LAST | flags, origin_ns, self._journal_seq)

    def _send_record(self):
        self.offer_execution()

    cdef int offer_execution(self) except -1:
        if not self._outbox and self._executions.offer_record(self._executions.record):
            return 0
        self._page.add(BACK_PRESSURE, 1)
        if len(self._outbox) >= WAITING_MAX:
            raise BooksError(f"{OUTBOX_MAX} execution records wait for account or risk")
        self._outbox.append((self._execution.cause_seq, bytes(self._execution_buffer)))
        return 0

    def _store(self, Order order not None):
        """Write the order's row, or free it when nothing of the order is missing any more."""
        self.store_row(order)

    cdef int store_row(self, Order order) except -1:
        cdef hft_order *record = <hft_order *> self._row.data
        cdef RingWriter executions = self._executions
        cdef int row = order.row
        if row < 0:
            return 0  # a late fill of an order that is closed already
        memset(record, 0, sizeof(hft_order))
        order.journal_seq = self._journal_seq
        order.executions_seq = executions.seq + executions.staged
        if order.state_code >= FIRST_TERMINAL and order.cum_qty_e8 == order.traded_qty_e8:
            self.table.free_row(order.order_id)
        else:
            order.write_row(record)
        record.kind, record.mode, record.source = KIND_ORDER, MODE_LIVE, self._source
        if row >= self._rows.capacity:
            self._rows.write(row)  # which raises
        self._rows.write_value(row, <const char *> record)
        return 0


# What of the way of a new order can be replaced, and what stands there otherwise.
cdef tuple STEPS = tuple(
    (name, getattr(OrderStores, name))
    for name in ("begin", "sent", "settle", "_append", "_publish", "_send_record", "_store")
)
