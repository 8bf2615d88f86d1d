"""The stores a role makes into its page on the hot path."""

cimport cython
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ipc.atomics cimport load_acquire, load_relaxed, store_relaxed, store_release

from ipc import layout
from ipc.errors import PendingError

cdef uint64_t COUNTERS = layout.COUNTER_COUNT
cdef uint64_t GAUGES = layout.GAUGE_COUNT
cdef uint64_t HISTOGRAMS = layout.HISTOGRAM_COUNT
cdef uint64_t BUCKETS = layout.HISTOGRAM_BUCKETS
cdef uint64_t PENDING = layout.PENDING_COUNT
cdef uint64_t PENDING_WORDS = layout.PENDING_BYTES // 8
cdef int64_t VALUE_MAX = (1 << 36) - 1  # of a histogram: 68 s in nanoseconds


cdef extern from * nogil:
    int __builtin_clzll(unsigned long long value)


cdef class PageStores:
    """Counters, gauges, histograms, heartbeat and pending batches: base of ``RolePage``."""

    def __init__(self, segment):
        cdef uintptr_t page = segment.address + <size_t> layout.ITEMS_OFFSET
        self.beat_word = <uint64_t*> (page + <size_t> layout.PAGE_BEAT_OFFSET)
        self.state_word = <uint64_t*> (page + <size_t> layout.PAGE_STATE_OFFSET)
        self.pending_words = <uint64_t*> (page + <size_t> layout.PAGE_PENDING_OFFSET)
        self.gauges = <uint64_t*> (page + <size_t> layout.PAGE_GAUGES_OFFSET)
        self.counters = <uint64_t*> (page + <size_t> layout.PAGE_COUNTERS_OFFSET)
        self.maxima = <uint64_t*> (page + <size_t> layout.PAGE_MAXIMA_OFFSET)
        self.buckets = <uint64_t*> (page + <size_t> layout.PAGE_HISTOGRAMS_OFFSET)
        self.writable = segment.writable
        self.segment = segment
        self.hold = memoryview(segment.buffer)

    cdef check(self, uint64_t index, uint64_t count, str what):
        """Raise what is wrong with a store: the mapping, or the index."""
        self.segment.require_writable()
        raise IndexError(f"{self.segment.name} has {count} {what}, there is no {index}")

    @property
    def beat_ns(self) -> int:
        """Last heartbeat, monotonic clock, ns; 0: none yet."""
        return <int64_t> load_acquire(self.beat_word)

    @property
    def state(self) -> int:
        """A number of the role's own choosing."""
        return load_acquire(self.state_word)

    @state.setter
    def state(self, uint64_t value):
        if not self.writable:
            self.segment.require_writable()
        store_release(self.state_word, value)

    def beat(self, int64_t now_ns) -> None:
        """Tell the supervisor that the role's loop turns.

        Raises:
            ReadOnlyError: The page is mapped for reading, as in all stores here.
        """
        if not self.writable:
            self.segment.require_writable()
        self.store_beat(now_ns)

    cdef void store_beat(self, int64_t now_ns) noexcept nogil:
        store_release(self.beat_word, <uint64_t> now_ns)

    def begin(self, uint64_t slot, uint64_t input_seq, uint64_t output_seq) -> None:
        """Note, before publishing, that the outputs of an input are about to become visible.

        Args:
            slot: Which pair of input and output, 0 to 15.
            input_seq: The input being handled.
            output_seq: Sequence the first output will take (``RingWriter.next_seq`` before it is
                staged). A successor finds the input handled if that record is visible.

        Raises:
            IndexError: There is no such slot.
        """
        if not self.writable or slot >= PENDING:
            self.check(slot, PENDING, "pending slots")
        self.begin_batch(slot, input_seq, output_seq)

    cdef uint64_t* batch(self, uint64_t slot) noexcept nogil:
        """Where a slot notes the input of its batch and, next to it, the output."""
        return self.pending_words + slot * PENDING_WORDS

    cdef void begin_batch(
        self, uint64_t slot, uint64_t input_seq, uint64_t output_seq,
    ) noexcept nogil:
        cdef uint64_t* pending = self.batch(slot)
        store_relaxed(pending, 0)  # a death between the stores leaves no half of two notes
        store_release(pending + 1, output_seq)
        store_release(pending, input_seq)

    def commit(self, uint64_t slot, uint64_t input_seq) -> None:
        """Clear the note, after the cursor was committed.

        Raises:
            PendingError: Another input is pending.
            IndexError: There is no such slot.
        """
        if not self.writable or slot >= PENDING:
            self.check(slot, PENDING, "pending slots")
        self.commit_batch(slot, input_seq)

    cdef int commit_batch(self, uint64_t slot, uint64_t input_seq) except -1:
        cdef uint64_t* pending = self.batch(slot)
        cdef uint64_t begun_seq = load_relaxed(pending)
        if begun_seq != 0 and begun_seq != input_seq:
            raise PendingError(slot, begun_seq=begun_seq, input_seq=input_seq)
        store_release(pending, 0)
        return 0

    def pending(self, uint64_t slot):
        """``(input_seq, output_seq)`` of a batch begun and not committed, or None."""
        if slot >= PENDING:
            raise IndexError(f"there are {PENDING} pending slots, there is no {slot}")
        cdef uint64_t* pending = self.batch(slot)
        cdef uint64_t input_seq = load_acquire(pending)
        if input_seq == 0:
            return None
        return input_seq, load_relaxed(pending + 1)

    def count(self, uint64_t index, uint64_t n=1) -> None:
        """Add to a counter."""
        if not self.writable or index >= COUNTERS:
            self.check(index, COUNTERS, "counters")
        self.add(index, n)

    cdef void add(self, uint64_t index, uint64_t n) noexcept nogil:
        store_relaxed(self.counters + index, load_relaxed(self.counters + index) + n)

    def counter(self, uint64_t index) -> int:
        """Value of a counter."""
        if index >= COUNTERS:
            raise IndexError(f"there are {COUNTERS} counters, there is no {index}")
        return load_relaxed(self.counters + index)

    def set_gauge(self, uint64_t index, int64_t value) -> None:
        """Set a gauge."""
        if not self.writable or index >= GAUGES:
            self.check(index, GAUGES, "gauges")
        self.store_gauge(index, value)

    cdef void store_gauge(self, uint64_t index, int64_t value) noexcept nogil:
        store_relaxed(self.gauges + index, <uint64_t> value)

    def gauge(self, uint64_t index) -> int:
        """Value of a gauge."""
        if index >= GAUGES:
            raise IndexError(f"there are {GAUGES} gauges, there is no {index}")
        return <int64_t> load_relaxed(self.gauges + index)

    def record_ns(self, uint64_t histogram, int64_t value) -> None:
        """Count one duration. Below 0 counts as 0, above 2^36 - 1 ns (68 s) in the last bucket."""
        if not self.writable or histogram >= HISTOGRAMS:
            self.check(histogram, HISTOGRAMS, "histograms")
        self.add_ns(histogram, value)

    cdef void add_ns(self, uint64_t histogram, int64_t value) noexcept nogil:
        cdef uint64_t* bucket
        if value < 0:
            value = 0
        if <uint64_t> value > load_relaxed(self.maxima + histogram):
            store_relaxed(self.maxima + histogram, <uint64_t> value)
        if value > VALUE_MAX:
            value = VALUE_MAX
        bucket = self.buckets + histogram * BUCKETS + bucket_index(<uint64_t> value)
        store_relaxed(bucket, load_relaxed(bucket) + 1)

    cdef void note_ns(self, uint64_t histogram, int64_t value) noexcept nogil:
        """``add_ns`` later, at the next ``add_noted``: four cold lines are off an order's way."""
        if self.note_count == NOTES:
            self.add_noted()
        self.notes[self.note_count] = Note(histogram=histogram, value=value)
        self.note_count += 1

    cdef void add_noted(self) noexcept nogil:
        """Count what was noted."""
        cdef int index
        for index in range(self.note_count):
            self.add_ns(self.notes[index].histogram, self.notes[index].value)
        self.note_count = 0

    def histogram_max(self, uint64_t histogram) -> int:
        """Largest duration counted, exact, ns."""
        if histogram >= HISTOGRAMS:
            raise IndexError(f"there are {HISTOGRAMS} histograms, there is no {histogram}")
        return load_relaxed(self.maxima + histogram)


cdef inline uint64_t bucket_index(uint64_t value) noexcept nogil:
    """HdrHistogram's index for two significant digits: 256 sub-buckets, upper halves stored."""
    cdef int shift = 56 - __builtin_clzll(value | 255)
    return ((<uint64_t> shift + 1) << 7) + (value >> shift) - 128
