"""What the engine and the targets hand each other for every intent."""
cimport cython

from hft import units
from hft.records import Action, OrderType, Tif

cdef object UNKNOWN = Action.UNKNOWN
cdef object LIMIT = OrderType.LIMIT
cdef object GTC = Tif.GTC


@cython.final
@cython.freelist(16)
cdef class Change:
    """One intent to offer. Those of targets are reused: valid until the next ``changes``.

    ``qty_e8``: the order's quantity, total also for an amend; 0 for a cancel. ``order_id``: the
    order to change; 0 for a place.
    """

    def __init__(self, side, action=UNKNOWN):
        self.side = side
        self.action = action
        self.order_type = LIMIT
        self.tif = GTC
        self.is_post_only = True

    def __repr__(self):
        return (
            f"Change({self.action.name} {self.side.name} {self.qty_e8 / units.E8:g} @ "
            f"{self.price_e8 / units.E8:g} order={self.order_id:#x})"
        )


@cython.final
cdef class Inventory:
    """The position of an instrument in one book: all desks on it see the same.

    ``executions_seq``: fills up to here are in it. ``adjusted_e8``: what it has of corrections
    that no execution explains.
    """

    def __cinit__(self):
        self.position_e8 = self.adjusted_e8 = 0
