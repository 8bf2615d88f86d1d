"""The clients against the venue simulator: real sockets, signatures, filters and events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hft.config import VenueConfig
from hft.core.generated.views import Instrument
from hft.errors import VenueError
from hft.records import OrderType, Side, Tif
from hft.units import E8, floor_to, format_e8
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.exchange_info import SymbolInfo
from hft.venues.binance_usdm.frames import CallbackSink
from hft.venues.binance_usdm.market_session import MarketSession
from hft.venues.binance_usdm.order_session import OrderSession, Reply
from hft.venues.binance_usdm.order_text import OrderTextEncoder, client_order_id
from hft.venues.binance_usdm.reports import OrderReport, Refusal
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials, load_credentials
from hft.venues.binance_usdm.user_events import AccountUpdate, OrderUpdate, TradeLite
from hft.venues.binance_usdm.user_session import ListenKeyKeeper, UserSession
from hft.venues.binance_usdm.wire import ExecType, OrderStatus
from tools.venue.config import AccountConfig
from tools.venue.config import VenueConfig as SimulatorConfig
from tools.venue.server import serve

SYMBOL = "BTCUSDT"
RECV_WINDOW_MS = 5_000


class Client(NamedTuple):
    """Everything a role would have of the venue."""

    endpoints: Endpoints
    credentials: Credentials
    rest: RestClient
    symbol: SymbolInfo
    encoder: OrderTextEncoder
    bid_e8: int

    @property
    def far_bid_e8(self) -> int:
        """A price that rests: 3 % below the best bid, on the tick."""
        return floor_to(self.bid_e8 * 97 // 100, self.symbol.tick_e8)

    def order(self, price_e8: int, **words: Any) -> dict[str, Any]:
        step_e8 = self.symbol.step_e8
        # Well above the smallest notional, on the step.
        qty_e8 = floor_to(5 * self.symbol.notional_min_e8 * E8 // self.bid_e8, step_e8) + step_e8
        return {
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "tif": Tif.GTC,
            "is_post_only": False,
            "is_reduce_only": False,
            "price_e8": price_e8,
            "qty_e8": qty_e8,
            **words,
        }


@pytest.fixture(params=["hmac", "ed25519"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[AccountConfig, dict[str, str]]:
    """An account of the simulator, and the settings of the client that belong to it."""
    key_file = tmp_path / "key"
    if request.param == "hmac":
        key_file.write_text("key-hmac\nsecret-hmac\n")
        key_file.chmod(0o600)
        account = AccountConfig(api_key="key-hmac", secret="secret-hmac")
        return account, {"key_type": "hmac", "key_file": str(key_file)}
    private = Ed25519PrivateKey.generate()
    pem_file = tmp_path / "private.pem"
    pem_file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.write_text("key-ed25519\n")
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    account = AccountConfig(api_key="key-ed25519", public_key_pem=public.decode())
    return account, {
        "key_type": "ed25519",
        "key_file": str(key_file),
        "private_key_file": str(pem_file),
    }


@asynccontextmanager
async def simulator(
    account: AccountConfig, settings: dict[str, str], **simulated: Any
) -> AsyncIterator[Client]:
    """The simulator on this loop, with a calm market, and a client of it."""
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    config = SimulatorConfig(
        symbols=(SYMBOL,),
        accounts=(account,),
        frames_per_s=100.0,
        trades_per_s=5.0,
        tick_ms=10,
        depth_interval_ms=50,
        **simulated,
    )
    serving = asyncio.create_task(serve(config, ready=ready.set_result, stop=stop))
    await asyncio.wait([ready, serving], return_when=asyncio.FIRST_COMPLETED)
    ports = ready.result()
    venue = VenueConfig(
        rest_url=f"http://127.0.0.1:{ports.rest}",
        streams_url=f"ws://127.0.0.1:{ports.streams}",
        api_url=f"ws://127.0.0.1:{ports.api}/ws-fapi/v1",
        **settings,
    )
    endpoints, credentials = Endpoints.from_config(venue), load_credentials(venue)
    rest = RestClient(endpoints, credentials, recv_window_ms=RECV_WINDOW_MS)
    try:
        symbol = (await rest.exchange_info([SYMBOL])).symbols[SYMBOL]
        trades = await rest.request("GET", "/fapi/v1/ticker/bookTicker", (("symbol", SYMBOL),))
        bid_e8 = int(float(trades.split(b'"bidPrice":"')[1].split(b'"')[0])) * E8
        encoder = OrderTextEncoder(symbol, credentials, RECV_WINDOW_MS)
        yield Client(endpoints, credentials, rest, symbol, encoder, bid_e8)
    finally:
        await rest.close()
        stop.set()
        await serving


class Orders:
    """An order session whose replies can be awaited."""

    def __init__(self, client: Client, states: Any) -> None:
        self.replies: dict[int, Reply] = {}
        self.ids = itertools.count(1)
        self.session = OrderSession(
            client.endpoints, client.credentials, on_reply=self._on_reply, on_state=states
        )
        self.client = client

    def _on_reply(self, reply: Reply, recv_ns: int) -> None:
        self.replies[reply.request_id] = reply

    async def ask(
        self, wait: Any, encode: Callable[..., bytes], order_id: int, **words: Any
    ) -> Reply:
        request_id = next(self.ids)
        timestamp_ms = self.client.rest.venue_ns // 1_000_000
        self.session.send(encode(request_id, order_id, timestamp_ms=timestamp_ms, **words))
        await wait(lambda: request_id in self.replies)
        return self.replies[request_id]


@asynccontextmanager
async def order_session(client: Client, states: Any, wait: Any) -> AsyncIterator[Orders]:
    orders = Orders(client, states)
    orders.session.start(asyncio.get_running_loop())
    await wait(lambda: "UP" in states.names)
    try:
        yield orders
    finally:
        orders.session.stop()
        await orders.session.wait_stopped()


@asynccontextmanager
async def user_events(client: Client, wait: Any) -> AsyncIterator[list[Any]]:
    events: list[Any] = []
    states: list[str] = []
    keeper = ListenKeyKeeper(client.rest, lambda key: session.use_new_key())
    session = UserSession(
        client.endpoints,
        listen_key=lambda: keeper.key,
        on_event=lambda event, recv_ns: events.append(event),
        on_state=lambda state, detail: states.append(state.name),
    )
    session.start(asyncio.get_running_loop())
    keeping = asyncio.create_task(keeper.run())
    await wait(lambda: "UP" in states)
    try:
        yield events
    finally:
        keeping.cancel()
        session.stop()
        await session.wait_stopped()


def test_an_order_is_placed_amended_queried_and_cancelled(run, keys, states, wait):
    async def main() -> None:
        async with (
            simulator(*keys) as client,
            order_session(client, states, wait) as orders,
            user_events(client, wait) as events,
        ):
            words = client.order(client.far_bid_e8, is_post_only=True)
            encoder, order_id = client.encoder, 0x0123_4567_89AB_CDEF
            placed = await orders.ask(wait, encoder.place, order_id, **words)
            assert (placed.status, placed.code) == (200, 0), placed.message
            report = placed.result
            assert report is not None
            assert (report.order_id, report.status) == (order_id, OrderStatus.NEW)
            assert (report.price_e8, report.qty_e8) == (words["price_e8"], words["qty_e8"])
            assert report.is_post_only
            assert placed.orders_10s == placed.orders_1m == 1

            amended = {k: words[k] for k in ("side", "qty_e8")}
            amended["price_e8"] = words["price_e8"] - client.symbol.tick_e8
            changed = await orders.ask(wait, encoder.amend, order_id, **amended)
            assert changed.result is not None
            assert changed.result.price_e8 == amended["price_e8"]

            asked = await orders.ask(wait, encoder.query, order_id)
            assert asked.result is not None
            assert asked.result.venue_order_id == report.venue_order_id
            by_rest = await client.rest.query_order(SYMBOL, client_order_id(order_id))
            assert by_rest.price_e8 == amended["price_e8"]
            assert [one.order_id for one in await client.rest.open_orders(SYMBOL)] == [order_id]

            cancelled = await orders.ask(wait, encoder.cancel, order_id)
            assert cancelled.result is not None
            assert cancelled.result.status is OrderStatus.CANCELED
            again = await orders.ask(wait, encoder.cancel, order_id)
            assert again.code == -2011
            await wait(lambda: len([e for e in events if isinstance(e, OrderUpdate)]) == 3)
            updates = [event for event in events if isinstance(event, OrderUpdate)]
            assert [update.exec_type for update in updates] == [
                ExecType.NEW,
                ExecType.AMENDMENT,
                ExecType.CANCELED,
            ]
            assert {update.order_id for update in updates} == {order_id}
            assert orders.session.in_flight == 0

    run(main())


def test_a_fill_comes_as_trade_lite_account_update_and_order_update(run, keys, states, wait):
    async def main() -> None:
        async with (
            simulator(*keys) as client,
            order_session(client, states, wait) as orders,
            user_events(client, wait) as events,
        ):
            words = client.order(0, order_type=OrderType.MARKET, tif=Tif.UNKNOWN)
            reply = await orders.ask(wait, client.encoder.place, 77, **words)
            assert reply.result is not None, reply.message
            assert reply.result.status is OrderStatus.FILLED
            await wait(
                lambda: any(
                    isinstance(e, OrderUpdate) and e.status is OrderStatus.FILLED for e in events
                )
            )
            final = events[-1]
            assert final.cum_qty_e8 == words["qty_e8"]
            assert final.fee_e8 > 0
            assert final.fee_asset == "USDT"
            lite = [event for event in events if isinstance(event, TradeLite)]
            trades = await client.rest.user_trades(SYMBOL, venue_order_id=final.venue_order_id)
            assert {trade.trade_id for trade in trades} == {event.trade_id for event in lite}
            assert sum(trade.qty_e8 for trade in trades) == words["qty_e8"]
            account = [event for event in events if isinstance(event, AccountUpdate)]
            assert account[-1].positions[0].position_e8 == words["qty_e8"]

            positions = await client.rest.position_risk()
            assert [(p.symbol, p.position_e8) for p in positions] == [(SYMBOL, words["qty_e8"])]
            balances = {one.asset: one for one in await client.rest.balances()}
            assert balances["USDT"].wallet_e8 == account[-1].balances[0].wallet_e8
            whole = await client.rest.account()
            assert whole.wallet_e8 == balances["USDT"].wallet_e8

    run(main())


def test_refusals_come_back_with_the_venues_code(run, keys, states, wait):
    async def main() -> None:
        async with (
            simulator(*keys) as client,
            order_session(client, states, wait) as orders,
        ):
            encoder = client.encoder
            crossing = client.order(floor_to(client.bid_e8 * 103 // 100, client.symbol.tick_e8))
            reply = await orders.ask(wait, encoder.place, 1, **{**crossing, "is_post_only": True})
            assert reply.code == -5022
            reply = await orders.ask(wait, encoder.place, 2, **client.order(client.symbol.tick_e8))
            assert reply.code in (-4164, -4024, -4013)
            with pytest.raises(VenueError) as caught:
                await client.rest.query_order(SYMBOL, client_order_id(99))
            assert (caught.value.code, caught.value.status) == (-2013, 400)
            stale = encoder.cancel(50, 1, timestamp_ms=1)
            orders.session.send(stale)
            await wait(lambda: 50 in orders.replies)
            assert orders.replies[50].code == -1021

    run(main())


def test_orders_by_rest_and_cancel_all(run, keys, states):
    async def main() -> None:
        async with simulator(*keys) as client:
            rest, encoder = client.rest, client.encoder
            words = client.order(client.far_bid_e8)
            placed = await rest.place_order(encoder.place_parameters(5, **words))
            assert (placed.order_id, placed.status) == (5, OrderStatus.NEW)
            assert rest.order_count_10s >= 1
            amended = await rest.amend_order(
                encoder.amend_parameters(
                    5,
                    side=Side.BUY,
                    price_e8=words["price_e8"] - client.symbol.tick_e8,
                    qty_e8=words["qty_e8"],
                )
            )
            assert amended.price_e8 == words["price_e8"] - client.symbol.tick_e8
            cancelled = await rest.cancel_order(SYMBOL, client_order_id(5))
            assert cancelled.status is OrderStatus.CANCELED
            await rest.place_order(encoder.place_parameters(6, **words))
            await rest.countdown_cancel_all(SYMBOL, 60_000)
            await rest.cancel_all(SYMBOL)
            assert await rest.open_orders() == []

    run(main())


def test_batches_by_rest_answer_each_order(run, keys):
    async def main() -> None:
        async with simulator(*keys) as client:
            rest, encoder = client.rest, client.encoder
            words = client.order(client.far_bid_e8)
            crossing = floor_to(client.bid_e8 * 103 // 100, client.symbol.tick_e8)
            orders = [
                encoder.place_parameters(21, **words),
                encoder.place_parameters(22, **{**client.order(crossing), "is_post_only": True}),
                encoder.place_parameters(23, **words),
            ]
            first, refused, third = await rest.place_orders(orders)
            assert isinstance(first, OrderReport)
            assert isinstance(third, OrderReport)
            assert (first.order_id, third.order_id) == (21, 23)
            assert isinstance(refused, Refusal)
            assert refused.code == -5022
            ids = [client_order_id(order_id) for order_id in (21, 22, 23)]
            first, unknown, third = await rest.cancel_orders(SYMBOL, ids)
            assert isinstance(first, OrderReport)
            assert first.status is OrderStatus.CANCELED
            assert isinstance(unknown, Refusal)
            assert unknown.code == -2011
            assert isinstance(third, OrderReport)
            assert await rest.open_orders(SYMBOL) == []

    run(main())


def test_a_closed_fence_stops_an_order_before_it_leaves(run, keys):
    class Closed(Exception):
        pass

    def closed() -> None:
        raise Closed

    async def main() -> None:
        async with simulator(*keys) as client:
            passed: list[int] = []
            parameters = client.encoder.place_parameters(31, **client.order(client.far_bid_e8))
            with pytest.raises(Closed):
                await client.rest.place_order(parameters, closed)
            assert await client.rest.open_orders(SYMBOL) == []
            await client.rest.place_order(parameters, lambda: passed.append(1))
            assert passed == [1]

    run(main())


def test_a_good_till_date_order_rests(run, keys, states, wait):
    async def main() -> None:
        async with (
            simulator(*keys) as client,
            order_session(client, states, wait) as orders,
        ):
            good_till_s = client.rest.venue_ns // 1_000_000_000 + 700
            words = client.order(client.far_bid_e8, tif=Tif.GTD, good_till_s=good_till_s)
            reply = await orders.ask(wait, client.encoder.place, 41, **words)
            assert reply.is_ok, reply.message
            by_rest = await client.rest.place_order(client.encoder.place_parameters(42, **words))
            assert by_rest.status is OrderStatus.NEW
            words["good_till_s"] = good_till_s - 200
            reply = await orders.ask(wait, client.encoder.place, 43, **words)
            assert reply.code == -5040

    run(main())


def test_conditional_orders_are_seen_and_cancelled_apart(run, keys):
    async def main() -> None:
        async with simulator(*keys) as client:
            rest = client.rest
            trigger = floor_to(client.bid_e8 * 110 // 100, client.symbol.tick_e8)
            order = (
                ("algoType", "CONDITIONAL"),
                ("symbol", SYMBOL),
                ("side", "BUY"),
                ("type", "STOP_MARKET"),
                ("quantity", "0.010"),
                ("triggerPrice", format_e8(trigger)),
            )
            for _ in range(2):
                await rest.request("POST", "/fapi/v1/algoOrder", order, signed=True)
            first, second = await rest.open_algo_orders(SYMBOL)
            assert (first.symbol, first.side, first.trigger_price_e8) == (SYMBOL, Side.BUY, trigger)
            await rest.cancel_all(SYMBOL)
            assert len(await rest.open_algo_orders()) == 2, "a store of their own"
            await rest.cancel_algo_order(SYMBOL, first.algo_id)
            assert [one.algo_id for one in await rest.open_algo_orders()] == [second.algo_id]
            with pytest.raises(VenueError) as caught:
                await rest.cancel_algo_order(SYMBOL, first.algo_id)
            assert caught.value.code == -2011
            await rest.cancel_all_algo(SYMBOL)
            assert await rest.open_algo_orders(SYMBOL) == []

    run(main())


def test_account_reads_clock_and_weight(run, keys):
    async def main() -> None:
        async with simulator(*keys) as client:
            rest = client.rest
            offset_ns, error_ns = await rest.measure_clock_offset()
            assert abs(offset_ns) <= error_ns + 1_000_000
            assert not await rest.position_mode()
            assert not await rest.multi_assets_mode()
            config = await rest.account_config()
            assert config.can_trade
            assert not config.is_hedge_mode
            settings = await rest.symbol_config(SYMBOL)
            assert [(one.symbol, one.leverage) for one in settings] == [(SYMBOL, 20)]
            rates = await rest.commission_rate(SYMBOL)
            assert (rates.maker_rate_e8, rates.taker_rate_e8) == (20_000, 50_000)
            assert await rest.income() == []
            # 5 for the clock, then 30 + 30 + 5 + 5 + 20 + 30, and what the set-up used.
            assert rest.used_weight >= 125
            body = await rest.depth(SYMBOL, 5)
            assert b"lastUpdateId" in body

    run(main())


def test_the_instrument_row_holds_the_filters(run, keys):
    async def main() -> None:
        async with simulator(*keys) as client:
            view = Instrument(bytearray(Instrument.BYTES))
            client.symbol.fill_instrument(view, 7, 3, quote_asset_id=1)
            assert (view.instrument_id, view.instrument_version) == (7, 3)
            assert view.symbol == SYMBOL.encode()
            assert view.tick_e8 == client.symbol.tick_e8 > 0
            assert view.step_e8 == client.symbol.step_e8 > 0
            # The row is all that the encoder needs.
            encoder = OrderTextEncoder(view, client.credentials, RECV_WINDOW_MS)
            words = client.order(client.far_bid_e8)
            assert encoder.place(1, 2, timestamp_ms=3, **words) == client.encoder.place(
                1, 2, timestamp_ms=3, **words
            )

    run(main())


def test_market_streams_of_both_routes_deliver(run, keys, states, wait):
    async def main() -> None:
        async with simulator(*keys) as client:
            frames: list[bytes] = []
            sessions = [
                MarketSession(
                    route,
                    streams,
                    endpoints=client.endpoints,
                    sink=CallbackSink(lambda payload, recv_ns: frames.append(bytes(payload))),
                    on_state=states,
                    first_data_s=20.0,
                    silence_s=20.0,
                    rotate_s=1_000.0,
                )
                for route, streams in (
                    ("public", ["btcusdt@depth@0ms", "btcusdt@bookTicker"]),
                    ("market", ["btcusdt@markPrice@1s"]),
                )
            ]
            for session in sessions:
                session.start(asyncio.get_running_loop())
            await wait(lambda: states.names.count("UP") == 2)
            for session in sessions:
                session.stop()
                await session.wait_stopped()
            assert all(frame.startswith(b'{"stream":"btcusdt@') for frame in frames)

    run(main())


def test_an_expired_listen_key_is_replaced_and_events_go_on(run, keys, states, wait):
    async def main() -> None:
        async with (
            simulator(*keys) as client,
            order_session(client, states, wait) as orders,
        ):
            events: list[Any] = []
            user_states: list[str] = []
            keeper = ListenKeyKeeper(client.rest, lambda key: session.use_new_key())

            def on_event(event: Any, recv_ns: int) -> None:
                events.append(event)
                if type(event).__name__ == "ListenKeyExpired":
                    keeper.expired()

            session = UserSession(
                client.endpoints,
                listen_key=lambda: keeper.key,
                on_event=on_event,
                on_state=lambda state, detail: user_states.append(state.name),
            )
            session.start(asyncio.get_running_loop())
            keeping = asyncio.create_task(keeper.run())
            await wait(lambda: user_states == ["OPEN", "UP"])
            first_key = keeper.key
            await client.rest.request("DELETE", "/fapi/v1/listenKey", keyed=True)
            await wait(lambda: user_states.count("UP") == 2)
            assert keeper.key != first_key
            reply = await orders.ask(
                wait, client.encoder.place, 8, **client.order(client.far_bid_e8)
            )
            assert reply.is_ok
            await wait(lambda: isinstance(events[-1], OrderUpdate))
            keeping.cancel()
            session.stop()
            await session.wait_stopped()

    run(main())


def test_a_wrong_secret_is_a_clear_refusal(run, tmp_path):
    async def main() -> None:
        key_file = tmp_path / "wrong"
        key_file.write_text("key-hmac\nnot the secret\n")
        account = AccountConfig(api_key="key-hmac", secret="secret-hmac")
        async with simulator(account, {"key_type": "hmac", "key_file": str(key_file)}) as client:
            with pytest.raises(VenueError) as caught:
                await client.rest.account_config()
            assert caught.value.code == -1022

    run(main())


def test_a_refused_logon_says_why_and_is_tried_again(run, tmp_path, states, wait):
    async def main() -> None:
        private, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        pem = tmp_path / "other.pem"
        pem.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key_file = tmp_path / "key"
        key_file.write_text("key-ed25519\n")
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        account = AccountConfig(api_key="key-ed25519", public_key_pem=public.decode())
        settings = {
            "key_type": "ed25519",
            "key_file": str(key_file),
            "private_key_file": str(pem),
        }
        async with simulator(account, settings) as client:
            orders = Orders(client, states)
            orders.session.start(asyncio.get_running_loop())
            await wait(lambda: states.names.count("DOWN") >= 2)
            assert "UP" not in states.names
            orders.session.stop()
            await orders.session.wait_stopped()

    run(main())
    assert "logon refused: -1022" in states.detail_of("DOWN")
