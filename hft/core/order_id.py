"""Order ids: unique for ever, chosen before sending, and telling who asked.

::

    63            56 55                              24 23                      0
    ├───────────────┼──────────────────────────────────┼────────────────────────┤
      0 | source (7)   epoch, seconds since 1970 (32)      sequence (24), from 1

A set top bit says that the order is not ours: 7 bits of the instrument's number and 56 of the
venue's order id make up the rest: whoever meets the order gives it the same id.

``source`` is the strategy id of the desk, or ``SOURCE_MANUAL`` for orders by hand. ``epoch`` is the
epoch of the role page that hands the ids out: ``max(stored + 1, wall-clock seconds)``, so that a
lost file never leads to an id used before. Ids of one source only ever grow, which is how risk sees
a repeated one.
"""

from __future__ import annotations

from typing import Final

from hft.errors import HftError

SOURCE_MAX: Final = 127
SOURCE_MANUAL: Final = 127
"""Orders that a person places; no strategy has this id."""
STRATEGY_MAX: Final = SOURCE_MANUAL - 1
"""Highest strategy id."""
EPOCH_MAX: Final = 2**32 - 1
SEQUENCE_MAX: Final = 2**24 - 1
_SOURCE_SHIFT: Final = 56
_EPOCH_SHIFT: Final = 24
_FOREIGN: Final = 1 << 63
_VENUE_MASK: Final = (1 << _SOURCE_SHIFT) - 1


class OrderIdsExhaustedError(HftError):
    """One epoch has handed out all its sequence numbers."""

    def __init__(self, *, source: int, epoch: int) -> None:
        super().__init__(
            f"source {source} has used all {SEQUENCE_MAX} order ids of epoch {epoch}",
            remedy="Restart the role that hands them out: it begins a new epoch.",
        )
        self.source = source
        self.epoch = epoch


def make_order_id(source: int, epoch: int, seq: int) -> int:
    """The id of the ``seq``-th order of a source in an epoch."""
    assert 0 < source <= SOURCE_MAX
    assert 0 < epoch <= EPOCH_MAX
    assert 0 < seq <= SEQUENCE_MAX
    return source << _SOURCE_SHIFT | epoch << _EPOCH_SHIFT | seq


def foreign_order_id(instrument_id: int, venue_order_id: int) -> int:
    """The id under which the books keep an order that is not ours."""
    assert 0 <= instrument_id <= SOURCE_MAX
    assert venue_order_id > 0
    return _FOREIGN | instrument_id << _SOURCE_SHIFT | venue_order_id & _VENUE_MASK


def is_foreign(order_id: int) -> bool:
    """Whether the id stands for an order that is not ours."""
    return bool(order_id & _FOREIGN)


def source_of(order_id: int) -> int:
    """Who chose the id: a strategy, ``SOURCE_MANUAL``; 128 and above: nobody of ours."""
    return order_id >> _SOURCE_SHIFT


def epoch_of(order_id: int) -> int:
    """Epoch in which the id was chosen, seconds since 1970."""
    return order_id >> _EPOCH_SHIFT & EPOCH_MAX


def sequence_of(order_id: int) -> int:
    """Number of the order within its source and epoch."""
    return order_id & SEQUENCE_MAX
