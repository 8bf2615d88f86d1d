"""The strategy engine between a record and an intent: everything that happens with every tick.

What happens once in a while, a start, a command, a plug-in that failed, is in
``hft/roles/strategy.py``.
"""
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from hft.core.generated.records cimport (
    hft_decision, hft_execution, hft_feed_status, hft_header, hft_intent, hft_top_of_book)
from hft.core.generated.views cimport (
    Decision, Execution, FeedStatus, MarkPrice, Trade)
from hft.core.order_ids cimport OrderIdMaker
from hft.roles.callback_mark cimport CallbackMark
from hft.roles.desk cimport Desk, IntentBudget
from hft.strategy.change cimport Change, Inventory
from hft.strategy.orders cimport Orders, Sender
from ipc.atomics cimport load_acquire, monotonic_ns, prefetch_bytes
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingReader, RingWriter, has_record

from hft import counters, graph, records, units
from hft.roles import callback_note
from hft.roles.callback_note import Callback
from hft.strategy import orders
from hft.strategy.errors import StrategyError

EXECUTIONS_PER_CYCLE_MAX = 64
DECISIONS_PER_CYCLE_MAX = 64
MARKET_PER_CYCLE_MAX = 256
TIMER_NS = 10 * units.NS_PER_MS
COMMANDS_NS = 20 * units.NS_PER_MS
FEED_SILENT_NS = 1_000 * units.NS_PER_MS

cdef int EXECUTIONS = EXECUTIONS_PER_CYCLE_MAX
cdef int DECISIONS = DECISIONS_PER_CYCLE_MAX
cdef int MARKET = MARKET_PER_CYCLE_MAX
cdef int64_t TIMER = TIMER_NS
cdef int64_t TIMER_LATE = 2 * TIMER_NS  # risk and execution go first when they have an intent
cdef int64_t COMMANDS = COMMANDS_NS
cdef int64_t FEED_SILENT = FEED_SILENT_NS  # a feed that has not beaten for so long may be wrong
cdef int TOP_OF_BOOK = records.Kind.TOP_OF_BOOK
cdef int TRADE = records.Kind.TRADE
cdef int MARK_PRICE = records.Kind.MARK_PRICE
cdef int FEED_STATUS = records.Kind.FEED_STATUS
cdef int INTENT = records.Kind.INTENT
cdef int LIVE = records.FeedState.LIVE
cdef int FILL = records.ExecKind.FILL
cdef int NO_REASON = records.Reason.NONE
cdef int NOT_LIVE = records.Reason.NOT_LIVE
cdef int PAPER_MODE = records.Mode.PAPER
cdef uint16_t MARKET_RING = graph.RingId.MARKET
cdef uint16_t EXECUTIONS_RING = graph.RingId.EXECUTIONS
cdef int SOURCE_SHIFT = 56
cdef object CANCELLING = records.Action.CANCEL
cdef object PLACING = records.Action.PLACE
cdef uint64_t REFUSALS_SEEN = counters.REFUSALS_SEEN.id
cdef uint64_t BACK_PRESSURE = counters.BACK_PRESSURE.id
cdef uint64_t INTENTS = counters.INTENTS.id
cdef uint64_t STRATEGY_NS = counters.STRATEGY_NS.id
cdef uint64_t IN_CALLBACK = counters.IN_CALLBACK.id
cdef int CALLBACK_SHIFT = callback_note.CALLBACK_SHIFT
cdef int64_t ON_TOP_OF_BOOK = Callback.ON_TOP_OF_BOOK
cdef int64_t ON_TIMER = Callback.ON_TIMER
cdef int64_t ON_EXECUTION = Callback.ON_EXECUTION
cdef int64_t ON_FEED_STATUS = Callback.ON_FEED_STATUS
cdef int64_t ON_MARK = Callback.ON_MARK
cdef int64_t ON_REFUSAL = Callback.ON_REFUSAL
cdef int64_t ON_TRADE = Callback.ON_TRADE

assert orders.NO_ORDER == 0


def flood(Desk desk not None):
    """What a desk is paused for that wants too much."""
    return StrategyError(
        f"more than {desk.config.intents_per_s_max} intents a second on "
        f"{desk.rules.symbol}",
        remedy="Ask for less, or raise intents_per_s_max of the strategy.",
    )


cdef class StrategyCore:
    """Base of the engine: newest state of each instrument once a turn, executions before that."""

    def __init__(self, context, CallbackMark watch not None):
        self.page = context.page
        self.feed_page = context.page_of("feed")
        self.source = context.source
        self.watch = watch
        self.market, buffer = context.ring_reader("market")
        self.trade, self.mark, self.status = Trade(buffer), MarkPrice(buffer), FeedStatus(buffer)
        self.decisions, buffer = context.ring_reader("decisions")
        self.decision = Decision(buffer)
        self.executions, buffer = context.ring_reader("executions")
        self.execution = Execution(buffer)
        self.paper, buffer = context.ring_reader("executions.paper")
        self.paper_execution = Execution(buffer)
        self.intents, self.intent_buffer = context.ring_writer("intents.strategy")
        # A writer that is watched from outside is no RingWriter, and is called by name.
        self.intent_ring = self.intents if isinstance(self.intents, RingWriter) else None
        self.intent = <hft_intent *> <char *> (<bytearray> self.intent_buffer)
        self.has_paper = context.plan.has_role("paper")
        self.desks, self._desks_of, self._desk_of_strategy = [], {}, {}
        self._inventories = {}

    @property
    def rings(self):
        """Market, decisions, executions, paper executions: readers; and the writer of intents."""
        return self.market, self.decisions, self.executions, self.paper, self.intents

    def do_work(self, int64_t now_ns):
        """Executions first: one late quote costs less than quoting on a stale inventory."""
        cdef int work_count = 0, market_count
        cdef Desk desk
        self._now_ns = now_ns
        self.has_offered = False
        if now_ns - self.commands_ns >= (
                2 * COMMANDS if has_record(&self.market.position) else COMMANDS):
            self.commands_ns = now_ns
            work_count = self._poll_control(now_ns)
        if not self._is_settled:
            return work_count + self._settle(now_ns)
        self.is_feed_alive = (
            now_ns - <int64_t> load_acquire(self.feed_page.beat_word) < FEED_SILENT)
        work_count += self.poll_executions(self.executions, self.execution, False, now_ns)
        work_count += self.poll_executions(self.paper, self.paper_execution, True, now_ns)
        work_count += self.poll_decisions(now_ns)
        market_count = self.poll_market()
        work_count += market_count
        if market_count == MARKET:
            return work_count  # what still waits may say that the data are bad
        if work_count:
            for desk in self.desks:
                if desk.has_news:
                    self.show_top(desk, now_ns)
                elif desk.has_wishes:
                    self.offer_wishes(desk, now_ns)
        if now_ns - self._timer_ns >= (TIMER_LATE if self.has_offered else TIMER):
            self._timer_ns = now_ns
            self._run_timers(now_ns)
        return work_count

    # -- records ------------------------------------------------------------------------------

    cdef int poll_executions(
            self, RingReader executions, Execution record, bint is_paper,
            int64_t now_ns) except -1:
        cdef const hft_execution *execution = <const hft_execution *> record.data
        cdef uint64_t settled_seq = self._settled_paper_seq if is_paper else self._settled_seq
        cdef int count = 0
        cdef Desk desk
        while count < EXECUTIONS and executions.next_record(executions.record):
            count += 1
            if execution.exec_kind == FILL:
                self.add_fill(record, is_paper)
            desk = self._desk_of_strategy.get(
                (execution.order_id >> SOURCE_SHIFT, execution.instrument_id))
            if desk is None or (
                # Execution says that it sent nothing: in paper mode somebody else has the order.
                execution.reason == NOT_LIVE and desk.mode_code == PAPER_MODE and self.has_paper
            ):
                continue
            # Read again for the position's sake, a record says nothing of an order that has ended.
            if execution.seq > settled_seq:
                desk.note_header(EXECUTIONS_RING, <const hft_header *> execution)
                desk.targets.on_execution(record, now_ns)
                if desk.on_execution is not None:
                    self.notify(desk, ON_EXECUTION, desk.on_execution, record)
                desk.has_news = True
            elif desk.targets.holds(execution.order_id):
                desk.targets.on_execution(record, now_ns)
        if executions.lapped:
            self._note_lapped()
            self._is_settled = False
        return count

    cdef int add_fill(self, Execution fill, bint is_paper) except -1:
        """Every fill moves the instrument's position: another desk's, and one that is not ours."""
        cdef const hft_execution *execution = <const hft_execution *> fill.data
        cdef Inventory inventory = self._inventories.get(
            (bool(is_paper), execution.instrument_id))
        cdef Desk desk
        if inventory is None or execution.seq <= inventory.executions_seq:
            return 0
        inventory.executions_seq = execution.seq
        inventory.position_e8 += execution.side * execution.qty_e8
        for desk in self._desks_of[execution.instrument_id]:
            if desk.inventory is inventory:
                desk.note_header(EXECUTIONS_RING, <const hft_header *> execution)
                desk.has_news = True
        return 0

    cdef int poll_decisions(self, int64_t now_ns) except -1:
        cdef RingReader decisions = self.decisions
        cdef const hft_decision *decision = <const hft_decision *> decisions.record
        cdef int count = 0
        cdef Desk desk
        while count < DECISIONS and decisions.next_record(decisions.record):
            count += 1
            if decision.reason == NO_REASON:
                continue
            desk = self._desk_of_strategy.get(
                (decision.order_id >> SOURCE_SHIFT, decision.instrument_id))
            if desk is not None:
                self.page.add(REFUSALS_SEEN, 1)
                desk.note_refusal(decision)
                desk.targets.on_refusal(self.decision, now_ns)
                if desk.on_refusal is not None:
                    self.notify(desk, ON_REFUSAL, desk.on_refusal, self.decision)
        if decisions.lapped:
            self._note_lapped()
            self._is_settled = False
        return count

    cdef int poll_market(self) except -1:
        """Fold what is waiting: every plug-in will see only the newest top of its instrument."""
        cdef RingReader market = self.market
        cdef const hft_header *header = <const hft_header *> &self.arrived
        cdef int count = 0
        cdef Desk desk
        while count < MARKET and market.next_record(<char *> &self.arrived):
            count += 1
            desks = self._desks_of.get(header.instrument_id)
            if desks is None:
                continue
            for desk in <list> desks:
                if header.kind == TOP_OF_BOOK:
                    memcpy(desk.top.data, header, sizeof(hft_top_of_book))
                    desk.is_fed = (<const hft_top_of_book *> header).feed_state == LIVE
                    desk.note_header(MARKET_RING, header)
                    desk.has_news = True
                else:
                    self.show_market(desk)
        if market.lapped:
            self._note_lapped()
            self._reload_tops()
        return count

    cdef int show_market(self, Desk desk) except -1:
        """Anything but a top. What one plug-in writes into it, the next one does not see."""
        cdef const hft_header *header = <const hft_header *> &self.arrived
        cdef const hft_feed_status *status = <const hft_feed_status *> header
        cdef int kind = header.kind
        memcpy(self.market.record, header, sizeof(hft_top_of_book))
        if kind == TRADE:
            if desk.on_trade is not None:
                desk.note_header(MARKET_RING, header)
                self.notify(desk, ON_TRADE, desk.on_trade, self.trade)
        elif kind == MARK_PRICE:
            if desk.on_mark is not None:
                desk.note_header(MARKET_RING, header)
                self.notify(desk, ON_MARK, desk.on_mark, self.mark)
        elif kind == FEED_STATUS:
            (<hft_top_of_book *> desk.top.data).feed_state = status.feed_state
            desk.is_fed = status.feed_state == LIVE
            desk.note_header(MARKET_RING, header)
            if desk.on_feed_status is not None:
                self.notify(desk, ON_FEED_STATUS, desk.on_feed_status, self.status)
            desk.has_news = True
        return 0

    # -- plug-ins -----------------------------------------------------------------------------

    cdef bint may_quote(self, Desk desk) noexcept:
        return desk.may_quote() and self.is_feed_alive and not self._is_stopping

    def may_trade(self, Desk desk not None):
        """May the desk want anything now?"""
        return self.may_quote(desk)

    def run_plugin(self, Desk desk not None, int64_t now_ns):
        """The newest top to a plug-in, and what it wants then to risk."""
        self.show_top(desk, now_ns)

    cdef int show_top(self, Desk desk, int64_t now_ns) except -1:
        """``run_plugin``."""
        cdef CallbackMark watch = self.watch
        desk.has_news = False
        if self.may_quote(desk) and (<hft_top_of_book *> desk.top.data).as_of_ns:
            watch.calls += 1
            watch.inside = watch.calls
            self.enter(desk, ON_TOP_OF_BOOK)
            try:
                desk.on_top_of_book(now_ns, desk.top, desk.inventory.position_e8, desk.targets)
                watch.inside = 0
            except BaseException as error:
                watch.inside = 0
                self._failed(desk, desk.on_top_of_book, error, desk.top)
            self.leave()
            if desk.on_book is not None:
                self._show_book(desk)
        self.offer_wishes(desk, now_ns)
        return 0

    def run_timer(self, Desk desk not None, int64_t now_ns):
        """The time to a plug-in."""
        cdef CallbackMark watch = self.watch
        watch.calls += 1
        watch.inside = watch.calls
        self.enter(desk, ON_TIMER)
        try:
            desk.on_timer(now_ns, desk.targets)
            watch.inside = 0
        except BaseException as error:
            watch.inside = 0
            self._failed(desk, desk.on_timer, error, desk.targets)
        self.leave()

    cdef void enter(self, Desk desk, int64_t callback) noexcept nogil:
        """Note whose code runs now, for the successor of a process that it ends."""
        self.page.store_gauge(IN_CALLBACK, desk.place | callback << CALLBACK_SHIFT)

    cdef void leave(self) noexcept nogil:
        self.page.store_gauge(IN_CALLBACK, 0)

    def call(self, Desk desk not None, int64_t callback, handler, record):
        """One of the callbacks that a plug-in may have or not."""
        self.notify(desk, callback, handler, record)

    cdef int notify(self, Desk desk, int64_t callback, handler, record) except -1:
        """A callback that raises or stays pauses its desk; the others do not notice."""
        cdef CallbackMark watch = self.watch
        if desk.pause_reason:
            return 0
        desk.has_wishes = True
        watch.calls += 1
        watch.inside = watch.calls
        self.enter(desk, callback)
        try:
            handler(self._now_ns, record, desk.inventory.position_e8, desk.targets)
            watch.inside = 0
        except BaseException as error:
            watch.inside = 0
            self._failed(desk, handler, error, record)
        self.leave()
        return 0

    # -- intents ------------------------------------------------------------------------------

    cdef int offer_wishes(self, Desk desk, int64_t now_ns) except -1:
        """Offer what a desk wants, and what follows for those that keep clear of it."""
        cdef Desk lower
        desk.has_wishes = False
        if not self.may_quote(desk):
            desk.targets.withdraw()
        if len(desk.peers) > 1:
            desk.keep_clear()
        self.offer_changes(desk, now_ns)
        for lower in desk.lower:
            lower.keep_clear()
            self.offer_changes(lower, now_ns)
        return 0

    def look_ahead(self):
        """Bring into the caches what the next intent will be written into, and no rehearsal does.

        No effect.
        """
        cdef Desk desk
        if self.intent_ring is not None:
            self.intent_ring.fetch_next()
            self.intent_ring.room(1)
        prefetch_bytes(self.intent, sizeof(hft_intent))
        prefetch_bytes(self.page.counters + INTENTS, sizeof(uint64_t))
        for desk in self.desks:
            self.may_quote(desk)
            desk.would_meet(1, 0, False)
            prefetch_bytes(<const void *> desk, sizeof(Desk))
            prefetch_bytes(<const void *> desk.budget, sizeof(IntentBudget))
            prefetch_bytes(<const void *> desk.order_ids, sizeof(OrderIdMaker))
            prefetch_bytes(<const void *> desk.targets.orders, sizeof(Orders))

    def offer_what_is_wanted(self, Desk desk not None, int64_t now_ns):
        """Offer what a desk wants now."""
        self.offer_wishes(desk, now_ns)

    cdef int offer_changes(self, Desk desk, int64_t now_ns) except -1:
        """Publish the smallest set of intents that leads from what rests to what is wanted."""
        cdef Change change
        cdef uint64_t order_id
        for change in desk.targets.collect(now_ns):
            if change.action is not CANCELLING:
                if (len(desk.peers) > 1 or len(desk.targets.orders._open)) and desk.would_meet(
                        change.side, change.price_e8, True):
                    desk.held += 1
                    continue
                if not desk.budget.take_one(now_ns):
                    self._flooded(desk)
                    break
            order_id = self.offer(desk, change)
            if not order_id:
                break  # risk is behind: what is wanted stays wanted, a later turn offers it again
            desk.targets.note_offered(change, order_id, now_ns)
        return 0

    def sender_of(self, Desk desk not None):
        """What a desk's explicit orders go through, at once and inside its plug-in's callback."""
        cdef DeskSender sender = DeskSender()
        sender.core, sender.desk = self, desk
        return sender

    cdef uint64_t send_explicit(self, Desk desk, Change change) except? 0:
        cdef int64_t now_ns = self._now_ns
        desk.targets.orders.now_ns = now_ns
        if change.action is not CANCELLING:
            if not self.may_quote(desk):
                return 0
            if desk.would_meet(change.side, change.price_e8, False):
                desk.held += 1
                return 0
            if not desk.budget.take_one(now_ns):
                raise flood(desk)
        return self.offer(desk, change)

    cdef uint64_t offer(self, Desk desk, Change change) except? 0:
        cdef hft_intent *intent = self.intent
        cdef uint64_t order_id = change.order_id
        cdef bint is_offered
        cdef int64_t offered_ns
        if change.action is PLACING:
            order_id = desk.order_ids.take()
        memset(intent, 0, sizeof(hft_intent))
        intent.kind, intent.mode = INTENT, desk.mode_code
        intent.source = self.source
        intent.instrument_id = desk.instrument_id
        intent.instrument_version = desk.instrument_version
        intent.origin_ns = desk.origin_ns
        intent.cause_ring, intent.cause_seq = desk.cause_ring, desk.cause_seq
        intent.order_id, intent.decide_ns = order_id, self._now_ns
        intent.price_e8, intent.qty_e8 = change.price_e8, change.qty_e8
        intent.strategy_id, intent.action = desk.strategy_id, change.action
        intent.side = change.side
        intent.order_type, intent.tif = change.order_type, change.tif
        intent.is_post_only = change.is_post_only
        intent.is_reduce_only = change.is_reduce_only
        intent.good_till_s = change.good_till_s
        offered_ns = monotonic_ns()  # risk may run before the offer returns, on the same cpu
        if self.intent_ring is not None:
            is_offered = self.intent_ring.offer_record(<const char *> intent)
        else:
            is_offered = self.intents.offer()
        if not is_offered:
            self.page.add(BACK_PRESSURE, 1)
            return 0
        self.has_offered = True
        self.page.add(INTENTS, 1)
        if desk.cause_ns:
            self.page.note_ns(STRATEGY_NS, offered_ns - desk.cause_ns)
        return order_id


@cython.final
cdef class DeskSender(Sender):
    """From a desk's explicit orders to the engine."""

    cdef StrategyCore core
    cdef Desk desk

    cdef uint64_t send(self, Change change) except? 0:
        return self.core.send_explicit(self.desk, change)
