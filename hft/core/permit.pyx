"""The permit: the short lease on trading that risk renews and execution checks.

One aligned 64-bit word, so that a reader never sees half of it: bits 0 and 1 are the
``TradingState``, the bits above are the expiry in monotonic microseconds.
"""

from libc.stdint cimport int64_t, uint64_t

from hft.records import TradingState

assert REDUCING == TradingState.REDUCING


def pack_permit(int state, int64_t expires_ns) -> int:
    """The word for a state that holds until ``expires_ns`` (monotonic)."""
    return <uint64_t> (expires_ns // NS_PER_US) << STATE_BITS | <uint64_t> state


def permit_expires_ns(uint64_t word) -> int:
    """Monotonic time until which the word holds."""
    return <int64_t> (word >> STATE_BITS) * NS_PER_US


def permit_state(uint64_t word):
    """State in the word, whether or not it has expired."""
    return TradingState(word & STATE_MASK)


def permit_is_reducing(uint64_t word) -> bool:
    """True when the word allows only what shrinks a position, whether or not it has expired."""
    return is_reducing(word)


def permit_grants(uint64_t word, int64_t now_ns) -> bool:
    """True while orders may be sent at all: not halted and not expired."""
    return grants(word, now_ns)
