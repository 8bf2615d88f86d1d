"""A timer that an event loop watches like a socket, through Linux' timerfd.

The loop's own timers end its sleep by a timeout: each sleep arms one in the kernel and each
wake-up takes it back, in front of whoever was woken. This one is armed once.
"""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, itimerspec
from posix.unistd cimport close, read


cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_CLOEXEC
    int TFD_NONBLOCK
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* new_value, itimerspec* old_value)


@cython.final
cdef class PeriodicTimer:
    """Its descriptor ``fd`` can be read after every period, until the object is gone.

    Args:
        period_ns: From now to the first expiration, and between two of them.

    Raises:
        ValueError: The period is not positive.
        OSError: The process has no descriptor left.
    """

    cdef readonly int fd

    def __cinit__(self):
        self.fd = -1

    def __init__(self, int64_t period_ns):
        cdef itimerspec spec
        if period_ns <= 0:
            raise ValueError(f"a timer needs a positive period, not {period_ns} ns")
        if self.fd >= 0:
            close(self.fd)
        self.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.fd < 0:
            PyErr_SetFromErrno(OSError)
        spec.it_value.tv_sec = spec.it_interval.tv_sec = period_ns // 1_000_000_000
        spec.it_value.tv_nsec = spec.it_interval.tv_nsec = period_ns % 1_000_000_000
        if timerfd_settime(self.fd, 0, &spec, NULL) < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)

    def take(self) -> int:
        """Periods that ended since the last call; 0: none. Does not wait."""
        cdef uint64_t periods = 0
        if read(self.fd, &periods, sizeof(periods)) != sizeof(periods):
            return 0
        return periods
