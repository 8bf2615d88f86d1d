"""Declarations of page_stores.pyx: the stores for compiled callers, which check nothing."""

from libc.stdint cimport int64_t, uint64_t


cdef enum:
    NOTES = 32  # durations that a page holds back at most


cdef struct Note:
    uint64_t histogram
    int64_t value


cdef class PageStores:
    cdef uint64_t* beat_word
    cdef uint64_t* state_word
    cdef uint64_t* pending_words
    cdef uint64_t* gauges
    cdef uint64_t* counters
    cdef uint64_t* maxima
    cdef uint64_t* buckets
    cdef Note[NOTES] notes
    cdef int note_count
    cdef bint writable
    cdef readonly object segment
    cdef object hold

    # For a page that is mapped for writing, and an index that exists.
    cdef void store_beat(self, int64_t now_ns) noexcept nogil
    cdef void add(self, uint64_t index, uint64_t n) noexcept nogil
    cdef void store_gauge(self, uint64_t index, int64_t value) noexcept nogil
    cdef void add_ns(self, uint64_t histogram, int64_t value) noexcept nogil
    cdef void note_ns(self, uint64_t histogram, int64_t value) noexcept nogil
    cdef void add_noted(self) noexcept nogil
    cdef uint64_t* batch(self, uint64_t slot) noexcept nogil
    cdef void begin_batch(
        self, uint64_t slot, uint64_t input_seq, uint64_t output_seq) noexcept nogil
    cdef int commit_batch(self, uint64_t slot, uint64_t input_seq) except -1
    cdef check(self, uint64_t index, uint64_t count, str what)
