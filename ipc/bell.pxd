"""A doorbell's writer side: the check is an inline leaf, made after every publication."""

from libc.stdint cimport uint32_t, uint64_t

from ipc.atomics cimport exchange_u32, load_relaxed_u32


cdef extern from "wake.h" nogil:
    void futex_wake(uint32_t* word)
    void fifo_wake(int* descriptor, const char* path)


cdef enum:
    AWAKE = 0
    PARKED_FUTEX = 1
    PARKED_FIFO = 2


cdef struct BellState:
    uint32_t* word
    int fifo
    const char* path


cdef inline void ring_if_parked(BellState* bell) noexcept nogil:
    """Wake the bell's process if it is parked. The caller has published and fenced."""
    cdef uint32_t parked
    if load_relaxed_u32(bell.word) == AWAKE:
        return
    # The exchange makes one of several writers the one that wakes; what counts is the state it
    # took out, as the reader may have changed its way of parking since the load.
    parked = exchange_u32(bell.word, AWAKE)
    if parked == PARKED_FUTEX:
        futex_wake(bell.word)
    elif parked == PARKED_FIFO and bell.path != NULL:
        fifo_wake(&bell.fifo, bell.path)


cdef class Bell:
    cdef BellState state
    cdef uint64_t* posted
    cdef bytes path
    cdef object hold
