"""Which callback runs, and the look at it with every SIGALRM: no Python while all is well.

The handler that ``signal.signal`` sets writes to the event loop's wakeup descriptor and wakes the
loop; its Python half runs at the next bytecode, most often the first of a callback, and delays it.
"""
from libc.errno cimport errno
from libc.signal cimport SIGALRM
from posix.signal cimport SA_ONSTACK, sigaction, sigaction_t, sigemptyset

cdef extern from "Python.h" nogil:
    int PyErr_SetInterruptEx(int number)

cdef CallbackMark watched = None  # for the handler, and kept alive for it


cdef class CallbackMark:
    """Where the engine is: ``calls`` begun, and the number of the one that runs; 0: none.

    ``overran`` is the newest that more than ``ticks_max`` looks in a row have found.
    """

    def look_at_ticks(self):
        """Look with every SIGALRM, until ``signal.signal`` sets something else for it.

        What ``signal.signal`` has set before is called only for a callback that overran.

        Raises:
            OSError: the kernel does not take the handler.
        """
        global watched
        cdef sigaction_t action
        watched = self
        self.seen = self.ticks = self.overran = 0
        action.sa_handler = look
        sigemptyset(&action.sa_mask)
        action.sa_flags = SA_ONSTACK  # no SA_RESTART: who waits in a system call is interrupted
        if sigaction(SIGALRM, &action, NULL):
            raise OSError(errno, "sigaction")


cdef void look(int number) noexcept nogil:
    """A signal handler: it may come between any two instructions, with or without the GIL."""
    global errno
    cdef int64_t inside = watched.inside
    cdef int errno_before
    if not inside or inside != watched.seen:
        watched.seen = inside
        watched.ticks = 0
    watched.ticks += 1
    # The first look only takes note of the callback: what it finds may have begun just now.
    if inside and watched.ticks > watched.ticks_max:
        watched.ticks = 0
        watched.overran = inside
        errno_before = errno
        PyErr_SetInterruptEx(number)
        errno = errno_before
