"""The reader's side of the doorbell: going to sleep without missing the last word.

::

    reader                                  writer
    word = parked                           stamp = n (release)
    full fence                              full fence
    look again: nothing                     word parked? -> exchange with awake, wake
    sleep while word is parked

Whatever the order, one of the two sees the other: without both fences each may look before its own
store is out, and the reader sleeps on a record. There is one word and it alone decides: the kernel
compares it once more before it lets the process sleep. Every sleep is bounded all the same, because
a writer can die between its exchange and the wake.
"""

import os

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from posix.unistd cimport close, read

from ipc.atomics cimport (
    cpu_pause,
    fence_seq_cst,
    load_acquire,
    load_relaxed_u32,
    monotonic_ns,
    store_relaxed_u32,
)
from ipc.bell cimport AWAKE, PARKED_FIFO, PARKED_FUTEX
from ipc.ring cimport RingPosition, RingReader, has_record
from ipc.words cimport Word

from ipc import layout
from ipc.bell import bell_offset, make_fifo

cdef int64_t PARK_NS_MAX = 100_000_000
cdef int LOOKS_PER_CLOCK_READ = 16

cdef enum:
    FIFO_READ_BYTES = 4096


@cython.final
cdef class Parker:
    """Puts this process to sleep until one of its rings, or a word, has something new.

    Args:
        segment: The bells, mapped for writing.
        index: This process's own bell.
        readers: The rings it reads; all are looked at again before it sleeps.
        extra_words: Words whose change counts as work too (a permit, a cell's version).
        fifo_path: For event loops: made if need be, opened, and watched through ``fifo_fd``.

    Raises:
        ReadOnlyError: The segment is mapped for reading.
    """

    def __cinit__(self):
        self.fifo_fd = -1

    def __init__(self, segment, Py_ssize_t index, readers=(), extra_words=(), fifo_path=None):
        segment.require_writable()
        cdef uintptr_t address = segment.address + <size_t> bell_offset(segment, index)
        self.word = <uint32_t*> address
        self.posted = <uint64_t*> (address + <size_t> layout.BELL_POSTED_OFFSET)
        self.posted_seen = ~load_acquire(self.posted)  # the first look always finds something
        self.hold = (memoryview(segment.buffer), tuple(readers), tuple(extra_words))
        self.positions = <RingPosition**> PyMem_Calloc(len(readers) + 1, sizeof(RingPosition*))
        self.words = <uint64_t**> PyMem_Calloc(len(extra_words) + 1, sizeof(uint64_t*))
        self.words_seen = <uint64_t*> PyMem_Calloc(len(extra_words) + 1, sizeof(uint64_t))
        if self.positions == NULL or self.words == NULL or self.words_seen == NULL:
            raise MemoryError
        cdef RingReader reader
        for reader in readers:
            self.positions[self.position_count] = &reader.position
            self.position_count += 1
        cdef Word word
        for word in extra_words:
            self.words[self.word_count] = word.word
            self.words_seen[self.word_count] = load_acquire(word.word)
            self.word_count += 1
        # A predecessor may have died asleep: nobody is to wake what is awake.
        store_relaxed_u32(self.word, AWAKE)
        if fifo_path is not None:
            make_fifo(fifo_path)
            # For reading and writing, so that it never reports the end of the file and writers
            # keep their descriptors across a restart of this process.
            self.fifo_fd = os.open(fifo_path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self.drain_fifo()

    def __dealloc__(self):
        PyMem_Free(self.positions)
        PyMem_Free(self.words)
        PyMem_Free(self.words_seen)
        if self.fifo_fd >= 0:
            close(self.fifo_fd)

    cdef bint look(self) noexcept nogil:
        cdef Py_ssize_t index
        cdef uint64_t value
        cdef bint found = False
        for index in range(self.position_count):
            if has_record(self.positions[index]):
                return True
        for index in range(self.word_count):
            value = load_acquire(self.words[index])
            if value != self.words_seen[index]:
                self.words_seen[index] = value
                found = True
        value = load_acquire(self.posted)
        if value != self.posted_seen:
            self.posted_seen = value
            found = True
        return found

    cdef bint raise_word(self, uint32_t state) noexcept nogil:
        """Declare this process asleep, unless there is work. True: it may sleep."""
        store_relaxed_u32(self.word, state)
        fence_seq_cst()  # the word before the second look; pairs with the fence in RingWriter.show
        if self.look():
            store_relaxed_u32(self.word, AWAKE)
            return False
        return True

    def park(self, int64_t timeout_ns) -> bool:
        """Sleep until there is work, at most ``timeout_ns`` and never more than 100 ms.

        True: woken, or there was work. False: the time is over. A signal ends the sleep early.
        """
        cdef bint woken = True
        if timeout_ns > PARK_NS_MAX:
            timeout_ns = PARK_NS_MAX
        if timeout_ns <= 0:
            return self.look()
        with nogil:
            if self.raise_word(PARKED_FUTEX):
                futex_wait(self.word, PARKED_FUTEX, timeout_ns)
                woken = load_relaxed_u32(self.word) == AWAKE
                store_relaxed_u32(self.word, AWAKE)
        return woken

    def spin(self, int64_t duration_ns) -> bool:
        """Look again and again for at most ``duration_ns``. True: there is work."""
        cdef int64_t until_ns
        cdef int index
        cdef bint found = self.look()
        if found:
            return True
        with nogil:
            until_ns = monotonic_ns() + duration_ns
            while not found and monotonic_ns() < until_ns:
                for index in range(LOOKS_PER_CLOCK_READ):
                    cpu_pause()
                    if self.look():
                        found = True
                        break
        return found

    def has_work(self) -> bool:
        """Look once, without sleeping. A changed word is reported once."""
        return self.look()

    def arm_fifo(self) -> bool:
        """Before an event loop sleeps. True: a writer will wake it; False: there is work."""
        cdef bint armed
        with nogil:
            armed = self.raise_word(PARKED_FIFO)
        return armed

    def disarm(self) -> None:
        """After an event loop woke, for whatever reason: no writer needs to wake it now."""
        store_relaxed_u32(self.word, AWAKE)

    def drain_fifo(self) -> None:
        """Take the wake-ups out of the FIFO."""
        self.empty_fifo()

    cdef void empty_fifo(self) noexcept nogil:
        cdef char[FIFO_READ_BYTES] wakes
        if self.fifo_fd >= 0:
            while read(self.fifo_fd, wakes, FIFO_READ_BYTES) == FIFO_READ_BYTES:
                pass
