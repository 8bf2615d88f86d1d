"""Decimal text and int64 in 1e-8, compiled: exact or refused, never through a float.

The grammar is the venue's: an optional minus, digits, and optionally a point with digits. No
exponent, no plus sign, no blanks. Zeros beyond the eighth place are accepted, because they change
nothing; any other digit there is refused.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.string cimport memcpy

from hft.errors import PrecisionError

cdef bint parse_e8(const char *text, Py_ssize_t length, int64_t *value_e8) noexcept nogil:
    """Whole text to 1e-8. False, with ``value_e8`` unchanged: not an exact decimal of 64 bits."""
    cdef int64_t value = 0
    cdef const char *end = text + length
    if scan_e8(text, end, &value) != end:
        return False
    value_e8[0] = value
    return True

cdef Py_ssize_t write_e8(char *text, int64_t value_e8, int places) noexcept nogil:
    """Write the value with ``places`` decimals (0 to 8), or -1 for as many as it needs.

    ``text`` needs room for 24 bytes. Returns the length, or -1 when the value has more decimals
    than ``places``, or is INT64_MIN, which stands for "no price".
    """
    cdef uint64_t value, fraction, digits
    cdef Py_ssize_t length = 0
    if value_e8 == INT64_MIN or places > 8:
        return -1
    if value_e8 < 0:
        text[0] = c'-'
        length = 1
    value = <uint64_t> (-value_e8 if value_e8 < 0 else value_e8)
    fraction = value % 100_000_000
    digits = eight_digits(fraction)
    if places < 0:
        places = 8 - __builtin_clzll(digits) // 8 if fraction else 0
    elif fraction % POWERS_OF_TEN[8 - places]:
        return -1
    length += write_digits(text + length, value // 100_000_000)
    if places:
        digits |= ZEROS
        text[length] = c'.'
        memcpy(text + length + 1, &digits, 8)
        length += 1 + places
    return length

def parse_e8_bytes(text):
    """Decimal text in a buffer (``bytes``, ``memoryview``) to an integer in 1e-8.

    Raises:
        PrecisionError: not a plain decimal, more than eight places, or outside int64.
    """
    cdef Py_buffer view
    cdef int64_t value_e8 = 0
    cdef bint is_exact
    PyObject_GetBuffer(text, &view, PyBUF_SIMPLE)
    is_exact = parse_e8(<const char *> view.buf, view.len, &value_e8)
    PyBuffer_Release(&view)
    if not is_exact:
        raise PrecisionError(
            text=bytes(text).decode("utf-8", "replace"),
            why="is not a plain decimal of at most 8 places within 64 bits")
    return value_e8

def format_e8_bytes(int64_t value_e8, int places=-1):
    """An integer in 1e-8 as decimal text: exactly ``places`` decimals, or as many as it needs.

    Raises:
        PrecisionError: the value has more decimals than ``places``, or there is no such text.
    """
    cdef char text[24]
    cdef Py_ssize_t length = write_e8(text, value_e8, places)
    if length < 0:
        raise PrecisionError(
            text=f"{value_e8}e-8", why=f"cannot be written with {places} decimal places")
    return text[:length]
