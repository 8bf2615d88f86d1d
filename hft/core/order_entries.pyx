"""Orders as records: what is written into the journal and into the ``executions`` ring.

Each function fills a whole record in one go, from C to C, and returns 0. Reads and writes memory,
nothing else.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from hft.core.generated.records cimport hft_execution, hft_journal
from hft.core.generated.views cimport Execution, Journal
from hft.core.orders cimport Order

from hft import graph, records

cdef extern from *:
    """
    #include <stdint.h>

    #define HFT_FOLDED_BYTES 112

    #if defined(__x86_64__)
    #include <immintrin.h>

    static int hft_can_fold(void) {
        return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    }

    /* CRC-32 of so many bytes from a register of 0, without tables: the text as a polynomial over
       GF(2) is folded onto its last 16 bytes, these to 8 and to 4, and the rest is Barrett's
       reduction. Method and constants: V. Gopal and others, "Fast CRC Computation for Generic
       Polynomials Using PCLMULQDQ Instruction", Intel 2009, bits reversed. */
    __attribute__((target("pclmul,sse4.1")))
    static uint32_t hft_folded_crc(const uint8_t *text) {
        const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
        const __m128i by_4 = _mm_set_epi64x(0, 0x163cd6124);
        const __m128i polynomial = _mm_set_epi64x(0x1f7011641, 0x1db710641);
        const __m128i halves = _mm_setr_epi32(~0, 0, ~0, 0);
        __m128i rest = _mm_loadu_si128((const __m128i *) text), part;
        int at;
        for (at = 16; at < HFT_FOLDED_BYTES; at += 16) {
            part = _mm_clmulepi64_si128(rest, by_16, 0x00);
            rest = _mm_clmulepi64_si128(rest, by_16, 0x11);
            rest = _mm_xor_si128(_mm_xor_si128(rest, part),
                                 _mm_loadu_si128((const __m128i *) (text + at)));
        }
        part = _mm_clmulepi64_si128(rest, by_16, 0x10);
        rest = _mm_xor_si128(_mm_srli_si128(rest, 8), part);
        part = _mm_clmulepi64_si128(_mm_and_si128(rest, halves), by_4, 0x00);
        rest = _mm_xor_si128(_mm_srli_si128(rest, 4), part);
        part = _mm_clmulepi64_si128(_mm_and_si128(rest, halves), polynomial, 0x10);
        part = _mm_clmulepi64_si128(_mm_and_si128(part, halves), polynomial, 0x00);
        return (uint32_t) _mm_extract_epi32(_mm_xor_si128(rest, part), 1);
    }
    #else
    static int hft_can_fold(void) { return 0; }
    static uint32_t hft_folded_crc(const uint8_t *text) { return 0; }
    #endif
    """
    enum:
        FOLDED_BYTES "HFT_FOLDED_BYTES"
    bint can_fold "hft_can_fold"() noexcept nogil
    uint32_t folded_crc "hft_folded_crc"(const uint8_t *text) noexcept nogil

cdef enum:
    KIND_EXECUTION = 12
    KIND_JOURNAL = 14
    MODE_LIVE = 1
    RING_DECISIONS = 4
    RING_JOURNAL = 7
    # What a checksum covers of an entry: all but the stamp, the publish time and itself.
    BODY_BEGIN = 16
    CRC_BEGIN = 116
    CRC_END = 120
    ENTRY_END = 128

assert (KIND_EXECUTION, KIND_JOURNAL) == (records.Kind.EXECUTION, records.Kind.JOURNAL)
assert (MODE_LIVE, RING_DECISIONS, RING_JOURNAL) == (
    records.Mode.LIVE, graph.RingId.DECISIONS, graph.RingId.JOURNAL)
assert FOLDED_BYTES == 4 + CRC_BEGIN - BODY_BEGIN + ENTRY_END - CRC_END
assert (CRC_BEGIN, ENTRY_END) == (records.JOURNAL.dtype.fields["crc"][1], records.SLOT_BYTES)

cdef uint32_t CRC_POLYNOMIAL = 0xEDB88320  # CRC-32 as zlib has it, bits reversed
cdef uint32_t crc_table[8][256]
cdef uint32_t CRC_START = 0xFFFFFFFF
cdef bint FOLDS = can_fold()


cdef void make_crc_table() noexcept nogil:
    """Eight tables, so that eight bytes are taken at a time."""
    cdef uint32_t value
    cdef int byte, bit, slice_
    for byte in range(256):
        value = byte
        for bit in range(8):
            value = value >> 1 ^ (CRC_POLYNOMIAL if value & 1 else 0)
        crc_table[0][byte] = value
    for slice_ in range(1, 8):
        for byte in range(256):
            value = crc_table[slice_ - 1][byte]
            crc_table[slice_][byte] = value >> 8 ^ crc_table[0][value & 255]


make_crc_table()


cdef uint32_t crc_of(uint32_t crc, const uint8_t *data, size_t length) noexcept nogil:
    cdef uint64_t word
    while length >= 8:
        word = (<const uint64_t *> data)[0] ^ crc
        crc = (
            crc_table[7][word & 255] ^ crc_table[6][word >> 8 & 255]
            ^ crc_table[5][word >> 16 & 255] ^ crc_table[4][word >> 24 & 255]
            ^ crc_table[3][word >> 32 & 255] ^ crc_table[2][word >> 40 & 255]
            ^ crc_table[1][word >> 48 & 255] ^ crc_table[0][word >> 56]
        )
        data += 8
        length -= 8
    while length:
        crc = crc >> 8 ^ crc_table[0][(crc ^ data[0]) & 255]
        data += 1
        length -= 1
    return crc


cdef uint32_t table_crc(const uint8_t *slot) noexcept nogil:
    cdef uint32_t crc = crc_of(CRC_START, slot + BODY_BEGIN, CRC_BEGIN - BODY_BEGIN)
    return crc_of(crc, slot + CRC_END, ENTRY_END - CRC_END) ^ CRC_START


cdef uint32_t slot_crc(const uint8_t *slot) noexcept nogil:
    """``entry_crc`` of a whole slot; the tables would take a quarter of the nearest cache."""
    cdef uint8_t text[FOLDED_BYTES]
    cdef int i
    if not FOLDS:
        return table_crc(slot)
    # What the register starts with is added to the first four bytes, and zeros in front of these
    # change nothing.
    memset(text, 0, 4)
    memcpy(text + 4, slot + BODY_BEGIN, CRC_BEGIN - BODY_BEGIN)
    memcpy(text + 4 + CRC_BEGIN - BODY_BEGIN, slot + CRC_END, ENTRY_END - CRC_END)
    for i in range(4, 8):
        text[i] ^= 0xFF
    return folded_crc(text) ^ CRC_START


def entry_crc(buffer, *, bint by_table=False) -> int:
    """CRC-32 of a journal slot without the stamp, the publish time and the CRC itself.

    ``by_table``: as on a processor that cannot multiply polynomials; the result is the same.
    """
    cdef Py_buffer view
    cdef const uint8_t *slot
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        if view.len != ENTRY_END:
            raise ValueError(f"a journal slot has {ENTRY_END} bytes, not {view.len}")
        slot = <const uint8_t *> view.buf
        return table_crc(slot) if by_table else slot_crc(slot)
    finally:
        PyBuffer_Release(&view)


cpdef int fill_entry(Journal view, Order order, int action) except -1:
    """Everything a journal entry says of an order; what it is about follows with ``head_entry``."""
    cdef hft_journal *entry = <hft_journal *> view.data
    memset(entry, 0, sizeof(hft_journal))
    entry.instrument_id, entry.cause_seq = order.instrument_id, order.decision_seq
    entry.order_id, entry.venue_order_id = order.order_id, order.venue_order_id
    entry.price_e8, entry.qty_e8 = order.price_e8, order.qty_e8
    entry.cum_qty_e8, entry.order_state = order.cum_qty_e8, order.state_code
    entry.strategy_id, entry.side = order.strategy_id, order.side_code
    entry.order_type, entry.tif = order.order_type_code, order.tif_code
    entry.is_post_only, entry.is_reduce_only = order.is_post_only, order.is_reduce_only
    entry.action, entry.good_till_s = action, order.good_till_s


cpdef int head_entry(
    Journal view, int source, int journal_kind, int exec_kind, int reason
) except -1:
    """Who writes a journal entry, and what it is about."""
    cdef hft_journal *entry = <hft_journal *> view.data
    entry.kind, entry.mode = KIND_JOURNAL, MODE_LIVE
    entry.source, entry.cause_ring = source, RING_DECISIONS
    entry.journal_kind, entry.exec_kind, entry.reason = journal_kind, exec_kind, reason


cpdef int head_record(
    Execution view, int source, int flags, int64_t origin_ns, uint64_t journal_seq
) except -1:
    """An execution record of nothing yet, which follows from a journal entry."""
    cdef hft_execution *record = <hft_execution *> view.data
    memset(record, 0, sizeof(hft_execution))
    record.kind, record.mode, record.source = KIND_EXECUTION, MODE_LIVE, source
    record.flags, record.origin_ns = flags, origin_ns
    record.cause_ring, record.cause_seq = RING_JOURNAL, journal_seq


cpdef int fill_record(
    Execution view, Order order, int exec_kind, int64_t venue_ns, int reason
) except -1:
    """How an order stands, and what has happened to it."""
    cdef hft_execution *record = <hft_execution *> view.data
    record.instrument_id, record.order_id = order.instrument_id, order.order_id
    record.venue_order_id = order.venue_order_id
    record.price_e8, record.qty_e8 = order.price_e8, order.qty_e8
    record.cum_qty_e8, record.leaves_qty_e8 = order.cum_qty_e8, order.leaves_qty_e8
    record.venue_ns, record.exec_kind, record.side = venue_ns, exec_kind, order.side_code
    record.order_state, record.reason = order.state_code, reason
