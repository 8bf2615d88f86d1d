"""The venue's wall clock as far as we know it: ours, and what was measured between the two."""
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec


cdef class VenueClock:
    """Our wall clock plus ``offset_ns``; another wall clock than the system's may be given."""

    def __init__(self, int64_t offset_ns=0, *, wall_ns=None):
        self.offset_ns = offset_ns
        self.wall_ns = wall_ns

    @property
    def venue_ns(self):
        """The venue's time now."""
        return self.now_ns()

    cdef int64_t now_ns(self) except? -1:
        cdef timespec now
        if self.wall_ns is not None:
            return <int64_t> self.wall_ns() + self.offset_ns
        clock_gettime(CLOCK_REALTIME, &now)
        return <int64_t> now.tv_sec * 1_000_000_000 + now.tv_nsec + self.offset_ns
