"""The text of one kind of order request, of which only values change.

A template is cut where values belong; writing a request copies the pieces and the values one
behind the other into a buffer on the stack. What it writes is byte for byte what ``%`` would.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

import re

from hft.core.decimals cimport write_digits, write_e8
from hft.core.orders cimport Order

from hft.errors import PrecisionError, UsageError
from hft.units import format_e8

cdef enum:
    MS_PER_S = 1_000

cdef enum Value:
    REQUEST_ID
    ORDER_ID
    PRICE
    QTY
    TIMESTAMP
    DATE
    SIGNATURE
    NO_VALUE

_MARKS = {
    b"{request}": REQUEST_ID, b"{order}": ORDER_ID, b"{price}": PRICE, b"{qty}": QTY,
    b"{time}": TIMESTAMP, b"{date}": DATE, b"{signature}": SIGNATURE,
}
"""How a text says where its values go."""
_MARK = re.compile(rb"\{(?:request|order|price|qty|time|date|signature)\}")
cdef const char *HEXADECIMAL = b"0123456789abcdef"


cdef Py_ssize_t write_order_id(char *text, uint64_t order_id) noexcept nogil:
    """``h`` and 16 hexadecimal digits."""
    cdef int digit
    text[0] = c'h'
    for digit in range(16):
        text[16 - digit] = HEXADECIMAL[order_id & 15]
        order_id >>= 4
    return 17


cdef class _Pieces:
    """Constant pieces of a text, where they lie in it, and the value that follows each."""

    def __init__(self, bytes text not None):
        cdef int index = 0
        cdef Py_ssize_t begin = 0
        self.text = text
        marks = list(_MARK.finditer(text))
        if len(marks) >= PIECES_MAX or len(text) > TEXT_BYTES_MAX // 2:
            raise ValueError(f"a request of {len(text)} bytes and {len(marks)} values")
        for mark in (*marks, None):
            end = len(text) if mark is None else mark.start()
            self.starts[index] = PyBytes_AS_STRING(text) + begin
            self.lengths[index] = end - begin
            self.values[index] = NO_VALUE if mark is None else _MARKS[mark.group()]
            begin = 0 if mark is None else mark.end()
            index += 1
        self.count = index

    cdef Py_ssize_t write(self, char *into, const Values *values) noexcept nogil:
        """The whole text; returns its length."""
        cdef char *at = into
        cdef int index
        for index in range(self.count):
            memcpy(at, self.starts[index], self.lengths[index])
            at += self.lengths[index]
            if self.values[index] == REQUEST_ID:
                at += write_digits(at, values.request_id)
            elif self.values[index] == ORDER_ID:
                at += write_order_id(at, values.order_id)
            elif self.values[index] == PRICE:
                memcpy(at, values.price, VALUE_BYTES_MAX)
                at += values.price_length
            elif self.values[index] == QTY:
                memcpy(at, values.qty, VALUE_BYTES_MAX)
                at += values.qty_length
            elif self.values[index] == TIMESTAMP:
                at += write_digits(at, <uint64_t> values.timestamp_ms)
            elif self.values[index] == DATE:
                at += write_digits(at, <uint64_t> values.date_ms)
            elif self.values[index] == SIGNATURE:
                memcpy(at, values.signature, values.signature_length)
                at += values.signature_length
        return at - into


cdef class Template:
    """One kind of request of one instrument.

    Args:
        json: The request with marks for its values, as it is sent.
        signed: What its signature covers, with marks; ``sign`` is None where none is needed.
        price_places: Decimals of a price; -1: the request has none.
        qty_places: The same of a quantity.
        sign: From the bytes covered to the signature's text.
    """

    def __init__(self, bytes json not None, bytes signed not None, int price_places,
                 int qty_places, sign=None):
        self.json, self.signed = json, signed
        self.json_pieces, self.signed_pieces = _Pieces(json), _Pieces(signed)
        self.price_places, self.qty_places = price_places, qty_places
        self.sign = sign

    def text(self, uint64_t request_id, uint64_t order_id, int64_t price_e8, int64_t qty_e8,
             int64_t timestamp_ms, int64_t date_ms=0):
        """The request with these values; prices and quantities in 1e-8.

        What the request has no place for is ignored.

        Raises:
            PrecisionError: price or quantity is not above zero or has too many decimals.
        """
        cdef char text[TEXT_BYTES_MAX]
        length = self.write(text, request_id, order_id, price_e8, qty_e8, timestamp_ms, date_ms)
        return PyBytes_FromStringAndSize(text, length)

    cdef Py_ssize_t write(
        self, char *into, uint64_t request_id, uint64_t order_id, int64_t price_e8, int64_t qty_e8,
        int64_t timestamp_ms, int64_t date_ms,
    ) except -1:
        """``text`` into ``TEXT_BYTES_MAX`` bytes of the caller's; returns the length."""
        cdef Values values
        cdef str signature
        cdef bytes signature_bytes
        values.request_id, values.order_id = request_id, order_id
        values.timestamp_ms, values.date_ms = timestamp_ms, date_ms
        values.price_length = values.qty_length = values.signature_length = 0
        if self.price_places >= 0:
            values.price_length = write_decimal(values.price, price_e8, self.price_places)
        if self.qty_places >= 0:
            values.qty_length = write_decimal(values.qty, qty_e8, self.qty_places)
        if self.sign is not None:
            length = self.signed_pieces.write(into, &values)
            signature = self.sign(into[:length])
            signature_bytes = signature.encode()
            if len(signature_bytes) > TEXT_BYTES_MAX // 4:
                raise ValueError(f"a signature of {len(signature_bytes)} bytes")
            values.signature = PyBytes_AS_STRING(signature_bytes)
            values.signature_length = len(signature_bytes)
        return self.json_pieces.write(into, &values)

    cdef Py_ssize_t write_order(
        self, char *into, uint64_t request_id, Order order, int64_t timestamp_ms
    ) except -1:
        """``write`` for an order as the books have it."""
        return self.write(
            into, request_id, order.order_id, order.price_e8, order.qty_e8, timestamp_ms,
            <int64_t> order.good_till_s * MS_PER_S)

    cdef int look_ahead(self) except -1:
        """Have at hand what writing it needs. No effect."""
        cdef char text[TEXT_BYTES_MAX]
        cdef Values values
        memset(&values, 0, sizeof(Values))
        self.json_pieces.write(text, &values)
        return 0


cdef class PlaceTexts:
    """The templates of one instrument's new orders, by the kind of order."""

    def __init__(self, dict places not None):
        self._places = places

    def place_order(self, uint64_t request_id, Order order not None, int64_t timestamp_ms):
        """``order.place`` of an order as the books have it. Raises as ``OrderTextEncoder.place``.
        """
        cdef char text[TEXT_BYTES_MAX]
        return PyBytes_FromStringAndSize(
            text, self.text_of(order).write_order(text, request_id, order, timestamp_ms))

    cdef Template text_of(self, Order order):
        """The template of such an order. Raises as ``OrderTextEncoder.place``."""
        cdef Template template = self._places.get(order.number_of_kind())
        if template is None:
            raise no_such_order(order.side, order.order_type, order.tif, order.is_post_only)
        return template


def no_such_order(side, order_type, tif, is_post_only):
    """The error for an order of a kind that cannot be written."""
    return UsageError(
        f"no such order: side {side}, type {order_type}, tif {tif}, post-only {bool(is_post_only)}",
        remedy=(
            "limit orders have GTC, IOC, FOK or GTD, the last one with a date and no other, "
            "post-only only GTC; market orders have no tif"
        ),
    )


cdef Py_ssize_t write_decimal(char *text, int64_t value_e8, int places) except -1:
    cdef Py_ssize_t length
    if value_e8 <= 0:
        raise PrecisionError(text=format_e8(value_e8), why="is not above zero")
    length = write_e8(text, value_e8, places)
    if length < 0:
        raise PrecisionError(
            text=f"{value_e8}e-8", why=f"cannot be written with {places} decimal places")
    return length
