"""The permit: the short lease on trading that risk renews and execution checks.

One aligned 64-bit word, so that a reader never sees half of it: bits 0 and 1 are the
``TradingState``, the bits above are the expiry in monotonic microseconds.
"""

from __future__ import annotations

from hft.records import TradingState
from hft.units import NS_PER_US

_STATE_BITS = 2
_STATE_MASK = 3
_REDUCING = int(TradingState.REDUCING)


def pack_permit(state: TradingState, expires_ns: int) -> int:
    """The word for a state that holds until ``expires_ns`` (monotonic)."""
    return (expires_ns // NS_PER_US) << _STATE_BITS | int(state)


def permit_expires_ns(word: int) -> int:
    """Monotonic time until which the word holds."""
    return (word >> _STATE_BITS) * NS_PER_US


def permit_state(word: int) -> TradingState:
    """State in the word, whether or not it has expired."""
    return TradingState(word & _STATE_MASK)


def permit_is_reducing(word: int) -> bool:
    """True when the word allows only what shrinks a position, whether or not it has expired."""
    return word & _STATE_MASK == _REDUCING


def permit_grants(word: int, now_ns: int) -> bool:
    """True while orders may be sent at all: not halted and not expired."""
    return word & _STATE_MASK != 0 and now_ns < (word >> _STATE_BITS) * NS_PER_US
