"""What an order costs execution, stage by stage: from the decision in its ring to the socket.

Execution as it is, turned by hand over real shared memory, with a WebSocket connection over the
loopback whose other end is read after each order. For every order in turn: the whole way (taken
from the ring, checked, journalled, sent, recorded), the parts of that way alone, the venue's
answer, and the fill that ends the order. One reading of the clock is part of each figure.

Cold: before each order so much memory is walked through that nothing is left in the caches; with
and without the rehearsal that execution makes while idle.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from picows import ws_connect

from hft.config import ExecutionConfig, Plan, RateLimits, SystemConfig, VenueConfig
from hft.core.generated.views import Decision, Instrument, TopOfBook
from hft.core.order_id import make_order_id
from hft.core.orders import Order
from hft.core.permit import pack_permit
from hft.records import (
    Action,
    ExecKind,
    FeedState,
    InstrumentStatus,
    JournalKind,
    Kind,
    Mode,
    OrderType,
    Side,
    Tif,
    TradingState,
)
from hft.roles.context import Context
from hft.roles.execution import Execution
from hft.roles.order_rehearsal import OrderRehearsal
from hft.roles.order_resolver import OrderResolver
from hft.roles.rest_entry import RestEntry
from hft.roles.venue_access import make_rest
from hft.units import E8, NS_PER_S
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.order_session import OrderSession, SessionState, _OrderConnection
from hft.venues.binance_usdm.order_text import OrderTextEncoder, client_order_id
from hft.venues.binance_usdm.signing import Credentials, HmacSigner
from hft.venues.binance_usdm.user_events import decode_user_event
from tools.bench import heap_count
from tools.bench.risk import Size, make_plan
from tools.system.segments import create_all, remove_all

ORDERS: Final = 2_000
COLD_ORDERS: Final = 40
WARM_UP: Final = 200
COUNTED: Final = 64
"""Orders at the end of a run of which the allocations are counted instead of the time."""
THRASH_BYTES: Final = 48 * 1024 * 1024
"""More than any cache: what nobody touched for long."""
SHARED_BYTES: Final = 1024 * 1024
"""What others touch between two turns of an idle process."""
SILENT_TURNS: Final = 20
TURN_S: Final = 0.01
_COUNT_BLOCKS: Final = 1
"""Of the counting itself: the number that says how many."""
INSTRUMENT_ID: Final = 1
SOURCE: Final = 1
API_KEY: Final = "key-of-the-benchmark"
PRICE_E8: Final = 60_000 * E8
_ACCEPT_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, the opening handshake."""
STAGES: Final = {
    "place": "decision in its ring to the bytes at the socket",
    "fence": "last look: halt, permit, epoch, age, clock",
    "order": "order made of a decision",
    "text": "order as text",
    "text_hmac": "order as text with its HMAC",
    "journal": "journal entry",
    "row": "row of the order table",
    "record": "execution record",
    "send": "text masked and written to the socket",
    "ack": "venue's answer to the books",
    "fill": "user event of a fill to the books",
}


class Stage(NamedTuple):
    """One line: nanoseconds an order, and what the interpreter allocated for it."""

    name: str
    text: str
    p50: float
    p99: float
    min: float
    allocations: float
    """Blocks asked for, also those freed at once; mean over the orders counted."""
    n: int


class Peer:
    """The venue's end of the connection: answers the handshake, then swallows what comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._socket: socket.socket
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        self._socket, _ = self._listener.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._socket.recv(4_096)
        words = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = next(word for name, word in words.items() if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest())
        self._socket.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def open(self) -> None:
        """After the client's side of the handshake."""
        self._thread.join()
        self._socket.setblocking(False)

    def drain(self) -> int:
        """Read what is there; returns how many bytes."""
        try:
            return len(self._socket.recv(65_536))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._listener.close()


class Desk:
    """Execution and everybody around it in this process; no task of its sessions ever runs."""

    def __init__(self, plan: Plan, peer: Peer, loop: asyncio.AbstractEventLoop) -> None:
        now_ns = time.monotonic_ns()
        roles = ("feed", "strategy", "risk", "execution", "account")
        self._contexts = {role: Context(plan, role, plan.process_of(role)) for role in roles}
        for context in self._contexts.values():
            context.adopt(now_ns)
        risk = self._contexts["risk"]
        self._decisions, buffer = risk.ring_writer("decisions")
        self.decision, self._permit = Decision(buffer), risk.permit()
        self._epoch = risk.epoch
        self._readers = [
            self._contexts[role].ring_reader("executions")[0] for role in ("risk", "account")
        ]
        self._write_cells()
        self.peer, self.loop = peer, loop
        self.role = Execution(self._contexts["execution"])
        self.role.on_start(now_ns)
        self._open_sessions(plan)
        self.signing_encoder = OrderTextEncoder(
            self._instrument, Credentials(API_KEY, "hmac", HmacSigner(b"secret")), 1_000
        )
        self.silence = threading.Event()  # never set: how to wait without work
        self._count = 0

    def _write_cells(self) -> None:
        feed, now_ns = self._contexts["feed"], time.monotonic_ns()
        writer, buffer = feed.cell_writer("instruments")
        row = Instrument(buffer)
        row.kind, row.instrument_id, row.instrument_version = int(Kind.INSTRUMENT), INSTRUMENT_ID, 1
        row.symbol, row.tick_e8, row.step_e8 = b"S1USDT", E8 // 10, E8 // 1_000
        row.price_places, row.qty_places = 1, 3
        row.status = int(InstrumentStatus.TRADING)
        writer.write(INSTRUMENT_ID)
        self._instrument = row
        tops, top_buffer = feed.cell_writer("tops")
        top = TopOfBook(top_buffer)
        top.kind, top.instrument_id, top.as_of_ns = int(Kind.TOP_OF_BOOK), INSTRUMENT_ID, now_ns
        top.feed_state = int(FeedState.LIVE)
        tops.write(INSTRUMENT_ID)

    def _open_sessions(self, plan: Plan) -> None:
        role, loop = self.role, self.loop
        asyncio.set_event_loop(loop)
        credentials = role._credentials
        role._rest = make_rest(self._contexts["execution"], 0.5, credentials)
        role._session = session = OrderSession(
            Endpoints.from_config(plan.config.venue),
            credentials,
            on_reply=role._on_reply,
            on_state=role._on_session,
            venue_ms=role._timestamp_ms,
        )
        loop.run_until_complete(self._connect(session))
        self.peer.open()
        role._resolver = OrderResolver(
            self._contexts["execution"],
            role._rest,
            role._keeper,
            role._events,
            lambda handler: handler,
            lambda: None,
        )
        role._resolver._recovery.is_recovered = True
        role._resolver._recovery.is_holding = False
        role._by_rest = RestEntry(
            self._contexts["execution"],
            role._rest,
            role._keeper,
            role._events,
            role._limits,
            loop=loop,
            fence=role._fence,
            guard=lambda handler: handler,
            turn=lambda: None,
        )
        role._has_users = True
        self.rehearsal = OrderRehearsal(
            role, self._contexts["execution"], role._rest, role._encoders, credentials
        )
        loop.run_until_complete(self.rehearsal.open())

    async def _connect(self, session: OrderSession) -> None:
        connection = _OrderConnection(session)
        await ws_connect(lambda: connection, self.peer.url)
        connection.prove()
        session._active = self.connection = connection
        session.state = SessionState.UP
        session.refresh()

    # -- one order ------------------------------------------------------------------------------

    def decide(self) -> None:
        """Risk approves the next order."""
        now_ns, self._count = time.monotonic_ns(), self._count + 1
        self._permit.store(pack_permit(TradingState.ACTIVE, now_ns + NS_PER_S))
        decision = self.decision
        decision.clear()
        decision.kind, decision.mode = int(Kind.DECISION), int(Mode.LIVE)
        decision.instrument_id, decision.strategy_id = INSTRUMENT_ID, SOURCE
        decision.order_id = make_order_id(SOURCE, 1, self._count)
        decision.price_e8, decision.qty_e8 = PRICE_E8 + self._count % 100 * E8, E8 // 8
        decision.action, decision.side = int(Action.PLACE), int(Side.BUY)
        decision.order_type, decision.tif = int(OrderType.LIMIT), int(Tif.GTC)
        decision.is_post_only, decision.origin_ns = 1, now_ns
        decision.judge_ns, decision.risk_epoch = now_ns, self._epoch
        self._decisions.offer()

    def order(self) -> Order:
        """The order that was placed last."""
        order = self.role._keeper.table.get(self.decision.order_id)
        assert order is not None, "the order was not placed"
        return order

    def ack(self) -> Callable[[], object]:
        """The venue's answer to the newest request."""
        decision = self.decision
        report = {
            "orderId": self._count, "symbol": "S1USDT", "status": "NEW",
            "clientOrderId": client_order_id(decision.order_id), "price": "60000.0",
            "avgPrice": "0.00", "origQty": "0.125", "executedQty": "0", "cumQty": "0",
            "cumQuote": "0", "timeInForce": "GTX", "type": "LIMIT", "reduceOnly": False,
            "closePosition": False, "side": "BUY", "positionSide": "BOTH", "stopPrice": "0",
            "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": "LIMIT",
            "priceMatch": "NONE", "selfTradePreventionMode": "EXPIRE_MAKER", "goodTillDate": 0,
            "updateTime": 1_800_000_000_000,
        }  # fmt: skip
        limits = [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300,
             "count": 1},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200,
             "count": 1},
        ]  # fmt: skip
        answer = {
            "id": self.role._request_id, "status": 200, "result": report, "rateLimits": limits
        }  # fmt: skip
        payload = memoryview(orjson.dumps(answer))
        return lambda: self.role._session.on_message(self.connection, payload)

    def fill(self) -> Callable[[], object]:
        """The event that fills the order and ends it."""
        order = {
            "s": "S1USDT", "c": client_order_id(self.decision.order_id), "S": "BUY", "o": "LIMIT",
            "f": "GTX", "q": "0.125", "p": "60000.0", "ap": "60000.0", "sp": "0", "x": "TRADE",
            "X": "FILLED", "i": self._count, "l": "0.125", "z": "0.125", "L": "60000.0",
            "n": "0.75", "N": "USDT", "T": 1_800_000_000_000, "t": self._count, "b": "0", "a": "0",
            "m": True, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH",
            "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_MAKER",
            "pm": "NONE", "gtd": 0, "er": "0",
        }  # fmt: skip
        payload = orjson.dumps(
            {"e": "ORDER_TRADE_UPDATE", "T": 1_800_000_000_000, "E": 1_800_000_000_000, "o": order}
        )
        return lambda: self.role._on_user_event(decode_user_event(payload), time.monotonic_ns())

    def rehearse(self) -> None:
        """What execution does about its caches while nothing happens."""
        now_ns = time.monotonic_ns()
        self.rehearsal.place(now_ns)
        self.role.look_ahead(now_ns)
        self.rehearsal.answer(now_ns)

    def read_all(self) -> None:
        """Account and risk read what was published."""
        for reader in self._readers:
            while reader.next():
                pass
            reader.commit()

    def close(self) -> None:
        """Detach everything."""
        self.connection.close("done")
        self.rehearsal.close()
        self.loop.run_until_complete(self.role._rest.close())
        for context in self._contexts.values():
            context.close()


@contextmanager
def _system() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="hft-bench-") as root:
        run_dir = Path(root)
        key, private = run_dir / "key", run_dir / "private"
        key.write_text(API_KEY)
        private.write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        for path in (key, private):
            path.chmod(0o600)
        plan = make_plan(Size(1, 1, 1), run_dir)
        config = msgspec.structs.replace(
            plan.config,
            system=SystemConfig(name=f"bench-order-{os.getpid()}", mode="demo"),
            venue=VenueConfig(key_file=str(key), private_key_file=str(private), key_type="ed25519"),
            execution=ExecutionConfig(decision_age_ms_max=5_000),
        )
        limits = RateLimits(weight_1m=10**9, orders_10s=10**9, orders_1m=10**9)
        plan = msgspec.structs.replace(plan, config=config, limits=limits)
        create_all(plan.name, run_dir)
        peer, loop = Peer(), asyncio.new_event_loop()
        try:
            desk = Desk(plan, peer, loop)
            try:
                yield desk
            finally:
                desk.close()
        finally:
            peer.close()
            loop.close()
            remove_all(plan.name, run_dir)


def rows(orders: int = ORDERS) -> list[Stage]:
    """Every stage warm, in the order of the way; garbage collection is off meanwhile."""
    samples: dict[str, list[int]] = {name: [] for name in STAGES}
    blocks: dict[str, int] = dict.fromkeys(STAGES, 0)
    with _system() as desk, _without_collector():
        for number in range(WARM_UP + orders):
            for name, step in _steps(desk):
                ns = _timed(step)
                if number >= WARM_UP:
                    samples[name].append(ns)
        heap_count.start()
        try:
            for _ in range(COUNTED):
                for name, step in _steps(desk):
                    before = heap_count.count()
                    step()
                    blocks[name] += heap_count.count() - before - _COUNT_BLOCKS
        finally:
            heap_count.stop()
    return [
        _stage(name, text, samples[name], blocks[name] / COUNTED) for name, text in STAGES.items()
    ]


def cold_rows(orders: int = COLD_ORDERS) -> list[Stage]:
    """The whole way of the first order after a silence, with rehearsals in it and without."""
    names = {
        "place_cold": "first order after a silence, not rehearsed",
        "place_rehearsed": "first order after a silence, rehearsed",
        "place_warm": "the next one",
    }
    samples: dict[str, list[int]] = {name: [] for name in names}
    memory = np.ones(THRASH_BYTES // 8)
    with _system() as desk, _without_collector():
        for number in range(2 * orders):
            is_rehearsed = bool(number % 2)
            _be_silent(desk, memory, is_rehearsed=is_rehearsed)
            for name in ("place_rehearsed" if is_rehearsed else "place_cold", "place_warm"):
                for step_name, step in _steps(desk):
                    ns = _timed(step)
                    if step_name == "place":
                        samples[name].append(ns)
    return [_stage(name, text, samples[name], 0.0) for name, text in names.items()]


def _be_silent(desk: Desk, memory: npt.NDArray[np.float64], *, is_rehearsed: bool) -> None:
    """As an idle system is: others use the caches, and a timer turns execution."""
    memory.sum()
    for _ in range(SILENT_TURNS):
        if is_rehearsed:
            desk.rehearse()
        memory[: SHARED_BYTES // 8].sum()
        desk.silence.wait(TURN_S)


def _steps(desk: Desk) -> Iterator[tuple[str, Callable[[], object]]]:
    """One order from its decision to its end, each stage ready to be called and timed."""
    role = desk.role
    keeper, encoder = role._keeper, role._encoders[INSTRUMENT_ID]
    desk.decide()
    yield "place", lambda: role._take_decisions(time.monotonic_ns())
    desk.peer.drain()
    order, decision, now_ns = desk.order(), desk.decision, time.monotonic_ns()
    timestamp_ms, trades = role._timestamp_ms(), keeper.table.trades
    yield "ack", desk.ack()
    yield "fence", lambda: role._fence(decision)
    yield "order", lambda: Order.of_decision(decision, trades)
    yield "text", lambda: encoder.place_order(1, order, timestamp_ms)
    yield "text_hmac", lambda: desk.signing_encoder.place_order(1, order, timestamp_ms)
    yield "journal", lambda: keeper._note(JournalKind.UPDATE, ExecKind.UNKNOWN, order, Action.PLACE)
    yield "row", lambda: keeper._store(order)
    yield "record", lambda: keeper._publish(order, ExecKind.SENT, now_ns=now_ns, origin_ns=now_ns)
    text = encoder.query(0, order.order_id, timestamp_ms=timestamp_ms)
    yield "send", lambda: role._session.send(text)
    desk.peer.drain()
    yield "fill", desk.fill()
    desk.read_all()


def _timed(step: Callable[[], object]) -> int:
    begin_ns = time.perf_counter_ns()
    step()
    return time.perf_counter_ns() - begin_ns


def _stage(name: str, text: str, samples: list[int], allocations: float) -> Stage:
    p50, p99 = np.quantile(samples, (0.5, 0.99), method="inverted_cdf").tolist()
    return Stage(name, text, p50, p99, min(samples), round(allocations, 1), len(samples))


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
