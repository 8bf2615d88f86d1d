"""The shape of a frame: the text that is the same from one to the next, and where values stand.

The venue writes the frames of one stream alike: only numbers differ. Whoever has seen one knows the
next by comparing, without looking for keys. A shape is taken from a frame that has been read the
long way; what does not match one, byte for byte, is read the long way too. C-level and inlined.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from hft.core.decimals cimport POWERS_OF_TEN, digit_count, eight_bytes, whole_number
from hft.venues.binance_usdm.json_scan cimport (
    ABSENT, BOOLEAN, FALSE, KEYS, TRUE, Fields, scan_word)

cdef extern from * nogil:
    """
    /* A step of a hash: each bit of the factor's product depends on those below, so the upper half
       is folded in. The factor is 2^64 over the golden ratio, as Knuth's multiplicative hash has
       it. */
    static inline uint64_t hft_mixed(uint64_t value) {
        value *= 0x9e3779b97f4a7c15ull;
        return value ^ value >> 32;
    }

    /* Are so many bytes equal? Words that overlap, and no call: most texts have seven bytes. */
    static inline int hft_is_same(const char *one, const char *other, Py_ssize_t size) {
        uint64_t differences = 0;
        uint32_t left, right;
        Py_ssize_t i;
        if (size >= 8) {
            for (i = 0; i < size - 8; i += 8)
                differences |= hft_eight_bytes(one + i) ^ hft_eight_bytes(other + i);
            return !(differences
                | (hft_eight_bytes(one + size - 8) ^ hft_eight_bytes(other + size - 8)));
        }
        if (size >= 4) {
            memcpy(&left, one, 4);
            memcpy(&right, other, 4);
            differences = left ^ right;
            memcpy(&left, one + size - 4, 4);
            memcpy(&right, other + size - 4, 4);
            return !(differences | (left ^ right));
        }
        for (i = 0; i < size; i++)
            differences |= one[i] ^ other[i];
        return !differences;
    }
    """
    uint64_t mixed "hft_mixed"(uint64_t value)
    bint is_same "hft_is_same"(const char *one, const char *other, Py_ssize_t size)

cdef enum:
    VALUES_MAX = 8
    SHAPE_BYTES_MAX = 255
    NAME_START = 11  # {"stream":"
    NAME_BYTES = 24  # enough to tell the streams apart; part of what follows the name, at most
    COUNT_BYTES_MAX = 17  # sixteen digits and what stands behind them


cdef struct Shape:
    # ``text`` holds what stands before the first value, between the values and behind the last one,
    # ``lengths`` how long each of these is; ``keys`` and ``kinds`` say what each value is.
    uint64_t name  # of the stream, as a hash; 0: there is no shape here
    int message
    uint32_t symbol  # its place in the decoder's table
    int values
    uint8_t keys[VALUES_MAX]
    uint8_t kinds[VALUES_MAX]
    uint8_t lengths[VALUES_MAX + 1]
    char text[SHAPE_BYTES_MAX]


cdef inline uint64_t name_of(const char *text, Py_ssize_t size) noexcept nogil:
    """A hash of where the stream's name stands, not 0; 0: the frame is too short to have one."""
    cdef uint64_t name
    if size < NAME_START + NAME_BYTES:
        return 0
    name = mixed(eight_bytes(text + NAME_START))
    name = mixed(name ^ eight_bytes(text + NAME_START + 8))
    return mixed(name ^ eight_bytes(text + NAME_START + 16)) | 1


cdef inline Shape *find_shape(Shape *shapes, uint32_t mask, uint64_t name) noexcept nogil:
    """The shape of that stream, or the place where it goes: one of two, the second when both are
    taken."""
    cdef uint32_t index = <uint32_t> (name >> 1) & mask
    if shapes[index].name == name or not shapes[index].name:
        return &shapes[index]
    return &shapes[index ^ 1]


cdef inline bint learn_shape(
        Shape *shape, const Fields *fields, const uint8_t *kinds, const char *text,
        const char *end) noexcept nogil:
    """Take the shape of a frame that has been read. False: it is too long, or it has values of
    other kinds than ``kinds`` wants of each key (``ABSENT``: that key is text)."""
    cdef const char *starts[VALUES_MAX]
    cdef const char *at = text
    cdef Py_ssize_t length
    cdef Py_ssize_t filled = 0
    cdef int count = 0
    cdef int key, kind, i
    for key in range(KEYS):
        kind = fields.kinds[key]
        if kinds[key] == ABSENT or kind == ABSENT:
            continue
        if kind == TRUE or kind == FALSE:
            kind = BOOLEAN
        if kind != kinds[key] or count == VALUES_MAX:
            return False
        i = count
        while i and starts[i - 1] > fields.starts[key]:
            starts[i] = starts[i - 1]
            shape.keys[i] = shape.keys[i - 1]
            i -= 1
        starts[i] = fields.starts[key]
        shape.keys[i] = <uint8_t> key
        count += 1
    for i in range(count + 1):
        length = (starts[i] if i < count else end) - at
        if filled + length > SHAPE_BYTES_MAX:
            return False
        memcpy(shape.text + filled, at, length)
        shape.lengths[i] = <uint8_t> length
        filled += length
        if i < count:
            key = shape.keys[i]
            shape.kinds[i] = kinds[key]
            at = starts[i] + fields.lengths[key]
    shape.values = count
    return True


cdef inline const char *scan_count(
        const char *at, const char *end, uint64_t *value) noexcept nogil:
    """Read a whole number of up to fifteen digits, the first one not 0: the place after it."""
    cdef char padded[COUNT_BYTES_MAX]
    cdef const char *digits = at
    cdef uint64_t text
    cdef int count
    if end - at < COUNT_BYTES_MAX:
        memset(padded, 0, COUNT_BYTES_MAX)
        memcpy(padded, at, end - at)
        digits = padded
    text = eight_bytes(digits)
    count = digit_count(text)
    if not count or digits[0] == c'0':
        return NULL
    value[0] = whole_number(text, count)
    if count < 8:
        return at + count
    text = eight_bytes(digits + 8)
    count = digit_count(text)
    if count == 8:
        return NULL
    if count:
        value[0] = value[0] * POWERS_OF_TEN[count] + whole_number(text, count)
    return at + 8 + count


cdef inline const char *scan_boolean(
        const char *at, const char *end, int64_t *value) noexcept nogil:
    """Read ``true`` or ``false`` as ``TRUE`` or ``FALSE``: the place after it, NULL: neither."""
    if at < end and at[0] == c't':
        value[0] = TRUE
        return scan_word(at, end, b"true", 4)
    value[0] = FALSE
    return scan_word(at, end, b"false", 5)
