"""One side of an order book: sorted levels in two flat arrays. C-level and inlined."""
from libc.stdint cimport INT64_MIN, int64_t, uint16_t
from libc.stdlib cimport free
from libc.string cimport memmove

from hft.core.depth cimport DepthUpdate, grow

cdef enum:
    BOOK_LEVELS = 20
    LEVELS_START = 1024
    NEAR_LEVELS = 31  # five steps


cdef struct Ladder:
    # Keys ascend and the best stands last, so that changes near the top move little:
    # key = price for bids, -price for asks. A level that is removed keeps its place with quantity 0
    # until room is needed: most prices come back, and nothing has to be moved either time. The last
    # place is never such a one. Levels with keys below ``floor`` may be missing.
    int64_t *keys
    int64_t *qtys
    Py_ssize_t count
    Py_ssize_t capacity
    Py_ssize_t latest  # where the level set last stands, or stood
    int64_t floor


cdef inline Py_ssize_t ladder_find(const Ladder *ladder, int64_t key) noexcept nogil:
    """Number of keys below ``key``.

    The venue sends the levels of a side in order, so the next one is mostly near the last. The
    bisection has no branch that depends on the data: mispredicted ones cost more than the steps.
    """
    cdef const int64_t *keys = ladder.keys
    cdef Py_ssize_t span = ladder.count
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t near = ladder.latest
    cdef Py_ssize_t half
    if near < span:
        if keys[near] < key:
            low = near + 1
            span -= low
            if span > NEAR_LEVELS and keys[low + NEAR_LEVELS] >= key:
                span = NEAR_LEVELS
        else:
            span = near
            if span > NEAR_LEVELS and keys[near - NEAR_LEVELS - 1] < key:
                low = near - NEAR_LEVELS
                span = NEAR_LEVELS
    while span > 0:
        half = (span + 1) >> 1
        low += half & -<Py_ssize_t> (keys[low + half - 1] < key)
        span -= half
    return low


cdef inline void ladder_make_room(Ladder *ladder) noexcept nogil:
    """Forget the removed levels of a full side, and the worst if a quarter is not free then."""
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t i, dropped
    for i in range(ladder.count):
        ladder.keys[kept] = ladder.keys[i]
        ladder.qtys[kept] = ladder.qtys[i]
        kept += ladder.qtys[i] != 0
    dropped = kept - (ladder.count - ladder.count // 4)
    ladder.count = kept
    if dropped > 0:
        ladder.count -= dropped
        memmove(ladder.keys, ladder.keys + dropped, ladder.count * sizeof(int64_t))
        memmove(ladder.qtys, ladder.qtys + dropped, ladder.count * sizeof(int64_t))
        ladder.floor = max(ladder.floor, ladder.keys[0])


cdef inline bint ladder_grow(Ladder *ladder, Py_ssize_t levels_max) noexcept nogil:
    """Room for twice as many levels. False: out of memory."""
    cdef Py_ssize_t capacity = min(max(2 * ladder.capacity, <Py_ssize_t> LEVELS_START), levels_max)
    if not (
            grow(<void **> &ladder.keys, capacity * sizeof(int64_t))
            and grow(<void **> &ladder.qtys, capacity * sizeof(int64_t))):
        return False
    ladder.capacity = capacity
    return True


cdef inline bint ladder_set(
        Ladder *ladder, int64_t key, int64_t qty, Py_ssize_t levels_max) noexcept nogil:
    """Set the absolute quantity of one level; 0 removes it. False: out of memory."""
    cdef Py_ssize_t place = ladder_find(ladder, key)
    cdef Py_ssize_t room = place  # where the levels from ``place`` on can be moved to
    cdef size_t moved
    ladder.latest = place
    if place < ladder.count and ladder.keys[place] == key:
        ladder.qtys[place] = qty
        while ladder.count and not ladder.qtys[ladder.count - 1]:
            ladder.count -= 1
        return True
    if not qty:
        return True
    while room < ladder.count and ladder.qtys[room]:
        room = room + 1 if room - place < NEAR_LEVELS else ladder.count
    if room == ladder.count:
        if ladder.count == levels_max:
            ladder_make_room(ladder)
            return key < ladder.floor or ladder_set(ladder, key, qty, levels_max)
        if ladder.count == ladder.capacity and not ladder_grow(ladder, levels_max):
            return False
        ladder.count += 1
    moved = (room - place) * sizeof(int64_t)
    memmove(ladder.keys + place + 1, ladder.keys + place, moved)
    memmove(ladder.qtys + place + 1, ladder.qtys + place, moved)
    ladder.keys[place] = key
    ladder.qtys[place] = qty
    return True


cdef inline Py_ssize_t ladder_level_count(const Ladder *ladder) noexcept nogil:
    """Levels held."""
    cdef Py_ssize_t held = 0
    cdef Py_ssize_t i
    for i in range(ladder.count):
        held += ladder.qtys[i] != 0
    return held


cdef inline bint ladder_is_thin(const Ladder *ladder) noexcept nogil:
    """Are fewer than twenty levels from the top certain to be complete?"""
    cdef Py_ssize_t certain = 0
    cdef Py_ssize_t place = ladder.count
    if ladder.floor == INT64_MIN:
        return False
    while place and certain < BOOK_LEVELS and ladder.keys[place - 1] >= ladder.floor:
        place -= 1
        certain += ladder.qtys[place] != 0
    return certain < BOOK_LEVELS


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
    """Copy up to twenty levels out, best first; how many. Prices behind them are set to 0."""
    cdef Py_ssize_t copied = 0
    cdef Py_ssize_t place = ladder.count
    while place and copied < BOOK_LEVELS:
        place -= 1
        prices[copied] = sign * ladder.keys[place]
        qtys[copied] = ladder.qtys[place]
        copied += ladder.qtys[place] != 0  # the next one is written over a removed level
    if copied < BOOK_LEVELS:
        prices[copied] = 0
    return <uint16_t> copied


cdef inline void ladder_free(Ladder *ladder) noexcept nogil:
    free(ladder.keys)
    free(ladder.qtys)
