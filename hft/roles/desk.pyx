"""One plug-in on one instrument: what it wants, what it has, what it saw last."""
cimport cython
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcpy

from hft.core.generated.records cimport hft_decision, hft_header
from hft.core.generated.views cimport Decision, RecordView, TopOfBook
from hft.core.order_ids cimport OrderIdMaker
from hft.strategy.change cimport Inventory
from hft.strategy.orders cimport better_e8
from hft.strategy.targets cimport QuoteTargets

from hft import units
from hft.records import InstrumentStatus, Mode, Side
from hft.roles.callback_note import Callback, Note
from hft.strategy.rules import QuoteRules

MODES = {"live": Mode.LIVE, "paper": Mode.PAPER, "observe": Mode.OBSERVE}
PAUSED_BY = "paused by "

cdef int64_t SECOND_NS = units.NS_PER_S


class IdlePlugin:
    """Stands in for a plug-in that could not be loaded: wants nothing."""

    def on_top_of_book(self, *_arguments):
        """Want nothing."""

    def on_timer(self, *_arguments):
        """Want nothing."""


@cython.final
cdef class IntentBudget:
    """A token bucket: so many intents a second, and as many at once."""

    def __init__(self, per_s):
        self.token_ns = SECOND_NS // per_s

    def take(self, int64_t now_ns):
        """Use one; False: there is none."""
        return self.take_one(now_ns)

    cdef bint take_one(self, int64_t now_ns) noexcept nogil:
        cdef int64_t end_ns = max(self.next_ns, now_ns) + self.token_ns
        if end_ns - now_ns > SECOND_NS:
            return False
        self.next_ns = end_ns
        return True


@cython.final
cdef class Desk:
    """A plug-in's place in the engine. Survives its plug-in: orders and position stay.

    ``next_mode``: the mode to change to once nothing of the present one is open; None: none.
    ``pause_reason``: why the plug-in is not called; empty: it is. ``held``: intents that were
    not offered as they would have met an order of ours. ``peers``: every desk on the
    instrument, by priority; ``higher`` and ``lower``: those that go before it, and after it.
    ``refusal``: the newest of the ``refusals`` that risk has told.
    """

    def __init__(self, config, plugin, instrument, Inventory inventory not None,
                 OrderIdMaker order_ids not None, mode):
        self.config = config
        self.instrument = instrument
        self.order_ids = order_ids
        self.strategy_id = order_ids.source
        self.place = Note(self.strategy_id, instrument.instrument_id, Callback.LOADING).word
        self.targets = QuoteTargets(instrument)
        self.set_mode(mode, inventory)
        self.install(plugin)
        self.budget = IntentBudget(config.intents_per_s_max)
        self.pause_reason = ""
        self.errors = self.held = 0
        self.peers = (self,)
        self.higher = self.lower = ()
        self.top = TopOfBook()
        self.refusal = Decision()

    @property
    def instrument(self):
        """The venue's rules as they are now; to be set here and in the targets."""
        return self.rules

    @instrument.setter
    def instrument(self, rules):
        self.rules = rules
        self.instrument_id = rules.instrument_id
        self.instrument_version = rules.version
        self.is_trading = rules.status == InstrumentStatus.TRADING

    def install(self, plugin):
        """From now on this object is called; what it finds resting stays."""
        self.plugin = plugin
        self.targets.rules = getattr(plugin, "quote_rules", None) or QuoteRules()
        self.on_top_of_book, self.on_timer = plugin.on_top_of_book, plugin.on_timer
        self.on_book = getattr(plugin, "on_book", None)
        self.on_execution = getattr(plugin, "on_execution", None)
        self.on_feed_status = getattr(plugin, "on_feed_status", None)
        self.on_instrument = getattr(plugin, "on_instrument", None)
        self.on_mark = getattr(plugin, "on_mark", None)
        self.on_refusal = getattr(plugin, "on_refusal", None)
        self.on_trade = getattr(plugin, "on_trade", None)

    def set_mode(self, mode, Inventory inventory not None):
        """Trade in this mode, and show the position of its book."""
        self.mode, self.inventory = mode, inventory
        self.mode_code = mode
        self.targets.view.bind(inventory, mode)

    @property
    def is_quoting(self):
        """May the plug-in want anything: it works, the data is live, the instrument trades."""
        return self.may_quote()

    cdef bint may_quote(self) noexcept:
        return self.is_fed and self.is_trading and not self.pause_reason and self.next_mode is None

    @property
    def has_failed(self):
        """It is paused, and nobody asked for that."""
        return bool(self.pause_reason) and not self.pause_reason.startswith(PAUSED_BY)

    def note_cause(self, uint16_t ring, RecordView record not None):
        """Remember which network event the next intents will answer."""
        self.note_header(ring, <const hft_header *> record.data)

    cdef void note_header(self, uint16_t ring, const hft_header *header) noexcept nogil:
        self.origin_ns, self.cause_ns = header.origin_ns, header.publish_ns
        self.cause_ring, self.cause_seq = ring, header.seq

    cdef void note_refusal(self, const hft_decision *decision) noexcept nogil:
        memcpy(self.refusal.data, decision, sizeof(hft_decision))
        self.refusals += 1

    def forget_cause(self):
        """The next intents answer the clock, not an event."""
        self.forget_event()

    cdef void forget_event(self) noexcept nogil:
        self.origin_ns = self.cause_ns = 0
        self.cause_ring = 0
        self.cause_seq = 0

    def keep_clear(self):
        """Bound the quotes by what desks of higher priority want or have on the other side.

        A quote never rests beyond the other side's best: whoever wants one there, by mistake or
        not, claims no more than that.
        """
        cdef int64_t tick_e8 = self.rules.tick_e8
        cdef int64_t bid_e8 = self.top.bid_e8, ask_e8 = self.top.ask_e8
        cdef int64_t sell_e8, buy_e8, bid_max_e8 = 0, ask_min_e8 = 0, bound_e8
        cdef Desk desk
        for desk in self.higher:
            if desk.mode is self.mode:
                sell_e8, buy_e8 = desk.targets.claim_e8(Side.SELL), desk.targets.claim_e8(Side.BUY)
                if sell_e8 and bid_e8:
                    sell_e8 = max(sell_e8, bid_e8 + tick_e8)
                if buy_e8 and ask_e8:
                    buy_e8 = min(buy_e8, ask_e8 - tick_e8)
                bid_max_e8 = better_e8(-1, bid_max_e8, sell_e8)
                ask_min_e8 = better_e8(1, ask_min_e8, buy_e8)
        bid_max_e8 = max(tick_e8, bid_max_e8 - tick_e8) if bid_max_e8 else 0
        ask_min_e8 = ask_min_e8 + tick_e8 if ask_min_e8 else 0
        self.targets.bound(bid_max_e8, ask_min_e8)
        for order in self.targets.orders:
            bound_e8 = bid_max_e8 if order.side > 0 else ask_min_e8
            if bound_e8 and order.price_e8 and (order.price_e8 - bound_e8) * order.side > 0:
                self.targets.orders.cancel(order.order_id)

    cdef bint would_meet(self, int sign, int64_t price_e8, bint is_quote) except -1:
        """Would an order trade with one of ours in the same mode? ``price_e8`` 0: a market order.

        Between the two quotes of one desk the venue's post-only rule decides.
        """
        cdef int64_t best_e8
        cdef Desk desk
        for desk in self.peers:
            if desk.mode is not self.mode:
                continue
            if is_quote and desk is self:
                best_e8 = desk.targets.orders.best_e8(-sign)
            else:
                best_e8 = desk.targets.best_open_e8(-sign)
            if best_e8 and (not price_e8 or (price_e8 - best_e8) * sign >= 0):
                return True
        return False


def rank(desks):
    """Order the desks of one instrument: the greater priority first, then as configured."""
    ordered = sorted(desks, key=lambda desk: (-desk.config.priority, desk.strategy_id))
    for index, desk in enumerate(ordered):
        desk.peers = tuple(ordered)
        desk.higher, desk.lower = tuple(ordered[:index]), tuple(ordered[index + 1:])
