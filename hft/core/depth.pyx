"""Depth events: the levels that one brings, and the buffer of those that wait for a snapshot."""
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memmove, memset

from hft.core.generated.records cimport hft_depth
from hft.core.generated.views cimport RecordView

from hft import records

cdef enum:
    DEPTH_LEVELS = 4
    LEVELS_START = 1024
    FRAMES_START = 64
    FRAMES_MAX = 4096
    FRAME_LEVELS_MAX = 262_144

    KIND_DEPTH = 5
    MODE_LIVE = 1
    FLAG_LAST = 1
    FLAG_SNAPSHOT = 2

assert DEPTH_LEVELS == records.DEPTH_LEVELS_PER_RECORD
assert (KIND_DEPTH, MODE_LIVE) == (records.Kind.DEPTH, records.Mode.LIVE)
assert (FLAG_LAST, FLAG_SNAPSHOT) == (records.Flag.LAST, records.Flag.SNAPSHOT)


cdef void *open_record(object record, Py_ssize_t size, int flags, Py_buffer *view) except NULL:
    """The bytes of a typed view or of any buffer. The caller releases ``view`` when done."""
    cdef RecordView typed
    memset(view, 0, sizeof(Py_buffer))  # releasing an empty one does nothing
    if isinstance(record, RecordView):
        typed = <RecordView> record
        if typed.size < size:
            raise ValueError(f"{type(record).__name__} has {typed.size} bytes, needed are {size}")
        return typed.data
    PyObject_GetBuffer(record, view, flags)
    if view.len < size:
        PyBuffer_Release(view)
        raise ValueError(f"the buffer has {view.len} bytes, needed are {size}")
    return view.buf


cdef class DepthUpdate:
    """The levels of one depth event or snapshot, in arrays that grow once and are used again.

    The values hold until the next event is decoded into it.
    """

    def __dealloc__(self):
        free(self.prices)
        free(self.qtys)

    cdef void forget(self) noexcept nogil:
        memset(&self.frame, 0, sizeof(Frame))
        self.level_fill = 0
        self.instrument_id = 0
        self.event_ns = 0
        self.is_snapshot = False

    cdef bint reserve(self, Py_ssize_t level_count) noexcept nogil:
        """Room for so many more levels. False: out of memory."""
        cdef Py_ssize_t needed = self.level_fill + level_count
        if needed <= self.level_capacity:
            return True
        needed = max(needed, 2 * self.level_capacity, <Py_ssize_t> LEVELS_START)
        if not (grow(<void **> &self.prices, needed * sizeof(int64_t))
                and grow(<void **> &self.qtys, needed * sizeof(int64_t))):
            return False
        self.level_capacity = needed
        return True

    def assign(self, instrument_id, *, first_seq, last_seq, previous_seq, bids=(), asks=(),
               recv_ns=0, as_of_ns=0, venue_ns=0, is_snapshot=False):
        """Take an event from values: levels are pairs of price and quantity in 1e-8."""
        self.forget()
        if not self.reserve(len(bids) + len(asks)):
            raise MemoryError
        for price_e8, qty_e8 in (*bids, *asks):
            self.prices[self.level_fill] = price_e8
            self.qtys[self.level_fill] = qty_e8
            self.level_fill += 1
        self.frame.bid_count = self.frame.ask_start = len(bids)
        self.frame.ask_count = len(asks)
        self.frame.first_seq = first_seq
        self.frame.last_seq = last_seq
        self.frame.previous_seq = previous_seq
        self.frame.recv_ns = recv_ns
        self.frame.as_of_ns = as_of_ns or recv_ns
        self.frame.venue_ns = self.event_ns = venue_ns
        self.instrument_id = instrument_id
        self.is_snapshot = is_snapshot

    @property
    def first_seq(self):
        """First update id that the event covers (U)."""
        return self.frame.first_seq

    @property
    def last_seq(self):
        """Last update id that the event covers (u, or ``lastUpdateId`` of a snapshot)."""
        return self.frame.last_seq

    @property
    def previous_seq(self):
        """Last update id of the stream's event before (pu)."""
        return self.frame.previous_seq

    @property
    def recv_ns(self):
        """Monotonic time at which the frame was read."""
        return self.frame.recv_ns

    @property
    def as_of_ns(self):
        """Monotonic time as of which the event held at the venue, at most ``recv_ns``."""
        return self.frame.as_of_ns

    @property
    def venue_ns(self):
        """Venue transaction time (T), 0 when the frame has none."""
        return self.frame.venue_ns

    @property
    def bid_count(self):
        """Number of bid levels."""
        return self.frame.bid_count

    @property
    def ask_count(self):
        """Number of ask levels."""
        return self.frame.ask_count

    @property
    def bids(self):
        """Pairs of price and quantity in 1e-8, as they came. Allocates: for tools and tests."""
        return [(self.prices[self.frame.bid_start + i], self.qtys[self.frame.bid_start + i])
                for i in range(self.frame.bid_count)]

    @property
    def asks(self):
        """Pairs of price and quantity in 1e-8, as they came. Allocates: for tools and tests."""
        return [(self.prices[self.frame.ask_start + i], self.qtys[self.frame.ask_start + i])
                for i in range(self.frame.ask_count)]

    @property
    def depth_records(self):
        """Number of ``DEPTH`` records that hold the levels; 0 for an event without levels."""
        return self.record_count()

    cdef Py_ssize_t record_count(self) noexcept nogil:
        return (self.frame.bid_count + self.frame.ask_count + DEPTH_LEVELS - 1) // DEPTH_LEVELS

    def fill_depth(self, record, Py_ssize_t index):
        """Write record ``index`` of ``depth_records``: bids first, then asks, ``LAST`` on the last.

        ``record`` is a ``Depth`` view or a writable buffer of 128 bytes.
        """
        cdef Py_buffer view
        cdef hft_depth *depth
        if not 0 <= index < self.record_count():
            raise IndexError(f"depth record {index} of {self.depth_records}")
        depth = <hft_depth *> open_record(record, sizeof(hft_depth), PyBUF_WRITABLE, &view)
        self.write_depth(depth, index)
        PyBuffer_Release(&view)

    cdef void write_depth(self, hft_depth *depth, Py_ssize_t index) noexcept nogil:
        """``fill_depth`` for a caller that holds the record; ``index`` exists."""
        cdef Py_ssize_t first = index * DEPTH_LEVELS
        cdef Py_ssize_t total = self.frame.bid_count + self.frame.ask_count
        cdef Py_ssize_t i, place
        memset(depth, 0, sizeof(hft_depth))
        depth.origin_ns = self.frame.recv_ns
        depth.instrument_id = self.instrument_id
        depth.kind = KIND_DEPTH
        depth.mode = MODE_LIVE
        depth.flags = FLAG_SNAPSHOT if self.is_snapshot else 0
        depth.venue_seq = self.frame.last_seq
        depth.level_count = <uint16_t> min(total - first, <Py_ssize_t> DEPTH_LEVELS)
        if first + DEPTH_LEVELS >= total:
            depth.flags |= FLAG_LAST
        for i in range(depth.level_count):
            if first + i < self.frame.bid_count:
                place = self.frame.bid_start + first + i
            else:
                place = self.frame.ask_start + first + i - self.frame.bid_count
                depth.ask_mask |= 1 << i
            depth.price_e8[i] = self.prices[place]
            depth.qty_e8[i] = self.qtys[place]


cdef bint is_repeated(const Frame *frame, uint64_t last_seq, int64_t venue_ns) noexcept nogil:
    """A copy of something old? Ids that start over, in contrast, come with a later venue time."""
    return frame.last_seq <= last_seq and frame.venue_ns <= venue_ns


cdef class FrameBuffer:
    """Events kept until the snapshot comes. Bounded: when full, the older half is forgotten,
    which at worst makes the snapshot stale and fetched again."""

    def __dealloc__(self):
        free(self.frames)
        free(self.prices)
        free(self.qtys)

    cdef Frame *at(self, Py_ssize_t index) noexcept nogil:
        """Frame ``index``, oldest first; -1 is the newest."""
        return self.frames + self.head + (index if index >= 0 else self.count + index)

    cdef void clear(self) noexcept nogil:
        self.head = self.count = self.level_fill = 0

    cdef void drop(self, Py_ssize_t frame_count) noexcept nogil:
        """Forget the oldest frames."""
        self.head += frame_count
        self.count -= frame_count
        if not self.count:
            self.clear()

    cdef int append(self, DepthUpdate update) except -1:
        cdef Frame *frame
        self.make_room(update.frame.bid_count + update.frame.ask_count)
        self.count += 1
        frame = self.at(-1)
        frame[0] = update.frame
        frame.bid_start = self.copy_levels(update, update.frame.bid_start, update.frame.bid_count)
        frame.ask_start = self.copy_levels(update, update.frame.ask_start, update.frame.ask_count)
        return 0

    cdef Py_ssize_t copy_levels(
            self, DepthUpdate update, Py_ssize_t start, Py_ssize_t count) noexcept nogil:
        """Copy levels in behind those that are there; where they start."""
        cdef Py_ssize_t place = self.level_fill
        if count:
            memcpy(self.prices + place, update.prices + start, count * sizeof(int64_t))
            memcpy(self.qtys + place, update.qtys + start, count * sizeof(int64_t))
        self.level_fill += count
        return place

    cdef int make_room(self, Py_ssize_t levels) except -1:
        cdef Py_ssize_t capacity
        while self.count and (
                self.count == FRAMES_MAX or self.level_fill + levels > FRAME_LEVELS_MAX):
            self.drop((self.count + 1) // 2)
            self.compact()
        if self.head + self.count == self.capacity:
            self.compact()
        if self.count == self.capacity:
            capacity = max(2 * self.capacity, <Py_ssize_t> FRAMES_START)
            if not grow(<void **> &self.frames, capacity * sizeof(Frame)):
                raise MemoryError
            self.capacity = capacity
        if self.level_fill + levels > self.level_capacity:
            capacity = max(self.level_fill + levels, 2 * self.level_capacity)
            if not (grow(<void **> &self.prices, capacity * sizeof(int64_t))
                    and grow(<void **> &self.qtys, capacity * sizeof(int64_t))):
                raise MemoryError
            self.level_capacity = capacity
        return 0

    cdef void compact(self) noexcept nogil:
        """Move what is kept to the front of the arrays."""
        cdef Py_ssize_t offset, i
        if not self.head:
            return
        offset = self.at(0).bid_start
        memmove(self.frames, self.at(0), self.count * sizeof(Frame))
        self.head = 0
        self.level_fill -= offset
        memmove(self.prices, self.prices + offset, self.level_fill * sizeof(int64_t))
        memmove(self.qtys, self.qtys + offset, self.level_fill * sizeof(int64_t))
        for i in range(self.count):
            self.frames[i].bid_start -= offset
            self.frames[i].ask_start -= offset
