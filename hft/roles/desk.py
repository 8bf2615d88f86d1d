"""One plug-in on one instrument: what it wants, what it has, what it saw last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hft import graph
from hft.config import StrategyConfig
from hft.core.generated.views import Execution, Header, TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import InstrumentStatus, Mode, Side
from hft.roles.containment import IntentBudget
from hft.strategy.base import OPTIONAL_CALLBACKS
from hft.strategy.orders import Inventory, better_e8
from hft.strategy.targets import QuoteRules, QuoteTargets

MODES: Final = {"live": Mode.LIVE, "paper": Mode.PAPER, "observe": Mode.OBSERVE}
PAUSED_BY: Final = "paused by "
"""How the reason of a pause begins that a person asked for."""
Handler = Callable[..., None]


class IdlePlugin:
    """Stands in for a plug-in that could not be loaded: wants nothing."""

    def on_top_of_book(self, *_arguments: object) -> None:
        """Want nothing."""

    def on_timer(self, *_arguments: object) -> None:
        """Want nothing."""


class Desk:
    """A plug-in's place in the engine. Survives its plug-in: orders and position stay."""

    __slots__ = (
        "book_seq", "budget", "cause_ns", "cause_ring", "cause_seq", "config", "errors", "has_news",
        "has_wishes", "held", "higher", "instrument", "inventory", "is_fed", "lower", "mode",
        "next_mode", "on_book", "on_execution", "on_feed_status", "on_instrument", "on_mark",
        "on_refusal", "on_timer", "on_top_of_book", "on_trade", "origin_ns", "pause_reason",
        "peers", "plugin", "strategy_id", "targets", "top",
    )  # fmt: skip

    on_book: Handler | None
    on_execution: Handler | None
    on_feed_status: Handler | None
    on_instrument: Handler | None
    on_mark: Handler | None
    on_refusal: Handler | None
    on_trade: Handler | None
    on_timer: Handler
    on_top_of_book: Handler

    def __init__(
        self,
        config: StrategyConfig,
        plugin: Any,
        instrument: InstrumentRules,
        inventory: Inventory,
        strategy_id: int,
        mode: Mode,
    ) -> None:
        self.config = config
        self.instrument = instrument
        self.strategy_id = strategy_id
        self.targets = QuoteTargets(instrument)
        self.set_mode(mode, inventory)
        self.install(plugin)
        self.budget = IntentBudget(config.intents_per_s_max)
        self.next_mode: Mode | None = None
        """The mode to change to once nothing of the present one is open."""
        self.pause_reason = ""
        """Why the plug-in is not called; empty: it is."""
        self.errors = 0
        self.held = 0
        """Intents that were not offered as they would have met an order of ours."""
        self.peers: tuple[Desk, ...] = (self,)
        """Every desk on the instrument, by priority."""
        self.higher: tuple[Desk, ...] = ()
        self.lower: tuple[Desk, ...] = ()
        self.top = TopOfBook()
        self.book_seq = 0
        self.origin_ns = self.cause_ring = self.cause_seq = self.cause_ns = 0
        self.has_news = self.has_wishes = self.is_fed = False

    def install(self, plugin: Any) -> None:
        """From now on this object is called; what it finds resting stays."""
        self.plugin = plugin
        self.targets.rules = getattr(plugin, "quote_rules", None) or QuoteRules()
        self.on_top_of_book, self.on_timer = plugin.on_top_of_book, plugin.on_timer
        for name in OPTIONAL_CALLBACKS:
            setattr(self, name, getattr(plugin, name, None))

    def set_mode(self, mode: Mode, inventory: Inventory) -> None:
        """Trade in this mode, and show the position of its book."""
        self.mode, self.inventory = mode, inventory
        self.targets.view.bind(inventory, mode)

    @property
    def is_quoting(self) -> bool:
        """May the plug-in want anything: it works, the data is live, the instrument trades."""
        is_trading = self.instrument.status == InstrumentStatus.TRADING
        is_at_rest = not self.pause_reason and self.next_mode is None
        return self.is_fed and is_trading and is_at_rest

    @property
    def has_failed(self) -> bool:
        """It is paused, and nobody asked for that."""
        return bool(self.pause_reason) and not self.pause_reason.startswith(PAUSED_BY)

    def note_cause(self, ring: graph.RingId, record: Header | Execution) -> None:
        """Remember which network event the next intents will answer."""
        self.origin_ns, self.cause_ns = record.origin_ns, record.publish_ns
        self.cause_ring, self.cause_seq = int(ring), record.seq

    def forget_cause(self) -> None:
        """The next intents answer the clock, not an event."""
        self.origin_ns = self.cause_ring = self.cause_seq = self.cause_ns = 0

    def keep_clear(self) -> None:
        """Bound the quotes by what desks of higher priority want or have on the other side."""
        bid_max_e8 = ask_min_e8 = 0
        for desk in self.higher:
            if desk.mode is self.mode:
                sell_e8, buy_e8 = desk.targets.claim_e8(Side.SELL), desk.targets.claim_e8(Side.BUY)
                bid_max_e8 = better_e8(Side.SELL, bid_max_e8, sell_e8)
                ask_min_e8 = better_e8(Side.BUY, ask_min_e8, buy_e8)
        tick_e8 = self.instrument.tick_e8
        bid_max_e8 = max(tick_e8, bid_max_e8 - tick_e8) if bid_max_e8 else 0
        ask_min_e8 = ask_min_e8 + tick_e8 if ask_min_e8 else 0
        self.targets.bound(bid_max_e8, ask_min_e8)
        for order in self.targets.orders:
            bound_e8 = bid_max_e8 if order.side > 0 else ask_min_e8
            if bound_e8 and order.price_e8 and (order.price_e8 - bound_e8) * order.side > 0:
                self.targets.orders.cancel(order.order_id)

    def would_meet(self, side: Side, price_e8: int, *, is_quote: bool) -> bool:
        """Would an order trade with one of ours in the same mode? ``price_e8`` 0: a market order.

        Between the two quotes of one desk the venue's post-only rule decides.
        """
        other = Side.SELL if side > 0 else Side.BUY
        for desk in self.peers:
            if desk.mode is not self.mode:
                continue
            targets = desk.targets
            is_own_quote = is_quote and desk is self
            best_e8 = targets.orders.best_e8(other) if is_own_quote else targets.best_e8(other)
            if best_e8 and (not price_e8 or (price_e8 - best_e8) * side >= 0):
                return True
        return False


def rank(desks: list[Desk]) -> None:
    """Order the desks of one instrument: the greater priority first, then as configured."""
    ordered = sorted(desks, key=lambda desk: (-desk.config.priority, desk.strategy_id))
    for index, desk in enumerate(ordered):
        desk.peers = tuple(ordered)
        desk.higher, desk.lower = tuple(ordered[:index]), tuple(ordered[index + 1 :])
