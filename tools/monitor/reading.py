"""From the mapped segments of one life to a snapshot."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Final

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
UNUSED_ROWS_MAX: Final = 32
"""Execution takes the lowest free row: beyond so many never used ones there is none in use."""
SLOW_NS: Final = NS_PER_S
"""Histograms, roles, rings and instruments are looked at once in this time."""
SIDES: Final = {1: "buy", -1: "sell"}


class _Wish:
    """The last intent of a desk."""

    __slots__ = ("text", "time_ns")

    def __init__(self, text: str, time_ns: int) -> None:
        self.text, self.time_ns = text, time_ns


class Reading:
    """Looks at one life of a system. Keeps what the rings told since it began."""

    def __init__(self, attached: Attached) -> None:
        self.attached = attached
        self.plan = attached.plan
        self._strategies = dict(enumerate(self.plan.config.strategies, start=1))
        self._instruments: dict[int, Instrument] = {}
        self._instrument_status: dict[int, int] = {}
        self._quote_asset_id, self._quote_asset = 0, ""
        self._fills: deque[Fill] = deque(maxlen=FILLS_KEPT_MAX)
        self._alerts: deque[Alert] = deque(maxlen=ALERTS_KEPT_MAX)
        self._wishes: dict[tuple[int, int], _Wish] = {}
        self._histograms = Histograms(attached.pages)
        self._processes = Processes(attached)
        self._hops: tuple[Hop, ...] = ()
        self._roles: tuple[Role, ...] = ()
        self._rings: tuple[RingReader, ...] = ()
        self._events: tuple[Event, ...] = ()
        self._slow_ns = 0
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
            fills=tuple(self._fills),
            desks=self._desks(orders, trading_state, now_ns),
            alerts=self._all_alerts(),
            hops=self._hops,
        )

    def _look_slowly(self, now_ns: int) -> None:
        self._read_instruments()
        self._hops = self._histograms.look()
        self._processes.look(now_ns)
        self._roles = self._processes.roles(now_ns)
        self._rings = self._processes.rings(now_ns)
        self._events = self._processes.events

    # -- cells -----------------------------------------------------------------------------------

    def _read_instruments(self) -> None:
        view = self.attached.instrument
        for planned in self.plan.instruments:
            number = planned.instrument_id
            if self._read(self.attached.instruments, number):
                self._instruments[number] = Instrument(
                    number, planned.symbol, view.price_places, view.qty_places
                )
                self._instrument_status[number] = view.status
                self._quote_asset_id = view.quote_asset_id
                self._quote_asset = view.quote_asset.rstrip(b"\0").decode(errors="replace")
            else:
                self._instruments.setdefault(number, Instrument(number, planned.symbol, 2, 3))

    @staticmethod
    def _read(reader: object, index: int) -> bool:
        """Read a cell; a writer that is faster than we are leaves it for the next look."""
        with contextlib.suppress(CellContendedError):
            return bool(reader.read(index))  # type: ignore[attr-defined]  # any cell reader
        return False

    def _instrument(self, number: int) -> Instrument:
        known = self._instruments.get(number)
        return known or Instrument(number, f"#{number}", 2, 3)

    def _wallet(self) -> tuple[int, str]:
        """Our wallet of the quote asset, and its name."""
        balance = self.attached.balance
        for index in range(graph.ASSETS_MAX):
            is_there = self._read(self.attached.balances, index)
            if is_there and balance.asset_id == self._quote_asset_id:
                return balance.wallet_e8, self._quote_asset
        return 0, self._quote_asset

    def _read_positions(self) -> tuple[Position, ...]:
        view, found = self.attached.position, []
        for instrument in self._instruments.values():
            for mode in graph.POSITION_MODES:
                cell = graph.position_cell(mode, instrument.instrument_id)
                is_there = self._read(self.attached.positions, cell)
                if not is_there and mode != Mode.LIVE:
                    continue
                if not is_there:
                    found.append(_flat(instrument))
                    continue
                found.append(
                    Position(
                        instrument=instrument,
                        mode=Mode(mode).name.lower(),
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
                )
        return tuple(found)

    def _read_orders(self, now_ns: int) -> tuple[Order, ...]:
        row, rows, found, unused = self.attached.order, self.attached.orders, [], 0
        for index in range(graph.ORDER_ROWS_MAX):
            if not rows.version(index):
                unused += 1
                if unused > UNUSED_ROWS_MAX:
                    break
                continue
            if not self._read(rows, index) or not row.order_id:
                continue
            if row.order_state >= OrderState.FILLED:
                continue
            found.append(
                Order(
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
                    age_ns=max(0, now_ns - row.send_ns) if row.send_ns else -1,
                )
            )
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
        view = self.attached.book
        if not self._read(self.attached.books, instrument.instrument_id):
            return Book(instrument, FeedState.UNKNOWN.name.lower(), (), ())
        ours: dict[tuple[int, int], int] = {}
        for order in orders:
            if order.instrument.instrument_id == instrument.instrument_id:
                place = (order.side, order.price_e8)
                ours[place] = ours.get(place, 0) + 1
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
        execution, intent, alert = (
            self.attached.execution,
            self.attached.intent,
            self.attached.alert,
        )
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not self.attached.executions.next():
                break
            if execution.exec_kind == ExecKind.FILL:
                self._fills.appendleft(
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
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not self.attached.intents.next():
                break
            desk = source_of(intent.order_id), intent.instrument_id
            text = Action(intent.action).name.lower().replace("_", " ")
            if intent.action in (Action.PLACE, Action.AMEND):
                text += f" {SIDES.get(intent.side, '')} {format_e8(intent.price_e8)}"
            self._wishes[desk] = _Wish(text, intent.publish_ns)
        for _ in range(RECORDS_PER_LOOK_MAX):
            if not self.attached.alerts.next():
                break
            symbol = self._instrument(alert.instrument_id).symbol if alert.instrument_id else ""
            text = bytes(alert.text).rstrip(b"\0").decode(errors="replace")
            self._alerts.appendleft(
                Alert(
                    wall_ns=alert.publish_ns + self._offset_ns,
                    severity=alert.severity,
                    source=_ROLE_NAMES.get(alert.source, "account"),
                    text=f"{symbol} {text}".strip(),
                )
            )

    def _all_alerts(self) -> tuple[Alert, ...]:
        """What the account and the supervisor say, newest first."""
        told = [
            Alert(event.wall_ns, 2 if event.is_bad else 1, "supervisor", event.text)
            for event in self._events
        ]
        return tuple(sorted((*self._alerts, *told), key=lambda alert: -alert.wall_ns))

    # -- strategies ------------------------------------------------------------------------------

    def _desks(
        self, orders: tuple[Order, ...], trading_state: str, now_ns: int
    ) -> tuple[Desk, ...]:
        found = []
        for number, strategy in self._strategies.items():
            for symbol in strategy.symbols:
                instrument = self._instrument(self.plan.instrument_id(symbol))
                place = instrument.instrument_id
                own = [
                    order
                    for order in orders
                    if source_of(order.order_id) == number
                    and order.instrument.instrument_id == place
                ]
                state, is_well, detail = self._desk_state(instrument, bool(own), trading_state)
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
                        last_intent=wish.text if wish else "",
                        intent_age_ns=max(0, now_ns - wish.time_ns) if wish else -1,
                        detail=detail,
                    )
                )
        return tuple(found)

    def _desk_state(
        self, instrument: Instrument, is_quoting: bool, trading_state: str
    ) -> tuple[str, bool, str]:
        """State in words, whether it is as it should be, and what is known beyond that."""
        page = self.attached.pages["strategy"]
        error = page.error
        if page.state != RoleState.READY:
            return RoleState(page.state).name.lower().replace("_", " "), False, error
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


def _flat(instrument: Instrument) -> Position:
    """An instrument in which nothing was traded yet."""
    return Position(instrument, "live", 0, 0, 0, 0, 0, 0, 0, fills=0, differs=False)


_ROLE_NAMES: Final = {int(number): name for name, number in ROLE_IDS.items()}
