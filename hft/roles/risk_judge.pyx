"""One intent on its way through risk without the interpreter: newest market, verdict, answer."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from hft.core.exposure cimport INSTRUMENTS_MAX, SOURCE_MAX, InstrumentExposure, OpenOrder
from hft.core.generated.reasons cimport REASON_INSTRUMENT_UNKNOWN
from hft.core.generated.records cimport (
    hft_decision, hft_intent, hft_mark_price, hft_top_of_book)
from hft.core.generated.views cimport Decision, Intent, MarkPrice, TopOfBook
from hft.core.risk cimport LimitValues, RiskBook, StrategyUse
from hft.core.throttle cimport WindowLimit
from ipc.atomics cimport prefetch_bytes
from ipc.state_cell cimport CellReader

from hft import records

cdef enum:
    COPIED = 1  # as CellReader.read_value answers; anything else is asked again, with its errors
    MODE_PAPER = 2
    MODE_OBSERVE = 3

assert (MODE_PAPER, MODE_OBSERVE) == (records.Mode.PAPER, records.Mode.OBSERVE)


cdef void fetch_window(WindowLimit window) noexcept:
    prefetch_bytes(<const void *> window, sizeof(WindowLimit))
    prefetch_bytes(&window._stamps.data.as_longlongs[window.tail], sizeof(int64_t))
    prefetch_bytes(&window.counts.data.as_longlongs[window.tail], sizeof(int64_t))


cdef class Judge:
    """Judges intents by the exposure of their mode and answers them.

    ``live``, ``paper`` and ``observed`` are the exposures: one that is rebuilt is put in anew.
    ``account_ns``: when the account was last known to be right.
    """

    def __init__(
        self, CellReader tops not None, TopOfBook top not None, CellReader marks not None,
        MarkPrice mark not None, *, RiskBook live not None, RiskBook paper not None,
        RiskBook observed not None, uint16_t source, uint64_t epoch,
    ):
        """``top`` and ``mark`` are views of the buffers of ``tops`` and ``marks``."""
        self.tops, self.top, self.marks, self.mark = tops, top, marks, mark
        self.live, self.paper, self.observed = live, paper, observed
        self.source, self.epoch = source, epoch

    cdef RiskBook book_of(self, int mode):
        if mode == MODE_PAPER:
            return self.paper
        return self.observed if mode == MODE_OBSERVE else self.live

    cdef int take_market(self, RiskBook book, uint32_t instrument_id) except -1:
        cdef hft_top_of_book top
        cdef hft_mark_price mark
        if self.tops.read_value(instrument_id, <char *> &top) == COPIED:
            book.set_top(
                instrument_id, top.bid_e8, top.ask_e8, top.as_of_ns, top.feed_state)
        elif self.tops.read(instrument_id):
            book.take_top(instrument_id, self.top)
        if self.marks.read_value(instrument_id, <char *> &mark) == COPIED:
            book.set_mark(instrument_id, mark.mark_e8, mark.as_of_ns, mark.funding_rate_e8)
        elif self.marks.read(instrument_id):
            book.take_mark(instrument_id, self.mark)
        return 0

    def look_ahead(self, uint32_t instrument_id, uint64_t strategy_id):
        """Bring into the caches what this strategy's next order is judged by. No effect."""
        cdef RiskBook book = self.live
        cdef hft_top_of_book top
        cdef hft_mark_price mark
        assert strategy_id <= SOURCE_MAX
        if instrument_id < INSTRUMENTS_MAX:
            self.tops.read_value(instrument_id, <char *> &top)
            self.marks.read_value(instrument_id, <char *> &mark)
        prefetch_bytes(book.watched(instrument_id), sizeof(InstrumentExposure))
        prefetch_bytes(book.bounds, sizeof(LimitValues))
        prefetch_bytes(&book.strategies[strategy_id], sizeof(StrategyUse))
        prefetch_bytes(book.orders.free_rows, sizeof(OpenOrder))
        book.orders.find(book.last_ids[strategy_id] + 1)
        fetch_window(book.messages_1s)
        fetch_window(book.messages_10s)
        fetch_window(book.messages_1m)

    def verdict(self, Intent intent not None, int64_t now_ns, int trading_state, bint is_manual):
        """The number of a ``Reason``, 0: approved. What is approved counts at once.

        Raises:
            CellContendedError: as ``CellReader.read``.
        """
        return self.judge(<const hft_intent *> intent.data, now_ns, trading_state, is_manual)

    cdef int judge(
        self, const hft_intent *asked, int64_t now_ns, int trading_state, bint is_manual,
    ) except -1:
        cdef RiskBook book = self.book_of(asked.mode)
        if asked.instrument_id >= INSTRUMENTS_MAX:
            return REASON_INSTRUMENT_UNKNOWN
        self.take_market(book, asked.instrument_id)
        book.account_ns = self.account_ns
        return book.judge_asked(asked, now_ns, trading_state, is_manual)

    def answer(
        self, Decision decision not None, Intent intent not None, uint16_t reason,
        int64_t now_ns, uint16_t cause_ring,
    ):
        """Write the record that answers an intent from the ring ``cause_ring``."""
        self.fill(
            <hft_decision *> decision.data, <const hft_intent *> intent.data, reason, now_ns,
            cause_ring)

    cdef int fill(
        self, hft_decision *decision, const hft_intent *asked, uint16_t reason, int64_t now_ns,
        uint16_t cause_ring,
    ) except -1:
        self.book_of(asked.mode).fill_decision(
            decision, asked, reason, now_ns, self.source, self.epoch, cause_ring)
        return 0
