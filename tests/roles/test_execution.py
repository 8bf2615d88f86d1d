"""Execution as a role: journal before send, the fence before the bytes, cancels of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest

from hft import counters
from hft.config import ExecutionConfig, VenueConfig
from hft.core.generated.views import (
    Decision,
    Execution,
    Instrument,
    Journal,
    Position,
    TopOfBook,
)
from hft.core.order_id import SOURCE_MANUAL, foreign_order_id, make_order_id
from hft.core.orders import Order
from hft.core.permit import pack_permit
from hft.errors import UnreachableError
from hft.graph import position_cell
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    JournalKind,
    Kind,
    Mode,
    OrderState,
    OrderType,
    Reason,
    Side,
    Tif,
    TradingState,
)
from hft.roles.execution import Execution as ExecutionRole
from hft.roles.order_gate import OrderGate
from hft.roles.order_keeper import OrderKeeper
from hft.roles.rest_entry import IN_FLIGHT_MAX, RestEntry
from hft.units import E8, NS_PER_MS, NS_PER_S, parse_e8
from hft.venues.binance_usdm.errors import (
    BannedError,
    RateLimitedError,
    SessionDownError,
    UnknownOutcomeError,
    classify,
)
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.order_session import Reply
from hft.venues.binance_usdm.order_text import client_order_id, parse_client_order_id
from hft.venues.binance_usdm.reports import OrderReport, Refusal
from hft.venues.binance_usdm.user_events import OrderUpdate, decode_user_event
from hft.venues.binance_usdm.venue_clock import VenueClock
from hft.venues.binance_usdm.wire import OrderStatus

BTC = 1
AGE_MS_MAX = 5_000


class FakeSession:
    """The order session as a list of what left."""

    def __init__(self, on_send: Any) -> None:
        self.is_ready = True
        self.state = SessionState.UP
        self.sent: list[dict[str, Any]] = []
        self.watches: list[bool] = []
        self._on_send = on_send

    def watch(self, now_ns: int, *, may_probe: bool) -> None:
        self.watches.append(may_probe)

    def send(self, text: bytes) -> None:
        if not self.is_ready:
            raise SessionDownError("down")
        self._on_send()
        self.sent.append(orjson.loads(text))


class FakeRest:
    """Notes what it is asked to send, and answers what a test has written down."""

    used_weight = 0
    venue_ns = 1_800_000_000 * NS_PER_S
    clock = VenueClock(wall_ns=lambda: FakeRest.venue_ns)

    def __init__(self) -> None:
        self.banned_until_ns = self.paused_until_ns = 0
        self.sent: list[tuple[str, Any]] = []
        self.answer: BaseException | list[Any] | None = None
        self.before_fence: Any = lambda: None

    def note_ban(self, until_ns: int) -> None:
        self.banned_until_ns = until_ns

    def note_pause(self, until_ns: int) -> None:
        self.paused_until_ns = until_ns

    async def place_order(self, parameters: Any, fence: Any) -> OrderReport:
        return await self._order("place", parameters, fence, OrderStatus.NEW)

    async def amend_order(self, parameters: Any, fence: Any) -> OrderReport:
        return await self._order("amend", parameters, fence, OrderStatus.NEW)

    async def cancel_order(self, symbol: str, client_id: str) -> OrderReport:
        words = (("origClientOrderId", client_id),)
        return await self._order("cancel", words, lambda: None, OrderStatus.CANCELED)

    async def cancel_orders(self, symbol: str, client_ids: list[str]) -> list[Any]:
        self.sent.append(("cancels", list(client_ids)))
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is not None:
            return self.answer
        return [report_of(client_id, OrderStatus.CANCELED) for client_id in client_ids]

    async def _order(
        self, what: str, parameters: Any, fence: Any, status: OrderStatus
    ) -> OrderReport:
        self.before_fence()
        fence()
        words = dict(parameters)
        self.sent.append((what, words))
        await asyncio.sleep(0)
        if isinstance(self.answer, BaseException):
            raise self.answer
        client_id = words.get("newClientOrderId") or words["origClientOrderId"]
        return report_of(client_id, status, words.get("price", "100"))


def report_of(client_id: str, status: OrderStatus, price: str = "100") -> OrderReport:
    return OrderReport(
        symbol="BTCUSDT", client_order_id=client_id, order_id=parse_client_order_id(client_id) or 0,
        venue_order_id=int(client_id[-4:], 16) + 1, status=status, side=Side.BUY,
        order_type=OrderType.LIMIT, tif=Tif.GTC, is_post_only=True, is_reduce_only=False,
        price_e8=parse_e8(price), qty_e8=E8, cum_qty_e8=0, update_ns=1,
    )  # fmt: skip


class FakeResolver:
    """Recovered; remembers what it was asked."""

    def __init__(self, events: Any) -> None:
        self.emergencies = 0
        self.unsettled: dict[int, object] = {}
        self.gate = OrderGate(self.unsettled, is_recovered=True)
        self.on_update = events.on_update

    @property
    def is_recovered(self) -> bool:
        return self.gate.is_recovered

    def tend(self, now_ns: int) -> None:
        """Nothing is asked of a venue here."""

    def cancel_everything(self) -> None:
        self.emergencies += 1

    def is_settled(self, instrument_id: int) -> bool:
        return instrument_id not in self.unsettled


class Desk:
    """Risk, feed, strategy and venue around the role."""

    def __init__(self, house, tmp_path: Path) -> None:
        key = tmp_path / "key"
        key.write_text("api-key\nsecret\n")
        key.chmod(0o600)
        venue = VenueConfig(key_file=str(key))
        # A test that is kept from running for a while is no late decision.
        execution = ExecutionConfig(decision_age_ms_max=AGE_MS_MAX)
        config = msgspec.structs.replace(house.plan.config, venue=venue, execution=execution)
        house.plan = msgspec.structs.replace(house.plan, config=config)
        self.house = house
        self.risk = house.context("risk")
        self.strategy = house.context("strategy")
        self.account = house.context("account")
        self._decisions, buffer = self.risk.ring_writer("decisions")
        self.decision = Decision(buffer)
        self.feed = house.context("feed")
        self._tops, top_buffer = self.feed.cell_writer("tops")
        self.top = TopOfBook(top_buffer)
        self._order_seq = 0
        self.role: ExecutionRole
        self.context: Any
        self.session: FakeSession
        self.rest: FakeRest
        self.loop = asyncio.new_event_loop()
        self.start()
        self.grant()
        self.tick()

    def start(self) -> None:
        """A life of execution, with its sockets replaced by hands."""
        self.context = self.house.context("execution")
        role = ExecutionRole(self.context)
        role.on_start(time.monotonic_ns())
        self.session = FakeSession(lambda: self.journal_at_send.append(len(self.journal())))
        self.journal_at_send: list[int] = []
        role._session = self.session
        self.rest = FakeRest()
        role._rest = self.rest  # type: ignore[assignment]
        role._by_rest = RestEntry(
            self.context, self.rest, role._keeper, role._events, role._limits,  # type: ignore[arg-type]
            loop=self.loop, fence=role._fence, guard=lambda handler: handler, turn=lambda: None,
        )  # fmt: skip
        role._resolver = FakeResolver(role._events)
        role._has_users = True
        self.role = role

    def grant(self, state: TradingState = TradingState.ACTIVE, ms: int = 10_000) -> None:
        self.risk.permit().store(pack_permit(state, time.monotonic_ns() + ms * NS_PER_MS))

    def grow_impatient(self) -> None:
        """From now on every decision is too old."""
        self.role._age_ns_max = 0

    def tick(self) -> None:
        now_ns = time.monotonic_ns()
        self.strategy.page.beat(now_ns)
        self.top.kind, self.top.instrument_id = int(Kind.TOP_OF_BOOK), BTC
        self.top.as_of_ns, self.top.feed_state = now_ns, int(FeedState.LIVE)
        self._tops.write(BTC)

    def decide(
        self,
        action: Action = Action.PLACE,
        *,
        order_id: int = 0,
        reason: Reason = Reason.NONE,
        mode: Mode = Mode.LIVE,
        age_ms: int = 0,
        epoch: int | None = None,
        side: Side = Side.BUY,
        **words: int,
    ) -> int:
        if not order_id:
            self._order_seq += 1
            order_id = make_order_id(1, self.strategy.epoch, self._order_seq)
        decision = self.decision
        decision.clear()
        decision.kind, decision.mode, decision.instrument_id = int(Kind.DECISION), int(mode), BTC
        decision.order_id, decision.strategy_id = order_id, 1
        decision.price_e8, decision.qty_e8 = 100 * E8, E8
        decision.action, decision.side = int(action), int(side)
        decision.order_type, decision.tif = int(OrderType.LIMIT), int(Tif.GTC)
        decision.is_post_only, decision.reason = 1, int(reason)
        decision.judge_ns = time.monotonic_ns() - age_ms * NS_PER_MS
        decision.risk_epoch = self.risk.epoch if epoch is None else epoch
        for name, word in words.items():
            setattr(decision, name, word)
        assert self._decisions.offer()
        return order_id

    def turn(self, *, later_ms: int = 0) -> None:
        self.role.do_work(time.monotonic_ns() + later_ms * NS_PER_MS)

    def settle(self) -> None:
        """Until REST has answered everything."""
        while self.role._by_rest._tasks:
            self.loop.run_until_complete(asyncio.sleep(0))

    def order(self, order_id: int) -> Any:
        return self.role._keeper.table.get(order_id)

    def methods(self) -> list[str]:
        return [message["method"].removeprefix("order.") for message in self.session.sent]

    def executions(self) -> list[tuple[ExecKind, Reason]]:
        reader, buffer = self.context.observer("executions", 1)
        record, found = Execution(buffer), []
        while reader.next():
            found.append((ExecKind(record.exec_kind), Reason(record.reason)))
        return found

    def journal(self) -> list[JournalKind]:
        reader, buffer = self.context.observer("journal", 1)
        entry, found = Journal(buffer), []
        while reader.next():
            found.append(JournalKind(entry.journal_kind))
        return found

    def reply(self, code: int = 0, status: int = 200, message: str = "") -> None:
        request_id = self.session.sent[-1]["id"]
        reply = Reply(request_id=request_id, status=status, code=code, message=message)
        self.role._on_reply(reply, time.monotonic_ns())

    def hold(self, position_e8: int) -> None:
        """What the account says."""
        writer, buffer = self.account.cell_writer("positions")
        cell = Position(buffer)
        cell.kind, cell.instrument_id, cell.position_e8 = int(Kind.POSITION), BTC, position_e8
        writer.write(position_cell(Mode.LIVE, BTC))

    def place(self, side: Side = Side.BUY) -> int:
        order_id = self.decide(side=side)
        self.turn()
        self.reply()
        return order_id

    def event(self, order_id: int, kind: str, status: str, **changes: Any) -> None:
        order = {"s": "BTCUSDT", "c": client_order_id(order_id), "S": "BUY", "o": "LIMIT",
                 "f": "GTX", "q": "1", "p": "100", "ap": "0", "sp": "0", "x": kind, "X": status,
                 "i": 77, "l": "0", "z": "0", "L": "0", "n": "0", "N": "USDT", "T": 1, "t": 0,
                 "m": True, "R": False, "ps": "BOTH", "rp": "0", "er": "0", **changes}  # fmt: skip
        body = orjson.dumps({"e": "ORDER_TRADE_UPDATE", "T": 1, "E": 1, "o": order})
        event = decode_user_event(body)
        assert isinstance(event, OrderUpdate)
        self.role._on_user_event(event, time.monotonic_ns())


@pytest.fixture
def desk(house, tmp_path) -> Iterator[Desk]:
    desk = Desk(house, tmp_path)
    yield desk
    desk.role._by_rest.stop()
    desk.settle()
    desk.loop.close()


def test_approved_decision_is_journalled_before_its_bytes_leave(desk):
    order_id = desk.decide()
    desk.turn()
    assert [message["method"] for message in desk.session.sent] == ["order.place"]
    assert desk.session.sent[0]["params"]["newClientOrderId"] == client_order_id(order_id)
    assert desk.journal_at_send == [1], "the entry was there when the bytes left"
    assert desk.executions() == [(ExecKind.SENT, Reason.NONE)]
    assert desk.role._keeper.table.get(order_id) is not None


def test_refused_decision_is_journalled_and_nothing_leaves(desk):
    desk.decide(reason=Reason.POSITION_MAX)
    desk.turn()
    assert desk.session.sent == []
    assert desk.journal() == [JournalKind.CONSUMED]
    assert desk.executions() == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda desk: desk.decide(age_ms=AGE_MS_MAX + 1), Reason.DECISION_EXPIRED),
        (lambda desk: (desk.grant(ms=-1), desk.decide()), Reason.PERMIT_EXPIRED),
        (lambda desk: (desk.grant(TradingState.HALTED), desk.decide()), Reason.PERMIT_EXPIRED),
        (lambda desk: desk.decide(epoch=1), Reason.EPOCH_FENCED),
        (lambda desk: (desk.context.halt.set("x", "test"), desk.decide()), Reason.HALT_LATCHED),
        (lambda desk: (desk.grant(TradingState.REDUCING), desk.decide()), Reason.REDUCING_ONLY),
        (lambda desk: desk.decide(mode=Mode.PAPER), Reason.NOT_LIVE),
        (lambda desk: (setattr(desk.session, "is_ready", False), desk.role._by_rest._silence(),
                       desk.decide()), Reason.SESSION_DOWN),
        (lambda desk: (desk.role._budget.pause(2**62), desk.decide()), Reason.VENUE_LIMIT),
        (lambda desk: desk.decide(price_e8=100 * E8 + 1), Reason.PRICE_OFF_TICK),
        (lambda desk: desk.decide(qty_e8=E8 + 1), Reason.QTY_OFF_STEP),
        (lambda desk: desk.decide(tif=int(Tif.GTD), is_post_only=0), Reason.MALFORMED),
        (lambda desk: (setattr(desk.role, "_has_users", False), desk.decide()),
         Reason.SESSION_DOWN),
        (lambda desk: (desk.role._budget.block(2**62), desk.decide()), Reason.VENUE_BANNED),
    ],
)  # fmt: skip
def test_fence_drops_what_may_not_be_sent(desk, spoil, reason):
    spoil(desk)
    desk.turn()
    assert desk.session.sent == []
    assert desk.executions() == [(ExecKind.DROPPED, reason)]
    assert len(desk.role._keeper.table) == 0
    assert desk.context.page.counter(counters.DROPPED.id) == 1


def test_reducing_permits_what_was_judged_as_reducing(desk):
    """Two orders, each as large as the position, may both have been right a moment ago."""
    desk.hold(2 * E8)
    desk.grant(TradingState.REDUCING)
    desk.decide(side=Side.SELL, granted_state=int(TradingState.ACTIVE))
    desk.decide(side=Side.SELL, granted_state=int(TradingState.REDUCING))
    desk.turn()
    assert len(desk.session.sent) == 1
    assert desk.executions()[0] == (ExecKind.DROPPED, Reason.REDUCING_ONLY)


def test_reducing_cancels_what_could_make_a_position_grow(desk):
    desk.hold(E8)
    buy, shrinks, flips = desk.place(), *(desk.place(Side.SELL) for _ in range(2))
    desk.grant(TradingState.REDUCING)
    desk.turn(later_ms=20)
    cancelled = {message["params"]["origClientOrderId"] for message in desk.session.sent[3:]}
    assert cancelled == {client_order_id(buy), client_order_id(flips)}
    assert desk.order(shrinks).pending is Action.UNKNOWN


def test_symbol_with_an_unknown_order_is_not_traded(desk):
    desk.role._resolver.unsettled[BTC] = "asked about"
    desk.decide()
    desk.turn()
    assert desk.session.sent == []
    assert desk.executions() == [(ExecKind.DROPPED, Reason.UNRESOLVED_MAX)]


def test_refused_cancel_is_not_repeated_at_once(desk):
    order_id = desk.place()
    desk.decide(Action.CANCEL, order_id=order_id)
    desk.turn()
    desk.reply(code=-1003, status=429)
    desk.decide(Action.CANCEL, order_id=order_id)
    desk.turn()
    assert desk.methods() == ["place", "cancel"]
    assert desk.executions()[-1] == (ExecKind.CANCEL_REJECTED, Reason.REQUEST_PENDING)
    desk.decide(Action.CANCEL, order_id=order_id)
    desk.turn(later_ms=500)
    assert desk.methods() == ["place", "cancel", "cancel"]


def test_cancel_needs_no_permit(desk):
    order_id = desk.place()
    desk.grant(TradingState.HALTED)
    desk.decide(Action.CANCEL, order_id=order_id, age_ms=500)
    desk.turn()
    assert desk.session.sent[-1]["method"] == "order.cancel"


def test_used_order_id_is_never_sent_again(desk):
    order_id = desk.place()
    desk.decide(order_id=order_id)
    desk.turn()
    assert len(desk.session.sent) == 1
    assert desk.executions()[-1] == (ExecKind.DROPPED, Reason.ORDER_ID_REUSED)


def test_reply_and_event_in_either_order_acknowledge_once(desk):
    order_id = desk.decide()
    desk.turn()
    desk.event(order_id, "NEW", "NEW")
    desk.reply()
    assert [kind for kind, _ in desk.executions()] == [ExecKind.SENT, ExecKind.ACK]


def test_definite_refusal_closes_the_order_with_its_meaning(desk):
    order_id = desk.decide()
    desk.turn()
    desk.reply(code=-5022, status=400)
    assert desk.executions()[-1] == (ExecKind.REJECTED, Reason.VENUE_POST_ONLY)
    assert desk.role._keeper.table.get(order_id) is None


def test_indefinite_answer_leaves_the_order_unknown(desk):
    order_id = desk.decide()
    desk.turn()
    desk.reply(code=-1007, status=503)
    order = desk.role._keeper.table.get(order_id)
    assert order is not None
    assert order.state is OrderState.UNRESOLVED


def test_silence_past_the_deadline_makes_the_order_unknown(desk):
    order_id = desk.decide()
    desk.turn()
    desk.turn(later_ms=desk.context.config.execution.answer_ms_max + 1)
    order = desk.role._keeper.table.get(order_id)
    assert order is not None
    assert order.state is OrderState.UNRESOLVED
    assert len(desk.session.sent) == 1, "never a second attempt"


def test_lost_session_makes_every_unanswered_request_unknown(desk):
    order_id = desk.decide()
    desk.turn()
    desk.role._on_session(SessionState.DOWN, "gone")
    order = desk.role._keeper.table.get(order_id)
    assert order is not None
    assert order.state is OrderState.UNRESOLVED


def test_fill_is_counted_once_and_survives_repetition(desk):
    order_id = desk.place()
    for _ in range(3):
        desk.event(order_id, "TRADE", "FILLED", l="1", z="1", L="100", t=9, n="0.02")
    kinds = [kind for kind, _ in desk.executions()]
    assert kinds == [ExecKind.SENT, ExecKind.ACK, ExecKind.FILL]
    assert desk.context.page.counter(counters.DUPLICATE_EVENTS.id) == 2


def test_fill_after_the_cancel_still_counts(desk):
    order_id = desk.place()
    desk.event(order_id, "CANCELED", "CANCELED", z="0.4")
    assert desk.role._keeper.table.get(order_id) is not None, "a trade is missing"
    desk.event(order_id, "TRADE", "PARTIALLY_FILLED", l="0.4", z="0.4", L="100", t=9)
    assert [kind for kind, _ in desk.executions()][-2:] == [ExecKind.CANCELED, ExecKind.FILL]
    assert desk.role._keeper.table.get(order_id) is None


def cancels(desk: Desk) -> int:
    return sum(message["method"] == "order.cancel" for message in desk.session.sent)


@pytest.mark.parametrize(
    "cause",
    [
        lambda desk: desk.context.halt.set("x", "test"),
        lambda desk: desk.strategy.page.beat(time.monotonic_ns() - 5 * NS_PER_S),
        lambda desk: (setattr(desk.top, "feed_state", int(FeedState.GAPPED)), desk._tops.write(1)),
        lambda desk: (setattr(desk.top, "as_of_ns", 1), desk._tops.write(1)),
        lambda desk: setattr(desk.role._resolver.gate, "is_recovered", False),
        lambda desk: desk.role.on_stop(time.monotonic_ns()),
    ],
    ids=["halt", "strategy silent", "feed gapped", "feed silent", "user stream gap", "stop"],
)
def test_execution_cancels_on_its_own_authority(desk, cause):
    desk.place()
    desk.turn(later_ms=20)
    assert cancels(desk) == 0
    cause(desk)
    desk.turn(later_ms=40)
    assert cancels(desk) == 1
    desk.turn(later_ms=60)
    assert cancels(desk) == 1, "repeated only after a while"


def test_order_by_hand_does_not_need_a_strategy_that_watches_it(desk):
    manual_id = desk.decide(
        order_id=make_order_id(SOURCE_MANUAL, desk.strategy.epoch, 1), strategy_id=SOURCE_MANUAL
    )
    desk.turn()
    desk.reply()
    strategys_id = desk.place(Side.SELL)
    desk.turn(later_ms=20)
    desk.strategy.page.beat(time.monotonic_ns() - 5 * NS_PER_S)
    desk.turn(later_ms=40)
    cancelled = [
        message["params"]["origClientOrderId"]
        for message in desk.session.sent
        if message["method"] == "order.cancel"
    ]
    assert cancelled == [client_order_id(strategys_id)]
    desk.context.halt.set("x", "test")
    desk.turn(later_ms=60)
    assert cancels(desk) == 2, "a halt spares nothing"
    assert desk.role._keeper.table.get(manual_id) is not None


def test_permit_that_stays_away_pulls_the_quotes_after_its_grace(desk):
    desk.place()
    desk.turn(later_ms=20)
    desk.grant(TradingState.HALTED)
    desk.turn(later_ms=500)
    assert cancels(desk) == 0
    desk.top.as_of_ns = time.monotonic_ns() + NS_PER_S
    desk._tops.write(BTC)
    desk.strategy.page.beat(time.monotonic_ns() + NS_PER_S)
    desk.turn(later_ms=1_200)
    assert cancels(desk) == 1


def test_stop_is_over_when_nothing_is_open_any_more(desk):
    order_id = desk.place()
    assert not desk.role.on_stop(time.monotonic_ns())
    desk.turn(later_ms=20)
    desk.event(order_id, "CANCELED", "CANCELED")
    assert desk.role.on_stop(time.monotonic_ns())


def test_looking_ahead_sends_and_writes_nothing(desk):
    desk.place()
    segments = desk.context._segments
    before = {name: bytes(segment.buffer) for name, segment in segments.items()}
    desk.role.look_ahead(time.monotonic_ns())
    assert {name: bytes(segment.buffer) for name, segment in segments.items()} == before
    assert len(desk.session.sent) == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ExecutionRole, "_fence"),
        *((OrderKeeper, step) for step in ("begin", "sent", "settle", "_append", "_publish",
                                           "_send_record", "_store")),
    ],
)  # fmt: skip
def test_a_step_that_was_replaced_is_taken_all_the_same(house, tmp_path, monkeypatch, owner, name):
    original, taken = getattr(owner, name), []

    def replaced(self: Any, *arguments: Any, **named: Any) -> Any:
        taken.append(name)
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, name, replaced)
    desk = Desk(house, tmp_path)
    desk.decide()
    taken.clear()
    desk.turn()
    desk.loop.close()
    assert len(desk.session.sent) == 1
    assert name in taken
    assert desk.executions() == [(ExecKind.SENT, Reason.NONE)]


def test_successor_does_not_send_a_consumed_decision_again(desk):
    order_id = desk.decide()
    # Died after the bytes left and before the cursor was stored.
    reader = desk.role._decisions
    assert reader.next()
    desk.role._consume(desk.role._decision, time.monotonic_ns())
    assert len(desk.session.sent) == 1
    desk.house.end(desk.context)

    desk.start()
    desk.turn()
    assert desk.session.sent == []
    order = desk.role._keeper.table.get(order_id)
    assert order is not None
    assert order.state is OrderState.UNRESOLVED, "only the venue knows whether it arrived"
    kinds = [kind for kind, _ in desk.executions()]
    assert kinds == [ExecKind.SENT, ExecKind.UNRESOLVED]


def test_order_of_ours_that_the_books_do_not_know_is_taken_in(desk):
    order_id = make_order_id(1, desk.strategy.epoch, 999)
    desk.event(order_id, "NEW", "NEW")
    assert desk.executions() == [(ExecKind.ADOPTED, Reason.OWN_RECOVERY)]
    assert desk.order(order_id) is not None


# -- kinds of orders ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"is_post_only": 1}, {"type": "LIMIT", "timeInForce": "GTX"}),
        ({"tif": Tif.GTC}, {"type": "LIMIT", "timeInForce": "GTC"}),
        ({"tif": Tif.IOC}, {"type": "LIMIT", "timeInForce": "IOC"}),
        ({"tif": Tif.FOK}, {"type": "LIMIT", "timeInForce": "FOK"}),
        ({"tif": Tif.GTD, "good_till_s": 1_800_001_000},
         {"type": "LIMIT", "timeInForce": "GTD", "goodTillDate": "1800001000000"}),
        ({"order_type": OrderType.MARKET, "tif": 0, "price_e8": 0}, {"type": "MARKET"}),
        ({"is_reduce_only": 1}, {"reduceOnly": "true"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_ready", [True, False], ids=["session", "rest"])
def test_every_kind_of_order_leaves_by_either_way(desk, words, said, is_ready):
    desk.session.is_ready = is_ready
    order_id = desk.decide(
        **{"is_post_only": 0, **{name: int(word) for name, word in words.items()}}
    )
    desk.turn()
    desk.settle()
    sent = desk.session.sent[0]["params"] if is_ready else desk.rest.sent[0][1]
    assert {name: sent[name] for name in said} == said
    assert sent["newClientOrderId"] == client_order_id(order_id)
    assert sent["selfTradePreventionMode"] == "EXPIRE_MAKER"
    assert desk.executions()[0] == (ExecKind.SENT, Reason.NONE)


def test_changed_decimals_change_how_orders_are_written(desk):
    instruments, row = desk.feed.cell_writer("instruments")
    reader, current = desk.feed.cell_reader("instruments")
    assert reader.read(BTC)
    row[:] = current
    Instrument(row).price_places = 3
    Instrument(row).instrument_version += 1
    instruments.write(BTC)
    desk.turn(later_ms=20)
    desk.decide()
    desk.turn()
    assert desk.session.sent[0]["params"]["price"] == "100.000"


# -- cancel-all -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({"instrument_id": 0, "strategy_id": 1}, 2),
        ({"instrument_id": 1, "strategy_id": 1}, 2),
        ({"instrument_id": 2, "strategy_id": 1}, 0),
        ({"instrument_id": 0, "strategy_id": 2}, 0),
        ({"instrument_id": 0, "strategy_id": 0}, 2),
    ],
)
def test_cancel_all_takes_out_what_it_means_and_needs_no_permit(desk, words, count):
    desk.place(), desk.place()
    desk.grant(TradingState.HALTED)
    before = len(desk.journal())
    desk.decide(Action.CANCEL_ALL, order_id=2**60, age_ms=500, **words)
    desk.turn()
    assert cancels(desk) == count
    assert desk.journal()[before:] == [JournalKind.CONSUMED] + [JournalKind.CANCEL] * count
    assert [kind for kind, _ in desk.executions()] == [ExecKind.SENT, ExecKind.ACK] * 2


def test_cancel_all_is_seen_through(desk):
    order_id = desk.decide()
    desk.turn()
    desk.reply(code=-1007, status=503)
    desk.decide(Action.CANCEL_ALL, order_id=2**60, instrument_id=0)
    desk.turn(later_ms=20)
    assert cancels(desk) == 0, "unknown: the venue is asked first"
    desk.event(order_id, "NEW", "NEW")
    desk.turn(later_ms=40)
    assert cancels(desk) == 1
    desk.event(order_id, "CANCELED", "CANCELED")
    assert desk.executions()[-1] == (ExecKind.CANCELED, Reason.OWN_DECIDED_ALL)


# -- REST while the session is down ---------------------------------------------------------------


def by_rest(desk: Desk, action: Action = Action.PLACE, **words: Any) -> int:
    desk.session.is_ready = False
    order_id = desk.decide(action, **words)
    desk.turn()
    desk.settle()
    return order_id


def test_without_a_session_a_place_goes_by_rest_journalled_before_it_leaves(desk):
    at_send: list[Any] = []
    desk.rest.before_fence = lambda: at_send.append((desk.journal(), desk.executions()))
    order_id = by_rest(desk)
    assert at_send == [([JournalKind.PLACE], [])]
    assert desk.executions() == [(ExecKind.SENT, Reason.NONE), (ExecKind.ACK, Reason.NONE)]
    assert desk.order(order_id).state is OrderState.WORKING
    assert desk.role._budget.orders_10s.used(time.monotonic_ns()) == 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda desk: desk.context.halt.set("x", "test"), Reason.HALT_LATCHED),
        (lambda desk: desk.grant(ms=-1), Reason.PERMIT_EXPIRED),
        (lambda desk: desk.grant(TradingState.REDUCING), Reason.REDUCING_ONLY),
        (lambda desk: desk.house.context("risk"), Reason.EPOCH_FENCED),
        (lambda desk: desk.grow_impatient(), Reason.DECISION_EXPIRED),
    ],
)
def test_the_fence_is_asked_again_when_a_rest_order_leaves(desk, spoil, reason):
    desk.rest.before_fence = lambda: spoil(desk)
    order_id = by_rest(desk)
    assert desk.rest.sent == []
    assert desk.executions() == [(ExecKind.DROPPED, reason)]
    assert desk.order(order_id) is None


def test_an_amend_by_rest_passes_the_fence_as_well(desk):
    order_id = desk.place()
    by_rest(desk, Action.AMEND, order_id=order_id, price_e8=101 * E8)
    assert desk.rest.sent[0][1]["price"] == "101.0"
    assert desk.executions()[-1][0] is ExecKind.AMENDED
    desk.rest.before_fence = lambda: desk.context.halt.set("x", "test")
    by_rest(desk, Action.AMEND, order_id=order_id, price_e8=102 * E8)
    assert len(desk.rest.sent) == 1
    assert desk.executions()[-1][0] is ExecKind.AMEND_REJECTED
    assert desk.order(order_id).price_e8 == 101 * E8


def test_a_rest_order_without_an_answer_is_unknown_and_rest_is_left_alone(desk):
    desk.rest.answer = UnknownOutcomeError("no answer")
    order_id = by_rest(desk)
    assert desk.order(order_id).state is OrderState.UNRESOLVED
    by_rest(desk)
    assert len(desk.rest.sent) == 1
    assert desk.executions()[-1] == (ExecKind.DROPPED, Reason.SESSION_DOWN)


def test_a_rest_order_that_found_no_connection_never_was(desk):
    desk.rest.answer = UnreachableError("nobody there")
    order_id = by_rest(desk)
    assert desk.order(order_id) is None
    assert desk.executions()[-1] == (ExecKind.DROPPED, Reason.SESSION_DOWN)


def test_limits_hold_for_rest_and_session_alike(desk):
    desk.rest.answer = RateLimitedError(code=-1015, text="x", status=429, retry_after_s=3.0)
    order_id = by_rest(desk)
    assert desk.order(order_id) is None
    assert desk.executions()[-1] == (ExecKind.REJECTED, Reason.VENUE_RATE_LIMIT)
    assert desk.rest.paused_until_ns == 0, "a limit on orders concerns nobody else"
    desk.session.is_ready = True
    desk.decide()
    desk.turn()
    assert desk.session.sent == []
    assert desk.executions()[-1] == (ExecKind.DROPPED, Reason.VENUE_LIMIT)


def test_a_rest_order_that_our_own_guard_holds_back_never_left(desk):
    def guard() -> None:
        raise BannedError(code=-1003, text="the address is banned", until_ns=1)

    desk.rest.before_fence = guard
    order_id = by_rest(desk)
    assert desk.order(order_id) is None
    assert desk.executions() == [(ExecKind.DROPPED, Reason.VENUE_BANNED)]


def test_a_successor_asks_about_a_rest_order_that_was_journalled(desk):
    desk.session.is_ready = False
    order_id = desk.decide()
    desk.turn()  # journalled; the process dies before the request leaves
    assert desk.journal() == [JournalKind.PLACE]
    desk.role._by_rest.stop()
    desk.settle()
    desk.house.end(desk.context)
    desk.start()
    assert desk.order(order_id).state is OrderState.UNRESOLVED


def test_only_so_many_rest_requests_are_on_their_way(desk):
    desk.session.is_ready = False
    for _ in range(IN_FLIGHT_MAX + 2):
        desk.decide()
    desk.turn()
    desk.settle()
    assert len(desk.rest.sent) == IN_FLIGHT_MAX
    assert desk.executions().count((ExecKind.DROPPED, Reason.SESSION_DOWN)) == 2


def test_cancels_that_are_due_together_leave_together(desk):
    ids = [desk.place() for _ in range(12)]
    desk.session.is_ready = False
    desk.context.halt.set("x", "test")
    desk.turn(later_ms=20)
    desk.settle()
    assert [(what, len(words)) for what, words in desk.rest.sent] == [
        ("cancels", 10),
        ("cancels", 2),
    ]
    assert all(desk.order(order_id) is None for order_id in ids)
    assert desk.journal().count(JournalKind.CANCEL) == 12


def test_each_answer_of_a_batch_goes_to_its_order(desk):
    gone, refused, done = (desk.place() for _ in range(3))
    desk.rest.answer = [
        Refusal(code=-2011, text="Unknown order sent."),
        Refusal(code=-1021, text="Timestamp"),
        report_of(client_order_id(done), OrderStatus.CANCELED),
    ]
    desk.session.is_ready = False
    desk.decide(Action.CANCEL_ALL, order_id=2**60, instrument_id=0)
    desk.turn()
    desk.settle()
    assert desk.order(gone).state is OrderState.UNRESOLVED, "filled, perhaps: to be asked"
    assert desk.order(refused).state is OrderState.WORKING
    assert desk.order(done) is None
    desk.turn(later_ms=30)
    desk.settle()
    assert len(desk.rest.sent) == 1, "nobody hammers"
    desk.rest.answer = None
    desk.turn(later_ms=1_000)
    desk.settle()
    assert desk.rest.sent[-1][1]["origClientOrderId"] == client_order_id(refused)


# -- what the venue refuses, by meaning -----------------------------------------------------------


class After(NamedTuple):
    """What is sent after a refusal: a place, one that reduces, a cancel of another order."""

    place: bool = True
    reduce: bool = True
    cancel: bool = True


GOES_ON = After()
PLACES_PAUSE = After(place=False, reduce=False)
OPENING_PAUSES = After(place=False)
SILENCE = After(False, False, False)
REJECTED, WORKING, UNKNOWN = OrderState.REJECTED, OrderState.WORKING, OrderState.UNRESOLVED

FAMILIES = [
    # status, code, text, state of a new order, what is sent afterwards
    (429, -1003, "Too many requests", REJECTED, PLACES_PAUSE),
    (429, -1015, "Too many new orders", REJECTED, PLACES_PAUSE),
    (418, -1003, "banned until 1800000060000", REJECTED, SILENCE),
    (403, 0, "", REJECTED, PLACES_PAUSE),
    (503, -1000, "Unknown error, please check your request or try again later.", UNKNOWN,
     OPENING_PAUSES),
    (503, 0, "Service Unavailable.", REJECTED, OPENING_PAUSES),
    (503, -1001, "Internal error; unable to process your request. Please try again.", UNKNOWN,
     OPENING_PAUSES),
    (503, -1008, "Server is currently overloaded", REJECTED, OPENING_PAUSES),
    (400, -1008, "Server is currently overloaded", REJECTED, OPENING_PAUSES),
    (408, -1007, "Timeout waiting for response", UNKNOWN, OPENING_PAUSES),
    (400, -1006, "Unexpected response", UNKNOWN, OPENING_PAUSES),
    (400, -1021, "Timestamp for this request is outside of the recvWindow.", REJECTED, GOES_ON),
    (400, -5028, "ME recvWindow", REJECTED, GOES_ON),
    (400, -1003, "Too many requests", REJECTED, PLACES_PAUSE),
    (400, -1022, "Signature invalid", REJECTED, GOES_ON),
    (400, -2010, "New order rejected", REJECTED, GOES_ON),
    (400, -2018, "Balance insufficient", REJECTED, GOES_ON),
    (400, -2019, "Margin is insufficient.", REJECTED, GOES_ON),
    (400, -2020, "Unable to fill", REJECTED, GOES_ON),
    (400, -2021, "Would trigger", REJECTED, GOES_ON),
    (400, -2022, "ReduceOnly Order is rejected.", REJECTED, GOES_ON),
    (400, -2025, "Reach max open order limit.", REJECTED, GOES_ON),
    (400, -2027, "Exceeded position", REJECTED, GOES_ON),
    (400, -4014, "Price not increased by tick size.", REJECTED, GOES_ON),
    (400, -4023, "Qty not increased by step size.", REJECTED, GOES_ON),
    (400, -4131, "PERCENT_PRICE", REJECTED, GOES_ON),
    (400, -4140, "Invalid symbol status", REJECTED, GOES_ON),
    (400, -4164, "Notional too small", REJECTED, GOES_ON),
    (400, -4116, "ClientOrderId is duplicated.", UNKNOWN, GOES_ON),
    (400, -4999, "never heard of", REJECTED, GOES_ON),
    (400, -5021, "FOK", REJECTED, GOES_ON),
    (400, -5022, "Post Only", REJECTED, GOES_ON),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "text", "state", "after"), FAMILIES)
def test_each_refusal_closes_the_order_and_says_how_to_go_on(
    desk, status, code, text, state, after
):
    resting = desk.place()
    order_id = desk.decide()
    desk.turn()
    desk.reply(code=code, status=status, message=text)
    order = desk.order(order_id)
    assert (order.state if order is not None else REJECTED) is state
    if order is None:
        assert desk.executions()[-1] == (ExecKind.REJECTED, classify(code, status, text).reason)
    sent = len(desk.session.sent)
    desk.decide()
    desk.turn()
    assert len(desk.session.sent) - sent == after.place
    sent = len(desk.session.sent)
    desk.decide(is_reduce_only=1)
    desk.turn()
    assert len(desk.session.sent) - sent == after.reduce
    sent = len(desk.session.sent)
    desk.decide(Action.CANCEL, order_id=resting)
    desk.turn()
    assert len(desk.session.sent) - sent == after.cancel


@pytest.mark.parametrize(("status", "code", "text", "state", "after"), FAMILIES)
def test_a_refused_cancel_leaves_the_order_open_or_unknown(desk, status, code, text, state, after):
    order_id = desk.place()
    desk.decide(Action.CANCEL, order_id=order_id)
    desk.turn()
    desk.reply(code=code, status=status, message=text)
    assert desk.order(order_id).state is (UNKNOWN if state is UNKNOWN else WORKING)


def test_pauses_and_bans_are_told_to_the_whole_address(desk):
    desk.place()
    before_ns = time.monotonic_ns()
    desk.role._on_reply(Reply(request_id=-1, status=429, code=-1003, retry_after_ms=7_000), 1)
    desk.role._on_reply(Reply(request_id=-1, status=418, code=-1003, retry_after_ms=9_000), 1)
    past_ns = time.monotonic_ns() - before_ns
    assert 0 <= desk.rest.paused_until_ns - before_ns - 7 * NS_PER_S <= past_ns
    assert 0 <= desk.rest.banned_until_ns - before_ns - 9 * NS_PER_S <= past_ns
    desk.turn(later_ms=40)
    assert desk.session.watches[-1] is False, "a banned address asks nothing at all"


def test_sessions_are_watched_in_turns_of_their_own(desk):
    desk.turn(later_ms=1_000)
    before = len(desk.session.watches)
    for turn in range(1, 41):
        desk.place()
        desk.turn(later_ms=1_000 + 10 * turn)
    assert 400 // 40 - 1 <= len(desk.session.watches) - before <= 400 // 20


def test_what_other_connections_were_told_holds_here_as_well(desk):
    desk.rest.banned_until_ns = time.monotonic_ns() + 60 * NS_PER_S
    desk.turn(later_ms=20)
    desk.decide()
    desk.turn(later_ms=21)
    assert desk.executions() == [(ExecKind.DROPPED, Reason.VENUE_BANNED)]


def test_a_strategy_that_is_refused_again_and_again_has_to_wait(desk):
    for _ in range(5):
        desk.decide()
        desk.turn()
        desk.reply(code=-4014, status=400)
    desk.decide()
    desk.turn()
    assert len(desk.session.sent) == 5
    assert desk.executions()[-1] == (ExecKind.DROPPED, Reason.VENUE_FILTER)


# -- the guard ------------------------------------------------------------------------------------


def adopt_foreign(desk: Desk) -> int:
    order_id = foreign_order_id(BTC, 4711)
    order = Order.adopt(
        order_id=order_id, venue_order_id=4711, instrument_id=BTC, side=Side.BUY,
        price_e8=100 * E8, qty_e8=E8, order_type=OrderType.LIMIT, tif=Tif.GTC, is_post_only=False,
        is_reduce_only=False, reason=Reason.FOREIGN_ORDER,
    )  # fmt: skip
    assert desk.role._keeper.adopt(order, now_ns=1)
    return order_id


def test_orders_that_are_not_ours_are_left_alone_and_not_waited_for(desk):
    order_id = adopt_foreign(desk)
    desk.context.halt.set("x", "test")
    desk.turn(later_ms=20)
    desk.decide(Action.CANCEL_ALL, order_id=2**60, instrument_id=0, strategy_id=0)
    desk.turn(later_ms=40)
    assert cancels(desk) == 0
    assert desk.order(order_id) is not None
    assert desk.role.on_stop(time.monotonic_ns())


def test_a_fresh_halt_also_asks_for_everything_to_be_cancelled(desk):
    desk.place()
    desk.context.halt.set("x", "test")
    for milliseconds in (1, 20, 40):
        desk.turn(later_ms=milliseconds)
    assert desk.role._resolver.emergencies == 1
    desk.context.halt.clear()
    desk.turn(later_ms=60)
    desk.context.halt.set("x", "test")
    desk.turn(later_ms=61)
    assert desk.role._resolver.emergencies == 2


@pytest.mark.parametrize(("code", "again_ms"), [(-1021, 500), (-4141, 2_000)])
def test_a_refused_cancel_is_not_repeated_at_once(desk, code, again_ms):
    desk.place()
    desk.context.halt.set("x", "test")
    desk.turn(later_ms=20)
    assert cancels(desk) == 1
    desk.reply(code=code, status=400)
    desk.turn(later_ms=20 + again_ms - 20)
    assert cancels(desk) == 1
    desk.turn(later_ms=20 + again_ms + 20)
    assert cancels(desk) == 2


def test_a_journal_that_nobody_copies_any_more_stops_new_orders_only(desk):
    order_id = desk.place()
    desk.role._limits._journal_lag_max = 0
    desk.turn(later_ms=20)
    desk.decide()
    desk.turn(later_ms=21)
    assert len(desk.session.sent) == 2, "nobody was ever there to copy it"
    recorder = desk.house.context("recorder")
    desk.turn(later_ms=40)
    desk.decide()
    desk.decide(Action.CANCEL, order_id=order_id)
    desk.turn(later_ms=41)
    assert desk.methods() == ["place", "place", "cancel"]
    assert (ExecKind.DROPPED, Reason.JOURNAL_FULL) in desk.executions()
    recorder.page.set_gauge(counters.COPIED_SEQ.id, 1_000)
    desk.turn(later_ms=60)
    desk.decide()
    desk.turn(later_ms=61)
    assert desk.methods()[-1] == "place"
