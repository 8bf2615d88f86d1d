"""Market frames from the socket, for who takes them without an object for each."""
from libc.stdint cimport int64_t, uint64_t

from picows.picows cimport WSFrame, WSListener, WSTransport


cdef int64_t monotonic_ns() noexcept nogil


cdef class FrameSink:
    # True after an error: what is held may be torn, and nothing is taken any more.
    cdef public bint is_broken

    cdef int take(self, const char *payload, Py_ssize_t size, int64_t recv_ns) except -1
    cdef int end_batch(self) except -1


cdef class CallbackSink(FrameSink):
    cdef object frame_handler
    cdef object batch_handler


cdef class FrameListener(WSListener):
    cdef object owner
    cdef FrameSink sink
    cdef object on_error
    cdef WSTransport transport
    cdef object read_ready
    cdef int fd  # of the socket; -1: there is none
    cdef bint is_read_new
    cdef public bint is_gated
    cdef public bint is_delivering
    cdef readonly uint64_t frames
    cdef readonly int64_t recv_ns

    cpdef read(self)
    cdef int hand_on(self, WSTransport transport, WSFrame frame) except -1
