"""Orders as records, for compiled callers: whoever calls has a view and an order in hand."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hft.core.generated.views cimport Execution, Journal
from hft.core.orders cimport Order


cdef uint32_t slot_crc(const uint8_t *slot) noexcept nogil
cpdef int fill_entry(Journal view, Order order, int action) except -1
cpdef int head_entry(
    Journal view, int source, int journal_kind, int exec_kind, int reason) except -1
cpdef int head_record(
    Execution view, int source, int flags, int64_t origin_ns, uint64_t journal_seq) except -1
cpdef int fill_record(
    Execution view, Order order, int exec_kind, int64_t venue_ns, int reason) except -1
