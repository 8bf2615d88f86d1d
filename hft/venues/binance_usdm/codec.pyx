"""Market frames of the venue straight into records: one pass over the bytes, no Python objects.

Source of the shapes: Binance USD-M API, WebSocket market streams. Fields are found by name, in any
order; keys that are not needed are stepped over whatever they hold. A frame is taken only when all
of it is well-formed and every number fits exactly: otherwise the answer is ``GARBAGE``, it is
counted, and the record stays as it was.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from hft.core.generated.records cimport hft_header, hft_mark_price, hft_top_of_book, hft_trade
from hft.venues.binance_usdm.frame_shape cimport (
    Shape, find_shape, is_same, learn_shape, name_of, scan_boolean, scan_count)
from hft.venues.binance_usdm.json_scan cimport *

import json

from hft import records

GARBAGE, TOP, DEPTH, TRADE, AGG_TRADE, MARK, REPLY, CONTRACT_INFO, OTHER = range(9)

cdef enum:
    MESSAGE_GARBAGE = 0
    MESSAGE_TOP = 1
    MESSAGE_DEPTH = 2
    MESSAGE_TRADE = 3
    MESSAGE_AGG_TRADE = 4
    MESSAGE_MARK = 5
    MESSAGE_REPLY = 6
    MESSAGE_CONTRACT_INFO = 7
    MESSAGE_OTHER = 8

    KIND_TOP_OF_BOOK = 1
    KIND_TRADE = 2
    KIND_MARK_PRICE = 3
    MODE_LIVE = 1
    SIDE_SELL = -1
    SIDE_BUY = 1
    RECORD_BYTES = 128

    LEVEL_BYTES_MIN = 10  # ["0","0"], with the comma

assert (KIND_TOP_OF_BOOK, KIND_TRADE, KIND_MARK_PRICE) == (
    records.Kind.TOP_OF_BOOK, records.Kind.TRADE, records.Kind.MARK_PRICE)
assert (MODE_LIVE, SIDE_SELL, SIDE_BUY) == (
    records.Mode.LIVE, records.Side.SELL, records.Side.BUY)
assert RECORD_BYTES == records.SLOT_BYTES


# What the values are in the frames that come most: the shapes of these are kept.
cdef uint8_t TOP_VALUES[KEYS]
cdef uint8_t DEPTH_VALUES[KEYS]
cdef uint8_t TRADE_VALUES[KEYS]
for _key in (KEY_T, KEY_E):
    TOP_VALUES[<int> _key] = DEPTH_VALUES[<int> _key] = TRADE_VALUES[<int> _key] = NUMBER
TOP_VALUES[<int> KEY_u] = DEPTH_VALUES[<int> KEY_u] = TRADE_VALUES[<int> KEY_t] = NUMBER
for _key in (KEY_b, KEY_B, KEY_a, KEY_A):
    TOP_VALUES[<int> _key] = STRING
for _key in (KEY_U, KEY_pu):
    DEPTH_VALUES[<int> _key] = NUMBER
for _key in (KEY_b, KEY_a):
    DEPTH_VALUES[<int> _key] = LEVELS
for _key in (KEY_p, KEY_q):
    TRADE_VALUES[<int> _key] = STRING
TRADE_VALUES[<int> KEY_m] = BOOLEAN


cdef bint is_diff_stream(const char *name, Py_ssize_t length) noexcept nogil:
    """``<symbol>@depth`` with or without a speed; not ``@depth20`` or ``@rpiDepth``: their events
    have the same type, but hold something else."""
    cdef Py_ssize_t i = 0
    while i < length and name[i] != c'@':
        i += 1
    if length - i < 6 or memcmp(name + i, b"@depth", 6):
        return False
    return length - i == 6 or name[i + 6] == c'@'


cdef int message_of(const Fields *fields, const Fields *envelope) noexcept nogil:
    """Which message do event type and stream name announce?"""
    if equals(fields, KEY_e, b"bookTicker", 10):
        return MESSAGE_TOP
    if equals(fields, KEY_e, b"depthUpdate", 11):
        if envelope.kinds[KEY_STREAM] == STRING and not is_diff_stream(
                envelope.starts[KEY_STREAM], envelope.lengths[KEY_STREAM]):
            return MESSAGE_OTHER
        return MESSAGE_DEPTH
    if equals(fields, KEY_e, b"trade", 5):
        return MESSAGE_TRADE
    if equals(fields, KEY_e, b"aggTrade", 8):
        return MESSAGE_AGG_TRADE
    if equals(fields, KEY_e, b"markPriceUpdate", 15):
        return MESSAGE_MARK
    if equals(fields, KEY_e, b"contractInfo", 12):
        return MESSAGE_CONTRACT_INFO
    return MESSAGE_OTHER


cdef bytes unescape(bytes text):
    """A JSON string's content with its escapes resolved, in UTF-8. Rare: symbols are plain."""
    return json.loads(b'"' + text + b'"').encode(errors="replace")


cdef uint32_t hash_of(const char *text, Py_ssize_t length) noexcept nogil:
    """FNV-1a."""
    cdef uint32_t result = 2166136261
    cdef Py_ssize_t i
    for i in range(length):
        result = (result ^ <unsigned char> text[i]) * 16777619
    return result


# -- the decoder ------------------------------------------------------------------------------


@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class MarketDecoder(DepthUpdate):
    """Decodes market frames into one bound record, and depth events into its own level arrays.

    ``symbols`` maps the venue's symbols to instrument ids (not 0); ``record`` is a writable buffer
    of 128 bytes, shared with whoever publishes it. After a call the attributes describe that
    message: ``instrument_id``, ``symbol``, ``last_seq``, ``venue_ns``, ``event_ns`` and, of a depth
    event, its levels and numbers; after ``GARBAGE`` they are zero.

    The venue writes the tops, the depth events and the trades of a stream alike: the shape of each
    stream's last frame is kept, and one that differs in its values only is read by it
    (``known_frames`` counts them), with the same result.

    ``venue_ahead_ns``: the venue's wall clock minus our monotonic one; 0 while that is not known.
    """

    def __cinit__(self, symbols, record):
        cdef Symbol *place
        cdef bytes text
        cdef uint32_t slots = 16
        PyObject_GetBuffer(record, &self.record, PyBUF_WRITABLE)
        if self.record.len < RECORD_BYTES:
            raise ValueError(f"the record has {self.record.len} bytes, needed are {RECORD_BYTES}")
        while slots < 2 * len(symbols):
            slots *= 2
        self.symbols = <Symbol *> calloc(slots, sizeof(Symbol))
        if self.symbols == NULL:
            raise MemoryError
        self.symbol_mask = slots - 1
        self.shape_mask = 8 * slots - 1  # 16 places and more for the three streams of a symbol
        self.shapes = <Shape *> calloc(self.shape_mask + 1, sizeof(Shape))
        if self.shapes == NULL:
            raise MemoryError
        for symbol, instrument_id in symbols.items():
            text = symbol.encode()
            if not 0 < len(text) <= SYMBOL_BYTES_MAX or not instrument_id:
                raise ValueError(f"symbol {symbol!r} of instrument {instrument_id}")
            place = self.place_of(text, len(text))
            memcpy(place.text, <const char *> text, len(text))
            place.length = <uint32_t> len(text)
            place.instrument_id = instrument_id

    def __dealloc__(self):
        PyBuffer_Release(&self.record)
        free(self.symbols)
        free(self.shapes)

    @property
    def symbol(self):
        """The venue's symbol in the last message, also one that is not ours; empty: it had none."""
        return self.symbol_text[:self.symbol_length]

    def decode(self, frame, int64_t recv_ns):
        """Decode one frame: a combined-stream envelope or the bare payload, in any buffer.

        ``recv_ns`` is the monotonic time at which it was read. Returns one of the constants:

        ``TOP``, ``TRADE``, ``AGG_TRADE``, ``MARK``: the record is filled, header included (ring
        fields zero). A top's side without price and quantity gets ``NO_PRICE_E8``.
        ``DEPTH``: the levels are in the arrays; the record is not touched.
        ``REPLY``: answer to a subscription. ``CONTRACT_INFO``: a symbol was listed or changed.
        ``OTHER``: well-formed, and not for us: another symbol or event; a trade that is not of the
        market (insurance fund, ADL) or that has no price or quantity.
        ``GARBAGE``: malformed, or a number that does not fit exactly.
        """
        cdef Py_buffer view
        if PyBytes_CheckExact(frame):
            return self.decode_text(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), recv_ns)
        PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
        try:
            return self.decode_text(<const char *> view.buf, view.len, recv_ns)
        finally:
            PyBuffer_Release(&view)

    def decode_snapshot(self, body, uint32_t instrument_id, int64_t recv_ns=0):
        """Decode the REST reply to ``/fapi/v1/depth`` into the level arrays.

        False: it is not one (malformed, an error body), and the attributes are zero.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            self.forget()
            self.symbol_length = 0
            if self.take_snapshot(<const char *> view.buf, view.len):
                self.frame.recv_ns = recv_ns
                self.date()
                self.instrument_id = instrument_id
                self.is_snapshot = True
                return True
            self.forget()
            self.raise_if_out_of_memory()
            return False
        finally:
            PyBuffer_Release(&view)

    cdef int decode_text(self, const char *text, Py_ssize_t size, int64_t recv_ns) except -1:
        """``decode`` for a caller that holds a pointer; ``text`` needs no NUL at its end."""
        cdef uint64_t name = name_of(text, size)
        cdef const Shape *shape = find_shape(self.shapes, self.shape_mask, name)
        cdef int message
        self.frames += 1
        self.forget()
        self.frame.recv_ns = recv_ns
        if name and shape.name == name:
            message = self.decode_known(shape, text, text + size)
            if message != MESSAGE_GARBAGE:
                self.known_frames += 1
                return message
            self.forget()
            self.frame.recv_ns = recv_ns
        self.symbol_length = 0
        message = self.decode_frame(text, text + size)
        if message == MESSAGE_GARBAGE:
            self.forget()
            self.symbol_length = 0
            self.raise_if_out_of_memory()
            self.garbage += 1
        return message

    cdef int raise_if_out_of_memory(self) except -1:
        if self.is_out_of_memory:
            self.is_out_of_memory = False
            raise MemoryError
        return 0

    cdef int decode_frame(self, const char *at, const char *end) noexcept:
        cdef Fields fields
        cdef Fields payload
        cdef const char *text = at
        cdef int message
        start_fields(&fields, end)
        at = skip_blanks(at, end)
        if at < end and at[0] == c'[':
            at = scan_value(at, end, &fields, UNKNOWN_KEY, 0)
            return MESSAGE_OTHER if is_complete(at, end) else MESSAGE_GARBAGE
        at = expect(at, end, c'{')
        if at == NULL:
            return MESSAGE_GARBAGE
        at = self.scan_object(at, end, &fields, &payload)
        if not is_complete(at, end):
            return MESSAGE_GARBAGE
        if fields.kinds[KEY_DATA] == OBJECT:
            if fields.kinds[KEY_e] != ABSENT:
                return MESSAGE_GARBAGE  # envelope and event at once: which is meant?
            message = self.decode_payload(&payload, &fields)
            if message == MESSAGE_TOP:
                self.learn(message, &payload, TOP_VALUES, text, end)
            elif message == MESSAGE_DEPTH:
                self.learn(message, &payload, DEPTH_VALUES, text, end)
            elif message == MESSAGE_TRADE:
                self.learn(message, &payload, TRADE_VALUES, text, end)
            return message
        if fields.kinds[KEY_e] == ABSENT and fields.kinds[KEY_REPLY] != ABSENT:
            return MESSAGE_REPLY
        return self.decode_payload(&fields, &fields)

    cdef void learn(self, int message, const Fields *payload, const uint8_t *values,
                    const char *text, const char *end) noexcept nogil:
        """Keep the shape of a frame that has been decoded, for the next one of its stream."""
        cdef uint64_t name = name_of(text, end - text)
        cdef Shape *shape = find_shape(self.shapes, self.shape_mask, name)
        if not name:
            return
        shape.name = 0
        if learn_shape(shape, payload, values, text, end):
            shape.name = name
            shape.message = message
            shape.symbol = <uint32_t> (
                self.place_of(payload.starts[KEY_s], payload.lengths[KEY_s]) - self.symbols)

    cdef int decode_known(
            self, const Shape *shape, const char *at, const char *end) noexcept nogil:
        """Decode a frame of this shape. ``MESSAGE_GARBAGE``: it has another one, or numbers that
        are read the long way; ``frame`` and the levels may then hold some of it.
        """
        cdef const char *text = <const char *> shape.text
        cdef const Symbol *symbol = &self.symbols[shape.symbol]
        cdef int64_t values[KEYS]
        cdef Py_ssize_t length
        cdef int i, key, kind
        memset(values, 0, sizeof(values))
        for i in range(shape.values):
            length = shape.lengths[i]
            if end - at < length or not is_same(at, text, length):
                return MESSAGE_GARBAGE
            at += length
            text += length
            key = shape.keys[i]
            kind = shape.kinds[i]
            if kind == NUMBER:
                at = scan_count(at, end, <uint64_t *> &values[key])
            elif kind == STRING:
                at = scan_e8(at, end, &values[key])
                if values[key] < 0:
                    return MESSAGE_GARBAGE
            elif kind == LEVELS:
                at = self.scan_known_levels(at, end, key)
            else:
                at = scan_boolean(at, end, &values[key])
            if at == NULL:
                return MESSAGE_GARBAGE
        length = shape.lengths[shape.values]
        if end - at != length or not is_same(at, text, length):
            return MESSAGE_GARBAGE
        if max(values[KEY_E], values[KEY_T]) > INT64_MAX // NS_PER_MS:
            return MESSAGE_GARBAGE
        if shape.message == MESSAGE_TRADE and (not values[KEY_p] or not values[KEY_q]):
            return MESSAGE_GARBAGE
        self.instrument_id = symbol.instrument_id
        self.symbol_length = symbol.length
        memcpy(self.symbol_text, symbol.text, SYMBOL_BYTES_MAX)
        self.event_ns = values[KEY_E] * NS_PER_MS
        self.date()
        self.frame.venue_ns = values[KEY_T] * NS_PER_MS
        self.frame.last_seq = <uint64_t> values[KEY_u]
        if shape.message == MESSAGE_TOP:
            self.fill_top(values[KEY_b], values[KEY_B], values[KEY_a], values[KEY_A])
        elif shape.message == MESSAGE_TRADE:
            self.fill_trade(values[KEY_p], values[KEY_q], values[KEY_t], <int> values[KEY_m], False)
        else:
            self.frame.first_seq = <uint64_t> values[KEY_U]
            self.frame.previous_seq = <uint64_t> values[KEY_pu]
        return shape.message

    cdef const char *scan_known_levels(
            self, const char *at, const char *end, int key) noexcept nogil:
        """Take in one side of a depth event, from behind its opening bracket."""
        cdef Py_ssize_t start = self.level_fill
        at = self.scan_levels(at, end)
        if key == KEY_b:
            self.frame.bid_start = start
            self.frame.bid_count = self.level_fill - start
        else:
            self.frame.ask_start = start
            self.frame.ask_count = self.level_fill - start
        return at

    cdef int decode_payload(self, const Fields *fields, const Fields *envelope) noexcept:
        cdef int message = message_of(fields, envelope)
        cdef bint is_ours = self.take_symbol(fields)
        if message == MESSAGE_OTHER or message == MESSAGE_CONTRACT_INFO:
            return message
        if not self.symbol_length:
            return MESSAGE_GARBAGE
        if not is_ours:
            return MESSAGE_OTHER
        if not take_ns(fields, KEY_E, &self.event_ns):
            return MESSAGE_GARBAGE
        self.date()
        if message == MESSAGE_MARK:
            return self.take_mark(fields)
        if not take_ns(fields, KEY_T, &self.frame.venue_ns):
            return MESSAGE_GARBAGE
        if message == MESSAGE_TOP:
            return self.take_top(fields)
        if message == MESSAGE_DEPTH:
            return self.take_depth(fields)
        return self.take_trade(fields, message)

    cdef bint take_symbol(self, const Fields *fields) noexcept:
        """Keep the symbol and find its instrument. False: none, or not one of ours."""
        cdef const char *text = fields.starts[KEY_s]
        cdef Py_ssize_t length = fields.lengths[KEY_s]
        cdef bytes unescaped
        cdef const Symbol *place
        if fields.kinds[KEY_s] == ESCAPED:
            unescaped = unescape(text[:length])
            text = unescaped
            length = len(unescaped)
        elif fields.kinds[KEY_s] != STRING:
            return False
        self.symbol_length = min(length, <Py_ssize_t> SYMBOL_BYTES_MAX)
        memcpy(self.symbol_text, text, self.symbol_length)
        place = self.place_of(text, length)
        self.instrument_id = place.instrument_id
        return place.length > 0

    cdef Symbol *place_of(self, const char *text, Py_ssize_t length) noexcept nogil:
        """Where the symbol stands in the table, or the empty place where it would."""
        cdef uint32_t index = hash_of(text, length) & self.symbol_mask
        cdef Symbol *place = &self.symbols[index]
        while place.length and (
                <Py_ssize_t> place.length != length or memcmp(place.text, text, length)):
            index = (index + 1) & self.symbol_mask
            place = &self.symbols[index]
        return place

    # -- one event: everything is read into locals first, so that a bad frame changes nothing

    cdef int take_top(self, const Fields *fields) noexcept nogil:
        cdef int64_t bid_e8, ask_e8, bid_qty_e8, ask_qty_e8
        if not (take_e8(fields, KEY_b, &bid_e8) and take_e8(fields, KEY_B, &bid_qty_e8)
                and take_e8(fields, KEY_a, &ask_e8) and take_e8(fields, KEY_A, &ask_qty_e8)):
            return MESSAGE_GARBAGE
        if fields.kinds[KEY_u] != ABSENT and not take_id(fields, KEY_u, &self.frame.last_seq):
            return MESSAGE_GARBAGE
        self.fill_top(bid_e8, bid_qty_e8, ask_e8, ask_qty_e8)
        return MESSAGE_TOP

    cdef void fill_top(self, int64_t bid_e8, int64_t bid_qty_e8, int64_t ask_e8,
                       int64_t ask_qty_e8) noexcept nogil:
        cdef hft_top_of_book *top = <hft_top_of_book *> self.record.buf
        self.fill_header(KIND_TOP_OF_BOOK)
        top.bid_e8 = bid_e8 if bid_e8 or bid_qty_e8 else INT64_MIN
        top.ask_e8 = ask_e8 if ask_e8 or ask_qty_e8 else INT64_MIN
        top.bid_qty_e8 = bid_qty_e8
        top.ask_qty_e8 = ask_qty_e8
        top.as_of_ns = self.frame.as_of_ns
        top.venue_ns = self.frame.venue_ns
        top.venue_seq = self.frame.last_seq

    cdef int take_trade(self, const Fields *fields, int message) noexcept nogil:
        cdef bint is_aggregate = message == MESSAGE_AGG_TRADE
        cdef int maker = fields.kinds[KEY_m]
        cdef int64_t price_e8, qty_e8
        cdef uint64_t trade_id
        if not (take_e8(fields, KEY_p, &price_e8) and take_e8(fields, KEY_q, &qty_e8)
                and take_id(fields, KEY_a if is_aggregate else KEY_t, &trade_id)
                and trade_id <= <uint64_t> INT64_MAX
                and (maker == TRUE or maker == FALSE or maker == ABSENT)):
            return MESSAGE_GARBAGE
        if fields.kinds[KEY_X] != ABSENT and not equals(fields, KEY_X, b"MARKET", 6):
            return MESSAGE_OTHER
        if not price_e8 or not qty_e8:
            return MESSAGE_OTHER
        self.fill_trade(price_e8, qty_e8, <int64_t> trade_id, maker, is_aggregate)
        return message

    cdef void fill_trade(self, int64_t price_e8, int64_t qty_e8, int64_t trade_id, int maker,
                         bint is_aggregate) noexcept nogil:
        """``maker``: was the buyer the one who rested? ``TRUE``, ``FALSE`` or ``ABSENT``."""
        cdef hft_trade *trade = <hft_trade *> self.record.buf
        self.fill_header(KIND_TRADE)
        trade.price_e8 = price_e8
        trade.qty_e8 = qty_e8
        trade.trade_id = trade_id
        trade.as_of_ns = self.frame.as_of_ns
        trade.venue_ns = self.frame.venue_ns
        trade.is_aggregate = is_aggregate
        if maker != ABSENT:  # the buyer rested, so the seller was the taker
            trade.aggressor_side = SIDE_SELL if maker == TRUE else SIDE_BUY

    cdef int take_mark(self, const Fields *fields) noexcept nogil:
        cdef hft_mark_price *mark = <hft_mark_price *> self.record.buf
        cdef int64_t mark_e8, index_e8, funding_rate_e8, next_funding_ns
        if not (take_e8(fields, KEY_p, &mark_e8) and take_signed_e8(fields, KEY_i, &index_e8)
                and take_signed_e8(fields, KEY_r, &funding_rate_e8)
                and take_ns(fields, KEY_T, &next_funding_ns)):
            return MESSAGE_GARBAGE
        self.frame.venue_ns = self.event_ns  # T is the time of the next funding here
        self.fill_header(KIND_MARK_PRICE)
        mark.mark_e8 = mark_e8
        mark.index_e8 = index_e8
        mark.funding_rate_e8 = funding_rate_e8
        mark.next_funding_ns = next_funding_ns
        mark.as_of_ns = self.frame.as_of_ns
        mark.venue_ns = self.frame.venue_ns
        return MESSAGE_MARK

    cdef int take_depth(self, const Fields *fields) noexcept nogil:
        if not (take_id(fields, KEY_U, &self.frame.first_seq)
                and take_id(fields, KEY_u, &self.frame.last_seq)
                and take_id(fields, KEY_pu, &self.frame.previous_seq)
                and self.take_side(fields, KEY_b, &self.frame.bid_start, &self.frame.bid_count)
                and self.take_side(fields, KEY_a, &self.frame.ask_start, &self.frame.ask_count)):
            return MESSAGE_GARBAGE
        return MESSAGE_DEPTH

    cdef bint take_snapshot(self, const char *at, Py_ssize_t size) noexcept nogil:
        cdef const char *end = at + size
        cdef Fields fields
        start_fields(&fields, end)
        at = expect(at, end, c'{')
        if at == NULL:
            return False
        if not is_complete(self.scan_object(at, end, &fields, NULL), end):
            return False
        if not (fields.kinds[KEY_BIDS] == ARRAY and fields.kinds[KEY_ASKS] == ARRAY
                and take_id(&fields, KEY_LAST_UPDATE_ID, &self.frame.last_seq)
                and take_ns(&fields, KEY_T, &self.frame.venue_ns)
                and take_ns(&fields, KEY_E, &self.event_ns)
                and self.take_side(
                    &fields, KEY_BIDS, &self.frame.bid_start, &self.frame.bid_count)
                and self.take_side(
                    &fields, KEY_ASKS, &self.frame.ask_start, &self.frame.ask_count)):
            return False
        self.frame.first_seq = self.frame.previous_seq = self.frame.last_seq
        return True

    cdef bint take_side(self, const Fields *fields, int key, Py_ssize_t *start,
                        Py_ssize_t *count) noexcept nogil:
        """The levels under a key; a missing side is an empty one."""
        cdef const char *at = fields.starts[key]
        cdef int kind = fields.kinds[key]
        start[0] = count[0] = 0
        if kind == ABSENT:
            return True
        if kind == LEVELS:
            start[0] = fields.level_starts[key]
            count[0] = fields.level_counts[key]
            return True
        if kind != ARRAY:
            return False
        start[0] = self.level_fill
        if self.scan_levels(at + 1, at + fields.lengths[key]) == NULL:
            return False
        count[0] = self.level_fill - start[0]
        return True

    cdef void date(self) noexcept nogil:
        """A frame that was held back on its way is as old as the venue says, not as its reading."""
        cdef int64_t held_ns = self.event_ns - self.venue_ahead_ns
        self.frame.as_of_ns = self.frame.recv_ns
        if self.venue_ahead_ns and self.event_ns and held_ns < self.frame.recv_ns:
            self.frame.as_of_ns = held_ns

    cdef void fill_header(self, int kind) noexcept nogil:
        cdef hft_header *header = <hft_header *> self.record.buf
        memset(header, 0, RECORD_BYTES)
        header.origin_ns = self.frame.recv_ns
        header.instrument_id = self.instrument_id
        header.kind = <uint16_t> kind
        header.mode = MODE_LIVE

    # -- scanning

    cdef const char *scan_object(
            self, const char *at, const char *end, Fields *fields, Fields *payload) noexcept nogil:
        """From behind the opening brace to behind the closing one.

        ``payload`` takes the members of an object under ``data``; NULL: that is a key like others.
        """
        cdef int key
        at = skip_blanks(at, end)
        if at < end and at[0] == c'}':
            return at + 1
        while True:
            key = common_key(at, end)
            if key:
                at += 4
            else:
                at = expect(at, end, c'"')
                if at == NULL:
                    return NULL
                at = scan_string(at, end, fields, UNKNOWN_KEY)
                if at == NULL:
                    return NULL
                key = key_of(fields)
                at = expect(at, end, c':')
                if at == NULL:
                    return NULL
            at = skip_blanks(at, end)
            if at == end:
                return NULL
            if at[0] == c'[' and (key == KEY_b or key == KEY_a) and equals(
                    fields, KEY_e, b"depthUpdate", 11):
                # The usual order, event type first: the levels are read in the same pass.
                fields.kinds[key] = LEVELS
                fields.starts[key] = at + 1
                fields.level_starts[key] = self.level_fill
                at = self.scan_levels(at + 1, end)
                fields.lengths[key] = at - fields.starts[key] if at != NULL else 0
                fields.level_counts[key] = self.level_fill - fields.level_starts[key]
            elif key == KEY_DATA and at[0] == c'{' and payload != NULL and (
                    fields.kinds[KEY_e] == ABSENT):
                fields.kinds[KEY_DATA] = OBJECT
                start_fields(payload, end)
                at = self.scan_object(at + 1, end, payload, NULL)
            else:
                at = scan_value(at, end, fields, UNKNOWN_KEY if key == KEY_DATA else key, 1)
            if at == NULL:
                return NULL
            at = skip_blanks(at, end)
            if at == end:
                return NULL
            if at[0] == c'}':
                return at + 1
            if at[0] != c',':
                return NULL
            at += 1

    cdef const char *scan_levels(self, const char *at, const char *end) noexcept nogil:
        """From behind the opening bracket of ``[["price","qty"],…]`` to behind the closing one."""
        cdef int64_t *price
        cdef int64_t *qty
        if not self.reserve((end - at) // LEVEL_BYTES_MIN + 1):
            self.is_out_of_memory = True
            return NULL
        price = self.prices + self.level_fill
        qty = self.qtys + self.level_fill
        at = skip_blanks(at, end)
        if at < end and at[0] == c']':
            return at + 1
        while True:
            at = scan_quoted_e8(at, end, c'[', price)
            if at == NULL:
                return NULL
            at = scan_quoted_e8(at, end, c',', qty)
            if at == NULL or price[0] < 0 or qty[0] < 0:
                return NULL
            price += 1
            qty += 1
            at = expect(at, end, c']')
            if at == NULL:
                return NULL
            at = skip_blanks(at, end)
            if at == end:
                return NULL
            if at[0] == c']':
                self.level_fill = price - self.prices
                return at + 1
            if at[0] != c',':
                return NULL
            at += 1
