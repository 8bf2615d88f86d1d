"""A venue to test with: in memory under a hand-turned clock, or as real servers in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest
import uvloop

from hft.records import Side
from hft.units import parse_e8
from tools.venue.algo_desk import AlgoDesk
from tools.venue.config import AccountConfig, Ports, VenueConfig
from tools.venue.errors import ApiError
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import synthetic_rules
from tools.venue.fault_kinds import KINDS
from tools.venue.fault_ledger import Fault
from tools.venue.fault_links import Links
from tools.venue.faults import Faults
from tools.venue.orders import OrderDesk
from tools.venue.request import Endpoint, Request, answer
from tools.venue.server import serve

KEY, SECRET = "test-key", "test-secret"
ACCOUNTS = (
    AccountConfig(api_key=KEY, secret=SECRET, wallet="100000"),
    AccountConfig(api_key="other-key", secret="other-secret", wallet="5000"),
)
START_MS = 1_800_000_000_000
READY_S_MAX = 20


class HandMadeVenue:
    """The exchange without servers: the book stands still until a test moves it."""

    def __init__(self, **settings: Any) -> None:
        config = VenueConfig(**{"accounts": ACCOUNTS, "symbols": ("BTCUSDT",), **settings})
        self.now_ms = START_MS
        self.exchange = Exchange(
            config,
            [synthetic_rules(symbol) for symbol in config.symbols],
            clock_ms=lambda: self.now_ms,
        )
        self.desk = OrderDesk(self.exchange)
        self.account = self.exchange.accounts[KEY]
        self.other = self.exchange.accounts["other-key"]
        self.market = self.exchange.markets["BTCUSDT"]
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.exchange.deliver = lambda account, name, payload: self.events.append(
            (account.name, name, json.loads(payload))
        )
        self.elapsed_s = 0.0
        self.links = Links([], [], [])
        self.algo_desk = AlgoDesk(self.exchange, self.desk)
        self.faults = Faults(
            self.exchange,
            self.desk,
            self.algo_desk,
            lambda: self.links,
            clock_s=lambda: self.elapsed_s,
        )
        self.quote(bid="64000.00", ask="64000.10", qty="1")

    def fault(self, kind: str, **options: str) -> Fault:
        """Begin a fault on the one symbol, unless another is named."""
        given = {"symbol": "BTCUSDT"} if KINDS[kind].takes_symbol else {}
        return self.faults.begin(kind, given | options)

    def later(self, seconds: float) -> None:
        """Let time pass and turn the faults."""
        self.elapsed_s += seconds
        self.now_ms += round(seconds * 1000)
        self.faults.turn()

    def request(self, name: str, **params: str) -> Any:
        """A request behind authentication, as both interfaces hand it to the handlers."""
        handler = {
            "order.place": lambda r: self.desk.place(r.owner, r.params, stp_default="NONE"),
            "order.modify": lambda r: self.desk.amend(r.owner, r.params),
            "order.cancel": lambda r: self.desk.cancel(r.owner, r.params),
            "order.status": lambda r: self.desk.query(r.owner, r.params),
        }[name]
        return answer(self.exchange, Endpoint(handler, 1), Request(params, self.account), name)

    def quote(self, *, bid: str, ask: str, qty: str) -> None:
        for side, price in ((Side.BUY, bid), (Side.SELL, ask)):
            self.level(side, price, qty)

    def level(self, side: Side, price: str, qty: str) -> None:
        self.market.set_level(side, parse_e8(price), parse_e8(qty), self.now_ms)
        self.market.commit(self.now_ms)

    def take(self, side: Side, price: str, qty: str) -> None:
        book = self.market.book
        self.market.apply(book.take(side, parse_e8(qty), parse_e8(price), self.now_ms * 1_000_000))
        self.market.commit(self.now_ms)

    def place(self, **params: str) -> dict[str, Any]:
        account = self.exchange.accounts[params.pop("account", KEY)]
        return self.desk.place(account, limit(**params), stp_default="EXPIRE_MAKER")

    def refusal(self, **params: str) -> int:
        try:
            self.place(**params)
        except ApiError as error:
            return error.code
        return 0

    def told(self, account: str = KEY) -> list[str]:
        """The account's events in short: name, and for orders what happened."""
        found = []
        for owner, name, event in self.events:
            if owner == account:
                detail = event["o"] if name == "ORDER_TRADE_UPDATE" else None
                found.append(f"{detail['x']}/{detail['X']}" if detail else name)
        return found


def limit(**params: str) -> dict[str, str]:
    """Parameters of a limit order that is fine, with some of them changed; empty ones left out."""
    base = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.010",
        "price": "63999.00",
        "newOrderRespType": "RESULT",
    }
    if params.get("type") == "MARKET":
        del base["timeInForce"], base["price"]
    return {name: value for name, value in (base | params).items() if value}


class Recorder:
    """A connection that remembers what it was sent."""

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def write(self, payload: bytes) -> None:
        self.frames.append(json.loads(payload))

    def take(self) -> list[Any]:
        frames, self.frames = self.frames, []
        return frames


class DepthStream:
    """A listener to depth; each call moves the book and publishes a frame."""

    def __init__(self, venue: HandMadeVenue) -> None:
        self.sink = Recorder()
        self._venue = venue
        self._qty = 1
        venue.exchange.hub.listen(self.sink, "btcusdt@depth@0ms", is_combined=False)
        self()
        self.sink.take()

    def __call__(self) -> None:
        self._qty += 1
        self._venue.level(Side.BUY, "63990.00", str(self._qty))
        self._venue.now_ms += 20
        self._venue.market.on_timer(self._venue.now_ms)


class RestClient:
    """A signing client made of the standard library."""

    def __init__(self, port: int, key: str = KEY, secret: str = SECRET) -> None:
        self._port = port
        self._key = key
        self._secret = secret

    def call(
        self, method: str, path: str, *, signed: bool = True, **params: object
    ) -> tuple[int, Any, dict[str, str]]:
        query = urlencode(params)
        if signed:
            query += f"{'&' if query else ''}timestamp={time.time_ns() // 1_000_000}"
            digest = hmac.new(self._secret.encode(), query.encode(), hashlib.sha256).hexdigest()
            query += f"&signature={digest}"
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, f"{path}?{query}", headers={"X-MBX-APIKEY": self._key})
            response = connection.getresponse()
            return response.status, json.loads(response.read()), dict(response.headers)
        finally:
            connection.close()

    def get(self, path: str, *, signed: bool = True, **params: object) -> Any:
        status, body, _ = self.call("GET", path, signed=signed, **params)
        assert status == 200, body
        return body

    def post(self, path: str, **params: object) -> Any:
        status, body, _ = self.call("POST", path, **params)
        assert status == 200, body
        return body


class RunningVenue:
    """The real servers on free ports, in a thread with a loop of its own."""

    def __init__(self, config: VenueConfig) -> None:
        self.config = config
        self.ports = Ports(0, 0, 0)
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="venue")
        self._thread.start()
        assert self._ready.wait(READY_S_MAX)
        if self._error is not None:
            self._thread.join()
            raise self._error
        self.rest = RestClient(self.ports.rest)

    def stop_soon(self) -> None:
        with suppress(RuntimeError):  # the loop may be closed already
            self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        self.stop_soon()
        self._thread.join(READY_S_MAX)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._serve())
            except BaseException as error:
                self._error = error
            finally:
                self._ready.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()

        def ready(ports: Ports) -> None:
            self.ports = ports
            self._ready.set()

        await serve(self.config, ready=ready, stop=self._stop)


@pytest.fixture
def venue() -> HandMadeVenue:
    return HandMadeVenue()


@pytest.fixture
def depth(venue: HandMadeVenue) -> DepthStream:
    return DepthStream(venue)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def make_venue() -> Callable[..., HandMadeVenue]:
    return HandMadeVenue


@pytest.fixture
def start_venue() -> Iterator[Callable[..., RunningVenue]]:
    """Start real servers; they are stopped after the test."""
    running: list[RunningVenue] = []

    def start(**settings: Any) -> RunningVenue:
        defaults: dict[str, Any] = {"accounts": ACCOUNTS, "symbols": ("BTCUSDT",)}
        running.append(RunningVenue(VenueConfig(**{**defaults, **settings})))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def signer() -> Callable[[str], Callable[[dict[str, str]], dict[str, str]]]:
    """For a secret: what adds the signature to the parameters of a query."""

    def make(secret: str) -> Callable[[dict[str, str]], dict[str, str]]:
        def sign(params: dict[str, str]) -> dict[str, str]:
            digest = hmac.new(secret.encode(), urlencode(params).encode(), hashlib.sha256)
            return params | {"signature": digest.hexdigest()}

        return sign

    return make


@pytest.fixture
def rest_client() -> type[RestClient]:
    return RestClient


@pytest.fixture(scope="module")
def shared_venue() -> Iterator[RunningVenue]:
    """Real servers that the tests of one file share, each leaving its account flat enough."""
    venue = RunningVenue(VenueConfig(accounts=ACCOUNTS, symbols=("BTCUSDT",)))
    yield venue
    venue.stop()
