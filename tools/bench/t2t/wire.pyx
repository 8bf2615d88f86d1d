"""Sockets of ``hft bench t2t`` without an event loop: stamped writes and reads, and the C floor.

``send_stamped`` and ``Poller`` are the venue's side: the clock is read right before the write of a
frame and right after the read that brings an order. ``FloorClient`` is the least that a client can
do: poll the stream, compare one price as text, copy it into an order frame that was built before.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy, memmove

cdef extern from * nogil:
    """
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <poll.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <time.h>

    static inline int64_t wire_now_ns(clockid_t clock)
    {
        struct timespec now;
        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }

    static inline ssize_t wire_send(int fd, const char *data, size_t size)
    {
        return send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    static inline ssize_t wire_recv(int fd, char *data, size_t size)
    {
        return recv(fd, data, size, MSG_DONTWAIT);
    }

    static inline void wire_acknowledge(int fd)
    {
        for (int is_quick = 1; is_quick >= 0; is_quick--)
            setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &is_quick, sizeof(is_quick));
    }

    static inline void wire_wait_writable(int fd)
    {
        struct pollfd one = {fd, POLLOUT, 0};
        poll(&one, 1, 100);
    }

    static inline const char *wire_find(const char *hay, size_t size, const char *word,
                                        size_t length)
    {
        return (const char *)memmem(hay, size, word, length);
    }
    """
    int CLOCK_MONOTONIC
    int CLOCK_REALTIME
    int64_t wire_now_ns(int clock)
    Py_ssize_t wire_send(int fd, const char* data, size_t size)
    Py_ssize_t wire_recv(int fd, char* data, size_t size)
    void wire_acknowledge(int fd)
    void wire_wait_writable(int fd)
    const char* wire_find(const char* hay, size_t size, const char* word, size_t length)

cdef enum:
    SOCKETS_MAX = 16
    READ_BYTES = 65536
    TRIES_MAX = 50
    TIME_DIGITS = 13
    PRICE_BYTES_MAX = 24


def send_stamped(int fd, bytes frame):
    """Write a whole frame; returns the monotonic ns right before the first write.

    Raises:
        OSError: the connection is gone, or took nothing for five seconds.
    """
    cdef const char* data = frame
    cdef Py_ssize_t left = len(frame)
    cdef Py_ssize_t sent
    cdef int tries = 0
    cdef int64_t at_ns
    with nogil:
        at_ns = wire_now_ns(CLOCK_MONOTONIC)
        while left:
            sent = wire_send(fd, data, left)
            if sent > 0:
                data += sent
                left -= sent
            elif errno == EAGAIN and tries < TRIES_MAX:
                tries += 1
                wire_wait_writable(fd)
            elif errno != EINTR:
                break
    if left:
        raise OSError(errno, "the reader is gone or does not read")
    return at_ns


cdef class Poller:
    """Reads several sockets by asking each in turn; the first that has something is returned."""

    cdef int _fds[SOCKETS_MAX]
    cdef int _count
    cdef char _buffer[READ_BYTES]
    cdef readonly int fd
    """Where the last read came from."""
    cdef readonly int64_t at_ns
    """Monotonic ns right after that read."""

    def watch(self, int fd):
        """Ask this socket as well.

        Raises:
            ValueError: there are too many.
        """
        if self._count == SOCKETS_MAX:
            raise ValueError(f"more than {SOCKETS_MAX} sockets")
        self._fds[self._count] = fd
        self._count += 1

    def forget(self, int fd):
        """Ask it no more."""
        cdef int index
        for index in range(self._count):
            if self._fds[index] == fd:
                self._count -= 1
                self._fds[index] = self._fds[self._count]
                return

    def wait_until(self, int64_t due_ns):
        """What the first socket delivers; None: nothing came until ``due_ns``, monotonic.

        Each socket is asked at least once. Empty bytes: the other side has closed, or reset.
        """
        cdef int index
        cdef Py_ssize_t got = -1
        with nogil:
            while True:
                for index in range(self._count):
                    got = wire_recv(self._fds[index], self._buffer, READ_BYTES)
                    if got >= 0 or (errno != EAGAIN and errno != EINTR):
                        self.at_ns = wire_now_ns(CLOCK_MONOTONIC)
                        self.fd = self._fds[index]
                        break
                else:
                    if wire_now_ns(CLOCK_MONOTONIC) < due_ns:
                        continue
                    with gil:
                        return None
                break
        return self._buffer[:got] if got > 0 else b""


cdef class FloorClient:
    """Answers each change of the best bid with the order frame, its price copied from the tick.

    Args:
        stream_fd: Delivers bookTicker frames of one symbol.
        order_fd: Takes the orders; what it answers is read and thrown away.
        order_frame: The whole frame, masked.
        price_at: Where its price begins.
        time_at: Where its timestamp of 13 digits begins.
        key: The frame's masking key; the payload begins at ``payload_at``.
    """

    cdef int _stream_fd
    cdef int _order_fd
    cdef bytearray _frame
    cdef Py_ssize_t _price_at
    cdef Py_ssize_t _time_at
    cdef Py_ssize_t _payload_at
    cdef unsigned char _key[4]
    cdef char _buffer[READ_BYTES]
    cdef char _waste[READ_BYTES]
    cdef char _price[PRICE_BYTES_MAX]
    cdef Py_ssize_t _price_bytes

    def __init__(self, int stream_fd, int order_fd, bytes order_frame, *, Py_ssize_t price_at,
                 Py_ssize_t time_at, Py_ssize_t payload_at, bytes key):
        self._stream_fd = stream_fd
        self._order_fd = order_fd
        self._frame = bytearray(order_frame)
        self._price_at = price_at
        self._time_at = time_at
        self._payload_at = payload_at
        for index in range(4):
            self._key[index] = key[index]

    cdef inline void put(self, char* frame, Py_ssize_t at, const char* text,
                         Py_ssize_t size) noexcept nogil:
        cdef Py_ssize_t index
        for index in range(size):
            frame[at + index] = text[index] ^ self._key[(at + index - self._payload_at) & 3]

    cdef inline void put_time(self, char* frame) noexcept nogil:
        cdef char digits[TIME_DIGITS]
        cdef int64_t left = wire_now_ns(CLOCK_REALTIME) // 1000000
        cdef int index
        for index in range(TIME_DIGITS - 1, -1, -1):
            digits[index] = <char>(48 + left % 10)
            left //= 10
        self.put(frame, self._time_at, digits, TIME_DIGITS)

    cdef inline void on_frame(self, char* frame, Py_ssize_t frame_bytes, const char* payload,
                              Py_ssize_t size) noexcept nogil:
        cdef const char* price = wire_find(payload, size, b'"b":"', 5)
        cdef Py_ssize_t length = 0
        if price == NULL:
            return
        price += 5
        while length < PRICE_BYTES_MAX and price[length] != 34:
            length += 1
        if length == self._price_bytes and memcmp(price, self._price, length) == 0:
            # Nothing to do now: prepare what the next order needs, and read the answers.
            self.put_time(frame)
            wire_recv(self._order_fd, self._waste, READ_BYTES)
            return
        if self._price_bytes == length:
            self.put(frame, self._price_at, price, length)
            wire_send(self._order_fd, frame, frame_bytes)
        self._price_bytes = length
        memcpy(self._price, price, length)

    def run(self):
        """Poll until the venue closes the stream."""
        cdef char* frame = self._frame
        cdef Py_ssize_t frame_bytes = len(self._frame)
        cdef Py_ssize_t filled = 0, used, got, head, size
        cdef unsigned char* at
        with nogil:
            wire_acknowledge(self._stream_fd)  # put off until the work is done, as in the script
            while True:
                got = wire_recv(self._stream_fd, self._buffer + filled, READ_BYTES - filled)
                if got <= 0:
                    if got == 0 or (errno != EAGAIN and errno != EINTR):
                        break
                    continue
                filled += got
                used = 0
                while filled - used >= 4:
                    at = <unsigned char*>self._buffer + used
                    head, size = 2, at[1] & 127
                    if size == 126:
                        head, size = 4, at[2] << 8 | at[3]
                    if filled - used < head + size:
                        break
                    if at[0] & 15 == 1:
                        self.on_frame(frame, frame_bytes, <char*>at + head, size)
                    used += head + size
                filled -= used
                if filled and used:
                    memmove(self._buffer, self._buffer + used, filled)
                wire_acknowledge(self._stream_fd)
