"""C-level decimals: text to int64 in 1e-8 and back, exact or refused."""
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

cdef extern from * nogil:
    """
    static const unsigned long long HFT_POWERS_OF_TEN[9] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    """
    const uint64_t[9] POWERS_OF_TEN "HFT_POWERS_OF_TEN"


cdef inline const char *scan_e8(const char *at, const char *end, int64_t *value_e8) noexcept nogil:
    """Read a plain decimal (``-12.5``) that starts at ``at``: the place after it, or NULL.

    NULL: no digits where digits belong, more than eight places that matter, or beyond 64 bits.
    Nothing is read at or past ``end``; ``value_e8`` is written only on success.
    """
    cdef bint is_negative = at < end and at[0] == c'-'
    cdef uint64_t whole = 0
    cdef uint64_t fraction = 0
    cdef uint64_t digit
    cdef int places = 0
    cdef const char *start
    if is_negative:
        at += 1
    start = at
    while at < end:
        digit = <uint64_t> (<unsigned char> at[0]) - c'0'
        if digit > 9:
            break
        whole = whole * 10 + digit
        if whole > <uint64_t> INT64_MAX // 100_000_000:
            return NULL
        at += 1
    if at == start:
        return NULL
    if at < end and at[0] == c'.':
        at += 1
        start = at
        while at < end:
            digit = <uint64_t> (<unsigned char> at[0]) - c'0'
            if digit > 9:
                break
            if places < 8:
                fraction = fraction * 10 + digit
                places += 1
            elif digit:
                return NULL
            at += 1
        if at == start:
            return NULL
        fraction *= POWERS_OF_TEN[8 - places]
    whole = whole * 100_000_000 + fraction
    if whole > <uint64_t> INT64_MAX:
        return NULL
    value_e8[0] = -<int64_t> whole if is_negative else <int64_t> whole
    return at


cdef bint parse_e8(const char *text, Py_ssize_t length, int64_t *value_e8) noexcept nogil
cdef Py_ssize_t write_e8(char *text, int64_t value_e8, int places) noexcept nogil
