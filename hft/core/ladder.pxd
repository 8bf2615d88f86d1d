"""One side of an order book: sorted levels in two flat arrays. C-level and inlined."""
from libc.stdint cimport INT64_MIN, int64_t, uint16_t
from libc.stdlib cimport free
from libc.string cimport memmove

from hft.core.depth cimport DepthUpdate, grow

cdef enum:
    BOOK_LEVELS = 20
    LEVELS_START = 1024
    NEAR_LEVELS = 128


cdef struct Ladder:
    # Keys ascend and the best stands last, so that changes near the top move little:
    # key = price for bids, -price for asks. Levels with keys below ``floor`` may be missing.
    int64_t *keys
    int64_t *qtys
    Py_ssize_t count
    Py_ssize_t capacity
    int64_t floor


cdef inline Py_ssize_t ladder_find(const Ladder *ladder, int64_t key) noexcept nogil:
    """Number of keys below ``key``.

    Most changes are near the best, at the end. The bisection has no branch that depends on the
    data: mispredicted ones cost more than the steps.
    """
    cdef const int64_t *keys = ladder.keys
    cdef Py_ssize_t span = ladder.count
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t half
    if span > NEAR_LEVELS and keys[span - NEAR_LEVELS] < key:
        low = span - NEAR_LEVELS
        span = NEAR_LEVELS
    while span > 0:
        half = (span + 1) // 2
        low += half * (keys[low + half - 1] < key)
        span -= half
    return low


cdef inline void ladder_trim(Ladder *ladder) noexcept nogil:
    """Drop the worst quarter, so that a full side is not moved for each new level."""
    cdef Py_ssize_t dropped = ladder.count // 4
    ladder.count -= dropped
    memmove(ladder.keys, ladder.keys + dropped, ladder.count * sizeof(int64_t))
    memmove(ladder.qtys, ladder.qtys + dropped, ladder.count * sizeof(int64_t))
    ladder.floor = max(ladder.floor, ladder.keys[0])


cdef inline bint ladder_set(
        Ladder *ladder, int64_t key, int64_t qty, Py_ssize_t levels_max) noexcept nogil:
    """Set the absolute quantity of one level; 0 removes it. False: out of memory."""
    cdef Py_ssize_t place = ladder_find(ladder, key)
    cdef bint is_held = place < ladder.count and ladder.keys[place] == key
    cdef Py_ssize_t behind, capacity
    if is_held and qty:
        ladder.qtys[place] = qty
        return True
    if is_held:
        ladder.count -= 1
        behind = (ladder.count - place) * sizeof(int64_t)
        memmove(ladder.keys + place, ladder.keys + place + 1, behind)
        memmove(ladder.qtys + place, ladder.qtys + place + 1, behind)
        return True
    if not qty:
        return True
    if ladder.count == levels_max:
        ladder_trim(ladder)
        if key < ladder.floor:
            return True
        place = ladder_find(ladder, key)
    if ladder.count == ladder.capacity:
        capacity = min(max(2 * ladder.capacity, <Py_ssize_t> LEVELS_START), levels_max)
        if not (
                grow(<void **> &ladder.keys, capacity * sizeof(int64_t))
                and grow(<void **> &ladder.qtys, capacity * sizeof(int64_t))):
            return False
        ladder.capacity = capacity
    behind = (ladder.count - place) * sizeof(int64_t)
    memmove(ladder.keys + place + 1, ladder.keys + place, behind)
    memmove(ladder.qtys + place + 1, ladder.qtys + place, behind)
    ladder.keys[place] = key
    ladder.qtys[place] = qty
    ladder.count += 1
    return True


cdef inline bint ladder_is_thin(Ladder *ladder) noexcept nogil:
    """Are fewer than twenty levels from the top certain to be complete?"""
    if ladder.floor == INT64_MIN:
        return False
    return ladder.count < BOOK_LEVELS or ladder.keys[ladder.count - BOOK_LEVELS] < ladder.floor


cdef inline int ladder_load(
        Ladder *ladder, DepthUpdate update, Py_ssize_t start, Py_ssize_t count, int sign,
        Py_ssize_t levels_limit, Py_ssize_t levels_max) except -1:
    """Replace everything by one side of a snapshot."""
    cdef Py_ssize_t i
    ladder.count = 0
    ladder.floor = INT64_MIN
    # The venue sends the best level first: from the back, each one is appended at the end.
    for i in range(start + count - 1, start - 1, -1):
        if not ladder_set(ladder, sign * update.prices[i], update.qtys[i], levels_max):
            raise MemoryError
    if count >= levels_limit and ladder.count:
        ladder.floor = max(ladder.floor, ladder.keys[0])
    return 0


cdef inline uint16_t ladder_copy(
        const Ladder *ladder, int sign, int64_t *prices, int64_t *qtys) noexcept nogil:
    """Copy up to twenty levels out, best first; how many."""
    cdef Py_ssize_t copied = min(ladder.count, <Py_ssize_t> BOOK_LEVELS)
    cdef Py_ssize_t i
    for i in range(copied):
        prices[i] = sign * ladder.keys[ladder.count - 1 - i]
        qtys[i] = ladder.qtys[ladder.count - 1 - i]
    return <uint16_t> copied


cdef inline void ladder_free(Ladder *ladder) noexcept nogil:
    free(ladder.keys)
    free(ladder.qtys)
