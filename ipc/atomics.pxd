"""The functions of ``atomics.h``."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "atomics.h" nogil:
    uint64_t load_relaxed(const uint64_t* word)
    uint64_t load_acquire(const uint64_t* word)
    void store_relaxed(uint64_t* word, uint64_t value)
    void store_release(uint64_t* word, uint64_t value)
    uint64_t fetch_add(uint64_t* word, uint64_t value)
    bint compare_and_swap(uint64_t* word, uint64_t expected, uint64_t value)
    uint32_t load_relaxed_u32(const uint32_t* word)
    void store_relaxed_u32(uint32_t* word, uint32_t value)
    uint32_t exchange_u32(uint32_t* word, uint32_t value)
    void fence_acquire()
    void fence_release()
    void fence_seq_cst()
    void cpu_pause()
    int64_t monotonic_ns()
    void copy_bytes(void* to, const void* source, size_t count)
    void prefetch_line(const void* line)
    void prefetch_bytes(const void* start, size_t size)
