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

    static inline uint64_t hft_eight_bytes(const char *at) {
        uint64_t bytes;
        memcpy(&bytes, at, 8);
        return bytes;
    }

    /* How many of eight characters, the first one lowest, are digits before one that is not. A sum
       that overflows spoils only the bytes behind one that is none. */
    static inline int hft_digit_count(uint64_t text) {
        uint64_t digits = text ^ HFT_ZEROS;
        uint64_t others = ((digits + 0x7676767676767676ull) | digits) & 0x8080808080808080ull;
        return others ? __builtin_ctzll(others) / 8 : 8;
    }

    /* The number that eight digits are, as bytes 0 to 9, the first one lowest: neighbours are
       joined to pairs, to fours and to the number. */
    static inline uint64_t hft_joined_digits(uint64_t digits) {
        uint64_t twos = (10 * digits + (digits >> 8)) & 0x00ff00ff00ff00ffull;
        uint64_t fours = (100 * twos + (twos >> 16)) & 0x0000ffff0000ffffull;
        return 10000 * (fours & 0xffff) + (fours >> 32);
    }

    /* The number in the first ``count`` (1 to 8) of eight characters, which are digits. */
    static inline uint64_t hft_whole_number(uint64_t text, int count) {
        return hft_joined_digits((text ^ HFT_ZEROS) << (64 - 8 * count));
    }

    /* The same digits as places behind a point, in 1e-8. */
    static inline uint64_t hft_fraction_e8(uint64_t text, int count) {
        return hft_joined_digits((text ^ HFT_ZEROS) & (~0ull >> (64 - 8 * count)));
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
    uint64_t eight_bytes "hft_eight_bytes"(const char *at)
    int digit_count "hft_digit_count"(uint64_t text)
    uint64_t whole_number "hft_whole_number"(uint64_t text, int count)
    uint64_t fraction_e8 "hft_fraction_e8"(uint64_t text, int count)
    Py_ssize_t write_digits "hft_write_digits"(char *text, uint64_t number)
    int __builtin_clzll(unsigned long long value)

cdef enum:
    COMMON_BYTES_MAX = 17  # 1234567.12345678 and what stands behind it


cdef inline const char *scan_e8(const char *at, const char *end, int64_t *value_e8) noexcept nogil:
    """Read a plain decimal (``-12.5``) that starts at ``at``: the place after it, or NULL.

    NULL: no digits where digits belong, more than eight places that matter, or beyond 64 bits.
    Nothing is read at or past ``end``; ``value_e8`` is written only on success. What the market
    trades at has up to seven digits before the point and eight behind it, and is read eight
    characters at a time: the number of digits varies, and a loop over them is mispredicted.
    """
    cdef uint64_t text, behind
    cdef int count, places
    cdef const char *after
    if end - at >= COMMON_BYTES_MAX:
        text = eight_bytes(at)
        count = digit_count(text)
        if 0 < count < 8:
            after = at + count
            if after[0] != c'.':
                value_e8[0] = <int64_t> whole_number(text, count) * 100_000_000
                return after
            behind = eight_bytes(after + 1)
            places = digit_count(behind)
            after += 1 + places
            if places and not (places == 8 and c'0' <= after[0] <= c'9'):
                value_e8[0] = <int64_t> (
                    whole_number(text, count) * 100_000_000 + fraction_e8(behind, places))
                return after
    return scan_any_e8(at, end, value_e8)


cdef inline const char *scan_any_e8(
        const char *at, const char *end, int64_t *value_e8) noexcept nogil:
    """``scan_e8``, digit by digit."""
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
