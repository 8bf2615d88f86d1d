"""The last steps of a request: from a text in memory to the socket, without the interpreter."""
from libc.stdint cimport int64_t

from hft.venues.binance_usdm.frames cimport monotonic_ns
from picows.picows cimport WSMsgType, WSTransport

from hft.venues.binance_usdm.errors import SessionDownError


cdef class Debts:
    """What the venue owes on one connection.

    ``in_flight`` requests have no answer. ``due`` answers are waited for: none is, once a later
    question has been answered; ``waiting_ns``: monotonic, since when, with nothing at all coming;
    0: none is due.
    """


cdef class OrderLine:
    """Carries requests over the connection that can carry one now, if there is any.

    ``_is_swallowing``: without a connection requests vanish, which only a rehearsal wants.
    """

    def __init__(self, clock_ns=None):
        """``clock_ns`` None: the system's monotonic clock."""
        self.own_clock_ns = clock_ns
        self._debts = Debts()

    @property
    def is_ready(self):
        """``send`` will put bytes on the wire."""
        return self.can_carry()

    def send(self, text):
        """Write one request to the socket, now.

        Raises:
            SessionDownError: nothing was sent, there is no connection that could carry it.
        """
        if not self.can_carry():
            raise SessionDownError(
                "the order session has no usable connection",
                remedy="wait for UP; the session reconnects by itself",
            )
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, text)
        self.note_sent()

    cdef bint can_carry(self) noexcept:
        return self._transport is not None or self._is_swallowing

    cdef bint carry(self, char *text, Py_ssize_t length) except -1:
        """``send`` of a text that is masked where it lies. False: nothing was sent, as above.

        In front of it there are ``HEADER_BYTES``, behind it ``TAIL_BYTES``, both of no use.
        """
        if not self.can_carry():
            return False
        if self._transport is not None:
            self._transport.send_reuse_external_buffer(WSMsgType.TEXT, text, length)
        self.note_sent()
        return True

    cdef int note_sent(self) except -1:
        cdef Debts debts = self._debts
        debts.in_flight += 1
        debts.due += 1
        if not debts.waiting_ns:
            debts.waiting_ns = (
                monotonic_ns() if self.own_clock_ns is None else self.own_clock_ns())
        return 0
