"""Quote targets for the engine: what is wanted, what rests, and the changes between them."""
from libc.stdint cimport int64_t, uint64_t

from hft.strategy.change cimport Change
from hft.strategy.orders cimport Orders

cdef extern from *:
    # A product of two prices or quantities does not fit 64 bits.
    ctypedef long long int128 "__int128"


cdef class Quote:
    cdef object side
    cdef int sign
    cdef Change change
    cdef int64_t wanted_price_e8
    cdef int64_t wanted_qty_e8
    cdef int64_t changed_ns  # when a place or amend was last offered
    cdef int64_t offered_ns
    cdef int64_t backoff_until_ns
    cdef int64_t cancel_after_ns
    cdef int64_t bound_e8  # no better price than this, as others have precedence; 0: any
    cdef int refusals
    cdef uint64_t order_id
    cdef int64_t price_e8
    cdef int64_t qty_e8
    cdef int64_t cum_qty_e8
    cdef int64_t leaves_qty_e8
    cdef uint64_t executions_seq
    cdef int64_t pending_price_e8
    cdef int pending
    cdef bint is_unresolved
    cdef bint must_cancel

    cdef void clear(self) noexcept


cdef class QuoteTargets:
    cdef Quote buy
    cdef Quote sell
    cdef dict strays  # order id to the monotonic time from which a cancel may be offered (again)
    cdef list change_list
    cdef list stray_changes
    cdef readonly Orders orders
    cdef readonly object view
    cdef object named_rules
    cdef int64_t reprice_ticks
    cdef int64_t resize_percent
    cdef int64_t rest_ns_min
    cdef int64_t refusal_backoff_ns
    cdef int64_t overdue_ns
    cdef bint is_amending
    cdef int64_t tick_e8
    cdef int64_t step_e8
    cdef int64_t qty_min_e8
    cdef int64_t qty_max_e8
    cdef int64_t notional_min_e8

    cdef int take_instrument(self, instrument) except -1
    cdef Quote quote_on(self, int sign)
    cdef Quote quote_of(self, uint64_t order_id)
    cdef void want(self, Quote quote, int64_t price_e8, int64_t qty_e8) noexcept
    cdef list collect(self, int64_t now_ns)
    cdef bint is_due(self, Quote quote, int64_t now_ns) noexcept
    cdef bint is_near(self, Quote quote, int64_t price_e8) noexcept nogil
    cdef void fill_cancel(self, Quote quote) noexcept
    cdef int _add_strays(self, int64_t now_ns) except -1
    cdef int note_offered(self, Change change, uint64_t order_id, int64_t now_ns) except -1
    cdef void _refused(self, Quote quote, int action, int64_t now_ns) noexcept
    cdef void _closed(self, Quote quote, int state, int reason, int64_t now_ns) noexcept
    cdef int _on_stray(
        self, uint64_t order_id, int64_t now_ns, bint is_open, bint refused) except -1
    cdef int64_t best_open_e8(self, int sign) except? -1
    cdef bint waits_too_long(self, int64_t now_ns) except -1
