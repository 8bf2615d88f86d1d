"""From the mapped segments of one life to a snapshot."""

from __future__ import annotations

from typing import Final, NamedTuple

from hft import graph
from hft.core.order_id import SOURCE_MANUAL, is_foreign, source_of
from hft.counters import LAST_FRAME_NS, PERMIT_STATE, TICK_TO_TRADE_NS, RoleState
from hft.graph import ROLE_IDS
from hft.records import (
    BOOK_LEVELS,
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Mode,
    OrderState,
    TradingState,
)
from hft.units import NS_PER_S, format_e8
from ipc import CellContendedError
from tools.monitor.attached import Attached
from tools.monitor.cells import Cells
from tools.monitor.histograms import Histograms
from tools.monitor.model import (
    Alert,
    Book,
    Desk,
    Fill,
    Hop,
    Instrument,
    Level,
    Order,
    Position,
    RingReader,
    Role,
    Snapshot,
)
from tools.monitor.processes import Event, Processes

FILLS_KEPT_MAX: Final = 500
ALERTS_KEPT_MAX: Final = 200
RECORDS_PER_LOOK_MAX: Final = 4_096
UNUSED_ROWS_MAX: Final = 8
"""Execution takes the lowest free row: beyond so many never used ones there is none in use."""
CALM_NS: Final = NS_PER_S // 2
"""Desks are looked at once in this time: their intents come and go faster than anybody reads."""
SLOW_NS: Final = NS_PER_S
"""Histograms, roles, rings and instruments are looked at once in this time."""
SIDES: Final = {1: "buy", -1: "sell"}
_ACTIONS: Final = {int(one): one.name.lower().replace("_", " ") for one in Action}
_EXEC_FILL: Final = int(ExecKind.FILL)
_FILLED: Final = int(OrderState.FILLED)
_PRICED: Final = (int(Action.PLACE), int(Action.AMEND))


class _Wish(NamedTuple):
    """The last intent of a desk."""

    action: int
    side: int
    price_e8: int
    """0: it names none."""
    time_ns: int

    def __str__(self) -> str:
        price = f" {SIDES.get(self.side, '')} {format_e8(self.price_e8)}" if self.price_e8 else ""
        return _ACTIONS.get(self.action, "?") + price


class Reading:
    """Looks at one life of a system. Keeps what the rings told since it began."""

    def __init__(self, attached: Attached) -> None:
        self.attached = attached
        self.plan = attached.plan
        self._strategies = dict(enumerate(self.plan.config.strategies, start=1))
        self._instruments: dict[int, Instrument] = {}
        self._symbols = {one.instrument_id: one.symbol for one in self.plan.instruments}
        self._places = {
            graph.position_cell(mode, number): (mode, number)
            for number in self._symbols
            for mode in graph.POSITION_MODES
        }
        self._instrument_status: dict[int, int] = {}
        self._seen_instruments = Cells(attached.instruments, self._make_instrument)
        self._quote_asset_id, self._quote_asset = 0, ""
        self._orders = Cells(attached.orders, self._make_order)
        self._positions = Cells(attached.positions, self._make_position)
        self._balances = Cells(attached.balances, self._make_balance)
        self._book: tuple[object, Book] | None = None
        self._fills: tuple[Fill, ...] = ()
        self._alerts: tuple[Alert, ...] = ()
        self._all_alerts: tuple[Alert, ...] = ()
        self._wishes: dict[tuple[int, int], _Wish] = {}
        self._histograms = Histograms(attached.pages)
        self._processes = Processes(attached)
        self._hops: tuple[Hop, ...] = ()
        self._roles: tuple[Role, ...] = ()
        self._rings: tuple[RingReader, ...] = ()
        self._events: tuple[Event, ...] = ()
        self._desks: tuple[Desk, ...] = ()
        self._calm_ns = self._slow_ns = 0
        self._offset_ns = 0
        """Wall clock less monotonic clock."""

    def look(self, symbol: str, now_ns: int, wall_ns: int) -> Snapshot:
        """Everything as it is now."""
        self._offset_ns = wall_ns - now_ns
        if now_ns - self._slow_ns >= SLOW_NS:
            self._slow_ns = now_ns
            self._look_slowly(now_ns)
        self._drain()
        pages = self.attached.pages
        orders = self._read_orders(now_ns)
        is_halted = self.attached.halt.is_set
        granted = TradingState(pages["risk"].gauge(PERMIT_STATE.id))
        trading_state = "HALTED" if is_halted else granted.name
        frame_ns = pages["feed"].gauge(LAST_FRAME_NS.id)
        wallet_e8, asset = self._wallet()
        if now_ns - self._calm_ns >= CALM_NS:
            self._calm_ns = now_ns
            self._desks = self._look_at_desks(orders, trading_state, now_ns)
        return Snapshot(
            name=self.plan.name,
            mode=self.plan.config.system.mode,
            trading_state=trading_state,
            halt_reason=self.attached.halt.reason() if is_halted else "",
            wall_ns=wall_ns,
            feed_age_ns=max(0, now_ns - frame_ns) if frame_ns else -1,
            tick_to_trade=next((h for h in self._hops if h.name == TICK_TO_TRADE_NS.name), None),
            wallet_e8=wallet_e8,
            wallet_asset=asset,
            instruments=tuple(self._instruments.values()),
            roles=self._roles,
            rings=self._rings,
            positions=self._read_positions(),
            orders=orders,
            book=self._read_book(symbol, orders),
            fills=self._fills,
            desks=self._desks,
            alerts=self._all_alerts,
            hops=self._hops,
        )

    def _look_slowly(self, now_ns: int) -> None:
        self._read_instruments()
        self._hops = self._histograms.look()
        self._processes.look(now_ns)
        self._roles = self._processes.roles(now_ns)
        self._rings = self._processes.rings(now_ns)
        if self._events is not self._processes.events:
            self._events = self._processes.events
            self._sort_alerts()

    # -- cells -----------------------------------------------------------------------------------

    def _read_instruments(self) -> None:
        for planned in self.plan.instruments:
            number = planned.instrument_id
            before = self._instruments.get(number)
            instrument = self._seen_instruments.at(number) or before
            instrument = instrument or Instrument(number, planned.symbol, 2, 3)
            if instrument != before:  # all that is written in its places is written anew
                self._instruments[number] = instrument
                self._orders.forget()
                self._positions.forget()

    def _make_instrument(self, number: int) -> Instrument:
        view = self.attached.instrument
        self._instrument_status[number] = view.status
        self._quote_asset_id = view.quote_asset_id
        self._quote_asset = view.quote_asset.rstrip(b"\0").decode(errors="replace")
        symbol = self._symbols[number]
        return Instrument(number, symbol, view.price_places, view.qty_places)

    def _instrument(self, number: int) -> Instrument:
        known = self._instruments.get(number)
        return known or Instrument(number, f"#{number}", 2, 3)

    def _make_balance(self, index: int) -> tuple[int, int]:
        """Asset and wallet."""
        return self.attached.balance.asset_id, self.attached.balance.wallet_e8

    def _wallet(self) -> tuple[int, str]:
        """Our wallet of the quote asset, and its name."""
        for index in range(graph.ASSETS_MAX):
            balance = self._balances.at(index)
            if balance is not None and balance[0] == self._quote_asset_id:
                return balance[1], self._quote_asset
        return 0, self._quote_asset

    def _make_position(self, cell: int) -> Position:
        view = self.attached.position
        mode, number = self._places[cell]
        return Position(
            instrument=self._instrument(number),
            mode=mode.name.lower(),
            qty_e8=view.position_e8,
            entry_e8=view.average_price_e8,
            mark_e8=view.mark_e8,
            unrealised_e8=view.unrealised_pnl_e8,
            realised_e8=view.realised_pnl_e8,
            fee_e8=view.fee_e8,
            funding_e8=view.funding_e8,
            fills=view.fills,
            differs=bool(view.differs),
        )

    def _read_positions(self) -> tuple[Position, ...]:
        found = []
        for cell, (mode, number) in self._places.items():
            position = self._positions.at(cell)
            if position is not None:
                found.append(position)
            elif mode is Mode.LIVE:
                found.append(_flat(self._instrument(number)))
        return tuple(found)

    def _make_order(self, index: int) -> tuple[Order, int] | None:
        """An order with the time it was sent, ns of the monotonic clock; its age is not set yet."""
        row = self.attached.order
        if not row.order_id or row.order_state >= _FILLED:
            return None
        order = Order(
            order_id=row.order_id,
            venue_order_id=row.venue_order_id,
            instrument=self._instrument(row.instrument_id),
            owner=self._owner(row.order_id),
            side=row.side,
            price_e8=row.price_e8,
            qty_e8=row.qty_e8,
            filled_e8=row.cum_qty_e8,
            state=OrderState(row.order_state).name.lower(),
            pending=Action(row.pending).name.lower() if row.pending else "",
            age_ns=-1,
        )
        return order, row.send_ns

    def _read_orders(self, now_ns: int) -> tuple[Order, ...]:
        rows, found, unused = self.attached.orders, [], 0
        for index in range(graph.ORDER_ROWS_MAX):
            if not rows.version(index):
                unused += 1
                if unused > UNUSED_ROWS_MAX:
                    break
                continue
            sent = self._orders.at(index)
            if sent is None:
                continue
            order, send_ns = sent
            age_ns = _age_ns(send_ns, now_ns)
            if order.age_ns != age_ns:
                order = order._replace(age_ns=age_ns)
                self._orders.replace(index, (order, send_ns))
            found.append(order)
        return tuple(found)

    def _owner(self, order_id: int) -> str:
        if is_foreign(order_id):
            return "not ours"
        if source_of(order_id) == SOURCE_MANUAL:
            return "by hand"
        strategy = self._strategies.get(source_of(order_id))
        return strategy.name if strategy else "earlier"

    def _read_book(self, symbol: str, orders: tuple[Order, ...]) -> Book | None:
        instruments = self._instruments.values()
        instrument = next((i for i in instruments if i.symbol == symbol), None)
        instrument = instrument or next(iter(instruments), None)
        if instrument is None:
            return None
        ours: dict[tuple[int, int], int] = {}
        for order in orders:
            if order.instrument.instrument_id == instrument.instrument_id:
                place = (order.side, order.price_e8)
                ours[place] = ours.get(place, 0) + 1
        made_of = instrument, self.attached.books.version(instrument.instrument_id), ours
        if self._book is None or self._book[0] != made_of:
            try:
                is_there = self.attached.books.read(instrument.instrument_id)
            except CellContendedError:  # its writer is faster than we are: the next look reads it
                return self._book[1] if self._book is not None else None
            self._book = made_of, self._make_book(instrument, ours, is_there=is_there)
        return self._book[1]

    def _make_book(
        self, instrument: Instrument, ours: dict[tuple[int, int], int], *, is_there: bool
    ) -> Book:
        view = self.attached.book
        if not is_there:
            return Book(instrument, FeedState.UNKNOWN.name.lower(), (), ())
        bids = [
            Level(price, view.bid_qty_e8_at(i), ours.get((1, price), 0))
            for i in range(min(view.bid_count, BOOK_LEVELS))
            for price in (view.bid_e8_at(i),)
        ]
        asks = [
            Level(price, view.ask_qty_e8_at(i), ours.get((-1, price), 0))
            for i in range(min(view.ask_count, BOOK_LEVELS))
            for price in (view.ask_e8_at(i),)
        ]
        state = FeedState(view.feed_state).name.lower()
        return Book(instrument, state, tuple(bids), tuple(asks))

    # -- rings -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Take what the rings have told since the last look."""
        self._take_fills()
        self._take_intents()
        self._take_alerts()

    def _take_fills(self) -> None:
        ring, execution, new = self.attached.executions, self.attached.execution, []
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not ring.next():
                break
            if execution.exec_kind == _EXEC_FILL:
                new.append(
                    Fill(
                        wall_ns=execution.publish_ns + self._offset_ns,
                        instrument=self._instrument(execution.instrument_id),
                        owner=self._owner(execution.order_id),
                        side=execution.side,
                        qty_e8=execution.qty_e8,
                        price_e8=execution.price_e8,
                        fee_e8=execution.fee_e8,
                        is_maker=bool(execution.is_maker),
                    )
                )
        if new:
            self._fills = (*reversed(new), *self._fills)[:FILLS_KEPT_MAX]

    def _take_intents(self) -> None:
        ring, intent = self.attached.intents, self.attached.intent
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not ring.next():
                break
            desk = source_of(intent.order_id), intent.instrument_id
            price_e8 = intent.price_e8 if intent.action in _PRICED else 0
            self._wishes[desk] = _Wish(intent.action, intent.side, price_e8, intent.publish_ns)

    def _take_alerts(self) -> None:
        ring, alert, new = self.attached.alerts, self.attached.alert, []
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not ring.next():
                break
            symbol = self._instrument(alert.instrument_id).symbol if alert.instrument_id else ""
            text = bytes(alert.text).rstrip(b"\0").decode(errors="replace")
            new.append(
                Alert(
                    wall_ns=alert.publish_ns + self._offset_ns,
                    severity=alert.severity,
                    source=_ROLE_NAMES.get(alert.source, "account"),
                    text=f"{symbol} {text}".strip(),
                )
            )
        if new:
            self._alerts = (*reversed(new), *self._alerts)[:ALERTS_KEPT_MAX]
            self._sort_alerts()

    def _sort_alerts(self) -> None:
        """What the account and the supervisor say, newest first."""
        told = [
            Alert(event.wall_ns, 2 if event.is_bad else 1, "supervisor", event.text)
            for event in self._events
        ]
        newest_first = sorted((*self._alerts, *told), key=lambda alert: -alert.wall_ns)
        self._all_alerts = tuple(newest_first)

    # -- strategies ------------------------------------------------------------------------------

    def _look_at_desks(
        self, orders: tuple[Order, ...], trading_state: str, now_ns: int
    ) -> tuple[Desk, ...]:
        found = []
        rows: dict[tuple[int, int], list[Order]] = {}
        for order in orders:
            desk = source_of(order.order_id), order.instrument.instrument_id
            rows.setdefault(desk, []).append(order)
        page = self.attached.pages["strategy"]
        role = RoleState(page.state), page.error
        for number, strategy in self._strategies.items():
            for symbol in strategy.symbols:
                instrument = self._instrument(self.plan.instrument_id(symbol))
                place = instrument.instrument_id
                own = rows.get((number, place), [])
                state, is_well, detail = self._desk_state(
                    instrument, role, trading_state, is_quoting=bool(own)
                )
                wish = self._wishes.get((number, place))
                found.append(
                    Desk(
                        strategy=strategy.name,
                        mode=strategy.mode,
                        instrument=instrument,
                        state=state,
                        is_well=is_well,
                        bid_e8=max((o.price_e8 for o in own if o.side > 0), default=0),
                        ask_e8=min((o.price_e8 for o in own if o.side < 0), default=0),
                        orders=len(own),
                        last_intent=str(wish) if wish else "",
                        intent_age_ns=_age_ns(wish.time_ns if wish else 0, now_ns),
                        detail=detail,
                    )
                )
        return tuple(found)

    def _desk_state(
        self,
        instrument: Instrument,
        role: tuple[RoleState, str],
        trading_state: str,
        *,
        is_quoting: bool,
    ) -> tuple[str, bool, str]:
        """State in words, whether it is as it should be, and what is known beyond that."""
        role_state, error = role
        if role_state is not RoleState.READY:
            return role_state.name.lower().replace("_", " "), False, error
        if is_quoting:
            return "quoting", True, ""
        if error.startswith(f"{instrument.symbol}: "):
            return "paused", False, error  # its plug-in raised; it stays so until a new start
        if trading_state == "HALTED":
            return "halted", False, ""
        status = self._instrument_status.get(instrument.instrument_id, InstrumentStatus.TRADING)
        if status != InstrumentStatus.TRADING:
            return InstrumentStatus(status).name.lower().replace("_", " "), False, "at the venue"
        return "waiting", True, ""


def _age_ns(since_ns: int, now_ns: int) -> int:
    """Whole seconds, as they are shown: what did not change stays equal; -1: since never."""
    return max(0, now_ns - since_ns) // NS_PER_S * NS_PER_S if since_ns else -1


def _flat(instrument: Instrument) -> Position:
    """An instrument in which nothing was traded yet."""
    return Position(instrument, "live", 0, 0, 0, 0, 0, 0, 0, fills=0, differs=False)


_ROLE_NAMES: Final = {int(number): name for name, number in ROLE_IDS.items()}
