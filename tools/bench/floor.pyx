"""The control of ``hft bench ipc``: what the hardware allows, and the payload every row carries.

``Floor`` moves 128-byte records between two processes in the slot layout of our rings (sequence
stamp first, written last with release) from compiled code on both sides, with its own atomics and
nothing else: no clock in the record, no bell, no second read. ``Payload`` numbers and verifies the
records of every row in one call, so that no row gets away with not moving the bytes.

::

    0x0000  cursor u64      records the reader has taken; written by the reader
    0x0080  slot[4096]      128 bytes each: stamp u64 | words 1 to 15
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <time.h>

    static inline uint64_t floor_load_acquire(const uint64_t *word)
    {
        return __atomic_load_n(word, __ATOMIC_ACQUIRE);
    }

    static inline void floor_store_release(uint64_t *word, uint64_t value)
    {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }

    static inline void floor_prefetch(const void *line)
    {
        __builtin_prefetch(line, 0, 3);
    }

    static inline int64_t floor_now_ns(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    """
    uint64_t floor_load_acquire(const uint64_t* word)
    void floor_store_release(uint64_t* word, uint64_t value)
    void floor_prefetch(const void* line)
    int64_t floor_now_ns()

cdef enum:
    SLOT_BYTES = 128
    SLOTS = 4096
    WORDS = 16
    NUMBER = 6  # words 0 to 5 are the header of our records: the ring writes the first two of them
    SENT_NS = 7
    BODY = 8
    LINE_BYTES = 64
    COMMIT_INTERVAL = 64

RECORD_BYTES = SLOT_BYTES
CHANNEL_BYTES = SLOT_BYTES + SLOTS * SLOT_BYTES

cdef uint64_t MULTIPLIER = 0x9E3779B97F4A7C15  # odd, irregular: all words of all records differ


cdef inline uint64_t fill_words(uint64_t* words, uint64_t number) noexcept nogil:
    """Write record ``number``; returns what it adds to the checksum."""
    cdef int index
    words[NUMBER] = number
    for index in range(BODY, WORDS):
        words[index] = number * MULTIPLIER + <uint64_t>index
    return words[WORDS - 1]


cdef inline bint words_are(const uint64_t* words, uint64_t number) noexcept nogil:
    cdef int index
    cdef uint64_t difference = words[NUMBER] ^ number
    for index in range(BODY, WORDS):
        difference |= words[index] ^ (number * MULTIPLIER + <uint64_t>index)
    return difference == 0


cdef wrong_record(uint64_t expected, uint64_t found):
    return ValueError(f"record {expected} arrived as {found}, or torn")


def now_ns():
    """CLOCK_MONOTONIC in nanoseconds."""
    return floor_now_ns()


cdef class Payload:
    """Numbered content in a buffer of one or more records; the numbers begin at 1."""

    cdef Py_buffer _buffer
    cdef uint64_t* _words
    cdef readonly int64_t capacity
    cdef readonly uint64_t number
    cdef readonly uint64_t checksum

    def __cinit__(self, buffer):
        PyObject_GetBuffer(buffer, &self._buffer, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._words = <uint64_t*>self._buffer.buf
        self.capacity = self._buffer.len // SLOT_BYTES

    def __dealloc__(self):
        if self._words != NULL:
            PyBuffer_Release(&self._buffer)

    def restart(self):
        """Begin again at record 1, with an empty checksum."""
        self.number = 0
        self.checksum = 0

    def fill(self):
        """Write the next record at the start of the buffer."""
        self.number += 1
        self.checksum += fill_words(self._words, self.number)

    def fill_all(self):
        """Write the next records over the whole buffer."""
        cdef int64_t index
        for index in range(self.capacity):
            self.number += 1
            self.checksum += fill_words(self._words + index * WORDS, self.number)

    def stamp(self):
        """Note the time of sending in every record of the buffer."""
        cdef int64_t index
        cdef int64_t sent_ns = floor_now_ns()
        for index in range(self.capacity):
            self._words[index * WORDS + SENT_NS] = <uint64_t>sent_ns

    def age_ns(self):
        """Nanoseconds since the record at the start of the buffer was stamped."""
        return floor_now_ns() - <int64_t>self._words[SENT_NS]

    def check(self):
        """Verify that the record at the start of the buffer is the next one.

        Raises:
            ValueError: it is another record, or not whole.
        """
        self.number += 1
        if not words_are(self._words, self.number):
            raise wrong_record(self.number, self._words[NUMBER])
        self.checksum += self._words[WORDS - 1]

    def check_many(self, int64_t count):
        """Verify the first ``count`` records of the buffer, as ``check`` does one."""
        cdef int64_t index
        for index in range(count):
            self.number += 1
            if not words_are(self._words + index * WORDS, self.number):
                raise wrong_record(self.number, self._words[index * WORDS + NUMBER])
            self.checksum += self._words[index * WORDS + WORDS - 1]


cdef class Scratch:
    """Memory that is nobody's data: walking through it pushes everything else out of the caches."""

    cdef Py_buffer _buffer
    cdef char* _start

    def __cinit__(self, buffer):
        PyObject_GetBuffer(buffer, &self._buffer, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._start = <char*>self._buffer.buf

    def __dealloc__(self):
        if self._start != NULL:
            PyBuffer_Release(&self._buffer)

    cdef void walk(self) noexcept nogil:
        cdef Py_ssize_t offset = 0
        while offset < self._buffer.len:
            self._start[offset] += 1
            offset += LINE_BYTES

    cdef int64_t pause(self, int64_t due_ns) noexcept nogil:
        self.walk()
        while floor_now_ns() < due_ns:
            pass
        return floor_now_ns()

    def pause_until(self, int64_t due_ns):
        """Evict, then spin until ``due_ns`` on the monotonic clock."""
        self.pause(due_ns)


cdef class Floor:
    """One side's view of two channels of ``CHANNEL_BYTES`` each, zeroed at creation."""

    cdef Py_buffer _outgoing
    cdef Py_buffer _incoming
    cdef int _held
    cdef uint64_t* _out_cursor
    cdef uint64_t* _in_cursor
    cdef char* _out_slots
    cdef char* _in_slots
    cdef uint64_t _sent
    cdef uint64_t _received
    cdef uint64_t _gate
    cdef uint64_t _words[WORDS]

    def __cinit__(self, outgoing, incoming):
        PyObject_GetBuffer(outgoing, &self._outgoing, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._held = 1
        PyObject_GetBuffer(incoming, &self._incoming, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._held = 2
        if self._outgoing.len < CHANNEL_BYTES or self._incoming.len < CHANNEL_BYTES:
            raise ValueError(f"a channel needs {CHANNEL_BYTES} bytes")
        self._out_cursor = <uint64_t*>self._outgoing.buf
        self._in_cursor = <uint64_t*>self._incoming.buf
        self._out_slots = <char*>self._outgoing.buf + SLOT_BYTES
        self._in_slots = <char*>self._incoming.buf + SLOT_BYTES

    def __dealloc__(self):
        if self._held > 0:
            PyBuffer_Release(&self._outgoing)
        if self._held > 1:
            PyBuffer_Release(&self._incoming)

    cdef inline void send(self) noexcept nogil:
        cdef char* slot
        while self._sent - self._gate >= SLOTS:
            self._gate = floor_load_acquire(self._out_cursor)  # pairs with commit()
        slot = self._out_slots + (self._sent & (SLOTS - 1)) * SLOT_BYTES
        self._sent += 1
        memcpy(slot + 8, &self._words[1], SLOT_BYTES - 8)
        floor_store_release(<uint64_t*>slot, self._sent)  # pairs with the acquire in receive()

    cdef inline void receive(self) noexcept nogil:
        cdef char* slot = self._in_slots + (self._received & (SLOTS - 1)) * SLOT_BYTES
        self._received += 1
        while floor_load_acquire(<uint64_t*>slot) != self._received:
            floor_prefetch(slot + LINE_BYTES)  # so that both lines of the record travel at once
        memcpy(&self._words[1], slot + 8, SLOT_BYTES - 8)

    cdef inline void commit(self) noexcept nogil:
        floor_store_release(self._in_cursor, self._received)

    def signal(self):
        """Send one record that means nothing."""
        with nogil:
            self.send()

    def wait(self):
        """Take the record of the other side's ``signal``."""
        with nogil:
            self.receive()
            self.commit()

    def ping(self, int64_t[::1] samples, int64_t warm_count):
        """Nanoseconds from sending to the echo; the first ``warm_count`` are thrown away."""
        cdef int64_t index
        cdef int64_t start_ns, elapsed_ns
        cdef uint64_t number = 0
        cdef uint64_t checksum = 0
        for index in range(-warm_count, samples.shape[0]):
            with nogil:
                number += 1
                checksum += fill_words(self._words, number)
                start_ns = floor_now_ns()
                self.send()
                self.receive()
                elapsed_ns = floor_now_ns() - start_ns
                self.commit()
            if not words_are(self._words, number):
                raise wrong_record(number, self._words[NUMBER])
            if index >= 0:
                samples[index] = elapsed_ns
        return checksum

    def pong(self, int64_t count):
        """Echo ``count`` records."""
        cdef int64_t index
        with nogil:
            for index in range(count):
                self.receive()
                self.send()
                self.commit()

    def send_paced(self, int64_t count, int64_t gap_ns, Scratch scratch):
        """One record every ``gap_ns``, each after an eviction of the caches."""
        cdef int64_t index
        cdef int64_t due_ns = floor_now_ns()
        cdef uint64_t number = 0
        cdef uint64_t checksum = 0
        with nogil:
            for index in range(count):
                due_ns = scratch.pause(due_ns + gap_ns)
                number += 1
                checksum += fill_words(self._words, number)
                self._words[SENT_NS] = <uint64_t>floor_now_ns()
                self.send()
        return checksum

    def receive_paced(self, int64_t[::1] samples, int64_t warm_count):
        """Nanoseconds of age on arrival; the first ``warm_count`` are thrown away."""
        cdef int64_t index
        cdef int64_t age_ns
        cdef uint64_t number = 0
        cdef uint64_t checksum = 0
        for index in range(-warm_count, samples.shape[0]):
            with nogil:
                self.receive()
                age_ns = floor_now_ns() - <int64_t>self._words[SENT_NS]
                self.commit()
            number += 1
            if not words_are(self._words, number):
                raise wrong_record(number, self._words[NUMBER])
            checksum += self._words[WORDS - 1]
            if index >= 0:
                samples[index] = age_ns
        return checksum

    def send_stream(self, int64_t count):
        """As many records as fit, as fast as they go."""
        cdef int64_t index
        cdef uint64_t number = 0
        cdef uint64_t checksum = 0
        with nogil:
            for index in range(count):
                number += 1
                checksum += fill_words(self._words, number)
                self.send()
        return checksum

    def receive_stream(self, int64_t count):
        """The other end of ``send_stream``."""
        cdef int64_t index
        cdef uint64_t number = 0
        cdef uint64_t checksum = 0
        cdef bint right = True
        with nogil:
            for index in range(count):
                self.receive()
                number += 1
                right = words_are(self._words, number)
                if not right:
                    break
                checksum += self._words[WORDS - 1]
                if number % COMMIT_INTERVAL == 0:
                    self.commit()
            self.commit()
        if not right:
            raise wrong_record(number, self._words[NUMBER])
        return checksum
