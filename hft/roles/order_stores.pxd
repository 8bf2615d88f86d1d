"""Declarations of order_stores.pyx: the books for compiled callers."""
from libc.stdint cimport int64_t, uint64_t

from hft.core.generated.views cimport Execution, Journal
from hft.core.generated.views cimport Order as OrderRow
from hft.core.order_table cimport OrderTable
from hft.core.orders cimport Order
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingWriter
from ipc.state_cell cimport CellWriter
from ipc.words cimport Word


cdef class OrderStores:
    cdef public OrderTable table
    cdef public PageStores _page
    cdef public int _source
    cdef public RingWriter _executions
    cdef public RingWriter _journal
    cdef public CellWriter _rows
    cdef public object _execution_buffer
    cdef public object _entry_buffer
    cdef public Execution _execution
    cdef public Journal _entry
    cdef public OrderRow _row
    cdef public Word _journal_cursor
    cdef public uint64_t _journal_seq
    cdef public uint64_t _free_min
    cdef public object _outbox
    cdef public bint _calls_by_name

    cdef bint is_crowded(self) except -1
    cdef int begin_place(self, Order order) except -1
    cdef int note_sent(self, Order order, int64_t now_ns, int64_t origin_ns) except -1
    cdef int append_entry(self, int kind, int exec_kind, int reason) except -1
    cdef int store_row(self, Order order) except -1
    cdef int offer_execution(self) except -1
    cdef int move_cursor(self) except -1
