"""After a gap in what the venue tells: first the trades that it hid, then the lists compared.

Realised profit depends on the sequence of the fills, so live events wait until the trades from
before them are booked. Every trade newer than the newest known one is booked, whoever sent its
order. Then the venue's open orders are held against the table: what the books do not know is
adopted, what the venue does not list is asked for. The comparison is repeated every few seconds,
because an event may be lost alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from hft import counters
from hft.core.orders import Order
from hft.errors import HftError, VenueError
from hft.roles.order_desk import OrderDesk, is_quiet
from hft.roles.order_ladder import OrderLadder
from hft.roles.order_stores import BooksError
from hft.units import NS_PER_S
from hft.venues.binance_usdm.errors import classify
from hft.venues.binance_usdm.reports import OrderReport, TradeReport
from hft.venues.binance_usdm.rest import TRADES_PER_PAGE
from hft.venues.binance_usdm.user_events import OrderUpdate
from ipc import RolePage

HOLD_NS_MAX: Final = 2 * NS_PER_S
"""So long may the trades that a gap hid keep events of the user stream waiting."""
HELD_MAX: Final = 4_096
OPEN_ORDERS_WEIGHT: Final = 40
"""Weight of asking for the open orders of all symbols; those of one symbol weigh 1."""
COMPARE_EVERY_NS: Final = 10 * NS_PER_S
DIFFERENCE_EVERY_NS: Final = NS_PER_S
"""Trades are not looked through for a difference sooner again."""
RETRY_S: Final = 0.5


class OrderRecovery:
    """Holds events back during a gap, catches up with trades, compares lists of open orders."""

    def __init__(
        self, desk: OrderDesk, page: RolePage, account: RolePage, on_recovered: Callable[[], None]
    ) -> None:
        """``on_recovered`` is called when the books and the venue's lists were compared."""
        self._desk = desk
        self._page, self._account = page, account
        self._on_recovered = on_recovered
        self._ladder: OrderLadder
        self._instruments = {symbol: number for number, symbol in desk.symbols.items()}
        self._is_user_stream_up = False
        self._gaps = 0
        self._held: list[tuple[OrderUpdate, int]] = []
        self._held_ns = 0
        self.is_holding = True
        """The user stream is up, and trades from before are still being fetched."""
        self._catching = asyncio.Lock()
        self._differs = 0
        self._differs_ns = 0
        self._compared_ns = 0
        self._is_comparing = self._is_looking = False

    def use(self, ladder: OrderLadder) -> None:
        """What is to be asked about goes there."""
        self._ladder = ladder

    @property
    def is_recovered(self) -> bool:
        """Our books and the venue's lists have been compared since the user stream came up."""
        return self._ladder.gate.is_recovered

    @is_recovered.setter
    def is_recovered(self, is_recovered: bool) -> None:
        self._ladder.gate.is_recovered = is_recovered

    # -- the user stream ------------------------------------------------------------------------

    def on_user_stream(self, *, is_up: bool) -> None:
        """After a gap only the venue's own lists can be trusted: compare before anything new."""
        self._is_user_stream_up = is_up
        self.is_recovered = False
        self.is_holding = True
        self._held_ns = time.monotonic_ns() if is_up else 0
        self._held.clear()
        self._desk.events.awaited.clear()
        self._desk.events.listening_ns = self._desk.rest.venue_ns
        if is_up:
            self._gaps += 1
            self._desk.spawn(self._recover(self._gaps))

    def on_update(self, update: OrderUpdate, recv_ns: int) -> None:
        """An order event: applied at once, or after the trades that happened before it."""
        if not self.is_holding:
            self._desk.events.on_update(update, recv_ns)
        elif len(self._held) < HELD_MAX:
            self._held.append((update, recv_ns))
        else:
            raise BooksError(f"{HELD_MAX} order events wait for the trades before them")

    def _release(self) -> None:
        """Let the events of the user stream through from now on."""
        self.is_holding = False
        held, self._held = self._held, []
        for update, recv_ns in held:
            self._desk.events.on_update(update, recv_ns)

    # -- called from the duty cycle -------------------------------------------------------------

    def tend(self, now_ns: int) -> None:
        """Give up waiting that lasts too long; look for what was lost without a gap."""
        if self.is_holding and self._held_ns and now_ns - self._held_ns > HOLD_NS_MAX:
            self._release()  # the position matters more than the sequence
        if not self.is_recovered or self._desk.is_busy:
            return
        differs = self._account.gauge(counters.DIFFERS.id)
        if differs < self._differs:
            self._differs = differs
        elif differs > self._differs and now_ns - self._differs_ns > DIFFERENCE_EVERY_NS:
            self._differs, self._differs_ns = differs, now_ns
            self.look_back()
        if now_ns - self._compared_ns > COMPARE_EVERY_NS and not self._is_comparing:
            self._is_comparing = True
            self._desk.spawn(self._compare_again())

    def look_back(self) -> None:
        """A trade may have been lost alone: look through the recent ones of every symbol."""
        if not self._is_looking:
            self._is_looking = True
            self._desk.spawn(self._look_back())

    # -- recovery -------------------------------------------------------------------------------

    async def _recover(self, gap: int) -> None:
        """Trades, then open orders: unknown ones are adopted, known ones asked for."""
        while self._is_open(gap):
            try:
                if self.is_holding:
                    await self._catch_all()
                if not self._is_open(gap):
                    return  # the stream has gone down meanwhile: a later gap is caught up with
                self._desk.guard(self._release)()
                started_ns = time.monotonic_ns()
                reports = await self._open_orders()
            except HftError:
                await asyncio.sleep(RETRY_S)
                continue
            if self._is_open(gap):
                self._desk.guard(self._compare)(reports, started_ns)
                self.is_recovered = True
                self._on_recovered()
            return

    def _is_open(self, gap: int) -> bool:
        is_newest = self._is_user_stream_up and gap == self._gaps
        return is_newest and not self._desk.is_stopping

    async def _compare_again(self) -> None:
        try:
            started_ns = time.monotonic_ns()
            reports = await self._open_orders()
            if self.is_recovered:
                self._desk.guard(self._compare)(reports, started_ns)
        except HftError:
            self._compared_ns = time.monotonic_ns()  # the next round is soon enough
        finally:
            self._is_comparing = False

    async def _open_orders(self) -> list[OrderReport]:
        """Open orders of our symbols: one by one while that weighs less than all at once."""
        rest, symbols = self._desk.rest, self._desk.symbols
        if len(symbols) >= OPEN_ORDERS_WEIGHT:
            return await rest.open_orders(None)
        reports: list[OrderReport] = []
        for symbol in symbols.values():
            reports += await rest.open_orders(symbol)
        return reports

    def _compare(self, reports: list[OrderReport], started_ns: int) -> None:
        """Hold the venue's open orders against the table; the list is as of ``started_ns``."""
        self._compared_ns = now_ns = time.monotonic_ns()
        events, found = self._desk.events, set()
        for report in reports:
            instrument_id = self._instruments.get(report.symbol)
            if instrument_id is None or report.venue_order_id <= 0:
                self._page.count(counters.FOREIGN_EVENTS.id)
                continue
            order = events.find(instrument_id, report.order_id, report.venue_order_id)
            if order is None:
                order = events.adopt_report(report, now_ns, report.cum_qty_e8)
            elif not order.is_terminal and order.request_ns <= started_ns:
                events.on_report(order, report, now_ns)
            if order is not None:
                found.add(order.order_id)
        for order in self._desk.keeper.table:
            is_listed = order.order_id in found or max(order.send_ns, order.ack_ns) > started_ns
            if not is_listed and is_quiet(order):
                self._ladder.ask(order, now_ns)

    # -- trades ---------------------------------------------------------------------------------

    async def _catch_all(self) -> None:
        for instrument_id in self._desk.symbols:
            await self.catch_symbol(instrument_id)
        self._desk.keeper.is_new = False

    async def _look_back(self) -> None:
        try:
            for instrument_id in self._desk.symbols:
                await self.catch_symbol(instrument_id, is_looking_back=True)
        except HftError:
            self._differs = 0  # nobody answered: the difference is still to be explained
        finally:
            self._is_looking = False
        self._desk.turn()

    async def catch_symbol(self, instrument_id: int, *, is_looking_back: bool = False) -> None:
        """Book the trades of a symbol since the newest known one, in their sequence."""
        keeper, symbol = self._desk.keeper, self._desk.symbols[instrument_id]
        async with self._catching:
            newest = keeper.newest_trades.get(instrument_id, 0)
            if is_looking_back:
                newest = max(0, keeper.recent_trade(instrument_id) - 1)
            elif not newest and keeper.is_new:
                return  # whatever was traded before is in the positions that account starts with
            is_last = False
            while not is_last:
                trades = await self._desk.rest.user_trades(symbol, newest + 1 if newest else None)
                for trade in trades:
                    await self._catch_trade(instrument_id, trade)
                is_last = len(trades) < TRADES_PER_PAGE or not newest
                newest = max((trade.trade_id for trade in trades), default=newest)

    async def _catch_trade(self, instrument_id: int, trade: TradeReport) -> None:
        """Book one trade, after its order if that is not known."""
        desk, events = self._desk, self._desk.events
        if desk.keeper.table.trades.knows(instrument_id, trade.trade_id, trade.side):
            return
        order = desk.keeper.table.find_venue(instrument_id, trade.venue_order_id)
        report: OrderReport | None = None
        if order is None:
            if trade.venue_ns < desk.birth_ns:
                return
            # Somebody else's, or sent by a predecessor that did not live to see the answer.
            report = await self._ask(trade)
            order = await self._order_of(instrument_id, trade, report)
        elif order.is_adopted and trade.venue_ns < desk.birth_ns:
            return
        desk.guard(events.on_trade)(order, trade, time.monotonic_ns())
        if report is not None:
            desk.guard(events.on_report)(order, report, time.monotonic_ns())

    async def _ask(self, trade: TradeReport) -> OrderReport | None:
        """The order of a trade; None when the venue has forgotten it."""
        try:
            return await self._desk.rest.query_order(
                trade.symbol, venue_order_id=trade.venue_order_id
            )
        except VenueError as error:
            if classify(error.code, error.status, error.text).is_order_unknown:
                return None
            raise

    async def _order_of(
        self, instrument_id: int, trade: TradeReport, report: OrderReport | None
    ) -> Order:
        events = self._desk.events
        order: Order | None = None
        if report is not None:
            order = events.find(instrument_id, report.order_id, report.venue_order_id)
            order = order or events.adopt_report(report, time.monotonic_ns())
        return order or events.adopt_trade(instrument_id, trade)
