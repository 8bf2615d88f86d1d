"""An intent on its way through risk without the interpreter: taken, judged, answered, done with.

What happens rarely is the role's own, whose base ``RiskIntake`` is: ``_poll_executions``,
``_poll_paper``, ``_watch_closing``, ``_renew``, ``_look`` and ``_obey``, called by name.
"""
from libc.stdint cimport int64_t, uint16_t, uint64_t

from hft.core.generated.records cimport hft_decision, hft_intent
from hft.core.generated.views cimport Decision, Intent
from hft.roles.risk_judge cimport Judge
from ipc.atomics cimport load_acquire, load_relaxed, monotonic_ns, prefetch_bytes
from ipc.page_stores cimport PageStores
from ipc.ring cimport RingReader, RingWriter, has_record
from ipc.words cimport Latch

from hft import counters, records, units
from hft.graph import RingId

cdef enum:
    HALTED = 0
    REDUCING = 1
    PENDING = 0
    PENDING_MANUAL = 2
    INTENTS_MAX = 64
    MANUAL_MAX = 4  # by hand nobody asks for more; strategies do not wait for it

assert (HALTED, REDUCING) == (records.TradingState.HALTED, records.TradingState.REDUCING)

PENDING_SLOT = PENDING
MANUAL_SLOT = PENDING_MANUAL
COMMANDS_EVERY_NS = 20 * units.NS_PER_MS
PART_EVERY_NS = 8 * units.NS_PER_MS

cdef int64_t COMMANDS_EVERY = COMMANDS_EVERY_NS
cdef int64_t PART_EVERY = PART_EVERY_NS
cdef uint64_t AGREES = counters.AGREES.id
cdef uint64_t DIFFERS = counters.DIFFERS.id
cdef uint64_t JUDGED = counters.JUDGED.id
cdef uint64_t APPROVED = counters.APPROVED.id
cdef uint64_t REFUSED = counters.REFUSED.id
cdef uint64_t RISK_NS = counters.RISK_NS.id


cdef class Intake:
    """A ring of intents: ``ring`` is its id, and with that its cursor in the page.

    ``slot``: the place in the role page where the one in the making is noted.
    """

    cdef readonly RingReader intents
    cdef readonly Intent intent
    cdef readonly int slot
    cdef readonly int ring
    cdef int most  # of one turn
    cdef bint is_by_hand

    def __init__(self, context, str name not None, *, int slot, int ring, int most, is_by_hand):
        self.intents, buffer = context.ring_reader(name)
        self.intent = Intent(buffer)
        self.slot, self.ring, self.most, self.is_by_hand = slot, ring, most, is_by_hand


cdef class RiskIntake:
    """What risk has in its hands while it answers an intent.

    ``_state`` is the trading state, ``_allowed`` what of it is granted in this turn, and
    ``_told_state`` what was told last; -1: nothing. ``_due_ns``: when the permit has to be
    renewed. ``_closing_until_ns``: while positions are closed after a halt nobody else may send
    anything; 0: not now. ``_waited_ns``: the longest that an intent waited until it was judged,
    since somebody asked. Times are of the monotonic clock.
    """

    cdef RingReader executions
    cdef RingReader paper_executions
    cdef const uint64_t *account_gauges
    cdef const uint64_t *account_beat
    cdef hft_decision *answer
    cdef RingWriter decision_ring
    cdef public int _state
    cdef public int _allowed
    cdef public int _told_state
    cdef public int64_t _closing_until_ns
    cdef public int64_t _due_ns
    cdef public int64_t _cells_ns
    cdef public int64_t _commanded_ns
    cdef public int64_t _waited_ns
    cdef readonly Intake _by_strategies
    cdef readonly Intake _by_hand
    cdef readonly PageStores _page
    cdef readonly Latch _halt
    cdef public Judge _desk
    cdef readonly PageStores _account
    cdef readonly object _decisions
    cdef readonly Decision _decision

    def __init__(self, context, RingReader executions not None, RingReader paper not None):
        self._page, self._halt = context.page, context.halt
        self._account = context.page_of("account")
        self.account_gauges = self._account.gauges
        self.account_beat = self._account.beat_word
        self.executions, self.paper_executions = executions, paper
        self._by_strategies = Intake(
            context, "intents.strategy", slot=PENDING, ring=RingId.INTENTS, most=INTENTS_MAX,
            is_by_hand=False)
        self._by_hand = Intake(
            context, "intents.manual", slot=PENDING_MANUAL, ring=RingId.MANUAL, most=MANUAL_MAX,
            is_by_hand=True)
        self._decisions, buffer = context.ring_writer("decisions")
        self._decision = Decision(buffer)
        self.answer = <hft_decision *> self._decision.data
        # A writer that is watched from outside is no RingWriter: it is called by name, and so is
        # what fills its record.
        self.decision_ring = self._decisions if isinstance(self._decisions, RingWriter) else None
        self._state = self._allowed = HALTED
        self._told_state = -1

    def do_work(self, int64_t now_ns):
        """Executions first: a fill changes what may be approved.

        Who has judged lets execution go first: what is done once in a while waits, for as long
        again as it has its time, but no longer.
        """
        cdef int64_t work_count = 0
        cdef int judged, patience = 1
        if has_record(&self.executions.position):
            work_count = self._poll_executions(now_ns)
        if has_record(&self.paper_executions.position):
            work_count += self._poll_paper()
        if self._closing_until_ns:
            self._watch_closing(now_ns)
        self._allowed = self.granted()
        judged = self.judge_waiting(now_ns)
        if judged:
            work_count += judged
            patience = 2
        if self._allowed != self._told_state or now_ns >= self._due_ns:
            self._renew(now_ns)
        if now_ns - self._cells_ns >= patience * PART_EVERY:
            self._look(now_ns)
        if now_ns - self._commanded_ns >= patience * COMMANDS_EVERY:
            self._commanded_ns = now_ns
            work_count += self._obey(now_ns)
        return work_count

    cdef int judge_waiting(self, int64_t now_ns) except -1:
        """The person first: who trades by hand wants out of something."""
        cdef bint is_by_hand = has_record(&self._by_hand.intents.position)
        cdef int count = 0
        if not (is_by_hand or has_record(&self._by_strategies.intents.position)):
            return 0
        if load_relaxed(self.account_gauges + AGREES) or load_relaxed(
            self.account_gauges + DIFFERS
        ):
            self._desk.account_ns = <int64_t> load_acquire(self.account_beat)
        if is_by_hand:
            count = self.take(self._by_hand, now_ns)
        return count + self.take(self._by_strategies, now_ns)

    cdef int take(self, Intake intake, int64_t now_ns) except -1:
        """Judge what waits in one ring: each intent becomes one decision, whatever dies."""
        cdef RingReader intents = intake.intents
        cdef const hft_intent *asked = <const hft_intent *> intents.record
        cdef int granted = self._allowed
        cdef int count = 0
        cdef int approved = 0
        cdef int reason
        if self._closing_until_ns and not intake.is_by_hand:
            granted = HALTED
        while count < intake.most and self.has_room() and intents.next_record(intents.record):
            reason = self._desk.judge(asked, now_ns, granted, intake.is_by_hand)
            self.answer_with(reason, intake, now_ns)
            count += 1
            if not reason:
                approved += 1
        if count:
            self._page.add(JUDGED, count)
            if approved:
                self._page.add(APPROVED, approved)
            if approved < count:
                self._page.add(REFUSED, count - approved)
        return count

    cdef bint has_room(self) except -1:
        if self.decision_ring is not None:
            return self.decision_ring.room(1) > 0
        return self._decisions.free > 0

    cdef int answer_with(self, uint16_t reason, Intake intake, int64_t now_ns) except -1:
        """Publish the decision: noted before it is visible, and done with after it is."""
        cdef RingWriter ring = self.decision_ring
        cdef const hft_intent *asked = <const hft_intent *> intake.intents.record
        cdef uint64_t seq = asked.seq
        cdef uint64_t output_seq
        cdef int64_t waited_ns
        if ring is not None:
            self._desk.fill(self.answer, asked, reason, now_ns, intake.ring)
            output_seq = ring.seq + ring.staged + 1
        else:
            self._fill_decision(intake.intent, reason, now_ns, intake.ring)
            output_seq = self._decisions.next_seq
        self._page.begin_batch(intake.slot, seq, output_seq)
        # A second look at the clock, for the measurement only: the turn's may be older than the
        # intent, when strategy and risk share a process. Before the offer: execution may run
        # before it returns, when they share a cpu.
        waited_ns = monotonic_ns() - asked.publish_ns
        if ring is not None:
            ring.offer_record(<const char *> self.answer)
        else:
            self._decisions.offer()
        intake.intents.commit_read()
        self._page.commit_batch(intake.slot, seq)
        self._page.note_ns(RISK_NS, waited_ns)
        if waited_ns > self._waited_ns:
            self._waited_ns = waited_ns
        return 0

    def _fill_decision(
        self, Intent intent not None, uint16_t reason, int64_t now_ns, uint16_t cause_ring,
    ):
        """Write what answers an intent into the buffer of ``decisions``."""
        self._desk.answer(self._decision, intent, reason, now_ns, cause_ring)

    cdef int granted(self) noexcept nogil:
        if load_acquire(self._halt.word):
            return HALTED
        if self._state > REDUCING and load_relaxed(self.account_gauges + DIFFERS):
            return REDUCING
        return self._state

    def _granted(self):
        """The number of the trading state that may be granted now."""
        return self.granted()

    def look_ahead(self):
        """Bring into the caches what the next intent meets on its way to a decision. No effect."""
        cdef PageStores page = self._page
        self._by_strategies.intents.fetch_next()
        if self.decision_ring is not None:
            self.decision_ring.fetch_next()
        prefetch_bytes(self.answer, sizeof(hft_decision))
        prefetch_bytes(self._by_strategies.intents.record, sizeof(hft_intent))
        prefetch_bytes(page.batch(PENDING), 2 * sizeof(uint64_t))
        prefetch_bytes(page.counters + JUDGED, sizeof(uint64_t))
        prefetch_bytes(page.counters + APPROVED, sizeof(uint64_t))
        prefetch_bytes(page.maxima + RISK_NS, sizeof(uint64_t))
