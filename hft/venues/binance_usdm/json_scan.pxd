"""One pass over the text of a JSON object: find the members that matter, step over the rest.

C-level and inlined. Each scanner takes the place it starts at and returns the place behind what
it has read, or NULL when the text is not well-formed; nothing is read at or past ``end``. What it
found goes into a ``Fields``. The grammar is that of RFC 8259; bytes from 0x80 are not checked to be
UTF-8.
"""
from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memset

from hft.core.decimals cimport digit_count, eight_bytes, scan_e8, whole_number

cdef extern from * nogil:
    """
    #define HFT_ONES 0x0101010101010101ull

    /* The top bit of each byte that is zero; those behind the first one may be wrong. */
    static inline uint64_t hft_zero_bytes(uint64_t bytes) {
        return (bytes - HFT_ONES) & ~bytes & 0x80 * HFT_ONES;
    }

    /* How many of eight characters, the first one lowest, stand in a JSON string before one that
       means something: a quote, a backslash or a control character. */
    static inline int hft_plain_count(uint64_t text) {
        uint64_t special = hft_zero_bytes(text ^ '"' * HFT_ONES)
            | hft_zero_bytes(text ^ '\\\\' * HFT_ONES)
            | ((text - 0x20 * HFT_ONES) & ~text & 0x80 * HFT_ONES);
        return special ? __builtin_ctzll(special) / 8 : 8;
    }

    /* KEY_e and so on. */
    static const uint8_t HFT_KEYS_OF_LETTERS[256] = {
        ['e'] = 1, ['E'] = 2, ['T'] = 3, ['s'] = 4, ['U'] = 5, ['u'] = 6, ['b'] = 8, ['B'] = 9,
        ['a'] = 10, ['A'] = 11, ['p'] = 12, ['q'] = 13, ['t'] = 14, ['X'] = 15, ['m'] = 16,
        ['i'] = 17, ['r'] = 18};
    """
    int plain_count "hft_plain_count"(uint64_t text)
    const uint8_t[256] KEYS_OF_LETTERS "HFT_KEYS_OF_LETTERS"

cdef enum:
    NESTING_MAX = 64
    NS_PER_MS = 1_000_000

    # What a value is.
    ABSENT = 0
    STRING = 1
    ESCAPED = 2  # a string with a backslash in it
    NUMBER = 3
    TRUE = 4
    FALSE = 5
    NULLED = 6
    ARRAY = 7
    OBJECT = 8
    LEVELS = 9  # an array of price levels, already read
    BOOLEAN = 10  # TRUE or FALSE, for who expects one of them

    # Which key it belongs to. A letter means different things in different events.
    UNKNOWN_KEY = 0
    KEY_e = 1
    KEY_E = 2
    KEY_T = 3
    KEY_s = 4
    KEY_U = 5
    KEY_u = 6
    KEY_pu = 7
    KEY_b = 8
    KEY_B = 9
    KEY_a = 10
    KEY_A = 11
    KEY_p = 12
    KEY_q = 13
    KEY_t = 14
    KEY_X = 15
    KEY_m = 16
    KEY_i = 17
    KEY_r = 18
    KEY_STREAM = 19
    KEY_DATA = 20
    KEY_REPLY = 21  # any of result, error, code
    KEY_BIDS = 22
    KEY_ASKS = 23
    KEY_LAST_UPDATE_ID = 24

    KEYS = 25


cdef struct Fields:
    # The members of one JSON object, by key: what each value is and where it stands (of a string:
    # without the quotes; of levels: without the opening bracket). Slot 0 takes the keys that do not
    # matter. ``end`` is that of the whole text.
    const char *end
    uint8_t kinds[KEYS]
    const char *starts[KEYS]
    Py_ssize_t lengths[KEYS]
    Py_ssize_t level_starts[KEYS]
    Py_ssize_t level_counts[KEYS]


cdef inline void start_fields(Fields *fields, const char *end) noexcept nogil:
    """No member yet."""
    memset(fields.kinds, ABSENT, KEYS)
    fields.end = end


# Each scanner takes the place it starts at and returns the place behind what it has read, or NULL.


cdef inline const char *skip_blanks(const char *at, const char *end) noexcept nogil:
    while at < end and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at


cdef inline const char *expect(const char *at, const char *end, char wanted) noexcept nogil:
    """Step over blanks and the wanted character."""
    if at < end and at[0] == wanted:
        return at + 1
    at = skip_blanks(at, end)
    if at < end and at[0] == wanted:
        return at + 1
    return NULL


cdef inline bint is_digit(const char *at, const char *end) noexcept nogil:
    return at < end and c'0' <= at[0] <= c'9'


cdef inline bint is_hex(const char *at, const char *end, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    cdef char letter
    if end - at < count:
        return False
    for i in range(count):
        letter = at[i]
        if not (c'0' <= letter <= c'9' or c'a' <= letter <= c'f' or c'A' <= letter <= c'F'):
            return False
    return True


cdef inline const char *scan_string(
        const char *at, const char *end, Fields *fields, int key) noexcept nogil:
    """From behind the opening quote to behind the closing one."""
    cdef unsigned char letter
    cdef int plain
    fields.kinds[key] = STRING
    fields.starts[key] = at
    while at < end:
        while end - at > 8:
            plain = plain_count(eight_bytes(at))
            at += plain
            if plain < 8:
                break
        letter = at[0]
        if letter == c'"':
            fields.lengths[key] = at - fields.starts[key]
            return at + 1
        if letter < 0x20:
            return NULL
        at += 1
        if letter == c'\\':
            fields.kinds[key] = ESCAPED
            if at == end:
                return NULL
            letter = at[0]
            at += 1
            if letter == c'u':
                if not is_hex(at, end, 4):
                    return NULL
                at += 4
            elif letter not in (c'"', c'\\', c'/', c'b', c'f', c'n', c'r', c't'):
                return NULL
    return NULL


cdef inline const char *scan_number(
        const char *at, const char *end, Fields *fields, int key) noexcept nogil:
    cdef int digits
    fields.kinds[key] = NUMBER
    fields.starts[key] = at
    if at < end and at[0] == c'-':
        at += 1
    if not is_digit(at, end):
        return NULL
    if at[0] == c'0':
        at += 1
    else:
        while end - at >= 8:
            digits = digit_count(eight_bytes(at))
            at += digits
            if digits < 8:
                break
        while is_digit(at, end):
            at += 1
    if at < end and at[0] == c'.':
        at += 1
        if not is_digit(at, end):
            return NULL
        while is_digit(at, end):
            at += 1
    if at < end and (at[0] == c'e' or at[0] == c'E'):
        at += 1
        if at < end and (at[0] == c'+' or at[0] == c'-'):
            at += 1
        if not is_digit(at, end):
            return NULL
        while is_digit(at, end):
            at += 1
    fields.lengths[key] = at - fields.starts[key]
    return at


cdef inline bint is_complete(const char *at, const char *end) noexcept nogil:
    """Has a scanner succeeded and left nothing but blanks?"""
    return at != NULL and skip_blanks(at, end) == end


cdef inline const char *scan_word(
        const char *at, const char *end, const char *word, Py_ssize_t length) noexcept nogil:
    if end - at < length or memcmp(at, word, length):
        return NULL
    return at + length


cdef inline const char *scan_value(
        const char *at, const char *end, Fields *fields, int key, int nesting) noexcept nogil:
    """Any JSON value; ``at`` stands on its first character."""
    cdef const char *start = at
    cdef char letter
    if at >= end:
        return NULL
    letter = at[0]
    if letter == c'"':
        return scan_string(at + 1, end, fields, key)
    if letter == c'{' or letter == c'[':
        at = scan_container(at, end, fields, nesting)
        fields.kinds[key] = OBJECT if letter == c'{' else ARRAY
        fields.starts[key] = start
        fields.lengths[key] = at - start if at != NULL else 0
        return at
    if letter == c't':
        fields.kinds[key] = TRUE
        fields.starts[key] = at
        fields.lengths[key] = 4
        return scan_word(at, end, b"true", 4)
    if letter == c'f':
        fields.kinds[key] = FALSE
        fields.starts[key] = at
        fields.lengths[key] = 5
        return scan_word(at, end, b"false", 5)
    if letter == c'n':
        fields.kinds[key] = NULLED
        return scan_word(at, end, b"null", 4)
    return scan_number(at, end, fields, key)


cdef inline const char *scan_container(
        const char *at, const char *end, Fields *fields, int nesting) noexcept nogil:
    """Step over an array or object that is not needed; its contents land in slot 0."""
    cdef bint is_object = at[0] == c'{'
    cdef char closing = c'}' if is_object else c']'
    if nesting == NESTING_MAX:
        return NULL
    at = skip_blanks(at + 1, end)
    if at < end and at[0] == closing:
        return at + 1
    while True:
        if is_object:
            at = expect(at, end, c'"')
            if at == NULL:
                return NULL
            at = scan_string(at, end, fields, UNKNOWN_KEY)
            if at == NULL:
                return NULL
            at = expect(at, end, c':')
            if at == NULL:
                return NULL
        at = scan_value(skip_blanks(at, end), end, fields, UNKNOWN_KEY, nesting + 1)
        if at == NULL:
            return NULL
        at = skip_blanks(at, end)
        if at == end:
            return NULL
        if at[0] == closing:
            return at + 1
        if at[0] != c',':
            return NULL
        at += 1


cdef inline bint equals(
        const Fields *fields, int key, const char *text, Py_ssize_t length) noexcept nogil:
    """Is the value exactly this string?"""
    return (fields.kinds[key] == STRING and fields.lengths[key] == length
            and memcmp(fields.starts[key], text, length) == 0)


cdef inline int common_key(const char *at, const char *end) noexcept nogil:
    """The key, when one letter that means something stands here, as in ``"e":``; else 0."""
    if end - at > 4 and at[0] == c'"' and at[2] == c'"' and at[3] == c':':
        return KEYS_OF_LETTERS[<unsigned char> at[1]]
    return UNKNOWN_KEY


cdef inline int key_of(const Fields *fields) noexcept nogil:
    """Which key stands in slot 0?"""
    cdef const char *text = fields.starts[UNKNOWN_KEY]
    cdef Py_ssize_t length = fields.lengths[UNKNOWN_KEY]
    if length == 1:
        return KEYS_OF_LETTERS[<unsigned char> text[0]]
    if length == 2:
        return KEY_pu if text[0] == c'p' and text[1] == c'u' else UNKNOWN_KEY
    if equals(fields, UNKNOWN_KEY, b"data", 4):
        return KEY_DATA
    if equals(fields, UNKNOWN_KEY, b"stream", 6):
        return KEY_STREAM
    if (equals(fields, UNKNOWN_KEY, b"result", 6) or equals(fields, UNKNOWN_KEY, b"error", 5)
            or equals(fields, UNKNOWN_KEY, b"code", 4)):
        return KEY_REPLY
    if equals(fields, UNKNOWN_KEY, b"bids", 4):
        return KEY_BIDS
    if equals(fields, UNKNOWN_KEY, b"asks", 4):
        return KEY_ASKS
    if equals(fields, UNKNOWN_KEY, b"lastUpdateId", 12):
        return KEY_LAST_UPDATE_ID
    return UNKNOWN_KEY


cdef inline bint scan_whole_e8(const Fields *fields, int key, int64_t *value_e8) noexcept nogil:
    """Is the string a decimal and nothing else? The quote behind it ends the scan."""
    cdef const char *start = fields.starts[key]
    return scan_e8(start, fields.end, value_e8) == start + fields.lengths[key]


cdef inline bint take_e8(const Fields *fields, int key, int64_t *value_e8) noexcept nogil:
    """A decimal in a string, not below zero."""
    return (fields.kinds[key] == STRING
            and scan_whole_e8(fields, key, value_e8)
            and value_e8[0] >= 0)


cdef inline bint take_signed_e8(const Fields *fields, int key, int64_t *value_e8) noexcept nogil:
    """A decimal in a string, 0 when it is missing or empty."""
    if fields.kinds[key] == ABSENT or equals(fields, key, b"", 0):
        value_e8[0] = 0
        return True
    return fields.kinds[key] == STRING and scan_whole_e8(fields, key, value_e8)


cdef inline bint take_id(const Fields *fields, int key, uint64_t *value) noexcept nogil:
    """A whole number of up to 64 bits."""
    cdef const char *at = fields.starts[key]
    cdef Py_ssize_t length = fields.lengths[key]
    cdef const char *end = at + length
    cdef uint64_t result = 0
    cdef uint64_t digit
    if fields.kinds[key] != NUMBER:
        return False
    if 8 < length <= 16 and digit_count(eight_bytes(at)) == 8 and (
            digit_count(eight_bytes(end - 8)) == 8):
        # Times and numbers of updates, in two halves that may overlap.
        value[0] = (whole_number(eight_bytes(at), <int> length - 8) * 100_000_000
                    + whole_number(eight_bytes(end - 8), 8))
        return True
    while at < end:
        digit = <uint64_t> (<unsigned char> at[0]) - c'0'
        if digit > 9 or result > (UINT64_MAX - digit) // 10:
            return False
        result = result * 10 + digit
        at += 1
    value[0] = result
    return True


cdef inline bint take_ns(const Fields *fields, int key, int64_t *value_ns) noexcept nogil:
    """A time in milliseconds as ns, 0 when it is missing."""
    cdef uint64_t value_ms = 0
    if fields.kinds[key] != ABSENT and not take_id(fields, key, &value_ms):
        return False
    if value_ms > <uint64_t> INT64_MAX // NS_PER_MS:
        return False
    value_ns[0] = <int64_t> value_ms * NS_PER_MS
    return True


cdef inline const char *scan_quoted_e8(
        const char *at, const char *end, char before, int64_t *value_e8) noexcept nogil:
    """A decimal in quotes, after the character ``before``."""
    at = expect(at, end, before)
    if at == NULL:
        return NULL
    at = expect(at, end, c'"')
    if at == NULL:
        return NULL
    at = scan_e8(at, end, value_e8)
    if at == NULL or at == end or at[0] != c'"':
        return NULL
    return at + 1
