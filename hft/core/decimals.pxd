"""C-level decimals: text to int64 in 1e-8 and back, exact or refused."""
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>

    static const unsigned long long HFT_POWERS_OF_TEN[9] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

    #define HFT_ZEROS 0x3030303030303030ull

    /* Eight decimal digits of a number below 10^8 as eight bytes 0 to 9, the first one lowest:
       split in halves, all parts at once; multiplications stand for the divisions. */
    static inline uint64_t hft_eight_digits(uint64_t number) {
        uint64_t fours = number / 10000 | number % 10000 << 32;
        uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007full;
        uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
        uint64_t tens = (twos * 103 >> 10) & 0x000f000f000f000full;
        return tens | (twos - 10 * tens) << 8;
    }

    /* A number as text, without a loop: writes up to 16 bytes more than it returns. */
    static inline Py_ssize_t hft_write_digits(char *text, uint64_t number) {
        char digits[32];
        uint64_t high, low;
        Py_ssize_t before = 0, skipped;
        if (number >= 10000000000000000ull) {
            before = hft_write_digits(text, number / 10000000000000000ull);
            number %= 10000000000000000ull;
        }
        high = hft_eight_digits(number / 100000000);
        low = hft_eight_digits(number % 100000000);
        skipped = high ? __builtin_ctzll(high) / 8
                       : 8 + __builtin_ctzll(low | 1ull << 56) / 8;
        if (before)
            skipped = 0;
        high |= HFT_ZEROS;
        low |= HFT_ZEROS;
        memcpy(digits, &high, 8);
        memcpy(digits + 8, &low, 8);
        memcpy(digits + 16, &low, 8);
        memcpy(digits + 24, &low, 8);
        memcpy(text + before, digits + skipped, 16);
        return before + 16 - skipped;
    }
    """
    const uint64_t ZEROS "HFT_ZEROS"
    const uint64_t[9] POWERS_OF_TEN "HFT_POWERS_OF_TEN"
    uint64_t eight_digits "hft_eight_digits"(uint64_t number)
    Py_ssize_t write_digits "hft_write_digits"(char *text, uint64_t number)
    int __builtin_clzll(unsigned long long value)


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
