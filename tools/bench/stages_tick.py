"""The system that ``hft bench stages`` takes apart: feed, strategy, and who answers them."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from hft.config import FeedConfig, Plan, ProcessPlan, StrategyConfig, SystemConfig
from hft.core.generated.views import Execution, Instrument, Intent, TopOfBook
from hft.errors import CheckFailedError
from hft.records import (
    SLOT_BYTES,
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    Kind,
    Mode,
    OrderState,
    Side,
    Tif,
)
from hft.roles.context import Context
from hft.roles.desk import IntentBudget
from hft.roles.feed import Feed
from hft.roles.risk import Risk
from hft.roles.strategy import StrategyEngine
from hft.roles.turning import Cycle
from hft.strategy.base import QuoteRules, StrategyParameters
from hft.strategy.targets import QuoteTargets
from hft.units import E8, NS_PER_S
from hft.venues.binance_usdm.codec import DEPTH, TOP, MarketDecoder
from hft.venues.binance_usdm.frames import FrameListener
from hft.venues.binance_usdm.market_session import SessionState, _MarketConnection
from tools.bench.risk import Size, make_plan
from tools.system.segments import create_all, remove_all
from tools.venue.encode import FrameEncoder
from tools.venue.exchange_info import synthetic_rules

INSTRUMENT_ID: Final = 1
LEVELS: Final = 20
"""Levels of a depth event, both sides together."""
TICK_E8: Final = E8 // 10
PRICE_E8: Final = 1_000 * E8
QTY_E8: Final = E8
SILENCE_MS_MAX: Final = 10_000_000
"""Nothing grows stale while another stage has its turn."""


class Follower:
    """Bids at the touch: an intent for each new best bid, by a quote or by an explicit order."""

    quote_rules = QuoteRules(rest_ns_min=0, overdue_ns=1_000 * NS_PER_S)

    class Parameters(StrategyParameters, frozen=True):
        """None."""

    def __init__(self, parameters: Parameters, instrument: object) -> None:
        self.is_taking = False

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """Bid at the best bid."""
        if self.is_taking:
            targets.orders.place(Side.BUY, top.bid_e8, QTY_E8, tif=Tif.IOC)
        else:
            targets.set(Side.BUY, top.bid_e8, QTY_E8)

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Want what the last top led to."""


class _NoSnapshots:
    """The feed's questions for a snapshot, which the bench answers by itself."""

    def fetch(self, _instrument: object) -> None:
        """Nothing."""


class System:
    """Real segments of a ``compact`` system, and the contexts of its roles."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hft-bench-")))
        self.plan = _plan(name, run_dir)
        create_all(self.plan.name, run_dir)
        stack.callback(remove_all, self.plan.name, run_dir)
        self._contexts: dict[str, Context] = {}
        stack.callback(self._close)
        _write_instrument(self.context("feed"))

    def context(self, role: str) -> Context:
        """The one context of a role."""
        context = self._contexts.get(role)
        if context is None:
            context = Context(self.plan, role, self.plan.process_of(role))
            context.adopt(time.monotonic_ns())
            self._contexts[role] = context
        return context

    def _close(self) -> None:
        for context in self._contexts.values():
            context.close()


class Tick:
    """A feed whose socket is a hand, an engine with one plug-in, and who answers its intents."""

    def __init__(self, stack: ExitStack) -> None:
        self._now = time.monotonic_ns
        system = System(f"bench-stages-{os.getpid()}", stack)
        self.feed = feed = Feed(system.context("feed"))
        self._feed_page = system.context("feed").page
        feed._snapshots = _NoSnapshots()  # type: ignore[assignment]  # a stand-in
        feed.on_start(self._now())
        self._decoder = MarketDecoder({"S1USDT": INSTRUMENT_ID}, bytearray(SLOT_BYTES))
        feed._on_public_state(SessionState.OPEN, "")
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        self._listener = loop.run_until_complete(_connect(feed))
        self._encoder = FrameEncoder(synthetic_rules("S1USDT"))
        self._seq, self._depth_seq = 100, 0
        self._best_e8 = PRICE_E8
        self._payload = b""
        self._sync()
        self.engine = StrategyEngine(system.context("strategy"))
        stack.callback(self.engine.on_close)
        self.engine.on_start(self._now())
        for _ in range(2):  # the first one settles
            self.engine.do_work(self._now())
        (self._desk,) = self.engine.desks
        self._desk.budget = IntentBudget(NS_PER_S)
        self._answers, answer_buffer = system.context("execution").ring_writer("executions")
        self._answer = Execution(answer_buffer)
        self._intents, intent_buffer = system.context("risk").ring_reader("intents.strategy")
        self._intent = Intent(intent_buffer)
        gates = [system.context(role).ring_reader("executions")[0] for role in ("account", "risk")]
        self._gates = gates
        self._hop_reader, _ = system.context("account").ring_reader("market")
        self._idle = _idle_roles(stack)
        self._intend()

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Tick]:
        """The system, for as long as it is measured."""
        with ExitStack() as stack:
            yield cls(stack)

    # -- frames ---------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Bring the book in step, as the venue's procedure has it."""
        levels = [(PRICE_E8 - n * TICK_E8, 5 * E8) for n in range(2_000, 2_100)]
        asks = [(PRICE_E8 + n * TICK_E8, 5 * E8) for n in range(2_000, 2_100)]
        self.next_depth()
        self.feed_frame()
        body = self._encoder.snapshot(
            last_id=self._depth_seq - 1, bids=levels, asks=asks, trade_ms=1, now_ms=1
        )
        self.feed._on_snapshot(self.feed._instruments[INSTRUMENT_ID], body.encode())
        state = self.feed._instruments[INSTRUMENT_ID].state
        if state is not FeedState.LIVE:
            raise CheckFailedError(f"the book is {state.name}", remedy="Run the tests of the feed.")

    def _set_payload(self, stream: str, data: str) -> None:
        text = f'{{"stream":"s1usdt@{stream}","data":{data}}}'
        self._payload = text.encode()
        self._frame = _make_test_ws_frame(WSMsgType.TEXT, self._payload, True, False)

    def next_top(self) -> None:
        """Make a bookTicker frame."""
        self._seq += 1
        self._set_payload(
            "bookTicker",
            self._encoder.book_ticker(
                update_id=self._seq,
                bid=(self._best_e8, QTY_E8 * (1 + self._seq % 7)),
                ask=(PRICE_E8 + 1_000 * TICK_E8, QTY_E8),
                now_ms=1_700_000_000_000,
            ),
        )

    def next_depth(self) -> None:
        """Make a depth frame: no ticker has a number among its own, so none is compared."""
        previous, self._seq = self._depth_seq, self._seq + 2
        self._depth_seq = self._seq
        side = LEVELS // 2
        qty_e8 = QTY_E8 * (1 + self._seq % 5)
        self._set_payload(
            "depth@0ms",
            self._encoder.depth(
                first_id=self._seq - 1,
                last_id=self._seq,
                previous_id=previous,
                bids=[(PRICE_E8 - (2_001 + n) * TICK_E8, qty_e8) for n in range(side)],
                asks=[(PRICE_E8 + (2_001 + n) * TICK_E8, qty_e8) for n in range(side)],
                trade_ms=1_700_000_000_000,
                now_ms=1_700_000_000_000,
            ),
        )

    def decode_top(self) -> None:
        """One frame to its record."""
        self._decode(TOP)

    def next_unapplied_depth(self) -> None:
        """A depth frame for who only decodes it: the chain of the book's own frames goes on."""
        before = self._depth_seq
        self.next_depth()
        self._depth_seq = before

    def decode_depth(self) -> None:
        """One frame to its levels."""
        self._decode(DEPTH)

    def _decode(self, kind: int) -> None:
        if self._decoder.decode(self._payload, 1) != kind:
            raise CheckFailedError("a frame was not understood", remedy="Run the codec's tests.")

    def feed_frame(self) -> None:
        """One frame as the socket brings it, up to what is visible to everybody."""
        self._listener.on_ws_frame(None, self._frame)  # type: ignore[arg-type]  # no socket

    # -- rings ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Nothing waits."""
        while self._hop_reader.next():
            pass

    def hop(self) -> None:
        """One record from the writer to a reader."""
        self.feed.intake.put()
        self.feed.intake.publish()
        self._hop_reader.next()

    # -- strategy -------------------------------------------------------------------------------

    def _intend(self) -> None:
        """The first intent: a place, answered like all others."""
        self.next_move()
        self.strategy_turn()
        self._answer_all()
        if not self._desk.targets.order_id(Side.BUY):
            raise CheckFailedError("no intent came", remedy="Run the tests of the strategy.")

    def _answer_all(self) -> None:
        """Risk approves and the venue acknowledges; the engine has read of it. The feed lives."""
        answer, intent = self._answer, self._intent
        self._feed_page.beat(self._now())
        self._desk.plugin.is_taking = False
        while self._intents.next():
            self._intents.commit()
            answer.clear()
            answer.kind, answer.mode = int(Kind.EXECUTION), int(Mode.LIVE)
            answer.order_id, answer.instrument_id = intent.order_id, INSTRUMENT_ID
            answer.side, answer.price_e8 = intent.side, intent.price_e8
            answer.qty_e8 = answer.leaves_qty_e8 = intent.qty_e8
            is_place = intent.action == Action.PLACE
            answer.exec_kind = int(ExecKind.ACK if is_place else ExecKind.AMENDED)
            answer.order_state = int(OrderState.WORKING)
            if intent.tif == Tif.IOC:
                answer.exec_kind, answer.leaves_qty_e8 = int(ExecKind.EXPIRED), 0
                answer.order_state = int(OrderState.EXPIRED)
            self._answers.offer()
        for gate in self._gates:
            while gate.next():
                gate.commit()
        self.strategy_turn()

    def next_move(self) -> None:
        """A new best bid waits in the ring."""
        self.next_tick()
        self.feed_frame()

    def next_take(self) -> None:
        """A new best bid waits in the ring, which the plug-in takes by an explicit order."""
        self.next_move()
        self._desk.plugin.is_taking = True

    def next_same(self) -> None:
        """A top waits in the ring that changes nothing for the plug-in."""
        self._answer_all()
        self.next_top()
        self.feed_frame()

    def next_tick(self) -> None:
        """A frame with a new best bid; what the last one led to is answered."""
        self._answer_all()
        self._best_e8 = PRICE_E8 + (TICK_E8 if self._best_e8 == PRICE_E8 else 0)
        self.next_top()

    def strategy_turn(self) -> None:
        """One turn of the engine."""
        self.engine.do_work(self._now())

    def tick_turn(self) -> None:
        """The frame to the feed and, on the same stack, the turn of the engine."""
        self.feed_frame()
        self.engine.do_work(self._now())

    def cycle(self) -> None:
        """Every role of another system, in which nothing happens."""
        self._idle.pass_once(self._now())


def idle_roles(stack: ExitStack, name: str) -> tuple[System, list[Feed | StrategyEngine | Risk]]:
    """Roles of a system in which nothing happens; not started."""
    system = System(name, stack)
    roles: list[Feed | StrategyEngine | Risk] = [
        Feed(system.context("feed")),
        StrategyEngine(system.context("strategy")),
        Risk(system.context("risk")),
    ]
    return system, roles


def _idle_roles(stack: ExitStack) -> Cycle:
    system, roles = idle_roles(stack, f"bench-idle-{os.getpid()}")
    for role in roles:
        role.on_start(time.monotonic_ns())
    return Cycle(roles, [system.context(role.name).page for role in roles])


async def _connect(feed: Feed) -> FrameListener:
    return _MarketConnection((), feed.intake, None, is_candidate=False).listener


def _plan(name: str, run_dir: Path) -> Plan:
    plan = make_plan(Size(1, 1, 1), run_dir)
    symbols = tuple(instrument.symbol for instrument in plan.instruments)
    strategy = StrategyConfig(name="bench", plugin=f"{__name__}:Follower", symbols=symbols)
    config = msgspec.structs.replace(
        plan.config,
        feed=FeedConfig(stale_ms=SILENCE_MS_MAX),
        strategies=(strategy,),
        system=SystemConfig(name=name, mode="demo"),
    )
    hot = ProcessPlan(name="hot", roles=("feed", "strategy", "risk", "execution"), bell=0)
    cold = ProcessPlan(name="cold", roles=("account", "recorder"), bell=1)
    return msgspec.structs.replace(plan, config=config, processes=(hot, cold))


def _write_instrument(feed: Context) -> None:
    writer, buffer = feed.cell_writer("instruments")
    row = Instrument(buffer)
    row.kind, row.instrument_id, row.instrument_version = int(Kind.INSTRUMENT), INSTRUMENT_ID, 1
    row.symbol, row.quote_asset = b"S1USDT", b"USDT"
    row.tick_e8, row.step_e8 = TICK_E8, E8 // 1_000
    row.qty_max_e8 = 1_000 * E8
    row.status = int(InstrumentStatus.TRADING)
    writer.write(INSTRUMENT_ID)
