"""The way of a market frame from the socket to who decodes it: calls in C, no object a frame."""
cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cdef extern from "<sys/socket.h>" nogil:
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size)

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_QUICKACK


cdef void acknowledge(int fd) noexcept nogil:
    """Tell the sender of what has come, and from now on of nothing before this is called again.

    Left to itself the kernel does so as it hands the bytes over, or even takes them in: a packet's
    way back through the stack, for which the frame has to wait. Nor is it left to the 40 ms that it
    may take (tcp(7), TCP_QUICKACK, which lasts until the next acknowledgement and is therefore set
    each time): a sender with Nagle's algorithm would wait for it.
    """
    cdef int is_quick = 1
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &is_quick, sizeof(is_quick))
    is_quick = 0
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &is_quick, sizeof(is_quick))


cdef int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef class FrameSink:
    """Takes market frames, and hears when all frames of one read are in. Subclassed in C."""

    cdef int take(self, const char *payload, Py_ssize_t size, int64_t recv_ns) except -1:
        """One data frame; the memory is valid only during the call."""
        raise NotImplementedError

    cdef int end_batch(self) except -1:
        """The read is over."""
        raise NotImplementedError

    def on_frame(self, payload, int64_t recv_ns):
        """A frame in any buffer: for who has no pointer to it."""
        cdef Py_buffer view
        PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
        try:
            if not self.is_broken:
                self.take(<const char *> view.buf, view.len, recv_ns)
        finally:
            PyBuffer_Release(&view)

    def on_batch_end(self):
        """The end of a batch that did not come from a socket."""
        if not self.is_broken:
            self.end_batch()


@cython.final
cdef class CallbackSink(FrameSink):
    """Hands frames to functions: ``on_frame(payload, recv_ns)`` and ``on_batch_end()``."""

    def __init__(self, on_frame, on_batch_end=None):
        self.frame_handler = on_frame
        self.batch_handler = on_batch_end

    cdef int take(self, const char *payload, Py_ssize_t size, int64_t recv_ns) except -1:
        self.frame_handler(PyMemoryView_FromMemory(<char *> payload, size, PyBUF_READ), recv_ns)
        return 0

    cdef int end_batch(self) except -1:
        if self.batch_handler is not None:
            self.batch_handler()
        return 0


@cython.final
cdef class FrameListener(WSListener):
    """Hears of one socket. Whole texts go to the sink, all else to the owner.

    What a read brought is acknowledged when it has been worked on.

    Args:
        owner: The connection: ``on_ws_connected``, ``on_ws_disconnected``, ``on_other_frame`` and,
            while ``is_gated``, ``on_gated``.
        sink: Who takes the frames.
        on_error: Hears of an exception in sink or owner, after which the sink takes nothing more;
            None: it is raised, and ends the connection.
        is_delivering: False: a candidate, whose turn comes later.
    """

    def __init__(self, owner, FrameSink sink not None, on_error=None, *, bint is_delivering=True):
        self.owner = owner
        self.sink = sink
        self.on_error = on_error
        self.fd = -1
        self.is_read_new = True
        self.is_gated = True
        self.is_delivering = is_delivering

    cpdef on_ws_connected(self, WSTransport transport):
        """Called before any frame."""
        self.transport = transport
        self.read_ready = getattr(transport.underlying_transport, "_read_ready", None)
        socket = transport.underlying_transport.get_extra_info("socket")
        if socket is not None:
            self.fd = socket.fileno()
            acknowledge(self.fd)
        self.owner.on_ws_connected(transport)

    cpdef on_ws_disconnected(self, WSTransport transport):
        """The socket is gone."""
        self.transport = self.read_ready = None
        self.fd = -1
        self.owner.on_ws_disconnected(transport)

    cpdef read(self):
        """Do now what the loop does when it finds the socket readable, which it need not be.

        For who comes by more often than the loop. It is left to the loop where the transport has no
        such step (``_read_ready`` of the selector transports of asyncio and aiofastnet).
        """
        if self.read_ready is not None and not self.transport.is_disconnected:
            self.read_ready()

    cpdef is_user_specific_pong(self, WSFrame frame):
        """Never: a pong that is swallowed may be the last frame of a read, and end a batch."""
        return False

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Every frame of the socket. One clock read for all frames of one read."""
        if self.sink.is_broken:
            return
        try:
            self.hand_on(transport, frame)
        except Exception as error:
            if self.on_error is None:
                raise
            self.sink.is_broken = True
            self.on_error(error)

    cdef int hand_on(self, WSTransport transport, WSFrame frame) except -1:
        cdef bint is_last = frame.last_in_buffer
        if self.is_read_new:
            self.recv_ns = monotonic_ns()
        self.is_read_new = is_last
        self.frames += 1
        if frame.msg_type != WSMsgType.TEXT or not frame.fin:
            self.owner.on_other_frame(transport, frame)
        elif self.is_gated:
            self.owner.on_gated(frame.get_payload_as_memoryview())
        else:
            self.sink.take(frame.payload_ptr, frame.payload_size, self.recv_ns)
        if is_last:
            if self.is_delivering:
                self.sink.end_batch()
            if self.fd >= 0:
                acknowledge(self.fd)
        return 0
