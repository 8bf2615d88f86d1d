"""Paper: decisions in, fills against the market out; what a death or a lap leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from hft import counters, graph
from hft.config import ProcessPlan
from hft.core.generated.views import (
    Balance,
    Book,
    Decision,
    Execution,
    Position,
    TopOfBook,
    Trade,
)
from hft.core.generated.views import Order as OrderRow
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
from hft.roles.account import Account
from hft.roles.alerts import Alerts
from hft.roles.context import Context
from hft.roles.paper import Paper
from hft.roles.paper_account import PaperAccount
from hft.units import E8

BTC = 1
House = Any  # tests/roles/conftest.py


class Seen(NamedTuple):
    """What the tests look at in an execution record."""

    kind: ExecKind
    order_id: int
    qty: float
    reason: Reason


class Floor:
    """A paper role with a feed, a risk and a strategy played by the test."""

    def __init__(self, house: House) -> None:
        bell = len(house.plan.processes)
        paper = ProcessPlan(name="paper", roles=("paper",), bell=bell)
        house.plan = msgspec.structs.replace(house.plan, processes=(*house.plan.processes, paper))
        self.house = house
        self.feed, self.risk = house.context("feed"), house.context("risk")
        self.strategy, self.account = house.context("strategy"), house.context("account")
        self.decisions, buffer = self.risk.ring_writer("decisions")
        self.decision = Decision(buffer)
        self.market, self.market_buffer = self.feed.ring_writer("market")
        self.tops, self.top_buffer = self.feed.cell_writer("tops")
        self.books, book_buffer = self.feed.cell_writer("books")
        self.book = Book(book_buffer)
        self.executions, execution_buffer = self.strategy.ring_reader("executions.paper")
        self.execution = Execution(execution_buffer)
        self.number = 0
        self.now_ns = time.monotonic_ns()
        self.context: Context
        self.paper: Paper
        self.start()

    def start(self) -> None:
        """A life of paper."""
        self.context = self.house.context("paper")
        self.paper = Paper(self.context)
        self.turn_clock(0)
        self.paper.on_start(self.now_ns)

    def die(self) -> None:
        """As by SIGKILL: nothing is brought to an end."""
        self.house.end(self.context)

    def turn_clock(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)
        self.strategy.page.beat(self.now_ns)

    def show(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """The market as it is now, in tenths of a dollar and thousandths of a coin."""
        self.number += 1
        view, top = self.book, TopOfBook(self.top_buffer)
        view.clear()
        view.kind, view.instrument_id = int(Kind.BOOK), BTC
        view.venue_seq = view.venue_ns = self.number
        view.feed_state = int(FeedState.LIVE)
        view.bid_count, view.ask_count = len(bids), len(asks)
        for index, (price, qty) in enumerate(bids):
            view.set_bid_e8_at(index, price * E8)
            view.set_bid_qty_e8_at(index, qty * E8)
        for index, (price, qty) in enumerate(asks):
            view.set_ask_e8_at(index, price * E8)
            view.set_ask_qty_e8_at(index, qty * E8)
        self.books.write(BTC)
        top.clear()
        top.kind, top.instrument_id = int(Kind.TOP_OF_BOOK), BTC
        top.bid_e8, top.bid_qty_e8 = bids[0][0] * E8, bids[0][1] * E8
        top.ask_e8, top.ask_qty_e8 = asks[0][0] * E8, asks[0][1] * E8
        top.venue_seq = top.venue_ns = self.number
        top.as_of_ns = self.now_ns
        top.feed_state = int(FeedState.LIVE)
        self.tops.write(BTC)
        self.market_buffer[:] = self.top_buffer
        self.market.offer()

    def trade(self, side: Side, price: int, qty: int) -> None:
        self.number += 1
        trade = Trade(self.market_buffer)
        trade.clear()
        trade.kind, trade.instrument_id = int(Kind.TRADE), BTC
        trade.price_e8, trade.qty_e8 = price * E8, qty * E8
        trade.aggressor_side, trade.venue_ns = int(side), self.number
        self.market.offer()

    def decide(
        self, order_id: int, action: Action = Action.PLACE, *, side: Side = Side.BUY,
        price: int = 100, qty: int = 5, mode: Mode = Mode.PAPER, tif: Tif = Tif.GTC,
        reason: Reason = Reason.NONE, age_ms: float = 0, is_post_only: bool = False,
    ) -> None:  # fmt: skip
        decision = self.decision
        decision.clear()
        decision.kind, decision.mode = int(Kind.DECISION), int(mode)
        decision.instrument_id, decision.order_id = BTC, order_id
        decision.price_e8, decision.qty_e8 = price * E8, qty * E8
        decision.strategy_id, decision.action, decision.side = 1, int(action), int(side)
        decision.order_type, decision.tif = int(OrderType.LIMIT), int(tif)
        decision.is_post_only, decision.reason = is_post_only, int(reason)
        decision.judge_ns = self.now_ns - round(age_ms * 1e6)
        while not self.decisions.offer():
            cursor = self.house.context("execution").page.cursor(graph.cursor_index("decisions"))
            cursor.store(self.decisions.next_seq - 1)

    def work(self, ms: float = 0) -> list[Seen]:
        """Let time pass, turn paper, return what it published."""
        self.turn_clock(ms)
        self.paper.do_work(self.now_ns)
        return self.news()

    def news(self) -> list[Seen]:
        seen = []
        record = self.execution
        while self.executions.next():
            assert record.mode == Mode.PAPER
            seen.append(Seen(ExecKind(record.exec_kind), record.order_id, record.qty_e8 / E8,
                             Reason(record.reason)))  # fmt: skip
        return seen

    def rows(self) -> dict[int, OrderState]:
        """Orders in the table."""
        cells, buffer = self.strategy.cell_reader("orders.paper")
        row = OrderRow(buffer)
        found = {}
        for index in range(graph.ORDER_ROWS_MAX):
            if cells.read(index) and row.order_id:
                found[row.order_id] = OrderState(row.order_state)
        return found


@pytest.fixture
def floor(house: House) -> Iterator[Floor]:
    floor = Floor(house)
    floor.show([(100, 10), (99, 20)], [(102, 10), (103, 20)])
    floor.work()
    return floor


def test_an_order_is_sent_at_once_and_acknowledged_after_its_latency(floor: Floor) -> None:
    floor.decide(7)
    assert floor.work() == [Seen(ExecKind.SENT, 7, 5, Reason.NONE)]
    assert floor.rows() == {7: OrderState.PENDING_NEW}
    assert floor.work(4) == []
    assert floor.work(2) == [Seen(ExecKind.ACK, 7, 5, Reason.NONE)]
    assert floor.rows() == {7: OrderState.WORKING}


def test_a_trade_before_the_arrival_fills_nothing(floor: Floor) -> None:
    floor.decide(7)
    floor.trade(Side.SELL, 99, 50)
    floor.work()
    floor.trade(Side.SELL, 99, 50)
    assert Seen(ExecKind.FILL, 7, 5, Reason.NONE) not in floor.work()


def test_trades_eat_the_queue_and_then_fill(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.work(6)
    floor.trade(Side.SELL, 100, 8)
    assert floor.work() == []
    floor.trade(Side.SELL, 100, 4)
    assert floor.work() == [Seen(ExecKind.FILL, 7, 2, Reason.NONE)]
    record = floor.execution
    assert (record.is_maker, record.fee_asset_id) == (1, 1)
    assert record.fee_e8 == 2 * 100 * E8 * 2 // 10_000
    assert record.trade_id
    floor.trade(Side.SELL, 99, 50)
    assert floor.work() == [Seen(ExecKind.FILL, 7, 3, Reason.NONE)]
    assert floor.rows() == {}


def test_a_taker_pays_more(floor: Floor) -> None:
    floor.decide(7, price=102, tif=Tif.IOC)
    floor.work()
    assert [seen.kind for seen in floor.work(6)] == [ExecKind.ACK, ExecKind.FILL]
    assert floor.execution.fee_e8 == 5 * 102 * E8 * 5 // 10_000
    assert floor.execution.is_maker == 0


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.OBSERVE])
def test_other_modes_are_not_papers_business(floor: Floor, mode: Mode) -> None:
    floor.decide(7, mode=mode)
    floor.decide(8, reason=Reason.POSITION_MAX)
    assert floor.work() == []
    assert floor.work(10) == []


def test_post_only_that_would_take_is_rejected(floor: Floor) -> None:
    floor.decide(7, price=102, is_post_only=True)
    floor.work()
    assert floor.work(6) == [Seen(ExecKind.REJECTED, 7, 5, Reason.VENUE_POST_ONLY)]
    assert floor.rows() == {}


def test_cancel_and_amend_take_their_time_too(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.work(6)
    floor.decide(7, Action.AMEND, price=99, qty=4)
    floor.decide(7, Action.CANCEL)
    assert floor.work(1) == []
    assert [seen.kind for seen in floor.work(6)] == [ExecKind.AMENDED, ExecKind.CANCELED]
    floor.decide(7, Action.CANCEL)
    floor.work()
    assert floor.work(6) == [Seen(ExecKind.CANCEL_REJECTED, 7, 5, Reason.VENUE_UNKNOWN_ORDER)]


def test_a_halt_cancels_everything_and_lets_nothing_in(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.context.halt.set("a test", "somebody")
    assert floor.work(60) == [Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_HALT)]
    floor.decide(8)
    assert floor.work() == [Seen(ExecKind.DROPPED, 8, 5, Reason.HALT_LATCHED)]


def test_a_silent_strategy_loses_its_orders(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.now_ns += 2_000_000_000
    floor.paper.do_work(floor.now_ns)
    assert Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_STRATEGY_SILENT) in floor.news()


def test_orders_do_not_rest_on_stale_data(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.work(6)
    for _ in range(3):
        seen = floor.work(900)
    assert seen == [Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_FEED_STALE)]


def test_measured_acknowledgements_replace_the_configured_latency(floor: Floor) -> None:
    execution = floor.house.context("execution")
    for _ in range(60):
        execution.page.record_ns(counters.ACK_NS.id, 20_000_000)
    floor.turn_clock(2_000)
    floor.decide(7)
    floor.work()
    assert floor.work(15) == []
    assert [seen.kind for seen in floor.work(6)] == [ExecKind.ACK]


# -- deaths -------------------------------------------------------------------------------------


def test_a_successor_cancels_what_its_predecessor_left(floor: Floor) -> None:
    floor.decide(7)
    floor.decide(8, price=99)
    floor.work()
    floor.work(6)
    floor.trade(Side.SELL, 99, 3)
    assert floor.work() == [Seen(ExecKind.FILL, 7, 3, Reason.NONE)]
    floor.die()
    floor.start()
    assert sorted(floor.news(), key=lambda seen: seen.order_id) == [
        Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_RECOVERY),
        Seen(ExecKind.CANCELED, 8, 5, Reason.OWN_RECOVERY),
    ]
    assert floor.rows() == {}
    assert floor.work(60) == []
    assert floor.context.page.counter(counters.PAPER_LOST.id) == 2


def test_what_was_decided_while_nobody_was_there_is_taken_up(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    floor.die()
    floor.decide(8)
    floor.decide(9, age_ms=5_000)
    floor.start()
    assert floor.news() == [Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_RECOVERY)]
    assert floor.work() == [
        Seen(ExecKind.SENT, 8, 5, Reason.NONE),
        Seen(ExecKind.DROPPED, 9, 5, Reason.DECISION_EXPIRED),
    ]


def test_a_decision_that_was_answered_is_not_answered_again(floor: Floor) -> None:
    """Death between the record and the cursor."""
    cursor = floor.context.page.cursor(graph.cursor_index("decisions"))
    before = cursor.value
    floor.decide(7)
    floor.work()
    cursor.store(before)
    floor.die()
    floor.start()
    assert [seen.kind for seen in floor.news()] == [ExecKind.CANCELED]
    assert floor.work(60) == []


def test_a_fill_that_its_row_did_not_hear_of_is_not_lost(floor: Floor) -> None:
    """Death between the record and the row: the order is not cancelled after its end."""
    floor.decide(7)
    floor.work()
    floor.work(6)
    row = next(
        index for index in range(graph.ORDER_ROWS_MAX)
        if floor.paper._orders._rows.read(index) and floor.paper._orders._row.order_id == 7
    )  # fmt: skip
    kept = floor.paper._orders._row.tobytes()
    floor.trade(Side.SELL, 99, 50)
    assert floor.work() == [Seen(ExecKind.FILL, 7, 5, Reason.NONE)]
    view = floor.paper._orders._row
    view.copy_from(OrderRow(bytearray(kept)))
    floor.paper._orders._rows.write(row)
    assert floor.rows() == {7: OrderState.WORKING}
    floor.die()
    floor.start()
    assert floor.news() == []
    assert floor.rows() == {}


def test_lost_decisions_cancel_everything_and_it_is_said(
    floor: Floor, capsys: pytest.CaptureFixture[str]
) -> None:
    floor.decide(7)
    floor.work()
    for number in range(graph.ring("decisions").capacity + 10):
        floor.decide(100 + number, mode=Mode.OBSERVE)
    floor.paper.do_work(floor.now_ns)
    assert Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_RECOVERY) in floor.news()
    assert floor.context.page.counter(counters.LAPPED.id)
    assert "decisions lost by reading too slowly, 1 orders cancelled" in capsys.readouterr().err


def test_an_orderly_end_leaves_no_order(floor: Floor) -> None:
    floor.decide(7)
    floor.work()
    assert floor.paper.on_stop(floor.now_ns)
    assert floor.news() == [Seen(ExecKind.CANCELED, 7, 5, Reason.OWN_SHUTDOWN)]


# -- the account's paper book -------------------------------------------------------------------


class Ledger:
    """The account's paper book as another role would see it."""

    def __init__(self, floor: Floor) -> None:
        context = floor.account
        cells, buffer = context.cell_writer("positions")
        balances, balance_buffer = context.cell_writer("balances")
        self.position, self.balance = Position(buffer), Balance(balance_buffer)
        self._positions, self._balances = cells, balances
        self.book = PaperAccount(
            context, (cells, self.position), (balances, self.balance), Alerts(context)
        )
        self.book.load({BTC: 1})

    def read(self, mode: Mode) -> bool:
        """The position of a mode; False: its cell was never written."""
        return self._positions.read(graph.position_cell(mode, BTC))

    def wallet_e8(self) -> int:
        assert self._balances.read(graph.balance_cell(Mode.PAPER, 0))
        return self.balance.wallet_e8


def bought(floor: Floor) -> None:
    floor.decide(7, price=102, tif=Tif.IOC)
    floor.work()
    floor.work(6)


def test_paper_fills_have_positions_and_a_wallet_of_their_own(floor: Floor) -> None:
    ledger = Ledger(floor)
    bought(floor)
    assert ledger.book.do_work() == 3
    assert ledger.read(Mode.PAPER)
    fee_e8 = 5 * 102 * E8 * 5 // 10_000
    assert (ledger.position.position_e8, ledger.position.fee_e8) == (5 * E8, fee_e8)
    assert ledger.wallet_e8() == floor.house.plan.equity_e8 - fee_e8
    assert not ledger.read(Mode.LIVE)
    assert not ledger._balances.read(graph.balance_cell(Mode.LIVE, 0))


def test_a_successor_of_the_account_books_each_paper_fill_once(floor: Floor) -> None:
    first = Ledger(floor)
    bought(floor)
    first.book.do_work()
    bought_again = Ledger(floor)
    assert bought_again.book.do_work() == 0
    floor.decide(8, side=Side.SELL, price=100, tif=Tif.IOC)
    floor.work()
    floor.work(6)
    third = Ledger(floor)
    assert third.book.do_work() == 3
    assert third.read(Mode.PAPER)
    assert (third.position.position_e8, third.position.fills) == (0, 2)
    assert third.position.realised_pnl_e8 == -10 * E8


def test_a_system_without_paper_has_no_paper_book(house: House) -> None:
    account = Account(house.context("account"))
    assert not account._paper._is_used
