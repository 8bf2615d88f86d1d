"""Execution as a role: journal before send, the fence before the bytes, cancels of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from hft import counters
from hft.config import VenueConfig
from hft.core.generated.views import Decision, Execution, Journal, TopOfBook
from hft.core.order_id import make_order_id
from hft.core.permit import pack_permit
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
from hft.units import E8, NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.errors import SessionDownError
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.order_session import Reply
from hft.venues.binance_usdm.order_text import client_order_id
from hft.venues.binance_usdm.user_events import OrderUpdate, decode_user_event

BTC = 1


class FakeSession:
    """The order session as a list of what left."""

    def __init__(self, on_send: Any) -> None:
        self.is_ready = True
        self.state = SessionState.UP
        self.sent: list[dict[str, Any]] = []
        self._on_send = on_send

    def send(self, text: bytes) -> None:
        if not self.is_ready:
            raise SessionDownError("down")
        self._on_send()
        self.sent.append(orjson.loads(text))


class FakeRest:
    """Counts nothing, forbids nothing."""

    used_weight = 0
    venue_ns = 1_800_000_000 * NS_PER_S


class FakeResolver:
    """Recovered; remembers what it was asked."""

    is_recovered = True

    def __init__(self, events: Any) -> None:
        self.cancelled: list[int] = []
        self.on_update = events.on_update

    def tend(self, now_ns: int) -> None:
        """Nothing is asked of a venue here."""

    def cancel_by_rest(self, order: Any, reason: Reason) -> None:
        self.cancelled.append(order.order_id)


class Desk:
    """Risk, feed, strategy and venue around the role."""

    def __init__(self, house, tmp_path: Path) -> None:
        key = tmp_path / "key"
        key.write_text("api-key\nsecret\n")
        key.chmod(0o600)
        venue = VenueConfig(key_file=str(key))
        config = msgspec.structs.replace(house.plan.config, venue=venue)
        house.plan = msgspec.structs.replace(house.plan, config=config)
        self.house = house
        self.risk = house.context("risk")
        self.strategy = house.context("strategy")
        self._decisions, buffer = self.risk.ring_writer("decisions")
        self.decision = Decision(buffer)
        feed = house.context("feed")
        self._tops, top_buffer = feed.cell_writer("tops")
        self.top = TopOfBook(top_buffer)
        self._order_seq = 0
        self.role: ExecutionRole
        self.context: Any
        self.session: FakeSession
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
        role._rest = FakeRest()
        role._resolver = FakeResolver(role._events)
        role._has_users = True
        self.role = role

    def grant(self, state: TradingState = TradingState.ACTIVE, ms: int = 10_000) -> None:
        self.risk.permit().store(pack_permit(state, time.monotonic_ns() + ms * NS_PER_MS))

    def tick(self) -> None:
        now_ns = time.monotonic_ns()
        self.strategy.page.beat(now_ns)
        self.top.kind, self.top.instrument_id = int(Kind.TOP_OF_BOOK), BTC
        self.top.recv_ns, self.top.feed_state = now_ns, int(FeedState.LIVE)
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
        assert self._decisions.offer()
        return order_id

    def turn(self, *, later_ms: int = 0) -> None:
        self.role.do_work(time.monotonic_ns() + later_ms * NS_PER_MS)

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

    def reply(self, code: int = 0, status: int = 200) -> None:
        request_id = self.session.sent[-1]["id"]
        message = "" if status == 200 else "refused"
        reply = Reply(request_id=request_id, status=status, code=code, message=message)
        self.role._on_reply(reply, time.monotonic_ns())

    def place(self) -> int:
        order_id = self.decide()
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
def desk(house, tmp_path) -> Desk:
    return Desk(house, tmp_path)


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
        (lambda desk: desk.decide(age_ms=21), Reason.DECISION_EXPIRED),
        (lambda desk: (desk.grant(ms=-1), desk.decide()), Reason.PERMIT_EXPIRED),
        (lambda desk: (desk.grant(TradingState.HALTED), desk.decide()), Reason.PERMIT_EXPIRED),
        (lambda desk: desk.decide(epoch=1), Reason.EPOCH_FENCED),
        (lambda desk: (desk.context.halt.set("x", "test"), desk.decide()), Reason.HALT_LATCHED),
        (lambda desk: (desk.grant(TradingState.REDUCING), desk.decide()), Reason.REDUCING_ONLY),
        (lambda desk: desk.decide(mode=Mode.PAPER), Reason.NOT_LIVE),
        (lambda desk: (setattr(desk.session, "is_ready", False), desk.decide()),
         Reason.SESSION_DOWN),
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


def test_reducing_permits_what_shrinks_the_position(desk):
    desk.grant(TradingState.REDUCING)
    desk.decide(side=Side.SELL)
    # The decision says which position risk saw.
    desk.decision.position_e8 = 3 * E8
    desk.decision.order_id += 1
    assert desk._decisions.offer()
    desk.turn()
    assert len(desk.session.sent) == 1
    assert desk.executions()[0] == (ExecKind.DROPPED, Reason.REDUCING_ONLY)


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
        lambda desk: (setattr(desk.top, "recv_ns", 1), desk._tops.write(1)),
        lambda desk: setattr(desk.role._resolver, "is_recovered", False),
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


def test_permit_that_stays_away_pulls_the_quotes_after_its_grace(desk):
    desk.place()
    desk.turn(later_ms=20)
    desk.grant(TradingState.HALTED)
    desk.turn(later_ms=500)
    assert cancels(desk) == 0
    desk.top.recv_ns = time.monotonic_ns() + NS_PER_S
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


def test_order_of_ours_that_the_books_do_not_know_is_handed_over_for_cancelling(desk):
    desk.event(make_order_id(1, desk.strategy.epoch, 999), "NEW", "NEW")
    assert len(desk.role._events.orphans) == 1
    assert desk.executions() == []
