"""A testing kit for authors: feed a plug-in events, advance time, see what it wants and sends.

::

    trial = Trial(Follower, qty="0.01")
    trial.top("100.0", "100.1")
    assert trial.wanted(Side.BUY) == ("100", "0.01")

The targets and orders are those of the engine; the venue answers at once, in the same call. There
is no process, no clock and no mock: time stands still until ``advance``. What the engine would
contain, an exception or a mistaken value, comes out of the call that fed the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hft.core.generated.views import (
    Book,
    Decision,
    Execution,
    FeedStatus,
    MarkPrice,
    TopOfBook,
    Trade,
)
from hft.core.instruments import InstrumentRules
from hft.core.order_ids import OrderIdMaker
from hft.records import (
    BOOK_LEVELS,
    Action,
    ExecKind,
    FeedState,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.strategy.change import Change, Inventory
from hft.strategy.loader import load_parameters, make_strategy
from hft.strategy.orders import NO_ORDER
from hft.strategy.targets import QuoteTargets
from hft.strategy.view import OwnOrder
from hft.units import E8, NS_PER_MS, NS_PER_S, format_e8, parse_e8

TIMER_MS: Final = 10
"""``on_timer`` comes so often, as in the engine."""
BTCUSDT: Final = InstrumentRules(
    instrument_id=1,
    symbol="BTCUSDT",
    tick_e8=E8 // 10,
    step_e8=E8 // 1_000,
    qty_min_e8=E8 // 1_000,
    qty_max_e8=1_000 * E8,
    notional_min_e8=5 * E8,
)
_ROUNDS_MAX: Final = 8
"""Answers that lead to further intents, in one call."""


class Sent(NamedTuple):
    """One intent that left, prices and quantities as decimal text."""

    action: Action
    side: Side
    price: str
    qty: str
    order_id: int
    order_type: OrderType = OrderType.LIMIT
    tif: Tif = Tif.GTC


class Trial:
    """One plug-in on one instrument, and a market, a venue and a clock that the test turns.

    ``is_answering`` False: nothing is acknowledged; ``is_open`` False: the engine lets nothing out.
    """

    def __init__(
        self,
        plugin_class: type[Any],
        instrument: InstrumentRules = BTCUSDT,
        **parameters: object,
    ) -> None:
        name = plugin_class.__name__
        typed = load_parameters(plugin_class, parameters, name)
        self.plugin: Any = make_strategy(plugin_class, typed, instrument, name)
        self.instrument = instrument
        self.targets = QuoteTargets(instrument, getattr(self.plugin, "quote_rules", None))
        self.inventory = Inventory()
        self.targets.view.bind(self.inventory, Mode.LIVE)
        self.targets.orders.bind(self._send)
        self.now_ns = NS_PER_S
        self.sent: list[Sent] = []
        self.is_answering = True
        self.is_open = True
        self._ids = OrderIdMaker(1, 1)
        self._seq = 0
        self._top = TopOfBook()
        self._execution, self._decision = Execution(), Decision()
        self._unanswered: list[tuple[Change, int]] = []

    # -- events ---------------------------------------------------------------------------------

    def top(self, bid: str, ask: str, *, bid_qty: str = "1", ask_qty: str = "1") -> None:
        """A new best bid and ask."""
        top = self._top
        top.bid_e8, top.ask_e8 = parse_e8(bid), parse_e8(ask)
        top.bid_qty_e8, top.ask_qty_e8 = parse_e8(bid_qty), parse_e8(ask_qty)
        top.as_of_ns, top.feed_state = self.now_ns, int(FeedState.LIVE)
        top.instrument_id, top.venue_seq = self.instrument.instrument_id, top.venue_seq + 1
        self._call("on_top_of_book", top)

    def book(self, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> None:
        """A new book: (price, quantity) of up to twenty levels a side, best first."""
        book = Book()
        book.as_of_ns, book.feed_state = self.now_ns, int(FeedState.LIVE)
        book.bid_count, book.ask_count = len(bids), len(asks)
        assert max(len(bids), len(asks)) <= BOOK_LEVELS
        for index, (price, qty) in enumerate(bids):
            book.set_bid_e8_at(index, parse_e8(price))
            book.set_bid_qty_e8_at(index, parse_e8(qty))
        for index, (price, qty) in enumerate(asks):
            book.set_ask_e8_at(index, parse_e8(price))
            book.set_ask_qty_e8_at(index, parse_e8(qty))
        self._call("on_book", book)

    def trade(self, price: str, qty: str, aggressor: Side = Side.BUY) -> None:
        """A public trade."""
        trade = Trade()
        trade.price_e8, trade.qty_e8 = parse_e8(price), parse_e8(qty)
        trade.as_of_ns, trade.aggressor_side = self.now_ns, int(aggressor)
        self._call("on_trade", trade)

    def mark(self, price: str) -> None:
        """A new mark price."""
        mark = MarkPrice()
        mark.mark_e8, mark.as_of_ns = parse_e8(price), self.now_ns
        self._call("on_mark", mark)

    def feed(self, state: FeedState) -> None:
        """The market data changed its quality; what is not live lets nothing out."""
        status = FeedStatus()
        status.recv_ns, status.feed_state = self.now_ns, int(state)
        self.is_open = state is FeedState.LIVE
        self._call("on_feed_status", status)

    def advance(self, duration_ms: int) -> None:
        """Let time pass; ``on_timer`` comes every 10 ms."""
        for _ in range(duration_ms // TIMER_MS):
            self.now_ns += TIMER_MS * NS_PER_MS
            self.plugin.on_timer(self.now_ns, self.targets)
            self._settle()
        self.now_ns += duration_ms % TIMER_MS * NS_PER_MS

    def fill(self, side: Side, qty: str = "") -> None:
        """The oldest open order of a side trades, by default all that is open of it."""
        order = next((order for order in self.orders if order.side is side), None)
        assert order is not None, f"no {side.name} order is open"
        qty_e8 = parse_e8(qty) if qty else order.leaves_qty_e8
        self._fill(order, order.price_e8, qty_e8)
        self._settle()

    def refuse(self, reason: Reason) -> None:
        """Risk refuses the oldest unanswered intent (``is_answering`` False)."""
        change, order_id = self._unanswered.pop(0)
        decision = self._decision
        decision.clear()
        decision.order_id, decision.action = order_id, int(change.action)
        decision.side, decision.reason = int(change.side), int(reason)
        decision.price_e8, decision.qty_e8 = change.price_e8, change.qty_e8
        self.targets.on_refusal(decision, self.now_ns)
        self._call("on_refusal", decision)

    def reload(self, plugin_class: type[Any], **parameters: object) -> None:
        """Put a new object in the place of the old one, as ``hft strategy reload`` does."""
        name = plugin_class.__name__
        typed = load_parameters(plugin_class, parameters, name)
        fresh: Any = make_strategy(plugin_class, typed, self.instrument, name)
        if hasattr(self.plugin, "save") and hasattr(fresh, "restore"):
            fresh.restore(self.plugin.save())
        self.plugin = fresh

    # -- what came of it ------------------------------------------------------------------------

    def wanted(self, side: Side) -> tuple[str, str]:
        """Price and quantity that are wanted on a side; ("0", "0"): nothing."""
        price_e8, qty_e8 = self.targets.wanted(side)
        return format_e8(price_e8), format_e8(qty_e8)

    @property
    def orders(self) -> list[OwnOrder]:
        """Every open order, as the plug-in's own view shows them."""
        return self.targets.view.orders

    @property
    def position(self) -> str:
        """The position; settable, to begin with one."""
        return format_e8(self.inventory.position_e8)

    @position.setter
    def position(self, qty: str) -> None:
        self.inventory.position_e8 = parse_e8(qty)

    # -- inside ---------------------------------------------------------------------------------

    def _call(self, name: str, record: object) -> None:
        handler = getattr(self.plugin, name, None)
        if handler is not None:
            handler(self.now_ns, record, self.inventory.position_e8, self.targets)
        self._settle()

    def _settle(self) -> None:
        """Send what is wanted, answer what was sent, until nothing more follows."""
        for _ in range(_ROUNDS_MAX):
            if not self.is_open:
                self.targets.withdraw()
            for change in self.targets.changes(self.now_ns):
                order_id = self._note(change)
                self.targets.mark_offered(change, order_id, self.now_ns)
            if not (self.is_answering and self._unanswered):
                return
            waiting, self._unanswered = self._unanswered, []
            for change, order_id in waiting:
                self._answer(change, order_id)

    def _send(self, change: Change) -> int:
        self.targets.orders.at(self.now_ns)
        if not self.is_open and change.action is not Action.CANCEL:
            return NO_ORDER
        return self._note(change)

    def _note(self, change: Change) -> int:
        order_id = change.order_id or self._ids.next()
        self.sent.append(
            Sent(
                change.action,
                change.side,
                format_e8(change.price_e8),
                format_e8(change.qty_e8),
                order_id,
                change.order_type,
                change.tif,
            )
        )
        copy = Change(change.side, change.action)
        copy.price_e8, copy.qty_e8, copy.order_id = change.price_e8, change.qty_e8, order_id
        copy.order_type, copy.tif = change.order_type, change.tif
        copy.is_post_only = change.is_post_only
        self._unanswered.append((copy, order_id))
        return order_id

    def _answer(self, change: Change, order_id: int) -> None:
        """What a venue says that takes everything and fills what crosses at the touch."""
        order = next((order for order in self.orders if order.order_id == order_id), None)
        if order is None:
            return
        if change.action is Action.CANCEL:
            self._report(order, ExecKind.CANCELED, order.price_e8, 0, leaves_e8=0)
            return
        filled_e8 = order.qty_e8 - order.leaves_qty_e8
        leaves_e8 = change.qty_e8 - filled_e8
        touch_e8 = self._top.ask_e8 if change.side > 0 else self._top.bid_e8
        is_market = change.order_type == OrderType.MARKET
        is_taking = touch_e8 > 0 and (
            is_market or (change.price_e8 - touch_e8) * int(change.side) >= 0
        )
        if is_taking and change.is_post_only:
            self._report(order, ExecKind.REJECTED, change.price_e8, 0, leaves_e8=0)
            return
        kind = ExecKind.ACK if change.action is Action.PLACE else ExecKind.AMENDED
        self._report(order, kind, change.price_e8, change.qty_e8, leaves_e8=leaves_e8)
        if is_taking:
            self._fill(order._replace(leaves_qty_e8=leaves_e8), touch_e8, leaves_e8)
        elif is_market or change.tif in (Tif.IOC, Tif.FOK):
            self._report(order, ExecKind.EXPIRED, change.price_e8, 0, leaves_e8=0)

    def _fill(self, order: OwnOrder, price_e8: int, qty_e8: int) -> None:
        self.inventory.position_e8 += order.side * qty_e8
        self._report(order, ExecKind.FILL, price_e8, qty_e8, leaves_e8=order.leaves_qty_e8 - qty_e8)

    def _report(
        self, order: OwnOrder, kind: ExecKind, price_e8: int, qty_e8: int, *, leaves_e8: int
    ) -> None:
        ends = {
            ExecKind.FILL: OrderState.FILLED,
            ExecKind.REJECTED: OrderState.REJECTED,
            ExecKind.EXPIRED: OrderState.EXPIRED,
        }
        record = self._execution
        record.clear()
        self._seq += 1
        record.seq, record.order_id, record.side = self._seq, order.order_id, int(order.side)
        record.exec_kind, record.price_e8, record.qty_e8 = int(kind), price_e8, qty_e8
        total_e8 = qty_e8 if kind in (ExecKind.ACK, ExecKind.AMENDED) else order.qty_e8
        record.leaves_qty_e8 = leaves_e8
        record.cum_qty_e8 = total_e8 - leaves_e8 if kind is not ExecKind.CANCELED else 0
        is_over = leaves_e8 == 0
        state = ends.get(kind, OrderState.CANCELED) if is_over else OrderState.WORKING
        record.order_state = int(state)
        self.targets.on_execution(record, self.now_ns)
        handler = getattr(self.plugin, "on_execution", None)
        if handler is not None:
            handler(self.now_ns, record, self.inventory.position_e8, self.targets)
