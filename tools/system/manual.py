"""Orders by hand: one person at a time, through risk like every other order.

A ``ManualDesk`` is the life of the ``control`` page for as long as something is asked for. It says
what would be done before it is done (``describe_…``), and waits for what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft import graph
from hft.config import ProcessPlan
from hft.core.generated.views import Decision, Execution, Instrument, Intent, Position, TopOfBook
from hft.core.generated.views import Order as OrderRow
from hft.core.instruments import InstrumentRules
from hft.core.order_id import SOURCE_MANUAL, is_foreign
from hft.core.order_ids import OrderIdMaker
from hft.core.policies import Limits, manual_limits_for
from hft.errors import UnreachableError, UsageError
from hft.graph import RingId
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from hft.roles import limits_file
from hft.roles.context import Context, load_plan
from hft.units import ceil_to, floor_to, format_e8
from tools.system.manual_order import (
    BPS,
    REMEDIES,
    Followed,
    Outcome,
    Ticket,
    distance,
    ended,
    money,
    name_of,
    placed,
    refused,
    require_grid,
    signed,
    verb,
    words,
)
from tools.system.waiting import pause, wait_until

CONTROL: Final = "control"
ANSWER_S_MAX: Final = 5.0
FLATTEN_S_MAX: Final = 60.0
FLATTEN_COLLAR_SHARE: Final = (4, 5)
"""How far through the collar the price of a closing order is: the market moves on its way."""
AGAIN_S: Final = 0.5
NO_BELL: Final = -1


class ManualDesk:
    """Trades by hand in one running system. Looking needs no lock; the first order takes it."""

    def __init__(self, run_dir: Path, *, is_closing: bool = False) -> None:
        """Attach. ``is_closing``: to close positions after a halt, also where hands are kept off.

        Raises:
            UsageError, UnreachableError: nothing runs from there.
            IpcError: it is of another build, or another user's.
        """
        self._plan = load_plan(run_dir)
        process = ProcessPlan(name=CONTROL, roles=(CONTROL,), bell=NO_BELL)
        try:
            self._context = Context(self._plan, CONTROL, process)
        except ipc.SegmentMissingError:
            raise UnreachableError(
                f"no system runs from {run_dir}: its shared memory is gone.",
                remedy="`hft up` starts one; `hft down` clears away what is left of this one.",
            ) from None
        except ipc.SegmentAccessError:
            raise UsageError(
                f'orders by hand in "{self._plan.name}" are another user\'s to send.',
                remedy="Under systemd: sudo -u hft-control hft order …, for members of"
                " hft-operators. Else: as the user that runs the system.",
            ) from None
        context = self._context
        self._lock = ipc.RoleLock(run_dir, CONTROL)
        self._tops, buffer = context.cell_reader("tops")
        self._top = TopOfBook(buffer)
        self._rows, buffer = context.cell_reader("orders")
        self._row = OrderRow(buffer)
        self._positions, buffer = context.cell_reader("positions")
        self._position = Position(buffer)
        self._instruments, buffer = context.cell_reader("instruments")
        self._instrument = Instrument(buffer)
        self._decisions, buffer = context.ring_reader("decisions")
        self._decision = Decision(buffer)
        self._executions, buffer = context.ring_reader("executions")
        self._execution = Execution(buffer)
        self._risk = context.page_of("risk")
        self._writer: ipc.RingWriter | None = None
        self._intent = Intent()
        self._ids: OrderIdMaker
        manual = msgspec.structs.asdict(self._plan.config.risk.manual)
        manual["enabled"] = manual["enabled"] or is_closing
        policy, _ = limits_file.in_force_or_configured(self._plan)
        self._limits = manual_limits_for(policy, manual)

    def __enter__(self) -> ManualDesk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back, so that the next one may trade."""
        self._writer = None
        if self._lock.is_held:
            self._context.release()
        self._context.close()
        self._lock.release()

    # -- looking --------------------------------------------------------------------------------

    def describe(self, ticket: Ticket) -> str:
        """The order in words: notional, side, distance from the mid.

        Raises:
            UsageError: it could not be sent; the message says what is wrong with it.
        """
        self._check(ticket)
        mid_e8 = self.mid_e8(ticket.symbol)
        price_e8 = ticket.price_e8 or mid_e8
        notional = money(price_e8 * ticket.qty_e8 // 10**8)
        what = f"{verb(ticket.side)} {format_e8(ticket.qty_e8)} {ticket.symbol}"
        if ticket.price_e8:
            what += f" at {format_e8(price_e8)}, {distance(price_e8, mid_e8)}"
        else:
            what += f" at the market, about {format_e8(mid_e8)}"
        flags = ["post-only"] * ticket.is_post_only + ["reduce-only"] * ticket.is_reduce_only
        extra = f" ({', '.join(flags)})" if flags else ""
        return f"{self._mode} {self._plan.name}: {what}{extra}: {notional} USDT"

    def describe_cancel(self, order_ids: list[int]) -> str:
        """What would be cancelled, in words."""
        orders = "1 order" if len(order_ids) == 1 else f"{len(order_ids)} orders"
        return f"{self._mode} {self._plan.name}: cancel {orders}"

    def describe_flatten(self, symbol: str) -> str:
        """What would be closed, in words.

        Raises:
            UsageError: no position is open there, or it could not be closed by hand.
        """
        held_e8 = self.position_e8(symbol)
        if not held_e8:
            raise UsageError(f"there is no position in {symbol}.")
        ticket = self._closing_ticket(symbol, held_e8)
        self._check(ticket)
        mid_e8 = self.mid_e8(symbol)
        notional = money(abs(held_e8) * mid_e8 // 10**8)
        return (
            f"{self._mode} {self._plan.name}: close {signed(held_e8)} {symbol}, {notional} USDT:"
            f" {verb(ticket.side)} {format_e8(abs(held_e8))}, not worse than"
            f" {format_e8(ticket.price_e8)}, {distance(ticket.price_e8, mid_e8)}"
        )

    def position_e8(self, symbol: str) -> int:
        """The position of a symbol."""
        index = graph.position_cell(Mode.LIVE, self._number(symbol))
        return self._position.position_e8 if self._positions.read(index) else 0

    def positions(self) -> dict[str, int]:
        """The open positions, by symbol."""
        held = {one.symbol: self.position_e8(one.symbol) for one in self._plan.instruments}
        return {symbol: position_e8 for symbol, position_e8 in held.items() if position_e8}

    def await_account(self) -> None:
        """Until the positions include everything that execution has told."""
        cursor = self._context.page_of("account").cursor(graph.cursor_index("executions"))
        self._wait(lambda: cursor.value >= self._executions.newest_seq)

    def open_orders(self, symbol: str = "") -> list[int]:
        """Ids of our open orders, of one symbol or of all: by hand or a strategy's."""
        number = self._number(symbol) if symbol else 0
        found = []
        for index in range(graph.ORDER_ROWS_MAX):
            row = self._row
            if self._rows.read(index) and row.order_id and not is_foreign(row.order_id):
                is_open = row.order_state < OrderState.FILLED
                if is_open and number in (0, row.instrument_id):
                    found.append(row.order_id)
        return found

    @property
    def _mode(self) -> str:
        return self._plan.config.system.mode.upper()

    def _number(self, symbol: str) -> int:
        try:
            return self._plan.instrument_id(symbol)
        except KeyError:
            known = ", ".join(one.symbol for one in self._plan.instruments)
            raise UsageError(f"{symbol} is not traded here.", remedy=f"It is: {known}.") from None

    def rules(self, symbol: str) -> InstrumentRules:
        """What the venue takes there.

        Raises:
            UsageError, UnreachableError: the symbol is not traded here, or not known yet.
        """
        number = self._number(symbol)
        if not self._instruments.read(number):
            raise UnreachableError(f"nothing is known of {symbol} yet.", remedy="See `hft status`.")
        return InstrumentRules.from_view(self._instrument)

    def mid_e8(self, symbol: str) -> int:
        """The middle of a live market.

        Raises:
            UnreachableError: there is none at this moment.
        """
        top = self._top
        is_there = self._tops.read(self._number(symbol))
        if not is_there or top.feed_state != FeedState.LIVE or not (top.bid_e8 and top.ask_e8):
            raise UnreachableError(
                f"there is no live market of {symbol} at this moment.", remedy="See `hft status`."
            )
        return (top.bid_e8 + top.ask_e8) // 2

    # -- checking -------------------------------------------------------------------------------

    def _check(self, ticket: Ticket) -> None:
        """What risk would refuse in any case is said beforehand, in words."""
        limits = self._allowed()
        rules = self.rules(ticket.symbol)
        if ticket.qty_e8 < max(1, rules.qty_min_e8) or ticket.qty_e8 > rules.qty_max_e8:
            least, most = format_e8(rules.qty_min_e8), format_e8(rules.qty_max_e8)
            raise UsageError(
                f"{format_e8(ticket.qty_e8)} {ticket.symbol} is no quantity that the venue takes.",
                remedy=f"It takes {least} to {most}.",
            )
        require_grid(ticket.qty_e8, rules.step_e8, "quantity", "steps")
        if ticket.qty_e8 > limits.order_qty_max_e8:
            raise UsageError(
                f"{format_e8(ticket.qty_e8)} is more than one order by hand may have:"
                f" {format_e8(limits.order_qty_max_e8)}.",
                remedy="Ask for less, or raise [risk.manual] order_qty_max.",
            )
        mid_e8 = self.mid_e8(ticket.symbol)
        if ticket.price_e8:
            self._check_price(ticket.price_e8, mid_e8, rules, limits)
        elif ticket.is_post_only:
            raise UsageError("an order at the market cannot be post-only.", remedy="Give a price.")
        self._check_notional(ticket, (ticket.price_e8 or mid_e8), rules, limits)

    def _allowed(self) -> Limits:
        if self._plan.config.system.mode == "paper":
            raise UsageError(
                f'"{self._plan.name}" is a paper system: by hand there is nothing to trade.',
                remedy='Trade by hand where system.mode is "demo" or "live".',
            )
        if self._limits is None:
            raise UsageError(
                f'orders by hand are switched off in "{self._plan.name}".',
                remedy=REMEDIES[Reason.MANUAL_NOT_ALLOWED],
            )
        return self._limits

    @staticmethod
    def _check_price(price_e8: int, mid_e8: int, rules: InstrumentRules, limits: Limits) -> None:
        if price_e8 <= 0:
            raise UsageError(f"{format_e8(price_e8)} is no price.")
        require_grid(price_e8, rules.tick_e8, "price", "ticks")
        if abs(price_e8 - mid_e8) * BPS > mid_e8 * limits.price_collar_bps:
            raise UsageError(
                f"{format_e8(price_e8)} is {distance(price_e8, mid_e8)} ({format_e8(mid_e8)}):"
                f" further than the {limits.price_collar_bps} bps that are allowed by hand.",
                remedy="Is a digit missing? Else the limit is price_collar_bps.",
            )

    @staticmethod
    def _check_notional(
        ticket: Ticket, price_e8: int, rules: InstrumentRules, limits: Limits
    ) -> None:
        notional_e8 = price_e8 * ticket.qty_e8 // 10**8
        if notional_e8 < rules.notional_min_e8 and not ticket.is_reduce_only:
            raise UsageError(
                f"{money(notional_e8)} USDT is too little for the venue.",
                remedy=f"It takes orders from {money(rules.notional_min_e8)} USDT.",
            )
        if notional_e8 > limits.order_notional_max_e8:
            raise UsageError(
                f"{money(notional_e8)} USDT is more than one order by hand may be worth:"
                f" {money(limits.order_notional_max_e8)} USDT.",
                remedy="Ask for less, or raise [risk.manual] order_notional_max.",
            )

    # -- acting ---------------------------------------------------------------------------------

    def place(self, ticket: Ticket) -> Outcome:
        """Send an order and wait until it rests, has traded or was refused.

        Raises:
            UsageError: it cannot be sent as it is, or somebody else trades at this moment.
            UnreachableError: nobody answers; what became of the order is not known.
        """
        self._check(ticket)
        return self._place(ticket)

    def _place(self, ticket: Ticket) -> Outcome:
        self._take_over()
        order = Followed(self._ids.next(), ticket.qty_e8)
        is_market = not ticket.price_e8
        intent = self._begin(Action.PLACE, order.order_id, self._number(ticket.symbol))
        intent.price_e8, intent.qty_e8, intent.side = ticket.price_e8, ticket.qty_e8, ticket.side
        intent.order_type = int(OrderType.MARKET if is_market else OrderType.LIMIT)
        intent.tif = int(ticket.tif)
        intent.is_post_only = ticket.is_post_only
        intent.is_reduce_only = ticket.is_reduce_only
        refusal = self._send()
        if refusal is not Reason.NONE:
            return refused(order, refusal)
        self._await(order, lambda: order.is_terminal or order.rests)
        return placed(ticket, order)

    def cancel(self, order_id: int) -> Outcome:
        """Cancel one open order of ours and wait until it is gone.

        Raises:
            UsageError: no such order is open, or somebody else trades at this moment.
            UnreachableError: nobody answers.
        """
        if order_id not in self.open_orders():
            raise UsageError(
                f"no order of ours with the id {name_of(order_id)} is open.",
                remedy="`hft monitor` and `hft journal show` have the ids.",
            )
        self._take_over()
        deadline = time.monotonic() + ANSWER_S_MAX
        while True:
            order = self._send_cancel(order_id)
            if order.is_terminal:
                return Outcome(ended(order), order_id, order.filled_e8, order.seq)
            if order.reason is not Reason.REQUEST_PENDING or time.monotonic() > deadline:
                why = words(order.reason)
                return Outcome(
                    f"{name_of(order_id)} was not cancelled: {why}.", order_id, is_done=False
                )
            pause(AGAIN_S / 5, pid=self._risk.pid)

    def _send_cancel(self, order_id: int) -> Followed:
        self._read_order(order_id)
        order = Followed(order_id, self._row.qty_e8)
        intent = self._begin(Action.CANCEL, order_id, self._row.instrument_id)
        intent.side, intent.price_e8 = self._row.side, self._row.price_e8
        intent.qty_e8 = self._row.qty_e8
        order.reason = self._send()
        if order.reason is Reason.NONE:
            refused = ExecKind.CANCEL_REJECTED
            self._await(order, lambda: order.is_terminal or order.kind is refused)
        return order

    def _read_order(self, order_id: int) -> None:
        """Its row into the buffer; an order that has ended meanwhile leaves what was there."""
        for index in range(graph.ORDER_ROWS_MAX):
            if self._rows.read(index) and self._row.order_id == order_id:
                return

    def cancel_all(self, symbol: str = "") -> Outcome:
        """Cancel our open orders, of one symbol or of all, whoever placed them.

        Raises:
            UsageError: somebody else trades at this moment.
            UnreachableError: nobody answers, or some are still open.
        """
        meant = frozenset(self.open_orders(symbol))
        where = f" in {symbol}" if symbol else ""
        if not meant:
            return Outcome(f"no order is open{where}.")
        self._take_over()
        self._begin(Action.CANCEL_ALL, 0, self._number(symbol) if symbol else 0).strategy_id = 0
        refusal = self._send()
        if refusal is not Reason.NONE:
            return Outcome(f"risk refused it: {words(refusal)}.", refusal=refusal, is_done=False)
        if not self._wait(lambda: meant.isdisjoint(self.open_orders(symbol))):
            left = len(meant.intersection(self.open_orders(symbol)))
            raise UnreachableError(
                f"{left} of {len(meant)} orders are still open.",
                remedy="Execution goes on cancelling them: see `hft status`.",
            )
        count = "1 order" if len(meant) == 1 else f"{len(meant)} orders"
        return Outcome(f"{count} cancelled{where}; a strategy that runs may place new ones.")

    def flatten(self, symbol: str) -> Outcome:
        """Close a position: reduce-only orders that take what is there, as large as allowed.

        Raises:
            UsageError: it cannot be closed by hand, or somebody else trades at this moment.
            UnreachableError: nobody answers; part of it may be done.
        """
        limits = self._allowed()
        begun_e8 = self.position_e8(symbol)
        if not begun_e8:
            return Outcome(f"there is no position in {symbol}.")
        deadline = time.monotonic() + FLATTEN_S_MAX
        while held_e8 := self.position_e8(symbol):
            if held_e8 * begun_e8 < 0:
                break  # somebody else trades it as well: what is left is theirs
            ticket = self._closing_ticket(symbol, held_e8, limits)
            outcome = self._place(ticket)
            if outcome.refusal is Reason.MESSAGE_RATE and time.monotonic() < deadline:
                pause(AGAIN_S, pid=self._risk.pid)
                continue
            if not outcome.is_done or not outcome.filled_e8 or time.monotonic() > deadline:
                left = signed(self.position_e8(symbol))
                text = f"{left} {symbol} is still open; {outcome.text}"
                return outcome._replace(text=text, is_done=False)
            self._await_account(symbol, outcome.executions_seq)
        return Outcome(f"{signed(begun_e8)} {symbol} closed; the position is"
                       f" {signed(self.position_e8(symbol))} now.")  # fmt: skip

    def _closing_ticket(self, symbol: str, held_e8: int, limits: Limits | None = None) -> Ticket:
        """The next order that closes a position: not dearer than allowed, inside the collar."""
        limits = limits or self._allowed()
        rules, mid_e8 = self.rules(symbol), self.mid_e8(symbol)
        side = Side.SELL if held_e8 > 0 else Side.BUY
        share, whole = FLATTEN_COLLAR_SHARE
        room_e8 = mid_e8 * limits.price_collar_bps * share // (whole * BPS)
        edge_e8 = mid_e8 + side * room_e8
        inward = floor_to if side is Side.BUY else ceil_to
        price_e8 = inward(edge_e8, rules.tick_e8)
        most_e8 = min(limits.order_qty_max_e8, rules.qty_max_e8,
                      limits.order_notional_max_e8 * 10**8 // max(price_e8, mid_e8))  # fmt: skip
        qty_e8 = floor_to(min(abs(held_e8), most_e8), rules.step_e8)
        return Ticket(symbol, side, qty_e8, price_e8, is_reduce_only=True, tif=Tif.IOC)

    def _await_account(self, symbol: str, executions_seq: int) -> None:
        """Until the position includes the fills that were seen."""
        index = graph.position_cell(Mode.LIVE, self._number(symbol))
        self._wait(
            lambda: self._positions.read(index) and self._position.executions_seq >= executions_seq
        )

    # -- the way there and back -----------------------------------------------------------------

    def _take_over(self) -> None:
        """Become the one who trades: lock, page, ring."""
        if self._writer is not None:
            return
        try:
            self._lock.acquire()
        except ipc.LockTakenError as error:
            raise UsageError(
                f"somebody else trades by hand at this moment (process {error.pid or 'unknown'}).",
                remedy="Try again when that order is done.",
            ) from None
        self._context.adopt(time.monotonic_ns())
        self._ids = OrderIdMaker(SOURCE_MANUAL, self._context.epoch)
        self._writer, buffer = self._context.ring_writer("intents.manual")
        self._intent = Intent(buffer)

    def _begin(self, action: Action, order_id: int, instrument_id: int) -> Intent:
        intent = self._intent
        intent.clear()
        intent.kind, intent.mode = int(Kind.INTENT), int(Mode.LIVE)
        intent.source, intent.instrument_id = self._context.source, instrument_id
        intent.order_id, intent.strategy_id, intent.action = order_id, SOURCE_MANUAL, int(action)
        return intent

    def _send(self) -> Reason:
        """Publish the intent and wait for risk; NONE: approved."""
        assert self._writer is not None
        for reader in (self._decisions, self._executions):
            reader.seek(reader.newest_seq + 1)
        self._intent.decide_ns = time.monotonic_ns()
        seq = self._writer.next_seq
        found: list[Reason] = []
        if not self._writer.offer():
            raise UnreachableError(
                "risk takes no orders: the ring of those by hand is full.",
                remedy="See `hft status`: does risk run?",
            )

        def is_judged() -> bool:
            while self._decisions.next():
                decision = self._decision
                if decision.cause_ring == RingId.MANUAL and decision.cause_seq == seq:
                    found.append(Reason(decision.reason))
            return bool(found)

        if not self._wait(is_judged):
            raise UnreachableError(
                f"risk has not answered within {ANSWER_S_MAX:g} s.",
                remedy="What waits too long is refused as expired. See `hft status`.",
            )
        return found[0]

    def _await(self, order: Followed, is_over: Callable[[], bool]) -> None:
        """Follow the executions of an order until enough is known."""

        def look() -> bool:
            while self._executions.next():
                if self._execution.order_id == order.order_id:
                    order.take(self._execution)
            return is_over()

        if not self._wait(look) and not order.filled_e8:
            raise UnreachableError(
                f"what became of order {name_of(order.order_id)} is not known after"
                f" {ANSWER_S_MAX:g} s.",
                remedy=f"`hft journal show --order {name_of(order.order_id)}` will tell.",
            )

    def _wait(self, condition: Callable[[], bool]) -> bool:
        return wait_until(condition, pid=self._risk.pid, timeout_s=ANSWER_S_MAX)
