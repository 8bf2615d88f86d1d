"""Market frames of many instruments, one write each, at an even pace: no object is made for one.

Each frame is a text that is made once; before it is written, the digits that change in it are put
in: the update id, the time, and the quantities of the best levels.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t

cdef extern from * nogil:
    """
    #include <poll.h>
    #include <stdint.h>
    #include <sys/socket.h>
    #include <time.h>

    static inline int64_t pacer_now_ns(clockid_t clock)
    {
        struct timespec now;
        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }

    static inline ssize_t pacer_send(int fd, const char *data, size_t size)
    {
        return send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    static inline void pacer_wait_writable(int fd)
    {
        struct pollfd one = {fd, POLLOUT, 0};
        poll(&one, 1, 100);
    }
    """
    int CLOCK_MONOTONIC
    int CLOCK_REALTIME
    int64_t pacer_now_ns(int clock)
    Py_ssize_t pacer_send(int fd, const char* data, size_t size)
    void pacer_wait_writable(int fd)

cdef enum:
    TIMES = 2
    TRIES_MAX = 50
    INSTRUMENTS_MAX = 128
    ID_DIGITS = 13
    MS_DIGITS = 13
    QTY_DIGITS = 6
    QTY_FIRST = 100_000
    QTY_RANGE = 900_000
    NS_PER_MS = 1_000_000

QTY_FIRST_UNITS = QTY_FIRST
"""The quantity of a best level before anything changed it; quantities are whole units."""


cdef struct Text:
    # A frame and where its digits stand; previous_at and first_at only of depth.
    char* bytes
    Py_ssize_t size
    Py_ssize_t id_at
    Py_ssize_t first_at
    Py_ssize_t previous_at
    Py_ssize_t bid_qty_at
    Py_ssize_t ask_qty_at
    Py_ssize_t time_at[TIMES]


cdef struct Line:
    # One instrument: its texts, the socket of who listens, and what was told of it.
    Text ticker
    Text depth
    int fd
    int64_t last_id
    int64_t shown_id
    int64_t bid_qty
    int64_t ask_qty


cdef inline void put_digits(char* at, int64_t value, int count) noexcept nogil:
    cdef int index
    for index in range(count - 1, -1, -1):
        at[index] = <char> (48 + value % 10)
        value //= 10


@cython.final
cdef class Pacer:
    """Writes frames of all instruments in turn, one each ``spacing_ns`` from ``start_ns`` on.

    Every ``depth_every``-th frame is a depth event: both best levels of the next instrument as its
    last ticker had them, and the levels behind them. All others are tickers: a new quantity at the
    best bid. ``write_ns[n]`` becomes the monotonic time right before the write of the nth ticker,
    whose update id is ``first_id + n``; depth events take no ids of their own.

    Args:
        first_id: Of the first ticker.
        depth_every: At least 2.
        write_ns: Room for the stamps of all tickers, int64.
    """

    cdef Line lines[INSTRUMENTS_MAX]
    cdef int64_t[::1] write_ns
    cdef int64_t first_id
    cdef int64_t start_ns
    cdef int64_t spacing_ns
    cdef int64_t depth_every
    cdef int64_t trigger_at
    cdef readonly int count
    """Instruments."""
    cdef readonly int64_t frames
    cdef readonly int64_t tickers
    cdef readonly int64_t depths
    cdef readonly int64_t waits
    """Times a socket took nothing, and had to be waited for."""

    def __init__(self, int64_t first_id, *, int64_t start_ns, int64_t spacing_ns,
                 int64_t depth_every, int64_t[::1] write_ns):
        if depth_every < 2:
            raise ValueError(f"depth_every is {depth_every}: an event needs a ticker before it")
        self.first_id = first_id
        self.start_ns = start_ns
        self.spacing_ns = spacing_ns
        self.depth_every = depth_every
        self.write_ns = write_ns
        self.trigger_at = -1

    def __dealloc__(self):
        cdef int index
        for index in range(INSTRUMENTS_MAX):
            PyMem_Free(self.lines[index].ticker.bytes)
            PyMem_Free(self.lines[index].depth.bytes)

    def add(self, int fd, int64_t last_id, ticker, depth):
        """One instrument more.

        ``last_id`` is what its listeners have of it. ``ticker`` and ``depth`` are its frames and
        the offsets of their digits, as ``frames.Slots``.
        """
        cdef Line* line = &self.lines[self.count]
        if self.count == INSTRUMENTS_MAX:
            raise ValueError(f"more than {INSTRUMENTS_MAX} instruments")
        copy_text(&line.ticker, ticker)
        copy_text(&line.depth, depth)
        line.fd = fd
        line.last_id = line.shown_id = last_id
        line.bid_qty = line.ask_qty = QTY_FIRST
        self.count += 1

    @property
    def due_ns(self):
        """When the next frame is due, monotonic."""
        return self.start_ns + self.frames * self.spacing_ns

    def mark(self):
        """The next ticker becomes a trigger: from it on the best ask has one unit more.

        Returns the instrument's index and the ticker's number.
        """
        self.trigger_at = self.tickers
        return self.tickers % self.count, self.tickers

    def state(self, int index):
        """Last id, and the units at best bid and ask, as this instrument's listeners know them."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        cdef const Line* line = &self.lines[index]
        return line.last_id, line.bid_qty, line.ask_qty

    def send(self):
        """Write one frame.

        Raises:
            OSError: the connection is gone, or took nothing for five seconds.
            ValueError: there is no room for a further stamp.
        """
        cdef bint is_depth = self.frames % self.depth_every == self.depth_every - 1
        cdef bint is_done
        if not is_depth and self.tickers == self.write_ns.shape[0]:
            raise ValueError("there is no room for another stamp")
        self.frames += 1
        with nogil:
            is_done = self.send_depth() if is_depth else self.send_ticker()
        if not is_done:
            raise OSError(errno, "the reader is gone or does not read")

    cdef bint send_ticker(self) noexcept nogil:
        cdef int64_t number = self.tickers
        cdef Line* line = &self.lines[number % self.count]
        cdef Text* text = &line.ticker
        self.tickers += 1
        line.last_id = self.first_id + number
        line.bid_qty = QTY_FIRST + (line.bid_qty + 1 - QTY_FIRST) % QTY_RANGE
        if number == self.trigger_at:
            line.ask_qty = QTY_FIRST + (line.ask_qty + 1 - QTY_FIRST) % QTY_RANGE
        put_digits(text.bytes + text.id_at, line.last_id, ID_DIGITS)
        self.put_state(line, text)
        self.write_ns[number] = pacer_now_ns(CLOCK_MONOTONIC)
        return self.write(line.fd, text)

    cdef bint send_depth(self) noexcept nogil:
        cdef Line* line = &self.lines[self.depths % self.count]
        cdef Text* text = &line.depth
        self.depths += 1
        put_digits(text.bytes + text.first_at, line.shown_id + 1, ID_DIGITS)
        put_digits(text.bytes + text.id_at, line.last_id, ID_DIGITS)
        put_digits(text.bytes + text.previous_at, line.shown_id, ID_DIGITS)
        line.shown_id = line.last_id
        self.put_state(line, text)
        return self.write(line.fd, text)

    cdef void put_state(self, const Line* line, Text* text) noexcept nogil:
        cdef int64_t now_ms = pacer_now_ns(CLOCK_REALTIME) // NS_PER_MS
        cdef int index
        for index in range(TIMES):
            put_digits(text.bytes + text.time_at[index], now_ms, MS_DIGITS)
        put_digits(text.bytes + text.bid_qty_at, line.bid_qty, QTY_DIGITS)
        put_digits(text.bytes + text.ask_qty_at, line.ask_qty, QTY_DIGITS)

    cdef bint write(self, int fd, const Text* text) noexcept nogil:
        cdef const char* data = text.bytes
        cdef Py_ssize_t left = text.size
        cdef Py_ssize_t sent
        cdef int tries = 0
        while left:
            sent = pacer_send(fd, data, left)
            if sent > 0:
                data += sent
                left -= sent
            elif errno == EAGAIN and tries < TRIES_MAX:
                tries += 1
                self.waits += 1
                pacer_wait_writable(fd)
            elif errno != EINTR:
                return False
        return True


cdef copy_text(Text* text, slots):
    cdef bytes frame = slots.frame
    cdef Py_ssize_t index
    cdef const char* source = frame
    text.size = len(frame)
    text.id_at, text.bid_qty_at, text.ask_qty_at = slots.id_at, slots.bid_qty_at, slots.ask_qty_at
    text.first_at, text.previous_at = slots.first_at, slots.previous_at
    for index in range(TIMES):
        text.time_at[index] = slots.time_at[index]
    text.bytes = <char*> PyMem_Calloc(text.size, 1)
    if text.bytes == NULL:
        raise MemoryError
    for index in range(text.size):
        text.bytes[index] = source[index]
