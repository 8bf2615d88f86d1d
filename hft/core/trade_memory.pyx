"""Which trades were already counted: a bounded memory of (instrument, trade id, side).

The venue numbers trades by symbol, and repeats and reorders its messages about them. The side is
part of the key because both sides of a trade with oneself carry the same number.

A ring keeps the keys in the sequence of their coming, a hash table beside it finds them; both have
their size from the first trade on, so that nothing grows while a system trades.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

TRADES_MAX = 65_536

cdef enum:
    INSTRUMENT_SHIFT = 57
    TRADE_SHIFT = 1

cdef uint64_t TRADE_MASK = (<uint64_t> 1 << (INSTRUMENT_SHIFT - TRADE_SHIFT)) - 1


cdef class TradeMemory:
    """Remembers the newest trades; the oldest are forgotten first."""

    cdef uint64_t *ring
    cdef uint64_t *slots
    cdef uint64_t capacity
    cdef uint64_t mask
    cdef uint64_t count
    cdef uint64_t added

    def __cinit__(self, uint64_t capacity=TRADES_MAX):
        cdef uint64_t size = 2
        if not capacity:
            raise ValueError("a memory of no trade remembers nothing")
        while size < 2 * capacity:
            size *= 2
        self.capacity = capacity
        self.mask = size - 1

    def __dealloc__(self):
        free(self.ring)
        free(self.slots)

    def reserve(self):
        """Take all memory now: whoever lives long does so at its start."""
        cdef size_t ring_bytes = self.capacity * sizeof(uint64_t)
        cdef size_t slot_bytes = (self.mask + 1) * sizeof(uint64_t)
        if self.ring != NULL:
            return
        self.ring = <uint64_t *> malloc(ring_bytes)
        self.slots = <uint64_t *> malloc(slot_bytes)
        if self.ring == NULL or self.slots == NULL:
            raise MemoryError
        memset(self.ring, 0, ring_bytes)
        memset(self.slots, 0, slot_bytes)

    def add(self, uint64_t instrument_id, int64_t trade_id, int side):
        """Note a trade. False: it was already known and must not be counted again."""
        cdef uint64_t key = key_of(instrument_id, trade_id, side)
        cdef uint64_t index, place
        if self.ring == NULL:
            self.reserve()
        index = self.find(key)
        if self.slots[index] == key:
            return False
        place = self.added % self.capacity
        if self.count == self.capacity:
            self.forget(self.ring[place])
            index = self.find(key)  # what moved up may have taken the slot
        else:
            self.count += 1
        self.ring[place] = key
        self.slots[index] = key
        self.added += 1
        return True

    def knows(self, uint64_t instrument_id, int64_t trade_id, int side):
        """Whether the trade was counted already."""
        cdef uint64_t key = key_of(instrument_id, trade_id, side)
        return self.ring != NULL and self.slots[self.find(key)] == key

    def __len__(self):
        return self.count

    cdef uint64_t find(self, uint64_t key) noexcept nogil:
        """The slot of a key, or the empty one where it belongs."""
        cdef uint64_t index = home_of(key) & self.mask
        while self.slots[index] and self.slots[index] != key:
            index = (index + 1) & self.mask
        return index

    cdef void forget(self, uint64_t key) noexcept nogil:
        """Empty a key's slot, and let those move up that a search would no longer reach."""
        cdef uint64_t hole = self.find(key)
        cdef uint64_t index = hole
        cdef uint64_t home
        while True:
            index = (index + 1) & self.mask
            if not self.slots[index]:
                break
            home = home_of(self.slots[index]) & self.mask
            # It may fill the hole unless its home lies behind the hole, up to where it stands.
            if ((index - home) & self.mask) >= ((index - hole) & self.mask):
                self.slots[hole] = self.slots[index]
                hole = index
        self.slots[hole] = 0


cdef inline uint64_t key_of(uint64_t instrument_id, int64_t trade_id, int side) noexcept nogil:
    """Never 0, which stands for an empty slot: the number is kept one larger."""
    return (
        instrument_id << INSTRUMENT_SHIFT
        | (<uint64_t> (trade_id + 1) & TRADE_MASK) << TRADE_SHIFT
        | (side > 0)
    )


cdef inline uint64_t home_of(uint64_t key) noexcept nogil:
    """Spread consecutive trade numbers over the table (the finaliser of MurmurHash3, 64 bits)."""
    key ^= key >> 33
    key *= <uint64_t> 0xFF51AFD7ED558CCD
    key ^= key >> 33
    key *= <uint64_t> 0xC4CEB9FE1A85EC53
    return key ^ (key >> 33)
