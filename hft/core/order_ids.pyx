"""Hands out order ids (``hft/core/order_id.py``) without a detour through the interpreter."""
cimport cython
from libc.stdint cimport uint64_t

from hft.core import order_id as ids


@cython.final
cdef class OrderIdMaker:
    """Hands out the ids of one source in one epoch, in ascending order."""

    def __init__(self, int source, uint64_t epoch):
        self.source = source
        self.epoch = epoch
        self.next_id = ids.make_order_id(source, epoch, 1)
        self.last_id = ids.make_order_id(source, epoch, ids.SEQUENCE_MAX)

    def next(self):
        """A fresh id.

        Raises:
            OrderIdsExhaustedError: all 16,777,215 ids of the epoch are used.
        """
        return self.take()

    cdef uint64_t take(self) except 0:
        cdef uint64_t order_id = self.next_id
        if order_id > self.last_id:
            raise ids.OrderIdsExhaustedError(source=self.source, epoch=self.epoch)
        self.next_id = order_id + 1
        return order_id
